//! Relaxation without long jumps: a jump that 16 bits may not reach goes through islands, one in every pool
//! between it and its target.
//!
//! A pool is a run of `goto`s in the code, one for each distinct target that far jumps have on its other
//! side, behind a `goto` that skips it unless nothing falls into it. Pools stand about [`SPACING`] slots
//! apart. With at most [`CAPACITY`] islands each, every distance fits:
//!
//! - a near jump (at most [`NEAR`] slots before relaxation) crosses at most two pools;
//! - a far jump reaches the next pool, every island the next pool, the last island the target: each time
//!   over one stretch of code between pools and at most two pools.
//!
//! Jumps keep their conditions, so nothing but pools is added.

use super::layout::{Layout, Link, short_offset};
use super::{AsmError, Subprog};
use crate::insn::Insn;

/// Slots between pools, before relaxation.
const SPACING: u32 = 12_000;
/// How far before its due place a pool may stand, where no skipping jump is needed.
const LOOK_BACK: u32 = 64;
/// Longest jump, before relaxation, that goes to its target directly.
const NEAR: u32 = 16_000;
/// Islands in a pool.
const CAPACITY: u32 = 8_000;

const REACH: u32 = i16::MAX as u32;
const POOL: u32 = CAPACITY + 1;
// `+ 1` and `+ 2` are for a 64-bit constant at the due place and for the slot that a distance starts behind.
const _: () = assert!(NEAR > SPACING + LOOK_BACK + 1, "a far jump crosses a pool");
const _: () = assert!(NEAR / (SPACING - LOOK_BACK) < 2 && NEAR + 2 * POOL < REACH, "near jumps reach");
const _: () = assert!(SPACING + LOOK_BACK + 2 + 2 * POOL < REACH, "pools reach each other");

/// A run of islands before the old slot `before`.
struct Pool {
    before: u32,
    /// Whether the instruction before it needs a jump over it.
    skipped: bool,
    islands: Vec<Island>,
    /// Position of the first island.
    start: u32,
}

/// One `goto` of a pool; islands of a pool are ascending by target.
struct Island {
    target: u32,
    /// Pool and index of the next island on the way; none for the last.
    next: Option<(usize, usize)>,
}

/// Inserts islands. Time is proportional to the program and the islands.
///
/// # Errors
/// More than [`CAPACITY`] targets are needed in one pool.
pub(super) fn relax(insns: &[Insn], jumps: &[Link], subprogs: &[Subprog]) -> Result<Layout, AsmError> {
    let mut pools = place(insns, subprogs);
    plan(&mut pools, insns.len(), jumps)?;
    let (mut out, position) = emit(insns, &mut pools);
    for jump in jumps {
        let at = position[jump.at as usize];
        let via = first_pool(&pools, jump).and_then(|p| {
            let index = pools[p].islands.binary_search_by_key(&jump.target, |i| i.target).ok()?;
            Some(pools[p].start + index as u32)
        });
        set_offset(&mut out, at, via.unwrap_or(position[jump.target as usize]))?;
    }
    for pool in &pools {
        for (island, at) in pool.islands.iter().zip(pool.start..) {
            let target = match island.next {
                Some((p, i)) => pools[p].start + i as u32,
                None => position[island.target as usize],
            };
            set_offset(&mut out, at, target)?;
        }
    }
    Ok(Layout { insns: out, position })
}

/// The distances above are proven to fit; should the proof be wrong, the program is refused, not miscompiled.
fn set_offset(out: &mut [Insn], at: u32, target: u32) -> Result<(), AsmError> {
    let error = AsmError::TooManyLongJumps { insn: at, limit: CAPACITY };
    out[at as usize].off = short_offset(at, target).ok_or(error)?;
    Ok(())
}

/// Places for pools, ascending. They are strictly within functions, because jumps never leave theirs.
fn place(insns: &[Insn], subprogs: &[Subprog]) -> Vec<Pool> {
    let mut pools = Vec::new();
    let ends = subprogs.iter().skip(1).map(|s| s.insn).chain([insns.len() as u32]);
    for (start, end) in subprogs.iter().map(|s| s.insn).zip(ends) {
        let mut due = start + SPACING;
        let mut quiet = None;
        let mut at = start;
        while at < end {
            let insn = insns[at as usize];
            at += insn.slots() as u32;
            if insn.is_terminator() {
                quiet = Some(at);
            }
            if at >= due && at < end {
                let free = quiet.filter(|&q| q + LOOK_BACK >= due);
                let before = free.unwrap_or(at);
                pools.push(Pool { before, skipped: free.is_none(), islands: Vec::new(), start: 0 });
                due = before + SPACING;
            }
        }
    }
    pools
}

fn is_far(jump: &Link) -> bool {
    jump.at.abs_diff(jump.target) > NEAR
}

/// The pool that a far jump goes to: the nearest in its direction.
fn first_pool(pools: &[Pool], jump: &Link) -> Option<usize> {
    let behind = pools.partition_point(|p| p.before <= jump.at);
    match is_far(jump) {
        false => None,
        true if jump.target > jump.at => Some(behind),
        true => behind.checked_sub(1),
    }
}

/// What far jumps a target has.
#[derive(Copy, Clone)]
struct Sources {
    /// The first of those before it.
    first: u32,
    /// The last of those behind it.
    last: u32,
}

/// Gives every target an island in each pool that far jumps to it cross.
fn plan(pools: &mut [Pool], len: usize, jumps: &[Link]) -> Result<(), AsmError> {
    let mut far: Vec<Option<Sources>> = vec![None; len];
    for jump in jumps.iter().filter(|j| is_far(j)) {
        let none = Sources { first: jump.target, last: jump.target };
        let sources = far[jump.target as usize].get_or_insert(none);
        sources.first = sources.first.min(jump.at);
        sources.last = sources.last.max(jump.at);
    }
    for (target, sources) in (0..).zip(far) {
        let Some(Sources { first, last }) = sources else { continue };
        // A jump and its target stand on different sides of a pool if one is below `before` and one is not.
        let after = |pools: &[Pool], at: u32| pools.partition_point(|p| p.before <= at);
        let here = after(pools, target);
        chain(pools, target, after(pools, first)..here)?;
        chain(pools, target, (here..after(pools, last)).rev())?;
    }
    Ok(())
}

/// Links an island in each of the pools to the next, in the direction of travel.
fn chain(pools: &mut [Pool], target: u32, on_the_way: impl Iterator<Item = usize>) -> Result<(), AsmError> {
    let mut previous: Option<(usize, usize)> = None;
    for p in on_the_way {
        let index = pools[p].islands.len();
        if index >= CAPACITY as usize {
            return Err(AsmError::TooManyLongJumps { insn: pools[p].before, limit: CAPACITY });
        }
        pools[p].islands.push(Island { target, next: None });
        if let Some((pool, island)) = previous {
            pools[pool].islands[island].next = Some((p, index));
        }
        previous = Some((p, index));
    }
    Ok(())
}

/// Copies the instructions with the pools between them; offsets are set later.
fn emit(insns: &[Insn], pools: &mut [Pool]) -> (Vec<Insn>, Vec<u32>) {
    let islands: usize = pools.iter().map(|p| p.islands.len() + 1).sum();
    let mut out = Vec::with_capacity(insns.len() + islands);
    let mut position = Vec::with_capacity(insns.len());
    let mut pending = pools.iter_mut().peekable();
    for (old, &insn) in insns.iter().enumerate() {
        if let Some(pool) = pending.next_if(|p| p.before as usize == old)
            && !pool.islands.is_empty()
        {
            if pool.skipped {
                // At most CAPACITY.
                out.push(Insn::goto(pool.islands.len() as i16));
            }
            pool.start = out.len() as u32;
            out.extend(pool.islands.iter().map(|_| Insn::goto(0)));
        }
        position.push(out.len() as u32);
        out.push(insn);
    }
    (out, position)
}
