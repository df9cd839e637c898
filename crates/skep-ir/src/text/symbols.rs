//! Symbols of a module's entities, for the printer and the parser.

use super::lex::{Cursor, Parsed};
use super::names::{symbol, unique};
use crate::module::{FuncId, GlobalId, MapId, Module, SetId};
use cranelift_entity::{EntityRef, PrimaryMap};
use std::collections::HashMap;

/// Symbols of maps, globals, sets and functions, in both directions.
#[derive(Default)]
pub(super) struct Names {
    maps: Table<MapId>,
    globals: Table<GlobalId>,
    sets: Table<SetId>,
    funcs: Table<FuncId>,
}

struct Table<K: EntityRef> {
    symbols: PrimaryMap<K, String>,
    ids: HashMap<String, K>,
}

impl<K: EntityRef> Default for Table<K> {
    fn default() -> Self {
        Table { symbols: PrimaryMap::new(), ids: HashMap::new() }
    }
}

impl<K: EntityRef> Table<K> {
    fn of<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Self {
        let mut table = Table::default();
        for symbol in unique(names) {
            table.symbols.push(symbol);
        }
        table
    }

    fn declare(&mut self, symbol: &str) -> bool {
        let id = self.symbols.push(symbol.to_owned());
        self.ids.insert(symbol.to_owned(), id).is_none()
    }

    fn print(&self, id: K) -> String {
        match self.symbols.get(id) {
            Some(name) => symbol('@', name),
            // Only what the checker refuses refers to nothing.
            None => format!("@?{}", id.index()),
        }
    }

    fn parse(&self, c: &mut Cursor<'_>, what: &str) -> Parsed<K> {
        let at = c.offset();
        let name = c.symbol('@', what)?;
        match self.ids.get(&name) {
            Some(&id) => Ok(id),
            None => Err(super::lex::Fault { at, message: format!("there is no {what} `@{name}`") }),
        }
    }
}

/// Kinds of named items of a module.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Map,
    Global,
    Set,
    Func,
}

impl Names {
    /// Symbols for a module that is printed.
    pub(super) fn of(module: &Module) -> Self {
        // Sets have no names of their own.
        let sets: Vec<String> = module.sets.keys().map(|id| id.index().to_string()).collect();
        Names {
            maps: Table::of(module.maps.values().map(|m| m.name.as_str())),
            globals: Table::of(module.globals.values().map(|g| g.name.as_str())),
            sets: Table::of(sets.iter().map(String::as_str)),
            funcs: Table::of(module.funcs.values().map(|f| f.name.as_str())),
        }
    }

    /// Gives a symbol the next id of its kind; false if the symbol is taken.
    pub(super) fn declare(&mut self, item: Item, symbol: &str) -> bool {
        match item {
            Item::Map => self.maps.declare(symbol),
            Item::Global => self.globals.declare(symbol),
            Item::Set => self.sets.declare(symbol),
            Item::Func => self.funcs.declare(symbol),
        }
    }

    pub(super) fn map(&self, id: MapId) -> String {
        self.maps.print(id)
    }

    pub(super) fn global(&self, id: GlobalId) -> String {
        self.globals.print(id)
    }

    pub(super) fn set(&self, id: SetId) -> String {
        self.sets.print(id)
    }

    pub(super) fn func(&self, id: FuncId) -> String {
        self.funcs.print(id)
    }

    pub(super) fn parse_map(&self, c: &mut Cursor<'_>) -> Parsed<MapId> {
        self.maps.parse(c, "map")
    }

    pub(super) fn parse_global(&self, c: &mut Cursor<'_>) -> Parsed<GlobalId> {
        self.globals.parse(c, "global")
    }

    pub(super) fn parse_set(&self, c: &mut Cursor<'_>) -> Parsed<SetId> {
        self.sets.parse(c, "set")
    }

    pub(super) fn parse_func(&self, c: &mut Cursor<'_>) -> Parsed<FuncId> {
        self.funcs.parse(c, "function")
    }
}
