//! Kernel file systems: tracefs, bpffs, cgroup2, also where they are mounted nowhere; the BTF in sysfs.
//!
//! A file system that is in the mount table is used there. Otherwise fsopen(2) and fsmount(2) give a mount that
//! belongs to nothing but its fd: the machine's mount table stays as it is, and the mount goes with the fd.

mod bpffs;
mod btf;
mod cgroup;
mod tracefs;

pub use bpffs::{bpffs_dir, detached_bpffs};
pub use btf::{KernelBtf, kernel_btf_names};
pub use cgroup::CgroupFs;
pub use tracefs::TraceFs;

use crate::error::{Errno, Result, SysError, failed};
use crate::proc::MountTable;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Magic numbers of statfs(2), include/uapi/linux/magic.h.
mod magic {
    pub(super) const SYSFS: u64 = 0x6265_6572;
    pub(super) const TRACEFS: u64 = 0x7472_6163;
    pub(super) const BPF: u64 = 0xcafe_4a11;
    pub(super) const CGROUP2: u64 = 0x6367_7270;
}

/// The whole contents of a file, which may not tell its size (procfs, sysfs).
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| SysError::io("read", &e).about(path.display().to_string()))
}

/// The whole contents of a file as text; bytes that are no UTF-8 are replaced.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    read_file(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// A directory handle for openat(2), close-on-exec.
pub(crate) fn open_dir(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| failed("open")(e).about(path.display().to_string()))
}

/// Opens a file below a directory for reading; never leaves the directory.
pub(crate) fn open_below(dir: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    open_flags_below(dir, path, OFlags::RDONLY)
}

/// Opens a file that is there below a directory for appending; never leaves the directory.
fn append_below(dir: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    open_flags_below(dir, path, OFlags::WRONLY | OFlags::APPEND)
}

fn open_flags_below(dir: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let about = |e: SysError| e.about(path.display().to_string());
    // Signals can end the lookup early, as can a rename elsewhere (fs/namei.c, EAGAIN with RESOLVE_BENEATH).
    for _ in 0..64 {
        match rustix::fs::openat2(dir, path, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::BENEATH) {
            Ok(fd) => return Ok(fd),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(e) => return Err(about(failed("openat2")(e))),
        }
    }
    Err(about(SysError::new("openat2", Errno::EAGAIN)))
}

/// The whole contents of a file below a directory.
pub(crate) fn read_below(dir: BorrowedFd<'_>, path: &Path) -> Result<Vec<u8>> {
    let mut file = std::fs::File::from(open_below(dir, path)?);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|e| SysError::io("read", &e).about(path.display().to_string()))?;
    Ok(bytes)
}

/// Names in a directory below another, sorted, with whether each is a directory itself.
pub(crate) fn list_below(dir: BorrowedFd<'_>, path: &Path) -> Result<Vec<(String, bool)>> {
    let about = |e: SysError| e.about(path.display().to_string());
    let fd = open_below(dir, path)?;
    let mut entries = Vec::new();
    for entry in Dir::new(fd).map_err(|e| about(failed("fstat")(e)))? {
        let entry = entry.map_err(|e| about(failed("getdents64")(e)))?;
        let name = entry.file_name().to_string_lossy();
        if name != "." && name != ".." {
            entries.push((name.into_owned(), entry.file_type().is_dir()));
        }
    }
    entries.sort_unstable();
    Ok(entries)
}

/// Whether a directory is of the file system with this magic number.
fn is_fs(dir: BorrowedFd<'_>, magic: u64) -> bool {
    rustix::fs::fstatfs(dir).is_ok_and(|stat| stat.f_type as u64 == magic)
}

/// The first place in the mount table where a file system of this kind can be entered, opened.
fn mounted(fs_type: &str, magic: u64) -> Result<Option<(OwnedFd, PathBuf)>> {
    let table = MountTable::read()?;
    for place in table.places_of(fs_type) {
        if let Ok(dir) = open_dir(place)
            && is_fs(dir.as_fd(), magic)
        {
            return Ok(Some((dir, place.to_owned())));
        }
    }
    Ok(None)
}

/// A mount of a file system that is in no mount table and goes with the fd. Needs CAP_SYS_ADMIN.
pub(crate) fn detached_mount(fs_type: &'static str) -> Result<OwnedFd> {
    let about = |e: SysError| e.about(fs_type);
    let context = rustix::mount::fsopen(fs_type, FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|e| about(failed("fsopen")(e)))?;
    rustix::mount::fsconfig_create(context.as_fd())
        .map_err(|e| about(failed("fsconfig(FSCONFIG_CMD_CREATE)")(e)))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(|e| about(failed("fsmount")(e)))
}

/// Device and inode of what a path or, with an empty one, the directory itself is.
fn identity(dir: BorrowedFd<'_>) -> Result<(u64, u64)> {
    let stat = rustix::fs::statat(dir, "", AtFlags::EMPTY_PATH).map_err(failed("fstatat"))?;
    Ok((stat.st_dev, stat.st_ino))
}
