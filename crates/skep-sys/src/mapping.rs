//! Memory shared with the kernel through mmap(2).

use crate::error::{Result, SysError, failed};
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

/// A shared mapping of a file. Others write to it at any time, so it is only reached through atomics, except
/// for the ranges that the owner of a [`Mapping`] knows to be stable.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
    writable: bool,
}

// SAFETY: the mapping belongs to the process, not to a thread, and shared access goes through atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

macro_rules! atomics {
    ($($name:ident $type:ty;)*) => {$(
        /// The atomic at this offset. It must be stored to only if the mapping is writable.
        ///
        /// Panics unless the offset is aligned and inside; callers compute it from checked sizes.
        #[inline]
        fn $name(&self, offset: usize) -> &$type {
            assert!(self.holds(offset, size_of::<$type>()) && offset.is_multiple_of(size_of::<$type>()));
            // SAFETY: the assertion keeps the sum inside the mapping.
            let at = unsafe { self.start.add(offset) };
            // SAFETY: inside the mapping, which lives as long as `self`; aligned, since the mapping starts at
            // a page; any bit pattern is valid; nobody makes plain accesses to it meanwhile.
            unsafe { at.cast::<$type>().as_ref() }
        }
    )*};
}

impl Mapping {
    /// Maps `len` bytes of `fd` from `offset` on; both are multiples of the page size.
    pub(crate) fn new(fd: BorrowedFd<'_>, offset: usize, len: usize, writable: bool) -> Result<Mapping> {
        let protection = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        // SAFETY: a null address lets the kernel choose a place where nothing is.
        let start = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), len, protection, MapFlags::SHARED, fd, offset as u64)
        }
        .map_err(|e| failed("mmap")(e).about(format!("{len} bytes at offset {offset}")))?;
        // A process forked from this one has no use for it, and would keep the kernel's memory if it lived on.
        // A refusal does no harm.
        // SAFETY: the whole of a mapping that nobody knows yet; only its copying is changed.
        let _ = unsafe { rustix::mm::madvise(start, len, Advice::LinuxDontFork) };
        let start = NonNull::new(start.cast()).ok_or_else(|| SysError::new("mmap", crate::Errno::ENOMEM))?;
        Ok(Mapping { start, len, writable })
    }

    /// Maps the first `len` bytes of `fd` for reading, privately: what vmlinux BTF insists on
    /// (kernel/bpf/sysfs_btf.c, `btf_sysfs_vmlinux_mmap`).
    pub(crate) fn private(fd: BorrowedFd<'_>, len: usize) -> Result<Mapping> {
        // SAFETY: a null address lets the kernel choose a place where nothing is.
        let start =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, ProtFlags::READ, MapFlags::PRIVATE, fd, 0) }
                .map_err(|e| failed("mmap")(e).about(format!("{len} bytes")))?;
        let start = NonNull::new(start.cast()).ok_or_else(|| SysError::new("mmap", crate::Errno::ENOMEM))?;
        Ok(Mapping { start, len, writable: false })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    /// Whether `len` bytes from `offset` on lie inside.
    #[inline]
    pub(crate) fn holds(&self, offset: usize, len: usize) -> bool {
        offset <= self.len && len <= self.len - offset
    }

    atomics! { word_at AtomicUsize; u64_at AtomicU64; u32_at AtomicU32; u8_at AtomicU8; }

    /// Loads with acquire order. Written as relaxed load and fence, which is also defined for memory that is
    /// mapped read-only (documentation of `std::sync::atomic`).
    #[inline]
    pub(crate) fn acquire_word(&self, offset: usize) -> usize {
        let value = self.word_at(offset).load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        value
    }

    /// As [`Mapping::acquire_word`], 32 bits.
    #[inline]
    pub(crate) fn acquire_u32(&self, offset: usize) -> u32 {
        let value = self.u32_at(offset).load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        value
    }

    /// As [`Mapping::acquire_word`], 64 bits.
    #[inline]
    pub(crate) fn acquire_u64(&self, offset: usize) -> u64 {
        let value = self.u64_at(offset).load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        value
    }

    /// Stores with release order; nothing happens on a read-only mapping.
    #[inline]
    pub(crate) fn release_word(&self, offset: usize, value: usize) {
        if self.writable {
            self.word_at(offset).store(value, Ordering::Release);
        }
    }

    /// As [`Mapping::release_word`], 64 bits.
    #[inline]
    pub(crate) fn release_u64(&self, offset: usize, value: u64) {
        if self.writable {
            self.u64_at(offset).store(value, Ordering::Release);
        }
    }

    /// The atomic at an offset of a writable mapping; `None` outside, unaligned or read-only.
    pub(crate) fn atomic_u64(&self, offset: usize) -> Option<&AtomicU64> {
        let fits = self.writable && offset.is_multiple_of(8) && self.holds(offset, 8);
        fits.then(|| self.u64_at(offset))
    }

    /// As [`Mapping::atomic_u64`], 32 bits.
    pub(crate) fn atomic_u32(&self, offset: usize) -> Option<&AtomicU32> {
        let fits = self.writable && offset.is_multiple_of(4) && self.holds(offset, 4);
        fits.then(|| self.u32_at(offset))
    }

    /// Copies bytes out, each loaded once; `false` if the range is not inside.
    pub(crate) fn read(&self, offset: usize, out: &mut [u8]) -> bool {
        if !self.holds(offset, out.len()) {
            return false;
        }
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = self.u8_at(offset + i).load(Ordering::Relaxed);
        }
        true
    }

    /// Copies bytes in; `false` if the range is not inside or the mapping is read-only.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> bool {
        if !self.writable || !self.holds(offset, bytes.len()) {
            return false;
        }
        for (i, byte) in bytes.iter().enumerate() {
            self.u8_at(offset + i).store(*byte, Ordering::Relaxed);
        }
        true
    }

    /// Bytes of the mapping as a plain slice; `None` if the range is not inside.
    ///
    /// # Safety
    /// Nobody writes to the range while the slice lives.
    #[inline]
    pub(crate) unsafe fn stable(&self, offset: usize, len: usize) -> Option<&[u8]> {
        if !self.holds(offset, len) {
            return None;
        }
        // SAFETY: the check keeps the sum inside the mapping.
        let at = unsafe { self.start.add(offset) };
        // SAFETY: inside the mapping, which lives as long as `self`; that nobody writes is the caller's promise.
        Some(unsafe { std::slice::from_raw_parts(at.as_ptr(), len) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `new` mapped, and no reference into it outlives `self`.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Size of a memory page.
pub fn page_size() -> usize {
    rustix::param::page_size()
}
