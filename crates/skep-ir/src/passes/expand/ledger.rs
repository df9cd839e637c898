//! Counting in the program's row of the ledger.

use super::Expander;
use crate::inst::{AtomicOp, InstKind, Ledger};
use crate::passes::rewrite::Rewriter;
use crate::types::{PtrClass, Ty};

impl Expander<'_> {
    /// Adds one to a counter, atomically: a program that interrupts this one in between may count in the same row
    /// (it may be the same program on another task of this CPU).
    pub(super) fn count(&mut self, rw: &mut Rewriter<'_>, counter: Ledger) {
        let Some(ledger) = self.module.ledger else { return };
        let slot = *self.temps.row.get_or_insert_with(|| rw.slot("row of the ledger", 4, 4));
        let key = rw.slot_addr(slot);
        let row = rw.iconst(Ty::I32, i64::from(self.row));
        rw.store(key, 0, row);
        let found =
            rw.value(InstKind::MapLookup { map: ledger, key }, Ty::nullable(PtrClass::MapValue(ledger)));
        let (there, out) = (rw.block(), rw.block());
        let none = rw.is_null(found);
        rw.cond_br(none, out, there);
        rw.switch_to(there);
        let cells = rw.non_null(found);
        let one = rw.i64(1);
        let off = 8 * counter as i32;
        rw.inst(InstKind::Atomic { op: AtomicOp::Add, ptr: cells, off, val: one });
        rw.br(out, Vec::new());
        rw.switch_to(out);
    }
}
