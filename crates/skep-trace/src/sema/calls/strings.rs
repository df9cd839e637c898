//! Text, bytes, addresses of networks, and points in time.

use super::{Call, Function, function};
use crate::hir::{self, ExprKind as Hir, Func, NsecsClock, StringTable};
use crate::plan::Clock;
use crate::sema::check::{Checker, Ex, Lit, cast, class};
use crate::sema::diags::Stage;
use crate::syntax::ast::{self, ExprKind};
use crate::types::{AddrSpace, IntTy, Type};
use core::net::{Ipv4Addr, Ipv6Addr};
use skep_ir::{Feature, Loc};
use std::rc::Rc;

/// Capacity of error texts, names of signals and of system calls.
const TABLE_TEXT: u32 = 64;
/// Bytes of a buffer's length.
const BUFFER_HEADER: u32 = 4;

pub(crate) const TABLE: &[Function] = &[
    function(
        "str",
        1,
        2,
        "Text at an address, up to a length in bytes if one is given.",
        "printf(\"%s\\n\", str(args.filename));",
        str_,
    ),
    function(
        "buf",
        1,
        2,
        "Bytes at an address; of an array all of them.",
        "printf(\"%r\\n\", buf(args.buff, args.len));",
        buf,
    ),
    function(
        "strncmp",
        3,
        3,
        "Compares the first n bytes of two strings: 0 if they are equal.",
        "strncmp(comm, \"kworker\", 7) == 0",
        strncmp,
    ),
    function(
        "strftime",
        2,
        2,
        "A point in time by a format of strftime; %f is microseconds.",
        "print(strftime(\"%H:%M:%S\", nsecs));",
        strftime,
    ),
    function(
        "bswap",
        1,
        1,
        "The bytes of an integer in reverse order.",
        "print(bswap((uint16)args.port));",
        bswap,
    ),
    function(
        "ntop",
        1,
        2,
        "A network address as text, from an integer or from 4 or 16 bytes; before it, if given, its family.",
        "print(ntop(args.daddr));",
        ntop,
    ),
    function(
        "pton",
        1,
        1,
        "The bytes of a network address that is written as text.",
        "print(ntop(pton(\"::1\")));",
        pton,
    ),
    function(
        "macaddr",
        1,
        1,
        "A hardware address of 6 bytes as text.",
        "print(macaddr($dev.dev_addr));",
        macaddr,
    ),
    function("__strlen", 1, 1, "", "", strlen),
    function("__strcap", 1, 1, "", "", strcap),
    function("__strstr", 2, 2, "", "", strstr),
    function("__str_concat", 2, 2, "", "", str_concat),
    function("__memcmp", 3, 3, "", "", memcmp),
    function("__strerror", 1, 1, "", "", table),
    function("__signal_name", 1, 1, "", "", table),
    function("__syscall_name", 1, 1, "", "", table),
];

/// The positional parameter that an argument is, if it is one.
fn param(e: &ast::Expr) -> Option<u32> {
    match &e.kind {
        ExprKind::Param(n) => Some(*n),
        ExprKind::Block(block) if block.stmts.is_empty() => param(block.value.as_ref()?),
        _ => None,
    }
}

/// A length argument: a constant, or a value.
enum Length {
    None,
    Constant(u32),
    Value(hir::Expr),
}

/// The length that a function is given. Constants above the limit are cut to it.
fn length(c: &mut Checker<'_, '_>, call: &Call<'_>, limit: u32) -> Option<Length> {
    if call.args.len() < 2 {
        return Some(Length::None);
    }
    let n = c.int_arg(call, 1)?;
    match n.lit_int() {
        Some(value) if value < 0 => {
            let message = format!("{}() cannot use negative length ({value})", call.name);
            c.diags.error(Stage::Check, call.loc, message);
            None
        }
        Some(value) if value > i128::from(limit) => {
            let message = format!(
                "length param ({value}) is too long and will be shortened to {limit} bytes (see BPFTRACE_MAX_STRLEN)"
            );
            c.diags.warn(Stage::Check, call.loc, message);
            Some(Length::Constant(limit))
        }
        Some(value) => Some(Length::Constant(value as u32)),
        None => Some(Length::Value(c.as_u64(n))),
    }
}

fn str_(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(arg) = call.args.first() else { return Ex::unknown(call.loc) };
    let max = c.max_strlen();
    // A parameter of the script is text here, also where it reads as a number.
    let value = match param(arg) {
        Some(number) => {
            let text = (number as usize).checked_sub(1).and_then(|i| c.options.params.get(i)).cloned();
            if text.as_ref().is_none_or(String::is_empty) {
                c.missing_param(number, arg.loc);
            }
            Ex::str(text.unwrap_or_default().as_bytes(), arg.loc)
        }
        None => c.arg(call, 0),
    };
    let Some(length) = length(c, call, max) else { return Ex::unknown(call.loc) };
    if value.unknown {
        return Ex::unknown(call.loc);
    }
    // Text that is known is cut now; text that is not stays as it is unless it is cut.
    match (&value.lit, &length) {
        (Some(Lit::Str(text)), Length::None) => return Ex::str(text.clone(), call.loc),
        (Some(Lit::Str(text)), Length::Constant(n)) => {
            return Ex::str(&text[..text.len().min(*n as usize)], call.loc);
        }
        (None, Length::None) if matches!(value.e.ty, Type::Str(_)) => {
            return Ex { e: hir::Expr { loc: call.loc, ..value.e }, ..value };
        }
        _ => {}
    }
    let capacity = |whole: u32| match &length {
        Length::None | Length::Value(_) => whole,
        Length::Constant(n) => n.saturating_add(1).min(whole.max(1)),
    };
    let (source, capacity) = match &value.e.ty {
        Type::Str(cap) => (value.e.clone(), capacity(*cap)),
        Type::Ptr(..) | Type::Int(_) => (text_pointer(c, &value), capacity(max)),
        _ => {
            let message = format!(
                "str() expects a string, integer or a pointer type as first argument ({} provided)",
                c.show(&value)
            );
            return c.error(Stage::Check, call.loc, message);
        }
    };
    let mut args = vec![source];
    match length {
        Length::None => {}
        Length::Constant(n) => args.push(hir::Expr::new(Hir::Int(u64::from(n)), Type::U64, call.loc)),
        Length::Value(n) => args.push(n),
    }
    Ex::new(Hir::Call(Func::Str, args), Type::Str(capacity), call.loc)
}

/// A pointer or an integer as a pointer to bytes of the memory that it is of.
fn text_pointer(c: &mut Checker<'_, '_>, value: &Ex) -> hir::Expr {
    let space = match value.ty().space() {
        AddrSpace::None => c.default_space(),
        known => known,
    };
    if space == AddrSpace::None {
        c.unknown_space();
    }
    let ty = Type::Ptr(Rc::new(Type::int(1, true)), space);
    if let Some(n) = value.lit_int() {
        return hir::Expr::new(Hir::Int(n as u64), ty, value.loc());
    }
    let e = value.e.clone();
    let e = if matches!(e.ty, Type::Int(_)) { cast(e, &Type::U64) } else { e };
    cast(e, &ty)
}

fn buf(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let limit = c.max_strlen().saturating_sub(BUFFER_HEADER).max(1);
    let value = c.arg(call, 0);
    let Some(length) = length(c, call, limit) else { return Ex::unknown(call.loc) };
    if value.unknown {
        return Ex::unknown(call.loc);
    }
    let whole = match &value.e.ty {
        Type::Array(..) => Some(c.db.size_of(&value.e.ty)),
        Type::Str(_) | Type::Int(_) | Type::Ptr(..) => None,
        _ => {
            let message =
                format!("buf() expects an integer, string, or array argument but saw {}", class(&value.e.ty));
            return c.error(Stage::Check, call.loc, message);
        }
    };
    let (capacity, n) = match (length, whole) {
        (Length::None, Some(size)) => (size, None),
        (Length::None, None) => {
            let message =
                format!("buf() expects a length argument for non-array type {}", class(&value.e.ty));
            return c.error(Stage::Check, call.loc, message);
        }
        (Length::Constant(n), _) => (n, Some(hir::Expr::new(Hir::Int(u64::from(n)), Type::U64, call.loc))),
        (Length::Value(n), whole) => (whole.unwrap_or(limit).min(limit), Some(n)),
    };
    let source = match &value.e.ty {
        Type::Int(_) | Type::Ptr(..) => text_pointer(c, &value),
        _ => value.e,
    };
    let args = std::iter::once(source).chain(n).collect();
    Ex::new(Hir::Call(Func::Buf, args), Type::Buf(capacity), call.loc)
}

fn strncmp(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let (a, b, n) = (c.arg(call, 0), c.arg(call, 1), c.arg(call, 2));
    let count = match n.lit_int().map(u32::try_from) {
        Some(Ok(count)) => count,
        _ if n.unknown => return Ex::unknown(call.loc),
        _ => {
            let message = "Builtin strncmp requires a non-negative literal";
            return c.error(Stage::Calls, call.loc, message);
        }
    };
    for ex in [&a, &b] {
        if ex.unknown {
            return Ex::unknown(call.loc);
        }
        if !matches!(ex.e.ty, Type::Str(_)) {
            let message = format!("strncmp() only supports string arguments ({} provided)", class(&ex.e.ty));
            return c.error(Stage::Check, call.loc, message);
        }
    }
    Ex::new(Hir::Call(Func::Strncmp(count), vec![a.e, b.e]), Type::U64, call.loc)
}

fn strftime(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let format = c.literal_text(call, 0);
    let time = c.int_arg(call, 1);
    let (Some(format), Some(time)) = (format, time) else { return Ex::unknown(call.loc) };
    let clock = match time.traits.clock() {
        Some(NsecsClock::Monotonic) if c.env.has(Feature::KtimeGetBootNs) => {
            let message = "strftime() can not take a monotonic timestamp";
            return c.error(Stage::Check, call.loc, message);
        }
        Some(NsecsClock::Monotonic) => Clock::Monotonic,
        Some(NsecsClock::Tai | NsecsClock::SwTai) => Clock::Tai,
        Some(NsecsClock::Boot) | None => Clock::Boot,
    };
    if time.lit_int().is_some_and(|n| n < 0) {
        let message = "strftime() does not accept negative timestamps";
        return c.error(Stage::Check, call.loc, message);
    }
    let format = String::from_utf8_lossy(&format).into_owned();
    let index = c.time_formats.iter().position(|f| *f == format).unwrap_or_else(|| {
        c.time_formats.push(format);
        c.time_formats.len() - 1
    });
    let time = c.as_u64(time);
    Ex::new(Hir::Call(Func::Strftime(index as u32, clock), vec![time]), Type::Timestamp, call.loc)
}

fn bswap(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let value = c.arg(call, 0);
    if value.unknown {
        return Ex::unknown(call.loc);
    }
    let Type::Int(int) = value.e.ty else {
        let message = format!("bswap() only supports integer arguments ({} provided)", class(&value.e.ty));
        return c.error(Stage::Types, call.loc, message);
    };
    let ty = Type::Int(IntTy { signed: false, ..int });
    let value = cast(value.settled().e, &ty);
    if int.bytes == 1 {
        return Ex { e: hir::Expr { loc: call.loc, ..value }, ..Ex::new(Hir::Int(0), ty, call.loc) };
    }
    Ex::new(Hir::Call(Func::Bswap, vec![value]), ty, call.loc)
}

fn ntop(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let two = call.args.len() == 2;
    let family = if two { c.int_arg(call, 0).map(|f| c.as_u64(f)) } else { None };
    if two && family.is_none() {
        return Ex::unknown(call.loc);
    }
    let value = c.arg(call, usize::from(two));
    if value.unknown {
        return Ex::unknown(call.loc);
    }
    let number = |n: u64| hir::Expr::new(Hir::Int(n), Type::U64, call.loc);
    let address = match &value.e.ty {
        Type::Int(_) => {
            // Integers hold IPv4 addresses in the order of the network.
            let to = Type::U32;
            match value.lit_int() {
                Some(n) => hir::Expr::new(Hir::Int(n as u64 & 0xffff_ffff), to, value.e.loc),
                None => cast(value.e, &to),
            }
        }
        Type::Array(elem, len) if matches!(**elem, Type::Int(_)) => {
            let size = c.db.size_of(&Type::Array(elem.clone(), *len));
            if size != 4 && size != 16 {
                let message = "ntop() argument must be 4 or 16 bytes in size";
                return c.error(Stage::Check, call.loc, message);
            }
            value.e
        }
        Type::Str(_) => {
            let message = "ntop() argument must be 4 or 16 bytes in size";
            return c.error(Stage::Check, call.loc, message);
        }
        Type::Ptr(to, _) if matches!(c.db.size_of(to), 4 | 16) => value.e,
        _ => {
            let message = format!("ntop() expects an integer or array argument, got {}", class(&value.e.ty));
            return c.error(Stage::Check, call.loc, message);
        }
    };
    let family = family.unwrap_or_else(|| number(0));
    Ex::new(Hir::Call(Func::Ntop, vec![family, address]), Type::Inet, call.loc)
}

fn pton(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let ex = c.arg(call, 0);
    let Some(text) = ex.lit_str().map(|t| String::from_utf8_lossy(t).into_owned()) else {
        if ex.unknown {
            return ex;
        }
        let message = "pton() expects an string literal at the first argument";
        return c.error(Stage::Types, call.loc, message);
    };
    let bytes = match (text.parse::<Ipv4Addr>(), text.parse::<Ipv6Addr>()) {
        (Ok(v4), _) => v4.octets().to_vec(),
        (_, Ok(v6)) => v6.octets().to_vec(),
        _ => {
            let message = if text.contains(['.', ':']) {
                format!("pton() expects a valid IPv4/IPv6 address, got {text}")
            } else {
                format!("pton() expects an string argument of an IPv4/IPv6 address, got {text}")
            };
            return c.error(Stage::Types, call.loc, message);
        }
    };
    let ty = Type::Array(Rc::new(Type::int(1, false)), bytes.len() as u32);
    Ex::new(Hir::Str(bytes), ty, call.loc)
}

fn macaddr(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let value = c.arg(call, 0);
    if value.unknown {
        return Ex::unknown(call.loc);
    }
    let address = match &value.e.ty {
        Type::Str(_) if value.lit.is_some() => {
            let message = "macaddr() does not support literal string arguments";
            return c.error(Stage::Check, call.loc, message);
        }
        Type::Array(..) | Type::Str(_) => {
            if c.db.size_of(&value.e.ty) < 6 {
                let message = "macaddr() argument must be at least 6 bytes in size";
                return c.error(Stage::Check, call.loc, message);
            }
            value.e
        }
        Type::Ptr(..) | Type::Int(_) => text_pointer(c, &value),
        _ => {
            let message = format!(
                "macaddr() only supports array or pointer arguments ({} provided)",
                class(&value.e.ty)
            );
            return c.error(Stage::Check, call.loc, message);
        }
    };
    Ex::new(Hir::Call(Func::Macaddr, vec![address]), Type::Mac, call.loc)
}

/// Something that holds text, as a string: strings themselves, and what pointers point to.
fn string_like(c: &mut Checker<'_, '_>, call: &Call<'_>, index: usize) -> Option<Ex> {
    let value = c.arg(call, index);
    if value.unknown {
        return None;
    }
    let max = c.max_strlen();
    match &value.e.ty {
        Type::Str(_) => Some(value),
        Type::Ptr(to, _) if matches!(**to, Type::Int(IntTy { bytes: 1, .. })) => {
            let pointer = text_pointer(c, &value);
            Some(Ex::new(Hir::Call(Func::Str, vec![pointer]), Type::Str(max), value.e.loc))
        }
        Type::Ptr(..) => {
            let message = "string-like pointers must point to a char-like type";
            c.diags.error(Stage::Check, call.loc, message);
            None
        }
        _ => {
            let message = "string-like values must be either strings, arrays or pointers";
            c.diags.error(Stage::Check, call.loc, message);
            None
        }
    }
}

fn strlen(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(text) = string_like(c, call, 0) else { return Ex::unknown(call.loc) };
    Ex::new(Hir::Call(Func::Strlen, vec![text.e]), Type::U64, call.loc)
}

fn strcap(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let value = c.arg(call, 0);
    if value.unknown {
        return Ex::unknown(call.loc);
    }
    let capacity = match &value.e.ty {
        Type::Array(..) | Type::Str(_) => c.db.size_of(&value.e.ty),
        Type::Ptr(..) => c.max_strlen(),
        _ => {
            let message = "string-like values must be either strings, arrays or pointers";
            return c.error(Stage::Check, call.loc, message);
        }
    };
    Ex::int(i128::from(capacity), call.loc)
}

fn strstr(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let (hay, needle) = (string_like(c, call, 0), string_like(c, call, 1));
    let (Some(hay), Some(needle)) = (hay, needle) else { return Ex::unknown(call.loc) };
    Ex::new(Hir::Call(Func::Strstr, vec![hay.e, needle.e]), Type::I32, call.loc)
}

fn str_concat(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let (a, b) = (string_like(c, call, 0), string_like(c, call, 1));
    let (Some(a), Some(b)) = (a, b) else { return Ex::unknown(call.loc) };
    if let (Some(x), Some(y)) = (a.lit_str(), b.lit_str()) {
        return Ex::str([x, y].concat(), call.loc);
    }
    let (first, second) = (c.db.size_of(&a.e.ty), c.db.size_of(&b.e.ty));
    let whole = first.saturating_add(second).saturating_sub(1);
    // Text that is made of itself has to stop somewhere.
    let capacity = if c.may_be_growing() { whole.min(c.max_strlen().max(first).max(second)) } else { whole };
    Ex::new(Hir::Call(Func::StrConcat, vec![a.e, b.e]), Type::Str(capacity), call.loc)
}

fn memcmp(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let (a, b, n) = (c.arg(call, 0), c.arg(call, 1), c.arg(call, 2));
    let Some(Ok(count)) = n.lit_int().map(u32::try_from) else {
        if n.unknown {
            return n;
        }
        return c.error(
            Stage::Check,
            call.loc,
            "memcmp() needs a number of bytes that is known at compile time",
        );
    };
    let mut args = Vec::new();
    for ex in [a, b] {
        if ex.unknown {
            return Ex::unknown(call.loc);
        }
        match &ex.e.ty {
            Type::Ptr(..) => args.push(text_pointer(c, &ex)),
            Type::Str(_)
            | Type::Array(..)
            | Type::Tuple(_)
            | Type::Record(_)
            | Type::Struct(_)
            | Type::Buf(_) => {
                let size = c.db.size_of(&ex.e.ty);
                if count > size {
                    let message = format!("memcmp() would compare {count} bytes of a value of {size}");
                    return c.error(Stage::Check, call.loc, message);
                }
                args.push(ex.e);
            }
            _ => {
                let message = format!(
                    "memcmp() only supports pointers, strings and composite values ({} provided)",
                    class(&ex.e.ty)
                );
                return c.error(Stage::Check, call.loc, message);
            }
        }
    }
    Ex::new(Hir::Call(Func::Memcmp(count), args), Type::I32, call.loc)
}

/// `strerror`, `signal_name`, `syscall_name`: texts by number.
fn table(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let table = match call.name {
        "__signal_name" => StringTable::Signals,
        "__syscall_name" => StringTable::Syscalls,
        _ => StringTable::Errors,
    };
    let number = c.arg(call, 0);
    if number.unknown {
        return Ex::unknown(call.loc);
    }
    if number.ty().as_int().is_none() {
        let message = format!("Cannot cast from \"{}\" to \"int32\"", c.show(&number));
        return c.error(Stage::Check, call.loc, message);
    }
    let number = c.as_i64(number);
    Ex::new(Hir::Call(Func::Table(table), vec![number]), Type::Str(TABLE_TEXT), call.loc)
}

/// Text known at compile time as a string.
pub(crate) fn known_text(ex: &Ex) -> Option<String> {
    ex.lit_str().map(|t| String::from_utf8_lossy(t).into_owned())
}

/// The memory that an argument's address is of.
pub(crate) fn marked(ex: Ex, space: AddrSpace, loc: Loc) -> Ex {
    use crate::sema::ty::{Traits, Ty};
    match &ex.e.ty {
        Type::Ptr(to, _) => {
            let ty = Type::Ptr(to.clone(), space);
            let traits = ex.traits.clone();
            Ex::typed(cast(ex.e, &ty).kind, Ty { ty, traits }, loc)
        }
        _ => {
            let flexible = ex.traits.is_flexible();
            Ex { e: hir::Expr { loc, ..ex.e }, traits: Traits::leaf(flexible, space), ..ex }
        }
    }
}
