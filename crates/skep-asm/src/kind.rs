//! What an instruction does: the typed view of a slot that the kernel's verifier would accept in form.
//!
//! [`Insn::kind`] is the one place that knows which opcodes exist and which fields must be zero; text,
//! interpreter and checks build on it.

use crate::insn::Insn;
use crate::op::{AluOp, AtomicOp, Cond, Size, SwapBits, SwapOp, Width, code};
use crate::reg::Reg;
use thiserror::Error;

/// Second operand of arithmetic and comparisons, or what is stored.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A register.
    Reg(Reg),
    /// A constant, sign-extended to the width of the operation.
    Imm(i32),
}

impl From<Reg> for Operand {
    fn from(reg: Reg) -> Self {
        Operand::Reg(reg)
    }
}

impl From<i32> for Operand {
    fn from(imm: i32) -> Self {
        Operand::Imm(imm)
    }
}

/// Whom a call calls.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Callee {
    /// A helper by its number. Dumps of loaded programs hold addresses relative to the kernel's first
    /// helper here instead.
    Helper(i32),
    /// The function of the program that starts so many slots after the next one.
    Subprog(i32),
    /// A kernel function.
    Kfunc {
        /// Its BTF id.
        btf_id: i32,
        /// Index in the descriptor array of the BTF of its module, 0 for the kernel itself.
        fd_index: i16,
    },
}

/// A decoded slot.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the fields are the operands that every variant's text shows")]
pub enum Kind {
    /// `r1 += r2`, `w1 s/= 5`
    Alu { width: Width, op: AluOp, dst: Reg, rhs: Operand },
    /// `r1 = (s8)r2`; `size` is one of B, H and, in 64 bits, W.
    MovSx { width: Width, size: Size, dst: Reg, src: Reg },
    /// `r1 = -r1`
    Neg { width: Width, dst: Reg },
    /// `r1 = be16 r1`
    Swap { op: SwapOp, bits: SwapBits, dst: Reg },
    /// `r1 = addr_space_cast(r2, 0, 1)`
    AddrSpaceCast { dst: Reg, src: Reg, to: u16, from: u16 },
    /// `r1 = *(u32 *)(r2 +4)`, sign-extending `r1 = *(s32 *)(r2 +4)`
    Load { size: Size, signed: bool, dst: Reg, base: Reg, off: i16 },
    /// `*(u32 *)(r1 +4) = r2`
    Store { size: Size, base: Reg, off: i16, value: Operand },
    /// `lock *(u64 *)(r1 +0) += r2`, `r2 = atomic64_xchg((u64 *)(r1 +0), r2)`
    Atomic { width: Width, op: AtomicOp, base: Reg, off: i16, src: Reg },
    /// `r1 = load_acquire((u64 *)(r2 +0))`
    LoadAcquire { size: Size, dst: Reg, base: Reg, off: i16 },
    /// `store_release((u64 *)(r1 +0), r2)`
    StoreRelease { size: Size, base: Reg, off: i16, src: Reg },
    /// First slot of a 64-bit constant; [`wide`] gives the whole of it.
    LoadImm { dst: Reg },
    /// `r0 = *(u16 *)skb[12]`, `r0 = *(u16 *)skb[r2 + 12]`
    LoadPacket { size: Size, index: Option<Reg>, imm: i32 },
    /// `goto pc+3`, or with 32 bits of distance `gotol pc+3`
    Goto { off: i32, long: bool },
    /// `if w1 s> 0x5 goto pc+3`
    Branch { width: Width, cond: Cond, lhs: Reg, rhs: Operand, off: i16 },
    /// `may_goto pc+3`
    MayGoto { off: i16 },
    /// `gotox r1`
    GotoX { target: Reg },
    /// `call bpf_ktime_get_ns#5`, `call pc+3`
    Call(Callee),
    /// `exit`
    Exit,
    /// `nospec`, in dumps of loaded programs only
    Nospec,
}

/// Why a slot is no instruction that the kernel knows.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Error)]
pub enum Invalid {
    /// No such opcode.
    #[error("unknown opcode {0:#04x}; the program is damaged or newer than this decoder")]
    Opcode(u8),
    /// No such register.
    #[error("there is no register r{}; the registers are r0 to r10", .0.number())]
    Register(Reg),
    /// A field that must be zero, or have one of few values, has another.
    #[error("field {0} has a value that the instruction does not allow")]
    Field(Field),
    /// The second slot of a 64-bit constant is missing or is an instruction of its own.
    #[error("the 64-bit constant lacks its second slot")]
    HalfConstant,
}

/// A field of a slot.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// Destination register.
    Dst,
    /// Source register.
    Src,
    /// Offset.
    Off,
    /// Constant.
    Imm,
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Field::Dst => "dst",
            Field::Src => "src",
            Field::Off => "off",
            Field::Imm => "imm",
        })
    }
}

/// A 64-bit constant and what it means.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum WideImm {
    /// A number.
    Value(u64),
    /// A map by its descriptor; in dumps of loaded programs by its id.
    MapFd(i32),
    /// The address of an array map's value.
    MapValue {
        /// The map's descriptor; in dumps of loaded programs its id.
        fd: i32,
        /// Bytes after the start of the first element.
        offset: u32,
    },
    /// A variable of the kernel or a module.
    BtfId {
        /// BTF id of the VAR.
        id: i32,
        /// Descriptor of the module's BTF, 0 for the kernel itself.
        fd: i32,
    },
    /// The function of the program that starts so many slots after the next one, counted from the first
    /// slot of the constant.
    Func(i32),
    /// A map by its index in the descriptor array.
    MapIdx(i32),
    /// The address of an array map's value, the map by its index in the descriptor array.
    MapIdxValue {
        /// Index in the descriptor array.
        index: i32,
        /// Bytes after the start of the first element.
        offset: u32,
    },
}

impl WideImm {
    /// Source field and both halves.
    pub(crate) const fn fields(self) -> (u8, i32, i32) {
        match self {
            WideImm::Value(value) => (0, value as i32, (value >> 32) as i32),
            WideImm::MapFd(fd) => (code::PSEUDO_MAP_FD, fd, 0),
            WideImm::MapValue { fd, offset } => (code::PSEUDO_MAP_VALUE, fd, offset as i32),
            WideImm::BtfId { id, fd } => (code::PSEUDO_BTF_ID, id, fd),
            WideImm::Func(offset) => (code::PSEUDO_FUNC, offset, 0),
            WideImm::MapIdx(index) => (code::PSEUDO_MAP_IDX, index, 0),
            WideImm::MapIdxValue { index, offset } => (code::PSEUDO_MAP_IDX_VALUE, index, offset as i32),
        }
    }
}

/// The destination and meaning of a 64-bit constant whose first slot is `first`.
///
/// # Errors
/// The first slot is another instruction, the second is not there or not of the form that the kernel
/// demands (`check_ld_imm` and `resolve_pseudo_ldimm64` in kernel/bpf/verifier.c).
pub fn wide(first: Insn, second: Option<Insn>) -> Result<(Reg, WideImm), Invalid> {
    let Kind::LoadImm { dst } = first.kind()? else { return Err(Invalid::Opcode(first.op)) };
    let high = second.ok_or(Invalid::HalfConstant)?;
    if !high.is_wide_tail() {
        return Err(Invalid::HalfConstant);
    }
    let no_high = |imm: WideImm| if high.imm == 0 { Ok(imm) } else { Err(Invalid::Field(Field::Imm)) };
    let imm = match first.src.number() {
        0 => WideImm::Value(u64::from(high.imm as u32) << 32 | u64::from(first.imm as u32)),
        code::PSEUDO_MAP_FD => no_high(WideImm::MapFd(first.imm))?,
        code::PSEUDO_MAP_VALUE => WideImm::MapValue { fd: first.imm, offset: high.imm as u32 },
        code::PSEUDO_BTF_ID => WideImm::BtfId { id: first.imm, fd: high.imm },
        code::PSEUDO_FUNC => no_high(WideImm::Func(first.imm))?,
        code::PSEUDO_MAP_IDX => no_high(WideImm::MapIdx(first.imm))?,
        code::PSEUDO_MAP_IDX_VALUE => WideImm::MapIdxValue { index: first.imm, offset: high.imm as u32 },
        _ => return Err(Invalid::Field(Field::Src)),
    };
    Ok((dst, imm))
}

/// Demands of the fields that an instruction does not use.
struct Fields(Insn);

impl Fields {
    fn dst(&self) -> Result<Reg, Invalid> {
        if self.0.dst.is_valid() { Ok(self.0.dst) } else { Err(Invalid::Register(self.0.dst)) }
    }

    fn src(&self) -> Result<Reg, Invalid> {
        if self.0.src.is_valid() { Ok(self.0.src) } else { Err(Invalid::Register(self.0.src)) }
    }

    fn zero(&self, fields: &[Field]) -> Result<(), Invalid> {
        let value = |field| match field {
            Field::Dst => i32::from(self.0.dst.number()),
            Field::Src => i32::from(self.0.src.number()),
            Field::Off => i32::from(self.0.off),
            Field::Imm => self.0.imm,
        };
        match fields.iter().find(|&&f| value(f) != 0) {
            Some(&field) => Err(Invalid::Field(field)),
            None => Ok(()),
        }
    }

    /// The operand that the X bit selects; the other field must be zero.
    fn operand(&self) -> Result<Operand, Invalid> {
        if self.0.op & code::X != 0 {
            self.zero(&[Field::Imm])?;
            self.src().map(Operand::Reg)
        } else {
            self.zero(&[Field::Src])?;
            Ok(Operand::Imm(self.0.imm))
        }
    }
}

impl Insn {
    /// What the slot does.
    ///
    /// The demands are those of `check_alu_op`, `do_check` and `resolve_pseudo_ldimm64` in
    /// kernel/bpf/verifier.c, plus one: `exit` must have a zero offset, which the kernel does not look at.
    /// Demands on values (division by a constant zero, shifts beyond the width) are left to
    /// [`check`](crate::check()).
    ///
    /// # Errors
    /// The kernel knows no such instruction.
    pub fn kind(self) -> Result<Kind, Invalid> {
        match self.op & code::CLASS {
            code::LD => self.load_class(),
            code::LDX => self.loadx_class(),
            code::ST => self.store_class(),
            code::STX => self.storex_class(),
            code::ALU => self.alu_class(Width::W32),
            code::ALU64 => self.alu_class(Width::W64),
            code::JMP => self.jump_class(Width::W64),
            _ => self.jump_class(Width::W32),
        }
    }

    fn load_class(self) -> Result<Kind, Invalid> {
        let fields = Fields(self);
        let size = Size::from_code(self.op);
        match self.op & code::MODE {
            code::IMM if size == Size::Dw => {
                fields.zero(&[Field::Off])?;
                if self.src.number() > code::PSEUDO_MAP_IDX_VALUE {
                    return Err(Invalid::Field(Field::Src));
                }
                Ok(Kind::LoadImm { dst: fields.dst()? })
            }
            code::ABS if size != Size::Dw => {
                fields.zero(&[Field::Dst, Field::Src, Field::Off])?;
                Ok(Kind::LoadPacket { size, index: None, imm: self.imm })
            }
            code::IND if size != Size::Dw => {
                fields.zero(&[Field::Dst, Field::Off])?;
                Ok(Kind::LoadPacket { size, index: Some(fields.src()?), imm: self.imm })
            }
            _ => Err(Invalid::Opcode(self.op)),
        }
    }

    fn loadx_class(self) -> Result<Kind, Invalid> {
        let fields = Fields(self);
        let size = Size::from_code(self.op);
        let signed = match self.op & code::MODE {
            code::MEM => false,
            code::MEMSX if size != Size::Dw => true,
            _ => return Err(Invalid::Opcode(self.op)),
        };
        fields.zero(&[Field::Imm])?;
        Ok(Kind::Load { size, signed, dst: fields.dst()?, base: fields.src()?, off: self.off })
    }

    fn store_class(self) -> Result<Kind, Invalid> {
        let fields = Fields(self);
        if self.op == code::NOSPEC {
            fields.zero(&[Field::Dst, Field::Src, Field::Off, Field::Imm])?;
            return Ok(Kind::Nospec);
        }
        if self.op & code::MODE != code::MEM {
            return Err(Invalid::Opcode(self.op));
        }
        fields.zero(&[Field::Src])?;
        let (size, value) = (Size::from_code(self.op), Operand::Imm(self.imm));
        Ok(Kind::Store { size, base: fields.dst()?, off: self.off, value })
    }

    fn storex_class(self) -> Result<Kind, Invalid> {
        let fields = Fields(self);
        let (size, off) = (Size::from_code(self.op), self.off);
        let (dst, src) = (fields.dst()?, fields.src()?);
        match self.op & code::MODE {
            code::MEM => {
                fields.zero(&[Field::Imm])?;
                Ok(Kind::Store { size, base: dst, off, value: Operand::Reg(src) })
            }
            code::ATOMIC => match (self.imm, size) {
                (code::LOAD_ACQ, _) => Ok(Kind::LoadAcquire { size, dst, base: src, off }),
                (code::STORE_REL, _) => Ok(Kind::StoreRelease { size, base: dst, off, src }),
                (_, Size::B | Size::H) => Err(Invalid::Opcode(self.op)),
                (imm, _) => {
                    let width = if size == Size::W { Width::W32 } else { Width::W64 };
                    let op = AtomicOp::from_code(imm).ok_or(Invalid::Field(Field::Imm))?;
                    Ok(Kind::Atomic { width, op, base: dst, off, src })
                }
            },
            _ => Err(Invalid::Opcode(self.op)),
        }
    }

    fn alu_class(self, width: Width) -> Result<Kind, Invalid> {
        let fields = Fields(self);
        let x = self.op & code::X != 0;
        let dst = fields.dst()?;
        match self.op & code::OP {
            code::NEG => {
                if x {
                    return Err(Invalid::Opcode(self.op));
                }
                fields.zero(&[Field::Src, Field::Off, Field::Imm])?;
                Ok(Kind::Neg { width, dst })
            }
            code::END => {
                let op = match (width, x) {
                    (Width::W32, false) => SwapOp::Le,
                    (Width::W32, true) => SwapOp::Be,
                    (Width::W64, false) => SwapOp::Bswap,
                    (Width::W64, true) => return Err(Invalid::Opcode(self.op)),
                };
                fields.zero(&[Field::Src, Field::Off])?;
                let bits = SwapBits::from_bits(self.imm).ok_or(Invalid::Field(Field::Imm))?;
                Ok(Kind::Swap { op, bits, dst })
            }
            code::MOV if x && self.off != 0 => self.special_move(width, dst),
            op if op > code::END => Err(Invalid::Opcode(self.op)),
            _ => {
                let op = AluOp::from_code(self.op, self.off).ok_or(Invalid::Field(Field::Off))?;
                Ok(Kind::Alu { width, op, dst, rhs: fields.operand()? })
            }
        }
    }

    /// Register moves whose offset makes them something else.
    fn special_move(self, width: Width, dst: Reg) -> Result<Kind, Invalid> {
        let fields = Fields(self);
        let src = fields.src()?;
        if width == Width::W64 && self.off == code::ADDR_SPACE_CAST {
            let (to, from) = ((self.imm as u32 >> 16) as u16, self.imm as u16);
            return match (to, from) {
                (0, 1) | (1, 0) => Ok(Kind::AddrSpaceCast { dst, src, to, from }),
                _ => Err(Invalid::Field(Field::Imm)),
            };
        }
        fields.zero(&[Field::Imm])?;
        let size = match (width, self.off) {
            (_, 8) => Size::B,
            (_, 16) => Size::H,
            (Width::W64, 32) => Size::W,
            _ => return Err(Invalid::Field(Field::Off)),
        };
        Ok(Kind::MovSx { width, size, dst, src })
    }

    fn jump_class(self, width: Width) -> Result<Kind, Invalid> {
        let fields = Fields(self);
        match self.op {
            code::GOTO => {
                fields.zero(&[Field::Dst, Field::Src, Field::Imm])?;
                Ok(Kind::Goto { off: i32::from(self.off), long: false })
            }
            code::GOTOL => {
                fields.zero(&[Field::Dst, Field::Src, Field::Off])?;
                Ok(Kind::Goto { off: self.imm, long: true })
            }
            code::GOTOX => {
                fields.zero(&[Field::Src, Field::Off, Field::Imm])?;
                Ok(Kind::GotoX { target: fields.dst()? })
            }
            code::MAY_GOTO => {
                fields.zero(&[Field::Dst, Field::Src, Field::Imm])?;
                Ok(Kind::MayGoto { off: self.off })
            }
            code::CALL_INSN => {
                fields.zero(&[Field::Dst])?;
                match self.src.number() {
                    code::PSEUDO_KFUNC_CALL => {
                        Ok(Kind::Call(Callee::Kfunc { btf_id: self.imm, fd_index: self.off }))
                    }
                    src => {
                        fields.zero(&[Field::Off])?;
                        match src {
                            0 => Ok(Kind::Call(Callee::Helper(self.imm))),
                            code::PSEUDO_CALL => Ok(Kind::Call(Callee::Subprog(self.imm))),
                            _ => Err(Invalid::Field(Field::Src)),
                        }
                    }
                }
            }
            code::EXIT_INSN => {
                fields.zero(&[Field::Dst, Field::Src, Field::Off, Field::Imm])?;
                Ok(Kind::Exit)
            }
            _ => {
                let cond = Cond::from_code(self.op).ok_or(Invalid::Opcode(self.op))?;
                let (lhs, rhs) = (fields.dst()?, fields.operand()?);
                Ok(Kind::Branch { width, cond, lhs, rhs, off: self.off })
            }
        }
    }
}

impl From<Kind> for Insn {
    /// The slot of a decoded instruction; [`Kind::LoadImm`] gives the first slot of the constant zero.
    ///
    /// Sizes and distances that an instruction does not have give the instruction of equal effect.
    fn from(kind: Kind) -> Insn {
        match kind {
            Kind::Alu { width, op, dst, rhs } => Insn::alu(width, op, dst, rhs),
            Kind::MovSx { width, size, dst, src } => Insn::movsx(width, size, dst, src),
            Kind::Neg { width, dst } => Insn::neg(width, dst),
            Kind::Swap { op, bits, dst } => Insn::swap(op, bits, dst),
            Kind::AddrSpaceCast { dst, src, to, from } => Insn::addr_space_cast(dst, src, to, from),
            Kind::Load { size, signed: false, dst, base, off } => Insn::load(size, dst, base, off),
            Kind::Load { size, signed: true, dst, base, off } => Insn::load_sx(size, dst, base, off),
            Kind::Store { size, base, off, value } => Insn::store(size, base, off, value),
            Kind::Atomic { width, op, base, off, src } => Insn::atomic(width, op, base, off, src),
            Kind::LoadAcquire { size, dst, base, off } => Insn::load_acquire(size, dst, base, off),
            Kind::StoreRelease { size, base, off, src } => Insn::store_release(size, base, off, src),
            Kind::LoadImm { dst } => Insn::load_imm64(dst, 0)[0],
            Kind::LoadPacket { size, index, imm } => Insn::load_packet(size, index, imm),
            Kind::Goto { off, long } => match i16::try_from(off) {
                Ok(off) if !long => Insn::goto(off),
                _ => Insn::gotol(off),
            },
            Kind::Branch { width, cond, lhs, rhs, off } => Insn::branch(width, cond, lhs, rhs, off),
            Kind::MayGoto { off } => Insn::may_goto(off),
            Kind::GotoX { target } => Insn::gotox(target),
            Kind::Call(callee) => Insn::call(callee),
            Kind::Exit => Insn::exit(),
            Kind::Nospec => Insn { op: code::NOSPEC, ..Insn::default() },
        }
    }
}
