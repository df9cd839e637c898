//! Types of the language as types of memory, so that dumps of maps are readable and records have layouts.

use crate::types::{AggTy, Origin, StructId, Structs, Type, sequence};
use skep_ir::types::{IntKind, Member, Type as IrType};
use skep_ir::{TypeId, Types};

/// The memory type of a type. Its size is that of [`Type::layout`].
pub(super) fn memory_type(ty: &Type, structs: &Structs, types: &mut Types) -> TypeId {
    match ty {
        Type::None => types.void(),
        Type::Bool => types.add(IrType::Int { name: "_Bool".into(), bytes: 1, kind: IntKind::Bool }),
        Type::Int(i) => types.int(u32::from(i.bytes), i.signed),
        Type::Str(cap) => {
            let char = types.add(IrType::Int { name: "char".into(), bytes: 1, kind: IntKind::Char });
            types.array(char, *cap)
        }
        Type::Buf(_) => {
            let len = types.int(4, false);
            let bytes = types.bytes(ty.size(structs).saturating_sub(4));
            composite(types, "", ty.size(structs), &[("length", len, 0), ("bytes", bytes, 4)])
        }
        Type::Ptr(..) => {
            let void = types.void();
            types.ptr(void)
        }
        Type::KSym | Type::KStack(_) | Type::Username => types.int(8, false),
        Type::Array(elem, len) => {
            let elem = memory_type(elem, structs, types);
            types.array(elem, *len)
        }
        Type::Tuple(elems) => {
            let members: Vec<_> = elems.iter().enumerate().map(|(i, t)| (format!("f{i}"), t)).collect();
            members_type(&members, structs, types)
        }
        Type::Record(elems) => {
            let members: Vec<_> = elems.iter().map(|(n, t)| (n.to_string(), t)).collect();
            members_type(&members, structs, types)
        }
        Type::Struct(id) => struct_type(*id, structs, types),
        Type::Enum(id) => {
            let def = &structs.enums[*id];
            let name = def.name.strip_prefix("enum ").unwrap_or(&def.name).to_owned();
            types.add(IrType::Enum {
                name,
                bytes: u32::from(def.repr.bytes),
                variants: def.variants.to_vec(),
            })
        }
        Type::USym => pair(types, "address", "pid"),
        Type::UStack(_) => pair(types, "stack", "pid"),
        Type::Timestamp => {
            let (long, int) = (types.int(8, false), types.int(4, false));
            composite(types, "", 16, &[("ns", long, 0), ("format", int, 8), ("clock", int, 12)])
        }
        Type::CgroupPath => {
            let long = types.int(8, false);
            composite(types, "", 16, &[("id", long, 0), ("filter", long, 8)])
        }
        Type::Inet => {
            let (family, address) = (types.int(4, false), types.bytes(16));
            composite(types, "", 20, &[("family", family, 0), ("address", address, 4)])
        }
        Type::Mac => types.bytes(6),
        Type::Agg(agg) => agg_type(*agg, types),
    }
}

/// A cell of collected numbers, as [`skep_ir::inst::Agg`] lays it out.
fn agg_type(agg: AggTy, types: &mut Types) -> TypeId {
    let (signed, unsigned) = (types.int(8, true), types.int(8, false));
    let of = |is_signed| if is_signed { signed } else { unsigned };
    match agg {
        AggTy::Count | AggTy::Hist { .. } | AggTy::Lhist { .. } => unsigned,
        AggTy::Sum(s) => of(s),
        AggTy::Min(s) => composite(types, "", 16, &[("min", of(s), 0), ("is_set", unsigned, 8)]),
        AggTy::Max(s) => composite(types, "", 16, &[("max", of(s), 0), ("is_set", unsigned, 8)]),
        AggTy::Avg(s) | AggTy::Stats(s) => {
            composite(types, "", 16, &[("total", of(s), 0), ("count", unsigned, 8)])
        }
        AggTy::Tseries { signed: s, .. } => composite(
            types,
            "",
            24,
            &[("value", of(s), 0), ("meta", unsigned, 8), ("interval", unsigned, 16)],
        ),
    }
}

fn struct_type(id: StructId, structs: &Structs, types: &mut Types) -> TypeId {
    let def = &structs.structs[id];
    match (&def.origin, &def.fields) {
        // A copy of a kernel object is bytes: its fields overlap as its unions do and are not worth a copy of
        // the kernel's own description.
        (Origin::Script | Origin::Dwarf, Some(fields)) if fields.iter().all(|f| f.bits.is_none()) => {
            let name = def.name.rsplit(' ').next().unwrap_or_default().to_owned();
            let members = fields
                .iter()
                .map(|f| Member {
                    name: f.name.to_string(),
                    ty: memory_type(&f.ty, structs, types),
                    bit_offset: f.offset * 8,
                    bit_size: 0,
                })
                .collect();
            let union = def.name.starts_with("union ");
            types.add(IrType::Composite { name, union, size: def.size, members })
        }
        _ => types.bytes(def.size),
    }
}

fn pair(types: &mut Types, first: &str, second: &str) -> TypeId {
    let (long, int) = (types.int(8, false), types.int(4, false));
    composite(types, "", 16, &[(first, long, 0), (second, int, 8)])
}

fn members_type(members: &[(String, &Type)], structs: &Structs, types: &mut Types) -> TypeId {
    let layout = sequence(members.iter().map(|(_, t)| *t), structs);
    let list: Vec<_> =
        members.iter().map(|(name, ty)| (name.as_str(), memory_type(ty, structs, types))).collect();
    let list: Vec<_> = list.iter().zip(&layout.offsets).map(|(&(n, t), &o)| (n, t, o)).collect();
    composite(types, "", layout.size, &list)
}

/// A struct of named members at byte offsets.
pub(super) fn composite(types: &mut Types, name: &str, size: u32, members: &[(&str, TypeId, u32)]) -> TypeId {
    let members = members
        .iter()
        .map(|&(name, ty, offset)| Member { name: name.to_owned(), ty, bit_offset: offset * 8, bit_size: 0 })
        .collect();
    types.add(IrType::Composite { name: name.to_owned(), union: false, size, members })
}
