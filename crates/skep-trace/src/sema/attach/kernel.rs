//! Kernel functions: `kprobe`, `kretprobe`, `fentry`, `fexit`.
//!
//! Which of the two mechanisms serves depends on the kernel. A kprobe on a kernel that only has trampolines is
//! attached by one, and the other way round; where there is neither, the message names what tells the same.

use super::number::integer;
use super::{Attacher, Facts, Target, glob, hints, part, suggest};
use crate::hir::Provider;
use crate::sema::diags::Stage;
use crate::sema::structs::Source;
use crate::syntax::ast::AttachPoint;
use skep_btf::{KindMask, TypeId};
use skep_ir::spec::Attach;
use skep_ir::{Diagnostic, Feature, ProgKind};

/// What a script asked for.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Ask {
    Kprobe,
    Kretprobe,
    Fentry,
    Fexit,
}

impl Ask {
    fn name(self) -> &'static str {
        match self {
            Ask::Kprobe => "kprobe",
            Ask::Kretprobe => "kretprobe",
            Ask::Fentry => "fentry",
            Ask::Fexit => "fexit",
        }
    }

    fn provider(self) -> Provider {
        match self {
            Ask::Kprobe => Provider::Kprobe,
            Ask::Kretprobe => Provider::Kretprobe,
            Ask::Fentry => Provider::Fentry,
            Ask::Fexit => Provider::Fexit,
        }
    }

    fn is_return(self) -> bool {
        matches!(self, Ask::Kretprobe | Ask::Fexit)
    }

    fn is_typed(self) -> bool {
        matches!(self, Ask::Fentry | Ask::Fexit)
    }
}

pub(super) fn kprobe(a: &mut Attacher<'_, '_>, point: &AttachPoint) -> Vec<Target> {
    by_name(a, point, Ask::Kprobe)
}

pub(super) fn kretprobe(a: &mut Attacher<'_, '_>, point: &AttachPoint) -> Vec<Target> {
    by_name(a, point, Ask::Kretprobe)
}

pub(super) fn fentry(a: &mut Attacher<'_, '_>, point: &AttachPoint) -> Vec<Target> {
    typed(a, point, Ask::Fentry)
}

pub(super) fn fexit(a: &mut Attacher<'_, '_>, point: &AttachPoint) -> Vec<Target> {
    typed(a, point, Ask::Fexit)
}

fn typed(a: &mut Attacher<'_, '_>, point: &AttachPoint, ask: Ask) -> Vec<Target> {
    if point.parts.len() == 3 || part(point, 0) == "bpf" && point.parts.len() > 1 {
        let message = if part(point, 0) == "bpf" {
            format!("{}:bpf: probes on BPF programs are not supported", ask.name())
        } else {
            "Only the 'bpf' variant of this probe supports 4 arguments".to_owned()
        };
        a.error(point.loc, message);
        return Vec::new();
    }
    by_name(a, point, ask)
}

fn by_name(a: &mut Attacher<'_, '_>, point: &AttachPoint, ask: Ask) -> Vec<Target> {
    let (module, text) = match point.parts.len() {
        1 => (None, part(point, 0)),
        _ => (Some(part(point, 0)), part(point, 1)),
    };
    if text.is_empty() {
        let message = match ask {
            Ask::Kprobe | Ask::Kretprobe => "kprobes should be attached to a function or an address",
            Ask::Fentry | Ask::Fexit => "fentry/fexit should specify a function",
        };
        a.error(point.loc, message);
        return Vec::new();
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return address(a, point, ask, text);
    }
    let (function, offset) = match text.split_once('+') {
        None => (text, 0),
        Some((function, offset)) => match offset_of(a, point, ask, offset) {
            Some(offset) => (function, offset),
            None => return Vec::new(),
        },
    };
    if glob::is_pattern(function) || module.is_some_and(glob::is_pattern) {
        return matching(a, point, ask, module, function);
    }
    single(a, point, ask, module, function, offset)
}

fn offset_of(a: &mut Attacher<'_, '_>, point: &AttachPoint, ask: Ask, text: &str) -> Option<u64> {
    if ask != Ask::Kprobe {
        a.error(point.loc, "Offset not allowed");
        return None;
    }
    if text.contains('+') {
        a.error(point.loc, "Cannot take more than one offset");
        return None;
    }
    match integer(text).map(u64::try_from) {
        Ok(Ok(offset)) => Some(offset),
        Ok(Err(_)) => {
            a.error(point.loc, "Invalid offset: it must not be negative");
            None
        }
        Err(e) => {
            a.error(point.loc, format!("Invalid offset: {e}"));
            None
        }
    }
}

fn address(a: &mut Attacher<'_, '_>, point: &AttachPoint, ask: Ask, text: &str) -> Vec<Target> {
    if ask.is_typed() {
        a.error(point.loc, "fentry/fexit should specify a function");
        return Vec::new();
    }
    let address = match integer(text).map(u64::try_from) {
        Ok(Ok(address)) => address,
        Ok(Err(_)) => return Vec::new(),
        Err(e) => {
            a.error(point.loc, format!("Invalid function/address argument: {e}"));
            return Vec::new();
        }
    };
    if !a.options.unsafe_allowed {
        a.error(point.loc, "Probing by address requires --unsafe");
        return Vec::new();
    }
    if !a.env.has(Feature::Kprobe) {
        a.refuse(Diagnostic::error(
            point.loc,
            "This kernel has no kprobes, and only they attach to an address.",
        ));
        return Vec::new();
    }
    vec![Target {
        name: format!("{}:{address:#x}", ask.name()),
        provider: ask.provider(),
        kind: ProgKind::Kprobe,
        attach: Attach::Kprobe { symbol: String::new(), offset: address, ret: ask.is_return() },
        facts: Facts::None,
    }]
}

/// How a probe on a function is attached.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Mechanism {
    Kprobe,
    Trampoline,
}

fn mechanism(a: &Attacher<'_, '_>, ask: Ask) -> Option<Mechanism> {
    let (kprobe, fentry) = (a.env.has(Feature::Kprobe), a.env.has(Feature::Fentry));
    match (ask.is_typed(), kprobe, fentry) {
        (true, _, true) => Some(Mechanism::Trampoline),
        (false, true, _) => Some(Mechanism::Kprobe),
        (true, true, false) => Some(Mechanism::Kprobe),
        (false, false, true) => Some(Mechanism::Trampoline),
        (_, false, false) => None,
    }
}

fn target(
    ask: Ask,
    mechanism: Mechanism,
    module: Option<&str>,
    function: &str,
    offset: u64,
    proto: Option<(Source, TypeId)>,
) -> Target {
    let ret = ask.is_return();
    let (kind, attach) = match mechanism {
        Mechanism::Kprobe => (ProgKind::Kprobe, Attach::Kprobe { symbol: function.to_owned(), offset, ret }),
        Mechanism::Trampoline => {
            let module = module.filter(|m| *m != "vmlinux").unwrap_or("").to_owned();
            let kind = if ret { ProgKind::Fexit } else { ProgKind::Fentry };
            (kind, Attach::Trampoline { function: function.to_owned(), module })
        }
    };
    let place = match (module, ask.is_typed()) {
        (Some(module), _) => format!("{module}:{function}"),
        (None, true) => format!("vmlinux:{function}"),
        (None, false) => function.to_owned(),
    };
    let name = match offset {
        0 => format!("{}:{place}", ask.name()),
        n => format!("{}:{place}+{n}", ask.name()),
    };
    Target { name, provider: ask.provider(), kind, attach, facts: Facts::Kernel(proto) }
}

/// The prototype of a function, of the kernel or of one module.
fn prototype(a: &mut Attacher<'_, '_>, module: Option<&str>, function: &str) -> Option<(Source, TypeId)> {
    let (source, id) = match module {
        None => a.db.find_btf(function, KindMask::FUNC)?,
        Some(module) => {
            let source = a.db.module_source(if module == "vmlinux" { "" } else { module })?;
            (source, a.db.source(source)?.find(function, KindMask::FUNC)?)
        }
    };
    let btf = a.db.source(source)?;
    match btf.ty(id)? {
        skep_btf::Type::Func(func) => Some((source, func.proto())),
        _ => None,
    }
}

fn single(
    a: &mut Attacher<'_, '_>,
    point: &AttachPoint,
    ask: Ask,
    module: Option<&str>,
    function: &str,
    offset: u64,
) -> Vec<Target> {
    let Some(mechanism) = mechanism(a, ask) else {
        no_mechanism(a, point, ask, function);
        return Vec::new();
    };
    let mut found = None;
    let names = std::iter::once(function.to_owned()).chain(hints::other_names(function));
    for name in names {
        let proto = prototype(a, module, &name);
        let known = proto.is_some()
            || mechanism == Mechanism::Kprobe && module.is_none() && a.env.kernel_symbol(&name).is_some()
            || mechanism == Mechanism::Kprobe
                && module.is_some_and(|m| a.functions().iter().any(|(f, of)| *f == name && of == m));
        if known {
            found = Some((name, proto));
            break;
        }
    }
    let Some((name, proto)) = found else {
        not_found(a, point, ask, module, function);
        return Vec::new();
    };
    if mechanism == Mechanism::Trampoline && proto.is_none() {
        let message =
            format!("{}:{function} has no type information, which probes need on this kernel", ask.name());
        let note = Diagnostic::error(point.loc, message);
        a.refuse(note);
        return Vec::new();
    }
    if mechanism == Mechanism::Trampoline && offset != 0 {
        a.refuse(Diagnostic::error(
            point.loc,
            "This kernel has no kprobes, and only they attach to an offset.",
        ));
        return Vec::new();
    }
    if name != function {
        let message = format!("{function} is called {name} on this kernel");
        a.diags.warn(Stage::Expand, point.loc, message);
    }
    note_replacement(a, point, ask, mechanism);
    vec![target(ask, mechanism, module, &name, offset, proto)]
}

/// Tells that one mechanism stands for another, since what the code may read is not quite the same.
fn note_replacement(a: &mut Attacher<'_, '_>, point: &AttachPoint, ask: Ask, mechanism: Mechanism) {
    let message = match (ask.is_typed(), mechanism) {
        (false, Mechanism::Trampoline) => {
            "This kernel has no kprobes; the probe is attached as fentry/fexit. Registers cannot be read."
        }
        (true, Mechanism::Kprobe) => {
            "This kernel has no fentry; the probe is attached as a kprobe with the same argument types."
        }
        _ => return,
    };
    a.diags.warn(Stage::Expand, point.loc, message);
}

fn no_mechanism(a: &mut Attacher<'_, '_>, point: &AttachPoint, ask: Ask, function: &str) {
    let place = point.parts.iter().map(|p| p.text.as_str()).collect::<Vec<_>>().join(":");
    let lacks = if ask.is_typed() { "neither fentry nor kprobes" } else { "neither kprobes nor fentry" };
    let mut note = Diagnostic::error(
        point.loc,
        format!("No matches for {} {place}. This kernel has {lacks}.", ask.name()),
    );
    note.hints = hints::instead(a.env, function, ask.is_return());
    if note.hints.is_empty() {
        let near = near_tracepoints(a, function);
        note.hints.push(match near.as_slice() {
            [] => "Tracepoints and raw tracepoints work here; `-l 'tracepoint:*'` lists them.".into(),
            names => format!("Tracepoints work here, such as {}.", names.join(", ")),
        });
    }
    match a.config.missing_probes {
        crate::config::MissingProbes::Error => a.refuse(note),
        crate::config::MissingProbes::Warn => {
            note.severity = skep_ir::Severity::Warning;
            a.diags.push(Stage::Expand, note);
        }
        crate::config::MissingProbes::Ignore => {}
    }
}

/// Tracepoints whose names share the longest word with a function's.
fn near_tracepoints(a: &Attacher<'_, '_>, function: &str) -> Vec<String> {
    let longest = function.split('_').filter(|w| w.len() >= 5).max_by_key(|w| w.len());
    let Some(word) = longest else { return Vec::new() };
    let all = a.env.tracepoints();
    let names = all.iter().filter(|(_, event)| event.contains(word));
    names.take(3).map(|(category, event)| format!("tracepoint:{category}:{event}")).collect()
}

fn not_found(a: &mut Attacher<'_, '_>, point: &AttachPoint, ask: Ask, module: Option<&str>, function: &str) {
    let functions = a.functions();
    let mut lines = hints::instead(a.env, function, ask.is_return());
    if let Some(near) = suggest::nearest(function, functions.iter().map(|(f, _)| f.as_str())) {
        lines.insert(0, format!("Did you mean {}:{near}?", ask.name()));
    }
    let what = match module {
        Some(module) => format!("{} {module}:{function}", ask.name()),
        None => format!("{} {function}", ask.name()),
    };
    a.missing(point.loc, &what, lines);
}

fn matching(
    a: &mut Attacher<'_, '_>,
    point: &AttachPoint,
    ask: Ask,
    module: Option<&str>,
    pattern: &str,
) -> Vec<Target> {
    let Some(mechanism) = mechanism(a, ask) else {
        no_mechanism(a, point, ask, pattern);
        return Vec::new();
    };
    let functions = a.functions();
    let chosen: Vec<&(String, String)> = functions
        .iter()
        .filter(|(function, of)| {
            let of = if of.is_empty() { "vmlinux" } else { of };
            glob::matches(pattern, function) && module.is_none_or(|m| glob::matches(m, of))
        })
        .collect();
    if chosen.is_empty() {
        return Vec::new();
    }
    let typed = ask.is_typed() || mechanism == Mechanism::Trampoline;
    // One look through the type information for all of them.
    let questions: Vec<_> = chosen.iter().map(|(f, _)| (f.as_str(), KindMask::FUNC)).collect();
    let kernel = typed.then(|| a.db.kernel_btf()).flatten();
    let answers = kernel.map_or_else(Vec::new, |btf| btf.find_many(&questions));
    let mut targets = Vec::with_capacity(chosen.len());
    for (i, (function, of)) in chosen.iter().enumerate() {
        let of = (!of.is_empty()).then_some(of.as_str());
        let proto = if !typed {
            None
        } else if of.is_some() {
            prototype(a, of, function)
        } else {
            let func = answers.get(i).copied().flatten();
            func.zip(kernel).and_then(|(id, btf)| match btf.ty(id)? {
                skep_btf::Type::Func(func) => Some((Source::KERNEL, func.proto())),
                _ => None,
            })
        };
        if !typed || proto.is_some() {
            targets.push(target(ask, mechanism, of, function, 0, proto));
        }
    }
    if typed {
        a.db.module_source("");
    }
    note_replacement(a, point, ask, mechanism);
    targets
}
