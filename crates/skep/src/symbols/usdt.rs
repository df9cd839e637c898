//! USDT probes: notes that `sys/sdt.h` leaves in programs.

use super::elf::Elf;
use skep_trace::env::UsdtNote;

const SECTION: &str = ".note.stapsdt";
const OWNER: &[u8] = b"stapsdt";
const KIND: u32 = 3;

/// The probes of a program, in the order of their notes. Damaged notes are left out.
pub(crate) fn probes(elf: &Elf) -> Vec<UsdtNote> {
    // Tools that move a program do not know of notes; the distance is that of this section, which they move.
    let base = elf.section(".stapsdt.base").map(|s| s.address);
    let mut probes = Vec::new();
    for section in elf.sections.iter().filter(|s| s.name == SECTION) {
        let Some(bytes) = elf.data(section) else { continue };
        let notes = elf.notes_in(&bytes).filter(|n| n.name == OWNER && n.kind == KIND);
        probes.extend(notes.filter_map(|n| probe(elf, base, n.data)));
    }
    probes
}

fn probe(elf: &Elf, base: Option<u64>, data: &[u8]) -> Option<UsdtNote> {
    let (location, data) = elf.word(data)?;
    let (linked_base, data) = elf.word(data)?;
    let (semaphore, data) = elf.word(data)?;
    let moved = base.map_or(0, |base| base.wrapping_sub(linked_base));
    let mut strings = data.split(|b| *b == 0).map(|s| String::from_utf8_lossy(s).into_owned());
    let (provider, name, args) = (strings.next()?, strings.next()?, strings.next()?);
    // A semaphore that is not in the file cannot be counted; the probe still fires.
    let semaphore = match semaphore {
        0 => 0,
        at => elf.file_offset(at.wrapping_add(moved)).unwrap_or(0),
    };
    Some(UsdtNote { provider, name, offset: elf.file_offset(location.wrapping_add(moved))?, semaphore, args })
}
