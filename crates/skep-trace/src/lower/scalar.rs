//! Expressions that fit a register.

use super::function::{Element, Fx, Variable};
use super::object::is_signed;
use super::place::Src;
use super::store::Dest;
use crate::hir::{Builtin, Expr, ExprKind, LocalId};
use crate::types::{AddrSpace, StructId, Type};
use skep_ir::inst::{BinOp, CmpOp, InstKind};
use skep_ir::types::PtrClass;
use skep_ir::{Ty, Value};

impl<'p> Fx<'_, 'p> {
    /// Evaluates a scalar: an `i64` extended by the sign of its type, pointers too, or an `i1` for truth values.
    pub(super) fn scalar(&mut self, e: &'p Expr) -> Value {
        let value = self.value(e);
        match self.b.func.ty(value) {
            Ty::Ptr(_) => self.number(value),
            _ => value,
        }
    }

    /// Evaluates a scalar; pointers may keep their class.
    pub(super) fn value(&mut self, e: &'p Expr) -> Value {
        self.at(e.loc, |f| f.value_here(e))
    }

    fn value_here(&mut self, e: &'p Expr) -> Value {
        match &e.kind {
            ExprKind::Int(n) if e.ty == Type::Bool => self.b.iconst(Ty::I1, i64::from(*n != 0)),
            ExprKind::Int(n) => self.b.i64(extend(*n, &e.ty, self)),
            ExprKind::Local(id) => self.local(*id, &e.ty),
            ExprKind::LocalAddr(id) => {
                let ptr = self.variable_ptr(*id);
                self.number(ptr)
            }
            ExprKind::Map(map, key) if self.unit.program.maps[*map].agg().is_some() => {
                let value = self.read_collected(*map, key.as_deref(), e.loc);
                self.convert_number(value, &Type::U64, &e.ty)
            }
            ExprKind::MapAddr(map, key) => {
                let key = self.key(*map, key.as_deref(), None);
                let ptr = self.lookup(*map, key);
                self.number(ptr)
            }
            ExprKind::Neg(inner) => {
                let value = self.scalar(inner);
                let value = self.b.value(InstKind::Neg(value), Ty::I64);
                self.canonical(value, &e.ty)
            }
            ExprKind::BitNot(inner) => {
                let value = self.scalar(inner);
                let ones = self.b.i64(-1);
                let value = self.b.bin(BinOp::Xor, value, ones);
                self.canonical(value, &e.ty)
            }
            ExprKind::Not(_) | ExprKind::Compare(..) | ExprKind::And(..) | ExprKind::Or(..) => {
                self.condition(e)
            }
            ExprKind::Binary(op, a, b) => self.binary(*op, a, b, e),
            ExprKind::Ternary(cond, a, b) => self.ternary(cond, a, b, &e.ty),
            ExprKind::Cast(inner) => self.cast(inner, e),
            ExprKind::Element(base, n) => self.element(e, base, *n),
            ExprKind::Map(..) | ExprKind::Field(..) | ExprKind::Deref(_) | ExprKind::Index(..) => {
                self.read(e)
            }
            ExprKind::IncDec { target, step, prefix } => self.inc_dec(target, *step, *prefix, e, true),
            ExprKind::Block(stmts, value) => {
                self.stmts(stmts);
                self.value(value)
            }
            ExprKind::Ctx => {
                let ctx = self.context();
                self.number(ctx)
            }
            ExprKind::Builtin(builtin) => self.builtin(builtin, e),
            ExprKind::Call(func, args) => self.call(e, func, args),
            ExprKind::Subprog(id, args) => {
                let value = self.call_subprog(*id, args, None, e);
                value.unwrap_or_else(|| self.b.i64(0))
            }
            // Nothing that sema types as a scalar.
            ExprKind::Str(_) | ExprKind::Tuple(_) | ExprKind::Record(_) | ExprKind::Args => self.b.i64(0),
        }
    }

    /// Evaluates an expression for its effects alone.
    pub(super) fn effects(&mut self, e: &'p Expr) {
        match &e.kind {
            ExprKind::IncDec { target, step, prefix } => {
                self.at(e.loc, |f| f.inc_dec(target, *step, *prefix, e, false));
            }
            ExprKind::Ternary(cond, a, b) => {
                let (yes, no, join) = (self.b.new_block(), self.b.new_block(), self.b.new_block());
                self.branch(cond, yes, no);
                for (block, arm) in [(yes, a), (no, b)] {
                    self.b.switch_to(block);
                    self.scoped(|f| f.effects(arm));
                    self.jump(join, None);
                }
                self.b.switch_to(join);
            }
            ExprKind::Block(stmts, value) => {
                self.stmts(stmts);
                self.effects(value);
            }
            ExprKind::Cast(inner) => self.effects(inner),
            ExprKind::Call(func, args) => self.at(e.loc, |f| f.call_for_effect(e, func, args)),
            ExprKind::Subprog(id, args) if !e.ty.is_scalar() && e.ty != Type::None => {
                let to = self.buffer("result", self.unit.size(&e.ty));
                let to = Dest { ptr: to, off: 0, fill: Self::fill_of(&e.ty) };
                self.call_subprog_into(*id, args, to, e);
            }
            ExprKind::Subprog(id, args) => {
                self.call_subprog(*id, args, None, e);
            }
            ExprKind::Int(_)
            | ExprKind::Str(_)
            | ExprKind::Local(_)
            | ExprKind::LocalAddr(_)
            | ExprKind::Args
            | ExprKind::Ctx => {}
            _ if e.ty.is_scalar() => {
                self.value(e);
            }
            _ if e.ty == Type::None || e.ty.is_agg() => {}
            _ => {
                let ptr = self.buffer("unused", self.unit.size(&e.ty));
                self.put(e, Dest { ptr, off: 0, fill: Self::fill_of(&e.ty) });
            }
        }
    }

    fn local(&mut self, id: LocalId, ty: &Type) -> Value {
        if let Some(Variable::Value(value)) = self.variables.get(&id) {
            return *value;
        }
        let ptr = self.variable_ptr(id);
        let value = self.b.load(ptr, 0, Ty::I64);
        if *ty == Type::Bool {
            let zero = self.b.i64(0);
            return self.b.cmp(CmpOp::Ne, value, zero);
        }
        value
    }

    /// Writes a scalar to a variable in memory, in 8 bytes.
    pub(super) fn set_scalar_variable(&mut self, id: LocalId, value: Value) {
        let value = self.number(value);
        let ptr = self.variable_ptr(id);
        self.b.store(ptr, 0, value);
    }

    fn element(&mut self, e: &'p Expr, base: &'p Expr, n: u32) -> Value {
        if let ExprKind::Local(id) = base.kind
            && let Some(Variable::Pair { key, value }) = self.variables.get(&id)
            && let Element::Value(value) = if n == 0 { key } else { value }
        {
            return *value;
        }
        match &base.kind {
            // An element of a tuple that is only made to be taken apart.
            ExprKind::Tuple(elems) if elems.iter().all(|e| !super::visit::has_effects(e)) => {
                match elems.get(n as usize) {
                    Some(elem) => self.value(elem),
                    None => self.b.i64(0),
                }
            }
            _ => self.read(e),
        }
    }

    /// Reads a scalar from where it lies; zero where a pointer on the way is null.
    fn read(&mut self, e: &'p Expr) -> Value {
        self.or_zero(|f| f.read_in_chain(e))
    }

    fn read_in_chain(&mut self, e: &'p Expr) -> Value {
        let bits = match &e.kind {
            ExprKind::Field(_, id, n) => self.field_bits(*id, *n),
            _ => None,
        };
        let place = self.locate(e);
        match place {
            Src::Object { base, .. } if self.data_pointer(e) => base,
            place => self.load(&place, &e.ty, bits, e.loc),
        }
    }

    fn field_bits(&self, id: StructId, n: u32) -> Option<(u32, u32)> {
        self.unit.program.structs.structs[id].fields.as_ref()?.get(n as usize)?.bits
    }

    /// Evaluates a pointer, with a class. Inside of a chain of reads a null pointer on the way ends the chain.
    pub(super) fn pointer(&mut self, e: &'p Expr) -> Value {
        let reads = match &e.kind {
            ExprKind::Field(..) | ExprKind::Deref(_) | ExprKind::Index(..) | ExprKind::Map(..) => true,
            ExprKind::Element(base, _) => !matches!(base.kind, ExprKind::Local(_) | ExprKind::Tuple(_)),
            _ => false,
        };
        let value = match &e.kind {
            _ if reads && self.in_chain() => self.at(e.loc, |f| f.read_in_chain(e)),
            ExprKind::Cast(inner) if matches!(inner.ty, Type::Ptr(..)) && self.same_pointer(inner, e) => {
                return self.pointer(inner);
            }
            ExprKind::Builtin(Builtin::Curtask) => self.current_task(),
            _ => self.value(e),
        };
        if self.b.func.ty(value).as_ptr().is_some_and(|p| p.class != PtrClass::Ctx) {
            return value;
        }
        let (to, space) = match &e.ty {
            Type::Ptr(to, space) => (&**to, *space),
            _ => (&Type::None, AddrSpace::None),
        };
        self.raw_pointer(value, to, space)
    }

    /// Whether a cast changes nothing that matters to reads.
    fn same_pointer(&self, inner: &Expr, e: &Expr) -> bool {
        match (&inner.ty, &e.ty) {
            (Type::Ptr(a, from), Type::Ptr(b, to)) => {
                a == b && (from == to || *to == AddrSpace::None || *from == AddrSpace::None)
            }
            _ => false,
        }
    }

    /// A number as an address.
    pub(super) fn raw_pointer(&mut self, value: Value, to: &Type, space: AddrSpace) -> Value {
        let value = self.number(value);
        let to = self.pointee_type(to);
        let class = match space {
            AddrSpace::User => PtrClass::User(to),
            AddrSpace::Kernel | AddrSpace::None => PtrClass::KernelRaw(to),
        };
        self.b.value(InstKind::IntToPtr(value), Ty::ptr(class))
    }

    fn ternary(&mut self, cond: &'p Expr, a: &'p Expr, b: &'p Expr, ty: &Type) -> Value {
        let ir = if *ty == Type::Bool { Ty::I1 } else { Ty::I64 };
        if let (Some(_), Some(_)) = (a.as_int(), b.as_int()) {
            let cond = self.condition(cond);
            let (a, b) = (self.scalar(a), self.scalar(b));
            return self.b.value(InstKind::Select(cond, a, b), ir);
        }
        let (yes, no, join) = (self.b.new_block(), self.b.new_block(), self.b.new_block());
        let out = self.b.func.add_param(join, ir);
        self.branch(cond, yes, no);
        for (block, arm) in [(yes, a), (no, b)] {
            self.b.switch_to(block);
            let value = self.scoped(|f| f.scalar(arm));
            self.jump(join, Some(value));
        }
        self.b.switch_to(join);
        out
    }

    fn cast(&mut self, inner: &'p Expr, e: &'p Expr) -> Value {
        match &inner.ty {
            Type::Str(_) if e.ty == Type::Bool => {
                let place = self.memory_ptr(inner);
                let first = self.load_bytes(place, 0, 1);
                let zero = self.b.i64(0);
                self.b.cmp(CmpOp::Ne, first, zero)
            }
            Type::Agg(_) => {
                let value = match &inner.kind {
                    ExprKind::Map(map, key) => self.read_collected(*map, key.as_deref(), e.loc),
                    _ => self.b.i64(0),
                };
                self.convert_number(value, &Type::U64, &e.ty)
            }
            from if !from.is_scalar() => {
                // The first bytes of an array as a number.
                let bytes = self.unit.size(&e.ty).min(self.unit.size(from)).clamp(1, 8);
                let (ptr, off) = self.in_memory(inner);
                let value = self.load_bytes(ptr, off, bytes);
                self.convert_number(value, &Type::U64, &e.ty)
            }
            from => {
                let value = if self.means_registers(inner, &e.ty) {
                    self.plain_argument()
                } else {
                    self.value(inner)
                };
                self.convert(value, from, &e.ty)
            }
        }
    }

    /// Converts a scalar by value.
    pub(super) fn convert(&mut self, value: Value, from: &Type, to: &Type) -> Value {
        if matches!((from, to), (Type::Ptr(..), Type::Ptr(..))) {
            // Another pointee: what the verifier knows of the old one is of no use.
            return self.number(value);
        }
        if from == to {
            return value;
        }
        if *to == Type::Bool {
            return match self.b.func.ty(value) {
                Ty::I1 => value,
                Ty::Ptr(_) => {
                    let null = self.b.value(InstKind::IsNull(value), Ty::I1);
                    self.not(null)
                }
                _ => {
                    let zero = self.b.i64(0);
                    self.b.cmp(CmpOp::Ne, value, zero)
                }
            };
        }
        let value = self.number(value);
        self.convert_number(value, from, to)
    }

    fn convert_number(&mut self, value: Value, from: &Type, to: &Type) -> Value {
        if *to == Type::Bool {
            let zero = self.b.i64(0);
            return self.b.cmp(CmpOp::Ne, value, zero);
        }
        let (had, size) = (self.unit.size(from), self.unit.size(to));
        let (was, is) = (is_signed(from, self), is_signed(to, self));
        let fits = size >= 8 || (had < size && !was) || (had <= size && was == is);
        if fits { value } else { self.canonical(value, to) }
    }

    /// Cuts a number to the width of its type and extends it again.
    pub(super) fn canonical(&mut self, value: Value, ty: &Type) -> Value {
        let bytes = self.unit.size(ty);
        match Ty::int(bytes) {
            Some(narrow) if bytes < 8 && ty.is_scalar() => {
                let low = self.b.resize(value, narrow, false);
                self.b.resize(low, Ty::I64, is_signed(ty, self))
            }
            _ => value,
        }
    }

    /// The opposite of a truth value.
    pub(super) fn not(&mut self, value: Value) -> Value {
        let one = self.b.iconst(Ty::I1, 1);
        self.b.bin(BinOp::Xor, value, one)
    }

    /// A scalar's place in memory as a source, for helpers that want a pointer to it.
    pub(super) fn scalar_in_memory(&mut self, e: &'p Expr) -> Src {
        let value = self.scalar(e);
        let ptr = self.buffer("scalar", 8);
        let value = self.number(value);
        self.b.store(ptr, 0, value);
        Src::Memory { ptr, off: 0 }
    }
}

/// A constant's bits, extended by its type.
fn extend(bits: u64, ty: &Type, f: &Fx<'_, '_>) -> i64 {
    let unused = 64 - 8 * f.unit.size(ty).clamp(1, 8);
    let shifted = bits << unused;
    if is_signed(ty, f) { (shifted as i64) >> unused } else { (shifted >> unused) as i64 }
}
