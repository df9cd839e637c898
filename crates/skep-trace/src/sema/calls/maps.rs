//! What the built-in library needs of maps.

use super::{Call, Function, function};
use crate::hir::{ExprKind as Hir, Func};
use crate::sema::check::{Checker, Ex};
use crate::sema::diags::Stage;
use crate::syntax::ast::{self, ExprKind};
use crate::types::Type;
use skep_ir::Feature;

pub(crate) const TABLE: &[Function] = &[
    function(
        "is_scalar",
        1,
        1,
        "Whether a map has no keys; known at compile time.",
        "if comptime (is_scalar(@x)) { print(@x); }",
        is_scalar,
    ),
    function("__delete", 1, 2, "", "", delete),
    function("__delete_element", 1, 1, "", "", delete_element),
    function("__has_key", 2, 2, "", "", has_key),
    function("__len", 1, 1, "", "", len),
];

/// The map of an argument, which must be a whole one.
fn map_arg(c: &mut Checker<'_, '_>, call: &Call<'_>, what: &str) -> Option<String> {
    let arg = call.args.first()?;
    let name = c.whole_map(arg).map(str::to_owned);
    if name.is_none() {
        c.diags.error(Stage::Check, call.loc, format!("{what} expects a map for the first argument"));
    }
    name
}

/// Whether a map has keys, as far as all of its uses tell.
fn keyed(c: &Checker<'_, '_>, name: &str) -> Option<bool> {
    let state = c.maps.get(name)?;
    state.keyed.or(state.was_keyed)
}

fn is_scalar(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(arg) = call.args.first() else { return Ex::unknown(call.loc) };
    let Some(name) = c.whole_map(arg).map(str::to_owned) else {
        return c.error(Stage::Aggregate, call.loc, "is_scalar() expects a map for the first argument");
    };
    match keyed(c, &name) {
        Some(keyed) => Ex::bool(!keyed, call.loc),
        None => Ex::unknown(call.loc),
    }
}

fn delete(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(name) = map_arg(c, call, "delete()") else { return Ex::unknown(call.loc) };
    let Some(key) = call.args.get(1) else {
        if keyed(c, &name) == Some(true) {
            let message =
                "call to delete() with a single argument expects a map without explicit keys (scalar map)";
            return c.error(Stage::Check, call.loc, message);
        }
        let Some((map, _)) = c.map_access(&name, None, call.loc) else { return Ex::unknown(call.loc) };
        if c.maps.get(&name).is_some_and(|m| m.value.is_none()) {
            return c.undefined_map(&name, call.loc);
        }
        return Ex::new(Hir::Call(Func::Delete(map), Vec::new()), Type::Bool, call.loc);
    };
    if keyed(c, &name) == Some(false) {
        let message = "call to delete() with two arguments expects a map with explicit keys (non-scalar map)";
        return c.error(Stage::Check, call.loc, message);
    }
    delete_key(c, call, &name, std::slice::from_ref(key))
}

fn delete_key(c: &mut Checker<'_, '_>, call: &Call<'_>, name: &str, key: &[ast::Expr]) -> Ex {
    let Some((map, Some(key))) = c.map_access(name, Some(key), call.loc) else {
        return Ex::unknown(call.loc);
    };
    if c.maps.get(name).is_some_and(|m| m.value.is_none()) {
        return c.undefined_map(name, call.loc);
    }
    Ex::new(Hir::Call(Func::Delete(map), vec![key]), Type::Bool, call.loc)
}

/// `delete(@m[k])`, the old way to write it.
fn delete_element(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    match call.args.first().map(|e| &e.kind) {
        Some(ExprKind::Map { name, key: Some(key), .. }) => delete_key(c, call, name, key),
        _ => {
            let message = "delete() expects a map, or a map and a key";
            c.error(Stage::Types, call.loc, message)
        }
    }
}

fn has_key(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(name) = map_arg(c, call, "has_key()") else { return Ex::unknown(call.loc) };
    if keyed(c, &name) == Some(false) {
        let message = "call to has_key() expects a map with explicit keys (non-scalar map)";
        c.diags.error(Stage::Check, call.loc, message);
        return Ex::new(Hir::Int(0), Type::Bool, call.loc);
    }
    let key = call.args.get(1).map_or(&[][..], std::slice::from_ref);
    let Some((map, Some(key))) = c.map_access(&name, Some(key), call.loc) else {
        return Ex::unknown(call.loc);
    };
    if c.maps.get(&name).is_some_and(|m| m.value.is_none()) {
        return c.undefined_map(&name, call.loc);
    }
    Ex::new(Hir::Call(Func::HasKey(map), vec![key]), Type::Bool, call.loc)
}

fn len(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(arg) = call.args.first() else { return Ex::unknown(call.loc) };
    if let Some(name) = c.whole_map(arg).map(str::to_owned) {
        if keyed(c, &name) == Some(false) {
            let message = "call to len() expects a map with explicit keys (non-scalar map)";
            c.diags.error(Stage::Check, call.loc, message);
            return Ex::new(Hir::Int(0), Type::I64, call.loc);
        }
        let Some(state) = c.maps.get(&name) else { return Ex::unknown(call.loc) };
        let (map, defined) = (state.id, state.value.is_some());
        if !defined {
            return c.undefined_map(&name, call.loc);
        }
        if !c.env.has(Feature::MapSumElemCount)
            && !c.needs(Feature::ForEachMapElem, call.loc, "The number of elements of a map")
        {
            return Ex::unknown(call.loc);
        }
        return Ex::new(Hir::Call(Func::MapLen(map), Vec::new()), Type::I64, call.loc);
    }
    let value = c.expr(arg);
    if value.unknown {
        return Ex::unknown(call.loc);
    }
    match value.e.ty {
        Type::KStack(_) | Type::UStack(_) => {
            Ex::new(Hir::Call(Func::StackLen, vec![value.e]), Type::I64, call.loc)
        }
        _ => {
            let message = "call to len() expects a map, ustack, or kstack";
            c.diags.error(Stage::Check, call.loc, message);
            Ex::new(Hir::Int(0), Type::I64, call.loc)
        }
    }
}
