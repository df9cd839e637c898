//! Why bytes are not usable type information.

use crate::TypeId;
use thiserror::Error;

/// Bytes that are not BTF, or not BTF that can be indexed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Fewer bytes than a header has.
    #[error("BTF ends inside its header: {len} bytes, {need} needed")]
    TruncatedHeader {
        /// Bytes given.
        len: usize,
        /// Bytes that the header takes.
        need: usize,
    },
    /// The first two bytes are not `9f eb`.
    #[error("not BTF: magic is {0:#06x} instead of 0xeb9f")]
    Magic(u16),
    /// The magic is there, in the other byte order.
    #[error("BTF is big-endian; only little-endian BTF can be read (was it made for another machine?)")]
    BigEndian,
    /// A version that this reader does not know.
    #[error("BTF version {0} is not known; version 1 is")]
    Version(u8),
    /// A header shorter than the shortest known one, or longer than the data.
    #[error("BTF header length {0} is not possible")]
    HeaderLength(u32),
    /// A section that lies outside the data.
    #[error(
        "BTF {section} section (offset {offset}, length {len}) lies outside the {have} bytes after the header"
    )]
    Section {
        /// `type`, `string` or `layout`.
        section: &'static str,
        /// Offset from the end of the header.
        offset: u32,
        /// Length in bytes.
        len: u32,
        /// Bytes present after the header.
        have: usize,
    },
    /// The type section does not start at a multiple of four.
    #[error("BTF type section starts at offset {0}, which is not a multiple of 4")]
    Alignment(u32),
    /// The string section must begin and end with a NUL byte.
    #[error("BTF string section does not {0} with a NUL byte")]
    Strings(&'static str),
    /// A record that runs past the end of the type section.
    #[error("BTF type {id} ({kind}) runs past the end of the type section")]
    TruncatedType {
        /// The record's id.
        id: TypeId,
        /// Its kind, by name.
        kind: &'static str,
    },
    /// A kind whose record size is not known, so that nothing after it can be found.
    #[error(
        "BTF type {id} is of kind {kind}, which is newer than this reader, and its size is not described"
    )]
    UnknownKind {
        /// The record's id.
        id: TypeId,
        /// The number of the kind.
        kind: u8,
    },
    /// More bytes, types or strings than 32-bit ids and offsets can name.
    #[error("BTF is too large: {0} do not fit into 32 bits")]
    TooLarge(&'static str),
}
