//! BTF objects: loading and reading back. Their contents are bytes here.

use super::attr::BtfLoadAttr;
use super::info::{BtfInfo, ObjectKind};
use super::log::{LoadError, Log, LogBuffer, log_level, with_log};
use super::sys::{Cmd, bpf_fd, input, len32, output};
use crate::error::Result;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A BTF object in the kernel.
#[derive(Debug)]
pub struct Btf {
    fd: OwnedFd,
}

impl Btf {
    /// Loads BTF; if the kernel refuses it, loads it again to get the log.
    pub fn load(data: &[u8], token: Option<BorrowedFd<'_>>) -> Result<Btf, LoadError> {
        match Self::load_once(data, token, 0, &mut LogBuffer::none()) {
            Ok(btf) => Ok(btf),
            Err(error) => {
                let level = log_level::BRANCHES;
                match with_log(|level, buffer| Self::load_once(data, token, level, buffer), level) {
                    Ok((btf, _)) => Ok(btf),
                    Err(e) if e.log.text.is_empty() => Err(LoadError { error, log: Log::default() }),
                    Err(e) => Err(e),
                }
            }
        }
    }

    /// Loads BTF once and without a log: for those who want to know no more than the errno.
    pub fn load_plain(data: &[u8]) -> Result<Btf> {
        Self::load_once(data, None, 0, &mut LogBuffer::none())
    }

    fn load_once(data: &[u8], token: Option<BorrowedFd<'_>>, level: u32, log: &mut LogBuffer) -> Result<Btf> {
        let cmd = Cmd::BTF_LOAD;
        let mut attr = BtfLoadAttr {
            btf: input(data),
            btf_size: len32(cmd, "BTF", data.len())?,
            log_buf: output(&mut log.bytes),
            log_size: log.size(),
            log_level: level,
            // BPF_F_TOKEN_FD
            flags: if token.is_some() { 1 << 16 } else { 0 },
            token_fd: token.map_or(0, |fd| fd.as_raw_fd()),
            ..BtfLoadAttr::default()
        };
        // SAFETY: both addresses are of slices with the sizes beside them; the kernel writes to `log` alone.
        let result = unsafe { bpf_fd(cmd, &mut attr) };
        log.true_size = attr.log_true_size;
        Ok(Btf { fd: result? })
    }

    /// Takes over an open BTF object. Fails with `EINVAL` if it is none.
    pub fn from_fd(fd: OwnedFd) -> Result<Btf> {
        ObjectKind::Btf.expect(fd.as_fd())?;
        Ok(Btf { fd })
    }

    /// What the kernel tells about the object.
    pub fn info(&self) -> Result<BtfInfo> {
        BtfInfo::of(self.as_fd())
    }

    /// The data as it was loaded.
    pub fn data(&self) -> Result<Vec<u8>> {
        BtfInfo::data(self.as_fd())
    }
}

impl AsFd for Btf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Btf> for OwnedFd {
    fn from(btf: Btf) -> OwnedFd {
        btf.fd
    }
}
