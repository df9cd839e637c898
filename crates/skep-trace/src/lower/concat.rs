//! Lengths of strings, and strings put behind each other.

use super::function::Fx;
use super::store::{Dest, Fill};
use crate::hir::Expr;
use skep_ir::inst::{BinOp, CmpOp, InstKind};
use skep_ir::{Loc, Ty, Value};

/// Longest string whose length is found by looking at its bytes. The verifier follows every length that a loop may
/// end with, each to the end of the program; a helper that copies the string has one result.
const COUNTED: u32 = 64;

impl<'p> Fx<'_, 'p> {
    /// Length of a string.
    pub(super) fn string_length(&mut self, e: &'p Expr) -> Value {
        let size = self.unit.size(&e.ty);
        if size <= COUNTED {
            let (ptr, cap) = self.string_operand(e, size);
            return self.b.value(InstKind::StrLen { ptr, cap }, Ty::I64);
        }
        let copy = self.buffer("string", size);
        self.copied_length(e, copy, size, e.loc)
    }

    /// Copies the first bytes of a string and tells how many there are before its NUL.
    fn copied_length(&mut self, e: &'p Expr, dst: Value, cap: u32, loc: Loc) -> Value {
        let code = self.or_zero(|f| {
            let (src, space) = f.string_source(e);
            let kind = InstKind::ProbeReadStr { dst, cap, len: None, src, space };
            let code = f.b.value(kind, Ty::I64);
            f.check_read(code, space, "_str", loc);
            code
        });
        // The NUL counts, and errors are negative.
        let zero = self.b.i64(0);
        let read = self.b.cmp(CmpOp::SGt, code, zero);
        self.choose(
            read,
            Ty::I64,
            |f| {
                let one = f.b.i64(1);
                f.b.bin(BinOp::Sub, code, one)
            },
            |f| f.b.i64(0),
        )
    }

    /// `str_concat(a, b)`
    pub(super) fn concat_into(&mut self, a: &'p Expr, b: &'p Expr, cap: u32, to: Dest, loc: Loc) {
        let (first, second) = parts(self.unit.size(&a.ty), self.unit.size(&b.ty), cap);
        // The second string is written to a place that is known only by its range, which the verifier allows in
        // memory that has been written.
        if matches!(to.fill, Fill::Exact | Fill::Written) {
            let dst = self.dest_ptr(to);
            self.fill_bytes(dst, 0, cap);
        }
        let len = if first <= COUNTED && self.unit.size(&a.ty) == first {
            let fill = if to.fill == Fill::Loose { Fill::Loose } else { Fill::Zeroed };
            self.put(a, Dest { fill, ..to });
            let ptr = self.dest_ptr(to);
            self.b.value(InstKind::StrLen { ptr, cap: first }, Ty::I64)
        } else {
            let dst = self.dest_ptr(to);
            self.copied_length(a, dst, first, loc)
        };
        let len = self.at_most(len, u64::from(cap.saturating_sub(second).min(first)));
        let ptr = self.dest_ptr(to);
        let ty = self.b.func.ty(ptr);
        let end = self.b.value(InstKind::PtrAdd(ptr, 0, Some(len)), ty);
        self.or_else(
            |f| {
                let (src, space) = f.string_source(b);
                let kind = InstKind::ProbeReadStr { dst: end, cap: second, len: None, src, space };
                let code = f.b.value(kind, Ty::I64);
                f.check_read(code, space, "_str", loc);
            },
            |_| {},
        );
    }
}

/// How many bytes of two strings, their NULs included, can come into a string of a capacity: both as a whole if they
/// fit, else the shorter one and what is left for the other, half of it at least.
fn parts(first: u32, second: u32, cap: u32) -> (u32, u32) {
    let (first, second) = (first.min(cap), second.min(cap));
    if first.saturating_add(second) <= cap.saturating_add(1) {
        return (first, second);
    }
    let half = cap.div_ceil(2);
    if first <= half {
        (first, (cap + 1).saturating_sub(first.max(1)))
    } else if second <= half {
        (first, second)
    } else {
        (first, half)
    }
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn both_strings_get_room() {
        assert_eq!(parts(5, 7, 11), (5, 7));
        assert_eq!(parts(2, 1024, 1024), (2, 1023));
        assert_eq!(parts(1024, 3, 1024), (1024, 3));
        assert_eq!(parts(1024, 1024, 1024), (1024, 512));
        assert_eq!(parts(1, 1024, 1024), (1, 1024));
    }
}
