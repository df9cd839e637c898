//! Loads, stores and atomic operations.

use super::super::mir::{MKind, Opd};
use super::{Cheap, Isel, access_size};
use crate::func::{Inst, Value};
use crate::inst::{AtomicOp, InstKind};
use crate::types::Ty;
use skep_asm::{AtomicOp as AsmAtomic, Width};

impl Isel<'_> {
    pub(super) fn load(&mut self, inst: Inst, ptr: Value, off: i32) {
        let ty = self.result_ty(inst);
        let (base, off) = self.address(ptr, off);
        let signed = self.func.insts[inst].result.expand().is_some_and(|v| self.is_loaded_extended(v));
        let dst = self.result(inst);
        self.emit(MKind::Load { size: access_size(ty), signed, dst, base, off });
    }

    pub(super) fn store(&mut self, ptr: Value, off: i32, val: Value) {
        let size = access_size(self.func.ty(val));
        let val = match self.cheap(val) {
            Some(Cheap::Const(n)) if size.bytes() < 8 => Opd::Imm(n as i32),
            Some(Cheap::Const(n)) if i32::try_from(n.cast_signed()).is_ok() => Opd::Imm(n as i32),
            _ => {
                // A store sees only the low bytes, so a truncation to no less than them is none.
                let mut val = self.root(val);
                while let Some(InstKind::Trunc(wide)) = self.def(val)
                    && self.func.ty(val).bits() >= 8 * u32::from(size.bytes())
                {
                    val = self.root(*wide);
                }
                Opd::Reg(self.reg(val))
            }
        };
        let (base, off) = self.address(ptr, off);
        self.emit(MKind::Store { size, base, off, val });
    }

    fn atomic_width(&self, val: Value) -> Width {
        if self.func.ty(val) == Ty::I32 { Width::W32 } else { Width::W64 }
    }

    pub(super) fn atomic(&mut self, inst: Inst, op: AtomicOp, ptr: Value, off: i32, val: Value) {
        let width = self.atomic_width(val);
        let result = self.func.insts[inst].result.expand();
        let wanted = result.is_some_and(|v| self.uses.count[v] > 0);
        let op = match (op, wanted) {
            (AtomicOp::Xchg, _) => AsmAtomic::Xchg,
            (AtomicOp::Add, false) => AsmAtomic::Add,
            (AtomicOp::And, false) => AsmAtomic::And,
            (AtomicOp::Or, false) => AsmAtomic::Or,
            (AtomicOp::Xor, false) => AsmAtomic::Xor,
            (AtomicOp::Add, true) => AsmAtomic::FetchAdd,
            (AtomicOp::And, true) => AsmAtomic::FetchAnd,
            (AtomicOp::Or, true) => AsmAtomic::FetchOr,
            (AtomicOp::Xor, true) => AsmAtomic::FetchXor,
        };
        let val = self.reg(val);
        let (base, off) = self.address(ptr, off);
        let dst = op.fetches().then(|| self.result(inst));
        self.emit(MKind::Atomic { width, op, base, off, val, dst });
    }

    pub(super) fn cmp_xchg(&mut self, inst: Inst, ptr: Value, off: i32, expected: Value, new: Value) {
        let width = self.atomic_width(new);
        let expected = self.src(expected);
        let new = self.reg(new);
        let (base, off) = self.address(ptr, off);
        let dst = self.result(inst);
        self.emit(MKind::CmpXchg { width, base, off, expected, new, dst });
    }
}
