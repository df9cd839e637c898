//! bpffs: where objects are pinned.

use super::{detached_mount, is_fs, magic, mounted, open_dir};
use crate::error::{Errno, Result, SysError};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where a bpffs is mounted; /sys/fs/bpf if one is there. Pins need a place in the mount table: they would
/// go with a mount that nobody else sees.
pub fn bpffs_dir() -> Result<PathBuf> {
    let usual = Path::new("/sys/fs/bpf");
    if open_dir(usual).is_ok_and(|dir| is_fs(dir.as_fd(), magic::BPF)) {
        return Ok(usual.to_owned());
    }
    match mounted("bpf", magic::BPF)? {
        Some((_, place)) => Ok(place),
        None => Err(SysError::new("open", Errno::ENOENT)
            .about("no bpffs is mounted to pin in; mount one: mount -t bpf bpf /sys/fs/bpf")),
    }
}

/// A bpffs that nobody else sees; its pins are gone when the fd and all that were opened from it are closed.
pub fn detached_bpffs() -> Result<OwnedFd> {
    detached_mount("bpf")
}
