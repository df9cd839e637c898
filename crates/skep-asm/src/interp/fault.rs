//! How a run ends early.

use super::memory::MemoryError;
use crate::kind::{Callee, Invalid, WideImm};
use crate::reg::Reg;
use thiserror::Error;

/// A run that did not reach its end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("instruction {insn}: {kind}")]
pub struct Fault {
    /// The instruction.
    pub insn: u32,
    /// What happened there.
    pub kind: FaultKind,
}

/// See [`Fault`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FaultKind {
    /// A register is read that was never set, or that a call left undefined.
    #[error("{0} is read before it is set")]
    UninitRegister(Reg),
    /// r10 is set.
    #[error("r10 is the frame pointer and cannot be set")]
    WritesFramePointer,
    /// Memory refuses an access.
    #[error("{0}")]
    Memory(#[from] MemoryError),
    /// An instruction reaches for a process's memory.
    #[error("{addr:#x} is user memory, which only helpers reach")]
    UserMemory {
        /// The address.
        addr: u64,
    },
    /// An access to the stack or an atomic one is not aligned to its size.
    #[error("{len} bytes at {addr:#x} are not aligned")]
    Misaligned {
        /// The address.
        addr: u64,
        /// How many bytes.
        len: u8,
    },
    /// There is no such instruction.
    #[error("{0}")]
    Invalid(Invalid),
    /// The next instruction is outside of the program or the second slot of a constant.
    #[error("execution leaves the program for {0}")]
    BadTarget(i64),
    /// Calls are nested too deeply.
    #[error("more than {0} frames")]
    TooManyFrames(usize),
    /// The budget of instructions is used up.
    #[error("the budget of {0} instructions is used up")]
    Budget(u64),
    /// The host has no such helper or kernel function.
    #[error("the host has no function for {0:?}")]
    UnknownFunction(Callee),
    /// The host has no value for a constant.
    #[error("the host has no value for {0:?}")]
    UnknownConstant(WideImm),
    /// A helper is to call back what is no function of the program.
    #[error("{0:#x} is no function of the program")]
    BadCallback(u64),
    /// A helper refuses its arguments.
    #[error("{0}")]
    Host(String),
    /// The interpreter does not run the instruction.
    #[error("the interpreter does not run {0}")]
    Unsupported(&'static str),
}

/// Why a helper did not return.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HostError {
    /// There is no such helper.
    #[error("no such function")]
    Unknown,
    /// It read an argument that the program did not set.
    #[error("{0} is not set")]
    Argument(Reg),
    /// It was led to memory that is not there.
    #[error("{0}")]
    Memory(#[from] MemoryError),
    /// A function that it called back went wrong.
    #[error("{0}")]
    Callback(#[from] Fault),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}
