//! Series of values over time.

use super::host::Zone;
use super::json;
use super::number;
use super::time;
use std::collections::BTreeMap;

/// Width of the graph.
const GRAPH: usize = 53;
/// Columns for the lowest value above and below it.
const LOWEST: u32 = 21;

/// A series to be printed.
pub(super) struct Series {
    /// Start of each interval in nanoseconds since 1970, and its value.
    rows: Vec<(i64, Option<i64>)>,
    signed: bool,
}

impl Series {
    /// The part of a series between two intervals: from the first to the last value there.
    pub(super) fn new(
        values: &BTreeMap<u64, i64>,
        (first, last): (u64, u64),
        start_of: impl Fn(u64) -> i64,
        signed: bool,
    ) -> Series {
        let mut rows: Vec<(i64, Option<i64>)> = Vec::new();
        let mut next = None;
        for (&interval, &value) in values.range(first.min(last)..=last) {
            for missing in next.unwrap_or(interval)..interval {
                rows.push((start_of(missing), None));
            }
            rows.push((start_of(interval), Some(value)));
            next = Some(interval.saturating_add(1));
        }
        Series { rows, signed }
    }

    fn wide(&self, n: i64) -> i128 {
        if self.signed { i128::from(n) } else { i128::from(n as u64) }
    }

    /// Lowest and highest value, which differ.
    fn range(&self) -> (i128, i128) {
        let values = || self.rows.iter().filter_map(|(_, value)| value.map(|n| self.wide(n)));
        let (low, high) = (values().min().unwrap_or(0), values().max().unwrap_or(0));
        if low < high {
            return (low, high);
        }
        let limits = if self.signed {
            (i128::from(i64::MIN), i128::from(i64::MAX))
        } else {
            (0, i128::from(u64::MAX))
        };
        ((low - 1).max(limits.0), (high + 1).min(limits.1))
    }

    /// Name of the unit that separates rows and its digits behind the seconds.
    fn unit(&self) -> (&'static str, usize) {
        let between = match self.rows.as_slice() {
            [first, .., last] => last.0.wrapping_sub(first.0) / (self.rows.len() as i64 - 1),
            _ => 1,
        };
        match between {
            n if n % 1_000_000_000 == 0 => ("", 0),
            n if n % 1_000_000 == 0 => (".ms", 3),
            n if n % 1_000 == 0 => (".us", 6),
            _ => (".ns", 9),
        }
    }

    /// A graph with a row for each interval.
    pub(super) fn text(&self, out: &mut Vec<u8>, zone: &Zone) {
        if self.rows.is_empty() {
            out.extend_from_slice(b"<no data>");
            return;
        }
        let (low, high) = self.range();
        let (unit, digits) = self.unit();
        let width = "hh:mm:ss".len() + if digits > 0 { 1 + digits } else { 0 };
        let bounds = |out: &mut Vec<u8>| {
            out.resize(out.len() + width + 1, b' ');
            let mut start = out.len();
            number::write(out, format_args!("{low}"));
            number::pad(out, start, LOWEST, true, b' ');
            start = out.len();
            number::write(out, format_args!("{high}"));
            number::pad(out, start, GRAPH as u32 - LOWEST, false, b' ');
            out.push(b'\n');
        };
        let edge = |out: &mut Vec<u8>, corner: u8| {
            out.push(corner);
            out.resize(out.len() + GRAPH - 2, b'_');
            out.extend_from_slice(&[corner, b'\n']);
        };
        bounds(out);
        let start = out.len();
        number::write(out, format_args!("hh:mm:ss{unit}"));
        number::pad(out, start, width as u32 + 1, true, b' ');
        edge(out, b'|');
        // In single precision, as the graphs that users compare with are computed.
        let place = |columns: usize, n: i128| {
            let column = columns as f32 * (n - low) as f32 / (high - low) as f32;
            (column as usize).min(GRAPH - 1)
        };
        for (start, value) in &self.rows {
            time::time_of_day(out, *start, digits, zone);
            out.push(b' ');
            let mut line = [b' '; GRAPH];
            (line[0], line[GRAPH - 1]) = (b'|', b'|');
            if low < 0 && high > 0 {
                let zero = place(GRAPH, 0);
                if zero > 0 {
                    line[zero] = b'.';
                }
            }
            if let Some(n) = value {
                line[place(GRAPH - 1, self.wide(*n))] = b'*';
            }
            out.extend_from_slice(&line);
            out.push(b' ');
            match value {
                Some(n) => number::integer(out, *n, self.signed),
                None => out.push(b'-'),
            }
            out.push(b'\n');
        }
        out.resize(out.len() + width + 1, b' ');
        edge(out, b'v');
        bounds(out);
    }

    /// A list of objects; times are universal.
    pub(super) fn json(&self, out: &mut Vec<u8>) {
        let zone = Zone::utc();
        json::list(out, self.rows.iter(), |out, (start, value)| {
            out.extend_from_slice(b"{\"interval_start\":\"");
            time::strftime(out, "%Y-%m-%d ", *start, &zone);
            time::time_of_day(out, *start, 9, &zone);
            out.extend_from_slice(b"\",\"value\":");
            match value {
                Some(n) => json::integer(out, *n, self.signed),
                None => out.extend_from_slice(b"null"),
            }
            out.push(b'}');
        });
    }
}
