//! Definitions: bodies of structs, unions and enumerations, with padding.
//!
//! The layout follows what `bpftool btf dump … format c` prints, so that text can be compared with it.

use super::{CError, CPrinter};
use crate::{Composite, Enum, Type, TypeId};

/// Types that padding is written with: the word and its bits.
const PADS: [(&str, u64); 4] = [("long", 64), ("int", 32), ("short", 16), ("char", 8)];

impl<'a> CPrinter<'a> {
    pub(super) fn define(&mut self, out: &mut String, id: TypeId) -> Result<(), CError> {
        match self.btf.ty(id).ok_or(CError::NoType(id))? {
            Type::Struct(c) | Type::Union(c) => self.body(out, c, 0, 0),
            Type::Enum(e) | Type::Enum64(e) => self.enum_body(out, e, 0),
            Type::Fwd(_) => self.declare(out, id, "", 0, 0),
            Type::Typedef(t) => {
                self.put(out, "typedef ", id)?;
                self.declare(out, t.target(), t.name(), 0, 0)
            }
            Type::Func(f) => self.declare(out, f.proto(), f.name(), 0, 0),
            Type::Var(v) => self.declare(out, v.target(), v.name(), 0, 0),
            other => Err(CError::NoDefinition { id, kind: other.kind().name() }),
        }
    }

    /// A struct or union with its members, up to the closing brace and attributes.
    pub(super) fn body(
        &mut self,
        out: &mut String,
        c: Composite<'a>,
        level: usize,
        depth: usize,
    ) -> Result<(), CError> {
        let id = c.id();
        self.put(out, if c.is_union() { "union" } else { "struct" }, id)?;
        if !c.name().is_empty() {
            self.put(out, " ", id)?;
            self.put(out, c.name(), id)?;
        }
        self.put(out, " {", id)?;
        let packed = !c.is_union() && self.alignments.is_packed(c).unwrap_or(false);
        let mut end = 0;
        let mut after_bit_field = false;
        for member in c.members() {
            let start = u64::from(member.bit_offset());
            let bits = member.bit_size();
            let align = if packed { 1 } else { self.alignments.of(member.type_id()).unwrap_or(1) };
            self.pad(out, id, end..start, align, after_bit_field && bits.is_some(), level + 1)?;
            self.line(out, level + 1, id)?;
            self.declare(out, member.type_id(), member.name(), level + 1, depth + 1)?;
            let width = match bits {
                Some(bits) => {
                    self.print(out, format_args!(": {bits}"), id)?;
                    u64::from(bits)
                }
                None => u64::from(self.btf.size_of(member.type_id()).unwrap_or(0)) * 8,
            };
            self.put(out, ";", id)?;
            end = start + width;
            after_bit_field = bits.is_some();
        }
        if !c.is_union() {
            let align = self.alignments.of(id).unwrap_or(1);
            self.pad(out, id, end..u64::from(c.size()) * 8, align, false, level + 1)?;
        }
        // An empty struct stays on one line.
        if c.size() > 0 || c.members().len() > 0 {
            self.line(out, level, id)?;
        }
        self.put(out, "}", id)?;
        self.put(out, if packed { " __attribute__((packed))" } else { "" }, id)
    }

    /// Anonymous bit-fields that move the next member to its place.
    fn pad(
        &mut self,
        out: &mut String,
        id: TypeId,
        gap: std::ops::Range<u64>,
        next_align: u32,
        within_bit_fields: bool,
        level: usize,
    ) -> Result<(), CError> {
        if gap.is_empty() {
            return Ok(());
        }
        let mut at = gap.start;
        // The widest type with a boundary inside the gap: up to there alignment can do the work.
        let (word, unit) = PADS
            .into_iter()
            .find(|&(_, unit)| at.next_multiple_of(unit) <= gap.end)
            .unwrap_or(PADS[PADS.len() - 1]);
        let boundary = at.next_multiple_of(unit);
        if boundary > at && boundary <= gap.end {
            let skipped = boundary - at;
            let left = gap.end - boundary;
            // The compiler goes to the boundary by itself if the next member wants that alignment, or if the
            // padding after it cannot be placed before it. Otherwise `word: 0` says so.
            let next_aligns = left == 0 && at.next_multiple_of(u64::from(next_align) * 8) == boundary;
            let padding_fits = left != 0 && left <= skipped;
            if within_bit_fields {
                self.bit_field(out, id, word, skipped, level)?;
            } else if (left == 0 && !next_aligns) || padding_fits {
                self.bit_field(out, id, word, 0, level)?;
            }
            at = boundary;
        }
        while at < gap.end {
            let left = gap.end - at;
            let bits = left.min(unit);
            let word = if bits == unit {
                word
            } else {
                // The rest in the narrowest type that holds it.
                PADS.into_iter().rev().find(|&(_, unit)| unit >= bits).map_or(word, |(word, _)| word)
            };
            self.bit_field(out, id, word, bits, level)?;
            at += bits;
        }
        Ok(())
    }

    fn bit_field(
        &mut self,
        out: &mut String,
        id: TypeId,
        word: &str,
        bits: u64,
        level: usize,
    ) -> Result<(), CError> {
        // Lines that are made of nothing but a large offset count more than their length.
        self.spend(32, id)?;
        self.line(out, level, id)?;
        self.print(out, format_args!("{word}: {bits};"), id)
    }

    /// An enumeration with its constants. Without any it is only named.
    pub(super) fn enum_body(&mut self, out: &mut String, e: Enum<'a>, level: usize) -> Result<(), CError> {
        let id = e.id();
        let wide = matches!(self.btf.ty(id), Some(Type::Enum64(_)));
        self.put(out, "enum", id)?;
        if !e.name().is_empty() {
            self.put(out, " ", id)?;
            self.put(out, e.name(), id)?;
        }
        if e.variants().len() > 0 {
            self.put(out, " {", id)?;
            for v in e.variants() {
                self.line(out, level + 1, id)?;
                self.put(out, v.name(), id)?;
                match (e.is_signed(), wide) {
                    (true, true) => self.print(out, format_args!(" = {}LL,", v.value()), id)?,
                    (false, true) => self.print(out, format_args!(" = {}ULL,", v.value() as u64), id)?,
                    (_, false) => self.print(out, format_args!(" = {},", v.value()), id)?,
                }
            }
            self.line(out, level, id)?;
            self.put(out, "}", id)?;
        }
        // Sizes that the constants alone would not give.
        let high_bits = e.variants().any(|v| wide && (v.value() as u64) >> 32 != 0);
        let mode = match e.size() {
            1 => " __attribute__((mode(byte)))",
            8 if !high_bits => " __attribute__((mode(word)))",
            _ => "",
        };
        self.put(out, mode, id)
    }

    /// Begins a line.
    fn line(&mut self, out: &mut String, level: usize, id: TypeId) -> Result<(), CError> {
        self.put(out, "\n", id)?;
        for _ in 0..level {
            self.put(out, "\t", id)?;
        }
        Ok(())
    }
}
