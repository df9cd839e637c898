//! Formats of printf with values of every kind.
#![no_main]

mod trace;

use libfuzzer_sys::fuzz_target;

const VALUES: &[&str] = &["pid", "comm", "-1", "(1, comm)", "buf(comm, 4)", "kstack", "curtask", "nsecs > 5", "(a=1)"];

fuzz_target!(|input: (&str, Vec<u8>)| {
    let (format, picks) = input;
    let mut text = String::from("begin { printf(\"");
    for c in format.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\0'..' ' => {}
            c => text.push(c),
        }
    }
    text.push('"');
    for pick in picks.iter().take(16) {
        text.push_str(", ");
        text.push_str(VALUES[usize::from(*pick) % VALUES.len()]);
    }
    text.push_str("); }");
    trace::compile(&text);
});
