//! Waiting for many things in one place: rings, signals, timers, processes.
//!
//! Everything here is a file descriptor that becomes readable; [`Poller`] waits for any of them.

mod signal;

pub(crate) use signal::empty_set;
pub use signal::{Received, Signal, Signals};

use crate::error::{Errno, Result, SysError, failed};
use rustix::event::{EventfdFlags, PollFd, PollFlags, epoll, eventfd, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Something that was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// The number that it was added with.
    pub token: u64,
    /// It can be read.
    pub readable: bool,
    /// The other side is gone, or the object failed.
    pub closed: bool,
}

/// A set of file descriptors to wait for, each known by a number.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    ready: Vec<Ready>,
}

/// Reports taken from the kernel per call; more come with the next one.
const EVENTS: usize = 64;

impl Poller {
    /// An empty set.
    pub fn new() -> Result<Poller> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed("epoll_create1"))?;
        Ok(Poller { epoll, ready: Vec::with_capacity(EVENTS) })
    }

    /// Waits for `fd` to become readable from now on; level-triggered. Ends by itself when the last handle on
    /// what the fd stands for is closed.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64) -> Result<()> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)
            .map_err(failed("epoll_ctl(EPOLL_CTL_ADD)"))
    }

    /// Waits for `fd` no longer.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> Result<()> {
        epoll::delete(&self.epoll, fd).map_err(failed("epoll_ctl(EPOLL_CTL_DEL)"))
    }

    /// Waits until something is ready or the time has passed; empty then. `None` waits without end.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<&[Ready]> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.ready.clear();
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let left = left.map(timespec);
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), left.as_ref()) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(failed("epoll_wait")(e)),
            }
        }
        self.ready.extend(events.iter().map(|event| {
            // Copied out: the kernel's struct is packed on some machines.
            let (data, flags) = (event.data, event.flags);
            Ready {
                token: data.u64(),
                readable: flags.contains(epoll::EventFlags::IN),
                closed: flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR),
            }
        }));
        Ok(&self.ready)
    }
}

/// What [`wait_to_write`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waited {
    /// A write does not wait, of up to `PIPE_BUF` bytes (4096) if it is to a pipe; or it fails at once.
    pub writable: bool,
    /// The other can be read.
    pub other: bool,
}

/// Waits until `fd` can be written to or `other` can be read.
pub fn wait_to_write(fd: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Result<Waited> {
    let mut both =
        [PollFd::from_borrowed_fd(fd, PollFlags::OUT), PollFd::from_borrowed_fd(other, PollFlags::IN)];
    loop {
        match poll(&mut both, None) {
            // An error or a hang-up shows at the write.
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(failed("poll")(e)),
        }
    }
    Ok(Waited { writable: !both[0].revents().is_empty(), other: !both[1].revents().is_empty() })
}

fn timespec(duration: Duration) -> Timespec {
    let tv_sec = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: i64::from(duration.subsec_nanos()) }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// Reads the counter of an eventfd or timerfd; 0 if nothing has come since.
fn read_counter(fd: BorrowedFd<'_>) -> Result<u64> {
    let mut bytes = [0; 8];
    loop {
        return match rustix::io::read(fd, &mut bytes) {
            Ok(8) => Ok(u64::from_ne_bytes(bytes)),
            Ok(n) => Err(SysError::new("read", Errno::EIO).about(format!("{n} bytes of a counter"))),
            Err(rustix::io::Errno::INTR) => continue,
            Err(rustix::io::Errno::AGAIN) => Ok(0),
            Err(e) => Err(failed("read")(e)),
        };
    }
}

/// Wakes a waiting thread from another one (eventfd).
#[derive(Debug)]
pub struct Waker {
    fd: OwnedFd,
}

impl Waker {
    /// A waker that nobody has used yet.
    pub fn new() -> Result<Waker> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(failed("eventfd2"))?;
        Ok(Waker { fd })
    }

    /// Makes it readable.
    pub fn wake(&self) -> Result<()> {
        loop {
            return match rustix::io::write(&self.fd, &1u64.to_ne_bytes()) {
                // Full: it is readable already.
                Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
                Err(rustix::io::Errno::INTR) => continue,
                Err(e) => Err(failed("write")(e)),
            };
        }
    }

    /// Makes it unreadable again; returns how often it was used since.
    pub fn reset(&self) -> Result<u64> {
        read_counter(self.fd.as_fd())
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A timer on the monotonic clock (timerfd).
#[derive(Debug)]
pub struct Timer {
    fd: OwnedFd,
}

impl Timer {
    /// A timer that is not running.
    pub fn new() -> Result<Timer> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(failed("timerfd_create"))?;
        Ok(Timer { fd })
    }

    /// Runs out after `first` and then, unless `period` is zero, again after each. Zero stops it.
    pub fn set(&self, first: Duration, period: Duration) -> Result<()> {
        let times = Itimerspec { it_value: timespec(first), it_interval: timespec(period) };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &times)
            .map(drop)
            .map_err(failed("timerfd_settime"))
    }

    /// How often it has run out since it was last asked.
    pub fn expirations(&self) -> Result<u64> {
        read_counter(self.fd.as_fd())
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A handle on a process, which its pid is not once it is gone. Readable when the process has ended.
#[derive(Debug)]
pub struct PidFd {
    fd: OwnedFd,
    pid: u32,
}

impl PidFd {
    /// Opens a process. `ESRCH`: there is none; `EINVAL`: it is a thread of one.
    pub fn open(pid: u32) -> Result<PidFd> {
        let about = |e: SysError| e.about(format!("process {pid}"));
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let raw = raw.ok_or_else(|| about(SysError::new("pidfd_open", Errno::ESRCH)))?;
        // Close-on-exec by itself.
        let fd = pidfd_open(raw, PidfdFlags::empty()).map_err(|e| about(failed("pidfd_open")(e)))?;
        Ok(PidFd { fd, pid })
    }

    /// The pid that it was opened with.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal. `ESRCH`: the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let (fd, none) = (self.fd.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
        // SAFETY: no siginfo, so the call takes no memory of ours.
        let ret = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal.0, none, 0) };
        if ret == 0 {
            return Ok(());
        }
        Err(SysError::last("pidfd_send_signal").about(format!("{signal} to process {}", self.pid)))
    }

    /// Whether the process has ended.
    pub fn has_ended(&self) -> Result<bool> {
        use rustix::event::{PollFd, PollFlags, poll};
        loop {
            let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
            return match poll(&mut fds, Some(&Timespec::default())) {
                Ok(n) => Ok(n > 0),
                Err(rustix::io::Errno::INTR) => continue,
                Err(e) => Err(failed("poll")(e)),
            };
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    #[test]
    fn writing_waits_for_room_or_for_the_other() {
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK).expect("pipes can be made");
        let waker = Waker::new().expect("wakers can be made");
        let look = || wait_to_write(writer.as_fd(), waker.as_fd()).expect("pipes can be waited for");
        assert_eq!(look(), Waited { writable: true, other: false });
        while rustix::io::write(&writer, &[0; 4096]).is_ok() {}
        waker.wake().expect("it is open");
        assert_eq!(look(), Waited { writable: false, other: true });
        // Without a reader the write fails at once.
        drop(reader);
        assert_eq!(look(), Waited { writable: true, other: true });
    }
}
