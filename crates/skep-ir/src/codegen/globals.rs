//! Globals become the values of array maps of one element, one map for each section.

use crate::module::{Global, GlobalId, Map, MapId, MapKind, Module, Section};
use cranelift_entity::{PrimaryMap, SecondaryMap};

/// Where a global is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum GlobalPlace {
    /// In a map's value.
    Value(MapId, u32),
    /// A kernel variable by index.
    Ksym(u32),
}

impl Default for GlobalPlace {
    fn default() -> Self {
        GlobalPlace::Ksym(u32::MAX)
    }
}

/// A section that became a map: its variables with their offsets.
pub(super) struct SectionMap {
    pub(super) map: MapId,
    pub(super) name: &'static str,
    pub(super) size: u32,
    pub(super) vars: Vec<(GlobalId, u32)>,
    pub(super) frozen: bool,
}

/// Places of all globals, and what they add to the maps.
#[derive(Default)]
pub(super) struct Globals {
    pub(super) places: SecondaryMap<GlobalId, GlobalPlace>,
    pub(super) sections: Vec<SectionMap>,
    pub(super) ksyms: Vec<String>,
}

const BPF_F_RDONLY_PROG: u32 = 1 << 7;
const BPF_F_MMAPABLE: u32 = 1 << 10;

/// Lays out the sections and appends their maps. The kernel's configuration is filled in by the loader, which
/// finds its section by name.
pub(super) fn place(module: &Module, maps: &mut PrimaryMap<MapId, Map>, mmapable: bool) -> Globals {
    let mut out = Globals::default();
    let sections = [
        (Section::Rodata, ".rodata"),
        (Section::Data, ".data"),
        (Section::Bss, ".bss"),
        (Section::Kconfig, ".kconfig"),
    ];
    for (section, name) in sections {
        let mut members: Vec<(GlobalId, &Global)> =
            module.globals.iter().filter(|(_, g)| g.section == section).collect();
        if members.is_empty() {
            continue;
        }
        // Large alignments first: no padding between. Sorting is stable, so the order is the module's.
        members.sort_by_key(|(_, g)| std::cmp::Reverse(g.align));
        let map = maps.next_key();
        let mut size = 0u32;
        let mut vars = Vec::with_capacity(members.len());
        for (id, global) in &members {
            let offset = size.next_multiple_of(global.align.max(1));
            out.places[*id] = GlobalPlace::Value(map, offset);
            vars.push((*id, offset));
            size = offset.saturating_add(global.size);
        }
        let size = size.next_multiple_of(8).max(8);
        let mut value = vec![0; size as usize];
        for (id, offset) in &vars {
            let global = &module.globals[*id];
            let len = global.init.len().min(global.size as usize);
            value[*offset as usize..*offset as usize + len].copy_from_slice(&global.init[..len]);
        }
        let frozen = matches!(section, Section::Rodata | Section::Kconfig);
        let read_only = if frozen { BPF_F_RDONLY_PROG } else { 0 };
        let mappable = if mmapable { BPF_F_MMAPABLE } else { 0 };
        let zero = value.iter().all(|&b| b == 0);
        maps.push(Map {
            name: name.to_owned(),
            kind: MapKind::Array,
            key: None,
            value: None,
            key_size: 4,
            value_size: size,
            max_entries: 1,
            flags: read_only | mappable,
            inner: None,
            contents: if zero { Vec::new() } else { vec![(0u32.to_le_bytes().to_vec(), value)] },
            pin: None,
        });
        out.sections.push(SectionMap { map, name, size, vars, frozen });
    }
    for (id, global) in module.globals.iter().filter(|(_, g)| g.section == Section::Ksym) {
        out.places[id] = GlobalPlace::Ksym(out.ksyms.len() as u32);
        out.ksyms.push(global.name.clone());
    }
    out
}
