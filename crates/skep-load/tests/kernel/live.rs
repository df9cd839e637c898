//! Maps read and cleared while others write to them.

use crate::harness::{Needs, Outcome, Test, ensure, ensure_eq};
use skep_load::LiveMap;
use skep_sys::bpf::{ElemFlags, Map, MapCreate, MapType};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) const TESTS: &[Test] = &[
    ("elements_of_every_kind", Needs::Root, kinds),
    ("clear_and_zero", Needs::Root, clear_and_zero),
    ("a_map_that_changes_meanwhile", Needs::Root, concurrent),
];

fn map(map_type: MapType, value_size: u32, max_entries: u32) -> Result<Map, skep_sys::SysError> {
    Map::create(&MapCreate { map_type, key_size: 4, value_size, max_entries, ..MapCreate::default() })
}

fn kinds() -> Outcome {
    for map_type in [
        MapType::HASH,
        MapType::ARRAY,
        MapType::PERCPU_HASH,
        MapType::PERCPU_ARRAY,
        MapType::LRU_HASH,
        MapType::LRU_PERCPU_HASH,
    ] {
        let map = map(map_type, 12, 100)?;
        let per_cpu = map.shape().value_bytes;
        for i in 0..50u32 {
            map.update(&i.to_le_bytes(), &vec![i as u8; per_cpu], ElemFlags::NONE)?;
        }
        let snapshot = LiveMap::new(&map).elements()?;
        let expected = if map_type == MapType::ARRAY || map_type == MapType::PERCPU_ARRAY { 100 } else { 50 };
        ensure_eq!(snapshot.elements.len(), expected);
        let cpus = if map.shape().is_per_cpu() { skep_sys::cpu::possible_count()? } else { 1 };
        for (key, value) in &snapshot.elements {
            let parts: Vec<&[u8]> = snapshot.cpu_values(value).collect();
            ensure_eq!(parts.len(), cpus);
            let fill = if key[0] < 50 { key[0] } else { 0 };
            ensure!(parts.iter().all(|p| *p == [fill; 12]), "{map_type}: {key:?}");
        }
    }
    Ok(())
}

fn clear_and_zero() -> Outcome {
    for map_type in
        [MapType::HASH, MapType::ARRAY, MapType::PERCPU_HASH, MapType::PERCPU_ARRAY, MapType::LRU_HASH]
    {
        let map = map(map_type, 8, 64)?;
        let full = vec![7; map.shape().value_bytes];
        for i in 0..20u32 {
            map.update(&i.to_le_bytes(), &full, ElemFlags::NONE)?;
        }
        let live = LiveMap::new(&map);
        let before = live.elements()?.elements.len();
        live.zero()?;
        let zeroed = live.elements()?.elements;
        ensure_eq!(zeroed.len(), before);
        ensure!(zeroed.iter().all(|(_, v)| v.iter().all(|b| *b == 0)), "{map_type} is zero");
        map.update(&[0; 4], &full, ElemFlags::NONE)?;
        live.clear()?;
        let left = live.elements()?.elements;
        let array = matches!(map_type, MapType::ARRAY | MapType::PERCPU_ARRAY);
        ensure_eq!(left.len(), if array { 64 } else { 0 });
        ensure!(left.iter().all(|(_, v)| v.iter().all(|b| *b == 0)), "{map_type} is clear");
    }
    Ok(())
}

fn concurrent() -> Outcome {
    let map = map(MapType::HASH, 8, 512)?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut i = 0u32;
            while !stop.load(Ordering::Relaxed) {
                // Keys come and go, more of them than the map has room for at once.
                let _ = map.update(&(i % 700).to_le_bytes(), &[1; 8], ElemFlags::NONE);
                let _ = map.delete(&(i.wrapping_mul(7) % 700).to_le_bytes());
                i = i.wrapping_add(1);
            }
        });
        let read = || -> Outcome {
            for round in 0..60 {
                let live = LiveMap::new(&map);
                let elements = live.elements()?.elements;
                let keys: HashSet<_> = elements.iter().map(|(k, _)| k.clone()).collect();
                ensure_eq!(keys.len(), elements.len());
                match round % 20 {
                    10 => live.zero()?,
                    19 => live.clear()?,
                    _ => {}
                }
            }
            Ok(())
        };
        let outcome = read();
        stop.store(true, Ordering::Relaxed);
        outcome
    })
}
