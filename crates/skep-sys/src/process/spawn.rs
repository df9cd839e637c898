//! A command that is started but waits, so that probes are in place before its first instruction.

use crate::error::{Errno, Result, SysError, failed};
use crate::poll::{PidFd, Signal, empty_set};
use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Where a command waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopAt {
    /// It exists but has not called exec: its memory is still a copy of ours. A failing exec shows at
    /// [`Child::resume`].
    BeforeExec,
    /// It has called exec and stands before its first instruction: its program is mapped, its libraries are
    /// not. Done with ptrace, which is over when [`spawn`] returns.
    AfterExec,
}

/// A command started by [`spawn`]. Dropped before it was resumed, it is killed; afterwards it is left alone.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: PidFd,
    waiting: Waiting,
    status: Option<ExitStatus>,
}

#[derive(Debug)]
enum Waiting {
    /// For a byte on the first pipe; the errno of a failed exec comes on the second.
    Gate { open: OwnedFd, failure: OwnedFd },
    /// In a group stop.
    Stop,
    /// No longer.
    No,
}

/// Finds a program as execvp(3) does: a name with a slash is a path, any other is looked up in `PATH`.
///
/// `ENOENT`: there is none; `EACCES`: there is a file, but it is not executable.
pub fn find_program(name: &OsStr) -> Result<PathBuf> {
    let usual = OsString::from("/bin:/usr/bin");
    let dirs = std::env::var_os("PATH").unwrap_or(usual);
    let candidates: Vec<PathBuf> = match name.as_bytes() {
        b"" => Vec::new(),
        bytes if bytes.contains(&b'/') => vec![PathBuf::from(name)],
        _ => std::env::split_paths(&dirs).map(|dir| dir.join(name)).collect(),
    };
    let mut errno = Errno::ENOENT;
    for path in candidates {
        match is_executable(&path) {
            Ok(()) => return Ok(path),
            // Not for a folder of PATH that cannot be searched.
            Err(Errno::EACCES) if rustix::fs::stat(&path).is_ok() => errno = Errno::EACCES,
            Err(_) => {}
        }
    }
    Err(SysError::new("execve", errno).about(name.to_string_lossy()))
}

fn is_executable(path: &Path) -> Result<(), Errno> {
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)?;
    let stat = rustix::fs::stat(path)?;
    // Directories are "executable" as well.
    if FileType::from_raw_mode(stat.st_mode).is_file() { Ok(()) } else { Err(Errno::EACCES) }
}

/// Starts a command, `argv[0]` of which is looked up in `PATH`, with our environment and standard files, an
/// empty signal mask and SIGPIPE at its default; it waits where `stop` says until [`Child::resume`].
pub fn spawn(argv: &[OsString], stop: StopAt) -> Result<Child> {
    let name = argv.first().ok_or_else(|| SysError::new("execve", Errno::ENOENT).about("no command"))?;
    let path = find_program(name)?;
    // All memory is allocated before the fork: another thread may hold the allocator's lock at that moment.
    let program = c_string(path.as_os_str().as_bytes().to_vec())?;
    let args = argv.iter().map(|arg| c_string(arg.clone().into_vec())).collect::<Result<Vec<_>>>()?;
    let env = std::env::vars_os()
        .map(|(name, value)| c_string([name.as_bytes(), b"=", value.as_bytes()].concat()))
        .collect::<Result<Vec<_>>>()?;
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arg_pointers, env_pointers) = (pointers(&args), pointers(&env));
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(failed("pipe2"));
    let (gate, open) = pipe()?;
    let (failure, fail) = pipe()?;
    let plan = Plan {
        program: program.as_ptr(),
        argv: arg_pointers.as_ptr(),
        envp: env_pointers.as_ptr(),
        gate: gate.as_raw_fd(),
        open: open.as_raw_fd(),
        fail: fail.as_raw_fd(),
        stop,
        no_signals: empty_set(),
    };
    // SAFETY: the child calls nothing but `Plan::run`, which is async-signal-safe.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: in the child of a fork, and all that the plan points at lives in its copy of our memory.
        unsafe { plan.run() }
    }
    let Some(pid) = Pid::from_raw(pid.max(0)) else {
        return Err(SysError::last("fork"));
    };
    drop((gate, fail));
    let raw = pid.as_raw_nonzero().get() as u32;
    let pidfd = match PidFd::open(raw) {
        Ok(pidfd) => pidfd,
        Err(e) => {
            // It cannot have been reaped, so the number is still its own.
            let _ = super::kill(raw, Signal::SIGKILL);
            let _ = wait_for(pid, WaitOptions::empty());
            return Err(e);
        }
    };
    let mut child = Child { pid, pidfd, waiting: Waiting::Gate { open, failure }, status: None };
    if stop == StopAt::AfterExec {
        child.stop_after_exec(&path)?;
    }
    Ok(child)
}

/// glibc and musl disagree on the type.
#[cfg(target_env = "gnu")]
type PtraceRequest = libc::c_uint;
#[cfg(not(target_env = "gnu"))]
type PtraceRequest = libc::c_int;

fn c_string(bytes: Vec<u8>) -> Result<CString> {
    CString::new(bytes).map_err(|e| {
        let text = String::from_utf8_lossy(&e.into_vec()).into_owned();
        SysError::new("execve", Errno::EINVAL).about(format!("NUL in {text:?}"))
    })
}

/// What the child does, in terms of memory that was there before the fork.
struct Plan {
    program: *const libc::c_char,
    argv: *const *const libc::c_char,
    envp: *const *const libc::c_char,
    gate: i32,
    open: i32,
    fail: i32,
    stop: StopAt,
    no_signals: libc::sigset_t,
}

impl Plan {
    /// Waits or asks to be stopped, then becomes the program. Calls nothing that is not async-signal-safe
    /// (signal-safety(7)): no allocation, no locks, no panic.
    ///
    /// # Safety
    /// Only in the child of a fork, with all pointers as [`spawn`] sets them.
    unsafe fn run(&self) -> ! {
        // SAFETY: resets the disposition of a signal that the standard library ignores.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        // SAFETY: an initialised set; the old mask is not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.no_signals, std::ptr::null_mut()) };
        let mut errno = 0;
        match self.stop {
            StopAt::BeforeExec => {
                // Our copy of the writing end has to go, or the reading end never sees the parent's death.
                // SAFETY: an fd of this process that nobody uses in it.
                unsafe { libc::close(self.open) };
                let mut byte = 0u8;
                loop {
                    // SAFETY: one byte of room.
                    let n = unsafe { libc::read(self.gate, (&raw mut byte).cast(), 1) };
                    if n == 1 {
                        break;
                    }
                    if n < 0 && Errno::last() == Errno::EINTR {
                        continue;
                    }
                    // The parent is gone.
                    // SAFETY: ends the process at once.
                    unsafe { libc::_exit(127) };
                }
            }
            StopAt::AfterExec => {
                let none = std::ptr::null_mut::<libc::c_void>();
                // SAFETY: takes no memory.
                if unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, none, none) } < 0 {
                    errno = Errno::last().0;
                }
            }
        }
        if errno == 0 {
            // SAFETY: C strings and vectors of them that end with null.
            unsafe { libc::execve(self.program, self.argv, self.envp) };
            errno = Errno::last().0;
        }
        // SAFETY: the bytes of an int. Nothing can be done if it fails.
        unsafe { libc::write(self.fail, (&raw const errno).cast(), size_of::<i32>()) };
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(127) }
    }
}

impl Child {
    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.pidfd.pid()
    }

    /// Its handle: readable when it has ended.
    pub fn pidfd(&self) -> &PidFd {
        &self.pidfd
    }

    /// Lets it run, once; fails if it was to call exec now and cannot.
    pub fn resume(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.waiting, Waiting::No) {
            Waiting::No => Ok(()),
            Waiting::Stop => self.signal(Signal::SIGCONT),
            Waiting::Gate { open, failure } => {
                loop {
                    match rustix::io::write(&open, &[1]) {
                        Ok(_) => break,
                        Err(rustix::io::Errno::INTR) => {}
                        Err(e) => {
                            return Err(failed("write")(e).about("the command ended before it was resumed"));
                        }
                    }
                }
                let result = exec_result(&failure);
                if result.is_err() {
                    self.wait()?;
                }
                result
            }
        }
    }

    /// Sends it a signal. `ESRCH`: it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.pidfd.signal(signal)
    }

    /// How it ended; `None` while it runs.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = wait_for(self.pid, WaitOptions::NOHANG)?.map(ExitStatus::from_raw);
        }
        Ok(self.status)
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.status {
                return Ok(status);
            }
            self.status = wait_for(self.pid, WaitOptions::empty())?.map(ExitStatus::from_raw);
        }
    }

    /// Follows it through exec with ptrace and leaves it in a group stop, which outlives the tracing.
    fn stop_after_exec(&mut self, path: &Path) -> Result<()> {
        let Waiting::Gate { failure, .. } = std::mem::replace(&mut self.waiting, Waiting::Stop) else {
            return Ok(());
        };
        let about = |e: SysError| e.about(path.display().to_string());
        // The exec itself stops it with SIGTRAP (include/linux/ptrace.h, `ptrace_event`); a signal that comes
        // before is delivered.
        loop {
            match self.wait_stopped()? {
                Some(libc::SIGTRAP) => break,
                Some(signal) => {
                    self.ptrace("ptrace(PTRACE_CONT)", libc::PTRACE_CONT, signal).map_err(about)?;
                }
                None => {
                    exec_result(&failure).map_err(about)?;
                    return Err(about(SysError::new("execve", Errno::ESRCH)));
                }
            }
        }
        self.ptrace("ptrace(PTRACE_DETACH)", libc::PTRACE_DETACH, libc::SIGSTOP).map_err(about)?;
        match self.wait_stopped()? {
            Some(_) => Ok(()),
            None => Err(about(SysError::new("waitpid", Errno::ESRCH))),
        }
    }

    /// Lets the traced child go on with a signal.
    fn ptrace(&self, call: &'static str, request: PtraceRequest, signal: i32) -> Result<()> {
        let pid = self.pid.as_raw_nonzero().get();
        let none = std::ptr::null_mut::<libc::c_void>();
        let signal = std::ptr::without_provenance_mut::<libc::c_void>(signal as usize);
        // SAFETY: these requests take no memory: the last argument is the number of the signal.
        if unsafe { libc::ptrace(request, pid, none, signal) } < 0 {
            Err(SysError::last(call))
        } else {
            Ok(())
        }
    }

    /// Waits until it stops; `None` if it ended instead.
    fn wait_stopped(&mut self) -> Result<Option<i32>> {
        loop {
            let Some(raw) = wait_for(self.pid, WaitOptions::UNTRACED)? else { continue };
            let status = ExitStatus::from_raw(raw);
            match status.stopped_signal() {
                Some(signal) => return Ok(Some(signal)),
                None => {
                    self.status = Some(status);
                    return Ok(None);
                }
            }
        }
    }
}

/// Waits for the pipe that exec closes; an errno on it says that exec failed.
fn exec_result(failure: &OwnedFd) -> Result<()> {
    let mut bytes = [0; 4];
    loop {
        return match rustix::io::read(failure, &mut bytes) {
            Ok(0) => Ok(()),
            Ok(_) => Err(SysError::new("execve", Errno(i32::from_ne_bytes(bytes)))),
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => Err(failed("read")(e)),
        };
    }
}

fn wait_for(pid: Pid, options: WaitOptions) -> Result<Option<i32>> {
    loop {
        return match waitpid(Some(pid), options) {
            Ok(status) => Ok(status.map(|(_, status)| status.as_raw())),
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => Err(failed("waitpid")(e)),
        };
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !matches!(self.waiting, Waiting::No) && self.status.is_none() {
            let _ = self.signal(Signal::SIGKILL);
            let _ = self.wait();
        } else {
            // Takes the zombie away if it has ended.
            let _ = self.try_wait();
        }
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
