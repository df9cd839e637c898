//! The container: a relocatable ELF64 object for the BPF machine, little endian.

use super::ElfError;
use std::collections::HashMap;

/// Type of a relocation (kernel documentation, bpf/llvm_reloc.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reloc {
    /// `R_BPF_64_64`: the constant of a two-slot instruction.
    Constant = 1,
    /// `R_BPF_64_32`: the target of a call.
    Call = 10,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SymbolKind {
    None = 0,
    Object = 1,
    Func = 2,
    Section = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bind {
    Local = 0,
    Global = 1,
}

/// Where a symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a section, at an offset.
    At(usize, u64),
    /// Nowhere: the loader finds it.
    Extern,
}

struct Symbol {
    name: u32,
    kind: SymbolKind,
    bind: Bind,
    place: Place,
    size: u64,
}

struct Section {
    name: String,
    header: Header,
    bytes: Vec<u8>,
    /// Offset, type, and the number that [`Object::symbol`] gave.
    relocs: Vec<(u64, Reloc, usize)>,
}

#[derive(Clone, Copy, Default)]
struct Header {
    sh_type: u32,
    flags: u64,
    /// Size of a section without bytes.
    size: u64,
    align: u64,
    link: u32,
    info: u32,
    entry: u64,
}

const PROGBITS: u32 = 1;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;
const NOBITS: u32 = 8;
const REL: u32 = 9;
const WRITE: u64 = 1;
const ALLOC: u64 = 2;
const EXEC: u64 = 4;
const INFO_LINK: u64 = 0x40;
const EHDR: usize = 64;
const SHDR: usize = 64;
const EM_BPF: u16 = 247;

/// An object file in the making. Sections are numbered from 0 here; the file has an empty one before them.
#[derive(Default)]
pub(super) struct Object {
    sections: Vec<Section>,
    symbols: Vec<Symbol>,
    section_symbols: HashMap<usize, usize>,
    strings: Vec<u8>,
}

impl Object {
    fn section(&mut self, name: &str, bytes: Vec<u8>, header: Header) -> usize {
        self.sections.push(Section { name: name.to_owned(), header, bytes, relocs: Vec::new() });
        self.sections.len() - 1
    }

    /// Variables with values.
    pub(super) fn data_section(&mut self, name: &str, bytes: Vec<u8>, writable: bool) -> usize {
        let flags = if writable { ALLOC | WRITE } else { ALLOC };
        self.section(name, bytes, Header { sh_type: PROGBITS, flags, align: 8, ..Header::default() })
    }

    /// Variables that are zero.
    pub(super) fn zero_section(&mut self, name: &str, size: usize) -> usize {
        let header = Header {
            sh_type: NOBITS,
            flags: ALLOC | WRITE,
            size: size as u64,
            align: 8,
            ..Header::default()
        };
        self.section(name, Vec::new(), header)
    }

    /// Instructions.
    pub(super) fn code_section(&mut self, name: &str) -> usize {
        let header = Header { sh_type: PROGBITS, flags: ALLOC | EXEC, align: 8, ..Header::default() };
        self.section(name, Vec::new(), header)
    }

    /// Something that is not loaded into memory.
    pub(super) fn meta_section(&mut self, name: &str, bytes: Vec<u8>) -> usize {
        self.section(name, bytes, Header { sh_type: PROGBITS, align: 4, ..Header::default() })
    }

    /// Bytes in a section so far.
    pub(super) fn len(&self, section: usize) -> usize {
        self.sections[section].bytes.len()
    }

    /// Replaces bytes of a section, from an offset on and within it.
    pub(super) fn overwrite(&mut self, section: usize, offset: usize, bytes: &[u8]) {
        self.sections[section].bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Fills a section with zeros up to a size.
    pub(super) fn resize(&mut self, section: usize, size: usize) {
        self.sections[section].bytes.resize(size, 0);
    }

    /// Adds a symbol and returns its number.
    pub(super) fn symbol(
        &mut self,
        name: &str,
        kind: SymbolKind,
        bind: Bind,
        place: Place,
        size: u64,
    ) -> usize {
        let name = self.string(name);
        self.symbols.push(Symbol { name, kind, bind, place, size });
        self.symbols.len() - 1
    }

    /// The symbol that stands for the start of a section.
    pub(super) fn section_symbol(&mut self, section: usize) -> usize {
        if let Some(&known) = self.section_symbols.get(&section) {
            return known;
        }
        let symbol = self.symbol("", SymbolKind::Section, Bind::Local, Place::At(section, 0), 0);
        self.section_symbols.insert(section, symbol);
        symbol
    }

    pub(super) fn relocate(&mut self, section: usize, offset: u64, reloc: Reloc, symbol: usize) {
        self.sections[section].relocs.push((offset, reloc, symbol));
    }

    fn string(&mut self, text: &str) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        at
    }

    /// The bytes of the file.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, ElfError> {
        // Local symbols come first (ELF specification, symbol table), behind the empty one.
        let mut order: Vec<usize> = (0..self.symbols.len()).collect();
        order.sort_by_key(|&i| self.symbols[i].bind);
        let mut number = vec![0u32; self.symbols.len()];
        for (place, &symbol) in order.iter().enumerate() {
            number[symbol] = place as u32 + 1;
        }
        let first_global = 1 + self.symbols.iter().filter(|s| s.bind == Bind::Local).count() as u32;
        let mut symtab = vec![0; 24];
        for &i in &order {
            encode_symbol(&mut symtab, &self.symbols[i]);
        }
        let written = self.sections.len();
        let symtab_index = self.add_rels(&number, written);
        let strtab_index = symtab_index + 1;
        let header = Header {
            sh_type: SYMTAB,
            align: 8,
            link: strtab_index,
            info: first_global,
            entry: 24,
            ..Header::default()
        };
        self.section(".symtab", symtab, header);
        self.section(".strtab", Vec::new(), Header { sh_type: STRTAB, align: 1, ..Header::default() });
        let names: Vec<String> = self.sections.iter().map(|s| s.name.clone()).collect();
        let names: Vec<u32> = names.iter().map(|name| self.string(name)).collect();
        if let Some(last) = self.sections.last_mut() {
            last.bytes = std::mem::take(&mut self.strings);
        }
        if self.sections.len() >= 0xff00 {
            return Err(ElfError::TooLarge("65279 sections"));
        }
        Ok(self.layout(&names, strtab_index as u16))
    }

    /// Adds the sections of relocations; returns the number in the file of the section after them.
    fn add_rels(&mut self, number: &[u32], written: usize) -> u32 {
        let with_relocs = self.sections.iter().filter(|s| !s.relocs.is_empty()).count();
        let symtab_index = (written + with_relocs) as u32 + 1;
        for index in 0..written {
            let section = &self.sections[index];
            if section.relocs.is_empty() {
                continue;
            }
            let mut relocs = section.relocs.clone();
            relocs.sort_by_key(|&(offset, ..)| offset);
            let mut bytes = Vec::with_capacity(relocs.len() * 16);
            for (offset, reloc, symbol) in relocs {
                bytes.extend_from_slice(&offset.to_le_bytes());
                let info = u64::from(number[symbol]) << 32 | reloc as u64;
                bytes.extend_from_slice(&info.to_le_bytes());
            }
            let header = Header {
                sh_type: REL,
                flags: INFO_LINK,
                align: 8,
                link: symtab_index,
                info: index as u32 + 1,
                entry: 16,
                ..Header::default()
            };
            let name = format!(".rel{}", section.name);
            self.section(&name, bytes, header);
        }
        symtab_index
    }

    fn layout(&self, names: &[u32], strtab_index: u16) -> Vec<u8> {
        let mut out = vec![0; EHDR];
        let mut headers = vec![0; SHDR];
        for (section, name) in self.sections.iter().zip(names) {
            let h = section.header;
            out.resize(out.len().next_multiple_of(h.align.max(1) as usize), 0);
            let offset = out.len() as u64;
            out.extend_from_slice(&section.bytes);
            let size = if h.sh_type == NOBITS { h.size } else { section.bytes.len() as u64 };
            headers.extend_from_slice(&name.to_le_bytes());
            headers.extend_from_slice(&h.sh_type.to_le_bytes());
            for word in [h.flags, 0, offset, size] {
                headers.extend_from_slice(&word.to_le_bytes());
            }
            headers.extend_from_slice(&h.link.to_le_bytes());
            headers.extend_from_slice(&h.info.to_le_bytes());
            headers.extend_from_slice(&h.align.to_le_bytes());
            headers.extend_from_slice(&h.entry.to_le_bytes());
        }
        out.resize(out.len().next_multiple_of(8), 0);
        let table = out.len() as u64;
        out.extend_from_slice(&headers);
        let mut ehdr = Vec::with_capacity(EHDR);
        // 64 bits, little endian, version 1, no system's.
        ehdr.extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        // A relocatable file.
        ehdr.extend_from_slice(&1u16.to_le_bytes());
        ehdr.extend_from_slice(&EM_BPF.to_le_bytes());
        ehdr.extend_from_slice(&1u32.to_le_bytes());
        for word in [0, 0, table] {
            ehdr.extend_from_slice(&word.to_le_bytes());
        }
        ehdr.extend_from_slice(&0u32.to_le_bytes());
        let count = self.sections.len() as u16 + 1;
        for half in [EHDR as u16, 0, 0, SHDR as u16, count, strtab_index] {
            ehdr.extend_from_slice(&half.to_le_bytes());
        }
        out[..EHDR].copy_from_slice(&ehdr);
        out
    }
}

fn encode_symbol(out: &mut Vec<u8>, symbol: &Symbol) {
    let (section, value) = match symbol.place {
        Place::At(section, value) => (section as u16 + 1, value),
        Place::Extern => (0, 0),
    };
    out.extend_from_slice(&symbol.name.to_le_bytes());
    out.push((symbol.bind as u8) << 4 | symbol.kind as u8);
    // Default visibility.
    out.push(0);
    out.extend_from_slice(&section.to_le_bytes());
    out.extend_from_slice(&value.to_le_bytes());
    out.extend_from_slice(&symbol.size.to_le_bytes());
}
