//! `rawtracepoint:[MODULE:]EVENT`
//!
//! With type information the program is one with typed arguments: the kernel's `btf_trace_EVENT` typedef is a
//! pointer to the prototype of the tracepoint's probes, whose first parameter is for their own data.

use super::{Attacher, Facts, Target, glob, part, suggest};
use crate::hir::Provider;
use crate::sema::structs::Source;
use crate::syntax::ast::AttachPoint;
use skep_btf::{Btf, KindMask};
use skep_ir::spec::Attach;
use skep_ir::{Diagnostic, Feature, ProgKind};

/// Before the name of a tracepoint in type information.
const PREFIX: &str = "btf_trace_";

pub(super) fn resolve(a: &mut Attacher<'_, '_>, point: &AttachPoint) -> Vec<Target> {
    let (module, event) = match point.parts.len() {
        1 => (None, part(point, 0)),
        _ => (Some(part(point, 0)), part(point, 1)),
    };
    if event.is_empty() {
        a.error(point.loc, "rawtracepoint should be attached to a function");
        return Vec::new();
    }
    if a.db.kernel_btf().is_none() {
        return without_types(a, point, event);
    }
    let sources = sources(a, module);
    let typed = a.env.has(Feature::TpBtf);
    let mut targets = Vec::new();
    for (name, source) in sources {
        let Some(btf) = a.db.source(source) else { continue };
        let events = if glob::is_pattern(event) { listed(&btf, event) } else { vec![event.to_owned()] };
        let questions: Vec<&str> = events.iter().map(String::as_str).collect();
        let protos = btf.raw_tracepoints(&questions);
        targets.extend(events.iter().zip(protos).filter_map(|(event, proto)| {
            Some(Target {
                name: format!("rawtracepoint:{name}:{event}"),
                provider: Provider::RawTracepoint,
                kind: if typed { ProgKind::TpBtf } else { ProgKind::RawTracepoint },
                attach: Attach::RawTracepoint { event: event.clone() },
                facts: Facts::Raw(Some((source, proto?.id()))),
            })
        }));
    }
    // The same tracepoint may be described by the kernel and by modules that use it.
    let mut seen = std::collections::HashSet::new();
    targets.retain(|t| seen.insert(t.attach.clone()));
    if targets.is_empty() && !glob::is_pattern(event) {
        let hint = nearest(a, event).map(|e| format!("Did you mean rawtracepoint:{e}?"));
        let what = match module {
            Some(module) => format!("rawtracepoint {module}:{event}"),
            None => format!("rawtracepoint {event}"),
        };
        a.missing(point.loc, &what, hint.into_iter().collect());
    }
    targets
}

/// A kernel without type information still has the tracepoint; only its arguments have no names.
fn without_types(a: &mut Attacher<'_, '_>, point: &AttachPoint, event: &str) -> Vec<Target> {
    if glob::is_pattern(event) {
        a.refuse(
            Diagnostic::error(
                point.loc,
                "rawtracepoints require kernel BTF. Try using a 'tracepoint' instead.",
            )
            .hint("Without the kernel's type information there is no list of raw tracepoints to match."),
        );
        return Vec::new();
    }
    let known = a.env.tracepoints();
    if !known.is_empty() && !known.iter().any(|(_, e)| e == event) {
        a.missing(point.loc, &format!("rawtracepoint {event}"), Vec::new());
        return Vec::new();
    }
    vec![Target {
        name: format!("rawtracepoint:{event}"),
        provider: Provider::RawTracepoint,
        kind: ProgKind::RawTracepoint,
        attach: Attach::RawTracepoint { event: event.to_owned() },
        facts: Facts::Raw(None),
    }]
}

/// The kernel and modules that a module part names, with the names that full probe names show.
fn sources(a: &mut Attacher<'_, '_>, module: Option<&str>) -> Vec<(String, Source)> {
    let kernel = ("vmlinux".to_owned(), Source::KERNEL);
    let matches = |name: &str| match module {
        None => true,
        Some(pattern) => glob::matches(pattern, name),
    };
    let mut out = Vec::new();
    if a.db.module_source("").is_some() && matches("vmlinux") {
        out.push(kernel);
    }
    if module != Some("vmlinux") {
        for name in a.env.btf_modules().into_iter().filter(|m| matches(m)) {
            if let Some(source) = a.db.module_source(&name) {
                out.push((name, source));
            }
        }
    }
    out
}

/// Raw tracepoints that BTF describes itself (not its base) and a pattern matches, sorted.
pub(crate) fn listed(btf: &Btf, pattern: &str) -> Vec<String> {
    let typedefs = btf.named(KindMask::TYPEDEF);
    let own = typedefs.filter(|(id, _)| *id >= btf.first_id());
    let events = own.filter_map(|(_, name)| name.strip_prefix(PREFIX));
    let mut found: Vec<_> = events.filter(|e| glob::matches(pattern, e)).map(str::to_owned).collect();
    found.sort();
    found.dedup();
    found
}

fn nearest(a: &Attacher<'_, '_>, event: &str) -> Option<String> {
    let btf = a.db.kernel_btf()?;
    suggest::nearest(event, btf.raw_tracepoint_names()).map(str::to_owned)
}
