//! What one run of a command costs, and what many of them do.

use anyhow::{Context, Result, bail};
use skep_sys::poll::{PidFd, Poller, Signal};
use skep_sys::process::{Usage, try_wait_with_usage};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// One run of a command with its children.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    /// Bytes, of the process that had most.
    pub(crate) peak_memory: u64,
}

/// A command that runs, with its output in files: a pipe that nobody empties would hold it up.
pub(crate) struct Running {
    child: Child,
    handle: PidFd,
    started: Instant,
    output: PathBuf,
    ended: bool,
}

impl Running {
    /// Starts a command in a process group of its own, both streams going to one file in `folder`.
    pub(crate) fn start(command: &mut Command, folder: &Path) -> Result<Running> {
        let path = folder.join("output");
        // Both streams write through one file position; reading has its own.
        let output = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let clone = || output.try_clone().context("cannot share a file");
        command.stdin(Stdio::null()).stdout(clone()?).stderr(clone()?).process_group(0);
        let what = crate::process::show(command);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {what}"))?;
        let handle = PidFd::open(child.id()).context("cannot watch a child")?;
        Ok(Running { child, handle, started, output: path, ended: false })
    }

    /// Everything that it has written so far.
    pub(crate) fn output(&self) -> Result<String> {
        let bytes =
            std::fs::read(&self.output).with_context(|| format!("cannot read {}", self.output.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until its output has a line that contains `text`.
    pub(crate) fn wait_for(&mut self, text: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let output = self.output()?;
            if output.contains(text) {
                return Ok(());
            }
            if self.handle.has_ended().context("cannot watch a child")? || Instant::now() > deadline {
                bail!("did not get ready: {}", crate::process::tail(&output, 5));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A signal for the whole group, as the terminal sends it.
    pub(crate) fn interrupt(&self) -> Result<()> {
        self.signal(rustix::process::Signal::INT)
    }

    fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        let group = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let group = group.context("a child has a number")?;
        rustix::process::kill_process_group(group, signal).context("cannot send a signal")
    }

    /// Waits for the end.
    pub(crate) fn finish(&mut self, limit: Duration) -> Result<(ExitStatus, Sample)> {
        let mut poller = Poller::new().context("cannot wait for a child")?;
        poller.add(self.handle.as_fd(), 0).context("cannot wait for a child")?;
        if poller.wait(Some(limit)).context("cannot wait for a child")?.is_empty() {
            bail!("did not end within {} s: {}", limit.as_secs(), crate::process::tail(&self.output()?, 5));
        }
        let wall = self.started.elapsed();
        let ended = try_wait_with_usage(&self.child).context("cannot wait for a child")?;
        let (status, usage): (ExitStatus, Usage) =
            ended.context("a child that ended cannot be waited for")?;
        self.ended = true;
        Ok((status, Sample { wall, cpu: usage.user + usage.system, peak_memory: usage.peak_memory }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            // The group first: a wrapper may have started the real thing.
            let _ = self.signal(rustix::process::Signal::KILL);
            let _ = self.handle.signal(Signal::SIGKILL);
            let _ = self.finish(Duration::from_secs(10));
        }
    }
}

/// Runs a command to its end; anything but success is an error that shows its output.
pub(crate) fn once(command: &mut Command, folder: &Path, limit: Duration) -> Result<Sample> {
    let mut running = Running::start(command, folder)?;
    let (status, sample) = running.finish(limit)?;
    if !status.success() {
        bail!("{status}: {}", crate::process::tail(&running.output()?, 5));
    }
    Ok(sample)
}

/// The least and the middle one of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, middle) = (*values.first()?, values.len() / 2);
        let median =
            if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Spread { min, median })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_and_middle() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0 }));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 9.0]), Some(Spread { min: 1.0, median: 3.0 }));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn a_run_is_measured_with_its_children() {
        let folder = crate::bench::Folder::new().expect("a temporary folder can be made");
        let script = "sh -c 'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done'; sleep 0.05; true";
        let mut command = Command::new("sh");
        let sample =
            once(command.args(["-c", script]), &folder.0, Duration::from_secs(60)).expect("it succeeds");
        assert!(sample.wall >= Duration::from_millis(50), "{sample:?}");
        assert!(sample.cpu > Duration::from_micros(200) && sample.peak_memory > 100 << 10, "{sample:?}");
        let mut command = Command::new("sh");
        let error = once(command.args(["-c", "echo why; exit 3"]), &folder.0, Duration::from_secs(60));
        let error = error.expect_err("it fails").to_string();
        assert!(error.contains('3') && error.contains("why"), "{error}");
        let mut command = Command::new("sleep");
        assert!(once(command.arg("60"), &folder.0, Duration::from_millis(50)).is_err());
    }
}
