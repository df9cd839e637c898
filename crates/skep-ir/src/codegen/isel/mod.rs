//! Instruction selection: SSA values become virtual registers, constants and addresses become operands.
//!
//! A value that costs one instruction to make (a constant, a map, a frame address) never gets a register of
//! its own: it is made where it is used. Narrow integers are kept zero-extended in registers, so that
//! `zext` costs nothing and `trunc` before a store costs nothing. `refine` is the same register by
//! construction: what the verifier learnt from a comparison holds for every later use.

mod arith;
mod control;
mod memory;
mod uses;

use super::globals::GlobalPlace;
use super::mir::{Base, Callee, Cheap, MBlock, MFunc, MInst, MKind, Object, ObjectData, Opd, Src, VReg};
use crate::func::{Block, Def, Func, Inst, Slot, Value};
use crate::inst::{Fact, InstKind};
use crate::module::{FuncId, GlobalId};
use crate::source::Loc;
use crate::types::{PtrClass, Ty};
use cranelift_entity::packed_option::PackedOption;
use cranelift_entity::{EntitySet, PrimaryMap, SecondaryMap};
use skep_asm::Size;
use uses::Uses;

/// What selection must know besides the function.
pub(super) struct Input<'a> {
    pub(super) func: &'a Func,
    pub(super) globals: &'a SecondaryMap<GlobalId, GlobalPlace>,
    /// Comparisons of 32-bit registers exist.
    pub(super) jmp32: bool,
    /// Sign-extending loads and moves exist.
    pub(super) v4: bool,
}

/// Makes machine instructions of a function that holds only low-level instructions. Names of kernel functions
/// are added to `kfuncs`, where calls refer to them by number.
pub(super) fn select(input: &Input<'_>, kfuncs: &mut Vec<String>) -> MFunc {
    let order = control::block_order(input.func);
    let mut isel = Isel {
        input,
        func: input.func,
        mf: MFunc::default(),
        vregs: SecondaryMap::new(),
        uses: Uses::of(input.func, &order),
        blocks: SecondaryMap::new(),
        slots: PrimaryMap::new(),
        current: MBlock::from_u32(0),
        loc: None,
        kfuncs,
    };
    isel.run(&order);
    drop_unreachable(&mut isel.mf);
    isel.mf
}

/// Drops blocks that only a decided jump led to: the kernel refuses code that nothing reaches.
fn drop_unreachable(mf: &mut MFunc) {
    let mut reached = EntitySet::new();
    let mut todo: Vec<MBlock> = mf.order.first().copied().into_iter().collect();
    while let Some(block) = todo.pop() {
        if reached.insert(block) {
            todo.extend(mf.successors(block));
        }
    }
    mf.order.retain(|&block| reached.contains(block));
}

struct Isel<'a> {
    input: &'a Input<'a>,
    func: &'a Func,
    mf: MFunc,
    vregs: SecondaryMap<Value, PackedOption<VReg>>,
    uses: Uses,
    blocks: SecondaryMap<Block, PackedOption<MBlock>>,
    slots: PrimaryMap<Slot, Object>,
    current: MBlock,
    loc: Option<Loc>,
    kfuncs: &'a mut Vec<String>,
}

impl Isel<'_> {
    fn run(&mut self, order: &[Block]) {
        for slot in self.func.slots.values() {
            let data = ObjectData { name: slot.name.clone(), size: slot.size };
            let object = self.mf.objects.push(data);
            self.slots.push(object);
        }
        for &block in order {
            let mb = self.mf.blocks.push(Vec::new());
            self.blocks[block] = mb.into();
            for &param in &self.func.blocks[block].params {
                self.vregs[param] = self.mf.vreg().into();
            }
        }
        for &block in order {
            self.current = self.block(block);
            self.mf.order.push(self.current);
            if block == self.func.entry() {
                self.loc = self.func.loc;
                let params = self.func.params().iter().filter_map(|&p| self.vregs[p].expand()).collect();
                self.emit(MKind::Entry(params));
            }
            for &inst in &self.func.blocks[block].insts {
                self.loc = self.func.insts[inst].loc.or(self.loc);
                self.inst(inst);
            }
        }
    }

    fn emit(&mut self, kind: MKind) {
        self.mf.blocks[self.current].push(MInst { kind, loc: self.loc });
    }

    fn new_vreg(&mut self) -> VReg {
        self.mf.vreg()
    }

    /// The instruction that makes a value.
    fn def(&self, value: Value) -> Option<&InstKind> {
        match self.func.values[value].def {
            Def::Inst(inst) => Some(&self.func.insts[inst].kind),
            Def::Param(..) => None,
        }
    }

    /// The value that another one is a mere name of: same bits in the same register.
    fn root(&self, mut value: Value) -> Value {
        loop {
            value = match self.def(value) {
                Some(InstKind::Refine(v, _) | InstKind::PtrToInt(v) | InstKind::IntToPtr(v)) => *v,
                // Narrow values are kept zero-extended.
                Some(InstKind::Zext(v)) => *v,
                _ => return value,
            };
        }
    }

    /// What a value costs if it is made where it is used.
    fn cheap(&self, value: Value) -> Option<Cheap> {
        let value = self.root(value);
        Some(match self.def(value)? {
            InstKind::Const(n) => Cheap::Const(canonical(*n, self.func.ty(value))),
            InstKind::Null => Cheap::Const(0),
            InstKind::MapRef(map) => Cheap::Map(*map),
            InstKind::FuncRef(func) => Cheap::Func(*func),
            InstKind::SlotAddr(slot) => Cheap::Frame(self.slots[*slot], 0),
            InstKind::GlobalAddr(global) => match self.input.globals[*global] {
                GlobalPlace::Value(map, offset) => Cheap::MapValue(map, offset),
                GlobalPlace::Ksym(index) => Cheap::Ksym(index),
            },
            InstKind::PtrAdd(ptr, off, None) => match self.cheap(*ptr)? {
                Cheap::Frame(object, base) => Cheap::Frame(object, base.wrapping_add(*off)),
                Cheap::MapValue(map, base) => Cheap::MapValue(map, base.wrapping_add_signed(*off)),
                _ => return None,
            },
            _ => return None,
        })
    }

    /// The register of a value; makes cheap ones here.
    fn reg(&mut self, value: Value) -> VReg {
        match self.cheap(value) {
            Some(cheap) => self.make(cheap),
            None => self.own_reg(self.root(value)),
        }
    }

    /// The register that a value is kept in, wherever it is first met.
    fn own_reg(&mut self, value: Value) -> VReg {
        if let Some(vreg) = self.vregs[value].expand() {
            return vreg;
        }
        let vreg = self.new_vreg();
        self.vregs[value] = vreg.into();
        vreg
    }

    fn make(&mut self, cheap: Cheap) -> VReg {
        let vreg = self.new_vreg();
        self.emit(MKind::Make(vreg, cheap));
        vreg
    }

    /// A constant of 32 bits, or the register of a value, as an operand of 64-bit operations.
    fn opd(&mut self, value: Value) -> Opd {
        match self.cheap(value) {
            Some(Cheap::Const(n)) if i32::try_from(n.cast_signed()).is_ok() => Opd::Imm(n as i32),
            _ => Opd::Reg(self.reg(value)),
        }
    }

    /// The same as an operand of 32-bit operations, which only see the lower half.
    fn opd32(&mut self, value: Value) -> Opd {
        match self.cheap(value) {
            Some(Cheap::Const(n)) => Opd::Imm(n as i32),
            _ => Opd::Reg(self.reg(value)),
        }
    }

    fn src(&mut self, value: Value) -> Src {
        match self.cheap(value) {
            Some(cheap) => Src::Cheap(cheap),
            None => Src::Reg(self.reg(value)),
        }
    }

    /// The register that the result of an instruction goes to.
    fn result(&mut self, inst: Inst) -> VReg {
        match self.func.insts[inst].result.expand() {
            Some(value) => self.own_reg(value),
            None => self.new_vreg(),
        }
    }

    fn result_ty(&self, inst: Inst) -> Ty {
        self.func.insts[inst].result.expand().map_or(Ty::I64, |v| self.func.ty(v))
    }

    fn inst(&mut self, inst: Inst) {
        use InstKind as I;
        let func = self.func;
        match &func.insts[inst].kind {
            // Names of other values, and what is made where it is used.
            I::Const(_)
            | I::Null
            | I::Refine(_, Fact::NonNull | Fact::PacketRange(_))
            | I::Zext(_)
            | I::PtrToInt(_)
            | I::IntToPtr(_)
            | I::SlotAddr(_)
            | I::GlobalAddr(_)
            | I::MapRef(_) => {}
            I::Refine(value, Fact::Unsigned(..) | Fact::Signed(..)) => {
                if self.cheap(*value).is_none() {
                    let reg = self.own_reg(self.root(*value));
                    self.mf.bounded[reg] = true;
                }
            }
            I::FuncRef(callee) => self.add_callee(*callee),
            I::PtrAdd(ptr, off, index) => self.ptr_add(inst, *ptr, *off, *index),
            I::Bin(op, a, b) => self.bin(inst, *op, *a, *b),
            I::Neg(a) => self.neg(inst, *a),
            I::Bswap(a) => self.bswap(inst, *a),
            I::Cmp(..) | I::IsNull(_) => self.compare_value(inst),
            I::Sext(a) => self.sext(inst, *a),
            I::Trunc(a) => self.trunc(inst, *a),
            I::Select(c, a, b) => self.select(inst, *c, *a, *b),
            I::Load { ptr, off, .. } => self.load(inst, *ptr, *off),
            I::Store { ptr, off, val } | I::CtxStore { ctx: ptr, off, val } => self.store(*ptr, *off, *val),
            I::CtxLoad { ctx, off } => self.load(inst, *ctx, *off),
            I::Atomic { op, ptr, off, val } => self.atomic(inst, *op, *ptr, *off, *val),
            I::CmpXchg { ptr, off, expected, new } => self.cmp_xchg(inst, *ptr, *off, *expected, *new),
            I::Helper(id, args) => self.call(inst, Callee::Helper(*id), args),
            I::Kfunc(name, args) => {
                let index = self.kfunc(name);
                self.call(inst, Callee::Kfunc(index), args);
            }
            I::Call(callee, args) => {
                self.add_callee(*callee);
                self.call(inst, Callee::Func(*callee), args);
            }
            I::TailCall { ctx, map, index } => {
                let args = vec![self.src(*ctx), Src::Cheap(Cheap::Map(*map)), self.src(*index)];
                self.emit(MKind::Call { callee: Callee::Helper(TAIL_CALL), args, dst: None });
            }
            I::Br(target) => self.br(target),
            I::CondBr { cond, then, other } => self.cond_br(*cond, then, other),
            I::Switch { val, cases, default } => self.switch(*val, cases, default),
            I::Ret(value) => {
                let value = value.map(|v| self.src(v));
                self.emit(MKind::Ret(value));
            }
            I::Unreachable => self.emit(MKind::Ret(Some(Src::Cheap(Cheap::Const(0))))),
            high => unreachable!("only low-level instructions reach code generation: {high:?}"),
        }
    }

    fn add_callee(&mut self, callee: FuncId) {
        if !self.mf.callees.contains(&callee) {
            self.mf.callees.push(callee);
        }
    }

    fn kfunc(&mut self, name: &str) -> u32 {
        if let Some(index) = self.kfuncs.iter().position(|n| n == name) {
            return index as u32;
        }
        self.kfuncs.push(name.to_owned());
        self.kfuncs.len() as u32 - 1
    }

    fn call(&mut self, inst: Inst, callee: Callee, args: &[Value]) {
        let args = args.iter().map(|&a| self.src(a)).collect();
        let dst = self.func.insts[inst].result.is_some().then(|| self.result(inst));
        self.emit(MKind::Call { callee, args, dst });
        // What a callee leaves above a narrow result is not known.
        if let Some(dst) = dst {
            self.zero_extend(dst, self.result_ty(inst));
        }
    }

    /// Base and offset of a memory access: constant steps are folded into the offset.
    fn address(&mut self, ptr: Value, off: i32) -> (Base, i16) {
        let mut ptr = self.root(ptr);
        let mut total = i64::from(off);
        while let Some(InstKind::PtrAdd(base, step, None)) = self.def(ptr) {
            let sum = total + i64::from(*step);
            if i16::try_from(sum).is_err() {
                break;
            }
            total = sum;
            ptr = self.root(*base);
        }
        match self.cheap(ptr) {
            Some(Cheap::Frame(object, start)) => {
                if let Ok(off) = i16::try_from(total + i64::from(start)) {
                    return (Base::Frame(object), off);
                }
            }
            Some(Cheap::MapValue(map, start)) => {
                if let Ok(at) = u32::try_from(i64::from(start) + total) {
                    return (Base::Reg(self.make(Cheap::MapValue(map, at))), 0);
                }
            }
            _ => {}
        }
        let base = self.reg(ptr);
        if let Ok(off) = i16::try_from(total) {
            return (Base::Reg(base), off);
        }
        let far = self.new_vreg();
        self.emit_add(far, base, total);
        (Base::Reg(far), 0)
    }
}

/// `bpf_tail_call`
const TAIL_CALL: u32 = 12;

/// A constant as registers hold it: zero-extended from its type.
fn canonical(n: i64, ty: Ty) -> u64 {
    let bits = ty.bits();
    let n = n.cast_unsigned();
    if bits == 64 { n } else { n & ((1 << bits) - 1) }
}

/// Bytes that a value of a type takes in memory; packet pointers in contexts take 4.
fn access_size(ty: Ty) -> Size {
    match ty {
        Ty::I1 | Ty::I8 => Size::B,
        Ty::I16 => Size::H,
        Ty::I32 => Size::W,
        Ty::Ptr(p) if matches!(p.class, PtrClass::Packet | PtrClass::PacketMeta | PtrClass::PacketEnd) => {
            Size::W
        }
        Ty::I64 | Ty::Ptr(_) => Size::Dw,
    }
}
