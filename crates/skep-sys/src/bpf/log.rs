//! Logs of program and BTF loads.

use super::sys::text;
use crate::error::{Errno, Result, SysError};

/// First size of the buffer for a log, and the size beyond which it does not grow.
const LOG_FIRST: usize = 64 << 10;
const LOG_MAX: usize = 16 << 20;

/// Log levels of the verifier and the BTF checker (`BPF_LOG_*` of include/linux/bpf_verifier.h).
pub mod log_level {
    /// Branches of the path that failed, and the reason.
    pub const BRANCHES: u32 = 1;
    /// Every instruction with the state before it.
    pub const STATES: u32 = 2;
    /// Only the statistics at the end.
    pub const STATS: u32 = 4;
}

/// What the kernel wrote while it checked a program or BTF.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// The text, without the NUL at its end. Truncated logs hold the end of the text on kernels since 6.4, the
    /// beginning before.
    pub text: String,
    /// Whether it did not fit the largest buffer, 16 MiB.
    pub truncated: bool,
}

/// A program or BTF object that the kernel did not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct LoadError {
    /// The errno of the load itself (not that of a log that was too long).
    pub error: SysError,
    /// The log. Empty if the kernel refused before it checked anything: a capability, a security module,
    /// lockdown, or a kind of program that this kernel does not do.
    pub log: Log,
}

impl LoadError {
    /// A refusal by permission before anything was checked.
    pub fn is_refused_unchecked(&self) -> bool {
        self.error.is_permission() && self.log.text.is_empty()
    }
}

impl From<LoadError> for SysError {
    fn from(e: LoadError) -> SysError {
        e.error
    }
}

/// Where a load writes its log, and the size of the whole log (with its NUL) where the kernel tells it.
#[derive(Debug, Default)]
pub(super) struct LogBuffer {
    pub(super) bytes: Vec<u8>,
    pub(super) true_size: u32,
}

impl LogBuffer {
    pub(super) fn none() -> Self {
        LogBuffer::default()
    }

    fn with_size(size: usize) -> Self {
        LogBuffer { bytes: vec![0; size], true_size: 0 }
    }

    /// At most [`LOG_MAX`].
    pub(super) fn size(&self) -> u32 {
        self.bytes.len() as u32
    }
}

/// Repeats a load until its log fits, and without a log if even the largest buffer is too small: a load whose
/// log does not fit fails with ENOSPC, which is no verdict on what was loaded.
///
/// `load` is given the level and the buffer of one try.
pub(super) fn with_log<T>(
    mut load: impl FnMut(u32, &mut LogBuffer) -> Result<T>,
    level: u32,
) -> Result<(T, Log), LoadError> {
    let mut size = LOG_FIRST;
    loop {
        let mut buffer = LogBuffer::with_size(size);
        let outcome = load(level, &mut buffer);
        let truncated = matches!(&outcome, Err(e) if e.errno == Errno::ENOSPC);
        if truncated && size < LOG_MAX {
            let told = buffer.true_size as usize;
            size = if told > size { told } else { size * 4 }.min(LOG_MAX);
            continue;
        }
        let log = Log { text: text(&buffer.bytes), truncated };
        let verdict = if truncated { load(0, &mut LogBuffer::none()) } else { outcome };
        return match verdict {
            Ok(object) => Ok((object, log)),
            Err(error) => Err(LoadError { error, log }),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_never_fits_still_yields_the_verdict() {
        let mut sizes = Vec::new();
        let refused = with_log::<()>(
            |level, buffer| {
                sizes.push(buffer.bytes.len());
                if level == 0 {
                    return Err(SysError::new("load", Errno::EACCES));
                }
                buffer.bytes[..3].copy_from_slice(b"end");
                Err(SysError::new("load", Errno::ENOSPC))
            },
            1,
        )
        .expect_err("the plain load fails");
        assert_eq!(sizes, [64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 0]);
        assert_eq!(refused.error.errno, Errno::EACCES);
        assert_eq!(refused.log, Log { text: "end".into(), truncated: true });
    }

    #[test]
    fn the_size_that_the_kernel_tells_is_taken() {
        let mut sizes = Vec::new();
        let loaded = with_log(
            |_, buffer| {
                sizes.push(buffer.bytes.len());
                if buffer.bytes.len() < 100_000 {
                    buffer.true_size = 100_000;
                    return Err(SysError::new("load", Errno::ENOSPC));
                }
                Ok(7)
            },
            2,
        );
        assert_eq!(sizes, [64 << 10, 100_000]);
        assert_eq!(loaded.expect("fits").0, 7);
    }
}
