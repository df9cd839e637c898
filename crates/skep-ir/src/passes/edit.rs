//! What passes do to functions: replacing values, copying one function into another.

use crate::func::{Block, BlockData, Def, Func, Inst, InstData, Slot, Value, ValueData};
use crate::inst::{InstKind, Target};
use crate::source::Loc;
use crate::types::Ty;
use cranelift_entity::packed_option::PackedOption;
use cranelift_entity::{EntitySet, PrimaryMap, SecondaryMap};

/// Values that stand for others from now on.
#[derive(Default)]
pub(super) struct Aliases {
    to: SecondaryMap<Value, PackedOption<Value>>,
    any: bool,
}

impl Aliases {
    /// Makes uses of one value uses of another.
    pub(super) fn set(&mut self, from: Value, to: Value) {
        let to = self.get(to);
        if from != to {
            self.to[from] = to.into();
            self.any = true;
        }
    }

    /// What a value now is.
    pub(super) fn get(&mut self, mut value: Value) -> Value {
        let start = value;
        while let Some(next) = self.to[value].expand() {
            value = next;
        }
        // The way is short the next time.
        let mut at = start;
        while let Some(next) = self.to[at].expand() {
            self.to[at] = value.into();
            at = next;
            if at == value {
                break;
            }
        }
        value
    }

    /// Rewrites all uses.
    pub(super) fn apply(mut self, func: &mut Func) {
        if !self.any {
            return;
        }
        for i in 0..func.layout.len() {
            let block = func.layout[i];
            for k in 0..func.blocks[block].insts.len() {
                let inst = func.blocks[block].insts[k];
                func.insts[inst].kind.map_uses(|v| self.get(v));
            }
        }
    }
}

impl Func {
    /// What stands in a module while its function is worked on.
    pub(crate) fn placeholder() -> Func {
        Func {
            name: String::new(),
            linkage: crate::func::Linkage::Static,
            ret: None,
            param_names: Vec::new(),
            captures: Vec::new(),
            values: PrimaryMap::new(),
            insts: PrimaryMap::new(),
            blocks: PrimaryMap::new(),
            slots: PrimaryMap::new(),
            layout: Vec::new(),
            loc: None,
        }
    }

    /// A block that is not in the layout yet.
    pub(crate) fn new_block(&mut self) -> Block {
        self.blocks.push(BlockData::default())
    }

    /// Appends an instruction to a block.
    pub(crate) fn append(&mut self, block: Block, kind: InstKind, ty: Option<Ty>, loc: Option<Loc>) -> Inst {
        let inst = self.make_inst(kind, ty, loc);
        self.blocks[block].insts.push(inst);
        inst
    }

    /// Appends an instruction that has a result.
    pub(crate) fn append_value(&mut self, block: Block, kind: InstKind, ty: Ty, loc: Option<Loc>) -> Value {
        let inst = self.append(block, kind, Some(ty), loc);
        self.insts[inst].result.expand().expect("it was made with a result")
    }

    /// Blocks that nothing reaches leave the layout.
    pub(crate) fn drop_unreachable(&mut self) {
        let &[entry, _, ..] = self.layout.as_slice() else { return };
        let mut reached = EntitySet::with_capacity(self.blocks.len());
        let mut todo = vec![entry];
        let mut count = 0;
        while let Some(block) = todo.pop() {
            if !reached.insert(block) {
                continue;
            }
            count += 1;
            if let Some(end) = self.terminator(block) {
                let kind = &self.insts[end].kind;
                todo.extend((0..kind.target_count()).filter_map(|n| Some(kind.target(n)?.block)));
            }
        }
        if count < self.layout.len() {
            self.layout.retain(|&b| reached.contains(b));
        }
    }
}

/// A copy of a function inside another one.
pub(super) struct Copied {
    /// Its blocks in order; the first is where it begins. Its parameters are gone.
    pub(super) blocks: Vec<Block>,
    /// The blocks where it returned, which now have no end, and what it returned.
    pub(super) returns: Vec<(Block, Option<Value>)>,
}

/// Copies blocks, instructions and slots. Arguments and captures take the place of parameters and of
/// [`InstKind::Capture`]; what has no location of its own gets that of the call.
pub(super) fn copy(
    to: &mut Func,
    from: &Func,
    args: &[Value],
    captures: &[Value],
    slots: &mut SlotCopies,
    loc: Option<Loc>,
) -> Copied {
    let mut values: SecondaryMap<Value, PackedOption<Value>> = SecondaryMap::new();
    for (&param, &arg) in from.params().iter().zip(args) {
        values[param] = arg.into();
    }
    let mut blocks: SecondaryMap<Block, PackedOption<Block>> = SecondaryMap::new();
    let mut copied = Copied { blocks: Vec::with_capacity(from.layout.len()), returns: Vec::new() };
    // Values first: a block may use one of a block that stands behind it.
    let mut work: Vec<(Inst, Inst)> = Vec::new();
    for (place, &block) in from.layout.iter().enumerate() {
        let data = &from.blocks[block];
        let new =
            to.blocks.push(BlockData { loop_head: data.loop_head, cold: data.cold, ..BlockData::default() });
        blocks[block] = new.into();
        copied.blocks.push(new);
        if place > 0 {
            for &param in &data.params {
                values[param] = to.add_param(new, from.ty(param)).into();
            }
        }
        for &inst in &data.insts {
            let InstData { kind, result, loc: own } = &from.insts[inst];
            let result = result.expand();
            if let (InstKind::Capture(n), Some(result)) = (kind, result) {
                values[result] = captures.get(*n as usize).copied().into();
                continue;
            }
            let new_inst = to.insts.push(InstData {
                kind: InstKind::Unreachable,
                result: PackedOption::default(),
                loc: own.or(loc),
            });
            if let Some(result) = result {
                let value = to.values.push(ValueData { ty: from.ty(result), def: Def::Inst(new_inst) });
                to.insts[new_inst].result = value.into();
                values[result] = value.into();
            }
            to.blocks[new].insts.push(new_inst);
            work.push((inst, new_inst));
        }
    }
    for (old, new) in work {
        let mut kind = from.insts[old].kind.clone();
        kind.map_uses(|v| values[v].expand().unwrap_or(v));
        for target in kind.targets_mut() {
            target.block = blocks[target.block].expand().unwrap_or(target.block);
        }
        if let InstKind::SlotAddr(slot) = &mut kind {
            *slot = slots.copy_of(to, from, *slot);
        }
        to.insts[new].kind = kind;
    }
    for &block in &copied.blocks {
        if let Some(&last) = to.blocks[block].insts.last()
            && let InstKind::Ret(value) = to.insts[last].kind
        {
            to.blocks[block].insts.pop();
            copied.returns.push((block, value));
        }
    }
    copied
}

/// Slots of a function that was copied: several copies of one function may share them, since what is in them
/// at its beginning is undefined.
#[derive(Default)]
pub(super) struct SlotCopies(SecondaryMap<Slot, PackedOption<Slot>>);

impl SlotCopies {
    fn copy_of(&mut self, to: &mut Func, from: &Func, slot: Slot) -> Slot {
        if let Some(known) = self.0[slot].expand() {
            return known;
        }
        let new = to.slots.push(from.slots[slot].clone());
        self.0[slot] = new.into();
        new
    }
}

/// Copies a function to where it is called: the block `at` continues with the copy, and what it returned
/// arrives in the block that the result names. `layout` gets the new blocks.
pub(super) fn copy_call(
    to: &mut Func,
    from: &Func,
    at: Block,
    args: &[Value],
    result: Option<Value>,
    loc: Option<Loc>,
    layout: &mut Vec<Block>,
) -> Block {
    let copied = copy(to, from, args, &[], &mut SlotCopies::default(), loc);
    let rest = to.new_block();
    if let Some(result) = result {
        // The result becomes the parameter of the block where the paths meet: its uses stay as they are.
        to.values[result].def = Def::Param(rest, 0);
        to.blocks[rest].params.push(result);
    }
    // A loop may begin at the copy's first block, so it stays a block of its own.
    to.append(at, InstKind::Br(copied.blocks[0].into()), None, loc);
    layout.extend(&copied.blocks);
    layout.push(rest);
    for (block, value) in copied.returns {
        let args = if result.is_some() { value.into_iter().collect() } else { Vec::new() };
        to.append(block, InstKind::Br(Target { block: rest, args }), None, loc);
    }
    rest
}

impl Func {
    /// Changes every reference to a function.
    pub(super) fn renumber_funcs(&mut self, f: impl Fn(crate::module::FuncId) -> crate::module::FuncId) {
        use crate::types::{PtrClass, PtrTy};
        let class = |ty: &mut Ty| {
            if let Ty::Ptr(PtrTy { class: PtrClass::Func(id), .. }) = ty {
                *id = f(*id);
            }
        };
        self.values.values_mut().for_each(|v| class(&mut v.ty));
        self.captures.iter_mut().chain(&mut self.ret).for_each(class);
        for data in self.insts.values_mut() {
            if let InstKind::Call(id, _)
            | InstKind::FuncRef(id)
            | InstKind::ForEach { body: id, .. }
            | InstKind::ForRange { body: id, .. } = &mut data.kind
            {
                *id = f(*id);
            }
        }
    }
}
