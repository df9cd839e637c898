//! An index of all names, for programs that ask again and again.

use crate::{Btf, Kind, KindMask, TypeId, element};

/// Types by name. It costs a few milliseconds and eight bytes for each named type of a kernel; whoever asks
/// once is better served by [`Btf::find_many`].
#[derive(Clone, Debug)]
pub struct NameIndex {
    /// Hash in the upper half, id in the lower; sorted. Sorting instead of a table keeps names that were
    /// chosen to collide from costing more than a slow answer.
    entries: Vec<u64>,
}

impl NameIndex {
    /// Indexes every named type, those of the base too.
    #[must_use]
    pub fn new(btf: &Btf) -> Self {
        let mut entries: Vec<u64> = btf
            .scan(KindMask::ANY)
            .filter(|seen| seen.name_off != 0)
            .filter_map(|seen| {
                let name = btf.strings_from(seen.name_off)?;
                Some(u64::from(hash(name)) << 32 | u64::from(seen.id.0))
            })
            .collect();
        entries.sort_unstable();
        entries.shrink_to_fit();
        NameIndex { entries }
    }

    /// The first type of a name among some kinds, as [`Btf::find`] of the indexed BTF.
    #[must_use]
    pub fn find(&self, btf: &Btf, name: &str, kinds: KindMask) -> Option<TypeId> {
        self.find_all(btf, name, kinds).next()
    }

    /// All types of a name among some kinds, as [`Btf::find_all`] of the indexed BTF.
    pub fn find_all<'a>(
        &'a self,
        btf: &'a Btf,
        name: &'a str,
        kinds: KindMask,
    ) -> impl Iterator<Item = TypeId> + 'a {
        let wanted = hash(name.as_bytes());
        let start = self.entries.partition_point(|&e| e >> 32 < u64::from(wanted));
        self.entries[start..]
            .iter()
            .take_while(move |&&e| e >> 32 == u64::from(wanted))
            .filter(|_| !name.is_empty())
            .filter_map(move |&e| {
                let head = btf.head(TypeId(e as u32))?;
                let kind: Kind = head.kind();
                (kinds.contains(kind) && element::named(btf, head.name_off, name)).then_some(head.id)
            })
    }
}

/// FNV-1a of the bytes up to a NUL, or of so many that longer names hardly differ later.
fn hash(name: &[u8]) -> u32 {
    let name = &name[..name.len().min(256)];
    let step = |h: u32, b: &u8| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193);
    name.iter().take_while(|&&b| b != 0).fold(0x811c_9dc5, step)
}
