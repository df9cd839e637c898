//! One function under construction: its variables, what is known at a point of it, and small pieces of code.

use super::locals::{BodyInfo, LoopKey};
use super::place::Src;
use super::unit::{Unit, is_rare};
use crate::hir::{Body, LocalId, Probe, Provider};
use crate::types::Type;
use skep_ir::func::Storage;
use skep_ir::inst::{CmpOp, Fact, InstKind, Target};
use skep_ir::types::{PtrClass, PtrTy};
use skep_ir::{Block, FuncBuilder, Loc, ProgKind, Slot, Ty, Value};
use std::collections::HashMap;
use std::rc::Rc;

/// What a function is made for.
#[derive(Copy, Clone)]
pub(super) struct Site<'p> {
    /// What the kernel runs it as.
    pub(super) kind: ProgKind,
    /// What the script calls it.
    pub(super) provider: Provider,
    /// The probe, for what depends on where it is attached; `None` in subprograms.
    pub(super) probe: Option<&'p Probe>,
    /// The variables.
    pub(super) body: &'p Body,
    /// Name that closures derive theirs from.
    pub(super) name: &'p str,
    /// Where the context of a trampoline has the function's result.
    pub(super) result_offset: Option<i32>,
}

impl Site<'_> {
    /// Whether the probe fires rarely.
    pub(super) fn is_rare(&self) -> bool {
        is_rare(self.provider)
    }
}

/// How a function is left.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// A program: the result is an `i64`. Whether the script's `return` values count.
    Program {
        /// See above.
        returns: bool,
    },
    /// A subprogram with a scalar result, or with none.
    Subprogram {
        /// Type of the result.
        ret: Option<Ty>,
        /// Pointer to where a result in memory goes.
        out: Option<Value>,
    },
    /// The body of a loop: the result says whether to stop.
    Closure,
}

/// Where a variable is.
#[derive(Clone)]
pub(super) enum Variable {
    /// It is a value: canonical for its type, or a pointer.
    Value(Value),
    /// In a slot of this function.
    Slot(Slot),
    /// Key and value of a map's element, where they lie or as values.
    Pair {
        /// The key.
        key: Element,
        /// The value.
        value: Element,
    },
}

/// One half of [`Variable::Pair`].
#[derive(Clone)]
pub(super) enum Element {
    /// A scalar.
    Value(Value),
    /// In memory.
    Place(Src),
}

/// What a closure captures.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Captured {
    /// What its creator hands to it, by number.
    Given(u32),
    /// A variable in memory.
    Local(LocalId),
    /// The program's context.
    Context,
    /// The words that carry a `return` out of a loop: flag and value.
    Leave,
    /// Where a subprogram's result in memory goes.
    Out,
}

/// Values that stay what they are while a program runs.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Known {
    PidTgid,
    NamespacePid,
    UidGid,
    Cgroup,
    Task,
}

/// A loop around the current statement.
#[derive(Copy, Clone)]
pub(super) enum Loop {
    /// Blocks of this function.
    Jumps {
        /// Where `break` goes.
        exit: Block,
        /// Where `continue` goes.
        next: Block,
    },
    /// This function is the loop's body.
    Closure,
}

/// A function under construction.
pub(super) struct Fx<'a, 'p> {
    pub(super) unit: &'a mut Unit<'p>,
    pub(super) b: FuncBuilder<'a>,
    pub(super) site: Site<'p>,
    pub(super) role: Role,
    pub(super) info: Rc<BodyInfo>,
    /// The loop that this function is the body of.
    pub(super) home: Option<LoopKey>,
    pub(super) variables: HashMap<LocalId, Variable>,
    /// The context, in functions that have it as a parameter.
    pub(super) context: Option<Value>,
    pub(super) captured: Vec<Captured>,
    pub(super) loops: Vec<Loop>,
    /// Flag and value of a `return` inside of a closure, in the function that creates it.
    pub(super) leave: Option<Slot>,
    /// In a closure: whether it can end the whole program.
    pub(super) leaves: bool,
    pub(super) zero_key: Option<Slot>,
    known: Vec<Vec<(Known, Value)>>,
    null_exits: Vec<Option<Block>>,
}

impl<'a, 'p> Fx<'a, 'p> {
    pub(super) fn new(
        unit: &'a mut Unit<'p>,
        b: FuncBuilder<'a>,
        site: Site<'p>,
        role: Role,
        info: Rc<BodyInfo>,
        home: Option<LoopKey>,
    ) -> Self {
        Fx {
            unit,
            b,
            site,
            role,
            info,
            home,
            variables: HashMap::new(),
            context: None,
            captured: Vec::new(),
            loops: Vec::new(),
            leave: None,
            leaves: false,
            zero_key: None,
            known: vec![Vec::new()],
            null_exits: Vec::new(),
        }
    }

    /// Makes the variables that live in this function and are not there yet.
    pub(super) fn make_variables(&mut self) {
        let info = self.info.clone();
        for id in info.at_home(self.home) {
            if self.variables.contains_key(&id) {
                continue;
            }
            let local = &self.site.body.locals[id];
            let scalar = local.ty.is_scalar();
            if scalar && info.local(id).is_value {
                continue;
            }
            let size = self.variable_size(&local.ty);
            let slot = self.b.func.add_slot(format!("${}", local.name), size, 8, Storage::Auto);
            if !scalar {
                self.b.func.slots[slot].ty = Some(self.unit.memory_type(&local.ty));
            }
            self.variables.insert(id, Variable::Slot(slot));
            if info.local(id).needs_zero {
                let old = self.b.set_loc(Some(local.loc));
                let ptr = self.b.slot_addr(slot);
                if scalar {
                    let zero = self.b.i64(0);
                    self.b.store(ptr, 0, zero);
                } else {
                    self.fill_bytes(ptr, 0, size);
                }
                self.b.set_loc(old);
            }
        }
    }

    /// Bytes that a variable takes: scalars have 8 whatever their width.
    pub(super) fn variable_size(&self, ty: &Type) -> u32 {
        if ty.is_scalar() { 8 } else { self.unit.size(ty).max(1) }
    }

    /// Address of a variable in memory; captures it if it lives outside of this closure.
    pub(super) fn variable_ptr(&mut self, id: LocalId) -> Value {
        match self.variables.get(&id) {
            Some(Variable::Slot(slot)) => {
                let slot = *slot;
                self.b.slot_addr(slot)
            }
            _ => self.capture(Captured::Local(id)),
        }
    }

    /// The program's context.
    pub(super) fn context(&mut self) -> Value {
        match self.context {
            Some(ctx) => ctx,
            None => self.capture(Captured::Context),
        }
    }

    fn capture(&mut self, what: Captured) -> Value {
        let place = match self.captured.iter().position(|c| *c == what) {
            Some(place) => place,
            None => {
                let class = if what == Captured::Context { PtrClass::Ctx } else { PtrClass::Frame };
                self.captured.push(what);
                self.b.func.captures.push(Ty::ptr(class));
                self.captured.len() - 1
            }
        };
        let ty = self.b.func.captures[place];
        self.b.value(InstKind::Capture(place as u32), ty)
    }

    /// What a closure made here captures, as this function sees it.
    pub(super) fn resolve(&mut self, what: Captured) -> Value {
        match what {
            Captured::Local(id) => self.variable_ptr(id),
            Captured::Context => self.context(),
            // These are resolved by whoever gives them.
            Captured::Given(n) => self.capture(Captured::Given(n)),
            Captured::Leave => self.leave_words(),
            Captured::Out => match self.role {
                Role::Subprogram { out: Some(out), .. } => out,
                _ => self.capture(Captured::Out),
            },
        }
    }

    /// The words that carry a `return` out of loops: flag, then value.
    pub(super) fn leave_words(&mut self) -> Value {
        if self.role == Role::Closure {
            return self.capture(Captured::Leave);
        }
        let slot = match self.leave {
            Some(slot) => slot,
            None => {
                let slot = self.b.func.add_slot("return from loop", 16, 8, Storage::Auto);
                self.leave = Some(slot);
                slot
            }
        };
        self.b.slot_addr(slot)
    }

    // ---- small pieces of code ----

    /// Runs `f` as code of a place in the source.
    pub(super) fn at<R>(&mut self, loc: Loc, f: impl FnOnce(&mut Self) -> R) -> R {
        let old = self.b.set_loc(Some(loc));
        let out = f(self);
        self.b.set_loc(old);
        out
    }

    /// A block for what rarely happens.
    pub(super) fn cold_block(&mut self) -> Block {
        let block = self.b.new_block();
        self.b.func.blocks[block].cold = true;
        block
    }

    /// Ends the block with a jump that passes at most one value.
    pub(super) fn jump(&mut self, block: Block, value: Option<Value>) {
        self.b.br(Target { block, args: value.into_iter().collect() });
    }

    /// Runs `f` for code that is not always run: what it finds out is forgotten behind it.
    pub(super) fn scoped<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        self.known.push(Vec::new());
        let out = f(self);
        self.known.pop();
        out
    }

    /// A value that stays what it is while the program runs; `make` is used where it is not known yet.
    pub(super) fn known(&mut self, what: Known, make: impl FnOnce(&mut Self) -> Value) -> Value {
        if let Some((_, value)) = self.known.iter().flatten().find(|(k, _)| *k == what) {
            return *value;
        }
        let value = make(self);
        if let Some(scope) = self.known.last_mut() {
            scope.push((what, value));
        }
        value
    }

    /// Zero of a type: null for pointers.
    pub(super) fn zero_of(&mut self, ty: Ty) -> Value {
        match ty {
            Ty::Ptr(PtrTy { class: PtrClass::KernelRaw(_) | PtrClass::User(_), .. }) => {
                let zero = self.b.i64(0);
                self.b.value(InstKind::IntToPtr(zero), ty)
            }
            Ty::Ptr(_) => self.b.value(InstKind::Null, ty),
            int => self.b.iconst(int, 0),
        }
    }

    /// One of two values, each made only where it is needed.
    pub(super) fn choose(
        &mut self,
        cond: Value,
        ty: Ty,
        then: impl FnOnce(&mut Self) -> Value,
        other: impl FnOnce(&mut Self) -> Value,
    ) -> Value {
        let (yes, no, join) = (self.b.new_block(), self.b.new_block(), self.b.new_block());
        let out = self.b.func.add_param(join, ty);
        self.b.cond_br(cond, yes, no);
        self.b.switch_to(yes);
        let value = self.scoped(then);
        self.jump(join, Some(value));
        self.b.switch_to(no);
        let value = self.scoped(other);
        self.jump(join, Some(value));
        self.b.switch_to(join);
        out
    }

    /// Code that runs if a condition holds.
    pub(super) fn when(&mut self, cond: Value, cold: bool, then: impl FnOnce(&mut Self)) {
        let yes = if cold { self.cold_block() } else { self.b.new_block() };
        let join = self.b.new_block();
        self.b.cond_br(cond, yes, join);
        self.b.switch_to(yes);
        self.scoped(then);
        self.jump(join, None);
        self.b.switch_to(join);
    }

    /// The smaller of a value and a constant, both unsigned, so that its range is known.
    pub(super) fn at_most(&mut self, value: Value, max: u64) -> Value {
        let limit = self.b.i64(max as i64);
        let cond = self.b.cmp(CmpOp::ULe, value, limit);
        self.choose(
            cond,
            Ty::I64,
            |f| f.b.value(InstKind::Refine(value, Fact::Unsigned(0, max)), Ty::I64),
            |f| f.b.i64(max as i64),
        )
    }

    /// Sets bytes of memory.
    pub(super) fn fill_bytes(&mut self, dst: Value, byte: u8, len: u32) {
        if len > 0 {
            self.b.inst(InstKind::MemSet { dst, byte, len }, None);
        }
    }

    // ---- reads that may meet a null pointer on their way ----

    /// Makes a value by a chain of reads. Where a pointer in between is null, the value is zero.
    pub(super) fn or_zero(&mut self, f: impl FnOnce(&mut Self) -> Value) -> Value {
        self.null_exits.push(None);
        let value = self.scoped(f);
        let Some(Some(exit)) = self.null_exits.pop() else { return value };
        let ty = self.b.func.ty(value);
        let join = self.b.new_block();
        let out = self.b.func.add_param(join, ty);
        self.jump(join, Some(value));
        self.b.switch_to(exit);
        let zero = self.zero_of(ty);
        self.jump(join, Some(zero));
        self.b.switch_to(join);
        out
    }

    /// Does something by a chain of reads, and something else where a pointer in between is null.
    pub(super) fn or_else(&mut self, f: impl FnOnce(&mut Self), null: impl FnOnce(&mut Self)) {
        self.null_exits.push(None);
        self.scoped(f);
        let Some(Some(exit)) = self.null_exits.pop() else { return };
        let join = self.b.new_block();
        self.jump(join, None);
        self.b.switch_to(exit);
        self.scoped(null);
        self.jump(join, None);
        self.b.switch_to(join);
    }

    /// Leaves all chains of reads for code of its own, to be resumed behind it.
    pub(super) fn leave_chain(&mut self) -> Vec<Option<Block>> {
        std::mem::take(&mut self.null_exits)
    }

    /// Resumes chains of reads.
    pub(super) fn resume_chain(&mut self, chain: Vec<Option<Block>>) {
        self.null_exits = chain;
    }

    /// Whether a chain of reads is under way.
    pub(super) fn in_chain(&self) -> bool {
        !self.null_exits.is_empty()
    }

    /// The block where the innermost chain of reads goes when a pointer is null.
    pub(super) fn null_exit(&mut self) -> Block {
        debug_assert!(self.in_chain(), "a chain of reads has a consumer");
        if let Some(Some(block)) = self.null_exits.last() {
            return *block;
        }
        let block = self.b.new_block();
        if let Some(exit) = self.null_exits.last_mut() {
            *exit = Some(block);
        }
        block
    }

    /// The pointer, not null: a null pointer ends the chain of reads.
    pub(super) fn not_null(&mut self, ptr: Value) -> Value {
        let Ty::Ptr(ty) = self.b.func.ty(ptr) else { return ptr };
        if !ty.nullable {
            return ptr;
        }
        let exit = self.null_exit();
        self.b.unless_null(ptr, exit)
    }
}
