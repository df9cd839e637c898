//! The memory of a machine: objects at addresses that are far from each other.

use super::Trap;

/// One object.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) bytes: Vec<u8>,
    pub(super) read_only: bool,
}

impl Object {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Object { bytes, read_only: false }
    }
}

/// Objects by address. An address is only valid within the object that it was made from.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    objects: Vec<Option<Object>>,
}

/// Distance between objects.
const STRIDE: u32 = 32;

impl Memory {
    pub(super) fn add(&mut self, object: Object) -> u64 {
        self.objects.push(Some(object));
        (self.objects.len() as u64) << STRIDE
    }

    pub(super) fn remove(&mut self, at: u64) {
        if let Some(object) = self.objects.get_mut(index(at)) {
            *object = None;
        }
    }

    pub(super) fn object(&self, at: u64) -> Option<&Object> {
        self.objects.get(index(at))?.as_ref()
    }

    /// Bytes of the object that an address belongs to; 0 if there is none.
    #[must_use]
    pub fn size(&self, at: u64) -> u64 {
        self.object(at).map_or(0, |o| o.bytes.len() as u64)
    }

    /// Some bytes.
    ///
    /// # Errors
    /// They are not all within one object.
    pub fn bytes(&self, at: u64, len: u64) -> Result<&[u8], Trap> {
        let none = Trap::Access { at, len };
        let object = self.object(at).ok_or(none.clone())?;
        let from = (at & ((1 << STRIDE) - 1)) as usize;
        let to = usize::try_from(len).ok().and_then(|len| from.checked_add(len)).ok_or(none.clone())?;
        object.bytes.get(from..to).ok_or(none)
    }

    /// Some bytes, to be written.
    ///
    /// # Errors
    /// They are not all within one object, or it is read-only.
    pub fn bytes_mut(&mut self, at: u64, len: u64) -> Result<&mut [u8], Trap> {
        let none = Trap::Access { at, len };
        let object = self.objects.get_mut(index(at)).and_then(Option::as_mut).ok_or(none.clone())?;
        if object.read_only {
            return Err(Trap::ReadOnly(at));
        }
        let from = (at & ((1 << STRIDE) - 1)) as usize;
        let to = usize::try_from(len).ok().and_then(|len| from.checked_add(len)).ok_or(none.clone())?;
        object.bytes.get_mut(from..to).ok_or(none)
    }

    /// An integer of 1, 2, 4 or 8 bytes.
    ///
    /// # Errors
    /// As [`Memory::bytes`].
    pub fn read_int(&self, at: u64, bytes: u32) -> Result<u64, Trap> {
        Ok(self.bytes(at, u64::from(bytes))?.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    /// Writes an integer of 1, 2, 4 or 8 bytes.
    ///
    /// # Errors
    /// As [`Memory::bytes_mut`].
    pub fn write_int(&mut self, at: u64, n: u64, bytes: u32) -> Result<(), Trap> {
        for (to, from) in self.bytes_mut(at, u64::from(bytes))?.iter_mut().zip(n.to_le_bytes()) {
            *to = from;
        }
        Ok(())
    }
}

fn index(at: u64) -> usize {
    ((at >> STRIDE) as usize).wrapping_sub(1)
}
