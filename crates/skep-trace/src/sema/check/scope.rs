//! Variables: where they are declared, and where they can be seen.

use super::{Checker, VarKey};
use crate::hir::{Local, LocalId};
use crate::sema::diags::Stage;
use crate::sema::ty::Ty;
use crate::syntax::ast;
use crate::types::Type;
use skep_ir::{Diagnostic, Loc};
use std::collections::HashMap;

/// How a variable came to be.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `let`
    Let,
    /// The first assignment.
    Assignment,
    /// The variable of a loop.
    Loop,
    /// A parameter of a subprogram.
    Parameter,
}

/// A variable that can be seen.
#[derive(Clone, Debug)]
pub(crate) struct Visible {
    pub(crate) local: LocalId,
    pub(crate) key: VarKey,
    /// The declaration or first assignment.
    pub(crate) loc: Loc,
    pub(crate) origin: Origin,
    /// Whether it surely has a value here: declared with one, or assigned before in the text.
    pub(crate) assigned: bool,
}

/// Blocks around the present place, the innermost last.
#[derive(Debug)]
pub(crate) struct Scopes {
    levels: Vec<HashMap<String, Visible>>,
    /// Declarations without a value, for the report of those that never got one.
    declared: Vec<(String, VarKey, Loc)>,
}

impl Default for Scopes {
    fn default() -> Self {
        Scopes { levels: vec![HashMap::new()], declared: Vec::new() }
    }
}

impl Scopes {
    pub(crate) fn enter(&mut self) {
        self.levels.push(HashMap::new());
    }

    pub(crate) fn leave(&mut self) {
        self.levels.pop();
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Visible> {
        self.levels.iter().rev().find_map(|level| level.get(name))
    }

    pub(crate) fn find_mut(&mut self, name: &str) -> Option<&mut Visible> {
        self.levels.iter_mut().rev().find_map(|level| level.get_mut(name))
    }
}

impl Checker<'_, '_> {
    /// Declares a variable in the innermost block. `token` is where its name stands, `whole` the statement.
    pub(crate) fn declare(&mut self, name: &str, token: Loc, whole: Loc, origin: Origin) -> Visible {
        let key = (self.body_number, token);
        let state = self.vars.entry(key).or_default();
        let ty = state.ty.as_ref().map_or(Type::None, |t| t.ty.clone());
        let local = self.body.locals.push(Local { name: name.to_owned(), ty, loc: token });
        let assigned = origin != Origin::Let;
        let visible = Visible { local, key, loc: whole, origin, assigned };
        if let Some(level) = self.scopes.levels.last_mut() {
            level.insert(name.to_owned(), visible.clone());
        }
        visible
    }

    /// Remembers a declaration without a value.
    pub(crate) fn declared_without_value(&mut self, name: &str, visible: &Visible) {
        self.scopes.declared.push((name.to_owned(), visible.key, visible.loc));
    }

    pub(crate) fn declare_param(&mut self, name: &ast::Ident, ty: &Type) {
        let visible = self.declare(&name.name, name.loc, name.loc, Origin::Parameter);
        let state = self.vars.entry(visible.key).or_default();
        *state = super::VarState { ty: Some(ty.clone().into()), fixed: true, assigned: true };
        self.body.locals[visible.local].ty = ty.clone();
    }

    /// Reports a declaration that would hide another variable; true if there is one.
    pub(crate) fn shadows(&mut self, name: &str, loc: Loc) -> bool {
        let Some(other) = self.scopes.find(name) else { return false };
        let text = match other.origin {
            Origin::Let | Origin::Loop => "This is the initial declaration.",
            Origin::Assignment => "This is the initial assignment.",
            Origin::Parameter => "This is the function parameter.",
        };
        let message = format!("Variable ${name} was already declared. Variable shadowing is not allowed.");
        let note = Diagnostic::error(loc, message).context(other.loc, text);
        self.diags.push(Stage::Calls, note);
        true
    }

    /// Reports declared variables that nothing was ever assigned to.
    pub(crate) fn report_unassigned(&mut self) {
        for (name, key, loc) in std::mem::take(&mut self.scopes.declared) {
            if !self.vars.get(&key).is_some_and(|v| v.assigned) {
                self.diags.warn(Stage::Calls, loc, format!("Variable ${name} was never assigned to."));
            }
        }
    }

    /// The type that a variable has so far.
    pub(crate) fn var_type(&self, key: VarKey) -> Option<Ty> {
        self.vars.get(&key)?.ty.clone()
    }

    /// Settles the type of a variable.
    pub(crate) fn set_var_type(&mut self, key: VarKey, local: LocalId, ty: Ty) -> Type {
        let known = self.var_type(key);
        let ty = self.wider(known.as_ref(), ty);
        if known.as_ref() != Some(&ty) {
            self.changed = true;
            self.widened = Some((format!("${}", self.body.locals[local].name), key.1));
        }
        let settled = ty.ty.clone();
        self.body.locals[local].ty = settled.clone();
        self.vars.entry(key).or_default().ty = Some(ty);
        settled
    }
}
