//! Functions and builtins of the language.
//!
//! Each is one row of a table: how many arguments it takes, what it is for, an example, and the code that
//! checks its arguments and makes the analysed expression. Functions that can be written in the language itself
//! are macros of the built-in library (`crate::stdlib`); those whose names begin with `__` are what the library
//! is made of.

mod aggregate;
mod context;
mod kernel;
mod maps;
mod meta;
mod output;
mod stacks;
mod strings;
mod symbols;

pub(crate) use aggregate::aggregate;

use super::attach::suggest;
use super::check::{Checker, Ex, Lit, class};
use super::diags::Stage;
use crate::hir::Provider;
use crate::syntax::ast;
use skep_ir::{Diagnostic, Feature, Loc};

/// A call, or a bare name that is as good as one.
pub(crate) struct Call<'a> {
    pub(crate) name: &'a str,
    pub(crate) args: &'a [ast::Expr],
    /// From the name to the closing parenthesis.
    pub(crate) loc: Loc,
}

/// Code for a call.
type Run = for<'a, 'c, 'e, 'k> fn(&'a mut Checker<'c, 'e>, &Call<'k>) -> Ex;

/// A function or builtin.
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// Fewest arguments.
    pub min: usize,
    /// Most arguments.
    pub max: usize,
    /// It may be written without parentheses.
    pub bare: bool,
    /// It changes the system and needs `--unsafe`.
    pub is_unsafe: bool,
    /// What the kernel must have for it.
    pub feature: Option<Feature>,
    /// What it does; empty for what only the built-in library calls.
    pub doc: &'static str,
    /// An example of its use.
    pub example: &'static str,
    pub(crate) run: Run,
}

/// A row for a function that takes arguments.
pub(crate) const fn function(
    name: &'static str,
    min: usize,
    max: usize,
    doc: &'static str,
    example: &'static str,
    run: Run,
) -> Function {
    Function { name, min, max, bare: false, is_unsafe: false, feature: None, doc, example, run }
}

impl Function {
    /// It may be written without parentheses.
    const fn bare(self) -> Function {
        Function { bare: true, ..self }
    }

    /// It needs `--unsafe`.
    const fn changes_system(self) -> Function {
        Function { is_unsafe: true, ..self }
    }

    /// It needs something of the kernel.
    const fn needs(self, feature: Feature) -> Function {
        Function { feature: Some(feature), ..self }
    }
}

/// Every table.
const TABLES: &[&[Function]] = &[
    aggregate::TABLE,
    context::TABLE,
    kernel::TABLE,
    maps::TABLE,
    meta::TABLE,
    output::TABLE,
    stacks::TABLE,
    strings::TABLE,
    symbols::TABLE,
];

/// Functions and builtins that are part of the language itself, in the order of their tables; those of the
/// built-in library are listed by `crate::stdlib`.
pub fn functions() -> impl Iterator<Item = &'static Function> {
    TABLES.iter().flat_map(|t| t.iter())
}

pub(crate) fn find(name: &str) -> Option<&'static Function> {
    functions().find(|f| f.name == name)
}

/// Names that may stand without parentheses, for suggestions.
pub(crate) fn bare_names() -> impl Iterator<Item = &'static str> {
    let own = functions().filter(|f| f.bare && !f.name.starts_with("__")).map(|f| f.name);
    own.chain(crate::stdlib::macro_names().filter(|n| !n.starts_with("__")))
}

impl Checker<'_, '_> {
    pub(crate) fn call(&mut self, name: &ast::Ident, args: &[ast::Expr], loc: Loc) -> Ex {
        let call = Call { name: &name.name, args, loc };
        if let Some(sig) = self.subprogs.get(&name.name).cloned() {
            return self.call_subprog(&sig, &call);
        }
        // Builtins keep their own name behind a prefix, for scripts and libraries that redefine the plain one.
        let Some(function) = find(&name.name) else {
            let known = functions().map(|f| f.name).filter(|n| !n.starts_with("__"));
            let mut note = Diagnostic::error(loc, format!("Unknown function: '{}'", name.name));
            if let Some(near) = suggest::nearest(&name.name, known.chain(crate::stdlib::macro_names())) {
                note = note.hint(format!("Did you mean {near}()?"));
            }
            self.diags.push(Stage::Types, note);
            return Ex::unknown(loc);
        };
        if function.is_unsafe && !self.options.unsafe_allowed {
            let message = format!("{}() is an unsafe function being used in safe mode", name.name);
            let note = Diagnostic::error(loc, message).hint("Run it with --unsafe if that is what you want.");
            self.diags.push(Stage::Calls, note);
        }
        if !self.check_count(function, &call) {
            return Ex::unknown(loc);
        }
        if let Some(feature) = function.feature
            && !self.needs(feature, loc, &format!("{}()", name.name))
        {
            return Ex::unknown(loc);
        }
        (function.run)(self, &call)
    }

    fn check_count(&mut self, function: &Function, call: &Call<'_>) -> bool {
        let (min, max, found) = (function.min, function.max, call.args.len());
        let plural = |n: usize| match n {
            0 => "no arguments".to_owned(),
            1 => "one argument".to_owned(),
            n => format!("{n} arguments"),
        };
        let wanted = if (min..=max).contains(&found) {
            return true;
        } else if min == max {
            format!("requires {}", plural(min))
        } else if found > max {
            format!("takes up to {}", plural(max))
        } else {
            format!("requires at least {}", plural(min))
        };
        self.diags.error(Stage::Calls, call.loc, format!("{}() {wanted} ({found} provided)", call.name));
        false
    }

    fn call_subprog(&mut self, sig: &super::check::SubprogSig, call: &Call<'_>) -> Ex {
        if call.args.len() != sig.params.len() {
            let message = format!(
                "{}() requires {} arguments ({} provided)",
                call.name,
                sig.params.len(),
                call.args.len()
            );
            return self.error(Stage::Calls, call.loc, message);
        }
        let mut args = Vec::new();
        for (arg, ty) in call.args.iter().zip(&sig.params) {
            let ex = self.expr(arg);
            if ex.unknown {
                return Ex::unknown(call.loc);
            }
            if !self.suits(&ex, &ty.clone().into()) {
                let message = format!(
                    "{}() expects {} for this argument ({} provided)",
                    call.name,
                    self.db.show(ty),
                    self.show(&ex)
                );
                return self.error(Stage::Types, arg.loc, message);
            }
            args.push(self.convert(ex, ty));
        }
        Ex::new(crate::hir::ExprKind::Subprog(sig.id, args), sig.ret.clone(), call.loc)
    }

    /// An argument as a value.
    pub(crate) fn arg(&mut self, call: &Call<'_>, index: usize) -> Ex {
        match call.args.get(index) {
            Some(e) => {
                let ex = self.expr(e);
                self.value(ex)
            }
            None => Ex::unknown(call.loc),
        }
    }

    /// An argument that must be text known now.
    pub(crate) fn literal_text(&mut self, call: &Call<'_>, index: usize) -> Option<Vec<u8>> {
        let ex = self.arg(call, index);
        match (&ex.lit, ex.unknown) {
            (Some(Lit::Str(text)), _) => Some(text.to_vec()),
            (_, true) => None,
            _ => {
                let message =
                    format!("{}() expects a string literal ({} provided)", call.name, class(&ex.e.ty));
                self.diags.error(Stage::Check, call.loc, message);
                None
            }
        }
    }

    /// An argument must be an integer; tells so otherwise.
    pub(crate) fn int_arg(&mut self, call: &Call<'_>, index: usize) -> Option<Ex> {
        let ex = self.arg(call, index);
        if ex.unknown {
            return None;
        }
        if ex.ty().as_int().is_some() {
            return Some(ex);
        }
        let message = format!("{}() only supports int arguments ({} provided)", call.name, class(&ex.e.ty));
        self.diags.error(Stage::Check, call.loc, message);
        None
    }

    /// Refuses a function outside of the providers that have it; true if it may be used.
    pub(crate) fn only_in(&mut self, call: &Call<'_>, providers: &[Provider]) -> bool {
        let Some(probe) = &self.place.probe else {
            let message = format!("{} can only be used inside of a probe.", call.name);
            self.diags.error(Stage::Calls, call.loc, message);
            return false;
        };
        if providers.contains(&probe.provider) {
            return true;
        }
        let message = format!(
            "{} can not be used with \"{}\" probes",
            call.name.trim_start_matches("__builtin_").trim_start_matches("__"),
            provider_name(probe.provider)
        );
        self.diags.error(Stage::Calls, call.loc, message);
        false
    }
}

/// The provider as attach points name it.
pub(crate) fn provider_name(provider: Provider) -> &'static str {
    match provider {
        Provider::Begin => "begin",
        Provider::End => "end",
        Provider::Signal => "self",
        Provider::Test => "test",
        Provider::Bench => "bench",
        Provider::Kprobe => "kprobe",
        Provider::Kretprobe => "kretprobe",
        Provider::Fentry => "fentry",
        Provider::Fexit => "fexit",
        Provider::Tracepoint => "tracepoint",
        Provider::RawTracepoint => "rawtracepoint",
        Provider::Uprobe => "uprobe",
        Provider::Uretprobe => "uretprobe",
        Provider::Usdt => "usdt",
        Provider::Profile => "profile",
        Provider::Interval => "interval",
        Provider::Software => "software",
        Provider::Hardware => "hardware",
        Provider::Watchpoint => "watchpoint",
        Provider::Iter => "iter",
    }
}

/// The provider as `probetype` has it: probes of the script itself are one kind.
pub(crate) fn probe_type(provider: Provider) -> &'static str {
    match provider {
        Provider::Begin | Provider::End | Provider::Signal | Provider::Test | Provider::Bench => "special",
        other => provider_name(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_there_once_and_public_ones_are_described() {
        let mut seen = HashSet::new();
        for f in functions() {
            assert!(seen.insert(f.name), "{} is there twice", f.name);
            assert!(f.min <= f.max, "{}", f.name);
            if !f.name.starts_with("__") {
                assert!(!f.doc.is_empty() && !f.example.is_empty(), "{} is not described", f.name);
                assert!(f.example.contains(f.name), "the example of {} does not show it", f.name);
            }
        }
    }
}
