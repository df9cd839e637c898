//! Kernel objects beside the script's own maps, made when something first needs them.

use super::helper;
use super::unit::Unit;
use crate::plan::{Event, RuntimeError};
use skep_ir::inst::Ledger;
use skep_ir::module::{Global, Map, MapKind, Section};
use skep_ir::{Feature, GlobalId, Loc, MapId, TypeId};
use std::collections::HashMap;

/// Bytes of the control ring: its records have 16 to 32, and whoever makes thousands of them between two looks
/// of the reader is told that he lost some.
const CONTROL_RING: u32 = 64 << 10;
/// Bytes of the data ring of scripts that send from probes that fire all the time.
const DATA_RING: u32 = 4 << 20;
/// Bytes of the data ring of scripts that send from `begin`, `interval` and the like.
const QUIET_DATA_RING: u32 = 1 << 20;
/// Stacks that can be remembered where elements are allocated as they come.
const STACKS: u32 = 64 << 10;
/// Stacks that can be remembered where all elements are allocated at the start.
const STACKS_PREALLOCATED: u32 = 8 << 10;

/// What has been made so far.
#[derive(Default)]
pub(super) struct Resources {
    texts: HashMap<Vec<u8>, GlobalId>,
    warnings: HashMap<(Loc, &'static str), u64>,
    /// Most frames of a stack: by address, by build id.
    depths: [u32; 2],
}

impl Unit<'_> {
    /// An array of one element.
    fn single(&mut self, name: &str, value: TypeId, size: u32) -> MapId {
        let key = self.module.types.int(4, false);
        self.module.maps.push(Map {
            key: Some(key),
            value: Some(value),
            key_size: 4,
            value_size: size,
            max_entries: 1,
            ..plain_map(name, MapKind::Array)
        })
    }

    fn ring(&mut self, name: &str, bytes: u32) -> MapId {
        let page = self.env.page_size().max(4096);
        let max_entries = bytes.max(page).checked_next_power_of_two().unwrap_or(1 << 31);
        self.ledger();
        self.module.maps.push(Map { max_entries, ..plain_map(name, MapKind::RingBuf) })
    }

    /// Makes the data ring. Its size depends on how much is sent.
    pub(super) fn make_data_ring(&mut self, repeats: bool) {
        let pages = self.program.config.perf_rb_pages;
        let bytes = match self.options.data_ring_bytes {
            Some(bytes) => bytes,
            None if pages > 0 => {
                u32::try_from(pages.saturating_mul(u64::from(self.env.page_size()))).unwrap_or(1 << 31)
            }
            None if repeats => DATA_RING,
            None => QUIET_DATA_RING,
        };
        self.plan.data_ring = Some(self.ring("data", bytes));
    }

    /// The control ring.
    pub(super) fn control_ring(&mut self) -> MapId {
        if let Some(ring) = self.plan.control_ring {
            return ring;
        }
        let ring = self.ring("control", self.options.control_ring_bytes.unwrap_or(CONTROL_RING));
        self.plan.control_ring = Some(ring);
        ring
    }

    /// The array with the state of `exit()`.
    pub(super) fn exit_state(&mut self) -> MapId {
        if let Some(map) = self.plan.exit_state {
            return map;
        }
        let long = self.module.types.int(8, false);
        let map = self.single("exit_state", long, 8);
        self.plan.exit_state = Some(map);
        map
    }

    /// The array with the start of the run.
    pub(super) fn start_time(&mut self) -> MapId {
        if let Some(map) = self.plan.start_time {
            return map;
        }
        let long = self.module.types.int(8, false);
        let map = self.single("start_time", long, 8);
        self.plan.start_time = Some(map);
        map
    }

    /// The map that remembers stacks of at most so many frames.
    pub(super) fn stacks(&mut self, build_id: bool, depth: u32) -> MapId {
        let deepest = &mut self.resources.depths[usize::from(build_id)];
        *deepest = (*deepest).max(depth);
        let made = if build_id { self.plan.build_id_stacks } else { self.plan.stacks };
        if let Some(map) = made {
            return map;
        }
        let key = self.module.types.int(8, false);
        let on_demand = self.env.has(Feature::SafeNoPrealloc);
        let map = self.module.maps.push(Map {
            key: Some(key),
            key_size: 8,
            max_entries: if on_demand { STACKS } else { STACKS_PREALLOCATED },
            flags: if on_demand { helper::NO_PREALLOC } else { 0 },
            ..plain_map(if build_id { "build_id_stacks" } else { "stacks" }, MapKind::Hash)
        });
        if build_id {
            self.plan.build_id_stacks = Some(map);
        } else {
            self.plan.stacks = Some(map);
        }
        self.ledger();
        map
    }

    /// The ledger. Its rows are counted when all programs are there.
    pub(super) fn ledger(&mut self) -> MapId {
        if let Some(map) = self.module.ledger {
            return map;
        }
        let key = self.module.types.int(4, false);
        let long = self.module.types.int(8, false);
        let row = self.module.types.array(long, Ledger::COLUMNS);
        let map = self.module.maps.push(Map {
            key: Some(key),
            value: Some(row),
            key_size: 4,
            value_size: 8 * Ledger::COLUMNS,
            max_entries: 1,
            ..plain_map("ledger", MapKind::PercpuArray)
        });
        self.module.ledger = Some(map);
        map
    }

    /// A constant in memory.
    pub(super) fn constant(&mut self, bytes: &[u8]) -> GlobalId {
        if let Some(&global) = self.resources.texts.get(bytes) {
            return global;
        }
        let size = bytes.len() as u32;
        let global = self.module.globals.push(Global {
            name: format!("const{}", self.resources.texts.len()),
            section: Section::Rodata,
            ty: self.module.types.bytes(size),
            size,
            align: 8,
            init: bytes.to_vec(),
        });
        self.resources.texts.insert(bytes.to_vec(), global);
        global
    }

    /// Number of the event that warns of something at a place.
    pub(super) fn warning(&mut self, what: RuntimeError, loc: Loc) -> u64 {
        let name = match &what {
            RuntimeError::DivisionByZero => "/",
            RuntimeError::OutOfBounds => "[]",
            RuntimeError::NoSuchTask => "task",
            RuntimeError::Helper(name) => name,
        };
        let events = &mut self.plan.events;
        *self.resources.warnings.entry((loc, name)).or_insert_with(|| {
            events.push(Event::Runtime { what, loc });
            events.len() as u64 - 1
        })
    }

    /// Fills in what could not be known before all functions were made.
    pub(super) fn finish_resources(&mut self) {
        // What is too large for the stack goes to scratch memory, and not finding any free is a loss.
        let limit = u32::try_from(self.program.config.on_stack_limit).unwrap_or(u32::MAX);
        let mut slots = self.module.funcs.values().flat_map(|f| f.slots.values());
        if slots.any(|slot| slot.size > limit) {
            self.ledger();
        }
        if let Some(ledger) = self.module.ledger {
            self.module.maps[ledger].max_entries = (self.module.progs.len() as u32).max(1);
        }
        let types = &mut self.module.types;
        for (map, depth, frame) in [
            (self.plan.stacks, self.resources.depths[0], types.int(8, false)),
            (self.plan.build_id_stacks, self.resources.depths[1], types.bytes(BUILD_ID_FRAME)),
        ] {
            if let Some(map) = map {
                let value = types.array(frame, depth);
                self.module.maps[map].value = Some(value);
                self.module.maps[map].value_size = types.size(value).unwrap_or(8);
            }
        }
    }
}

/// Bytes of a `struct bpf_stack_build_id`.
pub(super) const BUILD_ID_FRAME: u32 = 32;

/// A map of a kind, for the rest to be filled in.
pub(super) fn plain_map(name: &str, kind: MapKind) -> Map {
    Map {
        name: name.to_owned(),
        kind,
        key: None,
        value: None,
        key_size: 0,
        value_size: 0,
        max_entries: 0,
        flags: 0,
        inner: None,
        contents: Vec::new(),
        pin: None,
    }
}
