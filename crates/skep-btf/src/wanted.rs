//! Names that a scan looks for, and how it compares them in place.

use crate::Btf;
use crate::core_relo::essential;
use crate::index::MAX_NAME;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The string bytes of a BTF, held at hand for a scan.
#[derive(Copy, Clone)]
pub(crate) struct Names<'a> {
    own: &'a [u8],
    first: u32,
    below: Option<&'a Btf>,
}

impl<'a> Names<'a> {
    pub(crate) fn new(btf: &'a Btf) -> Self {
        Names { own: btf.own_strings(), first: btf.first_string(), below: btf.base().map(AsRef::as_ref) }
    }

    /// The bytes from an offset to the end of the section that it is in.
    #[inline]
    fn tail(&self, offset: u32) -> Option<&'a [u8]> {
        match offset.checked_sub(self.first) {
            Some(at) => self.own.get(at as usize..),
            None => self.below?.strings_from(offset),
        }
    }

    /// Whether the name at an offset is this one, which must not contain NUL.
    #[inline]
    pub(crate) fn is(&self, offset: u32, name: &[u8]) -> bool {
        self.tail(offset).is_some_and(|tail| {
            tail.first() == name.first() && tail.get(name.len()) == Some(&0) && tail.starts_with(name)
        })
    }
}

/// Names that a scan looks for: almost every name that is not wanted is told by its first bytes.
pub(crate) struct Wanted<'n> {
    /// Whether a wanted name begins with bytes of this hash.
    beginnings: Box<[bool; 4096]>,
    /// How many first bytes are looked at: those of a word that this masks.
    mask: u64,
    places: HashMap<&'n [u8], Vec<usize>, BuildHasherDefault<Fnv>>,
}

impl<'n> Wanted<'n> {
    pub(crate) fn new(names: impl Iterator<Item = &'n str>) -> Self {
        Wanted::with_mask(names, u64::MAX)
    }

    /// As [`Wanted::new`], for [`Wanted::lookup_essential`]: names have flavours in the strings.
    pub(crate) fn essential(names: impl Iterator<Item = &'n str> + Clone) -> Self {
        // Four bytes alone: of a short name the flavour's underscores are among them.
        let mut wanted = Wanted::with_mask(names.clone(), 0xffff_ffff);
        for name in names.filter(|name| name.len() < 4 && !name.is_empty()) {
            let mut flavoured = *b"____";
            flavoured[..name.len()].copy_from_slice(name.as_bytes());
            wanted.beginnings[slot(beginning(&flavoured))] = true;
        }
        wanted
    }

    fn with_mask(names: impl Iterator<Item = &'n str>, mask: u64) -> Self {
        let mut wanted = Wanted { beginnings: Box::new([false; 4096]), mask, places: HashMap::default() };
        for (i, name) in names.enumerate() {
            // An empty name is that of every anonymous type; a NUL cannot be in any.
            if !name.is_empty() && !name.contains('\0') {
                wanted.beginnings[slot(beginning(name.as_bytes()) & mask)] = true;
                wanted.places.entry(name.as_bytes()).or_default().push(i);
            }
        }
        wanted
    }

    /// The places, in the order of the questions, of a name in the string section.
    #[inline]
    pub(crate) fn lookup(&self, names: Names<'_>, name_off: u32) -> &[usize] {
        self.look(names, name_off, |name| name)
    }

    /// The places of a name in the string section, its flavour cut off.
    #[inline]
    pub(crate) fn lookup_essential(&self, names: Names<'_>, name_off: u32) -> &[usize] {
        self.look(names, name_off, |name| std::str::from_utf8(name).map_or(name, |n| essential(n).as_bytes()))
    }

    #[inline]
    fn look(&self, names: Names<'_>, name_off: u32, cut: impl Fn(&[u8]) -> &[u8]) -> &[usize] {
        match names.tail(name_off) {
            Some(tail) if self.beginnings[slot(beginning(tail) & self.mask)] => self.compare(tail, cut),
            _ => &[],
        }
    }

    #[cold]
    fn compare(&self, tail: &[u8], cut: impl Fn(&[u8]) -> &[u8]) -> &[usize] {
        let tail = &tail[..tail.len().min(MAX_NAME + 1)];
        let end = tail.iter().position(|&b| b == 0).unwrap_or(0);
        self.places.get(cut(&tail[..end])).map_or(&[], Vec::as_slice)
    }
}

/// The first eight bytes of a name as a word, zeros from the first NUL on.
#[inline]
fn beginning(name: &[u8]) -> u64 {
    let word = match name.first_chunk() {
        Some(first) => u64::from_le_bytes(*first),
        None => u64::from_le_bytes(std::array::from_fn(|i| name.get(i).copied().unwrap_or(0))),
    };
    // The lowest set bit is the top bit of the lowest zero byte (higher ones may be wrong).
    let zeros = word.wrapping_sub(0x0101_0101_0101_0101) & !word & 0x8080_8080_8080_8080;
    let kept = zeros.trailing_zeros() / 8 * 8;
    if kept >= 64 { word } else { word & ((1 << kept) - 1) }
}

#[inline]
fn slot(beginning: u64) -> usize {
    (beginning.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize
}

/// FNV-1a. What is in the table was asked for by the caller, so nobody gains from making it collide.
#[derive(Default)]
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        // The table takes its place from the lower bits and tags from the upper ones; mix them.
        self.0 ^ self.0 >> 29
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
    }
}

#[cfg(test)]
mod tests {
    use super::beginning;

    #[test]
    fn a_beginning_ends_with_the_name() {
        let word = |s: &[u8]| u64::from_le_bytes(std::array::from_fn(|i| s.get(i).copied().unwrap_or(0)));
        for (tail, name) in [
            (&b"a\0bcdefghi"[..], &b"a"[..]),
            (b"\0abcdefgh", b""),
            (b"abcdefg\0h", b"abcdefg"),
            (b"abcdefgh\0", b"abcdefgh"),
            (b"abcdefghij", b"abcdefgh"),
            (b"ab\0", b"ab"),
            (b"a\x01\0\x01\x01\x01\x01\x01\x01", b"a\x01"),
            (b"\x80\0\x80\x80\x80\x80\x80\x80", b"\x80"),
        ] {
            assert_eq!(beginning(tail), word(name), "{tail:?}");
        }
    }
}
