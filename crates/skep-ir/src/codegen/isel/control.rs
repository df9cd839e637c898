//! Blocks, jumps and what is moved along them.

use super::super::mir::{Cheap, Dst, MBlock, MKind, Opd, Src, Test, VReg};
use super::{Isel, canonical};
use crate::func::{Block, Func, Value};
use crate::inst::{InstKind, Target};
use skep_asm::{Cond, Width};

/// Reverse postorder, with cold blocks behind the others in the same order.
pub(super) fn block_order(func: &Func) -> Vec<Block> {
    let mut visited = cranelift_entity::EntitySet::new();
    let mut postorder = Vec::new();
    let mut stack = vec![(func.entry(), 0)];
    visited.insert(func.entry());
    while let Some((block, next)) = stack.pop() {
        let targets = func.terminator(block).map(|t| func.insts[t].kind.targets()).unwrap_or_default();
        // The last target first, so that the first one follows its block in the reversed order.
        let Some(target) = targets.iter().rev().nth(next) else {
            postorder.push(block);
            continue;
        };
        stack.push((block, next + 1));
        if visited.insert(target.block) {
            stack.push((target.block, 0));
        }
    }
    postorder.reverse();
    let (mut warm, cold): (Vec<Block>, Vec<Block>) =
        postorder.into_iter().partition(|&b| b == func.entry() || !func.blocks[b].cold);
    warm.extend(cold);
    warm
}

impl Isel<'_> {
    pub(super) fn block(&self, block: Block) -> MBlock {
        self.blocks[block].expect("every reachable block was numbered before its jumps are selected")
    }

    pub(super) fn br(&mut self, target: &Target) {
        self.edge_moves(target);
        let to = self.block(target.block);
        self.emit(MKind::Jump(to));
    }

    /// Copies the arguments of a jump to the parameters of its block.
    fn edge_moves(&mut self, target: &Target) {
        let params = &self.func.blocks[target.block].params;
        let mut moves = Vec::with_capacity(params.len());
        for (&param, &arg) in params.iter().zip(&target.args) {
            let dst = self.own_reg(param);
            let src = self.src(arg);
            if src != Src::Reg(dst) {
                moves.push((Dst::Reg(dst), src));
            }
        }
        if !moves.is_empty() {
            self.emit(MKind::Moves(moves));
        }
    }

    /// The block to jump to for a target of a conditional jump: a block of its own if arguments must be moved.
    fn edge(&mut self, target: &Target) -> MBlock {
        if target.args.is_empty() {
            return self.block(target.block);
        }
        let edge = self.new_block();
        let back = std::mem::replace(&mut self.current, edge);
        self.br(target);
        self.current = back;
        edge
    }

    /// A block that is emitted behind those there are.
    fn new_block(&mut self) -> MBlock {
        let block = self.mf.blocks.push(Vec::new());
        self.mf.order.push(block);
        block
    }

    pub(super) fn cond_br(&mut self, cond: Value, then: &Target, other: &Target) {
        if let Some(Cheap::Const(n)) = self.cheap(cond) {
            return self.br(if n != 0 { then } else { other });
        }
        let test = self.test(cond);
        let then = self.edge(then);
        let other = self.edge(other);
        self.emit(if then == other { MKind::Jump(then) } else { MKind::Branch { test, then, other } });
    }

    /// The comparison that an `i1` stands for: the one that made it, if nothing else uses its result.
    pub(super) fn test(&mut self, cond: Value) -> Test {
        if self.uses.fused[cond] {
            match self.def(cond) {
                Some(InstKind::Cmp(op, a, b)) => {
                    let (op, a, b) = (*op, *a, *b);
                    return self.comparison(op, a, b);
                }
                Some(InstKind::IsNull(ptr)) => {
                    let ptr = *ptr;
                    return self.test_zero(ptr, Cond::Eq);
                }
                _ => {}
            }
        }
        self.test_zero(cond, Cond::Ne)
    }

    pub(super) fn test_zero(&mut self, value: Value, cond: Cond) -> Test {
        Test { width: Width::W64, cond, lhs: self.reg(value), rhs: Opd::Imm(0) }
    }

    /// A tree of comparisons: halves the cases until a few are left, which are tested one by one.
    pub(super) fn switch(&mut self, val: Value, cases: &[(i64, Target)], default: &Target) {
        let ty = self.func.ty(val);
        let lhs = self.reg(val);
        let mut sorted: Vec<(u64, MBlock)> = Vec::with_capacity(cases.len());
        for (n, target) in cases {
            let to = self.edge(target);
            sorted.push((canonical(*n, ty), to));
        }
        // Of equal cases the first one counts; sorting is stable.
        sorted.sort_by_key(|(n, _)| *n);
        sorted.dedup_by_key(|(n, _)| *n);
        let default = self.edge(default);
        self.switch_tree(lhs, &sorted, default);
    }

    fn switch_tree(&mut self, lhs: VReg, cases: &[(u64, MBlock)], default: MBlock) {
        const LINEAR: usize = 4;
        if cases.len() > LINEAR {
            let (low, high) = cases.split_at(cases.len() / 2);
            let test = self.switch_test(lhs, Cond::Lt, high[0].0);
            let branch_at = self.current;
            let below = self.new_block();
            self.current = below;
            self.switch_tree(lhs, low, default);
            let above = self.new_block();
            self.current = branch_at;
            self.emit(MKind::Branch { test, then: below, other: above });
            self.current = above;
            return self.switch_tree(lhs, high, default);
        }
        for (n, to) in cases {
            let test = self.switch_test(lhs, Cond::Eq, *n);
            let next = self.new_block();
            self.emit(MKind::Branch { test, then: *to, other: next });
            self.current = next;
        }
        self.emit(MKind::Jump(default));
    }

    fn switch_test(&mut self, lhs: VReg, cond: Cond, n: u64) -> Test {
        let rhs = match i32::try_from(n.cast_signed()) {
            Ok(imm) => Opd::Imm(imm),
            Err(_) => Opd::Reg(self.make(Cheap::Const(n))),
        };
        Test { width: Width::W64, cond, lhs, rhs }
    }
}
