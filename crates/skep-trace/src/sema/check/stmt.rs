//! Statements and blocks.

use super::{Checker, Ex};
use crate::hir::{self, ExprKind as Hir, Func, Provider, StmtKind};
use crate::sema::diags::Stage;
use crate::syntax::ast::{self, ExprKind};
use crate::types::Type;
use skep_ir::{Diagnostic, Loc};

impl Checker<'_, '_> {
    /// The statements of a body or of a branch, in a scope of their own; a value at the end is evaluated and
    /// forgotten.
    pub(super) fn block_stmts(&mut self, block: &ast::Block) -> Vec<hir::Stmt> {
        self.scopes.enter();
        let (mut out, left) = self.stmts(&block.stmts);
        if let Some(value) = &block.value {
            if left {
                self.diags.warn(Stage::Flow, value.loc, "Unreachable statement.");
            }
            out.extend(self.expr_stmt(value, value.loc, false));
        }
        self.scopes.leave();
        out
    }

    /// Statements in the present scope, and whether the last one leaves the block.
    pub(super) fn stmts(&mut self, stmts: &[ast::Stmt]) -> (Vec<hir::Stmt>, bool) {
        let mut out = Vec::new();
        let mut left = false;
        let mut told = false;
        for stmt in stmts {
            if left && !told {
                told = true;
                self.diags.warn(Stage::Flow, stmt.loc, "Unreachable statement.");
            }
            let new = self.stmt(stmt);
            left |= leaves(stmt) || matches!(new.last().map(|s| &s.kind), Some(StmtKind::Return(_)));
            out.extend(new);
        }
        (out, left)
    }

    fn stmt(&mut self, stmt: &ast::Stmt) -> Vec<hir::Stmt> {
        self.deeper(stmt.loc, Vec::new(), |c| c.stmt_kind(stmt))
    }

    fn stmt_kind(&mut self, stmt: &ast::Stmt) -> Vec<hir::Stmt> {
        let loc = stmt.loc;
        match &stmt.kind {
            ast::StmtKind::Expr(e) => self.expr_stmt(e, self.discarded_at(e, loc), false),
            ast::StmtKind::Discard(e) => self.expr_stmt(e, loc, true),
            ast::StmtKind::Assign { target, op, value } => self.assign(target, *op, value, loc),
            ast::StmtKind::Let { var, ty, value } => self.let_var(var, ty.as_ref(), value.as_ref(), loc),
            ast::StmtKind::If { cond, then, other } => self.if_stmt(cond, then, other.as_ref(), loc),
            ast::StmtKind::For { var, over, body } => self.for_stmt(var, over, body, loc),
            ast::StmtKind::While { cond, body } => self.while_stmt(cond, body, loc),
            ast::StmtKind::Unroll { count, body } => self.unroll(count, body, loc),
            ast::StmtKind::Break => self.leave_loop("break", StmtKind::Break, loc),
            ast::StmtKind::Continue => self.leave_loop("continue", StmtKind::Continue, loc),
            ast::StmtKind::Return(value) => self.return_stmt(value.as_ref(), loc),
            ast::StmtKind::Block(block) => {
                let stmts = self.block_stmts(block);
                vec![hir::Stmt { kind: StmtKind::Block(stmts), loc }]
            }
            // Library code is part of the compiler; there is nothing to bring in.
            ast::StmtKind::Import(_) => Vec::new(),
        }
    }

    /// An expression used as a statement. `discard` says that a value is thrown away on purpose.
    fn expr_stmt(&mut self, e: &ast::Expr, loc: Loc, discard: bool) -> Vec<hir::Stmt> {
        // Choices between effects warn at the arm that has a value.
        match &e.kind {
            ExprKind::Ternary(cond, Some(then), other) if !discard => {
                let test = self.expr(cond);
                let cond = self.condition(test, e.loc);
                let then = self.expr_stmt(then, then.loc, false);
                let other = self.expr_stmt(other, other.loc, false);
                return vec![hir::Stmt { kind: StmtKind::If(cond, then, other), loc }];
            }
            ExprKind::If { cond, then, other } if !discard => {
                return self.if_stmt(cond, then, other.as_ref(), loc);
            }
            _ => {}
        }
        let ex = self.expr(e);
        if ex.unknown {
            return Vec::new();
        }
        if !discard && !ex.is_void() && !is_effect(&ex.e) {
            self.diags.warn(Stage::Check, loc, "Return value discarded.");
        }
        statement(ex, loc)
    }

    /// Where a value that a statement throws away is told: that of a macro is the call's with its semicolon.
    fn discarded_at(&self, e: &ast::Expr, stmt: Loc) -> Loc {
        let written = e.loc.expansion == stmt.expansion && !matches!(e.kind, ExprKind::Block(_));
        if written { e.loc } else { stmt }
    }

    fn if_stmt(
        &mut self,
        cond: &ast::Expr,
        then: &ast::Block,
        other: Option<&ast::Block>,
        loc: Loc,
    ) -> Vec<hir::Stmt> {
        let scoped = |stmts: Vec<hir::Stmt>| vec![hir::Stmt { kind: StmtKind::Block(stmts), loc }];
        match self.comptime_condition(cond) {
            Some(Ok(true)) => return scoped(self.block_stmts(then)),
            Some(Ok(false)) => {
                return other.map_or_else(Vec::new, |block| scoped(self.block_stmts(block)));
            }
            Some(Err(())) => return Vec::new(),
            None => {}
        }
        let test = self.expr(cond);
        let cond = self.condition(test, loc);
        let then = self.block_stmts(then);
        let other = other.map_or_else(Vec::new, |block| self.block_stmts(block));
        vec![hir::Stmt { kind: StmtKind::If(cond, then, other), loc }]
    }

    fn return_stmt(&mut self, value: Option<&ast::Expr>, loc: Loc) -> Vec<hir::Stmt> {
        let Some(value) = value else {
            return vec![hir::Stmt { kind: StmtKind::Return(None), loc }];
        };
        let ex = self.expr(value);
        let ex = self.value(ex);
        if ex.unknown {
            return Vec::new();
        }
        let value = match self.place.ret.clone() {
            Some(ret) => {
                if !self.suits(&ex, &ret.clone().into()) {
                    let message = format!(
                        "Function is of type {}, cannot return {}",
                        self.db.show(&ret),
                        self.show(&ex)
                    );
                    self.diags.error(Stage::Check, loc, message);
                    return Vec::new();
                }
                self.convert(ex, &ret)
            }
            None => match ex.e.ty {
                Type::Int(_) => self.as_i64(ex),
                _ => {
                    let message =
                        format!("Probe return values can only be integers. Found {}", self.show(&ex));
                    self.diags.error(Stage::Check, loc, message);
                    return Vec::new();
                }
            },
        };
        vec![hir::Stmt { kind: StmtKind::Return(Some(value)), loc }]
    }

    fn leave_loop(&mut self, word: &str, kind: StmtKind, loc: Loc) -> Vec<hir::Stmt> {
        if self.loops == 0 {
            let within = if self.place.probe.is_some() { "probe" } else { "function" };
            let message = format!("'{word}' statement is not allowed in a {within}");
            self.diags.push(Stage::Flow, Diagnostic::error(loc, message));
            return Vec::new();
        }
        vec![hir::Stmt { kind, loc }]
    }

    /// The provider of the probe that is analysed.
    pub(crate) fn provider(&self) -> Option<Provider> {
        self.place.probe.as_ref().map(|p| p.provider)
    }
}

/// Whether nothing behind a statement is reached.
fn leaves(stmt: &ast::Stmt) -> bool {
    match &stmt.kind {
        ast::StmtKind::Return(_) | ast::StmtKind::Break | ast::StmtKind::Continue => true,
        ast::StmtKind::Expr(e) => matches!(&e.kind, ExprKind::Call { name, .. } if name.name == "exit"),
        _ => false,
    }
}

/// Whether what an expression does is wanted as often as its value.
fn is_effect(e: &hir::Expr) -> bool {
    match &e.kind {
        Hir::IncDec { .. } | Hir::Call(Func::Delete(_) | Func::WriteUser | Func::SkbOutput(_), _) => true,
        Hir::Block(_, value) => is_effect(value),
        _ => false,
    }
}

/// An expression as a statement.
fn statement(ex: Ex, loc: Loc) -> Vec<hir::Stmt> {
    match ex.e.kind {
        Hir::Block(stmts, value) if value.ty == Type::None && matches!(value.kind, Hir::Int(_)) => {
            match stmts.as_slice() {
                // A call without a result is its statements; a block keeps its bounds.
                [hir::Stmt { kind: StmtKind::Emit(..), .. }, ..] => stmts,
                _ => vec![hir::Stmt { kind: StmtKind::Block(stmts), loc }],
            }
        }
        // A constant does nothing.
        Hir::Int(_) | Hir::Str(_) => Vec::new(),
        kind => vec![hir::Stmt { kind: StmtKind::Expr(hir::Expr { kind, ..ex.e }), loc }],
    }
}
