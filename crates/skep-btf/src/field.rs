//! Fields of structs and unions, through anonymous members.

use crate::element::Elements;
use crate::{Btf, Member, Type, TypeId};
use std::iter::FusedIterator;
use thiserror::Error;

/// Deepest nesting of anonymous members that is entered.
const MAX_ANONYMOUS: usize = 16;
/// Most members that one walk looks at: hostile nesting doubles at every level.
const MAX_STEPS: u32 = 1 << 18;

/// Where a field lies and what it is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldRef {
    /// Its type, as declared.
    pub type_id: TypeId,
    /// Bits from the start of the outermost struct.
    pub bit_offset: u32,
    /// Bits of a bit-field.
    pub bit_size: Option<u8>,
}

impl FieldRef {
    /// Bytes from the start of the struct; `None` for a bit-field.
    #[must_use]
    pub fn byte_offset(&self) -> Option<u32> {
        (self.bit_size.is_none() && self.bit_offset.is_multiple_of(8)).then_some(self.bit_offset / 8)
    }
}

/// A named field, as [`Btf::fields`] gives them.
#[derive(Copy, Clone, Debug)]
pub struct Field<'a> {
    /// The member that declares it.
    pub member: Member<'a>,
    /// Where it lies, from the start of the struct that was asked about.
    pub at: FieldRef,
    /// Whether it is the last member of the struct that declares it: an array without elements is then a
    /// flexible one.
    pub is_last: bool,
}

/// Why a path of fields leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PathError {
    /// The path is not names separated by dots, with indexes in brackets.
    #[error("{0:?} is not a path of fields, like a.b[2].c")]
    Syntax(String),
    /// A struct or union has no such field.
    #[error("{owner} has no field {field:?}")]
    NoField {
        /// The struct or union: its id, for near names.
        owner_id: TypeId,
        /// Its type as C text.
        owner: String,
        /// The name that was looked for.
        field: String,
    },
    /// A step into something that has no fields.
    #[error("{ty} is not a struct or union, so it has no field {field:?}")]
    NotComposite {
        /// Its type as C text.
        ty: String,
        /// The name that was looked for.
        field: String,
    },
    /// An index on something that is not an array.
    #[error("{ty} is not an array")]
    NotArray {
        /// Its type as C text.
        ty: String,
    },
    /// An index past the end of an array.
    #[error("index {index} of {before:?} is past its {len} elements")]
    Bounds {
        /// The path up to it.
        before: String,
        /// The index.
        index: u32,
        /// Elements of the array.
        len: u32,
    },
    /// An offset that does not fit, or an element without a size.
    #[error("{0:?} has no offset")]
    NoOffset(String),
}

/// The named fields of a struct or union in order of declaration, those of anonymous members in their place.
#[derive(Clone)]
pub struct Fields<'a> {
    btf: &'a Btf,
    /// The innermost struct last, each with its offset in bits.
    stack: [Option<(Elements<'a, Member<'a>>, u32)>; MAX_ANONYMOUS],
    depth: usize,
    steps: u32,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        while let Some((members, base)) = self.depth.checked_sub(1).and_then(|i| self.stack[i].as_mut()) {
            let base = *base;
            let Some(member) = members.next() else {
                self.depth -= 1;
                continue;
            };
            self.steps = self.steps.checked_sub(1)?;
            let Some(bit_offset) = base.checked_add(member.bit_offset()) else { continue };
            if !member.is_anonymous() {
                let is_last = members.len() == 0;
                return Some(Field { member, at: self.btf.placed(&member, bit_offset), is_last });
            }
            let inner = self.btf.peel(member.type_id()).and_then(|t| t.composite());
            if let (Some(inner), true) = (inner, self.depth < MAX_ANONYMOUS) {
                self.stack[self.depth] = Some((inner.members(), bit_offset));
                self.depth += 1;
            }
        }
        None
    }
}

impl FusedIterator for Fields<'_> {}

impl Btf {
    /// The named fields of a struct or union; none if the type, peeled, is neither.
    #[must_use]
    pub fn fields(&self, id: TypeId) -> Fields<'_> {
        let mut fields = Fields { btf: self, stack: [None; MAX_ANONYMOUS], depth: 0, steps: MAX_STEPS };
        if let Some(composite) = self.peel(id).and_then(|t| t.composite()) {
            fields.stack[0] = Some((composite.members(), 0));
            fields.depth = 1;
        }
        fields
    }

    /// A field by its name, through anonymous members.
    #[must_use]
    pub fn field(&self, id: TypeId, name: &str) -> Option<FieldRef> {
        let composite = self.peel(id)?.composite()?;
        // Nearly every name is one of the struct itself; then its anonymous members need not be entered.
        if let Some(m) = composite.members().find(|m| m.is_named(name)) {
            return (!name.is_empty()).then(|| self.placed(&m, m.bit_offset()));
        }
        self.fields(id).find(|f| f.member.is_named(name)).map(|f| f.at)
    }

    /// A field by a path like `a.b[2].c`. It stays within the object: pointers are not followed.
    ///
    /// # Errors
    /// Names the first step that leads nowhere.
    pub fn field_path(&self, id: TypeId, path: &str) -> Result<FieldRef, PathError> {
        let syntax = || PathError::Syntax(path.to_owned());
        let mut at = FieldRef { type_id: id, bit_offset: 0, bit_size: None };
        let mut rest = path;
        let mut first = true;
        while !rest.is_empty() {
            let before = path[..path.len() - rest.len()].to_owned();
            let no_offset = || PathError::NoOffset(before.clone());
            if let Some(tail) = rest.strip_prefix('[') {
                let (index, tail) = tail.split_once(']').ok_or_else(syntax)?;
                let index: u32 = index.trim().parse().map_err(|_| syntax())?;
                let Some(Type::Array(array)) = self.peel(at.type_id) else {
                    return Err(PathError::NotArray { ty: self.described(at.type_id) });
                };
                // Zero elements: a flexible array at the end of a struct.
                if array.len() != 0 && index >= array.len() {
                    return Err(PathError::Bounds { before, index, len: array.len() });
                }
                let size = self.size_of(array.element()).ok_or_else(no_offset)?;
                let skip = index.checked_mul(size).and_then(|n| n.checked_mul(8)).ok_or_else(no_offset)?;
                at.bit_offset = at.bit_offset.checked_add(skip).ok_or_else(no_offset)?;
                at.type_id = array.element();
                rest = tail;
            } else {
                let tail = if first { rest } else { rest.strip_prefix('.').ok_or_else(syntax)? };
                let end = tail.find(['.', '[']).unwrap_or(tail.len());
                let field = tail[..end].trim();
                if field.is_empty() {
                    return Err(syntax());
                }
                let Some(owner) = self.peel(at.type_id).and_then(|t| t.composite()) else {
                    let ty = self.described(at.type_id);
                    return Err(PathError::NotComposite { ty, field: field.to_owned() });
                };
                let step = self.field(owner.id(), field).ok_or_else(|| PathError::NoField {
                    owner_id: owner.id(),
                    owner: self.described(at.type_id),
                    field: field.to_owned(),
                })?;
                let bit_offset = at.bit_offset.checked_add(step.bit_offset).ok_or_else(no_offset)?;
                at = FieldRef { bit_offset, ..step };
                rest = &tail[end..];
            }
            first = false;
        }
        if first { Err(syntax()) } else { Ok(at) }
    }

    /// A type for messages.
    fn described(&self, id: TypeId) -> String {
        match self.c_type(id) {
            // The members of an anonymous struct, which nobody wants in a message.
            Ok(text) if text.contains('\n') => "an anonymous struct or union".to_owned(),
            Ok(text) => text,
            Err(_) => format!("type {id}"),
        }
    }

    /// A member at an offset: bit-fields of old BTF, whose integer type holds their place, are turned into
    /// the present form.
    fn placed(&self, member: &Member<'_>, bit_offset: u32) -> FieldRef {
        let at = FieldRef { type_id: member.type_id(), bit_offset, bit_size: member.bit_size() };
        if at.bit_size.is_some() {
            return at;
        }
        match self.peel(at.type_id) {
            Some(Type::Int(i))
                if u32::from(i.bits()) != i.size().saturating_mul(8) || i.bit_offset() != 0 =>
            {
                FieldRef {
                    bit_offset: bit_offset.saturating_add(u32::from(i.bit_offset())),
                    bit_size: (i.bits() != 0).then_some(i.bits()),
                    ..at
                }
            }
            _ => at,
        }
    }
}
