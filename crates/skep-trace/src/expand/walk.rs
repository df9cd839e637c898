//! The walk over a tree: names are resolved, places get their expansion, calls are handed on.

use super::check::params;
use super::{Argument, Expander, Frame, MARK};
use crate::syntax::ast::{Block, Expr, ExprKind, ForOver, ParamKind, Stmt, StmtKind};
use crate::syntax::visit::{self, Part, PartMut};
use skep_ir::source::ExpansionId;
use skep_ir::{Diagnostic, Loc};

impl Frame {
    /// What a parameter stands for.
    pub(super) fn argument(&self, kind: ParamKind, name: &str) -> Option<&Argument> {
        let is_it = |p: &crate::syntax::ast::MacroParam| p.kind == kind && p.name.name == name;
        self.arguments.get(params(&self.definition.source).iter().position(is_it)?)
    }

    /// The place of a node of the body as it is in the expanded tree.
    pub(super) fn place(&self, loc: Loc) -> Loc {
        Loc { expansion: self.expansion.into(), ..loc }
    }

    /// A variable of the body.
    fn variable(&self, name: &str) -> Option<String> {
        match self.argument(ParamKind::Variable, name) {
            Some(Argument::Variable(given)) => Some(given.clone()),
            _ if self.definition.creates.iter().any(|c| c == name) => {
                Some(format!("{name}{MARK}{}", self.number))
            }
            _ => None,
        }
    }
}

impl Expander<'_> {
    /// Expands a block of the script, or of a macro's body if there is a frame.
    pub(super) fn block(&mut self, block: &mut Block, frame: Option<&Frame>) {
        if self.is_spent(1, 0, block.loc) {
            return;
        }
        self.depth += 1;
        if let Some(frame) = frame {
            block.loc = frame.place(block.loc);
        }
        for stmt in &mut block.stmts {
            self.stmt(stmt, frame);
        }
        if let Some(value) = &mut block.value {
            self.expr(value, frame);
        }
        self.depth -= 1;
    }

    fn stmt(&mut self, stmt: &mut Stmt, frame: Option<&Frame>) {
        if let Some(frame) = frame {
            stmt.loc = frame.place(stmt.loc);
            match &mut stmt.kind {
                StmtKind::Let { var, .. } => {
                    if frame.argument(ParamKind::Variable, &var.name).is_some() {
                        let message = format!("Variable declaration shadows macro arg ${}", var.name);
                        self.error(Diagnostic::error(stmt.loc, message));
                    }
                    var.loc = frame.place(var.loc);
                    var.name = frame.variable(&var.name).unwrap_or_else(|| var.name.clone());
                }
                StmtKind::For { var, .. } => {
                    var.loc = frame.place(var.loc);
                    var.name = frame.variable(&var.name).unwrap_or_else(|| var.name.clone());
                }
                _ => {}
            }
        }
        if let StmtKind::For { over: ForOver::Map(map), body, .. } = &mut stmt.kind {
            self.expr(map, frame);
            return self.block(body, frame);
        }
        visit::stmt_mut(stmt, &mut |part| self.part(part, frame));
    }

    pub(super) fn part(&mut self, part: PartMut<'_>, frame: Option<&Frame>) {
        match part {
            PartMut::Expr(expr) => self.expr(expr, frame),
            PartMut::Block(block) => self.block(block, frame),
            PartMut::Type(ty) => self.ty(ty, frame),
        }
    }

    /// Expands an expression in its place.
    pub(super) fn expr(&mut self, expr: &mut Expr, frame: Option<&Frame>) {
        if self.is_spent(1, 0, expr.loc) {
            return;
        }
        self.depth += 1;
        if let Some(frame) = frame {
            expr.loc = frame.place(expr.loc);
        }
        self.resolved(expr, frame);
        self.depth -= 1;
    }

    fn resolved(&mut self, expr: &mut Expr, frame: Option<&Frame>) {
        match &mut expr.kind {
            ExprKind::Var(name) => {
                if let Some(given) = frame.and_then(|f| f.variable(name)) {
                    *name = given;
                }
            }
            ExprKind::Map { name, name_loc, .. } => {
                if let Some(frame) = frame {
                    *name_loc = frame.place(*name_loc);
                    match frame.argument(ParamKind::Map, name) {
                        Some(Argument::Map(given)) => name.clone_from(given),
                        _ => {
                            let message = format!(
                                "Unhygienic access to map: @{name}. Maps must be passed into the macro as arguments."
                            );
                            self.error(Diagnostic::error(*name_loc, message));
                        }
                    }
                }
                visit::expr_mut(expr, &mut |part| self.part(part, frame));
            }
            ExprKind::Ident(name) => {
                let name = std::mem::take(name);
                if let Some(Argument::Expr { expr: given, nodes, height }) =
                    frame.and_then(|f| f.argument(ParamKind::Expr, &name))
                {
                    if !self.is_spent(*nodes, *height, expr.loc) {
                        *expr = self.argument_at(given, expr.loc);
                    }
                    return;
                }
                match self.named(&name, expr.loc, frame) {
                    Some(meaning) => *expr = meaning,
                    None => expr.kind = ExprKind::Ident(name),
                }
            }
            ExprKind::Call { name, .. } => {
                if let Some(frame) = frame {
                    name.loc = frame.place(name.loc);
                }
                visit::expr_mut(expr, &mut |part| self.part(part, frame));
                self.call(expr, frame);
            }
            ExprKind::Sizeof(operand)
            | ExprKind::Typeof(operand)
            | ExprKind::Typeinfo(operand)
            | ExprKind::Offsetof(operand, _) => self.type_or_expr(operand, frame),
            ExprKind::Field { name, .. } => {
                if let Some(frame) = frame {
                    name.loc = frame.place(name.loc);
                }
                visit::expr_mut(expr, &mut |part| self.part(part, frame));
            }
            _ => visit::expr_mut(expr, &mut |part| self.part(part, frame)),
        }
    }

    /// An argument as it stands in place of a parameter at `param`.
    pub(super) fn argument_at(&mut self, given: &Expr, param: Loc) -> Expr {
        let mut copy = given.clone();
        let expansion = self.sources.add_expansion(param);
        move_expr(&mut copy, given.loc, expansion);
        copy
    }
}

/// Gives nodes that stand where their root stands a new expansion. Nodes that other calls brought into the
/// argument keep theirs.
pub(super) fn move_expr(expr: &mut Expr, root: Loc, expansion: ExpansionId) {
    let moved = |loc: &mut Loc| {
        if loc.expansion == root.expansion {
            loc.expansion = expansion.into();
        }
    };
    moved(&mut expr.loc);
    match &mut expr.kind {
        ExprKind::Map { name_loc, .. } => moved(name_loc),
        ExprKind::Call { name, .. } | ExprKind::Field { name, .. } => moved(&mut name.loc),
        _ => {}
    }
    visit::expr_mut(expr, &mut |part| move_part(part, root, expansion));
}

fn move_part(part: PartMut<'_>, root: Loc, expansion: ExpansionId) {
    let moved = |loc: &mut Loc| {
        if loc.expansion == root.expansion {
            loc.expansion = expansion.into();
        }
    };
    match part {
        PartMut::Expr(expr) => move_expr(expr, root, expansion),
        PartMut::Type(ty) => {
            moved(&mut ty.loc);
            visit::ty_mut(ty, &mut |part| move_part(part, root, expansion));
        }
        PartMut::Block(block) => {
            moved(&mut block.loc);
            for stmt in &mut block.stmts {
                moved(&mut stmt.loc);
                if let StmtKind::Let { var, .. } | StmtKind::For { var, .. } = &mut stmt.kind {
                    moved(&mut var.loc);
                }
                visit::stmt_mut(stmt, &mut |part| move_part(part, root, expansion));
            }
            if let Some(value) = &mut block.value {
                move_expr(value, root, expansion);
            }
        }
    }
}

/// Nodes of an expression and its height.
pub(super) fn measure(expr: &Expr) -> (usize, u32) {
    let (mut nodes, mut height) = (1, 0);
    visit::expr(expr, &mut |part| measure_part(part, &mut nodes, &mut height));
    (nodes, height + 1)
}

fn measure_part(part: Part<'_>, nodes: &mut usize, height: &mut u32) {
    let (more, above) = match part {
        Part::Expr(expr) => measure(expr),
        Part::Type(ty) => {
            let (mut nodes, mut height) = (1, 0);
            visit::ty(ty, &mut |part| measure_part(part, &mut nodes, &mut height));
            (nodes, height + 1)
        }
        Part::Block(block) => {
            let (mut nodes, mut height) = (1, 0);
            for stmt in &block.stmts {
                visit::stmt(stmt, &mut |part| measure_part(part, &mut nodes, &mut height));
            }
            if let Some(value) = &block.value {
                measure_part(Part::Expr(value), &mut nodes, &mut height);
            }
            (nodes, height + 1)
        }
    };
    *nodes += more;
    *height = (*height).max(above);
}
