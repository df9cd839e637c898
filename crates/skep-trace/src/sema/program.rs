//! The whole script: attach points become probes, bodies are walked until no type changes, and what came out is
//! put together.

use super::attach::{Attacher, Facts, Target, tracepoint};
use super::check::{Checker, Lit, Place, ProbeCx, SubprogSig};
use super::diags::{Diags, Stage};
use super::structs::TypeDb;
use super::{Mode, Options, settings, uses};
use crate::config::Config;
use crate::env::Env;
use crate::hir::{self, CmpOp, DeclaredKind, ExprKind as Hir, Provider, SubprogId};
use crate::plan::ScriptOption;
use crate::syntax::ast::{self, Item};
use crate::types::{StructId, Type};
use cranelift_entity::{EntityRef, PrimaryMap};
use skep_ir::kernel::Arch;
use skep_ir::spec::Attach;
use skep_ir::{Diagnostic, Loc, Severity, SourceMap};
use std::collections::HashMap;

/// Walks after which types that still change are an error. Each walk widens something, and there is little to
/// widen in a type: even long chains of variables settle within a few.
const MAX_WALKS: u32 = 64;

/// Most bytes that text at an address may be given room for, whatever `max_strlen` says.
const MAX_STRLEN: u64 = 1 << 20;

/// A probe of the script with targets that see the same.
struct Instance<'s> {
    probe: &'s ast::Probe,
    targets: Vec<Target>,
    cx: ProbeCx,
    /// It is one of several that the probe was copied into.
    copied: bool,
}

pub(super) fn analyse(
    script: &ast::Script,
    sources: &SourceMap,
    env: &dyn Env,
    options: &Options,
) -> (hir::Program, Vec<Diagnostic>) {
    let mut diags = Diags::default();
    let config = settings::read(&script.config, env, &mut diags);
    if !script.imports.is_empty() {
        imports_allowed(&script.imports, &config, &mut diags);
    }
    let mut db = TypeDb::new(env);
    db.max_strlen = config.max_strlen.clamp(1, MAX_STRLEN) as u32;
    db.define(&script.c_items, &mut diags);
    let instances = resolve(script, env, options, &config, &mut db, &mut diags);
    let early = diags;

    let mut checker = Checker::new(env, options, sources, &config, db);
    let subprogs: Vec<&ast::Subprog> =
        script.items.iter().filter_map(|i| if let Item::Subprog(s) = i { Some(s) } else { None }).collect();
    declare_maps(script, &mut checker);
    declare_subprogs(&subprogs, &mut checker);
    let declarations = std::mem::take(&mut checker.diags);

    let mut program = hir::Program::default();
    for walk in 0..=MAX_WALKS {
        checker.restart();
        (program.subprogs, program.probes) = walk_all(&subprogs, &instances, &mut checker);
        if !checker.changed && checker.numbers_hold() {
            break;
        }
        if walk == MAX_WALKS {
            let message =
                "Type resolution exceeded maximum iterations; possible infinite loop in comptime expressions";
            let mut note = Diagnostic::new(Severity::Error, None, message);
            if let Some((what, loc)) = checker.widened.take() {
                note.loc = Some(loc);
                note = note.hint(format!("The type of {what} grows without end: it is made of itself."));
            }
            checker.diags.push(Stage::Types, note);
        }
    }
    check_limits(&instances, &config, &mut checker);
    finish_maps(script, &mut checker, &mut program);
    check_options(&mut checker, &mut program);

    let mut all = early;
    all.extend(declarations);
    all.extend(std::mem::take(&mut checker.diags));
    program.structs = std::mem::take(&mut checker.db.structs);
    program.events = std::mem::take(&mut checker.events).into_iter().collect();
    program.time_formats = std::mem::take(&mut checker.time_formats);
    program.cgroup_filters = std::mem::take(&mut checker.cgroup_filters);
    program.config = config.clone();
    (program, all.finish(!options.no_warnings))
}

fn imports_allowed(imports: &[ast::Import], config: &Config, diags: &mut Diags) {
    use crate::config::Unstable;
    let message = match config.unstable_import_statement {
        Unstable::Enable => return,
        Unstable::Warn => {
            let message = "Script is using an unstable feature: import statement. To prevent this warning you must \
                           explicitly enable it in the config e.g. unstable_import_statement=enable";
            diags.push(Stage::Config, Diagnostic::new(Severity::Warning, None, message));
            return;
        }
        Unstable::Error => {
            "import statement feature is not enabled by default. To enable this unstable feature, set the config \
             flag to enable. unstable_import_statement=enable"
        }
    };
    for import in imports {
        diags.error(Stage::Config, import.loc, message);
    }
}

/// Whether a probe is part of what is made in a mode.
fn wanted(provider: Provider, mode: Mode) -> bool {
    match provider {
        Provider::Test => matches!(mode, Mode::Test | Mode::List),
        Provider::Bench => matches!(mode, Mode::Bench | Mode::List),
        _ => true,
    }
}

/// Finds the targets of every probe, and parts those that see different things.
fn resolve<'s, 'e>(
    script: &'s ast::Script,
    env: &'e dyn Env,
    options: &Options,
    config: &Config,
    db: &mut TypeDb<'e>,
    diags: &mut Diags,
) -> Vec<Instance<'s>> {
    let mut instances = Vec::new();
    let mut attacher = Attacher::new(env, options, config, db, diags);
    for item in &script.items {
        let Item::Probe(probe) = item else { continue };
        let mut targets = attacher.resolve(probe);
        targets.retain(|t| wanted(t.provider, options.mode));
        instances.extend(group(probe, targets, &mut attacher));
    }
    // What reads an iterator ends with it, so nothing else could run beside it.
    let iterator = instances.iter().find(|i| i.cx.provider == Provider::Iter);
    if let (Some(iterator), true) = (iterator, instances.iter().any(|i| i.cx.provider != Provider::Iter)) {
        let loc = iterator.cx.attach_loc;
        attacher.error(loc, "iter probes cannot be in one script with probes of other kinds.");
    }
    instances
}

/// What targets must have in common to share code.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    provider: u8,
    kind: skep_ir::ProgKind,
    space: crate::types::AddrSpace,
    name: Option<String>,
    args: Option<String>,
    retval: Option<String>,
    operands: Option<String>,
    /// Where the thread's name is about to change.
    exec: bool,
    syscall: bool,
}

fn group<'s>(probe: &'s ast::Probe, targets: Vec<Target>, a: &mut Attacher<'_, '_>) -> Vec<Instance<'s>> {
    let uses = uses::of(probe);
    let attach_loc = probe.attach.first().map_or(probe.loc, |p| p.loc);
    let mut found: Vec<Instance<'s>> = Vec::new();
    let mut by_key: HashMap<Key, usize> = HashMap::new();
    for mut target in targets {
        if !(uses.args || uses.kernel_stack || uses.kfunc) {
            tracepoint::without_record(&mut target);
        }
        let args = if uses.args { arguments(&target, attach_loc, a) } else { None };
        let retval =
            if uses.retval && target.provider == Provider::Fexit { result(&target, a) } else { None };
        let cx = ProbeCx {
            provider: target.provider,
            kind: target.kind,
            name: target.name.clone(),
            facts: target.facts.clone(),
            args,
            retval,
            attach_loc,
            syscall: uses.numbered && enters_syscall(&target, a.env.arch()),
        };
        let exec =
            |f: &Facts| matches!(f, Facts::Tracepoint { event, .. } if event.starts_with("sys_enter_execve"));
        let key = Key {
            provider: target.provider as u8,
            kind: target.kind,
            space: cx.space(),
            name: uses.name.then(|| target.name.clone()),
            args: args.map(|id| shape(id, a.db)),
            retval: cx.retval.as_ref().map(|ty| a.db.show(ty)),
            operands: match (&target.facts, uses.numbered) {
                (Facts::Usdt(text), true) => Some(text.clone()),
                (Facts::Raw(Some((_, id))), true) => Some(id.to_string()),
                _ => None,
            },
            exec: uses.comm && exec(&target.facts),
            syscall: cx.syscall,
        };
        match by_key.get(&key) {
            Some(&at) => found[at].targets.push(target),
            None => {
                by_key.insert(key, found.len());
                found.push(Instance { probe, targets: vec![target], cx, copied: false });
            }
        }
    }
    let copied = found.len() > 1;
    found.iter_mut().for_each(|i| i.copied = copied);
    found
}

/// Whether a probe is where a system call begins, so that its arguments are those of the call.
fn enters_syscall(target: &Target, arch: Arch) -> bool {
    let prefix = super::arch::syscall_prefix(arch);
    match &target.attach {
        Attach::Kprobe { symbol, offset: 0, ret: false } => symbol.starts_with(prefix),
        _ => false,
    }
}

/// A struct's fields as a text that is equal for equal ones.
fn shape(id: StructId, db: &TypeDb<'_>) -> String {
    let def = &db.structs.structs[id];
    let fields = def.fields.iter().flat_map(|f| f.iter());
    fields
        .map(|f| format!("{}:{}@{}{:?}{:?};", f.name, db.show(&f.ty), f.offset, f.bits, f.data_loc))
        .collect()
}

/// The record or argument list of a target. A message tells why there is none.
fn arguments(target: &Target, loc: Loc, a: &mut Attacher<'_, '_>) -> Option<StructId> {
    match &target.facts {
        Facts::Tracepoint { category, event } => {
            let format = a.env.tracepoint_format(category, event)?;
            Some(a.db.tracepoint_record(category, event, &format))
        }
        Facts::Raw(Some((source, proto))) => a.db.prototype_list(*source, *proto, 1, &target.name),
        Facts::Kernel(Some((source, proto))) => a.db.prototype_list(*source, *proto, 0, &target.name),
        Facts::Raw(None) => {
            let note = Diagnostic::error(
                loc,
                "The arguments of raw tracepoints have names only in the kernel's type \
                 information (BTF), which this kernel does not have.",
            )
            .hint("arg0, arg1 and so on work without it; so does tracepoint, whose fields have names.");
            a.refuse(note);
            None
        }
        Facts::User { binary, function } if target.provider == Provider::Uprobe => {
            let found = a.db.add_binary(binary).and_then(|source| a.db.function_proto(source, function));
            let Some((source, proto)) = found else {
                let why = match binary.types() {
                    None => format!("no debuginfo found for {}", binary.path()),
                    Some(_) => format!("{function} is not described by the debug data of {}", binary.path()),
                };
                let message = format!("Could not parse arguments of \"{}\": {why}", target.name);
                a.refuse(Diagnostic::error(loc, message));
                return None;
            };
            a.db.prototype_list(source, proto, 0, &target.name)
        }
        _ => None,
    }
}

/// The type of a function's result.
fn result(target: &Target, a: &mut Attacher<'_, '_>) -> Option<Type> {
    match &target.facts {
        Facts::Kernel(Some((source, proto))) => a.db.prototype_result(*source, *proto),
        _ => None,
    }
}

fn declare_maps(script: &ast::Script, c: &mut Checker<'_, '_>) {
    for item in &script.items {
        let Item::MapDecl(decl) = item else { continue };
        let name = &decl.map.name;
        let kind = match decl.kind.name.as_str() {
            "hash" => Some(DeclaredKind::Hash),
            "lruhash" => Some(DeclaredKind::LruHash),
            "percpuhash" => Some(DeclaredKind::PercpuHash),
            "percpulruhash" => Some(DeclaredKind::PercpuLruHash),
            other => {
                let note = Diagnostic::error(decl.loc, format!("Invalid bpf map type: {other}"))
                    .hint("Valid map types: percpulruhash, percpuhash, lruhash, hash");
                c.diags.push(Stage::Check, note);
                None
            }
        };
        let size = match c.literal(&decl.entries) {
            Some(Lit::Int(n)) if n > 0 && n <= i128::from(u32::MAX) => Some(n as u32),
            Some(Lit::Int(0)) => {
                c.diags.error(
                    Stage::Check,
                    decl.loc,
                    format!("@{name} is declared with no room for any element"),
                );
                None
            }
            _ => {
                let message = "expected positive integer for map declaration max entries";
                c.diags.error(Stage::Check, decl.entries.loc, message);
                None
            }
        };
        let known = c.maps.get(name).and_then(|m| m.declared).is_some();
        if known {
            c.diags.error(Stage::Check, decl.loc, format!("@{name} is declared twice"));
        }
        let state = c.map_state(name, decl.loc);
        state.used = false;
        state.declared = kind.zip(size);
        state.declared_at = Some(decl.loc);
    }
}

fn declare_subprogs(subprogs: &[&ast::Subprog], c: &mut Checker<'_, '_>) {
    for (index, subprog) in subprogs.iter().enumerate() {
        let params: Option<Vec<Type>> = subprog.params.iter().map(|(_, ty)| c.declared_type(ty)).collect();
        let (Some(params), Some(ret)) = (params, c.declared_type(&subprog.ret)) else { continue };
        let sig = SubprogSig { id: SubprogId::new(index), params, ret };
        if c.subprogs.insert(subprog.name.name.clone(), sig).is_some() {
            let message = format!("function {} is defined twice", subprog.name.name);
            c.diags.error(Stage::Calls, subprog.name.loc, message);
        }
    }
}

/// One walk over all bodies.
fn walk_all(
    subprogs: &[&ast::Subprog],
    instances: &[Instance<'_>],
    c: &mut Checker<'_, '_>,
) -> (PrimaryMap<SubprogId, hir::Subprog>, Vec<hir::Probe>) {
    let mut out = PrimaryMap::new();
    let mut number = 0;
    for subprog in subprogs {
        let Some(sig) = c.subprogs.get(&subprog.name.name).cloned() else { continue };
        let params: Vec<_> =
            subprog.params.iter().map(|(name, _)| name.clone()).zip(sig.params.iter().cloned()).collect();
        let place = Place { probe: None, ret: Some(sig.ret.clone()) };
        let (_, body) = c.run_body(number, place, None, &params, &subprog.body);
        number += 1;
        out.push(hir::Subprog {
            name: subprog.name.name.clone(),
            params: params.len() as u32,
            ret: sig.ret,
            body,
            loc: subprog.loc,
        });
    }
    let mut probes = Vec::new();
    for instance in instances {
        let mark = c.diags.mark();
        let probe = instance.probe;
        let place = Place { probe: Some(instance.cx.clone()), ret: None };
        let (predicate, body) = c.run_body(number, place, probe.predicate.as_ref(), &[], &probe.body);
        number += 1;
        if instance.copied {
            told_once(instance, mark, c);
        }
        probes.push(hir::Probe {
            name: program_name(&instance.cx.name, probes.len() + 1),
            kind: instance.cx.kind,
            provider: instance.cx.provider,
            targets: instance.targets.iter().map(|t| (t.name.clone(), t.attach.clone())).collect(),
            predicate: with_pid(predicate, instance, c),
            body,
            loc: probe.loc,
        });
    }
    (out, probes)
}

/// Says for which of a probe's targets a message holds.
fn told_once(instance: &Instance<'_>, mark: usize, c: &mut Checker<'_, '_>) {
    let Some(first) = c.diags.first_error_since(mark) else { return };
    let name = instance.cx.name.clone();
    let others = instance.targets.len() - 1;
    let more = if others == 0 { String::new() } else { format!(" and {others} more") };
    c.diags.amend(first, |d| {
        d.hint(format!("This is in {name}{more}; other attach points of the probe differ."))
    });
}

/// The name that the kernel and load errors show.
fn program_name(target: &str, number: usize) -> String {
    let plain: String = target.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("{plain}_{number}")
}

/// A predicate that also wants the process that is traced, where the attachment itself is not limited to it.
fn with_pid(predicate: Option<hir::Expr>, instance: &Instance<'_>, c: &Checker<'_, '_>) -> Option<hir::Expr> {
    let filtered = matches!(
        instance.cx.provider,
        Provider::Kprobe
            | Provider::Kretprobe
            | Provider::Fentry
            | Provider::Fexit
            | Provider::Tracepoint
            | Provider::RawTracepoint
    );
    let Some(pid) = c.options.pid.filter(|_| filtered) else { return predicate };
    let loc = instance.cx.attach_loc;
    let init = c.env.pid_namespace().initial;
    let current = hir::Expr::new(Hir::Builtin(hir::Builtin::Pid { init }), Type::U32, loc);
    let wanted = hir::Expr::new(Hir::Int(u64::from(pid)), Type::U32, loc);
    let same = hir::Expr::new(Hir::Compare(CmpOp::Eq, Box::new(current), Box::new(wanted)), Type::Bool, loc);
    Some(match predicate {
        None => same,
        Some(own) => hir::Expr::new(Hir::And(Box::new(same), Box::new(own)), Type::Bool, loc),
    })
}

fn check_limits(instances: &[Instance<'_>], config: &Config, c: &mut Checker<'_, '_>) {
    let programs = instances.len() as u64;
    if programs > config.max_bpf_progs {
        let at = instances.last().map(|i| i.cx.attach_loc);
        let message = format!(
            "Your program is trying to generate more than {programs} BPF programs, which exceeds the current limit \
             of {}",
            config.max_bpf_progs
        );
        let note = Diagnostic::new(Severity::Error, at, message)
            .hint("You can increase the limit through the BPFTRACE_MAX_BPF_PROGS environment variable.");
        c.diags.push(Stage::Resources, note);
    }
    let targets: u64 = instances.iter().map(|i| i.targets.len() as u64).sum();
    if targets > config.max_probes {
        let message = format!(
            "Can't attach to {targets} probes because it exceeds the current limit of {} probes.\nYou can increase \
             the limit through the BPFTRACE_MAX_PROBES environment variable, but BE CAREFUL since a high number of \
             probes attached can cause your system to crash.",
            config.max_probes
        );
        c.diags.push(Stage::Resources, Diagnostic::new(Severity::Error, None, message));
    }
}

fn finish_maps(script: &ast::Script, c: &mut Checker<'_, '_>, program: &mut hir::Program) {
    for item in &script.items {
        let Item::MapDecl(decl) = item else { continue };
        let unused = c.maps.get(&decl.map.name).is_some_and(|m| !m.used);
        if unused {
            c.diags.warn(Stage::Calls, decl.loc, format!("Unused map: @{}", decl.map.name));
        }
    }
    let clock = c.env.variable("BPFTRACE_DUMMY_TS_MAP").or_else(|| c.env.variable("SKEP_DUMMY_TS_MAP"));
    let states: Vec<_> = c.maps.iter().filter(|(_, m)| m.used).map(|(n, m)| (n.clone(), m.clone())).collect();
    for (name, state) in states {
        let value = state.value.as_ref().map_or(Type::None, |t| t.ty.clone());
        let keyed = state.keyed == Some(true);
        let key = if keyed { state.key.as_ref().map(|t| t.ty.clone()) } else { None };
        if let Some((kind, _)) = state.declared {
            check_kind(kind, &value, &name, &state, c);
        }
        let id = program.maps.push(hir::Map {
            name: name.clone(),
            key,
            value,
            declared: state.declared,
            loc: state.declared_at.unwrap_or(state.loc),
        });
        if clock.as_ref().is_some_and(|m| m.strip_prefix('@') == Some(name.as_str())) {
            program.series_clock = Some(id);
        }
    }
}

/// A declared kind must store values as they are collected.
fn check_kind(
    kind: DeclaredKind,
    value: &Type,
    name: &str,
    state: &super::check::MapState,
    c: &mut Checker<'_, '_>,
) {
    let per_cpu = matches!(kind, DeclaredKind::PercpuHash | DeclaredKind::PercpuLruHash);
    if per_cpu == value.is_agg() || *value == Type::None {
        return;
    }
    let declared = match kind {
        DeclaredKind::Hash => "hash",
        DeclaredKind::LruHash => "lruhash",
        DeclaredKind::PercpuHash => "percpuhash",
        DeclaredKind::PercpuLruHash => "percpulruhash",
    };
    let found = if value.is_agg() { "percpuhash" } else { "hash" };
    let message = format!(
        "Incompatible map types. Type from declaration: {declared}. Type from value/key type: {found}"
    );
    let span = skep_ir::Span { hi: state.loc.span.lo + 1 + name.len() as u32, ..state.loc.span };
    c.diags.error(Stage::Check, Loc { span, ..state.loc }, message);
}

fn check_options(c: &mut Checker<'_, '_>, program: &mut hir::Program) {
    program.options = c
        .options_asked
        .iter()
        .map(|(name, asked)| ScriptOption { name: name.clone(), help: asked.help.clone() })
        .collect();
    let unknown: Vec<String> = c
        .options
        .named
        .iter()
        .filter(|(name, _)| name != "help" && !c.options_asked.contains_key(name))
        .map(|(name, _)| format!("--{name}"))
        .collect();
    if unknown.is_empty() {
        return;
    }
    let message = format!("unexpected program command line options: {}", unknown.join(", "));
    let expected: Vec<String> = program.options.iter().map(|o| format!("--{}", o.name)).collect();
    let hint = match expected.is_empty() {
        true => "no custom program options defined".to_owned(),
        false => format!("expected program options: {}", expected.join(", ")),
    };
    c.diags.push(Stage::Options, Diagnostic::new(Severity::Error, None, message).hint(hint));
}
