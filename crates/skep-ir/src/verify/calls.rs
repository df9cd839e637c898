//! Calls, closures and helpers.

use super::{Checker, Rule};
use crate::func::{Func, Inst, Linkage, Value};
use crate::helpers::{self, Arg, helper};
use crate::inst::InstKind;
use crate::types::{PtrClass, Ty};

/// Registers that carry arguments (`MAX_BPF_FUNC_REG_ARGS` of `linux/bpf.h`).
const MAX_ARGS: usize = 5;

pub(super) fn check(c: &mut Checker<'_>, inst: Inst, may_sleep: bool) {
    let func = c.func;
    use InstKind as I;
    match &func.insts[inst].kind {
        I::Helper(_, args) | I::Kfunc(_, args) | I::Call(_, args) if args.len() > MAX_ARGS => {
            c.at(Rule::Arguments, inst, format!("{} arguments, and calls take {MAX_ARGS}", args.len()));
        }
        I::Helper(id, args) => call_of_helper(c, inst, *id, args, may_sleep),
        I::Call(callee, args) => call(c, inst, &c.module.funcs[*callee], args),
        I::ForEach { map, body, captures } => {
            let body = &c.module.funcs[*body];
            let params = [Ty::ptr(PtrClass::MapKey(*map)), Ty::ptr(PtrClass::MapValue(*map))];
            closure(c, inst, body, &params, captures);
        }
        I::ForRange { body, captures, .. } => {
            closure(c, inst, &c.module.funcs[*body], &[Ty::I64], captures);
        }
        I::Capture(_) if func.linkage != Linkage::Closure => {
            c.at(Rule::Closure, inst, "only closures have captures");
        }
        _ => {}
    }
    function_references(c, inst);
    let params = func.params().len();
    if params > MAX_ARGS && func.layout.first().is_some_and(|&b| func.blocks[b].insts.first() == Some(&inst))
    {
        c.at(
            Rule::Arguments,
            inst,
            format!("the function takes {params} arguments, and calls take {MAX_ARGS}"),
        );
    }
}

fn call(c: &mut Checker<'_>, inst: Inst, callee: &Func, args: &[Value]) {
    if !matches!(callee.linkage, Linkage::Inline | Linkage::Static | Linkage::Global) {
        c.at(Rule::Call, inst, "only inline, static and global functions can be called");
    }
    let params = callee.params();
    if params.len() != args.len() {
        c.at(
            Rule::Call,
            inst,
            format!("the function takes {} arguments and gets {}", params.len(), args.len()),
        );
    }
    if params.iter().zip(args).any(|(&p, &a)| callee.ty(p) != c.func.ty(a)) {
        c.at(Rule::Call, inst, "an argument has not the type of the parameter");
    }
}

fn closure(c: &mut Checker<'_>, inst: Inst, body: &Func, params: &[Ty], captures: &[Value]) {
    if body.linkage != Linkage::Closure {
        c.at(Rule::Closure, inst, "the body of a loop is a closure");
        return;
    }
    let has: Vec<Ty> = body.params().iter().map(|&p| body.ty(p)).collect();
    if has != params || body.ret != Some(Ty::I64) {
        c.at(Rule::Closure, inst, "the closure has not the signature of the loop");
    }
    let given: Vec<Ty> = captures.iter().map(|&v| c.func.ty(v)).collect();
    if given != body.captures {
        c.at(Rule::Closure, inst, "the captures have not the types that the closure lists");
    }
    let refused = |ty: &Ty| {
        ty.as_ptr().is_some_and(|p| {
            matches!(
                p.class,
                PtrClass::Record(_) | PtrClass::Packet | PtrClass::PacketMeta | PtrClass::PacketEnd
            )
        })
    };
    if given.iter().any(refused) {
        c.at(Rule::Closure, inst, "records and packet pointers cannot be captured");
    }
}

/// References to functions may only be used as the callback of a helper that takes one.
fn function_references(c: &mut Checker<'_>, inst: Inst) {
    let kind = &c.func.insts[inst].kind;
    let is_func = |v: Value| matches!(c.func.ty(v).as_ptr().map(|p| p.class), Some(PtrClass::Func(_)));
    let mut uses = 0;
    kind.for_each_use(|v| uses += usize::from(is_func(v)));
    let as_callback = match kind {
        InstKind::Helper(id, args) => helper(*id).map_or(uses, |h| {
            h.args.iter().zip(args).filter(|(a, v)| **a == Arg::Callback && is_func(**v)).count()
        }),
        _ => 0,
    };
    if uses != as_callback {
        c.at(Rule::Closure, inst, "functions are only referred to for helpers that call them back");
    }
}

fn call_of_helper(c: &mut Checker<'_>, inst: Inst, id: u32, args: &[Value], may_sleep: bool) {
    let Some(helper) = helper(id) else { return };
    if helper.sleeps && !may_sleep {
        c.at(Rule::Sleepable, inst, "the helper may sleep, and a program that runs this may not");
    }
    if args.len() < helper.args.len() {
        c.at(Rule::Arguments, inst, format!("the helper takes {} arguments", helper.args.len()));
    }
    for (&arg, &v) in helper.args.iter().zip(args) {
        let ty = c.func.ty(v);
        let class = ty.as_ptr().map(|p| p.class);
        let ok = match arg {
            Arg::Any => true,
            Arg::Len => ty.is_int(),
            Arg::Ctx => class == Some(PtrClass::Ctx),
            Arg::Map => matches!(class, Some(PtrClass::MapRef(_))),
            Arg::Record => matches!(class, Some(PtrClass::Record(_))),
            Arg::Callback => matches!(class, Some(PtrClass::Func(_))),
            Arg::CallbackCtx => {
                class == Some(PtrClass::Frame)
                    || matches!(c.def(v), Some(InstKind::Null | InstKind::Const(0)))
            }
            Arg::Key | Arg::Value | Arg::OutValue | Arg::In | Arg::Out | Arg::OutFixed(_) => {
                class.is_some_and(PtrClass::is_memory)
            }
        };
        if !ok {
            c.at(Rule::Operand, inst, "an argument is not what the helper takes");
        }
        if let (Arg::Callback, Some(PtrClass::Func(f))) = (arg, class) {
            callback(c, inst, id, f, args);
        }
    }
}

/// Signature of a callback.
fn callback(c: &mut Checker<'_>, inst: Inst, id: u32, callee: crate::module::FuncId, args: &[Value]) {
    let callee = &c.module.funcs[callee];
    let map = args.first().and_then(|&v| c.func.ty(v).as_ptr()).map(|p| p.class);
    let frame = Ty::ptr(PtrClass::Frame);
    let wanted = match (id, map) {
        (helpers::LOOP, _) => vec![Ty::I64, frame],
        (helpers::FOR_EACH_MAP_ELEM, Some(PtrClass::MapRef(m))) => {
            [PtrClass::MapRef(m), PtrClass::MapKey(m), PtrClass::MapValue(m), PtrClass::Frame]
                .map(Ty::ptr)
                .to_vec()
        }
        _ => return,
    };
    let has: Vec<Ty> = callee.params().iter().map(|&p| callee.ty(p)).collect();
    if callee.linkage != Linkage::Closure || has != wanted || callee.ret != Some(Ty::I64) {
        c.at(Rule::Closure, inst, "the function has not the signature of the helper's callback");
    }
}
