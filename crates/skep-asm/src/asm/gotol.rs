//! Relaxation with long jumps: a jump that 16 bits do not reach becomes a `gotol`.
//!
//! | jump | replacement |
//! |---|---|
//! | `goto T` | `gotol T` |
//! | `if a < b goto T` | `if a >= b goto +1; gotol T` |
//! | `if a & b goto T`, `may_goto T` (no inverse) | `if a & b goto +1; goto +1; gotol T` |

use super::layout::{Layout, Link, long_offset, short_offset};
use crate::insn::Insn;
use crate::kind::Kind;
use crate::op::code;

/// How often the set of long jumps is narrowed. The first round takes every jump for long; each further
/// round can only take jumps out, so any number of rounds is correct, and more than three rarely help.
const ROUNDS: usize = 3;

/// Replaces jumps that are too long. Time is proportional to the program.
pub(super) fn relax(insns: &[Insn], jumps: &[Link]) -> Layout {
    let mut long = vec![true; jumps.len()];
    for _ in 0..ROUNDS {
        let position = positions(insns, jumps, &long);
        for (jump, long) in jumps.iter().zip(&mut long) {
            // The target of a longer layout is at least as far away as in the final one, so a jump that
            // reaches it here reaches it there.
            let (at, target) = (position[jump.at as usize], position[jump.target as usize]);
            *long = short_offset(at, target).is_none();
        }
    }
    let position = positions(insns, jumps, &long);
    Layout { insns: emit(insns, jumps, &long, &position), position }
}

/// The slots that the long form of a jump takes beyond the short one.
fn growth(insn: Insn) -> u32 {
    if insn.op == code::GOTO {
        0
    } else if inverted(insn).is_some() {
        1
    } else {
        2
    }
}

/// The same comparison with the opposite condition, if there is one.
fn inverted(insn: Insn) -> Option<Insn> {
    match insn.kind() {
        Ok(Kind::Branch { width, cond, lhs, rhs, .. }) => {
            Some(Insn::branch(width, cond.inverse()?, lhs, rhs, 1))
        }
        _ => None,
    }
}

fn positions(insns: &[Insn], jumps: &[Link], long: &[bool]) -> Vec<u32> {
    let mut position = Vec::with_capacity(insns.len());
    let mut shift = 0;
    let mut pending = jumps.iter().zip(long).peekable();
    for old in 0..insns.len() as u32 {
        position.push(old + shift);
        if let Some((_, &long)) = pending.next_if(|(jump, _)| jump.at == old)
            && long
        {
            shift += growth(insns[old as usize]);
        }
    }
    position
}

fn emit(insns: &[Insn], jumps: &[Link], long: &[bool], position: &[u32]) -> Vec<Insn> {
    let mut out = Vec::with_capacity(insns.len() + 2 * jumps.len());
    let mut pending = jumps.iter().zip(long).peekable();
    for (old, &insn) in insns.iter().enumerate() {
        let Some((jump, &long)) = pending.next_if(|(jump, _)| jump.at as usize == old) else {
            out.push(insn);
            continue;
        };
        let target = position[jump.target as usize];
        if !long {
            let off = short_offset(out.len() as u32, target);
            let off = off.expect("a jump left short fits: no round adds to the set of long ones");
            out.push(Insn { off, ..insn });
            continue;
        }
        if insn.op != code::GOTO {
            match inverted(insn) {
                Some(inverse) => out.push(inverse),
                None => out.extend([Insn { off: 1, ..insn }, Insn::goto(1)]),
            }
        }
        out.push(Insn::gotol(long_offset(out.len() as u32, target)));
    }
    out
}
