//! Putting a program together: labels, references that are resolved at load time, source locations.

mod gotol;
mod islands;
mod layout;

use crate::insn::Insn;
use crate::kind::{Callee, Operand, WideImm};
use crate::op::{Cond, Width};
use crate::reg::Reg;
use layout::{Layout, Link};
use thiserror::Error;

/// A place in a program that jumps, calls and function addresses refer to.
///
/// Labels belong to the assembler that made them.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(u32);

impl Label {
    /// The number of the label: 0 for the first that its assembler made.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What becomes of jumps over more than 32,767 slots.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum LongJumps {
    /// `gotol`, behind the inverted condition where there is one. Needs cpu v4.
    Gotol,
    /// Chains of plain jumps through islands in the code; works on every kernel.
    #[default]
    Islands,
}

/// An instruction that needs something that exists only when the program is loaded.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct SymRef {
    /// The instruction; for 64-bit constants the first of the two slots.
    pub insn: u32,
    /// What it needs.
    pub kind: SymKind,
}

/// See [`SymRef`]. Indices are the caller's.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum SymKind {
    /// A map, in a 64-bit constant ([`WideImm::MapFd`] of 0).
    Map(u32),
    /// The address of an array map's value, in a 64-bit constant ([`WideImm::MapValue`]; the second slot
    /// holds the offset already).
    MapValue {
        /// The map.
        map: u32,
        /// Bytes after the start of the first element.
        offset: u32,
    },
    /// A kernel function, in a call ([`Callee::Kfunc`] of 0).
    Kfunc(u32),
    /// A kernel variable, in a 64-bit constant ([`WideImm::BtfId`] of 0).
    Ksym(u32),
}

/// Start of a function of the program.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subprog {
    /// First instruction.
    pub insn: u32,
    /// The label that calls refer to; the main function may have none.
    pub label: Option<Label>,
}

/// An assembled program.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Code {
    /// Slots, with every jump, call within the program and function address resolved.
    pub insns: Vec<Insn>,
    /// References to resolve at load time, ascending by instruction.
    pub refs: Vec<SymRef>,
    /// `(instruction, location)` where the location changes, ascending; see [`Assembler::loc`].
    pub locs: Vec<(u32, u32)>,
    /// Functions, ascending; the first is the main one at 0. Empty only if there are no instructions.
    pub subprogs: Vec<Subprog>,
}

/// A program that cannot be assembled. All but [`AsmError::TooManyLongJumps`] and
/// [`AsmError::ProgramTooLong`] are mistakes of the code that drove the assembler.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Error)]
pub enum AsmError {
    /// A label belongs to another assembler.
    #[error("label {} was not made by this assembler; use a label from Assembler::label", .0.index())]
    UnknownLabel(Label),
    /// A label was bound twice.
    #[error("label {} is bound twice; bind each label at one place", .0.index())]
    LabelBoundTwice(Label),
    /// An instruction refers to a label that is nowhere.
    #[error("instruction {insn} refers to label {}, which is never bound", .label.index())]
    UnboundLabel {
        /// The instruction.
        insn: u32,
        /// The label.
        label: Label,
    },
    /// A label is bound behind the last instruction.
    #[error("instruction {insn} refers to label {} behind the last instruction", .label.index())]
    LabelAtEnd {
        /// The instruction.
        insn: u32,
        /// The label.
        label: Label,
    },
    /// A call or function address refers to a label at which no function was begun.
    #[error("instruction {insn} calls label {}, at which no function begins", .label.index())]
    NotASubprog {
        /// The instruction.
        insn: u32,
        /// The label.
        label: Label,
    },
    /// A jump leads into another function.
    #[error("instruction {insn} jumps to label {} in another function", .label.index())]
    JumpAcrossSubprogs {
        /// The instruction.
        insn: u32,
        /// The label.
        label: Label,
    },
    /// A jump or call with a distance of its own was pushed: the distance would not survive relaxation.
    #[error("instruction {insn} was pushed with its own distance; use a label")]
    RawJump {
        /// The instruction.
        insn: u32,
    },
    /// Too many long jumps cross one place.
    #[error(
        "more than {limit} long jumps cross instruction {insn}; \
         compile for a kernel with long jumps (gotol, Linux 6.6) or make the function smaller"
    )]
    TooManyLongJumps {
        /// The place, in instructions before relaxation.
        insn: u32,
        /// How many can.
        limit: u32,
    },
    /// The program has more slots than any kernel takes.
    #[error("the program has more than {limit} instructions; make it smaller or split it")]
    ProgramTooLong {
        /// How many it may have.
        limit: u32,
    },
}

/// Longest program: `BPF_COMPLEXITY_LIMIT_INSNS` in include/linux/bpf.h, checked in `bpf_prog_load` of
/// kernel/bpf/syscall.c.
pub const MAX_INSNS: usize = 1_000_000;

const UNBOUND: u32 = u32::MAX;

/// Collects instructions and resolves what they refer to.
///
/// Mistakes in the use of labels are remembered and reported by [`finish`](Assembler::finish), so that the
/// methods can be called in sequence without a check after each.
#[derive(Clone, Debug, Default)]
pub struct Assembler {
    insns: Vec<Insn>,
    /// Position of each label.
    labels: Vec<u32>,
    /// Jumps in order.
    jumps: Vec<(u32, Label)>,
    /// Calls within the program and function addresses, in order.
    funcs: Vec<(u32, Label)>,
    refs: Vec<SymRef>,
    locs: Vec<(u32, u32)>,
    subprogs: Vec<Subprog>,
    long_jumps: LongJumps,
    error: Option<AsmError>,
}

impl Assembler {
    /// An empty program.
    #[must_use]
    pub fn new(long_jumps: LongJumps) -> Assembler {
        Assembler { long_jumps, ..Assembler::default() }
    }

    /// Slots so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.insns.len()
    }

    /// Whether there are no instructions yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.insns.is_empty()
    }

    fn here(&self) -> u32 {
        // Programs beyond MAX_INSNS are refused by finish, so a wrapped position is never used.
        self.insns.len() as u32
    }

    fn fail(&mut self, error: AsmError) {
        self.error.get_or_insert(error);
    }

    /// A label that is not bound yet.
    pub fn label(&mut self) -> Label {
        let label = Label(self.labels.len() as u32);
        self.labels.push(UNBOUND);
        label
    }

    /// Binds a label to the next instruction.
    pub fn bind(&mut self, label: Label) {
        let here = self.here();
        match self.labels.get_mut(label.index()) {
            Some(position) if *position == UNBOUND => *position = here,
            Some(_) => self.fail(AsmError::LabelBoundTwice(label)),
            None => self.fail(AsmError::UnknownLabel(label)),
        }
    }

    /// A new label at the next instruction.
    pub fn bind_new(&mut self) -> Label {
        let label = self.label();
        self.bind(label);
        label
    }

    /// Begins a function of the program at the next instruction and binds its label.
    ///
    /// The main function begins by itself with the first instruction; it needs this only to be called.
    pub fn begin_subprog(&mut self, label: Label) {
        self.bind(label);
        let insn = self.here();
        if let Some(&(at, loc)) = self.locs.last()
            && at != insn
        {
            // Every function has a location of its own for its first instruction.
            self.locs.push((insn, loc));
        }
        match self.subprogs.last_mut() {
            // A second name for a function that has no instruction yet: one record is enough, and the label
            // is found through its position.
            Some(last) if last.insn == insn => {}
            _ => self.subprogs.push(Subprog { insn, label: Some(label) }),
        }
    }

    /// Sets the location of the instructions that follow: any number that means something to the caller.
    pub fn loc(&mut self, loc: u32) {
        let here = self.here();
        match self.locs.last_mut() {
            Some((at, last)) if *at == here => *last = loc,
            Some((_, last)) if *last == loc => {}
            _ => self.locs.push((here, loc)),
        }
    }

    /// Appends an instruction that refers to no other.
    pub fn push(&mut self, insn: Insn) {
        if insn.is_jump() || insn.is_subprog_call() {
            self.fail(AsmError::RawJump { insn: self.here() });
        }
        self.insns.push(insn);
    }

    /// Appends both slots of a 64-bit constant of any meaning but a function address.
    pub fn push_wide(&mut self, dst: Reg, imm: WideImm) {
        if matches!(imm, WideImm::Func(_)) {
            self.fail(AsmError::RawJump { insn: self.here() });
        }
        self.insns.extend(Insn::load_wide(dst, imm));
    }

    /// Appends a load of a number, in one slot if that is enough.
    pub fn load_const(&mut self, dst: Reg, value: u64) {
        match i32::try_from(value as i64) {
            Ok(imm) => self.insns.push(Insn::mov64(dst, imm)),
            Err(_) => self.insns.extend(Insn::load_imm64(dst, value)),
        }
    }

    fn refer(&mut self, kind: SymKind) {
        self.refs.push(SymRef { insn: self.here(), kind });
    }

    /// Appends the load of a map by the caller's index.
    pub fn load_map(&mut self, dst: Reg, map: u32) {
        self.refer(SymKind::Map(map));
        self.insns.extend(Insn::load_wide(dst, WideImm::MapFd(0)));
    }

    /// Appends the load of an address in an array map's value by the caller's index.
    pub fn load_map_value(&mut self, dst: Reg, map: u32, offset: u32) {
        self.refer(SymKind::MapValue { map, offset });
        self.insns.extend(Insn::load_wide(dst, WideImm::MapValue { fd: 0, offset }));
    }

    /// Appends the load of a kernel variable's address by the caller's index.
    pub fn load_ksym(&mut self, dst: Reg, ksym: u32) {
        self.refer(SymKind::Ksym(ksym));
        self.insns.extend(Insn::load_wide(dst, WideImm::BtfId { id: 0, fd: 0 }));
    }

    /// Appends the load of the address of a function of the program, for helpers that call back.
    pub fn load_func(&mut self, dst: Reg, func: Label) {
        self.funcs.push((self.here(), func));
        self.insns.extend(Insn::load_wide(dst, WideImm::Func(0)));
    }

    /// Appends the call of a helper.
    pub fn call_helper(&mut self, id: u32) {
        self.insns.push(Insn::call_helper(id));
    }

    /// Appends the call of a kernel function by the caller's index.
    pub fn call_kfunc(&mut self, kfunc: u32) {
        self.refer(SymKind::Kfunc(kfunc));
        self.insns.push(Insn::call(Callee::Kfunc { btf_id: 0, fd_index: 0 }));
    }

    /// Appends the call of a function of the program.
    pub fn call(&mut self, func: Label) {
        self.funcs.push((self.here(), func));
        self.insns.push(Insn::call(Callee::Subprog(0)));
    }

    fn jump_insn(&mut self, insn: Insn, target: Label) {
        self.jumps.push((self.here(), target));
        self.insns.push(insn);
    }

    /// Appends a jump.
    pub fn jump(&mut self, target: Label) {
        self.jump_insn(Insn::goto(0), target);
    }

    /// Appends a conditional jump.
    pub fn branch(&mut self, width: Width, cond: Cond, lhs: Reg, rhs: impl Into<Operand>, target: Label) {
        self.jump_insn(Insn::branch(width, cond, lhs, rhs, 0), target);
    }

    /// Appends a jump that is taken when the program has looped for too long.
    pub fn may_goto(&mut self, target: Label) {
        self.jump_insn(Insn::may_goto(0), target);
    }

    /// Appends a return.
    pub fn exit(&mut self) {
        self.insns.push(Insn::exit());
    }

    /// Resolves labels. Takes time in proportion to the program; equal calls give equal code.
    ///
    /// # Errors
    /// The first mistake in the use of labels, or limits of the instruction set: see [`AsmError`].
    pub fn finish(mut self) -> Result<Code, AsmError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.insns.len() > MAX_INSNS {
            return Err(AsmError::ProgramTooLong { limit: MAX_INSNS as u32 });
        }
        let end = self.here();
        // Records behind the last instruction describe nothing.
        self.subprogs.truncate(self.subprogs.partition_point(|s| s.insn < end));
        self.locs.truncate(self.locs.partition_point(|&(insn, _)| insn < end));
        if end > 0 && self.subprogs.first().is_none_or(|s| s.insn != 0) {
            self.subprogs.insert(0, Subprog { insn: 0, label: None });
        }
        let jumps = self.resolve(&self.jumps)?;
        let funcs = self.resolve(&self.funcs)?;
        self.check_functions(&jumps, &funcs)?;
        if !layout::patch_short(&mut self.insns, &jumps) {
            let layout = match self.long_jumps {
                LongJumps::Gotol => gotol::relax(&self.insns, &jumps),
                LongJumps::Islands => islands::relax(&self.insns, &jumps, &self.subprogs)?,
            };
            return self.moved(layout, &funcs);
        }
        patch_funcs(&mut self.insns, &funcs, |old| old);
        Ok(Code { insns: self.insns, refs: self.refs, locs: self.locs, subprogs: self.subprogs })
    }

    /// Positions of the labels that instructions refer to.
    fn resolve(&self, fixups: &[(u32, Label)]) -> Result<Vec<Link>, AsmError> {
        let end = self.here();
        let resolve = |&(at, label): &(u32, Label)| match self.labels.get(label.index()) {
            None => Err(AsmError::UnknownLabel(label)),
            Some(&UNBOUND) => Err(AsmError::UnboundLabel { insn: at, label }),
            Some(&target) if target >= end => Err(AsmError::LabelAtEnd { insn: at, label }),
            Some(&target) => Ok(Link { at, target }),
        };
        fixups.iter().map(resolve).collect()
    }

    /// Jumps stay within their function; calls and addresses refer to the start of one.
    fn check_functions(&self, jumps: &[Link], funcs: &[Link]) -> Result<(), AsmError> {
        let after = |insn: u32| self.subprogs.partition_point(|s| s.insn <= insn);
        if self.subprogs.len() > 1
            && let Some(i) = jumps.iter().position(|j| after(j.at) != after(j.target))
        {
            let (insn, label) = self.jumps[i];
            return Err(AsmError::JumpAcrossSubprogs { insn, label });
        }
        let begins = |insn: u32| self.subprogs.binary_search_by_key(&insn, |s| s.insn).is_ok();
        match funcs.iter().position(|f| !begins(f.target)) {
            Some(i) => Err(AsmError::NotASubprog { insn: self.funcs[i].0, label: self.funcs[i].1 }),
            None => Ok(()),
        }
    }

    /// The code after instructions have moved to make room for long jumps.
    fn moved(mut self, layout: Layout, funcs: &[Link]) -> Result<Code, AsmError> {
        let Layout { mut insns, position } = layout;
        if insns.len() > MAX_INSNS {
            return Err(AsmError::ProgramTooLong { limit: MAX_INSNS as u32 });
        }
        let new = |old: u32| position[old as usize];
        patch_funcs(&mut insns, funcs, new);
        self.refs.iter_mut().for_each(|r| r.insn = new(r.insn));
        self.locs.iter_mut().for_each(|l| l.0 = new(l.0));
        self.subprogs.iter_mut().for_each(|s| s.insn = new(s.insn));
        Ok(Code { insns, refs: self.refs, locs: self.locs, subprogs: self.subprogs })
    }
}

fn patch_funcs(insns: &mut [Insn], funcs: &[Link], new: impl Fn(u32) -> u32) {
    for func in funcs {
        let at = new(func.at);
        // Both are below MAX_INSNS.
        insns[at as usize].imm = new(func.target) as i32 - at as i32 - 1;
    }
}
