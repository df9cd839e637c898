//! CPU lists as the kernel prints them: `0-3,8`.

use crate::error::{Errno, Result, SysError};
use std::sync::OnceLock;

/// Numbers above this are taken for damage: the kernel's largest NR_CPUS is 8192.
const MAX_CPU: u32 = 65_535;

/// A set of CPU numbers, ascending, without repetition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpuList(Vec<u32>);

impl CpuList {
    /// Reads the list format of the kernel (lib/vsprintf.c, `bitmap_list_string`): ranges and numbers
    /// separated by commas, possibly nothing. `None` for anything else.
    pub fn parse(text: &str) -> Option<CpuList> {
        let mut cpus = Vec::new();
        let text = text.trim_end_matches(['\n', '\0']).trim();
        if text.is_empty() {
            return Some(CpuList(cpus));
        }
        for part in text.split(',') {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if first > last || cpus.len() + (last - first) as usize > MAX_CPU as usize {
                return None;
            }
            cpus.extend(first..=last);
        }
        cpus.sort_unstable();
        cpus.dedup();
        Some(CpuList(cpus))
    }

    /// How many CPUs are in the list.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no CPU is in the list.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The CPU numbers, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    /// Whether this CPU is in the list.
    pub fn contains(&self, cpu: u32) -> bool {
        self.0.binary_search(&cpu).is_ok()
    }
}

fn number(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|n| *n <= MAX_CPU)
}

/// CPUs that can ever be there: what per-CPU map values have a slot for.
pub fn possible() -> Result<CpuList> {
    read("/sys/devices/system/cpu/possible")
}

/// CPUs that run now: what per-CPU events can be opened on.
pub fn online() -> Result<CpuList> {
    read("/sys/devices/system/cpu/online")
}

/// Number of possible CPUs, read once: the set is fixed when the kernel boots.
pub fn possible_count() -> Result<usize> {
    static COUNT: OnceLock<usize> = OnceLock::new();
    if let Some(count) = COUNT.get() {
        return Ok(*count);
    }
    let list = possible()?;
    if list.is_empty() {
        return Err(SysError::new("read", Errno::EINVAL).about("/sys/devices/system/cpu/possible: no CPU"));
    }
    Ok(*COUNT.get_or_init(|| list.len()))
}

fn read(path: &str) -> Result<CpuList> {
    let text = std::fs::read_to_string(path).map_err(|e| SysError::io("open", &e).about(path))?;
    CpuList::parse(&text).ok_or_else(|| {
        SysError::new("read", Errno::EINVAL).about(format!("{path}: not a CPU list: {text:?}"))
    })
}
