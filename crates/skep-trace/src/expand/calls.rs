//! Which macro a name means, and its body in place of the call.

use super::check::{head, params, shown};
use super::library::MacroSource;
use super::walk::measure;
use super::{Argument, Definition, Expander, Frame};
use crate::syntax::ast::{Expr, ExprKind, Macro, MacroParam, ParamKind};
use crate::syntax::{is_value, parse_macro};
use skep_ir::{Diagnostic, Loc, Span};
use std::rc::Rc;

/// How many macros may be in the middle of their expansion.
const MAX_ACTIVE: usize = 100;

/// What an argument is, in the words of messages.
fn kind_of(expr: &Expr) -> &'static str {
    match expr.kind {
        ExprKind::Var(_) => "a variable",
        ExprKind::Map { key: None, .. } => "a map",
        _ => "an expression",
    }
}

fn wanted(kind: ParamKind) -> &'static str {
    match kind {
        ParamKind::Variable => "a variable",
        ParamKind::Map => "a map",
        ParamKind::Expr => "an expression",
    }
}

fn fits(param: &MacroParam, arg: &Expr) -> bool {
    match param.kind {
        ParamKind::Variable => matches!(arg.kind, ExprKind::Var(_)),
        ParamKind::Map => matches!(arg.kind, ExprKind::Map { key: None, .. }),
        ParamKind::Expr => true,
    }
}

impl Expander<'_> {
    /// What a bare name stands for: a macro without parameters or a named constant; `None` if it is neither.
    pub(super) fn named(&mut self, name: &str, loc: Loc, frame: Option<&Frame>) -> Option<Expr> {
        let candidates = self.candidates(name, frame);
        if let Some(found) = candidates.iter().find(|d| params(&d.source).is_empty()) {
            return self.instance(found, Vec::new(), loc);
        }
        if !frame.is_some_and(|f| f.definition.source.builtin)
            && let Some(meaning) = self.define(name, loc)
        {
            return Some(meaning);
        }
        // Builtin values may have functions beside them: `comm` and `comm(pid)`.
        if !candidates.is_empty() && !is_value(name) {
            self.mismatch(name, &[], loc, &candidates);
        }
        None
    }

    /// Replaces a call by its meaning if its name is that of a macro. Its arguments are expanded already.
    pub(super) fn call(&mut self, expr: &mut Expr, frame: Option<&Frame>) {
        let ExprKind::Call { name, args } = &mut expr.kind else { return };
        let candidates = self.candidates(&name.name, frame);
        if candidates.is_empty() {
            return;
        }
        let takes = |d: &&Rc<Definition>| {
            let params = params(&d.source);
            params.len() == args.len() && params.iter().zip(args.iter()).all(|(p, a)| fits(p, a))
        };
        let Some(found) = candidates.iter().find(takes) else {
            let name = name.name.clone();
            return self.mismatch(&name, args, expr.loc, &candidates);
        };
        let args = std::mem::take(args);
        let arguments =
            params(&found.source).iter().zip(args).map(|(param, arg)| argument(param.kind, arg)).collect();
        if let Some(meaning) = self.instance(found, arguments, expr.loc) {
            *expr = meaning;
        }
    }

    /// Macros of a name, in the order in which they are tried. Library macros see only the library.
    fn candidates(&mut self, name: &str, frame: Option<&Frame>) -> Vec<Rc<Definition>> {
        let in_library = frame.is_some_and(|f| f.definition.source.builtin);
        let own = if in_library { None } else { self.macros.get(name) };
        let mut candidates: Vec<_> = own.into_iter().flatten().cloned().collect();
        if !self.library.find(name).is_empty() {
            candidates.extend(self.library_macros(name));
        }
        candidates
    }

    fn library_macros(&mut self, name: &str) -> Vec<Rc<Definition>> {
        if let Some(known) = self.library_macros.get(name) {
            return known.clone();
        }
        let found: Vec<_> =
            self.library.find(name).iter().filter_map(|source| self.library_macro(*source)).collect();
        self.library_macros.insert(name.to_owned(), found.clone());
        found
    }

    fn library_macro(&mut self, source: MacroSource) -> Option<Rc<Definition>> {
        let (name, text) = self.library.file(source.file)?;
        let sources = &mut *self.sources;
        let file = *self.library_files.entry(source.file).or_insert_with(|| sources.add_file(name, text));
        match parse_macro(self.sources, Span { file, lo: source.lo, hi: source.hi }) {
            Ok(found) => Some(Rc::new(Definition::new(Macro { builtin: true, ..found }))),
            Err(errors) => {
                errors.into_iter().for_each(|e| self.error(e));
                None
            }
        }
    }

    /// The body of a macro in place of a call at `loc`.
    fn instance(&mut self, found: &Rc<Definition>, arguments: Vec<Argument>, loc: Loc) -> Option<Expr> {
        if let Some(first) = self.active.iter().position(|d| Rc::ptr_eq(d, found)) {
            let chain = self.active[first..].iter().chain([found]);
            let names: Vec<_> = chain.map(|d| d.source.name.name.as_str()).collect();
            let message = format!("Recursive macro call detected. Call chain: {}", names.join(" > "));
            self.error(Diagnostic::error(loc, message));
            return None;
        }
        if self.active.len() >= MAX_ACTIVE {
            let message =
                format!("macros call each other too deeply, at most {MAX_ACTIVE} levels are possible");
            self.error(Diagnostic::error(loc, message));
            return None;
        }
        self.expansions += 1;
        let frame = Frame {
            definition: found.clone(),
            arguments,
            expansion: self.sources.add_expansion(loc),
            number: self.expansions,
        };
        let mut body = found.source.body.clone();
        self.active.push(found.clone());
        self.block(&mut body, Some(&frame));
        self.active.pop();
        Some(match body.value {
            Some(value) if body.stmts.is_empty() => *value,
            _ => Expr { kind: ExprKind::Block(body), loc },
        })
    }

    /// Says why no macro of a name takes the arguments.
    fn mismatch(&mut self, name: &str, args: &[Expr], loc: Loc, candidates: &[Rc<Definition>]) {
        let message = format!("Call to {name}() has arguments that do not match any definition.");
        let mut error = Diagnostic::error(loc, message);
        let distance = |d: &&Rc<Definition>| {
            let params = params(&d.source);
            let wrong = params.iter().zip(args).filter(|(p, a)| !fits(p, a)).count();
            (params.len().abs_diff(args.len()), wrong)
        };
        if let Some(closest) = candidates.iter().min_by_key(distance) {
            let params = params(&closest.source);
            if params.len() == args.len() {
                for (param, arg) in params.iter().zip(args).filter(|(p, a)| !fits(p, a)) {
                    let (want, got) = (wanted(param.kind), kind_of(arg));
                    let text = format!(
                        "Mismatched arg. {name}() expects {want} for arg {} but got {got}.",
                        shown(param)
                    );
                    error = error.context(arg.loc, text);
                    error = error.context(param.name.loc, "This is the argument in the closest definition.");
                }
            } else {
                let text = format!(
                    "The closest definition of {name}() has a different number of arguments. Expected: {} but got {}",
                    params.len(),
                    args.len()
                );
                error = error.context(head(&closest.source), text);
            }
        }
        self.error(error);
    }
}

fn argument(kind: ParamKind, arg: Expr) -> Argument {
    match (kind, arg.kind) {
        (ParamKind::Variable, ExprKind::Var(name)) => Argument::Variable(name),
        (ParamKind::Map, ExprKind::Map { name, .. }) => Argument::Map(name),
        (_, kind) => {
            let expr = Expr { kind, loc: arg.loc };
            let (nodes, height) = measure(&expr);
            Argument::Expr { expr, nodes, height }
        }
    }
}
