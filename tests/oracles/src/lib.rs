//! Generators that the comparisons share.
#![forbid(unsafe_code)]

pub mod programs;
