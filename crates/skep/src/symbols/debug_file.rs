//! Separate files with the symbols and debug data of programs.

use super::elf::Elf;
use super::source::Source;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Where distributions put them.
pub(crate) const USUAL: &str = "/usr/lib/debug";
/// Files that are larger are not read in whole for their checksum.
const LARGEST_CHECKED: u64 = 256 << 20;

/// Finds the debug file of a program by its build id, or by the name in `.gnu_debuglink` beside the program. Only
/// a file with the same build id, or else with the right checksum, is taken.
pub(crate) fn find(elf: &Elf, path: &Path, folders: &[PathBuf]) -> Option<Elf> {
    let id = elf.build_id();
    if let Some(found) = id.as_deref().and_then(|id| by_build_id(id, folders)) {
        return Some(found);
    }
    let link = elf.data(elf.section(".gnu_debuglink")?)?;
    let len = link.iter().position(|b| *b == 0)?;
    let name = std::str::from_utf8(&link[..len]).ok().filter(|n| !n.is_empty() && !n.contains('/'))?;
    let sum = link.get((len + 1).next_multiple_of(4)..)?.first_chunk::<4>()?;
    let sum = if elf.is_little() { u32::from_le_bytes(*sum) } else { u32::from_be_bytes(*sum) };
    let folder = path.parent()?;
    let beside = [folder.join(name), folder.join(".debug").join(name)];
    let below = folders.iter().map(|f| f.join(folder.strip_prefix("/").unwrap_or(folder)).join(name));
    beside.into_iter().chain(below).filter(|candidate| candidate != path).find_map(|candidate| {
        let found = open(&candidate)?;
        let same = match (&id, found.build_id()) {
            (Some(id), Some(other)) => *id == other,
            _ => checksum(found.source()) == Some(sum),
        };
        same.then_some(found)
    })
}

/// Finds a debug file by build id alone.
fn by_build_id(id: &[u8], folders: &[PathBuf]) -> Option<Elf> {
    let (first, rest) = id.split_first().filter(|(_, rest)| !rest.is_empty())?;
    let rest: String = rest.iter().map(|b| format!("{b:02x}")).collect();
    folders.iter().find_map(|folder| {
        let place = folder.join(format!(".build-id/{first:02x}/{rest}.debug"));
        open(&place).filter(|found| found.build_id().as_deref() == Some(id))
    })
}

fn open(path: &Path) -> Option<Elf> {
    // Asked first: opening a pipe waits for its writer.
    fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Elf::open(Source::file(File::open(path).ok()?).ok()?).ok()
}

/// CRC-32 of the whole file (polynomial of IEEE 802.3), as `.gnu_debuglink` holds it.
fn checksum(source: &Source) -> Option<u32> {
    if source.len() > LARGEST_CHECKED {
        return None;
    }
    let mut table = [0u32; 256];
    for (i, entry) in table.iter_mut().enumerate() {
        *entry = (0..8).fold(i as u32, |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 });
    }
    let mut sum = !0u32;
    let mut at = 0;
    while at < source.len() {
        let bytes = source.read_up_to(at, 1 << 20).ok()?;
        at += bytes.len() as u64;
        sum = bytes.iter().fold(sum, |c, b| table[usize::from(c as u8 ^ b)] ^ c >> 8);
    }
    Some(!sum)
}
