//! Questions about a slot that code generators, loaders and decoders ask. They are cheap and answer for
//! every value of the bytes; only [`Insn::kind`] tells whether the kernel would take it.

use crate::insn::Insn;
use crate::kind::{Callee, Kind, Operand};
use crate::op::{AtomicOp, Size, code};
use crate::reg::{Reg, RegSet};

/// A memory access through a base register.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// Base register.
    pub base: Reg,
    /// Bytes after the base.
    pub off: i16,
    /// How many bytes.
    pub size: Size,
    /// Whether memory is read.
    pub reads: bool,
    /// Whether memory is written.
    pub writes: bool,
    /// Whether the access is one of the atomic instructions, which demand alignment.
    pub atomic: bool,
}

impl Insn {
    /// The class bits of the opcode.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.op & code::CLASS
    }

    /// Whether this is the first of two slots.
    #[must_use]
    pub const fn is_wide(self) -> bool {
        self.op == code::LD_IMM64
    }

    /// Whether this has the form of a second slot.
    #[must_use]
    pub const fn is_wide_tail(self) -> bool {
        self.op == 0 && self.dst.number() == 0 && self.src.number() == 0 && self.off == 0
    }

    /// Slots that an instruction with this first slot takes: 1 or 2.
    #[must_use]
    pub const fn slots(self) -> usize {
        if self.is_wide() { 2 } else { 1 }
    }

    /// Whether this is a call of any kind.
    #[must_use]
    pub const fn is_call(self) -> bool {
        self.op == code::CALL_INSN
    }

    /// Whether this calls a helper.
    #[must_use]
    pub const fn is_helper_call(self) -> bool {
        self.is_call() && self.src.number() == 0
    }

    /// Whether this calls another function of the program.
    #[must_use]
    pub const fn is_subprog_call(self) -> bool {
        self.is_call() && self.src.number() == code::PSEUDO_CALL
    }

    /// Whether this calls a kernel function.
    #[must_use]
    pub const fn is_kfunc_call(self) -> bool {
        self.is_call() && self.src.number() == code::PSEUDO_KFUNC_CALL
    }

    /// Whether this returns.
    #[must_use]
    pub const fn is_exit(self) -> bool {
        self.op == code::EXIT_INSN
    }

    /// Whether this jumps within its function, always or sometimes. Calls and returns do not.
    #[must_use]
    pub const fn is_jump(self) -> bool {
        matches!(self.class(), code::JMP | code::JMP32)
            && !matches!(self.op & code::OP, code::CALL | code::EXIT)
    }

    /// Whether this jumps and may also go on to the next instruction.
    #[must_use]
    pub const fn is_branch(self) -> bool {
        self.is_jump() && !matches!(self.op, code::GOTO | code::GOTOL | code::GOTOX)
    }

    /// Whether execution never goes on to the next instruction.
    #[must_use]
    pub const fn is_terminator(self) -> bool {
        matches!(self.op, code::GOTO | code::GOTOL | code::GOTOX | code::EXIT_INSN)
    }

    /// Slots between the next one and the target of a jump; nothing for other instructions and for jumps
    /// to an address in a register.
    #[must_use]
    pub const fn jump_offset(self) -> Option<i32> {
        match self.op {
            code::GOTOL => Some(self.imm),
            code::GOTOX => None,
            _ if self.is_jump() => Some(self.off as i32),
            _ => None,
        }
    }

    /// Slot that a jump at slot `at` jumps to; it can be negative or beyond the program.
    #[must_use]
    pub fn jump_target(self, at: usize) -> Option<i64> {
        self.jump_offset().map(|off| at as i64 + 1 + i64::from(off))
    }

    /// The start of the function of the program that a call or a function constant at slot `at` refers to;
    /// it can be negative or beyond the program.
    #[must_use]
    pub fn subprog_target(self, at: usize) -> Option<i64> {
        let func = self.is_wide() && self.src.number() == code::PSEUDO_FUNC;
        (func || self.is_subprog_call()).then(|| at as i64 + 1 + i64::from(self.imm))
    }

    /// The memory access, if the instruction has one through a base register.
    #[must_use]
    pub fn access(self) -> Option<Access> {
        let access =
            |base, off, size, reads, writes, atomic| Some(Access { base, off, size, reads, writes, atomic });
        match self.kind().ok()? {
            Kind::Load { size, base, off, .. } => access(base, off, size, true, false, false),
            Kind::Store { size, base, off, .. } => access(base, off, size, false, true, false),
            Kind::Atomic { width, base, off, .. } => access(base, off, width.size(), true, true, true),
            Kind::LoadAcquire { size, base, off, .. } => access(base, off, size, true, false, true),
            Kind::StoreRelease { size, base, off, .. } => access(base, off, size, false, true, true),
            _ => None,
        }
    }

    /// Registers that the instruction reads. A call may read all five arguments: how many it does is known
    /// to the callee alone.
    #[must_use]
    pub fn reads(self) -> RegSet {
        let with = |regs: RegSet, operand: Operand| match operand {
            Operand::Reg(reg) => regs.with(reg),
            Operand::Imm(_) => regs,
        };
        let Ok(kind) = self.kind() else { return RegSet::EMPTY };
        match kind {
            Kind::Alu { op: crate::op::AluOp::Mov, rhs, .. } => with(RegSet::EMPTY, rhs),
            Kind::Alu { dst, rhs, .. } => with(RegSet::of(dst), rhs),
            Kind::MovSx { src, .. } | Kind::AddrSpaceCast { src, .. } => RegSet::of(src),
            Kind::Neg { dst, .. } | Kind::Swap { dst, .. } => RegSet::of(dst),
            Kind::Load { base, .. } | Kind::LoadAcquire { base, .. } => RegSet::of(base),
            Kind::Store { base, value, .. } => with(RegSet::of(base), value),
            Kind::Atomic { op: AtomicOp::Cmpxchg, base, src, .. } => RegSet::of(base).with(src).with(Reg::R0),
            Kind::Atomic { base, src, .. } | Kind::StoreRelease { base, src, .. } => {
                RegSet::of(base).with(src)
            }
            Kind::LoadPacket { index, .. } => index.into_iter().collect::<RegSet>().with(Reg::R6),
            Kind::Branch { lhs, rhs, .. } => with(RegSet::of(lhs), rhs),
            Kind::GotoX { target } => RegSet::of(target),
            Kind::Call(_) => RegSet::ARGS,
            Kind::Exit => RegSet::of(Reg::R0),
            Kind::LoadImm { .. } | Kind::Goto { .. } | Kind::MayGoto { .. } | Kind::Nospec => RegSet::EMPTY,
        }
    }

    /// Registers that the instruction sets or leaves undefined. A call sets r0 and leaves r1 to r5 undefined.
    #[must_use]
    pub fn writes(self) -> RegSet {
        let Ok(kind) = self.kind() else { return RegSet::EMPTY };
        match kind {
            Kind::Alu { dst, .. }
            | Kind::MovSx { dst, .. }
            | Kind::AddrSpaceCast { dst, .. }
            | Kind::Neg { dst, .. }
            | Kind::Swap { dst, .. }
            | Kind::Load { dst, .. }
            | Kind::LoadAcquire { dst, .. }
            | Kind::LoadImm { dst } => RegSet::of(dst),
            Kind::Atomic { op: AtomicOp::Cmpxchg, .. } => RegSet::of(Reg::R0),
            Kind::Atomic { op, src, .. } if op.fetches() => RegSet::of(src),
            Kind::LoadPacket { .. } | Kind::Call(_) => RegSet::CALLER_SAVED,
            Kind::Atomic { .. }
            | Kind::Store { .. }
            | Kind::StoreRelease { .. }
            | Kind::Branch { .. }
            | Kind::Goto { .. }
            | Kind::MayGoto { .. }
            | Kind::GotoX { .. }
            | Kind::Exit
            | Kind::Nospec => RegSet::EMPTY,
        }
    }

    /// Whom a call calls.
    #[must_use]
    pub fn callee(self) -> Option<Callee> {
        match self.kind() {
            Ok(Kind::Call(callee)) => Some(callee),
            _ => None,
        }
    }
}
