//! Memory of the interpreter: regions far apart, so that no pointer into one reaches another.

use crate::op::Size;
use thiserror::Error;

/// Bytes of a frame's stack (`MAX_BPF_STACK` in include/linux/filter.h).
pub const STACK_SIZE: usize = 512;

/// What a region is for; it decides where its addresses are.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// Below 4 GiB, so that 32-bit context fields can hold the addresses, as `xdp_md` and `__sk_buff` want it
    /// before the kernel rewrites such loads. At most 255 regions of less than 16 MiB.
    Packet,
    /// Memory of a process: helpers reach it, instructions do not.
    User,
    /// Contexts, map values, ring buffer records and everything else.
    Kernel,
}

/// Whether instructions may write a region.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Protection {
    /// They may not; the host may.
    ReadOnly,
    /// They may.
    ReadWrite,
}

/// An access that memory refuses.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Error)]
pub enum MemoryError {
    /// No region holds all of the bytes.
    #[error("{len} bytes at {addr:#x} are not all within one region")]
    OutOfBounds {
        /// First byte.
        addr: u64,
        /// How many.
        len: u64,
    },
    /// The region is read-only.
    #[error("{len} bytes at {addr:#x} are read-only")]
    ReadOnly {
        /// First byte.
        addr: u64,
        /// How many.
        len: u64,
    },
    /// A byte of the stack was never written.
    #[error("the stack byte at {addr:#x} is read before it is written")]
    Uninit {
        /// The first such byte.
        addr: u64,
    },
    /// The space has no room for a region.
    #[error("no room for a region of {len} bytes")]
    Full {
        /// How many bytes were wanted.
        len: u64,
    },
}

type Result<T> = std::result::Result<T, MemoryError>;

#[derive(Clone, Debug)]
struct Region {
    data: Vec<u8>,
    writable: bool,
}

/// Addresses of a space: region `n` begins at `base + (n << shift)`.
#[derive(Clone, Debug)]
struct Regions {
    base: u64,
    shift: u32,
    most: usize,
    regions: Vec<Option<Region>>,
}

impl Regions {
    fn new(base: u64, shift: u32, most: usize) -> Regions {
        Regions { base, shift, most, regions: Vec::new() }
    }

    fn map(&mut self, data: Vec<u8>, writable: bool) -> Result<u64> {
        let len = data.len() as u64;
        // At least one byte between regions belongs to none.
        if len >= 1 << self.shift || self.regions.len() >= self.most {
            return Err(MemoryError::Full { len });
        }
        self.regions.push(Some(Region { data, writable }));
        Ok(self.base + (((self.regions.len() - 1) as u64) << self.shift))
    }

    /// Number of the region at an address, and the offset in it.
    fn place(&self, addr: u64) -> Option<(usize, usize)> {
        let distance = addr.checked_sub(self.base)?;
        let index = usize::try_from(distance >> self.shift).ok().filter(|&i| i < self.regions.len())?;
        let offset = usize::try_from(distance & ((1 << self.shift) - 1)).ok()?;
        Some((index, offset))
    }
}

/// One frame's stack and which of its bytes were written.
#[derive(Clone, Debug)]
struct Stack {
    data: Box<[u8; STACK_SIZE]>,
    written: [u64; STACK_SIZE / 64],
}

impl Stack {
    fn new() -> Stack {
        Stack { data: Box::new([0; STACK_SIZE]), written: [0; STACK_SIZE / 64] }
    }

    fn first_unwritten(&self, offset: usize, len: usize) -> Option<usize> {
        (offset..offset + len).find(|&at| self.written[at / 64] >> (at % 64) & 1 == 0)
    }

    fn mark(&mut self, offset: usize, len: usize) {
        (offset..offset + len).for_each(|at| self.written[at / 64] |= 1 << (at % 64));
    }
}

/// Regions of all spaces and the stacks of the frames. Values are little-endian.
#[derive(Clone, Debug)]
pub struct Memory {
    packet: Regions,
    user: Regions,
    kernel: Regions,
    stacks: Vec<Stack>,
}

impl Default for Memory {
    fn default() -> Self {
        Memory::new()
    }
}

const STACK_BASE: u64 = 0xffff_c900_0000_0000;
const STACK_SHIFT: u32 = 32;

enum Place {
    Packet(usize, usize),
    User(usize, usize),
    Kernel(usize, usize),
    Stack(usize, usize),
}

impl Memory {
    /// Memory without regions.
    #[must_use]
    pub fn new() -> Memory {
        Memory {
            packet: Regions::new(0x0100_0000, 24, 255),
            user: Regions::new(0x5500_0000_0000, 32, 1 << 12),
            kernel: Regions::new(0xffff_8880_0000_0000, 32, 1 << 14),
            stacks: Vec::new(),
        }
    }

    /// Adds a region and gives the address of its first byte.
    ///
    /// # Errors
    /// [`MemoryError::Full`]: too many regions, or bytes, for the space.
    pub fn map(&mut self, space: Space, protection: Protection, data: Vec<u8>) -> Result<u64> {
        let regions = match space {
            Space::Packet => &mut self.packet,
            Space::User => &mut self.user,
            Space::Kernel => &mut self.kernel,
        };
        regions.map(data, protection == Protection::ReadWrite)
    }

    /// Removes the region that an address lies in; its addresses are never used again. Gives its bytes.
    pub fn unmap(&mut self, addr: u64) -> Option<Vec<u8>> {
        let (regions, index) = match self.place(addr)? {
            Place::Packet(index, _) => (&mut self.packet, index),
            Place::User(index, _) => (&mut self.user, index),
            Place::Kernel(index, _) => (&mut self.kernel, index),
            Place::Stack(..) => return None,
        };
        regions.regions[index].take().map(|region| region.data)
    }

    /// The bytes from an address to the end of its region, for looking at results.
    #[must_use]
    pub fn region(&self, addr: u64) -> Option<&[u8]> {
        let (region, offset) = self.find(addr)?;
        region.data.get(offset..)
    }

    fn place(&self, addr: u64) -> Option<Place> {
        if let Some((index, offset)) = self.kernel.place(addr) {
            return Some(Place::Kernel(index, offset));
        }
        if let Some(distance) = addr.checked_sub(STACK_BASE) {
            let depth = usize::try_from(distance >> STACK_SHIFT).ok().filter(|&d| d < self.stacks.len());
            let offset = usize::try_from(distance & ((1 << STACK_SHIFT) - 1)).ok();
            return Some(Place::Stack(depth?, offset?));
        }
        let packet = self.packet.place(addr).map(|(index, offset)| Place::Packet(index, offset));
        packet.or_else(|| self.user.place(addr).map(|(index, offset)| Place::User(index, offset)))
    }

    fn find(&self, addr: u64) -> Option<(&Region, usize)> {
        let (regions, index, offset) = match self.place(addr)? {
            Place::Packet(index, offset) => (&self.packet, index, offset),
            Place::User(index, offset) => (&self.user, index, offset),
            Place::Kernel(index, offset) => (&self.kernel, index, offset),
            Place::Stack(..) => return None,
        };
        Some((regions.regions[index].as_ref()?, offset))
    }

    pub(super) fn is_stack(&self, addr: u64) -> bool {
        matches!(self.place(addr), Some(Place::Stack(..)))
    }

    pub(super) fn is_user(&self, addr: u64) -> bool {
        self.user.place(addr).is_some()
    }

    /// Adds a frame's stack and gives the address behind it: the frame pointer.
    pub(super) fn push_stack(&mut self) -> u64 {
        self.stacks.push(Stack::new());
        STACK_BASE + (((self.stacks.len() - 1) as u64) << STACK_SHIFT) + STACK_SIZE as u64
    }

    pub(super) fn pop_stack(&mut self) {
        self.stacks.pop();
    }

    pub(super) fn clear_stacks(&mut self) {
        self.stacks.clear();
    }

    /// Bytes for a reader. All of a stack's must have been written.
    ///
    /// # Errors
    /// Bytes out of bounds or not written.
    pub fn read(&self, addr: u64, len: u64) -> Result<&[u8]> {
        let outside = MemoryError::OutOfBounds { addr, len };
        let place = self.place(addr).ok_or(outside)?;
        let len = usize::try_from(len).map_err(|_| outside)?;
        if let Place::Stack(depth, offset) = place {
            let stack = &self.stacks[depth];
            let end = offset.checked_add(len).filter(|&end| end <= STACK_SIZE).ok_or(outside)?;
            return match stack.first_unwritten(offset, len) {
                Some(at) => Err(MemoryError::Uninit { addr: addr + (at - offset) as u64 }),
                None => Ok(&stack.data[offset..end]),
            };
        }
        let (region, offset) = self.find(addr).ok_or(outside)?;
        let end = offset.checked_add(len).ok_or(outside)?;
        region.data.get(offset..end).ok_or(outside)
    }

    /// Writes bytes as an instruction or a helper on its behalf does.
    ///
    /// # Errors
    /// Bytes out of bounds or read-only.
    pub fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<()> {
        self.write_as(addr, bytes, false)
    }

    /// Writes bytes as the kernel does: read-only regions are no obstacle.
    ///
    /// # Errors
    /// Bytes out of bounds.
    pub fn write_as_host(&mut self, addr: u64, bytes: &[u8]) -> Result<()> {
        self.write_as(addr, bytes, true)
    }

    fn write_as(&mut self, addr: u64, bytes: &[u8], host: bool) -> Result<()> {
        let len = bytes.len() as u64;
        let outside = MemoryError::OutOfBounds { addr, len };
        let (regions, index, offset) = match self.place(addr).ok_or(outside)? {
            Place::Stack(depth, offset) => {
                let stack = &mut self.stacks[depth];
                let end = offset.checked_add(bytes.len()).filter(|&end| end <= STACK_SIZE).ok_or(outside)?;
                stack.data[offset..end].copy_from_slice(bytes);
                stack.mark(offset, bytes.len());
                return Ok(());
            }
            Place::Packet(index, offset) => (&mut self.packet, index, offset),
            Place::User(index, offset) => (&mut self.user, index, offset),
            Place::Kernel(index, offset) => (&mut self.kernel, index, offset),
        };
        let region = regions.regions[index].as_mut().ok_or(outside)?;
        let end = offset.checked_add(bytes.len()).ok_or(outside)?;
        let target = region.data.get_mut(offset..end).ok_or(outside)?;
        if !region.writable && !host {
            return Err(MemoryError::ReadOnly { addr, len });
        }
        target.copy_from_slice(bytes);
        Ok(())
    }

    /// A number, zero-extended.
    ///
    /// # Errors
    /// As [`read`](Memory::read).
    pub fn load(&self, addr: u64, size: Size) -> Result<u64> {
        let bytes = self.read(addr, u64::from(size.bytes()))?;
        Ok(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// The low bytes of a number.
    ///
    /// # Errors
    /// As [`write`](Memory::write).
    pub fn store(&mut self, addr: u64, size: Size, value: u64) -> Result<()> {
        self.write(addr, &value.to_le_bytes()[..usize::from(size.bytes())])
    }

    /// Bytes up to and without the first zero, at most `most`.
    ///
    /// # Errors
    /// The string leaves its region, or stack bytes before its end were not written.
    pub fn read_str(&self, addr: u64, most: u64) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        for at in 0..most {
            match self.read(addr.wrapping_add(at), 1)?[0] {
                0 => break,
                byte => text.push(byte),
            }
        }
        Ok(text)
    }
}
