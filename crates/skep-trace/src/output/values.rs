//! Values as text, and what both forms of output say of the system's names.

use super::host::{Maps, Resolver, Zone};
use super::number::{self, extend, read};
use super::printer::Settings;
use crate::plan::{Field, Layout, Plan};
use core::net::{Ipv4Addr, Ipv6Addr};

/// What is kept between records.
#[derive(Default)]
pub(super) struct Cache {
    /// Local time, once it was needed.
    pub(super) zone: Option<Zone>,
    /// Bits of allocation flags, once they were needed.
    pub(super) gfp: Option<super::gfp::Flags>,
    /// Memory for the frames of a stack.
    pub(super) frames: Vec<u8>,
}

/// Writes values.
pub(super) struct Values<'c> {
    pub(super) plan: &'c Plan,
    pub(super) settings: &'c Settings,
    pub(super) maps: &'c mut dyn Maps,
    pub(super) names: &'c mut dyn Resolver,
    pub(super) cache: &'c mut Cache,
}

/// Width of a field and side of its text; see [`Values::text_padded`].
#[derive(Copy, Clone, Default)]
pub(super) struct Pad {
    pub(super) width: u32,
    pub(super) left: bool,
}

/// The text of a string: up to its first NUL, and whether it may have been cut to its capacity.
///
/// A string without NUL was cut. One that was read with the greatest capacity there is and fills it but for its
/// NUL was cut too, for all that can be known.
pub(super) fn string<'b>(bytes: &'b [u8], capacity: u32, settings: &Settings) -> (&'b [u8], bool) {
    let bytes = &bytes[..bytes.len().min(capacity as usize)];
    let len = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let full = len == bytes.len() && len > 0;
    let longest = u64::from(capacity) == settings.max_strlen && len as u64 + 1 == u64::from(capacity);
    (&bytes[..len], full || longest)
}

/// The bytes of a buffer: a length, then so many bytes.
pub(super) fn buffer(bytes: &[u8], capacity: u32) -> &[u8] {
    let len = (read(bytes, 0, 4) as usize).min(capacity as usize);
    let content = bytes.get(4..).unwrap_or(&[]);
    &content[..len.min(content.len())]
}

/// The integer that a layout reads as, if it is one: extended to 64 bits, and whether it is signed.
pub(super) fn as_integer(layout: &Layout, bytes: &[u8]) -> Option<(i64, bool)> {
    match layout {
        Layout::Bool => Some((i64::from(bytes.first().is_some_and(|b| *b != 0)), false)),
        Layout::Int { bytes: size, signed } | Layout::Enum { bytes: size, signed, .. } => {
            Some((extend(read(bytes, 0, usize::from(*size)), *size, *signed), *signed))
        }
        Layout::Ptr => Some((read(bytes, 0, 8) as i64, false)),
        _ => None,
    }
}

/// The bytes of a field; those of a bit-field are shifted to where its type has them, and extended.
pub(super) fn field_bytes<'b>(field: &Field, bytes: &'b [u8], word: &'b mut [u8; 8]) -> &'b [u8] {
    let start = field.offset as usize;
    let Some((from, count)) = field.bits else { return bytes.get(start..).unwrap_or(&[]) };
    let first = start + from as usize / 8;
    let shift = from % 8;
    // A field of 64 bits that does not begin with a byte reaches into a ninth one.
    let mut value = read(bytes, first, 8) >> shift;
    if shift > 0 {
        value |= read(bytes, first + 8, 1) << (64 - shift);
    }
    let unused = 64 - count.clamp(1, 64);
    let signed = matches!(field.layout, Layout::Int { signed: true, .. } | Layout::Enum { signed: true, .. });
    value = if signed { ((value << unused) as i64 >> unused) as u64 } else { value << unused >> unused };
    *word = value.to_le_bytes();
    word
}

/// Bytes as [`crate::plan::ConvKind::Bytes`] shows them.
pub(super) fn printable(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        if (32..127).contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(b"\\x");
            number::hex_byte(out, byte);
        }
    }
}

impl Values<'_> {
    /// A value as text.
    pub(super) fn text(&mut self, out: &mut Vec<u8>, layout: &Layout, bytes: &[u8]) {
        self.text_padded(out, layout, bytes, Pad::default());
    }

    /// A value as text in a field. What has parts is not moved as a whole: the field holds its opening bracket.
    pub(super) fn text_padded(&mut self, out: &mut Vec<u8>, layout: &Layout, bytes: &[u8], pad: Pad) {
        let start = out.len();
        let put = |out: &mut Vec<u8>, text: &[u8]| {
            out.extend_from_slice(text);
            number::pad(out, start, pad.width, pad.left, b' ');
        };
        match layout {
            Layout::Array { elem, size, len } => {
                put(out, b"[");
                for n in 0..*len as usize {
                    if n > 0 {
                        out.push(b',');
                    }
                    self.text(out, elem, bytes.get(n * *size as usize..).unwrap_or(&[]));
                }
                out.push(b']');
            }
            Layout::Tuple(elems) => {
                put(out, b"(");
                for (n, (offset, elem)) in elems.iter().enumerate() {
                    if n > 0 {
                        out.extend_from_slice(b", ");
                    }
                    self.text(out, elem, bytes.get(*offset as usize..).unwrap_or(&[]));
                }
                out.push(b')');
            }
            Layout::Record(fields) if fields.is_empty() => put(out, b"{}"),
            Layout::Record(fields) => {
                put(out, b"{ ");
                for (n, field) in fields.iter().enumerate() {
                    if n > 0 {
                        out.extend_from_slice(b", ");
                    }
                    out.push(b'.');
                    out.extend_from_slice(field.name.as_bytes());
                    out.extend_from_slice(b" = ");
                    let mut word = [0; 8];
                    let bytes = field_bytes(field, bytes, &mut word);
                    self.text(out, &field.layout, bytes);
                }
                out.extend_from_slice(b" }");
            }
            _ => {
                self.simple(out, layout, bytes);
                number::pad(out, start, pad.width, pad.left, b' ');
            }
        }
    }

    /// A value without parts.
    pub(super) fn simple(&mut self, out: &mut Vec<u8>, layout: &Layout, bytes: &[u8]) {
        match layout {
            Layout::Bool => {
                let truth = bytes.first().is_some_and(|b| *b != 0);
                out.extend_from_slice(if truth { b"true" } else { b"false" });
            }
            Layout::Int { bytes: size, signed } => {
                let n = extend(read(bytes, 0, usize::from(*size)), *size, *signed);
                number::integer(out, n, *signed);
            }
            Layout::Ptr => {
                out.extend_from_slice(b"0x");
                number::hex(out, read(bytes, 0, 8));
            }
            Layout::Str(capacity) => {
                let (text, cut) = string(bytes, *capacity, self.settings);
                out.extend_from_slice(text);
                if cut {
                    out.extend_from_slice(self.settings.trailer.as_bytes());
                }
            }
            Layout::Buf(capacity) => printable(out, buffer(bytes, *capacity)),
            Layout::Enum { bytes: size, signed, names } => {
                let n = extend(read(bytes, 0, usize::from(*size)), *size, *signed);
                match names.iter().find(|(value, _)| *value == n) {
                    Some((_, name)) => out.extend_from_slice(name.as_bytes()),
                    None => number::integer(out, n, *signed),
                }
            }
            Layout::KSym => self.kernel_symbol(out, read(bytes, 0, 8)),
            Layout::USym => self.user_symbol(out, read(bytes, 8, 4) as u32, read(bytes, 0, 8)),
            Layout::KStack(mode) => self.stack(out, *mode, None, read(bytes, 0, 8)),
            Layout::UStack(mode) => {
                self.stack(out, *mode, Some(read(bytes, 8, 4) as u32), read(bytes, 0, 8));
            }
            Layout::Inet => inet(out, bytes),
            Layout::Mac => {
                for n in 0..6 {
                    let separator = if n > 0 { ":" } else { "" };
                    number::write(out, format_args!("{separator}{:02X}", read(bytes, n, 1)));
                }
            }
            Layout::Username => {
                let id = read(bytes, 0, 8);
                match self.names.user_name(id) {
                    Some(name) => out.extend_from_slice(name.as_bytes()),
                    None => number::unsigned(out, id),
                }
            }
            Layout::Timestamp => self.timestamp(out, bytes),
            Layout::CgroupPath => {
                let plan = self.plan;
                let filter = plan.cgroup_filters.get(read(bytes, 8, 8) as usize);
                if let Some(path) = self.names.cgroup_path(read(bytes, 0, 8), filter.map_or("", |f| f)) {
                    out.extend_from_slice(path.as_bytes());
                }
            }
            // What has parts is written by the caller, which puts their text together.
            Layout::None | Layout::Array { .. } | Layout::Tuple(_) | Layout::Record(_) => {
                out.extend_from_slice(b"null");
            }
        }
    }

    /// A key of a map between its brackets: the parentheses of a tuple are left out.
    pub(super) fn key(&mut self, out: &mut Vec<u8>, layout: &Layout, bytes: &[u8]) {
        let start = out.len();
        self.text(out, layout, bytes);
        if matches!(layout, Layout::Tuple(_)) && out.len() >= start + 2 {
            out.remove(start);
            out.pop();
        }
    }
}

/// An IP address: family, then bytes in network order.
fn inet(out: &mut Vec<u8>, bytes: &[u8]) {
    // AF_INET and AF_INET6 of linux/socket.h.
    match read(bytes, 0, 4) {
        2 => {
            let address = Ipv4Addr::from((read(bytes, 4, 4) as u32).to_le_bytes());
            number::write(out, format_args!("{address}"));
        }
        10 => {
            let words = (read(bytes, 4, 8), read(bytes, 12, 8));
            let mut address = [0; 16];
            address[..8].copy_from_slice(&words.0.to_le_bytes());
            address[8..].copy_from_slice(&words.1.to_le_bytes());
            number::write(out, format_args!("{}", Ipv6Addr::from(address)));
        }
        family => number::write(out, format_args!("<address of family {family}>")),
    }
}
