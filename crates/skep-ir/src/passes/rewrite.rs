//! Replaces instructions by others, also by whole blocks of them.

use super::edit::Aliases;
use crate::func::{Block, BlockData, Def, Func, Inst, LoopHead, Slot, Storage, Value};
use crate::inst::{BinOp, CmpOp, Fact, InstKind, Target, fixed_result};
use crate::source::Loc;
use crate::types::{PtrClass, PtrTy, Ty};

/// What becomes of the instruction that was looked at.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays where it is, behind what was emitted.
    Kept,
    /// It is gone: what was emitted does its work.
    Replaced,
}

/// A function whose instructions are gone through one after the other. New instructions go to the current
/// block; once it is split, the rest of the old block follows in the block that was switched to last.
pub(super) struct Rewriter<'f> {
    pub(super) func: &'f mut Func,
    /// Place in the source that new instructions get: that of the one that is looked at.
    pub(super) loc: Option<Loc>,
    block: Block,
    layout: Vec<Block>,
    aliases: Aliases,
}

/// Goes through a function. `each` gets every instruction, operands up to date, and those that follow it in its
/// block.
pub(super) fn rewrite(func: &mut Func, mut each: impl FnMut(&mut Rewriter<'_>, Inst, &[Inst]) -> Fate) {
    let old = std::mem::take(&mut func.layout);
    let Some(&entry) = old.first() else { return };
    let layout = Vec::with_capacity(old.len());
    let mut rw = Rewriter { func, loc: None, block: entry, layout, aliases: Aliases::default() };
    for block in old {
        rw.layout.push(block);
        rw.block = block;
        let insts = std::mem::take(&mut rw.func.blocks[block].insts);
        for (place, &inst) in insts.iter().enumerate() {
            let Rewriter { func, aliases, .. } = &mut rw;
            func.insts[inst].kind.map_uses(|v| aliases.get(v));
            rw.loc = rw.func.insts[inst].loc;
            if each(&mut rw, inst, &insts[place + 1..]) == Fate::Kept {
                let at = rw.block;
                rw.func.blocks[at].insts.push(inst);
            }
        }
    }
    let Rewriter { func, layout, aliases, .. } = rw;
    func.layout = layout;
    aliases.apply(func);
}

impl Rewriter<'_> {
    /// Appends an instruction whose result type, if it has a result, is given or follows from it.
    pub(super) fn emit(&mut self, kind: InstKind, ty: Option<Ty>) -> Option<Value> {
        let inst = self.func.append(self.block, kind, ty, self.loc);
        self.func.insts[inst].result.expand()
    }

    /// Appends an instruction without a result.
    pub(super) fn inst(&mut self, kind: InstKind) {
        self.emit(kind, None);
    }

    /// Appends an instruction with a result.
    pub(super) fn value(&mut self, kind: InstKind, ty: Ty) -> Value {
        self.func.append_value(self.block, kind, ty, self.loc)
    }

    /// The kind of the instruction that makes a value.
    pub(super) fn def(&self, value: Value) -> Option<&InstKind> {
        self.func.def(value)
    }

    pub(super) fn ty(&self, value: Value) -> Ty {
        self.func.ty(value)
    }

    pub(super) fn class(&self, value: Value) -> Option<PtrClass> {
        self.func.ty(value).as_ptr().map(|p| p.class)
    }

    /// The function's parameters: it has no layout while it is gone through.
    pub(super) fn params(&self) -> &[Value] {
        &self.func.blocks[self.layout[0]].params
    }

    pub(super) fn result(&self, inst: Inst) -> Option<Value> {
        self.func.insts[inst].result.expand()
    }

    /// Uses of an instruction's result become uses of another value.
    pub(super) fn define(&mut self, inst: Inst, value: Value) -> Fate {
        if let Some(result) = self.result(inst) {
            self.aliases.set(result, value);
        }
        Fate::Replaced
    }

    /// Another instruction takes the place of this one and keeps its result.
    pub(super) fn become_kind(&mut self, inst: Inst, kind: InstKind) -> Fate {
        self.func.insts[inst].kind = kind;
        Fate::Kept
    }

    /// A block for the place where ways meet, in which the instruction's result, if it has one, is what they
    /// bring along.
    pub(super) fn join(&mut self, inst: Inst) -> Block {
        let block = self.block();
        if let Some(result) = self.result(inst) {
            self.func.values[result].def = Def::Param(block, 0);
            self.func.blocks[block].params.push(result);
        }
        block
    }

    /// A jump to a block made by [`Rewriter::join`].
    pub(super) fn br_join(&mut self, join: Block, value: Value) {
        let wanted = !self.func.blocks[join].params.is_empty();
        self.br(join, if wanted { vec![value] } else { Vec::new() });
    }

    // ---- blocks ----

    /// A block; nothing goes to it until it is switched to. It is as rarely reached as the current one.
    pub(super) fn block(&mut self) -> Block {
        let cold = self.func.blocks[self.block].cold;
        self.func.blocks.push(BlockData { cold, ..BlockData::default() })
    }

    /// A block that is rarely reached.
    pub(super) fn cold_block(&mut self) -> Block {
        self.func.blocks.push(BlockData { cold: true, ..BlockData::default() })
    }

    /// A block that will be jumped back to, so many times at most.
    pub(super) fn loop_head(&mut self, bound: u32) -> Block {
        let block = self.block();
        self.func.blocks[block].loop_head = Some(LoopHead { bound: Some(bound) });
        block
    }

    pub(super) fn param(&mut self, block: Block, ty: Ty) -> Value {
        self.func.add_param(block, ty)
    }

    /// Goes on in a block, which takes its place behind the others.
    pub(super) fn switch_to(&mut self, block: Block) {
        self.layout.push(block);
        self.block = block;
    }

    pub(super) fn br(&mut self, to: Block, args: Vec<Value>) {
        self.inst(InstKind::Br(Target { block: to, args }));
    }

    pub(super) fn cond_br(&mut self, cond: Value, then: impl Into<Target>, other: impl Into<Target>) {
        self.inst(InstKind::CondBr { cond, then: then.into(), other: other.into() });
    }

    // ---- values ----

    pub(super) fn iconst(&mut self, ty: Ty, n: i64) -> Value {
        self.value(InstKind::Const(crate::arith::canonical(n, ty)), ty)
    }

    pub(super) fn i64(&mut self, n: i64) -> Value {
        self.value(InstKind::Const(n), Ty::I64)
    }

    pub(super) fn bin(&mut self, op: BinOp, a: Value, b: Value) -> Value {
        let ty = self.ty(a);
        self.value(InstKind::Bin(op, a, b), ty)
    }

    /// Arithmetic with a constant.
    pub(super) fn bin_n(&mut self, op: BinOp, a: Value, n: i64) -> Value {
        let ty = self.ty(a);
        let n = self.iconst(ty, n);
        self.value(InstKind::Bin(op, a, n), ty)
    }

    pub(super) fn cmp(&mut self, op: CmpOp, a: Value, b: Value) -> Value {
        self.value(InstKind::Cmp(op, a, b), Ty::I1)
    }

    /// Comparison with a constant.
    pub(super) fn cmp_n(&mut self, op: CmpOp, a: Value, n: i64) -> Value {
        let ty = self.ty(a);
        let n = self.iconst(ty, n);
        self.cmp(op, a, n)
    }

    pub(super) fn is_null(&mut self, ptr: Value) -> Value {
        self.value(InstKind::IsNull(ptr), Ty::I1)
    }

    /// A pointer that a test has shown not to be null.
    pub(super) fn non_null(&mut self, ptr: Value) -> Value {
        let ty = match self.ty(ptr) {
            Ty::Ptr(p) => Ty::Ptr(PtrTy { nullable: false, ..p }),
            int => int,
        };
        self.value(InstKind::Refine(ptr, Fact::NonNull), ty)
    }

    /// A number as a wider or narrower one.
    pub(super) fn resize(&mut self, value: Value, ty: Ty, signed: bool) -> Value {
        match ty.bits().cmp(&self.ty(value).bits()) {
            std::cmp::Ordering::Equal => value,
            std::cmp::Ordering::Less => self.value(InstKind::Trunc(value), ty),
            std::cmp::Ordering::Greater if signed => self.value(InstKind::Sext(value), ty),
            std::cmp::Ordering::Greater => self.value(InstKind::Zext(value), ty),
        }
    }

    // ---- memory ----

    pub(super) fn slot(&mut self, name: &str, size: u32, align: u32) -> Slot {
        self.func.add_slot(name, size, align, Storage::Auto)
    }

    pub(super) fn slot_addr(&mut self, slot: Slot) -> Value {
        self.value(InstKind::SlotAddr(slot), Ty::ptr(PtrClass::Frame))
    }

    pub(super) fn ptr_add(&mut self, ptr: Value, off: i32) -> Value {
        if off == 0 {
            return ptr;
        }
        let ty = self.ty(ptr);
        self.value(InstKind::PtrAdd(ptr, off, None), ty)
    }

    /// A pointer moved by a number.
    pub(super) fn ptr_by(&mut self, ptr: Value, by: Value) -> Value {
        let ty = self.ty(ptr);
        self.value(InstKind::PtrAdd(ptr, 0, Some(by)), ty)
    }

    pub(super) fn load(&mut self, ptr: Value, off: i32, ty: Ty) -> Value {
        self.value(InstKind::Load { ptr, off, volatile: false }, ty)
    }

    pub(super) fn store(&mut self, ptr: Value, off: i32, val: Value) {
        self.inst(InstKind::Store { ptr, off, val });
    }

    // ---- calls ----

    pub(super) fn map_ref(&mut self, map: crate::module::MapId) -> Value {
        self.value(InstKind::MapRef(map), Ty::ptr(PtrClass::MapRef(map)))
    }

    /// A helper whose result is a number.
    pub(super) fn helper(&mut self, id: u32, args: Vec<Value>) -> Value {
        self.value(InstKind::Helper(id, args), Ty::I64)
    }

    /// An instruction whose result type follows from it.
    pub(super) fn fixed(&mut self, kind: InstKind) -> Value {
        let ty = fixed_result(&kind).unwrap_or(Ty::I64);
        self.value(kind, ty)
    }

    /// A length that the verifier can see is at most `max`; what is longer is cut.
    pub(super) fn at_most(&mut self, len: Value, max: u32) -> Value {
        if self.is_at_most(len, u64::from(max), 0) {
            return len;
        }
        let (fits, big, join) = (self.block(), self.cold_block(), self.block());
        let param = self.param(join, Ty::I64);
        let cond = self.cmp_n(CmpOp::ULe, len, i64::from(max));
        self.cond_br(cond, fits, big);
        self.switch_to(fits);
        let bounded = self.value(InstKind::Refine(len, Fact::Unsigned(0, u64::from(max))), Ty::I64);
        self.br(join, vec![bounded]);
        self.switch_to(big);
        let cut = self.i64(i64::from(max));
        self.br(join, vec![cut]);
        self.switch_to(join);
        param
    }

    /// Whether a number is at most another one, as far as its making shows.
    pub(super) fn is_at_most(&self, value: Value, max: u64, depth: u32) -> bool {
        let bits = self.ty(value).bits();
        if bits < 64 && (1u64 << bits) - 1 <= max {
            return true;
        }
        if depth > 6 {
            return false;
        }
        let constant = |v: Value| self.func.as_const(v).map(i64::cast_unsigned);
        match self.def(value) {
            Some(InstKind::Const(n)) => n.cast_unsigned() <= max,
            Some(InstKind::Refine(_, Fact::Unsigned(_, hi))) if *hi <= max => true,
            Some(InstKind::Refine(_, Fact::Signed(lo, hi))) if *lo >= 0 && hi.cast_unsigned() <= max => true,
            Some(InstKind::Refine(of, _) | InstKind::Zext(of)) => self.is_at_most(*of, max, depth + 1),
            Some(InstKind::Bin(BinOp::And, a, b)) => {
                [a, b].iter().any(|&&v| constant(v).is_some_and(|n| n <= max))
            }
            Some(InstKind::Bin(BinOp::LShr, a, n)) => constant(*n)
                .filter(|&n| n < 64 && max <= u64::MAX >> n)
                .is_some_and(|n| self.is_at_most(*a, max << n | ((1 << n) - 1), depth + 1)),
            Some(InstKind::Bin(BinOp::Add, a, b)) => constant(*b)
                .and_then(|n| max.checked_sub(n))
                .is_some_and(|rest| self.is_at_most(*a, rest, depth + 1)),
            Some(InstKind::Select(_, a, b)) => {
                self.is_at_most(*a, max, depth + 1) && self.is_at_most(*b, max, depth + 1)
            }
            _ => false,
        }
    }
}
