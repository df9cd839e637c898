//! Positions of instructions and distances between them.

use crate::insn::Insn;

/// A jump or call and where it leads, both as positions before relaxation.
#[derive(Copy, Clone, Debug)]
pub(super) struct Link {
    pub(super) at: u32,
    pub(super) target: u32,
}

/// A program whose instructions have moved apart.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) insns: Vec<Insn>,
    /// Where each old slot, or the sequence that replaced it, now stands.
    pub(super) position: Vec<u32>,
}

/// The offset field of an instruction at `at` that jumps to `target`, if 16 bits hold it.
pub(super) fn short_offset(at: u32, target: u32) -> Option<i16> {
    i16::try_from(long_offset(at, target)).ok()
}

/// Slots from behind `at` to `target`; both are far below 2³¹.
pub(super) fn long_offset(at: u32, target: u32) -> i32 {
    target as i32 - at as i32 - 1
}

/// Sets the offsets of all jumps, or says that one does not fit.
pub(super) fn patch_short(insns: &mut [Insn], jumps: &[Link]) -> bool {
    for jump in jumps {
        let Some(off) = short_offset(jump.at, jump.target) else { return false };
        insns[jump.at as usize].off = off;
    }
    true
}
