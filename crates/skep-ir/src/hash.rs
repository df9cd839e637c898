//! Hash tables for keys that nobody chooses to make them slow: numbers of the compiler's own.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A hash table of the compiler's own keys.
pub(crate) type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<Fast>>;

/// Multiplies and rotates; a few instructions for each word.
#[derive(Clone, Copy, Default)]
pub(crate) struct Fast(u64);

impl Hasher for Fast {
    fn finish(&self) -> u64 {
        // Tables take their places from the low bits and tags from the high ones.
        self.0.rotate_left(26)
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0xf135_7aea_2e62_a9c5).rotate_left(20);
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
}
