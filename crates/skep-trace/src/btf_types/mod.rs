//! Types of BTF as types of the language.

mod access;

pub use access::BtfRef;

use crate::types::{AddrSpace, IntTy, Type};
use skep_btf::{Btf, IntEncoding, Type as BtfType, TypeId};
use std::rc::Rc;

/// Deepest chain of pointers and arrays that is told apart; beyond it a pointer is one to anything.
const MAX_DEPTH: u32 = 16;

/// What a struct, union or enumeration of BTF becomes; the owner of the tables answers.
pub trait Composites {
    /// The struct or union of an id.
    fn composite(&mut self, btf: &Btf, id: TypeId) -> Type;
    /// The enumeration of an id.
    fn enumeration(&mut self, btf: &Btf, id: TypeId) -> Type;
    /// A struct or union of which this BTF knows only the name.
    fn forward(&mut self, name: &str, union: bool) -> Type;
}

/// The type of the language for a type of BTF. What the language has no type for (functions, floating point
/// numbers, wide integers) becomes bytes, so that it still has a size.
pub fn convert(btf: &Btf, id: TypeId, of: &mut dyn Composites) -> Type {
    converted(btf, id, of, 0)
}

fn converted(btf: &Btf, id: TypeId, of: &mut dyn Composites, depth: u32) -> Type {
    if depth > MAX_DEPTH {
        return Type::None;
    }
    let bytes = |n: u32| Type::Array(Rc::new(Type::int(1, false)), n);
    match btf.peel(id) {
        Some(BtfType::Int(int)) => match (int.encoding(), int.size()) {
            (IntEncoding::Bool, _) => Type::Bool,
            (_, size @ (1 | 2 | 4 | 8)) => Type::Int(IntTy { bytes: size as u8, signed: int.is_signed() }),
            (_, size) => bytes(size),
        },
        Some(BtfType::Ptr(ptr)) => {
            let user = btf.pointee(id).is_some_and(|p| p.tags.user);
            let to = converted(btf, ptr.target(), of, depth + 1);
            Type::Ptr(Rc::new(to), if user { AddrSpace::User } else { AddrSpace::None })
        }
        Some(BtfType::Array(array)) => {
            if is_char(btf, array.element()) && array.len() > 0 {
                return Type::Str(array.len());
            }
            Type::Array(Rc::new(converted(btf, array.element(), of, depth + 1)), array.len())
        }
        Some(BtfType::Struct(c) | BtfType::Union(c)) => of.composite(btf, c.id()),
        Some(BtfType::Enum(e) | BtfType::Enum64(e)) => of.enumeration(btf, e.id()),
        Some(BtfType::Fwd(fwd)) => of.forward(fwd.name(), fwd.is_union()),
        Some(BtfType::Float(float)) => bytes(float.size()),
        _ => Type::None,
    }
}

/// Whether a type is plain `char`: only arrays of it hold text, those of `u8` hold bytes.
fn is_char(btf: &Btf, id: TypeId) -> bool {
    matches!(btf.peel(id), Some(BtfType::Int(int)) if int.size() == 1 && int.name() == "char")
}

/// Name of a struct, union or enumeration as messages show it.
#[must_use]
pub fn tag(btf: &Btf, id: TypeId) -> String {
    let (keyword, name) = match btf.ty(id) {
        Some(BtfType::Struct(c)) => ("struct", c.name()),
        Some(BtfType::Union(c)) => ("union", c.name()),
        Some(BtfType::Enum(e) | BtfType::Enum64(e)) => ("enum", e.name()),
        _ => ("type", ""),
    };
    format!("{keyword} {}", if name.is_empty() { "(unnamed)" } else { name })
}
