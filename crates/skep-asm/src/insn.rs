//! The instruction and its eight bytes.

use crate::reg::Reg;
use thiserror::Error;

/// One instruction slot: `struct bpf_insn` of `linux/bpf.h`.
///
/// A 64-bit constant takes two slots; the second has opcode 0 and holds the upper half in `imm`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Insn {
    /// Opcode byte; its parts are in [`op::code`](crate::op::code).
    pub op: u8,
    /// Destination register.
    pub dst: Reg,
    /// Source register, or what a constant or call means.
    pub src: Reg,
    /// Distance of a jump in slots after the next one, or offset from a base register in bytes.
    pub off: i16,
    /// Constant.
    pub imm: i32,
}

/// Byte order of encoded instructions: that of the machine they are for.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum Endian {
    /// x86-64, arm64, riscv64 and most others.
    #[default]
    Little,
    /// s390x and others. The register fields trade places too.
    Big,
}

/// Bytes that are no sequence of instructions.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Error)]
#[error("{len} bytes are not a whole number of 8-byte instructions; the code is cut off or not eBPF")]
pub struct BadLength {
    /// How many bytes there are.
    pub len: usize,
}

impl Insn {
    /// Bytes of an encoded slot.
    pub const BYTES: usize = 8;

    /// The slot in the byte order of a machine.
    #[must_use]
    pub const fn to_bytes(self, endian: Endian) -> [u8; 8] {
        let (low, high) = match endian {
            Endian::Little => (self.dst.number(), self.src.number()),
            Endian::Big => (self.src.number(), self.dst.number()),
        };
        let (off, imm) = match endian {
            Endian::Little => (self.off.to_le_bytes(), self.imm.to_le_bytes()),
            Endian::Big => (self.off.to_be_bytes(), self.imm.to_be_bytes()),
        };
        [self.op, high << 4 | low, off[0], off[1], imm[0], imm[1], imm[2], imm[3]]
    }

    /// The slot that eight bytes hold; every value is one.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8], endian: Endian) -> Insn {
        let (low, high) = (Reg::from_field(bytes[1]), Reg::from_field(bytes[1] >> 4));
        let off = [bytes[2], bytes[3]];
        let imm = [bytes[4], bytes[5], bytes[6], bytes[7]];
        match endian {
            Endian::Little => Insn {
                op: bytes[0],
                dst: low,
                src: high,
                off: i16::from_le_bytes(off),
                imm: i32::from_le_bytes(imm),
            },
            Endian::Big => Insn {
                op: bytes[0],
                dst: high,
                src: low,
                off: i16::from_be_bytes(off),
                imm: i32::from_be_bytes(imm),
            },
        }
    }
}

/// The bytes of a program.
#[must_use]
pub fn encode(insns: &[Insn], endian: Endian) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(insns.len() * Insn::BYTES);
    for insn in insns {
        bytes.extend_from_slice(&insn.to_bytes(endian));
    }
    bytes
}

/// The slots of a program's bytes.
///
/// # Errors
/// The length is no multiple of eight.
pub fn decode(bytes: &[u8], endian: Endian) -> Result<Vec<Insn>, BadLength> {
    let (slots, rest) = bytes.as_chunks::<{ Insn::BYTES }>();
    if !rest.is_empty() {
        return Err(BadLength { len: bytes.len() });
    }
    Ok(slots.iter().map(|&slot| Insn::from_bytes(slot, endian)).collect())
}
