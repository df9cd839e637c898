//! Answers: numbers from paths.

use super::spec::{Leaf, LocalSpec, Matched};
use super::{CoreError, RelocKind, Target};
use crate::{Btf, FieldRef, IntEncoding, Type, TypeId};

/// An answer.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The answer for the program's own types: what the compiler put into the instruction.
    pub original: u64,
    /// Whether the instruction must hold `original`. For bit-fields compilers choose words freely.
    pub check_original: bool,
    /// The answer for the target. `None`: what was asked about does not exist there, and an instruction that
    /// needs it must never run.
    pub value: Option<u64>,
    /// For offsets of fields: how wide loads and stores are, if they are not bit-fields.
    pub access: Option<AccessSize>,
    /// The type of the target that the answer comes from.
    pub target: Option<Target>,
}

/// Width of a field in the program and on the target, in bytes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct AccessSize {
    /// In the program.
    pub original: u32,
    /// On the target.
    pub target: u32,
    /// Whether an access of the one width may become one of the other: equal widths, pointers, and unsigned
    /// integers, which loads extend with zeros.
    pub adjustable: bool,
}

impl Resolution {
    pub(super) fn local_id(id: TypeId) -> Self {
        let id = u64::from(id.0);
        Resolution { original: id, check_original: false, value: Some(id), access: None, target: None }
    }
}

/// An answer on one side.
struct Answer {
    value: u64,
    /// Bytes and type of a field that can be loaded as a whole.
    whole: Option<(u32, TypeId)>,
    check: bool,
}

/// Answers a relocation for a match on the target, or for none.
pub(super) fn resolve(
    spec: &LocalSpec<'_>,
    matched: Option<(&Matched, &Btf)>,
    target: Option<Target>,
) -> Result<Resolution, CoreError> {
    let fail = |why| CoreError::Unanswerable {
        kind: spec.kind.name(),
        name: spec.btf.name(spec.root).to_owned(),
        why,
    };
    let local = answer(spec.kind, spec.btf, &spec.leaf).map_err(fail)?;
    let found = matched
        .map(|(m, btf)| answer(spec.kind, btf, &m.leaf).map(|a| (a, btf)))
        .transpose()
        .map_err(fail)?;
    let value = match (&found, spec.kind) {
        (Some((answer, _)), _) => Some(answer.value),
        (
            None,
            RelocKind::FieldExists
            | RelocKind::EnumvalExists
            | RelocKind::TypeExists
            | RelocKind::TypeMatches
            | RelocKind::TypeSize
            | RelocKind::TypeIdTarget,
        ) => Some(0),
        (None, _) => None,
    };
    let access = match (local.whole, found.as_ref().and_then(|(a, btf)| Some((a.whole?, *btf)))) {
        (Some((original, local_id)), Some(((width, id), btf))) => Some(AccessSize {
            original,
            target: width,
            adjustable: original == width || adjustable(spec.btf.peel(local_id), btf.peel(id)),
        }),
        _ => None,
    };
    Ok(Resolution { original: local.value, check_original: local.check, value, access, target })
}

fn adjustable(local: Option<Type<'_>>, target: Option<Type<'_>>) -> bool {
    match (local, target) {
        (Some(Type::Ptr(_)), Some(Type::Ptr(_))) => true,
        (Some(Type::Int(a)), Some(Type::Int(b))) => {
            a.encoding() != IntEncoding::Signed && b.encoding() != IntEncoding::Signed
        }
        _ => false,
    }
}

fn answer(kind: RelocKind, btf: &Btf, leaf: &Leaf) -> Result<Answer, &'static str> {
    let plain = |value| Ok(Answer { value, whole: None, check: true });
    match *leaf {
        Leaf::Type(id) => match kind {
            RelocKind::TypeSize => plain(u64::from(btf.size_of(id).ok_or("the type has no size")?)),
            // Linking programs renumbers their types.
            RelocKind::TypeIdTarget => Ok(Answer { value: u64::from(id.0), whole: None, check: false }),
            _ => plain(1),
        },
        Leaf::Constant { value } => plain(if kind == RelocKind::EnumvalExists { 1 } else { value as u64 }),
        Leaf::Element(_) | Leaf::Member(_) if kind == RelocKind::FieldExists => plain(1),
        Leaf::Element(at) => {
            let size = btf.size_of(at.type_id).ok_or("the element has no size")?;
            match kind {
                RelocKind::FieldByteOffset => Ok(Answer {
                    value: u64::from(at.bit_offset / 8),
                    whole: Some((size, at.type_id)),
                    check: true,
                }),
                RelocKind::FieldByteSize => plain(u64::from(size)),
                _ => Err("an element of an array has no sign and no shifts"),
            }
        }
        Leaf::Member(at) => member(kind, btf, at),
    }
}

fn member(kind: RelocKind, btf: &Btf, at: FieldRef) -> Result<Answer, &'static str> {
    let ty = btf.peel(at.type_id).ok_or("the field's type leads nowhere")?;
    let size = btf.size_of(at.type_id);
    let start = u64::from(at.bit_offset);
    let (offset, bytes, bits) = match at.bit_size {
        Some(bits) => {
            let (offset, bytes) = bit_field_word(start, u64::from(bits), size)?;
            (offset, bytes, u64::from(bits))
        }
        None => {
            let bytes = u64::from(size.ok_or("the field has no size")?);
            (start / 8, bytes, bytes * 8)
        }
    };
    let check = at.bit_size.is_none();
    let answer = |value, check| Ok(Answer { value, whole: None, check });
    match kind {
        RelocKind::FieldByteOffset => {
            Ok(Answer { value: offset, whole: check.then(|| (bytes as u32, ty.id())), check })
        }
        RelocKind::FieldByteSize => answer(bytes, check),
        RelocKind::FieldSigned => {
            let signed = match ty {
                Type::Int(i) => i.is_signed(),
                Type::Enum(e) | Type::Enum64(e) => e.is_signed(),
                _ => false,
            };
            answer(u64::from(signed), true)
        }
        RelocKind::FieldLshiftU64 => {
            // Little-endian: the field's last bit goes to bit 63.
            let used = start + bits - offset * 8;
            answer(64u64.checked_sub(used).ok_or("the field does not fit into 64 bits")?, check)
        }
        RelocKind::FieldRshiftU64 => {
            answer(64u64.checked_sub(bits).ok_or("the field does not fit into 64 bits")?, true)
        }
        _ => Err("the question is not about a field"),
    }
}

/// The smallest naturally aligned word, of the declared type's size or more, that holds a bit-field: its
/// offset and size in bytes.
fn bit_field_word(start: u64, bits: u64, declared: Option<u32>) -> Result<(u64, u64), &'static str> {
    let mut bytes = u64::from(declared.filter(|&n| n > 0).ok_or("the bit-field's type has no size")?);
    loop {
        let offset = start / 8 / bytes * bytes;
        if start + bits - offset * 8 <= bytes * 8 {
            return Ok((offset, bytes));
        }
        if bytes >= 8 {
            return Err("no load of up to 64 bits holds the bit-field");
        }
        bytes *= 2;
    }
}
