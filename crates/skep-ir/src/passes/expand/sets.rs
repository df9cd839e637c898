//! Sets that are too large to be compared with one by one live in maps.

use super::Expander;
use crate::func::{Inst, Value};
use crate::inst::{CmpOp, InstKind, Target};
use crate::module::{Map, MapId, MapKind, Set, SetId};
use crate::passes::rewrite::{Fate, Rewriter};
use crate::types::{PtrClass, Ty};

/// Members up to which an integer is compared with them by a tree of comparisons.
const MAX_INTS: usize = 64;
/// Members up to which a string is compared with them one by one.
const MAX_STRINGS: usize = 16;

const BPF_F_NO_PREALLOC: u32 = 1;

/// Whether a set is better looked up in a map.
pub(super) fn is_large(set: &Set) -> bool {
    match set {
        Set::Ints(list) => list.len() > MAX_INTS,
        Set::Strings(list) => list.len() > MAX_STRINGS,
        Set::Prefixes { .. } => true,
    }
}

/// The part before the NUL.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|&b| b == 0).next().unwrap_or_default()
}

/// Bytes of the keys of a map of strings: the longest and its NUL, so that a longer string is another key.
fn string_key(list: &[Vec<u8>]) -> u32 {
    let longest = list.iter().map(|s| text(s).len()).max().unwrap_or(0);
    (longest as u32 + 1).next_multiple_of(8)
}

impl Expander<'_> {
    /// The map with a set's members.
    fn set_map(&mut self, set: SetId) -> MapId {
        if let Some(&map) = self.set_maps.get(&set) {
            return map;
        }
        let mut contents: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let kind = match &self.module.sets[set] {
            Set::Ints(list) => {
                contents.extend(list.iter().map(|n| (n.to_le_bytes().to_vec(), vec![1])));
                MapKind::Hash
            }
            Set::Strings(list) => {
                let size = string_key(list) as usize;
                contents.extend(list.iter().map(|s| {
                    let mut key = text(s).to_vec();
                    key.resize(size, 0);
                    (key, vec![1])
                }));
                MapKind::Hash
            }
            Set::Prefixes { list, .. } => {
                for (place, (bytes, bits)) in list.iter().enumerate() {
                    let mut key = bits.to_le_bytes().to_vec();
                    key.extend(bytes.iter().enumerate().map(|(n, b)| {
                        let kept = bits.saturating_sub(n as u32 * 8).min(8);
                        b & !(0xff_u32 >> kept) as u8
                    }));
                    contents.push((key, (place as u64).to_le_bytes().to_vec()));
                }
                MapKind::LpmTrie
            }
        };
        // Of equal members the first counts; the order is that of the keys.
        contents.sort_by(|a, b| a.0.cmp(&b.0));
        contents.dedup_by(|b, a| a.0 == b.0);
        let key_size = match &self.module.sets[set] {
            Set::Ints(_) => 8,
            Set::Strings(list) => string_key(list),
            Set::Prefixes { bytes, .. } => 4 + bytes,
        };
        let map = self.module.maps.push(Map {
            name: format!("set{}", set.as_u32()),
            kind,
            key: None,
            value: None,
            key_size,
            value_size: if kind == MapKind::LpmTrie { 8 } else { 1 },
            max_entries: (contents.len() as u32).max(1),
            flags: if kind == MapKind::LpmTrie { BPF_F_NO_PREALLOC } else { 0 },
            inner: None,
            contents,
            pin: None,
        });
        self.set_maps.insert(set, map);
        map
    }

    fn found(rw: &mut Rewriter<'_>, inst: Inst, map: MapId, key: Value) -> Fate {
        let found = rw.value(InstKind::MapLookup { map, key }, Ty::nullable(PtrClass::MapValue(map)));
        let none = rw.is_null(found);
        let no = rw.iconst(Ty::I1, 0);
        let is_member = rw.cmp(CmpOp::Eq, none, no);
        rw.define(inst, is_member)
    }

    pub(super) fn set_member(&mut self, rw: &mut Rewriter<'_>, inst: Inst, val: Value, set: SetId) -> Fate {
        let map = self.set_map(set);
        let slot = rw.slot("member", 8, 8);
        let key = rw.slot_addr(slot);
        rw.store(key, 0, val);
        Self::found(rw, inst, map, key)
    }

    pub(super) fn str_member(
        &mut self,
        rw: &mut Rewriter<'_>,
        inst: Inst,
        ptr: Value,
        cap: u32,
        set: SetId,
    ) -> Fate {
        let map = self.set_map(set);
        let size = self.module.maps[map].key_size;
        let slot = rw.slot("member", size, 8);
        let key = rw.slot_addr(slot);
        rw.inst(InstKind::StrCopy { dst: key, dst_cap: size, src: ptr, src_cap: cap });
        Self::found(rw, inst, map, key)
    }

    pub(super) fn prefix_match(&mut self, rw: &mut Rewriter<'_>, inst: Inst, ptr: Value, set: SetId) -> Fate {
        let map = self.set_map(set);
        let size = self.module.maps[map].key_size;
        let bytes = size - 4;
        let slot = rw.slot("prefix", size, 4);
        let key = rw.slot_addr(slot);
        let bits = rw.iconst(Ty::I32, i64::from(bytes) * 8);
        rw.store(key, 0, bits);
        let dst = rw.ptr_add(key, 4);
        rw.inst(InstKind::MemCopy { dst, src: ptr, len: bytes });
        let found = rw.value(InstKind::MapLookup { map, key }, Ty::nullable(PtrClass::MapValue(map)));
        let join = rw.join(inst);
        let (some, none) = (rw.block(), rw.block());
        let missing = rw.is_null(found);
        rw.cond_br(missing, Target::from(none), Target::from(some));
        rw.switch_to(some);
        let at = rw.non_null(found);
        let place = rw.load(at, 0, Ty::I64);
        rw.br_join(join, place);
        rw.switch_to(none);
        let no = rw.i64(-1);
        rw.br_join(join, no);
        rw.switch_to(join);
        Fate::Replaced
    }
}
