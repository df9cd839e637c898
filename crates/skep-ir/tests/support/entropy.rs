//! Choices from a list of bytes: a shorter or smaller list makes a simpler thing, so that shrinking the list
//! shrinks what is made from it.

pub struct Entropy<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Entropy<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Entropy { bytes, at: 0 }
    }

    pub fn is_spent(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub fn byte(&mut self) -> u8 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        byte
    }

    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        let wide = if n > 256 {
            usize::from(self.byte()) << 8 | usize::from(self.byte())
        } else {
            usize::from(self.byte())
        };
        wide % n
    }

    pub fn flip(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    pub fn u64(&mut self) -> u64 {
        // Ends of ranges find more than evenly spread numbers do.
        const ODD: [u64; 12] = [
            0,
            1,
            2,
            7,
            8,
            63,
            64,
            255,
            0x7fff_ffff,
            0x8000_0000,
            0x7fff_ffff_ffff_ffff,
            0x8000_0000_0000_0000,
        ];
        match self.byte() {
            b @ 0..=99 => u64::from(b) % 12,
            b @ 100..=199 => ODD[usize::from(b) % ODD.len()],
            b @ 200..=219 => ODD[usize::from(b) % ODD.len()].wrapping_neg(),
            _ => (0..8).fold(0, |n, _| n << 8 | u64::from(self.byte())),
        }
    }

    pub fn i64(&mut self) -> i64 {
        self.u64() as i64
    }

    pub fn u32(&mut self) -> u32 {
        self.u64() as u32
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub fn text(&mut self) -> Vec<u8> {
        (0..self.below(6)).map(|_| self.byte()).collect()
    }

    pub fn name(&mut self) -> String {
        const NAMES: [&str; 8] = ["a", "b", "a.2", "", "x y", "\"", "é\n", "v1"];
        self.pick(&NAMES).to_owned()
    }
}
