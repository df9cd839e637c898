//! ELF files: which part of a file is mapped where, sections, notes.
//!
//! Opening reads the headers alone. All numbers in a file may be hostile: what is out of range is left out or
//! answered with an error.

use super::source::Source;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::read::{ReadCache, ReadCacheOps};
use object::{Endian, Endianness, elf};
use std::ops::Range;

/// Why a file is no ELF file that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ElfError {
    /// What it is instead.
    NotElf(String),
    /// Reading failed.
    Io(String),
}

/// A part of the file that is mapped when the program runs (`PT_LOAD`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Offset in the file.
    pub(crate) offset: u64,
    /// Bytes in the file.
    pub(crate) size: u64,
    /// Address as linked.
    pub(crate) address: u64,
    /// Whether it holds code.
    pub(crate) execute: bool,
}

/// A section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    /// Name.
    pub(crate) name: String,
    /// Kind, `SHT_*`.
    pub(crate) kind: u32,
    /// Address as linked; 0 if it is not mapped.
    pub(crate) address: u64,
    /// Offset in the file.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) size: u64,
    /// Index of a section that belongs to it.
    pub(crate) link: u32,
    /// Whether it is mapped when the program runs.
    pub(crate) mapped: bool,
    /// Whether it holds code.
    pub(crate) execute: bool,
    /// Whether its contents are compressed.
    pub(crate) compressed: bool,
}

impl Section {
    /// Whether the file has bytes for it.
    pub(crate) fn has_bytes(&self) -> bool {
        self.kind != elf::SHT_NOBITS.0 && self.kind != elf::SHT_NULL.0
    }
}

/// An opened ELF file.
#[derive(Debug)]
pub(crate) struct Elf {
    source: Source,
    /// Whether addresses have 64 bits.
    pub(crate) is_64: bool,
    /// Byte order.
    pub(crate) endian: Endianness,
    /// `EM_*`.
    pub(crate) machine: u16,
    /// Whether it is a program or library, rather than a relocatable file or a memory image.
    pub(crate) is_program: bool,
    /// Parts that are mapped.
    pub(crate) segments: Vec<Segment>,
    /// Sections; empty if they were removed.
    pub(crate) sections: Vec<Section>,
    notes: Vec<Range<u64>>,
}

impl Elf {
    /// Reads the headers of an ELF file of any class and byte order.
    pub(crate) fn open(source: Source) -> Result<Elf, ElfError> {
        let start = source.read_up_to(0, 64).map_err(|e| ElfError::Io(e.to_string()))?;
        if !start.starts_with(b"\x7fELF") {
            return Err(ElfError::NotElf(what_else(&start)));
        }
        let reader = ReadCache::new(Reader { source: &source, at: 0 });
        let facts = match start.get(4) {
            Some(2) => facts::<elf::FileHeader64<Endianness>>(&reader),
            Some(1) => facts::<elf::FileHeader32<Endianness>>(&reader),
            _ => Err(ElfError::NotElf("an ELF file of an unknown class".into())),
        }?;
        drop(reader);
        Ok(Elf { source, ..facts })
    }

    /// The bytes that it is made of.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Whether numbers begin with their lowest byte.
    pub(crate) fn is_little(&self) -> bool {
        self.endian.is_little_endian()
    }

    /// The section of this name.
    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|s| s.name == name)
    }

    /// The contents of a section, decompressed if need be; `None` if the file does not have them.
    pub(crate) fn data(&self, section: &Section) -> Option<Vec<u8>> {
        if !section.has_bytes() {
            return None;
        }
        let bytes = self.source.read(section.offset, section.size).ok()?;
        if section.compressed { self.decompress(&bytes) } else { Some(bytes) }
    }

    /// `Elf64_Chdr` or `Elf32_Chdr`, then the data. Of the two kinds only zlib is known.
    fn decompress(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        const LARGEST: u64 = 1 << 30;
        let (kind, rest) = bytes.split_first_chunk::<4>()?;
        let kind = if self.is_little() { u32::from_le_bytes(*kind) } else { u32::from_be_bytes(*kind) };
        let rest = if self.is_64 { rest.get(4..)? } else { rest };
        let (size, rest) = self.word(rest)?;
        let (_align, rest) = self.word(rest)?;
        if kind != elf::ELFCOMPRESS_ZLIB.0 || size > LARGEST {
            return None;
        }
        miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(rest, size as usize).ok()
    }

    /// Offset in the file of an address.
    pub(crate) fn file_offset(&self, address: u64) -> Option<u64> {
        let inside = |s: &&Segment| address.checked_sub(s.address).is_some_and(|at| at < s.size);
        let segment = self.segments.iter().find(inside)?;
        segment.offset.checked_add(address - segment.address)?.checked_add(self.source.base())
    }

    /// Address of an offset in the file, if a section that is mapped holds it (a segment, if there are no
    /// sections).
    pub(crate) fn address_of(&self, offset: u64) -> Option<u64> {
        let offset = offset.checked_sub(self.source.base())?;
        let inside = |start: u64, size: u64| offset.checked_sub(start).filter(|at| *at < size);
        if self.sections.is_empty() {
            let find = |s: &Segment| s.address.checked_add(inside(s.offset, s.size)?);
            return self.segments.iter().find_map(find);
        }
        let mapped = self.sections.iter().filter(|s| s.mapped && s.has_bytes());
        mapped.filter_map(|s| s.address.checked_add(inside(s.offset, s.size)?)).next()
    }

    /// Address of an offset in the file that is mapped as code. Mappings begin at pages, so bytes around a
    /// segment count as well.
    pub(crate) fn address_of_mapped(&self, offset: u64) -> Option<u64> {
        const PAGE: u64 = 4096;
        let offset = offset.checked_sub(self.source.base())?;
        let near = |s: &&Segment| {
            let start = s.offset & !(PAGE - 1);
            let end = s.offset.saturating_add(s.size).saturating_add(PAGE - 1) & !(PAGE - 1);
            (start..end).contains(&offset)
        };
        let exact = |s: &&Segment| offset.checked_sub(s.offset).is_some_and(|at| at < s.size);
        let code = || self.segments.iter().filter(|s| s.execute);
        let segment = code().find(exact).or_else(|| code().find(near))?;
        Some(offset.wrapping_sub(segment.offset).wrapping_add(segment.address))
    }

    /// Copies bytes that are mapped at an address; fewer if the segment ends before.
    pub(crate) fn bytes_at(&self, address: u64, len: u64) -> Option<Vec<u8>> {
        let segment =
            self.segments.iter().find(|s| address.checked_sub(s.address).is_some_and(|at| at < s.size))?;
        let at = address - segment.address;
        self.source.read_up_to(segment.offset.checked_add(at)?, len.min(segment.size - at)).ok()
    }

    /// The build id.
    pub(crate) fn build_id(&self) -> Option<Vec<u8>> {
        let sections = self.sections.iter().filter(|s| s.kind == elf::SHT_NOTE.0).map(|s| (s.offset, s.size));
        let segments = self.notes.iter().map(|r| (r.start, r.end - r.start));
        sections.chain(segments).find_map(|(offset, size)| {
            let bytes = self.source.read(offset, size.min(1 << 20)).ok()?;
            let found = self.notes_in(&bytes).find(|n| n.kind == elf::NT_GNU_BUILD_ID.0 && n.name == b"GNU");
            found.filter(|n| !n.data.is_empty()).map(|n| n.data.to_vec())
        })
    }

    /// The notes of a section's contents.
    pub(crate) fn notes_in<'b>(&self, bytes: &'b [u8]) -> impl Iterator<Item = Note<'b>> + use<'b> {
        let little = self.is_little();
        let mut rest = bytes;
        std::iter::from_fn(move || {
            let mut at = 0usize;
            let mut take = |len: usize| {
                let taken = rest.get(at..at.checked_add(len)?)?;
                // The last one may lack its padding.
                at = at.checked_add(len.checked_next_multiple_of(4)?)?.min(rest.len());
                Some(taken)
            };
            let header = take(12)?;
            let word = |i: usize| {
                let word = header.get(i..i + 4)?.try_into().ok()?;
                Some(if little { u32::from_le_bytes(word) } else { u32::from_be_bytes(word) })
            };
            let (name_len, data_len, kind) = (word(0)?, word(4)?, word(8)?);
            let name = take(name_len as usize)?;
            let data = take(data_len as usize)?;
            rest = rest.get(at..)?;
            Some(Note { name: name.strip_suffix(b"\0").unwrap_or(name), kind, data })
        })
    }

    /// An address in the size of the file's class, and what follows it.
    pub(crate) fn word<'b>(&self, bytes: &'b [u8]) -> Option<(u64, &'b [u8])> {
        if self.is_64 {
            let (word, rest) = bytes.split_first_chunk::<8>()?;
            let little = self.is_little();
            Some((if little { u64::from_le_bytes(*word) } else { u64::from_be_bytes(*word) }, rest))
        } else {
            let (word, rest) = bytes.split_first_chunk::<4>()?;
            let little = self.is_little();
            Some((if little { u32::from_le_bytes(*word) } else { u32::from_be_bytes(*word) }.into(), rest))
        }
    }

    /// Name of the machine that it is for.
    pub(crate) fn machine_name(&self) -> &'static str {
        match elf::Machine(self.machine) {
            elf::EM_X86_64 if self.is_64 => "64-bit x86",
            elf::EM_X86_64 => "64-bit x86 with 32-bit addresses",
            elf::EM_386 => "32-bit x86",
            elf::EM_AARCH64 => "64-bit Arm",
            elf::EM_ARM => "32-bit Arm",
            elf::EM_RISCV => "RISC-V",
            elf::EM_PPC64 => "64-bit PowerPC",
            elf::EM_PPC => "32-bit PowerPC",
            elf::EM_S390 => "IBM Z",
            elf::EM_MIPS => "MIPS",
            elf::EM_LOONGARCH => "LoongArch",
            elf::EM_BPF => "BPF",
            _ => "another machine",
        }
    }

    /// Whether its code runs on this machine as the machine's own.
    pub(crate) fn is_native(&self) -> bool {
        let machine = if cfg!(target_arch = "aarch64") { elf::EM_AARCH64 } else { elf::EM_X86_64 };
        self.is_64 && self.machine == machine.0 && self.endian == Endianness::default()
    }
}

/// A note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Note<'b> {
    /// Whose it is.
    pub(crate) name: &'b [u8],
    /// Kind; the owner decides what it means.
    pub(crate) kind: u32,
    /// Contents.
    pub(crate) data: &'b [u8],
}

/// Lets headers be read from a source.
struct Reader<'s> {
    source: &'s Source,
    at: u64,
}

impl ReadCacheOps for Reader<'_> {
    fn len(&mut self) -> Result<u64, ()> {
        Ok(self.source.len())
    }

    fn seek(&mut self, at: u64) -> Result<u64, ()> {
        self.at = at;
        Ok(at)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ()> {
        let bytes = self.source.read_up_to(self.at, buffer.len() as u64).map_err(drop)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), ()> {
        if self.read(buffer)? == buffer.len() { Ok(()) } else { Err(()) }
    }
}

/// What a file is that is no ELF file.
fn what_else(start: &[u8]) -> String {
    match start {
        [] => "an empty file",
        [b'#', b'!', ..] => "a script",
        [b'P', b'K', 3, 4, ..] => "an archive",
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', ..] => "a library of object files",
        [b'M', b'Z', ..] => "a program for another system",
        _ if start.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) => "a text file",
        _ => "a file of another kind",
    }
    .to_owned()
}

fn facts<H: FileHeader<Endian = Endianness>>(reader: &ReadCache<Reader<'_>>) -> Result<Elf, ElfError> {
    let damaged = |e: object::read::Error| ElfError::NotElf(format!("a damaged ELF file ({e})"));
    let header = H::parse(reader).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    let mut segments = Vec::new();
    let mut notes = Vec::new();
    for part in header.program_headers(endian, reader).map_err(damaged)? {
        let (offset, size) = part.file_range(endian);
        let kind = part.p_type(endian);
        if kind == elf::PT_LOAD && size > 0 {
            let execute = part.p_flags(endian).0 & elf::PF_X.0 != 0;
            segments.push(Segment { offset, size, address: part.p_vaddr(endian).into(), execute });
        } else if kind == elf::PT_NOTE {
            notes.push(offset..offset.saturating_add(size));
        }
    }
    let mut sections = Vec::new();
    // Programs run without sections, so damage in them is no reason to refuse.
    if let Ok(table) = header.sections(endian, reader) {
        let strings = header
            .section_strings_index(endian, reader)
            .ok()
            .and_then(|index| table.section(index).ok())
            .and_then(|s| s.data(endian, reader).ok())
            .unwrap_or_default();
        for section in table.iter() {
            let flags = section.sh_flags(endian).0;
            let name = strings.get(section.sh_name(endian) as usize..).unwrap_or_default();
            let name = name.split(|b| *b == 0).next().unwrap_or_default();
            sections.push(Section {
                name: String::from_utf8_lossy(name).into_owned(),
                kind: section.sh_type(endian).0,
                address: section.sh_addr(endian).into(),
                offset: section.sh_offset(endian).into(),
                size: section.sh_size(endian).into(),
                link: section.sh_link(endian),
                mapped: flags & elf::SHF_ALLOC.0 != 0,
                execute: flags & elf::SHF_EXECINSTR.0 != 0,
                compressed: flags & elf::SHF_COMPRESSED.0 != 0,
            });
        }
    }
    let kind = header.e_type(endian);
    Ok(Elf {
        source: Source::Bytes(Vec::new()),
        is_64: header.is_type_64(),
        endian,
        machine: header.e_machine(endian).0,
        is_program: kind == elf::ET_EXEC || kind == elf::ET_DYN,
        segments,
        sections,
        notes,
    })
}
