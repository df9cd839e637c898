//! Copies closures to where they are run.

use super::{Way, choose, is_loop};
use crate::func::{Block, BlockData, Def, Func, Inst, LoopHead, Value};
use crate::inst::{BinOp, CmpOp, InstKind, Target};
use crate::module::{FuncId, Module};
use crate::passes::Context;
use crate::passes::edit::{SlotCopies, copy};
use crate::source::Loc;
use crate::types::Ty;
use cranelift_entity::SecondaryMap;

/// What an operation that is lowered later comes to, and a call: a guess.
const OPERATION: u64 = 12;

/// Copies what is to be copied into a function and returns what a walk through it costs the verifier.
pub(super) fn expand(
    func: &mut Func,
    module: &Module,
    costs: &SecondaryMap<FuncId, u64>,
    context: &mut Context<'_>,
) -> u64 {
    let mut cost = 0u64;
    let mut layout = Vec::with_capacity(func.layout.len());
    for block in std::mem::take(&mut func.layout) {
        layout.push(block);
        let mut current = block;
        for inst in std::mem::take(&mut func.blocks[block].insts) {
            let kind = &func.insts[inst].kind;
            let way = if is_loop(kind) { choose(func, inst, costs, context) } else { Way::Callback };
            let InstKind::ForRange { body, .. } = func.insts[inst].kind else {
                cost += match kind {
                    InstKind::Capture(_) => 0,
                    kind if kind.is_low_level() => 1,
                    _ => OPERATION,
                };
                func.blocks[current].insts.push(inst);
                continue;
            };
            let site = Site { func: &module.funcs[body], inst };
            match way {
                Way::Unrolled { start, count } => {
                    cost = cost.saturating_add(count.saturating_mul(costs[body]));
                    current = site.unroll(func, current, start, count, &mut layout);
                }
                Way::Bounded { count } => {
                    cost = cost.saturating_add(count.saturating_mul(costs[body]));
                    current = site.bounded(func, current, count, &mut layout);
                }
                Way::Callback | Way::Refused => {
                    // The verifier walks a callback about twice, until its states repeat.
                    cost = cost.saturating_add(costs[body].saturating_mul(2)).saturating_add(OPERATION);
                    func.blocks[current].insts.push(inst);
                }
            }
        }
        if current != block {
            func.blocks[current].cold = func.blocks[block].cold;
        }
    }
    func.layout = layout;
    func.drop_unreachable();
    cost
}

/// A loop over a range and its body.
struct Site<'m> {
    func: &'m Func,
    inst: Inst,
}

impl Site<'_> {
    fn captures(&self, to: &Func) -> (Vec<Value>, Option<Loc>) {
        let data = &to.insts[self.inst];
        match &data.kind {
            InstKind::ForRange { captures, .. } => (captures.clone(), data.loc),
            _ => (Vec::new(), data.loc),
        }
    }

    /// Writes every iteration out behind `at`; returns the block that goes on after the loop.
    fn unroll(&self, to: &mut Func, at: Block, start: i64, count: u64, layout: &mut Vec<Block>) -> Block {
        let (captures, loc) = self.captures(to);
        let exit = to.new_block();
        let mut slots = SlotCopies::default();
        let mut at = at;
        for n in 0..count {
            let number = start.wrapping_add_unsigned(n);
            let number = to.append_value(at, InstKind::Const(number), Ty::I64, loc);
            let copied = copy(to, self.func, &[number], &captures, &mut slots, loc);
            to.append(at, InstKind::Br(copied.blocks[0].into()), None, loc);
            layout.extend(&copied.blocks);
            let next = to.new_block();
            layout.push(next);
            for (block, value) in copied.returns {
                go_on_or_leave(to, block, value, next, exit, loc);
            }
            at = next;
        }
        to.append(at, InstKind::Br(exit.into()), None, loc);
        layout.push(exit);
        exit
    }

    /// Makes a loop behind `at` whose counter the verifier can follow: it starts at a constant, grows by one
    /// and is compared as signed with a constant before each iteration.
    fn bounded(&self, to: &mut Func, at: Block, count: u64, layout: &mut Vec<Block>) -> Block {
        let (captures, loc) = self.captures(to);
        let InstKind::ForRange { start, end, .. } = to.insts[self.inst].kind else { return at };
        let bound = u32::try_from(count).unwrap_or(u32::MAX).saturating_add(1);
        let head = to
            .blocks
            .push(BlockData { loop_head: Some(LoopHead { bound: Some(bound) }), ..BlockData::default() });
        let number = to.add_param(head, Ty::I64);
        let (latch, exit) = (to.new_block(), to.new_block());
        to.append(at, InstKind::Br(Target { block: head, args: vec![start] }), None, loc);
        let more = to.append_value(head, InstKind::Cmp(CmpOp::SLt, number, end), Ty::I1, loc);
        let copied = copy(to, self.func, &[number], &captures, &mut SlotCopies::default(), loc);
        let then = copied.blocks[0].into();
        to.append(head, InstKind::CondBr { cond: more, then, other: exit.into() }, None, loc);
        for (block, value) in copied.returns {
            go_on_or_leave(to, block, value, latch, exit, loc);
        }
        let one = to.append_value(latch, InstKind::Const(1), Ty::I64, loc);
        let next = to.append_value(latch, InstKind::Bin(BinOp::Add, number, one), Ty::I64, loc);
        to.append(latch, InstKind::Br(Target { block: head, args: vec![next] }), None, loc);
        layout.push(head);
        layout.extend(&copied.blocks);
        layout.extend([latch, exit]);
        exit
    }
}

/// Ends a block of a copy where the closure returned: 0 goes on, everything else leaves the loop.
fn go_on_or_leave(
    func: &mut Func,
    block: Block,
    value: Option<Value>,
    next: Block,
    exit: Block,
    loc: Option<Loc>,
) {
    let constant = value.and_then(|v| func.as_const(v));
    let kind = match (value, constant) {
        (_, Some(0)) | (None, _) => InstKind::Br(next.into()),
        (_, Some(_)) => InstKind::Br(exit.into()),
        (Some(value), None) => {
            let cond = condition(func, block, value, loc);
            InstKind::CondBr { cond, then: exit.into(), other: next.into() }
        }
    };
    func.append(block, kind, None, loc);
}

/// Whether a closure's result is not 0.
pub(super) fn condition(func: &mut Func, block: Block, value: Value, loc: Option<Loc>) -> Value {
    if let Def::Inst(inst) = func.values[value].def
        && let InstKind::Zext(truth) = func.insts[inst].kind
        && func.ty(truth) == Ty::I1
    {
        return truth;
    }
    let ty = func.ty(value);
    let zero = func.append_value(block, InstKind::Const(0), ty, loc);
    func.append_value(block, InstKind::Cmp(CmpOp::Ne, value, zero), Ty::I1, loc)
}
