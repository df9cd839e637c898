//! Claiming and giving back a level of scratch memory, and moving slots there.
//!
//! ```text
//!   p = lookup(scratch, 0); old = xchg(p->claimed, 1); if old == 0 goto got        (then level 1, 2, 3)
//!   lost: the ledger counts, the program ends
//!   got(p): what needs scratch memory
//!   p->claimed = 0, wherever the program leaves the part that `got` dominates
//! ```
//!
//! The exchange makes the claim safe against whatever interrupts it. Only the owner gives a level back, with
//! a plain store: all of it happens on one CPU.

use super::groups::{Groups, is_frame};
use super::{Areas, LEVELS, class};
use crate::cfg::Cfg;
use crate::diag::{Diagnostic, Severity};
use crate::func::{Block, Def, Func, Inst, Linkage, Slot, Storage, Value};
use crate::helpers;
use crate::inst::{AtomicOp, CmpOp, Fact, InstKind, Ledger, Target};
use crate::module::{FuncId, MapId, Module};
use crate::passes::Context;
use crate::source::Loc;
use crate::types::{PtrClass, PtrTy, Ty};
use cranelift_entity::SecondaryMap;

/// What is to be known of a program where it gives up.
struct Program {
    /// Its row in the ledger; where programs share a function, that of the first.
    row: u32,
    ledger: MapId,
    neutral_result: i64,
}

/// Moves the slots that are to move.
pub(super) fn rewrite(
    module: &mut Module,
    context: &mut Context<'_>,
    (scratch, ledger): (MapId, MapId),
    order: &[FuncId],
    groups: &mut Groups,
    areas: &Areas,
) {
    // The address of the level comes behind the captures that closures have already.
    for &id in order {
        let func = &mut module.funcs[id];
        for place in 0..func.captures.len() {
            if groups.is_moved_capture(id, place) {
                func.captures[place] = retyped(func.captures[place], scratch);
            }
        }
        if areas.needs[id] && func.linkage == Linkage::Closure {
            func.captures.push(Ty::ptr(class(scratch)));
        }
    }
    for &id in order {
        if !areas.needs[id] && !has_moved_values(&module.funcs[id], id, groups) {
            continue;
        }
        let row = module.progs.iter().position(|p| p.func == id);
        let program = Program {
            row: row.unwrap_or(0) as u32,
            ledger,
            neutral_result: row.map_or(0, |row| module.progs[row].kind.neutral_result()),
        };
        let func = &mut module.funcs[id];
        retype(func, id, groups, scratch);
        if !areas.needs[id] {
            continue;
        }
        let base = match func.linkage {
            Linkage::Closure => {
                let place = func.captures.len() as u32 - 1;
                let entry = func.entry();
                let rest = std::mem::take(&mut func.blocks[entry].insts);
                let base =
                    func.append_value(entry, InstKind::Capture(place), Ty::ptr(class(scratch)), func.loc);
                func.blocks[entry].insts.extend(rest);
                base
            }
            _ => {
                if let Some(loc) = tail_call(func) {
                    let message = "A program that calls another one at its end has no room for large values";
                    context.diagnostics.push(Diagnostic::new(Severity::Error, loc.or(func.loc), message));
                    return;
                }
                claim(func, scratch, &areas.needs, &program)
            }
        };
        point_into(func, id, base, areas);
    }
}

fn tail_call(func: &Func) -> Option<Option<Loc>> {
    let mut insts = func.layout.iter().flat_map(|&b| &func.blocks[b].insts).map(|&i| &func.insts[i]);
    insts.find(|i| matches!(i.kind, InstKind::TailCall { .. })).map(|i| i.loc)
}

fn retyped(ty: Ty, scratch: MapId) -> Ty {
    match ty {
        Ty::Ptr(PtrTy { class: PtrClass::Frame, nullable }) => {
            Ty::Ptr(PtrTy { class: class(scratch), nullable })
        }
        other => other,
    }
}

fn has_moved_values(func: &Func, id: FuncId, groups: &mut Groups) -> bool {
    func.values.iter().any(|(v, data)| is_frame(data.ty) && groups.is_moved_value(id, v))
}

fn retype(func: &mut Func, id: FuncId, groups: &mut Groups, scratch: MapId) {
    for (value, data) in &mut func.values {
        if is_frame(data.ty) && groups.is_moved_value(id, value) {
            data.ty = retyped(data.ty, scratch);
        }
    }
}

/// Addresses of moved slots become places in the level, and closures that need the level get it.
fn point_into(func: &mut Func, id: FuncId, base: Value, areas: &Areas) {
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        for k in 0..func.blocks[block].insts.len() {
            let inst = func.blocks[block].insts[k];
            match &mut func.insts[inst].kind {
                kind @ InstKind::SlotAddr(_) => {
                    let InstKind::SlotAddr(slot) = *kind else { continue };
                    if let Some(off) = areas.offsets[id][slot] {
                        *kind = InstKind::PtrAdd(base, off.cast_signed(), None);
                    }
                }
                InstKind::ForEach { body, captures, .. } | InstKind::ForRange { body, captures, .. }
                    if areas.needs[*body] =>
                {
                    captures.push(base);
                }
                _ => {}
            }
        }
    }
}

/// Claims a level in the last block that leads to all its uses and is in no loop, where no record is open that
/// would have to be sent when there is no level, and gives it back on every way out. The result is its address.
fn claim(func: &mut Func, scratch: MapId, needs: &SecondaryMap<FuncId, bool>, program: &Program) -> Value {
    func.drop_unreachable();
    let cfg = Cfg::new(func);
    let is_use = |func: &Func, block: Block, at: usize| {
        let inst = func.blocks[block].insts[at];
        match &func.insts[inst].kind {
            InstKind::SlotAddr(_) => {
                func.insts[inst].result.expand().is_some_and(|r| func.ty(r) == Ty::ptr(class(scratch)))
            }
            InstKind::ForEach { body, .. } | InstKind::ForRange { body, .. } => needs[*body],
            _ => false,
        }
    };
    let first_use =
        |func: &Func, block: Block| (0..func.blocks[block].insts.len()).find(|&at| is_use(func, block, at));
    let in_loop = in_loops(&cfg);
    let mut at: Option<Block> = None;
    for &block in cfg.order() {
        if first_use(func, block).is_some() {
            at = Some(at.map_or(block, |at| common_dominator(&cfg, at, block)));
        }
    }
    let mut at = at.unwrap_or(func.entry());
    // Values that a jump passes are made before it.
    let last = |func: &Func, block: Block| func.blocks[block].insts.len() - 1;
    let mut place = first_use(func, at).unwrap_or(usize::MAX).min(last(func, at));
    loop {
        if in_loop[at]
            && let Some(above) = cfg.idom(at)
        {
            at = above;
            place = first_use(func, at).unwrap_or(usize::MAX).min(last(func, at));
        } else if let Some(before) = open_record(func, &cfg, at, place) {
            (at, place) = before;
        } else {
            break;
        }
    }
    let loc = func.insts[func.blocks[at].insts[place]].loc.or(func.loc);
    let rest = func.blocks[at].insts.split_off(place);
    let got = func.new_block();
    func.blocks[got].insts = rest;
    func.blocks[got].cold = func.blocks[at].cold;
    let base = func.add_param(got, Ty::ptr(class(scratch)));
    let mut new = Vec::new();
    let lost = func.new_block();
    let key = func.add_slot("level of scratch memory", 4, 4, Storage::Stack);
    let mut block = at;
    for level in 0..LEVELS {
        let next = if level + 1 == LEVELS { lost } else { func.new_block() };
        let found = func.new_block();
        try_level(func, (block, found, next, lost, got), key, level, scratch, loc);
        func.blocks[found].cold = level > 0 || func.blocks[at].cold;
        new.push(found);
        if next != lost {
            func.blocks[next].cold = true;
            new.push(next);
        }
        block = next;
    }
    let after = func.layout.iter().position(|&b| b == at).map_or(func.layout.len(), |p| p + 1);
    // The likely way stays together; the rest is cold and goes to the end anyway.
    new.insert(1, got);
    func.layout.splice(after..after, new);
    func.layout.push(lost);
    let ends = give_up(func, lost, key, program, loc);
    func.layout.extend(ends);
    give_back(func, got, base);
    base
}

/// `p = lookup(scratch, level); if p == null goto lost; if xchg(p->claimed, 1) == 0 goto got(p) else goto next`
fn try_level(
    func: &mut Func,
    (block, found, next, lost, got): (Block, Block, Block, Block, Block),
    key: Slot,
    level: u32,
    scratch: MapId,
    loc: Option<Loc>,
) {
    let key = func.append_value(block, InstKind::SlotAddr(key), Ty::ptr(PtrClass::Frame), loc);
    let number = func.append_value(block, InstKind::Const(i64::from(level)), Ty::I32, loc);
    func.append(block, InstKind::Store { ptr: key, off: 0, val: number }, None, loc);
    let lookup = InstKind::MapLookup { map: scratch, key };
    let entry = func.append_value(block, lookup, Ty::nullable(class(scratch)), loc);
    let null = func.append_value(block, InstKind::IsNull(entry), Ty::I1, loc);
    func.append(block, InstKind::CondBr { cond: null, then: lost.into(), other: found.into() }, None, loc);
    let refine = InstKind::Refine(entry, Fact::NonNull);
    let ptr = func.append_value(found, refine, Ty::ptr(class(scratch)), loc);
    let one = func.append_value(found, InstKind::Const(1), Ty::I64, loc);
    let xchg = InstKind::Atomic { op: AtomicOp::Xchg, ptr, off: 0, val: one };
    let old = func.append_value(found, xchg, Ty::I64, loc);
    let zero = func.append_value(found, InstKind::Const(0), Ty::I64, loc);
    let free = func.append_value(found, InstKind::Cmp(CmpOp::Eq, old, zero), Ty::I1, loc);
    let then = Target { block: got, args: vec![ptr] };
    func.append(found, InstKind::CondBr { cond: free, then, other: next.into() }, None, loc);
}

/// The event is lost: it is counted, and the program does as if it were not there.
fn give_up(func: &mut Func, lost: Block, key: Slot, program: &Program, loc: Option<Loc>) -> [Block; 2] {
    let (row, end) = (func.new_block(), func.new_block());
    let class = PtrClass::MapValue(program.ledger);
    let key = func.append_value(lost, InstKind::SlotAddr(key), Ty::ptr(PtrClass::Frame), loc);
    let number = func.append_value(lost, InstKind::Const(i64::from(program.row)), Ty::I32, loc);
    func.append(lost, InstKind::Store { ptr: key, off: 0, val: number }, None, loc);
    let lookup = InstKind::MapLookup { map: program.ledger, key };
    let found = func.append_value(lost, lookup, Ty::nullable(class), loc);
    let null = func.append_value(lost, InstKind::IsNull(found), Ty::I1, loc);
    func.append(lost, InstKind::CondBr { cond: null, then: end.into(), other: row.into() }, None, loc);
    let ptr = func.append_value(row, InstKind::Refine(found, Fact::NonNull), Ty::ptr(class), loc);
    let val = func.append_value(row, InstKind::Const(1), Ty::I64, loc);
    // Seen is what was delivered and what was lost.
    for counter in [Ledger::Seen, Ledger::LostScratch] {
        let add = InstKind::Atomic { op: AtomicOp::Add, ptr, off: 8 * counter as i32, val };
        func.append(row, add, None, loc);
    }
    func.append(row, InstKind::Br(end.into()), None, loc);
    let value = func.ret.map(|ty| func.append_value(end, InstKind::Const(program.neutral_result), ty, loc));
    func.append(end, InstKind::Ret(value), None, loc);
    for block in [lost, row, end] {
        func.blocks[block].cold = true;
    }
    [row, end]
}

/// Gives the level back before every return that `got` dominates and on every edge to a block that it does
/// not.
fn give_back(func: &mut Func, got: Block, base: Value) {
    let cfg = Cfg::new(func);
    let mut new = Vec::new();
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        if !cfg.is_reachable(block) || !cfg.dominates(got, block) {
            continue;
        }
        let Some(end) = func.terminator(block) else { continue };
        let loc = func.insts[end].loc;
        if matches!(func.insts[end].kind, InstKind::Ret(_)) {
            func.blocks[block].insts.pop();
            release(func, block, base, loc);
            func.blocks[block].insts.push(end);
            continue;
        }
        for edge in 0..func.insts[end].kind.targets().len() {
            let target = func.insts[end].kind.targets()[edge].clone();
            if cfg.dominates(got, target.block) {
                continue;
            }
            let way = func.new_block();
            func.blocks[way].cold = func.blocks[target.block].cold;
            release(func, way, base, loc);
            func.append(way, InstKind::Br(target), None, loc);
            *func.insts[end].kind.targets_mut()[edge] = way.into();
            new.push(way);
        }
    }
    func.layout.extend(new);
}

fn release(func: &mut Func, block: Block, base: Value, loc: Option<Loc>) {
    let zero = func.append_value(block, InstKind::Const(0), Ty::I64, loc);
    func.append(block, InstKind::Store { ptr: base, off: 0, val: zero }, None, loc);
}

/// Where a record is reserved that is not sent or given up when a place is reached.
fn open_record(func: &Func, cfg: &Cfg, at: Block, place: usize) -> Option<(Block, usize)> {
    let reserves = |inst: Inst| {
        matches!(
            func.insts[inst].kind,
            InstKind::EventReserve { .. } | InstKind::Helper(helpers::RINGBUF_RESERVE, _)
        )
    };
    let mut reserved_at = Vec::new();
    for &block in func.layout.iter().filter(|&&b| cfg.is_reachable(b) && cfg.dominates(b, at)) {
        let before = if block == at { place } else { func.blocks[block].insts.len() };
        reserved_at
            .extend((0..before).filter(|&i| reserves(func.blocks[block].insts[i])).map(|i| (block, i)));
    }
    if reserved_at.is_empty() {
        return None;
    }
    let after = reachable_from(func, at);
    reserved_at.into_iter().find(|&(b, i)| {
        let record = func.insts[func.blocks[b].insts[i]].result.expand();
        func.layout.iter().any(|&block| {
            let first = match (block == at, after[block]) {
                (_, true) => 0,
                (true, false) => place,
                (false, false) => return false,
            };
            func.blocks[block].insts[first..].iter().any(|&inst| {
                let given_back = match &func.insts[inst].kind {
                    InstKind::EventSubmit { rec, .. } | InstKind::EventDiscard { rec } => Some(*rec),
                    InstKind::Helper(helpers::RINGBUF_SUBMIT | helpers::RINGBUF_DISCARD, args) => {
                        args.first().copied()
                    }
                    _ => None,
                };
                // One that came with a jump may be any.
                given_back
                    .map(|rec| reserved(func, rec))
                    .is_some_and(|rec| Some(rec) == record || matches!(func.values[rec].def, Def::Param(..)))
            })
        })
    })
}

/// The value that a record was when it was reserved, before it was known not to be null.
fn reserved(func: &Func, mut record: Value) -> Value {
    while let Some(InstKind::Refine(from, _)) = func.def(record) {
        record = *from;
    }
    record
}

/// The blocks that jumps out of a block lead to.
fn reachable_from(func: &Func, from: Block) -> SecondaryMap<Block, bool> {
    let targets = |block: Block| {
        let end = func.terminator(block).map(|end| func.insts[end].kind.targets());
        end.into_iter().flatten().map(|t| t.block).collect::<Vec<_>>()
    };
    let mut out: SecondaryMap<Block, bool> = SecondaryMap::new();
    let mut todo = targets(from);
    while let Some(block) = todo.pop() {
        if !std::mem::replace(&mut out[block], true) {
            todo.extend(targets(block));
        }
    }
    out
}

fn common_dominator(cfg: &Cfg, mut a: Block, b: Block) -> Block {
    while !cfg.dominates(a, b) {
        match cfg.idom(a) {
            Some(above) => a = above,
            None => break,
        }
    }
    a
}

/// The blocks that can be reached again from themselves.
fn in_loops(cfg: &Cfg) -> SecondaryMap<Block, bool> {
    let mut out: SecondaryMap<Block, bool> = SecondaryMap::new();
    for &head in cfg.order() {
        let mut todo: Vec<Block> =
            cfg.preds(head).iter().copied().filter(|&p| cfg.dominates(head, p)).collect();
        if todo.is_empty() {
            continue;
        }
        let mut seen: SecondaryMap<Block, bool> = SecondaryMap::new();
        seen[head] = true;
        out[head] = true;
        while let Some(block) = todo.pop() {
            if !std::mem::replace(&mut seen[block], true) {
                out[block] = true;
                todo.extend(cfg.preds(block));
            }
        }
    }
    out
}
