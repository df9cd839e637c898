//! Turns closures into loops or callbacks.
//!
//! | loop | rungs, the first that the kernel has |
//! |---|---|
//! | a few numbers, little to do | copied once for each number |
//! | a known small count | copied once, into a bounded loop |
//! | any other range | `bpf_loop` with the closure as its callback; a bounded loop for any known count |
//! | a map's elements | `bpf_for_each_map_elem` with the closure as its callback |
//!
//! What a callback captures is handed over in a struct on its creator's stack: the kernel's verifier follows
//! pointers kept there. A copy uses its captures as they are, so that their slots can be promoted afterwards.

mod callback;
mod inplace;

use super::Context;
use super::inline::prune;
use crate::call_graph::callees_first;
use crate::diag::{Diagnostic, Severity};
use crate::func::{Func, Inst};
use crate::inst::InstKind;
use crate::kernel::Feature;
use crate::module::{FuncId, Module};
use crate::source::Loc;
use cranelift_entity::SecondaryMap;

/// Instructions, as the verifier walks them, up to which all iterations are written out.
const UNROLLED: u64 = 96;
/// The same up to which a loop of a known count is a jump backwards although a callback would do.
const IN_PLACE: u64 = 1024;
/// Iterations of such a loop at most: each exit from it is another way through the rest of the program.
const IN_PLACE_COUNT: u64 = 64;
/// What a loop may cost the verifier where there are no callbacks: a fifth of what it walks in all
/// (`BPF_COMPLEXITY_LIMIT_INSNS` of include/linux/bpf.h).
const NO_CALLBACK: u64 = 200_000;
/// The same where loops have to be written out: what a program may have of instructions there
/// (`BPF_MAXINSNS` of include/uapi/linux/bpf_common.h), less what is around the loop.
const NO_LOOP: u64 = 3000;

/// Runs the pass.
pub fn run(module: &mut Module, context: &mut Context<'_>) {
    if !any(module) {
        return;
    }
    // What calls itself was refused when functions were copied into each other.
    let Ok(order) = callees_first(module) else { return };
    // What a walk through each function costs the verifier, loops in place counted as often as they run.
    let mut costs: SecondaryMap<FuncId, u64> = SecondaryMap::new();
    for &id in &order {
        let mut func = std::mem::replace(&mut module.funcs[id], Func::placeholder());
        costs[id] = inplace::expand(&mut func, module, &costs, context);
        module.funcs[id] = func;
    }
    callback::run(module);
    prune(module);
}

/// Whether there are closures to be run.
pub(super) fn any(module: &Module) -> bool {
    module.funcs.values().any(has_loops)
}

fn has_loops(func: &Func) -> bool {
    let mut insts = func.layout.iter().flat_map(|&b| &func.blocks[b].insts);
    insts.any(|&i| is_loop(&func.insts[i].kind))
}

fn is_loop(kind: &InstKind) -> bool {
    matches!(kind, InstKind::ForRange { .. } | InstKind::ForEach { .. })
}

/// How a loop is done.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Way {
    /// Copies, one for each number.
    Unrolled {
        /// First number.
        start: i64,
        /// How many.
        count: u64,
    },
    /// One copy and a jump backwards.
    Bounded {
        /// How many.
        count: u64,
    },
    /// A helper that calls back.
    Callback,
    /// There is no way.
    Refused,
}

/// Chooses how a loop is done and says so where it cannot.
fn choose(func: &Func, inst: Inst, costs: &SecondaryMap<FuncId, u64>, context: &mut Context<'_>) -> Way {
    let data = &func.insts[inst];
    let has = |feature| context.kernel.has(feature);
    let InstKind::ForRange { start, end, body, .. } = &data.kind else {
        if has(Feature::ForEachMapElem) {
            return Way::Callback;
        }
        refuse(context, data.loc, "A loop over a map", Feature::ForEachMapElem, None);
        return Way::Refused;
    };
    let constant = func.as_const(*start).zip(func.as_const(*end));
    if let Some((start, end)) = constant {
        let count = if start < end { end.abs_diff(start) } else { 0 };
        let total = count.saturating_mul(costs[*body]);
        if count <= 1 || total <= UNROLLED {
            return Way::Unrolled { start, count };
        }
        let callbacks = has(Feature::BpfLoop);
        let limit = if callbacks { IN_PLACE } else { NO_CALLBACK };
        let count_limit = if callbacks { IN_PLACE_COUNT } else { NO_CALLBACK };
        if has(Feature::BoundedLoops) && total <= limit && count <= count_limit {
            return Way::Bounded { count };
        }
        if !has(Feature::BoundedLoops) && total <= NO_LOOP {
            return Way::Unrolled { start, count };
        }
        if callbacks && count > callback::MAX_COUNT {
            let message = format!("The loop has {count} iterations; {} are possible", callback::MAX_COUNT);
            context.diagnostics.push(Diagnostic::new(Severity::Error, data.loc, message));
            return Way::Refused;
        }
    }
    if has(Feature::BpfLoop) {
        return Way::Callback;
    }
    let hint = "loops with few iterations between constants need no such kernel";
    refuse(context, data.loc, "A loop over a range", Feature::BpfLoop, Some(hint));
    Way::Refused
}

fn refuse(context: &mut Context<'_>, loc: Option<Loc>, what: &str, feature: Feature, hint: Option<&str>) {
    let message = format!("{what} needs the kernel feature {} (Linux {})", feature.name(), feature.since());
    let mut diagnostic = Diagnostic::new(Severity::Error, loc, message);
    if let Some(hint) = hint {
        diagnostic = diagnostic.hint(hint);
    }
    context.diagnostics.push(diagnostic);
}
