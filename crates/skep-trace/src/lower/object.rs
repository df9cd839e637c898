//! Reading scalars from where they lie, and copying what is no scalar.

use super::function::Fx;
use super::place::Src;
use super::store::{Dest, Fill};
use crate::plan::RuntimeError;
use crate::types::{AddrSpace, Type};
use skep_ir::inst::{BinOp, CmpOp, InstKind, Scalar, Space, Step};
use skep_ir::types::{PtrClass, PtrTy};
use skep_ir::{Loc, ProgKind, Ty, Value};

/// Bytes of a record that are copied from a context by loads rather than by a helper.
const CONTEXT_COPY: u32 = 64;

/// A string or array of this size is copied whole rather than up to its NUL.
const COPY_WHOLE: u32 = 256;

impl Fx<'_, '_> {
    /// Reads a scalar: an `i64` extended by its sign, an `i1` for truth values, or a pointer of the class that
    /// follows from where it was read. `bits` cuts a bit-field out.
    pub(super) fn load(&mut self, place: &Src, ty: &Type, bits: Option<(u32, u32)>, loc: Loc) -> Value {
        match place {
            Src::Object { base, path } => self.load_object(*base, path, ty, bits, loc),
            Src::Words { off, at } if *at % 8 == 0 && bits.is_none() => self.load_word(off + *at as i32, ty),
            Src::Words { off, at } => {
                let word = self.context_word(off + (*at & !7) as i32);
                let shift = self.b.i64(i64::from(at % 8) * 8);
                let value = self.b.bin(BinOp::LShr, word, shift);
                let value = self.cut(value, ty, bits);
                self.truth(value, ty)
            }
            Src::Memory { ptr, off } => self.load_memory(*ptr, *off, ty, bits),
            Src::Context { off } => {
                let bytes = self.container(ty, bits);
                if bits.is_none() && part(*off, bytes) == bytes {
                    return self.load_context_scalar(*off, bytes, ty);
                }
                let value = self.context_bytes(*off, bytes);
                let value = self.cut(value, ty, bits);
                self.truth(value, ty)
            }
        }
    }

    /// Reads a scalar from memory.
    pub(super) fn load_memory(&mut self, ptr: Value, off: i32, ty: &Type, bits: Option<(u32, u32)>) -> Value {
        let bytes = self.container(ty, bits);
        let value = match Ty::int(bytes) {
            Some(int) if bits.is_none() && part(off, bytes) == bytes => {
                let value = self.b.load(ptr, off, int);
                self.b.resize(value, Ty::I64, is_signed(ty, self))
            }
            _ => {
                let value = self.load_bytes(ptr, off, bytes);
                self.cut(value, ty, bits)
            }
        };
        self.truth(value, ty)
    }

    /// Bytes to read for a scalar. A bit-field may end behind the bytes of its type where the layout is packed.
    fn container(&self, ty: &Type, bits: Option<(u32, u32)>) -> u32 {
        let bytes = self.unit.size(ty).clamp(1, 8);
        bits.map_or(bytes, |(from, len)| (from + len).div_ceil(8).max(bytes).min(8))
    }

    /// A number as a truth value, if that is what the type is.
    fn truth(&mut self, value: Value, ty: &Type) -> Value {
        if *ty != Type::Bool {
            return value;
        }
        let zero = self.b.i64(0);
        self.b.cmp(CmpOp::Ne, value, zero)
    }

    /// Cuts a bit-field out of a number, or the number to its type's width.
    fn cut(&mut self, value: Value, ty: &Type, bits: Option<(u32, u32)>) -> Value {
        let Some((from, len)) = bits.filter(|(_, len)| (1..64).contains(len)) else {
            return self.canonical(value, ty);
        };
        let left = self.b.i64(i64::from(64 - len.min(64) - from.min(64 - len)));
        let right = self.b.i64(i64::from(64 - len));
        let value = self.b.bin(BinOp::Shl, value, left);
        let op = if is_signed(ty, self) { BinOp::AShr } else { BinOp::LShr };
        self.b.bin(op, value, right)
    }

    /// Reads up to 8 bytes as an unsigned number. What is not aligned is put together from aligned parts.
    pub(super) fn load_bytes(&mut self, ptr: Value, off: i32, bytes: u32) -> Value {
        let mut done = 0;
        let mut whole: Option<Value> = None;
        while done < bytes {
            let at = off + done as i32;
            let size = part(at, bytes - done);
            let ty = Ty::int(size).unwrap_or(Ty::I8);
            let value = self.b.load(ptr, at, ty);
            let mut value = self.b.resize(value, Ty::I64, false);
            if done > 0 {
                let shift = self.b.i64(i64::from(done) * 8);
                value = self.b.bin(BinOp::Shl, value, shift);
            }
            whole = Some(match whole {
                Some(low) => self.b.bin(BinOp::Or, low, value),
                None => value,
            });
            done += size;
        }
        whole.unwrap_or_else(|| self.b.i64(0))
    }

    /// Writes the low bytes of a number, in aligned parts.
    pub(super) fn store_bytes(&mut self, ptr: Value, off: i32, value: Value, bytes: u32) {
        let mut done = 0;
        while done < bytes {
            let at = off + done as i32;
            let size = part(at, bytes - done);
            let mut low = value;
            if done > 0 {
                let shift = self.b.i64(i64::from(done) * 8);
                low = self.b.bin(BinOp::LShr, value, shift);
            }
            let low = self.b.resize(low, Ty::int(size).unwrap_or(Ty::I8), false);
            self.b.store(ptr, at, low);
            done += size;
        }
    }

    /// Reads an aligned scalar from the context.
    fn load_context_scalar(&mut self, off: i32, bytes: u32, ty: &Type) -> Value {
        let ctx = self.context();
        if let Type::Ptr(to, _) = ty
            && self.site.kind == ProgKind::Iter
            && self.is_kernel_struct(to)
        {
            // The objects of an iterator are typed; all but the first fields may be null.
            let class = PtrClass::KernelTrusted(self.pointee_type(to));
            return self.b.value(InstKind::CtxLoad { ctx, off }, Ty::nullable(class));
        }
        let int = Ty::int(bytes).unwrap_or(Ty::I64);
        let value = self.b.value(InstKind::CtxLoad { ctx, off }, int);
        let value = self.b.resize(value, Ty::I64, is_signed(ty, self));
        self.truth(value, ty)
    }

    /// Reads bytes of the context as an unsigned number, one by one: it is read in aligned pieces only.
    fn context_bytes(&mut self, off: i32, bytes: u32) -> Value {
        let ctx = self.context();
        let mut whole = self.b.i64(0);
        for done in 0..bytes {
            let value = self.b.value(InstKind::CtxLoad { ctx, off: off + done as i32 }, Ty::I8);
            let value = self.b.resize(value, Ty::I64, false);
            let shift = self.b.i64(i64::from(done) * 8);
            let value = self.b.bin(BinOp::Shl, value, shift);
            whole = self.b.bin(BinOp::Or, whole, value);
        }
        whole
    }

    /// A word of the context as a number.
    pub(super) fn context_word(&mut self, off: i32) -> Value {
        let ctx = self.context();
        self.b.value(InstKind::CtxLoad { ctx, off }, Ty::I64)
    }

    /// A word of the context: an argument.
    fn load_word(&mut self, off: i32, ty: &Type) -> Value {
        if let Type::Ptr(to, space) = ty
            && let Some(nullable) = self.typed_arguments()
            && *space != AddrSpace::User
            && self.is_kernel_struct(to)
        {
            let class = PtrClass::KernelTrusted(self.pointee_type(to));
            let ctx = self.context();
            return self.b.value(InstKind::CtxLoad { ctx, off }, Ty::Ptr(PtrTy { class, nullable }));
        }
        let word = self.context_word(off);
        let value = self.canonical(word, ty);
        self.truth(value, ty)
    }

    /// Whether pointers among the arguments are typed by the verifier, and then whether they may be null.
    fn typed_arguments(&self) -> Option<bool> {
        match self.site.kind {
            // Which arguments of tracepoints may be null is a list in the kernel (`raw_tp_null_args` in
            // kernel/bpf/btf.c), which differs between versions; a test costs one instruction.
            ProgKind::TpBtf => Some(true),
            ProgKind::Fentry | ProgKind::Fexit | ProgKind::FmodRet | ProgKind::Lsm => Some(false),
            _ => None,
        }
    }

    fn load_object(
        &mut self,
        base: Value,
        path: &[Step],
        ty: &Type,
        bits: Option<(u32, u32)>,
        loc: Loc,
    ) -> Value {
        let space = self.space_of(base);
        let raw = self.is_raw(base);
        let result = self.loaded_type(base, ty);
        if self.unit.options.report_failures && raw && bits.is_none() {
            return self.checked_load(base, path, ty, result, space, loc);
        }
        let by_name = path.iter().any(|s| matches!(s, Step::Field(_)));
        let scalar = if by_name && path.iter().all(|s| !matches!(s, Step::Offset(_))) {
            None
        } else {
            let bytes = self.container(ty, bits).next_power_of_two();
            Some(Scalar { bytes, signed: is_signed(ty, self), bits })
        };
        let path = if path.is_empty() { vec![Step::Offset(0)] } else { path.to_vec() };
        let value = self.b.value(InstKind::FieldLoad { base, path, scalar }, result);
        self.truth(value, ty)
    }

    /// The type of what is read from an object: a pointer inherits where it points to.
    fn loaded_type(&mut self, base: Value, ty: &Type) -> Ty {
        let Type::Ptr(to, space) = ty else { return Ty::I64 };
        let class = self.b.func.ty(base).as_ptr().map(|p| p.class);
        let to_type = self.pointee_type(to);
        match class {
            Some(PtrClass::User(_)) => Ty::ptr(PtrClass::User(to_type)),
            _ if *space == AddrSpace::User => Ty::ptr(PtrClass::User(to_type)),
            Some(PtrClass::KernelTrusted(_) | PtrClass::KernelUntrusted(_)) if self.is_kernel_struct(to) => {
                // A null pointer would read as zeros, but by way of a fault; the test is cheaper.
                Ty::nullable(PtrClass::KernelUntrusted(to_type))
            }
            _ => Ty::ptr(PtrClass::KernelRaw(to_type)),
        }
    }

    /// Whether a pointer is just a number to the verifier.
    pub(super) fn is_raw(&self, ptr: Value) -> bool {
        let class = self.b.func.ty(ptr).as_ptr().map(|p| p.class);
        matches!(class, Some(PtrClass::KernelRaw(_) | PtrClass::User(_)))
    }

    /// Which memory a pointer points to.
    pub(super) fn space_of(&self, ptr: Value) -> Space {
        match self.b.func.ty(ptr).as_ptr().map(|p| p.class) {
            Some(PtrClass::User(_)) => Space::User,
            _ => Space::Kernel,
        }
    }

    /// Reads a scalar by a helper whose failure is reported.
    fn checked_load(
        &mut self,
        base: Value,
        path: &[Step],
        ty: &Type,
        result: Ty,
        space: Space,
        loc: Loc,
    ) -> Value {
        let bytes = self.unit.size(ty).clamp(1, 8);
        let dst = self.buffer("scalar", 8);
        let src = self.address(&Src::Object { base, path: path.to_vec() });
        let len = self.b.i64(i64::from(bytes));
        let code = self.b.value(InstKind::ProbeRead { dst, len, max: bytes, src, space }, Ty::I64);
        self.check_read(code, space, "", loc);
        let value = self.load_memory(dst, 0, ty, None);
        if result.as_ptr().is_some() {
            return self.b.value(InstKind::IntToPtr(value), result);
        }
        value
    }

    /// Reports a read that failed, if that is wanted. `suffix` is `_str` for strings.
    pub(super) fn check_read(&mut self, code: Value, space: Space, suffix: &str, loc: Loc) {
        if !self.unit.options.report_failures {
            return;
        }
        let name = match (space, suffix) {
            (Space::User, "") => "probe_read_user",
            (Space::Kernel, "") => "probe_read_kernel",
            (Space::Any, "") => "probe_read",
            (Space::Any, _) => "probe_read_str",
            (Space::User, _) => "probe_read_user_str",
            (Space::Kernel, _) => "probe_read_kernel_str",
        };
        self.warn_if_negative(RuntimeError::Helper(name), code, loc);
    }

    /// Copies a value that is no scalar from where it lies.
    pub(super) fn copy(&mut self, place: &Src, ty: &Type, to: Dest, loc: Loc) {
        let size = self.unit.size(ty);
        if size == 0 {
            return;
        }
        match (place, ty) {
            (Src::Memory { ptr, off }, Type::Str(cap)) if super::maps::is_loose(ty) => {
                self.copy_loose(*ptr, *off, *cap, to, loc);
            }
            (Src::Memory { ptr, off }, _) => {
                let dst = self.dest_ptr(to);
                let src = self.b.ptr_add(*ptr, *off);
                self.b.inst(InstKind::MemCopy { dst, src, len: size }, None);
            }
            (Src::Context { off }, _)
                if size <= CONTEXT_COPY && !(matches!(ty, Type::Str(_)) && to.fill.is_clean()) =>
            {
                self.copy_context(*off, size, to);
            }
            (Src::Words { off, at }, _) if at % 8 == 0 => {
                self.copy_context(off + *at as i32, size, to);
            }
            (_, Type::Str(cap)) if to.fill.is_clean() || *cap > COPY_WHOLE => {
                let space =
                    if let Src::Object { base, .. } = place { self.space_of(*base) } else { Space::Kernel };
                let src = self.address(place);
                self.read_str(src, space, None, *cap, to, loc);
            }
            _ => {
                let space =
                    if let Src::Object { base, .. } = place { self.space_of(*base) } else { Space::Kernel };
                let (src, dst) = (self.address(place), self.dest_ptr(to));
                let len = self.b.i64(i64::from(size));
                let code = self.b.value(InstKind::ProbeRead { dst, len, max: size, src, space }, Ty::I64);
                self.check_read(code, space, "", loc);
            }
        }
    }

    /// Copies a long string whose bytes behind the NUL are unspecified.
    fn copy_loose(&mut self, ptr: Value, off: i32, cap: u32, to: Dest, loc: Loc) {
        if to.fill == Fill::Exact {
            let (dst, src) = (self.dest_ptr(to), self.b.ptr_add(ptr, off));
            self.b.inst(InstKind::StrCopy { dst, dst_cap: cap, src, src_cap: cap }, None);
        } else {
            // The helper stops at the NUL; a copy of the whole capacity would take longer.
            let src = self.address(&Src::Memory { ptr, off });
            self.read_str(src, Space::Kernel, None, cap, to, loc);
        }
    }

    /// Copies bytes of the context by loads.
    fn copy_context(&mut self, off: i32, size: u32, to: Dest) {
        let ctx = self.context();
        let mut done = 0;
        while done < size {
            let at = off + done as i32;
            let bytes = part(at, size - done).min(part(to.off + done as i32, 8));
            let ty = Ty::int(bytes).unwrap_or(Ty::I8);
            let value = self.b.value(InstKind::CtxLoad { ctx, off: at }, ty);
            self.b.store(to.ptr, to.off + done as i32, value);
            done += bytes;
        }
    }
}

/// The largest aligned access at an offset of an 8-byte aligned object that stays within `len` bytes.
fn part(off: i32, len: u32) -> u32 {
    let mut size = 8;
    while size > 1 && (size > len || off % size as i32 != 0) {
        size /= 2;
    }
    size
}

/// Whether a scalar of a type is extended by its sign.
pub(super) fn is_signed(ty: &Type, f: &Fx<'_, '_>) -> bool {
    match ty {
        Type::Int(i) => i.signed,
        Type::Enum(id) => f.unit.program.structs.enums[*id].repr.signed,
        _ => false,
    }
}
