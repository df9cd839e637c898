//! The world that generated programs run in: memory of a kernel and of a process, a stack, a few helpers.

use skep_ir::eval::{Host, Memory};
use skep_ir::inst::Space;

pub const KERNEL: u64 = 0xffff_8880_0000_1000;
pub const USER: u64 = 0x0001_0000;
pub const SIZE: u64 = 512;

#[derive(Default)]
pub struct World {
    /// What helpers that ask were asked.
    pub calls: Vec<(u32, Vec<u64>)>,
}

/// A byte of either memory: text with a NUL now and then, and in the second half numbers.
fn byte(space: Space, at: u64) -> u8 {
    let salt = u64::from(space == Space::User);
    if at < SIZE / 2 {
        if (at + salt) % 23 == 22 { 0 } else { b'a' + ((at * 7 + salt) % 4) as u8 }
    } else {
        (at.wrapping_mul(0x9e37_79b9 + salt) >> 11) as u8
    }
}

impl Host for World {
    fn read(&mut self, space: Space, address: u64, to: &mut [u8]) -> bool {
        let base = if space == Space::Kernel { KERNEL } else { USER };
        let Some(at) = address.checked_sub(base) else { return false };
        if at.checked_add(to.len() as u64).is_none_or(|end| end > SIZE) {
            return false;
        }
        for (i, b) in to.iter_mut().enumerate() {
            *b = byte(space, at + i as u64);
        }
        true
    }

    fn stack(&mut self, user: bool) -> Vec<u64> {
        if user {
            vec![0x40_1000, 0x40_2000]
        } else {
            (1..6).map(|n| 0xffff_ffff_8100_0000 + n * 0x40).collect()
        }
    }

    fn helper(&mut self, id: u32, args: &[u64], _: &mut Memory) -> Option<u64> {
        self.calls.push((id, args.to_vec()));
        Some(u64::from(id).wrapping_mul(0x1_0000_0001))
    }

    fn kfunc(&mut self, _: &str, args: &[u64], _: &mut Memory) -> Option<u64> {
        Some(args.iter().fold(7, |a, b| a.wrapping_mul(31).wrapping_add(*b)))
    }
}
