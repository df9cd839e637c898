//! Layout of the frame: objects whose lives do not overlap share bytes.
//!
//! An object lives from where it is first touched to where it is last touched, on every path between the
//! two. Where its address is kept in memory, later touches cannot be seen and it lives everywhere.

use super::live::{Interval, Liveness, Range};
use super::mir::{Cheap, Dst, MBlock, MFunc, MKind, Object, Opd, Role, Src, VReg};
use cranelift_entity::{EntityRef, SecondaryMap};
use skep_asm::AluOp;

/// Bytes of stack that a function and everything it calls may use together (`MAX_BPF_STACK` of
/// include/linux/filter.h).
pub(super) const MAX_STACK: u32 = 512;

/// Where the objects of a frame lie.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// Offset from the frame pointer, negative; `None` for objects that nothing touches.
    pub(super) offsets: SecondaryMap<Object, Option<i32>>,
    /// Bytes in all, a multiple of 8.
    pub(super) size: u32,
}

/// Lays the frame out: large objects first, each at the lowest place where it fits.
pub(super) fn layout(mf: &mut MFunc, live: &Liveness) -> Frame {
    if mf.objects.is_empty() {
        return Frame::default();
    }
    let lives = object_lives(mf, live);
    let mut order: Vec<Object> = mf.objects.keys().filter(|&o| !lives[o].is_empty()).collect();
    order.sort_by_key(|&o| (std::cmp::Reverse(mf.objects[o].size), o));
    let mut frame = Frame::default();
    // Bytes below the frame pointer: (top, bottom, object), counted downwards.
    let mut placed: Vec<(u32, u32, Object)> = Vec::new();
    for object in order {
        let size = mf.objects[object].size.next_multiple_of(8).max(8);
        let mut in_way: Vec<(u32, u32)> = placed
            .iter()
            .filter(|&&(_, _, other)| lives[other].intersects(&lives[object]))
            .map(|&(top, bottom, _)| (top, bottom))
            .collect();
        in_way.sort_unstable();
        let mut top = 0;
        for (other_top, other_bottom) in in_way {
            if top + size <= other_top {
                break;
            }
            top = top.max(other_bottom);
        }
        let bottom = top + size;
        placed.push((top, bottom, object));
        frame.offsets[object] = Some(-(bottom as i32));
        frame.size = frame.size.max(bottom);
    }
    frame
}

/// What is known about the registers that hold addresses of objects.
struct Addresses {
    /// The object that a register points into.
    into: SecondaryMap<VReg, Option<Object>>,
    /// Objects whose address was kept in memory, or moved where it cannot be followed.
    escaped: Vec<Object>,
}

fn addresses(mf: &MFunc) -> Addresses {
    let mut out = Addresses { into: SecondaryMap::new(), escaped: Vec::new() };
    // Definitions come before uses in order of emission but for jumps backwards, along which only block
    // parameters are moved; those count as escapes.
    for inst in mf.order.iter().flat_map(|&b| &mf.blocks[b]) {
        match &inst.kind {
            MKind::Make(dst, Cheap::Frame(object, _)) => out.into[*dst] = Some(*object),
            MKind::Copy(dst, src) | MKind::Alu { op: AluOp::Add, dst, lhs: src, .. } => {
                if let Some(object) = out.into[*src] {
                    out.into[*dst] = Some(object);
                }
            }
            MKind::Store { val: Opd::Reg(v), .. } | MKind::Atomic { val: v, .. } => {
                out.escaped.extend(out.into[*v]);
            }
            MKind::Moves(moves) => {
                for (dst, src) in moves {
                    match (dst, src) {
                        (_, Src::Cheap(Cheap::Frame(object, _))) => out.escaped.push(*object),
                        (Dst::Reg(_) | Dst::Spilled(_), Src::Reg(v)) => out.escaped.extend(out.into[*v]),
                        _ => {}
                    }
                }
            }
            MKind::Select { then, other, .. } => {
                out.escaped.extend(out.into[*then]);
                if let Opd::Reg(v) = other {
                    out.escaped.extend(out.into[*v]);
                }
            }
            _ => {}
        }
    }
    out
}

/// Objects that an instruction touches, through the frame pointer or through a register.
fn touched(kind: &mut MKind, addresses: &Addresses, out: &mut Vec<Object>) {
    out.clear();
    kind.objects(|o| out.push(o));
    kind.registers(|v, role| {
        if role != Role::Def
            && let Some(object) = addresses.into[*v]
        {
            out.push(object);
        }
    });
}

fn object_lives(mf: &mut MFunc, live: &Liveness) -> SecondaryMap<Object, Interval> {
    let addresses = addresses(mf);
    let words = mf.objects.len().div_ceil(64);
    let empty = || vec![0u64; words];
    let order = mf.order.clone();
    // First and last touch in each block, as instruction numbers.
    let mut touches: SecondaryMap<MBlock, Vec<(Object, u32, u32)>> = SecondaryMap::new();
    let mut here: SecondaryMap<MBlock, Vec<u64>> = SecondaryMap::new();
    let mut buffer = Vec::new();
    for &block in &order {
        let mut bits = empty();
        let mut list: Vec<(Object, u32, u32)> = Vec::new();
        for (i, inst) in mf.blocks[block].iter_mut().enumerate() {
            let at = live.starts[block] + i as u32;
            touched(&mut inst.kind, &addresses, &mut buffer);
            for &object in &buffer {
                bits[object.index() / 64] |= 1 << (object.index() % 64);
                match list.iter_mut().find(|(o, _, _)| *o == object) {
                    Some((_, _, last)) => *last = at,
                    None => list.push((object, at, at)),
                }
            }
        }
        touches[block] = list;
        here[block] = bits;
    }
    let (before, after) = reach(mf, &order, &here, words);
    let mut lives: SecondaryMap<Object, Interval> = SecondaryMap::with_capacity(mf.objects.len());
    let bit = |bits: &[u64], o: Object| bits[o.index() / 64] & (1 << (o.index() % 64)) != 0;
    for &block in &order {
        let begin = 2 * live.starts[block];
        let end = begin + 2 * mf.blocks[block].len() as u32;
        for object in mf.objects.keys() {
            let touch = touches[block].iter().find(|(o, _, _)| *o == object);
            let (enters, leaves) = (bit(&before[block], object), bit(&after[block], object));
            let range = match touch {
                Some(&(_, first, last)) => Some(Range {
                    start: if enters { begin } else { 2 * first },
                    end: if leaves { end } else { 2 * last + 2 },
                }),
                None if enters && leaves => Some(Range { start: begin, end }),
                None => None,
            };
            if let Some(range) = range {
                let ranges = &mut lives[object].ranges;
                match ranges.last_mut() {
                    Some(last) if last.end == range.start => last.end = range.end,
                    _ => ranges.push(range),
                }
            }
        }
    }
    for object in addresses.escaped {
        lives[object].ranges = vec![Range { start: 0, end: 2 * live.len }];
    }
    lives
}

type Sets = SecondaryMap<MBlock, Vec<u64>>;

/// For each block the objects touched on some way to it, and those touched on some way from it.
fn reach(mf: &MFunc, order: &[MBlock], here: &Sets, words: usize) -> (Sets, Sets) {
    let mut before: Sets = SecondaryMap::with_default(vec![0; words]);
    let mut after: Sets = SecondaryMap::with_default(vec![0; words]);
    let mut changed = true;
    while changed {
        changed = false;
        for &block in order {
            let flow: Vec<u64> = before[block].iter().zip(&here[block]).map(|(a, b)| a | b).collect();
            for next in mf.successors(block) {
                changed |= merge(&mut before[next], &flow);
            }
        }
        for &block in order.iter().rev() {
            for next in mf.successors(block) {
                let flow: Vec<u64> = after[next].iter().zip(&here[next]).map(|(a, b)| a | b).collect();
                changed |= merge(&mut after[block], &flow);
            }
        }
    }
    (before, after)
}

fn merge(into: &mut [u64], from: &[u64]) -> bool {
    let mut changed = false;
    for (a, b) in into.iter_mut().zip(from) {
        changed |= *b & !*a != 0;
        *a |= b;
    }
    changed
}

/// The frame object and offset that an access with a frame base reaches.
pub(super) fn offset(frame: &Frame, object: Object, off: i32) -> i32 {
    frame.offsets[object].expect("every object that an instruction touches was placed") + off
}
