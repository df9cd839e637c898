//! Any text: parse and, if it is a program, print, parse again, check and run.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_asm::check;
use skep_asm::interp::{NoHost, Program, Vm};
use skep_asm::text::{parse, print_code};

fuzz_target!(|text: &str| {
    let parsed = match parse(text) {
        Ok(parsed) => parsed,
        Err(error) => {
            let line = text.lines().nth(error.line - 1).expect("the line exists");
            assert!((1..=line.chars().count() + 1).contains(&error.column), "{error}");
            return;
        }
    };
    let printed = print_code(&parsed.code, &parsed.symbols);
    let again = parse(&printed).unwrap_or_else(|e| panic!("{e}\n{printed}"));
    assert_eq!(again.code.insns, parsed.code.insns, "{printed}");
    assert_eq!(again.code.refs.len(), parsed.code.refs.len(), "{printed}");
    assert_eq!(print_code(&again.code, &again.symbols), printed);
    let _ = check(&parsed.code.insns);
    let program = Program::new(&parsed.code);
    let mut vm = Vm::new(&program);
    vm.limits.insns = 2000;
    let _ = vm.run(&mut NoHost, &[1, 2]);
});
