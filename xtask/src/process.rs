//! Child processes: run to completion, end with the parent, look at their CPU time.

use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Runs a command to its end and returns its output; a failure carries the last lines of its stderr.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    let what = show(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {what}"))?;
    if !output.status.success() {
        let both = [output.stderr.as_slice(), output.stdout.as_slice()].concat();
        bail!("{what}: {}\n{}", output.status, tail(&String::from_utf8_lossy(&both), 15));
    }
    Ok(output)
}

/// Like [`output`], but with bytes on stdin, and the child's verdict on them left to the caller: a
/// decompressor fed a stream that has something behind it fails after writing everything that counts.
pub(crate) fn filter(command: &mut Command, input: &[u8]) -> Result<Output> {
    let what = show(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {what}"))?;
    let mut stdin = child.stdin.take().context("stdin was asked for as a pipe")?;
    std::thread::scope(|scope| {
        // The child may stop reading whenever it has enough.
        scope.spawn(move || {
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().with_context(|| format!("cannot read from {what}"))
    })
}

/// The command as a person would type it, for messages.
pub(crate) fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The last `lines` lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Where `name` is in PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|p| is_executable(p))
}

/// Whether `path` is a file with an execute bit.
pub(crate) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Whether xtask runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A child that cannot outlive xtask: killed when the guard is dropped, and by the kernel
/// (`PR_SET_PDEATHSIG`, set by setpriv) when the thread that started it ends without running destructors.
/// It sits in a process group of its own, so that a Ctrl-C at the terminal reaches xtask first.
pub(crate) struct Tethered {
    child: Child,
    /// For messages.
    pub(crate) name: &'static str,
}

impl Tethered {
    pub(crate) fn spawn(
        name: &'static str,
        program: &Path,
        configure: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).process_group(0).stdin(Stdio::null());
        configure(&mut command);
        let child = command.spawn().with_context(|| format!("cannot start {name} through setpriv"))?;
        Ok(Tethered { child, name })
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))?.is_some())
    }

    /// CPU time used so far by all its threads; zero when it is gone.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(self.child.id())
    }

    /// Kills it. Neither QEMU nor the file servers hold anything back that would be lost.
    pub(crate) fn end(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Tethered {
    fn drop(&mut self) {
        self.end();
    }
}

/// CPU time of a process and the children it has waited for, from /proc/PID/stat (proc(5), fields 14 to 17, in ticks).
fn cpu_of(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    Duration::from_millis(stat_ticks(&stat) * 1000 / rustix::param::clock_ticks_per_second().max(1))
}

fn stat_ticks(stat: &str) -> u64 {
    // The name in field 2 may hold anything, so count from the last closing parenthesis.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields = after_name.split_ascii_whitespace();
    fields.skip(11).take(4).filter_map(|f| f.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_fields_are_found_behind_a_hostile_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 10 20 30 40 20 0 1 0 5 1000 1";
        assert_eq!(stat_ticks(stat), 100);
        assert_eq!(stat_ticks(""), 0);
    }

    #[test]
    fn a_dropped_child_is_dead() {
        let sleep = find_program("sleep").expect("coreutils are there");
        let mut child = Tethered::spawn("sleep", &sleep, |c| {
            c.arg("60");
        })
        .expect("sleep starts");
        let pid = child.child().id();
        assert!(!child.has_ended().expect("it can be waited for"));
        drop(child);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_failed_command_shows_its_stderr() {
        let error =
            output(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).expect_err("it exits with 3");
        assert!(error.to_string().contains("exit status: 3\nwhy"), "{error}");
    }
}
