//! Comparisons.

use super::convert::cast;
use super::{Checker, Ex};
use crate::hir::{self, CmpOp, ExprKind as Hir};
use crate::sema::diags::Stage;
use crate::sema::ty::{merge, merge_ints};
use crate::syntax::ast::BinaryOp;
use crate::types::Type;
use skep_ir::{Diagnostic, Loc};

fn operator(op: BinaryOp) -> CmpOp {
    match op {
        BinaryOp::Ne => CmpOp::Ne,
        BinaryOp::Lt => CmpOp::Lt,
        BinaryOp::Le => CmpOp::Le,
        BinaryOp::Gt => CmpOp::Gt,
        BinaryOp::Ge => CmpOp::Ge,
        _ => CmpOp::Eq,
    }
}

impl Checker<'_, '_> {
    pub(super) fn compare(&mut self, op: BinaryOp, a: Ex, b: Ex, loc: Loc) -> Ex {
        let equality = matches!(op, BinaryOp::Eq | BinaryOp::Ne);
        match (&a.e.ty, &b.e.ty) {
            (Type::Bool, Type::Bool) => self.compared(op, a.e, b.e, loc),
            (Type::Enum(x), Type::Enum(y)) if x == y => {
                let (a, b) = (cast(a.e, &Type::U64), cast(b.e, &Type::U64));
                self.compared(op, a, b, loc)
            }
            (Type::Str(_), Type::Str(_)) if equality => self.compared(op, a.e, b.e, loc),
            (Type::Ptr(x, _), Type::Ptr(y, _)) => {
                if x != y && **x != Type::None && **y != Type::None {
                    let (left, right) = (self.db.show(x), self.db.show(y));
                    let message = format!("comparison of distinct pointer types: {left}, {right}");
                    let note = Diagnostic::warning(loc, message)
                        .context(a.loc(), format!("left ({left})"))
                        .context(b.loc(), format!("right ({right})"));
                    self.diags.push(Stage::Types, note);
                }
                self.check_spaces(&a, &b, loc);
                let (a, b) = (cast(a.e, &Type::U64), cast(b.e, &Type::U64));
                self.compared(op, a, b, loc)
            }
            (Type::Ptr(..), Type::Int(_)) | (Type::Int(_), Type::Ptr(..)) => {
                let (a, b) = (self.as_u64(a), self.as_u64(b));
                self.compared(op, a, b, loc)
            }
            (Type::Tuple(_), Type::Tuple(_)) | (Type::Record(_), Type::Record(_)) => {
                match merge(&a.ty(), &b.ty()) {
                    Some(ty) if equality => {
                        let (a, b) = (self.convert(a, &ty.ty), self.convert(b, &ty.ty));
                        self.compared(op, a, b, loc)
                    }
                    _ => self.mismatch(op, &a, &b, loc),
                }
            }
            (Type::Array(x, n), Type::Array(y, m)) => {
                let message = if !equality {
                    Some(format!("The {} operator cannot be used on arrays.", op.symbol()))
                } else if n != m {
                    Some("Only arrays of same size support comparison operators.".to_owned())
                } else if !matches!((&**x, &**y), (Type::Int(i), Type::Int(j)) if i.bytes == j.bytes) {
                    Some("Only arrays of same sized integer support comparison operators.".to_owned())
                } else {
                    None
                };
                match message {
                    Some(message) => self.error(Stage::Check, loc, message),
                    None => {
                        let to = a.e.ty.clone();
                        let b = cast(b.e, &to);
                        self.compared(op, a.e, b, loc)
                    }
                }
            }
            // What stands for something by its number is the same if the number is.
            (x, y) if x == y && equality && matches!(x, Type::KStack(_) | Type::KSym | Type::Username) => {
                self.compared(op, a.e, b.e, loc)
            }
            _ => match (a.ty().as_int(), b.ty().as_int()) {
                (Some(x), Some(y)) => {
                    let ty = merge_ints(x, a.traits.is_flexible(), y, b.traits.is_flexible());
                    let ty = Type::Int(ty);
                    let (a, b) = (self.convert(a, &ty), self.convert(b, &ty));
                    self.compared(op, a, b, loc)
                }
                _ => self.mismatch(op, &a, &b, loc),
            },
        }
    }

    fn compared(&mut self, op: BinaryOp, a: hir::Expr, b: hir::Expr, loc: Loc) -> Ex {
        Ex::new(Hir::Compare(operator(op), Box::new(a), Box::new(b)), Type::Bool, loc)
    }
}
