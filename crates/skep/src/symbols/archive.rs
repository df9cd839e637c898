//! Libraries inside zip archives, as Android's programs run them: stored, not compressed.

use super::source::Source;
use std::fs::File;
use std::io::Result;
use std::os::unix::fs::FileExt;

/// The end of an archive: 22 bytes and a comment.
const END: usize = 22;
const LONGEST_COMMENT: u64 = u16::MAX as u64;
const LARGEST_DIRECTORY: u32 = 64 << 20;

/// Why a member cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArchiveError {
    /// The file is no archive, or a damaged one.
    NotArchive,
    /// There is no such member.
    Missing,
    /// The member is compressed, so that it is nowhere mapped as it is.
    Compressed,
}

/// The bytes of a member of an archive.
pub(crate) fn member(file: File, name: &str) -> std::result::Result<Source, ArchiveError> {
    let (base, len) = find(&file, name)?;
    Ok(Source::File { file, base, len })
}

fn find(file: &File, name: &str) -> std::result::Result<(u64, u64), ArchiveError> {
    use ArchiveError::{Compressed, Missing, NotArchive};
    let size = file.metadata().map_err(|_| NotArchive)?.len();
    let tail = size.min(END as u64 + LONGEST_COMMENT);
    let bytes = read(file, size - tail, tail).map_err(|_| NotArchive)?;
    let ends = bytes.windows(END).rev();
    let end = ends.into_iter().find(|w| w.starts_with(b"PK\x05\x06")).ok_or(NotArchive)?;
    let (len, at) = (u32_at(end, 12).ok_or(NotArchive)?, u32_at(end, 16).ok_or(NotArchive)?);
    if len > LARGEST_DIRECTORY {
        return Err(NotArchive);
    }
    let directory = read(file, at.into(), len.into()).map_err(|_| NotArchive)?;
    let mut rest = directory.as_slice();
    while rest.starts_with(b"PK\x01\x02") {
        let half = |at| u16_at(rest, at).ok_or(NotArchive);
        let word = |at| u32_at(rest, at).ok_or(NotArchive);
        let (name_len, more) = (usize::from(half(28)?), usize::from(half(30)?) + usize::from(half(32)?));
        if rest.get(46..46 + name_len).ok_or(NotArchive)? == name.as_bytes() {
            if half(10)? != 0 {
                return Err(Compressed);
            }
            let (size, header_at) = (u64::from(word(20)?), u64::from(word(42)?));
            // The header before the data has a name and extra fields of its own.
            let header = read(file, header_at, 30).map_err(|_| NotArchive)?;
            if !header.starts_with(b"PK\x03\x04") {
                return Err(NotArchive);
            }
            let lens = u16_at(&header, 26).zip(u16_at(&header, 28)).ok_or(NotArchive)?;
            return Ok((header_at + 30 + u64::from(lens.0) + u64::from(lens.1), size));
        }
        rest = rest.get(46 + name_len + more..).ok_or(NotArchive)?;
    }
    Err(Missing)
}

fn read(file: &File, at: u64, len: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
