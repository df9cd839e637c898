//! Numbers of the opcode byte and of the fields that extend it.

/// Mask of the class.
pub const CLASS: u8 = 0x07;
/// 64-bit constants and legacy packet loads.
pub const LD: u8 = 0x00;
/// Load from memory.
pub const LDX: u8 = 0x01;
/// Store of a constant.
pub const ST: u8 = 0x02;
/// Store of a register, atomics.
pub const STX: u8 = 0x03;
/// 32-bit arithmetic.
pub const ALU: u8 = 0x04;
/// 64-bit jumps, calls, exit.
pub const JMP: u8 = 0x05;
/// Jumps that compare 32 bits.
pub const JMP32: u8 = 0x06;
/// 64-bit arithmetic.
pub const ALU64: u8 = 0x07;

/// Mask of the operation of arithmetic and jumps.
pub const OP: u8 = 0xf0;
/// Second operand is a register.
pub const X: u8 = 0x08;
/// Arithmetic: negation.
pub const NEG: u8 = 0x80;
/// Arithmetic: move.
pub const MOV: u8 = 0xb0;
/// Arithmetic: change of byte order.
pub const END: u8 = 0xd0;
/// Jump: always.
pub const JA: u8 = 0x00;
/// Jump: call.
pub const CALL: u8 = 0x80;
/// Jump: return.
pub const EXIT: u8 = 0x90;
/// Jump: condition known to the kernel alone.
pub const JCOND: u8 = 0xe0;

/// Mask of the mode of loads and stores.
pub const MODE: u8 = 0xe0;
/// Mode: constant.
pub const IMM: u8 = 0x00;
/// Mode: packet at a constant offset.
pub const ABS: u8 = 0x20;
/// Mode: packet at a register's offset.
pub const IND: u8 = 0x40;
/// Mode: memory.
pub const MEM: u8 = 0x60;
/// Mode: memory, sign-extending.
pub const MEMSX: u8 = 0x80;
/// Mode: atomic operation.
pub const ATOMIC: u8 = 0xc0;
/// Mask of the access size.
pub const SIZE: u8 = 0x18;

/// First slot of a 64-bit constant.
pub const LD_IMM64: u8 = LD | IMM | 0x18;
/// Unconditional jump, 16-bit distance.
pub const GOTO: u8 = JMP | JA;
/// Unconditional jump, 32-bit distance.
pub const GOTOL: u8 = JMP32 | JA;
/// Unconditional jump to an address in a register.
pub const GOTOX: u8 = JMP | JA | X;
/// Jump that the kernel takes when the program has looped for too long.
pub const MAY_GOTO: u8 = JMP | JCOND;
/// Call instruction.
pub const CALL_INSN: u8 = JMP | CALL;
/// Return instruction.
pub const EXIT_INSN: u8 = JMP | EXIT;
/// Speculation barrier; the kernel inserts it and accepts it from nobody (`BPF_NOSPEC` in linux/filter.h).
pub const NOSPEC: u8 = ST | 0xc0;

/// In the constant of an atomic operation: the old value is returned.
pub const FETCH: i32 = 0x01;
/// Constant of an atomic exchange.
pub const XCHG: i32 = 0xe0 | FETCH;
/// Constant of an atomic compare-and-exchange.
pub const CMPXCHG: i32 = 0xf0 | FETCH;
/// Constant of a load-acquire.
pub const LOAD_ACQ: i32 = 0x100;
/// Constant of a store-release.
pub const STORE_REL: i32 = 0x110;

/// Offset of a register move that makes it a change of address space.
pub const ADDR_SPACE_CAST: i16 = 1;

/// Source field of a call: another function of the program.
pub const PSEUDO_CALL: u8 = 1;
/// Source field of a call: a kernel function.
pub const PSEUDO_KFUNC_CALL: u8 = 2;
/// Source field of a 64-bit constant: a map's descriptor.
pub const PSEUDO_MAP_FD: u8 = 1;
/// Source field of a 64-bit constant: the address of a map's value.
pub const PSEUDO_MAP_VALUE: u8 = 2;
/// Source field of a 64-bit constant: a kernel variable.
pub const PSEUDO_BTF_ID: u8 = 3;
/// Source field of a 64-bit constant: a function of the program.
pub const PSEUDO_FUNC: u8 = 4;
/// Source field of a 64-bit constant: a map by its index in the descriptor array.
pub const PSEUDO_MAP_IDX: u8 = 5;
/// Source field of a 64-bit constant: the address of a map's value, the map by index.
pub const PSEUDO_MAP_IDX_VALUE: u8 = 6;
