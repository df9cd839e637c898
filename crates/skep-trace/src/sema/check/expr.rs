//! Expressions, by kind.

use super::{Checker, Ex, Lit, fold};
use crate::hir::{self, ExprKind as Hir};
use crate::sema::diags::Stage;
use crate::sema::params::{Param, value};
use crate::sema::ty::{Ty, merge};
use crate::syntax::ast::{self, ExprKind};
use crate::types::Type;
use skep_ir::{Diagnostic, Loc, Severity};
use std::rc::Rc;

/// Most bytes of a value.
const MAX_VALUE: u64 = 1 << 24;

impl Checker<'_, '_> {
    /// Analyses an expression.
    pub(crate) fn expr(&mut self, e: &ast::Expr) -> Ex {
        self.deeper(e.loc, Ex::unknown(e.loc), |c| c.expr_kind(e))
    }

    fn expr_kind(&mut self, e: &ast::Expr) -> Ex {
        let loc = e.loc;
        match &e.kind {
            ExprKind::Int(n) => Ex::int(i128::from(*n), loc),
            ExprKind::Bool(b) => Ex::bool(*b, loc),
            ExprKind::Str(text) => Ex::str(text.as_slice(), loc),
            ExprKind::Var(name) => self.variable(name, loc),
            ExprKind::Map { name, key, .. } => self.map_read(name, key.as_deref(), loc),
            ExprKind::Param(number) => self.param(*number, loc),
            ExprKind::ParamCount => Ex::int(self.options.params.len() as i128, loc),
            ExprKind::Ident(name) => self.identifier(name, loc),
            ExprKind::Call { name, args } => self.call(name, args, loc),
            ExprKind::Unary(op, operand) => self.unary(*op, operand, loc),
            ExprKind::IncDec { target, decrement, prefix } => self.inc_dec(target, *decrement, *prefix, loc),
            ExprKind::Binary(op, left, right) => self.binary(*op, left, right, loc),
            ExprKind::Ternary(cond, then, other) => self.ternary(cond, then.as_deref(), other, loc),
            ExprKind::Cast(ty, operand) => self.cast(ty, operand, loc),
            ExprKind::Field { base, name, .. } => self.field(base, name, loc),
            ExprKind::TupleIndex(base, index) => self.tuple_index(base, *index, loc),
            ExprKind::Index(base, index) => self.index(base, index, loc),
            ExprKind::Tuple(elems) => self.tuple(elems, loc),
            ExprKind::Record(elems) => self.record(elems, loc),
            ExprKind::Block(block) => self.block_expr(block, loc),
            ExprKind::If { cond, then, other } => self.if_expr(cond, then, other.as_ref(), loc),
            ExprKind::Comptime(inner) => self.comptime(inner, loc),
            ExprKind::Sizeof(of) => self.size_of(of, loc),
            ExprKind::Offsetof(of, path) => self.offset_of(of, path, loc),
            ExprKind::Typeof(_) => self.error(
                Stage::Calls,
                loc,
                "When used as a call argument, `typeof` builtin only valid for macro calls that are expecting a \
                 type parameter",
            ),
            ExprKind::Typeinfo(of) => self.type_info(of, loc),
        }
    }

    /// Analyses an expression for its type alone: what it would do or send is thrown away, messages stay.
    pub(crate) fn type_of(&mut self, e: &ast::Expr) -> Ex {
        self.type_only += 1;
        let events = self.events.len();
        let out = self.expr(e);
        self.type_only -= 1;
        // Events are numbered in order; those of an expression that is never run must not take numbers.
        self.events.truncate(events);
        out
    }

    fn variable(&mut self, name: &str, loc: Loc) -> Ex {
        let Some(visible) = self.scopes.find(name).cloned() else {
            let message = format!("Undefined or undeclared variable: ${name}");
            return self.error(Stage::Calls, loc, message);
        };
        if !visible.assigned && self.type_only == 0 {
            self.diags.warn(Stage::Calls, loc, format!("Variable used before it was assigned: ${name}"));
        }
        match self.var_type(visible.key) {
            Some(ty) => Ex::typed(Hir::Local(visible.local), ty, loc),
            None => {
                // Not known yet, or never: the last walk tells.
                self.diags.error(Stage::Check, loc, "Could not resolve the type of this variable");
                Ex::failed(loc)
            }
        }
    }

    /// `$1`
    fn param(&mut self, number: u32, loc: Loc) -> Ex {
        let index = (number as usize).checked_sub(1);
        match index.and_then(|i| self.options.params.get(i)) {
            Some(text) if !text.is_empty() => match value(text) {
                Param::Int(n) => Ex::int(n, loc),
                Param::Text(text) => Ex::str(text.as_bytes(), loc),
            },
            _ => {
                self.missing_param(number, loc);
                Ex::int(0, loc)
            }
        }
    }

    pub(crate) fn missing_param(&mut self, number: u32, loc: Loc) {
        // The blank at the end belongs to the text that users match on.
        let message = format!("Positional parameter ${number} is empty or not provided. ");
        self.diags.push(Stage::Fold, Diagnostic::new(Severity::Warning, Some(loc), message));
    }

    fn tuple(&mut self, elems: &[ast::Expr], loc: Loc) -> Ex {
        let elems: Vec<Ex> = elems.iter().map(|e| self.element(e, "tuple")).collect();
        if elems.iter().any(|e| e.unknown) {
            return Ex::unknown(loc);
        }
        if !self.fits_a_value(elems.iter(), loc) {
            return Ex::unknown(loc);
        }
        let ty = Ty::tuple(elems.iter().map(Ex::ty).collect());
        Ex::typed(Hir::Tuple(elems.into_iter().map(|e| e.e).collect()), ty, loc)
    }

    /// Whether elements make a value that is not absurdly large.
    pub(super) fn fits_a_value<'x>(&mut self, elems: impl Iterator<Item = &'x Ex> + Clone, loc: Loc) -> bool {
        let many = Ty::is_too_large(elems.clone().map(|e| &e.e.ty));
        let bytes = |c: &Self| elems.map(|e| u64::from(c.db.size_of(&e.e.ty))).sum::<u64>();
        if many || bytes(self) > MAX_VALUE {
            self.diags.error(Stage::Types, loc, "The value has too many elements or bytes");
            return false;
        }
        true
    }

    fn record(&mut self, elems: &[(ast::Ident, ast::Expr)], loc: Loc) -> Ex {
        let mut fields: Vec<(Rc<str>, Ex)> = Vec::new();
        for (name, e) in elems {
            if fields.iter().any(|(n, _)| **n == *name.name) {
                let message = format!("The record already has a field named '{}'", name.name);
                self.diags.error(Stage::Types, name.loc, message);
                continue;
            }
            let value = self.element(e, "record");
            fields.push((name.name.as_str().into(), value));
        }
        if fields.iter().any(|(_, e)| e.unknown) {
            return Ex::unknown(loc);
        }
        if !self.fits_a_value(fields.iter().map(|(_, e)| e), loc) {
            return Ex::unknown(loc);
        }
        let ty = Ty::record(fields.iter().map(|(n, e)| (n.clone(), e.ty())).collect());
        let elems = fields.into_iter().enumerate().map(|(i, (_, e))| (i as u32, e.e));
        Ex::typed(Hir::Record(elems.collect()), ty, loc)
    }

    /// An element of a tuple or record.
    fn element(&mut self, e: &ast::Expr, within: &str) -> Ex {
        let ex = self.expr(e);
        let ex = self.value(ex);
        if ex.unknown {
            return ex;
        }
        let bad = match &ex.e.ty {
            Type::None => true,
            Type::Agg(_) => true,
            Type::Ptr(..) => false,
            _ => false,
        };
        if bad {
            let message = format!("Value '{}' cannot exist inside a {within}.", self.show(&ex));
            return self.error(Stage::Types, ex.loc(), message);
        }
        ex
    }

    fn ternary(&mut self, cond: &ast::Expr, then: Option<&ast::Expr>, other: &ast::Expr, loc: Loc) -> Ex {
        let test = self.expr(cond);
        let Some(then) = then else { return self.elvis(test, other, loc) };
        let known = test.lit.as_ref().map(fold::truth);
        let cond = self.condition(test, loc);
        let (a, b) = (self.expr(then), self.expr(other));
        match known {
            Some(true) => Ex { e: hir::Expr { loc, ..a.e }, ..a },
            Some(false) => Ex { e: hir::Expr { loc, ..b.e }, ..b },
            None => self.choice(cond, a, b, loc),
        }
    }

    /// `c ?: b`
    fn elvis(&mut self, test: Ex, other: &ast::Expr, loc: Loc) -> Ex {
        let other = self.expr(other);
        if let Some(lit) = &test.lit {
            let chosen = if fold::truth(lit) { test } else { other };
            return Ex { e: hir::Expr { loc, ..chosen.e }, ..chosen };
        }
        let test = self.value(test);
        if test.unknown {
            return Ex::unknown(loc);
        }
        // The condition is evaluated once.
        let ty = test.ty();
        let once = self.temporary(ty.ty.clone(), test.loc());
        let read = Ex::typed(Hir::Local(once), ty, test.loc());
        let set = hir::Stmt { kind: hir::StmtKind::SetLocal(once, test.e), loc };
        let cond = self.condition(read.clone(), loc);
        let mut out = self.choice(cond, read, other, loc);
        if !out.unknown {
            let ty = out.e.ty.clone();
            out.e = hir::Expr::new(Hir::Block(vec![set], Box::new(out.e)), ty, loc);
        }
        out
    }

    /// A choice at run time between two values, or two effects.
    pub(super) fn choice(&mut self, cond: hir::Expr, a: Ex, b: Ex, loc: Loc) -> Ex {
        if a.unknown || b.unknown {
            return Ex::unknown(loc);
        }
        let (a, b) = (self.value(a), self.value(b));
        let Some(ty) = merge(&a.ty(), &b.ty()) else {
            let message = format!(
                "Branches must return the same type or compatible types: have '{}' and '{}'",
                self.show(&a),
                self.show(&b)
            );
            return self.error(Stage::Types, loc, message);
        };
        let (a, b) = (self.convert(a, &ty.ty), self.convert(b, &ty.ty));
        Ex::typed(Hir::Ternary(Box::new(cond), Box::new(a), Box::new(b)), ty, loc)
    }

    /// A value as a truth value. `loc` is the place of what asks.
    pub(crate) fn condition(&mut self, ex: Ex, loc: Loc) -> hir::Expr {
        if let Some(lit) = &ex.lit {
            return Ex::bool(fold::truth(lit), ex.loc()).e;
        }
        match self.truth_value(ex) {
            Ok(e) => e,
            Err(ex) => {
                if !ex.unknown {
                    let message = format!("Invalid condition: {}", super::class(&ex.e.ty));
                    self.diags.error(Stage::Check, loc, message);
                }
                Ex::bool(false, ex.loc()).e
            }
        }
    }

    /// A value as a truth value, if it has one: numbers and pointers that are not 0, text that is not empty.
    pub(crate) fn truth_value(&mut self, ex: Ex) -> Result<hir::Expr, Box<Ex>> {
        let ex = self.value(ex);
        if ex.unknown {
            return Err(Box::new(ex));
        }
        let loc = ex.loc();
        match &ex.e.ty {
            Type::Bool => Ok(ex.e),
            Type::Int(_) | Type::Enum(_) => Ok(super::convert::cast(ex.e, &Type::Bool)),
            Type::Ptr(..) => {
                let address = super::convert::cast(ex.e, &Type::U64);
                Ok(super::convert::cast(address, &Type::Bool))
            }
            Type::Str(_) => {
                let empty = hir::Expr::new(Hir::Str(Vec::new()), Type::Str(1), loc);
                let kind = Hir::Compare(hir::CmpOp::Ne, Box::new(ex.e), Box::new(empty));
                Ok(hir::Expr::new(kind, Type::Bool, loc))
            }
            _ => Err(Box::new(ex)),
        }
    }

    fn comptime(&mut self, inner: &ast::Expr, loc: Loc) -> Ex {
        let ex = self.expr(inner);
        if ex.lit.is_none() && !ex.failed {
            // In an early walk the types that it asks about may not be known yet.
            return self.error(Stage::Types, loc, "Unable to resolve comptime expression");
        }
        ex
    }

    /// The value that a condition has at compile time, if it must have one.
    pub(super) fn comptime_condition(&mut self, cond: &ast::Expr) -> Option<Result<bool, ()>> {
        let ExprKind::Comptime(inner) = &cond.kind else { return None };
        let ex = self.comptime(inner, cond.loc);
        Some(ex.lit.as_ref().map(fold::truth).ok_or(()))
    }

    fn block_expr(&mut self, block: &ast::Block, loc: Loc) -> Ex {
        self.scopes.enter();
        let (stmts, left) = self.stmts(&block.stmts);
        let value = match (&block.value, left) {
            (Some(value), false) => Some(self.expr(value)),
            (Some(value), true) => {
                let message = "Unreachable expression; block type is implicitly none.";
                self.diags.warn(Stage::Calls, value.loc, message);
                let _ = self.type_of(value);
                None
            }
            (None, _) => None,
        };
        self.scopes.leave();
        let Some(value) = value else {
            return Ex::effect(stmts, loc);
        };
        if stmts.is_empty() {
            // A block that is only a value is that value, known ones included.
            return Ex { e: hir::Expr { loc, ..value.e }, ..value };
        }
        if value.unknown {
            return Ex::unknown(loc);
        }
        let ty = value.ty();
        Ex::typed(Hir::Block(stmts, Box::new(value.e)), ty, loc)
    }

    fn if_expr(&mut self, cond: &ast::Expr, then: &ast::Block, other: Option<&ast::Block>, loc: Loc) -> Ex {
        let chosen = |c: &mut Self, block: Option<&ast::Block>| match block {
            Some(block) => c.block_expr(block, loc),
            None => Ex::effect(Vec::new(), loc),
        };
        match self.comptime_condition(cond) {
            Some(Ok(true)) => return chosen(self, Some(then)),
            Some(Ok(false)) => return chosen(self, other),
            Some(Err(())) => return Ex::unknown(loc),
            None => {}
        }
        let test = self.expr(cond);
        let cond = self.condition(test, loc);
        let a = self.block_expr(then, then.loc);
        let b = match other {
            Some(block) => self.block_expr(block, block.loc),
            None => Ex::effect(Vec::new(), loc),
        };
        self.choice(cond, a, b, loc)
    }

    /// The literal that an expression must be, for arguments that are needed at compile time.
    pub(crate) fn literal(&mut self, e: &ast::Expr) -> Option<Lit> {
        self.expr(e).lit
    }
}
