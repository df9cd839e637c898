//! The format on the wire: header, record sizes, little-endian words.
//!
//! Layouts are those of `include/uapi/linux/btf.h`. Recent kernels widened the fields of the info word (24
//! bits of length, 7 of kind) into bits that had to be zero before, so the wide form reads every version.

use crate::{Kind, ParseError};

/// First two bytes, as a little-endian number.
pub(crate) const MAGIC: u16 = 0xeb9f;
/// The only version.
pub(crate) const VERSION: u8 = 1;
/// Bytes of the header without the layout section.
pub(crate) const HEADER_LEN: usize = 24;
/// Bytes of `struct btf_type`, with which every record begins.
pub(crate) const RECORD_LEN: usize = 12;
/// Largest number of elements that every kernel accepts.
pub(crate) const MAX_VLEN: usize = 0xffff;

/// The two bytes at an offset.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

/// The word at an offset.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

/// The words of a record or element of fixed size.
pub(crate) fn words<const N: usize>(bytes: &[u8]) -> Option<[u32; N]> {
    let bytes = bytes.get(..N * 4)?;
    Some(std::array::from_fn(|i| {
        let b = &bytes[i * 4..i * 4 + 4];
        u32::from_le_bytes([b[0], b[1], b[2], b[3]])
    }))
}

/// Kind number of an info word.
pub(crate) fn info_kind(info: u32) -> u8 {
    (info >> 24) as u8 & 0x7f
}

/// Element count of an info word (linkage, for functions).
pub(crate) fn info_vlen(info: u32) -> u32 {
    info & 0x00ff_ffff
}

/// Kind flag of an info word.
pub(crate) fn info_flag(info: u32) -> bool {
    info >> 31 != 0
}

/// An info word.
pub(crate) fn info(kind: Kind, flag: bool, vlen: u32) -> u32 {
    u32::from(flag) << 31 | u32::from(kind as u8) << 24 | vlen & 0x00ff_ffff
}

/// Bytes after the common part of a record: of the whole kind, and of each element.
pub(crate) fn trailer(kind: Kind) -> (u32, u32) {
    match kind {
        Kind::Int | Kind::Var | Kind::DeclTag => (4, 0),
        Kind::Array => (12, 0),
        Kind::Struct | Kind::Union | Kind::Datasec | Kind::Enum64 => (0, 12),
        Kind::Enum | Kind::FuncProto => (0, 8),
        Kind::Void
        | Kind::Ptr
        | Kind::Fwd
        | Kind::Typedef
        | Kind::Volatile
        | Kind::Const
        | Kind::Restrict
        | Kind::Func
        | Kind::Float
        | Kind::TypeTag
        | Kind::Unknown => (0, 0),
    }
}

/// Where the sections of BTF lie, from its first byte.
pub(crate) struct Sections {
    /// Type section.
    pub(crate) types: std::ops::Range<usize>,
    /// String section.
    pub(crate) strings: std::ops::Range<usize>,
    /// Layout section: sizes of records by kind. Empty where there is none.
    pub(crate) layout: std::ops::Range<usize>,
}

/// Reads and checks the header.
pub(crate) fn sections(bytes: &[u8]) -> Result<Sections, ParseError> {
    let hdr_len = header(bytes, HEADER_LEN)?;
    let field = |at| u32_at(bytes, at).unwrap_or(0);
    let section = |name, at: usize| {
        let (offset, len) = (field(at), field(at + 4));
        let have = bytes.len() - hdr_len;
        let start = offset as usize;
        match start.checked_add(len as usize) {
            Some(end) if end <= have => Ok(hdr_len + start..hdr_len + end),
            _ => Err(ParseError::Section { section: name, offset, len, have }),
        }
    };
    if !field(8).is_multiple_of(4) {
        return Err(ParseError::Alignment(field(8)));
    }
    Ok(Sections {
        types: section("type", 8)?,
        strings: section("string", 16)?,
        layout: if hdr_len >= HEADER_LEN + 8 { section("layout", HEADER_LEN)? } else { 0..0 },
    })
}

/// Checks magic, version and length of a header (of `.BTF` or `.BTF.ext`) and returns its length.
pub(crate) fn header(bytes: &[u8], least: usize) -> Result<usize, ParseError> {
    let truncated = ParseError::TruncatedHeader { len: bytes.len(), need: least };
    match u16_at(bytes, 0).ok_or(truncated.clone())? {
        MAGIC => {}
        m if m == MAGIC.swap_bytes() => return Err(ParseError::BigEndian),
        m => return Err(ParseError::Magic(m)),
    }
    if bytes.len() < least {
        return Err(truncated);
    }
    if bytes[2] != VERSION {
        return Err(ParseError::Version(bytes[2]));
    }
    let hdr_len = u32_at(bytes, 4).unwrap_or(0);
    if (hdr_len as usize) < least || hdr_len as usize > bytes.len() {
        return Err(ParseError::HeaderLength(hdr_len));
    }
    Ok(hdr_len as usize)
}
