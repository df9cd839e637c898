//! Processes of others and of our own: spawning a command that waits, what a child used, signals, namespaces,
//! limits.

mod background;
mod limits;
mod namespaces;
mod spawn;
mod usage;

pub use background::close_in_background;
pub use limits::{raise_memlock, raise_open_files};
pub use namespaces::{in_namespace_at, in_namespaces};
pub use spawn::{Child, StopAt, find_program, spawn};
pub use usage::{Usage, try_wait_with_usage};

use crate::error::{Errno, Result, SysError};
use crate::poll::Signal;

/// Sends a signal to a process by its number. `ESRCH`: there is none. Prefer [`crate::poll::PidFd`] for a process
/// that is known for longer: a number may be given to another process.
pub fn kill(pid: u32, signal: Signal) -> Result<()> {
    let about = |e: SysError| e.about(format!("{signal} to process {pid}"));
    // Zero and negative numbers are groups.
    let raw = i32::try_from(pid).ok().filter(|pid| *pid > 0);
    let raw = raw.ok_or_else(|| about(SysError::new("kill", Errno::ESRCH)))?;
    // SAFETY: numbers only.
    if unsafe { libc::kill(raw, signal.0) } == 0 { Ok(()) } else { Err(about(SysError::last("kill"))) }
}

/// Waits for an RCU grace period: whatever ran in the kernel when the call began and holds an RCU read lock, as
/// BPF programs do, is through it when the call returns. `false`: the kernel does not let us wait (it is built
/// without membarrier(2), or has CPUs without a tick).
pub fn wait_for_rcu() -> bool {
    // `MEMBARRIER_CMD_GLOBAL` is `synchronize_rcu` (kernel/sched/membarrier.c).
    // SAFETY: numbers only.
    unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) == 0 }
}
