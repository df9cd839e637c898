//! Where values lie that do not fit a register, and how to get from an object to its parts.

use super::function::{Element, Fx, Variable};
use super::store::{Dest, Fill};
use crate::hir::{Expr, ExprKind};
use crate::plan::RuntimeError;
use crate::types::{AddrSpace, Origin, StructId, Type, sequence};
use skep_ir::func::Storage;
use skep_ir::inst::{BinOp, CmpOp, Fact, InstKind, Step};
use skep_ir::types::PtrClass;
use skep_ir::{Ty, TypeId, Value};

/// Where a value lies.
#[derive(Clone, Debug)]
pub(super) enum Src {
    /// In memory that the program may read itself.
    Memory {
        /// A pointer of a memory class.
        ptr: Value,
        /// Bytes behind it.
        off: i32,
    },
    /// In a kernel or user object.
    Object {
        /// A pointer of a kernel or user class, not null.
        base: Value,
        /// The way from there.
        path: Vec<Step>,
    },
    /// In a context that is a record.
    Context {
        /// Bytes from its start.
        off: i32,
    },
    /// In 8-byte words of a context: arguments and registers.
    Words {
        /// Bytes from the context's start to the first word.
        off: i32,
        /// Bytes behind the start of the first word.
        at: u32,
    },
}

impl Src {
    /// The place some bytes further.
    fn offset(mut self, by: u32) -> Src {
        match &mut self {
            Src::Memory { off, .. } | Src::Context { off } => *off += by as i32,
            Src::Words { at, .. } => *at += by,
            Src::Object { path, .. } => match path.last_mut() {
                Some(Step::Offset(off)) => *off += by as i32,
                _ if by == 0 => {}
                _ => path.push(Step::Offset(by as i32)),
            },
        }
        self
    }
}

impl<'p> Fx<'_, 'p> {
    /// Where a value lies; what lies nowhere yet is written to a temporary. Inside of a chain of reads: a null
    /// pointer on the way ends the chain.
    pub(super) fn locate(&mut self, e: &'p Expr) -> Src {
        match &e.kind {
            ExprKind::Local(_) => match self.local_place(e) {
                Some(place) => place,
                None => self.temporary(e),
            },
            ExprKind::Element(base, n) => match self.local_place(e) {
                Some(place) => place,
                None => self.locate(base).offset(self.element_offset(&base.ty, *n)),
            },
            ExprKind::Map(map, key) if !e.ty.is_agg() => {
                let key = self.key(*map, key.as_deref(), None);
                let ptr = self.lookup(*map, key);
                self.note_missing(ptr, e.loc);
                Src::Memory { ptr: self.not_null(ptr), off: 0 }
            }
            ExprKind::Field(base, id, n) => self.locate_field(base, *id, *n),
            ExprKind::Deref(pointer) => self.pointee(pointer),
            ExprKind::Index(base, index) => self.locate_index(e, base, index),
            ExprKind::Block(stmts, value) => {
                self.stmts(stmts);
                self.locate(value)
            }
            ExprKind::Cast(inner) if self.same_bytes(&inner.ty, &e.ty) => self.locate(inner),
            ExprKind::Args => Src::Context { off: 0 },
            _ => self.temporary(e),
        }
    }

    /// Where a variable, or an element of one, lies in memory; `None` if it is a value.
    pub(super) fn local_place(&mut self, e: &'p Expr) -> Option<Src> {
        match &e.kind {
            ExprKind::Local(id) => match self.variables.get(id) {
                Some(Variable::Value(_) | Variable::Pair { .. }) => None,
                _ => Some(Src::Memory { ptr: self.variable_ptr(*id), off: 0 }),
            },
            ExprKind::Element(base, n) => {
                if let ExprKind::Local(id) = &base.kind
                    && let Some(Variable::Pair { key, value }) = self.variables.get(id)
                {
                    return match if *n == 0 { key } else { value } {
                        Element::Place(place) => Some(place.clone()),
                        Element::Value(_) => None,
                    };
                }
                let offset = self.element_offset(&base.ty, *n);
                Some(self.local_place(base)?.offset(offset))
            }
            _ => None,
        }
    }

    /// Whether values of two types are the same bytes.
    fn same_bytes(&self, from: &Type, to: &Type) -> bool {
        let bytes = |ty: &Type| match ty {
            Type::Str(cap) => Some(*cap),
            Type::Array(elem, len) if matches!(**elem, Type::Int(i) if i.bytes == 1) => Some(*len),
            _ => None,
        };
        from == to || (bytes(from).is_some() && bytes(from) == bytes(to))
    }

    /// A copy of a value in memory.
    pub(super) fn temporary(&mut self, e: &'p Expr) -> Src {
        Src::Memory { ptr: self.temporary_ptr(e), off: 0 }
    }

    fn temporary_ptr(&mut self, e: &'p Expr) -> Value {
        let ptr = self.buffer("temporary", self.unit.size(&e.ty));
        self.put(e, Dest { ptr, off: 0, fill: Fill::Exact });
        ptr
    }

    /// Memory for a purpose, with undefined contents.
    pub(super) fn buffer(&mut self, name: &str, size: u32) -> Value {
        let slot = self.b.func.add_slot(name, size.max(1), 8, Storage::Auto);
        self.b.slot_addr(slot)
    }

    /// A value in memory that the program may read itself. Where a pointer on the way is null, it is zeros.
    pub(super) fn in_memory(&mut self, e: &'p Expr) -> (Value, i32) {
        let direct = match &e.kind {
            ExprKind::Local(_) => true,
            ExprKind::Element(base, _) => matches!(base.kind, ExprKind::Local(_)),
            _ => false,
        };
        let place = if direct { self.local_place(e) } else { None };
        match place {
            Some(Src::Memory { ptr, off }) => (ptr, off),
            _ => (self.temporary_ptr(e), 0),
        }
    }

    /// A pointer to a value in memory.
    pub(super) fn memory_ptr(&mut self, e: &'p Expr) -> Value {
        let (ptr, off) = self.in_memory(e);
        self.b.ptr_add(ptr, off)
    }

    /// Offset of an element of a tuple or record.
    pub(super) fn element_offset(&self, ty: &Type, n: u32) -> u32 {
        let structs = &self.unit.program.structs;
        let offsets = match ty {
            Type::Tuple(elems) => sequence(elems.iter(), structs).offsets,
            Type::Record(elems) => sequence(elems.iter().map(|(_, t)| t), structs).offsets,
            _ => Vec::new(),
        };
        offsets.get(n as usize).copied().unwrap_or(0)
    }

    fn locate_field(&mut self, base: &'p Expr, id: StructId, n: u32) -> Src {
        let program = self.unit.program;
        let def = &program.structs.structs[id];
        let Some(field) = def.fields.as_ref().and_then(|f| f.get(n as usize)) else {
            return self.locate(base);
        };
        if let ExprKind::Args = base.kind {
            return self.argument(&def.origin, n, field);
        }
        match self.locate(base) {
            place @ Src::Object { .. } if is_symbolic(&def.origin) && !field.name.is_empty() => {
                let place = if self.is_in_own_struct(base) { self.retyped(&place, &base.ty) } else { place };
                let Src::Object { base, mut path } = place else { return place.offset(field.offset) };
                path.push(Step::Field(field.name.to_string()));
                Src::Object { base, path }
            }
            place => place.offset(field.offset),
        }
    }

    /// Whether a value is a part of a struct whose layout is the script's.
    fn is_in_own_struct(&self, e: &Expr) -> bool {
        match &e.kind {
            ExprKind::Field(_, id, _) => !is_symbolic(&self.unit.program.structs.structs[*id].origin),
            ExprKind::Index(base, _) => self.is_in_own_struct(base),
            _ => false,
        }
    }

    /// A place as what a pointer of its own points to, so that fields are found by the type of what lies there.
    fn retyped(&mut self, place: &Src, ty: &Type) -> Src {
        let space = match place {
            Src::Object { base, .. } => match self.b.func.ty(*base).as_ptr().map(|p| p.class) {
                Some(PtrClass::User(_)) => AddrSpace::User,
                _ => AddrSpace::Kernel,
            },
            _ => AddrSpace::Kernel,
        };
        let address = self.address(place);
        Src::Object { base: self.raw_pointer(address, ty, space), path: Vec::new() }
    }

    /// What a pointer points to.
    fn pointee(&mut self, pointer: &'p Expr) -> Src {
        match &pointer.kind {
            ExprKind::Ctx => Src::Context { off: 0 },
            ExprKind::LocalAddr(id) => Src::Memory { ptr: self.variable_ptr(*id), off: 0 },
            ExprKind::MapAddr(map, key) => {
                let key = self.key(*map, key.as_deref(), None);
                let ptr = self.lookup(*map, key);
                Src::Memory { ptr: self.not_null(ptr), off: 0 }
            }
            _ => {
                let base = self.pointer(pointer);
                Src::Object { base: self.not_null(base), path: Vec::new() }
            }
        }
    }

    fn locate_index(&mut self, e: &'p Expr, base: &'p Expr, index: &'p Expr) -> Src {
        let (len, size) = match &base.ty {
            Type::Array(elem, len) => (*len, self.unit.size(elem)),
            Type::Str(len) => (*len, 1),
            _ => (u32::MAX, self.unit.size(&e.ty)),
        };
        let place = self.locate(base);
        if let Some(n) = index.as_int().and_then(|n| u32::try_from(n).ok())
            && n < len
        {
            return match place {
                Src::Object { base, mut path } if matches!(path.last(), Some(Step::Field(_))) => {
                    path.push(Step::Index(n));
                    Src::Object { base, path }
                }
                place => place.offset(n.saturating_mul(size)),
            };
        }
        let index = self.scalar(index);
        let (inside, outside) = (self.b.new_block(), self.cold_block());
        let limit = self.b.i64(i64::from(len));
        let cond = self.b.cmp(CmpOp::ULt, index, limit);
        self.b.cond_br(cond, inside, outside);
        self.b.switch_to(outside);
        let exit = self.null_exit();
        self.scoped(|f| f.warn(RuntimeError::OutOfBounds, None, e.loc));
        self.b.br(exit);
        self.b.switch_to(inside);
        let last = u64::from(len.saturating_sub(1));
        let index = self.b.value(InstKind::Refine(index, Fact::Unsigned(0, last)), Ty::I64);
        self.element_by(place, index, size)
    }

    /// An element by a number that is known to be in range.
    fn element_by(&mut self, place: Src, index: Value, size: u32) -> Src {
        if let Src::Object { base, mut path } = place {
            path.push(Step::IndexBy(index, size));
            return Src::Object { base, path };
        }
        let size = self.b.i64(i64::from(size));
        let bytes = self.b.bin(BinOp::Mul, index, size);
        match place {
            Src::Memory { ptr, off } => {
                let ty = self.b.func.ty(ptr);
                let ptr = self.b.value(InstKind::PtrAdd(ptr, off, Some(bytes)), ty);
                Src::Memory { ptr, off: 0 }
            }
            place => {
                // A context is read at constant offsets only; a helper reads it anywhere.
                let address = self.address(&place);
                let address = self.b.bin(BinOp::Add, address, bytes);
                let class = PtrClass::KernelRaw(self.unit.module.types.void());
                let base = self.b.value(InstKind::IntToPtr(address), Ty::ptr(class));
                Src::Object { base, path: Vec::new() }
            }
        }
    }

    /// The address of a place as a number, for helpers that read it.
    pub(super) fn address(&mut self, place: &Src) -> Value {
        match place {
            Src::Memory { ptr, off } => {
                let ptr = self.b.ptr_add(*ptr, *off);
                self.b.value(InstKind::PtrToInt(ptr), Ty::I64)
            }
            Src::Object { base, path } => {
                let ptr = if path.is_empty() {
                    *base
                } else {
                    let ty = self.b.func.ty(*base);
                    self.b.value(InstKind::FieldAddr { base: *base, path: path.clone() }, ty)
                };
                self.b.value(InstKind::PtrToInt(ptr), Ty::I64)
            }
            Src::Context { off } => self.context_address(*off),
            Src::Words { off, at } => self.context_address(off + *at as i32),
        }
    }

    /// Address of a byte of the context as a number.
    pub(super) fn context_address(&mut self, off: i32) -> Value {
        let ctx = self.context();
        let address = self.b.value(InstKind::PtrToInt(ctx), Ty::I64);
        let off = self.b.i64(i64::from(off));
        self.b.bin(BinOp::Add, address, off)
    }

    /// The type that a pointer is believed to point to, as pointers of the IR carry it.
    pub(super) fn pointee_type(&mut self, ty: &Type) -> TypeId {
        if let Type::Struct(id) = ty {
            let def = &self.unit.program.structs.structs[*id];
            if let Origin::Kernel { module, id } = &def.origin {
                let id = if module.is_empty() { *id } else { 0 };
                return self.unit.module.types.kernel(def.name.clone(), id);
            }
        }
        self.unit.module.types.void()
    }

    /// Whether a type is a struct of the kernel, which the verifier knows.
    pub(super) fn is_kernel_struct(&self, ty: &Type) -> bool {
        matches!(ty, Type::Struct(id)
            if matches!(self.unit.program.structs.structs[*id].origin, Origin::Kernel { .. }))
    }
}

/// Whether the fields of a struct are reached by name.
pub(super) fn is_symbolic(origin: &Origin) -> bool {
    matches!(origin, Origin::Kernel { module, .. } if module.is_empty())
}
