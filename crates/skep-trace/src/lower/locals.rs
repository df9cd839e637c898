//! What becomes of variables: which function they live in, whether they need memory, whether they need zeros.
//!
//! Bodies of `for` loops become functions (closures). A variable lives in the innermost one that holds all of
//! its uses; a closure reaches variables around it through captured pointers. A scalar whose assignments all
//! stand in one block of one function, before all of its uses, is no memory at all but the value that was last
//! assigned to it: so a pointer keeps what the compiler knows about it.

use super::visit::{Node, expr_parts, stmt_parts};
use crate::hir::{Body, Expr, ExprKind, LocalId, Stmt, StmtKind};
use cranelift_entity::SecondaryMap;

/// Identity of a loop: the statement itself, which does not move while a script is lowered.
pub(super) type LoopKey = *const Stmt;

/// What is known of a variable.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalInfo {
    /// The loop whose function it lives in; `None` for the function of the body.
    pub(super) home: Option<LoopKey>,
    /// Whether it is mentioned at all.
    pub(super) used: bool,
    /// Whether it may be read before it is assigned, so that it must begin as zeros.
    pub(super) needs_zero: bool,
    /// Whether it can be the value that was last assigned to it.
    pub(super) is_value: bool,
    /// Whether it keeps the value that it begins with: a parameter that needs no memory.
    pub(super) is_fixed: bool,
    /// Whether it is ever used other than by its elements.
    pub(super) whole: bool,
    /// Which of its elements are used: bit n for element n below 31, bit 31 for the others.
    pub(super) elements: u32,
}

/// Facts about the variables of a body.
#[derive(Debug, Default)]
pub(super) struct BodyInfo {
    locals: SecondaryMap<LocalId, LocalInfo>,
}

impl BodyInfo {
    /// Looks through a body and the predicate before it.
    pub(super) fn of(body: &Body, predicate: Option<&Expr>) -> BodyInfo {
        let mut walk = Walk::default();
        if let Some(predicate) = predicate {
            walk.node(Node::Expr(predicate));
        }
        walk.stmts(&body.stmts);
        let mut info = BodyInfo::default();
        for id in body.locals.keys() {
            info.locals[id] = walk.locals[id].conclude();
        }
        info
    }

    /// What is known of a variable.
    pub(super) fn local(&self, id: LocalId) -> &LocalInfo {
        &self.locals[id]
    }

    /// Variables that live in the function of a loop, or of the body.
    pub(super) fn at_home(&self, home: Option<LoopKey>) -> impl Iterator<Item = LocalId> + '_ {
        self.locals.iter().filter(move |(_, l)| l.used && l.home == home).map(|(id, _)| id)
    }
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum Use {
    Read,
    Set,
    Address,
}

/// What was seen of one variable.
#[derive(Clone, Default)]
struct Seen {
    used: bool,
    /// Blocks around the first use, if that is an assignment.
    first_set: Option<Vec<u32>>,
    /// Blocks around all uses.
    blocks: Vec<u32>,
    /// Loops around all uses.
    loops: Vec<LoopKey>,
    /// Whether an assignment may be skipped where another one is not.
    branches: bool,
    /// Whether some uses are in other functions than others.
    captured: bool,
    sets: u32,
    address: bool,
    whole: bool,
    elements: u32,
}

impl Seen {
    fn conclude(&self) -> LocalInfo {
        // Everything between the braces of the first assignment comes after it.
        let dominated = self.first_set.as_ref().is_some_and(|set| self.blocks.starts_with(set));
        LocalInfo {
            home: self.loops.last().copied(),
            used: self.used,
            needs_zero: !dominated,
            is_value: dominated && !self.branches && !self.captured && !self.address,
            is_fixed: self.sets == 0 && self.loops.is_empty() && !self.captured && !self.address,
            whole: self.whole,
            elements: self.elements,
        }
    }
}

#[derive(Default)]
struct Walk {
    locals: SecondaryMap<LocalId, Seen>,
    blocks: Vec<u32>,
    next_block: u32,
    loops: Vec<LoopKey>,
}

impl Walk {
    fn stmts(&mut self, stmts: &[Stmt]) {
        for s in stmts {
            if let StmtKind::Block(inner) = &s.kind {
                // It is run whenever what stands around it is.
                self.stmts(inner);
                continue;
            }
            stmt_parts(s, &mut |part| self.node(part));
            if let StmtKind::SetLocal(id, _) = s.kind {
                self.locals[id].whole = true;
                self.mention(id, Use::Set);
            }
        }
    }

    fn scope(&mut self, inside: impl FnOnce(&mut Self)) {
        self.next_block += 1;
        self.blocks.push(self.next_block);
        inside(self);
        self.blocks.pop();
    }

    fn node(&mut self, node: Node<'_>) {
        match node {
            Node::Block(stmts) => self.scope(|w| w.stmts(stmts)),
            Node::Closure(stmt, stmts) => {
                self.loops.push(std::ptr::from_ref(stmt));
                self.scope(|w| {
                    if let StmtKind::ForMap { var, .. } | StmtKind::ForRange { var, .. } = stmt.kind {
                        w.mention(var, Use::Set);
                    }
                    w.stmts(stmts);
                });
                self.loops.pop();
            }
            Node::Expr(e) => self.expr(e),
        }
    }

    fn expr(&mut self, e: &Expr) {
        match &e.kind {
            ExprKind::Local(id) => {
                self.locals[*id].whole = true;
                self.mention(*id, Use::Read);
            }
            ExprKind::LocalAddr(id) => {
                self.locals[*id].whole = true;
                self.mention(*id, Use::Address);
            }
            ExprKind::Element(base, n) if matches!(base.kind, ExprKind::Local(_)) => {
                if let ExprKind::Local(id) = base.kind {
                    self.locals[id].elements |= 1 << (*n).min(31);
                    self.mention(id, Use::Read);
                }
            }
            ExprKind::IncDec { target, .. } if matches!(target.kind, ExprKind::Local(_)) => {
                if let ExprKind::Local(id) = target.kind {
                    self.locals[id].whole = true;
                    self.mention(id, Use::Read);
                    self.mention(id, Use::Set);
                }
            }
            ExprKind::Block(stmts, value) => {
                self.stmts(stmts);
                self.expr(value);
            }
            // One arm or operand may be skipped: what is assigned there is not assigned behind it.
            ExprKind::And(a, b) | ExprKind::Or(a, b) => {
                self.expr(a);
                self.scope(|w| w.expr(b));
            }
            ExprKind::Ternary(c, a, b) => {
                self.expr(c);
                self.scope(|w| w.expr(a));
                self.scope(|w| w.expr(b));
            }
            _ => expr_parts(e, &mut |part| self.node(part)),
        }
    }

    fn mention(&mut self, id: LocalId, how: Use) {
        let seen = &mut self.locals[id];
        if seen.used {
            truncate_to_common(&mut seen.blocks, &self.blocks);
            seen.captured |= seen.loops != self.loops;
            truncate_to_common(&mut seen.loops, &self.loops);
        } else {
            seen.used = true;
            seen.blocks.clone_from(&self.blocks);
            seen.loops.clone_from(&self.loops);
            if how == Use::Set {
                seen.first_set = Some(self.blocks.clone());
            }
        }
        match how {
            Use::Read => {}
            Use::Set => {
                seen.sets += 1;
                seen.branches |= seen.first_set.as_ref() != Some(&self.blocks);
            }
            Use::Address => seen.address = true,
        }
    }
}

fn truncate_to_common<T: PartialEq>(list: &mut Vec<T>, other: &[T]) {
    let common = list.iter().zip(other).take_while(|(a, b)| a == b).count();
    list.truncate(common);
}
