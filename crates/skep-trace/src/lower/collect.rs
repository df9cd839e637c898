//! Collecting numbers: counts, sums, extremes, means, histograms.

use super::function::Fx;
use crate::hir::{Expr, MapRef};
use crate::types::AggTy;
use skep_ir::inst::{Agg, InstKind};
use skep_ir::{Loc, Ty, Value};

impl<'p> Fx<'_, 'p> {
    /// `@m[k] = count()` and the like.
    pub(super) fn collect(&mut self, map: MapRef, key: Option<&'p Expr>, value: Option<&'p Expr>, loc: Loc) {
        let Some(agg) = self.unit.program.maps[map].agg() else { return };
        let val = value.map(|value| {
            let value = self.scalar(value);
            self.number(value)
        });
        let cell = match agg {
            AggTy::Count => Agg::Count,
            AggTy::Sum(_) => Agg::Sum,
            AggTy::Min(signed) => Agg::Min { signed },
            AggTy::Max(signed) => Agg::Max { signed },
            AggTy::Avg(_) | AggTy::Stats(_) => Agg::Stats,
            AggTy::Hist { .. } | AggTy::Lhist { .. } => {
                self.collect_bucket(map, key, agg, val, loc);
                return;
            }
            AggTy::Tseries { interval, count, agg, signed } => {
                let key_of = |f: &mut Self, slot| f.key(map, key, Some(slot));
                self.collect_series(map, key_of, (interval, count, agg, signed), val, loc);
                return;
            }
        };
        let key = self.key(map, key, None);
        self.with_element(map, key, loc, None, |f, ptr| {
            let val = if cell == Agg::Count { None } else { val };
            f.b.inst(InstKind::Agg { agg: cell, cell: ptr, val }, None);
            None
        });
    }

    /// Counts a value in its bucket, which is an element of its own.
    fn collect_bucket(
        &mut self,
        map: MapRef,
        key: Option<&'p Expr>,
        agg: AggTy,
        val: Option<Value>,
        loc: Loc,
    ) {
        let val = val.unwrap_or_else(|| self.b.i64(0));
        let kind = match agg {
            AggTy::Lhist { min, max, step } => InstKind::LinearBucket { val, min, max, step },
            AggTy::Hist { bits } => InstKind::HistBucket { val, bits },
            _ => return,
        };
        let bucket = self.b.value(kind, Ty::I64);
        let key = self.key(map, key, Some(bucket));
        self.with_element(map, key, loc, None, |f, ptr| {
            f.b.inst(InstKind::Agg { agg: Agg::Count, cell: ptr, val: None }, None);
            None
        });
    }
}
