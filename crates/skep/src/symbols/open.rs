//! Opening files as other processes see them.

use skep_sys::proc::{self, Namespace};
use std::fs::{self, File, Metadata};
use std::io::{Error, ErrorKind, Result};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What a path leads to that is no regular file; `None` if it is one.
pub(crate) fn other_kind(meta: &Metadata) -> Option<&'static str> {
    let kind = meta.file_type();
    match kind {
        _ if kind.is_file() => None,
        _ if kind.is_dir() => Some("a folder"),
        _ if kind.is_fifo() => Some("a pipe"),
        _ if kind.is_socket() => Some("a socket"),
        _ => Some("a device"),
    }
}

/// Whether a process sees the same files by the same paths as this one.
pub(crate) fn sees_the_same(pid: u32) -> bool {
    let same_mounts = match (proc::namespace(pid, Namespace::Mnt), Namespace::Mnt.own()) {
        (Ok(theirs), Ok(ours)) => theirs == ours,
        // Gone, or not ours to ask: then there is no other view to take.
        _ => return true,
    };
    let id = |path: &str| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    same_mounts && id(&format!("/proc/{pid}/root")) == id("/proc/self/root")
}

/// Opens a file, as a process sees it if one is given. Also yields a path by which this process reaches the file.
/// What is no regular file is not opened: `InvalidInput` with what it is.
pub(crate) fn open(path: &Path, pid: Option<u32>) -> Result<(File, PathBuf)> {
    let Some(pid) = pid.filter(|pid| !sees_the_same(*pid)) else {
        // Asked first: opening a pipe waits for its writer.
        regular(&fs::metadata(path)?)?;
        let file = File::open(path)?;
        regular(&file.metadata()?)?;
        return Ok((file, path.to_owned()));
    };
    let opened = proc::open_file(pid, path).map_err(|e| Error::from_raw_os_error(e.errno.0))?;
    let file = File::from(opened);
    let meta = file.metadata()?;
    regular(&meta)?;
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    // Symbolic links inside lead astray from here, so the path is that of the file itself.
    let mut place = below(path);
    if let Ok(target) = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())) {
        let their_root = proc::root(pid).unwrap_or_default();
        place = below(target.strip_prefix(their_root).unwrap_or(&target));
    }
    match fs::metadata(&place) {
        Ok(there) if (there.dev(), there.ino()) == (meta.dev(), meta.ino()) => Ok((file, place)),
        _ => Ok((file, below(path))),
    }
}

fn regular(meta: &Metadata) -> Result<()> {
    match other_kind(meta) {
        None => Ok(()),
        Some(what) => Err(Error::new(ErrorKind::InvalidInput, what)),
    }
}
