//! What the tests of this crate share.
#![allow(dead_code, unreachable_pub, reason = "each test target uses a part of it")]

pub mod arbitrary;
pub mod entropy;
pub mod kernel;
pub mod program;
pub mod vm_host;
pub mod world;
