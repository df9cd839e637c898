//! Counters: events that the kernel (`software`) or the processor (`hardware`) counts.

use super::timer::plain;
use super::{Attacher, Facts, Target, glob, part, suggest};
use crate::hir::Provider;
use crate::syntax::ast::AttachPoint;
use skep_ir::ProgKind;
use skep_ir::spec::{Attach, Cpus, PerfEvent, Sample};

/// An event: names (the first is the one that lists show), `PERF_COUNT_*` of `linux/perf_event.h`, and how
/// many of it make one sample if the script does not say.
pub(crate) struct Event {
    pub(crate) name: &'static str,
    pub(crate) alias: &'static str,
    config: u64,
    count: u64,
}

const fn event(name: &'static str, alias: &'static str, config: u64, count: u64) -> Event {
    Event { name, alias, config, count }
}

/// Events that the kernel counts.
pub(crate) const SOFTWARE: &[Event] = &[
    event("alignment-faults", "", 7, 1),
    event("bpf-output", "", 10, 1),
    event("context-switches", "cs", 3, 1000),
    event("cpu-clock", "cpu", 0, 1_000_000),
    event("cpu-migrations", "", 4, 1),
    event("dummy", "", 9, 1),
    event("emulation-faults", "", 8, 1),
    event("major-faults", "", 6, 1),
    event("minor-faults", "", 5, 100),
    event("page-faults", "faults", 2, 100),
    event("task-clock", "", 1, 1),
];

/// Events that the processor counts.
pub(crate) const HARDWARE: &[Event] = &[
    event("backend-stalls", "", 8, 1_000_000),
    event("branch-instructions", "branches", 4, 100_000),
    event("branch-misses", "", 5, 100_000),
    event("bus-cycles", "", 6, 1_000_000),
    event("cache-misses", "", 3, 1_000_000),
    event("cache-references", "", 2, 1_000_000),
    event("cpu-cycles", "cycles", 0, 1_000_000),
    event("frontend-stalls", "", 7, 1_000_000),
    event("instructions", "", 1, 1_000_000),
    event("ref-cycles", "", 9, 1_000_000),
];

pub(super) fn software(a: &mut Attacher<'_, '_>, point: &AttachPoint) -> Vec<Target> {
    counter(a, point, "software", Provider::Software, 1, SOFTWARE)
}

pub(super) fn hardware(a: &mut Attacher<'_, '_>, point: &AttachPoint) -> Vec<Target> {
    counter(a, point, "hardware", Provider::Hardware, 0, HARDWARE)
}

fn counter(
    a: &mut Attacher<'_, '_>,
    point: &AttachPoint,
    kind: &str,
    provider: Provider,
    perf_type: u32,
    events: &[Event],
) -> Vec<Target> {
    let (name, text) = (part(point, 0), part(point, 1));
    if name.is_empty() {
        a.error(point.loc, format!("{kind} probe must have a {kind} event name"));
        return Vec::new();
    }
    if glob::is_pattern(name) {
        a.error(point.loc, format!("wildcards are not allowed for {kind} probe type"));
        return Vec::new();
    }
    let Some(event) = events.iter().find(|e| e.name == name || (!e.alias.is_empty() && e.alias == name))
    else {
        let mut note = skep_ir::Diagnostic::error(point.loc, format!("{name} is not a {kind} probe"));
        if let Some(near) = suggest::nearest(name, events.iter().map(|e| e.name)) {
            note = note.hint(format!("Did you mean {near}?"));
        }
        a.failed = true;
        a.diags.push(crate::sema::diags::Stage::Attach, note);
        return Vec::new();
    };
    let count = if text.is_empty() { Ok(0) } else { plain(text) };
    let count = match count {
        Ok(0) => event.count,
        Ok(n) => match u64::try_from(n) {
            Ok(n) => n,
            Err(_) => {
                a.error(point.loc, format!("{kind} count should be a positive integer"));
                return Vec::new();
            }
        },
        Err(e) => {
            a.error(point.loc, format!("Invalid count for {kind} probe: {e}"));
            return Vec::new();
        }
    };
    let full = point.parts.iter().fold(kind.to_owned(), |name, p| format!("{name}:{}", p.text));
    let event = PerfEvent {
        perf_type,
        config: event.config,
        sample: Sample::Period(count),
        bp_len: 0,
        bp_type: 0,
        cpus: Cpus::Online,
        pid: a.options.pid,
    };
    let attach = Attach::Perf(event);
    vec![Target { name: full, provider, kind: ProgKind::PerfEvent, attach, facts: Facts::None }]
}
