//! Copies functions into their callers: those that ask for it, and static ones that are called at one place or
//! need more memory than there is on the stack: only programs can get at scratch memory.

use super::Context;
use super::edit::copy_call;
use crate::call_graph::{callees, callees_first};
use crate::diag::{Diagnostic, Severity};
use crate::func::{Func, Linkage};
use crate::inst::InstKind;
use crate::module::{FuncId, Module};
use cranelift_entity::{EntityRef, SecondaryMap};

/// Instructions that a function may grow to: what the kernel would verify at most (`BPF_COMPLEXITY_LIMIT_INSNS`
/// of include/linux/bpf.h).
const MAX_INSTS: usize = 1_000_000;

/// Runs the pass.
pub fn run(module: &mut Module, context: &mut Context<'_>) {
    let order = match callees_first(module) {
        Ok(order) => order,
        Err(id) => {
            let func = &module.funcs[id];
            let message = format!("{} calls itself, directly or through others", func.name);
            let why = "BPF programs have a small stack of fixed size; write a loop instead";
            context.diagnostics.push(Diagnostic::new(Severity::Error, func.loc, message).hint(why));
            return;
        }
    };
    let mut uses: SecondaryMap<FuncId, u32> = SecondaryMap::new();
    for func in module.funcs.values() {
        for callee in callees(func) {
            uses[callee] += 1;
        }
    }
    let mut large: SecondaryMap<FuncId, bool> = SecondaryMap::new();
    for id in order {
        let mut func = std::mem::replace(&mut module.funcs[id], Func::placeholder());
        let size = inline_calls(&mut func, module, &uses, &large);
        large[id] =
            func.slots.values().any(|slot| super::place::is_large(slot, context.options.stack_object_limit))
                || callees(&func).any(|callee| large[callee]);
        if size > MAX_INSTS {
            let message =
                format!("{} has {size} instructions with what it calls; {MAX_INSTS} are possible", func.name);
            context.diagnostics.push(Diagnostic::new(Severity::Error, func.loc, message));
            return;
        }
        module.funcs[id] = func;
    }
    prune(module);
}

/// Copies what is called and returns how many instructions there are then; does nothing if they are too many.
fn inline_calls(
    func: &mut Func,
    module: &Module,
    uses: &SecondaryMap<FuncId, u32>,
    large: &SecondaryMap<FuncId, bool>,
) -> usize {
    let wanted = |id: FuncId| match module.funcs[id].linkage {
        Linkage::Inline => true,
        Linkage::Static => uses[id] == 1 || large[id],
        Linkage::Entry | Linkage::Global | Linkage::Closure => false,
    };
    let is_wanted = |kind: &InstKind| matches!(kind, InstKind::Call(id, _) if wanted(*id));
    let (mut any, mut size) = (false, func.insts.len());
    for &inst in func.layout.iter().flat_map(|&b| &func.blocks[b].insts) {
        if let InstKind::Call(id, _) = func.insts[inst].kind
            && wanted(id)
        {
            any = true;
            size = size.saturating_add(module.funcs[id].insts.len());
        }
    }
    if !any || size > MAX_INSTS {
        return size;
    }
    let mut layout = Vec::new();
    for block in std::mem::take(&mut func.layout) {
        layout.push(block);
        let mut current = block;
        for inst in std::mem::take(&mut func.blocks[block].insts) {
            if !is_wanted(&func.insts[inst].kind) {
                func.blocks[current].insts.push(inst);
                continue;
            }
            let data = func.insts[inst].clone();
            if let InstKind::Call(id, args) = data.kind {
                let callee = &module.funcs[id];
                current =
                    copy_call(func, callee, current, &args, data.result.expand(), data.loc, &mut layout);
                func.blocks[current].cold = func.blocks[block].cold;
            }
        }
    }
    func.layout = layout;
    // What never returns leaves a rest that nothing reaches.
    func.drop_unreachable();
    size
}

/// Drops inline and static functions and closures that no program, entry or global function leads to, and
/// numbers the others anew.
pub(super) fn prune(module: &mut Module) {
    let mut kept: SecondaryMap<FuncId, bool> = SecondaryMap::new();
    let roots = module.funcs.iter().filter(|(_, f)| matches!(f.linkage, Linkage::Entry | Linkage::Global));
    let mut todo: Vec<FuncId> = roots.map(|(id, _)| id).chain(module.progs.iter().map(|p| p.func)).collect();
    while let Some(id) = todo.pop() {
        if !std::mem::replace(&mut kept[id], true) {
            todo.extend(callees(&module.funcs[id]));
        }
    }
    if module.funcs.keys().all(|id| kept[id]) {
        return;
    }
    let mut numbers: SecondaryMap<FuncId, FuncId> = SecondaryMap::with_default(FuncId::new(0));
    for (number, id) in module.funcs.keys().filter(|&id| kept[id]).enumerate() {
        numbers[id] = FuncId::new(number);
    }
    let old = std::mem::take(&mut module.funcs);
    for (id, mut func) in old {
        if kept[id] {
            func.renumber_funcs(|f| numbers[f]);
            module.funcs.push(func);
        }
    }
    for prog in &mut module.progs {
        prog.func = numbers[prog.func];
    }
}
