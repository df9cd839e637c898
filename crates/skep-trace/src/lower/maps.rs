//! Where elements of the script's maps are kept, and how they are found.

use super::function::Fx;
use super::helper;
use super::memory_types::composite;
use super::place::Src;
use super::resources::plain_map;
use super::store::{Dest, Fill};
use super::unit::Unit;
use super::visit;
use crate::hir::{DeclaredKind, Expr, ExprKind, Map, MapRef};
use crate::plan::{Layout, MapPlan, MapValue, RuntimeError, Storage};
use crate::types::{AggTy, Type};
use skep_ir::func::Storage as SlotStorage;
use skep_ir::inst::InstKind;
use skep_ir::module::{Map as IrMap, MapKind};
use skep_ir::types::PtrClass;
use skep_ir::{Feature, Loc, MapId, ProgKind, Ty, Value};

/// How the elements of one of the script's maps are kept.
#[derive(Clone, Debug)]
pub(super) struct MapStore {
    /// The kernel's map.
    pub(super) id: MapId,
    /// What user space is told.
    pub(super) storage: Storage,
    /// Bytes of the key, without a bucket number.
    pub(super) key_size: u32,
    /// Offset of the word that says that a map without key has been written.
    pub(super) written: Option<i32>,
    /// Bytes of the kernel's value.
    pub(super) value_size: u32,
}

/// Hashes whose elements take more than this are allocated as they come.
const PREALLOCATED_BYTES: u64 = 1 << 20;

/// Buckets of a histogram of powers of two: the last one begins at 2^62 + (2^62 - 2^(62 - bits)).
fn hist_buckets(bits: u8) -> u32 {
    ((64 - u32::from(bits)) << bits) + 1
}

/// Elements that a histogram or series has for each key.
pub(super) fn buckets(agg: AggTy) -> u32 {
    match agg {
        AggTy::Hist { bits } => hist_buckets(bits),
        AggTy::Lhist { min, max, step } => {
            let inner = max.saturating_sub(min).max(0) / step.max(1);
            u32::try_from(inner).unwrap_or(u32::MAX - 2) + 2
        }
        AggTy::Tseries { count, .. } => count.max(1),
        _ => 1,
    }
}

impl Unit<'_> {
    /// Chooses how a map is kept, and makes the kernel's map.
    pub(super) fn make_map(&mut self, map: MapRef) -> MapStore {
        let program = self.program;
        let map = &program.maps[map];
        let storage = storage_of(map);
        let key_size = map.key.as_ref().map_or(0, |k| self.size(k));
        let layout = self.kernel_layout(map, storage);
        let name = format!("AT_{}", map.name);
        let id = self.module.maps.push(IrMap { name, ..layout.map });
        MapStore { id, storage, key_size, written: layout.written, value_size: layout.value_size }
    }

    fn kernel_layout(&mut self, map: &Map, storage: Storage) -> KernelLayout {
        let int = self.module.types.int(4, false);
        let long = self.module.types.int(8, false);
        let (value, value_size) = if map.value.is_scalar() {
            let signed = matches!(map.value, Type::Int(i) if i.signed);
            (self.module.types.int(8, signed), 8)
        } else {
            let ty = self.memory_type(&map.value);
            (ty, self.size(&map.value).max(1))
        };
        let mut out = KernelLayout { map: plain_map("", MapKind::Array), written: None, value_size };
        let ir = &mut out.map;
        (ir.value, ir.value_size) = (Some(value), value_size);
        (ir.key, ir.key_size, ir.max_entries) = (Some(int), 4, 1);
        match storage {
            Storage::Single { per_cpu } => {
                let offset = value_size.next_multiple_of(8);
                let parts = [("value", value, 0), ("written", long, offset)];
                let both = composite(&mut self.module.types, "", offset + 8, &parts);
                (ir.value, ir.value_size) = (Some(both), offset + 8);
                out.value_size = offset + 8;
                out.written = Some(offset as i32);
                ir.kind = if per_cpu { MapKind::PercpuArray } else { MapKind::Array };
            }
            Storage::Buckets => {
                ir.kind = MapKind::PercpuArray;
                ir.max_entries = map.agg().map_or(1, buckets);
            }
            Storage::Hash { .. } | Storage::KeyedBuckets => {
                let key = map.key.clone().unwrap_or(Type::I64);
                let (key_type, key_size) = (self.memory_type(&key), self.size(&key).max(1));
                (ir.key, ir.key_size) = (Some(key_type), key_size);
                if storage == Storage::KeyedBuckets {
                    let offset = key_size.next_multiple_of(8);
                    let parts = [("key", key_type, 0), ("bucket", long, offset)];
                    ir.key = Some(composite(&mut self.module.types, "", offset + 8, &parts));
                    ir.key_size = offset + 8;
                }
                ir.kind = hash_kind(map.declared.map(|(kind, _)| kind), storage);
                let default = self.program.config.max_map_keys;
                ir.max_entries = map.declared.map_or(u32::try_from(default).unwrap_or(u32::MAX), |(_, n)| n);
                // Allocating every element of a per-CPU hash costs a call of the per-CPU allocator each, which
                // is milliseconds before the script has begun. Where interrupts are off, the allocator does not
                // get at more memory than the little that it keeps at hand.
                let bytes = u64::from(ir.key_size + value_size) * u64::from(ir.max_entries);
                let lazily = ir.kind == MapKind::PercpuHash
                    || (ir.kind == MapKind::Hash && bytes > PREALLOCATED_BYTES);
                if lazily && !self.fills_in_interrupts() && self.env.has(Feature::SafeNoPrealloc) {
                    ir.flags = helper::NO_PREALLOC;
                }
                self.ledger();
            }
        }
        out
    }

    /// Whether a probe that runs in interrupts may make more than a few elements at a time.
    fn fills_in_interrupts(&self) -> bool {
        let mut probes = self.program.probes.iter().filter(|p| p.kind == ProgKind::PerfEvent);
        probes.any(|p| visit::fills_maps(visit::Node::Block(&p.body.stmts)))
    }

    /// What user space is told about a map.
    pub(super) fn map_plan(&self, map: MapRef) -> MapPlan {
        let (store, def) = (&self.maps[map], &self.program.maps[map]);
        let structs = &self.program.structs;
        MapPlan {
            name: format!("@{}", def.name),
            id: store.id,
            key: def.key.as_ref().map(|k| Layout::of(k, structs)),
            key_size: store.key_size,
            value: match def.agg() {
                Some(agg) => MapValue::Agg(agg),
                None => MapValue::Plain(Layout::of(&def.value, structs)),
            },
            storage: store.storage,
        }
    }
}

struct KernelLayout {
    map: IrMap,
    written: Option<i32>,
    value_size: u32,
}

fn storage_of(map: &Map) -> Storage {
    let shared = matches!(map.declared, Some((DeclaredKind::Hash | DeclaredKind::LruHash, _)));
    let per_cpu = matches!(map.declared, Some((DeclaredKind::PercpuHash | DeclaredKind::PercpuLruHash, _)));
    match (map.agg(), &map.key) {
        (Some(AggTy::Hist { .. } | AggTy::Lhist { .. } | AggTy::Tseries { .. }), Some(_)) => {
            Storage::KeyedBuckets
        }
        (Some(AggTy::Hist { .. } | AggTy::Lhist { .. } | AggTy::Tseries { .. }), None) => Storage::Buckets,
        (Some(_), None) => Storage::Single { per_cpu: true },
        (Some(_), Some(_)) => Storage::Hash { per_cpu: !shared },
        (None, None) => Storage::Single { per_cpu: false },
        (None, Some(_)) => Storage::Hash { per_cpu },
    }
}

fn hash_kind(declared: Option<DeclaredKind>, storage: Storage) -> MapKind {
    let per_cpu = matches!(storage, Storage::KeyedBuckets | Storage::Hash { per_cpu: true });
    let lru = matches!(declared, Some(DeclaredKind::LruHash | DeclaredKind::PercpuLruHash));
    match (per_cpu, lru) {
        (false, false) => MapKind::Hash,
        (false, true) => MapKind::LruHash,
        (true, false) => MapKind::PercpuHash,
        (true, true) => MapKind::LruPercpuHash,
    }
}

impl<'p> Fx<'_, 'p> {
    /// A pointer to a `u32` 0, the key of arrays of one.
    pub(super) fn zero_key(&mut self) -> Value {
        let slot = match self.zero_key {
            Some(slot) => slot,
            None => {
                let slot = self.b.func.add_slot("key 0", 4, 4, SlotStorage::Auto);
                self.zero_key = Some(slot);
                slot
            }
        };
        let ptr = self.b.slot_addr(slot);
        let zero = self.b.iconst(Ty::I32, 0);
        self.b.store(ptr, 0, zero);
        ptr
    }

    /// A pointer to the key of an element. `bucket` is the number behind keys of [`Storage::KeyedBuckets`].
    pub(super) fn key(&mut self, map: MapRef, key: Option<&'p Expr>, bucket: Option<Value>) -> Value {
        let store = self.unit.maps[map].clone();
        match store.storage {
            Storage::Single { .. } => self.zero_key(),
            Storage::Buckets => {
                let slot = self.b.func.add_slot("bucket", 4, 4, SlotStorage::Auto);
                let ptr = self.b.slot_addr(slot);
                let bucket = match bucket {
                    Some(bucket) => self.b.resize(bucket, Ty::I32, false),
                    None => self.b.iconst(Ty::I32, 0),
                };
                self.b.store(ptr, 0, bucket);
                ptr
            }
            Storage::Hash { .. } => {
                if let Some(ptr) = key.and_then(|k| self.key_in_place(k)) {
                    return ptr;
                }
                let (ptr, _) = self.key_slot(key, store.key_size.max(1));
                ptr
            }
            Storage::KeyedBuckets => {
                let offset = store.key_size.next_multiple_of(8);
                let (ptr, zeroed) = self.key_slot(key, offset + 8);
                if offset > store.key_size && !zeroed {
                    let gap = self.b.ptr_add(ptr, store.key_size as i32);
                    self.fill_bytes(gap, 0, offset - store.key_size);
                }
                let bucket = bucket.unwrap_or_else(|| self.b.i64(0));
                self.b.store(ptr, offset as i32, bucket);
                ptr
            }
        }
    }

    /// A new slot with the key at its start, and whether all else in it is zero.
    fn key_slot(&mut self, key: Option<&'p Expr>, size: u32) -> (Value, bool) {
        let slot = self.b.func.add_slot("key", size, 8, SlotStorage::Auto);
        if let Some(key) = key {
            self.b.func.slots[slot].ty = Some(self.unit.memory_type(&key.ty));
        }
        let ptr = self.b.slot_addr(slot);
        let Some(key) = key else { return (ptr, false) };
        let fill = if self.writes_all(key) {
            Fill::Exact
        } else {
            self.fill_bytes(ptr, 0, size);
            Fill::Zeroed
        };
        self.put(key, Dest { ptr, off: 0, fill });
        (ptr, fill == Fill::Zeroed)
    }

    /// Whether writing an expression to a destination writes each of its bytes without being told to.
    fn writes_all(&self, e: &Expr) -> bool {
        match &e.ty {
            Type::Str(_) | Type::Buf(_) => matches!(e.kind, ExprKind::Builtin(_)),
            Type::Tuple(elems) => {
                let bytes: u32 = elems.iter().map(|t| self.unit.size(t)).sum();
                let parts = match &e.kind {
                    ExprKind::Tuple(parts) => parts.iter().all(|part| self.writes_all(part)),
                    _ => true,
                };
                parts && bytes == self.unit.size(&e.ty)
            }
            Type::Record(elems) => {
                let bytes: u32 = elems.iter().map(|(_, t)| self.unit.size(t)).sum();
                let parts = match &e.kind {
                    ExprKind::Record(parts) => parts.iter().all(|(_, part)| self.writes_all(part)),
                    _ => true,
                };
                parts && bytes == self.unit.size(&e.ty)
            }
            _ => true,
        }
    }

    /// The key where it lies already, if its bytes there are those of a key.
    fn key_in_place(&mut self, key: &'p Expr) -> Option<Value> {
        let in_memory = match &key.kind {
            ExprKind::Local(_) => true,
            ExprKind::Element(base, _) => matches!(base.kind, ExprKind::Local(_)),
            _ => false,
        };
        // A scalar in memory has 8 bytes, a key of that type has its own.
        if !in_memory || (key.ty.is_scalar() && matches!(key.kind, ExprKind::Local(_))) || is_loose(&key.ty) {
            return None;
        }
        match self.local_place(key)? {
            Src::Memory { ptr, off } if off % 8 == 0 => Some(self.b.ptr_add(ptr, off)),
            _ => None,
        }
    }

    /// Finds an element; null if it is missing.
    pub(super) fn lookup(&mut self, map: MapRef, key: Value) -> Value {
        let id = self.unit.maps[map].id;
        self.b.value(InstKind::MapLookup { map: id, key }, Ty::nullable(PtrClass::MapValue(id)))
    }

    /// Runs `then` with a pointer to an element, which is made of zeros if it is missing. Where there is no room
    /// the loss is counted, a warning made, and `then` skipped. The result of `then`, or zero, is the result.
    pub(super) fn with_element(
        &mut self,
        map: MapRef,
        key: Value,
        loc: Loc,
        result: Option<Ty>,
        then: impl FnOnce(&mut Self, Value) -> Option<Value>,
    ) -> Option<Value> {
        let store = self.unit.maps[map].clone();
        let class = Ty::nullable(PtrClass::MapValue(store.id));
        let array = matches!(store.storage, Storage::Single { .. } | Storage::Buckets);
        let kind = if array {
            InstKind::MapLookup { map: store.id, key }
        } else {
            InstKind::MapUpsert { map: store.id, key }
        };
        let ptr = self.b.value(kind, class);
        let (none, join) = (self.cold_block(), self.b.new_block());
        let out = result.map(|ty| self.b.func.add_param(join, ty));
        let ptr = self.b.unless_null(ptr, none);
        let value = self.scoped(|f| then(f, ptr));
        if let (Some(offset), false) = (store.written, self.b.is_closed()) {
            let one = self.b.i64(1);
            self.b.store(ptr, offset, one);
        }
        self.jump(join, out.and(value));
        self.b.switch_to(none);
        if !array {
            self.scoped(|f| f.no_room(&store, key, loc));
        }
        let zero = result.map(|ty| self.zero_of(ty));
        self.jump(join, zero);
        self.b.switch_to(join);
        out
    }

    /// There is no room for an element, which has been counted: asks the kernel once more for the reason.
    fn no_room(&mut self, store: &MapStore, key: Value, loc: Loc) {
        if self.unit.options.no_warnings {
            return;
        }
        let zeros = self.b.func.add_slot("zero value", store.value_size, 8, SlotStorage::Auto);
        let val = self.b.slot_addr(zeros);
        self.fill_bytes(val, 0, store.value_size);
        let update = InstKind::MapUpdate { map: store.id, key, val, flags: helper::UPDATE_NOEXIST };
        let code = self.b.value(update, Ty::I64);
        self.warn_if_negative(RuntimeError::Helper("map_update_elem"), code, loc);
    }
}

/// Whether bytes behind the NUL of a string of this type are unspecified where it stands by itself. Long strings
/// are not cleared up to their capacity each time they are read.
pub(super) fn is_loose(ty: &Type) -> bool {
    matches!(ty, Type::Str(cap) if *cap > 64)
}
