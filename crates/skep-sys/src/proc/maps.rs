//! `/proc/PID/maps`: what a process has mapped.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Access to a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the letters of the file")]
pub struct Perms {
    pub read: bool,
    pub write: bool,
    pub execute: bool,
    pub shared: bool,
}

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryMap {
    /// First address.
    pub start: u64,
    /// Address behind the last.
    pub end: u64,
    /// Access.
    pub perms: Perms,
    /// Offset in the file.
    pub offset: u64,
    /// Major and minor number of the file's device; 0 for none.
    pub device: (u32, u32),
    /// Inode of the file; 0 for none.
    pub inode: u64,
    /// Path of the file as the process sees it, or a name in brackets such as `[vdso]`; `None` for anonymous
    /// memory.
    pub path: Option<PathBuf>,
    /// Whether the file was removed or replaced.
    pub deleted: bool,
}

impl MemoryMap {
    /// Whether it is of a file: it has an inode, and its path is one.
    pub fn is_file(&self) -> bool {
        self.inode != 0
            && self.path.as_deref().is_some_and(|path| path.as_os_str().as_encoded_bytes().starts_with(b"/"))
    }
}

/// Reads the format of proc_pid_maps(5). Lines that are not of this form are left out.
pub fn parse_maps(text: &[u8]) -> impl Iterator<Item = MemoryMap> + '_ {
    text.split(|b| *b == b'\n').filter_map(parse)
}

/// `7f1c-7f1d r-xp 00001000 fe:00 1234      /usr/lib/x`: the path is what follows five words and blanks.
fn parse(line: &[u8]) -> Option<MemoryMap> {
    let mut rest = line;
    let mut word = || -> Option<&[u8]> {
        let start = rest.iter().position(|b| *b != b' ')?;
        let tail = &rest[start..];
        let len = tail.iter().position(|b| *b == b' ').unwrap_or(tail.len());
        rest = &tail[len..];
        Some(&tail[..len])
    };
    let (start, end) = pair(word()?, b'-')?;
    let perms = word()?;
    let offset = hex(word()?)?;
    let (major, minor) = pair(word()?, b':')?;
    let inode = std::str::from_utf8(word()?).ok()?.parse().ok()?;
    if perms.len() < 4 || start > end {
        return None;
    }
    let path = rest.iter().position(|b| *b != b' ').map(|start| &rest[start..]);
    let (path, deleted) = match path {
        Some(path) => match path.strip_suffix(b" (deleted)") {
            Some(path) => (Some(path), true),
            None => (Some(path), false),
        },
        None => (None, false),
    };
    Some(MemoryMap {
        start,
        end,
        perms: Perms {
            read: perms[0] == b'r',
            write: perms[1] == b'w',
            execute: perms[2] == b'x',
            shared: perms[3] == b's',
        },
        offset,
        device: (u32::try_from(major).ok()?, u32::try_from(minor).ok()?),
        inode,
        path: path.map(|path| OsString::from_vec(newlines(path)).into()),
        deleted,
    })
}

/// The kernel escapes newlines in these paths and nothing else (fs/proc/task_mmu.c, `get_vma_name`).
fn newlines(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        match rest.strip_prefix(br"\012") {
            Some(tail) => {
                out.push(b'\n');
                rest = tail;
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

fn pair(word: &[u8], between: u8) -> Option<(u64, u64)> {
    let at = word.iter().position(|b| *b == between)?;
    Some((hex(&word[..at])?, hex(&word[at + 1..])?))
}

fn hex(word: &[u8]) -> Option<u64> {
    // from_str_radix takes a sign.
    if !word.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()
}
