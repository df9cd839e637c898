//! Structural checks that need no knowledge of values: what the kernel's verifier refuses before it follows
//! a single path (`check_subprogs`, `check_cfg` and `resolve_pseudo_ldimm64` in kernel/bpf/verifier.c), and
//! constant operands that it never accepts.

use crate::asm::MAX_INSNS;
use crate::insn::Insn;
use crate::kind::{Invalid, Kind, Operand, wide};
use crate::op::AluOp;
use crate::reg::Reg;
use std::fmt;
use thiserror::Error;

/// One thing that is wrong with a program.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Finding {
    /// The instruction.
    pub insn: u32,
    /// What is wrong with it.
    pub problem: Flaw,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instruction {}: {}", self.insn, self.problem)
    }
}

/// See [`Finding`].
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Error)]
pub enum Flaw {
    /// There are no instructions.
    #[error("the program is empty")]
    Empty,
    /// There are more instructions than any kernel takes.
    #[error("the program has more than {MAX_INSNS} instructions")]
    TooLong,
    /// The kernel knows no such instruction.
    #[error("{0}")]
    Invalid(Invalid),
    /// An instruction that only the kernel itself writes.
    #[error("the instruction is the kernel's own and cannot be loaded")]
    KernelOnly,
    /// r10 is set.
    #[error("r10 is the frame pointer and cannot be set")]
    WritesFramePointer,
    /// Division by the constant zero.
    #[error("division by the constant zero")]
    DivisionByZero,
    /// Shift by a constant that is negative or not less than the width.
    #[error("shift by {0}, which is not within the width")]
    Shift(i32),
    /// A jump or call leads out of the program.
    #[error("the target {0} is outside of the program")]
    OutOfRange(i64),
    /// A jump or call leads to the second slot of a 64-bit constant.
    #[error("the target {0} is the second slot of a 64-bit constant")]
    IntoConstant(u32),
    /// A jump leads into another function.
    #[error("the target {0} is in another function")]
    AcrossFunctions(u32),
    /// The last instruction of a function is neither exit nor an unconditional jump.
    #[error("the function ends without exit or jump")]
    FallsThrough,
    /// No path leads to the instruction.
    #[error("the instruction is unreachable")]
    Unreachable,
}

/// Everything that is structurally wrong with a program, by instruction. Takes time in proportion to it.
///
/// Only the first of a run of unreachable instructions is reported. A program with a jump to an address in
/// a register is not searched for them, because its paths are not in the code.
#[must_use]
pub fn check(insns: &[Insn]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if insns.is_empty() {
        return vec![Finding { insn: 0, problem: Flaw::Empty }];
    }
    if insns.len() > MAX_INSNS {
        return vec![Finding { insn: MAX_INSNS as u32, problem: Flaw::TooLong }];
    }
    let shape = Shape::of(insns);
    for at in shape.starts() {
        let mut add = |problem| findings.push(Finding { insn: at as u32, problem });
        check_insn(insns, at, &mut add);
        shape.check_target(insns, at, &mut add);
        if shape.ends_function(at + shape.size(at)) && !insns[at].is_terminator() {
            add(Flaw::FallsThrough);
        }
    }
    shape.unreachable(insns, &mut findings);
    findings.sort_by_key(|f| f.insn);
    findings
}

/// What one instruction says about itself.
fn check_insn(insns: &[Insn], at: usize, add: &mut impl FnMut(Flaw)) {
    let insn = insns[at];
    let kind = match insn.kind() {
        Ok(Kind::LoadImm { dst }) => match wide(insn, insns.get(at + 1).copied()) {
            Ok(_) => Kind::LoadImm { dst },
            Err(invalid) => return add(Flaw::Invalid(invalid)),
        },
        Ok(kind) => kind,
        Err(invalid) => return add(Flaw::Invalid(invalid)),
    };
    match kind {
        Kind::Nospec => add(Flaw::KernelOnly),
        Kind::Alu {
            op: AluOp::Div | AluOp::Mod | AluOp::Sdiv | AluOp::Smod, rhs: Operand::Imm(0), ..
        } => {
            add(Flaw::DivisionByZero);
        }
        Kind::Alu { op: AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, width, rhs: Operand::Imm(by), .. }
            if !(0..width.bits() as i32).contains(&by) =>
        {
            add(Flaw::Shift(by));
        }
        _ => {}
    }
    if insn.writes().contains(Reg::R10) {
        add(Flaw::WritesFramePointer);
    }
}

/// Where instructions and functions start.
struct Shape {
    /// Per slot: the first of an instruction. A constant without its second slot is one slot.
    is_start: Vec<bool>,
    /// Starts of functions, ascending, 0 first.
    functions: Vec<usize>,
}

impl Shape {
    fn of(insns: &[Insn]) -> Shape {
        let mut is_start = vec![false; insns.len()];
        let mut functions = vec![0];
        let mut at = 0;
        while at < insns.len() {
            is_start[at] = true;
            functions.extend(insns[at].subprog_target(at).and_then(|t| usize::try_from(t).ok()));
            let whole = insns[at].is_wide() && insns.get(at + 1).is_some_and(|second| second.is_wide_tail());
            at += if whole { 2 } else { 1 };
        }
        functions.retain(|&f| is_start.get(f) == Some(&true));
        functions.sort_unstable();
        functions.dedup();
        Shape { is_start, functions }
    }

    fn starts(&self) -> impl Iterator<Item = usize> {
        (0..self.is_start.len()).filter(|&at| self.is_start[at])
    }

    fn size(&self, at: usize) -> usize {
        if self.is_start.get(at + 1) == Some(&false) { 2 } else { 1 }
    }

    /// Whether `at` is the end of the program or the start of a function.
    fn ends_function(&self, at: usize) -> bool {
        at == self.is_start.len() || self.functions.binary_search(&at).is_ok()
    }

    /// Index of the function that an instruction belongs to, plus one.
    fn function(&self, at: usize) -> usize {
        self.functions.partition_point(|&f| f <= at)
    }

    fn check_target(&self, insns: &[Insn], at: usize, add: &mut impl FnMut(Flaw)) {
        let jump = insns[at].jump_target(at);
        let Some(target) = jump.or_else(|| insns[at].subprog_target(at)) else { return };
        match usize::try_from(target).ok().and_then(|t| Some((t, *self.is_start.get(t)?))) {
            None => add(Flaw::OutOfRange(target)),
            Some((target, false)) => add(Flaw::IntoConstant(target as u32)),
            Some((target, true)) => {
                if jump.is_some() && self.function(target) != self.function(at) {
                    add(Flaw::AcrossFunctions(target as u32));
                }
            }
        }
    }

    /// Follows every path from the first instruction, into functions that are called or whose address is taken.
    fn unreachable(&self, insns: &[Insn], findings: &mut Vec<Finding>) {
        let mut reached = vec![false; insns.len()];
        let mut pending = vec![0];
        while let Some(at) = pending.pop() {
            if self.is_start.get(at) != Some(&true) || std::mem::replace(&mut reached[at], true) {
                continue;
            }
            let insn = insns[at];
            if insn.op == crate::op::code::GOTOX {
                return;
            }
            let targets = [insn.jump_target(at), insn.subprog_target(at)];
            pending.extend(targets.into_iter().flatten().filter_map(|t| usize::try_from(t).ok()));
            if !insn.is_terminator() {
                pending.push(at + self.size(at));
            }
        }
        let mut before = true;
        for at in self.starts() {
            if before && !reached[at] {
                findings.push(Finding { insn: at as u32, problem: Flaw::Unreachable });
            }
            before = reached[at];
        }
    }
}
