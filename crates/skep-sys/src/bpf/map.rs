//! Maps: creation and access by key.

use super::attr::{MapCreateAttr, MapElemAttr};
use super::info::MapInfo;
use super::kinds::{ElemFlags, MapFlags, MapType};
use super::sys::{Cmd, bpf, bpf_fd, input, object_name, output};
use crate::cpu;
use crate::error::{Errno, Result, SysError};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What `BPF_MAP_CREATE` is asked for. Zero and `None` are the kernel's defaults.
#[derive(Debug, Clone, Copy, Default)]
pub struct MapCreate<'a> {
    /// Kind of map.
    pub map_type: MapType,
    /// Key size in bytes.
    pub key_size: u32,
    /// Value size in bytes; per-CPU maps have one such value for every possible CPU.
    pub value_size: u32,
    /// Number of elements; bytes for ring buffers, pages for arenas.
    pub max_entries: u32,
    /// Flags; those that belong to the fds below are added.
    pub flags: MapFlags,
    /// Name for listings: cut to 15 bytes, characters outside `[A-Za-z0-9_.]` become `_`.
    pub name: &'a str,
    /// Template of the inner maps of an array or hash of maps.
    pub inner_map: Option<BorrowedFd<'a>>,
    /// NUMA node of the memory.
    pub numa_node: Option<u32>,
    /// Device that the map is offloaded to.
    pub ifindex: u32,
    /// BTF that describes key and value.
    pub btf: Option<BorrowedFd<'a>>,
    /// Type of the key in `btf`.
    pub btf_key_type_id: u32,
    /// Type of the value in `btf`.
    pub btf_value_type_id: u32,
    /// struct_ops: the value type in the kernel's BTF.
    pub btf_vmlinux_value_type_id: u32,
    /// struct_ops: BTF of the module that `btf_vmlinux_value_type_id` belongs to.
    pub value_type_btf_obj: Option<BorrowedFd<'a>>,
    /// Kind specific: number of hash functions of a bloom filter, address of an arena.
    pub map_extra: u64,
    /// BPF token that grants the creation.
    pub token: Option<BorrowedFd<'a>>,
}

/// An open map, with the sizes that the kernel reads and writes for it.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    shape: MapShape,
}

/// The fixed properties of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapShape {
    /// Kind of map.
    pub map_type: MapType,
    /// Key size in bytes.
    pub key_size: usize,
    /// Value size in bytes, as at creation.
    pub value_size: usize,
    /// Number of elements (bytes of a ring buffer).
    pub max_entries: u32,
    /// Flags.
    pub flags: MapFlags,
    /// Size of the buffer that a lookup fills and an update reads: for per-CPU maps the value rounded up to
    /// 8 bytes, times the number of possible CPUs.
    pub value_bytes: usize,
}

impl MapShape {
    /// Sizes after kernel/bpf/syscall.c, `bpf_map_value_size`.
    fn new(
        map_type: MapType,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        flags: MapFlags,
    ) -> Result<Self> {
        let value = value_size as usize;
        let value_bytes = match map_type {
            MapType::PERCPU_HASH
            | MapType::LRU_PERCPU_HASH
            | MapType::PERCPU_ARRAY
            | MapType::PERCPU_CGROUP_STORAGE => {
                value.next_multiple_of(8).saturating_mul(cpu::possible_count()?)
            }
            MapType::PERF_EVENT_ARRAY
            | MapType::PROG_ARRAY
            | MapType::CGROUP_ARRAY
            | MapType::ARRAY_OF_MAPS
            | MapType::HASH_OF_MAPS => value.max(4),
            _ => value,
        };
        Ok(MapShape {
            map_type,
            key_size: key_size as usize,
            value_size: value,
            max_entries,
            flags,
            value_bytes,
        })
    }

    /// Whether a lookup yields one value per possible CPU.
    pub fn is_per_cpu(&self) -> bool {
        matches!(
            self.map_type,
            MapType::PERCPU_HASH
                | MapType::LRU_PERCPU_HASH
                | MapType::PERCPU_ARRAY
                | MapType::PERCPU_CGROUP_STORAGE
        )
    }

    /// Distance in bytes between the values of two CPUs in a per-CPU lookup.
    pub fn cpu_stride(&self) -> usize {
        self.value_size.next_multiple_of(8)
    }
}

impl Map {
    /// Creates a map.
    pub fn create(create: &MapCreate<'_>) -> Result<Map> {
        let fd = |fd: Option<BorrowedFd<'_>>| fd.map_or(0, |fd| fd.as_raw_fd());
        let mut flags = create.flags;
        if create.numa_node.is_some() {
            flags = flags | MapFlags::NUMA_NODE;
        }
        if create.token.is_some() {
            flags = flags | MapFlags::TOKEN_FD;
        }
        // BPF_F_VTYPE_BTF_OBJ_FD (1 << 15): the kernel reads value_type_btf_obj_fd only with it.
        let raw_flags = flags.0 | if create.value_type_btf_obj.is_some() { 1 << 15 } else { 0 };
        let mut attr = MapCreateAttr {
            map_type: create.map_type.0,
            key_size: create.key_size,
            value_size: create.value_size,
            max_entries: create.max_entries,
            map_flags: raw_flags,
            inner_map_fd: fd(create.inner_map) as u32,
            numa_node: create.numa_node.unwrap_or(0),
            map_name: object_name(create.name),
            map_ifindex: create.ifindex,
            btf_fd: fd(create.btf) as u32,
            btf_key_type_id: create.btf_key_type_id,
            btf_value_type_id: create.btf_value_type_id,
            btf_vmlinux_value_type_id: create.btf_vmlinux_value_type_id,
            map_extra: create.map_extra,
            value_type_btf_obj_fd: fd(create.value_type_btf_obj),
            map_token_fd: fd(create.token),
        };
        // SAFETY: the attribute holds no addresses.
        let fd = unsafe { bpf_fd(Cmd::MAP_CREATE, &mut attr) }.map_err(|e| {
            let (kind, name) = (create.map_type, create.name);
            e.about(format!(
                "{kind} map {name:?}, key {} value {} bytes, {} entries",
                create.key_size, create.value_size, create.max_entries
            ))
        })?;
        // The kernel rounds or sets some sizes itself (a ring buffer's, an arena's), none of which it moves
        // through bpf(2).
        let shape =
            MapShape::new(create.map_type, create.key_size, create.value_size, create.max_entries, flags)?;
        Ok(Map { fd, shape })
    }

    /// Takes over an open map, asking the kernel for its sizes. Fails with `EINVAL` if it is no map.
    pub fn from_fd(fd: OwnedFd) -> Result<Map> {
        let info = MapInfo::of(fd.as_fd())?;
        let shape = MapShape::new(
            info.map_type,
            info.key_size,
            info.value_size,
            info.max_entries,
            MapFlags(info.map_flags),
        )?;
        Ok(Map { fd, shape })
    }

    /// A second handle on the same map.
    pub fn try_clone(&self) -> Result<Map> {
        let fd = self.fd.try_clone().map_err(|e| SysError::io("fcntl(F_DUPFD_CLOEXEC)", &e))?;
        Ok(Map { fd, shape: self.shape })
    }

    /// Kind and sizes.
    pub fn shape(&self) -> &MapShape {
        &self.shape
    }

    /// What the kernel tells about the map.
    pub fn info(&self) -> Result<MapInfo> {
        MapInfo::of(self.as_fd())
    }

    fn check_key(&self, cmd: Cmd, key: &[u8]) -> Result<()> {
        if key.len() == self.shape.key_size {
            return Ok(());
        }
        let want = self.shape.key_size;
        Err(cmd.error(Errno::EMSGSIZE).about(format!("key of {} bytes, the map has {want}", key.len())))
    }

    fn check_value(&self, cmd: Cmd, len: usize) -> Result<()> {
        if len == self.shape.value_bytes {
            return Ok(());
        }
        let want = self.shape.value_bytes;
        Err(cmd.error(Errno::EMSGSIZE).about(format!("value of {len} bytes, the map has {want}")))
    }

    fn elem(&self, key: u64, value: u64, flags: ElemFlags) -> MapElemAttr {
        MapElemAttr { map_fd: self.fd.as_raw_fd() as u32, pad: 0, key, value, flags: u64::from(flags.0) }
    }

    /// Copies the value of `key` into `value`, which has [`MapShape::value_bytes`]; `false` if there is none.
    ///
    /// Queues and stacks have an empty key and yield the next element without removing it. For bloom filters
    /// `value` is the question and the answer says whether it may have been inserted.
    pub fn lookup_into(&self, key: &[u8], value: &mut [u8], flags: ElemFlags) -> Result<bool> {
        let cmd = Cmd::MAP_LOOKUP_ELEM;
        self.check_key(cmd, key)?;
        self.check_value(cmd, value.len())?;
        let mut attr = self.elem(input(key), output(value), flags);
        // SAFETY: key and value have the sizes that the kernel moves for this map.
        found(unsafe { bpf(cmd, &mut attr) })
    }

    /// The value of `key`, if there is one.
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut value = vec![0; self.shape.value_bytes];
        Ok(self.lookup_into(key, &mut value, ElemFlags::NONE)?.then_some(value))
    }

    /// Removes an element and returns its value. Queues and stacks (empty key): the next element.
    pub fn lookup_and_delete(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let cmd = Cmd::MAP_LOOKUP_AND_DELETE_ELEM;
        self.check_key(cmd, key)?;
        let mut value = vec![0; self.shape.value_bytes];
        let mut attr = self.elem(input(key), output(&mut value), ElemFlags::NONE);
        // SAFETY: key and value have the sizes that the kernel moves for this map.
        Ok(found(unsafe { bpf(cmd, &mut attr) })?.then_some(value))
    }

    /// Writes an element. Queues and stacks (empty key): appends it.
    ///
    /// `EEXIST` and `ENOENT` answer the flags, `E2BIG` says that the map is full.
    pub fn update(&self, key: &[u8], value: &[u8], flags: ElemFlags) -> Result<()> {
        let cmd = Cmd::MAP_UPDATE_ELEM;
        self.check_key(cmd, key)?;
        self.check_value(cmd, value.len())?;
        let mut attr = self.elem(input(key), input(value), flags);
        // SAFETY: key and value have the sizes that the kernel reads for this map.
        unsafe { bpf(cmd, &mut attr) }.map(drop)
    }

    /// Stores an fd in a map of programs, maps, perf events, cgroups or sockets.
    pub fn update_fd(&self, key: &[u8], fd: BorrowedFd<'_>, flags: ElemFlags) -> Result<()> {
        let fd = fd.as_raw_fd();
        if self.shape.value_bytes == 8 {
            // Socket maps may be declared with 64-bit values (net/core/sock_map.c).
            return self.update(key, &(fd as u64).to_ne_bytes(), flags);
        }
        self.update(key, &fd.to_ne_bytes(), flags)
    }

    /// Removes an element; `false` if there was none.
    pub fn delete(&self, key: &[u8]) -> Result<bool> {
        let cmd = Cmd::MAP_DELETE_ELEM;
        self.check_key(cmd, key)?;
        let mut attr = self.elem(input(key), 0, ElemFlags::NONE);
        // SAFETY: the key has the size that the kernel reads for this map.
        found(unsafe { bpf(cmd, &mut attr) })
    }

    /// Copies the key after `key` into `next`; without `key`, or if it has gone meanwhile, the first.
    /// `false` at the end.
    pub fn next_key_into(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<bool> {
        let cmd = Cmd::MAP_GET_NEXT_KEY;
        if let Some(key) = key {
            self.check_key(cmd, key)?;
        }
        self.check_key(cmd, next)?;
        let mut attr = self.elem(key.map_or(0, input), output(next), ElemFlags::NONE);
        // SAFETY: both keys have the size that the kernel moves for this map.
        found(unsafe { bpf(cmd, &mut attr) })
    }

    /// The keys, one call each. A key removed while iterating makes the kernel start over; the iterator
    /// therefore ends after as many keys as the map can hold.
    pub fn keys(&self) -> Keys<'_> {
        Keys { map: self, last: None, left: self.shape.max_entries }
    }

    /// Forbids all further writes through bpf(2).
    pub fn freeze(&self) -> Result<()> {
        let mut attr = self.elem(0, 0, ElemFlags::NONE);
        // SAFETY: the attribute holds no addresses.
        unsafe { bpf(Cmd::MAP_FREEZE, &mut attr) }.map(drop)
    }
}

/// Turns "no such element" into `false`.
fn found(result: Result<i32>) -> Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(e) if e.errno == Errno::ENOENT => Ok(false),
        Err(e) => Err(e),
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Map> for OwnedFd {
    fn from(map: Map) -> OwnedFd {
        map.fd
    }
}

/// Iterator of [`Map::keys`].
#[derive(Debug)]
pub struct Keys<'a> {
    map: &'a Map,
    last: Option<Vec<u8>>,
    left: u32,
}

impl Iterator for Keys<'_> {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let mut next = vec![0; self.map.shape.key_size];
        match self.map.next_key_into(self.last.as_deref(), &mut next) {
            Ok(true) => {
                self.last = Some(next.clone());
                Some(Ok(next))
            }
            Ok(false) => {
                self.left = 0;
                None
            }
            Err(e) => {
                self.left = 0;
                Some(Err(e))
            }
        }
    }
}
