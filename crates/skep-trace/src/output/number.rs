//! Numbers as digits, written into a buffer without allocating: every line of output is made of them.

use std::io::Write as _;

/// `n` in decimal.
pub(super) fn unsigned(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// `n` in decimal, with a sign if it is negative.
pub(super) fn signed(out: &mut Vec<u8>, n: i64) {
    if n < 0 {
        out.push(b'-');
    }
    unsigned(out, n.unsigned_abs());
}

/// A number whose low 64 bits are `n`, signed or not.
pub(super) fn integer(out: &mut Vec<u8>, n: i64, is_signed: bool) {
    if is_signed { signed(out, n) } else { unsigned(out, n as u64) }
}

/// `n` in hexadecimal, without prefix.
pub(super) fn hex(out: &mut Vec<u8>, n: u64) {
    radix(out, n, 4, b"0123456789abcdef");
}

/// `n` in hexadecimal with capital letters, without prefix.
pub(super) fn upper_hex(out: &mut Vec<u8>, n: u64) {
    radix(out, n, 4, b"0123456789ABCDEF");
}

/// `n` in octal, without prefix.
pub(super) fn octal(out: &mut Vec<u8>, n: u64) {
    radix(out, n, 3, b"01234567");
}

fn radix(out: &mut Vec<u8>, mut n: u64, bits: u32, signs: &[u8]) {
    let mut digits = [0; 22];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = signs[(n & ((1 << bits) - 1)) as usize];
        n >>= bits;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Two digits of a byte.
pub(super) fn hex_byte(out: &mut Vec<u8>, byte: u8) {
    const SIGNS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[SIGNS[usize::from(byte >> 4)], SIGNS[usize::from(byte & 15)]]);
}

/// Formatted text; writing to memory does not fail.
pub(super) fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// Moves what was written from `start` on to the right or left edge of a field.
pub(super) fn pad(out: &mut Vec<u8>, start: usize, width: u32, left: bool, fill: u8) {
    let len = out.len() - start;
    let Some(missing) = (width as usize).checked_sub(len).filter(|n| *n > 0) else { return };
    out.resize(out.len() + missing, fill);
    if !left {
        out.copy_within(start..start + len, start + missing);
        out[start..start + missing].fill(fill);
    }
}

/// Up to 8 bytes at an offset, little endian; bytes that are not there read as zero.
pub(super) fn read(bytes: &[u8], offset: usize, size: usize) -> u64 {
    let mut word = [0; 8];
    let there = bytes.get(offset..).unwrap_or(&[]);
    let len = size.min(8).min(there.len());
    word[..len].copy_from_slice(&there[..len]);
    u64::from_le_bytes(word)
}

/// The low bytes of a word as a signed or unsigned number.
pub(super) fn extend(word: u64, bytes: u8, is_signed: bool) -> i64 {
    let shift = 64 - 8 * u32::from(bytes.clamp(1, 8));
    let high = word << shift;
    if is_signed { high as i64 >> shift } else { (high >> shift) as i64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(f: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        f(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn limits() {
        assert_eq!(made(|o| unsigned(o, 0)), "0");
        assert_eq!(made(|o| unsigned(o, u64::MAX)), u64::MAX.to_string());
        assert_eq!(made(|o| signed(o, i64::MIN)), i64::MIN.to_string());
        assert_eq!(made(|o| octal(o, u64::MAX)), format!("{:o}", u64::MAX));
        assert_eq!(made(|o| hex(o, u64::MAX)), "ffffffffffffffff");
        assert_eq!(extend(0xff, 1, true), -1);
        assert_eq!(extend(0x1_ffff_ffff, 4, false), 0xffff_ffff);
        assert_eq!(read(&[1, 2], 1, 8), 2);
        assert_eq!(read(&[1, 2], 9, 8), 0);
    }

    #[test]
    fn fields() {
        let padded = |width, left, fill| {
            made(|o| {
                o.extend_from_slice(b"x-12");
                pad(o, 1, width, left, fill);
            })
        };
        assert_eq!(padded(5, false, b'0'), "x00-12");
        assert_eq!(padded(5, true, b' '), "x-12  ");
        assert_eq!(padded(2, false, b' '), "x-12");
    }
}
