//! A program or library with everything that tells about its code, read as far as it was asked about.

use super::addresses::AddressTable;
use super::debug_file;
use super::dwarf::Lines;
use super::elf::{Elf, ElfError, Section};
use super::source::Source;
use super::symtab::{Symtab, Which};
use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// See the module.
pub(crate) struct Program {
    elf: Elf,
    path: PathBuf,
    debug_folders: Rc<[PathBuf]>,
    debug: OnceCell<Option<Elf>>,
    addresses: OnceCell<AddressTable>,
    lines: OnceCell<Option<Lines>>,
}

impl Program {
    /// Reads the headers. `path` is where this process finds the file; debug files are looked for beside it.
    pub(crate) fn open(
        source: Source,
        path: &Path,
        debug_folders: &Rc<[PathBuf]>,
    ) -> Result<Program, ElfError> {
        Ok(Program {
            elf: Elf::open(source)?,
            path: path.to_owned(),
            debug_folders: debug_folders.clone(),
            debug: OnceCell::new(),
            addresses: OnceCell::new(),
            lines: OnceCell::new(),
        })
    }

    /// The file itself.
    pub(crate) fn elf(&self) -> &Elf {
        &self.elf
    }

    /// Its separate debug file, if there is one.
    pub(crate) fn debug(&self) -> Option<&Elf> {
        let find = || debug_file::find(&self.elf, &self.path, &self.debug_folders);
        self.debug.get_or_init(find).as_ref()
    }

    /// Whether no table of all symbols is left.
    pub(crate) fn is_stripped(&self) -> bool {
        let has_table = |elf: &Elf| elf.sections.iter().any(|s| s.kind == object::elf::SHT_SYMTAB.0);
        !has_table(&self.elf) && !self.debug().is_some_and(has_table)
    }

    /// Symbol tables, the larger one first.
    pub(crate) fn tables(&self) -> impl Iterator<Item = Symtab> + use<> {
        let own = Symtab::read(&self.elf, Which::All);
        let all = own.or_else(|| Symtab::read(self.debug()?, Which::All));
        all.into_iter().chain(Symtab::read(&self.elf, Which::Dynamic))
    }

    /// Functions by address.
    pub(crate) fn addresses(&self) -> &AddressTable {
        self.addresses.get_or_init(|| AddressTable::of(self.tables().collect()))
    }

    /// The file that holds debug data: the program itself, or its debug file.
    pub(crate) fn with_debug_data(&self) -> &Elf {
        let has_data = |elf: &Elf| elf.section(".debug_info").is_some_and(Section::has_bytes);
        if has_data(&self.elf) { &self.elf } else { self.debug().unwrap_or(&self.elf) }
    }

    /// Source lines by address; `None` if there are no debug data.
    pub(crate) fn lines(&self) -> Option<&Lines> {
        self.lines.get_or_init(|| Lines::read(self.with_debug_data())).as_ref()
    }
}
