//! Stacks: remembered in a map, and identified by a number.

use super::function::Fx;
use super::resources::BUILD_ID_FRAME;
use crate::hir::{Builtin, Expr, ExprKind};
use crate::plan::RuntimeError;
use crate::types::{StackMode, StackTy, Type};
use skep_ir::inst::{BinOp, CmpOp, InstKind};
use skep_ir::types::PtrClass;
use skep_ir::{Loc, Ty, Value};

impl<'p> Fx<'_, 'p> {
    /// Remembers the current stack; the result identifies it.
    pub(super) fn stack_id(&mut self, user: bool, stack: StackTy, loc: Loc) -> Value {
        let build_id = user && stack.mode == StackMode::BuildId;
        let depth = stack.depth.max(1);
        let map = self.unit.stacks(build_id, depth);
        let ctx = self.context();
        let kind = InstKind::StackId { ctx, map, user, build_id, depth };
        let id = self.b.value(kind, Ty::I64);
        if self.unit.options.report_failures {
            self.warn_if_negative(RuntimeError::Helper("get_stack"), id, loc);
        }
        id
    }

    /// `len(stack)`: frames until the first empty one.
    pub(super) fn stack_len(&mut self, e: &'p Expr) -> Value {
        let (build_id, depth) = match &e.ty {
            Type::KStack(s) => (false, s.depth),
            Type::UStack(s) => (s.mode == StackMode::BuildId, s.depth),
            _ => return self.b.i64(0),
        };
        let map = self.unit.stacks(build_id, depth.max(1));
        let id = self.stack_number(e);
        let key = self.buffer("stack id", 8);
        self.b.store(key, 0, id);
        let found = self.b.value(InstKind::MapLookup { map, key }, Ty::nullable(PtrClass::MapValue(map)));
        self.choose_frames(found, build_id, depth.max(1))
    }

    fn stack_number(&mut self, e: &'p Expr) -> Value {
        match &e.kind {
            _ if e.ty.is_scalar() => self.scalar(e),
            ExprKind::Builtin(Builtin::UStack(stack)) => self.stack_id(true, *stack, e.loc),
            _ => {
                let (ptr, off) = self.in_memory(e);
                self.b.load(ptr, off, Ty::I64)
            }
        }
    }

    /// Counts the frames behind a pointer to a stack, which may be null.
    fn choose_frames(&mut self, found: Value, build_id: bool, depth: u32) -> Value {
        let count = self.buffer("frames", 8);
        let zero = self.b.i64(0);
        self.b.store(count, 0, zero);
        let done = self.b.new_block();
        let frames = self.b.unless_null(found, done);
        let (start, end) = (self.b.i64(0), self.b.i64(i64::from(depth)));
        self.for_numbers("frames", start, end, &[frames, count], |f, number, given| {
            let (frames, count) = (given[0], given[1]);
            let size = f.b.i64(i64::from(if build_id { BUILD_ID_FRAME } else { 8 }));
            let number = f.at_most(number, u64::from(depth - 1));
            let off = f.b.bin(BinOp::Mul, number, size);
            let ty = f.b.func.ty(frames);
            let frame = f.b.value(InstKind::PtrAdd(frames, 0, Some(off)), ty);
            // The first word of a frame: its address, or status and the start of its build id.
            let width = if build_id { Ty::I32 } else { Ty::I64 };
            let word = f.b.load(frame, 0, width);
            let zero = f.zero_of(width);
            let there = f.b.cmp(CmpOp::Ne, word, zero);
            let (more, end) = (f.b.new_block(), f.b.new_block());
            f.b.cond_br(there, more, end);
            f.b.switch_to(end);
            let stop = f.b.i64(1);
            f.b.ret(Some(stop));
            f.b.switch_to(more);
            let before = f.b.load(count, 0, Ty::I64);
            let one = f.b.i64(1);
            let after = f.b.bin(BinOp::Add, before, one);
            f.b.store(count, 0, after);
        });
        self.jump(done, None);
        self.b.switch_to(done);
        self.b.load(count, 0, Ty::I64)
    }
}
