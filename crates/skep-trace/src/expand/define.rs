//! Named constants of the C part.

use super::Expander;
use super::walk::{measure, move_expr};
use crate::syntax::ast::{CDefine, Expr, ExprKind};
use crate::syntax::{c_character, parse_expression};
use skep_ir::{Diagnostic, Loc};
use std::collections::HashMap;
use std::rc::Rc;

/// What names stand for; read when they are used.
pub(super) struct Defines {
    defines: HashMap<String, CDefine>,
    /// `None`: the text is no expression.
    read: HashMap<String, Option<Rc<Expr>>>,
    /// Names that are being replaced: as in C, they stay as they are in what replaces them.
    active: Vec<String>,
}

impl Defines {
    pub(super) fn new(defines: Vec<CDefine>) -> Self {
        // A macro without text is for #ifdef only.
        let named = defines.into_iter().filter(|d| !d.text.trim().is_empty());
        Defines {
            defines: named.map(|d| (d.name.name.clone(), d)).collect(),
            read: HashMap::new(),
            active: Vec::new(),
        }
    }
}

impl Expander<'_> {
    /// What a name of the C part stands for where it is used at `loc`.
    pub(super) fn define(&mut self, name: &str, loc: Loc) -> Option<Expr> {
        let define = self.defines.defines.get(name)?;
        if self.defines.active.iter().any(|a| a == name) {
            return None;
        }
        let (text, span) = (define.text.clone(), define.loc);
        let meaning = match self.defines.read.get(name) {
            Some(known) => known.clone(),
            None => {
                let meaning = match c_character(&text) {
                    Some(value) => Some(Expr { kind: ExprKind::Int(value), loc: span }),
                    None => parse_expression(self.sources, span.span).ok(),
                };
                let meaning = meaning.map(Rc::new);
                self.defines.read.insert(name.to_owned(), meaning.clone());
                meaning
            }
        };
        let Some(meaning) = meaning else {
            let message = format!("unable to expand macro as an expression: {text}");
            self.error(Diagnostic::error(loc, message).context(span, "This is the definition."));
            return Some(Expr { kind: ExprKind::Int(0), loc });
        };
        let (nodes, height) = measure(&meaning);
        if self.is_spent(nodes, height, loc) {
            return None;
        }
        let mut expr = (*meaning).clone();
        let expansion = self.sources.add_expansion(loc);
        move_expr(&mut expr, meaning.loc, expansion);
        self.defines.active.push(name.to_owned());
        self.expr(&mut expr, None);
        self.defines.active.pop();
        Some(expr)
    }
}
