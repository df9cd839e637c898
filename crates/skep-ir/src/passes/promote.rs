//! Makes values of slots whose address does not escape, scalar by scalar.
//!
//! A slot qualifies if its address is only loaded from, stored to and filled at constant distances. Each part
//! of it that is always accessed whole and as one type becomes a value; the rest stays in memory. What is
//! read before it is written is zero.

use super::edit::Aliases;
use super::params;
use crate::arith::canonical;
use crate::cfg::Cfg;
use crate::func::{Block, Func, Inst, Slot, Value};
use crate::inst::InstKind;
use crate::module::Module;
use crate::passes::Context;
use crate::types::Ty;
use cranelift_entity::packed_option::PackedOption;
use cranelift_entity::{PrimaryMap, SecondaryMap, entity_impl};

/// A part of a slot that becomes a value.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Var(u32);
entity_impl!(Var, "var");

/// Longest fill that is taken apart.
const MAX_FILL: u32 = 4096;

/// Runs the pass.
pub fn run(func: &mut Func, _: &Module, _: &Context<'_>) {
    if func.slots.is_empty() {
        return;
    }
    func.drop_unreachable();
    small_copies(func);
    let vars = Vars::find(func);
    if vars.types.is_empty() {
        return;
    }
    let cfg = Cfg::new(func);
    Rewriter::new(func, &vars, &cfg).run();
    params::remove_same(func);
}

/// Where a pointer that is a slot's address plus a constant points.
fn place(func: &Func, mut ptr: Value) -> Option<(Slot, i64)> {
    let mut off = 0i64;
    loop {
        match func.def(ptr)? {
            InstKind::SlotAddr(slot) => return Some((*slot, off)),
            InstKind::PtrAdd(of, by, None) => {
                off += i64::from(*by);
                ptr = *of;
            }
            _ => return None,
        }
    }
}

/// Copies of one machine word between slots become a load and a store, which can be promoted.
fn small_copies(func: &mut Func) {
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        if !func.blocks[block].insts.iter().any(|&inst| is_small_copy(func, inst)) {
            continue;
        }
        for inst in std::mem::take(&mut func.blocks[block].insts) {
            match func.insts[inst].kind {
                InstKind::MemCopy { dst, src, len } if is_small_copy(func, inst) => {
                    let loc = func.insts[inst].loc;
                    let ty = Ty::int(len).unwrap_or(Ty::I64);
                    let load = InstKind::Load { ptr: src, off: 0, volatile: false };
                    let val = func.append_value(block, load, ty, loc);
                    func.append(block, InstKind::Store { ptr: dst, off: 0, val }, None, loc);
                }
                _ => func.blocks[block].insts.push(inst),
            }
        }
    }
}

fn is_small_copy(func: &Func, inst: Inst) -> bool {
    let InstKind::MemCopy { dst, src, len } = func.insts[inst].kind else { return false };
    let aligned = |ptr| {
        place(func, ptr).is_some_and(|(slot, off)| {
            let align = i64::from(func.slots[slot].align.max(1));
            off % i64::from(len) == 0 && align % i64::from(len) == 0
        })
    };
    matches!(len, 1 | 2 | 4 | 8) && aligned(dst) && aligned(src)
}

/// One access to a slot.
#[derive(Copy, Clone)]
struct Access {
    from: u32,
    to: u32,
    /// `None` for fills, which suit every integer.
    ty: Option<Ty>,
}

/// All accesses, and the slots that are used otherwise.
#[derive(Default)]
struct Accesses {
    accesses: SecondaryMap<Slot, Vec<Access>>,
    escaped: SecondaryMap<Slot, bool>,
}

impl Accesses {
    fn note(&mut self, func: &Func, ptr: Value, off: i32, len: u32, ty: Option<Ty>) {
        let Some((slot, base)) = place(func, ptr) else { return };
        let from = base + i64::from(off);
        match (u32::try_from(from), u32::try_from(from + i64::from(len))) {
            (Ok(from), Ok(to)) if to <= func.slots[slot].size => {
                self.accesses[slot].push(Access { from, to, ty });
            }
            _ => self.escaped[slot] = true,
        }
    }

    fn escape(&mut self, func: &Func, v: Value) {
        if let Some((slot, _)) = place(func, v) {
            self.escaped[slot] = true;
        }
    }
}

/// What becomes a value.
struct Vars {
    types: PrimaryMap<Var, Ty>,
    /// Parts of each slot by their first byte, ascending.
    parts: SecondaryMap<Slot, Vec<(u32, u32, Var)>>,
}

impl Vars {
    fn find(func: &Func) -> Vars {
        let mut found = Accesses::default();
        for &block in &func.layout {
            for &inst in &func.blocks[block].insts {
                let data = &func.insts[inst];
                match &data.kind {
                    InstKind::Load { ptr, off, volatile: false } => {
                        if let Some(result) = data.result.expand() {
                            found.note(func, *ptr, *off, func.ty(result).bytes(), Some(func.ty(result)));
                        }
                    }
                    InstKind::Store { ptr, off, val } => {
                        found.note(func, *ptr, *off, func.ty(*val).bytes(), Some(func.ty(*val)));
                        found.escape(func, *val);
                    }
                    InstKind::MemSet { dst, len, .. } if *len <= MAX_FILL => {
                        found.note(func, *dst, 0, *len, None);
                    }
                    InstKind::PtrAdd(ptr, _, None) if place(func, *ptr).is_some() => {}
                    kind => kind.for_each_use(|v| found.escape(func, v)),
                }
            }
        }
        let mut vars = Vars { types: PrimaryMap::new(), parts: SecondaryMap::new() };
        for slot in func.slots.keys() {
            if !found.escaped[slot] {
                vars.split(slot, std::mem::take(&mut found.accesses[slot]));
            }
        }
        vars
    }

    /// The parts of a slot that are always accessed whole and as one type.
    fn split(&mut self, slot: Slot, mut accesses: Vec<Access>) {
        let fills: Vec<Access> = accesses.iter().filter(|a| a.ty.is_none()).copied().collect();
        accesses.retain(|a| a.ty.is_some());
        accesses.sort_by_key(|a| (a.from, a.to));
        let mut i = 0;
        while i < accesses.len() {
            // All accesses that overlap with the first one, directly or through others.
            let first = accesses[i];
            let mut end = first.to;
            let mut same = true;
            let start = i;
            while i < accesses.len() && (accesses[i].from < end || i == start) {
                let a = accesses[i];
                same &= a.from == first.from && a.to == first.to && a.ty == first.ty;
                end = end.max(a.to);
                i += 1;
            }
            let Some(ty) = first.ty else { continue };
            let outside = |f: &Access| f.to <= first.from || f.from >= first.to;
            let whole = |f: &Access| outside(f) || (f.from <= first.from && f.to >= first.to);
            let filled = !fills.iter().all(outside);
            // A fill writes numbers: a pointer cannot be made of them.
            if same && fills.iter().all(whole) && (!filled || ty.is_int()) {
                let var = self.types.push(ty);
                self.parts[slot].push((first.from, first.to, var));
            }
        }
    }

    fn at(&self, slot: Slot, off: i64) -> Option<Var> {
        let off = u32::try_from(off).ok()?;
        let parts = &self.parts[slot];
        parts.binary_search_by_key(&off, |p| p.0).ok().map(|i| parts[i].2)
    }

    fn within(&self, slot: Slot, from: i64, len: u32) -> impl Iterator<Item = Var> + '_ {
        let to = from + i64::from(len);
        let inside = move |p: &&(u32, u32, Var)| i64::from(p.0) >= from && i64::from(p.1) <= to;
        self.parts[slot].iter().filter(inside).map(|p| p.2)
    }
}

/// What an instruction does to the parts.
enum Effect {
    None,
    Read(Var),
    Write(Var, Value),
    Fill(Vec<Var>, u8),
}

/// Renames along the dominator tree.
struct Rewriter<'f> {
    func: &'f mut Func,
    vars: &'f Vars,
    cfg: &'f Cfg,
    /// Parts that a block gets as parameters.
    params: SecondaryMap<Block, Vec<(Var, Value)>>,
    current: SecondaryMap<Var, PackedOption<Value>>,
    /// Zeros for what is read before it is written; they will stand at the beginning of the entry.
    unwritten: SecondaryMap<Var, PackedOption<Value>>,
    zeros: Vec<Inst>,
    aliases: Aliases,
}

impl<'f> Rewriter<'f> {
    fn new(func: &'f mut Func, vars: &'f Vars, cfg: &'f Cfg) -> Self {
        Rewriter {
            func,
            vars,
            cfg,
            params: SecondaryMap::new(),
            current: SecondaryMap::new(),
            unwritten: SecondaryMap::new(),
            zeros: Vec::new(),
            aliases: Aliases::default(),
        }
    }

    fn run(mut self) {
        self.place_params();
        let mut children: SecondaryMap<Block, Vec<Block>> = SecondaryMap::new();
        for &block in self.cfg.order() {
            if let Some(parent) = self.cfg.idom(block) {
                children[parent].push(block);
            }
        }
        // Entering a block, and leaving it with what was there before.
        enum Step {
            Enter(Block),
            Leave(Vec<(Var, PackedOption<Value>)>),
        }
        let mut todo = vec![Step::Enter(self.func.entry())];
        while let Some(step) = todo.pop() {
            match step {
                Step::Leave(before) => {
                    for (var, value) in before.into_iter().rev() {
                        self.current[var] = value;
                    }
                }
                Step::Enter(block) => {
                    let before = self.block(block);
                    todo.push(Step::Leave(before));
                    todo.extend(children[block].iter().rev().map(|&b| Step::Enter(b)));
                }
            }
        }
        let entry = self.func.entry();
        self.func.blocks[entry].insts.splice(0..0, self.zeros);
        self.aliases.apply(self.func);
    }

    fn effect(&self, inst: Inst) -> Effect {
        match &self.func.insts[inst].kind {
            InstKind::Load { ptr, off, volatile: false } => match place(self.func, *ptr) {
                Some((slot, base)) => {
                    self.vars.at(slot, base + i64::from(*off)).map_or(Effect::None, Effect::Read)
                }
                None => Effect::None,
            },
            InstKind::Store { ptr, off, val } => match place(self.func, *ptr) {
                Some((slot, base)) => {
                    let var = self.vars.at(slot, base + i64::from(*off));
                    var.map_or(Effect::None, |var| Effect::Write(var, *val))
                }
                None => Effect::None,
            },
            InstKind::MemSet { dst, byte, len } => match place(self.func, *dst) {
                Some((slot, base)) => Effect::Fill(self.vars.within(slot, base, *len).collect(), *byte),
                None => Effect::None,
            },
            _ => Effect::None,
        }
    }

    /// Gives blocks where paths meet a parameter for every part that is read later before it is written.
    fn place_params(&mut self) {
        let mut read_first: SecondaryMap<Var, Vec<Block>> = SecondaryMap::new();
        let mut written: SecondaryMap<Block, Vec<Var>> = SecondaryMap::new();
        let mut last_written: SecondaryMap<Var, PackedOption<Block>> = SecondaryMap::new();
        for &block in self.cfg.order() {
            let mut touched: Vec<Var> = Vec::new();
            for &inst in &self.func.blocks[block].insts {
                match self.effect(inst) {
                    Effect::None => {}
                    // A read counts if nothing was written before it.
                    Effect::Read(var) => {
                        if last_written[var].expand() != Some(block) && read_first[var].last() != Some(&block)
                        {
                            read_first[var].push(block);
                        }
                    }
                    Effect::Write(var, _) => {
                        last_written[var] = block.into();
                        touched.push(var);
                    }
                    Effect::Fill(vars, _) => {
                        for var in vars {
                            last_written[var] = block.into();
                            touched.push(var);
                        }
                    }
                }
            }
            touched.sort_unstable();
            touched.dedup();
            written[block] = touched;
        }
        let entry = self.func.entry();
        for var in self.vars.types.keys() {
            // Blocks at whose beginning the part is needed.
            let mut todo = std::mem::take(&mut read_first[var]);
            let mut needed: SecondaryMap<Block, bool> = SecondaryMap::new();
            while let Some(block) = todo.pop() {
                if std::mem::replace(&mut needed[block], true) || block == entry {
                    continue;
                }
                let preds = self.cfg.preds(block);
                if preds.len() > 1 {
                    let ty = self.vars.types[var];
                    let param = self.func.add_param(block, ty);
                    self.params[block].push((var, param));
                }
                todo.extend(preds.iter().filter(|&&p| written[p].binary_search(&var).is_err()));
            }
        }
    }

    fn block(&mut self, block: Block) -> Vec<(Var, PackedOption<Value>)> {
        let mut before = Vec::new();
        for (var, value) in self.params[block].clone() {
            before.push((var, self.current[var]));
            self.current[var] = value.into();
        }
        let insts = std::mem::take(&mut self.func.blocks[block].insts);
        for inst in insts {
            match self.effect(inst) {
                Effect::Read(var) => {
                    let value = self.value(var);
                    if let Some(result) = self.func.insts[inst].result.expand() {
                        self.aliases.set(result, value);
                    }
                }
                Effect::Write(var, value) => {
                    let value = self.aliases.get(value);
                    before.push((var, self.current[var]));
                    self.current[var] = value.into();
                }
                Effect::Fill(vars, byte) => {
                    let loc = self.func.insts[inst].loc;
                    for var in vars {
                        let ty = self.vars.types[var];
                        let pattern = i64::from_ne_bytes([byte; 8]);
                        let number = InstKind::Const(canonical(pattern, ty));
                        let value = self.func.append_value(block, number, ty, loc);
                        before.push((var, self.current[var]));
                        self.current[var] = value.into();
                    }
                    // It may fill other parts, too, that stay in memory.
                    self.func.blocks[block].insts.push(inst);
                }
                Effect::None => self.func.blocks[block].insts.push(inst),
            }
        }
        let Some(end) = self.func.terminator(block) else { return before };
        let targets = self.func.insts[end].kind.targets().len();
        for edge in 0..targets {
            let to = self.func.insts[end].kind.targets()[edge].block;
            for (var, _) in self.params[to].clone() {
                let value = self.value(var);
                self.func.insts[end].kind.targets_mut()[edge].args.push(value);
            }
        }
        before
    }

    /// What a part is now; zero if nothing was written to it.
    fn value(&mut self, var: Var) -> Value {
        if let Some(value) = self.current[var].expand().or(self.unwritten[var].expand()) {
            return value;
        }
        let ty = self.vars.types[var];
        let kind = if ty.is_int() { InstKind::Const(0) } else { InstKind::Null };
        let zero = self.func.make_inst(kind, Some(ty), None);
        self.zeros.push(zero);
        let value = self.func.insts[zero].result.expand().expect("it was made with a result");
        self.unwritten[var] = value.into();
        value
    }
}
