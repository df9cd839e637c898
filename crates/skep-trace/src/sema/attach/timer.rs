//! Timers: `interval` and `profile`.

use super::number::{duration, integer};
use super::{Attacher, Facts, Target, part};
use crate::hir::Provider;
use crate::syntax::ast::AttachPoint;
use skep_ir::ProgKind;
use skep_ir::spec::{Attach, Cpus, PerfEvent, Sample};

/// Units of timers, sorted; nanoseconds of one, or `None` for a frequency.
pub(crate) const UNITS: &[(&str, Option<u64>)] =
    &[("hz", None), ("ms", Some(1_000_000)), ("s", Some(1_000_000_000)), ("us", Some(1_000))];

/// Shortest period in nanoseconds.
const MIN_PERIOD: i128 = 1000;

/// `PERF_TYPE_SOFTWARE` and `PERF_COUNT_SW_CPU_CLOCK` of `linux/perf_event.h`.
const SOFTWARE: (u32, u64) = (1, 0);

pub(super) fn interval(a: &mut Attacher<'_, '_>, point: &AttachPoint) -> Vec<Target> {
    timer(a, point, "interval", Provider::Interval, Cpus::One)
}

pub(super) fn profile(a: &mut Attacher<'_, '_>, point: &AttachPoint) -> Vec<Target> {
    timer(a, point, "profile", Provider::Profile, Cpus::Online)
}

fn timer(
    a: &mut Attacher<'_, '_>,
    point: &AttachPoint,
    name: &str,
    provider: Provider,
    cpus: Cpus,
) -> Vec<Target> {
    let (unit, text) = match point.parts.len() {
        1 => (None, part(point, 0)),
        _ => (Some(part(point, 0)), part(point, 1)),
    };
    let parsed = duration(text);
    let (value, has_unit) = match parsed {
        Ok(parsed) => parsed,
        Err(e) => {
            a.error(point.loc, format!("Invalid rate of {name} probe: {e}"));
            return Vec::new();
        }
    };
    let scale = match unit {
        None => Some(1),
        Some(unit) => match UNITS.iter().find(|(u, _)| *u == unit) {
            // A number with its own unit keeps it.
            Some((_, Some(_))) if has_unit => Some(1),
            Some((_, scale)) => *scale,
            None => {
                a.error(point.loc, format!("{unit} is not an accepted unit of time"));
                return Vec::new();
            }
        },
    };
    if value <= 0 {
        a.error(point.loc, format!("{name} frequency should be a positive integer"));
        return Vec::new();
    }
    let sample = match scale {
        None => u64::try_from(value).ok().map(Sample::Frequency),
        Some(scale) => {
            let nanoseconds = value.saturating_mul(i128::from(scale));
            if nanoseconds < MIN_PERIOD {
                a.error(
                    point.loc,
                    format!("Invalid rate of {name} probe. Minimum is 1000 or 1us. Found: {nanoseconds} nanoseconds"),
                );
                return Vec::new();
            }
            u64::try_from(nanoseconds).ok().map(Sample::Period)
        }
    };
    let Some(sample) = sample else {
        a.error(point.loc, format!("Invalid rate of {name} probe: the period is too long"));
        return Vec::new();
    };
    let full = match (unit, sample) {
        (Some(unit), _) => format!("{name}:{unit}:{text}"),
        (None, Sample::Period(n)) => format!("{name}:us:{}", n / 1000),
        (None, Sample::Frequency(n)) => format!("{name}:hz:{n}"),
    };
    let (perf_type, config) = SOFTWARE;
    let pid = a.options.pid;
    let event = PerfEvent { perf_type, config, sample, bp_len: 0, bp_type: 0, cpus, pid };
    let attach = Attach::Perf(event);
    vec![Target { name: full, provider, kind: ProgKind::PerfEvent, attach, facts: Facts::None }]
}

/// A number without a unit; what attach points of counters and breakpoints hold.
pub(super) fn plain(text: &str) -> Result<i128, super::number::BadNumber> {
    integer(text)
}
