//! Functions that collect numbers in maps.

use super::{Call, Function, function};
use crate::hir::{self, ExprKind as Hir, MapRef, StmtKind};
use crate::sema::check::{Checker, Ex, Lit, class};
use crate::sema::diags::Stage;
use crate::sema::ty::{Traits, Ty};
use crate::types::{AggTy, IntTy, SeriesAgg, Type};
use skep_ir::Loc;

/// Which of them.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Aggregate {
    Count,
    Sum,
    Min,
    Max,
    Avg,
    Stats,
    Hist,
    Lhist,
    Tseries,
}

/// Most buckets of a linear histogram.
const MAX_BUCKETS: i128 = 1000;
/// Intervals of a series are fewer.
const MAX_INTERVALS: i128 = 1_000_000;

pub(crate) const TABLE: &[Function] = &[
    function("count", 0, 0, "Counts how often it is called.", "@calls[comm] = count();", misplaced),
    function("sum", 1, 1, "Adds numbers up.", "@bytes = sum(args.ret);", misplaced),
    function("min", 1, 1, "Keeps the smallest number.", "@least = min(args.ret);", misplaced),
    function("max", 1, 1, "Keeps the greatest number.", "@most = max(args.ret);", misplaced),
    function("avg", 1, 1, "Keeps the mean of numbers.", "@mean = avg(args.ret);", misplaced),
    function("stats", 1, 1, "Keeps count, mean and sum of numbers.", "@all = stats(args.ret);", misplaced),
    function(
        "hist",
        1,
        2,
        "Histogram in powers of two; a second argument of 1 to 5 parts each power into 2^n buckets.",
        "@us = hist($time, 2);",
        misplaced,
    ),
    function(
        "lhist",
        4,
        4,
        "Histogram of equal steps: value, lowest bound, highest bound, step.",
        "@prio = lhist(args.prio, 0, 140, 10);",
        misplaced,
    ),
    function(
        "tseries",
        3,
        4,
        "Series of values over time: value, length of an interval, number of intervals, and what an interval \
         keeps: \"avg\", \"max\", \"min\", \"sum\" or the last value.",
        "@load = tseries($n, 1s, 60, \"max\");",
        misplaced,
    ),
];

/// The aggregate of a function's name.
pub(crate) fn aggregate(name: &str) -> Option<Aggregate> {
    Some(match name {
        "count" => Aggregate::Count,
        "sum" => Aggregate::Sum,
        "min" => Aggregate::Min,
        "max" => Aggregate::Max,
        "avg" => Aggregate::Avg,
        "stats" => Aggregate::Stats,
        "hist" => Aggregate::Hist,
        "lhist" => Aggregate::Lhist,
        "tseries" => Aggregate::Tseries,
        _ => return None,
    })
}

/// Anywhere but on the right of a map's `=`.
fn misplaced(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let message = format!("{}() must be assigned directly to a map", call.name);
    c.error(Stage::Aggregate, call.loc, message)
}

impl Checker<'_, '_> {
    /// `@m[k] = count();` and its kin.
    pub(crate) fn collect(
        &mut self,
        which: Aggregate,
        call: &Call<'_>,
        map_name: &str,
        access: Option<(MapRef, Option<hir::Expr>)>,
        loc: Loc,
    ) -> Vec<hir::Stmt> {
        if which == Aggregate::Tseries
            && !self.unstable("tseries", "unstable_tseries", self.config.unstable_tseries, call.loc)
        {
            return Vec::new();
        }
        let Some(function) = super::find(call.name) else { return Vec::new() };
        if !self.check_count(function, call) {
            return Vec::new();
        }
        let value = match which {
            Aggregate::Count => None,
            _ => {
                let value = self.arg(call, 0);
                if value.unknown {
                    return Vec::new();
                }
                if value.ty().as_int().is_none() || matches!(value.e.ty, Type::Bool) {
                    self.not_a_number(which, call, &value);
                    return Vec::new();
                }
                Some(value)
            }
        };
        let signed = value.as_ref().and_then(|v| v.ty().as_int()).is_some_and(|int| int.signed);
        let Some(agg) = self.agg_type(which, call, signed) else { return Vec::new() };
        let flexible = value.as_ref().is_some_and(|v| v.traits.is_flexible());
        let traits = if flexible { Traits::FLEXIBLE } else { Traits::PLAIN };
        let stored = self.store_type(map_name, &Ty { ty: Type::Agg(agg), traits }, call.loc);
        let text = self.sources.text(call.loc.span).to_owned();
        if let Some(map) = self.maps.get_mut(map_name) {
            map.function.get_or_insert(text);
        }
        let (Some(Type::Agg(agg)), Some((map, key))) = (stored, access) else { return Vec::new() };
        let value = value.map(|v| {
            let signed = collects_signed(agg).unwrap_or(signed);
            let to = Type::Int(IntTy { bytes: 8, signed });
            match v.lit_int() {
                Some(n) => hir::Expr::new(Hir::Int(n as u64), to, v.e.loc),
                None => crate::sema::check::cast(v.e, &to),
            }
        });
        vec![hir::Stmt { kind: StmtKind::Collect { map, key, value }, loc }]
    }

    fn not_a_number(&mut self, which: Aggregate, call: &Call<'_>, value: &Ex) {
        let (stage, message) = match which {
            Aggregate::Hist | Aggregate::Lhist | Aggregate::Tseries => (
                Stage::Check,
                format!("{}() only supports int arguments ({} provided)", call.name, class(&value.e.ty)),
            ),
            _ => (
                Stage::Types,
                format!("{}() only supports integer arguments ({} provided)", call.name, self.show(value)),
            ),
        };
        self.diags.error(stage, call.loc, message);
    }

    fn agg_type(&mut self, which: Aggregate, call: &Call<'_>, signed: bool) -> Option<AggTy> {
        Some(match which {
            Aggregate::Count => AggTy::Count,
            Aggregate::Sum => AggTy::Sum(signed),
            Aggregate::Min => AggTy::Min(signed),
            Aggregate::Max => AggTy::Max(signed),
            Aggregate::Avg => AggTy::Avg(signed),
            Aggregate::Stats => AggTy::Stats(signed),
            Aggregate::Hist => {
                let bits = match call.args.get(1) {
                    None => 0,
                    Some(e) => match self.literal(e) {
                        Some(Lit::Int(n)) if (0..=5).contains(&n) => n as u8,
                        Some(Lit::Int(n)) => {
                            self.diags.error(Stage::Calls, call.loc, format!("hist: bits {n} must be 0..5"));
                            return None;
                        }
                        _ => {
                            let message = "hist: invalid bits value, need integer literal";
                            self.diags.error(Stage::Calls, call.loc, message);
                            return None;
                        }
                    },
                };
                AggTy::Hist { bits }
            }
            Aggregate::Lhist => return self.lhist(call),
            Aggregate::Tseries => return self.tseries(call, signed),
        })
    }

    /// A literal that is not negative.
    fn bound(&mut self, call: &Call<'_>, index: usize, what: &str) -> Option<i128> {
        match self.literal(call.args.get(index)?) {
            Some(Lit::Int(n)) if n >= 0 => Some(n),
            _ => {
                let message = format!("{}: invalid {what} value (must be non-negative literal)", call.name);
                self.diags.error(Stage::Calls, call.loc, message);
                None
            }
        }
    }

    fn lhist(&mut self, call: &Call<'_>) -> Option<AggTy> {
        let (min, max, step) =
            (self.bound(call, 1, "min")?, self.bound(call, 2, "max")?, self.bound(call, 3, "step")?);
        let message = if step < 1 {
            format!("lhist() step must be >= 1 ({step} provided)")
        } else if min >= max {
            format!("lhist() min must be less than max (provided min {min} and max {max})")
        } else if step > max - min {
            format!(
                "lhist() step is too large for the given range (provided step {step} for range {})",
                max - min
            )
        } else if (max - min) / step > MAX_BUCKETS {
            format!("lhist() too many buckets, must be <= {MAX_BUCKETS} (would need {})", (max - min) / step)
        } else if max > i128::from(i64::MAX) {
            format!("lhist() max must be at most {} ({max} provided)", i64::MAX)
        } else {
            return Some(AggTy::Lhist { min: min as i64, max: max as i64, step: step as i64 });
        };
        self.diags.error(Stage::Calls, call.loc, message);
        None
    }

    fn tseries(&mut self, call: &Call<'_>, signed: bool) -> Option<AggTy> {
        let (interval, count) = (self.bound(call, 1, "interval_ns")?, self.bound(call, 2, "num_intervals")?);
        let message = if interval < 1 {
            format!("tseries() interval_ns must be >= 1 ({interval} provided)")
        } else if count < 1 {
            format!("tseries() num_intervals must be >= 1 ({count} provided)")
        } else if count >= MAX_INTERVALS {
            format!("tseries() num_intervals must be < {MAX_INTERVALS} ({count} provided)")
        } else {
            let agg = match call.args.get(3) {
                None => SeriesAgg::Last,
                Some(e) => self.series_agg(e, call)?,
            };
            return Some(AggTy::Tseries { interval: interval as u64, count: count as u32, agg, signed });
        };
        self.diags.error(Stage::Calls, call.loc, message);
        None
    }

    fn series_agg(&mut self, e: &crate::syntax::ast::Expr, call: &Call<'_>) -> Option<SeriesAgg> {
        let lit = self.literal(e);
        let found = match &lit {
            Some(Lit::Str(text)) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        };
        match found.as_str() {
            "avg" => Some(SeriesAgg::Avg),
            "max" => Some(SeriesAgg::Max),
            "min" => Some(SeriesAgg::Min),
            "sum" => Some(SeriesAgg::Sum),
            _ => {
                let message = format!(
                    "tseries() expects one of the following aggregation functions: avg, max, min, sum (\"{found}\" \
                     provided)"
                );
                self.diags.error(Stage::Calls, call.loc, message);
                None
            }
        }
    }
}

/// The sign with which numbers are collected, where the map has one.
fn collects_signed(agg: AggTy) -> Option<bool> {
    match agg {
        AggTy::Sum(s) | AggTy::Min(s) | AggTy::Max(s) | AggTy::Avg(s) | AggTy::Stats(s) => Some(s),
        AggTy::Tseries { signed, .. } => Some(signed),
        // Buckets below 0 exist, so numbers are told from great ones by their own sign.
        AggTy::Hist { .. } | AggTy::Lhist { .. } | AggTy::Count => None,
    }
}
