//! `tracepoint:SUBSYSTEM:EVENT`

use super::{Attacher, Facts, Target, glob, part, suggest};
use crate::hir::Provider;
use crate::syntax::ast::AttachPoint;
use skep_ir::spec::Attach;
use skep_ir::{Diagnostic, ProgKind};

pub(super) fn resolve(a: &mut Attacher<'_, '_>, point: &AttachPoint) -> Vec<Target> {
    let (category, event) = (part(point, 0), part(point, 1));
    if category.is_empty() || event.is_empty() {
        a.error(point.loc, "tracepoint probe must have a target");
        return Vec::new();
    }
    if glob::is_pattern(category) || glob::is_pattern(event) {
        let all = a.env.tracepoints();
        if all.is_empty() {
            unavailable(a, point);
        }
        let chosen = all.into_iter().filter(|(c, e)| glob::matches(category, c) && glob::matches(event, e));
        return chosen.map(|(c, e)| target(c, e)).collect();
    }
    if a.env.tracepoint_format(category, event).is_some() {
        return vec![target(category.to_owned(), event.to_owned())];
    }
    if !unavailable(a, point) {
        let hints = near(a, category, event);
        a.missing(point.loc, &format!("tracepoint {category}:{event}"), hints);
    }
    Vec::new()
}

/// Groups of tracepoints that are hot, and that nothing which programs do runs into: only there it does not matter
/// that a raw tracepoint, other than one through perf events, also fires while another program runs.
const RAW: &[&str] = &[
    "block",
    "irq",
    "napi",
    "net",
    "power",
    "raw_syscalls",
    "sched",
    "signal",
    "skb",
    "sock",
    "task",
    "tcp",
    "udp",
    "workqueue",
    "writeback",
];

/// Makes a raw tracepoint of a target whose code does not look at the record: both fire at the same events, and
/// the kernel need not make a record for nobody. The tracepoint is named as the event (`include/trace/trace_events.h`).
pub(crate) fn without_record(target: &mut Target) {
    if let Attach::Tracepoint { category, event } = &target.attach
        && RAW.contains(&category.as_str())
    {
        target.attach = Attach::RawTracepoint { event: event.clone() };
        target.kind = ProgKind::RawTracepoint;
    }
}

fn target(category: String, event: String) -> Target {
    Target {
        name: format!("tracepoint:{category}:{event}"),
        provider: Provider::Tracepoint,
        kind: ProgKind::Tracepoint,
        attach: Attach::Tracepoint { category: category.clone(), event: event.clone() },
        facts: Facts::Tracepoint { category, event },
    }
}

/// Reports that no tracepoint can be read at all, if that is so.
fn unavailable(a: &mut Attacher<'_, '_>, point: &AttachPoint) -> bool {
    let Some(reason) = a.env.tracepoints_unavailable() else { return false };
    let event = part(point, 1);
    let note = Diagnostic::error(point.loc, format!("Tracepoints cannot be read: {reason}"))
        .hint("Mount tracefs with `mount -t tracefs tracefs /sys/kernel/tracing`.")
        .hint(format!("Or use rawtracepoint:{event}, which needs only the kernel's type information."));
    a.refuse(note);
    true
}

/// Names that may have been meant.
fn near(a: &Attacher<'_, '_>, category: &str, event: &str) -> Vec<String> {
    let all = a.env.tracepoints();
    let same_event: Vec<_> = all.iter().filter(|(_, e)| e == event).take(3).collect();
    if !same_event.is_empty() {
        return same_event.into_iter().map(|(c, e)| format!("Did you mean tracepoint:{c}:{e}?")).collect();
    }
    let within: Vec<&str> = all.iter().filter(|(c, _)| c == category).map(|(_, e)| e.as_str()).collect();
    if within.is_empty() {
        let categories = all.iter().map(|(c, _)| c.as_str());
        return suggest::nearest(category, categories)
            .map(|c| format!("Did you mean tracepoint:{c}:{event}?"))
            .into_iter()
            .collect();
    }
    suggest::nearest(event, within.into_iter())
        .map(|e| format!("Did you mean tracepoint:{category}:{e}?"))
        .into_iter()
        .collect()
}
