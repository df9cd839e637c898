//! Properties that hold for every input.

use proptest::collection::vec;
use proptest::prelude::*;
use skep_asm::interp::{FaultKind, NoHost, Program, Vm};
use skep_asm::text::{Style, Symbols, parse, print, print_code};
use skep_asm::{
    AluOp, Assembler, Code, Cond, Endian, Finding, Flaw, Insn, Kind, LongJumps, Reg, Width, check, decode,
    encode,
};

fn any_insn() -> impl Strategy<Value = Insn> {
    any::<[u8; 8]>().prop_map(|bytes| Insn::from_bytes(bytes, Endian::Little))
}

/// Slots whose unused fields are mostly zero, so that many are instructions.
fn likely_insn() -> impl Strategy<Value = Insn> {
    let field = prop_oneof![2 => Just(0u8), 3 => 0..11u8, 1 => any::<u8>()];
    let off = prop_oneof![4 => Just(0i16), 2 => -4..4i16, 1 => any::<i16>(), 1 => prop_oneof![Just(8), Just(16), Just(32)]];
    let imm = prop_oneof![
        4 => Just(0i32),
        2 => -4..4i32,
        1 => any::<i32>(),
        1 => prop_oneof![Just(16), Just(32), Just(64), Just(0xe1), Just(0xf1), Just(0x41), Just(0x100), Just(0x110), Just(0x10000)],
    ];
    (any::<u8>(), field.clone(), field, off, imm).prop_map(|(op, dst, src, off, imm)| Insn {
        op,
        dst: Reg::from_field(dst),
        src: Reg::from_field(src),
        off,
        imm,
    })
}

/// Programs of anything, constants with their second slot included.
fn any_program() -> impl Strategy<Value = Vec<Insn>> {
    let constant = (0..12u8, 0..8u8, any::<i32>(), prop_oneof![Just(0i32), any::<i32>()]);
    let constant = constant.prop_map(|(dst, src, low, high)| {
        let first = Insn {
            op: 0x18,
            dst: Reg::from_field(dst),
            src: Reg::from_field(src),
            off: 0,
            imm: if src == 4 { low % 8 } else { low },
        };
        vec![first, Insn { imm: high, ..Insn::default() }]
    });
    let piece = prop_oneof![
        6 => likely_insn().prop_map(|insn| vec![insn]),
        1 => any_insn().prop_map(|insn| vec![insn]),
        2 => constant,
        1 => Just(vec![Insn::exit()]),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn code_of(insns: Vec<Insn>) -> Code {
    Code { insns, ..Code::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn encoding_and_decoding_are_inverse(bytes in any::<[u8; 8]>(), insn in likely_insn()) {
        for endian in [Endian::Little, Endian::Big] {
            prop_assert_eq!(Insn::from_bytes(bytes, endian).to_bytes(endian), bytes);
            prop_assert_eq!(Insn::from_bytes(insn.to_bytes(endian), endian), insn);
        }
        let slots = [insn, insn];
        prop_assert_eq!(decode(&encode(&slots, Endian::Big), Endian::Big), Ok(slots.to_vec()));
        prop_assert!(decode(&bytes[..7], Endian::Little).is_err());
    }

    #[test]
    fn what_is_decoded_leads_back_to_the_slot(insn in prop_oneof![likely_insn(), any_insn()]) {
        match insn.kind() {
            // The meaning and value of a constant are in the slots alone.
            Ok(kind @ Kind::LoadImm { .. }) => {
                prop_assert_eq!(Insn::from(kind), Insn { imm: 0, src: Reg::R0, ..insn });
            }
            Ok(kind) => prop_assert_eq!(Insn::from(kind), insn),
            Err(_) => prop_assert!(insn.reads().is_empty() && insn.writes().is_empty() && insn.access().is_none()),
        }
    }

    #[test]
    fn queries_agree_with_the_decoder(insn in likely_insn(), at in 0..100usize) {
        let Ok(kind) = insn.kind() else { return Ok(()) };
        let jumps = matches!(kind, Kind::Goto { .. } | Kind::Branch { .. } | Kind::MayGoto { .. } | Kind::GotoX { .. });
        prop_assert_eq!(insn.is_jump(), jumps);
        prop_assert_eq!(insn.is_call(), matches!(kind, Kind::Call(_)));
        prop_assert_eq!(insn.is_call(), insn.callee().is_some());
        prop_assert_eq!(insn.is_exit(), kind == Kind::Exit);
        prop_assert_eq!(insn.is_wide(), matches!(kind, Kind::LoadImm { .. }));
        prop_assert_eq!(insn.is_branch(), matches!(kind, Kind::Branch { .. } | Kind::MayGoto { .. }));
        prop_assert_eq!(insn.jump_target(at).is_some(), jumps && !matches!(kind, Kind::GotoX { .. }));
        prop_assert_eq!(insn.feature().is_none(), kind == Kind::Nospec);
        prop_assert!(insn.reads().union(insn.writes()).iter().all(Reg::is_valid));
    }

    #[test]
    fn text_round_trip(insns in any_program()) {
        let styles = [
            Style::default(),
            Style { numbers: true, opcodes: true, map_ids: true, ..Style::default() },
            Style { labels: true, ..Style::default() },
            Style { labels: true, numbers: true, opcodes: true, ..Style::default() },
        ];
        for style in styles {
            let text = print(&insns, &style);
            let parsed = parse(&text);
            let parsed = parsed.map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
            prop_assert_eq!(&parsed.code.insns, &insns, "{}", text);
            prop_assert_eq!(print(&parsed.code.insns, &style), text);
        }
    }

    #[test]
    fn symbols_round_trip(
        names in vec(prop_oneof!["[a-z@._$][a-z0-9@._$]{0,6}", "\\PC{0,6}", Just("bpf_loop".to_owned())], 1..8),
        uses in vec((0..4u8, any::<prop::sample::Index>()), 0..12),
    ) {
        let mut asm = Assembler::default();
        for (kind, index) in &uses {
            let index = index.index(names.len()) as u32;
            match kind {
                0 => asm.load_map(Reg::R1, index),
                1 => asm.load_map_value(Reg::R2, index, index * 1000),
                2 => asm.load_ksym(Reg::R3, index),
                _ => asm.call_kfunc(index),
            }
        }
        asm.exit();
        let code = asm.finish().map_err(|e| TestCaseError::fail(e.to_string()))?;
        let symbols = Symbols { maps: names.clone(), kfuncs: names.clone(), ksyms: names, funcs: vec![] };
        let text = print_code(&code, &symbols);
        let parsed = parse(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        prop_assert_eq!(&parsed.code.insns, &code.insns);
        prop_assert_eq!(parsed.code.refs.len(), code.refs.len());
        prop_assert_eq!(print_code(&parsed.code, &parsed.symbols), text);
    }

    #[test]
    fn junk_gives_an_error_with_a_place(text in "[ -~\\n]{0,80}|\\PC{0,40}|(r[0-9]|w[0-9]|[-+*/=<>&|s()\\[\\]:;#,.\" ]|u64|pc|goto|if|map|call){0,12}") {
        if let Err(error) = parse(&text) {
            let line = text.lines().nth(error.line - 1);
            let line = line.ok_or_else(|| TestCaseError::fail(format!("no line {}", error.line)))?;
            prop_assert!((1..=line.chars().count() + 1).contains(&error.column), "{}", error);
        }
    }

    #[test]
    fn programs_that_pass_the_check_do_not_go_astray(insns in any_program()) {
        let findings = check(&insns);
        prop_assert!(findings.is_sorted_by_key(|f| f.insn));
        if !findings.is_empty() {
            return Ok(());
        }
        let program = Program::new(&code_of(insns));
        let mut vm = Vm::new(&program);
        vm.limits.insns = 1000;
        if let Err(fault) = vm.run(&mut NoHost, &[1, 2, 3, 4, 5]) {
            let astray = matches!(
                fault.kind,
                FaultKind::BadTarget(_) | FaultKind::Invalid(_) | FaultKind::WritesFramePointer
            );
            prop_assert!(!astray, "{}", fault);
        }
    }
}

/// How a block of the relaxation test ends. Targets are blocks.
#[derive(Clone, Debug)]
enum End {
    Fall,
    Goto(usize),
    If(Width, Cond, i32, usize),
}

#[derive(Clone, Debug)]
struct Block {
    pad: u64,
    constant: Option<u64>,
    end: End,
}

fn any_block(blocks: usize) -> impl Strategy<Value = Block> {
    let pad = prop_oneof![0..10u64, 0..9000u64, 11_900..12_100u64, 15_900..16_100u64];
    let cond = (any::<bool>(), prop::sample::select(&Cond::ALL[..]), any::<i32>(), 0..blocks);
    let end = prop_oneof![
        1 => Just(End::Fall),
        1 => (0..blocks).prop_map(End::Goto),
        6 => cond.prop_map(|(wide, cond, imm, target)| {
            End::If(if wide { Width::W64 } else { Width::W32 }, cond, imm, target)
        }),
    ];
    (pad, proptest::option::of(any::<u64>()), end).prop_map(|(pad, constant, end)| Block {
        pad,
        constant,
        end,
    })
}

const STEPS: u64 = 12;
const MARK: i32 = 31;

fn assemble(blocks: &[Block], long_jumps: LongJumps) -> Code {
    let mut asm = Assembler::new(long_jumps);
    let labels: Vec<_> = blocks.iter().map(|_| asm.label()).collect();
    let out = asm.label();
    let (r0, r2, r7) = (Reg::R0, Reg::R2, Reg::R7);
    asm.loc(1_000_000);
    asm.push(Insn::mov64(r0, 0));
    asm.push(Insn::mov64(r7, STEPS as i32));
    for (number, (block, &label)) in blocks.iter().zip(&labels).enumerate() {
        asm.bind(label);
        asm.loc(number as u32);
        asm.push(Insn::alu64(AluOp::Mul, r0, MARK));
        asm.push(Insn::alu64(AluOp::Add, r0, number as i32));
        asm.push(Insn::alu64(AluOp::Sub, r7, 1));
        asm.branch(Width::W64, Cond::Eq, r7, 0, out);
        for _ in 0..block.pad {
            asm.push(Insn::alu64(AluOp::Add, r0, 3));
        }
        if let Some(constant) = block.constant {
            Insn::load_imm64(r2, constant).into_iter().for_each(|insn| asm.push(insn));
            asm.push(Insn::alu64(AluOp::Xor, r0, r2));
        }
        match block.end {
            End::Fall => {}
            End::Goto(target) => asm.jump(labels[target]),
            End::If(width, cond, imm, target) => asm.branch(width, cond, r0, imm, labels[target]),
        }
    }
    asm.bind(out);
    asm.exit();
    asm.finish().expect("every label is bound and few jumps cross any place")
}

/// What the blocks compute, by their definition.
fn evaluate(blocks: &[Block]) -> u64 {
    let (mut r0, mut at) = (0u64, 0);
    for step in 1..=STEPS {
        let Some(block) = blocks.get(at) else { break };
        r0 = r0.wrapping_mul(MARK as u64).wrapping_add(at as u64);
        if step == STEPS {
            break;
        }
        r0 = r0.wrapping_add(3 * block.pad) ^ block.constant.unwrap_or(0);
        at = match block.end {
            End::Goto(target) => target,
            End::If(width, cond, imm, target) if holds(width, cond, r0, imm) => target,
            End::Fall | End::If(..) => at + 1,
        };
    }
    r0
}

fn holds(width: Width, cond: Cond, a: u64, imm: i32) -> bool {
    let (a, b) = match width {
        Width::W64 => (i128::from(a), i128::from(i64::from(imm) as u64)),
        Width::W32 => (i128::from(a as u32), i128::from(imm as u32)),
    };
    let signed = |n: i128| if n >> (width.bits() - 1) & 1 == 1 { n - (1 << width.bits()) } else { n };
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Gt => a > b,
        Cond::Ge => a >= b,
        Cond::Lt => a < b,
        Cond::Le => a <= b,
        Cond::Set => a & b != 0,
        Cond::Sgt => signed(a) > signed(b),
        Cond::Sge => signed(a) >= signed(b),
        Cond::Slt => signed(a) < signed(b),
        Cond::Sle => signed(a) <= signed(b),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn relaxed_programs_compute_the_same(blocks in vec(any_block(16), 16)) {
        let expected = evaluate(&blocks);
        for long_jumps in [LongJumps::Gotol, LongJumps::Islands] {
            let code = assemble(&blocks, long_jumps);
            prop_assert_eq!(&code, &assemble(&blocks, long_jumps), "not deterministic");
            let gotol = code.insns.iter().any(|insn| matches!(insn.kind(), Ok(Kind::Goto { long: true, .. })));
            prop_assert!(!gotol || long_jumps == LongJumps::Gotol);

            let unreachable = |f: &Finding| f.problem == Flaw::Unreachable;
            let findings = check(&code.insns);
            prop_assert!(findings.iter().all(unreachable), "{:?}", findings);

            let program = Program::new(&code);
            prop_assert_eq!(Vm::new(&program).run(&mut NoHost, &[]), Ok(expected), "{:?}", long_jumps);

            // Each block's first instruction still has the block's location.
            for (at, pair) in code.insns.windows(2).enumerate() {
                // An island may stand between the two.
                let is_start = pair[0] == Insn::alu64(AluOp::Mul, Reg::R0, MARK)
                    && pair[1] == Insn::alu64(AluOp::Add, Reg::R0, pair[1].imm);
                if is_start {
                    let index = code.locs.partition_point(|&(insn, _)| insn as usize <= at);
                    prop_assert_eq!(code.locs[index - 1], (at as u32, pair[1].imm as u32));
                }
            }
        }
    }
}

#[test]
fn references_and_functions_move_with_their_instructions() {
    for long_jumps in [LongJumps::Gotol, LongJumps::Islands] {
        let mut asm = Assembler::new(long_jumps);
        let (out, func) = (asm.label(), asm.label());
        asm.branch(Width::W64, Cond::Eq, Reg::R1, 0, out);
        for map in 0..3 {
            (0..12_000).for_each(|_| asm.push(Insn::mov64(Reg::R0, 0)));
            asm.load_map(Reg::R1, map);
        }
        asm.load_func(Reg::R2, func);
        asm.bind(out);
        asm.call(func);
        asm.exit();
        asm.loc(5);
        asm.begin_subprog(func);
        asm.call_kfunc(9);
        asm.exit();
        let code = asm.finish().expect("well formed");
        assert!(code.insns.len() > 36_012, "{long_jumps:?}: nothing was relaxed");
        let at = |index: usize| code.insns[code.refs[index].insn as usize];
        (0..3).for_each(|map| assert!(at(map).is_wide() && at(map).dst == Reg::R1));
        assert!(at(3).is_kfunc_call());
        assert_eq!(code.subprogs.len(), 2);
        assert_eq!(code.subprogs[1].insn, code.refs[3].insn);
        assert_eq!(code.locs, [(code.subprogs[1].insn, 5)]);
        let targets: Vec<_> =
            code.insns.iter().enumerate().filter_map(|(at, insn)| insn.subprog_target(at)).collect();
        assert_eq!(targets, [i64::from(code.subprogs[1].insn); 2]);
        assert_eq!(check(&code.insns), []);
    }
}

#[test]
fn islands_that_do_not_fit_are_refused_and_long_jumps_have_no_such_limit() {
    let program = |long_jumps| {
        let mut asm = Assembler::new(long_jumps);
        let labels: Vec<_> = (0..9000).map(|_| asm.label()).collect();
        labels.iter().for_each(|&label| asm.branch(Width::W64, Cond::Eq, Reg::R1, 0, label));
        (0..30_000).for_each(|_| asm.push(Insn::mov64(Reg::R0, 0)));
        for &label in &labels {
            asm.bind(label);
            asm.push(Insn::mov64(Reg::R0, 1));
        }
        asm.exit();
        asm.finish()
    };
    assert!(matches!(
        program(LongJumps::Islands),
        Err(skep_asm::AsmError::TooManyLongJumps { limit: 8000, .. })
    ));
    assert_eq!(program(LongJumps::Gotol).map(|code| check(&code.insns)), Ok(vec![]));
}
