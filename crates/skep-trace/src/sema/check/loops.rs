//! Loops.

use super::scope::Origin;
use super::{Checker, Lit};
use crate::hir::{self, StmtKind};
use crate::sema::diags::Stage;
use crate::sema::ty::{Ty, agg_reads_as, merge_ints};
use crate::syntax::ast::{self, ExprKind, ForOver};
use crate::types::{IntTy, Type};
use skep_ir::{Diagnostic, Feature, Loc, Span};

/// Most copies that an unrolled loop makes.
const MAX_UNROLL: i128 = 100;
/// Most copies of one statement that loops within each other make.
const MAX_COPIES: u32 = 10_000;

impl Checker<'_, '_> {
    pub(super) fn for_stmt(
        &mut self,
        var: &ast::Ident,
        over: &ForOver,
        body: &ast::Block,
        loc: Loc,
    ) -> Vec<hir::Stmt> {
        match over {
            ForOver::Map(map) => self.for_map(var, map, body, loc),
            ForOver::Range(start, end) => self.for_range(var, start, end, body, loc),
        }
    }

    /// A loop's variable must be a new one.
    fn loop_shadows(&mut self, var: &ast::Ident) {
        let Some(other) = self.scopes.find(&var.name) else { return };
        let text = match other.origin {
            Origin::Assignment => "This is the initial assignment.",
            Origin::Parameter => "This is the function parameter.",
            _ => "This is the initial declaration.",
        };
        let message = format!("Loop declaration shadows existing variable: ${}", var.name);
        let note = Diagnostic::error(var.loc, message).context(other.loc, text);
        self.diags.push(Stage::Calls, note);
    }

    fn for_map(&mut self, var: &ast::Ident, map: &ast::Expr, body: &ast::Block, loc: Loc) -> Vec<hir::Stmt> {
        let Some(name) = self.whole_map(map).map(str::to_owned) else {
            let message = match map.kind {
                ExprKind::Map { .. } => "Loops run over whole maps, not over their elements",
                _ => "syntax: expected map or range in for loop",
            };
            self.diags.error(Stage::Calls, map.loc, message);
            return Vec::new();
        };
        self.loop_shadows(var);
        let state = self.map_state(&name, map.loc).clone();
        let mut element = None;
        if state.keyed == Some(false) {
            let message =
                format!("@{name} has no explicit keys (scalar map), and cannot be used for iteration");
            self.diags.error(Stage::Types, map.loc, message);
        } else {
            match (&state.key, &state.value) {
                (Some(key), Some(value)) => {
                    let value = match value.ty {
                        Type::Agg(agg) => agg_reads_as(agg)
                            .map(|signed| Ty::from(Type::Int(IntTy { bytes: 8, signed })))
                            .ok_or(value.ty.clone()),
                        _ => Ok(value.clone()),
                    };
                    match value {
                        Ok(value) => element = Some(Ty::tuple(vec![key.clone(), value])),
                        Err(ty) => {
                            let message =
                                format!("Loop expression does not support type: {}", self.db.show(&ty));
                            self.diags.error(Stage::Types, map.loc, message);
                        }
                    }
                }
                _ => {
                    let _ = self.undefined_map(&name, map.loc);
                }
            }
        }
        self.needs(Feature::ForEachMapElem, loc, "A loop over a map");
        self.scopes.enter();
        let visible = self.declare(&var.name, var.loc, var.loc, Origin::Loop);
        if let Some(ty) = element {
            let state = self.vars.entry(visible.key).or_default();
            state.assigned = true;
            self.set_var_type(visible.key, visible.local, ty);
        }
        self.loops += 1;
        let body = self.block_stmts(body);
        self.loops -= 1;
        self.scopes.leave();
        vec![hir::Stmt { kind: StmtKind::ForMap { map: state.id, var: visible.local, body }, loc }]
    }

    fn for_range(
        &mut self,
        var: &ast::Ident,
        start: &ast::Expr,
        end: &ast::Expr,
        body: &ast::Block,
        loc: Loc,
    ) -> Vec<hir::Stmt> {
        let (start, end) = (self.expr(start), self.expr(end));
        let (start, end) = (self.value(start), self.value(end));
        self.loop_shadows(var);
        let ways = [Feature::BpfLoop, Feature::IterNum, Feature::BoundedLoops];
        if !ways.iter().any(|f| self.env.has(*f)) {
            self.needs(Feature::BpfLoop, loc, "A loop over numbers");
        }
        let mut ty = None;
        if !start.unknown && !end.unknown {
            let integer = |ex: &super::Ex| match ex.e.ty {
                Type::Int(int) => Some(int),
                _ => None,
            };
            match (integer(&start), integer(&end)) {
                (Some(a), Some(b)) => {
                    let int = merge_ints(a, start.traits.is_flexible(), b, end.traits.is_flexible());
                    let flexible = start.traits.is_flexible() && end.traits.is_flexible();
                    let traits = if flexible {
                        crate::sema::ty::Traits::FLEXIBLE
                    } else {
                        crate::sema::ty::Traits::PLAIN
                    };
                    ty = Some(Ty { ty: Type::Int(int), traits });
                }
                (a, _) => {
                    let which = if a.is_none() { "start" } else { "end" };
                    let message = format!("Loop range requires an integer for the {which} value");
                    // Up to the end of the range.
                    let head =
                        Loc { span: Span { hi: end.loc().span.hi.max(loc.span.lo), ..loc.span }, ..loc };
                    self.diags.error(Stage::Types, head, message);
                }
            }
        }
        self.scopes.enter();
        let visible = self.declare(&var.name, var.loc, var.loc, Origin::Loop);
        self.vars.entry(visible.key).or_default().assigned = true;
        if let Some(ty) = &ty {
            // An assignment in the body may have made the variable wider.
            let known = self.var_type(visible.key);
            let merged = known.and_then(|k| crate::sema::ty::merge(&k, ty)).unwrap_or_else(|| ty.clone());
            self.set_var_type(visible.key, visible.local, merged);
        }
        self.loops += 1;
        let body = self.block_stmts(body);
        self.loops -= 1;
        self.scopes.leave();
        let Some(to) = ty.and_then(|_| self.var_type(visible.key)).map(|t| t.ty) else { return Vec::new() };
        let (start, end) = (self.convert(start, &to), self.convert(end, &to));
        vec![hir::Stmt { kind: StmtKind::ForRange { var: visible.local, start, end, body }, loc }]
    }

    pub(super) fn while_stmt(&mut self, cond: &ast::Expr, body: &ast::Block, loc: Loc) -> Vec<hir::Stmt> {
        let message = "While loops are deprecated and may be removed in the future.";
        let note = Diagnostic::warning(loc, message).hint(
            "For loops support ranges (e.g. `for ($x : $start..$end) { ... }`), and can be used in place of while. \
             These are more easily proven to be bounded by the verifier.",
        );
        self.diags.push(Stage::Flow, note);
        self.needs(Feature::BoundedLoops, loc, "A while loop");
        let test = self.expr(cond);
        let cond = self.condition(test, loc);
        self.loops += 1;
        let body = self.block_stmts(body);
        self.loops -= 1;
        vec![hir::Stmt { kind: StmtKind::While(cond, body), loc }]
    }

    pub(super) fn unroll(&mut self, count: &ast::Expr, body: &ast::Block, loc: Loc) -> Vec<hir::Stmt> {
        let count = match self.literal(count) {
            Some(Lit::Int(n)) => n,
            _ => {
                self.diags.error(Stage::Calls, loc, "invalid unroll value");
                return Vec::new();
            }
        };
        if count > MAX_UNROLL {
            self.diags.error(Stage::Calls, loc, format!("unroll maximum value is {MAX_UNROLL}"));
            return Vec::new();
        }
        if count < 1 {
            self.diags.error(Stage::Calls, loc, "unroll minimum value is 1");
            return Vec::new();
        }
        let before = self.copies;
        self.copies = before.saturating_mul(count as u32);
        if self.copies > MAX_COPIES {
            let message = format!("unrolled loops within each other make more than {MAX_COPIES} copies");
            self.diags.error(Stage::Calls, loc, message);
            self.copies = before;
            return Vec::new();
        }
        let mut out = Vec::new();
        for _ in 0..count {
            let stmts = self.block_stmts(body);
            out.push(hir::Stmt { kind: StmtKind::Block(stmts), loc });
        }
        self.copies = before;
        out
    }
}
