//! Elements that are made when they are first needed.

use super::Expander;
use crate::func::{Func, Inst, Value};
use crate::inst::{Fact, InstKind, Ledger, Target};
use crate::kernel::Feature;
use crate::module::{Global, MapId, Section};
use crate::passes::rewrite::{Fate, Rewriter};
use crate::types::{PtrClass, Ty};
use cranelift_entity::SecondaryMap;

/// Bytes of zeros that are written to the stack where an element is made; more are a constant.
const ZEROS_ON_STACK: u32 = 32;

const BPF_NOEXIST: u64 = 1;

/// Uses of values beside tests for null and what follows from them.
pub(super) fn other_uses(func: &Func) -> SecondaryMap<Value, u32> {
    let mut uses: SecondaryMap<Value, u32> = SecondaryMap::new();
    for &inst in func.layout.iter().flat_map(|&b| &func.blocks[b].insts) {
        match &func.insts[inst].kind {
            InstKind::IsNull(_) | InstKind::Refine(_, Fact::NonNull) => {}
            kind => kind.for_each_use(|v| uses[v] += 1),
        }
    }
    uses
}

/// A test for null that stands directly behind the instruction that makes a value: its branch.
pub(super) fn tested_next(
    func: &Func,
    value: Option<Value>,
    rest: &[Inst],
    uses: &SecondaryMap<Value, u32>,
) -> Option<Inst> {
    let [test, branch] = *rest else { return None };
    let (InstKind::IsNull(of), InstKind::CondBr { cond, .. }) =
        (&func.insts[test].kind, &func.insts[branch].kind)
    else {
        return None;
    };
    (Some(*of) == value && func.insts[test].result.expand() == Some(*cond) && uses[*cond] == 1)
        .then_some(branch)
}

impl Expander<'_> {
    pub(super) fn upsert(
        &mut self,
        rw: &mut Rewriter<'_>,
        inst: Inst,
        rest: &[Inst],
        map: MapId,
        key: Value,
    ) -> Fate {
        let class = PtrClass::MapValue(map);
        let lookup = |rw: &mut Rewriter<'_>| rw.value(InstKind::MapLookup { map, key }, Ty::nullable(class));
        let is_array = self.module.maps[map].kind.is_array();
        let result = rw.result(inst);
        let unused = result.is_none_or(|r| self.other_uses[r] == 0);
        let branch = tested_next(rw.func, result, rest, &self.other_uses).filter(|_| unused);
        let first = lookup(rw);
        let none = rw.is_null(first);
        let Some(branch) = branch else {
            // Somebody wants to see the null pointer.
            let join = rw.join(inst);
            let miss = rw.cold_block();
            let hit = Target { block: join, args: vec![first; rw.func.blocks[join].params.len()] };
            rw.cond_br(none, miss, hit);
            rw.switch_to(miss);
            let mut last = first;
            if !is_array {
                self.insert(rw, map, key);
                last = lookup(rw);
                let (lost, found) = (rw.cold_block(), rw.cold_block());
                let none = rw.is_null(last);
                rw.cond_br(none, lost, found);
                rw.switch_to(found);
                rw.br_join(join, last);
                rw.switch_to(lost);
            }
            self.count(rw, Ledger::LostMap);
            rw.br_join(join, last);
            rw.switch_to(join);
            return Fate::Replaced;
        };
        // The test that follows is made where each of the two look-ups is made, and only once on each way.
        let InstKind::CondBr { then: null, other: some, .. } = rw.func.insts[branch].kind.clone() else {
            return Fate::Kept;
        };
        let join = rw.block();
        let param = rw.param(join, Ty::ptr(class));
        let (hit, miss) = (rw.block(), rw.cold_block());
        rw.cond_br(none, miss, hit);
        rw.switch_to(hit);
        let found = rw.non_null(first);
        rw.br(join, vec![found]);
        rw.switch_to(miss);
        if !is_array {
            self.insert(rw, map, key);
            let second = lookup(rw);
            let none = rw.is_null(second);
            let (lost, made) = (rw.cold_block(), rw.cold_block());
            rw.cond_br(none, lost, made);
            rw.switch_to(made);
            let found = rw.non_null(second);
            rw.br(join, vec![found]);
            rw.switch_to(lost);
        }
        self.count(rw, Ledger::LostMap);
        rw.inst(InstKind::Br(null));
        rw.switch_to(join);
        // What the test said is known now: its own branch becomes a jump.
        rw.func.insts[branch].kind = InstKind::Br(some);
        rw.define(inst, param)
    }

    /// Puts zeros under a key, if nothing is there.
    fn insert(&mut self, rw: &mut Rewriter<'_>, map: MapId, key: Value) {
        let size = self.module.maps[map].value_size;
        let val = if size <= ZEROS_ON_STACK || !self.kernel.has(Feature::GlobalData) {
            let slot = rw.slot("zeros", size, if size.is_multiple_of(8) { 8 } else { 4 });
            let at = rw.slot_addr(slot);
            rw.inst(InstKind::MemSet { dst: at, byte: 0, len: size });
            at
        } else {
            let global = self.zeros(size);
            rw.value(InstKind::GlobalAddr(global), Ty::ptr(PtrClass::Global(global)))
        };
        rw.inst(InstKind::MapUpdate { map, key, val, flags: BPF_NOEXIST });
    }

    /// A constant of at least so many zeros.
    fn zeros(&mut self, size: u32) -> crate::module::GlobalId {
        let ty = self.module.types.bytes(size);
        match self.zeros {
            Some(global) => {
                let data = &mut self.module.globals[global];
                if data.size < size {
                    (data.size, data.ty) = (size, ty);
                }
                global
            }
            None => {
                let (name, section) = ("zeros".to_owned(), Section::Rodata);
                let global =
                    self.module.globals.push(Global { name, section, ty, size, align: 8, init: Vec::new() });
                self.zeros = Some(global);
                global
            }
        }
    }
}
