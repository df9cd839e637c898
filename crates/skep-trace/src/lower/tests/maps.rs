//! Storage of maps and updates of their elements.

use super::super::helper;
use super::*;
use crate::hir::DeclaredKind;
use crate::plan::Storage;
use skep_ir::inst::{Agg, AtomicOp};
use skep_ir::module::MapKind;

#[test]
fn storage_follows_key_and_value() {
    let mut s = Script::begin();
    let hist = Type::Agg(AggTy::Hist { bits: 0 });
    let cases = [
        (None, Type::I64, Storage::Single { per_cpu: false }, MapKind::Array),
        (None, Type::Str(16), Storage::Single { per_cpu: false }, MapKind::Array),
        (None, count(), Storage::Single { per_cpu: true }, MapKind::PercpuArray),
        (None, hist.clone(), Storage::Buckets, MapKind::PercpuArray),
        (Some(Type::U64), Type::I64, Storage::Hash { per_cpu: false }, MapKind::Hash),
        (Some(Type::U64), count(), Storage::Hash { per_cpu: true }, MapKind::PercpuHash),
        (Some(Type::U64), hist, Storage::KeyedBuckets, MapKind::PercpuHash),
    ];
    for (n, (key, value, ..)) in cases.iter().enumerate() {
        s.map(&format!("m{n}"), key.clone(), value.clone());
    }
    let out = s.lower();
    for ((_, _, storage, kind), plan) in cases.iter().zip(&out.plan.maps) {
        assert_eq!(plan.storage, *storage, "{}", plan.name);
        assert_eq!(out.module.maps[plan.id].kind, *kind, "{}", plan.name);
        let map = &out.module.maps[plan.id];
        let size = map.value.and_then(|t| out.module.types.size(t));
        assert_eq!(size, Some(map.value_size), "{}: the type of values must have their size", plan.name);
        let size = map.key.and_then(|t| out.module.types.size(t));
        assert_eq!(size, Some(map.key_size), "{}: the type of keys must have their size", plan.name);
    }
    // 64 powers of two, what is negative, and zero.
    assert_eq!(out.module.maps[out.plan.maps[3].id].max_entries, 65);
}

#[test]
fn declared_kinds_and_sizes_are_honoured() {
    let mut s = Script::begin();
    let map = s.map("m", Some(Type::U64), Type::I64);
    s.program.maps[map].declared = Some((DeclaredKind::LruHash, 17));
    let out = s.lower();
    let map = &out.module.maps[out.plan.maps[0].id];
    assert_eq!((map.kind, map.max_entries), (MapKind::LruHash, 17));
}

#[test]
fn count_without_key_is_one_lookup_and_one_addition() {
    let mut s = Script::begin();
    let map = s.map("", None, count());
    let stmt = s.collect(map, None, None);
    s.push(stmt);
    let out = s.lower();
    assert_eq!(out.count(|k| matches!(k, InstKind::MapLookup { .. })), 1);
    assert_eq!(out.count(|k| matches!(k, InstKind::Agg { agg: Agg::Count, .. })), 1);
    assert_eq!(out.count(|k| matches!(k, InstKind::Helper(..))), 0);
    // Nothing can be lost, so nothing counts losses.
    assert!(out.module.ledger.is_none());
    assert!(out.plan.data_ring.is_none() && out.plan.control_ring.is_none());
}

#[test]
fn comm_is_read_straight_into_the_key() {
    let mut s = Script::begin();
    let map = s.map("", Some(Type::Str(16)), count());
    let stmt = s.collect(map, Some(s.comm()), None);
    s.push(stmt);
    let out = s.lower();
    assert_eq!(out.calls(helper::GET_CURRENT_COMM), 1);
    assert_eq!(out.count(|k| matches!(k, InstKind::MemCopy { .. } | InstKind::StrCopy { .. })), 0);
    // Once: kernels differ in what they leave behind the name.
    assert_eq!(out.count(|k| matches!(k, InstKind::MemSet { len: 16, .. })), 1, "{}", out.text());
}

#[test]
fn keys_with_padding_are_cleared_first() {
    let mut s = Script::begin();
    let key = s.tuple(vec![s.cast(s.int(1), Type::int(1, true)), s.int(2)]);
    let map = s.map("", Some(key.ty.clone()), count());
    let stmt = s.collect(map, Some(key), None);
    s.push(stmt);
    let out = s.lower();
    assert_eq!(out.count(|k| matches!(k, InstKind::MemSet { len: 16, .. })), 1, "{}", out.text());
}

#[test]
fn steps_are_atomic_and_fetch_only_where_they_are_used() {
    let mut s = Script::begin();
    let map = s.map("", None, Type::I64);
    let x = s.local("x", Type::I64);
    let step = |s: &Script| {
        let target = Box::new(s.read(map, None));
        s.expr(ExprKind::IncDec { target, step: 1, prefix: false }, Type::I64)
    };
    s.push(StmtKind::Expr(step(&s)));
    s.push(StmtKind::SetLocal(x, step(&s)));
    let out = s.lower();
    let fetching = |fetches: bool| {
        out.module.funcs.values().flat_map(|f| f.insts.values()).filter(move |i| {
            matches!(i.kind, InstKind::Atomic { op: AtomicOp::Add, .. }) && i.result.is_some() == fetches
        })
    };
    assert_eq!((fetching(false).count(), fetching(true).count()), (1, 1));
    s.env.features = FeatureSet::all().without(skep_ir::Feature::AtomicFetch);
    let out = s.lower();
    assert!(
        out.module
            .funcs
            .values()
            .flat_map(|f| f.insts.values())
            .all(|i| { !matches!(i.kind, InstKind::Atomic { .. }) || i.result.is_none() })
    );
}

#[test]
fn elements_that_come_and_go_are_replaced_at_once() {
    let mut s = Script::begin();
    let map = s.map("start", Some(Type::U32), Type::U64);
    let value = s.builtin(Builtin::Nsecs(crate::hir::NsecsClock::Boot), Type::U64);
    s.push(StmtKind::SetMap { map, key: Some(s.pid()), value });
    assert_eq!(s.lower().count(|k| matches!(k, InstKind::MapLookup { .. })), 1);
    let delete = s.expr(ExprKind::Call(Func::Delete(map), vec![s.pid()]), Type::Bool);
    s.push(StmtKind::Expr(delete));
    let out = s.lower();
    assert_eq!(out.count(|k| matches!(k, InstKind::MapLookup { .. })), 0);
    assert_eq!(out.count(|k| matches!(k, InstKind::MapUpdate { .. })), 1);
    assert_eq!(out.count(|k| matches!(k, InstKind::MapDelete { .. })), 1);
}

#[test]
fn every_kind_of_collecting_and_reading_is_sound() {
    for keyed in [false, true] {
        let mut s = Script::begin();
        let aggs = [
            AggTy::Count,
            AggTy::Sum(true),
            AggTy::Min(true),
            AggTy::Max(false),
            AggTy::Avg(true),
            AggTy::Stats(false),
            AggTy::Hist { bits: 3 },
            AggTy::Lhist { min: 0, max: 100, step: 10 },
            AggTy::Tseries { interval: 1000, count: 5, agg: crate::types::SeriesAgg::Max, signed: true },
            AggTy::Tseries { interval: 1000, count: 5, agg: crate::types::SeriesAgg::Avg, signed: true },
        ];
        for (n, agg) in aggs.into_iter().enumerate() {
            let key = || keyed.then(|| Type::Tuple([Type::U32, Type::Str(16)].into()));
            let map = s.map(&format!("m{n}"), key(), Type::Agg(agg));
            let key = |s: &Script| keyed.then(|| s.tuple(vec![s.pid(), s.comm()]));
            let value = (agg != AggTy::Count).then(|| s.int(7));
            let stmt = s.collect(map, key(&s), value);
            s.push(stmt);
            if n < 6 {
                let x = s.local("x", Type::I64);
                let read = s.read(map, key(&s));
                s.push(StmtKind::SetLocal(x, read));
                let whole = s.expr(ExprKind::Map(map, key(&s).map(Box::new)), Type::Agg(agg));
                let value = Arg { offset: 0, size: 0, layout: Layout::of(&whole.ty, &s.program.structs) };
                let event = s.event(Event::Value(value));
                s.push(StmtKind::Emit(event, vec![whole]));
            }
            let delete = s.expr(ExprKind::Call(Func::Delete(map), key(&s).into_iter().collect()), Type::Bool);
            s.push(StmtKind::Expr(delete));
        }
        let out = s.lower();
        assert_eq!(out.count(|k| matches!(k, InstKind::HistBucket { bits: 3, .. })), 1);
        assert_eq!(out.count(|k| matches!(k, InstKind::LinearBucket { .. })), 1);
    }
}

#[test]
fn a_missing_kernel_feature_is_an_error_at_its_place() {
    let mut s = Script::begin();
    let map = s.map("", None, count());
    let x = s.local("x", Type::I64);
    let read = s.read(map, None);
    s.push(StmtKind::SetLocal(x, read));
    s.env.features = FeatureSet::all().without(skep_ir::Feature::LookupPercpuElem);
    let (_, _, diagnostics) = s.try_lower();
    assert_eq!(diagnostics.len(), 1);
    assert_eq!(diagnostics[0].message, "Missing required kernel feature: lookup_percpu_elem");
}

#[test]
fn full_maps_are_counted_and_reported_with_the_reason() {
    let mut s = Script::begin();
    let map = s.map("", Some(Type::U32), count());
    let stmt = s.collect(map, Some(s.pid()), None);
    s.push(stmt);
    let out = s.lower();
    // The look-up that makes an element counts what it cannot make.
    assert_eq!(out.count(|k| matches!(k, InstKind::MapUpsert { .. })), 1);
    assert_eq!(out.count(|k| matches!(k, InstKind::Count(_))), 0);
    assert_eq!(out.count(|k| matches!(k, InstKind::MapUpdate { flags: 1, .. })), 1);
    assert!(out.plan.control_ring.is_some() && out.module.ledger.is_some());
    assert!(
        matches!(&out.plan.events[0], Event::Runtime { what: crate::plan::RuntimeError::Helper(h), .. } if *h == "map_update_elem")
    );
    s.options.no_warnings = true;
    assert!(s.lower().plan.control_ring.is_none());
}
