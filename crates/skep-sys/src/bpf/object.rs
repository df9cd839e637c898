//! What all kinds of objects have in common: pins, ids, statistics, tokens.

use super::attr::{IdAttr, ObjAttr, TaskFdAttr, WordsAttr};
use super::btf::Btf;
use super::info::ObjectKind;
use super::link::Link;
use super::map::Map;
use super::prog::Prog;
use super::sys::{Cmd, bpf, bpf_fd, input, output, text};
use crate::error::{Errno, Result};
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn c_path(cmd: Cmd, path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| cmd.error(Errno::EINVAL).about(format!("NUL in the path {}", path.display())))
}

/// Pins a map, program or link at a path in a bpffs. `EEXIST`: the path is taken; `EPERM` also: no bpffs.
pub fn pin(object: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let name = c_path(Cmd::OBJ_PIN, path)?;
    let bpf_fd = object.as_raw_fd() as u32;
    let mut attr = ObjAttr { pathname: input(name.as_bytes_with_nul()), bpf_fd, ..ObjAttr::default() };
    // SAFETY: the path is a C string.
    unsafe { bpf(Cmd::OBJ_PIN, &mut attr) }.map(drop).map_err(|e| e.about(path.display().to_string()))
}

/// Pins at a path relative to a directory, which may be the root of a bpffs that is mounted nowhere. Since 6.5.
pub fn pin_at(object: BorrowedFd<'_>, dir: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let name = c_path(Cmd::OBJ_PIN, path)?;
    let mut attr = ObjAttr {
        pathname: input(name.as_bytes_with_nul()),
        bpf_fd: object.as_raw_fd() as u32,
        file_flags: PATH_FD,
        path_fd: dir.as_raw_fd(),
        pad: 0,
    };
    // SAFETY: the path is a C string.
    unsafe { bpf(Cmd::OBJ_PIN, &mut attr) }.map(drop).map_err(|e| e.about(path.display().to_string()))
}

/// `BPF_F_PATH_FD`: the path is relative to the fd given with it.
const PATH_FD: u32 = 1 << 14;

/// How an object opened by pin or id may be used through bpf(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Read and write.
    #[default]
    ReadWrite,
    /// Read alone (`BPF_F_RDONLY`); maps only.
    ReadOnly,
}

impl Access {
    fn flags(self) -> u32 {
        match self {
            Access::ReadWrite => 0,
            Access::ReadOnly => 1 << 3,
        }
    }
}

/// Opens whatever is pinned at a path; [`ObjectKind::of`] tells what it is.
pub fn open_pin(path: &Path, access: Access) -> Result<OwnedFd> {
    let name = c_path(Cmd::OBJ_GET, path)?;
    let mut attr = ObjAttr {
        pathname: input(name.as_bytes_with_nul()),
        file_flags: access.flags(),
        ..ObjAttr::default()
    };
    // SAFETY: the path is a C string.
    unsafe { bpf_fd(Cmd::OBJ_GET, &mut attr) }.map_err(|e| e.about(path.display().to_string()))
}

/// Opens whatever is pinned at a path relative to a directory. Since 6.5.
pub fn open_pin_at(dir: BorrowedFd<'_>, path: &Path, access: Access) -> Result<OwnedFd> {
    let name = c_path(Cmd::OBJ_GET, path)?;
    let mut attr = ObjAttr {
        pathname: input(name.as_bytes_with_nul()),
        bpf_fd: 0,
        file_flags: access.flags() | PATH_FD,
        path_fd: dir.as_raw_fd(),
        pad: 0,
    };
    // SAFETY: the path is a C string.
    unsafe { bpf_fd(Cmd::OBJ_GET, &mut attr) }.map_err(|e| e.about(path.display().to_string()))
}

impl ObjectKind {
    fn next_id(self) -> Cmd {
        match self {
            ObjectKind::Map => Cmd::MAP_GET_NEXT_ID,
            ObjectKind::Prog => Cmd::PROG_GET_NEXT_ID,
            ObjectKind::Link => Cmd::LINK_GET_NEXT_ID,
            ObjectKind::Btf => Cmd::BTF_GET_NEXT_ID,
        }
    }

    fn fd_by_id(self) -> Cmd {
        match self {
            ObjectKind::Map => Cmd::MAP_GET_FD_BY_ID,
            ObjectKind::Prog => Cmd::PROG_GET_FD_BY_ID,
            ObjectKind::Link => Cmd::LINK_GET_FD_BY_ID,
            ObjectKind::Btf => Cmd::BTF_GET_FD_BY_ID,
        }
    }

    /// The ids of all objects of this kind on the machine, ascending. Needs CAP_SYS_ADMIN.
    pub fn ids(self) -> Ids {
        Ids { kind: self, last: Some(0) }
    }

    /// Opens the object with this id. `ENOENT`: it is gone.
    pub fn open_id(self, id: u32, access: Access) -> Result<OwnedFd> {
        let mut attr = IdAttr { id, open_flags: access.flags(), ..IdAttr::default() };
        // SAFETY: the attribute holds no addresses.
        unsafe { bpf_fd(self.fd_by_id(), &mut attr) }.map_err(|e| e.about(format!("{self:?} {id}")))
    }
}

/// Iterator of [`ObjectKind::ids`].
#[derive(Debug)]
pub struct Ids {
    kind: ObjectKind,
    last: Option<u32>,
}

impl Iterator for Ids {
    type Item = Result<u32>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut attr = IdAttr { id: self.last.take()?, ..IdAttr::default() };
        // SAFETY: the attribute holds no addresses.
        match unsafe { bpf(self.kind.next_id(), &mut attr) } {
            Ok(_) => {
                self.last = Some(attr.next_id);
                Some(Ok(attr.next_id))
            }
            Err(e) if e.errno == Errno::ENOENT => None,
            Err(e) => Some(Err(e)),
        }
    }
}

macro_rules! openers {
    ($($type:ident)*) => {$(
        impl $type {
            /// Opens the object with this id. `ENOENT`: it is gone.
            pub fn from_id(id: u32) -> Result<$type> {
                $type::from_fd(ObjectKind::$type.open_id(id, Access::ReadWrite)?)
            }
        }
    )*};
}
openers! { Map Prog Link Btf }

macro_rules! pins {
    ($($type:ident)*) => {$(
        impl $type {
            /// Opens the object that is pinned at this path. `EINVAL`: it is of another kind.
            pub fn from_pin(path: &Path) -> Result<$type> {
                let fd = open_pin(path, Access::ReadWrite)?;
                $type::from_fd(fd).map_err(|e| e.about(path.display().to_string()))
            }
        }
    )*};
}
pins! { Map Prog Link }

/// Makes the kernel measure run time and count of all programs until the fd is closed.
pub fn enable_run_time_stats() -> Result<OwnedFd> {
    // BPF_STATS_RUN_TIME is 0.
    let mut attr = WordsAttr::default();
    // SAFETY: the attribute holds no addresses.
    unsafe { bpf_fd(Cmd::ENABLE_STATS, &mut attr) }
}

/// Creates a BPF token from a bpffs that was mounted with delegation. Since 6.9.
pub fn token_create(bpffs: BorrowedFd<'_>) -> Result<OwnedFd> {
    let mut attr = WordsAttr { words: [0, bpffs.as_raw_fd() as u32, 0, 0] };
    // SAFETY: the attribute holds no addresses.
    unsafe { bpf_fd(Cmd::TOKEN_CREATE, &mut attr) }
}

/// What a perf event or raw tracepoint fd of some process carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFd {
    /// The program.
    pub prog_id: u32,
    /// What it is attached to.
    pub kind: TaskFdKind,
    /// Name of the tracepoint or function, or path of the file.
    pub name: String,
    /// Offset in function or file.
    pub offset: u64,
    /// Address, for kprobes without a name.
    pub addr: u64,
}

/// `enum bpf_task_fd_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the UAPI")]
pub enum TaskFdKind {
    RawTracepoint,
    Tracepoint,
    Kprobe,
    Kretprobe,
    Uprobe,
    Uretprobe,
    Other(u32),
}

/// Asks which program is behind an fd of a process. `ENOTSUPP`: the fd is of another kind; `ENOENT`: it
/// carries none.
pub fn task_fd_query(pid: u32, fd: u32) -> Result<TaskFd> {
    let mut name = vec![0u8; 4096];
    let mut attr =
        TaskFdAttr { pid, fd, buf_len: name.len() as u32, buf: output(&mut name), ..TaskFdAttr::default() };
    // SAFETY: `name` has `buf_len` bytes.
    unsafe { bpf(Cmd::TASK_FD_QUERY, &mut attr) }?;
    let kind = match attr.fd_type {
        0 => TaskFdKind::RawTracepoint,
        1 => TaskFdKind::Tracepoint,
        2 => TaskFdKind::Kprobe,
        3 => TaskFdKind::Kretprobe,
        4 => TaskFdKind::Uprobe,
        5 => TaskFdKind::Uretprobe,
        other => TaskFdKind::Other(other),
    };
    let (offset, addr) = (attr.probe_offset, attr.probe_addr);
    Ok(TaskFd { prog_id: attr.prog_id, kind, name: text(&name), offset, addr })
}
