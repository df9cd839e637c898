//! Arithmetic: 64 bits, with the sign of the result's type.

use super::function::{Fx, Variable};
use super::object::is_signed;
use crate::hir::{BinOp, Expr, ExprKind};
use crate::plan::RuntimeError;
use crate::types::Type;
use skep_ir::inst::{BinOp as IrOp, CmpOp};
use skep_ir::{Loc, Ty, Value};

impl<'p> Fx<'_, 'p> {
    pub(super) fn binary(&mut self, op: BinOp, a: &'p Expr, b: &'p Expr, e: &'p Expr) -> Value {
        let signed = is_signed(&e.ty, self);
        let left = self.scalar(a);
        let left = self.number(left);
        let right = self.scalar(b);
        let right = self.number(right);
        let value = self.arithmetic(op, left, right, signed, b.as_int(), e.loc);
        self.canonical(value, &e.ty)
    }

    /// Applies an operator. `constant` is the right operand if it is one.
    pub(super) fn arithmetic(
        &mut self,
        op: BinOp,
        a: Value,
        b: Value,
        signed: bool,
        constant: Option<u64>,
        loc: Loc,
    ) -> Value {
        match op {
            BinOp::Div | BinOp::Mod => self.divide(op, a, b, signed, constant, loc),
            op => self.b.bin(ir_op(op, signed), a, b),
        }
    }

    /// Division and remainder. By zero the result is 1, and the user is told.
    fn divide(
        &mut self,
        op: BinOp,
        a: Value,
        b: Value,
        signed: bool,
        constant: Option<u64>,
        loc: Loc,
    ) -> Value {
        let op = ir_op(op, signed);
        if constant.is_some_and(|n| n != 0) {
            return self.b.bin(op, a, b);
        }
        let zero = self.b.i64(0);
        let cond = self.b.cmp(CmpOp::Ne, b, zero);
        let (yes, no, join) = (self.b.new_block(), self.cold_block(), self.b.new_block());
        let out = self.b.func.add_param(join, Ty::I64);
        self.b.cond_br(cond, yes, no);
        self.b.switch_to(yes);
        let quotient = self.b.bin(op, a, b);
        self.jump(join, Some(quotient));
        self.b.switch_to(no);
        self.scoped(|f| f.warn(RuntimeError::DivisionByZero, None, loc));
        let one = self.b.i64(1);
        self.jump(join, Some(one));
        self.b.switch_to(join);
        out
    }

    /// A total divided by a count; zero if there is nothing.
    pub(super) fn average(&mut self, total: Value, count: Value, signed: bool) -> Value {
        // Division by zero is defined in the IR, and the total of nothing is zero.
        self.b.bin(if signed { IrOp::SDiv } else { IrOp::UDiv }, total, count)
    }

    /// `++` and `--` on a variable or element.
    pub(super) fn inc_dec(
        &mut self,
        target: &'p Expr,
        step: i64,
        prefix: bool,
        e: &'p Expr,
        used: bool,
    ) -> Value {
        match &target.kind {
            ExprKind::Local(id) => {
                let old = self.scalar(target);
                let old = self.number(old);
                let by = self.b.i64(step);
                let new = self.b.bin(IrOp::Add, old, by);
                let new = self.canonical(new, &target.ty);
                if self.info.local(*id).is_value {
                    self.variables.insert(*id, Variable::Value(new));
                } else {
                    self.set_scalar_variable(*id, new);
                }
                if prefix { new } else { old }
            }
            ExprKind::Map(map, key) => self.step_element(*map, key.as_deref(), step, prefix, e, used),
            // Sema allows nothing else.
            _ => self.b.i64(0),
        }
    }
}

/// The IR's operator.
pub(super) fn ir_op(op: BinOp, signed: bool) -> IrOp {
    match (op, signed) {
        (BinOp::Add, _) => IrOp::Add,
        (BinOp::Sub, _) => IrOp::Sub,
        (BinOp::Mul, _) => IrOp::Mul,
        (BinOp::Div, true) => IrOp::SDiv,
        (BinOp::Div, false) => IrOp::UDiv,
        (BinOp::Mod, true) => IrOp::SRem,
        (BinOp::Mod, false) => IrOp::URem,
        (BinOp::And, _) => IrOp::And,
        (BinOp::Or, _) => IrOp::Or,
        (BinOp::Xor, _) => IrOp::Xor,
        (BinOp::Shl, _) => IrOp::Shl,
        (BinOp::Shr, true) => IrOp::AShr,
        (BinOp::Shr, false) => IrOp::LShr,
    }
}

/// Whether an operator can be applied to a map's value in one step.
pub(super) fn is_atomic(op: BinOp, ty: &Type) -> bool {
    matches!(op, BinOp::Add | BinOp::Sub | BinOp::And | BinOp::Or | BinOp::Xor)
        && matches!(ty, Type::Int(_) | Type::Ptr(..))
}
