//! What a script says: records to user space, and the end of the script.

use super::{Call, Function, function};
use crate::hir::{self, ExprKind as Hir, Func, StmtKind};
use crate::plan::{Arg, ConvKind, Event, Format, Piece};
use crate::sema::check::{Checker, Ex, Lit, cast, class};
use crate::sema::diags::Stage;
use crate::sema::events::{CONTROL_HEADER, DATA_HEADER, arguments};
use crate::sema::format::{Parsed, meant_newline, parse};
use crate::syntax::ast;
use crate::types::{AddrSpace, Origin, Type};
use cranelift_entity::EntityRef;
use skep_ir::{Diagnostic, Loc};
use std::rc::Rc;

/// Most arguments of a format.
const MANY: usize = 64;
/// Arguments that `bpf_trace_printk` takes (`kernel/trace/bpf_trace.c`, `MAX_TRACE_PRINTK_VARARGS`).
const MAX_DEBUG_ARGS: usize = 3;
/// Bytes of each string of `join`.
const JOIN_SIZE: u32 = 1024;
/// Most calls of `printf` and the like in a script.
const MAX_FORMATS: usize = 10_000;

pub(crate) const TABLE: &[Function] = &[
    function(
        "printf",
        1,
        MANY,
        "Prints text with values in it, as in C.",
        "printf(\"%s %d\\n\", comm, pid);",
        printf,
    ),
    function(
        "print",
        1,
        3,
        "Prints a value and a newline, or a whole map: `print(@m, top, div)` only its highest elements, divided.",
        "print(@calls, 5);",
        print,
    ),
    function(
        "errorf",
        1,
        MANY,
        "Prints a message as an error of the script, with its place; a test that does so fails.",
        "errorf(\"bad size: %d\", args.size);",
        printf,
    ),
    function(
        "warnf",
        1,
        MANY,
        "Prints a message as a warning, with its place.",
        "warnf(\"odd: %d\", arg0);",
        printf,
    ),
    function(
        "system",
        1,
        MANY,
        "Runs a command in a shell and prints what it prints.",
        "system(\"ps -p %d\", pid);",
        printf,
    )
    .changes_system(),
    function("cat", 1, MANY, "Prints a file.", "cat(\"/proc/%d/maps\", pid);", printf),
    function("time", 0, 1, "Prints the time of day by a format of strftime.", "time(\"%H:%M:%S\\n\");", time),
    function(
        "join",
        1,
        2,
        "Prints an array of strings with a blank (or other text) between them.",
        "join(args.argv);",
        join,
    ),
    function("exit", 0, 1, "Ends the script, with an exit code.", "exit(1);", exit),
    function("clear", 1, 1, "Removes all elements of a map.", "clear(@calls);", whole_map),
    function("zero", 1, 1, "Sets all elements of a map to zero.", "zero(@calls);", whole_map),
    function(
        "debugf",
        1,
        MANY,
        "Writes to the kernel's trace buffer, for debugging.",
        "debugf(\"here: %d\", pid);",
        debugf,
    ),
    function(
        "fail",
        1,
        MANY,
        "Stops compilation with a message, if compile-time branches leave the call in.",
        "fail(\"%s is not supported\", probetype);",
        fail,
    ),
];

fn emit(event: hir::EventId, args: Vec<hir::Expr>, loc: Loc) -> Ex {
    Ex::effect(vec![hir::Stmt { kind: StmtKind::Emit(event, args), loc }], loc)
}

/// The format and the values behind it, with all checks.
fn formatted(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Option<(Parsed, Vec<Ex>)> {
    let text = c.literal_text(call, 0);
    let mut values = Vec::new();
    let mut unknown = false;
    for e in call.args.get(1..).unwrap_or(&[]) {
        let ex = c.expr(e);
        unknown |= ex.unknown;
        values.push(ex);
    }
    let parsed = parse(&text?);
    if let Some(spec) = parsed.specs.iter().find(|s| s.is_foreign()) {
        c.diags.error(Stage::Check, call.loc, format!("unsupported format specifier: {}", spec.name));
        return None;
    }
    let (given, wanted) = (values.len(), parsed.specs.len());
    if given != wanted {
        let how = if given < wanted { "not enough" } else { "too many" };
        let message = format!("{how} arguments for format string ({given} supplied, {wanted} expected)");
        c.diags.error(Stage::Check, call.loc, message);
        return None;
    }
    if unknown {
        return None;
    }
    if let Some(meant) = meant_newline(&parsed) {
        let at = call.args.first().map_or(call.loc, |e| e.loc);
        c.diags.warn(Stage::Check, at, format!("did you mean `{meant}`?"));
    }
    let mut ready = Vec::new();
    for (spec, ex) in parsed.specs.iter().zip(values) {
        // Collected numbers are shown as text in their own way, and as numbers by what they amount to.
        let number = !matches!(spec.name.as_str(), "s" | "r" | "rx" | "rh");
        let ex = if number { c.value(ex) } else { ex };
        if ex.unknown {
            return None;
        }
        let shown = c.show(&ex);
        let problem = spec.check(&ex.e.ty, &shown).or_else(|| c.unprintable(&ex));
        if let Some(message) = problem {
            c.diags.error(Stage::Check, call.loc, message);
            return None;
        }
        c.db.complete(&ex.e.ty);
        ready.push(ex);
    }
    Some((parsed, ready))
}

fn printf(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some((parsed, values)) = formatted(c, call) else { return Ex::void(call.loc) };
    if c.events.len() > MAX_FORMATS {
        return Ex::void(call.loc);
    }
    if c.events.len() == MAX_FORMATS {
        // Told once: the next event makes it one more.
        c.event(Event::Exit);
        let message = format!("a script can have at most {MAX_FORMATS} calls with formats");
        return c.error(Stage::Resources, call.loc, message);
    }
    let types: Vec<Type> = values.iter().map(|v| v.e.ty.clone()).collect();
    // Messages go where they cannot be pushed out by a flood of data.
    let header = if matches!(call.name, "errorf" | "warnf") { CONTROL_HEADER } else { DATA_HEADER };
    let args = arguments(&types, header, &c.db.structs);
    let format = parsed.format;
    let event = match call.name {
        "errorf" => Event::Message { error: true, format, args, loc: call.loc },
        "warnf" => Event::Message { error: false, format, args, loc: call.loc },
        "system" => Event::System { format, args },
        "cat" => Event::Cat { format, args },
        _ => Event::Printf { format, args },
    };
    let event = c.event(event);
    emit(event, values.into_iter().map(|v| v.e).collect(), call.loc)
}

fn time(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let format = match call.args.is_empty() {
        true => "%H:%M:%S\n".to_owned(),
        false => match c.literal_text(call, 0) {
            Some(text) => String::from_utf8_lossy(&text).into_owned(),
            None => return Ex::void(call.loc),
        },
    };
    let event = c.event(Event::Time(format));
    emit(event, Vec::new(), call.loc)
}

fn exit(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let code = if call.args.is_empty() {
        hir::Expr::new(Hir::Int(0), Type::I64, call.loc)
    } else {
        match c.int_arg(call, 0) {
            Some(code) => c.as_i64(code),
            None => return Ex::void(call.loc),
        }
    };
    let event = c.event(Event::Exit);
    let emit = hir::Stmt { kind: StmtKind::Emit(event, vec![code]), loc: call.loc };
    let leave = hir::Stmt { kind: StmtKind::Return(None), loc: call.loc };
    Ex::effect(vec![emit, leave], call.loc)
}

fn join(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let array = c.arg(call, 0);
    let separator = match call.args.len() {
        1 => Some(b" ".to_vec()),
        _ => c.literal_text(call, 1),
    };
    let Some(separator) = separator else { return Ex::void(call.loc) };
    if array.unknown {
        return Ex::void(call.loc);
    }
    let space = array.ty().space();
    if !matches!(array.e.ty, Type::Int(_) | Type::Ptr(..)) {
        let message =
            format!("join() only supports int or pointer arguments ({} provided)", class(&array.e.ty));
        return c.error(Stage::Check, call.loc, message);
    }
    if space == AddrSpace::None {
        c.unknown_space();
    }
    let strings = Type::Ptr(Rc::new(Type::int(1, true)), space);
    let pointer = Type::Ptr(Rc::new(strings), space);
    let array = match array.lit_int() {
        Some(n) => hir::Expr::new(Hir::Int(n as u64), pointer, array.e.loc),
        None => {
            let e = if matches!(array.e.ty, Type::Int(_)) { cast(array.e, &Type::U64) } else { array.e };
            cast(e, &pointer)
        }
    };
    let separator = String::from_utf8_lossy(&separator).into_owned();
    let event = c.event(Event::Join { offset: DATA_HEADER, size: JOIN_SIZE, separator });
    emit(event, vec![array], call.loc)
}

/// `clear` and `zero`
fn whole_map(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(arg) = call.args.first() else { return Ex::void(call.loc) };
    let Some(name) = c.whole_map(arg).map(str::to_owned) else {
        let message = format!("{}() expects a map argument", call.name);
        return c.error(Stage::Calls, arg.loc, message);
    };
    let Some(map) = known_map(c, &name, arg.loc) else { return Ex::void(call.loc) };
    let event = if call.name == "clear" { Event::Clear(map) } else { Event::Zero(map) };
    let event = c.event(event);
    emit(event, Vec::new(), call.loc)
}

/// The number of a map that something was stored in.
fn known_map(c: &mut Checker<'_, '_>, name: &str, loc: Loc) -> Option<usize> {
    let state = c.maps.get(name)?;
    let (id, defined) = (state.id, state.value.is_some());
    if !defined {
        let _ = c.undefined_map(name, loc);
        return None;
    }
    Some(id.index())
}

fn print(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(arg) = call.args.first() else { return Ex::void(call.loc) };
    if let Some(name) = c.whole_map(arg).map(str::to_owned) {
        return print_map(c, call, &name, arg.loc);
    }
    let value = c.expr(arg);
    if call.args.len() != 1 {
        let message = format!("Non-map print() only takes 1 argument, {} found", call.args.len());
        return c.error(Stage::Check, call.loc, message);
    }
    if value.failed || value.is_void() {
        let message = "none type passed to print() is not printable";
        return c.error(Stage::Check, call.loc, message);
    }
    if value.unknown {
        return Ex::void(call.loc);
    }
    if let Some(message) = c.unprintable(&value) {
        return c.error(Stage::Check, call.loc, message);
    }
    c.db.complete(&value.e.ty);
    let ty = value.e.ty.clone();
    let arg = arguments(std::slice::from_ref(&ty), DATA_HEADER, &c.db.structs).pop();
    let Some(arg): Option<Arg> = arg else { return Ex::void(call.loc) };
    let event = c.event(Event::Value(arg));
    emit(event, vec![value.e], call.loc)
}

fn print_map(c: &mut Checker<'_, '_>, call: &Call<'_>, name: &str, loc: Loc) -> Ex {
    let number = |c: &mut Checker<'_, '_>, e: &ast::Expr| {
        let ex = c.expr(e);
        match ex.lit_int() {
            Some(n) => Some(u64::try_from(n).unwrap_or(0)),
            None => {
                if !ex.unknown {
                    let message = format!("print() expects a int literal ({} provided)", class(&ex.e.ty));
                    c.diags.error(Stage::Check, call.loc, message);
                }
                None
            }
        }
    };
    let mut numbers = [0, 0];
    for (slot, e) in numbers.iter_mut().zip(call.args.get(1..).unwrap_or(&[])) {
        match number(c, e) {
            Some(n) => *slot = n,
            None => return Ex::void(call.loc),
        }
    }
    let Some(map) = known_map(c, name, loc) else { return Ex::void(call.loc) };
    let stats = c
        .maps
        .get(name)
        .and_then(|m| m.value.as_ref())
        .is_some_and(|v| matches!(v.ty, Type::Agg(crate::types::AggTy::Stats(_))));
    if stats && call.args.len() > 1 {
        let message = "print()'s top and div arguments are ignored when used on stats() maps.";
        c.diags.warn(Stage::Check, call.loc, message);
    }
    if c.loops > 0 {
        let message = "Due to it's asynchronous nature using 'print()' in a loop can lead to unexpected behavior. \
                       The map will likely be updated before the runtime can 'print' it.";
        c.diags.warn(Stage::Check, call.loc, message);
    }
    let [top, div] = numbers;
    let event = c.event(Event::PrintMap { map, top, div });
    emit(event, Vec::new(), call.loc)
}

fn debugf(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let message = "The debugf() builtin is not recommended for production use. For more information see \
                   bpf_trace_printk in bpf-helpers(7).";
    c.diags.warn(Stage::Calls, call.loc, message);
    if call.args.len() > MAX_DEBUG_ARGS + 1 {
        let message = "cannot use more than 3 conversion specifiers";
        return c.error(Stage::Calls, call.loc, message);
    }
    let Some((parsed, values)) = formatted(c, call) else { return Ex::void(call.loc) };
    let text_loc = call.args.first().map_or(call.loc, |e| e.loc);
    let mut args = Vec::new();
    let conversions = parsed.format.iter().filter_map(|p| match p {
        Piece::Conv(conversion) => Some(conversion),
        Piece::Text(_) => None,
    });
    for ((spec, conversion), value) in parsed.specs.iter().zip(conversions).zip(values) {
        let text = conversion.kind == ConvKind::Text;
        if !matches!(spec.name.as_str(), "d" | "u" | "x" | "p" | "s") {
            let message = format!("Invalid format specifier for `debugf`: {}", spec.name);
            return c.error(Stage::Check, text_loc, message);
        }
        if text != matches!(value.e.ty, Type::Str(_)) {
            let message = format!("Type does not match format specifier: {}", spec.name);
            return c.error(Stage::Check, value.loc(), message);
        }
        // The kernel's formatting takes 64-bit words.
        args.push(if text {
            value.e
        } else if matches!(value.e.ty, Type::Int(crate::types::IntTy { signed: true, .. })) {
            c.as_i64(value)
        } else {
            c.as_u64(value)
        });
    }
    let format = kernel_format(&parsed.format);
    Ex::new(Hir::Call(Func::Debugf(format), args), Type::None, call.loc)
}

/// A format as `bpf_trace_printk` wants it: 64-bit numbers have their length written out.
fn kernel_format(format: &Format) -> String {
    let mut out = String::new();
    for piece in format {
        match piece {
            Piece::Text(text) => out.push_str(&String::from_utf8_lossy(text).replace('%', "%%")),
            Piece::Conv(conversion) => {
                let length = if conversion.bytes == 8 { "ll" } else { "" };
                out.push_str(&match conversion.kind {
                    ConvKind::Text => "%s".to_owned(),
                    ConvKind::Pointer => "%p".to_owned(),
                    ConvKind::Unsigned => format!("%{length}u"),
                    ConvKind::Hex => format!("%{length}x"),
                    _ => format!("%{length}d"),
                });
            }
        }
    }
    out
}

fn fail(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(text) = c.literal_text(call, 0) else { return Ex::void(call.loc) };
    let mut values = Vec::new();
    for e in &call.args[1..] {
        match c.expr(e) {
            Ex { lit: Some(lit), .. } => values.push(lit),
            Ex { unknown: true, .. } => return Ex::void(call.loc),
            _ => return c.error(Stage::Check, call.loc, "fail() arguments need to be literals"),
        }
    }
    let parsed = parse(&text);
    let (given, wanted) = (values.len(), parsed.specs.len());
    if given < wanted {
        let message = format!("not enough arguments for format string ({given} supplied, {wanted} expected)");
        return c.error(Stage::Check, call.loc, message);
    }
    let mut values = values.into_iter();
    let mut message = String::new();
    for piece in &parsed.format {
        match (piece, ()) {
            (Piece::Text(text), ()) => message.push_str(&String::from_utf8_lossy(text)),
            (Piece::Conv(conversion), ()) => match (values.next(), conversion.kind) {
                (Some(Lit::Int(n)), ConvKind::Hex) => message.push_str(&format!("{n:x}")),
                (Some(Lit::Int(n)), _) => message.push_str(&n.to_string()),
                (Some(Lit::Bool(b)), ConvKind::Text) => message.push_str(if b { "true" } else { "false" }),
                (Some(Lit::Bool(b)), _) => message.push(if b { '1' } else { '0' }),
                (Some(Lit::Str(text)), _) => message.push_str(&String::from_utf8_lossy(&text)),
                (None, _) => {}
            },
        }
    }
    c.diags.push(Stage::Check, Diagnostic::error(call.loc, message));
    Ex::void(call.loc)
}

impl Checker<'_, '_> {
    /// Why a value cannot be shown.
    pub(crate) fn unprintable(&self, ex: &Ex) -> Option<String> {
        match &ex.e.ty {
            Type::Agg(agg)
                if crate::sema::ty::agg_reads_as(*agg).is_none()
                    && !matches!(agg, crate::types::AggTy::Stats(_)) =>
            {
                Some(format!(
                    "Map type {} cannot print the value of individual keys. You must print the whole map.",
                    agg.name()
                ))
            }
            Type::Struct(id) => {
                let def = &self.db.structs.structs[*id];
                matches!(def.origin, Origin::TracepointRecord | Origin::Arguments)
                    .then(|| format!("{} type passed to print() is not printable", def.name))
            }
            _ => None,
        }
    }
}
