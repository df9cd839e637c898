//! Merges a block with the only one that leads to it, and makes jumps to mere jumps go where those go.
//!
//! Nothing is duplicated and no branch becomes a selection: both would hide from the verifier what it learnt
//! on the branch.

use super::Context;
use super::edit::Aliases;
use crate::cfg::Cfg;
use crate::func::{Block, Func};
use crate::inst::{InstKind, Target};
use crate::module::Module;
use cranelift_entity::SecondaryMap;

/// Runs the pass.
pub fn run(func: &mut Func, _: &Module, _: &Context<'_>) {
    if func.layout.len() == 1 && func.blocks[func.entry()].loop_head.is_none() {
        return;
    }
    func.drop_unreachable();
    shorten_jumps(func);
    func.drop_unreachable();
    merge(func);
    clear_loop_heads(func);
}

/// Where a jump to a block ends up, if the block does nothing but jump.
fn mere_jump(func: &Func, block: Block) -> Option<&Target> {
    let data = &func.blocks[block];
    // The mark of a loop must stay with the block that is jumped back to.
    match (data.insts.as_slice(), data.loop_head) {
        (&[only], None) if block != func.entry() => match &func.insts[only].kind {
            InstKind::Br(target) if target.block != block => Some(target),
            _ => None,
        },
        _ => None,
    }
}

fn shorten_jumps(func: &mut Func) {
    // Parameters of a mere jump may be used behind it, where it dominates; then it has to stay.
    let mut used_elsewhere: SecondaryMap<Block, bool> = SecondaryMap::new();
    for &block in &func.layout {
        for &inst in &func.blocks[block].insts {
            func.insts[inst].kind.for_each_use(|v| {
                if let crate::func::Def::Param(home, _) = func.values[v].def
                    && home != block
                {
                    used_elsewhere[home] = true;
                }
            });
        }
    }
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        let Some(end) = func.terminator(block) else { continue };
        for edge in 0..func.insts[end].kind.target_count() {
            let Some(target) = func.insts[end].kind.target(edge) else { continue };
            if mere_jump(func, target.block).is_none() {
                continue;
            }
            let mut target = target.clone();
            // Jumps in a circle are cut off after as many steps as there can be.
            for _ in 0..func.layout.len() {
                let Some(next) = mere_jump(func, target.block) else { break };
                if used_elsewhere[target.block] {
                    break;
                }
                let params = &func.blocks[target.block].params;
                let value = |v| params.iter().position(|&p| p == v).map_or(v, |place| target.args[place]);
                target = Target { block: next.block, args: next.args.iter().map(|&v| value(v)).collect() };
            }
            if *func.insts[end].kind.targets()[edge] != target {
                *func.insts[end].kind.targets_mut()[edge] = target;
            }
        }
        if let InstKind::CondBr { then, other, .. } = &func.insts[end].kind
            && then == other
        {
            func.insts[end].kind = InstKind::Br(then.clone());
        }
    }
}

fn merge(func: &mut Func) {
    let cfg = Cfg::new(func);
    let mut aliases = Aliases::default();
    let mut gone: SecondaryMap<Block, bool> = SecondaryMap::new();
    // From the entry on, so that every instruction moves once.
    for &block in cfg.order() {
        if gone[block] {
            continue;
        }
        while let Some(end) = func.terminator(block) {
            let InstKind::Br(target) = &func.insts[end].kind else { break };
            let next = target.block;
            if cfg.preds(next).len() != 1 || next == block || next == func.entry() {
                break;
            }
            let args = target.args.clone();
            let data = std::mem::take(&mut func.blocks[next]);
            for (&param, &arg) in data.params.iter().zip(&args) {
                aliases.set(param, arg);
            }
            func.blocks[block].insts.pop();
            func.blocks[block].insts.extend(data.insts);
            gone[next] = true;
        }
    }
    func.layout.retain(|&b| !gone[b]);
    aliases.apply(func);
}

/// Blocks that nothing jumps back to any more are no heads of loops.
fn clear_loop_heads(func: &mut Func) {
    if func.layout.iter().all(|&b| func.blocks[b].loop_head.is_none()) {
        return;
    }
    let cfg = Cfg::new(func);
    for &block in cfg.order() {
        let back = cfg.preds(block).iter().any(|&p| cfg.dominates(block, p));
        if !back {
            func.blocks[block].loop_head = None;
        }
    }
}
