//! Any bytes: decode, describe, print, parse back, check and, if the check finds nothing, run.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_asm::interp::{FaultKind, NoHost, Program, Vm};
use skep_asm::text::{Style, parse, print};
use skep_asm::{Code, Endian, check, decode, encode};

fuzz_target!(|data: &[u8]| {
    let data = &data[..data.len() - data.len() % 8];
    for endian in [Endian::Little, Endian::Big] {
        let insns = decode(data, endian).expect("the length is a multiple of eight");
        assert_eq!(encode(&insns, endian), data);
    }
    let insns = decode(data, Endian::Little).expect("the length is a multiple of eight");
    for (at, insn) in insns.iter().enumerate() {
        let _ = (insn.reads(), insn.writes(), insn.access(), insn.feature(), insn.jump_target(at));
        let _ = (insn.subprog_target(at), insn.callee(), insn.to_string());
    }
    for labels in [false, true] {
        let text = print(&insns, &Style { labels, numbers: labels, opcodes: labels, ..Style::default() });
        let parsed = parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(parsed.code.insns, insns, "{text}");
    }
    if check(&insns).is_empty() {
        let program = Program::new(&Code { insns, ..Code::default() });
        let mut vm = Vm::new(&program);
        vm.limits.insns = 2000;
        if let Err(fault) = vm.run(&mut NoHost, &[1, 2, 3, 4, 5]) {
            assert!(!matches!(fault.kind, FaultKind::BadTarget(_) | FaultKind::Invalid(_)), "{fault}");
        }
    }
});
