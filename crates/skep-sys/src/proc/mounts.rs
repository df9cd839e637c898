//! The mount table, `/proc/self/mountinfo`.

use crate::error::Result;
use crate::fs::read_file;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Id of the mount.
    pub id: u32,
    /// Id of the mount that it is on.
    pub parent: u32,
    /// Major and minor number of the file system's device.
    pub device: (u32, u32),
    /// What of the file system is mounted: `/`, or a directory below for bind mounts.
    pub root: PathBuf,
    /// Where, as seen from the reader's root.
    pub mount_point: PathBuf,
    /// Options of the mount.
    pub options: String,
    /// Kind of file system: `cgroup2`, `tracefs`, `bpf`.
    pub fs_type: String,
    /// Device or name given when mounting.
    pub source: PathBuf,
    /// Options of the file system.
    pub super_options: String,
}

/// The mounts that this process sees, in the order of mounting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountTable(Vec<Mount>);

impl MountTable {
    /// Reads the mount table of this process.
    pub fn read() -> Result<MountTable> {
        Ok(Self::parse(&read_file("/proc/self/mountinfo".as_ref())?))
    }

    /// Reads the format of proc_pid_mountinfo(5). Lines that are not of this form are left out.
    pub fn parse(text: &[u8]) -> MountTable {
        MountTable(text.split(|b| *b == b'\n').filter_map(Mount::parse).collect())
    }

    /// All mounts, in the order of mounting.
    pub fn iter(&self) -> std::slice::Iter<'_, Mount> {
        self.0.iter()
    }

    /// Where whole file systems of this kind are mounted, in the order of mounting. A later mount may cover
    /// one of these places: check what is there.
    pub fn places_of<'a>(&'a self, fs_type: &'a str) -> impl Iterator<Item = &'a Path> {
        self.0
            .iter()
            .filter(move |m| m.fs_type == fs_type && m.root == Path::new("/"))
            .map(|m| m.mount_point.as_path())
    }
}

impl Mount {
    /// `36 35 98:0 /root /point rw,noatime shared:1 - ext4 /dev/root rw,errors=continue`; the number of words
    /// before the lone `-` varies.
    fn parse(line: &[u8]) -> Option<Mount> {
        let mut words = line.split(|b| *b == b' ');
        let id = number(words.next()?)?;
        let parent = number(words.next()?)?;
        let device = words.next()?;
        let colon = device.iter().position(|b| *b == b':')?;
        let device = (number(&device[..colon])?, number(&device[colon + 1..])?);
        let root = path(words.next()?);
        let mount_point = path(words.next()?);
        let options = text(words.next()?);
        words.find(|word| *word == b"-")?;
        let fs_type = text(words.next()?);
        let source = path(words.next()?);
        let super_options = text(words.next()?);
        Some(Mount { id, parent, device, root, mount_point, options, fs_type, source, super_options })
    }
}

fn number(word: &[u8]) -> Option<u32> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(word)).into_owned()
}

fn path(word: &[u8]) -> PathBuf {
    OsString::from_vec(unescape(word)).into()
}

/// Undoes the kernel's `\ooo` for blanks, newlines and backslashes (fs/seq_file.c, `mangle_path`).
pub(super) fn unescape(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&first, tail)) = rest.split_first() {
        if let (b'\\', Some(octal)) = (first, tail.get(..3))
            && octal.iter().all(|b| (b'0'..=b'7').contains(b))
            && octal[0] <= b'3'
        {
            out.push(octal.iter().fold(0, |n, b| n << 3 | (b - b'0')));
            rest = &tail[3..];
        } else {
            out.push(first);
            rest = tail;
        }
    }
    out
}
