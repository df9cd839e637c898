//! Addresses of the kernel to symbols.

use super::kallsyms::{Symbol, Visited, visit_symbols, visit_symbols_in};
use crate::error::Result;
use std::io::Read;
use std::ops::ControlFlow;

/// Nothing in the kernel is larger: an address further from the symbol before it is of something hidden, such as
/// the code of a BPF program.
const LARGEST_SYMBOL: u64 = 16 << 20;

/// An address in terms of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolved<'a> {
    /// Name of the symbol.
    pub name: &'a str,
    /// Its module; `None` for the kernel itself.
    pub module: Option<&'a str>,
    /// Bytes from the symbol to the address.
    pub offset: u64,
}

/// Symbols sorted by address: 16 bytes for each and their names in one run.
#[derive(Debug, Clone, Default)]
pub struct SymbolTable {
    /// Address, start of the name, index into `modules` (0 for the kernel itself).
    entries: Vec<(u64, u32, u16)>,
    /// Names, each followed by a NUL.
    names: String,
    modules: Vec<String>,
    visited: Visited,
}

impl SymbolTable {
    /// Loads the functions of the running kernel: what a call stack is made of.
    pub fn functions() -> Result<SymbolTable> {
        let mut table = SymbolTable::default();
        table.visited = visit_symbols(|symbol| table.take(symbol, true))?;
        table.sort();
        Ok(table)
    }

    /// Loads all symbols of the running kernel, with data.
    pub fn all() -> Result<SymbolTable> {
        let mut table = SymbolTable::default();
        table.visited = visit_symbols(|symbol| table.take(symbol, false))?;
        table.sort();
        Ok(table)
    }

    /// Loads symbols from a text in the format of kallsyms.
    pub fn read(from: impl Read, functions_only: bool) -> std::io::Result<SymbolTable> {
        let mut table = SymbolTable::default();
        table.visited = visit_symbols_in(from, |symbol| table.take(symbol, functions_only))?;
        table.sort();
        Ok(table)
    }

    /// Number of symbols.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none to resolve addresses to.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the kernel hides addresses from this process; the table is empty then.
    pub fn is_hidden(&self) -> bool {
        self.visited.hidden
    }

    /// The last symbol at or before an address; of several at one address the first of the file. `None` below
    /// the first symbol, and further from one than any is large: the file tells no sizes.
    pub fn resolve(&self, addr: u64) -> Option<Resolved<'_>> {
        let after = self.entries.partition_point(|(start, ..)| *start <= addr);
        let start = self.entries.get(after.checked_sub(1)?)?.0;
        if addr - start > LARGEST_SYMBOL {
            return None;
        }
        let first = self.entries.partition_point(|(at, ..)| *at < start);
        let &(_, name, module) = self.entries.get(first)?;
        let name = self.names.get(name as usize..)?.split('\0').next()?;
        let module = usize::from(module).checked_sub(1).and_then(|i| self.modules.get(i)).map(String::as_str);
        Some(Resolved { name, module, offset: addr - start })
    }

    fn take(&mut self, symbol: Symbol<'_>, functions_only: bool) -> ControlFlow<()> {
        if symbol.addr == 0 || (functions_only && !symbol.is_function()) || symbol.name.contains('\0') {
            return ControlFlow::Continue(());
        }
        let Ok(name) = u32::try_from(self.names.len()) else { return ControlFlow::Break(()) };
        let module = symbol.module.map_or(0, |module| self.module(module));
        self.names.push_str(symbol.name);
        self.names.push('\0');
        self.entries.push((symbol.addr, name, module));
        ControlFlow::Continue(())
    }

    /// Index of a module from 1; 0 if there are too many to count.
    fn module(&mut self, name: &str) -> u16 {
        // Symbols of a module stand together.
        let known = self.modules.iter().rposition(|module| module == name);
        let index = known.unwrap_or_else(|| {
            self.modules.push(name.to_owned());
            self.modules.len() - 1
        });
        u16::try_from(index + 1).unwrap_or(0)
    }

    fn sort(&mut self) {
        // Stable: of several symbols at one address the first stays first. Mostly sorted already.
        self.entries.sort_by_key(|(addr, ..)| *addr);
        self.entries.shrink_to_fit();
        self.names.shrink_to_fit();
    }
}
