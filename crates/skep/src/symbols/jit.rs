//! Code that programs make while they run: they list its names in `/tmp/perf-PID.map`, if they are asked to.

use skep_sys::proc;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A larger list is not read.
const LARGEST: u64 = 256 << 20;
/// The list is read again for code that was made since, but not more often.
const PAUSE: Duration = Duration::from_secs(1);

/// The list of a process, read when an address is first asked for that is in no file.
#[derive(Default)]
pub(crate) struct JitNames {
    /// First address, bytes, name, sorted; of several at one address the last of the list.
    entries: Vec<(u64, u64, String)>,
    read: Option<Instant>,
}

impl JitNames {
    /// The name at an address and the bytes from its start.
    pub(crate) fn resolve(&mut self, pid: u32, address: u64) -> Option<(&str, u64)> {
        if self.find(address).is_none() && self.read.is_none_or(|at| at.elapsed() > PAUSE) {
            // When the process has ended, what was read stays.
            if let Some(entries) = read(pid) {
                self.entries = entries;
            }
            self.read = Some(Instant::now());
        }
        let (start, _, name) = self.entries.get(self.find(address)?)?;
        Some((name, address - start))
    }

    fn find(&self, address: u64) -> Option<usize> {
        let after = self.entries.partition_point(|(start, ..)| *start <= address);
        let index = after.checked_sub(1)?;
        let (start, size, _) = self.entries.get(index)?;
        (address - start < *size).then_some(index)
    }
}

fn read(pid: u32) -> Option<Vec<(u64, u64, String)>> {
    // The process knows itself by its number in its own namespace, and has its own /tmp.
    let own = proc::status(pid).ok()?.ns_tgid.last().copied().unwrap_or(pid);
    let path = PathBuf::from(format!("/tmp/perf-{own}.map"));
    let (file, _) = super::open::open(&path, Some(pid)).ok()?;
    Some(parse(&text(file)?))
}

fn text(file: File) -> Option<String> {
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Lines of the form `START SIZE NAME`, numbers in hexadecimal.
fn parse(text: &str) -> Vec<(u64, u64, String)> {
    let hex = |word: &str| u64::from_str_radix(word.strip_prefix("0x").unwrap_or(word), 16).ok();
    let line = |line: &str| {
        let (start, rest) = line.split_once(' ')?;
        let (size, name) = rest.split_once(' ')?;
        Some((hex(start)?, hex(size)?, name.trim_end().to_owned()))
    };
    let mut entries: Vec<_> = text.lines().filter_map(line).collect();
    // Code that was thrown away may have left its place to other code.
    entries.reverse();
    entries.sort_by_key(|(start, ..)| *start);
    entries.dedup_by_key(|(start, ..)| *start);
    entries
}

#[cfg(test)]
mod tests {
    use super::{JitNames, parse};

    #[test]
    fn names() {
        let text = "7f00 10 old\n7f20 0x8 LazyCompile:~f /a b.js:1\n7f00 20 new\nbad\n7f40 zz bad\n";
        let mut names = JitNames { entries: parse(text), read: Some(std::time::Instant::now()) };
        assert_eq!(names.resolve(1, 0x7f1f), Some(("new", 0x1f)));
        assert_eq!(names.resolve(1, 0x7f21), Some(("LazyCompile:~f /a b.js:1", 1)));
        assert_eq!(names.resolve(1, 0x7f28), None);
        assert_eq!(names.resolve(1, 0), None);
    }
}
