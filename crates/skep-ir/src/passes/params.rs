//! Parameters of blocks that always get the same value.

use super::edit::Aliases;
use crate::cfg::Cfg;
use crate::func::{Block, Def, Func, Value};
use cranelift_entity::SecondaryMap;

/// Replaces every parameter to which all jumps pass one value (or the parameter itself) by that value, until
/// there is none left. Unreachable blocks must be gone from the layout.
pub(super) fn remove_same(func: &mut Func) {
    let entry = func.entry();
    if func.layout.iter().all(|&b| b == entry || func.blocks[b].params.is_empty()) {
        return;
    }
    let cfg = Cfg::new(func);
    let mut aliases = Aliases::default();
    // Parameters that an argument feeds, so that a replacement is only looked at again where it matters.
    let mut feeds: SecondaryMap<Value, Vec<Value>> = SecondaryMap::new();
    let mut todo: Vec<Value> = Vec::new();
    for &block in &func.layout {
        if block == func.entry() {
            continue;
        }
        for (place, &param) in func.blocks[block].params.iter().enumerate() {
            todo.push(param);
            for arg in arguments(func, &cfg, block, place) {
                if matches!(func.values[arg].def, Def::Param(..)) {
                    feeds[arg].push(param);
                }
            }
        }
    }
    let mut dropped: SecondaryMap<Value, bool> = SecondaryMap::new();
    while let Some(param) = todo.pop() {
        let Def::Param(block, place) = func.values[param].def else { continue };
        if dropped[param] {
            continue;
        }
        let mut only = None;
        let same = arguments(func, &cfg, block, place as usize).into_iter().all(|arg| {
            let arg = aliases.get(arg);
            arg == param || *only.get_or_insert(arg) == arg
        });
        if let (true, Some(value)) = (same, only) {
            dropped[param] = true;
            aliases.set(param, value);
            let again = std::mem::take(&mut feeds[param]);
            todo.extend(again.iter().filter(|&&p| !dropped[p]));
            // What the dropped parameter fed, its replacement feeds now.
            if matches!(func.values[value].def, Def::Param(..)) {
                feeds[value].extend(again);
            }
        }
    }
    if func.layout.iter().any(|&b| func.blocks[b].params.iter().any(|&p| dropped[p])) {
        retain(func, |p| !dropped[p]);
        aliases.apply(func);
    }
}

/// What the jumps to a block pass to a parameter.
fn arguments(func: &Func, cfg: &Cfg, block: Block, place: usize) -> Vec<Value> {
    let mut preds: Vec<Block> = cfg.preds(block).to_vec();
    preds.sort_unstable();
    preds.dedup();
    let ends = preds.iter().filter_map(|&p| func.terminator(p));
    ends.flat_map(|end| func.insts[end].kind.targets())
        .filter(|t| t.block == block)
        .filter_map(|t| t.args.get(place).copied())
        .collect()
}

/// Drops parameters of blocks, not those of the function, and what jumps pass to them.
pub(super) fn retain(func: &mut Func, keep: impl Fn(Value) -> bool) {
    let entry = func.entry();
    let mut kept: SecondaryMap<Block, Option<Vec<bool>>> = SecondaryMap::new();
    for &block in func.layout.iter().filter(|&&b| b != entry) {
        let flags: Vec<bool> = func.blocks[block].params.iter().map(|&p| keep(p)).collect();
        if flags.contains(&false) {
            kept[block] = Some(flags);
        }
    }
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        if let Some(end) = func.terminator(block) {
            for target in func.insts[end].kind.targets_mut() {
                if let Some(flags) = &kept[target.block] {
                    let mut flags = flags.iter();
                    target.args.retain(|_| flags.next().copied().unwrap_or(true));
                }
            }
        }
        if kept[block].is_some() {
            let mut params = std::mem::take(&mut func.blocks[block].params);
            params.retain(|&p| keep(p));
            for (place, &param) in params.iter().enumerate() {
                func.values[param].def = Def::Param(block, place as u32);
            }
            func.blocks[block].params = params;
        }
    }
}
