//! An interpreter for tests: it computes what the kernel computes, and stops where the verifier would not
//! have let the program get to.
//!
//! It checks each access against the region that it is in, each register and stack byte against having been
//! set, and everything against a budget. It does not check what only types can tell: a number that happens
//! to be an address is one.
//!
//! ```
//! use skep_asm::interp::{NoHost, Program, Vm};
//! let code = skep_asm::text::parse("r0 = r1\n r0 *= 6\n exit").unwrap().code;
//! let program = Program::new(&code);
//! assert_eq!(Vm::new(&program).run(&mut NoHost, &[7]), Ok(42));
//! ```

pub mod alu;
mod exec;
mod fault;
mod memory;

pub use fault::{Fault, FaultKind, HostError};
pub use memory::{Memory, MemoryError, Protection, STACK_SIZE, Space};

use crate::asm::{Code, SymKind};
use crate::kind::{Invalid, Kind, WideImm, wide};
use crate::reg::{Reg, RegSet};

/// A program decoded for execution.
#[derive(Clone, Debug)]
pub struct Program {
    steps: Vec<Step>,
}

#[derive(Copy, Clone, Debug)]
enum Step {
    Plain(Kind, Option<SymKind>),
    Wide(Reg, WideImm, Option<SymKind>),
    /// Second slot of a constant.
    Tail,
    Invalid(Invalid),
}

impl Program {
    /// Decodes a program. Invalid instructions are faults once they are reached.
    #[must_use]
    pub fn new(code: &Code) -> Program {
        let mut steps = Vec::with_capacity(code.insns.len());
        let mut refs = code.refs.iter().peekable();
        for (at, &insn) in code.insns.iter().enumerate() {
            while refs.next_if(|r| (r.insn as usize) < at).is_some() {}
            let symbol = refs.next_if(|r| r.insn as usize == at).map(|r| r.kind);
            let second = code.insns.get(at + 1).copied();
            let step = match insn.kind() {
                _ if matches!(steps.last(), Some(Step::Wide(..))) => Step::Tail,
                Ok(Kind::LoadImm { .. }) => match wide(insn, second) {
                    Ok((dst, imm)) => Step::Wide(dst, imm, symbol),
                    Err(invalid) => Step::Invalid(invalid),
                },
                Ok(kind) => Step::Plain(kind, symbol),
                Err(invalid) => Step::Invalid(invalid),
            };
            steps.push(step);
        }
        Program { steps }
    }
}

/// The five arguments of a call.
#[derive(Copy, Clone, Debug)]
pub struct Args {
    values: [u64; 5],
    set: RegSet,
}

impl Args {
    /// Argument `index` from 0, in r1.
    ///
    /// # Errors
    /// The program did not set it, or there are only five.
    pub fn get(&self, index: usize) -> Result<u64, HostError> {
        let reg = Reg::from_field((index as u8).saturating_add(1).min(15));
        let value = self.values.get(index).copied().filter(|_| self.set.contains(reg));
        value.ok_or(HostError::Argument(reg))
    }
}

/// A kernel function that a program calls.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kfunc {
    /// By BTF id and index in the descriptor array.
    Id(i32, i16),
    /// By the index of a reference that is not resolved yet.
    Symbol(u32),
}

/// What surrounds a program: helpers, kernel functions, values of constants that are not numbers.
///
/// A method that gets a [`Vm`] may use its memory and call functions of the program back
/// ([`Vm::call_back`]).
pub trait Host {
    /// Runs a helper.
    ///
    /// # Errors
    /// [`HostError::Unknown`] for a helper that the host does not have; others end the run.
    fn helper(&mut self, vm: &mut Vm<'_>, id: i32, args: Args) -> Result<u64, HostError>;

    /// Runs a kernel function.
    ///
    /// # Errors
    /// As [`helper`](Host::helper).
    fn kfunc(&mut self, vm: &mut Vm<'_>, kfunc: Kfunc, args: Args) -> Result<u64, HostError> {
        let _ = (vm, kfunc, args);
        Err(HostError::Unknown)
    }

    /// The value of a 64-bit constant that refers to a map or kernel variable, by number or, where the
    /// reference is not resolved yet, by symbol.
    fn constant(&mut self, imm: WideImm, symbol: Option<SymKind>) -> Option<u64> {
        let _ = (imm, symbol);
        None
    }
}

/// The host of programs that call nothing.
#[derive(Copy, Clone, Debug, Default)]
pub struct NoHost;

impl Host for NoHost {
    fn helper(&mut self, _: &mut Vm<'_>, _: i32, _: Args) -> Result<u64, HostError> {
        Err(HostError::Unknown)
    }
}

/// Bounds of a run.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Instructions, those of callbacks included.
    pub insns: u64,
    /// Frames (`MAX_CALL_FRAMES` in include/linux/bpf_verifier.h).
    pub frames: usize,
    /// How often a frame passes `may_goto` instructions before they jump (`BPF_MAX_LOOPS` in
    /// include/linux/bpf.h).
    pub may_goto: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { insns: 10_000_000, frames: 8, may_goto: 8 * 1024 * 1024 }
    }
}

/// What a call saves.
#[derive(Clone, Debug)]
struct Frame {
    /// r6 to r9 and the frame pointer of the caller, and which of its registers were set.
    saved: [u64; Reg::COUNT],
    set: RegSet,
    /// Where the caller goes on; nothing if the host called.
    back_to: Option<usize>,
    /// Passes that are left to `may_goto`.
    may_goto: u64,
}

/// A program's registers, frames and memory.
#[derive(Clone, Debug)]
pub struct Vm<'p> {
    /// Regions; the host may change them between and during runs.
    pub memory: Memory,
    /// Bounds of the next run.
    pub limits: Limits,
    program: &'p Program,
    regs: [u64; Reg::COUNT],
    set: RegSet,
    frames: Vec<Frame>,
    pc: usize,
    executed: u64,
}

/// Addresses of functions of the program begin here; nothing is mapped there.
const FUNC_BASE: u64 = 0xffff_ffff_c000_0000;

impl<'p> Vm<'p> {
    /// A machine with empty memory.
    #[must_use]
    pub fn new(program: &'p Program) -> Vm<'p> {
        Vm {
            memory: Memory::new(),
            limits: Limits::default(),
            program,
            regs: [0; Reg::COUNT],
            set: RegSet::EMPTY,
            frames: Vec::new(),
            pc: 0,
            executed: 0,
        }
    }

    /// Runs the program from its first instruction with r1 and up set to the arguments (at most five), and
    /// gives r0 at its end.
    ///
    /// # Errors
    /// Whatever the verifier exists to prevent, and the limits.
    pub fn run<H: Host + ?Sized>(&mut self, host: &mut H, args: &[u64]) -> Result<u64, Fault> {
        self.frames.clear();
        self.memory.clear_stacks();
        self.executed = 0;
        self.set = RegSet::EMPTY;
        self.pc = 0;
        self.enter(args, 0).map_err(|kind| Fault { insn: 0, kind })?;
        self.execute(host)
    }

    /// Calls a function of the program from a helper: `func` is its address, as the program passed it.
    ///
    /// # Errors
    /// The address is none of a function, or the function faults.
    pub fn call_back<H: Host + ?Sized>(
        &mut self,
        host: &mut H,
        func: u64,
        args: &[u64],
    ) -> Result<u64, Fault> {
        let (pc, depth) = (self.pc, self.frames.len());
        let fault = |kind| Fault { insn: pc as u32, kind };
        let index = func.checked_sub(FUNC_BASE).and_then(|at| usize::try_from(at / 8).ok());
        let index = index.filter(|&at| func.is_multiple_of(8) && self.is_start(at));
        let index = index.ok_or_else(|| fault(FaultKind::BadCallback(func)))?;
        self.enter(args, index).map_err(fault)?;
        let result = self.execute(host);
        // After a fault the frames of the callee are still there; a host may go on without them.
        while self.frames.len() > depth {
            self.pop_frame();
        }
        self.pc = pc;
        result
    }

    /// Instructions that the last run executed.
    #[must_use]
    pub fn executed(&self) -> u64 {
        self.executed
    }

    /// Pushes a frame that returns to the host.
    fn enter(&mut self, args: &[u64], at: usize) -> Result<(), FaultKind> {
        let mut set = RegSet::of(Reg::R10);
        let mut regs = [0; Reg::COUNT];
        for (index, &value) in args.iter().enumerate().take(5) {
            regs[index + 1] = value;
            set = set.with(Reg::from_field(index as u8 + 1));
        }
        self.push_frame(None)?;
        regs[Reg::R10.index()] = self.regs[Reg::R10.index()];
        self.regs = regs;
        self.set = set;
        self.pc = at;
        Ok(())
    }

    /// Saves the caller's registers and gives the callee a stack. The arguments stay set.
    fn push_frame(&mut self, back_to: Option<usize>) -> Result<(), FaultKind> {
        if self.frames.len() >= self.limits.frames {
            return Err(FaultKind::TooManyFrames(self.limits.frames));
        }
        let frame = Frame { saved: self.regs, set: self.set, back_to, may_goto: self.limits.may_goto };
        self.frames.push(frame);
        self.regs[Reg::R10.index()] = self.memory.push_stack();
        self.set = self.set.intersection(RegSet::ARGS).with(Reg::R10);
        Ok(())
    }

    /// Gives the caller its registers back, all but r0 to r5, and tells where it goes on.
    fn pop_frame(&mut self) -> Option<usize> {
        let frame = self.frames.pop()?;
        let (r0, r0_set) = (self.regs[Reg::R0.index()], self.set.contains(Reg::R0));
        self.regs = frame.saved;
        self.set = frame.set.minus(RegSet::CALLER_SAVED);
        self.regs[Reg::R0.index()] = r0;
        if r0_set {
            self.set = self.set.with(Reg::R0);
        }
        self.memory.pop_stack();
        frame.back_to
    }
}
