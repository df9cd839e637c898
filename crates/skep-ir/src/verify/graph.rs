//! Blocks, edges and dominance.

use super::{Checker, Level, Rule};
use crate::func::{Block, Def, Inst, Value};
use crate::inst::InstKind;
use cranelift_entity::{EntityRef, SecondaryMap};

/// Whether every number within the function refers to something and definitions stand where they say. Only
/// then may anything else be looked at.
pub(super) fn references(c: &mut Checker<'_>) -> bool {
    let func = c.func;
    let before = c.out.len();
    let fail = |c: &mut Checker<'_>, rule, message: String| c.report(rule, None, message, c.func.loc);
    if func.layout.is_empty() {
        fail(c, Rule::Block, "the function has no block".to_owned());
        return false;
    }
    let mut placed: SecondaryMap<Block, bool> = SecondaryMap::new();
    let mut seen: SecondaryMap<Inst, bool> = SecondaryMap::new();
    for &block in &func.layout {
        let Some(data) = func.blocks.get(block) else {
            fail(c, Rule::Reference, format!("the layout has a block {} that does not exist", block.index()));
            return false;
        };
        if std::mem::replace(&mut placed[block], true) {
            fail(c, Rule::Block, format!("block {} is twice in the layout", block.index()));
        }
        for (place, &param) in data.params.iter().enumerate() {
            if func.values.get(param).is_none_or(|v| v.def != Def::Param(block, place as u32)) {
                fail(
                    c,
                    Rule::Reference,
                    format!("parameter {place} of block {} is not its own", block.index()),
                );
            }
        }
        for &inst in &data.insts {
            let Some(data) = func.insts.get(inst) else {
                fail(
                    c,
                    Rule::Reference,
                    format!("block {} has an instruction that does not exist", block.index()),
                );
                return false;
            };
            if std::mem::replace(&mut seen[inst], true) {
                fail(c, Rule::Block, format!("instruction {} stands at two places", inst.index()));
            }
            let result = data.result.expand();
            if result.is_some_and(|r| func.values.get(r).is_none_or(|v| v.def != Def::Inst(inst))) {
                fail(
                    c,
                    Rule::Reference,
                    format!("the result of instruction {} is not its own", inst.index()),
                );
            }
        }
    }
    if c.out.len() > before {
        return false;
    }
    for &block in &func.layout {
        for &inst in &func.blocks[block].insts {
            let kind = &func.insts[inst].kind;
            let mut valid = true;
            kind.for_each_use(|v| valid &= func.values.is_valid(v));
            valid &= kind.targets().iter().all(|t| func.blocks.is_valid(t.block) && placed[t.block]);
            if let InstKind::SlotAddr(slot) = kind {
                valid &= func.slots.is_valid(*slot);
            }
            if !valid {
                c.at(Rule::Reference, inst, "it refers to a value, block or slot that does not exist");
            }
        }
    }
    c.out.len() == before
}

pub(super) fn check(c: &mut Checker<'_>) {
    let func = c.func;
    let entry = func.entry();
    if !c.cfg.preds(entry).is_empty() {
        c.at_block(Rule::Block, entry, "the function jumps back to its entry");
    }
    if func.param_names.len() != func.params().len() {
        c.report(Rule::Reference, None, "names and parameters differ in number".to_owned(), func.loc);
    }
    // Place of every instruction in its block, for dominance within a block.
    let mut place: SecondaryMap<Inst, (u32, u32)> = SecondaryMap::with_default((u32::MAX, 0));
    for &block in &func.layout {
        for (i, &inst) in func.blocks[block].insts.iter().enumerate() {
            place[inst] = (block.as_u32(), i as u32);
        }
    }
    for &block in &func.layout {
        let insts = &func.blocks[block].insts;
        match insts.split_last() {
            Some((&last, rest)) => {
                if !func.insts[last].kind.is_terminator() {
                    c.at_block(Rule::Block, block, "the block has no end");
                }
                for &inst in rest {
                    if func.insts[inst].kind.is_terminator() {
                        c.at(Rule::Block, inst, "instructions stand behind the end of the block");
                    }
                }
            }
            None => c.at_block(Rule::Block, block, "the block has no end"),
        }
        if !c.cfg.is_reachable(block) {
            if c.level == Level::Strict {
                c.at_block(Rule::Unreachable, block, "nothing leads to the block");
            }
            continue;
        }
        for (i, &inst) in insts.iter().enumerate() {
            let mut early = Vec::new();
            func.insts[inst].kind.for_each_use(|v| {
                if !available(c, v, block, i as u32, &place) {
                    early.push(v);
                }
            });
            if !early.is_empty() {
                c.at(Rule::Dominance, inst, "an operand need not have been computed here");
            }
        }
        if let Some(end) = func.terminator(block) {
            edges(c, block, end);
        }
    }
}

/// Whether a value has been computed when the instruction at a place of a block runs.
fn available(
    c: &Checker<'_>,
    value: Value,
    block: Block,
    at: u32,
    places: &SecondaryMap<Inst, (u32, u32)>,
) -> bool {
    match c.func.values[value].def {
        Def::Param(home, _) => c.func.blocks[home].params.contains(&value) && c.cfg.dominates(home, block),
        Def::Inst(inst) => {
            let (home, index) = places[inst];
            if home == u32::MAX {
                return false;
            }
            let home = Block::from_u32(home);
            if home == block { index < at } else { c.cfg.dominates(home, block) }
        }
    }
}

fn edges(c: &mut Checker<'_>, from: Block, end: Inst) {
    let func = c.func;
    for target in func.insts[end].kind.targets() {
        let to = &func.blocks[target.block];
        if target.args.len() != to.params.len() {
            let (has, wants) = (target.args.len(), to.params.len());
            c.at(Rule::BlockArgs, end, format!("the block takes {wants} values and gets {has}"));
        }
        for (&arg, &param) in target.args.iter().zip(&to.params) {
            let (has, wants) = (func.ty(arg), func.ty(param));
            if has != wants {
                let what = match (has.as_ptr(), wants.as_ptr()) {
                    (Some(a), Some(b)) if a.class != b.class => {
                        "pointers of two provenances meet in one parameter"
                    }
                    (Some(_), Some(_)) => "one pointer may be null and the other may not",
                    _ => "an argument has not the type of the parameter",
                };
                c.at(Rule::BlockArgs, end, what);
            }
        }
        let backwards = c.cfg.place(target.block) <= c.cfg.place(from);
        if backwards && !c.cfg.dominates(target.block, from) {
            c.at(Rule::Loop, end, "a jump backwards into the middle of a loop");
        } else if backwards && to.loop_head.is_none() {
            c.at(Rule::Loop, end, "a jump backwards to a block that is no loop head");
        }
    }
}
