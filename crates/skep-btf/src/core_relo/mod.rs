//! CO-RE: answers about types of the running kernel for programs that were compiled against others.
//!
//! A relocation names a type of the program's own BTF, a path into it ("0:1:2": element, then members by
//! index) and a question. The [`Resolver`] finds the types of the same name on the target, walks the same
//! path there by the names of its members, and answers. The rules are those of libbpf, so that objects mean
//! the same with either loader:
//!
//! - `___` and what follows it in a type's name is a flavour and does not count;
//! - members are found by name through anonymous structs and unions, and their types must be compatible;
//! - several types of one name are fine as long as all of them give the same answer;
//! - modules are asked only where the kernel itself has no type of the name.

mod compat;
mod spec;
mod value;

pub use value::{AccessSize, Resolution};

use crate::wanted::Wanted;
use crate::{Btf, Kind, KindMask, TypeId};
use compat::Budget;
use spec::LocalSpec;
use std::collections::HashMap;
use thiserror::Error;

macro_rules! reloc_kinds {
    ($($(#[doc = $doc:literal])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// What a relocation asks: `enum bpf_core_relo_kind` of `include/uapi/linux/bpf.h`.
        #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum RelocKind { $($(#[doc = $doc])* $variant = $number,)* }

        impl RelocKind {
            /// Every kind.
            pub const ALL: &'static [RelocKind] = &[$(RelocKind::$variant),*];

            /// The kind of a number.
            #[must_use]
            pub fn from_raw(number: u32) -> Option<Self> {
                RelocKind::ALL.get(number as usize).copied()
            }

            /// A short name for messages.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(RelocKind::$variant => $name,)* }
            }
        }
    };
}

reloc_kinds! {
    /// Offset of a field in bytes (of the word to load, for a bit-field).
    FieldByteOffset = 0, "byte_off";
    /// Bytes of a field (of the word to load, for a bit-field).
    FieldByteSize = 1, "byte_sz";
    /// Whether a field exists: 1 or 0.
    FieldExists = 2, "field_exists";
    /// Whether a field is signed: 1 or 0.
    FieldSigned = 3, "signed";
    /// How far to shift a loaded bit-field left, in a register of 64 bits.
    FieldLshiftU64 = 4, "lshift_u64";
    /// How far to shift it right afterwards.
    FieldRshiftU64 = 5, "rshift_u64";
    /// Id of the type in the program's BTF.
    TypeIdLocal = 6, "local_type_id";
    /// Id of the type on the target; 0 if there is none.
    TypeIdTarget = 7, "target_type_id";
    /// Whether a type exists: 1 or 0.
    TypeExists = 8, "type_exists";
    /// Bytes of a type; 0 if there is none.
    TypeSize = 9, "type_size";
    /// Whether an enumeration has a constant: 1 or 0.
    EnumvalExists = 10, "enumval_exists";
    /// Value of a constant.
    EnumvalValue = 11, "enumval_value";
    /// Whether a type of the same make exists: 1 or 0.
    TypeMatches = 12, "type_matches";
}

impl RelocKind {
    /// Whether the question is about a field.
    #[must_use]
    pub fn is_field(self) -> bool {
        (self as u32) < RelocKind::TypeIdLocal as u32
    }

    /// Whether the question is about a constant of an enumeration.
    #[must_use]
    pub fn is_enumval(self) -> bool {
        matches!(self, RelocKind::EnumvalExists | RelocKind::EnumvalValue)
    }
}

/// A question.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Relocation<'a> {
    /// What is asked.
    pub kind: RelocKind,
    /// The type, in the program's BTF.
    pub type_id: TypeId,
    /// The access string: `0` for types, an index for constants, `0:1:2` for fields.
    pub access: &'a str,
}

/// Why a relocation has no answer. A type or field that the target lacks is an answer, not an error.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CoreError {
    /// The program's BTF lacks the type, or it leads in circles.
    #[error("CO-RE relocation {kind}: the program's BTF has no type {id}")]
    NoType {
        /// The question.
        kind: &'static str,
        /// The id.
        id: TypeId,
    },
    /// The access string does not fit the type.
    #[error(
        "CO-RE relocation {kind}: access string {access:?} does not fit type {id} ({name:?}) of the program: {why}"
    )]
    Access {
        /// The question.
        kind: &'static str,
        /// The access string.
        access: String,
        /// The type.
        id: TypeId,
        /// Its name.
        name: String,
        /// What does not fit.
        why: &'static str,
    },
    /// Types without a name cannot be looked up on the target.
    #[error("CO-RE relocation {kind}: type {id} of the program has no name to look for on the target")]
    Anonymous {
        /// The question.
        kind: &'static str,
        /// The type.
        id: TypeId,
    },
    /// Several types of the target have the name and give different answers.
    #[error(
        "CO-RE relocation {kind} on {name:?} is ambiguous: the target's types {first} and {second} give different answers"
    )]
    Ambiguous {
        /// The question.
        kind: &'static str,
        /// Name of the type.
        name: String,
        /// One of them.
        first: TypeId,
        /// Another one.
        second: TypeId,
    },
    /// The question does not suit what it is about: a shift of an array element, a bit-field too wide to load.
    #[error("CO-RE relocation {kind} on {name:?}: {why}")]
    Unanswerable {
        /// The question.
        kind: &'static str,
        /// Name of the type.
        name: String,
        /// What does not suit.
        why: &'static str,
    },
    /// Types nested deeper or wider than any real ones.
    #[error("CO-RE relocation on {0:?}: types are nested too deeply to compare")]
    TooComplex(String),
}

/// A type of the target.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which of the target BTFs has it: its index in the list given to [`Resolver::new`].
    pub btf: usize,
    /// Its id there.
    pub type_id: TypeId,
}

/// Answers relocations of one program. It remembers which types of the target have a name.
pub struct Resolver<'a> {
    local: &'a Btf,
    targets: Vec<&'a Btf>,
    candidates: HashMap<TypeId, Vec<Target>>,
}

impl<'a> Resolver<'a> {
    /// A resolver for a program's BTF against the kernel's, and those of its modules behind it. Of a module
    /// only the types that are not of its base are looked at.
    #[must_use]
    pub fn new(local: &'a Btf, targets: &[&'a Btf]) -> Self {
        Resolver { local, targets: targets.to_vec(), candidates: HashMap::new() }
    }

    /// Looks up the types of many relocations in one scan. Without it each type costs a scan of its own when
    /// it first comes up.
    pub fn prepare(&mut self, ids: impl IntoIterator<Item = TypeId>) {
        let mut roots: Vec<TypeId> = ids.into_iter().filter(|id| !self.candidates.contains_key(id)).collect();
        if roots.is_empty() {
            return;
        }
        roots.sort_unstable();
        roots.dedup();
        let names: Vec<&str> = roots.iter().map(|&id| essential(self.local.name(id))).collect();
        let kinds: Vec<KindMask> = roots.iter().map(|&id| compatible_kinds(self.local.kind(id))).collect();
        let mut found: Vec<Vec<Target>> = vec![Vec::new(); roots.len()];
        let wanted = Wanted::essential(names.iter().copied());
        for (index, &btf) in self.targets.iter().enumerate() {
            // The first BTF is the kernel; a type that it has is not looked for in the modules.
            let settled: Vec<bool> =
                found.iter().map(|f| f.first().is_some_and(|t| t.btf == 0 && index > 0)).collect();
            if settled.iter().all(|&s| s) {
                break;
            }
            let own = index > 0 && btf.base().is_some();
            let all = kinds.iter().fold(KindMask::NONE, |all, &mask| all | mask);
            let scan: Box<dyn Iterator<Item = _>> =
                if own { Box::new(btf.scan_own(all)) } else { Box::new(btf.scan(all)) };
            for seen in scan {
                for &i in wanted.lookup_essential(btf.names(), seen.name_off) {
                    if !settled[i] && seen.is(kinds[i]) {
                        found[i].push(Target { btf: index, type_id: seen.id });
                    }
                }
            }
        }
        self.candidates.extend(roots.into_iter().zip(found));
    }

    /// Answers a relocation.
    ///
    /// # Errors
    /// The relocation does not fit the program's own types, or the target's types contradict each other.
    pub fn resolve(&mut self, relocation: &Relocation<'_>) -> Result<Resolution, CoreError> {
        let Relocation { kind, type_id, .. } = *relocation;
        let local_type =
            self.local.ty(type_id).ok_or(CoreError::NoType { kind: kind.name(), id: type_id })?;
        let spec = LocalSpec::new(self.local, relocation)?;
        if kind == RelocKind::TypeIdLocal {
            return Ok(Resolution::local_id(type_id));
        }
        let name = local_type.name();
        if name.is_empty() {
            return Err(CoreError::Anonymous { kind: kind.name(), id: type_id });
        }
        self.prepare([type_id]);
        let candidates = self.candidates.get(&type_id).map_or(&[][..], Vec::as_slice);
        let mut budget = Budget::new();
        let mut answer: Option<(Target, Resolution, u32)> = None;
        for &target in candidates {
            let btf = self.targets[target.btf];
            let matched = spec.matches(btf, target.type_id, &mut budget);
            let Some(matched) = matched.map_err(|_| CoreError::TooComplex(name.to_owned()))? else {
                continue;
            };
            let resolution = value::resolve(&spec, Some((&matched, btf)), Some(target))?;
            match &answer {
                Some((first, have, bit_offset))
                    if have.value != resolution.value || *bit_offset != matched.bit_offset() =>
                {
                    return Err(CoreError::Ambiguous {
                        kind: kind.name(),
                        name: name.to_owned(),
                        first: first.type_id,
                        second: target.type_id,
                    });
                }
                Some(_) => {}
                None => answer = Some((target, resolution, matched.bit_offset())),
            }
        }
        match answer {
            Some((_, resolution, _)) => Ok(resolution),
            None => value::resolve(&spec, None, None),
        }
    }
}

/// A type's name without its flavour: `task_struct` of `task_struct___old`.
#[must_use]
pub fn essential(name: &str) -> &str {
    let bytes = name.as_bytes();
    // The last place where three underscores, no more and no fewer, stand between two other characters.
    let at = (0..bytes.len().saturating_sub(4))
        .rev()
        .find(|&i| bytes[i] != b'_' && bytes[i + 1..i + 4] == *b"___" && bytes[i + 4] != b'_');
    at.and_then(|i| name.get(..=i)).unwrap_or(name)
}

/// Kinds that may stand for a kind on the target: the widths of enumerations may differ.
fn compatible_kinds(kind: Option<Kind>) -> KindMask {
    match kind {
        Some(Kind::Enum | Kind::Enum64) => KindMask::ANY_ENUM,
        Some(kind) => kind.into(),
        None => KindMask::NONE,
    }
}
