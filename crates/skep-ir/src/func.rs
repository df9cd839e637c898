//! A function: blocks of instructions in SSA form, and the builder that front ends use.

use crate::inst::{BinOp, CmpOp, Fact, InstKind, Target, fixed_result};
use crate::source::Loc;
use crate::types::{PtrClass, PtrTy, Ty, TypeId};
use cranelift_entity::packed_option::PackedOption;
use cranelift_entity::{PrimaryMap, entity_impl};

/// A value: the result of an instruction or a parameter of a block.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(u32);
entity_impl!(Value, "v");

/// An instruction.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Inst(u32);
entity_impl!(Inst, "inst");

/// A block.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Block(u32);
entity_impl!(Block, "b");

/// An object in memory that lives as long as the function runs.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u32);
entity_impl!(Slot, "s");

/// How a function may be called.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Linkage {
    /// A program's function; its parameter is the context.
    Entry,
    /// Always copied into its callers.
    Inline,
    /// A subprogram that is verified in its callers' context.
    Static,
    /// A subprogram that is verified on its own.
    Global,
    /// The body of a loop: called by the kernel or copied into a loop, as the ladder decides. It may use what
    /// its creator lists as captures and must not outlive it.
    Closure,
}

/// Where a slot may live.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Storage {
    /// The compiler chooses by size: on the stack, or in per-CPU scratch memory.
    Auto,
    /// On the stack, whatever the size: the kernel keeps a pointer to it (timers, iterators, dynptrs).
    Stack,
    /// In per-CPU scratch memory.
    Scratch,
}

/// A slot's description.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotData {
    /// Name for messages about stack overflow: the variable's, or what the compiler needs it for.
    pub name: String,
    /// Bytes.
    pub size: u32,
    /// Alignment: 1, 2, 4 or 8.
    pub align: u32,
    /// Where it may live.
    pub storage: Storage,
    /// Type, for readable dumps.
    pub ty: Option<TypeId>,
}

/// Where a value comes from.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Def {
    /// Result of an instruction.
    Inst(Inst),
    /// Parameter of a block, by its place.
    Param(Block, u32),
}

/// A value's description.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueData {
    /// Type.
    pub ty: Ty,
    /// Origin.
    pub def: Def,
}

/// An instruction with its result and place in the source.
#[derive(Clone, Debug, PartialEq)]
pub struct InstData {
    /// What it does.
    pub kind: InstKind,
    /// Its result, if it has one.
    pub result: PackedOption<Value>,
    /// What the user wrote that led to it.
    pub loc: Option<Loc>,
}

/// A block's description.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlockData {
    /// Parameters.
    pub params: Vec<Value>,
    /// Instructions in order; the last one ends the block.
    pub insts: Vec<Inst>,
    /// For the head of a loop written as jumps: how often it may be entered, if that is known. Every jump
    /// backwards goes to such a block.
    pub loop_head: Option<LoopHead>,
    /// Rarely reached: placed after the other blocks.
    pub cold: bool,
}

/// The mark of a block that is jumped back to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct LoopHead {
    /// Iterations at most, where the front end knows; else the verifier must find out.
    pub bound: Option<u32>,
}

/// A function.
#[derive(Clone, Debug, PartialEq)]
pub struct Func {
    /// Name.
    pub name: String,
    /// How it may be called.
    pub linkage: Linkage,
    /// Result type.
    pub ret: Option<Ty>,
    /// Parameters with their names: those of the entry block.
    pub param_names: Vec<String>,
    /// For a closure: types of the pointers that [`InstKind::Capture`] yields: into slots and maps, and the
    /// context.
    pub captures: Vec<Ty>,
    /// Values.
    pub values: PrimaryMap<Value, ValueData>,
    /// Instructions, also those no longer in a block.
    pub insts: PrimaryMap<Inst, InstData>,
    /// Blocks, also those no longer in the layout.
    pub blocks: PrimaryMap<Block, BlockData>,
    /// Slots.
    pub slots: PrimaryMap<Slot, SlotData>,
    /// Blocks in order; the first is the entry.
    pub layout: Vec<Block>,
    /// Where the function stands in the source.
    pub loc: Option<Loc>,
}

impl Func {
    /// A function with an empty entry block that takes the given parameters.
    #[must_use]
    pub fn new(name: impl Into<String>, linkage: Linkage, params: &[(&str, Ty)], ret: Option<Ty>) -> Self {
        let mut func = Func {
            name: name.into(),
            linkage,
            ret,
            param_names: params.iter().map(|(n, _)| (*n).to_owned()).collect(),
            captures: Vec::new(),
            values: PrimaryMap::new(),
            insts: PrimaryMap::new(),
            blocks: PrimaryMap::new(),
            slots: PrimaryMap::new(),
            layout: Vec::new(),
            loc: None,
        };
        let entry = func.add_block();
        for (_, ty) in params {
            func.add_param(entry, *ty);
        }
        func
    }

    /// The block where it begins.
    #[must_use]
    pub fn entry(&self) -> Block {
        self.layout[0]
    }

    /// Its parameters.
    #[must_use]
    pub fn params(&self) -> &[Value] {
        &self.blocks[self.entry()].params
    }

    /// Adds an empty block at the end of the layout.
    pub fn add_block(&mut self) -> Block {
        let block = self.blocks.push(BlockData::default());
        self.layout.push(block);
        block
    }

    /// Adds a parameter to a block.
    pub fn add_param(&mut self, block: Block, ty: Ty) -> Value {
        let place = self.blocks[block].params.len() as u32;
        let value = self.values.push(ValueData { ty, def: Def::Param(block, place) });
        self.blocks[block].params.push(value);
        value
    }

    /// Adds a slot.
    pub fn add_slot(&mut self, name: impl Into<String>, size: u32, align: u32, storage: Storage) -> Slot {
        self.slots.push(SlotData { name: name.into(), size, align, storage, ty: None })
    }

    /// Makes an instruction that stands in no block yet, with a result of the given type.
    pub fn make_inst(&mut self, kind: InstKind, result: Option<Ty>, loc: Option<Loc>) -> Inst {
        let inst = self.insts.push(InstData { kind, result: PackedOption::default(), loc });
        if let Some(ty) = result {
            let value = self.values.push(ValueData { ty, def: Def::Inst(inst) });
            self.insts[inst].result = value.into();
        }
        inst
    }

    /// Type of a value.
    #[must_use]
    pub fn ty(&self, value: Value) -> Ty {
        self.values[value].ty
    }

    /// The instruction that ends a block, if the block is complete.
    #[must_use]
    pub fn terminator(&self, block: Block) -> Option<Inst> {
        let last = *self.blocks[block].insts.last()?;
        self.insts[last].kind.is_terminator().then_some(last)
    }

    /// The instruction that makes a value; `None` for parameters.
    #[must_use]
    pub fn def(&self, value: Value) -> Option<&InstKind> {
        match self.values[value].def {
            Def::Inst(inst) => Some(&self.insts[inst].kind),
            Def::Param(..) => None,
        }
    }

    /// The constant that a value is, if it is one.
    #[must_use]
    pub fn as_const(&self, value: Value) -> Option<i64> {
        match self.values[value].def {
            Def::Inst(inst) => match self.insts[inst].kind {
                InstKind::Const(n) => Some(n),
                _ => None,
            },
            Def::Param(..) => None,
        }
    }
}

/// Appends instructions to a function, block after block.
///
/// It keeps the current block and source location, works out result types, and folds nothing: folding is a
/// pass. Instructions after the end of a block are dropped, so that a front end need not track whether code
/// behind a `return` is reachable.
#[derive(Debug)]
pub struct FuncBuilder<'f> {
    /// The function.
    pub func: &'f mut Func,
    block: Block,
    loc: Option<Loc>,
}

impl<'f> FuncBuilder<'f> {
    /// Starts at the end of a function's entry block.
    pub fn new(func: &'f mut Func) -> Self {
        let block = func.entry();
        FuncBuilder { func, block, loc: None }
    }

    /// The block that instructions go to.
    #[must_use]
    pub fn block(&self) -> Block {
        self.block
    }

    /// Goes on in another block.
    pub fn switch_to(&mut self, block: Block) {
        self.block = block;
    }

    /// Adds a block; instructions still go to the current one.
    pub fn new_block(&mut self) -> Block {
        self.func.add_block()
    }

    /// What the next instructions come from; returns what it was before.
    pub fn set_loc(&mut self, loc: Option<Loc>) -> Option<Loc> {
        std::mem::replace(&mut self.loc, loc)
    }

    /// Whether the current block has its end already.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.func.terminator(self.block).is_some()
    }

    /// Adds an instruction whose result type, if it has a result, is given or follows from the instruction.
    pub fn inst(&mut self, kind: InstKind, result: Option<Ty>) -> Option<Value> {
        let result = fixed_result(&kind).or(result);
        let closed = self.is_closed();
        let inst = self.func.make_inst(kind, result, self.loc);
        if !closed {
            self.func.blocks[self.block].insts.push(inst);
        }
        self.func.insts[inst].result.expand()
    }

    /// Adds an instruction that has a result.
    pub fn value(&mut self, kind: InstKind, result: Ty) -> Value {
        self.inst(kind, Some(result)).expect("a result type was given")
    }

    /// An integer constant.
    pub fn iconst(&mut self, ty: Ty, n: i64) -> Value {
        self.value(InstKind::Const(n), ty)
    }

    /// A 64-bit constant.
    pub fn i64(&mut self, n: i64) -> Value {
        self.iconst(Ty::I64, n)
    }

    /// Arithmetic.
    pub fn bin(&mut self, op: BinOp, a: Value, b: Value) -> Value {
        let ty = self.func.ty(a);
        self.value(InstKind::Bin(op, a, b), ty)
    }

    /// Comparison.
    pub fn cmp(&mut self, op: CmpOp, a: Value, b: Value) -> Value {
        self.value(InstKind::Cmp(op, a, b), Ty::I1)
    }

    /// The value as a wider or narrower integer.
    pub fn resize(&mut self, value: Value, ty: Ty, signed: bool) -> Value {
        let from = self.func.ty(value).bits();
        match ty.bits().cmp(&from) {
            std::cmp::Ordering::Equal => value,
            std::cmp::Ordering::Less => self.value(InstKind::Trunc(value), ty),
            std::cmp::Ordering::Greater if signed => self.value(InstKind::Sext(value), ty),
            std::cmp::Ordering::Greater => self.value(InstKind::Zext(value), ty),
        }
    }

    /// Address of a slot.
    pub fn slot_addr(&mut self, slot: Slot) -> Value {
        self.value(InstKind::SlotAddr(slot), Ty::ptr(PtrClass::Frame))
    }

    /// A pointer some bytes further.
    pub fn ptr_add(&mut self, ptr: Value, off: i32) -> Value {
        if off == 0 {
            return ptr;
        }
        let ty = self.func.ty(ptr);
        self.value(InstKind::PtrAdd(ptr, off, None), ty)
    }

    /// Reads memory.
    pub fn load(&mut self, ptr: Value, off: i32, ty: Ty) -> Value {
        self.value(InstKind::Load { ptr, off, volatile: false }, ty)
    }

    /// Writes memory.
    pub fn store(&mut self, ptr: Value, off: i32, val: Value) {
        self.inst(InstKind::Store { ptr, off, val }, None);
    }

    /// A pointer that a test has shown not to be null.
    pub fn non_null(&mut self, ptr: Value) -> Value {
        let ty = match self.func.ty(ptr) {
            Ty::Ptr(p) => Ty::Ptr(PtrTy { nullable: false, ..p }),
            int => int,
        };
        self.value(InstKind::Refine(ptr, Fact::NonNull), ty)
    }

    /// Ends the block with a jump.
    pub fn br(&mut self, to: impl Into<Target>) {
        self.inst(InstKind::Br(to.into()), None);
    }

    /// Ends the block with a choice.
    pub fn cond_br(&mut self, cond: Value, then: impl Into<Target>, other: impl Into<Target>) {
        self.inst(InstKind::CondBr { cond, then: then.into(), other: other.into() }, None);
    }

    /// Ends the block and the function.
    pub fn ret(&mut self, value: Option<Value>) {
        self.inst(InstKind::Ret(value), None);
    }

    /// Tests a nullable pointer: goes to `null` if it is, and on in a new block where the result is the
    /// pointer that is not.
    pub fn unless_null(&mut self, ptr: Value, null: Block) -> Value {
        let cond = self.value(InstKind::IsNull(ptr), Ty::I1);
        let some = self.new_block();
        self.cond_br(cond, null, some);
        self.switch_to(some);
        self.non_null(ptr)
    }
}
