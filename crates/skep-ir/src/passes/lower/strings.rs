//! Strings: NUL-terminated within a capacity, gone through in pieces of eight bytes where alignment allows.
//!
//! A NUL in a word `x` is found by `(x - 0x01..01) & !x & 0x80..80`: the lowest bit that is set there is the top
//! bit of the first byte of `x` that is 0, and nothing is set if there is none (a classic; higher bits may lie).

use super::memory::{all_equal, pieces};
use super::{Lowering, int};
use crate::func::{Block, Inst, Value};
use crate::inst::{BinOp, CmpOp, Target};
use crate::passes::rewrite::{Fate, Rewriter};
use crate::types::Ty;

const ONES: i64 = 0x0101_0101_0101_0101;
const TOPS: i64 = ONES << 7;

/// A piece as a number whose bytes beyond the piece are not NUL.
fn word(rw: &mut Rewriter<'_>, ptr: Value, at: u32, size: u32) -> Value {
    let piece = rw.load(ptr, at.cast_signed(), int(size));
    let word = rw.resize(piece, Ty::I64, false);
    if size == 8 { word } else { rw.bin_n(BinOp::Or, word, -1 << (8 * size)) }
}

/// Marks the first NUL of a word by the lowest bit that is set; 0 if there is none.
fn nul_mark(rw: &mut Rewriter<'_>, word: Value) -> Value {
    let less = rw.bin_n(BinOp::Sub, word, ONES);
    let not = rw.bin_n(BinOp::Xor, word, -1);
    let both = rw.bin(BinOp::And, less, not);
    rw.bin_n(BinOp::And, both, TOPS)
}

/// All bits up to the lowest one of a mark.
fn up_to(rw: &mut Rewriter<'_>, mark: Value) -> Value {
    let less = rw.bin_n(BinOp::Sub, mark, 1);
    rw.bin(BinOp::Xor, mark, less)
}

/// All bits of the bytes before the NUL that a mark stands for.
fn before(rw: &mut Rewriter<'_>, mark: Value) -> Value {
    let up_to = up_to(rw, mark);
    rw.bin_n(BinOp::LShr, up_to, 8)
}

impl Lowering<'_> {
    pub(super) fn str_const(&mut self, rw: &mut Rewriter<'_>, dst: Value, text: &[u8], cap: u32) -> Fate {
        let align = self.align(rw, &[dst]);
        let text = &text[..text.len().min(cap as usize)];
        let end = (text.len() as u32).next_multiple_of(8).min(cap);
        for (at, size) in pieces(0, end, align) {
            let mut bytes = [0; 8];
            let from = text.get(at as usize..).unwrap_or_default();
            let n = from.len().min(size as usize);
            bytes[..n].copy_from_slice(&from[..n]);
            let piece = rw.iconst(int(size), i64::from_le_bytes(bytes));
            rw.store(dst, at.cast_signed(), piece);
        }
        self.fill(rw, dst, 0, end, cap);
        Fate::Replaced
    }

    /// Whether a string equals a constant.
    pub(super) fn equals(&mut self, rw: &mut Rewriter<'_>, a: Value, cap: u32, text: &[u8]) -> Value {
        if text.len() > cap as usize {
            return rw.iconst(Ty::I1, 0);
        }
        let mut bytes = text.split(|&b| b == 0).next().unwrap_or_default().to_vec();
        if bytes.len() < cap as usize {
            bytes.push(0);
        }
        let align = self.align(rw, &[a]);
        let len = bytes.len() as u32;
        let mut list = pieces(0, len, align);
        // A rest of 3, 5, 6 or 7 bytes is one access whose last bytes are shifted out.
        let (rest_at, rest) = (len / 8 * 8, len % 8);
        let whole = rest.next_power_of_two();
        if rest != 0 && whole != rest && whole <= align && rest_at + whole <= cap {
            list.retain(|&(at, _)| at < rest_at);
            list.push((rest_at, whole));
        }
        all_equal(rw, &list, |rw, at, size| {
            let piece = rw.load(a, at.cast_signed(), int(size));
            let mut wanted = [0; 8];
            let from = &bytes[at as usize..bytes.len().min((at + size) as usize)];
            let beyond = 8 * i64::from(size - from.len() as u32);
            wanted[..from.len()].copy_from_slice(from);
            let wanted = i64::from_le_bytes(wanted) << beyond;
            let piece = if beyond == 0 { piece } else { rw.bin_n(BinOp::Shl, piece, beyond) };
            (piece, rw.iconst(int(size), wanted))
        })
    }

    pub(super) fn str_len(&mut self, rw: &mut Rewriter<'_>, inst: Inst, ptr: Value, cap: u32) -> Fate {
        let join = rw.join(inst);
        let found = rw.block();
        let (at, mark) = (rw.param(found, Ty::I64), rw.param(found, Ty::I64));
        let each = |rw: &mut Rewriter<'_>, at: Value, word: Value, next: Target| {
            let mark = nul_mark(rw, word);
            let ends = rw.cmp_n(CmpOp::Ne, mark, 0);
            rw.cond_br(ends, Target { block: found, args: vec![at, mark] }, next);
        };
        self.words(rw, &[ptr], cap, |rw, at, words, next| each(rw, at, words[0], next));
        let all = rw.i64(i64::from(cap));
        rw.br_join(join, all);
        rw.switch_to(found);
        // Bytes before the NUL: a one for each, added up in the top byte.
        let bytes = before(rw, mark);
        let ones = rw.bin_n(BinOp::And, bytes, ONES);
        let sum = rw.bin_n(BinOp::Mul, ones, ONES);
        let count = rw.bin_n(BinOp::LShr, sum, 56);
        let len = rw.bin(BinOp::Add, at, count);
        rw.br_join(join, len);
        rw.switch_to(join);
        Fate::Replaced
    }

    pub(super) fn str_eq(&mut self, rw: &mut Rewriter<'_>, inst: Inst, a: Value, b: Value, cap: u32) -> Fate {
        let join = rw.join(inst);
        let (ends, differs) = (rw.block(), rw.block());
        let (xor, mark) = (rw.param(ends, Ty::I64), rw.param(ends, Ty::I64));
        self.words(rw, &[a, b], cap, |rw, _, words, next| {
            let mark = nul_mark(rw, words[0]);
            let xor = rw.bin(BinOp::Xor, words[0], words[1]);
            let go_on = rw.block();
            let is_end = rw.cmp_n(CmpOp::Ne, mark, 0);
            rw.cond_br(is_end, Target { block: ends, args: vec![xor, mark] }, go_on);
            rw.switch_to(go_on);
            let same = rw.cmp_n(CmpOp::Eq, xor, 0);
            rw.cond_br(same, next, differs);
        });
        let yes = rw.iconst(Ty::I1, 1);
        rw.br_join(join, yes);
        rw.switch_to(ends);
        // Equal if nothing differs up to and with the NUL.
        let relevant = up_to(rw, mark);
        let relevant = rw.bin(BinOp::And, xor, relevant);
        let equal = rw.cmp_n(CmpOp::Eq, relevant, 0);
        rw.br_join(join, equal);
        rw.switch_to(differs);
        let no = rw.iconst(Ty::I1, 0);
        rw.br_join(join, no);
        rw.switch_to(join);
        Fate::Replaced
    }

    /// Goes through strings word by word. `each` gets the offset (as a number), the words there, and where to
    /// jump to go on; it must end its block. Afterwards the current block is where no word is left.
    fn words(
        &mut self,
        rw: &mut Rewriter<'_>,
        ptrs: &[Value],
        cap: u32,
        mut each: impl FnMut(&mut Rewriter<'_>, Value, &[Value], Target),
    ) {
        let align = self.align(rw, ptrs);
        let mut from = 0;
        if self.loops(rw, cap, None) {
            let step = align;
            from = cap / step * step;
            let (head, more, done) = (rw.loop_head(cap / step), rw.block(), rw.block());
            let at = rw.param(head, Ty::I64);
            let zero = rw.i64(0);
            rw.br(head, vec![zero]);
            rw.switch_to(head);
            let words: Vec<Value> = ptrs
                .iter()
                .map(|&p| {
                    let here = rw.ptr_by(p, at);
                    word(rw, here, 0, step)
                })
                .collect();
            each(rw, at, &words, more.into());
            rw.switch_to(more);
            let next = rw.bin_n(BinOp::Add, at, i64::from(step));
            let left = rw.cmp_n(CmpOp::ULt, next, i64::from(from));
            rw.cond_br(left, Target { block: head, args: vec![next] }, done);
            rw.switch_to(done);
        }
        for (at, size) in pieces(from, cap, align) {
            let words: Vec<Value> = ptrs.iter().map(|&p| word(rw, p, at, size)).collect();
            let next = rw.block();
            let at = rw.i64(i64::from(at));
            each(rw, at, &words, next.into());
            rw.switch_to(next);
        }
    }

    pub(super) fn str_copy(
        &mut self,
        rw: &mut Rewriter<'_>,
        dst: Value,
        dst_cap: u32,
        src: Value,
        src_cap: u32,
    ) -> Fate {
        let common = dst_cap.min(src_cap);
        let align = self.align(rw, &[dst, src]);
        let done = rw.block();
        let mut from = 0;
        if self.loops(rw, dst_cap, Some(dst)) && align == 8 && common >= 8 {
            from = common / 8 * 8;
            self.copy_words(rw, (dst, dst_cap), src, from, done);
        }
        // The NUL may be in any piece; from the next piece on, everything is zeros.
        let list = pieces(from, common, align);
        let mut zero_from: Vec<Block> = list.iter().skip(1).map(|_| rw.block()).collect();
        let rest = rw.block();
        zero_from.push(rest);
        for (&(at, size), &zeros) in list.iter().zip(&zero_from) {
            let word = word(rw, src, at, size);
            let mark = nul_mark(rw, word);
            let (ends, next) = (rw.block(), rw.block());
            let is_end = rw.cmp_n(CmpOp::Ne, mark, 0);
            rw.cond_br(is_end, ends, next);
            rw.switch_to(ends);
            let kept = before(rw, mark);
            let kept = rw.bin(BinOp::And, word, kept);
            let kept = rw.resize(kept, int(size), false);
            rw.store(dst, at.cast_signed(), kept);
            rw.br(zeros, Vec::new());
            rw.switch_to(next);
            let whole = rw.resize(word, int(size), false);
            rw.store(dst, at.cast_signed(), whole);
        }
        rw.br(rest, Vec::new());
        for (&(at, size), pair) in list.iter().skip(1).zip(zero_from.windows(2)) {
            rw.switch_to(pair[0]);
            let zero = rw.iconst(int(size), 0);
            rw.store(dst, at.cast_signed(), zero);
            rw.br(pair[1], Vec::new());
        }
        rw.switch_to(rest);
        self.fill(rw, dst, 0, common, dst_cap);
        rw.br(done, Vec::new());
        rw.switch_to(done);
        Fate::Replaced
    }

    /// Copies the first `len` bytes, whole words, in a loop. Where the NUL is found, the destination is filled
    /// with zeros up to its end, and then `done` follows; else the current block goes on.
    fn copy_words(
        &mut self,
        rw: &mut Rewriter<'_>,
        (dst, dst_cap): (Value, u32),
        src: Value,
        len: u32,
        done: Block,
    ) {
        let (head, next, ends, rest) = (rw.loop_head(len / 8), rw.block(), rw.block(), rw.block());
        let at = rw.param(head, Ty::I64);
        let zero = rw.i64(0);
        rw.br(head, vec![zero]);
        rw.switch_to(head);
        let from = rw.ptr_by(src, at);
        let word = rw.load(from, 0, Ty::I64);
        let mark = nul_mark(rw, word);
        let is_end = rw.cmp_n(CmpOp::Ne, mark, 0);
        rw.cond_br(is_end, ends, next);
        rw.switch_to(next);
        let to = rw.ptr_by(dst, at);
        rw.store(to, 0, word);
        let after = rw.bin_n(BinOp::Add, at, 8);
        let more = rw.cmp_n(CmpOp::ULt, after, i64::from(len));
        rw.cond_br(more, Target { block: head, args: vec![after] }, rest);

        rw.switch_to(ends);
        let kept = before(rw, mark);
        let kept = rw.bin(BinOp::And, word, kept);
        let to = rw.ptr_by(dst, at);
        rw.store(to, 0, kept);
        let after = rw.bin_n(BinOp::Add, at, 8);
        let whole = dst_cap / 8 * 8;
        let (zeros, body, tail) = (rw.loop_head(whole / 8), rw.block(), rw.block());
        let at = rw.param(zeros, Ty::I64);
        rw.br(zeros, vec![after]);
        rw.switch_to(zeros);
        let more = rw.cmp_n(CmpOp::ULt, at, i64::from(whole));
        rw.cond_br(more, body, tail);
        rw.switch_to(body);
        let to = rw.ptr_by(dst, at);
        let nothing = rw.i64(0);
        rw.store(to, 0, nothing);
        let after = rw.bin_n(BinOp::Add, at, 8);
        rw.br(zeros, vec![after]);
        rw.switch_to(tail);
        self.fill(rw, dst, 0, whole, dst_cap);
        rw.br(done, Vec::new());
        rw.switch_to(rest);
    }

    /// Compares at each place of the haystack. Where the haystack ends within the needle, no later place can do.
    pub(super) fn str_find(
        &mut self,
        rw: &mut Rewriter<'_>,
        inst: Inst,
        (hay, hay_cap): (Value, u32),
        (needle, needle_cap): (Value, u32),
    ) -> Fate {
        self.require(rw, crate::kernel::Feature::BoundedLoops, "searching in a string");
        let join = rw.join(inst);
        let (places, bytes) = (rw.loop_head(hay_cap.max(1)), rw.loop_head(needle_cap.max(1)));
        let (inside, in_hay, same, next, found, none) =
            (rw.block(), rw.block(), rw.block(), rw.block(), rw.block(), rw.block());
        let (compare, advance) = (rw.block(), rw.block());
        let place = rw.param(places, Ty::I64);
        let byte = rw.param(bytes, Ty::I64);
        let zero = rw.i64(0);
        rw.br(places, vec![zero]);
        rw.switch_to(places);
        rw.br(bytes, vec![zero]);
        rw.switch_to(bytes);
        let left = rw.cmp_n(CmpOp::ULt, byte, i64::from(needle_cap));
        rw.cond_br(left, inside, found);
        rw.switch_to(inside);
        let at = rw.ptr_by(needle, byte);
        let wanted = rw.load(at, 0, Ty::I8);
        let ends = rw.cmp_n(CmpOp::Eq, wanted, 0);
        rw.cond_br(ends, found, in_hay);
        rw.switch_to(in_hay);
        let at = rw.bin(BinOp::Add, place, byte);
        let left = rw.cmp_n(CmpOp::ULt, at, i64::from(hay_cap));
        rw.cond_br(left, compare, none);
        rw.switch_to(compare);
        let at = rw.ptr_by(hay, at);
        let has = rw.load(at, 0, Ty::I8);
        let equal = rw.cmp(CmpOp::Eq, has, wanted);
        rw.cond_br(equal, same, next);
        rw.switch_to(same);
        let after = rw.bin_n(BinOp::Add, byte, 1);
        rw.br(bytes, vec![after]);
        rw.switch_to(next);
        let ends = rw.cmp_n(CmpOp::Eq, has, 0);
        rw.cond_br(ends, none, advance);
        rw.switch_to(advance);
        let after = rw.bin_n(BinOp::Add, place, 1);
        let left = rw.cmp_n(CmpOp::ULt, after, i64::from(hay_cap.max(1)));
        rw.cond_br(left, Target { block: places, args: vec![after] }, none);
        rw.switch_to(found);
        rw.br_join(join, place);
        rw.switch_to(none);
        let no = rw.i64(-1);
        rw.br_join(join, no);
        rw.switch_to(join);
        Fate::Replaced
    }
}
