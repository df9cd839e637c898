//! The parts of a node, for everything that walks a tree without caring for each kind of node.

use super::ast::{
    Block, Expr, ExprKind, ForOver, Stmt, StmtKind, TypeBase, TypeExpr, TypeOrExpr, TypeSuffix,
};

/// Something directly inside of a node.
#[derive(Copy, Clone)]
pub enum Part<'a> {
    /// An operand.
    Expr(&'a Expr),
    /// A block.
    Block(&'a Block),
    /// A type.
    Type(&'a TypeExpr),
}

/// See [`Part`].
pub enum PartMut<'a> {
    /// An operand.
    Expr(&'a mut Expr),
    /// A block.
    Block(&'a mut Block),
    /// A type.
    Type(&'a mut TypeExpr),
}

/// Writes a function over the parts of each kind of node once for both sorts of references.
macro_rules! walkers {
    ($part:ident, $expr:ident, $stmt:ident, $ty:ident, $type_or_expr:ident, $iter:ident, $($mutable:tt)?) => {
        /// Calls `found` for each part of an expression, in the order of the source.
        pub fn $expr<'a>(expr: &'a $($mutable)? Expr, found: &mut dyn FnMut($part<'a>)) {
            match &$($mutable)? expr.kind {
                ExprKind::Int(_)
                | ExprKind::Bool(_)
                | ExprKind::Str(_)
                | ExprKind::Var(_)
                | ExprKind::Param(_)
                | ExprKind::ParamCount
                | ExprKind::Ident(_)
                | ExprKind::Map { key: None, .. } => {}
                ExprKind::Map { key: Some(elements), .. }
                | ExprKind::Call { args: elements, .. }
                | ExprKind::Tuple(elements) => elements.$iter().for_each(|e| found($part::Expr(e))),
                ExprKind::Record(fields) => fields.$iter().for_each(|(_, e)| found($part::Expr(e))),
                ExprKind::Unary(_, operand)
                | ExprKind::IncDec { target: operand, .. }
                | ExprKind::Field { base: operand, .. }
                | ExprKind::TupleIndex(operand, _)
                | ExprKind::Comptime(operand) => found($part::Expr(operand)),
                ExprKind::Binary(_, left, right) | ExprKind::Index(left, right) => {
                    found($part::Expr(left));
                    found($part::Expr(right));
                }
                ExprKind::Ternary(cond, then, other) => {
                    found($part::Expr(cond));
                    if let Some(then) = then {
                        found($part::Expr(then));
                    }
                    found($part::Expr(other));
                }
                ExprKind::Cast(ty, operand) => {
                    found($part::Type(ty));
                    found($part::Expr(operand));
                }
                ExprKind::Block(block) => found($part::Block(block)),
                ExprKind::If { cond, then, other } => {
                    found($part::Expr(cond));
                    found($part::Block(then));
                    if let Some(other) = other {
                        found($part::Block(other));
                    }
                }
                ExprKind::Sizeof(operand)
                | ExprKind::Offsetof(operand, _)
                | ExprKind::Typeof(operand)
                | ExprKind::Typeinfo(operand) => $type_or_expr(operand, found),
            }
        }

        /// Calls `found` for each part of a statement, in the order of the source.
        pub fn $stmt<'a>(stmt: &'a $($mutable)? Stmt, found: &mut dyn FnMut($part<'a>)) {
            match &$($mutable)? stmt.kind {
                StmtKind::Break | StmtKind::Continue | StmtKind::Return(None) | StmtKind::Import(_) => {}
                StmtKind::Expr(expr) | StmtKind::Discard(expr) | StmtKind::Return(Some(expr)) => {
                    found($part::Expr(expr));
                }
                StmtKind::Assign { target, value, .. } => {
                    found($part::Expr(target));
                    found($part::Expr(value));
                }
                StmtKind::Let { ty, value, .. } => {
                    if let Some(ty) = ty {
                        found($part::Type(ty));
                    }
                    if let Some(value) = value {
                        found($part::Expr(value));
                    }
                }
                StmtKind::If { cond, then, other } => {
                    found($part::Expr(cond));
                    found($part::Block(then));
                    if let Some(other) = other {
                        found($part::Block(other));
                    }
                }
                StmtKind::For { over, body, .. } => {
                    match over {
                        ForOver::Map(map) => found($part::Expr(map)),
                        ForOver::Range(first, end) => {
                            found($part::Expr(first));
                            found($part::Expr(end));
                        }
                    }
                    found($part::Block(body));
                }
                StmtKind::While { cond: head, body } | StmtKind::Unroll { count: head, body } => {
                    found($part::Expr(head));
                    found($part::Block(body));
                }
                StmtKind::Block(block) => found($part::Block(block)),
            }
        }

        /// Calls `found` for each part of a type.
        pub fn $ty<'a>(ty: &'a $($mutable)? TypeExpr, found: &mut dyn FnMut($part<'a>)) {
            match &$($mutable)? ty.base {
                TypeBase::Name(_) | TypeBase::Struct(_) | TypeBase::Union(_) | TypeBase::Enum(_) => {}
                TypeBase::Typeof(operand) => $type_or_expr(operand, found),
                TypeBase::Tuple(elements) => elements.$iter().for_each(|e| found($part::Type(e))),
            }
            for suffix in &$($mutable)? ty.suffixes {
                if let TypeSuffix::Array(Some(length)) = suffix {
                    found($part::Expr(length));
                }
            }
        }

        fn $type_or_expr<'a>(operand: &'a $($mutable)? TypeOrExpr, found: &mut dyn FnMut($part<'a>)) {
            match operand {
                TypeOrExpr::Type(ty) => found($part::Type(ty)),
                TypeOrExpr::Expr(expr) => found($part::Expr(expr)),
            }
        }
    };
}

walkers!(Part, expr, stmt, ty, type_or_expr, iter,);
walkers!(PartMut, expr_mut, stmt_mut, ty_mut, type_or_expr_mut, iter_mut, mut);
