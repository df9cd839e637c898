//! From where to where slots are in use: an estimate that is never too short.
//!
//! Instructions are numbered in reverse postorder; a slot lives from its first to its last touch, and through
//! every loop in which it is touched. Code generation shares the bytes of a frame by its own, finer lives.

use super::groups::is_frame;
use crate::cfg::Cfg;
use crate::func::{Block, Def, Func, Slot, Value};
use crate::inst::InstKind;
use cranelift_entity::SecondaryMap;

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Lives {
    /// First and last touch of each slot, both included.
    ranges: SecondaryMap<Slot, Option<(u32, u32)>>,
    mentioned: SecondaryMap<Slot, bool>,
}

/// The slots whose address is taken anywhere; the others are left over.
pub(super) fn mentioned(func: &Func) -> SecondaryMap<Slot, bool> {
    let mut out: SecondaryMap<Slot, bool> = SecondaryMap::new();
    if !func.slots.is_empty() {
        for &inst in func.layout.iter().flat_map(|&b| &func.blocks[b].insts) {
            if let InstKind::SlotAddr(slot) = func.insts[inst].kind {
                out[slot] = true;
            }
        }
    }
    out
}

impl Lives {
    pub(super) fn of(func: &Func) -> Lives {
        let mut lives = Lives { mentioned: mentioned(func), ..Lives::default() };
        if func.slots.is_empty() {
            return lives;
        }
        let cfg = Cfg::new(func);
        let mut starts: SecondaryMap<Block, u32> = SecondaryMap::new();
        let mut number = 0;
        for &block in cfg.order() {
            starts[block] = number;
            number += func.blocks[block].insts.len() as u32;
        }
        let loops = loops(func, &cfg, &starts);
        for &block in cfg.order() {
            for (at, &inst) in (starts[block]..).zip(&func.blocks[block].insts) {
                let kind = &func.insts[inst].kind;
                let whole = is_captured(kind);
                kind.for_each_use(|v| {
                    let Some(origin) = origin(func, v) else { return };
                    match origin {
                        // A pointer to one of several slots: where it goes is not followed.
                        Origin::Slot(slot) if !whole && !kind.is_terminator() => lives.touch(slot, at, at),
                        Origin::Slot(slot) => lives.touch(slot, 0, number),
                        Origin::Unknown => {}
                    }
                });
            }
        }
        for (from, to) in loops {
            for range in lives.ranges.values_mut().flatten() {
                if range.0 <= to && from <= range.1 {
                    *range = (range.0.min(from), range.1.max(to));
                }
            }
        }
        lives
    }

    fn touch(&mut self, slot: Slot, from: u32, to: u32) {
        let range = self.ranges[slot].get_or_insert((from, to));
        *range = (range.0.min(from), range.1.max(to));
    }

    pub(super) fn is_mentioned(&self, slot: Slot) -> bool {
        self.mentioned[slot]
    }

    pub(super) fn overlap(&self, a: Slot, b: Slot) -> bool {
        match (self.ranges[a], self.ranges[b]) {
            (Some(a), Some(b)) => a.0 <= b.1 && b.0 <= a.1,
            _ => false,
        }
    }

    /// The most bytes that slots take together at one place.
    pub(super) fn peak(&self, func: &Func, mut bytes: impl FnMut(Slot) -> u32) -> u32 {
        let mut events: Vec<(u32, bool, u32)> = Vec::new();
        for slot in func.slots.keys() {
            if let Some((from, to)) = self.ranges[slot] {
                let size = bytes(slot);
                events.push((from, false, size));
                events.push((to, true, size));
            }
        }
        // Beginnings before ends at one instruction.
        events.sort_unstable();
        let (mut now, mut most) = (0u32, 0);
        for (_, ends, size) in events {
            if ends {
                now -= size;
            } else {
                now += size;
                most = most.max(now);
            }
        }
        most
    }
}

/// Whether an instruction keeps the addresses that it is given, so that later uses are not seen.
fn is_captured(kind: &InstKind) -> bool {
    matches!(kind, InstKind::ForEach { .. } | InstKind::ForRange { .. } | InstKind::Store { .. })
}

enum Origin {
    Slot(Slot),
    Unknown,
}

/// What a frame pointer was made from.
fn origin(func: &Func, mut value: Value) -> Option<Origin> {
    if !is_frame(func.ty(value)) {
        return None;
    }
    loop {
        let Def::Inst(inst) = func.values[value].def else { return Some(Origin::Unknown) };
        match &func.insts[inst].kind {
            InstKind::SlotAddr(slot) => return Some(Origin::Slot(*slot)),
            InstKind::PtrAdd(from, ..) | InstKind::Refine(from, _) => value = *from,
            _ => return Some(Origin::Unknown),
        }
    }
}

/// First and last instruction of every loop.
fn loops(func: &Func, cfg: &Cfg, starts: &SecondaryMap<Block, u32>) -> Vec<(u32, u32)> {
    let mut out: Vec<(u32, u32)> = Vec::new();
    for &block in cfg.order() {
        for &pred in cfg.preds(block) {
            let place = |b| cfg.place(b).unwrap_or(0);
            if place(pred) >= place(block) {
                let end = starts[pred] + func.blocks[pred].insts.len() as u32;
                out.push((starts[block], end.saturating_sub(1)));
            }
        }
    }
    // Inner loops first, so that one that is stretched reaches the outer ones it touches.
    out.sort_by_key(|&(from, to)| (to - from, from));
    out
}
