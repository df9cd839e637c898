//! Live maps, read and cleared for printing while programs go on using them.

use skep_sys::SysError;
use skep_sys::bpf::{ElemFlags, Map, MapType};
use std::collections::HashSet;

/// A map seen as elements of bytes.
///
/// Programs change maps at any time. What is read is what was there at some moment of the reading, each element
/// once, and reading ends however fast programs write.
#[derive(Copy, Clone, Debug)]
pub struct LiveMap<'m> {
    map: &'m Map,
}

/// Elements of a map: what was there when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Keys and values, in the order of the kernel. The value of a per-CPU map is that of CPU 0, 1... one after
    /// the other, see [`Snapshot::cpu_values`].
    pub elements: Vec<(Vec<u8>, Vec<u8>)>,
    value_size: usize,
    stride: usize,
}

impl Snapshot {
    /// The values of one element: one for each possible CPU in per-CPU maps, else one.
    pub fn cpu_values<'v>(&self, value: &'v [u8]) -> impl Iterator<Item = &'v [u8]> + use<'v> {
        let (size, stride) = (self.value_size, self.stride.max(1));
        value.chunks(stride).filter_map(move |slot| slot.get(..size))
    }
}

impl<'m> LiveMap<'m> {
    /// The map as elements.
    #[must_use]
    pub fn new(map: &'m Map) -> Self {
        LiveMap { map }
    }

    /// All elements, each key once.
    ///
    /// # Errors
    /// The kernel refuses to read maps of this kind.
    pub fn elements(&self) -> Result<Snapshot, SysError> {
        let shape = self.map.shape();
        let dump = self.map.dump()?;
        let mut seen = HashSet::with_capacity(dump.len());
        // A hash that grows while it is read can yield an element twice.
        let once = dump.iter().filter(|(key, _)| seen.insert(*key));
        let elements = once.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        let stride = if shape.is_per_cpu() { shape.cpu_stride() } else { shape.value_size };
        Ok(Snapshot { elements, value_size: shape.value_size, stride })
    }

    /// The value of a key, in per-CPU maps of all CPUs one after the other; `None` if there is none.
    ///
    /// # Errors
    /// The key is of another size, or the kernel refuses.
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, SysError> {
        self.map.lookup(key)
    }

    /// Writes an element; see [`Map::update`].
    ///
    /// # Errors
    /// `E2BIG`: the map is full.
    pub fn update(&self, key: &[u8], value: &[u8]) -> Result<(), SysError> {
        self.map.update(key, value, ElemFlags::NONE)
    }

    /// Removes an element; `false` if there was none.
    ///
    /// # Errors
    /// Elements of arrays cannot be removed.
    pub fn delete(&self, key: &[u8]) -> Result<bool, SysError> {
        self.map.delete(key)
    }

    /// Removes every element that is there now; elements of arrays, which cannot be removed, become zero. What
    /// programs add meanwhile may stay.
    ///
    /// # Errors
    /// Those of the kernel; what was removed before stays removed.
    pub fn clear(&self) -> Result<(), SysError> {
        if is_array(self.map) {
            return self.zero();
        }
        let keys = self.keys()?;
        if keys.is_empty() {
            return Ok(());
        }
        let all: Vec<u8> = keys.concat();
        // A batch ends at the first element that is gone already, and not every kind has batches.
        match self.map.delete_batch(&all) {
            Ok(_) => Ok(()),
            Err(_) => keys.iter().try_for_each(|key| self.map.delete(key).map(drop)),
        }
    }

    /// Sets every value to zero and keeps the keys. Elements that go away meanwhile are not brought back.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn zero(&self) -> Result<(), SysError> {
        let zero = vec![0; self.map.shape().value_bytes];
        for key in self.keys()? {
            match self.map.update(&key, &zero, ElemFlags::EXIST) {
                Err(e) if !e.is_not_found() => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// Every key once. The kernel starts over when the key that it is to go on from is gone
    /// (kernel/bpf/hashtab.c, `htab_map_get_next_key`): keys that come again are passed over, and the walk ends
    /// after twice as many steps as the map holds elements.
    fn keys(&self) -> Result<Vec<Vec<u8>>, SysError> {
        let shape = self.map.shape();
        let mut keys = Vec::new();
        let mut seen = HashSet::new();
        let mut last: Option<Vec<u8>> = None;
        for _ in 0..u64::from(shape.max_entries) * 2 {
            let mut next = vec![0; shape.key_size];
            if !self.map.next_key_into(last.as_deref(), &mut next)? {
                break;
            }
            if seen.insert(next.clone()) {
                keys.push(next.clone());
            }
            last = Some(next);
        }
        Ok(keys)
    }
}

fn is_array(map: &Map) -> bool {
    matches!(map.shape().map_type, MapType::ARRAY | MapType::PERCPU_ARRAY)
}
