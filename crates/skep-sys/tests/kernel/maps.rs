//! Maps: access by key, in batches, as shared memory; pins, ids and info.

use crate::harness::{Needs, Outcome, Test, ensure, ensure_eq};
use skep_sys::bpf::{Access, BatchCursor, ElemFlags, Map, MapCreate, MapFlags, MapInfo, MapType, ObjectKind};
use skep_sys::shared::SharedArray;
use skep_sys::{Errno, cpu};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

pub(crate) const TESTS: &[Test] = &[
    ("map_elements_come_and_go", Needs::Root, elements),
    ("map_sizes_are_checked_before_the_kernel_sees_them", Needs::Root, sizes),
    ("map_full_and_flags_answer_by_errno", Needs::Root, flags),
    ("map_batches_and_dump_agree", Needs::Root, batches),
    ("map_dump_outgrows_a_chunk", Needs::Root, large_dump),
    ("map_per_cpu_values_have_a_slot_per_cpu", Needs::Root, per_cpu),
    ("map_queue_pops_in_order", Needs::Root, queue),
    ("map_frozen_refuses_writes", Needs::Root, frozen),
    ("map_info_and_id_lead_back", Needs::Root, info),
    ("map_shared_memory_is_the_map", Needs::Root, shared),
    ("map_holds_maps", Needs::Root, nested),
    ("map_fds_are_close_on_exec_and_closed", Needs::Root, fds),
];

fn hash(max_entries: u32) -> Result<Map, skep_sys::SysError> {
    Map::create(&MapCreate {
        map_type: MapType::HASH,
        key_size: 4,
        value_size: 8,
        max_entries,
        name: "skep_test",
        ..MapCreate::default()
    })
}

fn key(n: u32) -> [u8; 4] {
    n.to_ne_bytes()
}

fn value(n: u64) -> [u8; 8] {
    n.to_ne_bytes()
}

fn elements() -> Outcome {
    let map = hash(8)?;
    ensure_eq!(map.lookup(&key(1))?, None);
    map.update(&key(1), &value(10), ElemFlags::NONE)?;
    map.update(&key(2), &value(20), ElemFlags::NONE)?;
    ensure_eq!(map.lookup(&key(2))?.as_deref(), Some(&value(20)[..]));
    let mut keys = map.keys().collect::<Result<Vec<_>, _>>()?;
    keys.sort();
    ensure_eq!(keys, [key(1).to_vec(), key(2).to_vec()]);
    ensure_eq!(map.lookup_and_delete(&key(1))?.as_deref(), Some(&value(10)[..]));
    ensure!(map.delete(&key(2))?, "the second element was there");
    ensure!(!map.delete(&key(2))?, "it is gone now");
    ensure_eq!(map.keys().count(), 0);
    Ok(())
}

fn sizes() -> Outcome {
    let map = hash(8)?;
    let long = map.update(&key(1), &[0; 9], ElemFlags::NONE).expect_err("9 bytes for 8");
    ensure_eq!(long.errno, Errno::EMSGSIZE);
    ensure!(long.to_string().contains("value of 9 bytes, the map has 8"), "{long}");
    ensure_eq!(map.lookup(&[0; 3]).expect_err("3 bytes for 4").errno, Errno::EMSGSIZE);
    ensure_eq!(map.update_batch(&[0; 8], &[0; 15], ElemFlags::NONE).expect_err("15").errno, Errno::EMSGSIZE);
    Ok(())
}

fn flags() -> Outcome {
    let map = hash(1)?;
    map.update(&key(1), &value(1), ElemFlags::NOEXIST)?;
    let twice = map.update(&key(1), &value(1), ElemFlags::NOEXIST).expect_err("exists");
    ensure_eq!(twice.errno, Errno::EEXIST);
    let absent = map.update(&key(2), &value(1), ElemFlags::EXIST).expect_err("does not exist");
    ensure_eq!(absent.errno, Errno::ENOENT);
    let full = map.update(&key(2), &value(1), ElemFlags::NONE).expect_err("full");
    ensure_eq!(full.errno, Errno::E2BIG);
    Ok(())
}

fn batches() -> Outcome {
    let map = hash(1000)?;
    let keys: Vec<u8> = (0..300u32).flat_map(key).collect();
    let values: Vec<u8> = (0..300u64).flat_map(|n| value(n * n)).collect();
    ensure_eq!(map.update_batch(&keys, &values, ElemFlags::NONE)?, 300);
    let mut cursor = BatchCursor::default();
    let mut seen = Vec::new();
    while !cursor.is_done() {
        let part = map.lookup_batch(&mut cursor, 70, false)?;
        seen.extend(part.iter().map(|(k, v)| (k.to_vec(), v.to_vec())));
    }
    let mut dumped: Vec<_> = map.dump()?.iter().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
    seen.sort();
    dumped.sort();
    ensure_eq!(seen.len(), 300);
    ensure!(seen == dumped, "batches and dump differ");
    ensure!(seen.contains(&(key(17).to_vec(), value(289).to_vec())), "17 is not mapped to 289");
    ensure_eq!(map.delete_batch(&keys[..400])?, 100);
    ensure_eq!(map.dump()?.len(), 200);
    let mut cursor = BatchCursor::default();
    let taken = map.lookup_batch(&mut cursor, 1000, true)?;
    ensure_eq!(taken.len(), 200);
    ensure!(map.dump()?.is_empty(), "lookup and delete left elements");
    Ok(())
}

fn large_dump() -> Outcome {
    let map = Map::create(&MapCreate {
        map_type: MapType::HASH,
        key_size: 4,
        value_size: 1024,
        max_entries: 2000,
        ..MapCreate::default()
    })?;
    for n in 0..2000u32 {
        map.update(&key(n), &[n as u8; 1024], ElemFlags::NONE)?;
    }
    let all = map.dump()?;
    ensure_eq!(all.len(), 2000);
    let sum: u64 =
        all.iter().map(|(k, _)| u64::from(u32::from_ne_bytes(k.try_into().expect("4 bytes")))).sum();
    ensure_eq!(sum, 1999 * 2000 / 2);
    ensure!(all.iter().all(|(k, v)| v.iter().all(|b| *b == k[0])), "a value is not that of its key");
    Ok(())
}

fn per_cpu() -> Outcome {
    let map = Map::create(&MapCreate {
        map_type: MapType::PERCPU_ARRAY,
        key_size: 4,
        value_size: 4,
        max_entries: 2,
        ..MapCreate::default()
    })?;
    let cpus = cpu::possible_count()?;
    ensure_eq!(map.shape().value_bytes, cpus * 8);
    let mut wanted = Vec::new();
    for cpu in 0..cpus as u64 {
        wanted.extend(value(cpu + 1));
    }
    map.update(&key(1), &wanted, ElemFlags::NONE)?;
    ensure_eq!(map.lookup(&key(1))?, Some(wanted.clone()));
    let dump = map.dump()?;
    ensure_eq!(dump.len(), 2);
    ensure_eq!(dump.iter().nth(1).map(|(_, v)| v.to_vec()), Some(wanted));
    Ok(())
}

fn queue() -> Outcome {
    let map = Map::create(&MapCreate {
        map_type: MapType::QUEUE,
        value_size: 8,
        max_entries: 4,
        ..MapCreate::default()
    })?;
    for n in [3, 5, 7] {
        map.update(&[], &value(n), ElemFlags::NONE)?;
    }
    ensure_eq!(map.lookup(&[])?.as_deref(), Some(&value(3)[..]));
    for n in [3, 5, 7] {
        ensure_eq!(map.lookup_and_delete(&[])?.as_deref(), Some(&value(n)[..]));
    }
    ensure_eq!(map.lookup_and_delete(&[])?, None);
    Ok(())
}

fn array(flags: MapFlags, value_size: u32, max_entries: u32) -> Result<Map, skep_sys::SysError> {
    Map::create(&MapCreate {
        map_type: MapType::ARRAY,
        key_size: 4,
        value_size,
        max_entries,
        flags,
        name: "skep.array",
        ..MapCreate::default()
    })
}

fn frozen() -> Outcome {
    let map = array(MapFlags::NONE, 8, 1)?;
    map.update(&key(0), &value(4), ElemFlags::NONE)?;
    map.freeze()?;
    let refused = map.update(&key(0), &value(5), ElemFlags::NONE).expect_err("frozen");
    ensure!(refused.is_permission(), "{refused}");
    ensure_eq!(map.lookup(&key(0))?.as_deref(), Some(&value(4)[..]));
    Ok(())
}

fn info() -> Outcome {
    let map = array(MapFlags::MMAPABLE, 12, 5)?;
    let info = map.info()?;
    ensure_eq!(info.map_type, MapType::ARRAY);
    ensure_eq!((info.key_size, info.value_size, info.max_entries), (4, 12, 5));
    ensure_eq!(info.name, "skep.array");
    ensure_eq!(info.map_flags, MapFlags::MMAPABLE.0);
    ensure!(
        ObjectKind::Map.ids().any(|id| matches!(id, Ok(id) if id == info.id)),
        "id {} is not listed",
        info.id
    );
    let again = Map::from_id(info.id)?;
    ensure_eq!(*again.shape(), *map.shape());
    let read_only = Map::from_fd(ObjectKind::Map.open_id(info.id, Access::ReadOnly)?)?;
    ensure!(read_only.update(&key(0), &[0; 12], ElemFlags::NONE).is_err(), "written through a read-only fd");
    drop((map, again, read_only));
    let gone = Map::from_id(info.id).expect_err("the map is gone");
    ensure!(gone.is_not_found(), "{gone}");
    let file = std::fs::File::open("/proc/self/stat")?;
    let no_map = MapInfo::of(file.as_fd()).expect_err("not a map");
    ensure_eq!(no_map.errno, Errno::EINVAL);
    Ok(())
}

fn shared() -> Outcome {
    let map = array(MapFlags::MMAPABLE, 12, 1000)?;
    let memory = SharedArray::new(&map)?;
    let reader = SharedArray::read_only(&map)?;
    ensure_eq!((memory.stride(), memory.len()), (16, 16_000));
    map.update(&key(999), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], ElemFlags::NONE)?;
    let mut bytes = [0; 12];
    ensure!(memory.read(999 * 16, &mut bytes), "the last element is inside");
    ensure_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let word = memory.atomic_u64(16).expect("inside and aligned");
    word.fetch_add(77, Ordering::SeqCst);
    ensure_eq!(reader.load_u64(16), Some(77));
    ensure_eq!(map.lookup(&key(1))?.map(|v| v[0]), Some(77));
    ensure!(memory.write(16, b"abcd"), "inside");
    ensure_eq!(map.lookup(&key(1))?.map(|v| v[..4].to_vec()), Some(b"abcd".to_vec()));
    // Off the end, off the alignment, and stores through a read-only view.
    ensure!(memory.atomic_u64(16_000).is_none() && memory.atomic_u64(15_996).is_none(), "outside");
    ensure!(memory.atomic_u64(4).is_none() && memory.atomic_u32(4).is_some(), "alignment");
    ensure!(memory.load_u64(usize::MAX).is_none() && !memory.read(15_999, &mut bytes), "outside");
    ensure!(reader.atomic_u64(16).is_none() && !reader.write(16, b"x"), "read-only");
    let hash = hash(4)?;
    ensure_eq!(SharedArray::new(&hash).expect_err("a hash").errno, Errno::EINVAL);
    Ok(())
}

fn nested() -> Outcome {
    let inner = array(MapFlags::NONE, 8, 1)?;
    let outer = Map::create(&MapCreate {
        map_type: MapType::HASH_OF_MAPS,
        key_size: 4,
        value_size: 4,
        max_entries: 4,
        inner_map: Some(inner.as_fd()),
        ..MapCreate::default()
    })?;
    outer.update_fd(&key(9), inner.as_fd(), ElemFlags::NONE)?;
    let id = outer.lookup(&key(9))?.expect("just stored");
    ensure_eq!(id, inner.info()?.id.to_ne_bytes());
    Ok(())
}

fn fds() -> Outcome {
    use rustix::io::{FdFlags, fcntl_getfd};
    let map = hash(1)?;
    ensure!(fcntl_getfd(map.as_fd())?.contains(FdFlags::CLOEXEC), "map fd");
    ensure!(fcntl_getfd(map.try_clone()?.as_fd())?.contains(FdFlags::CLOEXEC), "cloned fd");
    ensure!(fcntl_getfd(Map::from_id(map.info()?.id)?.as_fd())?.contains(FdFlags::CLOEXEC), "fd by id");
    Ok(())
}
