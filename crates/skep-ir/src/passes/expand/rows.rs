//! Which row of the ledger a function counts in: each program has its own, so a function that counts and that
//! several programs lead to is copied for each of them.

use crate::call_graph::callees;
use crate::func::Func;
use crate::inst::InstKind;
use crate::module::{FuncId, Module};
use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use std::collections::HashMap;

/// Makes every function that counts belong to one program and returns that program's number for each function.
pub(super) fn specialise(module: &mut Module) -> SecondaryMap<FuncId, u32> {
    let mut rows: SecondaryMap<FuncId, u32> = SecondaryMap::new();
    if module.ledger.is_none() {
        return rows;
    }
    let counting = counting(module);
    let mut owner: SecondaryMap<FuncId, Option<u32>> = SecondaryMap::new();
    // What a copy was made of.
    let mut source: SecondaryMap<FuncId, PackedOption<FuncId>> = SecondaryMap::new();
    for row in 0..module.progs.len() {
        let number = row as u32;
        let main = module.progs[row].func;
        // The functions of this program that stand for those that it was written with.
        let mut own: HashMap<FuncId, FuncId> = HashMap::new();
        let mut todo = vec![main];
        let mut copied = false;
        while let Some(id) = todo.pop() {
            if !counting[id] || own.contains_key(&id) {
                continue;
            }
            todo.extend(callees(&module.funcs[id]).map(|c| source[c].expand().unwrap_or(c)));
            let stands_for = if owner[id].is_none() {
                owner[id] = Some(number);
                id
            } else {
                copied = true;
                let mut copy = module.funcs[id].clone();
                copy.name = format!("{}_{number}", copy.name);
                let new = module.funcs.push(copy);
                source[new] = id.into();
                new
            };
            rows[stands_for] = number;
            own.insert(id, stands_for);
        }
        if copied {
            for &id in own.values() {
                module.funcs[id].renumber_funcs(|f| {
                    let written = source[f].expand().unwrap_or(f);
                    own.get(&written).copied().unwrap_or(f)
                });
            }
            module.progs[row].func = own.get(&main).copied().unwrap_or(main);
        }
    }
    rows
}

/// Functions that count or lead to one that does.
fn counting(module: &Module) -> SecondaryMap<FuncId, bool> {
    let mut counting: SecondaryMap<FuncId, bool> = SecondaryMap::new();
    let mut callers: SecondaryMap<FuncId, Vec<FuncId>> = SecondaryMap::new();
    let mut todo = Vec::new();
    for (id, func) in &module.funcs {
        for callee in callees(func) {
            callers[callee].push(id);
        }
        if counts(func) {
            todo.push(id);
        }
    }
    while let Some(id) = todo.pop() {
        if !std::mem::replace(&mut counting[id], true) {
            todo.extend(&callers[id]);
        }
    }
    counting
}

fn counts(func: &Func) -> bool {
    use InstKind as I;
    func.layout.iter().flat_map(|&b| &func.blocks[b].insts).any(|&inst| {
        matches!(
            func.insts[inst].kind,
            I::Count(_)
                | I::EventReserve { .. }
                | I::EventOutput { .. }
                | I::MapUpsert { .. }
                | I::StackId { .. }
        )
    })
}
