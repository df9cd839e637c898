//! Aggregations.

use super::Lowering;
use crate::func::Value;
use crate::inst::{Agg, AtomicOp, CmpOp, InstKind, Target};
use crate::kernel::Feature;
use crate::passes::rewrite::{Fate, Rewriter};
use crate::types::Ty;

/// How often a smallest or greatest value is tried to be put in its place. Each failure is a program that came in
/// between on this CPU.
const TRIES: u32 = 4;

impl Lowering<'_> {
    pub(super) fn aggregate(
        &mut self,
        rw: &mut Rewriter<'_>,
        agg: Agg,
        cell: Value,
        val: Option<Value>,
    ) -> Fate {
        let atomic = rw.class(cell).is_none_or(|class| self.nesting.may_lose(class));
        let val = val.unwrap_or_else(|| rw.i64(1));
        match agg {
            Agg::Count | Agg::Sum => add(rw, cell, 0, val, atomic),
            Agg::Stats => {
                add(rw, cell, 0, val, atomic);
                let one = rw.i64(1);
                add(rw, cell, 8, one, atomic);
            }
            Agg::Min { signed } => {
                self.keep(rw, cell, val, if signed { CmpOp::SLt } else { CmpOp::ULt }, atomic);
            }
            Agg::Max { signed } => {
                self.keep(rw, cell, val, if signed { CmpOp::SGt } else { CmpOp::UGt }, atomic);
            }
        }
        Fate::Replaced
    }

    /// Keeps the better of two values.
    fn keep(&mut self, rw: &mut Rewriter<'_>, cell: Value, val: Value, better: CmpOp, atomic: bool) {
        let (compare, first, out) = (rw.block(), rw.cold_block(), rw.block());
        let set = rw.load(cell, 8, Ty::I64);
        let is_set = rw.cmp_n(CmpOp::Ne, set, 0);
        rw.cond_br(is_set, compare, first);
        rw.switch_to(compare);
        let old = rw.load(cell, 0, Ty::I64);
        let wins = rw.cmp(better, val, old);
        let store = rw.block();
        rw.cond_br(wins, store, out);
        rw.switch_to(store);
        if atomic && self.kernel.has(Feature::AtomicFetch) {
            exchange(rw, cell, old, val, better, out);
        } else {
            rw.store(cell, 0, val);
            rw.br(out, Vec::new());
        }
        // The first value of all: two words cannot be written at once, so a program that comes in between may
        // see the value without the flag and put its own there.
        rw.switch_to(first);
        rw.store(cell, 0, val);
        let one = rw.i64(1);
        rw.store(cell, 8, one);
        rw.br(out, Vec::new());
        rw.switch_to(out);
    }
}

fn add(rw: &mut Rewriter<'_>, cell: Value, off: i32, val: Value, atomic: bool) {
    if atomic {
        rw.inst(InstKind::Atomic { op: AtomicOp::Add, ptr: cell, off, val });
        return;
    }
    let old = rw.load(cell, off, Ty::I64);
    let new = rw.bin(crate::inst::BinOp::Add, old, val);
    rw.store(cell, off, new);
}

/// Puts a value in place of a worse one, unless somebody has put a better one there meanwhile.
fn exchange(
    rw: &mut Rewriter<'_>,
    cell: Value,
    mut old: Value,
    val: Value,
    better: CmpOp,
    out: crate::func::Block,
) {
    for attempt in 1..=TRIES {
        let kind = InstKind::CmpXchg { ptr: cell, off: 0, expected: old, new: val };
        let seen = rw.value(kind, Ty::I64);
        let done = rw.cmp(CmpOp::Eq, seen, old);
        if attempt == TRIES {
            rw.br(out, Vec::new());
            return;
        }
        let again = rw.cold_block();
        rw.cond_br(done, Target::from(out), Target::from(again));
        rw.switch_to(again);
        let wins = rw.cmp(better, val, seen);
        let next = rw.cold_block();
        rw.cond_br(wins, next, out);
        rw.switch_to(next);
        old = seen;
    }
}
