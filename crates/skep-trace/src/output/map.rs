//! Whole maps.

use super::elements::{Row, Table, Total, mean};
use super::histogram::{self, Scale};
use super::host::Sink;
use super::printer::OutputFormat;
use super::series::Series;
use super::values::Values;
use super::{json, number, time};
use crate::plan::{Clock, Layout, MapPlan, MapValue};
use crate::types::AggTy;

/// Text of a large map is handed on in pieces of about so many bytes.
const PIECE: usize = 64 << 10;

/// Which elements of a map are printed, and how.
#[derive(Copy, Clone)]
pub(super) struct Selection {
    /// Only so many of the last in order; 0 for all.
    pub(super) top: u64,
    /// Integer values are divided by it; 0 for none.
    pub(super) div: u64,
}

/// The kind of a map as its object in JSON names it.
fn kind(value: &MapValue) -> &'static str {
    match value {
        MapValue::Agg(AggTy::Avg(_) | AggTy::Stats(_)) => "stats",
        MapValue::Agg(AggTy::Hist { .. } | AggTy::Lhist { .. }) => "hist",
        MapValue::Agg(AggTy::Tseries { .. }) => "tseries",
        _ => "map",
    }
}

impl Values<'_> {
    /// Prints the elements of a map.
    pub(super) fn table(
        &mut self,
        out: &mut Vec<u8>,
        plan: &MapPlan,
        table: &Table,
        selection: Selection,
        sink: &mut dyn Sink,
    ) {
        let stats = matches!(plan.value, MapValue::Agg(AggTy::Stats(_)));
        let selection = if stats { Selection { top: 0, div: 0 } } else { selection };
        let top = usize::try_from(selection.top).unwrap_or(usize::MAX);
        let first = if top == 0 { 0 } else { table.rows.len().saturating_sub(top) };
        let div = selection.div.max(1);
        let rows = &table.rows[first..];
        if rows.is_empty() {
            return;
        }
        let span = self.span(plan, table);
        if self.settings.format == OutputFormat::Text {
            for row in rows {
                self.text_row(out, plan, table, row, div, span);
                if out.len() >= PIECE {
                    sink.output(out);
                    out.clear();
                }
            }
            return;
        }
        number::write(out, format_args!("{{\"type\": \"{}\", \"data\": {{", kind(&plan.value)));
        json::string(out, plan.name.as_bytes());
        out.extend_from_slice(b": ");
        match &plan.key {
            None => self.json_total(out, plan, table, &rows[0], div, span),
            Some(key) => {
                out.push(b'{');
                for (n, row) in rows.iter().enumerate() {
                    if n > 0 {
                        out.extend_from_slice(b", ");
                    }
                    self.json_key(out, key, table.key(row));
                    out.extend_from_slice(b": ");
                    self.json_total(out, plan, table, row, div, span);
                }
                out.push(b'}');
            }
        }
        out.extend_from_slice(b"}}\n");
    }

    /// The intervals that a series shows: so many as it keeps, up to the newest of all keys.
    fn span(&self, plan: &MapPlan, table: &Table) -> (u64, u64) {
        let MapValue::Agg(AggTy::Tseries { count, .. }) = plan.value else { return (0, 0) };
        let newest = |row: &Row| match &row.total {
            Total::Series(series) => series.last_key_value().map(|(interval, _)| *interval),
            _ => None,
        };
        let last = table.rows.iter().filter_map(newest).max().unwrap_or(0);
        (last.saturating_sub(u64::from(count.max(1)) - 1), last)
    }

    fn text_row(
        &mut self,
        out: &mut Vec<u8>,
        plan: &MapPlan,
        table: &Table,
        row: &Row,
        div: u64,
        span: (u64, u64),
    ) {
        out.extend_from_slice(plan.name.as_bytes());
        if let Some(key) = &plan.key {
            out.push(b'[');
            self.key(out, key, table.key(row));
            out.push(b']');
        }
        out.push(b':');
        match &row.total {
            Total::Buckets(_) | Total::Series(_) => out.push(b'\n'),
            _ => out.push(b' '),
        }
        match (&row.total, &plan.value) {
            (Total::Bytes(range), MapValue::Plain(layout)) => {
                match divided(layout, table.bytes(range), div) {
                    Some((n, signed)) => number::integer(out, n, signed),
                    None => self.text(out, layout, table.bytes(range)),
                }
            }
            (Total::Number(n), value) => {
                let signed = is_signed(value);
                number::integer(out, divide(*n, div, signed), signed);
            }
            (Total::Stats(total, count), MapValue::Agg(AggTy::Stats(signed))) => {
                number::write(out, format_args!("{{ .count = {count}, .average = "));
                number::integer(out, mean(*total, *count, *signed), *signed);
                out.extend_from_slice(b", .total = ");
                number::integer(out, *total, *signed);
                out.extend_from_slice(b" }");
            }
            (Total::Stats(total, count), value) => {
                let signed = is_signed(value);
                number::integer(out, divide(mean(*total, *count, signed), div, signed), signed);
            }
            (Total::Buckets(buckets), MapValue::Agg(agg)) => {
                if let Some(scale) = Scale::of(*agg) {
                    histogram::text(out, scale, &fewer(buckets, div));
                }
            }
            (Total::Series(_), _) => {
                if let Some(series) = self.series(plan, row, span) {
                    series.text(out, time::zone(self.cache, self.names));
                }
            }
            _ => {}
        }
        out.push(b'\n');
    }

    fn json_total(
        &mut self,
        out: &mut Vec<u8>,
        plan: &MapPlan,
        table: &Table,
        row: &Row,
        div: u64,
        span: (u64, u64),
    ) {
        match (&row.total, &plan.value) {
            (Total::Bytes(range), MapValue::Plain(layout)) => {
                match divided(layout, table.bytes(range), div) {
                    Some((n, signed)) => json::integer(out, n, signed),
                    None => self.json(out, layout, table.bytes(range)),
                }
            }
            (Total::Number(n), value) => {
                let signed = is_signed(value);
                json::integer(out, divide(*n, div, signed), signed);
            }
            (Total::Stats(total, count), MapValue::Agg(AggTy::Stats(signed))) => {
                out.extend_from_slice(b"{\"count\": ");
                json::integer(out, *count as i64, false);
                out.extend_from_slice(b", \"average\": ");
                json::integer(out, mean(*total, *count, *signed), *signed);
                out.extend_from_slice(b", \"total\": ");
                json::integer(out, *total, *signed);
                out.push(b'}');
            }
            (Total::Stats(total, count), value) => {
                let signed = is_signed(value);
                json::integer(out, divide(mean(*total, *count, signed), div, signed), signed);
            }
            (Total::Buckets(buckets), MapValue::Agg(agg)) => {
                if let Some(scale) = Scale::of(*agg) {
                    histogram::as_json(out, scale, &fewer(buckets, div));
                }
            }
            (Total::Series(_), _) => {
                if let Some(series) = self.series(plan, row, span) {
                    series.json(out);
                }
            }
            _ => out.extend_from_slice(b"null"),
        }
    }

    fn series(&mut self, plan: &MapPlan, row: &Row, span: (u64, u64)) -> Option<Series> {
        let (Total::Series(values), MapValue::Agg(AggTy::Tseries { interval, signed, .. })) =
            (&row.total, &plan.value)
        else {
            return None;
        };
        // The two differ by whole seconds; what is more was between reading one clock and the other.
        const SECOND: i64 = 1_000_000_000;
        let offset = self.names.clock_offset(Clock::Tai);
        let offset = offset.saturating_add(SECOND / 2).div_euclid(SECOND) * SECOND;
        let start = |number: u64| (number.wrapping_mul(*interval) as i64).wrapping_add(offset);
        Some(Series::new(values, span, start, *signed))
    }
}

/// Whether the number that a map's values amount to is signed.
fn is_signed(value: &MapValue) -> bool {
    match value {
        MapValue::Plain(Layout::Int { signed, .. }) => *signed,
        MapValue::Agg(
            AggTy::Sum(signed)
            | AggTy::Min(signed)
            | AggTy::Max(signed)
            | AggTy::Avg(signed)
            | AggTy::Stats(signed),
        ) => *signed,
        _ => false,
    }
}

fn divide(n: i64, div: u64, is_signed: bool) -> i64 {
    if is_signed { (i128::from(n) / i128::from(div)) as i64 } else { (n as u64 / div) as i64 }
}

/// An integer value divided; `None` if it is no integer.
fn divided(layout: &Layout, bytes: &[u8], div: u64) -> Option<(i64, bool)> {
    let Layout::Int { signed, .. } = layout else { return None };
    let (n, _) = super::values::as_integer(layout, bytes)?;
    Some((divide(n, div, *signed), *signed))
}

/// Buckets with their counts divided.
fn fewer(buckets: &[(u64, u64)], div: u64) -> Vec<(u64, u64)> {
    buckets.iter().map(|(bucket, count)| (*bucket, count / div)).collect()
}
