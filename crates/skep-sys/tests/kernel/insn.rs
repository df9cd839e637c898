//! BPF instructions, encoded by hand (Documentation/bpf/standardization/instruction-set.rst).

use skep_sys::bpf::Map;
use std::os::fd::{AsFd, AsRawFd};

pub(crate) type Insn = [u8; 8];

pub(crate) const R0: u8 = 0;
pub(crate) const R1: u8 = 1;
pub(crate) const R2: u8 = 2;
pub(crate) const R3: u8 = 3;
pub(crate) const R4: u8 = 4;
pub(crate) const R5: u8 = 5;
pub(crate) const R6: u8 = 6;
pub(crate) const R10: u8 = 10;

pub(crate) mod helper {
    pub(crate) const GET_CURRENT_PID_TGID: i32 = 14;
    pub(crate) const PERF_EVENT_OUTPUT: i32 = 25;
    pub(crate) const RINGBUF_RESERVE: i32 = 131;
    pub(crate) const RINGBUF_SUBMIT: i32 = 132;
    pub(crate) const RINGBUF_DISCARD: i32 = 133;
    pub(crate) const GET_ATTACH_COOKIE: i32 = 174;
}

pub(crate) fn raw(op: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    let (o, i) = (off.to_le_bytes(), imm.to_le_bytes());
    [op, src << 4 | dst, o[0], o[1], i[0], i[1], i[2], i[3]]
}

/// `dst = imm`
pub(crate) fn mov_imm(dst: u8, imm: i32) -> Insn {
    raw(0xb7, dst, 0, 0, imm)
}

/// `dst = src`
pub(crate) fn mov(dst: u8, src: u8) -> Insn {
    raw(0xbf, dst, src, 0, 0)
}

/// `dst += imm`
pub(crate) fn add_imm(dst: u8, imm: i32) -> Insn {
    raw(0x07, dst, 0, 0, imm)
}

/// `dst >>= imm`
pub(crate) fn rsh_imm(dst: u8, imm: i32) -> Insn {
    raw(0x77, dst, 0, 0, imm)
}

/// `dst = *(u64 *)(src + off)`
pub(crate) fn load64(dst: u8, src: u8, off: i16) -> Insn {
    raw(0x79, dst, src, off, 0)
}

/// `*(u64 *)(dst + off) = src`
pub(crate) fn store64(dst: u8, off: i16, src: u8) -> Insn {
    raw(0x7b, dst, src, off, 0)
}

/// `lock *(u64 *)(dst + off) += src`
pub(crate) fn atomic_add64(dst: u8, off: i16, src: u8) -> Insn {
    raw(0xdb, dst, src, off, 0)
}

/// `if dst != imm goto +off`
pub(crate) fn jne_imm(dst: u8, imm: i32, off: i16) -> Insn {
    raw(0x55, dst, 0, off, imm)
}

pub(crate) fn call(helper: i32) -> Insn {
    raw(0x85, 0, 0, 0, helper)
}

pub(crate) fn exit() -> Insn {
    raw(0x95, 0, 0, 0, 0)
}

/// `dst = map` (two slots, BPF_PSEUDO_MAP_FD)
pub(crate) fn map_fd(dst: u8, map: &Map) -> [Insn; 2] {
    [raw(0x18, dst, 1, 0, map.as_fd().as_raw_fd()), raw(0, 0, 0, 0, 0)]
}

/// `dst = &value[0] + offset` of an array map (two slots, BPF_PSEUDO_MAP_VALUE)
pub(crate) fn map_value(dst: u8, map: &Map, offset: i32) -> [Insn; 2] {
    [raw(0x18, dst, 2, 0, map.as_fd().as_raw_fd()), raw(0, 0, 0, 0, offset)]
}
