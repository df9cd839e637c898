//! Random programs do the same before and after each pass.

mod support;

use proptest::prelude::*;
use skep_btf::{Btf, Builder};
use skep_ir::eval::{Machine, Snapshot, Trap};
use skep_ir::passes::{Context, Options, PASSES};
use skep_ir::text::{Locations, print};
use skep_ir::verify::{Level, check};
use skep_ir::{Module, diag};
use support::kernel::TestKernel;
use support::program::{BTF, CTX, generate};
use support::world::World;

/// Kernels that can all do what generated programs ask for, each in other ways.
const FEATURES: [&str; 4] = [
    "all",
    "all -cpu_v4 -jmp32 -iter_num -may_goto",
    "all -cpu_v4 -probe_read_kernel -copy_from_user",
    "all -ring_buffer -global_data -iter_num",
];

fn kernel(features: &str) -> TestKernel {
    let mut kernel = TestKernel::with_features(features).expect("the features exist");
    kernel.btf = Some(btf());
    kernel
}

fn btf() -> Btf {
    let builder = Builder::from_text(BTF).expect("the types are well formed");
    let encoded = builder.encode(skep_btf::Supported::ALL).expect("the types can be encoded");
    Btf::parse(encoded.bytes).expect("what was encoded can be read")
}

/// Results of some runs one after the other, and what they leave.
fn run(
    module: &Module,
    kernel: &TestKernel,
    fuel: u64,
    shape: &Module,
    room: u64,
) -> (Result<Vec<u64>, Trap>, Snapshot) {
    let mut world = World::default();
    let mut machine = Machine::new(module, kernel, &mut world);
    machine.fuel = fuel;
    machine.ring_room = room;
    let results = (0..3u8)
        .map(|n| {
            machine.cpu = u32::from(n) % 2;
            let ctx: Vec<u8> = (0..CTX as u8).map(|i| i.wrapping_mul(37).wrapping_add(n * 101)).collect();
            machine.run_prog(0, &ctx, &[])
        })
        .collect();
    (results, machine.snapshot(shape.maps.len(), shape.globals.len()))
}

fn assert_rules(module: &Module, after: &str, level: Level, kernel: &TestKernel) {
    let violations = check(module, level, Some(kernel));
    let list: String = violations.iter().map(|v| format!("{v}\n")).collect();
    assert!(violations.is_empty(), "after {after}:\n{list}\n{}", print(module, Locations::Hide));
}

fn check_passes(bytes: &[u8], features: &str) {
    let kernel = kernel(features);
    let original = generate(bytes);
    assert_rules(&original, "generation", Level::Normal, &kernel);
    // A sample of a perf event takes room when it is sent and not when it is reserved.
    let room = if features.contains("-ring_buffer") { u64::MAX } else { 200 };
    let before = run(&original, &kernel, 200_000, &original, room);
    if before.0 == Err(Trap::Fuel) {
        return;
    }
    assert!(before.0.is_ok(), "{:?}\n{}", before.0, print(&original, Locations::Hide));
    // Small limits, so that slots have to leave the stack.
    let (stack_object_limit, stack_budget) = [(128, 384), (32, 100), (4, 40)][bytes.len() % 3];
    let options = Options { stack_object_limit, stack_budget, ..Options::default() };
    let mut context = Context::new(&kernel, options);
    let mut module = original.clone();
    let mut level = Level::Normal;
    for pass in PASSES {
        pass.run(&mut module, &mut context);
        let messages = diag::render_all(&context.diagnostics, &module.sources, false);
        if messages.contains("a function or loop without the context") {
            return;
        }
        assert!(messages.is_empty(), "{}: {messages}", pass.name);
        if pass.name == "lower" {
            level = Level::Strict;
        }
        assert_rules(&module, pass.name, level, &kernel);
        let after = run(&module, &kernel, 20_000_000, &original, room);
        assert!(
            after == before,
            "{} changes what the program does\nbefore: {before:?}\nafter:  {after:?}\n{}\n{}",
            pass.name,
            print(&original, Locations::Hide),
            print(&module, Locations::Hide)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn passes_keep_what_programs_do(bytes in prop::collection::vec(any::<u8>(), 0..700), kernel in 0..FEATURES.len()) {
        check_passes(&bytes, FEATURES[kernel]);
    }
}
