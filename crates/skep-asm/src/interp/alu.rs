//! Arithmetic, comparisons and byte order as the kernel computes them (`___bpf_prog_run` in
//! kernel/bpf/core.c, and the checks for division that `do_misc_fixups` in kernel/bpf/verifier.c inserts).

use crate::op::{AluOp, AtomicOp, Cond, Size, SwapBits, SwapOp, Width};

/// `a op b`. In 32 bits both are cut and the result is zero-extended.
#[must_use]
pub fn alu(width: Width, op: AluOp, a: u64, b: u64) -> u64 {
    match width {
        Width::W32 => u64::from(alu32(op, a as u32, b as u32)),
        Width::W64 => alu64(op, a, b),
    }
}

fn alu64(op: AluOp, a: u64, b: u64) -> u64 {
    match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div => a.checked_div(b).unwrap_or(0),
        AluOp::Mod => a.checked_rem(b).unwrap_or(a),
        AluOp::Sdiv if b == 0 => 0,
        AluOp::Sdiv => (a as i64).wrapping_div(b as i64) as u64,
        AluOp::Smod if b == 0 => a,
        AluOp::Smod => (a as i64).wrapping_rem(b as i64) as u64,
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Xor => a ^ b,
        AluOp::Mov => b,
        AluOp::Lsh => a << (b & 63),
        AluOp::Rsh => a >> (b & 63),
        AluOp::Arsh => ((a as i64) >> (b & 63)) as u64,
    }
}

fn alu32(op: AluOp, a: u32, b: u32) -> u32 {
    match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div => a.checked_div(b).unwrap_or(0),
        AluOp::Mod => a.checked_rem(b).unwrap_or(a),
        AluOp::Sdiv if b == 0 => 0,
        AluOp::Sdiv => (a as i32).wrapping_div(b as i32) as u32,
        AluOp::Smod if b == 0 => a,
        AluOp::Smod => (a as i32).wrapping_rem(b as i32) as u32,
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Xor => a ^ b,
        AluOp::Mov => b,
        AluOp::Lsh => a << (b & 31),
        AluOp::Rsh => a >> (b & 31),
        AluOp::Arsh => ((a as i32) >> (b & 31)) as u32,
    }
}

/// Whether `a cond b`. In 32 bits both are cut first.
#[must_use]
pub fn compare(width: Width, cond: Cond, a: u64, b: u64) -> bool {
    let (a, b, sa, sb) = match width {
        Width::W64 => (a, b, a as i64, b as i64),
        Width::W32 => (u64::from(a as u32), u64::from(b as u32), i64::from(a as i32), i64::from(b as i32)),
    };
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Gt => a > b,
        Cond::Ge => a >= b,
        Cond::Lt => a < b,
        Cond::Le => a <= b,
        Cond::Set => a & b != 0,
        Cond::Sgt => sa > sb,
        Cond::Sge => sa >= sb,
        Cond::Slt => sa < sb,
        Cond::Sle => sa <= sb,
    }
}

/// The low bytes of a number, sign-extended to 64 bits.
#[must_use]
pub fn sign_extend(size: Size, value: u64) -> u64 {
    match size {
        Size::B => value as i8 as u64,
        Size::H => value as i16 as u64,
        Size::W => value as i32 as u64,
        Size::Dw => value,
    }
}

/// Change of byte order on a little-endian machine: there `le` only cuts.
#[must_use]
pub fn swap(op: SwapOp, bits: SwapBits, value: u64) -> u64 {
    match (op, bits) {
        (SwapOp::Le, SwapBits::B16) => u64::from(value as u16),
        (SwapOp::Le, SwapBits::B32) => u64::from(value as u32),
        (SwapOp::Le, SwapBits::B64) => value,
        (SwapOp::Be | SwapOp::Bswap, SwapBits::B16) => u64::from((value as u16).swap_bytes()),
        (SwapOp::Be | SwapOp::Bswap, SwapBits::B32) => u64::from((value as u32).swap_bytes()),
        (SwapOp::Be | SwapOp::Bswap, SwapBits::B64) => value.swap_bytes(),
    }
}

/// What memory holds after an atomic operation, if it was written. `expected` is r0, for compare-and-exchange;
/// all values are cut to the width of the operation by the caller's load and store.
pub(super) fn atomic(op: AtomicOp, old: u64, operand: u64, expected: u64) -> Option<u64> {
    match op {
        AtomicOp::Add | AtomicOp::FetchAdd => Some(old.wrapping_add(operand)),
        AtomicOp::Or | AtomicOp::FetchOr => Some(old | operand),
        AtomicOp::And | AtomicOp::FetchAnd => Some(old & operand),
        AtomicOp::Xor | AtomicOp::FetchXor => Some(old ^ operand),
        AtomicOp::Xchg => Some(operand),
        AtomicOp::Cmpxchg => (old == expected).then_some(operand),
    }
}
