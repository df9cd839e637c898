//! Identities: what can be had for less is rewritten, one instruction after the other.

use super::super::edit::Aliases;
use crate::arith::{self, canonical};
use crate::cfg::Cfg;
use crate::func::{Block, Func, Inst, InstData, Value};
use crate::inst::{BinOp, CmpOp, Fact, InstKind};
use crate::types::Ty;

/// What becomes of an instruction.
enum New {
    /// Nothing.
    Same,
    /// Its result is another value.
    Value(Value),
    /// It does the same in another way.
    Kind(InstKind),
}

struct Identities<'f> {
    func: &'f mut Func,
    aliases: Aliases,
    /// What stands in the block so far, for constants that are needed before an instruction.
    done: Vec<Inst>,
    inst: Inst,
}

pub(super) fn run(func: &mut Func) {
    let order: Vec<Block> = match func.layout.as_slice() {
        &[only] => vec![only],
        _ => Cfg::new(func).order().to_vec(),
    };
    let first = Inst::from_u32(0);
    let mut ids = Identities { func, aliases: Aliases::default(), done: Vec::new(), inst: first };
    for block in order {
        for inst in std::mem::take(&mut ids.func.blocks[block].insts) {
            ids.inst = inst;
            let aliases = &mut ids.aliases;
            ids.func.insts[inst].kind.map_uses(|v| aliases.get(v));
            // A rewritten instruction may be one that can be rewritten further, but not without end.
            for _ in 0..4 {
                match ids.rewrite() {
                    New::Same => break,
                    New::Value(value) => {
                        if let Some(result) = ids.func.insts[inst].result.expand() {
                            ids.aliases.set(result, value);
                        }
                        break;
                    }
                    New::Kind(kind) => ids.func.insts[inst].kind = kind,
                }
            }
            ids.done.push(inst);
        }
        ids.func.blocks[block].insts = std::mem::take(&mut ids.done);
    }
    // Uses in blocks before, by jumps backwards.
    ids.aliases.apply(func);
}

fn zero_test(equal: bool) -> CmpOp {
    if equal { CmpOp::Eq } else { CmpOp::Ne }
}

impl Identities<'_> {
    fn konst(&self, v: Value) -> Option<i64> {
        self.func.as_const(v).map(|n| canonical(n, self.func.ty(v)))
    }

    fn def(&self, v: Value) -> Option<&InstKind> {
        self.func.def(v)
    }

    /// A constant in front of the instruction.
    fn number(&mut self, n: i64, ty: Ty) -> Value {
        let loc = self.func.insts[self.inst].loc;
        let inst = self.func.make_inst(InstKind::Const(canonical(n, ty)), Some(ty), loc);
        self.done.push(inst);
        self.func.insts[inst].result.expand().expect("it was made with a result")
    }

    fn rewrite(&mut self) -> New {
        let InstData { kind, result, .. } = &self.func.insts[self.inst];
        let result = result.expand().map(|v| self.func.ty(v));
        match (kind.clone(), result) {
            (InstKind::Bin(op, a, b), Some(ty)) => self.bin(op, a, b, ty),
            (InstKind::Cmp(op, a, b), _) => self.cmp(op, a, b),
            (InstKind::Neg(a), _) => match self.def(a) {
                Some(InstKind::Neg(b)) => New::Value(*b),
                _ => New::Same,
            },
            (InstKind::Zext(a), _) => match self.def(a) {
                Some(InstKind::Zext(b)) => New::Kind(InstKind::Zext(*b)),
                _ => New::Same,
            },
            (InstKind::Sext(a), _) => match self.def(a) {
                Some(InstKind::Sext(b)) => New::Kind(InstKind::Sext(*b)),
                // A number that was extended by zeros is not negative.
                Some(InstKind::Zext(b)) => New::Kind(InstKind::Zext(*b)),
                _ => New::Same,
            },
            (InstKind::Trunc(a), Some(ty)) => self.trunc(a, ty),
            (InstKind::Select(c, a, b), Some(ty)) => self.select(c, a, b, ty),
            (InstKind::Bswap(a), _) => match self.def(a) {
                Some(InstKind::Bswap(b)) => New::Value(*b),
                _ => New::Same,
            },
            (InstKind::Refine(a, fact), Some(ty)) if self.func.ty(a) == ty => self.refine(a, fact),
            (InstKind::PtrAdd(p, off, by), _) => self.ptr_add(p, off, by),
            (InstKind::PtrToInt(a), _) => match self.def(a) {
                Some(InstKind::IntToPtr(n)) => New::Value(*n),
                _ => New::Same,
            },
            (InstKind::IntToPtr(a), Some(ty)) => match self.def(a) {
                Some(InstKind::PtrToInt(p)) if self.func.ty(*p) == ty => New::Value(*p),
                _ => New::Same,
            },
            (InstKind::Load { ptr, off, volatile }, _) => match self.displaced(ptr, off) {
                Some((ptr, off)) => New::Kind(InstKind::Load { ptr, off, volatile }),
                None => New::Same,
            },
            (InstKind::Store { ptr, off, val }, _) => match self.displaced(ptr, off) {
                Some((ptr, off)) => New::Kind(InstKind::Store { ptr, off, val }),
                None => New::Same,
            },
            (InstKind::CondBr { cond, then, other }, _) => match self.inverted(cond) {
                Some(cond) => New::Kind(InstKind::CondBr { cond, then: other, other: then }),
                None if then == other => New::Kind(InstKind::Br(then)),
                None => New::Same,
            },
            (InstKind::Switch { val, cases, default }, _) => self.switch(val, cases, default),
            _ => New::Same,
        }
    }

    fn bin(&mut self, op: BinOp, a: Value, b: Value, ty: Ty) -> New {
        use BinOp as B;
        let commutes = matches!(op, B::Add | B::Mul | B::And | B::Or | B::Xor);
        if commutes && self.konst(a).is_some() && self.konst(b).is_none() {
            return New::Kind(InstKind::Bin(op, b, a));
        }
        if a == b {
            match op {
                B::Sub | B::Xor => return New::Kind(InstKind::Const(0)),
                B::And | B::Or => return New::Value(a),
                _ => {}
            }
        }
        if self.konst(a) == Some(0) {
            match op {
                B::Sub => return New::Kind(InstKind::Neg(b)),
                B::Shl | B::LShr | B::AShr | B::UDiv | B::SDiv | B::URem | B::SRem => return New::Value(a),
                _ => {}
            }
        }
        let Some(n) = self.konst(b) else { return New::Same };
        let bits = arith::low_bits(n as u64, ty);
        let ones = arith::low_bits(u64::MAX, ty);
        match op {
            B::Add | B::Sub | B::Or | B::Xor if n == 0 => New::Value(a),
            B::Shl | B::LShr | B::AShr if bits.is_multiple_of(u64::from(ty.bits())) => New::Value(a),
            B::Mul | B::And if bits == 0 => New::Kind(InstKind::Const(0)),
            B::UDiv | B::SDiv if bits == 0 => New::Kind(InstKind::Const(0)),
            B::URem | B::SRem if bits == 0 => New::Value(a),
            B::Mul | B::UDiv | B::SDiv if bits == 1 => New::Value(a),
            B::URem | B::SRem if bits == 1 => New::Kind(InstKind::Const(0)),
            B::And if bits == ones => New::Value(a),
            B::Or if bits == ones => New::Kind(InstKind::Const(-1)),
            B::Mul if bits.is_power_of_two() => {
                let by = self.number(i64::from(bits.ilog2()), ty);
                New::Kind(InstKind::Bin(B::Shl, a, by))
            }
            B::UDiv if bits.is_power_of_two() => {
                let by = self.number(i64::from(bits.ilog2()), ty);
                New::Kind(InstKind::Bin(B::LShr, a, by))
            }
            B::URem if bits.is_power_of_two() => {
                let mask = self.number((bits - 1) as i64, ty);
                New::Kind(InstKind::Bin(B::And, a, mask))
            }
            B::Sub => {
                let minus = self.number(n.wrapping_neg(), ty);
                New::Kind(InstKind::Bin(B::Add, a, minus))
            }
            B::Add | B::And | B::Or | B::Xor | B::Mul => self.reassociate(op, a, n, ty),
            B::Shl | B::LShr | B::AShr => self.shift_again(op, a, bits, ty),
            _ => New::Same,
        }
    }

    /// `(x op m) op n` has one constant.
    fn reassociate(&mut self, op: BinOp, a: Value, n: i64, ty: Ty) -> New {
        let Some(&InstKind::Bin(inner, x, m)) = self.def(a) else { return New::Same };
        let Some(m) = self.konst(m).filter(|_| inner == op) else { return New::Same };
        let both = arith::bin(op, ty, arith::low_bits(m as u64, ty), arith::low_bits(n as u64, ty));
        let both = self.number(both as i64, ty);
        New::Kind(InstKind::Bin(op, x, both))
    }

    fn shift_again(&mut self, op: BinOp, a: Value, n: u64, ty: Ty) -> New {
        let width = u64::from(ty.bits());
        let Some(&InstKind::Bin(inner, x, m)) = self.def(a) else { return New::Same };
        let Some(m) = self.konst(m).filter(|_| inner == op) else { return New::Same };
        let sum = arith::low_bits(m as u64, ty) % width + n % width;
        if sum >= width {
            return New::Same;
        }
        let sum = self.number(sum as i64, ty);
        New::Kind(InstKind::Bin(op, x, sum))
    }

    fn cmp(&mut self, op: CmpOp, a: Value, b: Value) -> New {
        let ty = self.func.ty(a);
        if !ty.is_int() {
            return match (op, self.def(a), self.def(b)) {
                (CmpOp::Eq, _, Some(InstKind::Null)) => New::Kind(InstKind::IsNull(a)),
                (CmpOp::Eq, Some(InstKind::Null), _) => New::Kind(InstKind::IsNull(b)),
                _ => New::Same,
            };
        }
        if a == b {
            let equal = arith::cmp(op, ty, 0, 0);
            return New::Kind(InstKind::Const(i64::from(equal)));
        }
        if self.konst(a).is_some() && self.konst(b).is_none() {
            return New::Kind(InstKind::Cmp(op.swapped(), b, a));
        }
        let Some(n) = self.konst(b) else { return New::Same };
        let bits = arith::low_bits(n as u64, ty);
        let ones = arith::low_bits(u64::MAX, ty);
        match op {
            CmpOp::ULt | CmpOp::UGe if bits == 0 => {
                return New::Kind(InstKind::Const(i64::from(op == CmpOp::UGe)));
            }
            CmpOp::ULe | CmpOp::UGt if bits == ones => {
                return New::Kind(InstKind::Const(i64::from(op == CmpOp::ULe)));
            }
            // Equality tells the verifier more.
            CmpOp::ULe | CmpOp::UGt if bits == 0 => {
                return New::Kind(InstKind::Cmp(zero_test(op == CmpOp::ULe), a, b));
            }
            CmpOp::ULt | CmpOp::UGe if bits == 1 => {
                let zero = self.number(0, ty);
                return New::Kind(InstKind::Cmp(zero_test(op == CmpOp::ULt), a, zero));
            }
            _ => {}
        }
        // A truth value compared with 0 or 1 is itself or its opposite.
        let truth = match self.def(a) {
            Some(&InstKind::Zext(of)) if self.func.ty(of) == Ty::I1 => of,
            _ if ty == Ty::I1 => a,
            _ => return New::Same,
        };
        match (op, bits) {
            (CmpOp::Ne, 0) | (CmpOp::Eq, 1) => New::Value(truth),
            (CmpOp::Eq, 0) | (CmpOp::Ne, 1) => match self.inverted_kind(truth) {
                Some(kind) => New::Kind(kind),
                None if truth != a => {
                    let zero = self.number(0, Ty::I1);
                    New::Kind(InstKind::Cmp(CmpOp::Eq, truth, zero))
                }
                None => New::Same,
            },
            _ => New::Same,
        }
    }

    /// The instruction that computes the opposite of a comparison.
    fn inverted_kind(&self, v: Value) -> Option<InstKind> {
        match self.def(v)? {
            InstKind::Cmp(op, a, b) if self.func.ty(*a).is_int() => {
                Some(InstKind::Cmp(op.inverted(), *a, *b))
            }
            _ => None,
        }
    }

    /// The truth value of which `v` is the opposite.
    fn inverted(&self, v: Value) -> Option<Value> {
        match self.def(v)? {
            InstKind::Bin(BinOp::Xor, a, one) if self.konst(*one) == Some(1) => Some(*a),
            InstKind::Cmp(CmpOp::Eq, a, zero)
                if self.func.ty(*a) == Ty::I1 && self.konst(*zero) == Some(0) =>
            {
                Some(*a)
            }
            _ => None,
        }
    }

    fn trunc(&mut self, a: Value, ty: Ty) -> New {
        match self.def(a) {
            Some(&InstKind::Trunc(b)) => New::Kind(InstKind::Trunc(b)),
            Some(&(InstKind::Zext(b) | InstKind::Sext(b))) => {
                let from = self.func.ty(b);
                let signed = matches!(self.def(a), Some(InstKind::Sext(_)));
                match from.bits().cmp(&ty.bits()) {
                    std::cmp::Ordering::Equal => New::Value(b),
                    std::cmp::Ordering::Greater => New::Kind(InstKind::Trunc(b)),
                    std::cmp::Ordering::Less if signed => New::Kind(InstKind::Sext(b)),
                    std::cmp::Ordering::Less => New::Kind(InstKind::Zext(b)),
                }
            }
            _ => New::Same,
        }
    }

    fn select(&mut self, c: Value, a: Value, b: Value, ty: Ty) -> New {
        if a == b {
            return New::Value(a);
        }
        if let Some(c) = self.inverted(c) {
            return New::Kind(InstKind::Select(c, b, a));
        }
        match (self.konst(a), self.konst(b)) {
            (Some(1), Some(0)) if ty == Ty::I1 => New::Value(c),
            (Some(1), Some(0)) => New::Kind(InstKind::Zext(c)),
            _ => New::Same,
        }
    }

    fn refine(&mut self, a: Value, fact: Fact) -> New {
        let ty = self.func.ty(a);
        let known = |n: u64| match fact {
            Fact::Unsigned(lo, hi) => (lo..=hi).contains(&n),
            Fact::Signed(lo, hi) => (lo..=hi).contains(&arith::signed(n, ty)),
            _ => false,
        };
        match (self.konst(a), self.def(a)) {
            (Some(n), _) if known(arith::low_bits(n as u64, ty)) => New::Value(a),
            (_, Some(InstKind::Refine(_, same))) if *same == fact => New::Value(a),
            _ => New::Same,
        }
    }

    /// A pointer's distance moves into what uses it; never for packets, where it belongs to the check.
    fn displaced(&self, ptr: Value, off: i32) -> Option<(Value, i32)> {
        match self.def(ptr)? {
            InstKind::PtrAdd(of, by, None) => Some((*of, off.checked_add(*by)?)),
            _ => None,
        }
    }

    fn ptr_add(&mut self, p: Value, off: i32, by: Option<Value>) -> New {
        if let Some(by) = by {
            let constant = self
                .konst(by)
                .and_then(|n| i64::from(off).checked_add(n))
                .and_then(|n| i32::try_from(n).ok());
            return match constant {
                Some(sum) => New::Kind(InstKind::PtrAdd(p, sum, None)),
                None => New::Same,
            };
        }
        if off == 0 {
            return New::Value(p);
        }
        match self.def(p) {
            Some(&InstKind::PtrAdd(of, inner, None)) => match inner.checked_add(off) {
                Some(sum) => New::Kind(InstKind::PtrAdd(of, sum, None)),
                None => New::Same,
            },
            _ => New::Same,
        }
    }

    fn switch(
        &mut self,
        val: Value,
        cases: Vec<(i64, crate::inst::Target)>,
        default: crate::inst::Target,
    ) -> New {
        // Cases that go where everything else goes are none.
        let count = cases.len();
        let rest: Vec<_> = cases.into_iter().filter(|(_, t)| *t != default).collect();
        match rest.as_slice() {
            [] => New::Kind(InstKind::Br(default)),
            [(n, target)] => {
                let ty = self.func.ty(val);
                let number = self.number(*n, ty);
                let loc = self.func.insts[self.inst].loc;
                let cond = self.func.make_inst(InstKind::Cmp(CmpOp::Eq, val, number), Some(Ty::I1), loc);
                self.done.push(cond);
                let cond = self.func.insts[cond].result.expand().expect("it was made with a result");
                New::Kind(InstKind::CondBr { cond, then: target.clone(), other: default })
            }
            _ if rest.len() < count => New::Kind(InstKind::Switch { val, cases: rest, default }),
            _ => New::Same,
        }
    }
}
