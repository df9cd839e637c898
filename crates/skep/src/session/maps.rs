//! The maps of a running script.

use skep_ir::MapId;
use skep_load::{LiveMap, Loaded};
use skep_sys::SysError;
use skep_sys::bpf::{ElemFlags, Map};
use skep_trace::output::{MapError, Maps};
use skep_trace::plan::{MapPlan, Storage};

/// Bytes of the word behind a value that says that it was written, see [`Storage::Single`].
const WRITTEN: usize = 8;

/// Loaded maps, for printing.
pub(crate) struct LiveMaps<'l> {
    loaded: &'l Loaded,
}

impl<'l> LiveMaps<'l> {
    pub(crate) fn new(loaded: &'l Loaded) -> Self {
        LiveMaps { loaded }
    }

    fn get(&self, map: MapId) -> Result<&'l Map, MapError> {
        self.loaded.maps.get(map).ok_or_else(|| MapError(format!("there is no map {}", map.as_u32())))
    }

    /// `clear(@m)`: removes everything.
    pub(crate) fn clear(&self, plan: &MapPlan) -> Result<(), MapError> {
        LiveMap::new(self.get(plan.id)?).clear().map_err(|e| failed(&e))
    }

    /// `zero(@m)`: sets all values to zero.
    pub(crate) fn zero(&self, plan: &MapPlan) -> Result<(), MapError> {
        let map = self.get(plan.id)?;
        let result = match plan.storage {
            Storage::Single { .. } => zero_single(map),
            Storage::Hash { .. } | Storage::Buckets | Storage::KeyedBuckets => LiveMap::new(map).zero(),
        };
        result.map_err(|e| failed(&e))
    }
}

/// Zeroes the value of each CPU and leaves the word behind it.
fn zero_single(map: &Map) -> Result<(), SysError> {
    let key = 0u32.to_ne_bytes();
    let Some(mut value) = map.lookup(&key)? else { return Ok(()) };
    let shape = map.shape();
    let stride = if shape.is_per_cpu() { shape.cpu_stride() } else { shape.value_size };
    let used = shape.value_size.saturating_sub(WRITTEN);
    for share in value.chunks_mut(stride.max(1)) {
        let used = used.min(share.len());
        share[..used].fill(0);
    }
    map.update(&key, &value, ElemFlags::NONE)
}

fn failed(error: &SysError) -> MapError {
    MapError(error.to_string())
}

impl Maps for LiveMaps<'_> {
    fn possible_cpus(&self) -> usize {
        // Where the number cannot be read, no per-CPU map could be made.
        skep_sys::cpu::possible_count().unwrap_or(1)
    }

    fn elements(&mut self, map: MapId, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), MapError> {
        let snapshot = LiveMap::new(self.get(map)?).elements().map_err(|e| failed(&e))?;
        for (key, value) in &snapshot.elements {
            each(key, value);
        }
        Ok(())
    }

    fn lookup(&mut self, map: MapId, key: &[u8], value: &mut Vec<u8>) -> Result<bool, MapError> {
        let map = self.get(map)?;
        value.resize(map.shape().value_bytes, 0);
        map.lookup_into(key, value, ElemFlags::NONE).map_err(|e| failed(&e))
    }
}
