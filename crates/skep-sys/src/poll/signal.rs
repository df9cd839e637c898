//! Signals, received by reading.

use crate::error::{Errno, Result, SysError};
use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A signal number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(pub i32);

macro_rules! signals {
    ($($name:ident)*) => {
        impl Signal {
            $(
                #[doc = concat!("`", stringify!($name), "` of signal(7).")]
                pub const $name: Signal = Signal(libc::$name);
            )*

            /// The standard signals.
            pub const ALL: &'static [Signal] = &[$(Signal::$name),*];

            /// The name: `SIGINT`; `None` for real-time signals and unknown numbers.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $(libc::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

signals! {
    SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM
    SIGTERM SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH
    SIGIO SIGPWR SIGSYS
}

impl Signal {
    /// The signal with this name, with or without `SIG`, in any case.
    pub fn from_name(name: &str) -> Option<Signal> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        Signal::ALL.iter().copied().find(|s| s.name().and_then(|n| n.strip_prefix("SIG")) == Some(bare))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub signal: Signal,
    /// Process that sent it; 0 for the kernel.
    pub pid: u32,
    /// User that sent it.
    pub uid: u32,
}

/// Signals that no longer interrupt the process but wait to be read (signalfd).
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Blocks these signals for the calling thread, and for threads and children started by it from now on,
    /// and opens them for reading. To be called before other threads start: a thread that does not block a
    /// signal is hit by it. They stay blocked when the value is dropped; children that are started with
    /// [`crate::process`] get an empty mask.
    pub fn block(signals: &[Signal]) -> Result<Signals> {
        let mut set = empty_set();
        for signal in signals {
            // SAFETY: an initialised set.
            if unsafe { libc::sigaddset(&mut set, signal.0) } != 0 {
                return Err(SysError::last("sigaddset").about(signal.to_string()));
            }
        }
        // SAFETY: an initialised set; the old mask is not asked for.
        let ret = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
        if ret != 0 {
            return Err(SysError::new("pthread_sigmask", Errno(ret)));
        }
        // SAFETY: an initialised set.
        let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(SysError::last("signalfd"));
        }
        // SAFETY: the kernel has just opened this descriptor for us.
        Ok(Signals { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// The next signal that waits; `None` if there is none. Several of one kind that came before the first was
    /// read are one.
    pub fn read(&self) -> Result<Option<Received>> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        loop {
            // SAFETY: the kernel writes at most `size` bytes of `info`.
            let n = unsafe { libc::read(self.fd.as_raw_fd(), info.as_mut_ptr().cast(), size) };
            if n == size as isize {
                break;
            }
            match Errno::last() {
                Errno::EINTR => {}
                Errno::EAGAIN => return Ok(None),
                errno => return Err(SysError::new("read", errno).about("signals")),
            }
        }
        // SAFETY: integers, all of them zeroed and then written by the kernel.
        let info = unsafe { info.assume_init() };
        Ok(Some(Received { signal: Signal(info.ssi_signo as i32), pid: info.ssi_pid, uid: info.ssi_uid }))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A set without signals.
pub(crate) fn empty_set() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: room for a set. The call cannot fail.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: zeroed and then initialised above; a set is an array of integers.
    unsafe { set.assume_init() }
}
