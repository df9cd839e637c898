//! Making BTF: types of a program, deduplicated, and their encoding for a kernel.

mod encode;
mod lower;
mod model;

pub use encode::Encoded;
pub use model::{MemberDef, TypeDef};

use crate::{Btf, IntEncoding, Linkage, SectionVar, TypeId};
use std::collections::HashMap;
use thiserror::Error;

/// Kinds and flags that kernels differ in. What is not supported is left out or replaced when encoding.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Supported {
    /// Functions may have global linkage (5.6); else all are written as static.
    pub func_global: bool,
    /// Variables and sections (5.2); else they are left out.
    pub datasec: bool,
    /// Floating point numbers (5.13); else they are written as bytes.
    pub float: bool,
    /// Tags on declarations (5.16); else they are left out.
    pub decl_tag: bool,
    /// Tags on types (5.17); else what they tag stands for them.
    pub type_tag: bool,
    /// 64-bit enumerations, and signs of enumerations (6.0); else integers, and no signs.
    pub enum64: bool,
}

impl Supported {
    /// Everything: for object files and present kernels.
    pub const ALL: Supported = Supported {
        func_global: true,
        datasec: true,
        float: true,
        decl_tag: true,
        type_tag: true,
        enum64: true,
    };
    /// Nothing but what the first kernels with functions in BTF had (5.0).
    pub const NONE: Supported = Supported {
        func_global: false,
        datasec: false,
        float: false,
        decl_tag: false,
        type_tag: false,
        enum64: false,
    };
}

impl Default for Supported {
    fn default() -> Self {
        Supported::ALL
    }
}

/// What cannot be encoded. Each is a mistake of whoever filled the builder, not of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A type was declared and never defined.
    #[error("type {0} was declared but never defined")]
    Undefined(TypeId),
    /// A reference to an id that there is not.
    #[error("type {from} refers to type {to}, which does not exist")]
    Reference {
        /// The type that refers.
        from: TypeId,
        /// The id.
        to: TypeId,
    },
    /// A reference to a type that the kernel does not support and that nothing can stand for.
    #[error(
        "type {from} refers to type {to}, a {kind}, which was left out because the kernel does not know it"
    )]
    LeftOut {
        /// The type that refers.
        from: TypeId,
        /// The id.
        to: TypeId,
        /// Kind of what was left out.
        kind: &'static str,
    },
    /// A name with a NUL byte, which would end it early.
    #[error("the name {0:?} contains a NUL character")]
    Nul(String),
    /// More members, constants, parameters or variables than a type can have.
    #[error("type {id} has {count} elements; 65535 are possible")]
    Elements {
        /// The type.
        id: TypeId,
        /// How many.
        count: usize,
    },
    /// A struct with bit-fields keeps offsets in 24 bits.
    #[error(
        "member {member:?} of type {id} lies at bit {bit}; structs with bit-fields reach to bit 16777215"
    )]
    MemberOffset {
        /// The struct.
        id: TypeId,
        /// The member.
        member: String,
        /// Its offset in bits.
        bit: u32,
    },
    /// An enumeration constant that does not fit.
    #[error("constant {name} = {value} does not fit into the enumeration {id}")]
    Value {
        /// The enumeration.
        id: TypeId,
        /// The constant.
        name: String,
        /// Its value.
        value: i64,
    },
    /// More than the format holds.
    #[error("the type information is too large: {0}")]
    TooLarge(&'static str),
}

/// Collects types and strings, and encodes them.
///
/// Equal types get equal ids, but for functions, variables and sections, which are things rather than types.
/// Ids count up from 1 in the order in which types were added. Equal input gives equal bytes.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    /// `None`: declared, not defined yet.
    types: Vec<Option<TypeDef>>,
    ids: HashMap<TypeDef, TypeId>,
    strings: Strings,
}

impl Builder {
    /// An empty builder.
    #[must_use]
    pub fn new() -> Self {
        Builder::default()
    }

    /// Number of types.
    #[must_use]
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Whether there are no types.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// A type that was added.
    #[must_use]
    pub fn get(&self, id: TypeId) -> Option<&TypeDef> {
        self.types.get((id.0 as usize).checked_sub(1)?)?.as_ref()
    }

    /// The id of a type; adds it if there is no equal one.
    pub fn add(&mut self, def: TypeDef) -> TypeId {
        if matches!(def, TypeDef::Func { .. } | TypeDef::Var { .. } | TypeDef::Datasec { .. }) {
            return self.push(def);
        }
        if let Some(&id) = self.ids.get(&def) {
            return id;
        }
        let id = self.push(def.clone());
        self.ids.insert(def, id);
        id
    }

    /// Adds a type even if there is an equal one: ids then follow those of another BTF.
    pub fn push(&mut self, def: TypeDef) -> TypeId {
        self.types.push(Some(def));
        TypeId(self.types.len() as u32)
    }

    /// An id for a type that will be defined later: a struct that points to itself.
    pub fn declare(&mut self) -> TypeId {
        self.types.push(None);
        TypeId(self.types.len() as u32)
    }

    /// Defines a declared type (or defines any type anew).
    ///
    /// # Errors
    /// There is no such id.
    pub fn define(&mut self, id: TypeId, def: TypeDef) -> Result<(), BuildError> {
        let slot = (id.0 as usize).checked_sub(1).and_then(|i| self.types.get_mut(i));
        let slot = slot.ok_or(BuildError::Reference { from: id, to: id })?;
        if let Some(old) = slot.replace(def) {
            self.ids.remove(&old);
        }
        Ok(())
    }

    /// The offset of a string in the string section: source lines, file names, access strings.
    ///
    /// # Errors
    /// A NUL in the string, or too many strings.
    pub fn string(&mut self, text: &str) -> Result<u32, BuildError> {
        self.strings.add(text)
    }

    /// Every type of BTF that stands alone, with equal ids. Kinds that are not known become `void *`.
    #[must_use]
    pub fn copy_of(btf: &Btf) -> Builder {
        let mut builder = Builder::new();
        for id in btf.ids() {
            let def = btf.ty(id).and_then(TypeDef::from_type);
            builder.push(def.unwrap_or(TypeDef::Ptr(TypeId::VOID)));
        }
        builder
    }

    /// Integer of full width.
    pub fn int(&mut self, name: &str, size: u32, encoding: IntEncoding) -> TypeId {
        let bits = u8::try_from(size.saturating_mul(8)).unwrap_or(u8::MAX);
        self.add(TypeDef::Int { name: name.to_owned(), size, bits, bit_offset: 0, encoding })
    }

    /// Pointer.
    pub fn ptr(&mut self, target: TypeId) -> TypeId {
        self.add(TypeDef::Ptr(target))
    }

    /// Array. Its index type, which means nothing, is added too.
    pub fn array(&mut self, element: TypeId, len: u32) -> TypeId {
        let index = self.int("__ARRAY_SIZE_TYPE__", 4, IntEncoding::Unsigned);
        self.add(TypeDef::Array { element, index, len })
    }

    /// Struct.
    pub fn structure(
        &mut self,
        name: &str,
        size: u32,
        members: impl IntoIterator<Item = MemberDef>,
    ) -> TypeId {
        let members = members.into_iter().collect();
        self.add(TypeDef::Composite { name: name.to_owned(), union: false, size, members })
    }

    /// Union.
    pub fn union(&mut self, name: &str, size: u32, members: impl IntoIterator<Item = MemberDef>) -> TypeId {
        let members = members.into_iter().collect();
        self.add(TypeDef::Composite { name: name.to_owned(), union: true, size, members })
    }

    /// Enumeration, of 64-bit values if its size is 8 or a value needs them.
    pub fn enumeration<'n>(
        &mut self,
        name: &str,
        size: u32,
        signed: bool,
        variants: impl IntoIterator<Item = (&'n str, i64)>,
    ) -> TypeId {
        let variants: Vec<_> = variants.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let wide = size > 4 || !variants.iter().all(|&(_, value)| encode::fits_u32(value, signed));
        self.add(TypeDef::Enum { name: name.to_owned(), size, signed, wide, variants })
    }

    /// Forward declaration.
    pub fn fwd(&mut self, name: &str, union: bool) -> TypeId {
        self.add(TypeDef::Fwd { name: name.to_owned(), union })
    }

    /// Typedef.
    pub fn typedef(&mut self, name: &str, target: TypeId) -> TypeId {
        self.add(TypeDef::Typedef { name: name.to_owned(), target })
    }

    /// Prototype.
    pub fn func_proto<'n>(
        &mut self,
        ret: TypeId,
        params: impl IntoIterator<Item = (&'n str, TypeId)>,
    ) -> TypeId {
        let params = params.into_iter().map(|(name, id)| (name.to_owned(), id)).collect();
        self.add(TypeDef::FuncProto { ret, params })
    }

    /// Function.
    pub fn func(&mut self, name: &str, proto: TypeId, linkage: Linkage) -> TypeId {
        self.add(TypeDef::Func { name: name.to_owned(), proto, linkage })
    }

    /// Variable.
    pub fn var(&mut self, name: &str, target: TypeId, linkage: Linkage) -> TypeId {
        self.add(TypeDef::Var { name: name.to_owned(), target, linkage })
    }

    /// Section of variables.
    pub fn datasec(&mut self, name: &str, size: u32, vars: impl IntoIterator<Item = SectionVar>) -> TypeId {
        let vars = vars.into_iter().collect();
        self.add(TypeDef::Datasec { name: name.to_owned(), size, vars })
    }

    /// Floating point number.
    pub fn float(&mut self, name: &str, size: u32) -> TypeId {
        self.add(TypeDef::Float { name: name.to_owned(), size })
    }

    /// Tag on a declaration.
    pub fn decl_tag(&mut self, name: &str, target: TypeId, component: Option<u32>) -> TypeId {
        self.add(TypeDef::DeclTag { name: name.to_owned(), target, component, attribute: false })
    }

    /// Tag on a type.
    pub fn type_tag(&mut self, name: &str, target: TypeId) -> TypeId {
        self.add(TypeDef::TypeTag { name: name.to_owned(), target, attribute: false })
    }
}

/// A string section: each string once, the empty one first.
#[derive(Clone, Debug)]
struct Strings {
    bytes: Vec<u8>,
    offsets: HashMap<String, u32>,
}

impl Default for Strings {
    fn default() -> Self {
        Strings { bytes: vec![0], offsets: HashMap::new() }
    }
}

impl Strings {
    fn add(&mut self, text: &str) -> Result<u32, BuildError> {
        if text.is_empty() {
            return Ok(0);
        }
        if let Some(&offset) = self.offsets.get(text) {
            return Ok(offset);
        }
        if text.contains('\0') {
            return Err(BuildError::Nul(text.to_owned()));
        }
        // `BTF_MAX_NAME_OFFSET` of include/uapi/linux/btf.h.
        let offset = u32::try_from(self.bytes.len()).ok().filter(|&offset| offset <= 0x00ff_ffff);
        let offset = offset.ok_or(BuildError::TooLarge("more than 16 MiB of strings"))?;
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        self.offsets.insert(text.to_owned(), offset);
        Ok(offset)
    }
}
