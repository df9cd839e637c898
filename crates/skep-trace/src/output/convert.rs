//! Formats: text and conversions of arguments.

use super::number::{self, extend};
use super::time;
use super::values::{Pad, Values, as_integer, buffer, printable};
use crate::plan::{Arg, ConvKind, Conversion, Layout, Piece};

impl Values<'_> {
    /// Writes a format with its arguments, which lie in a record.
    pub(super) fn format(&mut self, out: &mut Vec<u8>, format: &[Piece], args: &[Arg], record: &[u8]) {
        let mut args = args.iter();
        for piece in format {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Conv(conversion) => {
                    let Some(arg) = args.next() else { continue };
                    self.conversion(out, conversion, &arg.layout, argument(arg, record));
                }
            }
        }
    }

    fn conversion(&mut self, out: &mut Vec<u8>, conversion: &Conversion, layout: &Layout, bytes: &[u8]) {
        let pad = Pad { width: conversion.width, left: conversion.left };
        let start = out.len();
        match (conversion.kind, layout) {
            (ConvKind::Text, _) => {
                self.text_padded(out, layout, bytes, pad);
                return;
            }
            (ConvKind::Bytes, Layout::Buf(capacity)) => printable(out, buffer(bytes, *capacity)),
            (ConvKind::BytesHex, Layout::Buf(capacity)) => {
                for byte in buffer(bytes, *capacity) {
                    out.extend_from_slice(b"\\x");
                    number::hex_byte(out, *byte);
                }
            }
            (ConvKind::BytesSpacedHex, Layout::Buf(capacity)) => {
                for (n, byte) in buffer(bytes, *capacity).iter().enumerate() {
                    if n > 0 {
                        out.push(b' ');
                    }
                    number::hex_byte(out, *byte);
                }
            }
            (kind, _) => match as_integer(layout, bytes) {
                Some((n, _)) => {
                    self.integer(out, conversion, kind, n);
                    return;
                }
                None => self.text(out, layout, bytes),
            },
        }
        number::pad(out, start, pad.width, pad.left, b' ');
    }

    /// A number, cut to the bytes that the conversion says.
    fn integer(&mut self, out: &mut Vec<u8>, conversion: &Conversion, kind: ConvKind, n: i64) {
        let start = out.len();
        let word = extend(n as u64, conversion.bytes, false) as u64;
        let alternate = conversion.alternate && word != 0;
        // Zeros stand before a sign, but behind a prefix.
        let mut digits = start;
        match kind {
            ConvKind::Unsigned => number::unsigned(out, word),
            ConvKind::Octal => {
                if alternate {
                    out.push(b'0');
                }
                number::octal(out, word);
            }
            ConvKind::Hex | ConvKind::UpperHex => {
                let upper = kind == ConvKind::UpperHex;
                if alternate {
                    out.extend_from_slice(if upper { b"0X" } else { b"0x" });
                    digits += 2;
                }
                if upper { number::upper_hex(out, word) } else { number::hex(out, word) }
            }
            ConvKind::Char => out.push(word as u8),
            ConvKind::Pointer => {
                if word != 0 {
                    out.extend_from_slice(b"0x");
                    digits += 2;
                }
                number::hex(out, word);
            }
            ConvKind::GfpFlags => {
                let names = &mut *self.names;
                self.cache.gfp.get_or_insert_with(|| super::gfp::Flags::new(names)).write(out, word);
            }
            _ => {
                let n = extend(word, conversion.bytes, true);
                if conversion.plus && n >= 0 {
                    out.push(b'+');
                }
                number::signed(out, n);
            }
        }
        let zeros =
            conversion.zero && !conversion.left && !matches!(kind, ConvKind::Char | ConvKind::GfpFlags);
        if zeros {
            let width = conversion.width.saturating_sub((digits - start) as u32);
            number::pad(out, digits, width, false, b'0');
        } else {
            number::pad(out, start, conversion.width, conversion.left, b' ');
        }
    }

    /// `time()`
    pub(super) fn time(&mut self, out: &mut Vec<u8>, format: &str) {
        let now = self.names.now();
        time::strftime(out, format, now, time::zone(self.cache, self.names));
    }
}

/// The bytes of an argument.
fn argument<'r>(arg: &Arg, record: &'r [u8]) -> &'r [u8] {
    let there = record.get(arg.offset as usize..).unwrap_or(&[]);
    &there[..there.len().min(arg.size as usize)]
}

/// Whether a record holds all arguments of an event.
pub(super) fn holds(record: &[u8], args: &[Arg]) -> bool {
    args.iter().all(|arg| {
        let end = u64::from(arg.offset) + u64::from(arg.size);
        end <= record.len() as u64
    })
}
