//! Encoding: types and strings to bytes.

use super::{BuildError, Builder, MemberDef, Strings, Supported, TypeDef};
use crate::{TypeId, wire};

/// BTF for one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Header, types and strings.
    pub bytes: Vec<u8>,
    /// Encoded id of each type of the builder, by its id less one; `None` where it was left out.
    ids: Vec<Option<TypeId>>,
}

impl Encoded {
    /// The encoded id of a type of the builder. Ids differ only where the kernel lacks something; `None` if
    /// the type was left out.
    #[must_use]
    pub fn id(&self, id: TypeId) -> Option<TypeId> {
        match id.0.checked_sub(1) {
            None => Some(TypeId::VOID),
            Some(i) => self.ids.get(i as usize).copied().flatten(),
        }
    }
}

impl Builder {
    /// Encodes all types and strings for a kernel that supports some things.
    ///
    /// # Errors
    /// Says which type cannot be encoded and why.
    pub fn encode(&self, supported: Supported) -> Result<Encoded, BuildError> {
        let lowered = super::lower::lower(self, supported)?;
        let mut strings = self.strings.clone();
        let mut types = Vec::with_capacity(lowered.types.len() * 24);
        for (i, def) in lowered.types.iter().enumerate() {
            record(&mut types, &mut strings, TypeId(i as u32 + 1), def)?;
        }
        let len = |n: usize, what| u32::try_from(n).map_err(|_| BuildError::TooLarge(what));
        let types_len = len(types.len(), "more than 4 GiB of types")?;
        let strings_len = len(strings.bytes.len(), "more than 4 GiB of strings")?;
        let mut bytes = Vec::with_capacity(wire::HEADER_LEN + types.len() + strings.bytes.len());
        bytes.extend_from_slice(&wire::MAGIC.to_le_bytes());
        bytes.extend_from_slice(&[wire::VERSION, 0]);
        put(&mut bytes, &[wire::HEADER_LEN as u32, 0, types_len, types_len, strings_len]);
        bytes.append(&mut types);
        bytes.append(&mut strings.bytes);
        Ok(Encoded { bytes, ids: lowered.ids })
    }
}

/// Whether an enumeration of 32-bit values holds a value.
pub(super) fn fits_u32(value: i64, signed: bool) -> bool {
    if signed { i32::try_from(value).is_ok() } else { u32::try_from(value).is_ok() }
}

fn put(out: &mut Vec<u8>, words: &[u32]) {
    for word in words {
        out.extend_from_slice(&word.to_le_bytes());
    }
}

fn record(out: &mut Vec<u8>, strings: &mut Strings, id: TypeId, def: &TypeDef) -> Result<(), BuildError> {
    let name = strings.add(def.name())?;
    let kind = def.kind();
    let vlen = |count: usize| match u32::try_from(count) {
        Ok(n) if count <= wire::MAX_VLEN => Ok(n),
        _ => Err(BuildError::Elements { id, count }),
    };
    let info = |flag, vlen| wire::info(kind, flag, vlen);
    match def {
        TypeDef::Int { size, bits, bit_offset, encoding, .. } => {
            let data = u32::from(encoding.raw()) << 24 | u32::from(*bit_offset) << 16 | u32::from(*bits);
            put(out, &[name, info(false, 0), *size, data]);
        }
        TypeDef::Float { size, .. } => put(out, &[name, info(false, 0), *size]),
        TypeDef::Ptr(target)
        | TypeDef::Const(target)
        | TypeDef::Volatile(target)
        | TypeDef::Restrict(target)
        | TypeDef::Typedef { target, .. } => put(out, &[name, info(false, 0), target.0]),
        TypeDef::TypeTag { target, attribute, .. } => put(out, &[name, info(*attribute, 0), target.0]),
        TypeDef::Array { element, index, len } => {
            put(out, &[name, info(false, 0), 0, element.0, index.0, *len]);
        }
        TypeDef::Composite { size, members, .. } => {
            let flag = members.iter().any(|m| m.bit_size.is_some());
            put(out, &[name, info(flag, vlen(members.len())?), *size]);
            for member in members {
                let offset = member_offset(id, member, flag)?;
                put(out, &[strings.add(&member.name)?, member.type_id.0, offset]);
            }
        }
        TypeDef::Enum { size, signed, wide, variants, .. } => {
            put(out, &[name, info(*signed, vlen(variants.len())?), *size]);
            for (variant, value) in variants {
                let fail = || BuildError::Value { id, name: variant.clone(), value: *value };
                let name = strings.add(variant)?;
                match *wide {
                    true => put(out, &[name, *value as u32, (*value as u64 >> 32) as u32]),
                    false if fits_u32(*value, *signed) => put(out, &[name, *value as u32]),
                    false => return Err(fail()),
                }
            }
        }
        TypeDef::Fwd { union, .. } => put(out, &[name, info(*union, 0), 0]),
        TypeDef::FuncProto { ret, params } => {
            put(out, &[name, info(false, vlen(params.len())?), ret.0]);
            for (param, id) in params {
                put(out, &[strings.add(param)?, id.0]);
            }
        }
        TypeDef::Func { proto, linkage, .. } => put(out, &[name, info(false, linkage.raw()), proto.0]),
        TypeDef::Var { target, linkage, .. } => put(out, &[name, info(false, 0), target.0, linkage.raw()]),
        TypeDef::Datasec { size, vars, .. } => {
            put(out, &[name, info(false, vlen(vars.len())?), *size]);
            for var in vars {
                put(out, &[var.type_id.0, var.offset, var.size]);
            }
        }
        TypeDef::DeclTag { target, component, attribute, .. } => {
            put(out, &[name, info(*attribute, 0), target.0, component.unwrap_or(u32::MAX)]);
        }
    }
    Ok(())
}

fn member_offset(id: TypeId, member: &MemberDef, flag: bool) -> Result<u32, BuildError> {
    if !flag {
        return Ok(member.bit_offset);
    }
    if member.bit_offset > 0x00ff_ffff {
        return Err(BuildError::MemberOffset { id, member: member.name.clone(), bit: member.bit_offset });
    }
    Ok(u32::from(member.bit_size.unwrap_or(0)) << 24 | member.bit_offset)
}
