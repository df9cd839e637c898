//! What arithmetic means: one definition for folding and for evaluation.
//!
//! Values are bits of their type, zero-extended to 64.

use crate::inst::{BinOp, CmpOp};
use crate::types::Ty;

/// The low bits of a number that a type has.
pub(crate) fn low_bits(n: u64, ty: Ty) -> u64 {
    match ty.bits() {
        64 => n,
        bits => n & ((1 << bits) - 1),
    }
}

/// The bits of a type as a signed number. An `i1` is 0 or 1.
pub(crate) fn signed(n: u64, ty: Ty) -> i64 {
    match ty.bits() {
        64 => n as i64,
        1 => (n & 1) as i64,
        bits => (n << (64 - bits)) as i64 >> (64 - bits),
    }
}

/// A constant as it is written: low bits of the type, extended by their sign.
pub(crate) fn canonical(n: i64, ty: Ty) -> i64 {
    signed(low_bits(n as u64, ty), ty)
}

/// Arithmetic, as [`BinOp`] describes it.
pub(crate) fn bin(op: BinOp, ty: Ty, a: u64, b: u64) -> u64 {
    let (sa, sb) = (signed(a, ty), signed(b, ty));
    let shift = b % u64::from(ty.bits());
    let n = match op {
        BinOp::Add => a.wrapping_add(b),
        BinOp::Sub => a.wrapping_sub(b),
        BinOp::Mul => a.wrapping_mul(b),
        BinOp::UDiv => a.checked_div(b).unwrap_or(0),
        BinOp::URem => a.checked_rem(b).unwrap_or(a),
        BinOp::SDiv if sb == 0 => 0,
        BinOp::SDiv => sa.wrapping_div(sb) as u64,
        BinOp::SRem if sb == 0 => a,
        BinOp::SRem => sa.wrapping_rem(sb) as u64,
        BinOp::And => a & b,
        BinOp::Or => a | b,
        BinOp::Xor => a ^ b,
        BinOp::Shl => a << shift,
        BinOp::LShr => a >> shift,
        BinOp::AShr => (sa >> shift) as u64,
    };
    low_bits(n, ty)
}

/// Comparison.
pub(crate) fn cmp(op: CmpOp, ty: Ty, a: u64, b: u64) -> bool {
    let (sa, sb) = (signed(a, ty), signed(b, ty));
    match op {
        CmpOp::Eq => a == b,
        CmpOp::Ne => a != b,
        CmpOp::ULt => a < b,
        CmpOp::ULe => a <= b,
        CmpOp::UGt => a > b,
        CmpOp::UGe => a >= b,
        CmpOp::SLt => sa < sb,
        CmpOp::SLe => sa <= sb,
        CmpOp::SGt => sa > sb,
        CmpOp::SGe => sa >= sb,
    }
}

/// Reverses the bytes of an integer.
pub(crate) fn bswap(n: u64, ty: Ty) -> u64 {
    n.swap_bytes() >> (64 - ty.bits())
}

/// Bucket of a power-of-two histogram: 0 for negative numbers, then 2^`bits` buckets for each power of two.
pub(crate) fn hist_bucket(n: u64, bits: u8) -> u64 {
    let per_power = 1u64 << bits;
    if (n as i64) < 0 {
        return 0;
    }
    if n < per_power {
        return n + 1;
    }
    let power = u64::from(n.ilog2()) - u64::from(bits);
    ((power + 1) << bits) + ((n >> power) & (per_power - 1)) + 1
}

/// Bucket of a linear histogram: 0 below the range, the last one above it.
pub(crate) fn linear_bucket(n: u64, min: i64, max: i64, step: i64) -> u64 {
    let n = n as i64;
    if n < min {
        return 0;
    }
    let distance = n.min(max).wrapping_sub(min) as u64;
    1 + distance.checked_div(step as u64).unwrap_or(0)
}

/// What identifies a stack: never negative, so that errors can be told from it.
pub(crate) fn stack_hash(words: impl Iterator<Item = u64>) -> u64 {
    words.fold(STACK_HASH_START, |hash, word| (hash ^ word).wrapping_mul(STACK_HASH_FACTOR).rotate_left(32))
        >> 1
}

/// Where [`stack_hash`] begins, and what it multiplies by: odd, with bits all over.
pub(crate) const STACK_HASH_START: u64 = 0xcbf2_9ce4_8422_2325;
/// See [`STACK_HASH_START`].
pub(crate) const STACK_HASH_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl CmpOp {
    /// The comparison that is true where this one is false.
    pub(crate) fn inverted(self) -> CmpOp {
        match self {
            CmpOp::Eq => CmpOp::Ne,
            CmpOp::Ne => CmpOp::Eq,
            CmpOp::ULt => CmpOp::UGe,
            CmpOp::ULe => CmpOp::UGt,
            CmpOp::UGt => CmpOp::ULe,
            CmpOp::UGe => CmpOp::ULt,
            CmpOp::SLt => CmpOp::SGe,
            CmpOp::SLe => CmpOp::SGt,
            CmpOp::SGt => CmpOp::SLe,
            CmpOp::SGe => CmpOp::SLt,
        }
    }

    /// The comparison with its operands exchanged.
    pub(crate) fn swapped(self) -> CmpOp {
        match self {
            CmpOp::Eq | CmpOp::Ne => self,
            CmpOp::ULt => CmpOp::UGt,
            CmpOp::ULe => CmpOp::UGe,
            CmpOp::UGt => CmpOp::ULt,
            CmpOp::UGe => CmpOp::ULe,
            CmpOp::SLt => CmpOp::SGt,
            CmpOp::SLe => CmpOp::SGe,
            CmpOp::SGt => CmpOp::SLt,
            CmpOp::SGe => CmpOp::SLe,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divisions_by_zero_and_of_the_smallest_number() {
        let min = i64::MIN as u64;
        assert_eq!(bin(BinOp::UDiv, Ty::I64, 7, 0), 0);
        assert_eq!(bin(BinOp::URem, Ty::I64, 7, 0), 7);
        assert_eq!(bin(BinOp::SDiv, Ty::I64, min, u64::MAX), min);
        assert_eq!(bin(BinOp::SRem, Ty::I64, min, u64::MAX), 0);
        assert_eq!(bin(BinOp::SDiv, Ty::I8, 0x80, 0xff), 0x80);
        assert_eq!(bin(BinOp::SRem, Ty::I32, 0xffff_fff9, 3), 0xffff_ffff);
        assert_eq!(bin(BinOp::SRem, Ty::I8, 0xf9, 0), 0xf9);
    }

    #[test]
    fn narrow_numbers_stay_narrow() {
        assert_eq!(bin(BinOp::Add, Ty::I8, 0xff, 1), 0);
        assert_eq!(bin(BinOp::Shl, Ty::I16, 1, 17), 2);
        assert_eq!(bin(BinOp::AShr, Ty::I8, 0x80, 7), 0xff);
        assert_eq!(canonical(255, Ty::I8), -1);
        assert_eq!(canonical(3, Ty::I1), 1);
        assert_eq!(bswap(0x1234, Ty::I16), 0x3412);
        assert!(cmp(CmpOp::SLt, Ty::I8, 0x80, 0) && !cmp(CmpOp::ULt, Ty::I8, 0x80, 0));
    }

    #[test]
    fn buckets() {
        let hist: Vec<u64> =
            [-1i64, 0, 1, 2, 3, 4, 7, 8, 1 << 62].iter().map(|&n| hist_bucket(n as u64, 0)).collect();
        assert_eq!(hist, [0, 1, 2, 3, 3, 4, 4, 5, 64]);
        let fine: Vec<u64> = [3, 4, 7, 8, 9, 10, 21].iter().map(|&n| hist_bucket(n, 2)).collect();
        assert_eq!(fine, [4, 5, 8, 9, 9, 10, 14]);
        let linear: Vec<u64> = [-1i64, 0, 9, 10, 99, 100, 101, i64::MAX]
            .iter()
            .map(|&n| linear_bucket(n as u64, 0, 100, 10))
            .collect();
        assert_eq!(linear, [0, 1, 1, 2, 10, 11, 11, 11]);
        assert_eq!(linear_bucket(5, i64::MIN, i64::MAX, 1), 5 + (1 << 63) + 1);
    }
}
