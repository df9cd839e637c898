//! Elements of types: members, variants, parameters, variables of sections.

use crate::{Btf, TypeId};
use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;

/// An iterator over the elements of one type. Any element can be had by its index without walking.
pub struct Elements<'a, E> {
    btf: &'a Btf,
    bytes: &'a [u8],
    size: usize,
    flag: bool,
    kind: PhantomData<fn() -> E>,
}

impl<E> Clone for Elements<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Elements<'_, E> {}

/// What an element is decoded from.
pub struct Raw<'a> {
    btf: &'a Btf,
    words: [u32; 3],
    flag: bool,
    wide: bool,
}

/// An element of a type.
pub trait Element<'a>: sealed::Sealed {
    #[doc(hidden)]
    fn decode(raw: Raw<'a>) -> Self;
}

mod sealed {
    pub trait Sealed {}
}

impl<'a, E> Elements<'a, E> {
    pub(crate) fn new(btf: &'a Btf, bytes: &'a [u8], count: usize, size: usize, flag: bool) -> Self {
        // The record was checked to hold `count` elements; where the storage shrank since, there are fewer.
        let len = count.saturating_mul(size).min(bytes.len() / size * size);
        Elements { btf, bytes: &bytes[..len], size, flag, kind: PhantomData }
    }
}

impl<'a, E: Element<'a>> Elements<'a, E> {
    /// The element of an index.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<E> {
        let at = index.checked_mul(self.size)?;
        Some(self.decode(self.bytes.get(at..at.checked_add(self.size)?)?))
    }

    fn decode(&self, bytes: &[u8]) -> E {
        let mut words = [0; 3];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        E::decode(Raw { btf: self.btf, words, flag: self.flag, wide: self.size == 12 })
    }
}

impl<'a, E: Element<'a>> Iterator for Elements<'a, E> {
    type Item = E;

    fn next(&mut self) -> Option<E> {
        let (element, rest) = self.bytes.split_at_checked(self.size)?;
        self.bytes = rest;
        Some(self.decode(element))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let n = self.bytes.len() / self.size;
        (n, Some(n))
    }

    fn nth(&mut self, n: usize) -> Option<E> {
        let skip = n.saturating_mul(self.size).min(self.bytes.len());
        self.bytes = &self.bytes[skip..];
        self.next()
    }

    fn last(mut self) -> Option<E> {
        self.next_back()
    }
}

impl<'a, E: Element<'a>> DoubleEndedIterator for Elements<'a, E> {
    fn next_back(&mut self) -> Option<E> {
        let at = self.bytes.len().checked_sub(self.size)?;
        let (rest, element) = self.bytes.split_at(at);
        self.bytes = rest;
        Some(self.decode(element))
    }
}

impl<'a, E: Element<'a>> ExactSizeIterator for Elements<'a, E> {}
impl<'a, E: Element<'a>> FusedIterator for Elements<'a, E> {}

/// A member of a struct or union.
#[derive(Copy, Clone)]
pub struct Member<'a> {
    btf: &'a Btf,
    name_off: u32,
    type_id: TypeId,
    bit_offset: u32,
    bit_size: u8,
}

impl sealed::Sealed for Member<'_> {}

impl<'a> Element<'a> for Member<'a> {
    fn decode(raw: Raw<'a>) -> Self {
        let [name_off, type_id, offset] = raw.words;
        let (bit_offset, bit_size) =
            if raw.flag { (offset & 0x00ff_ffff, (offset >> 24) as u8) } else { (offset, 0) };
        Member { btf: raw.btf, name_off, type_id: TypeId(type_id), bit_offset, bit_size }
    }
}

impl<'a> Member<'a> {
    /// Name; empty for an anonymous struct, union or padding.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.btf.name_at(self.name_off)
    }

    /// Whether it has no name.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.name_off == 0 || self.btf.strings_from(self.name_off).is_some_and(|s| s.first() == Some(&0))
    }

    /// Type.
    #[must_use]
    pub fn type_id(&self) -> TypeId {
        self.type_id
    }

    /// Bits from the start of the struct.
    #[must_use]
    pub fn bit_offset(&self) -> u32 {
        self.bit_offset
    }

    /// Bits of a bit-field. `None` for an ordinary member, and for bit-fields written in the old way, whose
    /// integer type tells ([`Btf::field`] knows both).
    #[must_use]
    pub fn bit_size(&self) -> Option<u8> {
        (self.bit_size != 0).then_some(self.bit_size)
    }

    /// Whether the name is this one.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        named(self.btf, self.name_off, name)
    }
}

/// A name and value of an enumeration.
#[derive(Copy, Clone)]
pub struct Variant<'a> {
    btf: &'a Btf,
    name_off: u32,
    value: i64,
}

impl sealed::Sealed for Variant<'_> {}

impl<'a> Element<'a> for Variant<'a> {
    fn decode(raw: Raw<'a>) -> Self {
        let [name_off, low, high] = raw.words;
        let value = match (raw.wide, raw.flag) {
            (true, _) => (u64::from(high) << 32 | u64::from(low)) as i64,
            (false, true) => i64::from(low as i32),
            (false, false) => i64::from(low),
        };
        Variant { btf: raw.btf, name_off, value }
    }
}

impl<'a> Variant<'a> {
    pub(crate) fn name_off(&self) -> u32 {
        self.name_off
    }

    /// Name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.btf.name_at(self.name_off)
    }

    /// Whether the name is this one.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        named(self.btf, self.name_off, name)
    }

    /// Value. Of an unsigned enumeration of 64 bits it is the bit pattern: `as u64` gives the number.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.value
    }
}

/// A parameter.
#[derive(Copy, Clone)]
pub struct Param<'a> {
    btf: &'a Btf,
    name_off: u32,
    type_id: TypeId,
}

impl sealed::Sealed for Param<'_> {}

impl<'a> Element<'a> for Param<'a> {
    fn decode(raw: Raw<'a>) -> Self {
        Param { btf: raw.btf, name_off: raw.words[0], type_id: TypeId(raw.words[1]) }
    }
}

impl<'a> Param<'a> {
    /// Name, empty if it has none.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.btf.name_at(self.name_off)
    }

    /// Type; `void` for the rest of a variadic function.
    #[must_use]
    pub fn type_id(&self) -> TypeId {
        self.type_id
    }
}

/// A variable's place in a section.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct SectionVar {
    /// The variable (or, of `.ksyms`, the function).
    pub type_id: TypeId,
    /// Bytes from the start of the section.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
}

impl sealed::Sealed for SectionVar {}

impl Element<'_> for SectionVar {
    fn decode(raw: Raw<'_>) -> Self {
        let [type_id, offset, size] = raw.words;
        SectionVar { type_id: TypeId(type_id), offset, size }
    }
}

/// Compares a name in place.
pub(crate) fn named(btf: &Btf, name_off: u32, name: &str) -> bool {
    btf.strings_from(name_off).is_some_and(|tail| {
        tail.get(name.len()) == Some(&0) && tail[..name.len()] == *name.as_bytes() && !name.contains('\0')
    })
}

impl fmt::Debug for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} at bit {}", self.name(), self.type_id, self.bit_offset)?;
        self.bit_size().map_or(Ok(()), |n| write!(f, " of {n} bits"))
    }
}

impl fmt::Debug for Variant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.name(), self.value)
    }
}

impl fmt::Debug for Param<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.type_id)
    }
}
