//! Histograms.

use super::json;
use super::number;
use crate::types::AggTy;

/// Width of a bar.
const BAR: usize = 52;

/// How the buckets of a histogram are bounded.
#[derive(Copy, Clone)]
pub(super) enum Scale {
    /// Powers of two with 2^bits buckets each.
    Powers {
        /// 0 to 5.
        bits: u32,
    },
    /// Steps.
    Linear {
        /// Lowest value of the first bucket.
        min: i64,
        /// Where the overflow bucket begins.
        max: i64,
        /// Width.
        step: i64,
    },
}

impl Scale {
    /// The scale of a histogram; `None` for other collected numbers.
    pub(super) fn of(agg: AggTy) -> Option<Scale> {
        match agg {
            AggTy::Hist { bits } => Some(Scale::Powers { bits: u32::from(bits) }),
            AggTy::Lhist { min, max, step } => Some(Scale::Linear { min, max, step: step.max(1) }),
            _ => None,
        }
    }

    /// How many buckets there are at most.
    pub(super) fn buckets(self) -> u64 {
        match self {
            Scale::Powers { bits } => ((65 - u64::from(bits)) << bits) + 1,
            Scale::Linear { min, max, step } => {
                (i128::from(max) - i128::from(min)).max(0) as u64 / step as u64 + 2
            }
        }
    }

    /// The lowest value of a bucket; `None` for the one that holds all lower values.
    fn lower(self, bucket: u64) -> Option<i128> {
        let n = i128::from(bucket.checked_sub(1)?);
        Some(match self {
            Scale::Linear { min, step, .. } => i128::from(min) + n * i128::from(step),
            Scale::Powers { bits } => {
                // Up to 2^(bits + 1) a bucket holds one value. Above, 2^bits buckets halve, quarter... a power of 2.
                let (group, part) = (n >> bits, n & ((1 << bits) - 1));
                match u32::try_from(group) {
                    Ok(0) => part,
                    Ok(group) if group <= 64 => ((1_i128 << bits) + part) << (group - 1),
                    _ => i128::from(u64::MAX),
                }
            }
        })
    }

    /// The lowest value of the next bucket; `None` for the one that holds all higher values.
    fn upper(self, bucket: u64) -> Option<i128> {
        let bound = self.lower(bucket.saturating_add(1));
        match self {
            Scale::Linear { max, .. } => bound.filter(|bound| *bound <= i128::from(max)),
            Scale::Powers { .. } => bound,
        }
    }

    /// A bound as the label of a row has it.
    fn label(self, out: &mut Vec<u8>, bound: i128) {
        const KILO: i128 = 1 << 10;
        const MEGA: i128 = 1 << 20;
        let (number, suffix) = match self {
            Scale::Powers { bits } => {
                // The suffix goes with the width of a bucket: between 1024 and 2048 those of a histogram of quarters
                // are 256 wide, and their bounds are written out.
                let exponent = (127 - bound.max(1).leading_zeros()).saturating_sub(bits);
                let thousands = exponent / 10;
                (bound >> (10 * thousands), [" ", "K", "M", "G", "T", "P", "E"][thousands.min(6) as usize])
            }
            Scale::Linear { step, .. } if i128::from(step) % KILO != 0 || bound == 0 => (bound, " "),
            Scale::Linear { .. } if bound % MEGA == 0 => (bound / MEGA, "M"),
            Scale::Linear { .. } if bound % KILO == 0 => (bound / KILO, "K"),
            Scale::Linear { .. } => (bound, " "),
        };
        number::write(out, format_args!("{number}{}", suffix.trim()));
    }
}

/// Rows from the first to the last bucket that is not empty, with a bar each.
pub(super) fn text(out: &mut Vec<u8>, scale: Scale, buckets: &[(u64, u64)]) {
    let highest = buckets.iter().map(|(_, count)| *count).max().unwrap_or(0);
    for (bucket, count) in filled(buckets) {
        let start = out.len();
        let (lower, upper) = (scale.lower(bucket), scale.upper(bucket));
        match (lower, upper) {
            (Some(lower), Some(upper)) if upper - lower == 1 => {
                out.push(b'[');
                scale.label(out, lower);
                out.push(b']');
            }
            _ => {
                out.push(if lower.is_some() { b'[' } else { b'(' });
                match lower {
                    Some(lower) => scale.label(out, lower),
                    None => out.extend_from_slice(b"..."),
                }
                out.extend_from_slice(b", ");
                match upper {
                    Some(upper) => scale.label(out, upper),
                    None => out.extend_from_slice(b"..."),
                }
                out.push(b')');
            }
        }
        number::pad(out, start, 16, true, b' ');
        let start = out.len();
        number::unsigned(out, count);
        number::pad(out, start, 8, false, b' ');
        out.extend_from_slice(b" |");
        let start = out.len();
        // In single precision, as the bars that users compare with are computed.
        let bar = if highest == 0 { 0 } else { (count as f32 / highest as f32 * BAR as f32) as usize };
        out.resize(start + bar.min(BAR), b'@');
        number::pad(out, start, BAR as u32, true, b' ');
        out.extend_from_slice(b"|\n");
    }
}

/// The same as a list of objects. Bounds are inclusive there.
pub(super) fn as_json(out: &mut Vec<u8>, scale: Scale, buckets: &[(u64, u64)]) {
    json::list(out, filled(buckets), |out, (bucket, count)| {
        out.push(b'{');
        if let Some(lower) = scale.lower(bucket) {
            out.extend_from_slice(b"\"min\": ");
            bound(out, lower);
            out.extend_from_slice(b", ");
        }
        if let Some(upper) = scale.upper(bucket) {
            out.extend_from_slice(b"\"max\": ");
            bound(out, upper - 1);
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(b"\"count\": ");
        number::unsigned(out, count);
        out.push(b'}');
    });
}

fn bound(out: &mut Vec<u8>, n: i128) {
    match i64::try_from(n) {
        Ok(n) => json::integer(out, n, true),
        Err(_) => json::integer(out, n as u64 as i64, false),
    }
}

/// All buckets from the first to the last.
fn filled(buckets: &[(u64, u64)]) -> impl Iterator<Item = (u64, u64)> {
    let range = match buckets {
        [] => 0..0,
        [(first, _), ..] => *first..buckets.last().map_or(0, |(last, _)| last.saturating_add(1)),
    };
    let mut given = buckets.iter().copied().peekable();
    range.map(move |bucket| (bucket, given.next_if(|(n, _)| *n == bucket).map_or(0, |(_, count)| count)))
}
