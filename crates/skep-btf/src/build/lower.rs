//! Leaving out and replacing what a kernel does not know.

use super::{BuildError, Builder, Supported, TypeDef};
use crate::layout::MAX_CHAIN;
use crate::{IntEncoding, Linkage, TypeId};

/// Types as they will be encoded.
pub(super) struct Lowered {
    pub(super) types: Vec<TypeDef>,
    /// New id of each old one (by the old id less one).
    pub(super) ids: Vec<Option<TypeId>>,
}

/// What becomes of a type.
#[derive(Copy, Clone)]
enum Fate {
    /// It is encoded under this id.
    Keep(TypeId),
    /// Another type stands for it.
    Stand(TypeId),
    /// It is left out.
    Drop,
}

pub(super) fn lower(builder: &Builder, supported: Supported) -> Result<Lowered, BuildError> {
    let old: Vec<&TypeDef> = builder
        .types
        .iter()
        .enumerate()
        .map(|(i, def)| def.as_ref().ok_or(BuildError::Undefined(TypeId(i as u32 + 1))))
        .collect::<Result<_, _>>()?;
    let at = |id: TypeId| (id.0 as usize).checked_sub(1).filter(|&i| i < old.len());
    let mut next = 0u32;
    let mut keep = || {
        next += 1;
        Fate::Keep(TypeId(next))
    };
    let fates: Vec<Fate> = old
        .iter()
        .map(|def| match def {
            TypeDef::Var { .. } | TypeDef::Datasec { .. } if !supported.datasec => Fate::Drop,
            TypeDef::DeclTag { .. } if !supported.decl_tag => Fate::Drop,
            // A tag on a variable goes with it.
            TypeDef::DeclTag { target, .. }
                if !supported.datasec
                    && at(*target).is_some_and(|i| matches!(old[i], TypeDef::Var { .. })) =>
            {
                Fate::Drop
            }
            TypeDef::TypeTag { target, .. } if !supported.type_tag => Fate::Stand(*target),
            _ => keep(),
        })
        .collect();
    let resolve = |from: TypeId, to: TypeId| {
        let mut id = to;
        for _ in 0..MAX_CHAIN {
            if id.is_void() {
                return Ok(id);
            }
            let i = at(id).ok_or(BuildError::Reference { from, to })?;
            match fates[i] {
                Fate::Keep(new) => return Ok(new),
                Fate::Stand(other) => id = other,
                Fate::Drop => return Err(BuildError::LeftOut { from, to, kind: old[i].kind().name() }),
            }
        }
        Err(BuildError::Reference { from, to })
    };

    let mut types = Vec::with_capacity(next as usize);
    let mut bytes = Bytes { first: next + 1, extra: Vec::new() };
    for (i, def) in old.iter().enumerate() {
        if !matches!(fates[i], Fate::Keep(_)) {
            continue;
        }
        let mut def = (*def).clone();
        let mut failed = None;
        def.for_each_ref(|id| match resolve(TypeId(i as u32 + 1), *id) {
            Ok(new) => *id = new,
            Err(e) => failed = failed.take().or(Some(e)),
        });
        if let Some(e) = failed {
            return Err(e);
        }
        types.push(replaced(def, supported, &mut bytes));
    }
    types.append(&mut bytes.extra);
    let ids = (1..=old.len() as u32).map(|i| resolve(TypeId(i), TypeId(i)).ok()).collect();
    Ok(Lowered { types, ids })
}

/// The types that stand for floating point numbers, added behind all others when first needed.
struct Bytes {
    first: u32,
    extra: Vec<TypeDef>,
}

impl Bytes {
    /// Ids of a byte and of an array index.
    fn ids(&mut self) -> (TypeId, TypeId) {
        if self.extra.is_empty() {
            for (name, size) in [("unsigned char", 1), ("__ARRAY_SIZE_TYPE__", 4)] {
                self.extra.push(TypeDef::Int {
                    name: name.to_owned(),
                    size,
                    bits: size as u8 * 8,
                    bit_offset: 0,
                    encoding: IntEncoding::Unsigned,
                });
            }
        }
        (TypeId(self.first), TypeId(self.first + 1))
    }
}

fn replaced(def: TypeDef, supported: Supported, bytes: &mut Bytes) -> TypeDef {
    match def {
        TypeDef::Func { name, proto, .. } if !supported.func_global => {
            TypeDef::Func { name, proto, linkage: Linkage::Static }
        }
        TypeDef::Float { size, .. } if !supported.float => {
            let (element, index) = bytes.ids();
            TypeDef::Array { element, index, len: size }
        }
        TypeDef::Enum { size, signed, wide: true, .. } if !supported.enum64 => TypeDef::Int {
            name: if signed { "long long" } else { "unsigned long long" }.to_owned(),
            size,
            bits: u8::try_from(size.saturating_mul(8)).unwrap_or(64),
            bit_offset: 0,
            encoding: if signed { IntEncoding::Signed } else { IntEncoding::Unsigned },
        },
        TypeDef::Enum { name, size, wide: false, variants, .. } if !supported.enum64 => {
            // The sign was a flag that such kernels refuse; the bits of the values stay.
            let variants =
                variants.into_iter().map(|(name, value)| (name, i64::from(value as u32))).collect();
            TypeDef::Enum { name, size, signed: false, wide: false, variants }
        }
        other => other,
    }
}
