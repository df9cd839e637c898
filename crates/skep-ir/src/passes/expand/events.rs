//! Records: through a ring, or as samples of a perf event on kernels without rings.

use super::Expander;
use super::maps::tested_next;
use crate::func::{Def, Func, Inst, Linkage, Value};
use crate::helpers as h;
use crate::inst::{CmpOp, InstKind, Ledger, Target};
use crate::kernel::{Feature, KernelInfo};
use crate::module::{MapId, MapKind, Module};
use crate::passes::rewrite::{Fate, Rewriter};
use crate::types::{PtrClass, Ty};
use std::collections::HashMap;

// Flags of linux/bpf.h.
const BPF_RB_NO_WAKEUP: i64 = 1;
const BPF_RB_FORCE_WAKEUP: i64 = 2;
const BPF_F_CURRENT_CPU: i64 = 0xffff_ffff;

/// On kernels without rings, rings become arrays of perf events.
pub(super) fn choose_kind(module: &mut Module, kernel: &dyn KernelInfo) {
    let is_ring = |m: &crate::module::Map| m.kind == MapKind::RingBuf;
    if module.maps.values().any(is_ring) && !kernel.has(Feature::RingBuffer) {
        for map in module.maps.values_mut().filter(|m| is_ring(m)) {
            map.kind = MapKind::PerfEventArray;
            (map.key_size, map.value_size, map.flags) = (4, 4, 0);
            map.max_entries = kernel.possible_cpus();
        }
    }
}

/// Where records are samples of perf events, they are made in memory of the program's own: reserving one always
/// works, and submitting it sends a copy.
pub(super) fn replace_records(expander: &mut Expander<'_>, func: &mut Func) {
    let module = &*expander.module;
    let mut rings: HashMap<Value, MapId> = HashMap::new();
    for &inst in func.layout.iter().flat_map(|&b| &func.blocks[b].insts) {
        let data = &func.insts[inst];
        if let (InstKind::EventReserve { ring, .. }, Some(result)) = (&data.kind, data.result.expand())
            && module.maps[*ring].kind == MapKind::PerfEventArray
        {
            rings.insert(result, *ring);
        }
    }
    let Some(&some_ring) = rings.values().min() else { return };
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        let mut insts = Vec::new();
        for inst in std::mem::take(&mut func.blocks[block].insts) {
            match func.insts[inst].kind.clone() {
                InstKind::EventReserve { size, .. } => {
                    let slot = func.add_slot("record", size, 8, crate::func::Storage::Auto);
                    func.insts[inst].kind = InstKind::SlotAddr(slot);
                }
                InstKind::IsNull(v) if is_record(func.ty(v)) => {
                    func.insts[inst].kind = InstKind::Const(0);
                }
                InstKind::EventSubmit { rec, .. } => {
                    let Some(PtrClass::Record(size)) = func.ty(rec).as_ptr().map(|p| p.class) else {
                        continue;
                    };
                    let ring = rings.get(&origin(func, rec)).copied().unwrap_or(some_ring);
                    let loc = func.insts[inst].loc;
                    let len = func.make_inst(InstKind::Const(i64::from(size)), Some(Ty::I64), loc);
                    insts.push(len);
                    if let Some(len) = func.insts[len].result.expand() {
                        func.insts[inst].kind = InstKind::EventOutput { ring, data: rec, len, max: size };
                    }
                }
                InstKind::EventDiscard { .. } => continue,
                _ => {}
            }
            insts.push(inst);
        }
        func.blocks[block].insts = insts;
    }
    for value in func.values.values_mut().filter(|v| is_record(v.ty)) {
        value.ty = Ty::ptr(PtrClass::Frame);
    }
}

fn is_record(ty: Ty) -> bool {
    matches!(ty.as_ptr().map(|p| p.class), Some(PtrClass::Record(_)))
}

fn origin(func: &Func, mut v: Value) -> Value {
    while let Def::Inst(inst) = func.values[v].def
        && let InstKind::Refine(of, _) | InstKind::PtrAdd(of, ..) = func.insts[inst].kind
    {
        v = of;
    }
    v
}

impl Expander<'_> {
    pub(super) fn reserve(
        &mut self,
        rw: &mut Rewriter<'_>,
        inst: Inst,
        rest: &[Inst],
        ring: MapId,
        size: u32,
    ) -> Fate {
        let map = rw.map_ref(ring);
        let (size, flags) = (rw.i64(i64::from(size)), rw.i64(0));
        let kind = InstKind::Helper(h::RINGBUF_RESERVE, vec![map, size, flags]);
        let result = rw.result(inst);
        if self.module.ledger.is_none() {
            return rw.become_kind(inst, kind);
        }
        if let Some(branch) = tested_next(rw.func, result, rest, &self.other_uses) {
            self.lost_on = Some(branch);
            return rw.become_kind(inst, kind);
        }
        let Some(ty) = result.map(|r| rw.ty(r)) else { return rw.become_kind(inst, kind) };
        let record = rw.value(kind, ty);
        let (lost, join) = (rw.cold_block(), rw.block());
        let none = rw.is_null(record);
        rw.cond_br(none, lost, join);
        rw.switch_to(lost);
        self.count(rw, Ledger::LostRing);
        rw.br(join, Vec::new());
        rw.switch_to(join);
        rw.define(inst, record)
    }

    /// The branch behind a reservation: on the edge where the record is null, that is counted.
    pub(super) fn count_on_edge(&mut self, rw: &mut Rewriter<'_>, branch: Inst) -> Fate {
        self.lost_on = None;
        let InstKind::CondBr { cond, then, other } = rw.func.insts[branch].kind.clone() else {
            return Fate::Kept;
        };
        let lost = rw.cold_block();
        rw.cond_br(cond, lost, other);
        rw.switch_to(lost);
        self.count(rw, Ledger::LostRing);
        rw.inst(InstKind::Br(then));
        Fate::Replaced
    }

    /// Submits a record, or discards it if there is no saying whether to wake somebody up.
    pub(super) fn give_back(
        &mut self,
        rw: &mut Rewriter<'_>,
        inst: Inst,
        rec: Value,
        wake: Option<bool>,
    ) -> Fate {
        let flags = if wake == Some(true) { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
        let flags = rw.i64(flags);
        let id = if wake.is_some() { h::RINGBUF_SUBMIT } else { h::RINGBUF_DISCARD };
        rw.become_kind(inst, InstKind::Helper(id, vec![rec, flags]))
    }

    pub(super) fn output(
        &mut self,
        rw: &mut Rewriter<'_>,
        inst: Inst,
        ring: MapId,
        data: Value,
        len: Value,
        max: u32,
    ) -> Fate {
        let len = rw.at_most(len, max);
        let map = rw.map_ref(ring);
        let kind = if self.module.maps[ring].kind == MapKind::RingBuf {
            let flags = rw.i64(BPF_RB_NO_WAKEUP);
            InstKind::Helper(h::RINGBUF_OUTPUT, vec![map, data, len, flags])
        } else {
            let Some(ctx) = self.context(rw) else { return Fate::Kept };
            let flags = rw.i64(BPF_F_CURRENT_CPU);
            InstKind::Helper(h::PERF_EVENT_OUTPUT, vec![ctx, map, flags, data, len])
        };
        if self.module.ledger.is_none() {
            return rw.become_kind(inst, kind);
        }
        let code = rw.value(kind, Ty::I64);
        let (lost, join) = (rw.cold_block(), rw.block());
        let failed = rw.cmp_n(CmpOp::Ne, code, 0);
        rw.cond_br(failed, Target::from(lost), Target::from(join));
        rw.switch_to(lost);
        self.count(rw, Ledger::LostRing);
        rw.br(join, Vec::new());
        rw.switch_to(join);
        rw.define(inst, code)
    }

    /// The context, which perf events want to see.
    fn context(&mut self, rw: &mut Rewriter<'_>) -> Option<Value> {
        let is_ctx = |ty: Ty| ty.as_ptr().is_some_and(|p| p.class == PtrClass::Ctx);
        if let Some(&param) = rw.params().iter().find(|&&p| is_ctx(rw.ty(p))) {
            return Some(param);
        }
        if rw.func.linkage == Linkage::Closure
            && let Some(place) = rw.func.captures.iter().position(|&ty| is_ctx(ty))
        {
            return Some(rw.value(InstKind::Capture(place as u32), Ty::ptr(PtrClass::Ctx)));
        }
        let message = "sending a record from a function or loop without the context";
        self.lacks(rw.loc, Feature::RingBuffer, message);
        None
    }
}
