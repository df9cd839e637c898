//! The IR's text form: any text is a module or an error with a place, and what is read can be printed and checked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_ir::text::{Locations, parse, print};
use skep_ir::verify::{Level, check};

fuzz_target!(|text: &str| {
    match parse(text) {
        Ok(module) => {
            let once = print(&module, Locations::Hide);
            let again = parse(&once).expect("what was printed is read");
            let _ = check(&again, Level::Strict, None);
        }
        Err(e) => assert!(e.line >= 1 && e.column >= 1),
    }
});
