//! Collected numbers as integers: over all CPUs.

use super::function::Fx;
use crate::hir::{Expr, MapRef};
use crate::plan::Storage;
use crate::types::AggTy;
use skep_ir::inst::{BinOp, CmpOp, InstKind};
use skep_ir::types::PtrClass;
use skep_ir::{Feature, Loc, MapId, Ty, Value};

impl<'p> Fx<'_, 'p> {
    /// The integer that an element amounts to: count, sum, least, greatest, mean.
    pub(super) fn read_collected(&mut self, map: MapRef, key: Option<&'p Expr>, loc: Loc) -> Value {
        let key = self.key(map, key, None);
        self.collected(map, key, loc)
    }

    /// The same for an element whose key is at hand.
    pub(super) fn collected(&mut self, map: MapRef, key: Value, loc: Loc) -> Value {
        let sum = self.sum_up(map, key, loc);
        let total = self.b.load(sum, 0, Ty::I64);
        match self.unit.program.maps[map].agg() {
            Some(AggTy::Avg(signed) | AggTy::Stats(signed)) => {
                let count = self.b.load(sum, 8, Ty::I64);
                self.average(total, count, signed)
            }
            _ => total,
        }
    }

    /// Total and count of statistics.
    pub(super) fn read_stats(&mut self, map: MapRef, key: Option<&'p Expr>, loc: Loc) -> (Value, Value) {
        let key = self.key(map, key, None);
        let sum = self.sum_up(map, key, loc);
        (self.b.load(sum, 0, Ty::I64), self.b.load(sum, 8, Ty::I64))
    }

    /// Two words in memory: the value over all CPUs and what goes with it.
    fn sum_up(&mut self, map: MapRef, key: Value, loc: Loc) -> Value {
        let store = self.unit.maps[map].clone();
        let agg = self.unit.program.maps[map].agg().unwrap_or(AggTy::Count);
        let sum = self.buffer("sum", 16);
        self.fill_bytes(sum, 0, 16);
        let cpus = self.unit.env.possible_cpus();
        let per_cpu = !matches!(store.storage, Storage::Hash { per_cpu: false });
        if !per_cpu || cpus <= 1 {
            let ptr = self.lookup(map, key);
            self.add_cell(ptr, agg, sum);
            return sum;
        }
        if !self.unit.require(Feature::LookupPercpuElem, loc) {
            return sum;
        }
        let class = self.b.func.ty(key).as_ptr().map_or(PtrClass::Frame, |p| p.class);
        let (start, end) = (self.b.i64(0), self.b.i64(i64::from(cpus)));
        if let Some(&body) = self.unit.sums.get(&(map, class)) {
            self.b.inst(InstKind::ForRange { start, end, body, captures: vec![sum, key] }, None);
            return sum;
        }
        let closure = self.closure("sum", &[("cpu", Ty::I64)], &[sum, key], None, |f, params, given| {
            f.add_cpu(store.id, given[1], params[0], agg, given[0]);
        });
        self.unit.sums.insert((map, class), closure.body);
        let kind = InstKind::ForRange { start, end, body: closure.body, captures: closure.captures };
        self.b.inst(kind, None);
        sum
    }

    fn add_cpu(&mut self, map: MapId, key: Value, cpu: Value, agg: AggTy, sum: Value) {
        let lookup = InstKind::MapLookupPercpu { map, key, cpu };
        let ptr = self.b.value(lookup, Ty::nullable(PtrClass::MapValue(map)));
        self.add_cell(ptr, agg, sum);
    }

    /// Adds a cell, if there is one, to the two words.
    fn add_cell(&mut self, ptr: Value, agg: AggTy, sum: Value) {
        let done = self.b.new_block();
        let ptr = self.b.unless_null(ptr, done);
        match agg {
            AggTy::Min(signed) | AggTy::Max(signed) => {
                let is_set = self.b.load(ptr, 8, Ty::I64);
                let zero = self.b.i64(0);
                let is_set = self.b.cmp(CmpOp::Ne, is_set, zero);
                let (compare, take) = (self.b.new_block(), self.b.new_block());
                let better = self.b.new_block();
                self.b.cond_br(is_set, compare, done);
                self.b.switch_to(compare);
                let had = self.b.load(sum, 8, Ty::I64);
                let first = self.b.cmp(CmpOp::Eq, had, zero);
                self.b.cond_br(first, take, better);
                self.b.switch_to(better);
                let (value, best) = (self.b.load(ptr, 0, Ty::I64), self.b.load(sum, 0, Ty::I64));
                let op = match (agg, signed) {
                    (AggTy::Min(_), true) => CmpOp::SLt,
                    (AggTy::Min(_), false) => CmpOp::ULt,
                    (_, true) => CmpOp::SGt,
                    (_, false) => CmpOp::UGt,
                };
                let wins = self.b.cmp(op, value, best);
                self.b.cond_br(wins, take, done);
                self.b.switch_to(take);
                let (value, one) = (self.b.load(ptr, 0, Ty::I64), self.b.i64(1));
                self.b.store(sum, 0, value);
                self.b.store(sum, 8, one);
            }
            AggTy::Avg(_) | AggTy::Stats(_) => {
                self.add_word(ptr, sum, 0);
                self.add_word(ptr, sum, 8);
            }
            _ => self.add_word(ptr, sum, 0),
        }
        self.jump(done, None);
        self.b.switch_to(done);
    }

    fn add_word(&mut self, ptr: Value, sum: Value, off: i32) {
        let (more, before) = (self.b.load(ptr, off, Ty::I64), self.b.load(sum, off, Ty::I64));
        let after = self.b.bin(BinOp::Add, before, more);
        self.b.store(sum, off, after);
    }
}
