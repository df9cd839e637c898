//! What concerns the module and not one instruction: programs, references between items, calls in circles.

use super::{Rule, Violation};
use crate::call_graph::{callees, callees_first};
use crate::func::{Func, Linkage};
use crate::inst::InstKind;
use crate::module::{FuncId, MapId, Module};
use crate::types::{PtrClass, Ty};
use cranelift_entity::SecondaryMap;

/// Whether each function runs in sleepable programs alone.
pub(crate) fn may_sleep(module: &Module) -> SecondaryMap<FuncId, bool> {
    let mut may = SecondaryMap::with_default(true);
    let mut todo: Vec<FuncId> = module.progs.iter().filter(|p| !p.sleepable).map(|p| p.func).collect();
    while let Some(id) = todo.pop() {
        if may[id] {
            may[id] = false;
            todo.extend(callees(&module.funcs[id]));
        }
    }
    may
}

/// References between items first: if they are wrong, nothing else is looked at.
pub(super) fn check(module: &Module) -> Vec<Violation> {
    let mut out = Vec::new();
    let mut report = |rule, func: Option<&Func>, message: String| {
        let loc = func.and_then(|f| f.loc);
        out.push(Violation { rule, func: func.map(|f| f.name.clone()), place: None, message, loc });
    };
    let known_map = |id: Option<MapId>| id.is_none_or(|id| module.maps.is_valid(id));
    if !known_map(module.ledger) {
        report(Rule::Reference, None, "the ledger is no map of the module".to_owned());
    }
    for map in module.maps.values().filter(|m| !known_map(m.inner)) {
        report(Rule::Reference, None, format!("the inner map of {} is no map of the module", map.name));
    }
    for func in module.funcs.values() {
        if let Some(problem) = reference(module, func) {
            report(Rule::Reference, Some(func), problem);
        }
    }
    for prog in &module.progs {
        let Some(func) = module.funcs.get(prog.func) else {
            report(Rule::Reference, None, format!("program {} has no function", prog.name));
            continue;
        };
        if func.linkage != Linkage::Entry {
            report(
                Rule::Program,
                Some(func),
                format!("program {} needs a function with entry linkage", prog.name),
            );
        }
        let params: &[_] =
            func.layout.first().map_or(&[], |&b| func.blocks.get(b).map_or(&[], |b| &b.params));
        let takes_ctx =
            matches!(params, [p] if func.values.get(*p).is_some_and(|v| v.ty == Ty::ptr(PtrClass::Ctx)));
        if !takes_ctx {
            report(Rule::Program, Some(func), format!("program {} must take the context alone", prog.name));
        }
        if !matches!(func.ret, Some(Ty::I32 | Ty::I64)) {
            report(Rule::Program, Some(func), format!("program {} must return an i32 or i64", prog.name));
        }
    }
    if out.is_empty()
        && let Err(id) = callees_first(module)
    {
        let func = &module.funcs[id];
        let (func, loc) = (Some(func.name.clone()), func.loc);
        let message = "the function calls itself, directly or through others".to_owned();
        out.push(Violation { rule: Rule::Call, func, place: None, message, loc });
    }
    out
}

/// What in a function refers to an item that the module does not have.
fn reference(module: &Module, func: &Func) -> Option<String> {
    let class = |ty: Ty| match ty.as_ptr().map(|p| p.class) {
        Some(PtrClass::MapValue(m) | PtrClass::MapKey(m) | PtrClass::MapRef(m)) => module.maps.is_valid(m),
        Some(PtrClass::Global(g)) => module.globals.is_valid(g),
        Some(PtrClass::Func(f)) => module.funcs.is_valid(f),
        Some(class) => class.pointee().is_none_or(|t| module.types.is_valid(t)),
        None => true,
    };
    let known =
        func.values.values().map(|v| v.ty).chain(func.captures.iter().copied()).chain(func.ret).all(class);
    if !known {
        return Some("a type refers to something that the module does not have".to_owned());
    }
    use InstKind as I;
    let all = func.layout.iter().filter_map(|&b| func.blocks.get(b)).flat_map(|b| &b.insts);
    for data in all.filter_map(|&i| func.insts.get(i)) {
        let known = match &data.kind {
            I::MapRef(m)
            | I::MapLookup { map: m, .. }
            | I::MapLookupPercpu { map: m, .. }
            | I::MapUpsert { map: m, .. }
            | I::MapUpdate { map: m, .. }
            | I::MapDelete { map: m, .. }
            | I::EventReserve { ring: m, .. }
            | I::EventOutput { ring: m, .. }
            | I::StackId { map: m, .. }
            | I::TailCall { map: m, .. } => module.maps.is_valid(*m),
            I::ForEach { map, body, .. } => module.maps.is_valid(*map) && module.funcs.is_valid(*body),
            I::FuncRef(f) | I::Call(f, _) | I::ForRange { body: f, .. } => module.funcs.is_valid(*f),
            I::GlobalAddr(g) => module.globals.is_valid(*g),
            I::SetMember { set, .. } | I::StrMember { set, .. } | I::PrefixMatch { set, .. } => {
                module.sets.is_valid(*set)
            }
            I::Core { ty, .. } => module.types.is_valid(*ty),
            _ => true,
        };
        if !known {
            return Some("an instruction refers to something that the module does not have".to_owned());
        }
    }
    None
}
