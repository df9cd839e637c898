//! Arithmetic on constants.

use super::Lit;
use crate::syntax::ast::{BinaryOp, UnaryOp};

/// Why constants cannot be folded.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum FoldError {
    /// The result is no number of 64 bits, or there is none.
    Range,
    /// The operator means nothing for text.
    Text,
}

impl FoldError {
    pub(super) fn message(self) -> &'static str {
        match self {
            FoldError::Range => "unable to fold literals due to overflow or underflow",
            FoldError::Text => "illegal literal operation with strings",
        }
    }
}

const I64: std::ops::RangeInclusive<i128> = i64::MIN as i128..=i64::MAX as i128;
const ALL: std::ops::RangeInclusive<i128> = i64::MIN as i128..=u64::MAX as i128;

/// The value of an operation on two constants; `None` if it is left to run time (or to the type checks).
pub(super) fn binary(op: BinaryOp, a: &Lit, b: &Lit) -> Result<Option<Lit>, FoldError> {
    if matches!(op, BinaryOp::LogicalAnd | BinaryOp::LogicalOr) {
        let (a, b) = (truth(a), truth(b));
        return Ok(Some(Lit::Bool(if op == BinaryOp::LogicalAnd { a && b } else { a || b })));
    }
    match (a, b) {
        (Lit::Int(a), Lit::Int(b)) => ints(op, *a, *b).map(Some),
        (Lit::Str(a), Lit::Str(b)) => match op {
            BinaryOp::Add => Ok(Some(Lit::Str([&a[..], &b[..]].concat().into()))),
            BinaryOp::Eq => Ok(Some(Lit::Bool(until_nul(a) == until_nul(b)))),
            BinaryOp::Ne => Ok(Some(Lit::Bool(until_nul(a) != until_nul(b)))),
            BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => {
                Ok(Some(Lit::Bool(ordered(op, a, b))))
            }
            _ => Err(FoldError::Text),
        },
        (Lit::Str(text), Lit::Int(skip)) if op == BinaryOp::Add && *skip >= 0 => {
            let skip = usize::try_from(*skip).unwrap_or(usize::MAX).min(text.len());
            Ok(Some(Lit::Str(text[skip..].into())))
        }
        (Lit::Bool(a), Lit::Bool(b)) => Ok(match op {
            BinaryOp::Eq => Some(Lit::Bool(a == b)),
            BinaryOp::Ne => Some(Lit::Bool(a != b)),
            _ => None,
        }),
        _ => Ok(None),
    }
}

/// The value of an operation on a constant.
pub(super) fn unary(op: UnaryOp, a: &Lit) -> Result<Option<Lit>, FoldError> {
    let in_range = |n: i128| ALL.contains(&n).then_some(Some(Lit::Int(n))).ok_or(FoldError::Range);
    match (op, a) {
        (UnaryOp::Neg, Lit::Int(n)) => {
            if *n > -I64.start() {
                Err(FoldError::Range)
            } else {
                in_range(-n)
            }
        }
        (UnaryOp::BitNot, Lit::Int(n)) if *n >= 0 => in_range(i128::from(!(*n as u64))),
        (UnaryOp::BitNot, Lit::Int(n)) => in_range(!n),
        (UnaryOp::Not, lit) => Ok(Some(Lit::Bool(!truth(lit)))),
        _ => Ok(None),
    }
}

/// Whether a constant counts as true.
pub(super) fn truth(lit: &Lit) -> bool {
    match lit {
        Lit::Int(n) => *n != 0,
        Lit::Bool(b) => *b,
        Lit::Str(s) => !until_nul(s).is_empty(),
    }
}

/// The order of two texts.
fn ordered(op: BinaryOp, a: &[u8], b: &[u8]) -> bool {
    let order = until_nul(a).cmp(until_nul(b));
    match op {
        BinaryOp::Lt => order.is_lt(),
        BinaryOp::Le => order.is_le(),
        BinaryOp::Gt => order.is_gt(),
        _ => order.is_ge(),
    }
}

/// Comparison stops at the end of text.
fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|&b| b == 0).next().unwrap_or(text)
}

fn ints(op: BinaryOp, a: i128, b: i128) -> Result<Lit, FoldError> {
    // With a negative operand everything is signed, so both must be signed numbers.
    let signed = a < 0 || b < 0;
    if signed && !(I64.contains(&a) && I64.contains(&b)) {
        return Err(FoldError::Range);
    }
    let shift = u32::try_from(b).ok().filter(|&n| n < 64).ok_or(FoldError::Range);
    let value = match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a.checked_mul(b).ok_or(FoldError::Range)?,
        BinaryOp::Div => a.checked_div(b).ok_or(FoldError::Range)?,
        BinaryOp::Mod => a.checked_rem(b).ok_or(FoldError::Range)?,
        BinaryOp::BitAnd => a & b,
        BinaryOp::BitOr => a | b,
        BinaryOp::BitXor => a ^ b,
        BinaryOp::Shl => a << shift?,
        BinaryOp::Shr => a >> shift?,
        BinaryOp::Eq => return Ok(Lit::Bool(a == b)),
        BinaryOp::Ne => return Ok(Lit::Bool(a != b)),
        BinaryOp::Lt => return Ok(Lit::Bool(a < b)),
        BinaryOp::Le => return Ok(Lit::Bool(a <= b)),
        BinaryOp::Gt => return Ok(Lit::Bool(a > b)),
        BinaryOp::Ge => return Ok(Lit::Bool(a >= b)),
        BinaryOp::LogicalAnd => return Ok(Lit::Bool(a != 0 && b != 0)),
        BinaryOp::LogicalOr => return Ok(Lit::Bool(a != 0 || b != 0)),
    };
    let range = if signed { I64 } else { ALL };
    if range.contains(&value) { Ok(Lit::Int(value)) } else { Err(FoldError::Range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fold_in_64_bits() {
        let fold = |op, a, b| binary(op, &Lit::Int(a), &Lit::Int(b));
        let int = |n| Ok(Some(Lit::Int(n)));
        assert_eq!(fold(BinaryOp::Div, -7, 2), int(-3));
        assert_eq!(fold(BinaryOp::Mod, -7, 3), int(-1));
        assert_eq!(fold(BinaryOp::Shr, -1, 1), int(-1));
        assert_eq!(fold(BinaryOp::Shl, 1, 63), int(1 << 63));
        assert_eq!(fold(BinaryOp::Shl, 1, 64), Err(FoldError::Range));
        assert_eq!(fold(BinaryOp::Div, 1, 0), Err(FoldError::Range));
        assert_eq!(fold(BinaryOp::Add, i128::from(u64::MAX), 1), Err(FoldError::Range));
        assert_eq!(fold(BinaryOp::Add, i128::from(i64::MAX), 1), int(1 << 63));
        assert_eq!(fold(BinaryOp::Lt, -1, i128::from(u64::MAX)), Err(FoldError::Range));
        assert_eq!(fold(BinaryOp::Mul, i128::from(u64::MAX), i128::from(u64::MAX)), Err(FoldError::Range));
        assert_eq!(unary(UnaryOp::BitNot, &Lit::Int(1)), int(i128::from(u64::MAX) - 1));
        assert_eq!(unary(UnaryOp::Neg, &Lit::Int(1 << 63)), int(i128::from(i64::MIN)));
        assert_eq!(unary(UnaryOp::Neg, &Lit::Int((1 << 63) + 1)), Err(FoldError::Range));
    }

    #[test]
    fn text_folds() {
        let text = |s: &str| Lit::Str(s.as_bytes().into());
        assert_eq!(binary(BinaryOp::Add, &text("ab"), &text("cd")), Ok(Some(text("abcd"))));
        assert_eq!(binary(BinaryOp::Add, &text("abc"), &Lit::Int(1)), Ok(Some(text("bc"))));
        assert_eq!(binary(BinaryOp::Add, &text("abc"), &Lit::Int(9)), Ok(Some(text(""))));
        assert_eq!(binary(BinaryOp::Sub, &text("a"), &text("b")), Err(FoldError::Text));
        assert_eq!(binary(BinaryOp::Mul, &text("a"), &Lit::Int(2)), Ok(None));
        assert_eq!(binary(BinaryOp::Eq, &text("a\0b"), &text("a")), Ok(Some(Lit::Bool(true))));
    }
}
