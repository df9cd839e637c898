//! Closing descriptors that take the kernel long to close.

use crate::error::{Result, SysError, failed};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Closes descriptors in a process of its own, which ends when all are closed, so that this one need not wait
/// for the kernel. The other process holds nothing else open and is no child of this one. If it is killed,
/// the kernel closes them all the same.
///
/// Where no process can be made they are closed here.
pub fn close_in_background(fds: Vec<OwnedFd>) -> Result<()> {
    // All memory is allocated before the fork: another thread may hold the allocator's lock at that moment.
    let (gate, open) = pipe_with(PipeFlags::CLOEXEC).map_err(failed("pipe2"))?;
    let mut raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    raw.sort_unstable();
    let mut kept = raw.clone();
    kept.push(gate.as_raw_fd());
    kept.sort_unstable();
    // SAFETY: the child calls nothing but `run`, which is async-signal-safe.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: in the child of a fork, with descriptors that it inherited.
        unsafe { run(&kept, &raw, gate.as_raw_fd()) }
    }
    let Some(pid) = Pid::from_raw(pid.max(0)) else {
        return Err(SysError::last("fork"));
    };
    loop {
        match waitpid(Some(pid), WaitOptions::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(failed("waitpid")(e)),
            Ok(_) => break,
        }
    }
    // The last one to close a file is the one that waits: the other process begins when we are through.
    drop(fds);
    drop(open);
    Ok(())
}

/// Leaves a process that closes all but `kept`, waits for the end of `gate`, and closes `fds`. Calls nothing that
/// is not async-signal-safe (signal-safety(7)): no allocation, no locks, no panic.
///
/// # Safety
/// Only in the child of a fork, whose descriptors nobody uses.
unsafe fn run(kept: &[RawFd], fds: &[RawFd], gate: RawFd) -> ! {
    // SAFETY: no threads, no handlers of ours.
    if unsafe { libc::fork() } != 0 {
        // In the child, which is waited for; also if there is no second one: then this process closes all.
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(0) };
    }
    // SAFETY: a C string of less than 16 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"skep-detach".as_ptr()) };
    // SAFETY: no memory. Fails only for the leader of a group, which a new process is not.
    unsafe { libc::setsid() };
    let mut from: RawFd = 0;
    for fd in kept {
        if *fd > from {
            close_range(from as u32, (*fd - 1) as u32);
        }
        from = *fd + 1;
    }
    close_range(from as u32, u32::MAX);
    let mut byte = 0u8;
    loop {
        // SAFETY: one byte of room.
        let n = unsafe { libc::read(gate, (&raw mut byte).cast(), 1) };
        if n == 0 || (n < 0 && crate::error::Errno::last() != crate::error::Errno::EINTR) {
            break;
        }
    }
    for fd in fds {
        // SAFETY: ours alone in this process.
        unsafe { libc::close(*fd) };
    }
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(0) }
}

/// Closes a range of descriptors; where the kernel has no such call (before 5.9), the first thousand of it one
/// by one.
fn close_range(first: u32, last: u32) {
    // SAFETY: numbers only; no descriptor in the range is used in this process.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
        return;
    }
    for fd in first..=last.min(first.saturating_add(1000)) {
        // SAFETY: as above.
        unsafe { libc::close(fd as RawFd) };
    }
}
