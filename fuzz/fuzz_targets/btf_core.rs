//! Two arbitrary BTFs and an access string: every kind of relocation, both ways.
#![no_main]

#[path = "../../crates/skep-btf/tests/torture/mod.rs"]
#[allow(dead_code, reason = "shared with the other targets")]
mod torture;

use libfuzzer_sys::fuzz_target;
use skep_btf::Btf;

fuzz_target!(|data: &[u8]| {
    // Two bytes of length, the program's BTF, one byte of length, an access string, the target's BTF.
    let Some((len, rest)) = data.split_first_chunk::<2>() else { return };
    let Some((local, rest)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len))) else { return };
    let Some((&len, rest)) = rest.split_first() else { return };
    let Some((access, target)) = rest.split_at_checked(usize::from(len)) else { return };
    let (Ok(local), Ok(target)) = (Btf::parse(local.to_vec()), Btf::parse(target.to_vec())) else { return };
    let access = String::from_utf8_lossy(access);
    torture::relocations(&local, &target, &access);
    torture::relocations(&target, &local, &access);
});
