//! The parts of the opcode byte, as in `linux/bpf.h` and `linux/bpf_common.h`, and typed names for them.

pub mod code;

/// Width of arithmetic and comparisons. 32-bit results are zero-extended.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Width {
    /// The low halves (`w1`).
    W32,
    /// Whole registers (`r1`).
    W64,
}

impl Width {
    /// 32 or 64.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Width::W32 => 32,
            Width::W64 => 64,
        }
    }

    /// The letter before a register's number: `w` or `r`.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Width::W32 => 'w',
            Width::W64 => 'r',
        }
    }

    /// The access size of this width.
    #[must_use]
    pub const fn size(self) -> Size {
        match self {
            Width::W32 => Size::W,
            Width::W64 => Size::Dw,
        }
    }

    pub(crate) const fn alu_class(self) -> u8 {
        match self {
            Width::W32 => code::ALU,
            Width::W64 => code::ALU64,
        }
    }

    pub(crate) const fn jmp_class(self) -> u8 {
        match self {
            Width::W32 => code::JMP32,
            Width::W64 => code::JMP,
        }
    }
}

/// Size of a memory access.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Size {
    /// One byte.
    B,
    /// Two bytes.
    H,
    /// Four bytes.
    W,
    /// Eight bytes.
    Dw,
}

impl Size {
    /// Every size, ascending.
    pub const ALL: [Size; 4] = [Size::B, Size::H, Size::W, Size::Dw];

    /// 1, 2, 4 or 8.
    #[must_use]
    pub const fn bytes(self) -> u8 {
        1 << self as u8
    }

    /// The size of so many bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Option<Size> {
        match bytes {
            1 => Some(Size::B),
            2 => Some(Size::H),
            4 => Some(Size::W),
            8 => Some(Size::Dw),
            _ => None,
        }
    }

    /// The bits of the opcode byte.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Size::B => 0x10,
            Size::H => 0x08,
            Size::W => 0x00,
            Size::Dw => 0x18,
        }
    }

    /// The size that an opcode byte holds.
    #[must_use]
    pub const fn from_code(op: u8) -> Size {
        match op & code::SIZE {
            0x10 => Size::B,
            0x08 => Size::H,
            0x00 => Size::W,
            _ => Size::Dw,
        }
    }
}

/// Binary arithmetic.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AluOp {
    /// Addition, wrapping.
    Add,
    /// Subtraction, wrapping.
    Sub,
    /// Multiplication, wrapping.
    Mul,
    /// Unsigned division; by zero it gives zero.
    Div,
    /// Bitwise or.
    Or,
    /// Bitwise and.
    And,
    /// Shift left by the operand modulo the width.
    Lsh,
    /// Unsigned shift right by the operand modulo the width.
    Rsh,
    /// Unsigned remainder; by zero it leaves the dividend.
    Mod,
    /// Bitwise exclusive or.
    Xor,
    /// Move.
    Mov,
    /// Signed shift right by the operand modulo the width.
    Arsh,
    /// Signed division (cpu v4); by zero it gives zero, the smallest number by −1 itself.
    Sdiv,
    /// Signed remainder (cpu v4); by zero it leaves the dividend, by −1 it gives zero.
    Smod,
}

impl AluOp {
    /// Every operation.
    pub const ALL: [AluOp; 14] = [
        AluOp::Add,
        AluOp::Sub,
        AluOp::Mul,
        AluOp::Div,
        AluOp::Or,
        AluOp::And,
        AluOp::Lsh,
        AluOp::Rsh,
        AluOp::Mod,
        AluOp::Xor,
        AluOp::Mov,
        AluOp::Arsh,
        AluOp::Sdiv,
        AluOp::Smod,
    ];

    /// The bits of the opcode byte and the offset field.
    pub(crate) const fn code(self) -> (u8, i16) {
        match self {
            AluOp::Add => (0x00, 0),
            AluOp::Sub => (0x10, 0),
            AluOp::Mul => (0x20, 0),
            AluOp::Div => (0x30, 0),
            AluOp::Or => (0x40, 0),
            AluOp::And => (0x50, 0),
            AluOp::Lsh => (0x60, 0),
            AluOp::Rsh => (0x70, 0),
            AluOp::Mod => (0x90, 0),
            AluOp::Xor => (0xa0, 0),
            AluOp::Mov => (code::MOV, 0),
            AluOp::Arsh => (0xc0, 0),
            AluOp::Sdiv => (0x30, 1),
            AluOp::Smod => (0x90, 1),
        }
    }

    /// The operation of an opcode byte and an offset field, unless it is no binary arithmetic.
    pub(crate) const fn from_code(op: u8, off: i16) -> Option<AluOp> {
        Some(match (op & code::OP, off) {
            (0x00, 0) => AluOp::Add,
            (0x10, 0) => AluOp::Sub,
            (0x20, 0) => AluOp::Mul,
            (0x30, 0) => AluOp::Div,
            (0x40, 0) => AluOp::Or,
            (0x50, 0) => AluOp::And,
            (0x60, 0) => AluOp::Lsh,
            (0x70, 0) => AluOp::Rsh,
            (0x90, 0) => AluOp::Mod,
            (0xa0, 0) => AluOp::Xor,
            (code::MOV, 0) => AluOp::Mov,
            (0xc0, 0) => AluOp::Arsh,
            (0x30, 1) => AluOp::Sdiv,
            (0x90, 1) => AluOp::Smod,
            _ => return None,
        })
    }

    /// Between destination and operand in text: `+=`, `s/=`, `=`.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            AluOp::Add => "+=",
            AluOp::Sub => "-=",
            AluOp::Mul => "*=",
            AluOp::Div => "/=",
            AluOp::Or => "|=",
            AluOp::And => "&=",
            AluOp::Lsh => "<<=",
            AluOp::Rsh => ">>=",
            AluOp::Mod => "%=",
            AluOp::Xor => "^=",
            AluOp::Mov => "=",
            AluOp::Arsh => "s>>=",
            AluOp::Sdiv => "s/=",
            AluOp::Smod => "s%=",
        }
    }
}

/// Condition of a jump.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cond {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Unsigned greater.
    Gt,
    /// Unsigned greater or equal.
    Ge,
    /// Unsigned less.
    Lt,
    /// Unsigned less or equal.
    Le,
    /// A common bit is set.
    Set,
    /// Signed greater.
    Sgt,
    /// Signed greater or equal.
    Sge,
    /// Signed less.
    Slt,
    /// Signed less or equal.
    Sle,
}

impl Cond {
    /// Every condition.
    pub const ALL: [Cond; 11] = [
        Cond::Eq,
        Cond::Ne,
        Cond::Gt,
        Cond::Ge,
        Cond::Lt,
        Cond::Le,
        Cond::Set,
        Cond::Sgt,
        Cond::Sge,
        Cond::Slt,
        Cond::Sle,
    ];

    pub(crate) const fn code(self) -> u8 {
        match self {
            Cond::Eq => 0x10,
            Cond::Gt => 0x20,
            Cond::Ge => 0x30,
            Cond::Set => 0x40,
            Cond::Ne => 0x50,
            Cond::Sgt => 0x60,
            Cond::Sge => 0x70,
            Cond::Lt => 0xa0,
            Cond::Le => 0xb0,
            Cond::Slt => 0xc0,
            Cond::Sle => 0xd0,
        }
    }

    pub(crate) const fn from_code(op: u8) -> Option<Cond> {
        Some(match op & code::OP {
            0x10 => Cond::Eq,
            0x20 => Cond::Gt,
            0x30 => Cond::Ge,
            0x40 => Cond::Set,
            0x50 => Cond::Ne,
            0x60 => Cond::Sgt,
            0x70 => Cond::Sge,
            0xa0 => Cond::Lt,
            0xb0 => Cond::Le,
            0xc0 => Cond::Slt,
            0xd0 => Cond::Sle,
            _ => return None,
        })
    }

    /// The condition that holds exactly when this one does not; [`Cond::Set`] has none.
    #[must_use]
    pub const fn inverse(self) -> Option<Cond> {
        Some(match self {
            Cond::Eq => Cond::Ne,
            Cond::Ne => Cond::Eq,
            Cond::Gt => Cond::Le,
            Cond::Ge => Cond::Lt,
            Cond::Lt => Cond::Ge,
            Cond::Le => Cond::Gt,
            Cond::Set => return None,
            Cond::Sgt => Cond::Sle,
            Cond::Sge => Cond::Slt,
            Cond::Slt => Cond::Sge,
            Cond::Sle => Cond::Sgt,
        })
    }

    /// The condition that holds for `(b, a)` exactly when this one holds for `(a, b)`.
    #[must_use]
    pub const fn swapped(self) -> Cond {
        match self {
            Cond::Eq | Cond::Ne | Cond::Set => self,
            Cond::Gt => Cond::Lt,
            Cond::Ge => Cond::Le,
            Cond::Lt => Cond::Gt,
            Cond::Le => Cond::Ge,
            Cond::Sgt => Cond::Slt,
            Cond::Sge => Cond::Sle,
            Cond::Slt => Cond::Sgt,
            Cond::Sle => Cond::Sge,
        }
    }

    /// Between the operands in text: `==`, `s>=`, `&`.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Cond::Eq => "==",
            Cond::Ne => "!=",
            Cond::Gt => ">",
            Cond::Ge => ">=",
            Cond::Lt => "<",
            Cond::Le => "<=",
            Cond::Set => "&",
            Cond::Sgt => "s>",
            Cond::Sge => "s>=",
            Cond::Slt => "s<",
            Cond::Sle => "s<=",
        }
    }
}

/// Atomic read-modify-write operation on four or eight aligned bytes.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AtomicOp {
    /// Add.
    Add,
    /// Or.
    Or,
    /// And.
    And,
    /// Exclusive or.
    Xor,
    /// Add; the source register gets the old value.
    FetchAdd,
    /// Or; the source register gets the old value.
    FetchOr,
    /// And; the source register gets the old value.
    FetchAnd,
    /// Exclusive or; the source register gets the old value.
    FetchXor,
    /// Exchange with the source register.
    Xchg,
    /// Store the source register if memory equals r0; r0 gets the old value.
    ///
    /// By definition the 32-bit form clears the upper half of r0, but x86 leaves it alone when the comparison
    /// succeeds, and the kernel adds the clearing move only where it saw the upper half being read
    /// (`opt_subreg_zext_lo32_rnd_hi32` in kernel/bpf/verifier.c). Linux 6.18 misses reads behind a join at
    /// which it prunes the path. A code generator puts `w0 = w0` behind the instruction.
    Cmpxchg,
}

impl AtomicOp {
    /// Every operation.
    pub const ALL: [AtomicOp; 10] = [
        AtomicOp::Add,
        AtomicOp::Or,
        AtomicOp::And,
        AtomicOp::Xor,
        AtomicOp::FetchAdd,
        AtomicOp::FetchOr,
        AtomicOp::FetchAnd,
        AtomicOp::FetchXor,
        AtomicOp::Xchg,
        AtomicOp::Cmpxchg,
    ];

    pub(crate) const fn code(self) -> i32 {
        match self {
            AtomicOp::Add => 0x00,
            AtomicOp::Or => 0x40,
            AtomicOp::And => 0x50,
            AtomicOp::Xor => 0xa0,
            AtomicOp::FetchAdd => code::FETCH,
            AtomicOp::FetchOr => 0x40 | code::FETCH,
            AtomicOp::FetchAnd => 0x50 | code::FETCH,
            AtomicOp::FetchXor => 0xa0 | code::FETCH,
            AtomicOp::Xchg => code::XCHG,
            AtomicOp::Cmpxchg => code::CMPXCHG,
        }
    }

    pub(crate) fn from_code(imm: i32) -> Option<AtomicOp> {
        AtomicOp::ALL.into_iter().find(|op| op.code() == imm)
    }

    /// Whether a register gets the old value.
    #[must_use]
    pub const fn fetches(self) -> bool {
        self.code() & code::FETCH != 0
    }
}

/// Change of byte order.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SwapOp {
    /// Between host and little endian.
    Le,
    /// Between host and big endian.
    Be,
    /// Always swap (cpu v4).
    Bswap,
}

/// How many low bits a change of byte order keeps.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SwapBits {
    /// 16.
    B16,
    /// 32.
    B32,
    /// 64.
    B64,
}

impl SwapBits {
    /// 16, 32 or 64.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            SwapBits::B16 => 16,
            SwapBits::B32 => 32,
            SwapBits::B64 => 64,
        }
    }

    pub(crate) const fn from_bits(bits: i32) -> Option<SwapBits> {
        match bits {
            16 => Some(SwapBits::B16),
            32 => Some(SwapBits::B32),
            64 => Some(SwapBits::B64),
            _ => None,
        }
    }
}
