//! Where in a level of scratch memory slots lie.

use super::groups::Groups;
use super::lives::Lives;
use super::{Areas, HEADER, bytes};
use crate::call_graph::callees;
use crate::func::Slot;
use crate::module::{FuncId, Module};
use cranelift_entity::SecondaryMap;

/// Gives every slot that moves its place: behind those of all functions that lead to its own, and sharing bytes
/// with others of its function that are not in use at the same time. `order` has callees first.
pub(super) fn assign(
    module: &Module,
    order: &[FuncId],
    groups: &mut Groups,
    lives: &SecondaryMap<FuncId, Lives>,
) -> Areas {
    let mut areas = Areas { size: 0, offsets: SecondaryMap::new(), needs: SecondaryMap::new() };
    let mut begins: SecondaryMap<FuncId, u32> = SecondaryMap::with_default(HEADER);
    for &id in order.iter().rev() {
        let func = &module.funcs[id];
        let begin = begins[id];
        let mut slots: Vec<Slot> = func
            .slots
            .keys()
            .filter(|&slot| lives[id].is_mentioned(slot) && groups.is_moved(id, slot))
            .collect();
        slots.sort_by_key(|&slot| (std::cmp::Reverse(func.slots[slot].size), slot));
        let mut placed: Vec<(u32, u32, Slot)> = Vec::new();
        let mut end = begin;
        for &slot in &slots {
            let size = bytes(&func.slots[slot]);
            let mut in_way: Vec<(u32, u32)> = placed
                .iter()
                .filter(|&&(_, _, other)| lives[id].overlap(slot, other))
                .map(|&(from, to, _)| (from, to))
                .collect();
            in_way.sort_unstable();
            let mut at = begin;
            for (from, to) in in_way {
                if at + size <= from {
                    break;
                }
                at = at.max(to);
            }
            placed.push((at, at + size, slot));
            end = end.max(at + size);
            areas.offsets[id][slot] = Some(at);
        }
        areas.size = areas.size.max(end - HEADER);
        for callee in callees(func) {
            begins[callee] = begins[callee].max(end);
        }
    }
    for &id in order {
        let own = module.funcs[id].slots.keys().any(|slot| areas.offsets[id][slot].is_some());
        areas.needs[id] = own || callees(&module.funcs[id]).any(|callee| areas.needs[callee]);
    }
    areas
}
