//! PMUs: types and fields from /sys/bus/event_source/devices.

use crate::error::{Errno, Result, SysError};
use std::path::PathBuf;

const DEVICES: &str = "/sys/bus/event_source/devices";

/// A source of perf events, built in or of a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pmu {
    name: String,
    kind: u32,
}

impl Pmu {
    /// The PMU with this name. `ENOENT`: the kernel has none.
    pub fn find(name: &str) -> Result<Pmu> {
        let path = PathBuf::from(DEVICES).join(name).join("type");
        let text = std::fs::read_to_string(&path)
            .map_err(|e| SysError::io("open", &e).about(path.display().to_string()))?;
        let kind = text.trim().parse().map_err(|_| {
            SysError::new("read", Errno::EINVAL).about(format!("{}: {text:?}", path.display()))
        })?;
        Ok(Pmu { name: name.to_owned(), kind })
    }

    /// The names of all PMUs, sorted.
    pub fn names() -> Result<Vec<String>> {
        let entries = std::fs::read_dir(DEVICES).map_err(|e| SysError::io("open", &e).about(DEVICES))?;
        let mut names: Vec<_> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Value for the `type` field of an event.
    pub fn kind(&self) -> u32 {
        self.kind
    }

    /// Where a field of the PMU's events lies, from its `format` folder. `ENOENT`: it has no such field.
    pub fn field(&self, field: &str) -> Result<BitRange> {
        let path = PathBuf::from(DEVICES).join(&self.name).join("format").join(field);
        let text = std::fs::read_to_string(&path)
            .map_err(|e| SysError::io("open", &e).about(path.display().to_string()))?;
        BitRange::parse(&text).ok_or_else(|| {
            SysError::new("read", Errno::EINVAL).about(format!("{}: {text:?}", path.display()))
        })
    }
}

/// Bits `first` to `last` of the `config` field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitRange {
    /// Lowest bit.
    pub first: u32,
    /// Highest bit.
    pub last: u32,
}

impl BitRange {
    /// Reads `config:0` or `config:32-63`; other words (`config1:`) and split fields yield `None`.
    pub fn parse(text: &str) -> Option<BitRange> {
        let bits = text.trim().strip_prefix("config:")?;
        let (first, last) = bits.split_once('-').unwrap_or((bits, bits));
        let range = BitRange { first: first.parse().ok()?, last: last.parse().ok()? };
        (range.first <= range.last && range.last < 64).then_some(range)
    }

    /// The value in its place; `None` if it does not fit.
    pub fn encode(self, value: u64) -> Option<u64> {
        let width = self.last - self.first + 1;
        (width == 64 || value >> width == 0).then(|| value << self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_placed_by_their_format() {
        let retprobe = BitRange::parse("config:0\n").expect("one bit");
        assert_eq!((retprobe.encode(1), retprobe.encode(2)), (Some(1), None));
        let semaphore = BitRange::parse("config:32-63").expect("a range");
        assert_eq!(semaphore.encode(0x10), Some(0x10 << 32));
        assert_eq!(semaphore.encode(1 << 32), None);
        assert_eq!(BitRange::parse("config:0-63").and_then(|r| r.encode(u64::MAX)), Some(u64::MAX));
        for odd in ["", "config1:0", "config:3-1", "config:0-64", "config:0,3", "config:-"] {
            assert_eq!(BitRange::parse(odd), None, "{odd}");
        }
    }
}
