//! Namespaces and their names: a device and an inode number.

use crate::error::{Result, failed};
use std::path::Path;

/// Kinds of namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names of namespaces(7)")]
pub enum Namespace {
    Cgroup,
    Ipc,
    Mnt,
    Net,
    Pid,
    Time,
    User,
    Uts,
}

impl Namespace {
    /// Name of the file below `/proc/PID/ns`.
    pub fn file(self) -> &'static str {
        match self {
            Namespace::Cgroup => "cgroup",
            Namespace::Ipc => "ipc",
            Namespace::Mnt => "mnt",
            Namespace::Net => "net",
            Namespace::Pid => "pid",
            Namespace::Time => "time",
            Namespace::User => "user",
            Namespace::Uts => "uts",
        }
    }

    /// Inode number of the namespace that the machine booted with, where it is fixed
    /// (include/uapi/linux/nsfs.h, `enum init_ns_ino`).
    fn initial_inode(self) -> Option<u64> {
        match self {
            Namespace::Ipc => Some(0xEFFF_FFFF),
            Namespace::Uts => Some(0xEFFF_FFFE),
            Namespace::User => Some(0xEFFF_FFFD),
            Namespace::Pid => Some(0xEFFF_FFFC),
            Namespace::Cgroup => Some(0xEFFF_FFFB),
            Namespace::Time => Some(0xEFFF_FFFA),
            // Numbered at boot on most kernels.
            Namespace::Net | Namespace::Mnt => None,
        }
    }

    /// This process's own.
    pub fn own(self) -> Result<NsId> {
        NsId::of(&Path::new("/proc/self/ns").join(self.file()))
    }

    /// Whether `id` is the namespace that the machine booted with; `None` if this kind does not tell.
    pub fn is_initial(self, id: NsId) -> Option<bool> {
        self.initial_inode().map(|inode| inode == id.inode)
    }
}

/// Identity of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NsId {
    /// Device number of nsfs, as `st_dev` and as `bpf_get_ns_current_pid_tgid` wants it.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

impl NsId {
    /// Of the namespace that a file below `/proc/PID/ns` stands for.
    pub fn of(path: &Path) -> Result<NsId> {
        let stat = rustix::fs::stat(path).map_err(|e| failed("stat")(e).about(path.display().to_string()))?;
        Ok(NsId { device: stat.st_dev, inode: stat.st_ino })
    }
}
