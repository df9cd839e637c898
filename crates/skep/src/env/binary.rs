//! Programs and libraries that probes attach to.

use crate::symbols::archive::{self, ArchiveError};
use crate::symbols::elf::ElfError;
use crate::symbols::program::Program;
use crate::symbols::source::Source;
use crate::symbols::symtab::{Symbol, SymbolKind};
use crate::symbols::{demangle, dwarf, open, usdt};
use skep_btf::Btf;
use skep_trace::env::{BinaryError, UsdtNote, UserBinary, UserSymbol};
use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A function whose size is unknown is decoded this far.
const LONGEST_FUNCTION: u64 = 1 << 20;

/// A program, read as far as it was asked about.
pub(super) struct Binary {
    path: String,
    program: Program,
    functions: OnceCell<Vec<UserSymbol>>,
    variables: OnceCell<HashMap<String, (u64, u64)>>,
    usdt: OnceCell<Vec<UsdtNote>>,
    types: OnceCell<Option<Btf>>,
}

impl Binary {
    /// Opens a program, as a process sees it if one is given, and reads its headers.
    pub(super) fn open(path: &str, pid: Option<u32>, folders: &Rc<[PathBuf]>) -> Result<Binary, BinaryError> {
        let (path, member) = match path.split_once("!/") {
            Some((path, member)) => (path, Some(member)),
            None => (path, None),
        };
        let (file, place) = open::open(Path::new(path), pid).map_err(|e| match e.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => BinaryError::Missing,
            ErrorKind::InvalidInput => BinaryError::NotElf(e.to_string()),
            _ => BinaryError::Io(e.to_string().split(" (os error").next().unwrap_or_default().to_owned()),
        })?;
        let source = match member {
            None => Source::file(file).map_err(|e| BinaryError::Io(e.to_string()))?,
            Some(member) => archive::member(file, member).map_err(|e| match e {
                ArchiveError::NotArchive => BinaryError::NotElf("no archive".into()),
                ArchiveError::Missing => BinaryError::Missing,
                ArchiveError::Compressed => BinaryError::NotElf("compressed inside its archive".into()),
            })?,
        };
        let program = Program::open(source, &place, folders).map_err(|e| match e {
            ElfError::NotElf(what) => BinaryError::NotElf(what),
            ElfError::Io(why) => BinaryError::Io(why),
        })?;
        let elf = program.elf();
        if !elf.is_native() {
            return Err(BinaryError::NotElf(format!("a program for {}", elf.machine_name())));
        }
        if !elf.is_program {
            return Err(BinaryError::NotElf("an object file or a memory image".into()));
        }
        Ok(Binary {
            path: place.to_string_lossy().into_owned(),
            program,
            functions: OnceCell::new(),
            variables: OnceCell::new(),
            usdt: OnceCell::new(),
            types: OnceCell::new(),
        })
    }

    /// Without its name as programmers write it.
    fn function_of(&self, symbol: &Symbol<'_>) -> Option<UserSymbol> {
        Some(UserSymbol {
            name: symbol.name.to_owned(),
            demangled: None,
            offset: self.program.elf().file_offset(symbol.address)?,
            address: symbol.address,
            size: symbol.size,
        })
    }

    fn read_functions(&self) -> Vec<UserSymbol> {
        let mut functions = Vec::new();
        for table in self.program.tables() {
            let code = table.iter().filter(|s| s.kind.is_function());
            functions.extend(code.filter_map(|s| Some((s.hidden, self.function_of(&s)?))));
        }
        functions.sort_unstable_by(|(a_hidden, a), (b_hidden, b)| {
            (&a.name, a_hidden, a.address).cmp(&(&b.name, b_hidden, b.address))
        });
        // Old versions of a function have its name as well; they come after those that are linked with today.
        functions.dedup_by(|(hidden, a), (_, b)| a.name == b.name && (*hidden || a.address == b.address));
        let name = |(_, symbol): (bool, UserSymbol)| UserSymbol {
            demangled: demangle::demangle(&symbol.name),
            ..symbol
        };
        functions.into_iter().map(name).collect()
    }

    fn read_variables(&self) -> HashMap<String, (u64, u64)> {
        let mut variables = HashMap::new();
        for table in self.program.tables() {
            for symbol in table.iter().filter(|s| s.kind == SymbolKind::Data) {
                variables.entry(symbol.name.to_owned()).or_insert((symbol.address, symbol.size));
            }
        }
        variables
    }
}

impl UserBinary for Binary {
    fn path(&self) -> &str {
        &self.path
    }

    fn functions(&self) -> &[UserSymbol] {
        self.functions.get_or_init(|| self.read_functions())
    }

    fn function(&self, name: &str) -> Option<UserSymbol> {
        if let Some(all) = self.functions.get() {
            return all.binary_search_by(|s| s.name.as_str().cmp(name)).ok().map(|i| all[i].clone());
        }
        let mut best: Option<(bool, UserSymbol)> = None;
        for table in self.program.tables() {
            for symbol in table.named(name).filter(|s| s.kind.is_function()) {
                let better = best.as_ref().is_none_or(|(hidden, _)| *hidden && !symbol.hidden);
                if better && let Some(found) = self.function_of(&symbol) {
                    best = Some((symbol.hidden, found));
                }
            }
        }
        let (_, found) = best?;
        Some(UserSymbol { demangled: demangle::demangle(name), ..found })
    }

    fn variable(&self, name: &str) -> Option<(u64, u64)> {
        self.variables.get_or_init(|| self.read_variables()).get(name).copied()
    }

    fn is_stripped(&self) -> bool {
        self.program.is_stripped()
    }

    fn file_offset(&self, address: u64) -> Option<u64> {
        self.program.elf().file_offset(address)
    }

    fn address_of(&self, offset: u64) -> Option<u64> {
        self.program.elf().address_of(offset)
    }

    fn is_instruction_start(&self, address: u64) -> Option<bool> {
        if cfg!(target_arch = "aarch64") {
            return Some(address.is_multiple_of(4));
        }
        let function = self.program.addresses().resolve(address)?;
        let size = if function.size == 0 { LONGEST_FUNCTION } else { function.size };
        let code = self.program.elf().bytes_at(function.start, size)?;
        begins_at(&code, address - function.start)
    }

    fn line_addresses(&self, file: &str, line: u32, column: Option<u32>) -> Option<Vec<u64>> {
        let mut found = dwarf::addresses(self.program.with_debug_data(), file, line, column)?;
        // Optimised code comes back to a line again and again; it begins once in each function.
        let mut functions = BTreeSet::new();
        let function = |at: u64| self.program.addresses().resolve(at).map_or(at, |place| place.start);
        found.retain(|at| functions.insert(function(*at)));
        Some(found)
    }

    fn usdt(&self) -> &[UsdtNote] {
        self.usdt.get_or_init(|| usdt::probes(self.program.elf()))
    }

    fn types(&self) -> Option<&Btf> {
        self.types.get_or_init(|| dwarf::btf(self.program.with_debug_data())).as_ref()
    }
}

/// Whether an instruction begins at an offset of 64-bit x86 code; `None` if the code before it cannot be read.
fn begins_at(code: &[u8], offset: u64) -> Option<bool> {
    let mut decoder = iced_x86::Decoder::with_ip(64, code, 0, iced_x86::DecoderOptions::NONE);
    while decoder.ip() < offset {
        if !decoder.can_decode() || decoder.decode().is_invalid() {
            return None;
        }
    }
    Some(decoder.ip() == offset)
}

#[cfg(test)]
mod tests {
    use super::begins_at;

    #[test]
    fn instructions() {
        // push %rbp; mov %rsp,%rbp; sub $0x10,%rsp; ret
        let code = [0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10, 0xc3];
        let starts: Vec<u64> = (0..9).filter(|at| begins_at(&code, *at) == Some(true)).collect();
        assert_eq!(starts, [0, 1, 4, 8]);
        assert_eq!(begins_at(&code, 2), Some(false));
        assert_eq!(begins_at(&code, 20), None);
        assert_eq!(begins_at(&[0x06, 0x90], 1), None, "no instruction of 64-bit code");
    }
}
