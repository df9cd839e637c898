//! One case from set-up to verdict.

use super::check;
use super::leftovers;
use super::parse::{Action, Case, ExitCode, Match, Stream};
use super::{Outcome, Settings};
use anyhow::{Context, Result, bail};
use regex::Regex;
use rustix::process::{Pid, Signal};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Set in the environment, it makes a tracer print a line of the same name when its probes are attached.
const NOTICE: &str = "__BPFTRACE_NOTIFY_PROBES_ATTACHED";

/// For becoming ready, on top of the case's own time.
const READY_TIME: Duration = Duration::from_secs(10);

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(1);

/// Runs a case of which is known that it can run here.
pub(crate) fn run(case: &Case, settings: &Settings) -> Outcome {
    match attempt(case, settings) {
        Ok(outcome) => outcome,
        Err(e) => Outcome::fail(format!("{e:#}")),
    }
}

/// The signal of a name without SIG.
pub(crate) fn signal(name: &str) -> Result<Signal> {
    Ok(match name {
        "INT" => Signal::INT,
        "TERM" => Signal::TERM,
        "HUP" => Signal::HUP,
        "QUIT" => Signal::QUIT,
        "KILL" => Signal::KILL,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "PIPE" => Signal::PIPE,
        _ => bail!("there are INT, TERM, HUP, QUIT, KILL, USR1, USR2, PIPE"),
    })
}

fn attempt(case: &Case, settings: &Settings) -> Result<Outcome> {
    let scratch = Scratch::new()?;
    let mut stage = Stage { case, settings, scratch: &scratch, before: Vec::new(), pid: None };
    let outcome = stage.play();
    stage.before.clear();
    for line in &case.cleanup {
        // Whatever went wrong, the rest of the clean-up must run.
        let _ = stage.shell(line).and_then(|mut c| Ok(c.status()?));
    }
    let mut outcome = outcome?;
    if let Some(left) = stage.leftovers() {
        outcome.blame(left);
    }
    Ok(outcome)
}

struct Stage<'a> {
    case: &'a Case,
    settings: &'a Settings,
    scratch: &'a Scratch,
    before: Vec<Group>,
    /// Of the command under test, once it is known.
    pid: Option<u32>,
}

impl Stage<'_> {
    fn play(&mut self) -> Result<Outcome> {
        for line in &self.case.setup {
            let output = self.shell(line)?.stderr(Stdio::piped()).output().context("cannot start a shell")?;
            if !output.status.success() {
                bail!("SETUP {line}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
            }
        }
        for line in &self.case.before {
            let started = self.start_before(line).with_context(|| format!("BEFORE {line}"))?;
            self.before.push(started);
        }
        let mut command = self.command()?;
        command.env(NOTICE, "1").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Group::spawn(&mut command)?;
        let ready = Arc::new(AtomicBool::new(false));
        let (out, err) = (child.child.stdout.take(), child.child.stderr.take());
        let (out, err) =
            (out.context("stdout was asked for as a pipe")?, err.context("stderr was asked for as a pipe")?);
        let pattern = self.case.ready.clone();
        let capture = [
            Capture::start(out, pattern.clone(), ready.clone()),
            Capture::start(err, pattern, ready.clone()),
        ];
        let end = self.follow(&mut child, &ready)?;
        child.kill(GRACE);
        let [stdout, stderr] = capture.map(Capture::finish);
        let mut outcome = Outcome::pass(stdout, stderr);
        if let Some(fault) = self.verdict(&outcome, &end)? {
            outcome.blame(fault);
        }
        Ok(outcome)
    }

    /// Waits for the command, and does what is to be done meanwhile.
    fn follow(&mut self, child: &mut Group, ready: &AtomicBool) -> Result<End> {
        let factor = self.settings.factor;
        let mut deadline = Instant::now() + (READY_TIME + self.case.timeout).mul_f64(factor);
        let mut errands = self.case.after.iter();
        let mut errand: Option<Group> = None;
        let (mut was_ready, mut stopped) = (false, self.case.stop.is_none());
        let status = loop {
            if let Some(status) = child.child.try_wait().context("cannot wait for the command")? {
                break Some(status);
            }
            if !was_ready && ready.load(Ordering::Acquire) {
                was_ready = true;
                deadline = Instant::now() + self.case.timeout.mul_f64(factor);
                self.pid = Some(self.process_id(child));
            }
            let running = match &mut errand {
                Some(group) => group.child.try_wait().context("cannot wait for AFTER")?.is_none(),
                None => false,
            };
            if was_ready && !running {
                errand = match errands.next() {
                    Some(line) => Some(Group::spawn(&mut self.shell(line)?)?),
                    None => None,
                };
                if errand.is_none() && !stopped {
                    let name = self.case.stop.as_deref().unwrap_or_default();
                    let pid = self.pid.and_then(|p| Pid::from_raw(i32::try_from(p).ok()?));
                    rustix::process::kill_process(pid.context("no process to stop")?, signal(name)?)
                        .context("STOP found no process")?;
                    stopped = true;
                }
            }
            if Instant::now() > deadline {
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        // A line that still runs has nobody to run for; dropping it ends it.
        let errands_left = errands.len();
        Ok(End { status, was_ready, stopped, errands_left })
    }

    /// What is wrong, if anything is.
    fn verdict(&self, outcome: &Outcome, end: &End) -> Result<Option<String>> {
        let dir = self.case.file.parent().unwrap_or(Path::new("."));
        let late = end.status.is_none().then_some(if end.was_ready { "out of time" } else { "never ready" });
        for expect in &self.case.expects {
            let text = self.fill(&expect.text, expect.kind == Match::Regex)?;
            let actual = if expect.stream == Stream::Stdout { &outcome.stdout } else { &outcome.stderr };
            if let Some(fault) = check::difference(expect, &text, actual, dir)? {
                return Ok(Some(late.map_or(fault.clone(), |late| format!("{late}; {fault}"))));
            }
        }
        let Some(status) = end.status else { return Ok(late.map(str::to_owned)) };
        if !end.was_ready && (end.errands_left > 0 || !end.stopped) {
            return Ok(Some("ended without having been ready".into()));
        }
        if !end.stopped {
            return Ok(Some("ended before it was stopped".into()));
        }
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Ok(match self.case.exit {
            ExitCode::Exactly(wanted) if wanted != code => Some(format!("exit code {code}, not {wanted}")),
            ExitCode::Failure if code == 0 => Some("exit code 0, not a failure".into()),
            _ => None,
        })
    }

    /// The command under test. A script is run without a shell in between.
    fn command(&self) -> Result<Command> {
        match &self.case.action {
            Action::Run(line) => self.shell(line),
            Action::Prog(script) => {
                let trace = self.fill("{{TRACE}}", false)?;
                let mut words = trace.split_whitespace();
                let mut command = Command::new(words.next().context("no command for scripts: give --bin")?);
                command.args(words);
                for word in self.fill(&self.case.args, false)?.split_whitespace() {
                    command.arg(word);
                }
                command.arg("-e").arg(self.fill(script, false)?);
                self.surround(&mut command)?;
                Ok(command)
            }
        }
    }

    fn shell(&self, line: &str) -> Result<Command> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(self.fill(line, false)?).stdout(Stdio::null()).stderr(Stdio::null());
        self.surround(&mut command)?;
        Ok(command)
    }

    /// Folder and environment of everything that a case starts.
    fn surround(&self, command: &mut Command) -> Result<()> {
        command.env_clear().current_dir(&self.scratch.dir).stdin(Stdio::null());
        let keep = |name: &str| std::env::var_os(name).map(|value| (name.to_owned(), value));
        command.envs(["PATH", "HOME", "USER", "XDG_CACHE_HOME"].into_iter().filter_map(keep));
        command.env("LC_ALL", "C.UTF-8").env("TMPDIR", self.scratch.temporary());
        let (name, value) = self.scratch.mark();
        command.env(name, value);
        for (name, value) in &self.case.env {
            command.env(name, self.fill(value, false)?);
        }
        Ok(())
    }

    /// Ready when the shell has become the command.
    fn start_before(&self, line: &str) -> Result<Group> {
        let mut shell = self.shell(&format!("exec {line}"))?;
        let group = Group::spawn(&mut shell)?;
        let pid = group.child.id();
        let mut group = group;
        let deadline = Instant::now() + Duration::from_secs(5).mul_f64(self.settings.factor);
        loop {
            if let Some(status) = group.child.try_wait().context("cannot wait for it")? {
                bail!("ended at once: {status}");
            }
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let second = words.split(|b| *b == 0).nth(2).unwrap_or_default();
            if !words.is_empty() && !second.starts_with(b"exec ") {
                return Ok(group);
            }
            if Instant::now() > deadline {
                bail!("did not start");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The process of the command under test: of a shell line, the one that runs the binary.
    fn process_id(&self, group: &Group) -> u32 {
        let top = group.child.id();
        let mut family = vec![top];
        let all = leftovers::processes();
        let mut next = 0;
        while let Some(&parent) = family.get(next) {
            family.extend(all.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
            next += 1;
        }
        let exe = |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let binary = self
            .settings
            .bin
            .split_whitespace()
            .next()
            .map(|p| Path::new(p).canonicalize().unwrap_or_default());
        let shell = Path::new("/bin/sh").canonicalize().unwrap_or_default();
        let is_binary = |pid: &&u32| binary.as_ref().is_some_and(|b| exe(**pid) == *b);
        let found = family.iter().find(is_binary).or_else(|| family.iter().find(|pid| exe(**pid) != shell));
        found.copied().unwrap_or(top)
    }

    /// Fills in placeholders.
    fn fill(&self, text: &str, escape: bool) -> Result<String> {
        static PLACEHOLDER: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"\{\{([A-Z_]+)\}\}").expect("the pattern is a constant"));
        let mut filled = String::new();
        let mut rest = 0;
        for found in PLACEHOLDER.captures_iter(text) {
            let (whole, name) = (found.get(0).context("a match has a place")?, &found[1]);
            filled += &text[rest..whole.start()];
            rest = whole.end();
            let value = self.value(name)?;
            filled += &if escape { regex::escape(&value) } else { value };
        }
        Ok(filled + &text[rest..])
    }

    fn value(&self, name: &str) -> Result<String> {
        let settings = self.settings;
        let pid = |pid: Option<u32>| pid.map(|p| p.to_string());
        let value = match name {
            "BIN" => Some(settings.bin.clone()),
            "TRACE" => Some(settings.trace.clone()),
            "COMM" => {
                let word = settings.bin.split_whitespace().next().unwrap_or_default();
                let name = word.rsplit('/').next().unwrap_or_default();
                // TASK_COMM_LEN of include/linux/sched.h, less its zero.
                Some(name.chars().take(15).collect())
            }
            "XTASK" => Some(settings.xtask.display().to_string()),
            "TMP" => Some(self.scratch.dir.display().to_string()),
            "DIR" => Some(self.case.file.parent().unwrap_or(Path::new(".")).display().to_string()),
            "PID" => pid(self.pid),
            "BEFORE_PID" => pid(self.before.first().map(|b| b.child.id())),
            "ANY" => Some("{{ANY}}".to_owned()),
            _ => bail!("there is no placeholder {{{{{name}}}}}"),
        };
        value.with_context(|| format!("{{{{{name}}}}} is not known here"))
    }

    /// What is left of the case that has no business to be: it is removed, and named.
    fn leftovers(&self) -> Option<String> {
        let (name, value) = self.scratch.mark();
        let stray = leftovers::processes_with(&format!("{name}={value}"));
        for pid in &stray {
            if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        if !stray.is_empty() {
            return Some(format!("left behind {} process(es)", stray.len()));
        }
        let files = std::fs::read_dir(self.scratch.temporary()).into_iter().flatten().flatten();
        let files: Vec<_> = files.map(|f| f.file_name().to_string_lossy().into_owned()).collect();
        (!files.is_empty()).then(|| format!("left behind temporary files: {}", files.join(", ")))
    }
}

/// How the command ended.
struct End {
    /// `None`: it had to be killed.
    status: Option<ExitStatus>,
    was_ready: bool,
    stopped: bool,
    errands_left: usize,
}

/// The folder of one run of a case.
struct Scratch {
    dir: PathBuf,
    number: u32,
}

impl Scratch {
    fn new() -> Result<Scratch> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("xtask-case-{}-{number}", std::process::id()));
        let scratch = Scratch { dir, number };
        let temporary = scratch.temporary();
        std::fs::create_dir_all(&temporary)
            .with_context(|| format!("cannot create {}", temporary.display()))?;
        Ok(scratch)
    }

    /// Where the case's commands put temporary files.
    fn temporary(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    /// A variable of the environment that no process outside of this case has.
    fn mark(&self) -> (&'static str, String) {
        ("XTASK_CASE", format!("{}-{}", std::process::id(), self.number))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A child with a process group of its own, which ends with it.
struct Group {
    child: Child,
}

impl Group {
    fn spawn(command: &mut Command) -> Result<Group> {
        let what = crate::process::show(command);
        let child = command.process_group(0).spawn().with_context(|| format!("cannot start {what}"))?;
        Ok(Group { child })
    }

    /// SIGTERM to all of the group, and SIGKILL to those who do not listen.
    fn kill(&mut self, grace: Duration) {
        let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return };
        if rustix::process::kill_process_group(group, Signal::TERM).is_err() {
            let _ = self.child.wait();
            return;
        }
        let deadline = Instant::now() + grace;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill(Duration::from_millis(200));
    }
}

/// One stream of the command, collected by a thread.
struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Capture {
    fn start(mut from: impl Read + Send + 'static, ready: Option<Regex>, flag: Arc<AtomicBool>) -> Capture {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            let mut looked_at = 0;
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                let mut bytes = shared.lock().expect("adding bytes does not panic");
                bytes.extend_from_slice(&buffer[..n]);
                while let Some(length) = bytes[looked_at..].iter().position(|b| *b == b'\n') {
                    let line = String::from_utf8_lossy(&bytes[looked_at..looked_at + length]);
                    if ready.as_ref().map_or(line.trim() == NOTICE, |r| r.is_match(&line)) {
                        flag.store(true, Ordering::Release);
                    }
                    looked_at += length + 1;
                }
            }
        });
        Capture { bytes, thread }
    }

    /// The text, without the notice. A process that escaped may hold the pipe open: not for long.
    fn finish(self) -> String {
        let deadline = Instant::now() + GRACE;
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        let bytes = self.bytes.lock().expect("adding bytes does not panic");
        let text = String::from_utf8_lossy(&bytes);
        text.split_inclusive('\n').filter(|line| line.trim() != NOTICE).collect()
    }
}
