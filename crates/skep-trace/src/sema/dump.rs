//! An analysed script as text, for people and for tests.
//!
//! ```text
//! map @calls: string[16] -> count_t
//! event 0: printf "%s\n" (string[16] at 8)
//! probe interval_s_1_1 perf_event interval:s:1
//!   $n: int64
//!   $n = 5:int64
//!   emit 0(comm)
//! ```
//!
//! Constants, variables at their declaration, conversions and results of functions show their types; the others
//! follow from them.

mod expr;
mod stmt;

use crate::hir::{Body, DeclaredKind, Map, Program};
use crate::plan::{Arg, Event, Format, Piece};
use crate::types::Type;
use expr::Exprs;
use std::fmt::Write as _;

/// Writes an analysed script.
#[must_use]
pub fn dump(program: &Program) -> String {
    let mut out = String::new();
    for map in program.maps.values() {
        line(&mut out, 0, &map_line(program, map));
    }
    for (id, event) in &program.events {
        line(&mut out, 0, &format!("event {}: {}", id.as_u32(), event_text(program, event)));
    }
    for (index, format) in program.time_formats.iter().enumerate() {
        line(&mut out, 0, &format!("time format {index}: {format:?}"));
    }
    for (index, filter) in program.cgroup_filters.iter().enumerate() {
        line(&mut out, 0, &format!("cgroup filter {index}: {filter:?}"));
    }
    for subprog in program.subprogs.values() {
        let ret = subprog.ret.name(&program.structs);
        line(&mut out, 0, &format!("fn {}: {} parameters, {ret}", subprog.name, subprog.params));
        body(&mut out, program, &subprog.body);
    }
    for probe in &program.probes {
        let kind = probe.kind.info().name;
        let targets: Vec<&str> = probe.targets.iter().map(|(name, _)| name.as_str()).collect();
        line(&mut out, 0, &format!("probe {} {kind} {}", probe.name, targets.join(", ")));
        if let Some(predicate) = &probe.predicate {
            let text = Exprs::new(program, &probe.body).expr(predicate);
            line(&mut out, 1, &format!("where {text}"));
        }
        body(&mut out, program, &probe.body);
    }
    out
}

fn body(out: &mut String, program: &Program, body: &Body) {
    let exprs = Exprs::new(program, body);
    for (id, local) in &body.locals {
        line(out, 1, &format!("{}: {}", exprs.local(id), local.ty.name(&program.structs)));
    }
    exprs.stmts(out, &body.stmts, 1);
}

fn line(out: &mut String, depth: usize, text: &str) {
    let _ = writeln!(out, "{:depth$}{text}", "", depth = depth * 2);
}

fn map_line(program: &Program, map: &Map) -> String {
    let value = map.value.name(&program.structs);
    let key = map.key.as_ref().map_or_else(String::new, |k| format!("{} -> ", k.name(&program.structs)));
    let declared = match map.declared {
        None => String::new(),
        Some((kind, size)) => {
            let kind = match kind {
                DeclaredKind::Hash => "hash",
                DeclaredKind::LruHash => "lruhash",
                DeclaredKind::PercpuHash => "percpuhash",
                DeclaredKind::PercpuLruHash => "percpulruhash",
            };
            format!(" = {kind}({size})")
        }
    };
    let detail = match &map.value {
        Type::Agg(agg) => match agg {
            crate::types::AggTy::Hist { bits } if *bits != 0 => format!(" bits {bits}"),
            crate::types::AggTy::Lhist { min, max, step } => format!(" {min}..{max} by {step}"),
            crate::types::AggTy::Tseries { interval, count, agg, signed } => {
                format!(" {count} of {interval} ns, {agg:?}, {}", if *signed { "signed" } else { "unsigned" })
            }
            _ => String::new(),
        },
        _ => String::new(),
    };
    format!("map @{}: {key}{value}{detail}{declared}", map.name)
}

fn event_text(program: &Program, event: &Event) -> String {
    let _ = program;
    let formatted = |name: &str, format: &Format, args: &[Arg]| {
        let places: Vec<String> = args.iter().map(|a| format!("{}+{}", a.offset, a.size)).collect();
        let places = if places.is_empty() { String::new() } else { format!(" at {}", places.join(" ")) };
        format!("{name} {}{places}", format_text(format))
    };
    match event {
        Event::Printf { format, args } => formatted("printf", format, args),
        Event::System { format, args } => formatted("system", format, args),
        Event::Cat { format, args } => formatted("cat", format, args),
        Event::Message { error, format, args, .. } => {
            formatted(if *error { "errorf" } else { "warnf" }, format, args)
        }
        Event::Value(arg) => format!("value at {}+{}", arg.offset, arg.size),
        Event::PrintMap { map, top, div } => {
            let limits = if *top == 0 && *div == 0 { String::new() } else { format!(" top {top} div {div}") };
            format!("print map {map}{limits}")
        }
        Event::Clear(map) => format!("clear map {map}"),
        Event::Zero(map) => format!("zero map {map}"),
        Event::Exit => "exit".to_owned(),
        Event::Time(format) => format!("time {format:?}"),
        Event::Join { size, separator, .. } => format!("join strings of {size} with {separator:?}"),
        Event::Runtime { what, .. } => format!("runtime {what:?}"),
        Event::Packet { path, .. } => format!("packet to {path:?}"),
    }
}

/// A format with its conversions as they were understood.
fn format_text(format: &Format) -> String {
    let mut out = String::from("\"");
    for piece in format {
        match piece {
            Piece::Text(text) => {
                let _ = write!(out, "{}", text.escape_ascii());
            }
            Piece::Conv(c) => {
                let flag = |on: bool, c: char| if on { c.to_string() } else { String::new() };
                let width = if c.width == 0 { String::new() } else { c.width.to_string() };
                let _ = write!(
                    out,
                    "{{{}{}{}{}{}{width}{:?}{}}}",
                    flag(c.left, '-'),
                    flag(c.plus, '+'),
                    flag(c.space, ' '),
                    flag(c.alternate, '#'),
                    flag(c.zero, '0'),
                    c.kind,
                    u32::from(c.bytes) * 8
                );
            }
        }
    }
    out.push('"');
    out
}
