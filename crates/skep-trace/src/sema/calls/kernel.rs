//! Functions that change the system. The built-in library wraps them.

use super::{Call, Function, function, probe_type};
use crate::hir::{self, ExprKind as Hir, Func, Provider};
use crate::sema::check::{Checker, Ex, Lit, cast};
use crate::sema::diags::Stage;
use crate::types::{AddrSpace, Type};
use skep_ir::{Diagnostic, Feature};
use std::rc::Rc;

pub(crate) const TABLE: &[Function] = &[
    function("__signal", 2, 2, "", "", signal),
    function("__override", 1, 1, "", "", override_),
    function("__write_user", 3, 3, "", "", write_user),
];

/// Signals by number, from 1: `include/uapi/asm-generic/signal.h`, the same on all supported architectures.
const SIGNALS: &[&str] = &[
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Signals go up to this number.
const MAX_SIGNAL: i128 = 64;

/// Whether unsafe functions may be used; tells so otherwise.
fn allowed(c: &mut Checker<'_, '_>, call: &Call<'_>, name: &str) -> bool {
    if !c.options.unsafe_allowed {
        let message = format!("{name}() is unsafe. To use you need the --unsafe flag");
        c.diags.push(Stage::Check, Diagnostic::error(call.loc, message));
    }
    c.options.unsafe_allowed
}

fn signal(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let thread = call.args.get(1).and_then(|e| c.literal(e)) == Some(Lit::Bool(true));
    let name = if thread { "signal_thread" } else { "signal" };
    let nothing = Ex::void(call.loc);
    let fits = matches!(
        c.provider(),
        Some(
            Provider::Kprobe
                | Provider::Kretprobe
                | Provider::Uprobe
                | Provider::Uretprobe
                | Provider::Usdt
                | Provider::Tracepoint
                | Provider::RawTracepoint
                | Provider::Profile
                | Provider::Fentry
                | Provider::Fexit
        )
    );
    if !fits {
        let provider = c.provider().map_or("function", probe_type);
        let message = format!("{name}() can not be used for this probetype {provider}");
        c.diags.error(Stage::Check, call.loc, message);
    }
    if !allowed(c, call, name) || !fits {
        return nothing;
    }
    let feature = if thread { Feature::SendSignalThread } else { Feature::SendSignal };
    if !c.needs(feature, call.loc, &format!("{name}()")) {
        return nothing;
    }
    let value = c.arg(call, 0);
    let number = match &value.lit {
        Some(Lit::Str(text)) => {
            let text = String::from_utf8_lossy(text).into_owned();
            let bare = text.strip_prefix("SIG").unwrap_or(&text);
            let Some(index) = SIGNALS.iter().position(|s| *s == bare) else {
                let message = format!("Invalid string for signal: {text}");
                return c.error(Stage::Check, call.loc, message);
            };
            hir::Expr::new(Hir::Int(index as u64 + 1), Type::U32, call.loc)
        }
        Some(Lit::Int(n)) if (1..=MAX_SIGNAL).contains(n) => {
            hir::Expr::new(Hir::Int(*n as u64), Type::U32, call.loc)
        }
        None if value.unknown => return nothing,
        None if matches!(value.e.ty, Type::Int(_)) => cast(value.e, &Type::U32),
        _ => {
            let message =
                format!("{name}() accepts a string literal or an integer between 1 and 64 (inclusive)");
            return c.error(Stage::Check, call.loc, message);
        }
    };
    Ex::new(Hir::Call(Func::Signal { thread }, vec![number]), Type::None, call.loc)
}

fn override_(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let fits = c.only_in(call, &[Provider::Kprobe]);
    if !allowed(c, call, "override") || !fits {
        return Ex::void(call.loc);
    }
    if !c.needs(Feature::OverrideReturn, call.loc, "override()") {
        return Ex::void(call.loc);
    }
    match c.int_arg(call, 0) {
        Some(value) => {
            let value = c.as_u64(value);
            Ex::new(Hir::Call(Func::Override, vec![value]), Type::None, call.loc)
        }
        None => Ex::void(call.loc),
    }
}

fn write_user(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    if !allowed(c, call, "write_user") {
        return Ex::new(Hir::Int(0), Type::I64, call.loc);
    }
    if !c.env.has(Feature::ProbeWriteUser) {
        let note = Diagnostic::error(call.loc, "Missing required kernel feature: probe_write_user")
            .hint("Kernels that are locked down refuse to let programs write the memory of processes.");
        c.diags.push(Stage::Check, note);
        return Ex::unknown(call.loc);
    }
    let (to, from, len) = (c.arg(call, 0), c.arg(call, 1), c.int_arg(call, 2));
    let Some(len) = len else { return Ex::unknown(call.loc) };
    if to.unknown || from.unknown {
        return Ex::unknown(call.loc);
    }
    if !matches!(to.e.ty, Type::Ptr(..) | Type::Int(_)) {
        let message = "write_user() expects the address of user memory as its first argument";
        return c.error(Stage::Check, call.loc, message);
    }
    let pointer = Type::Ptr(Rc::new(Type::int(1, true)), AddrSpace::User);
    let to = if matches!(to.e.ty, Type::Int(_)) { c.as_u64(to) } else { to.e };
    let args = vec![cast(to, &pointer), from.e, c.as_u64(len)];
    Ex::new(Hir::Call(Func::WriteUser, args), Type::I64, call.loc)
}
