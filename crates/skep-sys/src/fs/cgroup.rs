//! cgroup2: ids of cgroups and their paths.

use super::{identity, is_fs, list_below, magic, mounted};
use crate::error::{Errno, Result, SysError, failed};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// `FILEID_KERNFS` of include/linux/exportfs.h: 8 bytes, the id.
const FILEID_KERNFS: i32 = 0xfe;
const MAX_HANDLE: usize = 128;

/// `struct file_handle` with room for the largest handle.
#[repr(C)]
struct FileHandle {
    bytes: u32,
    kind: i32,
    handle: [u8; MAX_HANDLE],
}

/// The unified hierarchy, from the root that this process sees.
#[derive(Debug)]
pub struct CgroupFs {
    root: OwnedFd,
    mount_point: PathBuf,
}

impl CgroupFs {
    /// Finds the cgroup2 mount. `ENOENT`: there is none.
    pub fn open() -> Result<CgroupFs> {
        // In a container the mounted root may be a cgroup below the real one; then the first mount of
        // whatever root has to do.
        if let Some((root, mount_point)) = mounted("cgroup2", magic::CGROUP2)? {
            return Ok(CgroupFs { root, mount_point });
        }
        let table = crate::proc::MountTable::read()?;
        for mount in table.iter().filter(|m| m.fs_type == "cgroup2") {
            if let Ok(root) = super::open_dir(&mount.mount_point)
                && is_fs(root.as_fd(), magic::CGROUP2)
            {
                return Ok(CgroupFs { root, mount_point: mount.mount_point.clone() });
            }
        }
        Err(SysError::new("open", Errno::ENOENT)
            .about("cgroup2 is not mounted; mount it: mount -t cgroup2 cgroup2 /sys/fs/cgroup"))
    }

    /// Where the hierarchy is mounted.
    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// The root directory.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens the directory of a cgroup, for attaching and for its id. `path` starts at the root of the
    /// hierarchy, with or without a slash.
    pub fn open_cgroup(&self, path: &Path) -> Result<OwnedFd> {
        let path = relative(path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat2(&self.root, &path, flags, Mode::empty(), ResolveFlags::BENEATH)
            .map_err(|e| failed("openat2")(e).about(format!("cgroup /{}", path.display())))
    }

    /// The id of a cgroup, as `bpf_get_current_cgroup_id` yields it.
    pub fn id(&self, path: &Path) -> Result<u64> {
        cgroup_id(self.open_cgroup(path)?.as_fd())
    }

    /// The path of the cgroup with this id, from the root of the hierarchy, with a leading slash. `None`: there
    /// is none, or it lies outside of what is mounted.
    ///
    /// One call where the process has CAP_DAC_READ_SEARCH, else a walk through the hierarchy.
    pub fn path(&self, id: u64) -> Result<Option<PathBuf>> {
        match self.open_id(id) {
            Ok(Some(dir)) => {
                let link = format!("/proc/self/fd/{}", dir.as_raw_fd());
                let path = std::fs::read_link(&link).map_err(|e| SysError::io("readlink", &e).about(link))?;
                Ok(path.strip_prefix(&self.mount_point).ok().map(|below| Path::new("/").join(below)))
            }
            Ok(None) => Ok(None),
            Err(e) if e.is_permission() || e.is_unsupported() => self.search(id),
            Err(e) => Err(e),
        }
    }

    /// The paths and ids of all cgroups below and including `/`, parents first. Those that go meanwhile are left
    /// out.
    pub fn walk(&self) -> Result<Vec<(PathBuf, u64)>> {
        let mut found = Vec::new();
        let mut todo = vec![PathBuf::from("/")];
        while let Some(path) = todo.pop() {
            match self.id(&path) {
                Ok(id) => found.push((path.clone(), id)),
                Err(e) if e.is_not_found() => continue,
                Err(e) => return Err(e),
            }
            match list_below(self.root(), &relative(&path)) {
                Ok(entries) => {
                    let dirs = entries.into_iter().filter(|(_, is_dir)| *is_dir);
                    todo.extend(dirs.rev().map(|(name, _)| path.join(name)));
                }
                Err(e) if e.is_not_found() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(found)
    }

    fn search(&self, id: u64) -> Result<Option<PathBuf>> {
        Ok(self.walk()?.into_iter().find(|(_, found)| *found == id).map(|(path, _)| path))
    }

    fn open_id(&self, id: u64) -> Result<Option<OwnedFd>> {
        let mut handle = FileHandle { bytes: 8, kind: FILEID_KERNFS, handle: [0; MAX_HANDLE] };
        handle.handle[..8].copy_from_slice(&id.to_ne_bytes());
        // open_by_handle_at wants an fd that is open for reading, not O_PATH.
        let mount = self.open_cgroup(Path::new("/"))?;
        let (address, flags) = (std::ptr::from_mut(&mut handle), libc::O_PATH | libc::O_CLOEXEC);
        // SAFETY: `handle` is `struct file_handle` with the 8 bytes that it announces.
        let fd = unsafe { libc::syscall(libc::SYS_open_by_handle_at, mount.as_raw_fd(), address, flags) };
        if fd >= 0 {
            // SAFETY: the kernel has just opened this descriptor for us.
            return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as i32) }));
        }
        match Errno::last() {
            Errno::ESTALE => Ok(None),
            errno => Err(SysError::new("open_by_handle_at", errno).about(format!("cgroup {id}"))),
        }
    }
}

/// The id of an open cgroup directory.
fn cgroup_id(dir: BorrowedFd<'_>) -> Result<u64> {
    let mut handle = FileHandle { bytes: MAX_HANDLE as u32, kind: 0, handle: [0; MAX_HANDLE] };
    let mut mount_id = 0i32;
    let (address, mount) = (std::ptr::from_mut(&mut handle), std::ptr::from_mut(&mut mount_id));
    // SAFETY: an empty path, `struct file_handle` with the room that it announces, and an int.
    let ret = unsafe {
        let (fd, path, flags) = (dir.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH);
        libc::syscall(libc::SYS_name_to_handle_at, fd, path, address, mount, flags)
    };
    if ret == 0 && handle.bytes == 8 {
        let mut id = [0; 8];
        id.copy_from_slice(&handle.handle[..8]);
        return Ok(u64::from_ne_bytes(id));
    }
    // The inode number is the id on 64-bit kernels (include/linux/kernfs.h, `kernfs_ino`).
    identity(dir).map(|(_, ino)| ino)
}

/// Without leading slashes and other components than names; empty becomes `.`.
fn relative(path: &Path) -> PathBuf {
    let names = path.components().filter(|c| matches!(c, Component::Normal(_)));
    let path: PathBuf = names.collect();
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path }
}
