//! Arbitrary bytes as BTF: every question, C text, copies, and the same bytes as split BTF on a small base.
#![no_main]

#[path = "../../crates/skep-btf/tests/torture/mod.rs"]
#[allow(dead_code, reason = "shared with the other targets")]
mod torture;

use libfuzzer_sys::fuzz_target;
use skep_btf::{Btf, Builder, Supported};
use std::sync::{Arc, LazyLock};

static BASE: LazyLock<Arc<Btf>> = LazyLock::new(|| {
    let text = "INT int size=4 SIGNED\nSTRUCT s size=8 { a: 1 @0; next: 3 @64 }\nPTR -> 2\nFWD struct f\n";
    let encoded = Builder::from_text(text).expect("reads").encode(Supported::ALL).expect("encodes");
    Arc::new(Btf::parse(encoded.bytes).expect("indexes"))
});

fuzz_target!(|data: &[u8]| {
    if let Ok(btf) = Btf::parse(data.to_vec()) {
        torture::queries(&btf);
        torture::copies(&btf);
    }
    if let Ok(btf) = Btf::parse_split(BASE.clone(), data.to_vec()) {
        torture::queries(&btf);
    }
});
