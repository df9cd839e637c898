//! Values over time: one element for each interval, reused when the interval comes round again.

use super::function::Fx;
use crate::hir::{MapRef, NsecsClock};
use crate::types::SeriesAgg;
use skep_ir::inst::{BinOp, CmpOp};
use skep_ir::{Loc, Ty, Value};

/// Offsets in an element: the value, what goes with it (count, whether it is set, or time of the last value),
/// and the number of its interval.
const VALUE: i32 = 0;
const META: i32 = 8;
const INTERVAL: i32 = 16;

impl Fx<'_, '_> {
    /// `@m[k] = tseries(n, interval, count, agg)`. `key_of` makes the key for a slot.
    pub(super) fn collect_series(
        &mut self,
        map: MapRef,
        key_of: impl FnOnce(&mut Self, Value) -> Value,
        (interval, count, agg, signed): (u64, u32, SeriesAgg, bool),
        val: Option<Value>,
        loc: Loc,
    ) {
        let val = val.unwrap_or_else(|| self.b.i64(0));
        let now = self.series_clock();
        let (interval, count) = (self.b.i64(interval.max(1) as i64), self.b.i64(i64::from(count.max(1))));
        let epoch = self.b.bin(BinOp::UDiv, now, interval);
        let slot = self.b.bin(BinOp::URem, epoch, count);
        let key = key_of(self, slot);
        self.with_element(map, key, loc, None, |f, ptr| {
            let stored = f.b.load(ptr, INTERVAL, Ty::I64);
            let stale = f.b.cmp(CmpOp::Ne, stored, epoch);
            f.when(stale, false, |f| {
                let zero = f.b.i64(0);
                f.b.store(ptr, VALUE, zero);
                f.b.store(ptr, META, zero);
                f.b.store(ptr, INTERVAL, epoch);
            });
            f.add_to_interval(ptr, agg, signed, val, now);
            None
        });
    }

    /// The clock of series, or what a test put in its place. It counts whole seconds where the clock on the wall
    /// does, so that intervals begin at round times.
    fn series_clock(&mut self) -> Value {
        let Some(map) = self.unit.program.series_clock else { return self.clock(NsecsClock::Tai) };
        let key = self.zero_key();
        self.or_zero(|f| {
            let ptr = f.lookup(map, key);
            let ptr = f.not_null(ptr);
            f.b.load(ptr, 0, Ty::I64)
        })
    }

    fn add_to_interval(&mut self, ptr: Value, agg: SeriesAgg, signed: bool, val: Value, now: Value) {
        match agg {
            SeriesAgg::Last => {
                self.b.store(ptr, VALUE, val);
                self.b.store(ptr, META, now);
            }
            SeriesAgg::Avg | SeriesAgg::Sum => {
                let one = self.b.i64(1);
                for (off, by) in [(VALUE, val), (META, one)] {
                    let before = self.b.load(ptr, off, Ty::I64);
                    let after = self.b.bin(BinOp::Add, before, by);
                    self.b.store(ptr, off, after);
                }
            }
            SeriesAgg::Min | SeriesAgg::Max => {
                let (compare, take, done) = (self.b.new_block(), self.b.new_block(), self.b.new_block());
                let is_set = self.b.load(ptr, META, Ty::I64);
                let zero = self.b.i64(0);
                let is_set = self.b.cmp(CmpOp::Ne, is_set, zero);
                self.b.cond_br(is_set, compare, take);
                self.b.switch_to(compare);
                let best = self.b.load(ptr, VALUE, Ty::I64);
                let op = match (agg, signed) {
                    (SeriesAgg::Min, true) => CmpOp::SLt,
                    (SeriesAgg::Min, _) => CmpOp::ULt,
                    (_, true) => CmpOp::SGt,
                    _ => CmpOp::UGt,
                };
                let wins = self.b.cmp(op, val, best);
                self.b.cond_br(wins, take, done);
                self.b.switch_to(take);
                let one = self.b.i64(1);
                self.b.store(ptr, VALUE, val);
                self.b.store(ptr, META, one);
                self.jump(done, None);
                self.b.switch_to(done);
            }
        }
    }
}
