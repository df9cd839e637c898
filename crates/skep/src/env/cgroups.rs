//! Ids of cgroups by their path.

use skep_sys::proc::MountTable;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The id of the cgroup whose folder this is. On 64-bit kernels it is the inode number of the folder
/// (include/linux/kernfs.h, `kernfs_id_ino`), in hierarchies of both versions.
pub(super) fn id(path: &str) -> Option<u64> {
    let path = std::fs::canonicalize(path).ok()?;
    let meta = std::fs::metadata(&path).ok()?;
    (meta.is_dir() && is_in_hierarchy(&path)).then(|| meta.ino())
}

/// Whether the mount that a path lies on is a cgroup hierarchy. Later mounts cover earlier ones.
fn is_in_hierarchy(path: &Path) -> bool {
    let Ok(mounts) = MountTable::read() else { return false };
    let over = mounts.iter().filter(|m| path.starts_with(&m.mount_point));
    over.max_by_key(|m| m.mount_point.as_os_str().len())
        .is_some_and(|m| m.fs_type == "cgroup2" || m.fs_type == "cgroup")
}
