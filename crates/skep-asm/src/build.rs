//! Constructors: one for each instruction that the kernel knows. They are total: what an instruction
//! cannot express is replaced by the instruction of equal effect, and said so.

use crate::insn::Insn;
use crate::kind::{Callee, Operand, WideImm};
use crate::op::{AluOp, AtomicOp, Cond, Size, SwapBits, SwapOp, Width, code};
use crate::reg::Reg;

const R0: Reg = Reg::R0;

const fn slot(op: u8, dst: Reg, src: Reg, off: i16, imm: i32) -> Insn {
    Insn { op, dst, src, off, imm }
}

impl Insn {
    /// Arithmetic or a move: `dst op= rhs`.
    #[must_use]
    pub fn alu(width: Width, op: AluOp, dst: Reg, rhs: impl Into<Operand>) -> Insn {
        let (bits, off) = op.code();
        let bits = bits | width.alu_class();
        match rhs.into() {
            Operand::Reg(src) => slot(bits | code::X, dst, src, off, 0),
            Operand::Imm(imm) => slot(bits, dst, R0, off, imm),
        }
    }

    /// 64-bit arithmetic: `r1 += r2`.
    #[must_use]
    pub fn alu64(op: AluOp, dst: Reg, rhs: impl Into<Operand>) -> Insn {
        Insn::alu(Width::W64, op, dst, rhs)
    }

    /// 32-bit arithmetic: `w1 += w2`; the upper half becomes zero.
    #[must_use]
    pub fn alu32(op: AluOp, dst: Reg, rhs: impl Into<Operand>) -> Insn {
        Insn::alu(Width::W32, op, dst, rhs)
    }

    /// `dst = rhs` in 64 bits; a constant is sign-extended.
    #[must_use]
    pub fn mov64(dst: Reg, rhs: impl Into<Operand>) -> Insn {
        Insn::alu(Width::W64, AluOp::Mov, dst, rhs)
    }

    /// `dst = rhs` in 32 bits; the upper half becomes zero.
    #[must_use]
    pub fn mov32(dst: Reg, rhs: impl Into<Operand>) -> Insn {
        Insn::alu(Width::W32, AluOp::Mov, dst, rhs)
    }

    /// Sign-extending move (cpu v4). A size of the whole width or more is a plain move.
    #[must_use]
    pub const fn movsx(width: Width, size: Size, dst: Reg, src: Reg) -> Insn {
        let off = match (width, size) {
            (_, Size::B) => 8,
            (_, Size::H) => 16,
            (Width::W64, Size::W) => 32,
            _ => 0,
        };
        slot(width.alu_class() | code::MOV | code::X, dst, src, off, 0)
    }

    /// `dst = -dst`
    #[must_use]
    pub const fn neg(width: Width, dst: Reg) -> Insn {
        slot(width.alu_class() | code::NEG, dst, R0, 0, 0)
    }

    /// Change of byte order of the low bits; those above become zero.
    #[must_use]
    pub const fn swap(op: SwapOp, bits: SwapBits, dst: Reg) -> Insn {
        let op = match op {
            SwapOp::Le => code::ALU | code::END,
            SwapOp::Be => code::ALU | code::END | code::X,
            SwapOp::Bswap => code::ALU64 | code::END,
        };
        slot(op, dst, R0, 0, bits.bits() as i32)
    }

    /// Move of an arena pointer from one address space to another; the kernel knows the spaces 0 and 1.
    #[must_use]
    pub const fn addr_space_cast(dst: Reg, src: Reg, to: u16, from: u16) -> Insn {
        let imm = ((to as u32) << 16 | from as u32) as i32;
        slot(code::ALU64 | code::MOV | code::X, dst, src, code::ADDR_SPACE_CAST, imm)
    }

    /// `dst = *(size *)(base + off)`, zero-extended.
    #[must_use]
    pub const fn load(size: Size, dst: Reg, base: Reg, off: i16) -> Insn {
        slot(code::LDX | code::MEM | size.code(), dst, base, off, 0)
    }

    /// Sign-extending load (cpu v4); of eight bytes it is a plain load.
    #[must_use]
    pub const fn load_sx(size: Size, dst: Reg, base: Reg, off: i16) -> Insn {
        let mode = match size {
            Size::Dw => code::MEM,
            _ => code::MEMSX,
        };
        slot(code::LDX | mode | size.code(), dst, base, off, 0)
    }

    /// `*(size *)(base + off) = value`; a constant is sign-extended to eight bytes.
    #[must_use]
    pub fn store(size: Size, base: Reg, off: i16, value: impl Into<Operand>) -> Insn {
        let bits = code::MEM | size.code();
        match value.into() {
            Operand::Reg(src) => slot(code::STX | bits, base, src, off, 0),
            Operand::Imm(imm) => slot(code::ST | bits, base, R0, off, imm),
        }
    }

    /// Atomic read-modify-write of `base + off`.
    #[must_use]
    pub const fn atomic(width: Width, op: AtomicOp, base: Reg, off: i16, src: Reg) -> Insn {
        slot(code::STX | code::ATOMIC | width.size().code(), base, src, off, op.code())
    }

    /// Load with acquire ordering.
    #[must_use]
    pub const fn load_acquire(size: Size, dst: Reg, base: Reg, off: i16) -> Insn {
        slot(code::STX | code::ATOMIC | size.code(), dst, base, off, code::LOAD_ACQ)
    }

    /// Store with release ordering.
    #[must_use]
    pub const fn store_release(size: Size, base: Reg, off: i16, src: Reg) -> Insn {
        slot(code::STX | code::ATOMIC | size.code(), base, src, off, code::STORE_REL)
    }

    /// Both slots of a 64-bit number.
    #[must_use]
    pub const fn load_imm64(dst: Reg, value: u64) -> [Insn; 2] {
        Insn::load_wide(dst, WideImm::Value(value))
    }

    /// Both slots of a 64-bit constant of any meaning.
    #[must_use]
    pub const fn load_wide(dst: Reg, imm: WideImm) -> [Insn; 2] {
        let (src, low, high) = imm.fields();
        [slot(code::LD_IMM64, dst, Reg::from_field(src), 0, low), slot(0, R0, R0, 0, high)]
    }

    /// Whether a move of a sign-extended 32-bit constant can load a number, so that it needs no second slot.
    #[must_use]
    pub fn is_short_constant(value: u64) -> bool {
        i32::try_from(value as i64).is_ok()
    }

    /// Legacy load of packet bytes in network order into r0; r6 is the context. Only for tests and tools:
    /// the code generator uses direct packet access. Eight bytes, which it does not have, become four.
    #[must_use]
    pub const fn load_packet(size: Size, index: Option<Reg>, imm: i32) -> Insn {
        let size = match size {
            Size::Dw => Size::W,
            other => other,
        };
        match index {
            Some(reg) => slot(code::LD | code::IND | size.code(), R0, reg, 0, imm),
            None => slot(code::LD | code::ABS | size.code(), R0, R0, 0, imm),
        }
    }

    /// Jump over `off` slots.
    #[must_use]
    pub const fn goto(off: i16) -> Insn {
        slot(code::GOTO, R0, R0, off, 0)
    }

    /// Jump over `off` slots with 32 bits of distance (cpu v4).
    #[must_use]
    pub const fn gotol(off: i32) -> Insn {
        slot(code::GOTOL, R0, R0, 0, off)
    }

    /// Jump to the address in a register, which must come from an instruction array map.
    #[must_use]
    pub const fn gotox(target: Reg) -> Insn {
        slot(code::GOTOX, target, R0, 0, 0)
    }

    /// Jump over `off` slots if `lhs cond rhs`.
    #[must_use]
    pub fn branch(width: Width, cond: Cond, lhs: Reg, rhs: impl Into<Operand>, off: i16) -> Insn {
        let bits = cond.code() | width.jmp_class();
        match rhs.into() {
            Operand::Reg(src) => slot(bits | code::X, lhs, src, off, 0),
            Operand::Imm(imm) => slot(bits, lhs, R0, off, imm),
        }
    }

    /// Jump over `off` slots once the program has looped for too long.
    #[must_use]
    pub const fn may_goto(off: i16) -> Insn {
        slot(code::MAY_GOTO, R0, R0, off, 0)
    }

    /// A call.
    #[must_use]
    pub const fn call(callee: Callee) -> Insn {
        let (src, off, imm) = match callee {
            Callee::Helper(id) => (0, 0, id),
            Callee::Subprog(distance) => (code::PSEUDO_CALL, 0, distance),
            Callee::Kfunc { btf_id, fd_index } => (code::PSEUDO_KFUNC_CALL, fd_index, btf_id),
        };
        slot(code::CALL_INSN, R0, Reg::from_field(src), off, imm)
    }

    /// A call of a helper by its number.
    #[must_use]
    pub const fn call_helper(id: u32) -> Insn {
        Insn::call(Callee::Helper(id as i32))
    }

    /// Return of r0.
    #[must_use]
    pub const fn exit() -> Insn {
        slot(code::EXIT_INSN, R0, R0, 0, 0)
    }
}
