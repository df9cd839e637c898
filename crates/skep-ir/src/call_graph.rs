//! Which function of a module leads to which.

use crate::func::Func;
use crate::inst::InstKind;
use crate::module::{FuncId, Module};
use cranelift_entity::SecondaryMap;

/// The functions that a function refers to: called, and run as closures or callbacks.
pub(crate) fn callees(func: &Func) -> impl Iterator<Item = FuncId> + '_ {
    let insts = func.layout.iter().filter_map(|&b| func.blocks.get(b)).flat_map(|b| &b.insts);
    insts.filter_map(|&i| match func.insts.get(i)?.kind {
        InstKind::Call(id, _)
        | InstKind::FuncRef(id)
        | InstKind::ForEach { body: id, .. }
        | InstKind::ForRange { body: id, .. } => Some(id),
        _ => None,
    })
}

/// All functions, each behind those that it calls; an error is a function that leads back to itself.
pub(crate) fn callees_first(module: &Module) -> Result<Vec<FuncId>, FuncId> {
    const OPEN: u8 = 1;
    const DONE: u8 = 2;
    let mut state: SecondaryMap<FuncId, u8> = SecondaryMap::new();
    let mut order = Vec::with_capacity(module.funcs.len());
    for start in module.funcs.keys() {
        if state[start] != 0 {
            continue;
        }
        state[start] = OPEN;
        let mut stack = vec![(start, callees(&module.funcs[start]))];
        while let Some((id, rest)) = stack.last_mut() {
            let id = *id;
            match rest.next() {
                None => {
                    state[id] = DONE;
                    order.push(id);
                    stack.pop();
                }
                Some(next) if state[next] == OPEN => return Err(next),
                Some(next) if state[next] == 0 => {
                    state[next] = OPEN;
                    stack.push((next, callees(&module.funcs[next])));
                }
                Some(_) => {}
            }
        }
    }
    Ok(order)
}
