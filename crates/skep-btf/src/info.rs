//! Function and line information of programs: the records of `BPF_PROG_LOAD` and of object files.
//!
//! For the kernel, `insn_off` counts instructions from the start of the program; in object files it counts
//! bytes from the start of the section (8 for an instruction). The records here carry whichever they were
//! made for.

use crate::{TypeId, wire};

/// Largest line that a record holds (22 bits).
pub const MAX_LINE: u32 = (1 << 22) - 1;
/// Largest column that a record holds (10 bits).
pub const MAX_COLUMN: u32 = (1 << 10) - 1;
/// Most bytes of a source line that are kept.
const MAX_SOURCE: usize = 200;

/// A record of fixed size.
pub trait Record: Sized {
    /// Bytes of a record.
    const SIZE: usize;
    /// Appends the record.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads a record; `None` if there are too few bytes.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

/// The bytes of records, as bpf(2) takes them.
#[must_use]
pub fn encode_records<R: Record>(records: &[R]) -> Vec<u8> {
    let mut out = Vec::with_capacity(records.len() * R::SIZE);
    records.iter().for_each(|r| r.encode(&mut out));
    out
}

/// Which function begins at an instruction: `struct bpf_func_info`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct FuncInfo {
    /// First instruction.
    pub insn_off: u32,
    /// The function.
    pub type_id: TypeId,
}

impl Record for FuncInfo {
    const SIZE: usize = 8;

    fn encode(&self, out: &mut Vec<u8>) {
        put(out, &[self.insn_off, self.type_id.0]);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let [insn_off, type_id] = wire::words(bytes)?;
        Some(FuncInfo { insn_off, type_id: TypeId(type_id) })
    }
}

/// The source of an instruction and of those after it: `struct bpf_line_info`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct LineInfo {
    /// First instruction.
    pub insn_off: u32,
    /// File name, an offset in the string section.
    pub file_name_off: u32,
    /// Text of the line, an offset in the string section.
    pub line_off: u32,
    /// Line, from 1; larger ones are written as [`MAX_LINE`].
    pub line: u32,
    /// Column, from 1; larger ones are written as [`MAX_COLUMN`].
    pub column: u32,
}

impl Record for LineInfo {
    const SIZE: usize = 16;

    fn encode(&self, out: &mut Vec<u8>) {
        let line_col = self.line.min(MAX_LINE) << 10 | self.column.min(MAX_COLUMN);
        put(out, &[self.insn_off, self.file_name_off, self.line_off, line_col]);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let [insn_off, file_name_off, line_off, line_col] = wire::words(bytes)?;
        Some(LineInfo { insn_off, file_name_off, line_off, line: line_col >> 10, column: line_col & 0x3ff })
    }
}

/// A question about a type that the loader answers by changing an instruction: `struct bpf_core_relo`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct CoreRelo {
    /// The instruction.
    pub insn_off: u32,
    /// The type, in the program's BTF.
    pub type_id: TypeId,
    /// Access string, an offset in the string section.
    pub access_str_off: u32,
    /// What is asked, as a number: see [`RelocKind`](crate::core_relo::RelocKind).
    pub kind: u32,
}

impl Record for CoreRelo {
    const SIZE: usize = 16;

    fn encode(&self, out: &mut Vec<u8>) {
        put(out, &[self.insn_off, self.type_id.0, self.access_str_off, self.kind]);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let [insn_off, type_id, access_str_off, kind] = wire::words(bytes)?;
        Some(CoreRelo { insn_off, type_id: TypeId(type_id), access_str_off, kind })
    }
}

fn put(out: &mut Vec<u8>, words: &[u32]) {
    for word in words {
        out.extend_from_slice(&word.to_le_bytes());
    }
}

/// Line records of a program in the making: one where the source changes, none where it stays.
#[derive(Clone, Debug, Default)]
pub struct LineTable {
    records: Vec<LineInfo>,
}

impl LineTable {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        LineTable::default()
    }

    /// Says where an instruction comes from. Instructions come in order; the first one of each function
    /// (`starts_function`) gets a record even if its source is that of the one before, because the kernel
    /// demands it (`kernel/bpf/verifier.c`, `check_btf_line`). What comes out of order is left out.
    pub fn mark(&mut self, info: LineInfo, starts_function: bool) {
        let info = LineInfo { line: info.line.min(MAX_LINE), column: info.column.min(MAX_COLUMN), ..info };
        if let Some(last) = self.records.last() {
            let same = LineInfo { insn_off: info.insn_off, ..*last } == info;
            if info.insn_off <= last.insn_off || (same && !starts_function) {
                return;
            }
        }
        self.records.push(info);
    }

    /// The records.
    #[must_use]
    pub fn records(&self) -> &[LineInfo] {
        &self.records
    }
}

/// A source line as the kernel's log shows it: without blanks around it, at most 200 bytes, with `?` for what
/// cannot be printed.
#[must_use]
pub fn source_line(text: &str) -> String {
    let text = text.trim();
    let end = (0..=text.len().min(MAX_SOURCE)).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    text[..end]
        .chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if c.is_control() {
                '?'
            } else {
                c
            }
        })
        .collect()
}
