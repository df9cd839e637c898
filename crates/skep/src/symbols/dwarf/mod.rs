//! Debug data of programs: source lines, inlined functions, types.

mod lines;
mod types;

pub(crate) use lines::{Lines, addresses};
pub(crate) use types::btf;

use super::elf::Elf;
use gimli::{Dwarf, EndianRcSlice, RunTimeEndian, SectionId};
use std::rc::Rc;

/// Debug data that are larger are not read: that would take gigabytes and minutes.
const LARGEST: u64 = 1 << 30;

type Reader = EndianRcSlice<RunTimeEndian>;

/// The debug data of a file; `None` if it has none.
fn load(elf: &Elf) -> Option<Dwarf<Reader>> {
    elf.section(".debug_info").filter(|s| s.has_bytes() && s.size > 0)?;
    let debug = elf.sections.iter().filter(|s| s.name.starts_with(".debug_"));
    if debug.map(|s| s.size).fold(0, u64::saturating_add) > LARGEST {
        return None;
    }
    let endian = if elf.is_little() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    let section = |id: SectionId| {
        let bytes = elf.section(id.name()).and_then(|s| elf.data(s)).unwrap_or_default();
        Ok::<_, gimli::Error>(EndianRcSlice::new(Rc::from(bytes), endian))
    };
    Dwarf::load(section).ok()
}
