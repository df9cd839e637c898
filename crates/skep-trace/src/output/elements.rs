//! Elements of maps: read, put together over all CPUs, and brought into order.

use super::histogram::Scale;
use super::host::{MapError, Maps};
use super::number::{extend, read};
use crate::plan::{Layout, MapPlan, MapValue, Storage};
use crate::types::{AggTy, SeriesAgg};
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// What an element amounts to.
pub(super) enum Total {
    /// Bytes of the table, to be read by the layout of the map's values.
    Bytes(Range<usize>),
    /// An integer.
    Number(i64),
    /// Sum and count of statistics.
    Stats(i64, u64),
    /// Buckets that are not empty and their counts, in order.
    Buckets(Vec<(u64, u64)>),
    /// Values by the number of their interval.
    Series(BTreeMap<u64, i64>),
}

/// An element.
pub(super) struct Row {
    key: Range<usize>,
    /// Its value.
    pub(super) total: Total,
    /// Decides the order; equal ones are ordered by their keys.
    rank: u64,
}

/// The elements of a map.
pub(super) struct Table {
    /// In order.
    pub(super) rows: Vec<Row>,
    /// Whether a map without key has ever been written.
    pub(super) written: bool,
    bytes: Vec<u8>,
}

impl Table {
    /// Reads a map.
    pub(super) fn read(plan: &MapPlan, maps: &mut dyn Maps) -> Result<Table, MapError> {
        let mut table = Table { rows: Vec::new(), written: true, bytes: Vec::new() };
        let cpus = maps.possible_cpus().max(1);
        match (&plan.value, plan.storage) {
            (MapValue::Agg(agg), Storage::Buckets | Storage::KeyedBuckets) => {
                table.read_buckets(plan, *agg, maps)?;
            }
            _ => table.read_elements(plan, cpus, maps)?,
        }
        for row in &mut table.rows {
            row.rank = rank(&plan.value, &row.total, &table.bytes);
        }
        let (rows, bytes) = (&mut table.rows, &table.bytes);
        rows.sort_by(|a, b| {
            let keys = || match &plan.key {
                Some(key) => compare(key, &bytes[a.key.clone()], &bytes[b.key.clone()]),
                None => Ordering::Equal,
            };
            a.rank.cmp(&b.rank).then_with(keys)
        });
        Ok(table)
    }

    /// The key of an element, as the script sees it.
    pub(super) fn key(&self, row: &Row) -> &[u8] {
        &self.bytes[row.key.clone()]
    }

    /// Bytes of [`Total::Bytes`].
    pub(super) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    fn read_elements(&mut self, plan: &MapPlan, cpus: usize, maps: &mut dyn Maps) -> Result<(), MapError> {
        maps.elements(plan.id, &mut |key, value| {
            let key = self.keep(&key[..key.len().min(plan.key_size as usize)]);
            let cells = Cells::new(plan.storage, value, cpus);
            if let Storage::Single { .. } = plan.storage {
                self.written = cells.iter().any(|cell| read(cell, cell.len().saturating_sub(8), 8) != 0);
            }
            let total = match &plan.value {
                MapValue::Agg(agg) => reduce(*agg, &cells),
                MapValue::Plain(_) => Total::Bytes(self.keep(cells.iter().next().unwrap_or(&[]))),
            };
            self.rows.push(Row { key, total, rank: 0 });
        })
    }

    fn read_buckets(&mut self, plan: &MapPlan, agg: AggTy, maps: &mut dyn Maps) -> Result<(), MapError> {
        let key_size = plan.key_size as usize;
        // Where the number of a bucket stands: an array's index is the number.
        let number_at = if plan.storage == Storage::KeyedBuckets { key_size.next_multiple_of(8) } else { 0 };
        let limit = Scale::of(agg).map_or(u64::MAX, Scale::buckets);
        let mut rows: HashMap<Vec<u8>, usize> = HashMap::new();
        maps.elements(plan.id, &mut |key, value| {
            let number = match plan.storage {
                Storage::KeyedBuckets => read(key, number_at, 8),
                _ => read(key, 0, 4),
            };
            let key = &key[..key.len().min(key_size)];
            if plan.storage == Storage::Buckets && value.iter().all(|b| *b == 0) {
                return;
            }
            let at = match rows.get(key) {
                Some(at) => *at,
                None => {
                    let total = match agg {
                        AggTy::Tseries { .. } => Total::Series(BTreeMap::new()),
                        _ => Total::Buckets(Vec::new()),
                    };
                    rows.insert(key.to_vec(), self.rows.len());
                    let key = self.keep(key);
                    self.rows.push(Row { key, total, rank: 0 });
                    self.rows.len() - 1
                }
            };
            match (&mut self.rows[at].total, agg) {
                (Total::Series(series), AggTy::Tseries { agg, signed, .. }) => {
                    let (interval, value) = interval(agg, signed, value);
                    series.insert(interval, value);
                }
                (Total::Buckets(buckets), _) => {
                    let count = value.chunks(8).fold(0_u64, |sum, cell| sum.wrapping_add(read(cell, 0, 8)));
                    if count > 0 && number < limit {
                        buckets.push((number, count));
                    }
                }
                _ => {}
            }
        })?;
        for row in &mut self.rows {
            if let Total::Buckets(buckets) = &mut row.total {
                buckets.sort_unstable();
                // A hash that is written while it is read may yield an element twice.
                buckets.dedup_by_key(|(number, _)| *number);
            }
        }
        Ok(())
    }
}

/// The values of an element: one, or one for each CPU.
struct Cells<'b> {
    bytes: &'b [u8],
    size: usize,
}

impl<'b> Cells<'b> {
    fn new(storage: Storage, bytes: &'b [u8], cpus: usize) -> Cells<'b> {
        let per_cpu = matches!(storage, Storage::Single { per_cpu: true } | Storage::Hash { per_cpu: true });
        let size = if per_cpu { (bytes.len() / cpus).next_multiple_of(8) } else { bytes.len() };
        Cells { bytes, size: size.max(1) }
    }

    fn iter(&self) -> impl Iterator<Item = &'b [u8]> {
        self.bytes.chunks(self.size)
    }
}

/// Puts the cells of all CPUs together, which are laid out as [`skep_ir::inst::Agg`] says.
fn reduce(agg: AggTy, cells: &Cells<'_>) -> Total {
    let sum = |offset| cells.iter().fold(0_u64, |sum, cell| sum.wrapping_add(read(cell, offset, 8)));
    let set = || cells.iter().filter(|cell| read(cell, 8, 8) != 0).map(|cell| read(cell, 0, 8));
    let signed = |n: u64| n as i64;
    Total::Number(match agg {
        AggTy::Min(true) => set().map(signed).min().unwrap_or(0),
        AggTy::Min(false) => signed(set().min().unwrap_or(0)),
        AggTy::Max(true) => set().map(signed).max().unwrap_or(0),
        AggTy::Max(false) => signed(set().max().unwrap_or(0)),
        AggTy::Avg(_) | AggTy::Stats(_) => return Total::Stats(signed(sum(0)), sum(8)),
        _ => signed(sum(0)),
    })
}

/// The mean of a sum, truncated; 0 of nothing.
pub(super) fn mean(total: i64, count: u64, is_signed: bool) -> i64 {
    match (count, is_signed) {
        (0, _) => 0,
        (count, true) => (i128::from(total) / i128::from(count)) as i64,
        (count, false) => (total as u64 / count) as i64,
    }
}

/// The interval of a slot of a series, and the value that all CPUs together have for it. A CPU whose cell is of
/// an earlier interval has nothing for this one.
fn interval(agg: SeriesAgg, signed: bool, value: &[u8]) -> (u64, i64) {
    // Value; count, set flag or time; interval.
    let cells =
        || value.chunks(24).map(|cell| (read(cell, 0, 8) as i64, read(cell, 8, 8), read(cell, 16, 8)));
    let newest = cells().map(|(.., interval)| interval).max().unwrap_or(0);
    let cells = || cells().filter(|(.., interval)| *interval == newest);
    let set = || cells().filter(|(_, meta, _)| *meta != 0).map(|(value, ..)| value);
    let value = match agg {
        SeriesAgg::Last => cells().filter(|c| c.1 != 0).max_by_key(|c| c.1).map_or(0, |c| c.0),
        SeriesAgg::Sum => cells().fold(0_i64, |sum, (value, ..)| sum.wrapping_add(value)),
        SeriesAgg::Avg => {
            let sum = cells().fold(0_i64, |sum, (value, ..)| sum.wrapping_add(value));
            let count = cells().fold(0_u64, |sum, (_, count, _)| sum.wrapping_add(count));
            mean(sum, count, signed)
        }
        SeriesAgg::Min if signed => set().min().unwrap_or(0),
        SeriesAgg::Min => set().map(|n| n as u64).min().unwrap_or(0) as i64,
        SeriesAgg::Max if signed => set().max().unwrap_or(0),
        SeriesAgg::Max => set().map(|n| n as u64).max().unwrap_or(0) as i64,
    };
    (newest, value)
}

/// A number that orders as a signed or unsigned one does.
fn ordered(n: i64, is_signed: bool) -> u64 {
    if is_signed { n as u64 ^ (1 << 63) } else { n as u64 }
}

/// What decides the order of an element before its key does.
fn rank(value: &MapValue, total: &Total, bytes: &[u8]) -> u64 {
    match (value, total) {
        // As a user of the language knows them: unsigned, whatever their type.
        (MapValue::Agg(AggTy::Min(_) | AggTy::Max(_)), Total::Number(n)) => *n as u64,
        (MapValue::Agg(AggTy::Sum(signed)), Total::Number(n)) => ordered(*n, *signed),
        (MapValue::Agg(AggTy::Avg(signed) | AggTy::Stats(signed)), Total::Stats(total, count)) => {
            ordered(mean(*total, *count, *signed), *signed)
        }
        (MapValue::Plain(Layout::Int { signed, .. }), Total::Number(n)) => ordered(*n, *signed),
        (
            MapValue::Plain(Layout::Int { bytes: size, signed } | Layout::Enum { bytes: size, signed, .. }),
            Total::Bytes(range),
        ) => ordered(extend(read(&bytes[range.clone()], 0, 8), *size, *signed), *signed),
        (_, Total::Number(n)) => *n as u64,
        (_, Total::Buckets(buckets)) => buckets.iter().fold(0, |sum: u64, (_, n)| sum.saturating_add(*n)),
        (_, Total::Series(series)) => series.last_key_value().map_or(0, |(interval, _)| *interval),
        _ => 0,
    }
}

/// Order of keys: integers as signed numbers, strings by their bytes, what has parts one part after the other.
fn compare(layout: &Layout, a: &[u8], b: &[u8]) -> Ordering {
    let tail =
        |bytes: &'_ [u8], offset: u32| -> Range<usize> { (offset as usize).min(bytes.len())..bytes.len() };
    match layout {
        Layout::Int { bytes, .. } | Layout::Enum { bytes, .. } => {
            let number = |key| extend(read(key, 0, usize::from(*bytes)), *bytes, true);
            number(a).cmp(&number(b))
        }
        Layout::Bool => a.first().cmp(&b.first()),
        Layout::Str(capacity) => {
            let cut = |key: &[u8]| key.len().min(*capacity as usize);
            a[..cut(a)].cmp(&b[..cut(b)])
        }
        Layout::Array { elem, size, len } => (0..*len)
            .map(|n| n.saturating_mul(*size))
            .map(|at| compare(elem, &a[tail(a, at)], &b[tail(b, at)]))
            .find(|o| o.is_ne())
            .unwrap_or(Ordering::Equal),
        Layout::Tuple(elems) => elems
            .iter()
            .map(|(at, elem)| compare(elem, &a[tail(a, *at)], &b[tail(b, *at)]))
            .find(|o| o.is_ne())
            .unwrap_or(Ordering::Equal),
        Layout::Record(fields) => fields
            .iter()
            .map(|f| compare(&f.layout, &a[tail(a, f.offset)], &b[tail(b, f.offset)]))
            .find(|o| o.is_ne())
            .unwrap_or(Ordering::Equal),
        Layout::Buf(capacity) => super::values::buffer(a, *capacity).cmp(super::values::buffer(b, *capacity)),
        Layout::None => Ordering::Equal,
        _ => read(a, 0, 8).cmp(&read(b, 0, 8)),
    }
}
