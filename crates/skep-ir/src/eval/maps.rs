//! Maps as tables.

use super::memory::Object;
use super::{Elements, Machine, Trap};
use crate::module::{Map, MapId, MapKind};
use std::collections::BTreeMap;

/// Elements by key and CPU: the address of the value. Maps that are not per CPU use CPU 0.
#[derive(Clone, Debug, Default)]
pub(super) struct MapState {
    values: BTreeMap<(Vec<u8>, u32), u64>,
}

// Error numbers of include/uapi/asm-generic/errno-base.h.
const ENOENT: i64 = -2;
const E2BIG: i64 = -7;
const EEXIST: i64 = -17;
const EINVAL: i64 = -22;

impl Machine<'_> {
    fn map(&self, id: MapId) -> &Map {
        &self.module.maps[id]
    }

    /// The map that an address of a map stands for.
    pub(super) fn map_at(&self, address: u64) -> Result<MapId, Trap> {
        let number = address.wrapping_sub(super::MAPS);
        let id = u32::try_from(number).ok().map(MapId::from_u32).filter(|&id| self.module.maps.is_valid(id));
        id.ok_or(Trap::Access { at: address, len: 0 })
    }

    pub(super) fn preload(&mut self, id: MapId, key: &[u8], value: &[u8]) {
        let cpus = if self.map(id).kind.is_per_cpu() { self.kernel.possible_cpus() } else { 1 };
        for cpu in 0..cpus {
            let at = self.memory.add(Object::new(value.to_vec()));
            self.maps[id].values.insert((key.to_vec(), cpu), at);
        }
    }

    /// The address of a value, or 0.
    pub(super) fn lookup(&mut self, id: MapId, key: &[u8], cpu: u32) -> u64 {
        let map = self.map(id);
        let cpu = if map.kind.is_per_cpu() { cpu } else { 0 };
        if map.kind == MapKind::LpmTrie {
            return self.longest_prefix(id, key);
        }
        let place = (key.to_vec(), cpu);
        if let Some(&at) = self.maps[id].values.get(&place) {
            return at;
        }
        // The elements of arrays, and other CPUs' values of elements that are there, are zeros from the beginning.
        let number = key.try_into().map_or(u32::MAX, u32::from_le_bytes);
        let exists = if map.kind.is_array() {
            number < map.max_entries
        } else {
            map.kind.is_per_cpu()
                && self.maps[id].values.range((key.to_vec(), 0)..=(key.to_vec(), u32::MAX)).next().is_some()
        };
        if !exists || cpu >= self.kernel.possible_cpus().max(1) {
            return 0;
        }
        let size = self.map(id).value_size;
        let at = self.memory.add(Object::new(vec![0; size as usize]));
        self.maps[id].values.insert(place, at);
        at
    }

    /// The element whose prefix of the key is the longest (`struct bpf_lpm_trie_key` of `linux/bpf.h`).
    fn longest_prefix(&self, id: MapId, key: &[u8]) -> u64 {
        let prefix = |k: &[u8]| k.get(..4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let wanted = prefix(key);
        let matches = |k: &[u8]| {
            let bits = prefix(k);
            bits <= wanted
                && (0..bits as usize).all(|bit| {
                    let at = |k: &[u8]| k.get(4 + bit / 8).map_or(0, |b| b >> (7 - bit % 8) & 1);
                    at(k) == at(key)
                })
        };
        let found = self.maps[id].values.iter().filter(|((k, _), _)| matches(k));
        found.max_by_key(|((k, _), _)| prefix(k)).map_or(0, |(_, &at)| at)
    }

    pub(super) fn update(&mut self, id: MapId, key: &[u8], value: &[u8], flags: u64) -> Result<i64, Trap> {
        const NOEXIST: u64 = 1;
        const EXIST: u64 = 2;
        let map = self.map(id);
        let (kind, max, size) = (map.kind, map.max_entries, map.value_size);
        let number = key.try_into().map_or(u32::MAX, u32::from_le_bytes);
        if kind.is_array() && number >= max {
            return Ok(E2BIG);
        }
        let at = self.lookup(id, key, self.cpu);
        if at != 0 && flags & NOEXIST != 0 {
            return Ok(EEXIST);
        }
        if at == 0 && flags & EXIST != 0 {
            return Ok(ENOENT);
        }
        if at != 0 {
            self.memory.bytes_mut(at, u64::from(size))?.copy_from_slice(value);
            return Ok(0);
        }
        let keys =
            self.maps[id].values.keys().map(|(k, _)| k).collect::<std::collections::BTreeSet<_>>().len();
        if keys >= max as usize {
            if !matches!(kind, MapKind::LruHash | MapKind::LruPercpuHash) {
                return Ok(E2BIG);
            }
            let oldest = self.maps[id].values.keys().next().map(|(k, _)| k.clone());
            self.maps[id].values.retain(|(k, _), _| Some(k) != oldest.as_ref());
        }
        let cpu = if kind.is_per_cpu() { self.cpu } else { 0 };
        let at = self.memory.add(Object::new(value.to_vec()));
        self.maps[id].values.insert((key.to_vec(), cpu), at);
        Ok(0)
    }

    pub(super) fn delete(&mut self, id: MapId, key: &[u8]) -> i64 {
        if self.map(id).kind.is_array() {
            return EINVAL;
        }
        let before = self.maps[id].values.len();
        // Values stay readable through pointers that were found before, as they do until a grace period ends.
        self.maps[id].values.retain(|(k, _), _| k != key);
        if self.maps[id].values.len() < before { 0 } else { ENOENT }
    }

    /// Calls `f` with key and value of every element in the order of keys, until it returns something else
    /// than 0. The result is the number of elements that it was called for.
    pub(super) fn for_each(
        &mut self,
        id: MapId,
        f: &mut dyn FnMut(&mut Self, u64, u64) -> Result<u64, Trap>,
    ) -> Result<u64, Trap> {
        let map = self.map(id);
        let keys: Vec<Vec<u8>> = if map.kind.is_array() {
            (0..map.max_entries).map(|n| n.to_le_bytes().to_vec()).collect()
        } else {
            let mut keys: Vec<_> = self.maps[id].values.keys().map(|(k, _)| k.clone()).collect();
            keys.dedup();
            keys
        };
        let mut visited = 0;
        for key in keys {
            let value = self.lookup(id, &key, self.cpu);
            if value == 0 {
                continue;
            }
            let key = self.memory.add(Object { bytes: key, read_only: true });
            visited += 1;
            let stop = f(self, key, value)?;
            self.memory.remove(key);
            if stop != 0 {
                break;
            }
        }
        Ok(visited)
    }

    /// Elements with their values; those of arrays that are still zero are left out.
    pub(super) fn contents(&self, id: MapId) -> Elements {
        let bytes = |at: &u64| self.memory.object(*at).map(|o| o.bytes.clone()).unwrap_or_default();
        let all = self.maps[id].values.iter().map(|(k, at)| (k.clone(), bytes(at)));
        let array = self.map(id).kind.is_array();
        all.filter(|(_, v)| !array || v.iter().any(|&b| b != 0)).collect()
    }
}
