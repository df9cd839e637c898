//! 64-bit x86: `struct pt_regs` of `arch/x86/include/asm/ptrace.h`.

const REGISTERS: &[&str] = &[
    "r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di",
    "orig_rax", "ip", "cs", "flags", "sp", "ss",
];

pub(super) fn register(name: &str) -> Option<u32> {
    let name = if name == "pc" { "ip" } else { name };
    Some(8 * REGISTERS.iter().position(|r| *r == name)? as u32)
}

/// Registers as assembly text names them, whole or in part: `rax`, `eax`, `ax`, `al`, `r8d`.
pub(super) fn operand_register(name: &str) -> Option<u32> {
    let plain = match name.as_bytes() {
        [b'r' | b'e', _, b'x' | b'i' | b'p'] => &name[1..],
        [letter @ b'a'..=b'd', b'l'] => match letter {
            b'a' => "ax",
            b'b' => "bx",
            b'c' => "cx",
            _ => "dx",
        },
        [_, b'i' | b'p', b'l'] => &name[..2],
        [b'r', b'0'..=b'9', ..] => name.trim_end_matches(['d', 'w', 'b']),
        _ => name,
    };
    register(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_whole_and_partial_registers() {
        assert_eq!(register("ip"), Some(128));
        assert_eq!(register("sp"), Some(152));
        assert_eq!(register("rax"), None);
        for (part, whole) in [
            ("rax", "ax"),
            ("eax", "ax"),
            ("al", "ax"),
            ("bl", "bx"),
            ("sil", "si"),
            ("r8d", "r8"),
            ("rbp", "bp"),
            ("esp", "sp"),
            ("r15", "r15"),
        ] {
            assert_eq!(operand_register(part), register(whole), "{part}");
        }
        assert_eq!(operand_register("xmm0"), None);
    }
}
