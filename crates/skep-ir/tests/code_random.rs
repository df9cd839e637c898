//! Random programs do the same in the evaluator and, compiled with all passes, in the interpreter of instructions.

mod support;

use proptest::prelude::*;
use skep_asm::interp::{Program, Protection, Space, Vm};
use skep_asm::text::{Symbols, print_code};
use skep_asm::{Code, SymKind, SymRef};
use skep_btf::{Btf, Builder};
use skep_ir::eval::{Elements, Machine, Trap};
use skep_ir::passes::Options;
use skep_ir::spec::{ProgramSpec, RefKind};
use skep_ir::text::{Locations, print};
use skep_ir::{CompileOptions, Module, compile, diag};
use support::kernel::TestKernel;
use support::program::{BTF, CTX, generate};
use support::vm_host::VmHost;
use support::world::World;

const FEATURES: [&str; 3] = ["all", "all -cpu_v4 -jmp32", "all -cpu_v4 -strncmp"];

/// Bytes that rings take.
const ROOM: u64 = 200;

/// Results of some runs one after the other, and what they leave: maps and events.
#[derive(Debug, PartialEq)]
struct Outcome {
    results: Vec<u64>,
    maps: Vec<Elements>,
    events: Vec<(u32, Vec<u8>)>,
}

fn context(n: u8) -> Vec<u8> {
    (0..CTX as u8).map(|i| i.wrapping_mul(37).wrapping_add(n * 101)).collect()
}

fn evaluate(module: &Module, kernel: &TestKernel) -> Result<Outcome, Trap> {
    let mut world = World::default();
    let mut machine = Machine::new(module, kernel, &mut world);
    machine.fuel = 200_000;
    machine.ring_room = ROOM;
    let mut results = Vec::new();
    for n in 0..3u8 {
        machine.cpu = u32::from(n) % 2;
        results.push(machine.run_prog(0, &context(n), &[])?);
    }
    let left = machine.snapshot(module.maps.len(), 0);
    let events = left.events.into_iter().map(|e| (e.ring.as_u32(), e.bytes)).collect();
    Ok(Outcome { results, maps: left.maps, events })
}

fn as_code(program: &ProgramSpec) -> Code {
    let refs = program.refs.iter().map(|r| SymRef {
        insn: r.insn,
        kind: match r.kind {
            RefKind::Map(map) => SymKind::Map(map.as_u32()),
            RefKind::MapValue(map, offset) => SymKind::MapValue { map: map.as_u32(), offset },
            RefKind::Kfunc(index) => SymKind::Kfunc(index),
            RefKind::Ksym(index) => SymKind::Ksym(index),
        },
    });
    Code { insns: program.insns.clone(), refs: refs.collect(), ..Code::default() }
}

fn check_code(bytes: &[u8], features: &str) {
    let mut kernel = TestKernel::with_features(features).expect("the features exist");
    let encoded = Builder::from_text(BTF).expect("well formed").encode(skep_btf::Supported::ALL);
    kernel.btf = Some(Btf::parse(encoded.expect("can be encoded").bytes).expect("can be read"));
    let module = generate(bytes);
    let before = match evaluate(&module, &kernel) {
        Err(Trap::Fuel) => return,
        other => other.expect("generated programs do nothing forbidden"),
    };
    // Small limits, so that slots have to leave the stack.
    let (stack_object_limit, stack_budget) = [(128, 384), (32, 100), (4, 40)][bytes.len() % 3];
    let passes = Options { stack_object_limit, stack_budget, ..Options::default() };
    let options = CompileOptions { passes, ..CompileOptions::default() };
    let compiled = match compile(module.clone(), &kernel, options) {
        Ok(compiled) => compiled,
        Err(messages) => panic!("{}", diag::render_all(&messages, &module.sources, false)),
    };
    let code = as_code(&compiled.collection.programs[0]);
    let text = || format!("{}\n{}", print(&module, Locations::Hide), print_code(&code, &Symbols::default()));
    let flaws = skep_asm::check(&code.insns);
    assert!(flaws.is_empty(), "structural flaws: {flaws:?}\n{}", text());
    let program = Program::new(&code);
    let mut vm = Vm::new(&program);
    let mut host = VmHost::new(&compiled.collection, kernel.cpus, &mut vm);
    host.ring_room = ROOM;
    let mut results = Vec::new();
    let text = || format!("{}\n{}", print(&module, Locations::Hide), print_code(&code, &Symbols::default()));
    for n in 0..3u8 {
        host.cpu = u32::from(n) % 2;
        let ctx = vm.memory.map(Space::Kernel, Protection::ReadWrite, context(n)).expect("there is room");
        match vm.run(&mut host, &[ctx]) {
            Ok(result) => results.push(result),
            Err(fault) => panic!("{fault}\n{}", text()),
        }
    }
    let maps = host.contents(&vm, module.maps.len());
    let after = Outcome { results, maps, events: host.events };
    assert!(after == before, "expected: {before:?}\nfound:    {after:?}\n{}", text());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn code_does_what_programs_do(bytes in prop::collection::vec(any::<u8>(), 0..700), kernel in 0..FEATURES.len()) {
        check_code(&bytes, FEATURES[kernel]);
    }
}
