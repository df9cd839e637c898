//! eBPF instructions: encode, decode, disassemble, assemble, interpret. Pure: no I/O, no kernel, no state.
//!
//! - [`Insn`] is a slot of eight bytes; [`Insn::kind`] is what it does ([`Kind`]), and the one place that
//!   knows which opcodes and fields exist. Constructors, queries ([`Insn::reads`], [`Insn::jump_target`]...)
//!   and [`CpuFeature`] belong to it.
//! - [`Assembler`] collects instructions with labels and references and resolves them into [`Code`].
//! - [`text`] prints instructions as the verifier and bpftool do, and parses them back.
//! - [`check()`] finds what is structurally wrong with a program.
//! - [`interp`] runs programs, for tests and as an oracle.
//! - [`helpers`] has the names of the helpers.
//!
//! Everything here is total: foreign bytes and foreign text give errors, never panics.
#![forbid(unsafe_code)]

mod asm;
mod build;
mod check;
mod feature;
pub mod helpers;
mod insn;
pub mod interp;
mod kind;
pub mod op;
mod query;
mod reg;
pub mod text;

pub use asm::{AsmError, Assembler, Code, Label, LongJumps, MAX_INSNS, Subprog, SymKind, SymRef};
pub use check::{Finding, Flaw, check};
pub use feature::CpuFeature;
pub use insn::{BadLength, Endian, Insn, decode, encode};
pub use kind::{Callee, Field, Invalid, Kind, Operand, WideImm, wide};
pub use op::{AluOp, AtomicOp, Cond, Size, SwapBits, SwapOp, Width};
pub use query::Access;
pub use reg::{Reg, RegSet};
