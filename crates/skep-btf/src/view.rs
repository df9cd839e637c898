//! Typed views of records. They borrow, copy for free, and decode on use.

use crate::element::{Elements, Member, Param, SectionVar, Variant};
use crate::{Btf, IntEncoding, Kind, Linkage, TypeId, wire};
use std::fmt;

/// The common part of a record and the bytes after it.
#[derive(Copy, Clone)]
pub(crate) struct Head<'a> {
    pub(crate) btf: &'a Btf,
    pub(crate) id: TypeId,
    pub(crate) name_off: u32,
    pub(crate) info: u32,
    pub(crate) size_or_type: u32,
    pub(crate) rest: &'a [u8],
}

impl<'a> Head<'a> {
    pub(crate) fn flag(&self) -> bool {
        wire::info_flag(self.info)
    }

    /// The kind, if it is one of the known ones.
    pub(crate) fn kind(&self) -> Kind {
        Kind::from_raw(wire::info_kind(self.info)).unwrap_or(Kind::Unknown)
    }

    fn elements<E>(&self, size: usize) -> Elements<'a, E> {
        Elements::new(self.btf, self.rest, wire::info_vlen(self.info) as usize, size, self.flag())
    }
}

macro_rules! views {
    ($($(#[doc = $doc:literal])* $view:ident;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Copy, Clone)]
        pub struct $view<'a>(pub(crate) Head<'a>);

        impl<'a> $view<'a> {
            /// Id of the type.
            #[must_use]
            pub fn id(self) -> TypeId {
                self.0.id
            }

            /// Name, empty if it has none; U+FFFD if it is not UTF-8.
            #[must_use]
            pub fn name(self) -> &'a str {
                self.0.btf.name_at(self.0.name_off)
            }
        }

        impl fmt::Debug for $view<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{} {:?}", stringify!($view), self.id(), self.name())
            }
        }
    )*};
}

views! {
    /// An integer.
    Int;
    /// A type that is one other type, changed or named: pointer, typedef, qualifier.
    Ref;
    /// An array.
    Array;
    /// A struct or union.
    Composite;
    /// An enumeration of either width.
    Enum;
    /// A struct or union of which only the name is known.
    Fwd;
    /// A function: name, prototype, linkage.
    Func;
    /// A prototype.
    FuncProto;
    /// A variable.
    Var;
    /// A section of variables.
    Datasec;
    /// A floating point number.
    Float;
    /// An attribute of a declaration.
    DeclTag;
    /// An attribute of a type.
    TypeTag;
    /// A type of a kind that is not known here.
    Unknown;
}

/// A type.
#[derive(Copy, Clone, Debug)]
#[non_exhaustive]
pub enum Type<'a> {
    /// `void`, id 0.
    Void,
    /// Integer.
    Int(Int<'a>),
    /// Pointer.
    Ptr(Ref<'a>),
    /// Array.
    Array(Array<'a>),
    /// Struct.
    Struct(Composite<'a>),
    /// Union.
    Union(Composite<'a>),
    /// Enumeration with values of 32 bits.
    Enum(Enum<'a>),
    /// Enumeration with values of 64 bits.
    Enum64(Enum<'a>),
    /// Forward declaration.
    Fwd(Fwd<'a>),
    /// Typedef.
    Typedef(Ref<'a>),
    /// `volatile`.
    Volatile(Ref<'a>),
    /// `const`.
    Const(Ref<'a>),
    /// `restrict`.
    Restrict(Ref<'a>),
    /// Function.
    Func(Func<'a>),
    /// Prototype.
    FuncProto(FuncProto<'a>),
    /// Variable.
    Var(Var<'a>),
    /// Section of variables.
    Datasec(Datasec<'a>),
    /// Floating point number.
    Float(Float<'a>),
    /// Attribute of a declaration.
    DeclTag(DeclTag<'a>),
    /// Attribute of a type.
    TypeTag(TypeTag<'a>),
    /// A kind newer than this reader.
    Unknown(Unknown<'a>),
}

impl<'a> Type<'a> {
    /// The view of a record; `None` where the bytes do not hold the whole of it.
    pub(crate) fn new(head: Head<'a>) -> Option<Self> {
        let kind = head.kind();
        let (fixed, each) = wire::trailer(kind);
        let len = fixed as usize + each as usize * wire::info_vlen(head.info) as usize;
        let head = Head { rest: head.rest.get(..len)?, ..head };
        Some(match kind {
            Kind::Void | Kind::Unknown => Type::Unknown(Unknown(head)),
            Kind::Int => Type::Int(Int(head)),
            Kind::Ptr => Type::Ptr(Ref(head)),
            Kind::Array => Type::Array(Array(head)),
            Kind::Struct => Type::Struct(Composite(head)),
            Kind::Union => Type::Union(Composite(head)),
            Kind::Enum => Type::Enum(Enum(head)),
            Kind::Enum64 => Type::Enum64(Enum(head)),
            Kind::Fwd => Type::Fwd(Fwd(head)),
            Kind::Typedef => Type::Typedef(Ref(head)),
            Kind::Volatile => Type::Volatile(Ref(head)),
            Kind::Const => Type::Const(Ref(head)),
            Kind::Restrict => Type::Restrict(Ref(head)),
            Kind::Func => Type::Func(Func(head)),
            Kind::FuncProto => Type::FuncProto(FuncProto(head)),
            Kind::Var => Type::Var(Var(head)),
            Kind::Datasec => Type::Datasec(Datasec(head)),
            Kind::Float => Type::Float(Float(head)),
            Kind::DeclTag => Type::DeclTag(DeclTag(head)),
            Kind::TypeTag => Type::TypeTag(TypeTag(head)),
        })
    }

    pub(crate) fn head(&self) -> Option<Head<'a>> {
        Some(match *self {
            Type::Void => return None,
            Type::Int(Int(h))
            | Type::Ptr(Ref(h))
            | Type::Array(Array(h))
            | Type::Struct(Composite(h))
            | Type::Union(Composite(h))
            | Type::Enum(Enum(h))
            | Type::Enum64(Enum(h))
            | Type::Fwd(Fwd(h))
            | Type::Typedef(Ref(h))
            | Type::Volatile(Ref(h))
            | Type::Const(Ref(h))
            | Type::Restrict(Ref(h))
            | Type::Func(Func(h))
            | Type::FuncProto(FuncProto(h))
            | Type::Var(Var(h))
            | Type::Datasec(Datasec(h))
            | Type::Float(Float(h))
            | Type::DeclTag(DeclTag(h))
            | Type::TypeTag(TypeTag(h))
            | Type::Unknown(Unknown(h)) => h,
        })
    }

    /// Id of the type.
    #[must_use]
    pub fn id(&self) -> TypeId {
        self.head().map_or(TypeId::VOID, |h| h.id)
    }

    /// Kind of the type.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.head().map_or(Kind::Void, |h| h.kind())
    }

    /// Name, empty if it has none.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.head().map_or("", |h| h.btf.name_at(h.name_off))
    }

    /// The struct or union, if it is one.
    #[must_use]
    pub fn composite(&self) -> Option<Composite<'a>> {
        if let Type::Struct(c) | Type::Union(c) = *self { Some(c) } else { None }
    }

    /// The enumeration, if it is one of either width.
    #[must_use]
    pub fn enumeration(&self) -> Option<Enum<'a>> {
        if let Type::Enum(e) | Type::Enum64(e) = *self { Some(e) } else { None }
    }

    /// What a typedef, qualifier or type tag stands on; `None` for every other kind.
    #[must_use]
    pub fn peeled(&self) -> Option<TypeId> {
        match *self {
            Type::Typedef(r) | Type::Volatile(r) | Type::Const(r) | Type::Restrict(r) => Some(r.target()),
            Type::TypeTag(t) => Some(t.target()),
            _ => None,
        }
    }
}

impl<'a> Int<'a> {
    fn data(self) -> u32 {
        wire::u32_at(self.0.rest, 0).unwrap_or(0)
    }

    /// Bytes.
    #[must_use]
    pub fn size(self) -> u32 {
        self.0.size_or_type
    }

    /// Bits that hold the number; fewer than the size only in old ways to write bit-fields.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.data() as u8
    }

    /// Bit at which the number begins; other than 0 only in old ways to write bit-fields.
    #[must_use]
    pub fn bit_offset(self) -> u8 {
        (self.data() >> 16) as u8
    }

    /// What the number means.
    #[must_use]
    pub fn encoding(self) -> IntEncoding {
        IntEncoding::from_raw((self.data() >> 24) as u8 & 0xf)
    }

    /// Whether it is a signed number (`char` of x86 is written as signed, not as a character).
    #[must_use]
    pub fn is_signed(self) -> bool {
        self.data() & 1 << 24 != 0
    }
}

impl Ref<'_> {
    /// The other type.
    #[must_use]
    pub fn target(self) -> TypeId {
        TypeId(self.0.size_or_type)
    }
}

impl Array<'_> {
    fn data(self) -> [u32; 3] {
        wire::words(self.0.rest).unwrap_or_default()
    }

    /// Type of an element.
    #[must_use]
    pub fn element(self) -> TypeId {
        TypeId(self.data()[0])
    }

    /// Type of the index; means nothing.
    #[must_use]
    pub fn index(self) -> TypeId {
        TypeId(self.data()[1])
    }

    /// Number of elements; 0 for a flexible array.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "the length of a type, not of a collection")]
    pub fn len(self) -> u32 {
        self.data()[2]
    }
}

impl<'a> Composite<'a> {
    /// Bytes.
    #[must_use]
    pub fn size(self) -> u32 {
        self.0.size_or_type
    }

    /// Whether it is a union.
    #[must_use]
    pub fn is_union(self) -> bool {
        self.0.kind() == Kind::Union
    }

    /// Whether members carry their own bit-field sizes.
    #[must_use]
    pub fn kind_flag(self) -> bool {
        self.0.flag()
    }

    /// Members in order of declaration.
    #[must_use]
    pub fn members(self) -> Elements<'a, Member<'a>> {
        self.0.elements(12)
    }
}

impl<'a> Enum<'a> {
    /// Bytes of the type: 1, 2, 4 or 8.
    #[must_use]
    pub fn size(self) -> u32 {
        self.0.size_or_type
    }

    /// Whether values are signed.
    #[must_use]
    pub fn is_signed(self) -> bool {
        self.0.flag()
    }

    /// Names and values in order.
    #[must_use]
    pub fn variants(self) -> Elements<'a, Variant<'a>> {
        self.0.elements(if self.0.kind() == Kind::Enum64 { 12 } else { 8 })
    }
}

impl Fwd<'_> {
    /// Whether it is a union.
    #[must_use]
    pub fn is_union(self) -> bool {
        self.0.flag()
    }
}

impl Func<'_> {
    /// Its prototype.
    #[must_use]
    pub fn proto(self) -> TypeId {
        TypeId(self.0.size_or_type)
    }

    /// Linkage; kernels write all their functions as static.
    #[must_use]
    pub fn linkage(self) -> Linkage {
        Linkage::from_raw(wire::info_vlen(self.0.info))
    }
}

impl<'a> FuncProto<'a> {
    /// Type of the result.
    #[must_use]
    pub fn ret(self) -> TypeId {
        TypeId(self.0.size_or_type)
    }

    /// Parameters in order. Of a variadic function the last one is `void` without a name.
    #[must_use]
    pub fn params(self) -> Elements<'a, Param<'a>> {
        self.0.elements(8)
    }

    /// Whether it takes more arguments than parameters.
    #[must_use]
    pub fn is_variadic(self) -> bool {
        self.params().last().is_some_and(|p| p.type_id().is_void() && p.name().is_empty())
    }
}

impl Var<'_> {
    /// Type of the value.
    #[must_use]
    pub fn target(self) -> TypeId {
        TypeId(self.0.size_or_type)
    }

    /// Linkage.
    #[must_use]
    pub fn linkage(self) -> Linkage {
        Linkage::from_raw(wire::u32_at(self.0.rest, 0).unwrap_or(0))
    }
}

impl<'a> Datasec<'a> {
    /// Bytes of the section; 0 in object files, where the loader knows it.
    #[must_use]
    pub fn size(self) -> u32 {
        self.0.size_or_type
    }

    /// Variables with their places.
    #[must_use]
    pub fn vars(self) -> Elements<'a, SectionVar> {
        self.0.elements(12)
    }
}

impl Float<'_> {
    /// Bytes.
    #[must_use]
    pub fn size(self) -> u32 {
        self.0.size_or_type
    }
}

impl DeclTag<'_> {
    /// What is tagged: a composite, typedef, variable or function.
    #[must_use]
    pub fn target(self) -> TypeId {
        TypeId(self.0.size_or_type)
    }

    /// The member or parameter that is tagged; `None` for the whole.
    #[must_use]
    pub fn component(self) -> Option<u32> {
        wire::u32_at(self.0.rest, 0).filter(|&i| i != u32::MAX)
    }

    /// Whether the name is a C attribute instead of the argument of one.
    #[must_use]
    pub fn is_attribute(self) -> bool {
        self.0.flag()
    }
}

impl TypeTag<'_> {
    /// The type that is tagged.
    #[must_use]
    pub fn target(self) -> TypeId {
        TypeId(self.0.size_or_type)
    }

    /// Whether the name is a C attribute (`address_space(1)`) instead of the argument of one (`user`).
    #[must_use]
    pub fn is_attribute(self) -> bool {
        self.0.flag()
    }
}

impl Unknown<'_> {
    /// Number of the kind.
    #[must_use]
    pub fn raw_kind(self) -> u8 {
        wire::info_kind(self.0.info)
    }
}
