//! Accesses: null tests, bounds, alignment, packet checks.

use super::{Checker, Level, Rule};
use crate::func::{Block, Inst, Value};
use crate::inst::{CmpOp, Fact, InstKind};
use crate::types::PtrClass;
use cranelift_entity::SecondaryMap;

/// Where a test has proved something: the block that only the successful edge leads to.
#[derive(Default)]
struct Proofs {
    non_null: SecondaryMap<Value, Vec<Block>>,
    /// Bytes that were found to follow.
    packet: SecondaryMap<Value, Vec<(Block, u32)>>,
}

pub(super) fn check(c: &mut Checker<'_>) {
    let proofs = proofs(c);
    for &block in &c.func.layout {
        if !c.cfg.is_reachable(block) {
            continue;
        }
        for &inst in &c.func.blocks[block].insts {
            match &c.func.insts[inst].kind {
                InstKind::Refine(v, Fact::NonNull) => {
                    let nullable = c.func.ty(*v).as_ptr().is_some_and(|p| p.nullable);
                    let proved = proofs.non_null[*v].iter().any(|&b| c.cfg.dominates(b, block));
                    if nullable && !proved {
                        c.at(Rule::Nullable, inst, "no test for null leads here");
                    }
                }
                // After lowering the check is a plain comparison.
                InstKind::Refine(v, Fact::PacketRange(n)) if c.level == Level::Normal => {
                    let proved = proofs.packet[*v].iter().any(|&(b, k)| k >= *n && c.cfg.dominates(b, block));
                    if !proved {
                        c.at(Rule::Access, inst, "no check of the packet's length leads here");
                    }
                }
                _ => {}
            }
            nullable(c, inst);
            for access in accesses(c, inst) {
                bounds(c, inst, access);
            }
        }
    }
}

fn proofs(c: &Checker<'_>) -> Proofs {
    let mut proofs = Proofs::default();
    for &block in c.cfg.order() {
        let Some(end) = c.func.terminator(block) else { continue };
        let InstKind::CondBr { cond, then, other } = &c.func.insts[end].kind else { continue };
        // Both edges to one block, or another way into it, prove nothing.
        let alone = |b: Block| (c.cfg.preds(b).len() == 1).then_some(b);
        let is_null = |v: &Value| matches!(c.def(*v), Some(InstKind::Null));
        match c.def(*cond) {
            Some(InstKind::IsNull(v)) => proofs.non_null[*v].extend(alone(other.block)),
            Some(InstKind::Cmp(op @ (CmpOp::Eq | CmpOp::Ne), a, b)) => {
                let edge = if *op == CmpOp::Eq { other } else { then };
                for (v, w) in [(a, b), (b, a)] {
                    if is_null(w) {
                        proofs.non_null[*v].extend(alone(edge.block));
                    }
                }
            }
            Some(InstKind::PacketCheck { ptr, len, .. }) => {
                proofs.packet[*ptr].extend(alone(then.block).map(|b| (b, *len)));
            }
            _ => {}
        }
    }
    proofs
}

/// Pointers that may be null may be tested, refined, compared, passed to blocks, and given to whoever takes
/// them so; nothing else.
fn nullable(c: &mut Checker<'_>, inst: Inst) {
    use InstKind as I;
    let kind = &c.func.insts[inst].kind;
    let exempt = match kind {
        I::IsNull(_) | I::Cmp(..) | I::Refine(..) | I::Helper(..) | I::Kfunc(..) | I::Call(..) => true,
        I::ForEach { .. } | I::ForRange { .. } => true,
        _ => kind.is_terminator(),
    };
    if exempt {
        return;
    }
    let mut bad = false;
    // What may be stored as it is: a spilled pointer keeps its state.
    let stored = if let I::Store { val, .. } = kind { Some(*val) } else { None };
    kind.for_each_use(|v| {
        let Some(p) = c.func.ty(v).as_ptr() else { return };
        // Null among these reads as 0.
        let plain =
            matches!(p.class, PtrClass::KernelUntrusted(_) | PtrClass::KernelRaw(_) | PtrClass::User(_));
        bad |= p.nullable && !plain && Some(v) != stored;
    });
    if bad {
        c.at(Rule::Nullable, inst, "the pointer may be null and was not tested");
    }
}

/// Bytes that an instruction touches.
#[derive(Copy, Clone)]
struct Access {
    ptr: Value,
    off: i64,
    len: u32,
    /// One access and not a range of bytes, so that its alignment matters.
    whole: bool,
}

fn accesses(c: &Checker<'_>, inst: Inst) -> Vec<Access> {
    use InstKind as I;
    let whole = |ptr: &Value, off: i32, len: u32| Access { ptr: *ptr, off: i64::from(off), len, whole: true };
    let range = |ptr: &Value, len: u32| Access { ptr: *ptr, off: 0, len, whole: false };
    let size = |v: Value| c.func.ty(v).bytes();
    let key = |map: &crate::module::MapId| c.module.maps[*map].key_size;
    let data = &c.func.insts[inst];
    match &data.kind {
        I::Load { ptr, off, .. } => {
            data.result.expand().map(|r| whole(ptr, *off, size(r))).into_iter().collect()
        }
        I::Store { ptr, off, val } | I::Atomic { ptr, off, val, .. } => vec![whole(ptr, *off, size(*val))],
        I::CmpXchg { ptr, off, new, .. } => vec![whole(ptr, *off, size(*new))],
        I::MemCopy { dst, src, len } => vec![range(dst, *len), range(src, *len)],
        I::MemSet { dst, len, .. } => vec![range(dst, *len)],
        I::MemEq { a, b, len } => vec![range(a, *len), range(b, *len)],
        I::StrConst { dst, cap, .. } => vec![range(dst, *cap)],
        I::StrCopy { dst, dst_cap, src, src_cap } => vec![range(dst, *dst_cap), range(src, *src_cap)],
        I::StrEq { a, a_cap, b, b_cap } | I::StrEqN { a, a_cap, b, b_cap, .. } => {
            vec![range(a, *a_cap), range(b, *b_cap)]
        }
        I::StrEqConst { a, cap, .. } => vec![range(a, *cap)],
        I::StrLen { ptr, cap } | I::StrMember { ptr, cap, .. } => vec![range(ptr, *cap)],
        I::StrFind { hay, hay_cap, needle, needle_cap } => {
            vec![range(hay, *hay_cap), range(needle, *needle_cap)]
        }
        I::ProbeRead { dst, max, .. } => vec![range(dst, *max)],
        I::ProbeReadStr { dst, cap, .. } => vec![range(dst, *cap)],
        I::MapLookup { map, key: k }
        | I::MapDelete { map, key: k }
        | I::MapUpsert { map, key: k }
        | I::MapLookupPercpu { map, key: k, .. } => vec![range(k, key(map))],
        I::MapUpdate { map, key: k, val, .. } => {
            vec![range(k, key(map)), range(val, c.module.maps[*map].value_size)]
        }
        I::EventOutput { data, max, .. } => vec![range(data, *max)],
        I::PrefixMatch { ptr, set } => match &c.module.sets[*set] {
            crate::module::Set::Prefixes { bytes, .. } => vec![range(ptr, *bytes)],
            _ => Vec::new(),
        },
        I::Agg { agg, cell, .. } => {
            use crate::inst::Agg;
            vec![range(cell, if matches!(agg, Agg::Count | Agg::Sum) { 8 } else { 16 })]
        }
        _ => Vec::new(),
    }
}

fn bounds(c: &mut Checker<'_>, inst: Inst, access: Access) {
    let Access { ptr, off, len, whole } = access;
    let Some(class) = c.func.ty(ptr).as_ptr().map(|p| p.class) else { return };
    let root = c.root(ptr);
    if matches!(class, PtrClass::Packet | PtrClass::PacketMeta) {
        let inside = off >= 0 && off + i64::from(len) <= root.packet;
        if !inside {
            c.at(Rule::Access, inst, "the packet is not known to have these bytes");
        }
        return;
    }
    let Some(from) = root.off.and_then(|o| o.checked_add(off)) else { return };
    // A pointer into the middle of an object tells nothing about where the object ends.
    let size = match (c.def(root.value), class) {
        (Some(InstKind::SlotAddr(slot)), _) => c.func.slots[*slot].size,
        (Some(InstKind::GlobalAddr(g)), _) => c.module.globals[*g].size,
        (
            Some(
                InstKind::MapLookup { .. }
                | InstKind::MapUpsert { .. }
                | InstKind::MapLookupPercpu { .. }
                | InstKind::Helper(..),
            ),
            PtrClass::MapValue(m),
        ) => c.module.maps[m].value_size,
        (Some(InstKind::EventReserve { size, .. }), _) => *size,
        (Some(InstKind::Helper(..) | InstKind::Kfunc(..)), PtrClass::Record(n) | PtrClass::Memory(n)) => n,
        _ => return,
    };
    if from < 0 || from + i64::from(len) > i64::from(size) {
        let end = from + i64::from(len);
        c.at(Rule::Access, inst, format!("bytes {from} to {end} of an object of {size} bytes"));
    }
    let align = match c.def(root.value) {
        Some(InstKind::SlotAddr(slot)) => c.func.slots[*slot].align.max(1),
        _ => return,
    };
    let natural = from.rem_euclid(i64::from(len.max(1))) == 0 && align.is_multiple_of(len.max(1));
    if whole && c.level == Level::Strict && !natural {
        c.at(
            Rule::Access,
            inst,
            format!("{len} bytes at an address on the stack that need not be a multiple of {len}"),
        );
    }
}
