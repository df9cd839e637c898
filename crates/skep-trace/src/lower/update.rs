//! Writing elements of maps.

use super::arith::{ir_op, is_atomic};
use super::function::Fx;
use super::helper;
use super::maps::{MapStore, buckets};
use super::object::is_signed;
use super::store::Dest;
use super::visit::{Node, has_effects, mentions_map};
use crate::hir::{BinOp, Expr, MapRef};
use crate::plan::{RuntimeError, Storage};
use skep_ir::inst::{AtomicOp, BinOp as IrOp, CmpOp, InstKind, Ledger};
use skep_ir::types::PtrClass;
use skep_ir::{Feature, Loc, Ty, Value};

impl<'p> Fx<'_, 'p> {
    /// `@m[k] = v`
    pub(super) fn set_map(&mut self, map: MapRef, key: Option<&'p Expr>, value: &'p Expr, loc: Loc) {
        let scalar = value.ty.is_scalar();
        match self.unit.maps[map].storage {
            Storage::Single { .. } if scalar => {
                let value = self.scalar(value);
                let value = self.number(value);
                let key = self.zero_key();
                self.with_element(map, key, loc, None, |f, ptr| {
                    f.b.store(ptr, 0, value);
                    None
                });
            }
            Storage::Single { .. } => self.set_single(map, value, loc),
            _ if scalar => self.set_scalar_element(map, key, value, loc),
            _ => {
                let size = self.unit.maps[map].value_size;
                let val = self.buffer("value", size);
                if self.unit.size(&value.ty) == 0 {
                    // The kernel has no values without bytes.
                    self.fill_bytes(val, 0, size);
                }
                self.put(value, Dest { ptr: val, off: 0, fill: Self::fill_of(&value.ty) });
                let key = self.key(map, key, None);
                self.update(map, key, val, loc);
            }
        }
    }

    /// Writes what does not fit a register to a map without key: straight into the map if nothing in the value
    /// can see that.
    fn set_single(&mut self, map: MapRef, value: &'p Expr, loc: Loc) {
        let fill = Self::fill_of(&value.ty);
        let apart = has_effects(value) || mentions_map(Node::Expr(value), map);
        let made = apart.then(|| {
            let size = self.unit.size(&value.ty);
            let ptr = self.buffer("value", size);
            self.put(value, Dest { ptr, off: 0, fill });
            (ptr, size)
        });
        let key = self.zero_key();
        self.with_element(map, key, loc, None, |f, ptr| {
            match made {
                Some((src, len)) => {
                    f.b.inst(InstKind::MemCopy { dst: ptr, src, len }, None);
                }
                None => f.put(value, Dest { ptr, off: 0, fill }),
            }
            None
        });
    }

    fn set_scalar_element(&mut self, map: MapRef, key: Option<&'p Expr>, value: &'p Expr, loc: Loc) {
        let value = self.scalar(value);
        let value = self.number(value);
        let key = self.key(map, key, None);
        let join = self.b.new_block();
        // An element that is there is written in place, which is cheaper than replacing it. Elements that come
        // and go are seldom there.
        if !self.unit.is_deleted(map) {
            let miss = self.b.new_block();
            let ptr = self.lookup(map, key);
            let ptr = self.b.unless_null(ptr, miss);
            self.b.store(ptr, 0, value);
            self.jump(join, None);
            self.b.switch_to(miss);
        }
        let val = self.buffer("value", 8);
        self.b.store(val, 0, value);
        self.scoped(|f| f.update(map, key, val, loc));
        self.jump(join, None);
        self.b.switch_to(join);
    }

    /// Writes a whole element; a refusal is counted and reported.
    fn update(&mut self, map: MapRef, key: Value, val: Value, loc: Loc) {
        let map = self.unit.maps[map].id;
        let flags = helper::UPDATE_ANY;
        let code = self.b.value(InstKind::MapUpdate { map, key, val, flags }, Ty::I64);
        let failed = self.is_negative(code);
        self.when(failed, true, |f| {
            f.b.inst(InstKind::Count(Ledger::LostMap), None);
            f.warn(RuntimeError::Helper("map_update_elem"), Some(code), loc);
        });
    }

    /// `@m[k] op= e`
    pub(super) fn update_map(
        &mut self,
        map: MapRef,
        key: Option<&'p Expr>,
        op: BinOp,
        e: &'p Expr,
        loc: Loc,
    ) {
        let ty = self.unit.program.maps[map].value.clone();
        let constant = e.as_int();
        let value = self.scalar(e);
        let value = self.number(value);
        let key = self.key(map, key, None);
        self.with_element(map, key, loc, None, |f, ptr| {
            if is_atomic(op, &ty) {
                let (op, value) = f.atomic_op(op, value);
                f.b.inst(InstKind::Atomic { op, ptr, off: 0, val: value }, None);
                return None;
            }
            let old = f.load_memory(ptr, 0, &ty, None);
            let old = f.number(old);
            let new = f.arithmetic(op, old, value, is_signed(&ty, f), constant, loc);
            let new = f.canonical(new, &ty);
            f.b.store(ptr, 0, new);
            None
        });
    }

    fn atomic_op(&mut self, op: BinOp, value: Value) -> (AtomicOp, Value) {
        match op {
            BinOp::And => (AtomicOp::And, value),
            BinOp::Or => (AtomicOp::Or, value),
            BinOp::Xor => (AtomicOp::Xor, value),
            BinOp::Sub => (AtomicOp::Add, self.b.value(InstKind::Neg(value), Ty::I64)),
            _ => (AtomicOp::Add, value),
        }
    }

    /// `@m[k]++` and the like.
    pub(super) fn step_element(
        &mut self,
        map: MapRef,
        key: Option<&'p Expr>,
        step: i64,
        prefix: bool,
        e: &'p Expr,
        used: bool,
    ) -> Value {
        let ty = self.unit.program.maps[map].value.clone();
        let key = self.key(map, key, None);
        let by = self.b.i64(step);
        let result = used.then_some(Ty::I64);
        let fetches = self.unit.env.has(Feature::AtomicFetch);
        let value = self.with_element(map, key, e.loc, result, |f, ptr| {
            let add = InstKind::Atomic { op: AtomicOp::Add, ptr, off: 0, val: by };
            if !used {
                f.b.inst(add, None);
                return None;
            }
            let old = if fetches {
                f.b.value(add, Ty::I64)
            } else {
                // The sum is exact on these kernels too; the value seen may be another CPU's.
                let old = f.b.load(ptr, 0, Ty::I64);
                f.b.inst(add, None);
                old
            };
            let seen = if prefix { f.b.bin(ir_op(BinOp::Add, true), old, by) } else { old };
            Some(f.canonical(seen, &ty))
        });
        value.unwrap_or(by)
    }

    /// `delete(@m[k])`: whether the element was there.
    pub(super) fn delete(&mut self, map: MapRef, key: Option<&'p Expr>) -> Value {
        let store = self.unit.maps[map].clone();
        match store.storage {
            Storage::Hash { .. } => {
                let key = self.key(map, key, None);
                let code = self.b.value(InstKind::MapDelete { map: store.id, key }, Ty::I64);
                let zero = self.b.i64(0);
                self.b.cmp(CmpOp::Eq, code, zero)
            }
            Storage::KeyedBuckets => self.delete_buckets(map, key),
            Storage::Single { per_cpu: false } => {
                let key = self.zero_key();
                let ptr = self.lookup(map, key);
                let any = self.flag();
                self.erase(ptr, &store, any);
                self.is_set(any)
            }
            Storage::Single { per_cpu: true } => self.erase_array(map, &store, 1),
            Storage::Buckets => {
                let count = self.unit.program.maps[map].agg().map_or(1, buckets);
                self.erase_array(map, &store, count)
            }
        }
    }

    /// A word in memory, zero.
    fn flag(&mut self) -> Value {
        let ptr = self.buffer("any", 8);
        let zero = self.b.i64(0);
        self.b.store(ptr, 0, zero);
        ptr
    }

    fn is_set(&mut self, flag: Value) -> Value {
        let value = self.b.load(flag, 0, Ty::I64);
        let zero = self.b.i64(0);
        self.b.cmp(CmpOp::Ne, value, zero)
    }

    fn add_to_flag(&mut self, flag: Value, value: Value) {
        let before = self.b.load(flag, 0, Ty::I64);
        let after = self.b.bin(IrOp::Or, before, value);
        self.b.store(flag, 0, after);
    }

    /// Sets an element of an array to zero, and the flag if it was not.
    fn erase(&mut self, ptr: Value, store: &MapStore, any: Value) {
        let done = self.b.new_block();
        let ptr = self.b.unless_null(ptr, done);
        let was = self.b.load(ptr, store.written.unwrap_or(0), Ty::I64);
        self.add_to_flag(any, was);
        self.fill_bytes(ptr, 0, store.value_size);
        self.jump(done, None);
        self.b.switch_to(done);
    }

    /// Sets the elements of a per-CPU array to zero on all CPUs; whether any was not.
    fn erase_array(&mut self, map: MapRef, store: &MapStore, count: u32) -> Value {
        let any = self.flag();
        let key = self.buffer("element", 4);
        let cpus = i64::from(self.unit.env.possible_cpus().max(1));
        let (start, end) = (self.b.i64(0), self.b.i64(i64::from(count) * cpus));
        let store = store.clone();
        let loc = self.unit.program.maps[map].loc;
        if !self.unit.require(Feature::LookupPercpuElem, loc) {
            return self.b.iconst(Ty::I1, 0);
        }
        self.for_numbers("erase", start, end, &[any, key], |f, number, given| {
            let cpus = f.b.i64(cpus);
            let element = f.b.bin(IrOp::UDiv, number, cpus);
            let cpu = f.b.bin(IrOp::URem, number, cpus);
            let element = f.b.resize(element, Ty::I32, false);
            f.b.store(given[1], 0, element);
            let lookup = InstKind::MapLookupPercpu { map: store.id, key: given[1], cpu };
            let ptr = f.b.value(lookup, Ty::nullable(PtrClass::MapValue(store.id)));
            f.erase(ptr, &store, given[0]);
        });
        self.is_set(any)
    }

    /// Removes all buckets of a key; whether any was there.
    fn delete_buckets(&mut self, map: MapRef, key: Option<&'p Expr>) -> Value {
        let store = self.unit.maps[map].clone();
        let count = self.unit.program.maps[map].agg().map_or(1, buckets);
        let any = self.flag();
        let key = self.key(map, key, None);
        let bucket_at = store.key_size.next_multiple_of(8) as i32;
        let (start, end) = (self.b.i64(0), self.b.i64(i64::from(count)));
        self.for_numbers("delete", start, end, &[any, key], |f, number, given| {
            let (any, key) = (given[0], given[1]);
            f.b.store(key, bucket_at, number);
            let code = f.b.value(InstKind::MapDelete { map: store.id, key }, Ty::I64);
            let zero = f.b.i64(0);
            let found = f.b.cmp(CmpOp::Eq, code, zero);
            let found = f.b.resize(found, Ty::I64, false);
            f.add_to_flag(any, found);
        });
        self.is_set(any)
    }

    /// Whether a map has an element.
    pub(super) fn has_key(&mut self, map: MapRef, key: Option<&'p Expr>) -> Value {
        let key = self.key(map, key, None);
        let ptr = self.lookup(map, key);
        let null = self.b.value(InstKind::IsNull(ptr), Ty::I1);
        self.not(null)
    }

    /// Number of elements.
    pub(super) fn map_len(&mut self, map: MapRef, loc: Loc) -> Value {
        let id = self.unit.maps[map].id;
        let hash = matches!(self.unit.maps[map].storage, Storage::Hash { .. } | Storage::KeyedBuckets);
        if hash && self.unit.env.has(Feature::MapSumElemCount) {
            let map = self.b.value(InstKind::MapRef(id), Ty::ptr(PtrClass::MapRef(id)));
            return self.b.value(InstKind::Kfunc("bpf_map_sum_elem_count".into(), vec![map]), Ty::I64);
        }
        if !self.unit.require(Feature::ForEachMapElem, loc) {
            return self.b.i64(0);
        }
        let (body, captures) = self.element_closure("count", id, &[], |_, _, _, _| {});
        self.b.value(InstKind::ForEach { map: id, body, captures }, Ty::I64)
    }
}
