//! What differs between processor architectures.

mod aarch64;
mod x86_64;

use skep_ir::kernel::Arch;

/// Offset in the saved registers (`struct pt_regs`) of a register that `reg()` or an operand names.
pub(crate) fn register(arch: Arch, name: &str) -> Option<u32> {
    match arch {
        Arch::X86_64 => x86_64::register(name),
        Arch::Aarch64 => aarch64::register(name),
    }
}

/// Bytes of a register's name, where a name stands for a part of it.
pub(crate) fn operand_register(arch: Arch, name: &str) -> Option<u32> {
    match arch {
        Arch::X86_64 => x86_64::operand_register(name),
        Arch::Aarch64 => aarch64::operand_register(name),
    }
}

/// Name of an architecture as messages show it.
pub(crate) fn name(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "x86_64",
        Arch::Aarch64 => "arm64",
    }
}

/// Before the names of the functions that system calls enter the kernel by, with a pointer to their registers.
pub(crate) fn syscall_prefix(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "__x64_sys_",
        Arch::Aarch64 => "__arm64_sys_",
    }
}

/// Arguments that a function has in registers.
pub(crate) fn register_arguments(arch: Arch) -> u32 {
    match arch {
        Arch::X86_64 => 6,
        Arch::Aarch64 => 8,
    }
}
