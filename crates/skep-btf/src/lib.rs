//! BTF: index over kernel bytes, type queries, builder and encoder.
//!
//! [`Btf`] indexes bytes that somebody else holds (a mapping of `/sys/kernel/btf/vmlinux`, a section of an
//! object file) in one sequential walk and answers questions about them in place: views of types borrow from
//! the bytes and nothing is copied. [`Builder`] makes the BTF of a program, [`info`] and [`ext`] the records
//! that tie it to instructions, [`core_relo`] answers what a program compiled elsewhere asks about the running
//! kernel, [`CPrinter`] shows types as C and [`text`] as lines for tests.
//!
//! Bytes may be hostile: what is out of range, circular or absurdly large is answered with an error or
//! `None`, and no question takes more than linear time.
#![forbid(unsafe_code)]

mod build;
mod c;
pub mod core_relo;
mod element;
mod error;
pub mod ext;
mod field;
mod find;
mod index;
pub mod info;
mod kernel;
mod kind;
mod layout;
mod name_index;
mod suggest;
pub mod text;
mod view;
mod wanted;
mod wire;

pub use build::{BuildError, Builder, Encoded, MemberDef, Supported, TypeDef};
pub use c::{CError, CPrinter};
pub use element::{Element, Elements, Member, Param, SectionVar, Variant};
pub use error::ParseError;
pub use field::{Field, FieldRef, Fields, PathError};
pub use find::EnumValue;
pub use index::{Btf, TypeId};
pub use kind::{IntEncoding, Kind, KindMask, Linkage};
pub use layout::{ArrayShape, POINTER_SIZE, Pointee, PtrTags};
pub use name_index::NameIndex;
pub use suggest::similar;
pub use view::{
    Array, Composite, Datasec, DeclTag, Enum, Float, Func, FuncProto, Fwd, Int, Ref, Type, TypeTag, Unknown,
    Var,
};
