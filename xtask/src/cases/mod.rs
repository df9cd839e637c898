//! `cargo xtask run-cases`: what the binary does at run time, as text.

mod check;
pub(crate) mod features;
mod leftovers;
pub(crate) mod parse;
mod run;

use crate::ui;
use anyhow::{Context, Result, bail};
use leftovers::Watch;
pub(crate) use leftovers::leave_map;
use parse::Case;
use regex::Regex;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

const HELP: &str = "\
usage: cargo xtask run-cases --bin COMMAND [OPTION...] [FILE|FOLDER...]

Runs the cases of the .t files given, or of tests/run.

  --bin COMMAND     the binary under test; {{BIN}} in cases
  --trace COMMAND   what runs scripts (COMMAND trace); {{TRACE}} in cases
  --kernel NAME     which kernel this is, as KERNELS in cases names it (host)
  --jobs N          cases at a time (number of CPUs)
  --filter REGEX    only cases whose id matches
  --factor X        multiplies all time limits, for slow machines
  --json FILE       write events as one JSON object a line; - is stdout, instead of text
  --list            only print the ids
  --format          explain the format of case files
  --features        print what the kernel here can do

Exit code: 0 when no case failed.";

const FORMAT: &str = "\
A case file is a list of blocks divided by empty lines; lines that begin with # are comments. Each line of a
block is a directive and its value. A line that begins with blanks goes on with the value before it, from
the column where that value began.

A case that cannot run here is skipped, with the reason. One that KERNELS sends to the kernels of the matrix
must find its features there: lacking one is a failure.

Placeholders: {{BIN}} and {{TRACE}} the commands, {{COMM}} the name of the command's process, {{PID}} its
process id (once it is ready), {{BEFORE_PID}} that of the first BEFORE, {{TMP}} the case's own folder, where
its commands run, {{DIR}} the folder of the case file, {{XTASK}} this program.

A command is ready when it prints __BPFTRACE_NOTIFY_PROBES_ATTACHED, which the variable of that name makes
tracers do, or the line that READY describes. A case fails when its command does not end in time, exits with
another code than the one wanted, prints something else than expected, or leaves behind processes, files in
$TMPDIR, BPF objects, pins or trace events.
";

/// What all cases of a run have in common.
pub(crate) struct Settings {
    pub(crate) bin: String,
    pub(crate) trace: String,
    pub(crate) xtask: PathBuf,
    kernel: String,
    pub(crate) factor: f64,
    jobs: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Pass,
    Fail,
    Skip,
}

impl Status {
    /// As it stands in events.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Fail => "fail",
            Status::Skip => "skip",
        }
    }
}

/// The result of one case.
pub(crate) struct Outcome {
    pub(crate) status: Status,
    pub(crate) reason: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    fn pass(stdout: String, stderr: String) -> Outcome {
        Outcome { status: Status::Pass, reason: String::new(), stdout, stderr }
    }

    fn fail(reason: String) -> Outcome {
        Outcome { status: Status::Fail, reason, stdout: String::new(), stderr: String::new() }
    }

    fn skip(reason: String) -> Outcome {
        Outcome { status: Status::Skip, reason, stdout: String::new(), stderr: String::new() }
    }

    /// Makes it a failure, for this reason too.
    fn blame(&mut self, reason: String) {
        self.status = Status::Fail;
        self.reason = if self.reason.is_empty() { reason } else { format!("{}; {reason}", self.reason) };
    }
}

/// The subcommand. Returns the exit code.
pub(crate) fn main(mut parser: lexopt::Parser) -> Result<u8> {
    use lexopt::prelude::*;
    let (mut bin, mut trace, mut json, mut filter) = (String::new(), None, None, None);
    let mut settings = Settings {
        bin: String::new(),
        trace: String::new(),
        xtask: std::env::current_exe().context("cannot tell where xtask is")?,
        kernel: "host".into(),
        factor: 1.0,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let (mut paths, mut list) = (Vec::new(), false);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("bin") => bin = parser.value()?.string()?,
            Long("trace") => trace = Some(parser.value()?.string()?),
            Long("kernel") => settings.kernel = parser.value()?.string()?,
            Long("jobs") => settings.jobs = parser.value()?.parse()?,
            Long("filter") => {
                filter = Some(Regex::new(&parser.value()?.string()?).context("--filter is no pattern")?);
            }
            Long("factor") => settings.factor = parser.value()?.parse()?,
            Long("json") => json = Some(parser.value()?.string()?),
            Long("list") => list = true,
            Long("format") => return Ok(print(&format_help())),
            Long("features") => return Ok(print(&features::list())),
            Long("help") | Short('h') => return Ok(print(HELP)),
            Value(path) => paths.push(PathBuf::from(path)),
            other => return Err(other.unexpected().into()),
        }
    }
    let mut cases = load(&if paths.is_empty() { vec![crate::root().join("tests/run")] } else { paths })?;
    cases.retain(|case| {
        filter.as_ref().is_none_or(|f| f.is_match(&case.id)) && case.kernels.contains(&settings.kernel)
    });
    if list {
        for case in &cases {
            ui::out(&case.id);
        }
        return Ok(0);
    }
    if cases.is_empty() {
        bail!("no case for {} is selected", settings.kernel);
    }
    settings.bin = command_line(&bin);
    settings.trace = trace.map_or_else(|| format!("{} trace", settings.bin), |t| command_line(&t));
    let report = Report::new(json.as_deref())?;
    let failed = run_all(&cases, &settings, &report);
    report.total(cases.len());
    Ok(u8::from(failed))
}

fn print(text: &str) -> u8 {
    ui::out(text.trim_end());
    0
}

fn format_help() -> String {
    let rows: Vec<Vec<String>> =
        parse::DIRECTIVES.iter().map(|(name, what)| vec![format!("  {name}"), (*what).to_owned()]).collect();
    format!("{FORMAT}\n{}", ui::table(&rows, &[]))
}

/// Cases run in folders of their own: what names a file must do so from anywhere.
fn command_line(command: &str) -> String {
    let (program, rest) = command.split_once(' ').unwrap_or((command, ""));
    let absolute = if program.contains('/') { std::path::absolute(program).ok() } else { None };
    let program = absolute.map_or_else(|| program.to_owned(), |p| p.display().to_string());
    format!("{program} {rest}").trim_end().to_owned()
}

/// All cases of files and folders, in order. Ids are unique.
pub(crate) fn load(paths: &[PathBuf]) -> Result<Vec<Case>> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    let mut cases = Vec::new();
    for file in files {
        cases.extend(parse::read(&std::path::absolute(&file).unwrap_or(file))?);
    }
    let mut ids = HashSet::new();
    for case in &cases {
        if !ids.insert(&case.id) {
            bail!("two cases are called {}", case.id);
        }
    }
    Ok(cases)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
    let mut entries: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    entries.sort();
    for entry in entries.into_iter().filter(|e| e.is_dir() || e.extension().is_some_and(|x| x == "t")) {
        collect(&entry, files)?;
    }
    Ok(())
}

/// Runs the cases: those that mind company last, one behind the other. Whether any failed.
fn run_all(cases: &[Case], settings: &Settings, report: &Report) -> bool {
    let watch = Watch::start();
    let (alone, together): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| case.serial);
    let one = |case: &Case| {
        report.start(case);
        let started = Instant::now();
        let outcome = obstacle(case, settings).unwrap_or_else(|| run::run(case, settings));
        watch.after(&case.id);
        report.end(case, &outcome, started);
    };
    let queue = Mutex::new(together.into_iter());
    let next = || queue.lock().expect("taking the next one does not panic").next();
    std::thread::scope(|scope| {
        for _ in 0..settings.jobs.max(1) {
            scope.spawn(|| {
                while let Some(case) = next() {
                    one(case);
                }
            });
        }
    });
    alone.into_iter().for_each(one);
    for (case, what) in watch.finish() {
        report.left(&case, &what);
    }
    report.any_failed()
}

/// Why a case cannot run here.
fn obstacle(case: &Case, settings: &Settings) -> Option<Outcome> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let bound = |bound: &Option<String>| bound.clone().map(|b| (version(&b), b));
    if !architecture_fits(&case.arch) {
        return Some(Outcome::skip(format!("not for {}", std::env::consts::ARCH)));
    }
    if let Some((_, text)) = bound(&case.min_kernel).filter(|(v, _)| *v > version(&release)) {
        return Some(Outcome::skip(format!("kernel {release} is older than {text}")));
    }
    if let Some((_, text)) = bound(&case.max_kernel).filter(|(v, _)| *v < version(&release)) {
        return Some(Outcome::skip(format!("kernel {release} is newer than {text}")));
    }
    if !case.any_user && !crate::process::is_root() {
        return Some(Outcome::skip("needs root".into()));
    }
    for wanted in &case.features {
        let (name, there) = wanted.strip_prefix('!').map_or((wanted.as_str(), true), |name| (name, false));
        let feature = match features::find(name) {
            Ok(feature) => feature,
            Err(e) => return Some(Outcome::fail(e.to_string())),
        };
        if feature.is_here() != there {
            let reason = format!("kernel {} {name}", if there { "lacks" } else { "has" });
            // The kernels of the matrix are known: there the case was meant to run.
            let host = settings.kernel == "host";
            return Some(if host { Outcome::skip(reason) } else { Outcome::fail(reason) });
        }
    }
    let lacks = |line: &&String| {
        let status = std::process::Command::new("/bin/sh")
            .args(["-c", &line.replace("{{XTASK}}", &settings.xtask.display().to_string())])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status();
        !status.is_ok_and(|s| s.success())
    };
    case.requires.iter().find(lacks).map(|line| Outcome::skip(format!("requires {line}")))
}

fn architecture_fits(wanted: &[String]) -> bool {
    let order = if cfg!(target_endian = "big") { "be" } else { "le" };
    let is_here = |name: &str| name == std::env::consts::ARCH || name == order;
    let (not, only): (Vec<&String>, Vec<&String>) = wanted.iter().partition(|a| a.starts_with('!'));
    (only.is_empty() || only.iter().any(|a| is_here(a))) && !not.iter().any(|a| is_here(&a[1..]))
}

/// The first three numbers of a release.
fn version(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).take(3).collect()
}

/// Tells people or programs how the run goes.
struct Report {
    json: Option<Mutex<Box<dyn Write + Send>>>,
    text: bool,
    counts: Mutex<[usize; 3]>,
}

impl Report {
    fn new(json: Option<&str>) -> Result<Report> {
        let target: Option<Box<dyn Write + Send>> = match json {
            None => None,
            Some("-") => Some(Box::new(std::io::stdout())),
            Some(path) => {
                Some(Box::new(std::fs::File::create(path).with_context(|| format!("cannot write {path}"))?))
            }
        };
        Ok(Report { json: target.map(Mutex::new), text: json != Some("-"), counts: Mutex::new([0; 3]) })
    }

    fn event(&self, event: &Value) {
        if let Some(json) = &self.json {
            let mut json = json.lock().expect("writing does not panic");
            let _ = json.write_all(format!("{event}\n").as_bytes()).and_then(|()| json.flush());
        }
    }

    fn start(&self, case: &Case) {
        self.event(&json!({ "event": "start", "id": case.id }));
    }

    fn end(&self, case: &Case, outcome: &Outcome, started: Instant) {
        let mut event = json!({ "event": "end", "id": case.id, "status": outcome.status.name(),
            "ms": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX) });
        if !outcome.reason.is_empty() {
            event["reason"] = Value::from(outcome.reason.clone());
        }
        if outcome.status == Status::Fail {
            event["stdout"] = Value::from(last(&outcome.stdout));
            event["stderr"] = Value::from(last(&outcome.stderr));
        }
        self.event(&event);
        self.count(outcome.status);
        if self.text {
            ui::out(&lines(
                &case.id,
                outcome.status.name(),
                &outcome.reason,
                &outcome.stdout,
                &outcome.stderr,
            ));
        }
    }

    /// What a case left behind, found when all were through.
    fn left(&self, case: &str, what: &str) {
        let reason = format!("left behind {what}");
        self.event(&json!({ "event": "left", "id": case, "reason": reason }));
        self.count(Status::Fail);
        if self.text {
            ui::out(&lines(case, "fail", &reason, "", ""));
        }
    }

    fn total(&self, cases: usize) {
        let [pass, fail, skip] = *self.counts.lock().expect("counting does not panic");
        self.event(&json!({ "event": "total", "cases": cases, "pass": pass, "fail": fail, "skip": skip }));
        if self.text {
            ui::out(&format!("{pass} passed, {fail} failed, {skip} skipped"));
        }
    }

    fn count(&self, status: Status) {
        self.counts.lock().expect("counting does not panic")[status as usize] += 1;
    }

    fn any_failed(&self) -> bool {
        self.counts.lock().expect("counting does not panic")[Status::Fail as usize] > 0
    }
}

/// Enough of an output to see what went wrong.
fn last(text: &str) -> String {
    crate::process::tail(text, 40)
}

/// One case for people. The outputs are shown where it failed.
pub(crate) fn lines(id: &str, status: &str, reason: &str, stdout: &str, stderr: &str) -> String {
    let mut text = format!("{status}  {id}");
    if !reason.is_empty() {
        text += &format!("  ({reason})");
    }
    if status == Status::Fail.name() {
        for (name, output) in [("stdout", stdout), ("stderr", stderr)] {
            for line in last(output).lines() {
                text += &format!("\n      {name}| {line}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_chosen_and_excluded() {
        let fits =
            |list: &[&str]| architecture_fits(&list.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
        let here = std::env::consts::ARCH;
        assert!(fits(&[]) && fits(&["vax", here]) && fits(&["!vax"]));
        assert!(!fits(&["vax"]) && !fits(&[&format!("!{here}")]));
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(version("6.12.3+deb") > version("6.2") && version("6.1.0-9-amd64") >= version("6.1"));
    }
}
