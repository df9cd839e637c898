//! The `.BTF.ext` section of object files: function, line and relocation records of each program section.

use crate::info::{CoreRelo, FuncInfo, LineInfo, Record};
use crate::{ParseError, wire};
use thiserror::Error;

/// Header up to the line records; the CO-RE part came later.
const OLD_HEADER: usize = 24;
/// Header with the CO-RE part.
const HEADER: usize = 32;

/// Why bytes are not `.BTF.ext`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExtError {
    /// The header is wrong.
    #[error(".BTF.ext: {0}")]
    Header(#[from] ParseError),
    /// A part lies outside the bytes.
    #[error(".BTF.ext: the {part} part (offset {offset}, length {len}) lies outside the section")]
    Part {
        /// `func_info`, `line_info` or `core_relo`.
        part: &'static str,
        /// Offset from the end of the header.
        offset: u32,
        /// Length in bytes.
        len: u32,
    },
    /// Records of a size that cannot be.
    #[error(".BTF.ext: {part} records of {size} bytes; they have at least {least}, in steps of 4")]
    RecordSize {
        /// The part.
        part: &'static str,
        /// Size given.
        size: u32,
        /// Smallest possible size.
        least: usize,
    },
    /// A part ends in the middle of something.
    #[error(".BTF.ext: the {part} part ends inside the records of a section")]
    Truncated {
        /// The part.
        part: &'static str,
    },
}

/// Records of one program section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtSection<R> {
    /// Name of the section, an offset in the string section of `.BTF`.
    pub name_off: u32,
    /// Records, in order of instructions.
    pub records: Vec<R>,
}

/// A `.BTF.ext` section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BtfExt {
    /// Functions.
    pub funcs: Vec<ExtSection<FuncInfo>>,
    /// Lines.
    pub lines: Vec<ExtSection<LineInfo>>,
    /// CO-RE relocations.
    pub relos: Vec<ExtSection<CoreRelo>>,
}

impl BtfExt {
    /// Reads a section. Records may be longer than the known ones; the rest of them is skipped.
    ///
    /// # Errors
    /// Says which part is broken.
    pub fn parse(bytes: &[u8]) -> Result<BtfExt, ExtError> {
        let hdr_len = wire::header(bytes, OLD_HEADER)?;
        let field = |at: usize| if at + 4 <= hdr_len { wire::u32_at(bytes, at).unwrap_or(0) } else { 0 };
        let body = &bytes[hdr_len..];
        let part = |part, at: usize| {
            let (offset, len) = (field(at), field(at + 4));
            let end = (offset as usize).checked_add(len as usize);
            let range = end.and_then(|end| body.get(offset as usize..end));
            range.ok_or(ExtError::Part { part, offset, len })
        };
        Ok(BtfExt {
            funcs: sections("func_info", part("func_info", 8)?)?,
            lines: sections("line_info", part("line_info", 16)?)?,
            // The relocation part is there only if the header reaches to its length.
            relos: if hdr_len >= HEADER {
                sections("core_relo", part("core_relo", 24)?)?
            } else {
                Vec::new()
            },
        })
    }

    /// Writes a section.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut parts = [Vec::new(), Vec::new(), Vec::new()];
        part(&mut parts[0], &self.funcs);
        part(&mut parts[1], &self.lines);
        part(&mut parts[2], &self.relos);
        let mut out = Vec::with_capacity(HEADER + parts.iter().map(Vec::len).sum::<usize>());
        out.extend_from_slice(&wire::MAGIC.to_le_bytes());
        out.extend_from_slice(&[wire::VERSION, 0]);
        out.extend_from_slice(&(HEADER as u32).to_le_bytes());
        let mut offset = 0;
        for part in &parts {
            out.extend_from_slice(&(offset as u32).to_le_bytes());
            out.extend_from_slice(&(part.len() as u32).to_le_bytes());
            offset += part.len();
        }
        parts.iter().for_each(|part| out.extend_from_slice(part));
        out
    }
}

fn part<R: Record>(out: &mut Vec<u8>, sections: &[ExtSection<R>]) {
    if sections.iter().all(|s| s.records.is_empty()) {
        return;
    }
    out.extend_from_slice(&(R::SIZE as u32).to_le_bytes());
    // A section without records is refused by readers.
    for section in sections.iter().filter(|s| !s.records.is_empty()) {
        out.extend_from_slice(&section.name_off.to_le_bytes());
        out.extend_from_slice(&(section.records.len() as u32).to_le_bytes());
        section.records.iter().for_each(|r| r.encode(out));
    }
}

fn sections<R: Record>(part: &'static str, bytes: &[u8]) -> Result<Vec<ExtSection<R>>, ExtError> {
    let truncated = || ExtError::Truncated { part };
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let size = wire::u32_at(bytes, 0).ok_or_else(truncated)?;
    if (size as usize) < R::SIZE || !size.is_multiple_of(4) {
        return Err(ExtError::RecordSize { part, size, least: R::SIZE });
    }
    let mut rest = &bytes[4..];
    let mut sections = Vec::new();
    while !rest.is_empty() {
        let [name_off, count] = wire::words(rest).ok_or_else(truncated)?;
        let len = (count as usize).checked_mul(size as usize).ok_or_else(truncated)?;
        let (records, tail) = rest[8..].split_at_checked(len).ok_or_else(truncated)?;
        let records = records.chunks_exact(size as usize).filter_map(R::decode).collect();
        sections.push(ExtSection { name_off, records });
        rest = tail;
    }
    Ok(sections)
}
