//! Cases of code generation: `input` is a module of low-level instructions with one program; `code` is what
//! comes out. With the attribute `args`, the program is also run by the interpreter on a context of those
//! words, and `result` is what it returns and what the context holds afterwards.
//!
//! Helpers in runs: `ktime_get_ns` counts 100, 200..., `get_current_pid_tgid` is 7 << 32 | 9, `trace_printk`
//! returns the sum of its arguments from the third on, and `loop` calls back.

mod support;

use skep_asm::interp::{Args, Host, HostError, Program, Protection, Space, Vm};
use skep_asm::text::{Symbols, print_code};
use skep_asm::{Code, SymKind, SymRef};
use skep_ir::codegen::{Options, generate};
use skep_ir::spec::{Collection, ProgramSpec, RefKind};
use skep_ir::verify::{Level, check};
use skep_ir::{diag, text};
use support::kernel::TestKernel;
use testkit::{Case, Outcome};

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/codegen", run)
}

fn run(case: &Case) -> Outcome {
    let module = text::parse(case.required("input")?).map_err(|e| e.to_string())?;
    let kernel = TestKernel::with_features(case.attribute("features").unwrap_or("all"))?;
    let violations = check(&module, Level::Normal, Some(&kernel));
    if !violations.is_empty() {
        let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
        return Err(lines.join("\n").into());
    }
    let collection = match generate(&module, &kernel, Options::default()) {
        Ok(collection) => collection,
        Err(errors) => return Ok(vec![("errors", diag::render_all(&errors, &module.sources, false))]),
    };
    let program = collection.programs.first().ok_or("the module has no program")?;
    let code = as_code(program);
    let flaws = skep_asm::check(&code.insns);
    if !flaws.is_empty() {
        return Err(format!("structural flaws: {flaws:?}").into());
    }
    let mut out = vec![("code", print_code(&code, &symbols(&collection, program)))];
    if let Some(words) = case.attribute("args") {
        out.push(("result", execute(&code, words)?));
    }
    Ok(out)
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

fn symbols(collection: &Collection, program: &ProgramSpec) -> Symbols {
    Symbols {
        maps: collection.maps.values().map(|m| m.map.name.clone()).collect(),
        kfuncs: collection.kfuncs.clone(),
        ksyms: collection.ksyms.clone(),
        funcs: program.func_info.iter().map(|f| (f.insn_off, format!("fn_{}", f.insn_off))).collect(),
    }
}

fn execute(code: &Code, words: &str) -> Result<String, String> {
    let words: Vec<u64> = words
        .split_whitespace()
        .map(|w| w.parse::<i128>().map(|n| n as u64).map_err(|e| format!("{w}: {e}")))
        .collect::<Result<_, _>>()?;
    let program = Program::new(code);
    let mut vm = Vm::new(&program);
    let bytes = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let ctx = vm.memory.map(Space::Kernel, Protection::ReadWrite, bytes).map_err(|e| e.to_string())?;
    let r0 = match vm.run(&mut Helpers::default(), &[ctx]) {
        Ok(r0) => r0,
        Err(fault) => return Ok(format!("fault: {fault}\n")),
    };
    let after = vm.memory.region(ctx).unwrap_or_default();
    let after: Vec<String> = after
        .chunks_exact(8)
        .map(|c| i64::from_le_bytes(c.try_into().unwrap_or_default()).to_string())
        .collect();
    Ok(format!("{}\n[{}]\n", r0.cast_signed(), after.join(" ")))
}

#[derive(Default)]
struct Helpers {
    time: u64,
}

impl Host for Helpers {
    fn helper(&mut self, vm: &mut Vm<'_>, id: i32, args: Args) -> Result<u64, HostError> {
        match id {
            5 => {
                self.time += 100;
                Ok(self.time)
            }
            14 => Ok(7 << 32 | 9),
            6 => Ok((2..5).filter_map(|i| args.get(i).ok()).fold(0, u64::wrapping_add)),
            181 => {
                let (count, func, ctx) = (args.get(0)?, args.get(1)?, args.get(2)?);
                for i in 0..count {
                    let result = vm.call_back(self, func, &[i, ctx]).map_err(|_| HostError::Unknown)?;
                    if result != 0 {
                        return Ok(i + 1);
                    }
                }
                Ok(count)
            }
            _ => Err(HostError::Unknown),
        }
    }
}
