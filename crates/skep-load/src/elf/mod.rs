//! Collections as ELF object files, for other loaders (libbpf, bpftool and the like).
//!
//! ```text
//! kprobe/do_exit ...   a section for each kind and place: the main functions of its programs
//! .text                the functions that they call, a copy for each program
//! license              NUL-terminated
//! .maps                a variable for each map, its type says the rest
//! .rodata .data .bss   maps that are the memory of variables
//! .BTF .BTF.ext        types, functions and lines
//! ```
//!
//! Nothing of the running kernel is in the file, so programs that are bound to it by more than a name (kernel
//! functions) cannot be written.

mod btf;
mod code;
mod names;
mod object;

use object::{Bind, Object, Place, SymbolKind};
use skep_ir::kinds::ProgKind;
use skep_ir::module::{MapId, MapKind};
use skep_ir::spec::{Collection, RefKind};
use std::collections::HashMap;

/// What cannot be written to an object file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// The kind of program has no section that loaders know.
    #[error("program {name} is of kind {}, for which object files have no section", .kind.map_or("none", |k| k.info().name))]
    Kind {
        /// The program.
        name: String,
        /// Its kind.
        kind: Option<ProgKind>,
    },
    /// A call of a kernel function, whose prototype would have to be in the file.
    #[error(
        "program {program} calls the kernel function {function}, which an object file cannot say; load it directly"
    )]
    Kfunc {
        /// The program.
        program: String,
        /// The function.
        function: String,
    },
    /// A map that is filled before programs load.
    #[error("map {0} has contents, which only maps of one array element can have in an object file")]
    Contents(String),
    /// A reference that does not fit the map, program or instruction.
    #[error("program {program}, instruction {insn}: {what}")]
    Reference {
        /// The program.
        program: String,
        /// The instruction.
        insn: u32,
        /// What is wrong.
        what: &'static str,
    },
    /// The type information cannot be read or written.
    #[error("the type information cannot be written: {0}")]
    Btf(String),
    /// More than the format holds.
    #[error("the object file would have more than {0}")]
    TooLarge(&'static str),
}

/// Writes a collection as an object file.
///
/// # Errors
/// Something in the collection has no form in object files; the error says what.
pub fn write(collection: &Collection) -> Result<Vec<u8>, ElfError> {
    let mut object = Object::default();
    let mut types = btf::Types::of(collection)?;
    let maps = Maps::declare(collection, &mut object, &mut types)?;
    let mut license = collection.license.clone().into_bytes();
    license.push(0);
    let section = object.data_section("license", license, true);
    object.symbol(
        "_license",
        SymbolKind::Object,
        Bind::Global,
        Place::At(section, 0),
        collection.license.len() as u64 + 1,
    );
    code::write(collection, &mut object, &mut types, &maps)?;
    let (btf, ext) = types.encode()?;
    if !btf.is_empty() {
        object.meta_section(".BTF", btf);
    }
    if !ext.is_empty() {
        object.meta_section(".BTF.ext", ext);
    }
    object.finish()
}

/// How a map is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MapForm {
    /// A variable in `.maps`; the number of its symbol.
    Declared(usize),
    /// A section whose bytes are the map's value.
    Memory(usize),
}

struct Maps {
    forms: HashMap<MapId, MapForm>,
}

impl Maps {
    fn declare(
        collection: &Collection,
        object: &mut Object,
        types: &mut btf::Types,
    ) -> Result<Maps, ElfError> {
        // Maps whose value is reached by its address, which only sections of memory offer.
        let direct: Vec<MapId> = collection
            .programs
            .iter()
            .flat_map(|p| &p.refs)
            .filter_map(|r| if let RefKind::MapValue(map, _) = r.kind { Some(map) } else { None })
            .collect();
        let mut forms = HashMap::new();
        let mut names = names::Unique::default();
        let mut declared = Vec::new();
        for (id, spec) in &collection.maps {
            let map = &spec.map;
            let one = map.kind == MapKind::Array && map.max_entries == 1;
            if one && (map.name.starts_with('.') || direct.contains(&id) || !map.contents.is_empty()) {
                let mut bytes = map.contents.first().map(|(_, value)| value.clone()).unwrap_or_default();
                bytes.resize(map.value_size as usize, 0);
                let section = names::memory_section(&map.name, spec.frozen, &mut names);
                let index = if section == ".bss" {
                    object.zero_section(&section, bytes.len())
                } else {
                    object.data_section(&section, bytes, !spec.frozen)
                };
                types.memory(&section, spec);
                forms.insert(id, MapForm::Memory(index));
            } else if !map.contents.is_empty() {
                return Err(ElfError::Contents(map.name.clone()));
            } else {
                declared.push((id, names.take(&names::identifier(&map.name))));
            }
        }
        if !declared.is_empty() {
            let mut offset = 0;
            let section = object.data_section(".maps", Vec::new(), true);
            for (id, name) in &declared {
                let size = types.map(name, &collection.maps[*id], collection);
                let place = Place::At(section, offset.into());
                let symbol = object.symbol(name, SymbolKind::Object, Bind::Global, place, size.into());
                forms.insert(*id, MapForm::Declared(symbol));
                offset += size;
            }
            object.resize(section, offset as usize);
            types.maps_section(offset);
        }
        Ok(Maps { forms })
    }

    fn form(&self, map: MapId) -> Option<MapForm> {
        self.forms.get(&map).copied()
    }
}
