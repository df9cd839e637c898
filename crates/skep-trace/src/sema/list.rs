//! Lists: probes that match a pattern, with their arguments, and types as C text.

use super::Options;
use super::attach::{PROVIDERS, counter, glob, iter, provider, raw, timer};
use super::structs::tracepoint;
use crate::env::Env;
use skep_btf::{Btf, KindMask, Type as BtfType, TypeId};
use std::fmt::Write as _;

/// A provider, for the reference.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct ProviderDoc {
    /// Name.
    pub name: &'static str,
    /// Other names, the short one first.
    pub aliases: &'static [&'static str],
    /// Forms and meaning.
    pub doc: &'static str,
}

/// Every provider.
pub fn providers() -> impl Iterator<Item = ProviderDoc> {
    PROVIDERS.iter().map(|p| ProviderDoc { name: p.name, aliases: p.aliases, doc: p.doc })
}

/// The answer to `-l PATTERN`: one probe (or type) a line, with `verbose` followed by its arguments (or instead
/// its definition). No pattern means everything that is not made for one script, such as timers.
///
/// A pattern is `PROVIDER:...` with wildcards in each part, a name that the last part must match, or
/// `struct NAME`, `union NAME`, `enum NAME`.
#[must_use]
pub fn list(pattern: Option<&str>, verbose: bool, env: &dyn Env, options: &Options) -> String {
    let pattern = pattern.unwrap_or("*").trim();
    for (keyword, kinds) in
        [("struct ", KindMask::STRUCT), ("union ", KindMask::UNION), ("enum ", KindMask::ANY_ENUM)]
    {
        if let Some(name) = pattern.strip_prefix(keyword) {
            return types(keyword, kinds, name.trim(), verbose, env);
        }
    }
    let lister = Lister { env, options, verbose };
    let mut out = Vec::new();
    match pattern.split_once(':') {
        None => {
            for name in LISTED {
                lister.provider(name, &["*", pattern], &mut out);
            }
        }
        Some((name, rest)) => {
            let parts: Vec<&str> = rest.split(':').collect();
            let own = provider(name).map(|p| p.name);
            for p in PROVIDERS {
                if own == Some(p.name)
                    || own.is_none() && glob::is_pattern(name) && glob::matches(name, p.name)
                {
                    lister.provider(p.name, &parts, &mut out);
                }
            }
        }
    }
    text(out)
}

/// Providers that are listed when a pattern names none: those whose probes exist without a script.
const LISTED: &[&str] = &[
    "fentry",
    "fexit",
    "hardware",
    "iter",
    "kprobe",
    "kretprobe",
    "rawtracepoint",
    "software",
    "tracepoint",
];

/// A line and the lines of its arguments.
struct Line {
    name: String,
    args: Vec<String>,
}

fn text(mut lines: Vec<Line>) -> String {
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    lines.dedup_by(|a, b| a.name == b.name);
    let mut out = String::new();
    for line in lines {
        let _ = writeln!(out, "{}", line.name);
        for arg in line.args {
            let _ = writeln!(out, "    {arg}");
        }
    }
    out
}

struct Lister<'a> {
    env: &'a dyn Env,
    options: &'a Options,
    verbose: bool,
}

impl Lister<'_> {
    /// Adds the probes of a provider. The parts are those behind the provider's name.
    fn provider(&self, name: &str, parts: &[&str], out: &mut Vec<Line>) {
        // A part that is missing in front matches anything; an empty one at the end was written for the `:`.
        let parts: Vec<&str> = match parts {
            [front @ .., ""] if !front.is_empty() => front.to_vec(),
            all => all.to_vec(),
        };
        let last = parts.last().copied().unwrap_or("*");
        let first = if parts.len() > 1 { parts[0] } else { "*" };
        match name {
            "tracepoint" => self.tracepoints(first, last, out),
            "rawtracepoint" => self.raw_tracepoints(first, last, out),
            "software" => counters("software", counter::SOFTWARE, parts[0], last, out),
            "hardware" => counters("hardware", counter::HARDWARE, parts[0], last, out),
            "interval" | "profile" => {
                let units = timer::UNITS.iter().filter(|(unit, _)| glob::matches(last, unit));
                out.extend(units.map(|(unit, _)| bare(format!("{name}:{unit}:"))));
            }
            "kprobe" | "kretprobe" if self.env.has(skep_ir::Feature::Kprobe) => {
                self.functions(name, first, last, false, out);
            }
            "fentry" | "fexit" if self.env.has(skep_ir::Feature::Fentry) => {
                self.functions(name, first, last, true, out);
            }
            "iter" => self.iterators(last, out),
            "uprobe" | "uretprobe" if parts.len() > 1 => self.user(name, parts[0], last, out),
            "usdt" if parts.len() > 1 => {
                let provider = if parts.len() > 2 { parts[1] } else { "*" };
                self.usdt(parts[0], provider, last, out);
            }
            _ => {}
        }
    }

    fn tracepoints(&self, category: &str, event: &str, out: &mut Vec<Line>) {
        for (c, e) in self.env.tracepoints() {
            if glob::matches(category, &c) && glob::matches(event, &e) {
                let args = if self.verbose { self.tracepoint_args(&c, &e) } else { Vec::new() };
                out.push(Line { name: format!("tracepoint:{c}:{e}"), args });
            }
        }
    }

    fn tracepoint_args(&self, category: &str, event: &str) -> Vec<String> {
        let format = self.env.tracepoint_format(category, event).unwrap_or_default();
        let fields = tracepoint::parse(&format).into_iter().filter(|f| !tracepoint::is_common(&f.name));
        fields
            .map(|f| match f.len {
                Some(len) => format!("{} {}[{len}]", f.ty, f.name),
                None => format!("{} {}", f.ty, f.name),
            })
            .collect()
    }

    /// The kernel's type information and that of the modules that a pattern names.
    fn each_btf(&self, module: &str, mut visit: impl FnMut(&str, &Btf)) {
        if let Some(btf) = self.env.btf()
            && glob::matches(module, "vmlinux")
        {
            visit("vmlinux", btf);
        }
        if module != "vmlinux" {
            for name in self.env.btf_modules().into_iter().filter(|m| glob::matches(module, m)) {
                if let Some(btf) = self.env.module_btf(&name) {
                    visit(&name, &btf);
                }
            }
        }
    }

    fn raw_tracepoints(&self, module: &str, event: &str, out: &mut Vec<Line>) {
        self.each_btf(module, |module, btf| {
            let events = raw::listed(btf, event);
            let questions: Vec<&str> =
                if self.verbose { events.iter().map(String::as_str).collect() } else { Vec::new() };
            let mut protos = btf.raw_tracepoints(&questions).into_iter();
            for event in &events {
                let proto = protos.next().flatten();
                let args = proto.map_or_else(Vec::new, |p| parameters(btf, p.id(), 1));
                out.push(Line { name: format!("rawtracepoint:{module}:{event}"), args });
            }
        });
    }

    fn functions(&self, name: &str, module: &str, function: &str, typed: bool, out: &mut Vec<Line>) {
        let functions = self.env.kernel_functions();
        let matching = functions.iter().filter(|(f, of)| {
            let of = if of.is_empty() { "vmlinux" } else { of.as_str() };
            glob::matches(function, f) && glob::matches(module, of)
        });
        let chosen: Vec<_> = matching.collect();
        let questions: Vec<_> = chosen.iter().map(|(f, _)| (f.as_str(), KindMask::FUNC)).collect();
        let btf = self.env.btf().filter(|_| typed);
        let protos = btf.map_or_else(Vec::new, |btf| btf.find_many(&questions));
        for (i, (function, of)) in chosen.into_iter().enumerate() {
            let mut args = Vec::new();
            if let Some(btf) = btf {
                let func = protos.get(i).copied().flatten().and_then(|id| match btf.ty(id) {
                    Some(BtfType::Func(func)) => Some(func.proto()),
                    _ => None,
                });
                match func {
                    Some(proto) if self.verbose => {
                        args = parameters(btf, proto, 0);
                        args.extend(result(btf, proto));
                    }
                    Some(_) => {}
                    // Only what is described can be attached to by name and type.
                    None if of.is_empty() => continue,
                    None => {}
                }
            }
            let full = match (of.as_str(), typed) {
                ("", false) => format!("{name}:{function}"),
                ("", true) => format!("{name}:vmlinux:{function}"),
                (module, _) => format!("{name}:{module}:{function}"),
            };
            out.push(Line { name: full, args });
        }
    }

    fn iterators(&self, kind: &str, out: &mut Vec<Line>) {
        let Some(btf) = self.env.btf().filter(|_| self.env.has(skep_ir::Feature::Iter)) else { return };
        for (id, name) in btf.named(KindMask::STRUCT) {
            let Some(name) = name.strip_prefix(iter::PREFIX).filter(|n| glob::matches(kind, n)) else {
                continue;
            };
            let args = if self.verbose { members(btf, id) } else { Vec::new() };
            out.push(Line { name: format!("iter:{name}"), args });
        }
    }

    fn user(&self, name: &str, file: &str, function: &str, out: &mut Vec<Line>) {
        for path in self.env.find_binary(file, self.options.pid) {
            let Ok(binary) = self.env.binary(&path, self.options.pid) else { continue };
            let shown = if file.contains('/') && !glob::is_pattern(file) { file } else { &path };
            for symbol in binary.functions().iter().filter(|s| glob::matches(function, &s.name)) {
                let mut args = Vec::new();
                if self.verbose
                    && let Some(types) = binary.types()
                    && let Some(BtfType::Func(func)) =
                        types.find(&symbol.name, KindMask::FUNC).and_then(|id| types.ty(id))
                {
                    args = parameters(types, func.proto(), 0);
                }
                out.push(Line { name: format!("{name}:{shown}:{}", symbol.name), args });
            }
        }
    }

    fn usdt(&self, file: &str, provider: &str, name: &str, out: &mut Vec<Line>) {
        for path in self.env.find_binary(file, self.options.pid) {
            let Ok(binary) = self.env.binary(&path, self.options.pid) else { continue };
            let shown = if file.contains('/') && !glob::is_pattern(file) { file } else { &path };
            let notes = binary.usdt().iter();
            let meant =
                notes.filter(|n| glob::matches(provider, &n.provider) && glob::matches(name, &n.name));
            out.extend(meant.map(|n| bare(format!("usdt:{shown}:{}:{}", n.provider, n.name))));
        }
    }
}

fn bare(name: String) -> Line {
    Line { name, args: Vec::new() }
}

fn counters(provider: &str, events: &[counter::Event], first: &str, last: &str, out: &mut Vec<Line>) {
    // `software:cpu-clock` and `software:cpu-clock:` name the event; a bare name comes as the last part.
    let pattern = if first == "*" { last } else { first };
    for event in events {
        for name in [event.name, event.alias].into_iter().filter(|n| !n.is_empty()) {
            if glob::matches(pattern, name) {
                out.push(bare(format!("{provider}:{name}:")));
            }
        }
    }
}

/// Parameters of a prototype, some at its start left out.
fn parameters(btf: &Btf, proto: TypeId, skip: usize) -> Vec<String> {
    let Some(BtfType::FuncProto(proto)) = btf.ty(proto) else { return Vec::new() };
    let params = proto.params().skip(skip).filter(|p| !p.type_id().is_void());
    params.map(|p| declaration(btf, p.type_id(), p.name())).collect()
}

fn result(btf: &Btf, proto: TypeId) -> Option<String> {
    let Some(BtfType::FuncProto(proto)) = btf.ty(proto) else { return None };
    (!proto.ret().is_void()).then(|| declaration(btf, proto.ret(), "retval"))
}

fn members(btf: &Btf, id: TypeId) -> Vec<String> {
    btf.fields(id).map(|f| declaration(btf, f.at.type_id, f.member.name())).collect()
}

/// A type and a name with a blank between them, as tracepoint formats have it: `struct task_struct * prev`.
fn declaration(btf: &Btf, id: TypeId, name: &str) -> String {
    match btf.c_type(id) {
        Ok(ty) => format!("{ty} {name}"),
        Err(_) => name.to_owned(),
    }
}

/// Types whose names match a pattern: their names, or their definitions.
fn types(keyword: &str, kinds: KindMask, pattern: &str, verbose: bool, env: &dyn Env) -> String {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut add = |module: &str, btf: &Btf| {
        let own = btf.named(kinds).filter(|(id, _)| *id >= btf.first_id());
        for (id, name) in own.filter(|(_, name)| glob::matches(pattern, name)) {
            let name = format!("{keyword}{name}");
            let text = match btf.c_definition(id) {
                Ok(definition) if verbose => format!("{module}: {definition}\n\n"),
                _ => format!("{name}\n"),
            };
            found.push((name, text));
        }
    };
    if let Some(btf) = env.btf() {
        add("vmlinux", btf);
    }
    for module in env.btf_modules() {
        if let Some(btf) = env.module_btf(&module) {
            add(&module, &btf);
        }
    }
    found.sort();
    found.dedup();
    found.into_iter().map(|(_, text)| text).collect()
}
