//! Chooses between the stack and per-CPU scratch memory for slots.
//!
//! Slots stay on the stack unless they are larger than one may be there, or the frames of a program and of what
//! it calls and runs as callbacks would come to more than the budget; then the largest ones go. A slot
//! whose address is kept in memory or given to the kernel for good stays where it is.
//!
//! Scratch memory is one per-CPU array for the whole module with a few levels, since a program can be
//! interrupted by another one, and on preemptible kernels by another task. A level is claimed where the
//! program first needs it and given back where it leaves; [`claim`] has the details. Closures get its
//! address as one more capture.

mod claim;
mod groups;
mod layout;
mod lives;

use super::Context;
use crate::call_graph::{callees, callees_first};
use crate::diag::{Diagnostic, Severity};
use crate::func::{Func, Linkage, Slot, SlotData, Storage};
use crate::inst::{InstKind, Ledger};
use crate::kernel::Feature;
use crate::module::{FuncId, Map, MapId, MapKind, Module};
use cranelift_entity::SecondaryMap;
use groups::Groups;
use lives::Lives;
use std::collections::{HashMap, HashSet};

/// Levels of scratch memory: a task, and on top of it soft interrupt, hard interrupt and NMI.
const LEVELS: u32 = 4;
/// Bytes of a level that say whether it is claimed.
const HEADER: u32 = 8;
/// Bytes of a per-CPU value at most (`PCPU_MIN_UNIT_SIZE` of include/linux/percpu.h).
const MAX_LEVEL: u32 = 32 << 10;
/// What a slot takes of a frame.
const WORD: u32 = 8;

/// Runs the pass.
pub fn run(module: &mut Module, context: &mut Context<'_>) {
    // What calls itself was refused when functions were copied into each other.
    let Ok(order) = callees_first(module) else { return };
    let affected = affected(module, context, &order);
    if !order.iter().any(|&id| affected[id]) {
        return;
    }
    let mut plan = Plan::new(module, &order, &affected);
    plan.move_large(context.options.stack_object_limit);
    for id in module.progs.iter().map(|p| p.func).filter(|&id| affected[id]) {
        plan.fit(id, context.options.stack_budget);
    }
    let Plan { mut groups, lives, order, .. } = plan;
    let areas = layout::assign(module, &order, &mut groups, &lives);
    let size = HEADER + areas.size;
    if areas.size == 0 {
        return;
    }
    if size > MAX_LEVEL {
        context.diagnostics.push(too_large(module, &order, &mut groups, areas.size));
        return;
    }
    if !context.kernel.has(Feature::AtomicFetch) {
        let feature = Feature::AtomicFetch;
        let message = format!(
            "Values too large for the stack need the kernel feature {} (Linux {})",
            feature.name(),
            feature.since()
        );
        let loc = module.funcs.values().find_map(|f| f.loc);
        context.diagnostics.push(Diagnostic::new(Severity::Error, loc, message));
        return;
    }
    let ledger = match module.ledger {
        Some(ledger) => ledger,
        None => module.maps.push(new_ledger(module.progs.len() as u32)),
    };
    module.ledger = Some(ledger);
    let scratch = module.maps.push(per_cpu_array("scratch", size, LEVELS));
    claim::rewrite(module, context, (scratch, ledger), &order, &mut groups, &areas);
}

/// Where lost events are counted, if the front end has not made it: see [`Ledger`].
fn new_ledger(programs: u32) -> Map {
    per_cpu_array("ledger", 8 * Ledger::COLUMNS, programs.max(1))
}

fn per_cpu_array(name: &str, value_size: u32, max_entries: u32) -> Map {
    Map {
        name: name.to_owned(),
        kind: MapKind::PercpuArray,
        key: None,
        value: None,
        key_size: 4,
        value_size: value_size.next_multiple_of(WORD),
        max_entries,
        flags: 0,
        inner: None,
        contents: Vec::new(),
        pin: None,
    }
}

fn too_large(module: &Module, order: &[FuncId], groups: &mut Groups, size: u32) -> Diagnostic {
    let mut slots: Vec<(u32, &str)> = Vec::new();
    for &id in order {
        for (slot, data) in &module.funcs[id].slots {
            if groups.is_moved(id, slot) {
                slots.push((data.size, &data.name));
            }
        }
    }
    slots.sort_by_key(|&(size, _)| std::cmp::Reverse(size));
    let largest: Vec<String> =
        slots.iter().take(4).map(|(size, name)| format!("{name} ({size} bytes)")).collect();
    let message = format!(
        "Values that are too large for the stack take {size} bytes and {} are possible: {}",
        MAX_LEVEL - HEADER,
        largest.join(", ")
    );
    let loc = module.funcs.values().find_map(|f| f.loc);
    Diagnostic::new(Severity::Error, loc, message).hint("make these values smaller, or keep them in a map")
}

/// Whether a slot is too large for the stack.
pub(super) fn is_large(data: &SlotData, limit: u32) -> bool {
    match data.storage {
        Storage::Auto => data.size > limit,
        Storage::Scratch => true,
        Storage::Stack => false,
    }
}

/// Bytes that a slot takes of a frame.
fn bytes(data: &SlotData) -> u32 {
    data.size.max(1).next_multiple_of(WORD)
}

/// What a callback's captures take of its creator's frame.
fn context_bytes(kind: &InstKind) -> u32 {
    match kind {
        InstKind::ForEach { captures, .. } | InstKind::ForRange { captures, .. } => {
            WORD * (captures.len() as u32 + 1)
        }
        _ => 0,
    }
}

/// The functions of programs in which a slot may have to move: those with large slots and those whose slots,
/// without any sharing, exceed the budget. With a closure that programs share, all of them are.
fn affected(module: &Module, context: &Context<'_>, order: &[FuncId]) -> SecondaryMap<FuncId, bool> {
    let mut sums: SecondaryMap<FuncId, u32> = SecondaryMap::new();
    let mut large: SecondaryMap<FuncId, bool> = SecondaryMap::new();
    for &id in order {
        let func = &module.funcs[id];
        let below = callees(func).map(|c| sums[c]).max().unwrap_or(0);
        let mentioned = lives::mentioned(func);
        let slots = || func.slots.iter().filter(|&(slot, _)| mentioned[slot]).map(|(_, data)| data);
        let own: u32 = slots().map(bytes).fold(0, u32::saturating_add);
        sums[id] = below.saturating_add(own).saturating_add(contexts(func));
        large[id] = callees(func).any(|c| large[c])
            || slots().any(|s| is_large(s, context.options.stack_object_limit));
    }
    let mut out: SecondaryMap<FuncId, bool> = SecondaryMap::new();
    let entries: Vec<FuncId> =
        order.iter().copied().filter(|&id| module.funcs[id].linkage == Linkage::Entry).collect();
    let mut seeds: Vec<FuncId> =
        entries.iter().copied().filter(|&id| large[id] || sums[id] > context.options.stack_budget).collect();
    while !seeds.is_empty() {
        while let Some(id) = seeds.pop() {
            if !std::mem::replace(&mut out[id], true) {
                seeds.extend(callees(&module.funcs[id]));
            }
        }
        // A closure that is affected has the same captures wherever it is run.
        let shares = |&id: &FuncId| !out[id] && reaches(module, id, &out);
        seeds.extend(entries.iter().copied().filter(shares));
    }
    out
}

fn contexts(func: &Func) -> u32 {
    let insts = func.layout.iter().flat_map(|&b| &func.blocks[b].insts);
    insts.map(|&i| context_bytes(&func.insts[i].kind)).fold(0, u32::saturating_add)
}

fn reaches(module: &Module, from: FuncId, set: &SecondaryMap<FuncId, bool>) -> bool {
    let mut todo: Vec<FuncId> = callees(&module.funcs[from]).collect();
    while let Some(id) = todo.pop() {
        if set[id] {
            return true;
        }
        todo.extend(callees(&module.funcs[id]));
    }
    false
}

/// Which slots move.
struct Plan<'m> {
    module: &'m Module,
    /// The functions that are looked at, callees first.
    order: Vec<FuncId>,
    groups: Groups,
    lives: SecondaryMap<FuncId, Lives>,
    frames: SecondaryMap<FuncId, u32>,
}

impl<'m> Plan<'m> {
    fn new(module: &'m Module, order: &[FuncId], affected: &SecondaryMap<FuncId, bool>) -> Self {
        let order: Vec<FuncId> = order.iter().copied().filter(|&id| affected[id]).collect();
        let groups = Groups::of(module, &order);
        let mut lives: SecondaryMap<FuncId, Lives> = SecondaryMap::new();
        for &id in &order {
            lives[id] = Lives::of(&module.funcs[id]);
        }
        Plan { module, order, groups, lives, frames: SecondaryMap::new() }
    }

    fn measure(&mut self, id: FuncId) {
        let func = &self.module.funcs[id];
        let groups = &mut self.groups;
        let on_stack = |slot: Slot| if groups.is_moved(id, slot) { 0 } else { bytes(&func.slots[slot]) };
        self.frames[id] = self.lives[id].peak(func, on_stack) + contexts(func);
    }

    fn move_large(&mut self, limit: u32) {
        for i in 0..self.order.len() {
            let id = self.order[i];
            for (slot, data) in &self.module.funcs[id].slots {
                if is_large(data, limit) {
                    self.groups.try_move(id, slot);
                }
            }
        }
    }

    /// Moves slots until a program's deepest chain of frames is within the budget, or nothing can move.
    fn fit(&mut self, main: FuncId, budget: u32) {
        let funcs = self.reachable(main);
        loop {
            for &id in &funcs {
                self.measure(id);
            }
            let (total, chain) = self.deepest(main, &funcs);
            if total <= budget {
                return;
            }
            let mut best: Option<(u32, FuncId, Slot)> = None;
            for &id in &chain {
                for (slot, data) in &self.module.funcs[id].slots {
                    let size = bytes(data);
                    let better = best.is_none_or(|(most, ..)| size > most);
                    if better && self.lives[id].is_mentioned(slot) && self.groups.can_move(id, slot) {
                        best = Some((size, id, slot));
                    }
                }
            }
            let Some((_, id, slot)) = best else { return };
            self.groups.try_move(id, slot);
        }
    }

    /// A function and those that it leads to, callees first.
    fn reachable(&self, main: FuncId) -> Vec<FuncId> {
        let mut seen: HashSet<FuncId> = HashSet::new();
        let mut out = Vec::new();
        let mut stack = vec![(main, false)];
        while let Some((id, done)) = stack.pop() {
            if done {
                out.push(id);
            } else if seen.insert(id) {
                stack.push((id, true));
                stack.extend(callees(&self.module.funcs[id]).map(|callee| (callee, false)));
            }
        }
        out
    }

    /// The chain of calls that needs most of the stack, and how much.
    fn deepest(&self, main: FuncId, funcs: &[FuncId]) -> (u32, Vec<FuncId>) {
        let mut totals: HashMap<FuncId, u32> = HashMap::new();
        let mut next: HashMap<FuncId, FuncId> = HashMap::new();
        for &id in funcs {
            let total = |c: FuncId| totals.get(&c).copied().unwrap_or(0);
            let below = callees(&self.module.funcs[id]).max_by_key(|&c| total(c));
            let sum = self.frames[id] + below.map_or(0, total);
            totals.insert(id, sum);
            next.extend(below.map(|c| (id, c)));
        }
        let chain = std::iter::successors(Some(main), |id| next.get(id).copied()).collect();
        (totals.get(&main).copied().unwrap_or(0), chain)
    }
}

/// Where a function's part of a level begins, and where in it the slots lie.
struct Areas {
    /// Bytes of all parts together, without the header.
    size: u32,
    /// Offset of each slot in the level; `None` on the stack.
    offsets: SecondaryMap<FuncId, SecondaryMap<Slot, Option<u32>>>,
    /// Whether a function needs the address of the level: for itself or for what it runs.
    needs: SecondaryMap<FuncId, bool>,
}

/// The map of scratch memory as a pointer class.
fn class(scratch: MapId) -> crate::types::PtrClass {
    crate::types::PtrClass::MapValue(scratch)
}
