//! Gives operations that need memory or maps of their own what they need, before memory is placed.
//!
//! | operation | becomes |
//! |---|---|
//! | `map_upsert` | look up; where nothing is found, put zeros there and look up again |
//! | `event_*` | the ring's helpers with the count of what was lost; on kernels without rings, a buffer and a perf event |
//! | `count` | an atomic addition to the program's row of the ledger |
//! | `stack_id` | the frames in a buffer, their hash, an element of the map of stacks |
//! | `field_load` of an untyped address | a read into memory by a helper |
//! | `str_find` in long strings | a closure over the places |
//! | `set_member`, `str_member`, `prefix_match` of large sets | a look-up in a map with the set in it |
//!
//! What the kernel lacks is a message at the instruction.

mod events;
mod ledger;
mod maps;
mod objects;
mod rows;
mod search;
mod sets;
mod stacks;

use super::Context;
use super::field;
use super::rewrite::{Fate, Rewriter, rewrite};
use crate::diag::{Diagnostic, Severity};
use crate::func::{Func, Inst, Slot, Storage, Value};
use crate::inst::InstKind;
use crate::kernel::{Feature, KernelInfo};
use crate::module::{FuncId, GlobalId, MapId, Module, SetId};
use crate::source::Loc;
use cranelift_entity::SecondaryMap;
use std::collections::HashMap;

/// Runs the pass.
pub fn run(module: &mut Module, context: &mut Context<'_>) {
    super::inline::prune(module);
    let rows = rows::specialise(module);
    let kernel = context.kernel;
    events::choose_kind(module, kernel);
    let mut expander = Expander {
        module,
        kernel,
        diagnostics: Vec::new(),
        row: 0,
        zeros: None,
        set_maps: HashMap::new(),
        temps: Temps::default(),
        other_uses: SecondaryMap::new(),
        lost_on: None,
    };
    for id in expander.module.funcs.keys() {
        expander.function(id, rows[id]);
    }
    context.diagnostics.append(&mut expander.diagnostics);
}

/// Memory of a function that several operations use one after the other.
#[derive(Default)]
struct Temps {
    field: Option<Slot>,
    row: Option<Slot>,
}

struct Expander<'m> {
    module: &'m mut Module,
    kernel: &'m dyn KernelInfo,
    diagnostics: Vec<Diagnostic>,
    /// Row of the ledger of the current function.
    row: u32,
    /// Zeros that new elements are made of.
    zeros: Option<GlobalId>,
    /// Maps that have the members of a set.
    set_maps: HashMap<SetId, MapId>,
    temps: Temps,
    /// For nullable values: uses beside tests for null and what follows from them.
    other_uses: SecondaryMap<Value, u32>,
    /// The branch on whose first edge a reserved record is null, which is to be counted there.
    lost_on: Option<Inst>,
}

impl Expander<'_> {
    fn function(&mut self, id: FuncId, row: u32) {
        let mut func = std::mem::replace(&mut self.module.funcs[id], Func::placeholder());
        align_slots(&mut func);
        if func.layout.iter().flat_map(|&b| &func.blocks[b].insts).any(|&i| self.concerns(&func, i)) {
            self.row = row;
            self.temps = Temps::default();
            self.other_uses = maps::other_uses(&func);
            events::replace_records(self, &mut func);
            rewrite(&mut func, |rw, inst, rest| self.inst(rw, inst, rest));
        }
        self.module.funcs[id] = func;
    }

    /// Whether an instruction is one of the pass's.
    fn concerns(&self, func: &Func, inst: Inst) -> bool {
        use InstKind as I;
        match &func.insts[inst].kind {
            I::MapUpsert { .. }
            | I::Count(_)
            | I::EventReserve { .. }
            | I::EventSubmit { .. }
            | I::EventDiscard { .. }
            | I::EventOutput { .. }
            | I::StackId { .. }
            | I::PrefixMatch { .. } => true,
            I::FieldLoad { base, path, .. } => field::needs_helper(func, *base, path),
            I::SetMember { set, .. } | I::StrMember { set, .. } => sets::is_large(&self.module.sets[*set]),
            I::StrFind { hay, hay_cap, needle, needle_cap } => {
                search::is_long(func, *hay, *hay_cap, *needle, *needle_cap)
            }
            _ => false,
        }
    }

    fn inst(&mut self, rw: &mut Rewriter<'_>, inst: Inst, rest: &[Inst]) -> Fate {
        use InstKind as I;
        if self.lost_on == Some(inst) {
            return self.count_on_edge(rw, inst);
        }
        if !self.concerns(rw.func, inst) {
            return Fate::Kept;
        }
        match rw.func.insts[inst].kind.clone() {
            I::MapUpsert { map, key } => self.upsert(rw, inst, rest, map, key),
            I::Count(counter) => {
                self.count(rw, counter);
                Fate::Replaced
            }
            I::EventReserve { ring, size } => self.reserve(rw, inst, rest, ring, size),
            I::EventSubmit { rec, wake } => self.give_back(rw, inst, rec, Some(wake)),
            I::EventDiscard { rec } => self.give_back(rw, inst, rec, None),
            I::EventOutput { ring, data, len, max } => self.output(rw, inst, ring, data, len, max),
            I::StackId { ctx, map, user, build_id, depth } => {
                self.stack_id(rw, inst, &stacks::Stack { ctx, map, user, build_id, depth })
            }
            I::FieldLoad { base, path, scalar } => self.field_load(rw, inst, base, &path, scalar),
            I::SetMember { val, set } => self.set_member(rw, inst, val, set),
            I::StrMember { ptr, cap, set } => self.str_member(rw, inst, ptr, cap, set),
            I::PrefixMatch { ptr, set } => self.prefix_match(rw, inst, ptr, set),
            I::StrFind { hay, hay_cap, needle, needle_cap } => {
                self.str_find(rw, inst, (hay, hay_cap), (needle, needle_cap))
            }
            _ => Fate::Kept,
        }
    }

    /// Reports something that the kernel lacks.
    fn lacks(&mut self, loc: Option<Loc>, feature: Feature, what: &str) {
        self.diagnostics.push(lacks(loc, feature, what));
    }
}

/// The message about something that the kernel lacks.
pub(super) fn lacks(loc: Option<Loc>, feature: Feature, what: &str) -> Diagnostic {
    let message =
        format!("{what} needs {}, which this kernel lacks (Linux {})", feature.name(), feature.since());
    Diagnostic::new(Severity::Error, loc, message)
}

/// Alignment to machine words costs a few bytes of padding and lets copies and comparisons go word by word.
fn align_slots(func: &mut Func) {
    for slot in func.slots.values_mut().filter(|s| s.storage != Storage::Stack) {
        let wanted = match slot.size {
            8.. => 8,
            4..8 => 4,
            2..4 => 2,
            _ => 1,
        };
        slot.align = slot.align.max(wanted);
    }
}
