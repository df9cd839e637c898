//! Buckets of histograms, and signed division for kernels that have none.

use crate::func::{Inst, Value};
use crate::inst::{BinOp, CmpOp, InstKind};
use crate::passes::rewrite::{Fate, Rewriter};

/// Bucket of a power-of-two histogram, as [`crate::arith::hist_bucket`] computes it.
///
/// Without branches: the verifier would follow each of the ways through them, and whatever comes after for each.
/// With `p` the place of the highest bit of `n >> bits`, the bucket is `(p << bits) + (n >> p) + 1`.
pub(super) fn hist_bucket(rw: &mut Rewriter<'_>, val: Value, bits: u8) -> Value {
    let bits = i64::from(bits);
    let bound = if rw.is_at_most(val, u64::from(u32::MAX), 0) { 32 } else { 64 };
    let positive = bound == 32 || rw.is_at_most(val, i64::MAX.cast_unsigned(), 0);
    // All ones unless negative; negative numbers go through as 0 and their bucket is cleared at the end.
    let keep = (!positive).then(|| {
        let sign = rw.bin_n(BinOp::AShr, val, 63);
        rw.bin_n(BinOp::Xor, sign, -1)
    });
    let n = keep.map_or(val, |keep| rw.bin(BinOp::And, val, keep));
    let mut rest = if bits == 0 { n } else { rw.bin_n(BinOp::LShr, n, bits) };
    let mut place: Option<Value> = None;
    for step in [5i64, 4, 3, 2, 1, 0] {
        let width = 1i64 << step;
        if width >= bound {
            continue;
        }
        // 1 if a bit at `width` or above is set: neither number has its top bit set.
        let most = rw.i64((1i64 << width) - 1);
        let less = rw.bin(BinOp::Sub, most, rest);
        let above = rw.bin_n(BinOp::LShr, less, 63);
        let by = if step == 0 { above } else { rw.bin_n(BinOp::Shl, above, step) };
        if step > 0 {
            rest = rw.bin(BinOp::LShr, rest, by);
        }
        place = Some(match place {
            Some(place) => rw.bin(BinOp::Or, place, by),
            None => by,
        });
    }
    let place = place.unwrap_or(n);
    // What is left of the number: 0 or 1 without further bits, else with the highest bit and `bits` below it. The
    // mask changes nothing but tells the verifier.
    let (start, digits) = if bits == 0 {
        let zero = rw.i64(0);
        let less = rw.bin(BinOp::Sub, zero, n);
        (place, rw.bin_n(BinOp::LShr, less, 63))
    } else {
        let digits = rw.bin(BinOp::LShr, n, place);
        (rw.bin_n(BinOp::Shl, place, bits), rw.bin_n(BinOp::And, digits, (2 << bits) - 1))
    };
    let sum = rw.bin(BinOp::Add, start, digits);
    let bucket = rw.bin_n(BinOp::Add, sum, 1);
    keep.map_or(bucket, |keep| rw.bin(BinOp::And, bucket, keep))
}

/// Bucket of a linear histogram, as [`crate::arith::linear_bucket`] computes it.
pub(super) fn linear_bucket(
    rw: &mut Rewriter<'_>,
    inst: Inst,
    val: Value,
    min: i64,
    max: i64,
    step: i64,
) -> Fate {
    let step = step.max(1).cast_unsigned();
    let range = max.wrapping_sub(min).cast_unsigned();
    let join = rw.join(inst);
    let (below, from_min, above, inside) = (rw.block(), rw.block(), rw.block(), rw.block());
    let is_below = rw.cmp_n(CmpOp::SLt, val, min);
    rw.cond_br(is_below, below, from_min);
    rw.switch_to(from_min);
    let is_above = rw.cmp_n(CmpOp::SGe, val, max);
    rw.cond_br(is_above, above, inside);
    rw.switch_to(inside);
    let distance = if min == 0 { val } else { rw.bin_n(BinOp::Sub, val, min) };
    let quotient = divide(rw, distance, range, step);
    let bucket = rw.bin_n(BinOp::Add, quotient, 1);
    rw.br_join(join, bucket);
    rw.switch_to(above);
    let last = rw.i64((1 + range / step).cast_signed());
    rw.br_join(join, last);
    rw.switch_to(below);
    let first = rw.i64(0);
    rw.br_join(join, first);
    rw.switch_to(join);
    Fate::Replaced
}

/// Divides a number that is at most `most` by a constant.
fn divide(rw: &mut Rewriter<'_>, n: Value, most: u64, by: u64) -> Value {
    if by == 1 {
        return n;
    }
    if by.is_power_of_two() {
        return rw.bin_n(BinOp::LShr, n, i64::from(by.trailing_zeros()));
    }
    if let Some((factor, shift)) = reciprocal(most, by) {
        let product = rw.bin_n(BinOp::Mul, n, factor.cast_signed());
        return rw.bin_n(BinOp::LShr, product, i64::from(shift));
    }
    rw.bin_n(BinOp::UDiv, n, by.cast_signed())
}

/// A factor and a shift that divide every number up to `most` exactly, if there are any: with the factor
/// `(2^shift + e) / by`, the quotient is right as long as `e * most < 2^shift`, and the product must not overflow.
fn reciprocal(most: u64, by: u64) -> Option<(u64, u32)> {
    (0..64).find_map(|shift| {
        let power = 1u128 << shift;
        let factor = power.div_ceil(u128::from(by));
        let excess = factor * u128::from(by) - power;
        let exact = excess * u128::from(most) < power;
        let fits = factor * u128::from(most) <= u128::from(u64::MAX);
        (exact && fits).then_some((u64::try_from(factor).ok()?, shift))
    })
}

/// Signed division by an unsigned one of the magnitudes.
pub(super) fn signed_division(rw: &mut Rewriter<'_>, op: BinOp, a: Value, b: Value) -> Value {
    let ty = rw.ty(a);
    let top = i64::from(ty.bits()) - 1;
    let magnitude = |rw: &mut Rewriter<'_>, n: Value| {
        let sign = rw.bin_n(BinOp::AShr, n, top);
        let flipped = rw.bin(BinOp::Xor, n, sign);
        (rw.bin(BinOp::Sub, flipped, sign), sign)
    };
    let ((a, sign_a), (b, sign_b)) = (magnitude(rw, a), magnitude(rw, b));
    let (op, sign) = match op {
        BinOp::SDiv => (BinOp::UDiv, rw.bin(BinOp::Xor, sign_a, sign_b)),
        _ => (BinOp::URem, sign_a),
    };
    let n = rw.value(InstKind::Bin(op, a, b), ty);
    let flipped = rw.bin(BinOp::Xor, n, sign);
    rw.bin(BinOp::Sub, flipped, sign)
}

#[cfg(test)]
mod tests {
    use super::reciprocal;

    #[test]
    fn reciprocals_divide_exactly() {
        for by in (3..200).chain([1000, 4097, 1_000_000, (1 << 40) + 1]) {
            for most in [0u64, 1, 7, 100, 65_535, 1 << 20, u64::from(u32::MAX), 1 << 45, u64::MAX] {
                let Some((factor, shift)) = reciprocal(most, by) else { continue };
                let near = [0, 1, by - 1, by, by + 1, most / 2, most / by * by, most.wrapping_sub(1), most];
                let edge = (most / by * by).saturating_sub(1);
                for n in near.into_iter().chain([edge]).filter(|&n| n <= most) {
                    assert_eq!(n.wrapping_mul(factor) >> shift, n / by, "{n} / {by}");
                }
            }
        }
        assert!(reciprocal(10_000, 100).is_some() && reciprocal(u64::MAX, 7).is_none());
    }
}
