//! Arithmetic, bitwise and logical operators.

use super::convert::cast;
use super::{Checker, Ex, Lit, fold};
use crate::hir::{self, BinOp, ExprKind as Hir};
use crate::sema::diags::Stage;
use crate::sema::ty::Ty;
use crate::syntax::ast::{self, BinaryOp};
use crate::types::{IntTy, Type};
use skep_ir::{Diagnostic, Loc, Severity};

/// The operator of the analysed program, if it is one of arithmetic.
pub(super) fn arithmetic(op: BinaryOp) -> Option<BinOp> {
    Some(match op {
        BinaryOp::Add => BinOp::Add,
        BinaryOp::Sub => BinOp::Sub,
        BinaryOp::Mul => BinOp::Mul,
        BinaryOp::Div => BinOp::Div,
        BinaryOp::Mod => BinOp::Mod,
        BinaryOp::BitAnd => BinOp::And,
        BinaryOp::BitOr => BinOp::Or,
        BinaryOp::BitXor => BinOp::Xor,
        BinaryOp::Shl => BinOp::Shl,
        BinaryOp::Shr => BinOp::Shr,
        _ => return None,
    })
}

impl Checker<'_, '_> {
    /// Operators that follow each other nest to the left; they are taken one by one, so that a long sum is no
    /// deep recursion.
    pub(super) fn binary(&mut self, op: BinaryOp, left: &ast::Expr, right: &ast::Expr, loc: Loc) -> Ex {
        let mut rest = vec![(op, right, loc)];
        let mut first = left;
        while let ast::ExprKind::Binary(op, left, right) = &first.kind {
            rest.push((*op, &**right, first.loc));
            first = left;
        }
        let mut value = self.expr(first);
        while let Some((op, right, loc)) = rest.pop() {
            let right = self.expr(right);
            value = self.operate(op, value, right, loc);
        }
        value
    }

    /// An operator on two values.
    pub(super) fn operate(&mut self, op: BinaryOp, a: Ex, b: Ex, loc: Loc) -> Ex {
        if let (Some(x), Some(y)) = (&a.lit, &b.lit) {
            match fold::binary(op, x, y) {
                Ok(Some(lit)) => return self.folded(lit, loc),
                Ok(None) => {}
                Err(e) => return self.error(Stage::Fold, loc, e.message()),
            }
        }
        let (a, b) = (self.value(a), self.value(b));
        if a.unknown || b.unknown {
            return Ex::unknown(loc);
        }
        match op {
            BinaryOp::LogicalAnd | BinaryOp::LogicalOr => self.logical(op, a, b, loc),
            BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => {
                self.compare(op, a, b, loc)
            }
            _ => match arithmetic(op) {
                Some(kind) => self.arithmetic(op, kind, a, b, loc),
                None => Ex::unknown(loc),
            },
        }
    }

    fn folded(&mut self, lit: Lit, loc: Loc) -> Ex {
        match lit {
            Lit::Int(n) => Ex::int(n, loc),
            Lit::Bool(b) => Ex::bool(b, loc),
            Lit::Str(text) => {
                if text.is_empty() {
                    self.diags.warn(Stage::Fold, loc, "literal string will always be empty");
                }
                Ex::str(text, loc)
            }
        }
    }

    fn logical(&mut self, op: BinaryOp, a: Ex, b: Ex, loc: Loc) -> Ex {
        let (x, y) = (a.outline(), b.outline());
        match (self.operand_truth(a), self.operand_truth(b)) {
            (Some(a), Some(b)) => {
                let (a, b) = (Box::new(a), Box::new(b));
                let kind = if op == BinaryOp::LogicalAnd { Hir::And(a, b) } else { Hir::Or(a, b) };
                Ex::new(kind, Type::Bool, loc)
            }
            _ => self.mismatch(op, &x, &y, loc),
        }
    }

    fn operand_truth(&mut self, ex: Ex) -> Option<hir::Expr> {
        match &ex.lit {
            Some(lit) => Some(Ex::bool(fold::truth(lit), ex.loc()).e),
            None => self.truth_value(ex).ok(),
        }
    }

    /// The operator does not go with the types of its operands.
    pub(super) fn mismatch(&mut self, op: BinaryOp, a: &Ex, b: &Ex, loc: Loc) -> Ex {
        let (left, right) = (self.show(a), self.show(b));
        let same_kind = std::mem::discriminant(&a.e.ty) == std::mem::discriminant(&b.e.ty);
        let pointers = matches!(a.e.ty, Type::Ptr(..)) || matches!(b.e.ty, Type::Ptr(..));
        let mergeable = crate::sema::ty::merge(&a.ty(), &b.ty()).is_some();
        let note = if same_kind && mergeable || pointers {
            let message = format!(
                "The {} operator can not be used on expressions of types {left}, {right}",
                op.symbol()
            );
            Diagnostic::error(loc, message)
        } else {
            let message = format!("Type mismatch for '{}': comparing {left} with {right}", op.symbol());
            Diagnostic::error(loc, message)
                .context(a.loc(), format!("left ({left})"))
                .context(b.loc(), format!("right ({right})"))
        };
        self.diags.push(Stage::Check, note);
        Ex::unknown(loc)
    }

    fn arithmetic(&mut self, op: BinaryOp, kind: BinOp, a: Ex, b: Ex, loc: Loc) -> Ex {
        match (&a.e.ty, &b.e.ty) {
            (Type::Ptr(..), Type::Int(_)) if matches!(kind, BinOp::Add | BinOp::Sub) => {
                self.pointer_plus(kind, a, b, loc)
            }
            (Type::Int(_), Type::Ptr(..)) if kind == BinOp::Add => self.pointer_plus(kind, b, a, loc),
            _ => match (a.ty().as_int(), b.ty().as_int()) {
                (Some(x), Some(y)) => self.int_arithmetic(op, kind, (a, x), (b, y), loc),
                _ => self.mismatch(op, &a, &b, loc),
            },
        }
    }

    fn int_arithmetic(
        &mut self,
        op: BinaryOp,
        kind: BinOp,
        (a, x): (Ex, IntTy),
        (b, y): (Ex, IntTy),
        loc: Loc,
    ) -> Ex {
        let (fa, fb) = (a.traits.is_flexible(), b.traits.is_flexible());
        // A flexible side has the sign of the other one; two of them are signed, as their smallest types are.
        let (sx, sy) = match (fa, fb) {
            (true, false) => (y.signed, y.signed),
            (false, true) => (x.signed, x.signed),
            _ => (x.signed, y.signed),
        };
        let signed = match kind {
            BinOp::Sub => true,
            BinOp::Shl | BinOp::Shr => x.signed,
            _ => sx || sy,
        };
        if matches!(kind, BinOp::Div | BinOp::Mod) {
            // A constant divides as the other side does, whatever that is.
            let differ = (x.bytes, sx) != (y.bytes, sy) && !fa && !fb;
            if (sx || sy) && differ {
                let message = format!(
                    "signed operands for '{}' can lead to undefined behavior (cast to unsigned to silence warning)",
                    op.symbol()
                );
                self.diags.warn(Stage::Types, loc, message);
            }
        }
        let space = if matches!(kind, BinOp::Add | BinOp::Sub) {
            merged_space(&a, &b)
        } else {
            crate::types::AddrSpace::None
        };
        let ty = Type::Int(IntTy { bytes: 8, signed });
        let (a, b) = match kind {
            // The amount of a shift may be any integer.
            BinOp::Shl | BinOp::Shr => (self.convert(a, &ty), cast(b.e, &ty)),
            // The difference of two unsigned numbers is right in 64 bits, whatever they are.
            BinOp::Sub if !sx && !sy => (self.wrapped(a, &ty), self.wrapped(b, &ty)),
            _ => (self.convert(a, &ty), self.convert(b, &ty)),
        };
        let traits = crate::sema::ty::Traits::address(space);
        Ex::typed(Hir::Binary(kind, Box::new(a), Box::new(b)), Ty { ty, traits }, loc)
    }

    /// The low bits of a number as another type, without a word about those that are lost.
    fn wrapped(&mut self, ex: Ex, to: &Type) -> hir::Expr {
        if ex.lit.is_some() { self.convert(ex, to) } else { cast(ex.e, to) }
    }

    /// Pointer arithmetic, in units of what is pointed to.
    pub(super) fn pointer_plus(&mut self, kind: BinOp, pointer: Ex, offset: Ex, loc: Loc) -> Ex {
        let Some(step) = self.pointee_size(&pointer.e.ty) else { return Ex::unknown(loc) };
        let ty = pointer.ty();
        let offset = self.scaled(offset, step, loc);
        Ex::typed(Hir::Binary(kind, Box::new(pointer.e), Box::new(offset)), ty, loc)
    }

    /// Bytes of what a pointer points to; 1 for void.
    pub(super) fn pointee_size(&mut self, pointer: &Type) -> Option<u32> {
        let Type::Ptr(to, _) = pointer else { return None };
        if let Type::Struct(id) = **to {
            // A struct seen only by name gets its size with its fields.
            self.db.fields(id);
        }
        Some(self.db.size_of(to).max(1))
    }

    /// A number of elements as a number of bytes.
    pub(super) fn scaled(&mut self, offset: Ex, step: u32, loc: Loc) -> hir::Expr {
        if let Some(n) = offset.lit_int() {
            let bytes = n.saturating_mul(i128::from(step));
            return hir::Expr::new(Hir::Int(bytes as u64), Type::I64, offset.e.loc);
        }
        let offset = self.as_i64(offset);
        if step == 1 {
            return offset;
        }
        let step = hir::Expr::new(Hir::Int(u64::from(step)), Type::I64, loc);
        hir::Expr::new(Hir::Binary(BinOp::Mul, Box::new(offset), Box::new(step)), Type::I64, loc)
    }

    /// Two operands are addresses of different memory.
    pub(super) fn check_spaces(&mut self, a: &Ex, b: &Ex, loc: Loc) {
        use crate::types::AddrSpace::None;
        let (x, y) = (a.ty().space(), b.ty().space());
        let pointers = matches!(a.e.ty, Type::Ptr(..)) && matches!(b.e.ty, Type::Ptr(..));
        if pointers && x != None && y != None && x != y {
            self.diags
                .push(Stage::Check, Diagnostic::new(Severity::Warning, Some(loc), "Addrspace mismatch"));
        }
    }
}

fn merged_space(a: &Ex, b: &Ex) -> crate::types::AddrSpace {
    use crate::types::AddrSpace;
    match (a.ty().space(), b.ty().space()) {
        (AddrSpace::None, other) | (other, AddrSpace::None) => other,
        (x, y) if x == y => x,
        _ => AddrSpace::None,
    }
}
