//! Arbitrary bytes as every text that the kernel tells: kallsyms, maps, mountinfo, CPU lists and the others.
#![no_main]

#[path = "../../crates/skep-sys/tests/torture/mod.rs"]
#[allow(dead_code, reason = "shared with the other target")]
mod torture;

libfuzzer_sys::fuzz_target!(|data: &[u8]| torture::text(data));
