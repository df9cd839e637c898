//! Copies, fills and comparisons of memory.

use super::{Lowering, int};
use crate::func::{Func, Inst, Value};
use crate::inst::{BinOp, CmpOp, InstKind, Target};
use crate::kernel::Feature;
use crate::module::Module;
use crate::passes::rewrite::{Fate, Rewriter};
use crate::types::{PtrClass, Ty};

/// Bytes up to which memory is gone through without a loop.
pub(super) const UNROLLED: u32 = 256;

/// Bytes of an iteration of a loop that copies or fills.
const STRIDE: u32 = 32;

/// Comparisons of so many pieces at most do without branches.
const BRANCH_FREE: usize = 4;

/// What an address is known to be a multiple of: 1, 2, 4 or 8. It matters on the stack alone, where the verifier
/// allows aligned accesses only. `kept` is what it is known of addresses that were kept in memory.
pub(super) fn alignment(func: &Func, ptr: Value, kept: u32) -> u32 {
    let is_frame = |v: Value| matches!(func.ty(v).as_ptr().map(|p| p.class), Some(PtrClass::Frame));
    if !is_frame(ptr) {
        return 8;
    }
    let mut at = ptr;
    let mut off = 0i64;
    loop {
        match func.def(at) {
            Some(InstKind::PtrAdd(of, by, None)) => {
                off = off.wrapping_add(i64::from(*by));
                at = *of;
            }
            Some(InstKind::Refine(of, _)) => at = *of,
            Some(InstKind::SlotAddr(slot)) => {
                let own = func.slots[*slot].align.clamp(1, 8);
                return own.min(1 << off.trailing_zeros().min(3));
            }
            Some(InstKind::Load { .. }) => return kept.min(1 << off.trailing_zeros().min(3)),
            _ => return 1,
        }
    }
}

/// What all addresses on the stack that are kept in memory are a multiple of: callbacks find those of the
/// variables that they use in a structure.
pub(super) fn kept_alignment(module: &Module) -> u32 {
    let mut least = 8;
    for func in module.funcs.values() {
        for &inst in func.layout.iter().flat_map(|&b| &func.blocks[b].insts) {
            if let InstKind::Store { val, .. } = func.insts[inst].kind
                && func.ty(val).as_ptr().is_some_and(|p| p.class == PtrClass::Frame)
            {
                // One that was itself read from memory is one of those.
                least = least.min(alignment(func, val, least));
            }
        }
    }
    least
}

/// A range of bytes in pieces that one access covers, each a multiple of its size from the start.
pub(super) fn pieces(from: u32, to: u32, align: u32) -> Vec<(u32, u32)> {
    let mut list = Vec::new();
    let mut at = from;
    while at < to {
        let mut size = align.min(8);
        while !at.is_multiple_of(size) || size > to - at {
            size /= 2;
        }
        list.push((at, size));
        at += size;
    }
    list
}

impl Lowering<'_> {
    /// What all of some addresses are known to be a multiple of.
    pub(super) fn align(&self, rw: &Rewriter<'_>, ptrs: &[Value]) -> u32 {
        ptrs.iter().map(|&p| alignment(rw.func, p, self.kept)).min().unwrap_or(1)
    }

    /// Whether so many bytes are gone through in a loop. Writes to the stack are not, so that it can be seen which
    /// bytes have been written.
    pub(super) fn loops(&self, rw: &Rewriter<'_>, len: u32, written: Option<Value>) -> bool {
        let on_stack = written.is_some_and(|v| rw.class(v) == Some(PtrClass::Frame));
        len > UNROLLED && !on_stack && self.kernel.has(Feature::BoundedLoops)
    }

    pub(super) fn mem_copy(&mut self, rw: &mut Rewriter<'_>, dst: Value, src: Value, len: u32) -> Fate {
        let align = self.align(rw, &[dst, src]);
        let mut from = 0;
        if self.loops(rw, len, Some(dst)) && align == 8 {
            from = len / STRIDE * STRIDE;
            each_stride(rw, from, |rw, at| {
                let (to, from) = (rw.ptr_by(dst, at), rw.ptr_by(src, at));
                let words: Vec<Value> =
                    (0..STRIDE / 8).map(|n| rw.load(from, 8 * n as i32, Ty::I64)).collect();
                for (n, word) in words.into_iter().enumerate() {
                    rw.store(to, 8 * n as i32, word);
                }
            });
        }
        for (at, size) in pieces(from, len, align) {
            let piece = rw.load(src, at as i32, int(size));
            rw.store(dst, at as i32, piece);
        }
        Fate::Replaced
    }

    pub(super) fn mem_set(&mut self, rw: &mut Rewriter<'_>, dst: Value, byte: u8, len: u32) -> Fate {
        self.fill(rw, dst, byte, 0, len);
        Fate::Replaced
    }

    /// Fills a range of bytes.
    pub(super) fn fill(&mut self, rw: &mut Rewriter<'_>, dst: Value, byte: u8, from: u32, to: u32) {
        let pattern = i64::from_le_bytes([byte; 8]);
        let align = self.align(rw, &[dst]);
        let mut start = from;
        if to > from && from.is_multiple_of(8) && self.loops(rw, to - from, Some(dst)) {
            let len = (to - from) / STRIDE * STRIDE;
            let base = rw.ptr_add(dst, from.cast_signed());
            let word = rw.i64(pattern);
            each_stride(rw, len, |rw, at| {
                let to = rw.ptr_by(base, at);
                for n in 0..STRIDE / 8 {
                    rw.store(to, 8 * n as i32, word);
                }
            });
            start += len;
        }
        for (at, size) in pieces(start, to, align) {
            let piece = rw.iconst(int(size), pattern);
            rw.store(dst, at as i32, piece);
        }
    }

    pub(super) fn mem_eq(&mut self, rw: &mut Rewriter<'_>, inst: Inst, a: Value, b: Value, len: u32) -> Fate {
        let align = self.align(rw, &[a, b]);
        if self.loops(rw, len, None) && align == 8 {
            return Self::mem_eq_loop(rw, inst, a, b, len);
        }
        let list = pieces(0, len, align);
        let equal = all_equal(rw, &list, |rw, at, size| {
            (rw.load(a, at as i32, int(size)), rw.load(b, at as i32, int(size)))
        });
        rw.define(inst, equal)
    }

    fn mem_eq_loop(rw: &mut Rewriter<'_>, inst: Inst, a: Value, b: Value, len: u32) -> Fate {
        let join = rw.join(inst);
        let (head, next, differs, tail) = (rw.loop_head(len / 8), rw.block(), rw.block(), rw.block());
        let at = rw.param(head, Ty::I64);
        let zero = rw.i64(0);
        rw.br(head, vec![zero]);
        rw.switch_to(head);
        let (pa, pb) = (rw.ptr_by(a, at), rw.ptr_by(b, at));
        let (wa, wb) = (rw.load(pa, 0, Ty::I64), rw.load(pb, 0, Ty::I64));
        let same = rw.cmp(CmpOp::Eq, wa, wb);
        rw.cond_br(same, next, differs);
        rw.switch_to(next);
        let after = rw.bin_n(BinOp::Add, at, 8);
        let more = rw.cmp_n(CmpOp::ULt, after, i64::from(len / 8 * 8));
        rw.cond_br(more, Target { block: head, args: vec![after] }, tail);
        rw.switch_to(differs);
        let no = rw.iconst(Ty::I1, 0);
        rw.br_join(join, no);
        rw.switch_to(tail);
        let rest = all_equal(rw, &pieces(len / 8 * 8, len, 8), |rw, at, size| {
            (rw.load(a, at as i32, int(size)), rw.load(b, at as i32, int(size)))
        });
        rw.br_join(join, rest);
        rw.switch_to(join);
        Fate::Replaced
    }
}

/// Calls `body` in a loop over offsets from 0 up to `len`, in steps of [`STRIDE`].
fn each_stride(rw: &mut Rewriter<'_>, len: u32, body: impl FnOnce(&mut Rewriter<'_>, Value)) {
    let (head, done) = (rw.loop_head(len / STRIDE), rw.block());
    let at = rw.param(head, Ty::I64);
    let zero = rw.i64(0);
    rw.br(head, vec![zero]);
    rw.switch_to(head);
    body(rw, at);
    let next = rw.bin_n(BinOp::Add, at, i64::from(STRIDE));
    let more = rw.cmp_n(CmpOp::ULt, next, i64::from(len));
    rw.cond_br(more, Target { block: head, args: vec![next] }, done);
    rw.switch_to(done);
}

/// Whether all pieces of two things are equal. `load` yields a piece of both, by offset and size.
pub(super) fn all_equal(
    rw: &mut Rewriter<'_>,
    list: &[(u32, u32)],
    mut load: impl FnMut(&mut Rewriter<'_>, u32, u32) -> (Value, Value),
) -> Value {
    let Some((&(last_at, last_size), rest)) = list.split_last() else { return rw.iconst(Ty::I1, 1) };
    if rest.is_empty() {
        let (a, b) = load(rw, last_at, last_size);
        return rw.cmp(CmpOp::Eq, a, b);
    }
    if list.len() <= BRANCH_FREE {
        let mut differs: Option<Value> = None;
        for &(at, size) in list {
            let (a, b) = load(rw, at, size);
            let xor = rw.bin(BinOp::Xor, a, b);
            let xor = rw.resize(xor, Ty::I64, false);
            differs = Some(match differs {
                Some(before) => rw.bin(BinOp::Or, before, xor),
                None => xor,
            });
        }
        return match differs {
            Some(differs) => rw.cmp_n(CmpOp::Eq, differs, 0),
            None => rw.iconst(Ty::I1, 1),
        };
    }
    let (join, no) = (rw.block(), rw.block());
    let equal = rw.param(join, Ty::I1);
    for &(at, size) in rest {
        let (a, b) = load(rw, at, size);
        let next = rw.block();
        let same = rw.cmp(CmpOp::Eq, a, b);
        rw.cond_br(same, next, no);
        rw.switch_to(next);
    }
    let (a, b) = load(rw, last_at, last_size);
    let same = rw.cmp(CmpOp::Eq, a, b);
    rw.br(join, vec![same]);
    rw.switch_to(no);
    let differs = rw.iconst(Ty::I1, 0);
    rw.br(join, vec![differs]);
    rw.switch_to(join);
    equal
}
