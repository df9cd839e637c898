//! Stacks.

use super::{Call, Function, function};
use crate::config::stack_mode;
use crate::hir::{Builtin, ExprKind as Hir};
use crate::sema::check::{Checker, Ex, Lit};
use crate::sema::diags::Stage;
use crate::syntax::ast::{self, ExprKind};
use crate::types::{StackMode, StackTy, Type};
use skep_ir::{Feature, Loc};

/// Most frames that may be asked for; the kernel cuts deeper stacks at `kernel.perf_event_max_stack`.
const MAX_DEPTH: u32 = 1024;
/// Frames unless asked for: `PERF_MAX_STACK_DEPTH` of `include/uapi/linux/perf_event.h`.
const DEFAULT_DEPTH: u32 = 127;

pub(crate) const TABLE: &[Function] = &[
    function(
        "kstack",
        0,
        2,
        "Kernel stack. Arguments: form (bpftrace, perf or raw) and most frames, either or both.",
        "@[kstack(perf, 5)] = count();",
        stack,
    )
    .bare(),
    function(
        "ustack",
        0,
        2,
        "User stack. Arguments: form (bpftrace, perf, raw or build_id) and most frames, either or both.",
        "@[ustack(3)] = count();",
        stack,
    )
    .bare(),
    function("__builtin_kstack", 0, 2, "", "", stack).bare(),
    function("__builtin_ustack", 0, 2, "", "", stack).bare(),
    function("__dw_ustack", 0, 2, "", "", dw_ustack),
];

fn stack(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let name = call.name.strip_prefix("__builtin_").unwrap_or(call.name);
    let user = name == "ustack";
    let Some((mode, depth)) = arguments(c, call, name) else { return Ex::unknown(call.loc) };
    let explicit = mode.is_some();
    let mut mode = mode.unwrap_or(c.config.stack_mode);
    if mode == StackMode::BuildId && !user {
        if explicit {
            let message = "'build_id' stack mode can only be used for ustack";
            return c.error(Stage::Types, call.loc, message);
        }
        let message = "'build_id' stack mode can only be used for ustack. Falling back to 'raw' mode.";
        c.diags.warn(Stage::Types, call.loc, message);
        mode = StackMode::Raw;
    }
    if !c.needs(Feature::GetStack, call.loc, name) {
        return Ex::unknown(call.loc);
    }
    let ty = StackTy { mode, depth };
    let (builtin, ty) =
        if user { (Builtin::UStack(ty), Type::UStack(ty)) } else { (Builtin::KStack(ty), Type::KStack(ty)) };
    Ex::new(Hir::Builtin(builtin), ty, call.loc)
}

/// Form and depth: one argument is either, two are both in this order.
fn arguments(c: &mut Checker<'_, '_>, call: &Call<'_>, name: &str) -> Option<(Option<StackMode>, u32)> {
    match call.args {
        [] => Some((None, DEFAULT_DEPTH)),
        [one] => match mode(c, one, name) {
            Some(found) => found.map(|m| (Some(m), DEFAULT_DEPTH)),
            None => Some((None, depth(c, one, call.loc, name)?)),
        },
        [first, second, ..] => {
            let Some(found) = mode(c, first, name) else {
                c.diags.error(Stage::Types, call.loc, "Expected stack mode as first argument");
                return None;
            };
            Some((Some(found?), depth(c, second, call.loc, name)?))
        }
    }
}

/// The form that an argument names. The outer `None`: it is no name.
fn mode(c: &mut Checker<'_, '_>, e: &ast::Expr, name: &str) -> Option<Option<StackMode>> {
    let ExprKind::Ident(word) = &e.kind else { return None };
    let found = stack_mode(word);
    if found.is_none() {
        let message = format!(
            "Error parsing stack mode: {name}: Invalid value for stack_mode: valid values are bpftrace, raw, perf, \
             and build_id."
        );
        c.diags.error(Stage::Types, e.loc, message);
    }
    Some(found)
}

fn depth(c: &mut Checker<'_, '_>, e: &ast::Expr, loc: Loc, name: &str) -> Option<u32> {
    match c.literal(e) {
        Some(Lit::Int(n)) if (1..=i128::from(MAX_DEPTH)).contains(&n) => Some(n as u32),
        Some(Lit::Int(n)) if n > i128::from(MAX_DEPTH) => {
            let message = format!("{name}([int limit]): limit shouldn't exceed {MAX_DEPTH}, {n} given");
            c.diags.error(Stage::Types, loc, message);
            None
        }
        _ => {
            c.diags.error(Stage::Types, loc, format!("{name}: invalid limit value"));
            None
        }
    }
}

fn dw_ustack(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let setting = c.config.unstable_dw_ustack;
    let feature = "dw_ustack (DWARF stack unwinding)";
    if !c.unstable(feature, "unstable_dw_ustack", setting, call.loc) {
        return Ex::unknown(call.loc);
    }
    let note = skep_ir::Diagnostic::error(call.loc, "Stacks cannot be unwound by debug data.")
        .hint("ustack follows frame pointers; programs built with -fno-omit-frame-pointer have them.");
    c.diags.push(Stage::Check, note);
    Ex::unknown(call.loc)
}
