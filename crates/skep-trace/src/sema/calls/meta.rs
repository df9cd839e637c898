//! Questions at compile time: about types, options, settings and the kernel.

use super::{Call, Function, function};
use crate::config::{KEYS, Value};
use crate::hir::ExprKind as Hir;
use crate::sema::attach::number::integer;
use crate::sema::check::{Checker, Ex, Lit, params_asked::Asked};
use crate::sema::diags::Stage;
use crate::sema::ty::Ty;
use crate::types::Type;
use skep_btf::KindMask;
use skep_ir::{Diagnostic, Feature, ProgKind, Severity};
use std::rc::Rc;

pub(crate) const TABLE: &[Function] = &[
    function(
        "getopt",
        0,
        usize::MAX,
        "An option of the script, given behind `--`: name, default and help text. Without a default it is on or \
         off.",
        "$n = getopt(\"count\", 10, \"how many to show\");",
        getopt,
    ),
    function("__builtin_config", 0, 0, "", "", config).bare(),
    function("__is_literal", 1, 1, "", "", type_test),
    function("__is_array", 1, 1, "", "", type_test),
    function("__is_integer", 1, 1, "", "", type_test),
    function("__is_unsigned_integer", 1, 1, "", "", type_test),
    function("__is_ptr", 1, 1, "", "", type_test),
    function("__is_str", 1, 1, "", "", type_test),
    function("__kfunc_exist", 1, 1, "", "", kfunc),
    function("__kfunc_allowed", 1, 1, "", "", kfunc),
];

fn type_test(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(arg) = call.args.first() else { return Ex::unknown(call.loc) };
    let ex = c.type_of(arg);
    if ex.unknown {
        return Ex::unknown(call.loc);
    }
    let answer = match call.name {
        "__is_literal" => ex.lit.is_some(),
        "__is_array" => matches!(ex.e.ty, Type::Array(..)),
        "__is_integer" => matches!(ex.e.ty, Type::Int(_)),
        "__is_unsigned_integer" => {
            matches!(ex.e.ty, Type::Int(int) if !int.signed) && !ex.traits.is_flexible()
        }
        "__is_ptr" => matches!(ex.e.ty, Type::Ptr(..)),
        _ => matches!(ex.e.ty, Type::Str(_)),
    };
    Ex::bool(answer, call.loc)
}

/// Settings as a record of constants.
fn config(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let fields: Vec<(Rc<str>, Ex)> = KEYS
        .iter()
        .filter_map(|key| {
            let value = match c.config.value(key.name)? {
                Value::Bool(b) => Ex::bool(b, call.loc),
                Value::Number(n) => Ex::int(i128::from(n), call.loc),
                Value::Text(text) => Ex::str(text.as_bytes(), call.loc),
            };
            Some((key.name.into(), value))
        })
        .collect();
    let ty = Ty::record(fields.iter().map(|(n, e)| (n.clone(), e.ty())).collect());
    let elems = fields.into_iter().enumerate().map(|(i, (_, e))| (i as u32, e.e)).collect();
    Ex::typed(Hir::Record(elems), ty, call.loc)
}

fn getopt(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    if call.args.is_empty() || call.args.len() > 3 {
        let message =
            "The 'getopt' function can take a maximum of three arguments and a minimum of one argument.";
        return c.error(Stage::Options, call.loc, message);
    }
    let name = match c.literal(&call.args[0]) {
        Some(Lit::Str(text)) => String::from_utf8_lossy(&text).into_owned(),
        _ => {
            let message = "First argument to 'getopt' must be a string literal.";
            return c.error(Stage::Options, call.args[0].loc, message);
        }
    };
    let default = match call.args.get(1) {
        None => Lit::Bool(false),
        Some(e) => match c.literal(e) {
            Some(lit) => lit,
            None => {
                let message = "Second argument to 'getopt' must be a string literal, integer literal, or a boolean \
                               literal.";
                return c.error(Stage::Options, e.loc, message);
            }
        },
    };
    let help = match call.args.get(2) {
        None => String::new(),
        Some(e) => match c.literal(e) {
            Some(Lit::Str(text)) => String::from_utf8_lossy(&text).into_owned(),
            _ => {
                let message = "Function 'getopt' requires the third parameter to be a string literal.";
                return c.error(Stage::Options, e.loc, message);
            }
        },
    };
    match c.options_asked.get(&name) {
        Some(before) if before.default != default => {
            let shown = match &before.default {
                Lit::Int(n) => n.to_string(),
                Lit::Bool(b) => b.to_string(),
                Lit::Str(text) => String::from_utf8_lossy(text).into_owned(),
            };
            let message = format!(
                "Command line option '{name}' needs to have the same default value in all places it is used. \
                 Previous default value: {shown}"
            );
            return c.error(Stage::Options, call.loc, message);
        }
        Some(before) if before.help != help => {
            let message = format!(
                "Command line option '{name}' must have the same description in all places it's used. Hint: You can \
                 wrap it in a macro"
            );
            return c.error(Stage::Options, call.loc, message);
        }
        _ => {}
    }
    let value = option_value(c, &name, &default);
    c.options_asked.insert(name, Asked { default, help });
    match value {
        // What the user gives has 64 bits and a sign, whatever the default looks like.
        Lit::Int(n) => Ex::int(n, call.loc),
        Lit::Bool(b) => Ex::bool(b, call.loc),
        Lit::Str(text) => Ex::str(text, call.loc),
    }
}

/// What the user gave for an option, of the type of its default.
fn option_value(c: &mut Checker<'_, '_>, name: &str, default: &Lit) -> Lit {
    let Some((_, given)) = c.options.named.iter().rev().find(|(n, _)| n == name) else {
        return default.clone();
    };
    let given = given.clone();
    let shown = given.clone().unwrap_or_default();
    let problem = match (default, given.as_deref()) {
        (Lit::Bool(_), None | Some("true" | "1")) => return Lit::Bool(true),
        (Lit::Bool(_), Some("false" | "0")) => return Lit::Bool(false),
        (Lit::Bool(_), Some(_)) => "expects a boolean (e.g. 'true')".to_owned(),
        (Lit::Str(_), _) => return Lit::Str(shown.into_bytes().into()),
        (Lit::Int(_), _) => match integer(&shown) {
            Ok(n) => return Lit::Int(n),
            Err(crate::sema::attach::number::BadNumber::Overflow(_)) => "value is out of range".to_owned(),
            Err(_) => "invalid integer".to_owned(),
        },
    };
    let message = format!("program command line option --{name} {problem} (value: {shown})");
    c.diags.push(Stage::Options, Diagnostic::new(Severity::Error, None, message));
    default.clone()
}

fn kfunc(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(name) = c.literal_text(call, 0) else { return Ex::unknown(call.loc) };
    let name = String::from_utf8_lossy(&name).into_owned();
    let exists = c.db.find_btf(&name, KindMask::FUNC).is_some();
    let kind = c.place.probe.as_ref().map(|p| p.kind);
    // Which functions a kind of program may call is registered in the kernel; typed tracing programs may call
    // those that are registered for all of tracing.
    let answer = match call.name {
        "__kfunc_exist" => exists,
        _ => {
            let typed =
                matches!(kind, Some(ProgKind::TpBtf | ProgKind::Fentry | ProgKind::Fexit | ProgKind::Iter));
            exists && typed && c.env.has(Feature::Kfuncs)
        }
    };
    Ex::bool(answer, call.loc)
}
