//! Register allocation: linear scan over intervals with holes.
//!
//! An interval gets one register for all its life, so that a register that the verifier has seen compared
//! is the one that is used. If there are not enough registers, the intervals that are used least for their
//! length are spilled: each of their uses gets a register of its own for one instruction, and the scan
//! starts over.

use super::live::{Interval, Liveness};
use super::mir::{Dst, MFunc, MKind, Opd, Src, VReg};
use super::spill;
use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use skep_asm::{Reg, RegSet};

/// How much more a register with checked bounds is worth than another one.
const BOUNDED: f64 = 1000.0;

/// The register of each virtual register; `None` where it is never live.
pub(super) type Assignment = SecondaryMap<VReg, Option<Reg>>;

/// Order in which registers are tried for an interval that lives across no call, and for one that does.
const CALLER_SAVED_FIRST: [Reg; 10] =
    [Reg::R0, Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5, Reg::R6, Reg::R7, Reg::R8, Reg::R9];

/// Assigns registers, spilling into new frame objects where there are too few.
pub(super) fn allocate(mf: &mut MFunc) -> (Assignment, Liveness) {
    // Each round spills at least one interval that is not yet the smallest possible, so this ends; the bound
    // only guards against a defect here.
    const ROUNDS: usize = 64;
    for _ in 0..ROUNDS {
        let live = super::live::analyse(mf);
        let hints = Hints::of(mf);
        match scan(mf, &live, &hints) {
            Ok(assignment) => return (assignment, live),
            Err(spilled) => spill::rewrite(mf, &spilled),
        }
    }
    unreachable!("spilling everything leaves at most five registers live at an instruction")
}

/// Registers that would save a move, by virtual register.
struct Hints {
    fixed: SecondaryMap<VReg, Option<Reg>>,
    partners: SecondaryMap<VReg, [PackedOption<VReg>; 2]>,
}

impl Hints {
    fn of(mf: &MFunc) -> Hints {
        let mut hints = Hints { fixed: SecondaryMap::new(), partners: SecondaryMap::new() };
        for inst in mf.order.iter().flat_map(|&b| &mf.blocks[b]) {
            hints.note(&inst.kind);
        }
        hints
    }

    fn pair(&mut self, a: VReg, b: VReg) {
        if a == b {
            return;
        }
        for (x, y) in [(a, b), (b, a)] {
            if let Some(free) = self.partners[x].iter_mut().find(|p| p.is_none()) {
                *free = y.into();
            }
        }
    }

    fn note(&mut self, kind: &MKind) {
        match kind {
            MKind::Entry(params) => {
                for (i, &v) in params.iter().enumerate() {
                    self.fixed[v] = argument(i);
                }
            }
            MKind::Copy(dst, src)
            | MKind::Zext32 { dst, src }
            | MKind::Movsx { dst, src, .. }
            | MKind::Neg { dst, src, .. }
            | MKind::Swap { dst, src, .. }
            | MKind::Alu { dst, lhs: src, .. }
            | MKind::Select { dst, then: src, .. }
            | MKind::Atomic { val: src, dst: Some(dst), .. } => self.pair(*dst, *src),
            MKind::Moves(moves) => {
                for (dst, src) in moves {
                    if let (Dst::Reg(d), Src::Reg(s)) = (dst, src) {
                        self.pair(*d, *s);
                    }
                }
            }
            MKind::Call { args, dst, .. } => {
                for (i, arg) in args.iter().enumerate() {
                    if let Src::Reg(v) = arg {
                        self.fixed[*v] = argument(i);
                    }
                }
                if let Some(dst) = dst {
                    self.fixed[*dst].get_or_insert(Reg::R0);
                }
            }
            MKind::Ret(Some(Src::Reg(v))) => {
                self.fixed[*v].get_or_insert(Reg::R0);
            }
            _ => {}
        }
    }
}

/// The register of an argument by its place.
pub(super) fn argument(place: usize) -> Option<Reg> {
    Reg::new(place as u8 + 1).filter(|r| r.number() <= 5)
}

/// Registers that an interval cannot have because something overwrites them while it lives.
fn excluded(interval: &Interval, clobbers: &[(u32, RegSet)]) -> RegSet {
    let first = clobbers.partition_point(|(inst, _)| 2 * inst < interval.start());
    let mut out = RegSet::EMPTY;
    for &(inst, set) in &clobbers[first..] {
        let write = 2 * inst + 1;
        if write >= interval.end() {
            break;
        }
        // Live before and still live when the instruction writes: it would be overwritten.
        if interval.covers(write) && interval.covers(write - 1) {
            out = out.union(set);
            if RegSet::CALLER_SAVED.minus(out).is_empty() {
                break;
            }
        }
    }
    out
}

fn scan(mf: &MFunc, live: &Liveness, hints: &Hints) -> Result<Assignment, Vec<VReg>> {
    let mut order: Vec<VReg> = mf.vregs.keys().filter(|&v| !live.intervals[v].is_empty()).collect();
    order.sort_by_key(|&v| (live.intervals[v].start(), v));
    let mut assignment: Assignment = SecondaryMap::with_capacity(mf.vregs.len());
    // Intervals that hold each register and have not ended yet.
    let mut holders: Vec<Vec<VReg>> = vec![Vec::new(); Reg::COUNT];
    let mut spilled = Vec::new();
    for v in order {
        let interval = &live.intervals[v];
        for list in &mut holders {
            list.retain(|&h| live.intervals[h].end() > interval.start());
        }
        let barred = excluded(interval, &live.clobbers);
        let allowed = |r: Reg| !barred.contains(r);
        let is_free = |r: Reg, holders: &[Vec<VReg>]| {
            holders[r.number() as usize].iter().all(|&h| !live.intervals[h].intersects(interval))
        };
        let hinted = hints.partners[v]
            .iter()
            .filter_map(|p| p.expand())
            .filter_map(|p| assignment[p])
            .chain(hints.fixed[v])
            .find(|&r| allowed(r) && is_free(r, &holders));
        let chosen =
            hinted.or_else(|| CALLER_SAVED_FIRST.into_iter().find(|&r| allowed(r) && is_free(r, &holders)));
        if let Some(reg) = chosen {
            assignment[v] = Some(reg);
            holders[reg.number() as usize].push(v);
            continue;
        }
        // Evict what is worth least: the holders of one register, or this interval itself.
        let worth = |x: VReg| {
            let bounded = if mf.bounded[x] { BOUNDED } else { 1.0 };
            bounded * weight(&live.intervals[x], mf.vregs[x])
        };
        let victim = CALLER_SAVED_FIRST
            .into_iter()
            .filter(|&r| allowed(r))
            .map(|r| {
                let in_way = holders[r.number() as usize].iter().copied();
                let in_way: Vec<VReg> = in_way.filter(|&h| live.intervals[h].intersects(interval)).collect();
                let cost = in_way.iter().map(|&h| worth(h)).fold(0.0, f64::max);
                (cost, r, in_way)
            })
            .min_by(|a, b| a.0.total_cmp(&b.0));
        match victim {
            Some((cost, reg, in_way)) if cost < worth(v) => {
                let list = &mut holders[reg.number() as usize];
                list.retain(|h| !in_way.contains(h));
                list.push(v);
                assignment[v] = Some(reg);
                spilled.extend(in_way);
            }
            _ => spilled.push(v),
        }
    }
    if spilled.is_empty() {
        return Ok(assignment);
    }
    spilled.sort_unstable();
    spilled.dedup();
    Err(spilled)
}

/// Uses for its length; what spilling made lives for one instruction and cannot be spilled again.
fn weight(interval: &Interval, unspillable: bool) -> f64 {
    if unspillable {
        return f64::INFINITY;
    }
    let length: u32 = interval.ranges.iter().map(|r| r.end - r.start).sum();
    f64::from(interval.uses) / f64::from(length.max(1))
}

/// A register that holds nothing at an instruction and is not busy in it otherwise: for temporaries of moves.
pub(super) fn free_at(assignment: &Assignment, live: &Liveness, inst: u32, busy: RegSet) -> Option<Reg> {
    let mut taken = busy;
    for (v, interval) in live.intervals.iter() {
        if let Some(reg) = assignment[v]
            && (interval.covers(2 * inst) || interval.covers(2 * inst + 1))
        {
            taken = taken.with(reg);
        }
    }
    CALLER_SAVED_FIRST.into_iter().find(|&r| !taken.contains(r))
}

/// The operand of an instruction once registers are assigned.
pub(super) fn operand(opd: Opd, assignment: &Assignment) -> skep_asm::Operand {
    match opd {
        Opd::Imm(n) => skep_asm::Operand::Imm(n),
        Opd::Reg(v) => skep_asm::Operand::Reg(reg(v, assignment)),
    }
}

/// The register of a virtual register that is live.
pub(super) fn reg(v: VReg, assignment: &Assignment) -> Reg {
    assignment[v].expect("every register that an instruction names is live there and was assigned")
}
