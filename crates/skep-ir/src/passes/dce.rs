//! Drops what nobody needs: results without use, parameters that only feed each other, stores to slots that
//! nothing reads, blocks that nothing reaches, slots that nothing mentions.

use super::{Context, params};
use crate::func::{Def, Func, Inst, Slot, SlotData, Value};
use crate::helpers;
use crate::inst::InstKind;
use crate::module::Module;
use cranelift_entity::packed_option::PackedOption;
use cranelift_entity::{PrimaryMap, SecondaryMap};

/// Runs the pass.
pub fn run(func: &mut Func, _: &Module, _: &Context<'_>) {
    func.drop_unreachable();
    drop_dead_stores(func);
    let live = live_values(func);
    params::retain(func, |p| live[p]);
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        let mut insts = std::mem::take(&mut func.blocks[block].insts);
        insts.retain(|&inst| {
            let data = &func.insts[inst];
            needed(&data.kind) || data.result.expand().is_some_and(|r| live[r])
        });
        for &inst in &insts {
            drop_result(func, inst, &live);
        }
        func.blocks[block].insts = insts;
    }
    drop_slots(func);
}

/// Whether an instruction does something besides giving a result.
fn needed(kind: &InstKind) -> bool {
    match kind {
        InstKind::Helper(id, _) => !only_asks(*id),
        kind => !kind.is_removable(),
    }
}

/// Whether a helper only tells something.
fn only_asks(id: u32) -> bool {
    use helpers as h;
    matches!(
        id,
        h::MAP_LOOKUP_ELEM
            | h::MAP_LOOKUP_PERCPU_ELEM
            | h::KTIME_GET_NS
            | h::KTIME_GET_BOOT_NS
            | h::KTIME_GET_TAI_NS
            | h::JIFFIES64
            | h::GET_PRANDOM_U32
            | h::GET_SMP_PROCESSOR_ID
            | h::GET_NUMA_NODE_ID
            | h::GET_CURRENT_PID_TGID
            | h::GET_CURRENT_UID_GID
            | h::GET_CURRENT_TASK
            | h::GET_CURRENT_TASK_BTF
            | h::GET_CURRENT_CGROUP_ID
            | h::GET_CURRENT_ANCESTOR_CGROUP_ID
            | h::GET_FUNC_IP
            | h::GET_ATTACH_COOKIE
            | h::RINGBUF_QUERY
    )
}

/// An atomic operation whose old value nobody wants is cheaper and older without it.
fn drop_result(func: &mut Func, inst: Inst, live: &SecondaryMap<Value, bool>) {
    let data = &mut func.insts[inst];
    let plain = matches!(&data.kind, InstKind::Atomic { op, .. } if *op != crate::inst::AtomicOp::Xchg);
    if plain && data.result.expand().is_some_and(|r| !live[r]) {
        data.result = PackedOption::default();
    }
}

/// Values that something needed depends on.
fn live_values(func: &Func) -> SecondaryMap<Value, bool> {
    let mut live: SecondaryMap<Value, bool> = SecondaryMap::with_capacity(func.values.len());
    let mut todo: Vec<Value> = Vec::new();
    // What jumps pass to each parameter: needed if the parameter is.
    let mut passed: SecondaryMap<Value, Vec<Value>> = SecondaryMap::new();
    for &block in &func.layout {
        for &inst in &func.blocks[block].insts {
            let kind = &func.insts[inst].kind;
            match kind {
                InstKind::CondBr { cond: v, .. } | InstKind::Switch { val: v, .. } => todo.push(*v),
                InstKind::Br(_) => {}
                kind if needed(kind) => kind.for_each_use(|v| todo.push(v)),
                _ => {}
            }
            for target in (0..kind.target_count()).filter_map(|n| kind.target(n)) {
                for (&param, &arg) in func.blocks[target.block].params.iter().zip(&target.args) {
                    passed[param].push(arg);
                }
            }
        }
    }
    while let Some(value) = todo.pop() {
        if std::mem::replace(&mut live[value], true) {
            continue;
        }
        match func.values[value].def {
            Def::Inst(inst) => func.insts[inst].kind.for_each_use(|v| todo.push(v)),
            Def::Param(..) => todo.append(&mut passed[value]),
        }
    }
    live
}

/// The slot that an address leads to, whatever was added to it.
fn slot_of(func: &Func, mut ptr: Value) -> Option<Slot> {
    loop {
        match func.def(ptr)? {
            InstKind::SlotAddr(slot) => return Some(*slot),
            InstKind::PtrAdd(of, ..) | InstKind::Refine(of, _) => ptr = *of,
            _ => return None,
        }
    }
}

/// Where an instruction writes, if writing there is all it does.
fn only_writes(func: &Func, inst: Inst) -> Option<Value> {
    match &func.insts[inst].kind {
        InstKind::Store { ptr, .. } => Some(*ptr),
        InstKind::MemSet { dst, .. }
        | InstKind::MemCopy { dst, .. }
        | InstKind::StrConst { dst, .. }
        | InstKind::StrCopy { dst, .. } => Some(*dst),
        _ => None,
    }
}

fn drop_dead_stores(func: &mut Func) {
    let mut read: SecondaryMap<Slot, bool> = SecondaryMap::new();
    for &block in &func.layout {
        for &inst in &func.blocks[block].insts {
            let data = &func.insts[inst];
            // Addresses are followed from where they are used.
            if matches!(data.kind, InstKind::PtrAdd(..) | InstKind::Refine(..)) {
                continue;
            }
            let mut written = only_writes(func, inst);
            data.kind.for_each_use(|v| {
                // Once as the destination, every further use reads or hands the address on.
                if written == Some(v) {
                    written = None;
                } else if let Some(slot) = slot_of(func, v) {
                    read[slot] = true;
                }
            });
        }
    }
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        let mut insts = std::mem::take(&mut func.blocks[block].insts);
        insts.retain(|&inst| {
            let slot = only_writes(func, inst).and_then(|ptr| slot_of(func, ptr));
            slot.is_none_or(|slot| read[slot])
        });
        func.blocks[block].insts = insts;
    }
}

/// Drops slots that nothing mentions and numbers the others anew.
fn drop_slots(func: &mut Func) {
    let mut used: SecondaryMap<Slot, bool> = SecondaryMap::new();
    for &inst in func.layout.iter().flat_map(|&b| &func.blocks[b].insts) {
        if let InstKind::SlotAddr(slot) = func.insts[inst].kind {
            used[slot] = true;
        }
    }
    if func.slots.keys().all(|s| used[s]) {
        return;
    }
    let mut numbers: SecondaryMap<Slot, PackedOption<Slot>> = SecondaryMap::new();
    let mut kept: PrimaryMap<Slot, SlotData> = PrimaryMap::new();
    for (slot, data) in std::mem::take(&mut func.slots) {
        if used[slot] {
            numbers[slot] = kept.push(data).into();
        }
    }
    func.slots = kept;
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        for k in 0..func.blocks[block].insts.len() {
            let inst = func.blocks[block].insts[k];
            if let InstKind::SlotAddr(slot) = &mut func.insts[inst].kind {
                *slot = numbers[*slot].expand().unwrap_or(*slot);
            }
        }
    }
}
