//! Places that this process runs a program at itself.

use super::error::AttachError;
use skep_ir::spec::Attach;
use skep_sys::bpf::{Prog, TestRun};

/// Runs a program of [`Attach::Once`] or [`Attach::Signal`] once, on this thread, and returns its value.
///
/// The current process of the program is this one. Kinds: raw tracepoints (without arguments, since 5.10) and
/// system call programs.
pub fn run(prog: &Prog, attach: &Attach) -> Result<u32, AttachError> {
    let output = prog.test_run(&TestRun::default()).map_err(|e| AttachError::new(attach, e))?;
    Ok(output.retval)
}
