//! Netlink messages (include/uapi/linux/netlink.h), written and read as bytes.
//!
//! Reading takes any bytes: lengths that do not fit end the iteration.

/// Messages and attributes begin at multiples of this.
const ALIGN: usize = 4;
const HEADER: usize = 16;
/// `NLA_TYPE_MASK`: without the flags for nested attributes and byte order.
const TYPE_MASK: u16 = 0x3fff;

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Type: `RTM_*` or `NLMSG_*`.
    pub kind: u16,
    /// Flags: `NLM_F_*`.
    pub flags: u16,
    /// Number of the request that it answers.
    pub seq: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Type, without flags.
    pub kind: u16,
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The value as number of this machine's byte order; `None` if it is of another size.
    pub fn u32(&self) -> Option<u32> {
        self.value.try_into().ok().map(u32::from_ne_bytes)
    }

    /// The value as byte.
    pub fn u8(&self) -> Option<u8> {
        match self.value {
            [byte] => Some(*byte),
            _ => None,
        }
    }

    /// The value as text, up to its NUL.
    pub fn text(&self) -> String {
        crate::bpf::text(self.value)
    }

    /// The attributes inside.
    pub fn nested(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        attributes(self.value)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// What follows an item of this length that is padded to [`ALIGN`]; the last may lack its padding.
fn after(bytes: &[u8], len: usize) -> &[u8] {
    bytes.get(len.next_multiple_of(ALIGN)..).unwrap_or(&[])
}

/// The messages of a datagram.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let len = u32_at(bytes, 0)? as usize;
        if len < HEADER {
            return None;
        }
        let message = Message {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            seq: u32_at(bytes, 8)?,
            payload: bytes.get(HEADER..len)?,
        };
        bytes = after(bytes, len);
        Some(message)
    })
}

/// The attributes of a run of bytes.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(bytes, 0)?);
        let attribute = Attribute { kind: u16_at(bytes, 2)? & TYPE_MASK, value: bytes.get(4..len)? };
        bytes = after(bytes, len);
        Some(attribute)
    })
}

/// A request being written.
#[derive(Debug)]
pub(super) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A request of this type with the fixed part of its kind.
    pub(super) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Request {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(fixed);
        Request { bytes }
    }

    /// The same request with more flags.
    pub(super) fn with_flags(mut self, flags: u16) -> Request {
        let set = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | flags;
        self.bytes[6..8].copy_from_slice(&set.to_ne_bytes());
        self
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
    }

    /// Adds an attribute; values are far below 64 KiB.
    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.pad();
        debug_assert!(value.len() < usize::from(u16::MAX) - 4);
        self.bytes.extend(((value.len() + 4) as u16).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
    }

    pub(super) fn u32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// Adds text with its NUL.
    pub(super) fn text(&mut self, kind: u16, text: &str) {
        self.attribute(kind, &[text.as_bytes(), b"\0"].concat());
    }

    /// Adds an attribute that holds those that `fill` adds (`NLA_F_NESTED`).
    pub(super) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Request)) {
        self.pad();
        let start = self.bytes.len();
        self.attribute(kind | 1 << 15, &[]);
        fill(self);
        let len = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
    }

    /// The finished message with its number.
    pub(super) fn finish(mut self, seq: u32) -> Vec<u8> {
        self.pad();
        let len = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&seq.to_ne_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut request = Request::new(19, 5, &[9; 16]);
        request.text(3, "eth0");
        request.nested(43, |request| {
            request.u32(1, 77);
            request.attribute(2, &[1]);
        });
        let bytes = [request.finish(8), Request::new(3, 0, &[]).finish(9)].concat();
        let all: Vec<_> = messages(&bytes).collect();
        assert_eq!(all.iter().map(|m| (m.kind, m.flags, m.seq)).collect::<Vec<_>>(), [(19, 5, 8), (3, 0, 9)]);
        assert_eq!(all[0].payload[..16], [9; 16]);
        let top: Vec<_> = attributes(&all[0].payload[16..]).collect();
        assert_eq!((top.len(), top[0].kind, top[0].text()), (2, 3, "eth0".to_owned()));
        assert_eq!(top[1].kind, 43);
        let inner: Vec<_> = top[1].nested().collect();
        assert_eq!((inner[0].u32(), inner[0].u8()), (Some(77), None));
        assert_eq!((inner[1].kind, inner[1].u8(), inner[1].u32()), (2, Some(1), None));
    }

    #[test]
    fn lengths_that_do_not_fit_end_the_iteration() {
        for bytes in [&[][..], &[0; 3], &[0; 64], &[0xff; 64], &[4, 0, 1, 0, 3, 0, 9, 9], &[200, 0, 1, 0]] {
            assert!(attributes(bytes).count() <= bytes.len() / 4, "{bytes:?}");
            assert!(messages(bytes).count() <= bytes.len() / HEADER, "{bytes:?}");
        }
        // A value that ends with the buffer needs no padding.
        let odd: Vec<_> = attributes(&[5, 0, 1, 0, 42]).collect();
        assert_eq!(odd, [Attribute { kind: 1, value: &[42] }]);
    }
}
