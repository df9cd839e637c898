//! Waiting, signals, timers, and commands that wait to be resumed.

use crate::harness::{Needs, Outcome, Stop, Test, ensure, ensure_eq, unless_unsupported};
use skep_sys::Errno;
use skep_sys::poll::{PidFd, Poller, Signal, Signals, Timer, Waker};
use skep_sys::proc::{self, Namespace};
use skep_sys::process::{self, Child, StopAt, find_program, spawn};
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] = &[
    ("poll_tells_what_is_ready", Needs::Nothing, poll),
    ("poll_times_out_empty", Needs::Nothing, timeout),
    ("signals_are_read_instead_of_hitting", Needs::Nothing, signals),
    ("signal_names_lead_back", Needs::Nothing, signal_names),
    ("child_waits_before_exec", Needs::Nothing, before_exec),
    ("child_waits_after_exec", Needs::Nothing, after_exec),
    ("child_that_cannot_exec_tells_why", Needs::Nothing, cannot_exec),
    ("child_dropped_while_waiting_is_killed", Needs::Nothing, dropped),
    ("child_starts_with_clean_signals_and_no_fds_of_ours", Needs::Nothing, clean),
    ("program_lookup_answers_by_errno", Needs::Nothing, lookup),
    ("namespaces_are_entered_by_one_thread", Needs::Root, namespaces),
    ("limits_refused_do_no_harm", Needs::Nothing, limits),
    ("fds_are_closed_by_a_process_that_is_no_child", Needs::Nothing, background),
    ("fds_do_not_leak", Needs::Nothing, fds),
];

fn words(command: &str) -> Vec<OsString> {
    command.split(' ').map(OsString::from).collect()
}

fn poll() -> Outcome {
    let (waker, timer) = (Waker::new()?, Timer::new()?);
    let mut poller = Poller::new()?;
    poller.add(waker.as_fd(), 7)?;
    poller.add(timer.as_fd(), u64::MAX)?;
    ensure!(poller.wait(Some(Duration::ZERO))?.is_empty(), "nothing has happened");
    waker.wake()?;
    waker.wake()?;
    let ready = poller.wait(None)?.to_vec();
    ensure_eq!(ready.iter().map(|r| (r.token, r.readable, r.closed)).collect::<Vec<_>>(), [(7, true, false)]);
    ensure_eq!((waker.reset()?, waker.reset()?), (2, 0));
    timer.set(Duration::from_millis(2), Duration::from_millis(2))?;
    std::thread::sleep(Duration::from_millis(20));
    ensure_eq!(poller.wait(None)?.first().map(|r| r.token), Some(u64::MAX));
    let expirations = timer.expirations()?;
    ensure!(expirations >= 5, "{expirations} in 20 ms");
    timer.set(Duration::ZERO, Duration::ZERO)?;
    timer.expirations()?;
    poller.remove(waker.as_fd())?;
    waker.wake()?;
    ensure!(poller.wait(Some(Duration::from_millis(5)))?.is_empty(), "removed and stopped");
    Ok(())
}

fn timeout() -> Outcome {
    let mut poller = Poller::new()?;
    let start = Instant::now();
    ensure!(poller.wait(Some(Duration::from_millis(30)))?.is_empty(), "nothing to wait for");
    ensure!(start.elapsed() >= Duration::from_millis(30), "{:?}", start.elapsed());
    Ok(())
}

fn signals() -> Outcome {
    // The mask is the thread's, and the signal is sent to this thread alone: other tests run beside it.
    let signals = Signals::block(&[Signal::SIGUSR2, Signal::SIGUSR1])?;
    ensure_eq!(signals.read()?, None);
    raise_in_thread(Signal::SIGUSR2)?;
    let received = signals.read()?.ok_or("nothing received")?;
    ensure_eq!((received.signal, received.pid), (Signal::SIGUSR2, std::process::id()));
    ensure_eq!(signals.read()?, None);
    Ok(())
}

#[allow(unsafe_code, reason = "no safe call sends a signal to one thread")]
fn raise_in_thread(signal: Signal) -> Outcome {
    // SAFETY: a number; the signal goes to the calling thread, which blocks it.
    let ret = unsafe { libc::raise(signal.0) };
    ensure_eq!(ret, 0);
    Ok(())
}

fn signal_names() -> Outcome {
    for signal in Signal::ALL {
        ensure_eq!(signal.name().and_then(Signal::from_name), Some(*signal));
    }
    ensure_eq!(Signal::from_name("kill"), Some(Signal::SIGKILL));
    ensure_eq!((Signal(40).to_string(), Signal::from_name("nope")), ("signal 40".into(), None));
    Ok(())
}

/// `true` in the child after which it ends, and its handle that becomes readable.
fn ends_with(child: &mut Child, code: i32) -> Outcome {
    child.resume()?;
    let mut poller = Poller::new()?;
    poller.add(child.as_fd(), 1)?;
    ensure_eq!(poller.wait(Some(Duration::from_secs(20)))?.len(), 1);
    ensure!(child.pidfd().has_ended()?, "the handle says it runs");
    ensure_eq!(child.wait()?.code(), Some(code));
    ensure_eq!(child.try_wait()?.and_then(|s| s.code()), Some(code));
    Ok(())
}

fn before_exec() -> Outcome {
    let mut child = spawn(&words("true"), StopAt::BeforeExec)?;
    ensure_eq!(child.try_wait()?, None);
    // Still a copy of this test.
    ensure_eq!(proc::exe(child.pid())?, std::env::current_exe()?);
    ends_with(&mut child, 0)
}

fn after_exec() -> Outcome {
    let mut child = spawn(&words("false"), StopAt::AfterExec)?;
    ensure_eq!(child.try_wait()?, None);
    let program = find_program("false".as_ref())?;
    ensure_eq!(proc::exe(child.pid())?, std::fs::canonicalize(&program)?);
    let (status, stat) = (proc::status(child.pid())?, proc::stat(child.pid())?);
    ensure_eq!((status.tracer, stat.state), (0, 'T'));
    let maps = proc::maps(child.pid())?;
    ensure!(maps.iter().any(|m| m.path == std::fs::canonicalize(&program).ok()), "not mapped");
    ensure!(
        !maps.iter().any(|m| m.path.as_ref().is_some_and(|p| p.to_string_lossy().contains("libc.so"))),
        "the loader has run"
    );
    ends_with(&mut child, 1)
}

fn cannot_exec() -> Outcome {
    // Executable by its mode, but of no format that the kernel runs.
    let path = std::env::temp_dir().join(format!("skep-sys-noexec-{}", std::process::id()));
    std::fs::write(&path, "no program")?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode)?;
    let command = [path.clone().into_os_string()];
    let after = spawn(&command, StopAt::AfterExec).map(drop);
    let before = spawn(&command, StopAt::BeforeExec).map(|mut child| child.resume());
    std::fs::remove_file(&path)?;
    let after = after.expect_err("not of a known format");
    ensure!(after.errno == Errno::ENOEXEC && after.detail == path.display().to_string(), "{after}");
    ensure_eq!(before?.expect_err("not of a known format").errno, Errno::ENOEXEC);
    Ok(())
}

fn dropped() -> Outcome {
    for stop in [StopAt::BeforeExec, StopAt::AfterExec] {
        let child = spawn(&words("sleep 100"), stop)?;
        let pidfd = PidFd::open(child.pid())?;
        ensure!(!pidfd.has_ended()?, "it waits");
        drop(child);
        ensure!(pidfd.has_ended()?, "it outlives its handle");
        ensure_eq!(pidfd.signal(Signal::SIGTERM).expect_err("gone").errno, Errno::ESRCH);
    }
    let mut running = spawn(&words("sleep 100"), StopAt::BeforeExec)?;
    running.resume()?;
    process::kill(running.pid(), Signal::SIGTERM)?;
    let status = running.wait()?;
    ensure_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(Signal::SIGTERM.0));
    ensure_eq!(process::kill(u32::MAX, Signal::SIGTERM).expect_err("no pid").errno, Errno::ESRCH);
    ensure_eq!(process::kill(0, Signal::SIGTERM).expect_err("a group").errno, Errno::ESRCH);
    Ok(())
}

fn clean() -> Outcome {
    let _blocked = Signals::block(&[Signal::SIGUSR1])?;
    let mut child = spawn(&words("sleep 100"), StopAt::AfterExec)?;
    let text = std::fs::read_to_string(format!("/proc/{}/status", child.pid()))?;
    let mask = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)).map(|v| v.trim().to_owned());
    ensure_eq!(mask("SigBlk:"), Some("0000000000000000".into()));
    let ignored = u64::from_str_radix(&mask("SigIgn:").ok_or("SigIgn")?, 16)?;
    ensure_eq!(ignored >> (Signal::SIGPIPE.0 - 1) & 1, 0);
    // What the test itself was started with is passed on; what it opened since is not.
    let fds = |pid: u32| -> Result<Vec<String>, Stop> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
            if let Ok(target) = std::fs::read_link(entry?.path()) {
                found.push(target.display().to_string());
            }
        }
        Ok(found)
    };
    let theirs = fds(child.pid())?;
    ensure!(!theirs.iter().any(|t| t.contains("signalfd") || t.contains("bpf")), "{theirs:?}");
    child.resume()?;
    child.signal(Signal::SIGKILL)?;
    child.wait()?;
    Ok(())
}

fn lookup() -> Outcome {
    let none = find_program("no_such_program".as_ref()).expect_err("none");
    ensure!(none.errno == Errno::ENOENT && none.detail == "no_such_program", "{none}");
    ensure_eq!(find_program("/etc".as_ref()).expect_err("a folder").errno, Errno::EACCES);
    ensure_eq!(find_program("/etc/passwd".as_ref()).expect_err("no program").errno, Errno::EACCES);
    ensure_eq!(find_program("".as_ref()).expect_err("nothing").errno, Errno::ENOENT);
    ensure!(find_program("sh".as_ref())?.is_absolute(), "relative");
    ensure_eq!(spawn(&[], StopAt::BeforeExec).expect_err("no command").errno, Errno::ENOENT);
    ensure_eq!(find_program("/bin/sh".as_ref())?, Path::new("/bin/sh"));
    Ok(())
}

fn namespaces() -> Outcome {
    let pid = std::process::id();
    let here = Namespace::Mnt.own()?;
    let there = process::in_namespaces(pid, &[Namespace::Mnt, Namespace::Net], || Namespace::Mnt.own());
    ensure_eq!(unless_unsupported("setns", there)??, here);
    let gone = process::in_namespaces(u32::MAX / 2, &[Namespace::Mnt], || ()).expect_err("no process");
    ensure!(gone.is_not_found(), "{gone}");
    Ok(())
}

fn background() -> Outcome {
    use rustix::pipe::pipe;
    use std::io::Read;
    use std::os::fd::OwnedFd;
    let pipes = (0..3).map(|_| pipe()).collect::<Result<Vec<_>, _>>()?;
    let (kept_read, kept_write) = pipe()?;
    let (reads, writes): (Vec<OwnedFd>, Vec<OwnedFd>) = pipes.into_iter().unzip();
    process::close_in_background(writes)?;
    // What it was not given it does not hold open, nor what it was given for long.
    drop(kept_write);
    for read in reads.into_iter().chain([kept_read]) {
        let mut bytes = Vec::new();
        std::fs::File::from(read).read_to_end(&mut bytes)?;
        ensure_eq!(bytes.len(), 0);
    }
    process::close_in_background(Vec::new())?;
    Ok(())
}

fn limits() -> Outcome {
    // Whatever the answer, nothing has become less.
    let before = rustix::process::getrlimit(rustix::process::Resource::Memlock);
    let unlimited = process::raise_memlock();
    let after = rustix::process::getrlimit(rustix::process::Resource::Memlock);
    ensure_eq!(unlimited, after.current.is_none());
    ensure!(after.current.is_none() || after.current >= before.current, "{before:?} became {after:?}");
    let files = process::raise_open_files();
    ensure!(files.is_none_or(|n| n >= 64), "{files:?}");
    Ok(())
}

/// File descriptors of this process that come and go with `f`, as far as other threads let one see.
fn fds() -> Outcome {
    let count = || std::fs::read_dir("/proc/self/fd").map(Iterator::count);
    let mut grown = Vec::new();
    // Tests beside this one open files too; a leak would show in every round.
    for _ in 0..20 {
        let before = count()?;
        for _ in 0..20 {
            let mut child = spawn(&words("true"), StopAt::BeforeExec)?;
            child.resume()?;
            child.wait()?;
            spawn(&words("true"), StopAt::AfterExec)?;
            let _ = spawn(&words("/etc/passwd"), StopAt::BeforeExec);
            let _ = (Poller::new()?, Timer::new()?, Waker::new()?, PidFd::open(std::process::id())?);
        }
        let after = count()?;
        if after < before + 20 {
            return Ok(());
        }
        grown.push((before, after));
    }
    Err(Stop::Fail(format!("descriptors before and after: {grown:?}")))
}
