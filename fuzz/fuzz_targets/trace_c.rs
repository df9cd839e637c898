//! The C part of scripts: any text in front of a probe that uses what it may define.
#![no_main]

mod trace;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    trace::compile(&format!(
        "{text}\nbegin {{ $s = (struct s *)nsecs; print($s.a); print(*$s); print((sizeof(struct s), X, Y)); }}"
    ));
});
