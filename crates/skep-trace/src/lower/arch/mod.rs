//! What differs between processors: where registers stand in a context and what they hold at a call.
//!
//! Sources: `struct pt_regs` and `struct user_pt_regs` of each `asm/ptrace.h`, the calling conventions, and
//! `arch/*/include/asm/syscall_wrapper.h`.

mod aarch64;
mod x86_64;

use skep_ir::kernel::Arch;

/// A processor's registers as a probe's context shows them. Offsets are in bytes; registers have 8.
#[derive(Debug)]
pub(super) struct Regs {
    /// Registers that hold the integer arguments of a call, at the function's first instruction.
    pub(super) args: &'static [i32],
    /// Where the arguments of a system call stand in the registers that its wrapper is called with.
    pub(super) syscall_args: &'static [i32],
    /// Prefix of wrappers of system calls. Their only argument points to the registers of the calling process.
    pub(super) syscall_prefix: &'static str,
    /// Result of a call, at its return.
    pub(super) ret: i32,
    /// Program counter.
    pub(super) ip: i32,
    /// How to tell user mode from kernel mode.
    pub(super) mode: Mode,
    /// Names of system calls, separated by blanks, from a number on.
    pub(super) syscalls: &'static [(u32, &'static str)],
}

/// A register that tells the mode: it is user mode if the bits of `mask` read `user`.
#[derive(Copy, Clone, Debug)]
pub(super) struct Mode {
    pub(super) register: i32,
    pub(super) mask: i64,
    pub(super) user: i64,
}

/// The registers of a processor.
pub(super) fn regs(arch: Arch) -> &'static Regs {
    match arch {
        Arch::X86_64 => &x86_64::REGS,
        Arch::Aarch64 => &aarch64::REGS,
    }
}
