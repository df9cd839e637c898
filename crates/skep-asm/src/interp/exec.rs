//! One instruction after another.

use super::alu::{alu, atomic, compare, sign_extend, swap};
use super::{Args, FUNC_BASE, Fault, FaultKind, Host, HostError, Kfunc, Step, Vm};
use crate::asm::SymKind;
use crate::kind::{Callee, Kind, Operand, WideImm};
use crate::op::{AluOp, AtomicOp, Size};
use crate::reg::{Reg, RegSet};

/// Where execution goes on.
enum Next {
    /// Behind the instruction and so many slots more.
    Skip(i64),
    At(usize),
    /// The function that the host called has returned this.
    Done(u64),
}

type Result<T> = std::result::Result<T, FaultKind>;

impl Vm<'_> {
    /// Runs until the frame on top returns to the host.
    pub(super) fn execute<H: Host + ?Sized>(&mut self, host: &mut H) -> std::result::Result<u64, Fault> {
        loop {
            let step = self.step(host);
            match step {
                Ok(Next::Done(value)) => return Ok(value),
                Ok(Next::At(pc)) => self.pc = pc,
                Ok(Next::Skip(distance)) => {
                    let target = self.pc as i64 + 1 + distance;
                    match usize::try_from(target).ok().filter(|&t| self.is_start(t)) {
                        Some(pc) => self.pc = pc,
                        None => return Err(self.fault(FaultKind::BadTarget(target))),
                    }
                }
                Err(Stop::Fault(kind)) => return Err(self.fault(kind)),
                Err(Stop::Callback(fault)) => return Err(fault),
            }
        }
    }

    fn fault(&self, kind: FaultKind) -> Fault {
        Fault { insn: self.pc as u32, kind }
    }

    pub(super) fn is_start(&self, at: usize) -> bool {
        self.program.steps.get(at).is_some_and(|step| !matches!(step, Step::Tail))
    }

    fn get(&self, reg: Reg) -> Result<u64> {
        if self.set.contains(reg) { Ok(self.regs[reg.index()]) } else { Err(FaultKind::UninitRegister(reg)) }
    }

    fn put(&mut self, reg: Reg, value: u64) -> Result<Next> {
        if reg == Reg::R10 {
            return Err(FaultKind::WritesFramePointer);
        }
        self.regs[reg.index()] = value;
        self.set = self.set.with(reg);
        Ok(Next::Skip(0))
    }

    fn operand(&self, operand: Operand) -> Result<u64> {
        match operand {
            Operand::Reg(reg) => self.get(reg),
            Operand::Imm(imm) => Ok(i64::from(imm) as u64),
        }
    }

    /// The address of an access by an instruction.
    fn address(&self, base: Reg, off: i16, size: Size, atomic: bool) -> Result<u64> {
        let addr = self.get(base)?.wrapping_add(i64::from(off) as u64);
        // The verifier demands alignment of the stack and of atomic operations on every machine
        // (check_ptr_alignment in kernel/bpf/verifier.c), of other memory only where loads need it.
        if (atomic || self.memory.is_stack(addr)) && addr % u64::from(size.bytes()) != 0 {
            return Err(FaultKind::Misaligned { addr, len: size.bytes() });
        }
        if self.memory.is_user(addr) {
            return Err(FaultKind::UserMemory { addr });
        }
        Ok(addr)
    }

    fn step<H: Host + ?Sized>(&mut self, host: &mut H) -> std::result::Result<Next, Stop> {
        if self.executed >= self.limits.insns {
            return Err(FaultKind::Budget(self.limits.insns).into());
        }
        self.executed += 1;
        let Some(&step) = self.program.steps.get(self.pc) else {
            return Err(FaultKind::BadTarget(self.pc as i64).into());
        };
        match step {
            Step::Invalid(invalid) => Err(FaultKind::Invalid(invalid).into()),
            Step::Tail => Err(FaultKind::BadTarget(self.pc as i64).into()),
            Step::Wide(dst, imm, symbol) => {
                let value = match imm {
                    WideImm::Value(value) => value,
                    WideImm::Func(offset) => {
                        let target = self.pc as i64 + 1 + i64::from(offset);
                        let target = usize::try_from(target).ok().filter(|&t| self.is_start(t));
                        let target = target.ok_or(FaultKind::UnknownConstant(imm))?;
                        FUNC_BASE + target as u64 * 8
                    }
                    _ => host.constant(imm, symbol).ok_or(FaultKind::UnknownConstant(imm))?,
                };
                self.put(dst, value)?;
                Ok(Next::Skip(1))
            }
            Step::Plain(Kind::Call(callee), symbol) => self.call(host, callee, symbol),
            Step::Plain(kind, _) => Ok(self.plain(kind)?),
        }
    }

    /// Everything that concerns registers and memory alone.
    fn plain(&mut self, kind: Kind) -> Result<Next> {
        match kind {
            Kind::Alu { width, op, dst, rhs } => {
                let a = if op == AluOp::Mov { 0 } else { self.get(dst)? };
                self.put(dst, alu(width, op, a, self.operand(rhs)?))
            }
            Kind::MovSx { width, size, dst, src } => {
                let value = sign_extend(size, self.get(src)?);
                self.put(dst, alu(width, AluOp::Mov, 0, value))
            }
            Kind::Neg { width, dst } => self.put(dst, alu(width, AluOp::Sub, 0, self.get(dst)?)),
            Kind::Swap { op, bits, dst } => self.put(dst, swap(op, bits, self.get(dst)?)),
            Kind::Load { size, signed, dst, base, off } => {
                let value = self.memory.load(self.address(base, off, size, false)?, size)?;
                self.put(dst, if signed { sign_extend(size, value) } else { value })
            }
            Kind::Store { size, base, off, value } => {
                let value = self.operand(value)?;
                self.memory.store(self.address(base, off, size, false)?, size, value)?;
                Ok(Next::Skip(0))
            }
            Kind::LoadAcquire { size, dst, base, off } => {
                let value = self.memory.load(self.address(base, off, size, true)?, size)?;
                self.put(dst, value)
            }
            Kind::StoreRelease { size, base, off, src } => {
                let value = self.get(src)?;
                self.memory.store(self.address(base, off, size, true)?, size, value)?;
                Ok(Next::Skip(0))
            }
            Kind::Atomic { width, op, base, off, src } => {
                let size = width.size();
                let operand = self.get(src)?;
                let cut = |value| alu(width, AluOp::Mov, 0, value);
                let expected = if op == AtomicOp::Cmpxchg { cut(self.get(Reg::R0)?) } else { 0 };
                let addr = self.address(base, off, size, true)?;
                let old = self.memory.load(addr, size)?;
                // A compare-and-exchange that fails needs write access nevertheless.
                let new = atomic(op, old, operand, expected).unwrap_or(old);
                self.memory.store(addr, size, new)?;
                match op {
                    AtomicOp::Cmpxchg => self.put(Reg::R0, old),
                    _ if op.fetches() => self.put(src, old),
                    _ => Ok(Next::Skip(0)),
                }
            }
            Kind::Goto { off, .. } => Ok(Next::Skip(i64::from(off))),
            Kind::Branch { width, cond, lhs, rhs, off } => {
                let taken = compare(width, cond, self.get(lhs)?, self.operand(rhs)?);
                Ok(Next::Skip(if taken { i64::from(off) } else { 0 }))
            }
            Kind::MayGoto { off } => match self.frames.last_mut() {
                Some(frame) if frame.may_goto > 0 => {
                    frame.may_goto -= 1;
                    Ok(Next::Skip(0))
                }
                _ => Ok(Next::Skip(i64::from(off))),
            },
            Kind::Exit => self.exit(),
            Kind::Nospec => Ok(Next::Skip(0)),
            Kind::AddrSpaceCast { .. } => Err(FaultKind::Unsupported("address space casts")),
            Kind::LoadPacket { .. } => Err(FaultKind::Unsupported("legacy packet loads")),
            Kind::GotoX { .. } => Err(FaultKind::Unsupported("jumps to an address in a register")),
            Kind::LoadImm { .. } => Err(FaultKind::Unsupported("half of a 64-bit constant")),
            Kind::Call(_) => Err(FaultKind::Unsupported("calls without a host")),
        }
    }

    fn exit(&mut self) -> Result<Next> {
        // An undefined result is an error only where it is used, and the host uses it.
        let to_host = self.frames.last().is_none_or(|frame| frame.back_to.is_none());
        let result = if to_host { self.get(Reg::R0)? } else { 0 };
        Ok(self.pop_frame().map_or(Next::Done(result), Next::At))
    }

    fn call<H: Host + ?Sized>(
        &mut self,
        host: &mut H,
        callee: Callee,
        symbol: Option<SymKind>,
    ) -> std::result::Result<Next, Stop> {
        if let Callee::Subprog(distance) = callee {
            self.push_frame(Some(self.pc + 1))?;
            return Ok(Next::Skip(i64::from(distance)));
        }
        let [_, a, b, c, d, e, ..] = self.regs;
        let args = Args { values: [a, b, c, d, e], set: self.set };
        let result = match (callee, symbol) {
            (Callee::Helper(id), _) => host.helper(self, id, args),
            (_, Some(SymKind::Kfunc(index))) => host.kfunc(self, Kfunc::Symbol(index), args),
            (Callee::Kfunc { btf_id, fd_index }, _) => host.kfunc(self, Kfunc::Id(btf_id, fd_index), args),
            (Callee::Subprog(_), _) => Err(HostError::Unknown),
        };
        self.set = self.set.minus(RegSet::CALLER_SAVED);
        match result {
            Ok(value) => Ok(self.put(Reg::R0, value)?),
            Err(HostError::Unknown) => Err(FaultKind::UnknownFunction(callee).into()),
            Err(HostError::Argument(reg)) => Err(FaultKind::UninitRegister(reg).into()),
            Err(HostError::Memory(error)) => Err(FaultKind::Memory(error).into()),
            Err(HostError::Callback(fault)) => Err(Stop::Callback(fault)),
            Err(HostError::Other(text)) => Err(FaultKind::Host(text).into()),
        }
    }
}

/// Why execution stops, and where: here, or in a function that a helper called back.
enum Stop {
    Fault(FaultKind),
    Callback(Fault),
}

impl From<FaultKind> for Stop {
    fn from(kind: FaultKind) -> Self {
        Stop::Fault(kind)
    }
}
