//! Programs and what they compute: `program` in, `result` out.
//!
//! Attributes: `args: 1 0x2` are r1 and up; `ctx: 00 01 ..`, `ro: ..`, `user: ..`, `packet: ..` map a region
//! of these bytes and append its address to the arguments; `budget: N` bounds the run. The result is r0 or
//! the fault, then every region that changed.
//!
//! Helpers of the test host: 1 reads its argument r1 and returns it doubled; 2 copies r3 bytes from r2 to r1;
//! 3 calls the function r1 with 0, 1, ... r2 − 1 and the context r3 until it returns non-zero, and returns how
//! often it did; 4 refuses; 5 calls the function r1 and returns what it does, or 99 if it faults. The kernel
//! function with BTF id 7 returns 77, the kernel variable 5 is at 0x5000.

use skep_asm::interp::{Args, Host, HostError, Kfunc, Program, Protection, Space, Vm};
use skep_asm::text::parse;
use skep_asm::{SymKind, WideImm};
use testkit::{Case, Outcome};

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/interp", run)
}

struct TestHost;

impl Host for TestHost {
    fn helper(&mut self, vm: &mut Vm<'_>, id: i32, args: Args) -> Result<u64, HostError> {
        match id {
            1 => Ok(args.get(0)?.wrapping_mul(2)),
            2 => {
                let bytes = vm.memory.read(args.get(1)?, args.get(2)?)?.to_vec();
                vm.memory.write(args.get(0)?, &bytes)?;
                Ok(0)
            }
            3 => {
                let (func, times, ctx) = (args.get(0)?, args.get(1)?, args.get(2)?);
                for i in 0..times {
                    if vm.call_back(self, func, &[i, ctx])? != 0 {
                        return Ok(i + 1);
                    }
                }
                Ok(times)
            }
            4 => Err(HostError::Other("refused".into())),
            5 => Ok(vm.call_back(self, args.get(0)?, &[]).unwrap_or(99)),
            _ => Err(HostError::Unknown),
        }
    }

    fn kfunc(&mut self, _: &mut Vm<'_>, kfunc: Kfunc, _: Args) -> Result<u64, HostError> {
        match kfunc {
            Kfunc::Id(7, 0) => Ok(77),
            Kfunc::Symbol(index) => Ok(700 + u64::from(index)),
            Kfunc::Id(..) => Err(HostError::Unknown),
        }
    }

    fn constant(&mut self, imm: WideImm, symbol: Option<SymKind>) -> Option<u64> {
        match (imm, symbol) {
            (_, Some(SymKind::Ksym(index))) => Some(0x5000 + u64::from(index)),
            (WideImm::BtfId { id: 5, .. }, None) => Some(0x5000),
            _ => None,
        }
    }
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse().or_else(|_| text.parse::<i64>().map(|n| n as u64)),
    };
    parsed.map_err(|_| format!("no number: {text}"))
}

fn run(case: &Case) -> Outcome {
    let code = parse(case.required("program")?).map_err(|e| e.to_string())?.code;
    let program = Program::new(&code);
    let mut vm = Vm::new(&program);
    let mut args = Vec::new();
    for arg in case.attribute("args").unwrap_or("").split_whitespace() {
        args.push(number(arg)?);
    }
    let kinds = [
        ("ctx", Space::Kernel, Protection::ReadWrite),
        ("ro", Space::Kernel, Protection::ReadOnly),
        ("user", Space::User, Protection::ReadWrite),
        ("packet", Space::Packet, Protection::ReadWrite),
    ];
    let mut regions = Vec::new();
    for (name, space, protection) in kinds {
        let Some(text) = case.attribute(name) else { continue };
        let bytes: Result<Vec<u8>, _> = text.split_whitespace().map(|b| u8::from_str_radix(b, 16)).collect();
        let bytes = bytes.map_err(|_| format!("no bytes: {text}"))?;
        let addr = vm.memory.map(space, protection, bytes.clone()).map_err(|e| e.to_string())?;
        args.push(addr);
        regions.push((name, addr, bytes));
    }
    if let Some(budget) = case.attribute("budget") {
        vm.limits.insns = number(budget)?;
    }
    if let Some(passes) = case.attribute("may_goto") {
        vm.limits.may_goto = number(passes)?;
    }
    let mut out = match vm.run(&mut TestHost, &args) {
        Ok(r0) => format!("r0 = {r0:#x}\n"),
        Err(fault) => format!("{fault}\n"),
    };
    for (name, addr, before) in regions {
        let now = vm.memory.region(addr).ok_or("a region is gone")?;
        if now != before {
            let bytes: Vec<_> = now.iter().map(|b| format!("{b:02x}")).collect();
            out += &format!("{name}: {}\n", bytes.join(" "));
        }
    }
    Ok(vec![("result", out)])
}
