//! Sets of few members: comparisons.

use super::Lowering;
use crate::func::{Block, Inst, Value};
use crate::inst::{CmpOp, InstKind};
use crate::module::{Set, SetId};
use crate::passes::rewrite::{Fate, Rewriter};
use crate::types::Ty;

/// Members up to which integers are compared one after the other; more are divided first.
const IN_A_ROW: usize = 4;

impl Lowering<'_> {
    pub(super) fn set_member(&mut self, rw: &mut Rewriter<'_>, inst: Inst, val: Value, set: SetId) -> Fate {
        let Set::Ints(list) = &self.module.sets[set] else { return Fate::Kept };
        let mut list = list.clone();
        list.sort_unstable();
        list.dedup();
        let join = rw.join(inst);
        let (yes, no) = (rw.block(), rw.block());
        tree(rw, val, &list, yes, no);
        for (block, answer) in [(yes, 1), (no, 0)] {
            rw.switch_to(block);
            let answer = rw.iconst(Ty::I1, answer);
            rw.br_join(join, answer);
        }
        rw.switch_to(join);
        Fate::Replaced
    }

    pub(super) fn str_member(
        &mut self,
        rw: &mut Rewriter<'_>,
        inst: Inst,
        ptr: Value,
        cap: u32,
        set: SetId,
    ) -> Fate {
        let Set::Strings(list) = &self.module.sets[set] else { return Fate::Kept };
        let list = list.clone();
        let join = rw.join(inst);
        let yes = rw.block();
        for text in &list {
            let equal = self.equals(rw, ptr, cap, text);
            let next = rw.block();
            rw.cond_br(equal, yes, next);
            rw.switch_to(next);
        }
        let no = rw.iconst(Ty::I1, 0);
        rw.br_join(join, no);
        rw.switch_to(yes);
        let is_member = rw.iconst(Ty::I1, 1);
        rw.br_join(join, is_member);
        rw.switch_to(join);
        Fate::Replaced
    }
}

/// Finds a number in a sorted list. Every way ends in one of the two blocks.
fn tree(rw: &mut Rewriter<'_>, val: Value, list: &[i64], yes: Block, no: Block) {
    if list.len() > IN_A_ROW {
        let (low, high) = list.split_at(list.len() / 2);
        let (left, right) = (rw.block(), rw.block());
        let is_low = rw.cmp_n(CmpOp::SLt, val, high[0]);
        rw.cond_br(is_low, left, right);
        rw.switch_to(left);
        tree(rw, val, low, yes, no);
        rw.switch_to(right);
        return tree(rw, val, high, yes, no);
    }
    for &member in list {
        let next = rw.block();
        let equal = rw.cmp_n(CmpOp::Eq, val, member);
        rw.cond_br(equal, yes, next);
        rw.switch_to(next);
    }
    rw.inst(InstKind::Br(no.into()));
}
