//! Array maps as shared memory: exit flags, ledgers, global data.

use crate::bpf::{Map, MapFlags, MapType};
use crate::error::{Errno, Result, SysError};
use crate::mapping::{Mapping, page_size};
use std::sync::atomic::{AtomicU32, AtomicU64};

/// The values of an array map that was created with [`MapFlags::MMAPABLE`], in one run; each takes
/// [`SharedArray::stride`] bytes. Programs and other processes write to it at any time, so there are atomics
/// and copies but no references to plain data.
#[derive(Debug)]
pub struct SharedArray {
    mapping: Mapping,
    stride: usize,
    len: usize,
}

impl SharedArray {
    /// Maps the array for reading and writing. `EPERM`: it is frozen or was opened read-only.
    pub fn new(map: &Map) -> Result<SharedArray> {
        Self::open(map, true)
    }

    /// Maps the array for reading.
    pub fn read_only(map: &Map) -> Result<SharedArray> {
        Self::open(map, false)
    }

    fn open(map: &Map, writable: bool) -> Result<SharedArray> {
        use std::os::fd::AsFd;
        let shape = map.shape();
        if shape.map_type != MapType::ARRAY || !shape.flags.contains(MapFlags::MMAPABLE) {
            let kind = shape.map_type;
            return Err(SysError::new("mmap", Errno::EINVAL)
                .about(format!("{kind} map: only arrays created with BPF_F_MMAPABLE can be mapped")));
        }
        // kernel/bpf/arraymap.c, `array_map_mmap`: elements of 8-byte granularity, rounded up to pages.
        let stride = shape.value_size.next_multiple_of(8);
        let bytes = stride.checked_mul(shape.max_entries as usize);
        let bytes = bytes
            .filter(|bytes| *bytes <= isize::MAX as usize - page_size())
            .ok_or_else(|| SysError::new("mmap", Errno::EMSGSIZE))?;
        let mapping = Mapping::new(map.as_fd(), 0, bytes.next_multiple_of(page_size()), writable)?;
        Ok(SharedArray { mapping, stride, len: bytes })
    }

    /// Distance between two elements in bytes: the value size rounded up to 8.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Size of all elements in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing (the kernel creates no such array).
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether stores are possible.
    pub fn is_writable(&self) -> bool {
        self.mapping.is_writable()
    }

    /// The 64-bit word at this byte offset, for loads and read-modify-write. `None` outside of the array, off
    /// its alignment, or if mapped for reading.
    pub fn atomic_u64(&self, offset: usize) -> Option<&AtomicU64> {
        self.inside(offset, 8).then(|| self.mapping.atomic_u64(offset)).flatten()
    }

    /// The 32-bit word at this byte offset, as [`SharedArray::atomic_u64`].
    pub fn atomic_u32(&self, offset: usize) -> Option<&AtomicU32> {
        self.inside(offset, 4).then(|| self.mapping.atomic_u32(offset)).flatten()
    }

    /// Loads the 64-bit word at this byte offset with acquire order; also where mapped for reading.
    pub fn load_u64(&self, offset: usize) -> Option<u64> {
        (self.inside(offset, 8) && offset.is_multiple_of(8)).then(|| self.mapping.acquire_u64(offset))
    }

    /// Copies bytes out. Words that are written meanwhile may be torn. `false`: not inside, nothing copied.
    pub fn read(&self, offset: usize, out: &mut [u8]) -> bool {
        self.inside(offset, out.len()) && self.mapping.read(offset, out)
    }

    /// Copies bytes in, one by one. `false`: not inside or mapped for reading, nothing written.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> bool {
        self.inside(offset, bytes.len()) && self.mapping.write(offset, bytes)
    }

    fn inside(&self, offset: usize, len: usize) -> bool {
        debug_assert!(self.len <= self.mapping.len());
        offset <= self.len && len <= self.len - offset
    }
}
