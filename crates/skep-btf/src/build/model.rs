//! Types as owned values: what the builder holds and the text form reads.

use crate::{IntEncoding, Kind, Linkage, SectionVar, Type, TypeId};

/// A type that owns its parts. Ids are those of the builder (or of the BTF that it was copied from).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TypeDef {
    /// Integer.
    Int {
        /// Name, e.g. `unsigned int`.
        name: String,
        /// Bytes: 1, 2, 4, 8 or 16.
        size: u32,
        /// Bits that hold the number; 8 times the size but for bit-fields written in the old way.
        bits: u8,
        /// First bit of the number; 0 but for bit-fields written in the old way.
        bit_offset: u8,
        /// What the number means.
        encoding: IntEncoding,
    },
    /// Floating point number.
    Float {
        /// Name.
        name: String,
        /// Bytes.
        size: u32,
    },
    /// Pointer.
    Ptr(TypeId),
    /// Array.
    Array {
        /// Type of an element.
        element: TypeId,
        /// Type of the index: any integer.
        index: TypeId,
        /// Elements.
        len: u32,
    },
    /// Struct or union.
    Composite {
        /// Name, empty for none.
        name: String,
        /// Whether it is a union.
        union: bool,
        /// Bytes.
        size: u32,
        /// Members in order.
        members: Vec<MemberDef>,
    },
    /// Enumeration.
    Enum {
        /// Name, empty for none.
        name: String,
        /// Bytes.
        size: u32,
        /// Whether values are signed.
        signed: bool,
        /// Whether values have 64 bits (`ENUM64`).
        wide: bool,
        /// Names and values; an unsigned 64-bit value is given by its bit pattern.
        variants: Vec<(String, i64)>,
    },
    /// Struct or union of which only the name is known.
    Fwd {
        /// Name.
        name: String,
        /// Whether it is a union.
        union: bool,
    },
    /// Another name for a type.
    Typedef {
        /// The name.
        name: String,
        /// The type.
        target: TypeId,
    },
    /// `const`.
    Const(TypeId),
    /// `volatile`.
    Volatile(TypeId),
    /// `restrict`.
    Restrict(TypeId),
    /// Prototype.
    FuncProto {
        /// Type of the result.
        ret: TypeId,
        /// Names and types of the parameters; `("", void)` at the end of a variadic function.
        params: Vec<(String, TypeId)>,
    },
    /// Function.
    Func {
        /// Name.
        name: String,
        /// Prototype.
        proto: TypeId,
        /// Linkage.
        linkage: Linkage,
    },
    /// Variable.
    Var {
        /// Name.
        name: String,
        /// Type of the value.
        target: TypeId,
        /// Linkage.
        linkage: Linkage,
    },
    /// Section of variables.
    Datasec {
        /// Name, e.g. `.data`.
        name: String,
        /// Bytes.
        size: u32,
        /// Variables and their places, in order of offset.
        vars: Vec<SectionVar>,
    },
    /// Attribute of a declaration.
    DeclTag {
        /// The attribute.
        name: String,
        /// What is tagged.
        target: TypeId,
        /// The member or parameter that is tagged; `None` for the whole.
        component: Option<u32>,
        /// Whether the name is a C attribute instead of the argument of one.
        attribute: bool,
    },
    /// Attribute of a type.
    TypeTag {
        /// The attribute.
        name: String,
        /// The type.
        target: TypeId,
        /// Whether the name is a C attribute instead of the argument of one.
        attribute: bool,
    },
}

/// A member of a struct or union.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MemberDef {
    /// Name, empty for an anonymous member.
    pub name: String,
    /// Type.
    pub type_id: TypeId,
    /// Bits from the start of the struct.
    pub bit_offset: u32,
    /// Bits of a bit-field.
    pub bit_size: Option<u8>,
}

impl MemberDef {
    /// An ordinary member at an offset in bytes.
    #[must_use]
    pub fn at(name: impl Into<String>, type_id: TypeId, byte_offset: u32) -> Self {
        MemberDef { name: name.into(), type_id, bit_offset: byte_offset.saturating_mul(8), bit_size: None }
    }

    /// A bit-field: its first bit from the start of the struct, and its width.
    #[must_use]
    pub fn bits(name: impl Into<String>, type_id: TypeId, bit_offset: u32, bit_size: u8) -> Self {
        MemberDef { name: name.into(), type_id, bit_offset, bit_size: Some(bit_size) }
    }
}

impl TypeDef {
    /// The owned form of a type; `None` for `void` and for kinds that are not known.
    #[must_use]
    pub fn from_type(ty: Type<'_>) -> Option<TypeDef> {
        let name = ty.name().to_owned();
        Some(match ty {
            Type::Void | Type::Unknown(_) => return None,
            Type::Int(i) => TypeDef::Int {
                name,
                size: i.size(),
                bits: i.bits(),
                bit_offset: i.bit_offset(),
                encoding: i.encoding(),
            },
            Type::Float(f) => TypeDef::Float { name, size: f.size() },
            Type::Ptr(r) => TypeDef::Ptr(r.target()),
            Type::Array(a) => TypeDef::Array { element: a.element(), index: a.index(), len: a.len() },
            Type::Struct(c) | Type::Union(c) => TypeDef::Composite {
                name,
                union: c.is_union(),
                size: c.size(),
                members: c
                    .members()
                    .map(|m| MemberDef {
                        name: m.name().to_owned(),
                        type_id: m.type_id(),
                        bit_offset: m.bit_offset(),
                        bit_size: m.bit_size(),
                    })
                    .collect(),
            },
            Type::Enum(e) | Type::Enum64(e) => TypeDef::Enum {
                name,
                size: e.size(),
                signed: e.is_signed(),
                wide: ty.kind() == Kind::Enum64,
                variants: e.variants().map(|v| (v.name().to_owned(), v.value())).collect(),
            },
            Type::Fwd(f) => TypeDef::Fwd { name, union: f.is_union() },
            Type::Typedef(r) => TypeDef::Typedef { name, target: r.target() },
            Type::Const(r) => TypeDef::Const(r.target()),
            Type::Volatile(r) => TypeDef::Volatile(r.target()),
            Type::Restrict(r) => TypeDef::Restrict(r.target()),
            Type::FuncProto(p) => TypeDef::FuncProto {
                ret: p.ret(),
                params: p.params().map(|p| (p.name().to_owned(), p.type_id())).collect(),
            },
            Type::Func(f) => TypeDef::Func { name, proto: f.proto(), linkage: f.linkage() },
            Type::Var(v) => TypeDef::Var { name, target: v.target(), linkage: v.linkage() },
            Type::Datasec(d) => TypeDef::Datasec { name, size: d.size(), vars: d.vars().collect() },
            Type::DeclTag(t) => TypeDef::DeclTag {
                name,
                target: t.target(),
                component: t.component(),
                attribute: t.is_attribute(),
            },
            Type::TypeTag(t) => TypeDef::TypeTag { name, target: t.target(), attribute: t.is_attribute() },
        })
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            TypeDef::Int { .. } => Kind::Int,
            TypeDef::Float { .. } => Kind::Float,
            TypeDef::Ptr(_) => Kind::Ptr,
            TypeDef::Array { .. } => Kind::Array,
            TypeDef::Composite { union: false, .. } => Kind::Struct,
            TypeDef::Composite { union: true, .. } => Kind::Union,
            TypeDef::Enum { wide: false, .. } => Kind::Enum,
            TypeDef::Enum { wide: true, .. } => Kind::Enum64,
            TypeDef::Fwd { .. } => Kind::Fwd,
            TypeDef::Typedef { .. } => Kind::Typedef,
            TypeDef::Const(_) => Kind::Const,
            TypeDef::Volatile(_) => Kind::Volatile,
            TypeDef::Restrict(_) => Kind::Restrict,
            TypeDef::FuncProto { .. } => Kind::FuncProto,
            TypeDef::Func { .. } => Kind::Func,
            TypeDef::Var { .. } => Kind::Var,
            TypeDef::Datasec { .. } => Kind::Datasec,
            TypeDef::DeclTag { .. } => Kind::DeclTag,
            TypeDef::TypeTag { .. } => Kind::TypeTag,
        }
    }

    /// Its name, empty if it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            TypeDef::Int { name, .. }
            | TypeDef::Float { name, .. }
            | TypeDef::Composite { name, .. }
            | TypeDef::Enum { name, .. }
            | TypeDef::Fwd { name, .. }
            | TypeDef::Typedef { name, .. }
            | TypeDef::Func { name, .. }
            | TypeDef::Var { name, .. }
            | TypeDef::Datasec { name, .. }
            | TypeDef::DeclTag { name, .. }
            | TypeDef::TypeTag { name, .. } => name,
            TypeDef::Ptr(_)
            | TypeDef::Array { .. }
            | TypeDef::Const(_)
            | TypeDef::Volatile(_)
            | TypeDef::Restrict(_)
            | TypeDef::FuncProto { .. } => "",
        }
    }

    /// Calls a function with each reference to another type, which it may change.
    pub(crate) fn for_each_ref(&mut self, mut f: impl FnMut(&mut TypeId)) {
        match self {
            TypeDef::Int { .. } | TypeDef::Float { .. } | TypeDef::Enum { .. } | TypeDef::Fwd { .. } => {}
            TypeDef::Ptr(target)
            | TypeDef::Const(target)
            | TypeDef::Volatile(target)
            | TypeDef::Restrict(target)
            | TypeDef::Typedef { target, .. }
            | TypeDef::Func { proto: target, .. }
            | TypeDef::Var { target, .. }
            | TypeDef::DeclTag { target, .. }
            | TypeDef::TypeTag { target, .. } => f(target),
            TypeDef::Array { element, index, .. } => {
                f(element);
                f(index);
            }
            TypeDef::Composite { members, .. } => members.iter_mut().for_each(|m| f(&mut m.type_id)),
            TypeDef::FuncProto { ret, params } => {
                f(ret);
                params.iter_mut().for_each(|(_, id)| f(id));
            }
            TypeDef::Datasec { vars, .. } => vars.iter_mut().for_each(|v| f(&mut v.type_id)),
        }
    }
}
