//! Programs and subprograms.

use super::function::{Captured, Fx, Role, Site, Variable};
use super::locals::BodyInfo;
use super::store::Dest;
use super::unit::Unit;
use super::visit::{self, Node};
use crate::hir::{Builtin, Expr, ExprKind, LocalId, Probe, Provider, Stmt, StmtKind, SubprogId};
use crate::plan::{Event, ProbePlan};
use crate::types::Type;
use cranelift_entity::EntityRef;
use skep_ir::func::{Func, Linkage};
use skep_ir::inst::{CmpOp, InstKind, Ledger};
use skep_ir::module::Prog;
use skep_ir::spec::Attach;
use skep_ir::types::PtrClass;
use skep_ir::{FuncBuilder, FuncId, ProgKind, Ty, Value};
use std::rc::Rc;

/// In the context of each iterator the pointer to the object stands behind that to the metadata
/// (`struct bpf_iter__*` in the kernel's sources).
const ITER_OBJECT: i32 = 8;

impl<'p> Unit<'p> {
    /// Makes the programs of a probe: one, unless the code depends on which of the functions it is attached to.
    pub(super) fn probe(&mut self, probe: &'p Probe) {
        let mut groups: Vec<(Option<i32>, Vec<usize>)> = Vec::new();
        for (n, (_, attach)) in probe.targets.iter().enumerate() {
            let offset = self.result_offset(probe, attach);
            match groups.iter_mut().find(|(o, _)| *o == offset) {
                Some((_, members)) => members.push(n),
                None => groups.push((offset, vec![n])),
            }
        }
        for (offset, members) in groups {
            self.program(probe, offset, &members);
        }
    }

    fn program(&mut self, probe: &'p Probe, result_offset: Option<i32>, targets: &[usize]) {
        let site = Site {
            kind: probe.kind,
            provider: probe.provider,
            probe: Some(probe),
            body: &probe.body,
            name: &probe.name,
            result_offset,
        };
        let mut func =
            Func::new(probe.name.clone(), Linkage::Entry, &[("ctx", Ty::ptr(PtrClass::Ctx))], Some(Ty::I64));
        func.loc = Some(probe.loc);
        let info = Rc::new(BodyInfo::of(&probe.body, probe.predicate.as_ref()));
        let ctx = func.params()[0];
        let returns = matches!(
            probe.provider,
            Provider::Begin | Provider::End | Provider::Signal | Provider::Test | Provider::Bench
        );
        {
            let b = FuncBuilder::new(&mut func);
            let mut f = Fx::new(self, b, site, Role::Program { returns }, info, None);
            f.context = Some(ctx);
            f.b.set_loc(Some(probe.loc));
            f.program_body(probe);
        }
        arrange(&mut func);
        let func = self.module.funcs.push(func);
        let program = self.module.progs.len();
        for &n in targets {
            self.plan.probes.push(ProbePlan { name: probe.targets[n].0.clone(), program });
        }
        self.module.progs.push(Prog {
            name: probe.name.clone(),
            func,
            kind: probe.kind,
            attach: targets.iter().map(|&n| probe.targets[n].1.clone()).collect(),
            sleepable: false,
        });
    }

    /// Where the context of a trampoline has the function's result: behind its arguments, each of 8 bytes, or of
    /// 16 for a struct in two registers (`btf_ctx_arg_offset` in kernel/bpf/btf.c). `None` if it is not asked for.
    fn result_offset(&self, probe: &Probe, attach: &Attach) -> Option<i32> {
        let (ProgKind::Fexit | ProgKind::FmodRet, Attach::Trampoline { function, module }) =
            (probe.kind, attach)
        else {
            return None;
        };
        let asks = |e: &Expr| matches!(e.kind, ExprKind::Builtin(Builtin::Retval));
        let predicate = probe.predicate.iter().map(Node::Expr);
        let mut nodes = predicate.chain([Node::Block(&probe.body.stmts)]);
        if !nodes.any(|node| visit::any(node, &asks, &|_| false)) {
            return None;
        }
        let bytes = |btf: &skep_btf::Btf| {
            let proto = btf.proto(btf.func(function)?.id())?;
            let size = |p: skep_btf::Param<'_>| btf.size_of(p.type_id()).unwrap_or(8).next_multiple_of(8);
            Some(proto.params().map(size).sum::<u32>() as i32)
        };
        if module.is_empty() || module == "vmlinux" {
            bytes(self.env.btf()?)
        } else {
            bytes(&*self.env.module_btf(module)?)
        }
    }
}

impl<'p> Fx<'_, 'p> {
    fn program_body(&mut self, probe: &'p Probe) {
        if self.site.kind == ProgKind::Iter {
            self.skip_end_of_iteration();
        }
        if let Some(pid) = self.unit.options.pid
            && is_filtered_by_code(probe.provider)
        {
            self.filter_pid(pid);
        }
        if is_repeated(probe.provider) && self.may_exit(probe) {
            self.leave_if_exited();
        }
        self.make_variables();
        if let Some(predicate) = &probe.predicate {
            let (yes, no) = (self.b.new_block(), self.b.new_block());
            self.branch(predicate, yes, no);
            self.b.switch_to(no);
            if self.unit.options.full_ledger {
                self.unit.ledger();
                self.b.inst(InstKind::Count(Ledger::Filtered), None);
            }
            self.leave_program();
            self.b.switch_to(yes);
        }
        self.stmts(&probe.body.stmts);
        if !self.b.is_closed() {
            self.leave_program();
        }
    }

    /// Whether a probe calls `exit()`, not counting subprograms.
    fn may_exit(&self, probe: &'p Probe) -> bool {
        let events = &self.unit.program.events;
        let is_exit = |s: &Stmt| matches!(s.kind, StmtKind::Emit(id, _) if matches!(events[id], Event::Exit));
        visit::any(Node::Block(&probe.body.stmts), &|_| false, &is_exit)
    }

    /// What a script does before it exits it does once, however late the reader learns of the exit. Probes that
    /// do not exit themselves go on until it does.
    fn leave_if_exited(&mut self) {
        let map = self.unit.exit_state();
        let key = self.zero_key();
        let ptr = self.b.value(InstKind::MapLookup { map, key }, Ty::nullable(PtrClass::MapValue(map)));
        let (exited, run) = (self.b.new_block(), self.b.new_block());
        let ptr = self.b.unless_null(ptr, run);
        let state = self.b.load(ptr, 0, Ty::I64);
        let zero = self.b.i64(0);
        let is_set = self.b.cmp(CmpOp::Ne, state, zero);
        self.b.cond_br(is_set, exited, run);
        self.b.switch_to(exited);
        self.leave_program();
        self.b.switch_to(run);
    }

    /// At the end an iterator runs once more without an object; the script is not to see that.
    fn skip_end_of_iteration(&mut self) {
        let ctx = self.context();
        let class = PtrClass::KernelTrusted(self.unit.module.types.void());
        let object = self.b.value(InstKind::CtxLoad { ctx, off: ITER_OBJECT }, Ty::nullable(class));
        let end = self.b.new_block();
        self.b.unless_null(object, end);
        let go_on = self.b.block();
        self.b.switch_to(end);
        self.leave_program();
        self.b.switch_to(go_on);
    }

    // ---- subprograms ----

    /// Calls a subprogram with a scalar result, or none; `out` is where a result in memory goes.
    pub(super) fn call_subprog(
        &mut self,
        id: SubprogId,
        args: &'p [Expr],
        out: Option<Value>,
        e: &'p Expr,
    ) -> Option<Value> {
        let func = self.subprog(id);
        let mut values = vec![self.context()];
        values.extend(out);
        for arg in args {
            let value = if arg.ty.is_scalar() { self.scalar(arg) } else { self.memory_ptr(arg) };
            values.push(value);
        }
        let ret = result_type(&self.unit.program.subprogs[id].ret);
        let value = self.at(e.loc, |f| f.b.inst(InstKind::Call(func, values), ret));
        ret.and(value)
    }

    /// Calls a subprogram whose result does not fit a register.
    pub(super) fn call_subprog_into(&mut self, id: SubprogId, args: &'p [Expr], to: Dest, e: &'p Expr) {
        let ty = &self.unit.program.subprogs[id].ret;
        let ptr = self.buffer("result", self.unit.size(ty));
        self.call_subprog(id, args, Some(ptr), e);
        let place = super::place::Src::Memory { ptr, off: 0 };
        self.copy(&place, ty, to, e.loc);
    }

    /// The function of a subprogram, as programs of this kind need it.
    fn subprog(&mut self, id: SubprogId) -> FuncId {
        let key = (id, self.site.kind, self.site.provider);
        if let Some(&func) = self.unit.subprogs.get(&key) {
            return func;
        }
        let def = &self.unit.program.subprogs[id];
        let ret = result_type(&def.ret);
        let in_memory = ret.is_none() && def.ret != Type::None;
        let mut params = vec![("ctx", Ty::ptr(PtrClass::Ctx))];
        if in_memory {
            params.push(("result", Ty::ptr(PtrClass::Frame)));
        }
        let first = params.len();
        let locals = (0..def.params).map(|n| LocalId::new(n as usize));
        for local in locals.clone().map(|id| &def.body.locals[id]) {
            let ty = result_type(&local.ty).unwrap_or(Ty::ptr(PtrClass::Frame));
            params.push((&local.name, ty));
        }
        let mut func = Func::new(def.name.clone(), Linkage::Inline, &params, ret);
        func.loc = Some(def.loc);
        // A call inside of the subprogram to itself finds the function by its place.
        let placeholder = self.unit.module.funcs.push(func.clone());
        self.unit.subprogs.insert(key, placeholder);
        let values = func.params().to_vec();
        let info = Rc::new(BodyInfo::of(&def.body, None));
        let site = Site { body: &def.body, name: &def.name, ..self.site };
        let out = in_memory.then(|| values[1]);
        {
            let b = FuncBuilder::new(&mut func);
            let mut f = Fx::new(&mut *self.unit, b, site, Role::Subprogram { ret, out }, info, None);
            f.context = Some(values[0]);
            f.b.set_loc(Some(def.loc));
            for (id, value) in locals.clone().zip(&values[first..]) {
                let scalar = site.body.locals[id].ty.is_scalar();
                if scalar && f.info.local(id).is_fixed {
                    f.variables.insert(id, Variable::Value(*value));
                }
            }
            f.make_variables();
            for (id, value) in locals.zip(&values[first..]) {
                f.take_parameter(id, *value);
            }
            f.stmts(&def.body.stmts);
            if !f.b.is_closed() {
                f.leave_program();
            }
            debug_assert!(!f.captured.contains(&Captured::Context));
        }
        arrange(&mut func);
        self.unit.module.funcs[placeholder] = func;
        placeholder
    }

    /// Gives a parameter that lives in memory its value.
    fn take_parameter(&mut self, id: LocalId, value: Value) {
        let ty = &self.site.body.locals[id].ty;
        match self.variables.get(&id) {
            Some(Variable::Slot(_)) if ty.is_scalar() => self.set_scalar_variable(id, value),
            Some(Variable::Slot(slot)) => {
                let dst = self.b.slot_addr(*slot);
                let len = self.unit.size(ty);
                self.b.inst(InstKind::MemCopy { dst, src: value, len }, None);
            }
            _ => {}
        }
    }
}

/// The IR's type of a scalar result; `None` for what is in memory or nowhere.
fn result_type(ty: &Type) -> Option<Ty> {
    match ty {
        Type::Bool => Some(Ty::I1),
        ty if ty.is_scalar() => Some(Ty::I64),
        _ => None,
    }
}

/// Whether a probe that is restricted to one process looks at the process itself; the others are attached to
/// that process alone, or run for the script.
fn is_filtered_by_code(provider: Provider) -> bool {
    matches!(
        provider,
        Provider::Kprobe
            | Provider::Kretprobe
            | Provider::Fentry
            | Provider::Fexit
            | Provider::Tracepoint
            | Provider::RawTracepoint
    )
}

/// Whether the kernel runs a probe whenever something happens, and not just once or on request.
fn is_repeated(provider: Provider) -> bool {
    use Provider::{Begin, Bench, End, Iter, Signal, Test};
    !matches!(provider, Begin | End | Signal | Test | Bench | Iter)
}

/// Puts the blocks in an order in which each follows those that lead to it, what is rare at the end, and leaves out
/// those that nothing leads to.
pub(super) fn arrange(func: &mut Func) {
    let mut seen = vec![false; func.blocks.len()];
    let mut done = Vec::with_capacity(func.layout.len());
    let mut todo = vec![(func.entry(), false)];
    while let Some((block, is_left)) = todo.pop() {
        if is_left {
            done.push(block);
        } else if !std::mem::replace(&mut seen[block.index()], true) {
            todo.push((block, true));
            if let Some(last) = func.terminator(block) {
                let targets = func.insts[last].kind.targets();
                todo.extend(targets.iter().map(|t| (t.block, false)).filter(|(b, _)| !seen[b.index()]));
            }
        }
    }
    done.reverse();
    // What only rare blocks lead to is rare as well.
    let mut is_warm = vec![false; func.blocks.len()];
    let mut todo = vec![func.entry()];
    while let Some(block) = todo.pop() {
        if func.blocks[block].cold || std::mem::replace(&mut is_warm[block.index()], true) {
            continue;
        }
        if let Some(last) = func.terminator(block) {
            todo.extend(func.insts[last].kind.targets().iter().map(|t| t.block));
        }
    }
    for block in &done {
        func.blocks[*block].cold = !is_warm[block.index()];
    }
    let (cold, warm): (Vec<_>, Vec<_>) = done.into_iter().partition(|b| func.blocks[*b].cold);
    func.layout = warm;
    func.layout.extend(cold);
}
