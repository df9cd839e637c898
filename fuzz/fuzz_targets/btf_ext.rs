//! Arbitrary bytes as `.BTF.ext`, and as the text form of types.
#![no_main]

#[path = "../../crates/skep-btf/tests/torture/mod.rs"]
#[allow(dead_code, reason = "shared with the other targets")]
mod torture;

use libfuzzer_sys::fuzz_target;
use skep_btf::{Btf, Builder, Supported};

fuzz_target!(|data: &[u8]| {
    torture::ext(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(builder) = Builder::from_text(text) else { return };
    for supported in [Supported::ALL, Supported::NONE] {
        let Ok(encoded) = builder.encode(supported) else { continue };
        let btf = Btf::parse(encoded.bytes).expect("what was encoded can be indexed");
        let mut dump = String::new();
        btf.dump(&mut dump).expect("a string takes everything");
        let again = Builder::from_text(&dump).expect("what was dumped can be read");
        let again = again.encode(Supported::ALL).expect("what was encoded once can be encoded again");
        let mut second = String::new();
        let btf = Btf::parse(again.bytes).expect("what was encoded can be indexed");
        btf.dump(&mut second).expect("a string takes everything");
        assert_eq!(dump, second);
    }
});
