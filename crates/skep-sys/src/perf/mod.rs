//! perf_event_open(2): counters, sampling, and the events that BPF programs are attached to.

mod attr;
mod buffer;
mod pmu;

pub use attr::{Counter, EventAttr, Hardware, Probe, Sampling, Software, Watch, WatchMode, sample};
pub use buffer::{BufferDrained, PerfBuffer, Record};
pub use pmu::{BitRange, Pmu};

use crate::error::{Errno, Result, SysError};
use attr::RawAttr;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Which tasks and CPUs an event watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every task on one CPU.
    Cpu(u32),
    /// One thread, on whichever CPU it runs; 0 is the calling thread.
    Thread(u32),
    /// One thread while it is on one CPU.
    ThreadOnCpu(u32, u32),
}

/// An open perf event. It stops and is gone when the last fd is closed.
#[derive(Debug)]
pub struct PerfEvent {
    fd: OwnedFd,
}

impl PerfEvent {
    /// Opens an event.
    ///
    /// `ENOENT`: no such event or PMU here; `EACCES`/`EPERM`: perf_event_paranoid or a capability;
    /// `ENODEV`: the CPU is offline; `ESRCH`: no such thread; `ENOSPC`: no free breakpoint register.
    pub fn open(event: &EventAttr<'_>, scope: Scope) -> Result<PerfEvent> {
        // What the attribute points at lives until the call.
        let mut text: Option<CString> = None;
        let mut attr = event.encode(&mut text)?;
        let (pid, cpu) = match scope {
            Scope::Cpu(cpu) => (-1, signed(cpu)?),
            Scope::Thread(tid) => (signed(tid)?, -1),
            Scope::ThreadOnCpu(tid, cpu) => (signed(tid)?, signed(cpu)?),
        };
        let fd = open_raw(&mut attr, pid, cpu).map_err(|e| e.about(format!("{event}, {scope:?}")))?;
        drop(text);
        Ok(PerfEvent { fd })
    }

    /// Starts counting.
    pub fn enable(&self) -> Result<()> {
        self.ioctl("ioctl(PERF_EVENT_IOC_ENABLE)", ENABLE, 0)
    }

    /// Stops counting; the count stays.
    pub fn disable(&self) -> Result<()> {
        self.ioctl("ioctl(PERF_EVENT_IOC_DISABLE)", DISABLE, 0)
    }

    /// Sets the count to zero.
    pub fn reset(&self) -> Result<()> {
        self.ioctl("ioctl(PERF_EVENT_IOC_RESET)", RESET, 0)
    }

    /// Runs a program at each overflow, or at each hit of a probe or tracepoint, until the event is closed.
    ///
    /// `EEXIST`: a link or another program holds the event. Links do the same and carry a cookie
    /// ([`crate::bpf::LinkTarget::PerfEvent`], since 5.15).
    pub fn set_bpf(&self, prog: BorrowedFd<'_>) -> Result<()> {
        self.ioctl("ioctl(PERF_EVENT_IOC_SET_BPF)", SET_BPF, prog.as_raw_fd() as libc::c_ulong)
    }

    /// Changes the period (or frequency, if opened with one).
    pub fn set_period(&self, period: u64) -> Result<()> {
        let call = "ioctl(PERF_EVENT_IOC_PERIOD)";
        let address = std::ptr::from_ref(&period);
        // SAFETY: the kernel reads one u64 at the address.
        let ret = unsafe { libc::ioctl(self.fd.as_raw_fd(), PERIOD, address) };
        if ret < 0 { Err(SysError::last(call)) } else { Ok(()) }
    }

    /// The count.
    pub fn count(&self) -> Result<u64> {
        let mut bytes = [0; 8];
        let n = retry(|| rustix::io::read(&self.fd, &mut bytes)).map_err(crate::error::failed("read"))?;
        if n == 8 {
            return Ok(u64::from_ne_bytes(bytes));
        }
        Err(SysError::new("read", Errno::EIO).about(format!("perf count of {n} bytes")))
    }

    fn ioctl(&self, call: &'static str, request: libc::Ioctl, argument: libc::c_ulong) -> Result<()> {
        // SAFETY: these requests take a number, no address.
        let ret = unsafe { libc::ioctl(self.fd.as_raw_fd(), request, argument) };
        if ret < 0 { Err(SysError::last(call)) } else { Ok(()) }
    }
}

// `_IO('$', n)` and `_IOW('$', 4, __u64)` of include/uapi/linux/perf_event.h.
const ENABLE: libc::Ioctl = 0x2400;
const DISABLE: libc::Ioctl = 0x2401;
const RESET: libc::Ioctl = 0x2403;
const PERIOD: libc::Ioctl = 0x4008_2404;
const SET_BPF: libc::Ioctl = 0x4004_2408;

const FLAG_FD_CLOEXEC: libc::c_ulong = 1 << 3;

fn signed(n: u32) -> Result<i32> {
    i32::try_from(n).map_err(|_| SysError::new("perf_event_open", Errno::EINVAL).about(n.to_string()))
}

/// Opens the event. Addresses in `attr` come from `EventAttr::encode`, which keeps them alive.
fn open_raw(attr: &mut RawAttr, pid: i32, cpu: i32) -> Result<OwnedFd> {
    loop {
        let address = std::ptr::from_mut(attr);
        // SAFETY: `attr` is `struct perf_event_attr` of the size it says; the kernel reads it and, refusing
        // it, writes its size. Addresses in it are C strings that the caller holds.
        let fd = unsafe {
            libc::syscall(libc::SYS_perf_event_open, address, pid, cpu, -1 as libc::c_int, FLAG_FD_CLOEXEC)
        };
        if fd >= 0 {
            // SAFETY: the kernel has just opened this descriptor for us.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) });
        }
        match Errno::last() {
            Errno::EINTR => {}
            errno => return Err(SysError::new("perf_event_open", errno)),
        }
    }
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return other,
        }
    }
}

impl AsFd for PerfEvent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<PerfEvent> for OwnedFd {
    fn from(event: PerfEvent) -> OwnedFd {
        event.fd
    }
}
