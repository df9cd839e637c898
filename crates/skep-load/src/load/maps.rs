//! Maps as the kernel wants them.

use super::LoadOptions;
use crate::failure::LoadFailure;
use crate::kernel::LiveKernel;
use crate::verifier;
use cranelift_entity::PrimaryMap;
use skep_ir::kernel::KernelInfo;
use skep_ir::module::{MapId, MapKind};
use skep_ir::spec::{Collection, MapSpec};
use skep_sys::bpf::{Btf, ElemFlags, Map, MapCreate, MapFlags, MapShape, MapType, pin};
use skep_sys::{Errno, SysError};
use std::borrow::Cow;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// Creates all maps, templates of inner maps before the maps that hold them.
pub(super) fn create_all(
    collection: &Collection,
    kernel: &LiveKernel,
    btf: Option<&Btf>,
    options: &LoadOptions<'_>,
) -> Result<PrimaryMap<MapId, Map>, LoadFailure> {
    let mut made: PrimaryMap<MapId, Option<Map>> = collection.maps.keys().map(|_| None).collect();
    let maker = Maker { kernel, btf, options };
    // A map of maps holds no maps of maps (kernel/bpf/map_in_map.c, `bpf_map_meta_alloc`): two rounds do.
    for holds_maps in [false, true] {
        for (id, spec) in collection.maps.iter().filter(|(_, s)| s.map.inner.is_some() == holds_maps) {
            let inner = spec.map.inner.and_then(|inner| made.get(inner)?.as_ref());
            let map = maker.make(spec, inner).map_err(|e| verifier::map_failure(kernel, id, spec, e))?;
            made[id] = Some(map);
        }
    }
    // Each map was made in one of the rounds.
    Ok(made.into_iter().filter_map(|(_, map)| map).collect())
}

/// The map of variables that stand for values of the kernel's configuration; zeros in it would be wrong answers.
const KCONFIG: &str = ".kconfig";

struct Maker<'a> {
    kernel: &'a LiveKernel,
    btf: Option<&'a Btf>,
    options: &'a LoadOptions<'a>,
}

impl Maker<'_> {
    fn make(&self, spec: &MapSpec, inner: Option<&Map>) -> Result<Map, SysError> {
        if spec.map.name == KCONFIG {
            return Err(SysError::new("bpf(BPF_MAP_CREATE)", Errno::EOPNOTSUPP)
                .about("values of the kernel's configuration are not filled in"));
        }
        let place = self.pin_path(spec)?;
        if let Some(path) = &place
            && let Some(map) = open_pinned(spec, path, self.max_entries(spec))?
        {
            return Ok(map);
        }
        let map = self.create(spec, inner)?;
        fill(&map, spec)?;
        if spec.frozen {
            // Where maps cannot be frozen the verifier does not fold their constants; nothing else is lost.
            match map.freeze() {
                Err(e) if !e.is_unsupported() => return Err(e),
                _ => {}
            }
        }
        if let Some(path) = &place {
            pin(map.as_fd(), path)?;
        }
        Ok(map)
    }

    fn create(&self, spec: &MapSpec, inner: Option<&Map>) -> Result<Map, SysError> {
        let map = &spec.map;
        let plain = MapCreate {
            map_type: MapType(map.kind as u32),
            key_size: map.key_size,
            value_size: map.value_size,
            max_entries: self.max_entries(spec),
            flags: MapFlags(map.flags),
            name: &map.name,
            inner_map: inner.map(AsFd::as_fd),
            ..MapCreate::default()
        };
        let described = match self.btf {
            Some(btf) if takes_btf(spec) => MapCreate {
                btf: Some(btf.as_fd()),
                btf_key_type_id: spec.btf_key,
                btf_value_type_id: spec.btf_value,
                ..plain
            },
            _ => return Map::create(&plain),
        };
        match Map::create(&described) {
            // Kinds differ in which types they accept, and kernels in the kinds; the types are for dumps only.
            Err(e) if e.is_unsupported() && !needs_btf(map.kind) => Map::create(&plain),
            other => other,
        }
    }

    /// Sizes that the kernel insists on: rings are a power of two of whole pages (kernel/bpf/ringbuf.c,
    /// `ringbuf_map_alloc`), a perf event array without a size has an element for each CPU.
    fn max_entries(&self, spec: &MapSpec) -> u32 {
        let wanted = spec.map.max_entries;
        match spec.map.kind {
            MapKind::RingBuf | MapKind::UserRingBuf => {
                let pages = wanted.max(self.kernel.page_size());
                pages.checked_next_power_of_two().unwrap_or(1 << 31)
            }
            MapKind::PerfEventArray if wanted == 0 => self.kernel.possible_cpus(),
            _ => wanted,
        }
    }

    fn pin_path(&self, spec: &MapSpec) -> Result<Option<PathBuf>, SysError> {
        match (&spec.map.pin, self.options.pin_dir) {
            (None, _) => Ok(None),
            (Some(name), Some(dir)) => Ok(Some(dir.join(name))),
            (Some(name), None) => Err(SysError::new("bpf(BPF_OBJ_PIN)", Errno::ENOENT)
                .about(format!("map {name} is to be pinned, and no directory is given for it"))),
        }
    }
}

/// A map that is pinned at a path already, if it is the one that the spec describes; `EEXIST` if it is another.
fn open_pinned(spec: &MapSpec, path: &std::path::Path, max_entries: u32) -> Result<Option<Map>, SysError> {
    let map = match Map::from_pin(path) {
        Ok(map) => map,
        Err(e) if e.is_not_found() => return Ok(None),
        Err(e) => return Err(e),
    };
    let MapShape { map_type, key_size, value_size, max_entries: entries, .. } = *map.shape();
    let wanted = &spec.map;
    let same = map_type.0 == wanted.kind as u32
        && key_size == wanted.key_size as usize
        && value_size == wanted.value_size as usize
        && entries == max_entries;
    if same {
        return Ok(Some(map));
    }
    Err(SysError::new("bpf(BPF_OBJ_GET)", Errno::EEXIST).about(format!(
        "{} holds a {map_type} map with keys of {key_size} and values of {value_size} bytes and {entries} entries",
        path.display()
    )))
}

/// Whether a map may have BTF of its key and value. The kernel refuses it for kinds whose values are
/// descriptors or its own structures.
fn takes_btf(spec: &MapSpec) -> bool {
    use MapKind::{
        Arena, ArrayOfMaps, BloomFilter, CgroupArray, Cpumap, Devmap, DevmapHash, HashOfMaps, InsnArray,
        PerfEventArray, ProgArray, Queue, ReuseportSockarray, RingBuf, Sockhash, Sockmap, Stack, StackTrace,
        UserRingBuf, Xskmap,
    };
    let refuses = matches!(
        spec.map.kind,
        ProgArray
            | PerfEventArray
            | StackTrace
            | CgroupArray
            | ArrayOfMaps
            | HashOfMaps
            | Devmap
            | DevmapHash
            | Sockmap
            | Sockhash
            | Cpumap
            | Xskmap
            | ReuseportSockarray
            | Queue
            | Stack
            | RingBuf
            | UserRingBuf
            | BloomFilter
            | Arena
            | InsnArray
    );
    spec.btf_value != 0 && !refuses
}

/// Local storage exists only with BTF (kernel/bpf/bpf_local_storage.c, `bpf_local_storage_map_alloc_check`).
fn needs_btf(kind: MapKind) -> bool {
    use MapKind::{CgrpStorage, InodeStorage, SkStorage, TaskStorage};
    matches!(kind, SkStorage | InodeStorage | TaskStorage | CgrpStorage)
}

fn fill(map: &Map, spec: &MapSpec) -> Result<(), SysError> {
    let shape = map.shape();
    for (key, value) in &spec.map.contents {
        // Contents are of one CPU; all get the same.
        let value: Cow<'_, [u8]> = if shape.is_per_cpu() && value.len() == shape.value_size {
            let mut one = value.clone();
            one.resize(shape.cpu_stride(), 0);
            Cow::Owned(one.repeat(shape.value_bytes / shape.cpu_stride().max(1)))
        } else {
            Cow::Borrowed(value)
        };
        map.update(key, &value, ElemFlags::NONE)?;
    }
    Ok(())
}
