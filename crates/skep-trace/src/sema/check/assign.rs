//! Assignments.

use super::scope::Origin;
use super::{Checker, Ex, VarState};
use crate::hir::{self, ExprKind as Hir, StmtKind};
use crate::sema::calls;
use crate::sema::diags::Stage;
use crate::sema::ty::{Traits, Ty, merge};
use crate::syntax::ast::{self, BinaryOp, ExprKind, TypeExpr};
use crate::types::{IntTy, Type};
use skep_ir::{Diagnostic, Loc, Span};

impl Checker<'_, '_> {
    /// `target = value;` and `target op= value;`
    pub(super) fn assign(
        &mut self,
        target: &ast::Expr,
        op: Option<BinaryOp>,
        value: &ast::Expr,
        loc: Loc,
    ) -> Vec<hir::Stmt> {
        match &target.kind {
            ExprKind::Var(name) => self.assign_var(name, target.loc, op, value, loc),
            ExprKind::Map { name, key, .. } => {
                self.assign_map(name, key.as_deref(), target.loc, op, value, loc)
            }
            ExprKind::Field { .. } | ExprKind::TupleIndex(..) | ExprKind::Index(..) => {
                self.diags.error(
                    Stage::Config,
                    loc,
                    "syntax: Tuples and records are immutable once created. Consider creating a new value and \
                     assigning it instead.",
                );
                Vec::new()
            }
            _ => {
                self.diags.error(
                    Stage::Config,
                    target.loc,
                    "syntax: only variables and maps can be assigned to",
                );
                Vec::new()
            }
        }
    }

    fn assign_var(
        &mut self,
        name: &str,
        token: Loc,
        op: Option<BinaryOp>,
        value: &ast::Expr,
        loc: Loc,
    ) -> Vec<hir::Stmt> {
        let value = match op {
            None => self.expr(value),
            Some(op) => {
                if self.scopes.find(name).is_none() {
                    let message = format!("Undefined or undeclared variable: ${name}");
                    self.diags.error(Stage::Calls, token, message);
                    let _ = self.expr(value);
                    return Vec::new();
                }
                let var = ast::Expr { kind: ExprKind::Var(name.to_owned()), loc: token };
                let (a, b) = (self.expr(&var), self.expr(value));
                self.operate(op, a.settled(), b, loc)
            }
        };
        let visible = match self.scopes.find_mut(name) {
            Some(visible) => {
                visible.assigned = true;
                visible.clone()
            }
            None => self.declare(name, token, loc, Origin::Assignment),
        };
        self.store_local(&visible, name, value, loc)
    }

    /// Stores into a variable, whose type takes the value's in.
    fn store_local(
        &mut self,
        visible: &super::scope::Visible,
        name: &str,
        value: Ex,
        loc: Loc,
    ) -> Vec<hir::Stmt> {
        let state = self.vars.entry(visible.key).or_default();
        state.assigned = true;
        if value.failed {
            self.diags.error(Stage::Check, loc, "Invalid expression for assignment");
        }
        let value = self.value(value);
        if value.unknown {
            return Vec::new();
        }
        match value.e.ty {
            Type::None if matches!(value.e.kind, Hir::Block(..)) && !is_void_call(&value.e) => {
                self.diags.error(Stage::Check, loc, "Invalid expression for assignment");
                return Vec::new();
            }
            Type::None | Type::Agg(_) => {
                let message =
                    format!("Value '{}' cannot be assigned to a scratch variable.", self.show(&value));
                self.diags.error(Stage::Types, loc, message);
                return Vec::new();
            }
            _ => {}
        }
        let VarState { ty, fixed, .. } = self.vars.get(&visible.key).cloned().unwrap_or_default();
        let merged = match &ty {
            None => Some(value.ty()),
            Some(known) if fixed && !matches!(known.ty, Type::Ptr(..)) => {
                self.suits(&value, known).then(|| known.clone())
            }
            Some(known) => merge(known, &value.ty()),
        };
        let Some(merged) = merged else {
            let known = ty.map_or(Type::None, |t| t.ty);
            let message = format!(
                "Type mismatch for ${name}: trying to assign value of type '{}' when variable already has a type '{}'",
                self.show(&value),
                self.db.show(&known)
            );
            self.diags.error(Stage::Types, loc, message);
            return Vec::new();
        };
        let to = self.set_var_type(visible.key, visible.local, merged);
        self.db.complete(&to);
        let value = self.convert(value, &to);
        vec![hir::Stmt { kind: StmtKind::SetLocal(visible.local, value), loc }]
    }

    /// `let $x: T = e;`
    pub(super) fn let_var(
        &mut self,
        var: &ast::Ident,
        ty: Option<&TypeExpr>,
        value: Option<&ast::Expr>,
        loc: Loc,
    ) -> Vec<hir::Stmt> {
        let declared = ty.map(|ty| (self.written(ty), ty.loc));
        // The value does not see the variable.
        let value = value.map(|e| self.expr(e));
        // Up to the name, which is what messages about the declaration show.
        let head = Loc { span: Span { hi: var.loc.span.hi.max(loc.span.lo), ..loc.span }, ..loc };
        if self.shadows(&var.name, head) {
            return Vec::new();
        }
        let visible = self.declare(&var.name, var.loc, head, Origin::Let);
        match declared {
            Some((Some(written), at)) => {
                let ty = match (&written.ty.ty, written.open, &value) {
                    // `string` alone takes the capacity of the first value, and may still grow.
                    (Type::Str(_) | Type::Buf(_), true, _) => None,
                    (Type::None | Type::Agg(_), ..) => {
                        let shown = self.db.show(&written.ty.ty);
                        let message = format!("Invalid variable declaration type: {shown}");
                        self.diags.error(Stage::Types, at, message);
                        return Vec::new();
                    }
                    _ => Some(written.ty),
                };
                if let Some(ty) = ty {
                    let state = self.vars.entry(visible.key).or_default();
                    state.fixed = true;
                    self.db.complete(&ty.ty);
                    let pointer = matches!(ty.ty, Type::Ptr(..));
                    // A pointer's memory is known only when it is assigned.
                    let known =
                        self.var_type(visible.key).filter(|known| pointer && merge(known, &ty).is_some());
                    self.set_var_type(visible.key, visible.local, known.unwrap_or(ty));
                }
            }
            Some((None, _)) => {
                if value.is_none() {
                    self.declared_without_value(&var.name, &visible);
                }
                return Vec::new();
            }
            None => {}
        }
        let Some(value) = value else {
            self.declared_without_value(&var.name, &visible);
            // In a loop the variable must be zero again in each round.
            return self.clear_local(&visible, loc);
        };
        if let Some(v) = self.scopes.find_mut(&var.name) {
            v.assigned = true;
        }
        self.store_local(&visible, &var.name, value, loc)
    }

    /// Sets a variable that is declared without a value to zero, where a loop may have left something in it.
    fn clear_local(&mut self, visible: &super::scope::Visible, loc: Loc) -> Vec<hir::Stmt> {
        let Some(ty) = self.var_type(visible.key).map(|t| t.ty).filter(|_| self.loops > 0) else {
            return Vec::new();
        };
        let zero = match ty {
            Type::Bool | Type::Int(_) | Type::Ptr(..) | Type::Enum(_) => Hir::Int(0),
            Type::Str(_) => Hir::Str(Vec::new()),
            // Other types have no constant; they are as the last round left them until they are assigned.
            _ => return Vec::new(),
        };
        vec![hir::Stmt { kind: StmtKind::SetLocal(visible.local, hir::Expr::new(zero, ty, loc)), loc }]
    }

    fn assign_map(
        &mut self,
        name: &str,
        key: Option<&[ast::Expr]>,
        target: Loc,
        op: Option<BinaryOp>,
        value: &ast::Expr,
        loc: Loc,
    ) -> Vec<hir::Stmt> {
        if op.is_none()
            && let ExprKind::Call { name: function, args } = &value.kind
            && let Some(aggregate) = calls::aggregate(&function.name)
        {
            let access = self.map_access(name, key, target);
            let call = calls::Call { name: &function.name, args, loc: value.loc };
            return self.collect(aggregate, &call, name, access, loc);
        }
        let Some(op) = op else {
            let value = self.expr(value);
            let access = self.map_access(name, key, target);
            return self.store_element(name, access, value, loc);
        };
        let value = self.expr(value);
        let access = self.map_access(name, key, target);
        self.update_element(name, access, op, value, target, loc)
    }

    fn store_element(
        &mut self,
        name: &str,
        access: Option<(hir::MapRef, Option<hir::Expr>)>,
        value: Ex,
        loc: Loc,
    ) -> Vec<hir::Stmt> {
        if value.failed {
            self.diags.error(Stage::Check, loc, "Invalid expression for assignment");
        }
        if value.unknown {
            return Vec::new();
        }
        match &value.e.ty {
            Type::Agg(agg) => {
                let function = match &value.e.kind {
                    Hir::Map(from, _) => {
                        self.maps.values().find(|m| m.id == *from).and_then(|m| m.function.clone())
                    }
                    _ => None,
                };
                let called = function.unwrap_or_else(|| agg.name().replace("_t", "()"));
                let source = self.sources.text(value.loc().span).to_owned();
                let message = format!(
                    "Map value '{}' cannot be assigned from one map to another. The function that returns this type \
                     must be called directly e.g. `@{name} = {called};`.",
                    agg.name()
                );
                let mut note = Diagnostic::error(loc, message);
                if crate::sema::ty::agg_reads_as(*agg).is_some() {
                    note = note.hint(format!(
                        "Add a cast to integer if you want the value of the aggregate, e.g. `@{name} = (int64){source};`."
                    ));
                }
                self.diags.push(Stage::Types, note);
                return Vec::new();
            }
            Type::None if matches!(value.e.kind, Hir::Block(..)) && !is_void_call(&value.e) => {
                self.diags.error(Stage::Check, loc, "Invalid expression for assignment");
                return Vec::new();
            }
            Type::None => {
                let message = format!("Value '{}' cannot be assigned to a map.", self.show(&value));
                self.diags.error(Stage::Types, loc, message);
                return Vec::new();
            }
            _ if matches!(value.e.kind, Hir::Ctx) => {
                self.diags.error(Stage::Types, loc, "Value 'ctx' cannot be assigned to a map.");
                return Vec::new();
            }
            _ => {}
        }
        let ty = value.ty();
        let Some(to) = self.store_type(name, &ty, loc) else { return Vec::new() };
        let Some((map, key)) = access else { return Vec::new() };
        let value = self.convert(value, &to);
        vec![hir::Stmt { kind: StmtKind::SetMap { map, key, value }, loc }]
    }

    /// `@m op= e`
    fn update_element(
        &mut self,
        name: &str,
        access: Option<(hir::MapRef, Option<hir::Expr>)>,
        op: BinaryOp,
        value: Ex,
        target: Loc,
        loc: Loc,
    ) -> Vec<hir::Stmt> {
        let known = self.maps.get(name).and_then(|m| m.value.clone());
        // A missing element counts as 0.
        let before = known.clone().unwrap_or(Ty { ty: Type::int(1, true), traits: Traits::FLEXIBLE });
        let Some(kind) = super::binary::arithmetic(op) else { return Vec::new() };
        let placeholder = match &access {
            Some((map, key)) => Hir::Map(*map, key.clone().map(Box::new)),
            None => Hir::Int(0),
        };
        let element = Ex::typed(placeholder, before, target);
        let pointer = matches!(element.e.ty, Type::Ptr(..));
        let step = if pointer { self.pointee_size(&element.e.ty) } else { None };
        let result = self.operate(op, element, value.clone(), loc);
        if result.unknown {
            return Vec::new();
        }
        let ty = result.ty();
        let Some(to) = self.store_type(name, &ty, loc) else { return Vec::new() };
        let Some((map, key)) = access else { return Vec::new() };
        let value = match step {
            Some(step) => self.scaled(value, step, loc),
            None => {
                // The element may have become wider than the operation was thought to be.
                let operand = match result.e.kind {
                    Hir::Binary(_, _, operand) => *operand,
                    _ => return Vec::new(),
                };
                match (&operand.ty, &to) {
                    (a, b) if a == b => operand,
                    _ => super::convert::cast(operand, &to),
                }
            }
        };
        vec![hir::Stmt { kind: StmtKind::UpdateMap { map, key, op: kind, value }, loc }]
    }

    /// `++e`, `e--`
    pub(super) fn inc_dec(&mut self, target: &ast::Expr, decrement: bool, prefix: bool, loc: Loc) -> Ex {
        let sign = if decrement { -1 } else { 1 };
        let finish = |c: &mut Self, place: Ex| {
            let step = match &place.e.ty {
                Type::Int(_) => 1,
                Type::Ptr(..) => i64::from(c.pointee_size(&place.e.ty).unwrap_or(1)),
                _ => {
                    let symbol = if decrement { "--" } else { "++" };
                    let message = format!(
                        "The {symbol} operator can not be used on expressions of type '{}'",
                        c.show(&place)
                    );
                    return c.error(Stage::Types, loc, message);
                }
            };
            let ty = place.ty();
            Ex::typed(Hir::IncDec { target: Box::new(place.e), step: sign * step, prefix }, ty, loc)
        };
        match &target.kind {
            ExprKind::Var(name) => {
                let Some(visible) = self.scopes.find(name).cloned() else {
                    let message = format!("Undefined or undeclared variable: ${name}");
                    return self.error(Stage::Calls, target.loc, message);
                };
                if !visible.assigned {
                    let message = format!("Variable used before it was assigned: ${name}");
                    self.diags.warn(Stage::Calls, target.loc, message);
                }
                self.vars.entry(visible.key).or_default().assigned = true;
                // A declared variable without a type so far is a number that starts at 0.
                let known = self.var_type(visible.key);
                let counted = counting(known.as_ref());
                let fixed = self.vars.get(&visible.key).is_some_and(|v| v.fixed);
                let ty = match (known, counted) {
                    (Some(known), _) if fixed => known,
                    (Some(known), Some(counted)) => merge(&known, &counted).unwrap_or(known),
                    (Some(known), None) => known,
                    (None, counted) => counted.unwrap_or_else(|| Type::I64.into()),
                };
                self.set_var_type(visible.key, visible.local, ty.clone());
                finish(self, Ex::typed(Hir::Local(visible.local), ty, target.loc))
            }
            ExprKind::Map { name, key, .. } => {
                let access = self.map_access(name, key.as_deref(), target.loc);
                let known = self.maps.get(name.as_str()).and_then(|m| m.value.clone());
                if let Some(counted) = counting(known.as_ref()) {
                    let _ = self.store_type(name, &counted, loc);
                }
                let ty = self.maps.get(name.as_str()).and_then(|m| m.value.clone());
                match (access, ty) {
                    (Some((map, key)), Some(ty)) => {
                        finish(self, Ex::typed(Hir::Map(map, key.map(Box::new)), ty, target.loc))
                    }
                    _ => Ex::unknown(loc),
                }
            }
            _ => self.error(Stage::Config, loc, "syntax: increment/decrement requires a variable or map"),
        }
    }
}

/// The type that counting makes of one: 64 bits of the same sign. `None` for what is not counted as a number.
fn counting(known: Option<&Ty>) -> Option<Ty> {
    match known {
        None => Some(Ty { ty: Type::I64, traits: Traits::FLEXIBLE }),
        Some(Ty { ty: Type::Int(int), traits }) => {
            // A flexible number becomes signed, unless another use says otherwise.
            let traits = if traits.is_flexible() { Traits::FLEXIBLE } else { traits.clone() };
            Some(Ty { ty: Type::Int(IntTy { bytes: 8, signed: int.signed }), traits })
        }
        Some(_) => None,
    }
}

/// Whether a block without a value is what a function without a result became.
fn is_void_call(e: &hir::Expr) -> bool {
    match &e.kind {
        Hir::Block(stmts, _) => {
            matches!(stmts.first().map(|s| &s.kind), Some(StmtKind::Emit(..)))
        }
        _ => true,
    }
}
