//! How the values of a function are used: decides what is merged into what uses it.

use crate::func::{Block, Def, Func, InstData, Value};
use crate::inst::InstKind;
use crate::types::Ty;
use cranelift_entity::SecondaryMap;

/// Facts about all uses of each value.
pub(super) struct Uses {
    /// How many.
    pub(super) count: SecondaryMap<Value, u32>,
    /// A comparison that only one jump or choice uses: it is made there.
    pub(super) fused: SecondaryMap<Value, bool>,
    /// A pointer plus a constant that only memory accesses use: it becomes part of their offsets.
    pub(super) address_only: SecondaryMap<Value, bool>,
    /// A truncation that only stores use: they see the low bytes anyway.
    pub(super) stored_only: SecondaryMap<Value, bool>,
    /// A load whose only use extends its sign to 64 bits.
    pub(super) sext_only: SecondaryMap<Value, bool>,
}

impl Uses {
    pub(super) fn of(func: &Func, order: &[Block]) -> Uses {
        let mut tally: SecondaryMap<Value, Tally> = SecondaryMap::with_capacity(func.values.len());
        for inst in order.iter().flat_map(|&b| &func.blocks[b].insts) {
            count(func, &func.insts[*inst], &mut tally);
        }
        let mut uses = Uses {
            count: SecondaryMap::with_capacity(func.values.len()),
            fused: SecondaryMap::new(),
            address_only: SecondaryMap::new(),
            stored_only: SecondaryMap::new(),
            sext_only: SecondaryMap::new(),
        };
        for (value, data) in &func.values {
            let t = tally[value];
            uses.count[value] = t.all;
            let Def::Inst(inst) = data.def else { continue };
            match func.insts[inst].kind {
                InstKind::Cmp(..) | InstKind::IsNull(_) => {
                    uses.fused[value] = t.all == 1 && t.conditions == 1;
                }
                InstKind::PtrAdd(_, _, None) => uses.address_only[value] = t.all == t.accesses,
                // A truth value is one bit of the byte that is stored.
                InstKind::Trunc(_) if data.ty != Ty::I1 => uses.stored_only[value] = t.all == t.stores,
                InstKind::Load { .. } if data.ty != Ty::I1 => {
                    uses.sext_only[value] = t.all == 1 && t.extensions == 1;
                }
                _ => {}
            }
        }
        uses
    }
}

/// Numbers of uses by kind.
#[derive(Copy, Clone, Default)]
struct Tally {
    all: u32,
    conditions: u32,
    accesses: u32,
    stores: u32,
    extensions: u32,
}

fn count(func: &Func, inst: &InstData, tally: &mut SecondaryMap<Value, Tally>) {
    let kind = &inst.kind;
    kind.for_each_use(|v| tally[v].all += 1);
    match kind {
        InstKind::CondBr { cond, .. } | InstKind::Select(cond, _, _) => tally[*cond].conditions += 1,
        InstKind::Load { ptr, off, .. } => access(func, *ptr, *off, tally),
        InstKind::Store { ptr, off, val } => {
            access(func, *ptr, *off, tally);
            tally[*val].stores += 1;
        }
        InstKind::CtxStore { val, .. } => tally[*val].stores += 1,
        InstKind::Atomic { ptr, off, .. } | InstKind::CmpXchg { ptr, off, .. } => {
            access(func, *ptr, *off, tally);
        }
        InstKind::Sext(v) if inst.result.expand().is_some_and(|r| func.ty(r) == Ty::I64) => {
            tally[*v].extensions += 1;
        }
        _ => {}
    }
}

/// Counts the use of a pointer as an address if its constant step fits the offset of the access.
fn access(func: &Func, ptr: Value, off: i32, tally: &mut SecondaryMap<Value, Tally>) {
    let Def::Inst(inst) = func.values[ptr].def else { return };
    if let InstKind::PtrAdd(_, step, None) = func.insts[inst].kind
        && i16::try_from(i64::from(off) + i64::from(step)).is_ok()
    {
        tally[ptr].accesses += 1;
    }
}
