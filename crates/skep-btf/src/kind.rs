//! Kinds of types, sets of kinds, and what qualifies integers and names.

use std::fmt;
use std::ops::BitOr;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $variant:ident = $number:literal, $name:literal, $mask:ident;)*) => {
        /// Kind of a type: `BTF_KIND_*` of `include/uapi/linux/btf.h`.
        #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[doc = $doc])* $variant = $number,)*
            /// A kind newer than this table, in BTF that says how long its records are.
            Unknown = 31,
        }

        impl Kind {
            /// The kind of a number; `None` if it is newer than this table.
            #[must_use]
            pub fn from_raw(number: u8) -> Option<Kind> {
                Some(match number { $($number => Kind::$variant,)* _ => return None })
            }

            /// The name in the UAPI header without its prefix, e.g. `FUNC_PROTO`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Kind::$variant => $name,)* Kind::Unknown => "UNKNOWN" }
            }
        }

        impl KindMask {
            $($(#[doc = $doc])* pub const $mask: KindMask = KindMask(1 << $number);)*
        }
    };
}

/// A set of kinds, for lookups by name: C has one name space for tags and one for ordinary names.
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub struct KindMask(u32);

kinds! {
    /// No type: id 0.
    Void = 0, "VOID", VOID;
    /// Integer.
    Int = 1, "INT", INT;
    /// Pointer.
    Ptr = 2, "PTR", PTR;
    /// Array.
    Array = 3, "ARRAY", ARRAY;
    /// Struct.
    Struct = 4, "STRUCT", STRUCT;
    /// Union.
    Union = 5, "UNION", UNION;
    /// Enumeration with values of 32 bits.
    Enum = 6, "ENUM", ENUM;
    /// Struct or union of which only the name is known.
    Fwd = 7, "FWD", FWD;
    /// Typedef.
    Typedef = 8, "TYPEDEF", TYPEDEF;
    /// `volatile`.
    Volatile = 9, "VOLATILE", VOLATILE;
    /// `const`.
    Const = 10, "CONST", CONST;
    /// `restrict`.
    Restrict = 11, "RESTRICT", RESTRICT;
    /// Function: a name with a prototype.
    Func = 12, "FUNC", FUNC;
    /// Prototype.
    FuncProto = 13, "FUNC_PROTO", FUNC_PROTO;
    /// Variable.
    Var = 14, "VAR", VAR;
    /// Section of variables.
    Datasec = 15, "DATASEC", DATASEC;
    /// Floating point number.
    Float = 16, "FLOAT", FLOAT;
    /// Attribute of a declaration, by name.
    DeclTag = 17, "DECL_TAG", DECL_TAG;
    /// Attribute of a type, by name.
    TypeTag = 18, "TYPE_TAG", TYPE_TAG;
    /// Enumeration with values of 64 bits.
    Enum64 = 19, "ENUM64", ENUM64;
}

impl KindMask {
    /// Whether the kind of a number on the wire is in the set.
    pub(crate) const fn contains_raw(self, number: u8) -> bool {
        self.0 & (1 << if number < 31 { number } else { 31 }) != 0
    }

    /// Every kind.
    pub const ANY: KindMask = KindMask(u32::MAX);
    /// No kind.
    pub const NONE: KindMask = KindMask(0);
    /// Either enumeration.
    pub const ANY_ENUM: KindMask = KindMask(KindMask::ENUM.0 | KindMask::ENUM64.0);
    /// Struct or union with its members.
    pub const COMPOSITE: KindMask = KindMask(KindMask::STRUCT.0 | KindMask::UNION.0);
    /// Names that stand for a type without a keyword before them.
    pub const ORDINARY: KindMask = KindMask(KindMask::INT.0 | KindMask::FLOAT.0 | KindMask::TYPEDEF.0);

    /// Whether a kind is in the set.
    #[must_use]
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// The kinds of either set.
    #[must_use]
    pub const fn union(self, other: KindMask) -> KindMask {
        KindMask(self.0 | other.0)
    }
}

impl From<Kind> for KindMask {
    fn from(kind: Kind) -> Self {
        KindMask(1 << kind as u8)
    }
}

impl BitOr for KindMask {
    type Output = KindMask;

    fn bitor(self, other: KindMask) -> KindMask {
        self.union(other)
    }
}

impl fmt::Debug for KindMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == KindMask::ANY {
            return f.write_str("KindMask(ANY)");
        }
        let kinds = (0..31).filter_map(Kind::from_raw).filter(|&k| self.contains(k)).map(Kind::name);
        write!(f, "KindMask({})", kinds.collect::<Vec<_>>().join(" | "))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an integer means to people. The numbers are `BTF_INT_*`.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum IntEncoding {
    /// Unsigned number.
    #[default]
    Unsigned,
    /// Signed number.
    Signed,
    /// Character.
    Char,
    /// Truth value.
    Bool,
    /// More than one of them at once, which no kernel accepts.
    Mixed(u8),
}

impl IntEncoding {
    /// The number on the wire.
    #[must_use]
    pub fn raw(self) -> u8 {
        match self {
            IntEncoding::Unsigned => 0,
            IntEncoding::Signed => 1,
            IntEncoding::Char => 2,
            IntEncoding::Bool => 4,
            IntEncoding::Mixed(n) => n & 0xf,
        }
    }

    /// The encoding of a number on the wire.
    #[must_use]
    pub fn from_raw(number: u8) -> Self {
        match number {
            0 => IntEncoding::Unsigned,
            1 => IntEncoding::Signed,
            2 => IntEncoding::Char,
            4 => IntEncoding::Bool,
            n => IntEncoding::Mixed(n),
        }
    }
}

/// Where a name can be seen: `BTF_FUNC_*` and `BTF_VAR_*`.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Linkage {
    /// Within one file.
    #[default]
    Static,
    /// Everywhere.
    Global,
    /// Declared here, defined elsewhere.
    Extern,
    /// A number that is not known.
    Other(u32),
}

impl Linkage {
    /// The number on the wire.
    #[must_use]
    pub fn raw(self) -> u32 {
        match self {
            Linkage::Static => 0,
            Linkage::Global => 1,
            Linkage::Extern => 2,
            Linkage::Other(n) => n,
        }
    }

    /// The linkage of a number on the wire.
    #[must_use]
    pub fn from_raw(number: u32) -> Self {
        match number {
            0 => Linkage::Static,
            1 => Linkage::Global,
            2 => Linkage::Extern,
            n => Linkage::Other(n),
        }
    }
}
