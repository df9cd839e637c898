//! Case files: tests as text.
//!
//! A case file holds many cases of one component. Everything before the first case is a comment.
//!
//! ```text
//! === name of the case
//! attribute: value
//! --- input
//! any lines
//! --- expected
//! any lines
//! ```
//!
//! A component's runner is a `[[test]]` target with `harness = false` whose `main` calls [`run`] with the
//! folder of its files and a function from [`Case`] to the sections that it produced. Each produced section
//! is compared with the section of that name in the file. With `SKEP_BLESS=1` in the environment the file
//! is rewritten with what was produced; read the difference before committing it.
//!
//! A line of a section that would itself begin with `=== ` or `--- ` is written with a backslash before it.
#![forbid(unsafe_code)]

mod file;

pub use file::{Case, ParseError, parse};

use libtest_mimic::{Arguments, Failed, Trial};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Why a case has no result to compare.
#[derive(Debug)]
pub enum Stop {
    /// It cannot run here; the text says what is missing. Counted and named, never silent.
    Skip(String),
    /// It went wrong before there was anything to compare.
    Fail(String),
}

impl From<String> for Stop {
    fn from(text: String) -> Self {
        Stop::Fail(text)
    }
}

impl From<&str> for Stop {
    fn from(text: &str) -> Self {
        Stop::Fail(text.to_owned())
    }
}

/// What a runner hands back: `(section, text)` pairs, in the order in which they should stand in the file.
pub type Outcome = Result<Vec<(&'static str, String)>, Stop>;

/// Runs every case of the `.case` files below `dir` (relative to the package that calls) and returns the
/// exit code of the test target.
///
/// Arguments are those of the standard test harness: a filter, `--list`, `--test-threads` and so on.
pub fn run(dir: &str, runner: impl Fn(&Case) -> Outcome + Send + Sync + 'static) -> std::process::ExitCode {
    let args = Arguments::from_args();
    let bless = std::env::var_os("SKEP_BLESS").is_some_and(|v| v == "1");
    let runner = Arc::new(runner);
    let skipped = Arc::new(Mutex::new(Vec::new()));
    let mut trials = Vec::new();
    let mut files = case_files(Path::new(dir));
    files.sort();
    if files.is_empty() {
        trials.push(Trial::test(format!("{dir}: no case files"), || Err("nothing to run".into())));
    }
    for path in files {
        let label = path.strip_prefix(dir).unwrap_or(&path).with_extension("").display().to_string();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) => {
                trials.push(Trial::test(label, move || Err(Failed::from(e.to_string()))));
                continue;
            }
        };
        match parse(&text) {
            Ok(cases) => {
                let blessing = bless.then(|| Arc::new(Mutex::new(file::Rewriter::new(path.clone(), text))));
                for case in cases {
                    let (runner, skipped, blessing) = (runner.clone(), skipped.clone(), blessing.clone());
                    let name = format!("{label}::{}", case.name);
                    let title = name.clone();
                    trials.push(Trial::test(name, move || {
                        judge(&case, runner(&case), &title, &skipped, blessing.as_deref())
                    }));
                }
            }
            Err(e) => trials.push(Trial::test(label, move || Err(Failed::from(e.to_string())))),
        }
    }
    let conclusion = libtest_mimic::run(&args, trials);
    report_skips(&skipped.lock().expect("no runner panics while it holds the list"));
    conclusion.exit_code()
}

fn judge(
    case: &Case,
    outcome: Outcome,
    title: &str,
    skipped: &Mutex<Vec<String>>,
    blessing: Option<&Mutex<file::Rewriter>>,
) -> Result<(), Failed> {
    let produced = match outcome {
        Ok(produced) => produced,
        Err(Stop::Skip(why)) => {
            skipped.lock().expect("no runner panics while it holds the list").push(format!("{title}: {why}"));
            return Ok(());
        }
        Err(Stop::Fail(why)) => return Err(why.into()),
    };
    if let Some(rewriter) = blessing {
        let mut rewriter = rewriter.lock().expect("rewriting does not panic");
        return rewriter.bless(case, &produced).map_err(|e| e.to_string().into());
    }
    let mut wrong = String::new();
    for (name, actual) in &produced {
        let expected = case.section(name).unwrap_or("");
        if expected.trim_end() != actual.trim_end() {
            wrong +=
                &format!("section {name} differs (line {}):\n{}", case.line, difference(expected, actual));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}

/// Both texts in full below the first line that differs: cases are short, so a real diff is not worth its code.
fn difference(expected: &str, actual: &str) -> String {
    let same = expected.lines().zip(actual.lines()).take_while(|(a, b)| a == b).count();
    let tail = |text: &str, sign: char| {
        let lines: Vec<_> = text.trim_end().lines().skip(same).map(|l| format!("{sign} {l}\n")).collect();
        lines.concat()
    };
    format!("  ({same} equal lines)\n{}{}", tail(expected, '-'), tail(actual, '+'))
}

fn case_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(case_files(&path));
        } else if path.extension().is_some_and(|e| e == "case") {
            files.push(path);
        }
    }
    files
}

#[allow(clippy::print_stdout, reason = "a test harness reports on stdout")]
fn report_skips(skipped: &[String]) {
    for line in skipped {
        println!("skipped: {line}");
    }
    if !skipped.is_empty() {
        println!("{} skipped", skipped.len());
    }
}
