//! What the code of a probe refers to, found before anything is typed: it decides which targets can share code.

use crate::syntax::ast::{
    Block, Expr, ExprKind, ForOver, Probe, Stmt, StmtKind, TypeBase, TypeExpr, TypeOrExpr,
};

/// Things that differ between the targets of a probe.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// Arguments by name.
    pub(crate) args: bool,
    /// Arguments by number.
    pub(crate) numbered: bool,
    /// The result.
    pub(crate) retval: bool,
    /// The probe's name.
    pub(crate) name: bool,
    /// The thread's name, which does not mean the same everywhere.
    pub(crate) comm: bool,
    /// The kernel's stack, which shows how the program was called.
    pub(crate) kernel_stack: bool,
    /// Functions of the kernel that only some kinds of programs may call.
    pub(crate) kfunc: bool,
}

/// Nesting at which the search gives up; deeper code is refused by the analysis.
const MAX_DEPTH: u32 = 500;

/// What a probe refers to. Library macros are expanded already.
pub(crate) fn of(probe: &Probe) -> Uses {
    let mut uses = Uses::default();
    let mut walk = Walk { uses: &mut uses, depth: 0 };
    if let Some(predicate) = &probe.predicate {
        walk.expr(predicate);
    }
    walk.block(&probe.body);
    uses
}

struct Walk<'a> {
    uses: &'a mut Uses,
    depth: u32,
}

impl Walk<'_> {
    fn block(&mut self, block: &Block) {
        if self.depth >= MAX_DEPTH {
            return;
        }
        self.depth += 1;
        block.stmts.iter().for_each(|s| self.stmt(s));
        if let Some(value) = &block.value {
            self.expr(value);
        }
        self.depth -= 1;
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Expr(e) | StmtKind::Discard(e) => self.expr(e),
            StmtKind::Assign { target, value, .. } => {
                self.expr(target);
                self.expr(value);
            }
            StmtKind::Let { ty, value, .. } => {
                ty.iter().for_each(|t| self.ty(t));
                value.iter().for_each(|e| self.expr(e));
            }
            StmtKind::If { cond, then, other } => {
                self.expr(cond);
                self.block(then);
                other.iter().for_each(|b| self.block(b));
            }
            StmtKind::For { over, body, .. } => {
                match over {
                    ForOver::Map(e) => self.expr(e),
                    ForOver::Range(a, b) => {
                        self.expr(a);
                        self.expr(b);
                    }
                }
                self.block(body);
            }
            StmtKind::While { cond, body } | StmtKind::Unroll { count: cond, body } => {
                self.expr(cond);
                self.block(body);
            }
            StmtKind::Return(value) => value.iter().for_each(|e| self.expr(e)),
            StmtKind::Block(block) => self.block(block),
            StmtKind::Break | StmtKind::Continue | StmtKind::Import(_) => {}
        }
    }

    fn name(&mut self, name: &str) {
        match name.strip_prefix("__builtin_").unwrap_or(name) {
            "args" => self.uses.args = true,
            "retval" => self.uses.retval = true,
            "probe" => self.uses.name = true,
            "comm" => self.uses.comm = true,
            "kstack" => self.uses.kernel_stack = true,
            "__comm_of" | "__kfunc_allowed" => self.uses.kfunc = true,
            other
                if other.strip_prefix("arg").is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit())) =>
            {
                self.uses.numbered = true;
            }
            _ => {}
        }
    }

    fn expr(&mut self, e: &Expr) {
        if self.depth >= MAX_DEPTH {
            return;
        }
        self.depth += 1;
        match &e.kind {
            ExprKind::Int(_)
            | ExprKind::Bool(_)
            | ExprKind::Str(_)
            | ExprKind::Var(_)
            | ExprKind::Param(_)
            | ExprKind::ParamCount => {}
            ExprKind::Ident(name) => self.name(name),
            ExprKind::Map { key, .. } => key.iter().flatten().for_each(|e| self.expr(e)),
            ExprKind::Call { name, args } => {
                self.name(&name.name);
                args.iter().for_each(|e| self.expr(e));
            }
            ExprKind::Unary(_, e) | ExprKind::Comptime(e) | ExprKind::TupleIndex(e, _) => self.expr(e),
            ExprKind::IncDec { target, .. } => self.expr(target),
            ExprKind::Binary(_, a, b) | ExprKind::Index(a, b) => {
                self.expr(a);
                self.expr(b);
            }
            ExprKind::Ternary(a, b, c) => {
                self.expr(a);
                b.iter().for_each(|e| self.expr(e));
                self.expr(c);
            }
            ExprKind::Cast(ty, e) => {
                self.ty(ty);
                self.expr(e);
            }
            ExprKind::Field { base, .. } => self.expr(base),
            ExprKind::Tuple(elems) => elems.iter().for_each(|e| self.expr(e)),
            ExprKind::Record(elems) => elems.iter().for_each(|(_, e)| self.expr(e)),
            ExprKind::Block(block) => self.block(block),
            ExprKind::If { cond, then, other } => {
                self.expr(cond);
                self.block(then);
                other.iter().for_each(|b| self.block(b));
            }
            ExprKind::Sizeof(of)
            | ExprKind::Offsetof(of, _)
            | ExprKind::Typeof(of)
            | ExprKind::Typeinfo(of) => {
                self.type_or_expr(of);
            }
        }
        self.depth -= 1;
    }

    fn type_or_expr(&mut self, of: &TypeOrExpr) {
        match of {
            TypeOrExpr::Type(ty) => self.ty(ty),
            TypeOrExpr::Expr(e) => self.expr(e),
        }
    }

    fn ty(&mut self, ty: &TypeExpr) {
        match &ty.base {
            // A bare name may be a builtin.
            TypeBase::Name(name) => self.name(name),
            TypeBase::Typeof(of) => self.type_or_expr(of),
            TypeBase::Tuple(elems) => elems.iter().for_each(|t| self.ty(t)),
            TypeBase::Struct(_) | TypeBase::Union(_) | TypeBase::Enum(_) => {}
        }
    }
}
