//! Constants along the edges that may be taken.

use super::super::Context;
use super::core::answer;
use crate::arith;
use crate::func::{Block, Def, Func, Inst, Value};
use crate::inst::{InstKind, Target};
use crate::module::{Module, Section};
use crate::types::{PtrClass, Ty};
use cranelift_entity::SecondaryMap;

/// What is known of a value.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
enum Known {
    /// Nothing reached it yet.
    #[default]
    Nothing,
    /// These bits. A null pointer is 0.
    Bits(u64),
    /// More than one number, or not to be known.
    Anything,
}

struct Sccp<'a> {
    func: &'a Func,
    module: &'a Module,
    context: &'a Context<'a>,
    known: SecondaryMap<Value, Known>,
    reached: SecondaryMap<Block, bool>,
    users: Users,
    home: SecondaryMap<Inst, Option<Block>>,
    blocks: Vec<Block>,
    values: Vec<Value>,
}

/// The instructions that use each value, as lists in one vector: the numbers are places in it, counted from 1.
struct Users {
    last: SecondaryMap<Value, u32>,
    list: Vec<(Inst, u32)>,
}

impl Users {
    fn add(&mut self, value: Value, user: Inst) {
        self.list.push((user, self.last[value]));
        self.last[value] = self.list.len() as u32;
    }
}

pub(super) fn run(func: &mut Func, module: &Module, context: &Context<'_>) {
    let mut users = Users { last: SecondaryMap::with_capacity(func.values.len()), list: Vec::new() };
    let mut home: SecondaryMap<Inst, Option<Block>> = SecondaryMap::with_capacity(func.insts.len());
    for &block in &func.layout {
        for &inst in &func.blocks[block].insts {
            home[inst] = Some(block);
            func.insts[inst].kind.for_each_use(|v| users.add(v, inst));
        }
    }
    let known = SecondaryMap::with_capacity(func.values.len());
    let reached = SecondaryMap::with_capacity(func.blocks.len());
    let entry = func.entry();
    let mut sccp =
        Sccp { func, module, context, known, reached, users, home, blocks: vec![entry], values: Vec::new() };
    for &param in func.params() {
        sccp.known[param] = Known::Anything;
    }
    sccp.reached[entry] = true;
    sccp.solve();
    let (known, reached) = (sccp.known, sccp.reached);
    apply(func, &known, &reached);
}

impl Sccp<'_> {
    fn solve(&mut self) {
        loop {
            if let Some(value) = self.values.pop() {
                let mut next = self.users.last[value];
                while let Some((inst, before)) = self.users.list.get(next.wrapping_sub(1) as usize).copied() {
                    next = before;
                    if self.home[inst].is_some_and(|b| self.reached[b]) {
                        self.visit(inst);
                    }
                }
            } else if let Some(block) = self.blocks.pop() {
                for i in 0..self.func.blocks[block].insts.len() {
                    self.visit(self.func.blocks[block].insts[i]);
                }
            } else {
                return;
            }
        }
    }

    fn visit(&mut self, inst: Inst) {
        let data = &self.func.insts[inst];
        match &data.kind {
            InstKind::Br(target) => self.edge(target),
            InstKind::CondBr { cond, then, other } => match self.known[*cond] {
                Known::Nothing => {}
                Known::Bits(0) => self.edge(other),
                Known::Bits(_) => self.edge(then),
                Known::Anything => {
                    self.edge(then);
                    self.edge(other);
                }
            },
            InstKind::Switch { val, cases, default } => match self.known[*val] {
                Known::Nothing => {}
                Known::Bits(n) => {
                    let ty = self.func.ty(*val);
                    let case = cases.iter().find(|(k, _)| arith::low_bits(*k as u64, ty) == n);
                    self.edge(case.map_or(default, |(_, target)| target));
                }
                Known::Anything => {
                    for (_, target) in cases {
                        self.edge(target);
                    }
                    self.edge(default);
                }
            },
            kind => {
                if let Some(result) = data.result.expand() {
                    let known = self.evaluate(kind, self.func.ty(result));
                    self.learn(result, known);
                }
            }
        }
    }

    fn edge(&mut self, target: &Target) {
        for (&arg, &param) in target.args.iter().zip(&self.func.blocks[target.block].params) {
            let known = match (self.known[param], self.known[arg]) {
                (known, Known::Nothing) | (Known::Nothing, known) => known,
                (a, b) if a == b => a,
                _ => Known::Anything,
            };
            self.learn(param, known);
        }
        if !std::mem::replace(&mut self.reached[target.block], true) {
            self.blocks.push(target.block);
        }
    }

    fn learn(&mut self, value: Value, known: Known) {
        let old = self.known[value];
        // Knowledge only ever grows less exact, which is why this ends.
        if old != known && old != Known::Anything {
            self.known[value] = if old == Known::Nothing { known } else { Known::Anything };
            self.values.push(value);
        }
    }

    fn evaluate(&self, kind: &InstKind, ty: Ty) -> Known {
        let operand = |v: Value| self.known[v];
        let of = |v: Value| self.func.ty(v);
        let one = |a: Value, f: &dyn Fn(u64) -> u64| match operand(a) {
            Known::Bits(n) => Known::Bits(arith::low_bits(f(n), ty)),
            other => other,
        };
        let two = |a: Value, b: Value, f: &dyn Fn(u64, u64) -> u64| match (operand(a), operand(b)) {
            (Known::Bits(a), Known::Bits(b)) => Known::Bits(f(a, b)),
            (Known::Nothing, _) | (_, Known::Nothing) => Known::Nothing,
            _ => Known::Anything,
        };
        use InstKind as I;
        match kind {
            I::Const(n) => Known::Bits(arith::low_bits(*n as u64, ty)),
            I::Null => Known::Bits(0),
            I::Bin(op, a, b) => two(*a, *b, &|a, b| arith::bin(*op, ty, a, b)),
            I::Neg(a) => one(*a, &u64::wrapping_neg),
            I::Bswap(a) => one(*a, &|n| arith::bswap(n, ty)),
            I::Cmp(op, a, b) => {
                let width = of(*a);
                if width.is_int() {
                    two(*a, *b, &|a, b| u64::from(arith::cmp(*op, width, a, b)))
                } else {
                    Known::Anything
                }
            }
            I::IsNull(a) => match operand(*a) {
                Known::Bits(0) => Known::Bits(1),
                Known::Nothing => Known::Nothing,
                _ if never_null(of(*a)) => Known::Bits(0),
                _ => Known::Anything,
            },
            I::Zext(a) | I::Trunc(a) => one(*a, &|n| n),
            I::Sext(a) => one(*a, &|n| {
                let from = of(*a);
                // The sign of an i1 is its only bit.
                if from == Ty::I1 { n.wrapping_neg() } else { arith::signed(n, from) as u64 }
            }),
            I::Select(c, a, b) => match operand(*c) {
                Known::Nothing => Known::Nothing,
                Known::Bits(0) => operand(*b),
                Known::Bits(_) => operand(*a),
                Known::Anything => match (operand(*a), operand(*b)) {
                    (a, b) if a == b => a,
                    (Known::Nothing, known) | (known, Known::Nothing) => known,
                    _ => Known::Anything,
                },
            },
            I::Refine(a, _) => operand(*a),
            I::PtrToInt(a) | I::IntToPtr(a) => match operand(*a) {
                Known::Bits(0) => Known::Bits(0),
                Known::Nothing => Known::Nothing,
                _ => Known::Anything,
            },
            I::HistBucket { val, bits } => one(*val, &|n| arith::hist_bucket(n, *bits)),
            I::LinearBucket { val, min, max, step } => {
                one(*val, &|n| arith::linear_bucket(n, *min, *max, *step))
            }
            I::SetMember { val, set } => match &self.module.sets[*set] {
                crate::module::Set::Ints(list) => one(*val, &|n| u64::from(list.contains(&(n as i64)))),
                _ => Known::Anything,
            },
            I::Core { what, ty, path } => {
                let answer = self
                    .context
                    .kernel
                    .btf()
                    .and_then(|btf| answer(btf, &self.module.types, *what, *ty, path));
                answer.map_or(Known::Anything, |n| Known::Bits(n as u64))
            }
            I::Load { ptr, off, volatile: false } => self.rodata(*ptr, i64::from(*off), ty),
            _ => Known::Anything,
        }
    }

    /// The value of a constant in `.rodata`.
    fn rodata(&self, mut ptr: Value, mut off: i64, ty: Ty) -> Known {
        let global = loop {
            match self.func.def(ptr) {
                Some(InstKind::PtrAdd(of, by, None)) => {
                    off += i64::from(*by);
                    ptr = *of;
                }
                Some(InstKind::GlobalAddr(global)) => break &self.module.globals[*global],
                _ => return Known::Anything,
            }
        };
        let len = i64::from(ty.bytes());
        let inside = off >= 0 && off + len <= i64::from(global.size);
        if global.section != Section::Rodata || !self.context.options.fold_rodata || !inside || !ty.is_int() {
            return Known::Anything;
        }
        // What is not given is zero.
        let byte = |i: i64| global.init.get(i as usize).copied().unwrap_or(0);
        let bits = (off..off + len).rev().fold(0, |n, i| n << 8 | u64::from(byte(i)));
        Known::Bits(arith::low_bits(bits, ty))
    }
}

/// Whether a pointer of the type cannot be null whatever was computed. Addresses of the kernel and of user
/// space are numbers that front ends make.
fn never_null(ty: Ty) -> bool {
    ty.as_ptr().is_some_and(|p| {
        !p.nullable
            && p.class.pointee().is_none()
            && !matches!(p.class, PtrClass::Packet | PtrClass::PacketMeta)
    })
}

/// Puts what was found into the function.
fn apply(func: &mut Func, known: &SecondaryMap<Value, Known>, reached: &SecondaryMap<Block, bool>) {
    func.layout.retain(|&b| reached[b]);
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        let constant = |func: &Func, v: Value| match known[v] {
            Known::Bits(n) if func.ty(v).is_int() => Some(InstKind::Const(arith::signed(n, func.ty(v)))),
            Known::Bits(0) if func.ty(v).as_ptr().is_some_and(|p| p.nullable) => Some(InstKind::Null),
            _ => None,
        };
        for k in 0..func.blocks[block].insts.len() {
            let inst = func.blocks[block].insts[k];
            let Some(result) = func.insts[inst].result.expand() else { continue };
            // What has effects stays where it is, and so do constants.
            if let Some(kind) = constant(func, result)
                && func.insts[inst].kind.is_removable()
            {
                func.insts[inst].kind = kind;
            }
        }
        // A parameter that is constant becomes an instruction; the jumps still pass something to the place, which
        // a fresh parameter takes.
        if i > 0 {
            for place in 0..func.blocks[block].params.len() {
                let param = func.blocks[block].params[place];
                if let Some(kind) = constant(func, param) {
                    let ty = func.ty(param);
                    let fresh =
                        func.values.push(crate::func::ValueData { ty, def: Def::Param(block, place as u32) });
                    func.blocks[block].params[place] = fresh;
                    let inst = func.make_inst(kind, None, None);
                    func.values[param].def = Def::Inst(inst);
                    func.insts[inst].result = param.into();
                    func.blocks[block].insts.insert(0, inst);
                }
            }
        }
        let Some(end) = func.terminator(block) else { continue };
        let taken = match &func.insts[end].kind {
            InstKind::CondBr { cond, then, other } => match known[*cond] {
                Known::Bits(0) => Some(other.clone()),
                Known::Bits(_) => Some(then.clone()),
                _ => None,
            },
            InstKind::Switch { val, cases, default } => match known[*val] {
                Known::Bits(n) => {
                    let ty = func.ty(*val);
                    let case = cases.iter().find(|(k, _)| arith::low_bits(*k as u64, ty) == n);
                    Some(case.map_or(default, |(_, t)| t).clone())
                }
                _ => None,
            },
            _ => None,
        };
        if let Some(target) = taken {
            func.insts[end].kind = InstKind::Br(target);
        }
    }
}
