//! Strings within a capacity, byte by byte.

/// The bytes before the NUL, all of them if there is none.
pub(super) fn text(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

/// Copies up to the NUL and fills the rest with zeros.
pub(super) fn copy(to: &mut [u8], from: &[u8]) {
    let from = text(from);
    let len = from.len().min(to.len());
    to[..len].copy_from_slice(&from[..len]);
    to[len..].fill(0);
}

/// Whether two strings are equal up to the first NUL or the shorter capacity.
pub(super) fn equal(a: &[u8], b: &[u8]) -> bool {
    for (&x, &y) in a.iter().zip(b) {
        if x != y {
            return false;
        }
        if x == 0 {
            return true;
        }
    }
    true
}

/// Place of the first occurrence, or -1.
pub(super) fn find(hay: &[u8], needle: &[u8]) -> i64 {
    let (hay, needle) = (text(hay), text(needle));
    if needle.is_empty() {
        return 0;
    }
    hay.windows(needle.len()).position(|w| w == needle).map_or(-1, |n| n as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_end_at_the_nul_or_the_capacity() {
        let mut to = *b"xxxxx";
        copy(&mut to, b"ab\0cd");
        assert_eq!(&to, b"ab\0\0\0");
        assert!(equal(b"abc", b"abcd") && equal(b"ab\0x", b"ab\0y") && !equal(b"ab\0", b"abc"));
        assert_eq!(find(b"hello\0lo", b"lo\0"), 3);
        assert_eq!(find(b"hel\0lo", b"lo"), -1);
        assert_eq!(find(b"", b"\0"), 0);
    }
}
