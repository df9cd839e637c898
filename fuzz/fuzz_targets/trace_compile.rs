//! Scripts all the way to IR on a recorded system.
#![no_main]

mod trace;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| trace::compile(text));
