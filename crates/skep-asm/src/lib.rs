//! eBPF instructions: encode, decode, disassemble, assemble, interpret.
#![forbid(unsafe_code)]

mod build;
mod feature;
pub mod helpers;
mod insn;
mod kind;
pub mod op;
mod query;
mod reg;

pub use feature::CpuFeature;
pub use insn::{BadLength, Endian, Insn, decode, encode};
pub use kind::{Callee, Field, Invalid, Kind, Operand, WideImm, wide};
pub use op::{AluOp, AtomicOp, Cond, Size, SwapBits, SwapOp, Width};
pub use query::Access;
pub use reg::{Reg, RegSet};
