//! Closures as callbacks of helpers.

use super::inplace::condition;
use crate::func::{Block, Def, Func, Inst, Storage, Value};
use crate::helpers;
use crate::inst::{BinOp, CmpOp, InstKind, Target};
use crate::module::{FuncId, MapId, Module};
use crate::passes::edit::Aliases;
use crate::source::Loc;
use crate::types::{PtrClass, Ty};
use cranelift_entity::SecondaryMap;

/// Iterations of `bpf_loop` at most (`BPF_MAX_LOOPS` of include/linux/bpf.h).
pub(super) const MAX_COUNT: u64 = 8 << 20;

/// How a closure gets what it needs of its creators.
#[derive(Copy, Clone, Default, PartialEq, Eq)]
struct Shape {
    /// A loop over a range that need not begin at 0: its first number comes before the captures.
    start: bool,
    /// A pointer into the frame is all there is: it takes the place of the context.
    direct: bool,
}

impl Shape {
    fn field(self, place: usize) -> i32 {
        8 * (place as i32 + i32::from(self.start))
    }
}

/// Passes every closure that is still run by an instruction of its own to a helper.
pub(super) fn run(module: &mut Module) {
    let mut shapes: SecondaryMap<FuncId, Option<Shape>> = SecondaryMap::new();
    for func in module.funcs.values() {
        for &inst in func.layout.iter().flat_map(|&b| &func.blocks[b].insts) {
            match &func.insts[inst].kind {
                InstKind::ForRange { start, body, .. } => {
                    let shape = shapes[*body].get_or_insert_default();
                    shape.start |= func.as_const(*start) != Some(0);
                }
                InstKind::ForEach { body, .. } => {
                    shapes[*body].get_or_insert_default();
                }
                _ => {}
            }
        }
    }
    for (id, func) in &module.funcs {
        if let Some(shape) = &mut shapes[id] {
            shape.direct = !shape.start && func.captures == [Ty::ptr(PtrClass::Frame)];
        }
    }
    for func in module.funcs.values_mut() {
        call_helpers(func, &shapes);
    }
    for (id, func) in &mut module.funcs {
        if let Some(shape) = shapes[id] {
            take_context(func, shape);
        }
    }
}

/// Replaces the loops of a function by calls.
fn call_helpers(func: &mut Func, shapes: &SecondaryMap<FuncId, Option<Shape>>) {
    if !super::has_loops(func) {
        return;
    }
    let mut layout = Vec::with_capacity(func.layout.len());
    for block in std::mem::take(&mut func.layout) {
        layout.push(block);
        let mut current = block;
        for inst in std::mem::take(&mut func.blocks[block].insts) {
            let loc = func.insts[inst].loc;
            match func.insts[inst].kind.clone() {
                InstKind::ForRange { start, end, body, captures } => {
                    let shape = shapes[body].unwrap_or_default();
                    current = range(func, current, (start, end), body, &captures, shape, loc, &mut layout);
                    func.blocks[current].cold = func.blocks[block].cold;
                }
                InstKind::ForEach { map, body, captures } => {
                    let shape = shapes[body].unwrap_or_default();
                    each(func, current, inst, map, body, &captures, shape);
                }
                _ => func.blocks[current].insts.push(inst),
            }
        }
    }
    func.layout = layout;
}

/// `if (start < end) bpf_loop(min(end - start, MAX), body, context, 0)`; returns the block behind it.
#[expect(clippy::too_many_arguments, reason = "the parts of one instruction")]
fn range(
    func: &mut Func,
    at: Block,
    (start, end): (Value, Value),
    body: FuncId,
    captures: &[Value],
    shape: Shape,
    loc: Option<Loc>,
    layout: &mut Vec<Block>,
) -> Block {
    let (run, rest) = (func.new_block(), func.new_block());
    let any = func.append_value(at, InstKind::Cmp(CmpOp::SLt, start, end), Ty::I1, loc);
    func.append(at, InstKind::CondBr { cond: any, then: run.into(), other: rest.into() }, None, loc);
    let count = func.append_value(run, InstKind::Bin(BinOp::Sub, end, start), Ty::I64, loc);
    // The helper takes 32 bits, and refuses what it cannot do as a whole.
    let max = func.append_value(run, InstKind::Const(MAX_COUNT.cast_signed()), Ty::I64, loc);
    let many = func.append_value(run, InstKind::Cmp(CmpOp::UGt, count, max), Ty::I1, loc);
    let count = func.append_value(run, InstKind::Select(many, max, count), Ty::I64, loc);
    let context = context(func, run, shape, start, captures, loc);
    let callee = func.append_value(run, InstKind::FuncRef(body), Ty::ptr(PtrClass::Func(body)), loc);
    let flags = func.append_value(run, InstKind::Const(0), Ty::I64, loc);
    func.append(
        run,
        InstKind::Helper(helpers::LOOP, vec![count, callee, context, flags]),
        Some(Ty::I64),
        loc,
    );
    func.append(run, InstKind::Br(Target::from(rest)), None, loc);
    layout.extend([run, rest]);
    rest
}

/// `bpf_for_each_map_elem(map, body, context, 0)`
fn each(func: &mut Func, at: Block, inst: Inst, map: MapId, body: FuncId, captures: &[Value], shape: Shape) {
    let loc = func.insts[inst].loc;
    let map = func.append_value(at, InstKind::MapRef(map), Ty::ptr(PtrClass::MapRef(map)), loc);
    let flags = func.append_value(at, InstKind::Const(0), Ty::I64, loc);
    let context = context(func, at, shape, flags, captures, loc);
    let callee = func.append_value(at, InstKind::FuncRef(body), Ty::ptr(PtrClass::Func(body)), loc);
    let args = vec![map, callee, context, flags];
    func.insts[inst].kind = InstKind::Helper(helpers::FOR_EACH_MAP_ELEM, args);
    func.blocks[at].insts.push(inst);
}

/// What is handed to the callback: a struct on the stack, the only captured pointer, or nothing.
fn context(
    func: &mut Func,
    at: Block,
    shape: Shape,
    start: Value,
    captures: &[Value],
    loc: Option<Loc>,
) -> Value {
    if shape.direct {
        return captures[0];
    }
    if captures.is_empty() && !shape.start {
        return func.append_value(at, InstKind::Const(0), Ty::I64, loc);
    }
    let size = 8 * (captures.len() as u32 + u32::from(shape.start));
    let slot = func.add_slot("loop context", size, 8, Storage::Stack);
    let ptr = func.append_value(at, InstKind::SlotAddr(slot), Ty::ptr(PtrClass::Frame), loc);
    if shape.start {
        func.append(at, InstKind::Store { ptr, off: 0, val: start }, None, loc);
    }
    for (place, &val) in captures.iter().enumerate() {
        func.append(at, InstKind::Store { ptr, off: shape.field(place), val }, None, loc);
    }
    ptr
}

/// Makes a closure a callback: its captures and the first number are read from the context, and it returns 0
/// or 1, as the verifier demands (`check_return_code` of kernel/bpf/verifier.c).
fn take_context(func: &mut Func, shape: Shape) {
    let entry = func.entry();
    let over_range = func.params().len() == 1;
    if !over_range {
        insert_map_param(func, entry);
    }
    let context = func.add_param(entry, Ty::ptr(PtrClass::Frame));
    func.param_names.push("context".to_owned());
    let mut aliases = Aliases::default();
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        let mut insts = std::mem::take(&mut func.blocks[block].insts);
        insts.retain(|&inst| {
            let InstKind::Capture(n) = func.insts[inst].kind else { return true };
            if let (true, Some(result)) = (shape.direct, func.insts[inst].result.expand()) {
                aliases.set(result, context);
                return false;
            }
            let off = shape.field(n as usize);
            func.insts[inst].kind = InstKind::Load { ptr: context, off, volatile: false };
            true
        });
        func.blocks[block].insts = insts;
        normalise_return(func, block);
    }
    aliases.apply(func);
    func.captures.clear();
    if shape.start {
        add_start(func, entry, context);
    }
}

/// The helper passes the map before key and value.
fn insert_map_param(func: &mut Func, entry: Block) {
    let class = func.params().first().and_then(|&key| func.ty(key).as_ptr()).map(|p| p.class);
    let Some(PtrClass::MapKey(map)) = class else { return };
    let param = func.add_param(entry, Ty::ptr(PtrClass::MapRef(map)));
    func.param_names.insert(0, "map".to_owned());
    let params = &mut func.blocks[entry].params;
    params.pop();
    params.insert(0, param);
    for (place, value) in params.clone().into_iter().enumerate() {
        func.values[value].def = Def::Param(entry, place as u32);
    }
}

fn normalise_return(func: &mut Func, block: Block) {
    let Some(end) = func.terminator(block) else { return };
    let InstKind::Ret(Some(value)) = func.insts[end].kind else { return };
    let loc = func.insts[end].loc;
    func.blocks[block].insts.pop();
    let value = match func.as_const(value) {
        Some(0 | 1) => value,
        Some(_) => func.append_value(block, InstKind::Const(1), Ty::I64, loc),
        None => {
            let truth = condition(func, block, value, loc);
            func.append_value(block, InstKind::Zext(truth), Ty::I64, loc)
        }
    };
    func.insts[end].kind = InstKind::Ret(Some(value));
    func.blocks[block].insts.push(end);
}

/// The helper counts from 0.
fn add_start(func: &mut Func, entry: Block, context: Value) {
    let loc = func.loc;
    let number = func.params()[0];
    let rest = std::mem::take(&mut func.blocks[entry].insts);
    let load = InstKind::Load { ptr: context, off: 0, volatile: false };
    let start = func.append_value(entry, load, Ty::I64, loc);
    let sum = func.append_value(entry, InstKind::Bin(BinOp::Add, start, number), Ty::I64, loc);
    let mut aliases = Aliases::default();
    aliases.set(number, sum);
    let own = std::mem::replace(&mut func.blocks[entry].insts, rest);
    aliases.apply(func);
    func.blocks[entry].insts.splice(0..0, own);
}
