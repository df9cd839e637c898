//! Where registers are live: per block by data flow, then as intervals with holes over the order of emission.
//!
//! Instruction number i reads at position 2i and writes at 2i + 1. An operand that is still read when the
//! destination is written is live through 2i + 1.

use super::mir::{MBlock, MFunc, MKind, Role, VReg};
use cranelift_entity::{EntityRef, SecondaryMap};
use skep_asm::RegSet;

/// Positions `start..end`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// Where a register is live and how much it is used.
#[derive(Clone, Debug, Default)]
pub(super) struct Interval {
    /// Ascending, apart from each other.
    pub(super) ranges: Vec<Range>,
    /// Uses and definitions, those in loops counted more.
    pub(super) uses: u32,
}

impl Interval {
    pub(super) fn start(&self) -> u32 {
        self.ranges.first().map_or(0, |r| r.start)
    }

    pub(super) fn end(&self) -> u32 {
        self.ranges.last().map_or(0, |r| r.end)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether it is live at a position.
    pub(super) fn covers(&self, position: u32) -> bool {
        let next = self.ranges.partition_point(|r| r.end <= position);
        self.ranges.get(next).is_some_and(|r| r.start <= position)
    }

    /// Whether two are ever live at once.
    pub(super) fn intersects(&self, other: &Interval) -> bool {
        let (mut a, mut b) = (self.ranges.as_slice(), other.ranges.as_slice());
        // Ranges that end before the other interval begins cannot meet it.
        a = &a[a.partition_point(|r| r.end <= other.start())..];
        b = &b[b.partition_point(|r| r.end <= self.start())..];
        while let (Some(x), Some(y)) = (a.first(), b.first()) {
            if x.end <= y.start {
                a = &a[1..];
            } else if y.end <= x.start {
                b = &b[1..];
            } else {
                return true;
            }
        }
        false
    }

    /// Extends it at its front; ranges come in descending order while it is built.
    fn prepend(&mut self, start: u32, end: u32) {
        match self.ranges.last_mut() {
            Some(front) if end >= front.start => {
                front.start = front.start.min(start);
                front.end = front.end.max(end);
            }
            _ => self.ranges.push(Range { start, end }),
        }
    }
}

/// Liveness of a function.
pub(super) struct Liveness {
    pub(super) intervals: SecondaryMap<VReg, Interval>,
    /// Number of the first instruction of each block, in order of emission.
    pub(super) starts: SecondaryMap<MBlock, u32>,
    /// Instructions that overwrite registers besides their destinations, ascending.
    pub(super) clobbers: Vec<(u32, RegSet)>,
    /// Instructions in all.
    pub(super) len: u32,
}

/// A set of registers for each block, as bits in one vector.
#[derive(Clone)]
struct Sets {
    words: usize,
    bits: Vec<u64>,
}

impl Sets {
    fn new(blocks: usize, registers: usize) -> Sets {
        let words = registers.div_ceil(64);
        Sets { words, bits: vec![0; blocks * words] }
    }

    fn of(&self, place: usize) -> &[u64] {
        &self.bits[place * self.words..(place + 1) * self.words]
    }

    fn of_mut(&mut self, place: usize) -> &mut [u64] {
        &mut self.bits[place * self.words..(place + 1) * self.words]
    }
}

fn has(set: &[u64], v: VReg) -> bool {
    set[v.index() / 64] & (1 << (v.index() % 64)) != 0
}

fn insert(set: &mut [u64], v: VReg) {
    set[v.index() / 64] |= 1 << (v.index() % 64);
}

fn remove(set: &mut [u64], v: VReg) {
    set[v.index() / 64] &= !(1 << (v.index() % 64));
}

fn members(set: &[u64]) -> impl Iterator<Item = VReg> + '_ {
    set.iter().enumerate().filter(|(_, word)| **word != 0).flat_map(|(i, &word)| {
        (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| VReg::new(i * 64 + bit))
    })
}

/// Registers of an instruction with their roles, uses first.
fn roles(kind: &mut MKind, out: &mut Vec<(VReg, Role)>) {
    out.clear();
    kind.registers(|v, role| out.push((*v, role)));
}

/// Registers that are live where each block ends, by the block's place in the order.
fn live_out(mf: &mut MFunc, order: &[MBlock]) -> Sets {
    let mut entering = Sets::new(order.len(), mf.vregs.len());
    let mut defined = entering.clone();
    let mut buffer = Vec::new();
    let mut places: SecondaryMap<MBlock, usize> = SecondaryMap::with_capacity(mf.blocks.len());
    for (place, &block) in order.iter().enumerate() {
        places[block] = place;
        let (uses, defs) = (entering.of_mut(place), defined.of_mut(place));
        for inst in &mut mf.blocks[block] {
            roles(&mut inst.kind, &mut buffer);
            for &(v, role) in &buffer {
                match role {
                    Role::Def => insert(defs, v),
                    Role::Use | Role::LateUse if !has(defs, v) => insert(uses, v),
                    Role::Use | Role::LateUse => {}
                }
            }
        }
    }
    let mut out = Sets::new(order.len(), mf.vregs.len());
    let mut changed = true;
    while changed {
        changed = false;
        for (place, &block) in order.iter().enumerate().rev() {
            let mut grown = false;
            let leaving = out.of_mut(place);
            for next in mf.successors(block) {
                for (to, from) in leaving.iter_mut().zip(entering.of(places[next])) {
                    grown |= from & !*to != 0;
                    *to |= from;
                }
            }
            if grown {
                changed = true;
                let defs = defined.of(place);
                for ((to, from), defs) in entering.of_mut(place).iter_mut().zip(out.of(place)).zip(defs) {
                    *to |= from & !defs;
                }
            }
        }
    }
    out
}

/// Drops instructions that only write registers nobody reads, then finds intervals.
pub(super) fn analyse(mf: &mut MFunc) -> Liveness {
    let order = mf.order.clone();
    let mut out = live_out(mf, &order);
    let mut buffer = Vec::new();
    let mut dropped = false;
    for (place, &block) in order.iter().enumerate() {
        let mut live = out.of(place).to_vec();
        let mut dead = Vec::new();
        for (at, inst) in mf.blocks[block].iter_mut().enumerate().rev() {
            roles(&mut inst.kind, &mut buffer);
            if is_removable(&inst.kind) && buffer.iter().all(|&(v, role)| role != Role::Def || !has(&live, v))
            {
                dead.push(at);
                continue;
            }
            for &(v, _) in buffer.iter().filter(|(_, role)| *role == Role::Def) {
                remove(&mut live, v);
            }
            for &(v, _) in buffer.iter().filter(|(_, role)| *role != Role::Def) {
                insert(&mut live, v);
            }
        }
        if !dead.is_empty() {
            dropped = true;
            let mut at = 0;
            mf.blocks[block].retain(|_| {
                at += 1;
                if dead.last() == Some(&(at - 1)) {
                    dead.pop();
                    return false;
                }
                true
            });
        }
    }
    if dropped {
        // What was dropped may have kept others alive: once more for exact intervals.
        out = live_out(mf, &order);
    }
    build(mf, &order, &out)
}

fn is_removable(kind: &MKind) -> bool {
    matches!(
        kind,
        MKind::Make(..)
            | MKind::Copy(..)
            | MKind::Alu { .. }
            | MKind::Neg { .. }
            | MKind::Swap { .. }
            | MKind::Zext32 { .. }
            | MKind::Movsx { .. }
            | MKind::Load { .. }
            | MKind::SetCond { .. }
            | MKind::Select { .. }
    )
}

fn build(mf: &mut MFunc, order: &[MBlock], out: &Sets) -> Liveness {
    let mut starts = SecondaryMap::new();
    let mut clobbers = Vec::new();
    let mut len = 0;
    for &block in order {
        starts[block] = len;
        for inst in &mf.blocks[block] {
            let set = inst.kind.clobbers();
            if !set.is_empty() {
                clobbers.push((len, set));
            }
            len += 1;
        }
    }
    let depth = loop_depth(mf, order);
    let mut intervals: SecondaryMap<VReg, Interval> = SecondaryMap::with_capacity(mf.vregs.len());
    let mut buffer = Vec::new();
    for (place, &block) in order.iter().enumerate().rev() {
        let first = starts[block];
        let count = mf.blocks[block].len() as u32;
        let (begin, end) = (2 * first, 2 * (first + count));
        let cost = 10u32.saturating_pow(depth[block].min(4));
        for v in members(out.of(place)) {
            intervals[v].prepend(begin, end);
        }
        for (i, inst) in mf.blocks[block].iter_mut().enumerate().rev() {
            let at = 2 * (first + i as u32);
            roles(&mut inst.kind, &mut buffer);
            for &(v, _) in buffer.iter().filter(|(_, role)| *role == Role::Def) {
                let interval = &mut intervals[v];
                interval.uses = interval.uses.saturating_add(cost);
                match interval.ranges.last_mut() {
                    Some(front) if front.start <= at + 1 && at + 1 < front.end => front.start = at + 1,
                    _ => interval.prepend(at + 1, at + 2),
                }
            }
            for &(v, role) in buffer.iter().filter(|(_, role)| *role != Role::Def) {
                let interval = &mut intervals[v];
                interval.uses = interval.uses.saturating_add(cost);
                interval.prepend(begin, if role == Role::LateUse { at + 2 } else { at + 1 });
            }
        }
    }
    for interval in intervals.values_mut() {
        interval.ranges.reverse();
    }
    Liveness { intervals, starts, clobbers, len }
}

/// How many jumps backwards span each block: close enough to loop nesting for weighing uses.
fn loop_depth(mf: &MFunc, order: &[MBlock]) -> SecondaryMap<MBlock, u32> {
    let mut place: SecondaryMap<MBlock, usize> = SecondaryMap::new();
    for (i, &block) in order.iter().enumerate() {
        place[block] = i;
    }
    // Differences at the ends of each span, summed up afterwards: linear in the number of jumps.
    let mut delta = vec![0i64; order.len() + 1];
    for (i, &block) in order.iter().enumerate() {
        for next in mf.successors(block) {
            if place[next] <= i {
                delta[place[next]] += 1;
                delta[i + 1] -= 1;
            }
        }
    }
    let mut depth = SecondaryMap::new();
    let mut sum = 0;
    for (i, &block) in order.iter().enumerate() {
        sum += delta[i];
        depth[block] = u32::try_from(sum).unwrap_or(0);
    }
    depth
}
