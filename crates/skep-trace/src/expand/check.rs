//! What is wrong with definitions of macros, whether they are called or not.

use super::{Definition, Expander};
use crate::syntax::ast::{Block, ExprKind, Macro, MacroParam, ParamKind, Stmt, StmtKind};
use crate::syntax::visit::{self, Part};
use skep_ir::{Diagnostic, Loc};
use std::rc::Rc;

impl Expander<'_> {
    /// Takes a macro of the script.
    pub(super) fn define_macro(&mut self, source: Macro) {
        for (index, param) in params(&source).iter().enumerate() {
            if params(&source)[..index].iter().any(|p| p.kind == param.kind && p.name.name == param.name.name)
            {
                let message = format!("Ident for macro argument has already been used: {}", shown(param));
                self.error(Diagnostic::error(param.name.loc, message));
            }
        }
        // The first one that fits a call is taken, so a later one that fits no other calls is never used.
        let same_name = self.macros.get(&source.name.name).into_iter().flatten();
        if let Some(original) = same_name.map(|d| &d.source).find(|d| covers(params(d), params(&source))) {
            let message = format!("Redefinition of macro: {}", source.name.name);
            let error = Diagnostic::error(head(&source), message)
                .context(head(original), "This is the original definition.");
            return self.error(error);
        }
        let mut jumps = Vec::new();
        misplaced_jumps(&source.body, false, &mut jumps);
        for (loc, word) in jumps {
            self.error(Diagnostic::error(loc, format!("'{word}' statement is not allowed in a macro")));
        }
        let definition = Rc::new(Definition::new(source));
        self.macros.entry(definition.source.name.name.clone()).or_default().push(definition);
    }
}

impl Definition {
    pub(super) fn new(source: Macro) -> Self {
        let mut creates = Vec::new();
        created(Part::Block(&source.body), &mut creates);
        let given = |name: &String| {
            params(&source).iter().any(|p| p.kind == ParamKind::Variable && p.name.name == *name)
        };
        creates.retain(|name| !given(name));
        creates.sort_unstable();
        creates.dedup();
        Definition { source, creates }
    }
}

/// Parameters of a macro; none for one without parentheses.
pub(super) fn params(source: &Macro) -> &[MacroParam] {
    source.params.as_deref().unwrap_or_default()
}

/// A parameter as it is written.
pub(super) fn shown(param: &MacroParam) -> String {
    let sign = match param.kind {
        ParamKind::Variable => "$",
        ParamKind::Map => "@",
        ParamKind::Expr => "",
    };
    format!("{sign}{}", param.name.name)
}

/// `macro name`
pub(super) fn head(source: &Macro) -> Loc {
    let mut loc = source.loc;
    loc.span.hi = source.name.loc.span.hi;
    loc
}

/// Whether parameters take all arguments that others take.
fn covers(earlier: &[MacroParam], later: &[MacroParam]) -> bool {
    let takes = |(a, b): (&MacroParam, &MacroParam)| a.kind == ParamKind::Expr || a.kind == b.kind;
    earlier.len() == later.len() && earlier.iter().zip(later).all(takes)
}

/// Jumps that would leave the macro.
fn misplaced_jumps(block: &Block, in_loop: bool, found: &mut Vec<(Loc, &'static str)>) {
    for stmt in &block.stmts {
        match &stmt.kind {
            StmtKind::Return(_) => found.push((stmt.loc, "return")),
            StmtKind::Break if !in_loop => found.push((stmt.loc, "break")),
            StmtKind::Continue if !in_loop => found.push((stmt.loc, "continue")),
            _ => {}
        }
        let is_loop =
            matches!(stmt.kind, StmtKind::For { .. } | StmtKind::While { .. } | StmtKind::Unroll { .. });
        visit::stmt(stmt, &mut |part| jumps_of_part(part, in_loop || is_loop, found));
    }
    if let Some(value) = &block.value {
        jumps_of_part(Part::Expr(value), in_loop, found);
    }
}

fn jumps_of_part(part: Part<'_>, in_loop: bool, found: &mut Vec<(Loc, &'static str)>) {
    match part {
        Part::Block(block) => misplaced_jumps(block, in_loop, found),
        Part::Expr(expr) => visit::expr(expr, &mut |part| jumps_of_part(part, in_loop, found)),
        Part::Type(ty) => visit::ty(ty, &mut |part| jumps_of_part(part, in_loop, found)),
    }
}

/// Names of the variables that a part declares or assigns to.
fn created(part: Part<'_>, names: &mut Vec<String>) {
    match part {
        Part::Expr(expr) => visit::expr(expr, &mut |part| created(part, names)),
        Part::Type(ty) => visit::ty(ty, &mut |part| created(part, names)),
        Part::Block(block) => {
            for stmt in &block.stmts {
                names.extend(created_here(stmt));
                visit::stmt(stmt, &mut |part| created(part, names));
            }
            if let Some(value) = &block.value {
                created(Part::Expr(value), names);
            }
        }
    }
}

fn created_here(stmt: &Stmt) -> Option<String> {
    match &stmt.kind {
        StmtKind::Let { var, .. } | StmtKind::For { var, .. } => Some(var.name.clone()),
        StmtKind::Assign { target, op: None, .. } => match &target.kind {
            ExprKind::Var(name) => Some(name.clone()),
            _ => None,
        },
        _ => None,
    }
}
