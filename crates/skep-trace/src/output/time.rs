//! Times of day.

use super::host::{Resolver, Zone};
use super::number::{self, read};
use super::values::{Cache, Values};
use crate::plan::Clock;
use jiff::Timestamp;
use jiff::fmt::strtime::{BrokenDownTime, Config, PosixCustom};

/// Writes a point in time, nanoseconds since 1970, as `strftime` does. `%f` is the microseconds in 6 digits.
pub(super) fn strftime(out: &mut Vec<u8>, format: &str, unix: i64, zone: &Zone) {
    let Ok(timestamp) = Timestamp::from_nanosecond(i128::from(unix)) else { return };
    let zoned = timestamp.to_zoned(zone.0.clone());
    let time = BrokenDownTime::from(&zoned);
    // In the way of C, and what is no conversion is printed as it stands.
    let config = Config::new().custom(PosixCustom::new()).lenient(true);
    let text = time.to_string_with_config(&config, microseconds(format));
    out.extend_from_slice(text.as_deref().unwrap_or(format).as_bytes());
}

/// A format with the microseconds as the library knows them.
fn microseconds(format: &str) -> String {
    let mut out = String::with_capacity(format.len() + 8);
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        let len = rest[at + 1..].chars().next().map_or(0, char::len_utf8);
        let (head, tail) = rest.split_at(at + 1 + len);
        out.push_str(&rest[..at]);
        out.push_str(if head.ends_with("%f") { "%6f" } else { &head[at..] });
        rest = tail;
    }
    out + rest
}

/// Local time, asked for once.
pub(super) fn zone<'c>(cache: &'c mut Cache, names: &mut dyn Resolver) -> &'c Zone {
    cache.zone.get_or_insert_with(|| names.zone())
}

/// Hours, minutes, seconds and so many digits behind them.
pub(super) fn time_of_day(out: &mut Vec<u8>, unix: i64, digits: usize, zone: &Zone) {
    strftime(out, "%H:%M:%S", unix, zone);
    if digits > 0 {
        let fraction = unix.rem_euclid(1_000_000_000) / 10_i64.pow(9 - digits.min(9) as u32);
        number::write(out, format_args!(".{fraction:0digits$}"));
    }
}

impl Values<'_> {
    /// Nanoseconds, format and clock of `strftime()`.
    pub(super) fn timestamp(&mut self, out: &mut Vec<u8>, bytes: &[u8]) {
        let clock = match read(bytes, 12, 4) as u32 {
            n if n == Clock::Tai as u32 => Clock::Tai,
            n if n == Clock::Monotonic as u32 => Clock::Monotonic,
            _ => Clock::Boot,
        };
        let unix = (read(bytes, 0, 8) as i64).wrapping_add(self.names.clock_offset(clock));
        let plan = self.plan;
        let Some(format) = plan.time_formats.get(read(bytes, 8, 4) as usize) else { return };
        strftime(out, format, unix, zone(self.cache, self.names));
    }
}
