//! Answers to questions about the kernel's types.

use crate::inst::{Core, Step};
use crate::types::{Type, TypeId, Types};
use skep_btf::{Btf, FieldRef, KindMask};

/// The answer, if the question makes sense for a type of the kernel: what does not exist has offset, size and
/// value 0.
pub(crate) fn answer(btf: &Btf, types: &Types, what: Core, ty: TypeId, path: &[Step]) -> Option<i64> {
    let Type::Kernel { name, id } = types.get(ty) else { return None };
    let found = find(btf, name, *id);
    let field = || found.and_then(|id| walk(btf, id, path).ok());
    let size = |at: FieldRef| match at.bit_size {
        Some(bits) => Some(u32::from(bits).div_ceil(8)),
        None => btf.size_of(at.type_id),
    };
    let enumerator = || {
        let Some(Step::Field(name)) = path.first() else { return None };
        match btf.peel(found?)? {
            skep_btf::Type::Enum(e) | skep_btf::Type::Enum64(e) => {
                e.variants().find(|v| v.name() == name).map(|v| v.value())
            }
            _ => None,
        }
    };
    Some(match what {
        Core::FieldOffset => field().map_or(0, |f| i64::from(f.bit_offset / 8)),
        Core::FieldSize => field().and_then(size).map_or(0, i64::from),
        Core::FieldExists => i64::from(field().is_some()),
        Core::FieldSigned => i64::from(field().is_some_and(|f| is_signed(btf, f.type_id))),
        Core::TypeExists => i64::from(found.is_some()),
        Core::TypeSize => found.and_then(|id| btf.size_of(id)).map_or(0, i64::from),
        Core::TypeId => found.map_or(0, |id| i64::from(id.0)),
        Core::EnumExists => i64::from(enumerator().is_some()),
        Core::EnumValue => enumerator().unwrap_or(0),
    })
}

/// A kernel type by the name that the IR uses (`struct x`, `union x`, `enum x`, or a typedef's or integer's name).
pub(crate) fn find(btf: &Btf, name: &str, known: u32) -> Option<skep_btf::TypeId> {
    if known != 0 {
        return btf.ty(skep_btf::TypeId(known)).map(|_| skep_btf::TypeId(known));
    }
    let (mask, name) = match name.split_once(' ') {
        Some(("struct", name)) => (KindMask::STRUCT, name),
        Some(("union", name)) => (KindMask::UNION, name),
        Some(("enum", name)) => (KindMask::ANY_ENUM, name),
        _ => (KindMask::ORDINARY, name),
    };
    // `name___flavour` is another view of the same type.
    let name = name.split_once("___").map_or(name, |(name, _)| name);
    btf.find(name, mask)
}

/// Why a path leads nowhere, as the end of a sentence about the type.
pub(crate) struct NoField(pub(crate) String);

/// The part of an object that a path leads to. Elements by value count from the first.
pub(crate) fn walk(btf: &Btf, id: skep_btf::TypeId, path: &[Step]) -> Result<FieldRef, NoField> {
    let mut at = FieldRef { type_id: id, bit_offset: 0, bit_size: None };
    let add = |at: u32, bytes: Option<u32>| {
        let bits = bytes.and_then(|b| b.checked_mul(8)).and_then(|b| at.checked_add(b));
        bits.ok_or_else(|| NoField("reaches beyond what can be addressed".to_owned()))
    };
    for step in path {
        match step {
            Step::Field(name) => {
                let Some(owner) = btf.peel(at.type_id).and_then(|t| t.composite()) else {
                    return Err(NoField(format!("has no fields, so there is no {name}")));
                };
                let Some(field) = btf.field(owner.id(), name) else {
                    return Err(NoField(format!("has no field {name}")));
                };
                let bit_offset = at.bit_offset.checked_add(field.bit_offset);
                let beyond = || NoField("reaches beyond what can be addressed".to_owned());
                at = FieldRef { bit_offset: bit_offset.ok_or_else(beyond)?, ..field };
            }
            Step::Index(_) | Step::IndexBy(..) => {
                let Some(skep_btf::Type::Array(array)) = btf.peel(at.type_id) else {
                    return Err(NoField("is indexed and no array".to_owned()));
                };
                let n = if let Step::Index(n) = step { *n } else { 0 };
                let bytes = btf.size_of(array.element()).and_then(|size| size.checked_mul(n));
                at = FieldRef {
                    bit_offset: add(at.bit_offset, bytes)?,
                    type_id: array.element(),
                    bit_size: None,
                };
            }
            Step::Offset(n) => {
                at.bit_offset = add(at.bit_offset, u32::try_from(*n).ok())?;
            }
        }
    }
    Ok(at)
}

/// Whether an integer or enumeration is signed.
pub(crate) fn is_signed(btf: &Btf, id: skep_btf::TypeId) -> bool {
    match btf.peel(id) {
        Some(skep_btf::Type::Int(i)) => i.is_signed(),
        Some(skep_btf::Type::Enum(e) | skep_btf::Type::Enum64(e)) => e.is_signed(),
        _ => false,
    }
}
