//! Gives values that comparisons with constants have bounded a name that says so.
//!
//! The kernel's verifier keeps what a comparison has proved with the compared register. A refinement shares
//! its register with what it refines, and the allocator is told to keep it in one: in memory, older kernels
//! would forget. Only values that have to be bounded where they are used get such names: offsets that are added
//! to pointers, lengths for helpers, and what these are computed from.

use super::Context;
use crate::cfg::Cfg;
use crate::func::{Block, Func, Inst, Value};
use crate::helpers::{Arg, helper};
use crate::inst::{CmpOp, Fact, InstKind};
use crate::module::Module;
use crate::types::Ty;
use cranelift_entity::SecondaryMap;

/// Runs the pass.
pub fn run(func: &mut Func, _: &Module, _: &Context<'_>) {
    let wanted = bounded_values(func);
    if !wanted.values().any(|w| *w) {
        return;
    }
    func.drop_unreachable();
    let cfg = Cfg::new(func);
    // Names of each value with the blocks at whose start they begin, outer ones first.
    let mut names: SecondaryMap<Value, Vec<(Block, Value)>> = SecondaryMap::new();
    let mut new: SecondaryMap<Block, Vec<Inst>> = SecondaryMap::new();
    for &block in cfg.order() {
        let Some(end) = func.terminator(block) else { continue };
        let InstKind::CondBr { cond, then, other } = &func.insts[end].kind else { continue };
        let (then, other) = (then.block, other.block);
        let Some((value, op, bound)) = comparison(func, *cond) else { continue };
        if !wanted[value] {
            continue;
        }
        let loc = func.insts[end].loc;
        for (to, op) in [(then, op), (other, op.inverted())] {
            let ty = func.ty(value);
            let Some(fact) = fact(op, bound, ty) else { continue };
            // Another way into the block has proved nothing.
            if cfg.preds(to).len() == 1 {
                let inst = func.make_inst(InstKind::Refine(value, fact), Some(ty), loc);
                let Some(name) = func.insts[inst].result.expand() else { continue };
                names[value].push((to, name));
                new[to].push(inst);
            }
        }
    }
    rename(func, &cfg, &names, &new);
}

/// Values that the verifier must find bounds for.
fn bounded_values(func: &Func) -> SecondaryMap<Value, bool> {
    let mut out: SecondaryMap<Value, bool> = SecondaryMap::new();
    let mut todo = Vec::new();
    for &inst in func.layout.iter().flat_map(|&b| &func.blocks[b].insts) {
        match &func.insts[inst].kind {
            InstKind::PtrAdd(_, _, Some(index)) => todo.push(*index),
            InstKind::Helper(id, args) => {
                let wants = helper(*id).map_or(&[][..], |h| h.args);
                let lengths = wants.iter().zip(args).filter(|(want, _)| **want == Arg::Len);
                todo.extend(lengths.map(|(_, &v)| v));
            }
            _ => {}
        }
    }
    while let Some(value) = todo.pop() {
        if std::mem::replace(&mut out[value], true) {
            continue;
        }
        match func.def(value) {
            Some(InstKind::Zext(v) | InstKind::Refine(v, _)) => todo.push(*v),
            Some(InstKind::Bin(_, a, b) | InstKind::Select(_, a, b)) => todo.extend([*a, *b]),
            _ => {}
        }
    }
    out
}

/// A comparison of a value with a constant, the value on the left.
fn comparison(func: &Func, cond: Value) -> Option<(Value, CmpOp, i64)> {
    let InstKind::Cmp(op, a, b) = *func.def(cond)? else { return None };
    if !func.ty(a).is_int() {
        return None;
    }
    match (func.as_const(a), func.as_const(b)) {
        (None, Some(bound)) => Some((a, op, bound)),
        (Some(bound), None) => Some((b, op.swapped(), bound)),
        _ => None,
    }
}

/// What a comparison that came out true says; `None` where it says nothing or cannot be true.
fn fact(op: CmpOp, bound: i64, ty: Ty) -> Option<Fact> {
    let unused = 64 - ty.bits();
    let umax = u64::MAX >> unused;
    let (smin, smax) = (i64::MIN >> unused, i64::MAX >> unused);
    let unsigned = bound.cast_unsigned() & umax;
    let signed = (bound << unused) >> unused;
    Some(match op {
        CmpOp::ULt => Fact::Unsigned(0, unsigned.checked_sub(1)?),
        CmpOp::ULe => Fact::Unsigned(0, unsigned),
        CmpOp::UGt => Fact::Unsigned(unsigned.checked_add(1).filter(|&n| n <= umax)?, umax),
        CmpOp::UGe => Fact::Unsigned(unsigned, umax),
        CmpOp::SLt => Fact::Signed(smin, signed.checked_sub(1).filter(|&n| n >= smin)?),
        CmpOp::SLe => Fact::Signed(smin, signed),
        CmpOp::SGt => Fact::Signed(signed.checked_add(1).filter(|&n| n <= smax)?, smax),
        CmpOp::SGe => Fact::Signed(signed, smax),
        // What a value is not is no range, and what it is has been folded.
        CmpOp::Eq | CmpOp::Ne => return None,
    })
}

/// Replaces uses by the innermost name whose block dominates them.
fn rename(
    func: &mut Func,
    cfg: &Cfg,
    names: &SecondaryMap<Value, Vec<(Block, Value)>>,
    new: &SecondaryMap<Block, Vec<Inst>>,
) {
    for &block in cfg.order() {
        let insts = new[block].iter().chain(&func.blocks[block].insts).copied().collect();
        func.blocks[block].insts = insts;
        for k in 0..func.blocks[block].insts.len() {
            let inst = func.blocks[block].insts[k];
            let own = func.insts[inst].result.expand();
            func.insts[inst].kind.map_uses(|v| {
                let known = names[v].iter().rev().filter(|&&(_, name)| Some(name) != own);
                let mut inner = known.filter(|&&(from, _)| cfg.dominates(from, block));
                inner.next().map_or(v, |&(_, name)| name)
            });
        }
    }
    drop_unused(func, new);
}

/// A name that nothing uses is none.
fn drop_unused(func: &mut Func, new: &SecondaryMap<Block, Vec<Inst>>) {
    let mut used: SecondaryMap<Value, u32> = SecondaryMap::new();
    for &inst in func.layout.iter().flat_map(|&b| &func.blocks[b].insts) {
        func.insts[inst].kind.for_each_use(|v| used[v] += 1);
    }
    // Inner names first: they use the outer ones.
    for i in (0..func.layout.len()).rev() {
        let block = func.layout[i];
        let count = new[block].len();
        for k in (0..count).rev() {
            let inst = func.blocks[block].insts[k];
            let is_used = func.insts[inst].result.expand().is_some_and(|r| used[r] > 0);
            if !is_used && new[block].contains(&inst) {
                func.blocks[block].insts.remove(k);
                func.insts[inst].kind.for_each_use(|v| used[v] -= 1);
            }
        }
    }
}
