//! 64-bit Arm: `struct user_pt_regs` of `arch/arm64/include/uapi/asm/ptrace.h`.

pub(super) fn register(name: &str) -> Option<u32> {
    match name {
        "sp" => Some(8 * 31),
        "pc" => Some(8 * 32),
        _ => {
            let number: u32 = name.strip_prefix('r')?.parse().ok()?;
            (number <= 30).then_some(8 * number)
        }
    }
}

/// Registers as assembly text names them: `x0`, `w0`, `sp`.
pub(super) fn operand_register(name: &str) -> Option<u32> {
    match name.strip_prefix(['x', 'w']) {
        Some(number) => register(&format!("r{number}")),
        None => register(name),
    }
}
