//! The format of run cases: what a `.t` file may say.

use anyhow::{Context, Result, bail};
use regex::Regex;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every directive: its name, what it is for.
pub(crate) const DIRECTIVES: &[(&str, &str)] = &[
    ("NAME", "name of the case; its id is FILE.NAME, and no two cases share one"),
    ("PROG", "script to run: {{TRACE}} ARGS -e 'PROG'"),
    ("RUN", "shell line to run instead of a script"),
    ("ARGS", "arguments before -e"),
    ("EXPECT", "whole lines of stdout, one behind the other; blanks at both ends do not count"),
    ("EXPECT_NONE", "lines that must not be there"),
    ("EXPECT_REGEX", "pattern that matches somewhere in stdout; ^ and $ match at lines"),
    ("EXPECT_REGEX_NONE", "pattern that must not match"),
    ("EXPECT_FILE", "file beside the case file that stdout equals"),
    (
        "EXPECT_JSON",
        "JSON that stdout equals, value by value: a file's name, or the text; \"{{ANY}}\" equals anything",
    ),
    ("STDERR", "like EXPECT, for stderr"),
    ("STDERR_NONE", "like EXPECT_NONE, for stderr"),
    ("STDERR_REGEX", "like EXPECT_REGEX, for stderr"),
    ("STDERR_REGEX_NONE", "like EXPECT_REGEX_NONE, for stderr"),
    ("TIMEOUT", "seconds that it may take once it is ready (5)"),
    ("READY", "pattern of the line that says it is ready; without: the notice of attached probes"),
    ("BEFORE", "command to start first, in the background; several are allowed"),
    ("AFTER", "shell line to run once it is ready; several run one behind the other"),
    ("STOP", "signal to send when the AFTER lines have ended, or when it is ready: INT, TERM, HUP, ..."),
    ("SETUP", "shell line to run before everything else; it must succeed"),
    ("CLEANUP", "shell line to run behind everything else, in any case"),
    ("ENV", "A=b C=d: environment of the case's commands"),
    (
        "REQUIRES",
        "shell line without which the case cannot run here: skipped unless it succeeds; knows {{XTASK}} only",
    ),
    ("REQUIRES_FEATURE", "what the kernel must have, or with ! before it must lack"),
    ("MIN_KERNEL", "lowest version of the kernel"),
    ("MAX_KERNEL", "highest version of the kernel"),
    ("ARCH", "architectures, divided by |, with ! for all others; be and le are byte orders"),
    ("KERNELS", "where the case belongs: host (where nothing is said), 6.1, 6.12, 7.3, all"),
    ("WILL_FAIL", "an exit code other than 0 is wanted"),
    ("RETURN_CODE", "the exit code that is wanted (0)"),
    ("SERIAL", "runs while no other case does"),
    ("ANY_USER", "does not need root"),
];

/// Directives whose values may go on over indented lines.
const MULTILINE: &[&str] = &[
    "PROG",
    "RUN",
    "EXPECT",
    "EXPECT_NONE",
    "EXPECT_REGEX",
    "EXPECT_JSON",
    "STDERR",
    "STDERR_REGEX",
    "SETUP",
    "AFTER",
];

/// What a case runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Prog(String),
    Run(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// How expected and actual text are held against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    Lines,
    Regex,
    File,
    Json,
}

/// One EXPECT or STDERR directive.
#[derive(Clone, Debug)]
pub(crate) struct Expect {
    /// As it stands in the file, for messages.
    pub(crate) directive: &'static str,
    pub(crate) stream: Stream,
    pub(crate) kind: Match,
    pub(crate) wanted: bool,
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitCode {
    Exactly(i32),
    Failure,
}

/// One case, checked as far as that is possible without running it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) file: PathBuf,
    pub(crate) action: Action,
    pub(crate) args: String,
    pub(crate) expects: Vec<Expect>,
    pub(crate) timeout: Duration,
    pub(crate) ready: Option<Regex>,
    pub(crate) before: Vec<String>,
    pub(crate) after: Vec<String>,
    pub(crate) stop: Option<String>,
    pub(crate) setup: Vec<String>,
    pub(crate) cleanup: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) requires: Vec<String>,
    pub(crate) features: Vec<String>,
    pub(crate) min_kernel: Option<String>,
    pub(crate) max_kernel: Option<String>,
    pub(crate) arch: Vec<String>,
    pub(crate) kernels: Vec<String>,
    pub(crate) exit: ExitCode,
    pub(crate) serial: bool,
    pub(crate) any_user: bool,
}

/// One directive with its value.
struct Entry {
    line: usize,
    name: &'static str,
    value: String,
}

/// Reads the cases of one file.
pub(crate) fn read(path: &Path) -> Result<Vec<Case>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text, path)
}

/// Blocks divided by empty lines; `#` at the beginning of a line makes it a comment.
fn parse(text: &str, path: &Path) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let mut block: Vec<Entry> = Vec::new();
    for (n, line) in text.lines().chain([""]).enumerate() {
        let at = || format!("{}:{}", path.display(), n + 1);
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            if !block.is_empty() {
                let start = block[0].line;
                let case = case(std::mem::take(&mut block), path);
                cases.push(case.with_context(|| format!("{}:{start}", path.display()))?);
            }
        } else if line.starts_with(' ') {
            continuation(&mut block, line).with_context(at)?;
        } else {
            let (word, value) = line.split_once(' ').unwrap_or((line, ""));
            let Some(&(name, _)) = DIRECTIVES.iter().find(|(name, _)| *name == word) else {
                bail!(
                    "{}: unknown directive {word}; cargo xtask run-cases --format tells what there is",
                    at()
                );
            };
            block.push(Entry { line: n + 1, name, value: value.trim().to_owned() });
        }
    }
    Ok(cases)
}

/// The text goes on under the value of the directive before it; blanks further to the right belong to it.
fn continuation(block: &mut [Entry], line: &str) -> Result<()> {
    let Some(last) = block.last_mut() else { bail!("an indented line continues nothing") };
    if !MULTILINE.contains(&last.name) {
        bail!("{} does not go on over several lines", last.name);
    }
    let indent = line.len() - line.trim_start_matches(' ').len();
    last.value.push('\n');
    last.value += &line[indent.min(last.name.len() + 1)..];
    Ok(())
}

fn case(entries: Vec<Entry>, path: &Path) -> Result<Case> {
    let mut name = None;
    let mut action = None;
    let mut case = Case {
        id: String::new(),
        file: path.to_owned(),
        action: Action::Run(String::new()),
        args: String::new(),
        expects: Vec::new(),
        timeout: Duration::from_secs(5),
        ready: None,
        before: Vec::new(),
        after: Vec::new(),
        stop: None,
        setup: Vec::new(),
        cleanup: Vec::new(),
        env: Vec::new(),
        requires: Vec::new(),
        features: Vec::new(),
        min_kernel: None,
        max_kernel: None,
        arch: Vec::new(),
        kernels: Vec::new(),
        exit: ExitCode::Exactly(0),
        serial: false,
        any_user: false,
    };
    for Entry { name: directive, value, .. } in entries {
        let flag = matches!(directive, "WILL_FAIL" | "SERIAL" | "ANY_USER");
        if flag != value.is_empty() {
            bail!("{directive} {}", if flag { "takes no value" } else { "needs a value" });
        }
        let words = || value.split_whitespace().map(str::to_owned);
        match directive {
            "NAME" => once(&mut name, value.clone(), directive)?,
            "PROG" => once(&mut action, Action::Prog(value.clone()), directive)?,
            "RUN" => once(&mut action, Action::Run(value.clone()), directive)?,
            "ARGS" => case.args = value,
            "TIMEOUT" => case.timeout = seconds(&value)?,
            "READY" => case.ready = Some(Regex::new(&value).context("READY is no pattern")?),
            "BEFORE" => case.before.push(value),
            "AFTER" => case.after.push(value),
            "STOP" => case.stop = Some(value),
            "SETUP" => case.setup.push(value),
            "CLEANUP" => case.cleanup.push(value),
            "ENV" => case.env.extend(words().map(|w| pair(&w)).collect::<Result<Vec<_>>>()?),
            "REQUIRES" => case.requires.push(value),
            "REQUIRES_FEATURE" => case.features.extend(words()),
            "MIN_KERNEL" => case.min_kernel = Some(value),
            "MAX_KERNEL" => case.max_kernel = Some(value),
            "ARCH" => case.arch.extend(value.split('|').map(|a| a.trim().to_owned())),
            "KERNELS" => case.kernels.extend(words()),
            "WILL_FAIL" => case.exit = ExitCode::Failure,
            "RETURN_CODE" => {
                case.exit = ExitCode::Exactly(value.parse().context("RETURN_CODE is no number")?);
            }
            "SERIAL" => case.serial = true,
            "ANY_USER" => case.any_user = true,
            _ => case.expects.push(expect(directive, value)?),
        }
    }
    let name = name.context("a case has no NAME")?;
    case.action = action.with_context(|| format!("{name} has neither PROG nor RUN"))?;
    let suite = path.file_stem().unwrap_or_default().to_string_lossy();
    case.id = format!("{suite}.{name}");
    check_names(&mut case).with_context(|| name.clone())?;
    Ok(case)
}

/// What names something must name something that there is.
fn check_names(case: &mut Case) -> Result<()> {
    if case.kernels.is_empty() {
        case.kernels.push("host".into());
    }
    let vms = crate::vm::kernel_names();
    if case.kernels == ["all"] {
        case.kernels = std::iter::once("host").chain(vms.iter().copied()).map(str::to_owned).collect();
    }
    for kernel in &case.kernels {
        if kernel != "host" && !vms.contains(&kernel.as_str()) {
            bail!("KERNELS knows no {kernel}");
        }
    }
    for feature in &case.features {
        super::features::find(feature.trim_start_matches('!'))?;
    }
    if let Some(stop) = &case.stop {
        super::run::signal(stop).with_context(|| format!("STOP knows no signal {stop}"))?;
    }
    Ok(())
}

fn expect(directive: &'static str, text: String) -> Result<Expect> {
    let (stream, rest) = match directive.strip_prefix("STDERR") {
        Some(rest) => (Stream::Stderr, rest),
        None => (Stream::Stdout, directive.trim_start_matches("EXPECT")),
    };
    let (kind, wanted) = match rest {
        "" => (Match::Lines, true),
        "_NONE" => (Match::Lines, false),
        "_REGEX" => (Match::Regex, true),
        "_REGEX_NONE" => (Match::Regex, false),
        "_FILE" => (Match::File, true),
        "_JSON" => (Match::Json, true),
        _ => bail!("{directive} is listed, but nothing reads it"),
    };
    if kind == Match::Regex {
        // Placeholders become literal text later; here only the pattern's own syntax is looked at.
        Regex::new(&text.replace("{{", "").replace("}}", ""))
            .with_context(|| format!("{directive} is no pattern"))?;
    }
    Ok(Expect { directive, stream, kind, wanted, text })
}

fn once<T>(slot: &mut Option<T>, value: T, directive: &str) -> Result<()> {
    if slot.replace(value).is_some() {
        bail!("{directive} is the second of its kind in one case");
    }
    Ok(())
}

fn seconds(text: &str) -> Result<Duration> {
    let seconds: f64 = text.parse().with_context(|| format!("{text} is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).with_context(|| format!("{text} is no number of seconds"))
}

fn pair(word: &str) -> Result<(String, String)> {
    let (name, value) = word.split_once('=').with_context(|| format!("ENV {word} is not NAME=value"))?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        format!("{:#}", parse(text, Path::new("dir/file.t")).expect_err("it is wrong"))
    }

    #[test]
    fn a_block_is_a_case() {
        let text = "# comment\nNAME one\nPROG BEGIN\n     {\n       x }\nEXPECT a\n       b\nENV A=b C=\nKERNELS all\n\n\n\
                    NAME two\nRUN true\nSTDERR_REGEX_NONE .\nTIMEOUT 0.5\nRETURN_CODE 3\nANY_USER\n";
        let cases = parse(text, Path::new("dir/file.t")).expect("it is right");
        assert_eq!(cases.len(), 2);
        assert_eq!(cases[0].id, "file.one");
        assert_eq!(cases[0].action, Action::Prog("BEGIN\n{\n  x }".into()));
        assert_eq!(cases[0].expects[0].text, "a\nb");
        assert_eq!(cases[0].env, [("A".into(), "b".into()), ("C".into(), String::new())]);
        assert_eq!(cases[0].kernels, ["host", "6.1", "6.12", "7.3"]);
        assert_eq!(cases[1].kernels, ["host"]);
        let expect = &cases[1].expects[0];
        assert_eq!((expect.stream, expect.kind, expect.wanted), (Stream::Stderr, Match::Regex, false));
        assert_eq!(cases[1].timeout, Duration::from_millis(500));
        assert_eq!(cases[1].exit, ExitCode::Exactly(3));
        assert!(cases[1].any_user && !cases[0].any_user);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        assert!(
            error("NAME a\nRUN x\n\nNAME b\nEXPEKT y\n")
                .starts_with("dir/file.t:5: unknown directive EXPEKT")
        );
        assert!(error("\nRUN x\n").contains("dir/file.t:2: a case has no NAME"));
        assert!(error("NAME a\nEXPECT x\n").contains("neither PROG nor RUN"));
        assert!(error("NAME a\nRUN x\nPROG y\n").contains("second of its kind"));
        assert!(error("NAME a\nRUN x\nKERNELS 5.4\n").contains("KERNELS knows no 5.4"));
        assert!(error("NAME a\nRUN x\nREQUIRES_FEATURE !warp\n").contains("no feature warp"));
        assert!(error("NAME a\nRUN x\nSTOP NOW\n").contains("no signal NOW"));
        assert!(error("NAME a\nRUN x\nEXPECT_REGEX (\n").contains("EXPECT_REGEX is no pattern"));
        assert!(error("NAME a\nRUN x\nSERIAL yes\n").contains("takes no value"));
        assert!(error("NAME a\nRUN x\nENV\n").contains("needs a value"));
        assert!(error("NAME a\nRUN x\nTIMEOUT -1\n").contains("no number of seconds"));
        assert!(error("NAME a\nRUN x\nTIMEOUT 1\n        2\n").contains("does not go on"));
        assert!(error(" x\n").contains("continues nothing"));
    }

    #[test]
    fn every_listed_directive_is_read() {
        for (directive, _) in DIRECTIVES {
            let value = match *directive {
                "WILL_FAIL" | "SERIAL" | "ANY_USER" => "",
                "TIMEOUT" | "RETURN_CODE" => "1",
                "ENV" => "A=b",
                "KERNELS" => "host",
                "STOP" => "INT",
                "REQUIRES_FEATURE" => "btf",
                _ => "x",
            };
            let base = match *directive {
                "NAME" => "RUN x\n",
                "PROG" | "RUN" => "NAME a\n",
                _ => "NAME a\nRUN x\n",
            };
            let text = format!("{base}{directive} {value}\n");
            parse(&text, Path::new("file.t")).unwrap_or_else(|e| panic!("{directive}: {e:#}"));
        }
    }
}
