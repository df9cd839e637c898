//! Bytes of a program: a file, a part of one, or memory.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::FileExt;

/// Nothing that is read at once is larger, whatever a header says.
const LARGEST_READ: u64 = 1 << 30;

/// Where the bytes of a program are. Files are read in parts, as they are needed: a mapping would kill this
/// process when somebody truncates the file.
#[derive(Debug)]
pub(crate) enum Source {
    /// `len` bytes of a file from `base` on: the whole, or a member of an archive.
    File {
        /// The file, open for reading.
        file: File,
        /// First byte.
        base: u64,
        /// Bytes.
        len: u64,
    },
    /// A copy of a program that lies in no file, such as the vDSO.
    Bytes(Vec<u8>),
}

impl Source {
    /// A whole file. `InvalidInput`: it is no regular file.
    pub(crate) fn file(file: File) -> Result<Source> {
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(Error::new(ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Source::File { file, base: 0, len: meta.len() })
    }

    /// Bytes in all.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Source::File { len, .. } => *len,
            Source::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Where the bytes begin in their file; 0 for memory.
    pub(crate) fn base(&self) -> u64 {
        match self {
            Source::File { base, .. } => *base,
            Source::Bytes(_) => 0,
        }
    }

    /// A copy of `len` bytes from `offset` on. `UnexpectedEof`: they are not all there.
    pub(crate) fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        let short =
            || Error::new(ErrorKind::UnexpectedEof, format!("{len} bytes at {offset:#x} are not there"));
        if len > LARGEST_READ || offset.checked_add(len).is_none_or(|end| end > self.len()) {
            return Err(short());
        }
        match self {
            Source::File { file, base, .. } => {
                let mut bytes = vec![0; len as usize];
                file.read_exact_at(&mut bytes, base.checked_add(offset).ok_or_else(short)?)?;
                Ok(bytes)
            }
            Source::Bytes(all) => {
                let rest = all.get(offset as usize..).ok_or_else(short)?;
                Ok(rest.get(..len as usize).ok_or_else(short)?.to_vec())
            }
        }
    }

    /// As [`Source::read`], but ends where the bytes end.
    pub(crate) fn read_up_to(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        self.read(offset, len.min(self.len().saturating_sub(offset)))
    }
}
