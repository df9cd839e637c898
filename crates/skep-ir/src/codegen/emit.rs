//! From machine instructions with registers to code.

use super::alloc::{self, Assignment, argument, operand, reg};
use super::frame::{self, Frame};
use super::live::Liveness;
use super::mir::{Base, Callee, Cheap, Dst, MBlock, MFunc, MKind, Src, Test, VReg};
use super::moves::{self, Step};
use crate::module::FuncId;
use crate::source::Loc;
use cranelift_entity::SecondaryMap;
use skep_asm::{AluOp, Assembler, Insn, Label, Reg, RegSet, Size, SwapOp};

/// A function ready to be emitted, once or into several programs.
pub(super) struct Compiled {
    pub(super) mf: MFunc,
    pub(super) assignment: Assignment,
    pub(super) live: Liveness,
    pub(super) frame: Frame,
}

/// Emits functions into one program.
pub(super) struct Emitter<'a> {
    pub(super) asm: &'a mut Assembler,
    /// Label of each function of the program.
    pub(super) funcs: &'a SecondaryMap<FuncId, Option<Label>>,
    /// Locations that the assembler's numbers stand for.
    pub(super) locs: &'a mut Vec<Loc>,
    /// A copy (to, from) that was emitted last, and how many instructions there were then: while there are no
    /// more and no jump leads here, the two hold the same.
    pub(super) copied: Option<(Reg, Reg, usize)>,
}

struct Context<'c> {
    c: &'c Compiled,
    labels: SecondaryMap<MBlock, Option<Label>>,
    /// Number of the instruction being emitted.
    at: u32,
}

impl Emitter<'_> {
    /// Emits a function at the end of the program; its label is bound by the caller.
    pub(super) fn function(&mut self, c: &Compiled) {
        let mut cx = Context { c, labels: SecondaryMap::new(), at: 0 };
        let threaded = Threading::of(&c.mf, &c.assignment);
        for &block in &c.mf.order {
            cx.labels[block] = Some(self.asm.label());
        }
        let emitted: Vec<MBlock> = c.mf.order.iter().copied().filter(|&b| !threaded.skips(b)).collect();
        for (i, &block) in emitted.iter().enumerate() {
            if let Some(label) = cx.labels[block] {
                self.bind(label);
            }
            let next = emitted.get(i + 1).copied();
            cx.at = c.live.starts[block];
            for inst in &c.mf.blocks[block] {
                if let Some(loc) = inst.loc {
                    self.set_loc(loc);
                }
                self.inst(&cx, &inst.kind, &threaded, next);
                cx.at += 1;
            }
        }
    }

    fn set_loc(&mut self, loc: Loc) {
        if self.locs.last() != Some(&loc) {
            self.locs.push(loc);
        }
        self.asm.loc(self.locs.len() as u32 - 1);
    }

    fn inst(&mut self, cx: &Context<'_>, kind: &MKind, threaded: &Threading, next: Option<MBlock>) {
        let r = |v: VReg| reg(v, &cx.c.assignment);
        match kind {
            MKind::Entry(params) => {
                self.moves(cx, &entry_moves(params, &cx.c.assignment));
            }
            MKind::Make(dst, cheap) => self.make(cx, r(*dst), *cheap),
            MKind::Copy(dst, src) => self.copy(r(*dst), r(*src)),
            MKind::Zext32 { dst, src } => self.asm.push(Insn::mov32(r(*dst), r(*src))),
            MKind::Movsx { width, size, dst, src } => {
                self.asm.push(Insn::movsx(*width, *size, r(*dst), r(*src)));
            }
            MKind::Alu { width, op, dst, lhs, rhs } => {
                self.copy(r(*dst), r(*lhs));
                self.asm.push(Insn::alu(*width, *op, r(*dst), operand(*rhs, &cx.c.assignment)));
            }
            MKind::Neg { width, dst, src } => {
                self.copy(r(*dst), r(*src));
                self.asm.push(Insn::neg(*width, r(*dst)));
            }
            MKind::Swap { bits, dst, src } => {
                self.copy(r(*dst), r(*src));
                // On the little-endian targets there are, conversion to big endian swaps on every kernel.
                self.asm.push(Insn::swap(SwapOp::Be, *bits, r(*dst)));
            }
            MKind::Load { size, signed, dst, base, off } => {
                let (base, off) = self.base(cx, *base, *off);
                let dst = r(*dst);
                let insn = if *signed {
                    Insn::load_sx(*size, dst, base, off)
                } else {
                    Insn::load(*size, dst, base, off)
                };
                self.asm.push(insn);
            }
            MKind::Store { size, base, off, val } => {
                let (base, off) = self.base(cx, *base, *off);
                self.asm.push(Insn::store(*size, base, off, operand(*val, &cx.c.assignment)));
            }
            MKind::Atomic { width, op, base, off, val, dst } => {
                let (base, off) = self.base(cx, *base, *off);
                let src = match dst {
                    Some(dst) => {
                        self.copy(r(*dst), r(*val));
                        r(*dst)
                    }
                    None => r(*val),
                };
                self.asm.push(Insn::atomic(*width, *op, base, off, src));
            }
            MKind::CmpXchg { width, base, off, expected, new, dst } => {
                self.load_src(cx, Reg::R0, *expected);
                let (base, off) = self.base(cx, *base, *off);
                self.asm.push(Insn::atomic(*width, skep_asm::AtomicOp::Cmpxchg, base, off, r(*new)));
                self.copy(r(*dst), Reg::R0);
            }
            MKind::Call { callee, args, dst } => {
                self.arguments(cx, args);
                match callee {
                    Callee::Helper(id) => self.asm.call_helper(*id),
                    Callee::Kfunc(index) => self.asm.call_kfunc(*index),
                    Callee::Func(func) => self.asm.call(self.func_label(*func)),
                }
                if let Some(dst) = dst
                    && let Some(dst) = cx.c.assignment[*dst]
                {
                    self.copy(dst, Reg::R0);
                }
            }
            MKind::SetCond { dst, test } => {
                let yes = self.asm.label();
                self.asm.push(Insn::mov64(r(*dst), 1));
                self.branch(cx, test, yes);
                self.asm.push(Insn::mov64(r(*dst), 0));
                self.bind(yes);
            }
            MKind::Select { dst, test, then, other } => {
                let yes = self.asm.label();
                self.copy(r(*dst), r(*then));
                self.branch(cx, test, yes);
                self.asm.push(Insn::mov64(r(*dst), operand(*other, &cx.c.assignment)));
                self.bind(yes);
            }
            MKind::Moves(list) => self.block_moves(cx, list),
            MKind::Jump(to) => {
                let to = threaded.target(*to);
                if next != Some(to) {
                    self.asm.jump(cx.label(to));
                }
            }
            MKind::Branch { test, then, other } => {
                let (then, other) = (threaded.target(*then), threaded.target(*other));
                if then == other {
                    if next != Some(then) {
                        self.asm.jump(cx.label(then));
                    }
                } else if next == Some(then)
                    && let Some(cond) = test.cond.inverse()
                {
                    self.branch(cx, &Test { cond, ..*test }, cx.label(other));
                } else {
                    self.branch(cx, test, cx.label(then));
                    if next != Some(other) {
                        self.asm.jump(cx.label(other));
                    }
                }
            }
            MKind::Ret(value) => {
                if let Some(value) = value {
                    self.load_src(cx, Reg::R0, *value);
                }
                self.asm.exit();
            }
        }
    }

    fn branch(&mut self, cx: &Context<'_>, test: &Test, to: Label) {
        let lhs = reg(test.lhs, &cx.c.assignment);
        self.asm.branch(test.width, test.cond, lhs, operand(test.rhs, &cx.c.assignment), to);
    }

    fn copy(&mut self, dst: Reg, src: Reg) {
        if dst != src && self.copied != Some((src, dst, self.asm.len())) {
            self.asm.push(Insn::mov64(dst, src));
            self.copied = Some((dst, src, self.asm.len()));
        }
    }

    /// Binds a label: from here on nothing is known about registers.
    fn bind(&mut self, label: Label) {
        self.asm.bind(label);
        self.copied = None;
    }

    fn func_label(&self, func: FuncId) -> Label {
        self.funcs[func].expect("every callee of a program's functions is in the program")
    }

    fn base(&self, cx: &Context<'_>, base: Base, off: i16) -> (Reg, i16) {
        match base {
            Base::Reg(v) => (reg(v, &cx.c.assignment), off),
            Base::Frame(object) => (Reg::R10, frame::offset(&cx.c.frame, object, i32::from(off)) as i16),
        }
    }

    fn make(&mut self, cx: &Context<'_>, dst: Reg, cheap: Cheap) {
        match cheap {
            // One slot for what is a 32-bit number without sign.
            Cheap::Const(n) if n >> 31 == 1 => self.asm.push(Insn::mov32(dst, n as i32)),
            Cheap::Const(n) => self.asm.load_const(dst, n),
            Cheap::Map(map) => self.asm.load_map(dst, map.as_u32()),
            Cheap::MapValue(map, offset) => self.asm.load_map_value(dst, map.as_u32(), offset),
            Cheap::Ksym(index) => self.asm.load_ksym(dst, index),
            Cheap::Func(func) => {
                let label = self.func_label(func);
                self.asm.load_func(dst, label);
            }
            Cheap::Frame(object, off) => {
                self.copy(dst, Reg::R10);
                self.asm.push(Insn::alu64(AluOp::Add, dst, frame::offset(&cx.c.frame, object, off)));
            }
        }
    }

    fn load_src(&mut self, cx: &Context<'_>, dst: Reg, src: Src) {
        match src {
            Src::Reg(v) => self.copy(dst, reg(v, &cx.c.assignment)),
            Src::Cheap(cheap) => self.make(cx, dst, cheap),
            Src::Spilled(object) => {
                let off = frame::offset(&cx.c.frame, object, 0) as i16;
                self.asm.push(Insn::load(Size::Dw, dst, Reg::R10, off));
            }
        }
    }

    /// Arguments to r1, r2...: registers first, all at once, then what is made or loaded without any.
    fn arguments(&mut self, cx: &Context<'_>, args: &[Src]) {
        let mut moves = Vec::with_capacity(args.len());
        for (i, arg) in args.iter().enumerate() {
            if let (Src::Reg(v), Some(to)) = (arg, argument(i)) {
                moves.push((to, reg(*v, &cx.c.assignment)));
            }
        }
        // r0 is no argument, and what it holds is dead or in a move that comes before any cycle is left.
        for step in moves::sequence(&moves) {
            self.step(step, Reg::R0);
        }
        for (i, arg) in args.iter().enumerate() {
            if let (Src::Cheap(_) | Src::Spilled(_), Some(to)) = (arg, argument(i)) {
                self.load_src(cx, to, *arg);
            }
        }
    }

    fn block_moves(&mut self, cx: &Context<'_>, list: &[(Dst, Src)]) {
        let registers = register_moves(list, &cx.c.assignment);
        for (dst, src) in list {
            match (dst, src) {
                (Dst::Spilled(object), src) => {
                    let off = frame::offset(&cx.c.frame, *object, 0) as i16;
                    match *src {
                        Src::Reg(v) => {
                            self.asm.push(Insn::store(Size::Dw, Reg::R10, off, reg(v, &cx.c.assignment)));
                        }
                        Src::Cheap(Cheap::Const(n)) if i32::try_from(n.cast_signed()).is_ok() => {
                            self.asm.push(Insn::store(Size::Dw, Reg::R10, off, n as i32));
                        }
                        other => self.through_temporary(cx, other, off, named(&registers)),
                    }
                }
                (Dst::Reg(_), _) => {}
            }
        }
        self.moves(cx, &registers);
        for (dst, src) in list {
            if let (Dst::Reg(v), Src::Cheap(_) | Src::Spilled(_)) = (dst, src)
                && let Some(to) = cx.c.assignment[*v]
            {
                self.load_src(cx, to, *src);
            }
        }
    }

    fn moves(&mut self, cx: &Context<'_>, moves: &[(Reg, Reg)]) {
        let steps = moves::sequence(moves);
        let cycle = steps.iter().any(|s| matches!(s, Step::Save(_)));
        let free = || alloc::free_at(&cx.c.assignment, &cx.c.live, cx.at, named(moves));
        let temporary = if cycle { free() } else { None };
        for step in steps {
            match temporary {
                Some(temporary) => self.step(step, temporary),
                None => self.step_through_frame(cx, step),
            }
        }
    }

    fn step(&mut self, step: Step, temporary: Reg) {
        let (to, from) = match step {
            Step::Move(to, from) => (to, from),
            Step::Save(from) => (temporary, from),
            Step::Restore(to) => (to, temporary),
        };
        self.copy(to, from);
    }

    /// Without a free register a cycle goes through the word that the frame keeps for it.
    fn step_through_frame(&mut self, cx: &Context<'_>, step: Step) {
        let off = -(cx.c.frame.size as i32) as i16;
        match step {
            Step::Move(to, from) => self.copy(to, from),
            Step::Save(from) => self.asm.push(Insn::store(Size::Dw, Reg::R10, off, from)),
            Step::Restore(to) => self.asm.push(Insn::load(Size::Dw, to, Reg::R10, off)),
        }
    }

    /// Stores what needs a register on the way. Any register will do that is free, or one is saved meanwhile.
    fn through_temporary(&mut self, cx: &Context<'_>, src: Src, off: i16, busy: RegSet) {
        let spare = -(cx.c.frame.size as i32) as i16;
        if let Some(free) = alloc::free_at(&cx.c.assignment, &cx.c.live, cx.at, busy) {
            self.load_src(cx, free, src);
            return self.asm.push(Insn::store(Size::Dw, Reg::R10, off, free));
        }
        self.asm.push(Insn::store(Size::Dw, Reg::R10, spare, Reg::R9));
        self.load_src(cx, Reg::R9, src);
        self.asm.push(Insn::store(Size::Dw, Reg::R10, off, Reg::R9));
        self.asm.push(Insn::load(Size::Dw, Reg::R9, Reg::R10, spare));
    }
}

impl Context<'_> {
    fn label(&self, block: MBlock) -> Label {
        self.labels[block].expect("every block that is jumped to is in the order of emission")
    }
}

/// Jumps to blocks that only jump on go straight to where those lead.
struct Threading {
    /// Where a block that only jumps on leads in the end.
    targets: SecondaryMap<MBlock, Option<MBlock>>,
}

impl Threading {
    fn of(mf: &MFunc, assignment: &Assignment) -> Threading {
        let mut next: SecondaryMap<MBlock, Option<MBlock>> = SecondaryMap::new();
        for &block in mf.order.iter().skip(1) {
            next[block] = match mf.blocks[block].as_slice() {
                [only] => jump(&only.kind),
                [moves, end] if is_nothing(&moves.kind, assignment) => jump(&end.kind),
                _ => None,
            };
        }
        let mut targets: SecondaryMap<MBlock, Option<MBlock>> = SecondaryMap::new();
        let mut path = Vec::new();
        for &start in &mf.order {
            let mut at = start;
            // A ring of empty blocks stays as it is: an endless loop has to be somewhere.
            let end = loop {
                if let Some(known) = targets[at] {
                    break Some(known);
                }
                match next[at] {
                    None => break Some(at),
                    Some(_) if path.contains(&at) => break None,
                    Some(to) => path.push(std::mem::replace(&mut at, to)),
                }
            };
            for block in path.drain(..) {
                targets[block] = end;
                if end.is_none() {
                    next[block] = None;
                }
            }
        }
        Threading { targets }
    }

    /// Where a jump to a block ends up.
    fn target(&self, block: MBlock) -> MBlock {
        self.targets[block].unwrap_or(block)
    }

    /// Whether nothing arrives at a block any more.
    fn skips(&self, block: MBlock) -> bool {
        self.targets[block].is_some()
    }
}

fn jump(kind: &MKind) -> Option<MBlock> {
    if let MKind::Jump(to) = kind { Some(*to) } else { None }
}

/// Whether moves leave everything where it is, now that registers are known.
fn is_nothing(kind: &MKind, assignment: &Assignment) -> bool {
    let stays = |(dst, src): &(Dst, Src)| match (dst, src) {
        (Dst::Reg(d), Src::Reg(s)) => assignment[*d].is_none() || assignment[*d] == assignment[*s],
        _ => false,
    };
    matches!(kind, MKind::Moves(list) if list.iter().all(stays))
}

/// Whether some move finds no free register for a temporary, so that the frame must keep a word for it.
pub(super) fn needs_spare_word(mf: &MFunc, assignment: &Assignment, live: &Liveness) -> bool {
    for (at, inst) in (0..).zip(mf.order.iter().flat_map(|&b| &mf.blocks[b])) {
        let pairs = match &inst.kind {
            MKind::Entry(params) => entry_moves(params, assignment),
            MKind::Moves(list) => register_moves(list, assignment),
            _ => Vec::new(),
        };
        let cycle = moves::sequence(&pairs).iter().any(|s| matches!(s, Step::Save(_)));
        let stored = matches!(&inst.kind, MKind::Moves(list)
            if list.iter().any(|(dst, src)| matches!((dst, src), (Dst::Spilled(_), Src::Cheap(_)))));
        if (cycle || stored) && alloc::free_at(assignment, live, at, named(&pairs)).is_none() {
            return true;
        }
    }
    false
}

fn entry_moves(params: &[VReg], assignment: &Assignment) -> Vec<(Reg, Reg)> {
    params.iter().enumerate().filter_map(|(i, &v)| Some((assignment[v]?, argument(i)?))).collect()
}

fn register_moves(list: &[(Dst, Src)], assignment: &Assignment) -> Vec<(Reg, Reg)> {
    let pair = |(dst, src): &(Dst, Src)| match (dst, src) {
        (Dst::Reg(d), Src::Reg(s)) => Some((assignment[*d]?, assignment[*s]?)),
        _ => None,
    };
    list.iter().filter_map(pair).collect()
}

/// Registers that moves read or write.
fn named(moves: &[(Reg, Reg)]) -> RegSet {
    moves.iter().fold(RegSet::EMPTY, |set, &(to, from)| set.with(to).with(from))
}
