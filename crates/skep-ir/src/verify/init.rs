//! Stack bytes are written before a load or a helper reads them.
//!
//! The question is asked backwards from each read, so that it costs what lies between the read and the writes
//! before it and not the whole function for every slot.

use super::{Checker, Rule};
use crate::func::{Block, Inst, Slot, Storage, Value};
use crate::helpers::{Arg, helper};
use crate::inst::InstKind;
use cranelift_entity::SecondaryMap;
use std::collections::{BTreeMap, HashMap};

/// Bytes of a slot, one bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bytes(Vec<u64>);

impl Bytes {
    fn range(from: u32, to: u32) -> Self {
        let mut words = vec![0; (to as usize).div_ceil(64)];
        for byte in from..to {
            words[byte as usize / 64] |= 1 << (byte % 64);
        }
        Bytes(words)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|w| *w == 0)
    }

    fn remove(&mut self, other: &Bytes) {
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            *a &= !b;
        }
    }

    /// What of `self` is not in `other`, which then has it too.
    fn add_to(&self, other: &mut Bytes) -> Bytes {
        other.0.resize(other.0.len().max(self.0.len()), 0);
        let new = self.0.iter().zip(&other.0).map(|(a, b)| a & !b).collect();
        for (a, b) in self.0.iter().zip(&mut other.0) {
            *b |= a;
        }
        Bytes(new)
    }
}

/// What an instruction does to a slot.
#[derive(Clone)]
struct Touch {
    place: u32,
    inst: Inst,
    read: Option<Bytes>,
    written: Option<Bytes>,
}

/// Slots beyond the stack are not looked at: the compiler keeps larger ones elsewhere.
const MAX_SLOT: u32 = 512;

pub(super) fn check(c: &mut Checker<'_>) {
    let mut touches: SecondaryMap<Slot, BTreeMap<Block, Vec<Touch>>> = SecondaryMap::new();
    let layout = c.func.layout.clone();
    for &block in &layout {
        for (place, &inst) in c.func.blocks[block].insts.iter().enumerate() {
            collect(c, inst, |slot, read, written| {
                let touch = Touch { place: place as u32, inst, read, written };
                touches[slot].entry(block).or_default().push(touch);
            });
        }
    }
    for slot in c.func.slots.keys() {
        let by_block = std::mem::take(&mut touches[slot]);
        let mut demanded: HashMap<Block, Bytes> = HashMap::new();
        for (&block, list) in &by_block {
            for touch in list {
                if let Some(read) = &touch.read
                    && !written_before(c, &by_block, block, touch.place, read.clone(), &mut demanded)
                {
                    let name = c.func.slots[slot].name.clone();
                    let message = format!("it reads bytes of `{name}` that need not have been written");
                    c.at(Rule::Uninitialised, touch.inst, message);
                }
            }
        }
    }
}

/// Whether every path from the entry to a place writes the bytes. `demanded` has what was already asked at the
/// end of each block.
fn written_before(
    c: &Checker<'_>,
    touches: &BTreeMap<Block, Vec<Touch>>,
    block: Block,
    place: u32,
    bytes: Bytes,
    demanded: &mut HashMap<Block, Bytes>,
) -> bool {
    let entry = c.func.entry();
    let mut todo = vec![(block, place, bytes)];
    while let Some((block, place, mut bytes)) = todo.pop() {
        if let Some(list) = touches.get(&block) {
            for touch in list.iter().filter(|t| t.place < place) {
                if let Some(written) = &touch.written {
                    bytes.remove(written);
                }
            }
        }
        if bytes.is_empty() {
            continue;
        }
        if block == entry {
            return false;
        }
        for &pred in c.cfg.preds(block) {
            let asked = demanded.entry(pred).or_insert_with(|| Bytes(Vec::new()));
            let new = bytes.add_to(asked);
            if !new.is_empty() {
                todo.push((pred, u32::MAX, new));
            }
        }
    }
    true
}

/// Calls `f` with every slot that an instruction reads or writes and the bytes.
fn collect(c: &Checker<'_>, inst: Inst, mut f: impl FnMut(Slot, Option<Bytes>, Option<Bytes>)) {
    let data = &c.func.insts[inst];
    let mut touch = |ptr: Value, off: i64, len: Option<u32>, read: bool| {
        let root = c.root(ptr);
        let Some(InstKind::SlotAddr(slot)) = c.def(root.value) else { return };
        let size = c.func.slots[*slot].size;
        if size > MAX_SLOT || c.func.slots[*slot].storage == Storage::Scratch {
            return;
        }
        let from = root.off.and_then(|o| u32::try_from(o + off).ok());
        let bytes = match (from, len) {
            (Some(from), Some(len)) => Bytes::range(from.min(size), from.saturating_add(len).min(size)),
            // An unknown part: a read needs all of it, and a write is no help.
            _ if read => Bytes::range(0, size),
            _ => return,
        };
        if read { f(*slot, Some(bytes), None) } else { f(*slot, None, Some(bytes)) }
    };
    match &data.kind {
        InstKind::Load { ptr, off, .. } => {
            let len = data.result.expand().map(|r| c.func.ty(r).bytes());
            touch(*ptr, i64::from(*off), len, true);
        }
        InstKind::Store { ptr, off, val } => {
            touch(*ptr, i64::from(*off), Some(c.func.ty(*val).bytes()), false);
        }
        InstKind::Atomic { ptr, off, val, .. } | InstKind::CmpXchg { ptr, off, new: val, .. } => {
            touch(*ptr, i64::from(*off), Some(c.func.ty(*val).bytes()), true);
        }
        InstKind::Helper(id, args) => {
            let Some(helper) = helper(*id) else { return };
            let map = args.first().and_then(|&v| match c.def(v) {
                Some(InstKind::MapRef(m)) => Some(&c.module.maps[*m]),
                _ => None,
            });
            let len = |i: usize| {
                args.get(i + 1).and_then(|&v| c.func.as_const(v)).and_then(|n| u32::try_from(n).ok())
            };
            for (i, (&arg, &v)) in helper.args.iter().zip(args).enumerate() {
                match arg {
                    Arg::Key => touch(v, 0, map.map(|m| m.key_size), true),
                    Arg::Value => touch(v, 0, map.map(|m| m.value_size), true),
                    Arg::OutValue => touch(v, 0, map.map(|m| m.value_size), false),
                    Arg::In => touch(v, 0, len(i), true),
                    // With a length that is not constant the kernel wants all of the memory written before
                    // (`kernel/bpf/verifier.c`, `check_mem_size_reg`).
                    Arg::Out => touch(v, 0, len(i), len(i).is_none()),
                    Arg::OutFixed(n) => touch(v, 0, Some(n), false),
                    _ => {}
                }
            }
        }
        // What is called may write through the pointer; the kernel follows it there, and so does nothing here.
        InstKind::Call(_, args) | InstKind::Kfunc(_, args) => {
            for &v in args {
                touch(v, 0, Some(MAX_SLOT), false);
            }
        }
        _ => {}
    }
}
