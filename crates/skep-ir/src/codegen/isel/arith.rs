//! Arithmetic, comparisons and conversions.

use super::super::mir::{MKind, Opd, Test, VReg};
use super::{Isel, canonical};
use crate::func::{Inst, Value};
use crate::inst::{BinOp, CmpOp, InstKind};
use crate::types::Ty;
use skep_asm::{AluOp, Cond, Size, SwapBits, Width};

impl Isel<'_> {
    /// Clears what a narrow result must not have above its width.
    pub(super) fn zero_extend(&mut self, reg: VReg, ty: Ty) {
        let kind = match ty {
            Ty::I64 | Ty::Ptr(_) => return,
            Ty::I32 => MKind::Zext32 { dst: reg, src: reg },
            narrow => {
                let mask = Opd::Imm(canonical(-1, narrow) as i32);
                MKind::Alu { width: Width::W32, op: AluOp::And, dst: reg, lhs: reg, rhs: mask }
            }
        };
        self.emit(kind);
    }

    /// `dst = base + n`
    pub(super) fn emit_add(&mut self, dst: VReg, base: VReg, n: i64) {
        let rhs = match i32::try_from(n) {
            Ok(imm) => Opd::Imm(imm),
            Err(_) => Opd::Reg(self.make(super::Cheap::Const(n.cast_unsigned()))),
        };
        self.emit(MKind::Alu { width: Width::W64, op: AluOp::Add, dst, lhs: base, rhs });
    }

    pub(super) fn ptr_add(&mut self, inst: Inst, ptr: Value, off: i32, index: Option<Value>) {
        let value = self.func.insts[inst].result.expand();
        if value.is_some_and(|v| self.cheap(v).is_some()) {
            return;
        }
        let Some(index) = index else {
            // Folded into the offsets of accesses; made only if something else uses it.
            if value.is_some_and(|v| self.uses.address_only[v]) {
                return;
            }
            let base = self.reg(ptr);
            let dst = self.result(inst);
            return self.emit_add(dst, base, i64::from(off));
        };
        let base = self.reg(ptr);
        let index = self.opd(index);
        let dst = self.result(inst);
        self.emit(MKind::Alu { width: Width::W64, op: AluOp::Add, dst, lhs: base, rhs: index });
        if off != 0 {
            self.emit_add(dst, dst, i64::from(off));
        }
    }

    pub(super) fn bin(&mut self, inst: Inst, op: BinOp, a: Value, b: Value) {
        let ty = self.result_ty(inst);
        let width = if ty.bits() <= 32 { Width::W32 } else { Width::W64 };
        let narrow = ty.bits() < 32;
        // A constant on the left of a commutative operation goes to the right.
        let commutes = matches!(op, BinOp::Add | BinOp::Mul | BinOp::And | BinOp::Or | BinOp::Xor);
        let (a, b) =
            if commutes && self.cheap(a).is_some() && self.cheap(b).is_none() { (b, a) } else { (a, b) };
        let signed = matches!(op, BinOp::SDiv | BinOp::SRem | BinOp::AShr);
        let lhs = if narrow && signed { self.sign_extended(a, ty, Width::W32) } else { self.reg(a) };
        let shift = matches!(op, BinOp::Shl | BinOp::LShr | BinOp::AShr);
        let rhs = match () {
            () if narrow && shift => self.narrow_shift(b, ty),
            () if narrow && signed => Opd::Reg(self.sign_extended(b, ty, Width::W32)),
            () if width == Width::W32 => self.opd32(b),
            () => self.opd(b),
        };
        let rhs = match rhs {
            // The kernel refuses constant shifts beyond the width.
            Opd::Imm(n) if shift => Opd::Imm(n & (ty.bits().max(32) as i32 - 1)),
            other => other,
        };
        let dst = self.result(inst);
        let op = match op {
            BinOp::Add => AluOp::Add,
            BinOp::Sub => AluOp::Sub,
            BinOp::Mul => AluOp::Mul,
            BinOp::UDiv => AluOp::Div,
            BinOp::SDiv => AluOp::Sdiv,
            BinOp::URem => AluOp::Mod,
            BinOp::SRem => AluOp::Smod,
            BinOp::And => AluOp::And,
            BinOp::Or => AluOp::Or,
            BinOp::Xor => AluOp::Xor,
            BinOp::Shl => AluOp::Lsh,
            BinOp::LShr => AluOp::Rsh,
            BinOp::AShr => AluOp::Arsh,
        };
        // The kernel also refuses division by a constant zero.
        if let (Opd::Imm(0), AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod) = (rhs, op) {
            let kind = match op {
                AluOp::Div | AluOp::Sdiv => MKind::Make(dst, super::Cheap::Const(0)),
                _ => MKind::Copy(dst, self.reg(a)),
            };
            return self.emit(kind);
        }
        self.emit(MKind::Alu { width, op, dst, lhs, rhs });
        let stays_narrow =
            matches!(op, AluOp::And | AluOp::Or | AluOp::Xor | AluOp::Rsh | AluOp::Div | AluOp::Mod);
        if narrow && !stays_narrow {
            self.zero_extend(dst, ty);
        }
    }

    /// The amount of a shift of an 8- or 16-bit value, modulo its width.
    fn narrow_shift(&mut self, amount: Value, ty: Ty) -> Opd {
        let mask = ty.bits().next_power_of_two() as i32 - 1;
        match self.opd32(amount) {
            Opd::Imm(n) => Opd::Imm(n & mask),
            Opd::Reg(r) => {
                let masked = self.new_vreg();
                let rhs = Opd::Imm(mask);
                self.emit(MKind::Alu { width: Width::W32, op: AluOp::And, dst: masked, lhs: r, rhs });
                Opd::Reg(masked)
            }
        }
    }

    pub(super) fn neg(&mut self, inst: Inst, a: Value) {
        let ty = self.result_ty(inst);
        let width = if ty.bits() <= 32 { Width::W32 } else { Width::W64 };
        let src = self.reg(a);
        let dst = self.result(inst);
        self.emit(MKind::Neg { width, dst, src });
        if ty.bits() < 32 {
            self.zero_extend(dst, ty);
        }
    }

    pub(super) fn bswap(&mut self, inst: Inst, a: Value) {
        let bits = match self.result_ty(inst) {
            Ty::I16 => SwapBits::B16,
            Ty::I32 => SwapBits::B32,
            _ => SwapBits::B64,
        };
        let src = self.reg(a);
        let dst = self.result(inst);
        self.emit(MKind::Swap { bits, dst, src });
    }

    /// A narrow value with copies of its sign up to a width, in a register of its own.
    fn sign_extended(&mut self, value: Value, from: Ty, width: Width) -> VReg {
        let src = self.reg(value);
        let dst = self.new_vreg();
        self.emit_sext(dst, src, from, width);
        dst
    }

    fn emit_sext(&mut self, dst: VReg, src: VReg, from: Ty, width: Width) {
        let size = match from {
            Ty::I8 => Some(Size::B),
            Ty::I16 => Some(Size::H),
            Ty::I32 => Some(Size::W),
            _ => None,
        };
        if let (Some(size), true) = (size, self.input.v4) {
            return self.emit(MKind::Movsx { width, size, dst, src });
        }
        let amount = Opd::Imm((width.bits() - from.bits()) as i32);
        self.emit(MKind::Alu { width, op: AluOp::Lsh, dst, lhs: src, rhs: amount });
        self.emit(MKind::Alu { width, op: AluOp::Arsh, dst, lhs: dst, rhs: amount });
    }

    pub(super) fn sext(&mut self, inst: Inst, a: Value) {
        if self.is_loaded_extended(a) {
            // The load that made it has extended it already.
            let src = self.reg(a);
            let dst = self.result(inst);
            return self.emit(MKind::Copy(dst, src));
        }
        let (from, to) = (self.func.ty(a), self.result_ty(inst));
        let width = if to.bits() <= 32 { Width::W32 } else { Width::W64 };
        let src = self.reg(a);
        let dst = self.result(inst);
        self.emit_sext(dst, src, from, width);
        if to.bits() < 32 {
            self.zero_extend(dst, to);
        }
    }

    /// Whether a value is a load whose only use extends its sign to 64 bits, and there is a load that does so.
    pub(super) fn is_loaded_extended(&self, value: Value) -> bool {
        self.input.v4 && self.uses.sext_only[value]
    }

    pub(super) fn trunc(&mut self, inst: Inst, a: Value) {
        let Some(value) = self.func.insts[inst].result.expand() else { return };
        if self.uses.stored_only[value] {
            return;
        }
        let to = self.func.ty(value);
        let src = self.reg(a);
        let dst = self.result(inst);
        let kind = match to {
            Ty::I32 => MKind::Zext32 { dst, src },
            narrow => {
                let mask = Opd::Imm(canonical(-1, narrow) as i32);
                MKind::Alu { width: Width::W32, op: AluOp::And, dst, lhs: src, rhs: mask }
            }
        };
        self.emit(kind);
    }

    /// The test that a comparison makes.
    pub(super) fn comparison(&mut self, op: CmpOp, a: Value, b: Value) -> Test {
        let cond = match op {
            CmpOp::Eq => Cond::Eq,
            CmpOp::Ne => Cond::Ne,
            CmpOp::ULt => Cond::Lt,
            CmpOp::ULe => Cond::Le,
            CmpOp::UGt => Cond::Gt,
            CmpOp::UGe => Cond::Ge,
            CmpOp::SLt => Cond::Slt,
            CmpOp::SLe => Cond::Sle,
            CmpOp::SGt => Cond::Sgt,
            CmpOp::SGe => Cond::Sge,
        };
        let signed = matches!(op, CmpOp::SLt | CmpOp::SLe | CmpOp::SGt | CmpOp::SGe);
        let swap = self.cheap(a).is_some() && self.cheap(b).is_none();
        let (a, b, cond) = if swap { (b, a, cond.swapped()) } else { (a, b, cond) };
        let ty = self.func.ty(a);
        if ty == Ty::I32 && self.input.jmp32 {
            let (lhs, rhs) = (self.reg(a), self.opd32(b));
            return Test { width: Width::W32, cond, lhs, rhs };
        }
        if signed && ty.bits() < 64 {
            let lhs = self.sign_extended(a, ty, Width::W64);
            let rhs = Opd::Reg(self.sign_extended(b, ty, Width::W64));
            return Test { width: Width::W64, cond, lhs, rhs };
        }
        Test { width: Width::W64, cond, lhs: self.reg(a), rhs: self.opd(b) }
    }

    /// A comparison whose result is used as a value; one that only a jump or a choice uses is made there.
    pub(super) fn compare_value(&mut self, inst: Inst) {
        let Some(value) = self.func.insts[inst].result.expand() else { return };
        if self.uses.fused[value] {
            return;
        }
        let test = match self.func.insts[inst].kind {
            InstKind::Cmp(op, a, b) => self.comparison(op, a, b),
            InstKind::IsNull(ptr) => self.test_zero(ptr, Cond::Eq),
            _ => return,
        };
        let dst = self.result(inst);
        self.emit(MKind::SetCond { dst, test });
    }

    pub(super) fn select(&mut self, inst: Inst, cond: Value, then: Value, other: Value) {
        let test = self.test(cond);
        let then = self.reg(then);
        let other = self.opd(other);
        let dst = self.result(inst);
        self.emit(MKind::Select { dst, test, then, other });
    }
}
