//! Statements.

use super::function::{Captured, Fx, Loop, Role, Variable};
use super::store::{Dest, Fill};
use super::visit::{Node, mentions_local};
use crate::hir::{Expr, LocalId, Stmt, StmtKind};
use crate::types::Type;
use skep_ir::Ty;
use skep_ir::func::LoopHead;
use skep_ir::inst::{CmpOp, InstKind};

impl<'p> Fx<'_, 'p> {
    /// Lowers statements; what stands behind the end of a block is dropped.
    pub(super) fn stmts(&mut self, stmts: &'p [Stmt]) {
        // A null pointer ends the chain of reads around these statements, not their own.
        let chain = self.leave_chain();
        for stmt in stmts {
            if self.b.is_closed() {
                break;
            }
            self.at(stmt.loc, |f| f.stmt(stmt));
        }
        self.resume_chain(chain);
    }

    fn stmt(&mut self, stmt: &'p Stmt) {
        match &stmt.kind {
            StmtKind::Expr(e) => self.effects(e),
            StmtKind::SetLocal(id, e) => self.set_variable(*id, e),
            StmtKind::SetMap { map, key, value } => self.set_map(*map, key.as_ref(), value, stmt.loc),
            StmtKind::UpdateMap { map, key, op, value } => {
                self.update_map(*map, key.as_ref(), *op, value, stmt.loc);
            }
            StmtKind::Collect { map, key, value } => {
                self.collect(*map, key.as_ref(), value.as_ref(), stmt.loc);
            }
            StmtKind::Emit(event, args) => self.emit(*event, args, stmt.loc),
            StmtKind::If(cond, then, other) => self.if_stmt(cond, then, other),
            StmtKind::ForMap { map, var, body } => self.for_map(stmt, *map, *var, body),
            StmtKind::ForRange { var, start, end, body } => self.for_range(stmt, *var, start, end, body),
            StmtKind::While(cond, body) => self.while_stmt(cond, body),
            StmtKind::Break => self.break_or_continue(true),
            StmtKind::Continue => self.break_or_continue(false),
            StmtKind::Return(value) => self.return_stmt(value.as_ref()),
            StmtKind::Block(stmts) => self.stmts(stmts),
        }
    }

    fn set_variable(&mut self, id: LocalId, e: &'p Expr) {
        let ty = &self.site.body.locals[id].ty;
        if ty.is_scalar() {
            if self.info.local(id).is_value {
                let pointer = matches!(ty, Type::Ptr(..));
                let value = if pointer { self.pointer(e) } else { self.value(e) };
                self.variables.insert(id, Variable::Value(value));
            } else {
                let value = self.scalar(e);
                self.set_scalar_variable(id, value);
            }
            return;
        }
        let to = Dest { ptr: self.variable_ptr(id), off: 0, fill: Self::fill_of(ty) };
        if mentions_local(Node::Expr(e), id) {
            // The new value is made of the old one.
            let place = self.temporary(e);
            self.copy(&place, ty, Dest { fill: Fill::Exact, ..to }, e.loc);
        } else {
            self.put(e, to);
        }
    }

    fn if_stmt(&mut self, cond: &'p Expr, then: &'p [Stmt], other: &'p [Stmt]) {
        let (yes, join) = (self.b.new_block(), self.b.new_block());
        let no = if other.is_empty() { join } else { self.b.new_block() };
        self.branch(cond, yes, no);
        self.b.switch_to(yes);
        self.scoped(|f| f.stmts(then));
        self.jump(join, None);
        if no != join {
            self.b.switch_to(no);
            self.scoped(|f| f.stmts(other));
            self.jump(join, None);
        }
        self.b.switch_to(join);
    }

    fn while_stmt(&mut self, cond: &'p Expr, body: &'p [Stmt]) {
        let (head, inside, exit) = (self.b.new_block(), self.b.new_block(), self.b.new_block());
        self.b.func.blocks[head].loop_head = Some(LoopHead { bound: None });
        self.jump(head, None);
        self.b.switch_to(head);
        self.scoped(|f| {
            f.branch(cond, inside, exit);
            f.b.switch_to(inside);
            f.loops.push(Loop::Jumps { exit, next: head });
            f.stmts(body);
            f.loops.pop();
            f.jump(head, None);
        });
        self.b.switch_to(exit);
    }

    fn break_or_continue(&mut self, is_break: bool) {
        match self.loops.last() {
            Some(Loop::Jumps { exit, next }) => {
                let to = if is_break { *exit } else { *next };
                self.jump(to, None);
            }
            // In a closure; elsewhere sema allows neither.
            Some(Loop::Closure) | None => {
                let stop = self.b.i64(i64::from(is_break));
                self.b.ret(Some(stop));
            }
        }
    }

    fn return_stmt(&mut self, value: Option<&'p Expr>) {
        match self.role {
            Role::Program { returns: true } => {
                let value = match value {
                    Some(e) => {
                        let value = self.scalar(e);
                        self.number(value)
                    }
                    None => self.b.i64(0),
                };
                self.b.ret(Some(value));
            }
            Role::Program { returns: false } => {
                if let Some(e) = value {
                    self.effects(e);
                }
                self.leave_program();
            }
            Role::Subprogram { ret, out } => {
                let result = match (value, ret, out) {
                    (Some(e), Some(_), _) => Some(self.scalar(e)),
                    (Some(e), None, Some(ptr)) => {
                        self.put(e, Dest { ptr, off: 0, fill: Self::fill_of(&e.ty) });
                        None
                    }
                    (_, Some(ty), _) => Some(self.zero_of(ty)),
                    _ => None,
                };
                self.b.ret(result);
            }
            Role::Closure => {
                let result = match value {
                    Some(e) if e.ty.is_scalar() => {
                        let value = self.scalar(e);
                        Some(self.number(value))
                    }
                    Some(e) => {
                        let ptr = self.resolve(Captured::Out);
                        self.put(e, Dest { ptr, off: 0, fill: Self::fill_of(&e.ty) });
                        None
                    }
                    None => None,
                };
                self.stop_with(result);
            }
        }
    }

    /// Ends the program without a value.
    pub(super) fn leave_program(&mut self) {
        match self.role {
            Role::Program { .. } => {
                let zero = self.b.i64(0);
                self.b.ret(Some(zero));
            }
            Role::Subprogram { ret, .. } => {
                let zero = ret.map(|ty| self.zero_of(ty));
                self.b.ret(zero);
            }
            Role::Closure => self.stop_with(None),
        }
    }

    /// In a closure: stops the loop and tells its creator to return.
    fn stop_with(&mut self, value: Option<skep_ir::Value>) {
        self.leaves = true;
        let words = self.leave_words();
        let one = self.b.i64(1);
        self.b.store(words, 0, one);
        let value = value.unwrap_or_else(|| self.b.i64(0));
        self.b.store(words, 8, value);
        self.b.ret(Some(one));
    }

    /// Before a loop whose body may return.
    pub(super) fn before_leaving_loop(&mut self) {
        if self.role != Role::Closure {
            let words = self.leave_words();
            let zero = self.b.i64(0);
            self.b.store(words, 0, zero);
            // Whoever checks the code does not see that the value is read only where it was written.
            self.b.store(words, 8, zero);
        }
    }

    /// Behind a loop whose body may return: returns if it has.
    pub(super) fn after_leaving_loop(&mut self) {
        let words = self.leave_words();
        let left = self.b.load(words, 0, Ty::I64);
        let zero = self.b.i64(0);
        let left = self.b.cmp(CmpOp::Ne, left, zero);
        let (yes, no) = (self.b.new_block(), self.b.new_block());
        self.b.cond_br(left, yes, no);
        self.b.switch_to(yes);
        match self.role {
            Role::Program { returns } => {
                let value = if returns { self.b.load(words, 8, Ty::I64) } else { self.b.i64(0) };
                self.b.ret(Some(value));
            }
            Role::Subprogram { ret, .. } => {
                let value = ret.map(|ty| {
                    let value = self.b.load(words, 8, Ty::I64);
                    match ty {
                        Ty::I1 => self.b.cmp(CmpOp::Ne, value, zero),
                        Ty::Ptr(_) => self.b.value(InstKind::IntToPtr(value), ty),
                        int => self.b.resize(value, int, false),
                    }
                });
                self.b.ret(value);
            }
            Role::Closure => {
                self.leaves = true;
                let one = self.b.i64(1);
                self.b.ret(Some(one));
            }
        }
        self.b.switch_to(no);
    }
}
