//! What a child has used, told at its end.

use crate::error::{Errno, Result, SysError};
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::Duration;

/// Resources used by a child and by those of its children that it has waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// CPU time outside of the kernel.
    pub user: Duration,
    /// CPU time in the kernel on its behalf.
    pub system: Duration,
    /// Most memory that any of the processes had resident at one time, in bytes.
    pub peak_memory: u64,
}

/// How a child ended and what it used; `None` while it runs. It tells so once: afterwards the child's number
/// may be another process's, so that none of the methods of `child` is of use any more, and another call here
/// fails with `ECHILD` unless that number has become one of our children again.
pub fn try_wait_with_usage(child: &Child) -> Result<Option<(ExitStatus, Usage)>> {
    let about = |e: SysError| e.about(format!("process {}", child.id()));
    let pid = i32::try_from(child.id()).map_err(|_| about(SysError::new("wait4", Errno::ECHILD)))?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: the kernel writes an int and a struct rusage.
        match unsafe { libc::wait4(pid, &mut status, libc::WNOHANG, usage.as_mut_ptr()) } {
            0 => return Ok(None),
            -1 if Errno::last() == Errno::EINTR => {}
            -1 => return Err(about(SysError::last("wait4"))),
            _ => break,
        }
    }
    // SAFETY: integers, all of them zeroed and then written by the kernel.
    let usage = unsafe { usage.assume_init() };
    let usage = Usage {
        user: duration(usage.ru_utime),
        system: duration(usage.ru_stime),
        // The kernel counts in KiB (getrusage(2)).
        peak_memory: u64::try_from(usage.ru_maxrss).unwrap_or(0).saturating_mul(1024),
    };
    Ok(Some((ExitStatus::from_raw(status), usage)))
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    seconds.saturating_add(Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    #[allow(clippy::zombie_processes, reason = "the function under test waits")]
    fn a_child_is_told_to_have_worked() {
        let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 7";
        let child = Command::new("/bin/sh").args(["-c", script]).spawn().expect("a shell starts");
        let (status, usage) = loop {
            if let Some(end) = try_wait_with_usage(&child).expect("it is our child") {
                break end;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        assert_eq!(status.code(), Some(7));
        assert!(usage.user + usage.system > Duration::from_micros(100), "{usage:?}");
        assert!((100 << 10..1 << 30).contains(&usage.peak_memory), "{usage:?}");
        let error = try_wait_with_usage(&child).expect_err("it told already");
        assert_eq!(error.errno, Errno::ECHILD);
    }
}
