//! Types: those of SSA values, and those of memory.

use crate::module::{FuncId, GlobalId, MapId};
use cranelift_entity::{PrimaryMap, entity_impl};
use std::collections::HashMap;

/// A memory type of a [`Types`] table.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(u32);
entity_impl!(TypeId, "t");

/// Type of an SSA value. Integers have no sign; operations do.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ty {
    /// Truth value; 0 or 1 in a register.
    I1,
    /// 8 bits.
    I8,
    /// 16 bits.
    I16,
    /// 32 bits.
    I32,
    /// 64 bits.
    I64,
    /// A pointer of exactly one provenance.
    Ptr(PtrTy),
}

impl Ty {
    /// A pointer that is never null.
    #[must_use]
    pub fn ptr(class: PtrClass) -> Ty {
        Ty::Ptr(PtrTy { class, nullable: false })
    }

    /// A pointer that must be tested before it is used.
    #[must_use]
    pub fn nullable(class: PtrClass) -> Ty {
        Ty::Ptr(PtrTy { class, nullable: true })
    }

    /// The integer type of a number of bytes: 1, 2, 4 or 8.
    #[must_use]
    pub fn int(bytes: u32) -> Option<Ty> {
        Some(match bytes {
            1 => Ty::I8,
            2 => Ty::I16,
            4 => Ty::I32,
            8 => Ty::I64,
            _ => return None,
        })
    }

    /// Bits of an integer; 64 for pointers.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Ty::I1 => 1,
            Ty::I8 => 8,
            Ty::I16 => 16,
            Ty::I32 => 32,
            Ty::I64 | Ty::Ptr(_) => 64,
        }
    }

    /// Bytes in memory.
    #[must_use]
    pub fn bytes(self) -> u32 {
        self.bits().div_ceil(8)
    }

    /// The pointer type, if it is one.
    #[must_use]
    pub fn as_ptr(self) -> Option<PtrTy> {
        if let Ty::Ptr(ptr) = self { Some(ptr) } else { None }
    }

    /// Whether it is an integer.
    #[must_use]
    pub fn is_int(self) -> bool {
        !matches!(self, Ty::Ptr(_))
    }
}

/// A pointer: where it came from decides what may be done with it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct PtrTy {
    /// Provenance.
    pub class: PtrClass,
    /// Whether it may be null and must be tested first.
    pub nullable: bool,
}

/// Provenance of a pointer.
///
/// `KernelRaw` and `User` are plain scalars to the verifier; they are kept apart so that the right read is
/// emitted and so that mixing them is an error instead of silent garbage.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum PtrClass {
    /// The program's context; read by `ctx_load` alone, no arithmetic.
    Ctx,
    /// A slot of this function or, in a closure, of the function around it.
    Frame,
    /// A value of a map.
    MapValue(MapId),
    /// A key that the kernel shows to a closure; read only.
    MapKey(MapId),
    /// Storage of a global; never null.
    Global(GlobalId),
    /// A map itself; only passed on.
    MapRef(MapId),
    /// A function itself; only passed on.
    Func(FuncId),
    /// Bytes of a packet.
    Packet,
    /// Bytes before a packet.
    PacketMeta,
    /// End of a packet; only compared.
    PacketEnd,
    /// A kernel object of a known type that the verifier trusts; direct loads by field.
    KernelTrusted(TypeId),
    /// A kernel object reached through a field; direct loads by field, a null base reads 0.
    KernelUntrusted(TypeId),
    /// An address in the kernel; read through a helper. The type is what it is believed to point to.
    KernelRaw(TypeId),
    /// An address in the current process; read through a helper.
    User(TypeId),
    /// A record reserved in a ring: its size in bytes. Submitted or discarded on every path.
    Record(u32),
    /// Memory of a known size that a helper or kfunc returned, in bytes.
    Memory(u32),
}

impl PtrClass {
    /// Whether `load` and `store` (not helpers, not fields) reach it.
    #[must_use]
    pub fn is_memory(self) -> bool {
        matches!(
            self,
            PtrClass::Frame
                | PtrClass::MapValue(_)
                | PtrClass::MapKey(_)
                | PtrClass::Global(_)
                | PtrClass::Packet
                | PtrClass::PacketMeta
                | PtrClass::Record(_)
                | PtrClass::Memory(_)
        )
    }

    /// The type of the kernel or user object that it points to.
    #[must_use]
    pub fn pointee(self) -> Option<TypeId> {
        match self {
            PtrClass::KernelTrusted(t)
            | PtrClass::KernelUntrusted(t)
            | PtrClass::KernelRaw(t)
            | PtrClass::User(t) => Some(t),
            _ => None,
        }
    }
}

/// What a type carries besides its shape.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Qualifier {
    /// `const`
    Const,
    /// `volatile`
    Volatile,
    /// Points into user memory.
    User,
    /// Protected by RCU.
    Rcu,
    /// One copy for each CPU.
    PerCpu,
}

/// Kind of an integer, for readable dumps.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IntKind {
    /// Unsigned.
    Unsigned,
    /// Signed.
    Signed,
    /// Truth value.
    Bool,
    /// Character.
    Char,
}

/// A member of a struct or union.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Name; empty for an anonymous member.
    pub name: String,
    /// Type.
    pub ty: TypeId,
    /// Bits from the start of the object.
    pub bit_offset: u32,
    /// Bits of a bit-field; 0 for an ordinary member.
    pub bit_size: u32,
}

/// A memory type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// No value.
    Void,
    /// Integer.
    Int {
        /// C name, e.g. `unsigned int`.
        name: String,
        /// 1, 2, 4, 8 or 16.
        bytes: u32,
        /// Kind.
        kind: IntKind,
    },
    /// Floating point; only ever described.
    Float {
        /// C name.
        name: String,
        /// Bytes.
        bytes: u32,
    },
    /// Pointer.
    Ptr(TypeId),
    /// Array.
    Array {
        /// Element.
        elem: TypeId,
        /// Number of elements.
        len: u32,
    },
    /// Struct or union that the program defines.
    Composite {
        /// Tag; empty if anonymous.
        name: String,
        /// Whether it is a union.
        union: bool,
        /// Bytes.
        size: u32,
        /// Members in order.
        members: Vec<Member>,
    },
    /// Enumeration that the program defines.
    Enum {
        /// Tag; empty if anonymous.
        name: String,
        /// Bytes.
        bytes: u32,
        /// Names and values.
        variants: Vec<(String, i64)>,
    },
    /// A type of the running kernel, by name. It stays symbolic until code is lowered: its layout is looked
    /// up then, or becomes a CO-RE relocation.
    Kernel {
        /// `struct task_struct`, `union x`, `enum y` or a typedef's name.
        name: String,
        /// Type id in the kernel's BTF where it is already known, else 0.
        id: u32,
    },
    /// A type that is only named.
    Forward {
        /// Tag.
        name: String,
        /// Whether it is a union.
        union: bool,
    },
    /// Another name.
    Typedef {
        /// The name.
        name: String,
        /// What it stands for.
        to: TypeId,
    },
    /// A qualified type.
    Qualified(Qualifier, TypeId),
    /// Signature.
    FuncProto {
        /// Names and types.
        params: Vec<(String, TypeId)>,
        /// Result.
        ret: TypeId,
    },
}

/// A table of types in which equal types have equal ids.
#[derive(Clone, Debug, Default)]
pub struct Types {
    types: PrimaryMap<TypeId, Type>,
    ids: HashMap<Type, TypeId>,
}

impl Types {
    /// The id of a type; adds it if it is new.
    pub fn add(&mut self, ty: Type) -> TypeId {
        if let Some(&id) = self.ids.get(&ty) {
            return id;
        }
        let id = self.types.push(ty.clone());
        self.ids.insert(ty, id);
        id
    }

    /// A type by its id.
    #[must_use]
    pub fn get(&self, id: TypeId) -> &Type {
        &self.types[id]
    }

    /// Whether an id is one of this table.
    #[must_use]
    pub fn is_valid(&self, id: TypeId) -> bool {
        self.types.is_valid(id)
    }

    /// All types, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (TypeId, &Type)> {
        self.types.iter()
    }

    /// `void`.
    pub fn void(&mut self) -> TypeId {
        self.add(Type::Void)
    }

    /// An integer of 1, 2, 4 or 8 bytes under its common C name.
    pub fn int(&mut self, bytes: u32, signed: bool) -> TypeId {
        let name = match (bytes, signed) {
            (1, true) => "signed char",
            (1, false) => "unsigned char",
            (2, true) => "short",
            (2, false) => "unsigned short",
            (4, true) => "int",
            (4, false) => "unsigned int",
            (8, true) => "long long",
            _ => "unsigned long long",
        };
        let kind = if signed { IntKind::Signed } else { IntKind::Unsigned };
        self.add(Type::Int { name: name.to_owned(), bytes, kind })
    }

    /// A pointer.
    pub fn ptr(&mut self, to: TypeId) -> TypeId {
        self.add(Type::Ptr(to))
    }

    /// An array.
    pub fn array(&mut self, elem: TypeId, len: u32) -> TypeId {
        self.add(Type::Array { elem, len })
    }

    /// An array of bytes.
    pub fn bytes(&mut self, len: u32) -> TypeId {
        let byte = self.int(1, false);
        self.array(byte, len)
    }

    /// A type of the running kernel.
    pub fn kernel(&mut self, name: impl Into<String>, id: u32) -> TypeId {
        self.add(Type::Kernel { name: name.into(), id })
    }

    /// Bytes of a type; `None` for what has no size here (`void`, forward, kernel types, functions).
    #[must_use]
    pub fn size(&self, id: TypeId) -> Option<u32> {
        match self.get(id) {
            Type::Int { bytes, .. } | Type::Float { bytes, .. } | Type::Enum { bytes, .. } => Some(*bytes),
            Type::Ptr(_) => Some(8),
            Type::Array { elem, len } => self.size(*elem)?.checked_mul(*len),
            Type::Composite { size, .. } => Some(*size),
            Type::Typedef { to, .. } | Type::Qualified(_, to) => self.size(*to),
            Type::Void | Type::Kernel { .. } | Type::Forward { .. } | Type::FuncProto { .. } => None,
        }
    }
}
