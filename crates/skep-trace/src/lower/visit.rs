//! Walks over analysed code: what an expression or statement contains, and questions answered by looking.

use crate::hir::{Expr, ExprKind, Func, LocalId, MapRef, Stmt, StmtKind};

/// A part of an expression or statement.
#[derive(Copy, Clone)]
pub(super) enum Node<'p> {
    /// An expression.
    Expr(&'p Expr),
    /// Statements with a scope of their own.
    Block(&'p [Stmt]),
    /// The body of a loop that becomes a function of its own.
    Closure(&'p Stmt, &'p [Stmt]),
}

/// Calls `f` with the direct parts of an expression, in order of evaluation.
pub(super) fn expr_parts<'p>(e: &'p Expr, f: &mut dyn FnMut(Node<'p>)) {
    use ExprKind as E;
    match &e.kind {
        E::Int(_)
        | E::Str(_)
        | E::Local(_)
        | E::LocalAddr(_)
        | E::Map(_, None)
        | E::MapAddr(_, None)
        | E::Args
        | E::Ctx
        | E::Builtin(_) => {}
        E::Map(_, Some(a))
        | E::MapAddr(_, Some(a))
        | E::Neg(a)
        | E::BitNot(a)
        | E::Not(a)
        | E::Cast(a)
        | E::Element(a, _)
        | E::Field(a, ..)
        | E::Deref(a) => f(Node::Expr(a)),
        E::IncDec { target, .. } => f(Node::Expr(target)),
        E::Binary(_, a, b) | E::Compare(_, a, b) | E::And(a, b) | E::Or(a, b) | E::Index(a, b) => {
            f(Node::Expr(a));
            f(Node::Expr(b));
        }
        E::Ternary(a, b, c) => {
            f(Node::Expr(a));
            f(Node::Expr(b));
            f(Node::Expr(c));
        }
        E::Tuple(elems) | E::Call(_, elems) | E::Subprog(_, elems) => {
            elems.iter().for_each(|e| f(Node::Expr(e)));
        }
        E::Record(elems) => elems.iter().for_each(|(_, e)| f(Node::Expr(e))),
        E::Block(stmts, value) => {
            // The value sees the variables of the statements; whoever walks scopes has to know that.
            f(Node::Block(stmts));
            f(Node::Expr(value));
        }
    }
}

/// Calls `f` with the direct parts of a statement, in order of evaluation.
pub(super) fn stmt_parts<'p>(s: &'p Stmt, f: &mut dyn FnMut(Node<'p>)) {
    use StmtKind as S;
    match &s.kind {
        S::Expr(e) | S::SetLocal(_, e) | S::Return(Some(e)) => f(Node::Expr(e)),
        S::SetMap { key, value, .. } | S::UpdateMap { key, value, .. } => {
            f(Node::Expr(value));
            key.iter().for_each(|k| f(Node::Expr(k)));
        }
        S::Collect { key, value, .. } => {
            value.iter().chain(key).for_each(|e| f(Node::Expr(e)));
        }
        S::Emit(_, args) => args.iter().for_each(|e| f(Node::Expr(e))),
        S::If(cond, then, other) => {
            f(Node::Expr(cond));
            f(Node::Block(then));
            f(Node::Block(other));
        }
        S::ForMap { body, .. } => f(Node::Closure(s, body)),
        S::ForRange { start, end, body, .. } => {
            f(Node::Expr(start));
            f(Node::Expr(end));
            f(Node::Closure(s, body));
        }
        S::While(cond, body) => {
            f(Node::Expr(cond));
            f(Node::Block(body));
        }
        S::Block(stmts) => f(Node::Block(stmts)),
        S::Break | S::Continue | S::Return(None) => {}
    }
}

/// Whether `hit` holds for any expression or statement inside of a node, the node included.
pub(super) fn any<'p>(
    node: Node<'p>,
    expr: &dyn Fn(&'p Expr) -> bool,
    stmt: &dyn Fn(&'p Stmt) -> bool,
) -> bool {
    let mut found = false;
    match node {
        Node::Expr(e) if expr(e) => return true,
        Node::Expr(e) => expr_parts(e, &mut |part| found = found || any(part, expr, stmt)),
        Node::Block(stmts) | Node::Closure(_, stmts) => {
            for s in stmts {
                if stmt(s) {
                    return true;
                }
                stmt_parts(s, &mut |part| found = found || any(part, expr, stmt));
            }
        }
    }
    found
}

/// Whether evaluating an expression changes anything that other code can see.
pub(super) fn has_effects(e: &Expr) -> bool {
    let acts = |e: &Expr| match &e.kind {
        ExprKind::IncDec { .. } | ExprKind::Subprog(..) => true,
        ExprKind::Block(stmts, _) => !stmts.is_empty(),
        ExprKind::Call(func, _) => matches!(
            func,
            Func::Signal { .. }
                | Func::Override
                | Func::WriteUser
                | Func::SkbOutput(_)
                | Func::Delete(_)
                | Func::Debugf(_)
        ),
        _ => false,
    };
    any(Node::Expr(e), &acts, &|_| true)
}

/// Whether code mentions a variable.
pub(super) fn mentions_local(node: Node<'_>, id: LocalId) -> bool {
    let expr = |e: &Expr| matches!(e.kind, ExprKind::Local(l) | ExprKind::LocalAddr(l) if l == id);
    any(node, &expr, &|s| matches!(s.kind, StmtKind::SetLocal(l, _) if l == id))
}

/// Whether code mentions a map.
pub(super) fn mentions_map(node: Node<'_>, map: MapRef) -> bool {
    let expr = |e: &Expr| match &e.kind {
        ExprKind::Map(m, _) | ExprKind::MapAddr(m, _) => *m == map,
        ExprKind::Call(Func::Delete(m) | Func::HasKey(m) | Func::MapLen(m), _) => *m == map,
        // A subprogram may do anything to any map.
        ExprKind::Subprog(..) => true,
        _ => false,
    };
    let stmt = |s: &Stmt| match &s.kind {
        StmtKind::SetMap { map: m, .. }
        | StmtKind::UpdateMap { map: m, .. }
        | StmtKind::Collect { map: m, .. }
        | StmtKind::ForMap { map: m, .. } => *m == map,
        _ => false,
    };
    any(node, &expr, &stmt)
}

/// Whether code may make more than a few elements of maps at a time.
pub(super) fn fills_maps(node: Node<'_>) -> bool {
    /// The kernel keeps this many elements of a per-CPU hash at hand (`kernel/bpf/memalloc.c`, `init_refill_work`).
    const FEW: u32 = 1;
    let writes = std::cell::Cell::new(0);
    let hit = |s: &Stmt| match &s.kind {
        StmtKind::While(..) | StmtKind::ForMap { .. } | StmtKind::ForRange { .. } => true,
        StmtKind::SetMap { key: Some(_), .. }
        | StmtKind::UpdateMap { key: Some(_), .. }
        | StmtKind::Collect { key: Some(_), .. } => {
            writes.set(writes.get() + 1);
            writes.get() > FEW
        }
        _ => false,
    };
    any(node, &|_| false, &hit)
}
