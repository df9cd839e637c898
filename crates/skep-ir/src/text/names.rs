//! Words of the text form that stand for entities and variants.

use crate::inst::{Agg, AtomicOp, BinOp, CmpOp, Core, Ledger};
use crate::kinds::ProgKind;
use crate::module::{MapKind, Section};
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

/// Gives every name a symbol of its own: the name itself where it is free, else with a number behind it.
pub(super) fn unique<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Vec<String> {
    let taken: HashSet<&str> = names.clone().collect();
    let mut last: HashMap<&str, u32> = HashMap::new();
    let mut given: HashSet<String> = HashSet::new();
    names
        .map(|name| {
            let number = last.entry(name).or_insert(1);
            let mut symbol = name.to_owned();
            let free = |symbol: &str| {
                !symbol.is_empty() && !given.contains(symbol) && (symbol == name || !taken.contains(symbol))
            };
            while !free(&symbol) {
                *number += 1;
                symbol = format!("{name}.{number}");
            }
            given.insert(symbol.clone());
            symbol
        })
        .collect()
}

/// Whether a symbol can stand without quotes behind its sigil.
fn is_plain(symbol: &str) -> bool {
    !symbol.is_empty() && symbol.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.')
}

/// Whether a name can stand without quotes where a word may.
pub(super) fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A symbol with its sigil.
pub(super) fn symbol(sigil: char, name: &str) -> String {
    if is_plain(name) { format!("{sigil}{name}") } else { format!("{sigil}{}", quoted(name.as_bytes())) }
}

/// Bytes between quotes; what is not printable ASCII is escaped.
pub(super) fn quoted(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for &b in bytes {
        match b {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            0x20..=0x7e => out.push(char::from(b)),
            _ => {
                let _ = write!(out, "\\x{b:02x}");
            }
        }
    }
    out.push('"');
    out
}

/// Two-way tables between variants and words.
macro_rules! words {
    ($($(#[$doc:meta])* $to:ident, $from:ident: $ty:ty { $($variant:path => $word:literal,)* })*) => {$(
        $(#[$doc])*
        pub(super) fn $to(value: $ty) -> &'static str {
            match value { $($variant => $word,)* }
        }

        pub(super) fn $from(word: &str) -> Option<$ty> {
            Some(match word { $($word => $variant,)* _ => return None })
        }
    )*};
}

words! {
    bin_word, bin_of: BinOp {
        BinOp::Add => "add", BinOp::Sub => "sub", BinOp::Mul => "mul", BinOp::UDiv => "udiv", BinOp::SDiv => "sdiv",
        BinOp::URem => "urem", BinOp::SRem => "srem", BinOp::And => "and", BinOp::Or => "or", BinOp::Xor => "xor",
        BinOp::Shl => "shl", BinOp::LShr => "lshr", BinOp::AShr => "ashr",
    }
    cmp_word, cmp_of: CmpOp {
        CmpOp::Eq => "eq", CmpOp::Ne => "ne", CmpOp::ULt => "ult", CmpOp::ULe => "ule", CmpOp::UGt => "ugt",
        CmpOp::UGe => "uge", CmpOp::SLt => "slt", CmpOp::SLe => "sle", CmpOp::SGt => "sgt", CmpOp::SGe => "sge",
    }
    ledger_word, ledger_of: Ledger {
        Ledger::Seen => "seen", Ledger::Committed => "committed", Ledger::LostRing => "lost_ring",
        Ledger::LostMap => "lost_map", Ledger::LostScratch => "lost_scratch", Ledger::Filtered => "filtered",
    }
    atomic_word, atomic_of: AtomicOp {
        AtomicOp::Add => "add", AtomicOp::And => "and", AtomicOp::Or => "or", AtomicOp::Xor => "xor",
        AtomicOp::Xchg => "xchg",
    }
    core_word, core_of: Core {
        Core::FieldOffset => "field_offset", Core::FieldSize => "field_size", Core::FieldExists => "field_exists",
        Core::FieldSigned => "field_signed", Core::TypeExists => "type_exists", Core::TypeSize => "type_size",
        Core::TypeId => "type_id", Core::EnumExists => "enum_exists", Core::EnumValue => "enum_value",
    }
    section_word, section_of: Section {
        Section::Rodata => "rodata", Section::Data => "data", Section::Bss => "bss", Section::Kconfig => "kconfig",
        Section::Ksym => "ksym",
    }
    map_word, map_of: MapKind {
        MapKind::Hash => "hash", MapKind::Array => "array", MapKind::ProgArray => "prog_array",
        MapKind::PerfEventArray => "perf_event_array", MapKind::PercpuHash => "percpu_hash",
        MapKind::PercpuArray => "percpu_array", MapKind::StackTrace => "stack_trace",
        MapKind::CgroupArray => "cgroup_array", MapKind::LruHash => "lru_hash",
        MapKind::LruPercpuHash => "lru_percpu_hash", MapKind::LpmTrie => "lpm_trie",
        MapKind::ArrayOfMaps => "array_of_maps", MapKind::HashOfMaps => "hash_of_maps", MapKind::Devmap => "devmap",
        MapKind::Sockmap => "sockmap", MapKind::Cpumap => "cpumap", MapKind::Xskmap => "xskmap",
        MapKind::Sockhash => "sockhash", MapKind::CgroupStorage => "cgroup_storage",
        MapKind::ReuseportSockarray => "reuseport_sockarray",
        MapKind::PercpuCgroupStorage => "percpu_cgroup_storage", MapKind::Queue => "queue",
        MapKind::Stack => "stack", MapKind::SkStorage => "sk_storage", MapKind::DevmapHash => "devmap_hash",
        MapKind::StructOps => "struct_ops", MapKind::RingBuf => "ringbuf", MapKind::InodeStorage => "inode_storage",
        MapKind::TaskStorage => "task_storage", MapKind::BloomFilter => "bloom_filter",
        MapKind::UserRingBuf => "user_ringbuf", MapKind::CgrpStorage => "cgrp_storage", MapKind::Arena => "arena",
        MapKind::InsnArray => "insn_array",
    }
}

/// The word of an aggregation and of its signedness, where it has one.
pub(super) fn agg_words(agg: Agg) -> (&'static str, Option<bool>) {
    match agg {
        Agg::Count => ("count", None),
        Agg::Sum => ("sum", None),
        Agg::Min { signed } => ("min", Some(signed)),
        Agg::Max { signed } => ("max", Some(signed)),
        Agg::Stats => ("stats", None),
    }
}

pub(super) fn kind_of(word: &str) -> Option<ProgKind> {
    ProgKind::ALL.iter().copied().find(|k| k.info().name == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_unique_and_keep_free_names() {
        let names = ["a", "a", "a.2", "", "", "a", "b"];
        let symbols = unique(names.iter().copied());
        assert_eq!(symbols, ["a", "a.3", "a.2", ".2", ".3", "a.4", "b"]);
        assert_eq!(symbol('@', "a.2"), "@a.2");
        assert_eq!(symbol('%', "x y\u{7}"), "%\"x y\\x07\"");
    }
}
