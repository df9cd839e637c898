//! skep's compiler: a typed IR that knows what the verifier wants, passes over it, and code generation.
//!
//! Four front ends (tracing scripts, C, rule conditions, policies) build a [`Module`]; [`compile`] turns it,
//! together with a [`KernelInfo`], into a [`spec::Collection`]: plain values that the loader makes into kernel
//! objects. Nothing here touches the running system, and equal input gives equal output, byte for byte.
#![forbid(unsafe_code)]

mod arith;
mod call_graph;
pub mod cfg;
pub mod codegen;
mod compact;
pub mod compile;
pub mod diag;
pub mod eval;
pub mod func;
mod hash;
pub mod helpers;
pub mod inst;
pub mod kernel;
pub mod kinds;
pub mod module;
pub mod passes;
pub mod source;
pub mod spec;
pub mod text;
pub mod types;
pub mod verify;

pub use compile::{CompileOptions, Compiled, compile, compile_watched};
pub use diag::{Diagnostic, Severity};
pub use func::{Block, Func, FuncBuilder, Inst, Slot, Value};
pub use kernel::{Feature, FeatureSet, KernelInfo};
pub use kinds::ProgKind;
pub use module::{FuncId, GlobalId, MapId, Module, SetId};
pub use source::{FileId, Loc, SourceMap, Span};
pub use types::{PtrClass, Ty, TypeId, Types};
