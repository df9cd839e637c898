//! Arbitrary bytes as netlink datagrams, attributes, interfaces and filters.
#![no_main]

#[path = "../../crates/skep-sys/tests/torture/mod.rs"]
#[allow(dead_code, reason = "shared with the other target")]
mod torture;

libfuzzer_sys::fuzz_target!(|data: &[u8]| torture::netlink(data));
