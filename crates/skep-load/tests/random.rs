//! Random programs, compiled for the running kernel: it takes all of them, and they return what the evaluator says.
//! Skipped by name without root.

use libtest_mimic::{Arguments, Failed, Trial};
use skep_btf::{Btf, Builder, Supported};
use skep_ir::eval::Machine;
use skep_ir::kernel::{Arch, Feature, KernelInfo};
use skep_ir::text::{Locations, print};
use skep_ir::{CompileOptions, ProgKind, compile, diag};
use skep_load::{LiveKernel, LoadOptions, load};
use skep_sys::bpf::TestRun;
use support::program::{BTF, CTX, generate};
use support::world::World;

#[allow(dead_code, unreachable_pub, reason = "another crate's tests use all of it")]
mod support {
    #[path = "../../../skep-ir/tests/support/entropy.rs"]
    pub mod entropy;
    #[path = "../../../skep-ir/tests/support/program.rs"]
    pub mod program;
    #[path = "../../../skep-ir/tests/support/world.rs"]
    pub mod world;
}

/// The running kernel, but with the types that generated programs know.
struct Kernel {
    live: LiveKernel,
    btf: Btf,
}

impl KernelInfo for Kernel {
    fn arch(&self) -> Arch {
        self.live.arch()
    }

    fn page_size(&self) -> u32 {
        self.live.page_size()
    }

    fn possible_cpus(&self) -> u32 {
        self.live.possible_cpus()
    }

    fn has(&self, feature: Feature) -> bool {
        self.live.has(feature)
    }

    fn btf(&self) -> Option<&Btf> {
        Some(&self.btf)
    }
}

fn main() {
    let root = rustix::process::geteuid().is_root();
    let trial = Trial::test("random_programs_run_as_the_evaluator_says", run).with_ignored_flag(!root);
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit();
}

fn run() -> Result<(), Failed> {
    let types = Builder::from_text(BTF)?.encode(Supported::ALL)?;
    let kernel = Kernel { live: LiveKernel::new(), btf: Btf::parse(types.bytes)? };
    if !kernel.has(Feature::RawTpTestRun) {
        return Ok(());
    }
    let compared = (1..=300).map(|seed| check(&kernel, seed)).sum::<Result<u32, Failed>>()?;
    if compared < 100 {
        return Err(format!("only {compared} results could be compared").into());
    }
    Ok(())
}

/// Loads and runs one program; 1 if its result could be compared.
fn check(kernel: &Kernel, seed: u64) -> Result<u32, Failed> {
    let mut module = generate(&bytes(seed));
    module.progs[0].kind = ProgKind::RawTracepoint;
    let text = print(&module, Locations::Hide);
    let original = module.clone();
    let compiled = compile(module, kernel, CompileOptions::default())
        .map_err(|e| format!("{}\n{text}", diag::render_all(&e, &original.sources, false)))?;
    let loaded = load(&compiled.collection, &kernel.live, &LoadOptions::default())
        .map_err(|failure| format!("seed {seed}: {failure}\n{}\n{text}", failure.log.text))?;
    // What depends on the world is another one here, and the kernel's rings have another size.
    if ["probe_read", "field_load", "stack_id", "helper", "event"].iter().any(|word| text.contains(word)) {
        return Ok(0);
    }
    let ctx: Vec<u8> = (0..CTX as u8).map(|i| i.wrapping_mul(37)).collect();
    let mut world = World::default();
    let mut machine = Machine::new(&original, kernel, &mut world);
    let Ok(wanted) = machine.run_prog(0, &ctx, &[]) else { return Ok(0) };
    let prog = &loaded.programs.first().ok_or("no program was loaded")?.prog;
    let output = prog.test_run(&TestRun { ctx_in: &ctx, ..TestRun::default() })?;
    if output.retval != wanted as u32 {
        return Err(format!("seed {seed}: {:#x} instead of {wanted:#x}\n{text}", output.retval).into());
    }
    Ok(1)
}

/// Bytes that a program is generated from (xorshift).
fn bytes(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..50 + seed % 600)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        })
        .collect()
}
