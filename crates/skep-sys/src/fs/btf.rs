//! The BTF that the kernel and its modules carry, as bytes.

use super::{is_fs, magic, read_below};
use crate::error::{Errno, Result, SysError};
use crate::mapping::{Mapping, page_size};
use std::fs::File;
use std::ops::Deref;
use std::os::fd::AsFd;
use std::path::Path;

const DIR: &str = "/sys/kernel/btf";

/// BTF of the running kernel or a module; mapped where the kernel allows it, else a copy. Dereferences to the
/// bytes.
#[derive(Debug)]
pub struct KernelBtf(Bytes);

#[derive(Debug)]
enum Bytes {
    /// And how many of them are the file's: mappings end with a page.
    Mapped(Mapping, usize),
    Copied(Vec<u8>),
}

impl KernelBtf {
    /// Opens the BTF of `vmlinux` or of a module. `ENOENT`: there is none.
    pub fn open(name: &str) -> Result<KernelBtf> {
        if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
            return Err(SysError::new("open", Errno::ENOENT).about(format!("no name of BTF: {name:?}")));
        }
        let dir = super::open_dir(Path::new(DIR))?;
        let file = File::from(super::open_below(dir.as_fd(), Path::new(name))?);
        let len = file.metadata().map_err(|e| SysError::io("fstat", &e).about(name))?.len();
        if let Ok(len) = usize::try_from(len)
            && len > 0
            && is_fs(file.as_fd(), magic::SYSFS)
            && let Ok(mapping) = Mapping::private(file.as_fd(), len.next_multiple_of(page_size()))
        {
            return Ok(KernelBtf(Bytes::Mapped(mapping, len)));
        }
        // Modules, and kernels before 6.16.
        Ok(KernelBtf(Bytes::Copied(read_below(dir.as_fd(), Path::new(name))?)))
    }

    /// Whether the bytes are the kernel's own rather than a copy.
    pub fn is_mapped(&self) -> bool {
        matches!(self.0, Bytes::Mapped(..))
    }
}

impl Deref for KernelBtf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            // SAFETY: the BTF of the kernel is read-only memory, and this file of sysfs always has its size.
            Bytes::Mapped(mapping, len) => unsafe { mapping.stable(0, *len) }.unwrap_or(&[]),
            Bytes::Copied(bytes) => bytes,
        }
    }
}

/// `vmlinux` and the modules that carry BTF, sorted; empty if the kernel has none.
pub fn kernel_btf_names() -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(DIR) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| SysError::io("open", &e).about(DIR))?,
    };
    let mut names: Vec<_> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort_unstable();
    Ok(names)
}
