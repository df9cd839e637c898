//! Types of results.

use super::{Checker, Level, Rule};
use crate::func::Inst;
use crate::helpers;
use crate::inst::{Fact, InstKind, fixed_result};
use crate::types::{PtrClass, PtrTy, Ty};

/// What the result of an instruction must be.
enum Wanted {
    None,
    /// Exactly this.
    Is(Ty),
    /// An integer.
    Int,
    /// An integer wider or narrower than one of so many bits.
    Wider(u32),
    Narrower(u32),
    /// A pointer of this class; `Some` says whether it may be null.
    Class(PtrClass, Option<bool>),
    /// An `i64`, or a pointer to a kernel or user object.
    NumberOrObject,
    /// A pointer to a kernel or user object.
    Object,
    /// Anything, or nothing.
    Any,
    /// As given, or nothing.
    Optional(Ty),
}

pub(super) fn check(c: &mut Checker<'_>, inst: Inst) {
    let data = &c.func.insts[inst];
    let has = data.result.expand().map(|v| c.func.ty(v));
    let is_object = |ty: Ty| ty.as_ptr().is_some_and(|p| p.class.pointee().is_some());
    let ok = match wanted(c, &data.kind) {
        Wanted::None => has.is_none(),
        Wanted::Is(ty) => has == Some(ty),
        Wanted::Int => has.is_some_and(Ty::is_int),
        Wanted::Wider(bits) => has.is_some_and(|t| t.is_int() && t.bits() > bits),
        Wanted::Narrower(bits) => has.is_some_and(|t| t.is_int() && t.bits() < bits),
        Wanted::Class(class, nullable) => has
            .and_then(Ty::as_ptr)
            .is_some_and(|p| p.class == class && nullable.is_none_or(|n| n == p.nullable)),
        Wanted::NumberOrObject => has.is_some_and(|t| t == Ty::I64 || is_object(t)),
        Wanted::Object => has.is_some_and(is_object),
        Wanted::Any => true,
        Wanted::Optional(ty) => has.is_none_or(|t| t == ty),
    };
    if !ok {
        c.at(Rule::Result, inst, "the result has not the type that the instruction gives");
    } else if let InstKind::Load { .. } = data.kind {
        load(c, inst);
    }
}

fn wanted(c: &Checker<'_>, kind: &InstKind) -> Wanted {
    use InstKind as I;
    let ty = |v| c.func.ty(v);
    if let Some(fixed) = fixed_result(kind) {
        // A result that says only whether it worked may be ignored.
        let optional = matches!(
            kind,
            I::ProbeRead { .. }
                | I::ProbeReadStr { .. }
                | I::MapUpdate { .. }
                | I::MapDelete { .. }
                | I::ForEach { .. }
                | I::EventOutput { .. }
        );
        return if optional { Wanted::Optional(fixed) } else { Wanted::Is(fixed) };
    }
    match kind {
        I::Const(_) => Wanted::Int,
        I::Null | I::Load { .. } => Wanted::Any,
        I::Bin(_, a, _) | I::Neg(a) | I::Bswap(a) | I::Select(_, a, _) => Wanted::Is(ty(*a)),
        I::Zext(a) | I::Sext(a) => Wanted::Wider(ty(*a).bits()),
        I::Trunc(a) => Wanted::Narrower(ty(*a).bits()),
        I::Refine(a, Fact::NonNull) => match ty(*a) {
            Ty::Ptr(p) => Wanted::Is(Ty::Ptr(PtrTy { nullable: false, ..p })),
            int => Wanted::Is(int),
        },
        I::Refine(a, _) => Wanted::Is(ty(*a)),
        I::SlotAddr(_) => Wanted::Is(Ty::ptr(PtrClass::Frame)),
        I::Capture(n) => c.func.captures.get(*n as usize).map_or(Wanted::Any, |&t| Wanted::Is(t)),
        I::GlobalAddr(g) => Wanted::Is(Ty::ptr(PtrClass::Global(*g))),
        I::MapRef(m) => Wanted::Is(Ty::ptr(PtrClass::MapRef(*m))),
        I::FuncRef(f) => Wanted::Is(Ty::ptr(PtrClass::Func(*f))),
        I::PtrAdd(p, ..) => Wanted::Is(ty(*p)),
        I::IntToPtr(_) => Wanted::Object,
        I::CtxLoad { .. } | I::Helper(..) | I::Kfunc(..) => Wanted::Any,
        I::FieldLoad { .. } => Wanted::NumberOrObject,
        I::FieldAddr { .. } => Wanted::Object,
        I::MapLookup { map, .. } | I::MapLookupPercpu { map, .. } | I::MapUpsert { map, .. } => {
            Wanted::Class(PtrClass::MapValue(*map), Some(true))
        }
        I::EventReserve { size, .. } => Wanted::Class(PtrClass::Record(*size), Some(true)),
        I::Call(f, _) => match c.module.funcs[*f].ret {
            Some(ret) => Wanted::Optional(ret),
            None => Wanted::None,
        },
        I::Atomic { op, val, .. } => match op {
            crate::inst::AtomicOp::Xchg => Wanted::Is(ty(*val)),
            _ => Wanted::Optional(ty(*val)),
        },
        I::CmpXchg { new, .. } => Wanted::Is(ty(*new)),
        _ => Wanted::None,
    }
}

/// Which pointers memory may hold: what the kernel's verifier follows through a spill, and plain numbers.
fn load(c: &mut Checker<'_>, inst: Inst) {
    let data = &c.func.insts[inst];
    let InstKind::Load { ptr, .. } = data.kind else { return };
    let Some(result) = data.result.expand() else {
        c.at(Rule::Result, inst, "a load has a result");
        return;
    };
    let Some(class) = c.func.ty(result).as_ptr().map(|p| p.class) else { return };
    let from = c.func.ty(ptr).as_ptr().map(|p| p.class);
    let ok = match class {
        PtrClass::KernelRaw(_) | PtrClass::User(_) => true,
        PtrClass::KernelUntrusted(_) | PtrClass::KernelTrusted(_) if c.level == Level::Strict => {
            matches!(from, Some(PtrClass::Frame | PtrClass::KernelTrusted(_) | PtrClass::KernelUntrusted(_)))
        }
        _ => from == Some(PtrClass::Frame),
    };
    if !ok {
        c.at(Rule::Result, inst, "the pointer can be kept on the stack alone");
    }
}

/// Whether a helper's result is a record that must be given back.
pub(super) fn reserves(kind: &InstKind) -> bool {
    matches!(kind, InstKind::EventReserve { .. } | InstKind::Helper(helpers::RINGBUF_RESERVE, _))
}
