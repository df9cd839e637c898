//! Finding types and enumeration constants by name.
//!
//! One question costs one scan over the records of its kinds (a third of a millisecond for all of a kernel's),
//! and many questions asked together cost one scan too. Only long-running programs gain from a
//! [`NameIndex`](crate::NameIndex).

use crate::wanted::{Names, Wanted};
use crate::{Btf, Enum, KindMask, Type, TypeId, wire};

/// A constant of an enumeration.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct EnumValue {
    /// The enumeration.
    pub type_id: TypeId,
    /// Index of the constant in it.
    pub index: u32,
    /// Value; see [`Variant::value`](crate::Variant::value).
    pub value: i64,
}

/// What a scan sees of a record.
#[derive(Copy, Clone)]
pub(crate) struct Seen {
    pub(crate) id: TypeId,
    pub(crate) kind: u8,
    pub(crate) name_off: u32,
}

impl Seen {
    pub(crate) fn is(self, mask: KindMask) -> bool {
        mask.contains_raw(self.kind)
    }
}

impl Btf {
    pub(crate) fn names(&self) -> Names<'_> {
        Names::new(self)
    }

    /// This BTF and those below it, the lowest first.
    pub(crate) fn chain(&self) -> impl Iterator<Item = &Btf> {
        let depth = std::iter::successors(Some(self), |b| b.base().map(AsRef::as_ref)).count();
        (0..depth)
            .rev()
            .filter_map(move |n| std::iter::successors(Some(self), |b| b.base().map(AsRef::as_ref)).nth(n))
    }

    /// Heads of the records of some kinds in order of their ids.
    pub(crate) fn scan(&self, kinds: KindMask) -> impl Iterator<Item = Seen> {
        self.chain().flat_map(move |btf| btf.scan_own(kinds))
    }

    /// Heads of the records that are not of the base.
    pub(crate) fn scan_own(&self, kinds: KindMask) -> impl Iterator<Item = Seen> {
        let bytes = self.bytes();
        let first = self.first_id().0;
        let wanted = self.records().enumerate().filter(move |(_, (_, kind))| kinds.contains_raw(*kind));
        wanted.filter_map(move |(i, (at, kind))| {
            Some(Seen { id: TypeId(first + i as u32), kind, name_off: wire::u32_at(bytes, at as usize)? })
        })
    }

    /// The first type of a name among some kinds.
    #[must_use]
    pub fn find(&self, name: &str, kinds: KindMask) -> Option<TypeId> {
        self.find_all(name, kinds).next()
    }

    /// All types of a name among some kinds: kernels hold a few structs that share a name.
    pub fn find_all<'a>(&'a self, name: &'a str, kinds: KindMask) -> impl Iterator<Item = TypeId> + 'a {
        let names = self.names();
        let possible = !name.is_empty() && !name.contains('\0');
        self.scan(kinds)
            .filter(move |seen| possible && names.is(seen.name_off, name.as_bytes()))
            .map(|seen| seen.id)
    }

    /// All named types of some kinds, in order of their ids.
    pub fn named(&self, kinds: KindMask) -> impl Iterator<Item = (TypeId, &str)> {
        self.scan(kinds)
            .map(|seen| (seen.id, self.name_at(seen.name_off)))
            .filter(|(_, name)| !name.is_empty())
    }

    /// The first type of each name, all found in one scan. The answers are in the order of the questions.
    #[must_use]
    pub fn find_many(&self, names: &[(&str, KindMask)]) -> Vec<Option<TypeId>> {
        let mut found = vec![None; names.len()];
        let wanted = Wanted::new(names.iter().map(|(name, _)| *name));
        let mask = names.iter().fold(KindMask::NONE, |all, (_, mask)| all | *mask);
        let strings = self.names();
        let mut open = names.iter().filter(|(name, _)| !name.is_empty()).count();
        for seen in self.scan(mask) {
            if open == 0 {
                break;
            }
            for &i in wanted.lookup(strings, seen.name_off) {
                if found[i].is_none() && seen.is(names[i].1) {
                    found[i] = Some(seen.id);
                    open -= 1;
                }
            }
        }
        found
    }

    /// A constant by its name, in whichever enumeration it is. The first one, if several have it.
    #[must_use]
    pub fn enum_value(&self, name: &str) -> Option<EnumValue> {
        self.enum_values(&[name]).pop().flatten()
    }

    /// Constants by their names, all found in one scan. The answers are in the order of the questions.
    #[must_use]
    pub fn enum_values(&self, names: &[&str]) -> Vec<Option<EnumValue>> {
        let mut found = vec![None; names.len()];
        let wanted = Wanted::new(names.iter().copied());
        let strings = self.names();
        let mut open = names.iter().filter(|name| !name.is_empty()).count();
        for seen in self.scan(KindMask::ANY_ENUM) {
            if open == 0 {
                break;
            }
            let Some(variants) = self.ty(seen.id).and_then(|t| t.enumeration()).map(Enum::variants) else {
                continue;
            };
            for (index, variant) in variants.enumerate() {
                for &i in wanted.lookup(strings, variant.name_off()) {
                    if found[i].is_none() {
                        found[i] =
                            Some(EnumValue { type_id: seen.id, index: index as u32, value: variant.value() });
                        open -= 1;
                    }
                }
            }
        }
        found
    }

    /// The name of a value of an enumeration.
    #[must_use]
    pub fn enum_name(&self, id: TypeId, value: i64) -> Option<&str> {
        let Some(Type::Enum(e) | Type::Enum64(e)) = self.peel(id) else { return None };
        e.variants().find(|v| v.value() == value).map(|v| v.name())
    }
}
