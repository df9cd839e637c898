//! Addresses of a program to its functions.

use super::symtab::{Symbol, SymbolKind, Symtab};

/// How many symbols before an address are looked at for one that covers it: functions rarely lie inside others.
const LOOK_BACK: usize = 16;
/// A label without size says nothing about what is further away.
const LARGEST_LABEL: u64 = 1 << 20;

/// The functions of a program by address.
#[derive(Debug, Default)]
pub(crate) struct AddressTable {
    tables: Vec<Symtab>,
    /// Sorted by address, one for each.
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    address: u64,
    size: u64,
    name_at: u32,
    table: u8,
}

/// A function that holds an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place<'t> {
    /// Its name as in the symbol table.
    pub(crate) name: &'t str,
    /// Its address.
    pub(crate) start: u64,
    /// Bytes; 0 if unknown.
    pub(crate) size: u64,
}

impl AddressTable {
    /// Of the symbols in several tables.
    pub(crate) fn of(tables: Vec<Symtab>) -> AddressTable {
        let mut found = Vec::new();
        for (index, table) in tables.iter().enumerate() {
            for symbol in table.iter().filter(|s| s.kind != SymbolKind::Data) {
                found.push((rank(&symbol), index as u8, symbol));
            }
        }
        // The best of several names for one address comes first and stays.
        found.sort_by(|(a, at, x), (b, bt, y)| {
            (x.address, a, x.name.len(), x.name, at).cmp(&(y.address, b, y.name.len(), y.name, bt))
        });
        found.dedup_by_key(|(_, _, symbol)| symbol.address);
        let entry = |(_, table, s): &(Rank, u8, Symbol<'_>)| Entry {
            address: s.address,
            size: s.size,
            name_at: s.name_at,
            table: *table,
        };
        let entries = found.iter().map(entry).collect();
        AddressTable { entries, tables }
    }

    /// The function that holds an address. One whose size is unknown reaches to the next.
    pub(crate) fn resolve(&self, address: u64) -> Option<Place<'_>> {
        let after = self.entries.partition_point(|e| e.address <= address);
        let before = self.entries.get(..after)?;
        let mut near = before.iter().rev().take(LOOK_BACK).enumerate();
        let entry = near.find_map(|(i, e)| {
            let limit = if e.size == 0 && i == 0 { LARGEST_LABEL } else { e.size };
            (address - e.address < limit).then_some(e)
        })?;
        let name = self.tables.get(usize::from(entry.table))?.name(entry.name_at)?;
        Some(Place { name, start: entry.address, size: entry.size })
    }
}

type Rank = (bool, bool, bool, usize, bool);

/// Which of several names people use: that of a function with a size, that others see, without underscores in
/// front.
fn rank(symbol: &Symbol<'_>) -> Rank {
    let underscores = symbol.name.bytes().take_while(|b| *b == b'_').count();
    let mangled = super::demangle::is_mangled(symbol.name);
    (
        symbol.kind == SymbolKind::Label,
        symbol.size == 0,
        !symbol.global,
        if mangled { 0 } else { underscores },
        symbol.weak,
    )
}
