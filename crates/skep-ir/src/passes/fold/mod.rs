//! Computes what is constant, drops branches that are decided, and rewrites what can be had for less.
//!
//! First, sparse conditional constant propagation (Wegman and Zadeck): what is constant is found under the
//! assumption that only edges that may be taken are taken. Then one walk applies identities. Questions about
//! the kernel's types are answered where its type information is there; constants of `.rodata` are read.

mod core;
mod identities;
mod sccp;

use super::Context;
use super::params;
use crate::func::Func;
use crate::module::Module;

pub(crate) use self::core::{answer, find, is_signed, walk};

/// Runs the pass.
pub fn run(func: &mut Func, module: &Module, context: &Context<'_>) {
    func.drop_unreachable();
    sccp::run(func, module, context);
    identities::run(func);
    params::remove_same(func);
}
