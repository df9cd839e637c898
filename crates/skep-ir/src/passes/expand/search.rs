//! Searches in long strings: a loop over the places whose body the kernel calls, so that the verifier looks at
//! one place instead of all.

use super::Expander;
use crate::func::{Func, FuncBuilder, Inst, Linkage, Value};
use crate::inst::{BinOp, CmpOp, Fact, InstKind, Target};
use crate::kernel::Feature;
use crate::module::FuncId;
use crate::passes::rewrite::{Fate, Rewriter};
use crate::types::{PtrClass, Ty};

/// Comparisons that the verifier may have to look at one by one. Two branches of each stay open on one path, and
/// it gives up at 8,192 (`BPF_COMPLEXITY_LIMIT_JMP_SEQ` of kernel/bpf/verifier.c).
const MAX_COMPARISONS: u32 = 2048;

/// Where in its slot the result lies, and what is added to it. The verifier goes through the body again for every
/// state that it leaves, and would for every range that the place has been found to lie in; of a number that is not
/// at the start of a word on the stack it knows nothing but whether it is 0, and it never is.
const RESULT: i32 = 4;
/// See [`RESULT`].
const BIAS: i32 = 2;

/// Whether a search is made by the loop of [`Expander::str_find`].
pub(super) fn is_long(func: &Func, hay: Value, hay_cap: u32, needle: Value, needle_cap: u32) -> bool {
    let captured = |v: Value| {
        !matches!(
            func.ty(v).as_ptr().map(|p| p.class),
            Some(PtrClass::Record(_) | PtrClass::Packet | PtrClass::PacketMeta)
        )
    };
    hay_cap.saturating_mul(needle_cap) > MAX_COMPARISONS && captured(hay) && captured(needle)
}

impl Expander<'_> {
    pub(super) fn str_find(
        &mut self,
        rw: &mut Rewriter<'_>,
        inst: Inst,
        (hay, hay_cap): (Value, u32),
        (needle, needle_cap): (Value, u32),
    ) -> Fate {
        if !self.kernel.has(Feature::BoundedLoops) {
            self.lacks(rw.loc, Feature::BoundedLoops, "searching in a string");
            return Fate::Kept;
        }
        let slot = rw.slot("place", 8, 8);
        let place = rw.slot_addr(slot);
        let none = rw.iconst(Ty::I32, i64::from(BIAS) - 1);
        rw.store(place, RESULT, none);
        let types = [rw.ty(hay), rw.ty(needle), rw.ty(place)];
        let body = self.body(types, hay_cap, needle_cap);
        let (start, end) = (rw.i64(0), rw.i64(i64::from(hay_cap)));
        rw.inst(InstKind::ForRange { start, end, body, captures: vec![hay, needle, place] });
        let found = rw.load(place, RESULT, Ty::I32);
        let found = rw.resize(found, Ty::I64, false);
        let found = rw.bin_n(BinOp::Sub, found, i64::from(BIAS));
        rw.define(inst, found)
    }

    /// The function that looks at one place: 0 goes on, 1 stops.
    fn body(&mut self, types: [Ty; 3], hay_cap: u32, needle_cap: u32) -> FuncId {
        let name = format!("search_{}", self.module.funcs.len());
        let mut func = Func::new(name, Linkage::Closure, &[("place", Ty::I64)], Some(Ty::I64));
        func.captures = types.to_vec();
        let place = func.params()[0];
        let b = &mut FuncBuilder::new(&mut func);
        let [hay, needle, result] = [0, 1, 2].map(|n: usize| b.value(InstKind::Capture(n as u32), types[n]));
        let [inside, bytes, in_needle, in_hay, compare, same, differs, go_on, found, stop] =
            [(); 10].map(|()| b.new_block());
        let byte = b.func.add_param(bytes, Ty::I64);
        b.func.blocks[bytes].loop_head =
            Some(crate::func::LoopHead { bound: Some(needle_cap.saturating_add(1)) });
        let (zero, one) = (b.i64(0), b.i64(1));
        let (hay_end, needle_end) = (b.i64(i64::from(hay_cap)), b.i64(i64::from(needle_cap)));

        let left = b.cmp(CmpOp::ULt, place, hay_end);
        b.cond_br(left, inside, stop);
        b.switch_to(inside);
        let range = Fact::Unsigned(0, u64::from(hay_cap.saturating_sub(1)));
        let place = b.value(InstKind::Refine(place, range), Ty::I64);
        b.br(Target { block: bytes, args: vec![zero] });
        b.switch_to(bytes);
        let left = b.cmp(CmpOp::ULt, byte, needle_end);
        b.cond_br(left, in_needle, found);
        b.switch_to(in_needle);
        let ty = b.func.ty(needle);
        let at = b.value(InstKind::PtrAdd(needle, 0, Some(byte)), ty);
        let wanted = b.load(at, 0, Ty::I8);
        let nul = b.iconst(Ty::I8, 0);
        let ends = b.cmp(CmpOp::Eq, wanted, nul);
        b.cond_br(ends, found, in_hay);
        b.switch_to(in_hay);
        let at = b.bin(BinOp::Add, place, byte);
        let left = b.cmp(CmpOp::ULt, at, hay_end);
        b.cond_br(left, compare, stop);
        b.switch_to(compare);
        let at = b.value(InstKind::Refine(at, range), Ty::I64);
        let ty = b.func.ty(hay);
        let at = b.value(InstKind::PtrAdd(hay, 0, Some(at)), ty);
        let has = b.load(at, 0, Ty::I8);
        let equal = b.cmp(CmpOp::Eq, has, wanted);
        b.cond_br(equal, same, differs);
        b.switch_to(same);
        let next = b.bin(BinOp::Add, byte, one);
        b.br(Target { block: bytes, args: vec![next] });
        b.switch_to(differs);
        // Where the haystack ends within the needle, no later place can do.
        let ends = b.cmp(CmpOp::Eq, has, nul);
        b.cond_br(ends, stop, go_on);
        b.switch_to(go_on);
        b.ret(Some(zero));
        b.switch_to(found);
        let bias = b.i64(i64::from(BIAS));
        let biased = b.bin(BinOp::Add, place, bias);
        let biased = b.resize(biased, Ty::I32, false);
        b.store(result, RESULT, biased);
        b.br(stop);
        b.switch_to(stop);
        b.ret(Some(one));
        self.module.funcs.push(func)
    }
}
