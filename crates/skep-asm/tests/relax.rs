//! Labels and long jumps through the assembler: `program` in; `gotol` and `islands` out.
//!
//! A program is text as the parser takes it, one instruction a line, with two directives: `.pad N` stands for
//! N instructions `r0 += 1`, `.fn NAME` begins a function. Jumps and calls go to labels. In the output runs
//! of pads are folded again.

use skep_asm::text::Style;
use skep_asm::text::{Symbols, parse, print};
use skep_asm::{Assembler, Callee, Code, Insn, Kind, Label, LongJumps, check};
use std::collections::HashMap;
use testkit::{Case, Outcome};

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/relax", run)
}

fn run(case: &Case) -> Outcome {
    let program = case.required("program")?;
    let mut sections = Vec::new();
    for (name, long_jumps) in [("gotol", LongJumps::Gotol), ("islands", LongJumps::Islands)] {
        let text = match assemble(program, long_jumps)? {
            Ok(code) => show(&code),
            Err(error) => format!("{error}\n"),
        };
        sections.push((name, text));
    }
    if sections[0].1 == sections[1].1 {
        return Ok(vec![("either", sections.remove(0).1)]);
    }
    Ok(sections)
}

fn assemble(program: &str, long_jumps: LongJumps) -> Result<Result<Code, skep_asm::AsmError>, String> {
    let mut asm = Assembler::new(long_jumps);
    let mut labels: HashMap<String, Label> = HashMap::new();
    let mut label = |asm: &mut Assembler, name: &str| {
        *labels.entry(name.trim().to_owned()).or_insert_with(|| asm.label())
    };
    for (number, line) in program.lines().enumerate() {
        let line = line.trim();
        asm.loc(number as u32 + 1);
        if let Some(count) = line.strip_prefix(".pad ") {
            let count: u32 = count.parse().map_err(|_| format!("no number: {line}"))?;
            (0..count).for_each(|_| asm.push(pad()));
        } else if let Some(name) = line.strip_prefix(".fn ") {
            let start = label(&mut asm, name);
            asm.begin_subprog(start);
        } else if let Some(name) = line.strip_suffix(':') {
            let place = label(&mut asm, name);
            asm.bind(place);
        } else if let Some(name) = line.strip_prefix("call ").filter(|n| !n.starts_with("bpf_")) {
            let function = label(&mut asm, name);
            asm.call(function);
        } else if let Some((head, name)) = line.rsplit_once("goto ") {
            let target = label(&mut asm, name);
            // The parser wants a place for the jump: its own.
            let text = format!("{head}goto pc-1");
            match parse(&text).map_err(|e| format!("{line}: {e}"))?.code.insns[0].kind() {
                Ok(Kind::Branch { width, cond, lhs, rhs, .. }) => asm.branch(width, cond, lhs, rhs, target),
                Ok(Kind::MayGoto { .. }) => asm.may_goto(target),
                _ => asm.jump(target),
            }
        } else {
            let parsed = parse(line).map_err(|e| format!("{line}: {e}"))?;
            match *parsed.code.insns {
                [insn] => asm.push(insn),
                [first, second] => [first, second].into_iter().for_each(|insn| asm.push(insn)),
                _ => {}
            }
        }
    }
    Ok(asm.finish())
}

fn pad() -> Insn {
    parse("r0 += 1").map(|parsed| parsed.code.insns[0]).unwrap_or_default()
}

/// The code with numbers, source lines, folded pads, and findings.
fn show(code: &Code) -> String {
    let symbols = Symbols::default();
    let text = print(&code.insns, &Style { numbers: true, symbols: Some(&symbols), ..Style::default() });
    let mut out = String::new();
    let mut pads = 0;
    for line in text.lines() {
        if line.ends_with(": r0 += 1") {
            pads += 1;
            continue;
        }
        if pads > 0 {
            out += &format!("      .pad {pads}\n");
            pads = 0;
        }
        let at: u32 = line.split(':').next().and_then(|n| n.trim().parse().ok()).unwrap_or(0);
        let source = code.locs.partition_point(|l| l.0 <= at).checked_sub(1).map(|i| code.locs[i].1);
        out += &format!("{line}{}", target(code, at as usize));
        out += &source.map_or_else(String::new, |line| format!("  ; line {line}"));
        out += "\n";
    }
    if pads > 0 {
        out += &format!("      .pad {pads}\n");
    }
    let functions: Vec<_> = code.subprogs.iter().map(|s| s.insn).collect();
    out += &format!("functions {functions:?}\n");
    check(&code.insns).iter().for_each(|finding| out += &format!("{finding}\n"));
    out
}

fn target(code: &Code, at: usize) -> String {
    let insn = code.insns[at];
    let call = matches!(insn.callee(), Some(Callee::Subprog(_)));
    let target = if call { insn.subprog_target(at) } else { insn.jump_target(at) };
    target.map_or_else(String::new, |target| format!(" -> {target}"))
}
