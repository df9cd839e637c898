//! Symbol tables of ELF files.

use super::elf::Elf;
use object::elf;

/// What a symbol names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SymbolKind {
    /// A function.
    Function,
    /// Code that chooses a function when the program starts.
    Indirect,
    /// A variable.
    Data,
    /// A label in hand-written code: it has no type.
    Label,
}

impl SymbolKind {
    /// Whether it is a function that probes can be attached to.
    pub(crate) fn is_function(self) -> bool {
        matches!(self, SymbolKind::Function | SymbolKind::Indirect)
    }
}

/// A symbol that the file defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Symbol<'t> {
    /// Name, without version.
    pub(crate) name: &'t str,
    /// Address as linked.
    pub(crate) address: u64,
    /// Bytes; 0 if unknown.
    pub(crate) size: u64,
    /// What it names.
    pub(crate) kind: SymbolKind,
    /// Whether other files see it.
    pub(crate) global: bool,
    /// Whether others of its name go before.
    pub(crate) weak: bool,
    /// Whether it is an old version, kept for programs that were linked with it.
    pub(crate) hidden: bool,
    /// Where its name begins in [`Symtab::strings`].
    pub(crate) name_at: u32,
}

/// Which table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// All symbols; not there if the file was stripped.
    All,
    /// Those that the dynamic linker needs.
    Dynamic,
}

/// The bytes of a symbol table and of its names.
#[derive(Debug)]
pub(crate) struct Symtab {
    bytes: Vec<u8>,
    /// Names, each with a NUL behind it.
    pub(crate) strings: Vec<u8>,
    is_64: bool,
    little: bool,
    /// Sections with code, by index.
    code: Vec<bool>,
    /// A version for each symbol of the dynamic table (`.gnu.version`).
    versions: Vec<u8>,
}

impl Symtab {
    /// Reads a table; `None` if the file has none, or a damaged one.
    pub(crate) fn read(elf: &Elf, which: Which) -> Option<Symtab> {
        let kind = match which {
            Which::All => elf::SHT_SYMTAB,
            Which::Dynamic => elf::SHT_DYNSYM,
        };
        let section = elf.sections.iter().find(|s| s.kind == kind.0 && s.size > 0)?;
        let strings = elf.sections.get(section.link as usize)?;
        let versions = match which {
            Which::All => None,
            Which::Dynamic => elf.sections.iter().find(|s| s.kind == elf::SHT_GNU_VERSYM.0),
        };
        Some(Symtab {
            versions: versions.and_then(|s| elf.data(s)).unwrap_or_default(),
            bytes: elf.data(section)?,
            strings: elf.data(strings)?,
            is_64: elf.is_64,
            little: elf.is_little(),
            code: elf.sections.iter().map(|s| s.execute).collect(),
        })
    }

    /// The symbols that the file defines, in the order of the table.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Symbol<'_>> {
        let entry = if self.is_64 { 24 } else { 16 };
        self.bytes.chunks_exact(entry).enumerate().filter_map(|(i, bytes)| self.symbol(i, bytes))
    }

    /// The symbols of a name, in the order of the table.
    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = Symbol<'_>> {
        let entry = if self.is_64 { 24 } else { 16 };
        let is_meant = move |bytes: &[u8]| {
            let at = self.u32(bytes, 0).map_or(usize::MAX, |at| at as usize);
            self.strings.get(at..).is_some_and(|rest| rest.starts_with(name.as_bytes()))
        };
        let entries = self.bytes.chunks_exact(entry).enumerate();
        let likely = entries.filter(move |(_, bytes)| is_meant(bytes));
        likely.filter_map(|(i, bytes)| self.symbol(i, bytes)).filter(move |s| s.name == name)
    }

    /// A name by its place in the strings; symbols of libraries may have a version behind it.
    pub(crate) fn name(&self, at: u32) -> Option<&str> {
        let rest = self.strings.get(at as usize..)?;
        let end = rest.iter().position(|b| *b == 0 || *b == b'@')?;
        std::str::from_utf8(&rest[..end]).ok().filter(|name| !name.is_empty())
    }

    fn symbol(&self, index: usize, bytes: &[u8]) -> Option<Symbol<'_>> {
        // `Elf64_Sym` and `Elf32_Sym` order their members differently.
        let (name_at, info, section, address, size) = if self.is_64 {
            (self.u32(bytes, 0)?, bytes[4], self.u16(bytes, 6)?, self.u64(bytes, 8)?, self.u64(bytes, 16)?)
        } else {
            let (address, size) = (self.u32(bytes, 4)?, self.u32(bytes, 8)?);
            (self.u32(bytes, 0)?, bytes[12], self.u16(bytes, 14)?, address.into(), size.into())
        };
        // Undefined symbols are of other files; absolute ones are no addresses.
        if section == 0 || section == elf::SHN_ABS.0 || address == 0 {
            return None;
        }
        let is_code = || self.code.get(usize::from(section)).copied().unwrap_or(false);
        let kind = match elf::SymbolType(info & 0xf) {
            elf::STT_FUNC => SymbolKind::Function,
            elf::STT_GNU_IFUNC => SymbolKind::Indirect,
            elf::STT_OBJECT => SymbolKind::Data,
            elf::STT_NOTYPE if is_code() => SymbolKind::Label,
            _ => return None,
        };
        let binding = elf::SymbolBind(info >> 4);
        Some(Symbol {
            name: self.name(name_at)?,
            address,
            size,
            kind,
            global: binding != elf::STB_LOCAL,
            weak: binding == elf::STB_WEAK,
            hidden: self.is_hidden(index, name_at),
            name_at,
        })
    }

    /// A single `@` before the version, or the highest bit of it, makes a symbol one for old programs only.
    fn is_hidden(&self, index: usize, name_at: u32) -> bool {
        if self.versions.is_empty() {
            let rest = self.strings.get(name_at as usize..).unwrap_or_default();
            let mut from = rest.iter().skip_while(|b| **b != 0 && **b != b'@');
            return from.next() == Some(&b'@') && from.next() != Some(&b'@');
        }
        self.u16(&self.versions, index * 2).is_some_and(|version| version & 0x8000 != 0)
    }

    fn u16(&self, bytes: &[u8], at: usize) -> Option<u16> {
        let word = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(if self.little { u16::from_le_bytes(word) } else { u16::from_be_bytes(word) })
    }

    fn u32(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let word = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(if self.little { u32::from_le_bytes(word) } else { u32::from_be_bytes(word) })
    }

    fn u64(&self, bytes: &[u8], at: usize) -> Option<u64> {
        let word = bytes.get(at..at + 8)?.try_into().ok()?;
        Some(if self.little { u64::from_le_bytes(word) } else { u64::from_be_bytes(word) })
    }
}
