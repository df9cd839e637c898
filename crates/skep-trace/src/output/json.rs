//! Values as JSON.

use super::number;
use super::values::{Values, as_integer, buffer, field_bytes};
use crate::plan::Layout;

/// A string with its quotes. Bytes that are no control characters are copied, whatever their encoding.
pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                out.extend_from_slice(b"\\u00");
                number::hex_byte(out, control);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// A number whose low 64 bits are `n`: as a string if a double cannot hold it.
pub(super) fn integer(out: &mut Vec<u8>, n: i64, is_signed: bool) {
    let wide = if is_signed { i128::from(n) } else { i128::from(n as u64) };
    let exact = wide as f64 as i128 == wide;
    if !exact {
        out.push(b'"');
    }
    number::integer(out, n, is_signed);
    if !exact {
        out.push(b'"');
    }
}

impl Values<'_> {
    /// A value as JSON.
    pub(super) fn json(&mut self, out: &mut Vec<u8>, layout: &Layout, bytes: &[u8]) {
        match layout {
            Layout::Bool => self.simple(out, layout, bytes),
            Layout::Int { .. } | Layout::Ptr | Layout::Enum { .. } => {
                if let Some((n, signed)) = as_integer(layout, bytes) {
                    integer(out, n, signed);
                }
            }
            Layout::None => out.extend_from_slice(b"null"),
            Layout::Buf(capacity) => {
                list(out, buffer(bytes, *capacity).iter(), |out, byte| {
                    number::signed(out, i64::from(*byte as i8));
                });
            }
            Layout::Array { elem, size, len } => list(out, 0..*len as usize, |out, n| {
                self.json(out, elem, bytes.get(n * *size as usize..).unwrap_or(&[]));
            }),
            Layout::Tuple(elems) => list(out, elems.iter(), |out, (offset, elem)| {
                self.json(out, elem, bytes.get(*offset as usize..).unwrap_or(&[]));
            }),
            Layout::Record(fields) => {
                out.push(b'{');
                for (n, field) in fields.iter().enumerate() {
                    if n > 0 {
                        out.extend_from_slice(b", ");
                    }
                    string(out, field.name.as_bytes());
                    out.extend_from_slice(b": ");
                    let mut word = [0; 8];
                    let bytes = field_bytes(field, bytes, &mut word);
                    self.json(out, &field.layout, bytes);
                }
                out.push(b'}');
            }
            _ => {
                let mut text = Vec::new();
                self.simple(&mut text, layout, bytes);
                string(out, &text);
            }
        }
    }

    /// A key of a map: its text as a string, without blanks.
    pub(super) fn json_key(&mut self, out: &mut Vec<u8>, layout: &Layout, bytes: &[u8]) {
        let mut text = Vec::new();
        self.key(&mut text, layout, bytes);
        text.retain(|b| *b != b' ');
        string(out, &text);
    }
}

/// Elements between brackets.
pub(super) fn list<T>(
    out: &mut Vec<u8>,
    elements: impl Iterator<Item = T>,
    mut each: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (n, element) in elements.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        each(out, element);
    }
    out.push(b']');
}
