//! Truth values: comparisons, and branches that skip what need not be evaluated.

use super::function::Fx;
use super::object::is_signed;
use super::store::{Dest, Fill};
use crate::hir::{CmpOp, Expr, ExprKind, Func};
use crate::types::Type;
use skep_ir::inst::{BinOp, CmpOp as IrCmp, InstKind};
use skep_ir::{Block, Ty, Value};

impl<'p> Fx<'_, 'p> {
    /// Goes to one of two blocks by an expression of type bool.
    pub(super) fn branch(&mut self, e: &'p Expr, yes: Block, no: Block) {
        match &e.kind {
            ExprKind::And(a, b) => {
                let next = self.b.new_block();
                self.branch(a, next, no);
                self.b.switch_to(next);
                self.scoped(|f| f.branch(b, yes, no));
            }
            ExprKind::Or(a, b) => {
                let next = self.b.new_block();
                self.branch(a, yes, next);
                self.b.switch_to(next);
                self.scoped(|f| f.branch(b, yes, no));
            }
            ExprKind::Not(inner) => self.branch(inner, no, yes),
            ExprKind::Int(n) => self.jump(if *n != 0 { yes } else { no }, None),
            _ => {
                let cond = self.condition(e);
                self.b.cond_br(cond, yes, no);
            }
        }
    }

    /// Evaluates an expression of type bool.
    pub(super) fn condition(&mut self, e: &'p Expr) -> Value {
        match &e.kind {
            ExprKind::And(..) | ExprKind::Or(..) => {
                let (yes, no, join) = (self.b.new_block(), self.b.new_block(), self.b.new_block());
                let out = self.b.func.add_param(join, Ty::I1);
                // What is found out in an operand holds behind it only if it is always evaluated.
                self.scoped(|f| f.branch(e, yes, no));
                for (block, value) in [(yes, 1), (no, 0)] {
                    self.b.switch_to(block);
                    let value = self.b.iconst(Ty::I1, value);
                    self.jump(join, Some(value));
                }
                self.b.switch_to(join);
                out
            }
            ExprKind::Not(inner) => {
                let value = self.condition(inner);
                self.not(value)
            }
            ExprKind::Compare(op, a, b) => self.at(e.loc, |f| f.compare(*op, a, b)),
            _ => {
                let value = self.value(e);
                match self.b.func.ty(value) {
                    Ty::I1 => value,
                    _ => {
                        let value = self.number(value);
                        let zero = self.b.i64(0);
                        self.b.cmp(IrCmp::Ne, value, zero)
                    }
                }
            }
        }
    }

    fn compare(&mut self, op: CmpOp, a: &'p Expr, b: &'p Expr) -> Value {
        if !a.ty.is_scalar() || !b.ty.is_scalar() {
            let equal = self.equal(a, b);
            return if op == CmpOp::Ne { self.not(equal) } else { equal };
        }
        // Whether a pointer is null can be asked without making a number of it.
        if let (CmpOp::Eq | CmpOp::Ne, Type::Ptr(..)) = (op, &a.ty)
            && b.as_int() == Some(0)
        {
            let value = self.value(a);
            if self.b.func.ty(value).as_ptr().is_some() && !self.is_raw(value) {
                let null = self.b.value(InstKind::IsNull(value), Ty::I1);
                return if op == CmpOp::Ne { self.not(null) } else { null };
            }
            let value = self.number(value);
            let zero = self.b.i64(0);
            return self.b.cmp(if op == CmpOp::Ne { IrCmp::Ne } else { IrCmp::Eq }, value, zero);
        }
        let signed = is_signed(&a.ty, self) && is_signed(&b.ty, self);
        let left = self.scalar(a);
        let right = self.scalar(b);
        let (left, right) = match (self.b.func.ty(left), self.b.func.ty(right)) {
            (Ty::I1, Ty::I1) => (left, right),
            _ => (self.number(left), self.number(right)),
        };
        let op = match (op, signed) {
            (CmpOp::Eq, _) => IrCmp::Eq,
            (CmpOp::Ne, _) => IrCmp::Ne,
            (CmpOp::Lt, true) => IrCmp::SLt,
            (CmpOp::Le, true) => IrCmp::SLe,
            (CmpOp::Gt, true) => IrCmp::SGt,
            (CmpOp::Ge, true) => IrCmp::SGe,
            (CmpOp::Lt, false) => IrCmp::ULt,
            (CmpOp::Le, false) => IrCmp::ULe,
            (CmpOp::Gt, false) => IrCmp::UGt,
            (CmpOp::Ge, false) => IrCmp::UGe,
        };
        self.b.cmp(op, left, right)
    }

    /// Whether two values that are no scalars are equal.
    fn equal(&mut self, a: &'p Expr, b: &'p Expr) -> Value {
        match (&a.kind, &b.kind) {
            (_, ExprKind::Str(text)) => return self.equals_text(a, text),
            (ExprKind::Str(text), _) => return self.equals_text(b, text),
            _ => {}
        }
        let left = self.in_memory(a);
        let right = self.in_memory(b);
        self.equal_memory(left, &a.ty, right, &b.ty)
    }

    fn equals_text(&mut self, e: &'p Expr, text: &[u8]) -> Value {
        let (ptr, cap) = self.string_prefix(e, text.len() as u32 + 2);
        self.b.value(InstKind::StrEqConst { a: ptr, cap, text: text.to_vec() }, Ty::I1)
    }

    /// A string in memory of which only so many bytes matter, and its capacity there.
    fn string_prefix(&mut self, e: &'p Expr, bytes: u32) -> (Value, u32) {
        match &e.kind {
            // There is no need to read the rest.
            ExprKind::Call(Func::Str, args) => {
                let cap = self.unit.size(&e.ty).min(bytes);
                let ptr = self.buffer("string", cap);
                let to = Dest { ptr, off: 0, fill: Fill::Written };
                self.at(e.loc, |f| f.str_into(args, cap, to, e.loc));
                (ptr, cap)
            }
            ExprKind::Cast(inner) if matches!(inner.ty, Type::Str(_)) => self.string_prefix(inner, bytes),
            _ if bytes <= self.unit.size(&e.ty) && !self.is_own_memory(e) => {
                let ptr = self.buffer("string", bytes);
                self.or_else(
                    |f| {
                        let (src, space) = f.source(e);
                        let to = Dest { ptr, off: 0, fill: Fill::Written };
                        f.read_str(src, space, None, bytes, to, e.loc);
                    },
                    |f| f.put_text(b"", bytes, Dest { ptr, off: 0, fill: Fill::Exact }),
                );
                (ptr, bytes)
            }
            _ => (self.memory_ptr(e), self.unit.size(&e.ty)),
        }
    }

    fn equal_memory(&mut self, a: (Value, i32), a_ty: &Type, b: (Value, i32), b_ty: &Type) -> Value {
        let parts: Option<Vec<(&Type, &Type)>> = match (a_ty, b_ty) {
            (Type::Tuple(x), Type::Tuple(y)) => Some(x.iter().zip(y.iter()).collect()),
            (Type::Record(x), Type::Record(y)) => {
                Some(x.iter().map(|(_, t)| t).zip(y.iter().map(|(_, t)| t)).collect())
            }
            _ => None,
        };
        if let Some(parts) = parts {
            let mut all: Option<Value> = None;
            for (n, (x, y)) in (0..).zip(parts) {
                let left = (a.0, a.1 + self.element_offset(a_ty, n) as i32);
                let right = (b.0, b.1 + self.element_offset(b_ty, n) as i32);
                let equal = self.equal_memory(left, x, right, y);
                all = Some(match all {
                    Some(before) => self.b.bin(BinOp::And, before, equal),
                    None => equal,
                });
            }
            return all.unwrap_or_else(|| self.b.iconst(Ty::I1, 1));
        }
        if a_ty.is_scalar() && b_ty.is_scalar() {
            let left = self.load_memory(a.0, a.1, a_ty, None);
            let right = self.load_memory(b.0, b.1, b_ty, None);
            let (left, right) = (self.number(left), self.number(right));
            return self.b.cmp(IrCmp::Eq, left, right);
        }
        let (x, y) = (self.b.ptr_add(a.0, a.1), self.b.ptr_add(b.0, b.1));
        let kind = match (a_ty, b_ty) {
            (Type::Str(a_cap), Type::Str(b_cap)) => {
                InstKind::StrEq { a: x, a_cap: *a_cap, b: y, b_cap: *b_cap }
            }
            _ => InstKind::MemEq { a: x, b: y, len: self.unit.size(a_ty).min(self.unit.size(b_ty)) },
        };
        self.b.value(kind, Ty::I1)
    }
}
