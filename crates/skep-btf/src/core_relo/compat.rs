//! Whether types of the program and of the target may stand for each other.

use super::essential;
use crate::layout::MAX_CHAIN;
use crate::{Btf, Composite, Enum, Fwd, Int, Kind, Type, TypeId};

/// Types were nested deeper, or compared longer, than real types are.
#[derive(Copy, Clone, Debug)]
pub(super) struct TooComplex;

/// Deepest nesting of prototypes and structs that is compared.
const MAX_LEVEL: usize = 32;

/// Comparisons that one relocation may still make.
pub(super) struct Budget(u32);

impl Budget {
    pub(super) fn new() -> Self {
        Budget(1 << 21)
    }

    pub(super) fn spend(&mut self) -> Result<(), TooComplex> {
        self.0 = self.0.checked_sub(1).ok_or(TooComplex)?;
        Ok(())
    }
}

/// One type on each side.
#[derive(Copy, Clone)]
struct Pair<'a> {
    local: &'a Btf,
    target: &'a Btf,
}

impl<'a> Pair<'a> {
    fn peel(self, local: TypeId, target: TypeId) -> Result<(Type<'a>, Type<'a>), TooComplex> {
        let local = self.local.peel(local).ok_or(TooComplex)?;
        Ok((local, self.target.peel(target).ok_or(TooComplex)?))
    }
}

/// Either kind of enumeration counts as the other.
fn same_kind(a: Kind, b: Kind) -> bool {
    let fold = |k| if k == Kind::Enum64 { Kind::Enum } else { k };
    fold(a) == fold(b)
}

/// Whether an instruction that was made for one field may be used on another: sizes and signs of integers do
/// not matter, they have relocations of their own.
pub(super) fn fields_are_compatible(local: &Btf, local_id: TypeId, target: &Btf, target_id: TypeId) -> bool {
    let pair = Pair { local, target };
    let (mut local_id, mut target_id) = (local_id, target_id);
    for _ in 0..MAX_CHAIN {
        let Ok((a, b)) = pair.peel(local_id, target_id) else { return false };
        if a.composite().is_some() && b.composite().is_some() {
            return true;
        }
        if !same_kind(a.kind(), b.kind()) {
            return false;
        }
        return match (a, b) {
            (Type::Array(a), Type::Array(b)) => {
                (local_id, target_id) = (a.element(), b.element());
                continue;
            }
            (Type::Int(a), Type::Int(b)) => whole(a) && whole(b),
            (Type::Ptr(_) | Type::Float(_), _) => true,
            (Type::Fwd(_) | Type::Enum(_) | Type::Enum64(_), _) => {
                let (a, b) = (essential(a.name()), essential(b.name()));
                a.is_empty() || b.is_empty() || a == b
            }
            _ => false,
        };
    }
    false
}

/// Not one of the integers that old compilers described bit-fields with.
fn whole(i: Int<'_>) -> bool {
    i.bit_offset() == 0
}

/// Whether a type exists on the target as far as its kind goes: structs, unions and enumerations are not
/// looked into, pointers, arrays and prototypes are.
pub(super) fn types_are_compatible(
    local: &Btf,
    local_id: TypeId,
    target: &Btf,
    target_id: TypeId,
    budget: &mut Budget,
) -> Result<bool, TooComplex> {
    compatible(Pair { local, target }, local_id, target_id, MAX_LEVEL, budget)
}

fn compatible(
    pair: Pair<'_>,
    local_id: TypeId,
    target_id: TypeId,
    level: usize,
    budget: &mut Budget,
) -> Result<bool, TooComplex> {
    let (mut local_id, mut target_id) = (local_id, target_id);
    for _ in 0..MAX_CHAIN {
        budget.spend()?;
        let (a, b) = pair.peel(local_id, target_id)?;
        if !same_kind(a.kind(), b.kind()) {
            return Ok(false);
        }
        match (a, b) {
            (Type::Int(a), Type::Int(b)) => return Ok(whole(a) && whole(b)),
            (Type::Ptr(a), Type::Ptr(b)) => (local_id, target_id) = (a.target(), b.target()),
            (Type::Array(a), Type::Array(b)) => (local_id, target_id) = (a.element(), b.element()),
            (Type::FuncProto(a), Type::FuncProto(b)) => {
                if a.params().len() != b.params().len() {
                    return Ok(false);
                }
                let level = level.checked_sub(1).ok_or(TooComplex)?;
                for (a, b) in a.params().zip(b.params()) {
                    if !compatible(pair, a.type_id(), b.type_id(), level, budget)? {
                        return Ok(false);
                    }
                }
                (local_id, target_id) = (a.ret(), b.ret());
            }
            (Type::Void | Type::Fwd(_), _) => return Ok(true),
            (Type::Struct(_) | Type::Union(_) | Type::Enum(_) | Type::Enum64(_), _) => return Ok(true),
            _ => return Ok(false),
        }
    }
    Err(TooComplex)
}

/// Whether a type of the target is of the same make: members and constants of the program's type are all
/// there, of matching types. What is behind a pointer is compared by name and kind only.
pub(super) fn types_match(
    local: &Btf,
    local_id: TypeId,
    target: &Btf,
    target_id: TypeId,
    budget: &mut Budget,
) -> Result<bool, TooComplex> {
    matches(Pair { local, target }, (local_id, target_id), false, MAX_LEVEL, budget)
}

fn matches(
    pair: Pair<'_>,
    ids: (TypeId, TypeId),
    behind_pointer: bool,
    level: usize,
    budget: &mut Budget,
) -> Result<bool, TooComplex> {
    let level = level.checked_sub(1).ok_or(TooComplex)?;
    let (mut ids, mut behind_pointer) = (ids, behind_pointer);
    for _ in 0..MAX_CHAIN {
        budget.spend()?;
        let (a, b) = pair.peel(ids.0, ids.1)?;
        if essential(a.name()) != essential(b.name()) {
            return Ok(false);
        }
        return Ok(match (a, b) {
            (Type::Void, Type::Void) => true,
            (Type::Ptr(a), Type::Ptr(b)) => {
                behind_pointer = true;
                ids = (a.target(), b.target());
                continue;
            }
            (Type::Array(a), Type::Array(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                ids = (a.element(), b.element());
                continue;
            }
            (Type::FuncProto(a), Type::FuncProto(b)) => {
                if a.params().len() != b.params().len() {
                    return Ok(false);
                }
                for (a, b) in a.params().zip(b.params()) {
                    if !matches(pair, (a.type_id(), b.type_id()), behind_pointer, level, budget)? {
                        return Ok(false);
                    }
                }
                ids = (a.ret(), b.ret());
                continue;
            }
            (Type::Int(a), Type::Int(b)) => a.size() == b.size() && a.is_signed() == b.is_signed(),
            (Type::Enum(a) | Type::Enum64(a), Type::Enum(b) | Type::Enum64(b)) => enums_match(a, b, budget)?,
            (Type::Struct(a), Type::Struct(b)) | (Type::Union(a), Type::Union(b)) => {
                behind_pointer || composites_match(pair, a, b, level, budget)?
            }
            (Type::Fwd(a), Type::Fwd(b)) => a.is_union() == b.is_union(),
            // A pointer may lead to the name alone on one side and to the members on the other.
            (Type::Fwd(f), other) | (other, Type::Fwd(f)) => behind_pointer && declares(f, other),
            _ => false,
        });
    }
    Err(TooComplex)
}

/// Whether a forward declaration is of a composite's kind.
fn declares(f: Fwd<'_>, other: Type<'_>) -> bool {
    match other {
        Type::Struct(_) => !f.is_union(),
        Type::Union(_) => f.is_union(),
        _ => false,
    }
}

fn enums_match(a: Enum<'_>, b: Enum<'_>, budget: &mut Budget) -> Result<bool, TooComplex> {
    if a.size() != b.size() || a.variants().len() > b.variants().len() {
        return Ok(false);
    }
    for (i, wanted) in a.variants().enumerate() {
        let name = essential(wanted.name());
        // Most constants are at the same place on both sides.
        let mut found = b.variants().get(i).is_some_and(|v| essential(v.name()) == name);
        if !found {
            for v in b.variants() {
                budget.spend()?;
                found = found || essential(v.name()) == name;
            }
        }
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}

fn composites_match(
    pair: Pair<'_>,
    a: Composite<'_>,
    b: Composite<'_>,
    level: usize,
    budget: &mut Budget,
) -> Result<bool, TooComplex> {
    if a.members().len() > b.members().len() {
        return Ok(false);
    }
    for wanted in a.members() {
        let name = essential(wanted.name());
        let mut found = false;
        for member in b.members() {
            budget.spend()?;
            if essential(member.name()) == name
                && matches(pair, (wanted.type_id(), member.type_id()), false, level, budget)?
            {
                found = true;
                break;
            }
        }
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}
