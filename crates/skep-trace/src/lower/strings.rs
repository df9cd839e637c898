//! Strings, buffers and addresses that are read or made by functions.

use super::builtins::COMM;
use super::function::Fx;
use super::helper;
use super::maps::is_loose;
use super::place::Src;
use super::store::{Dest, Fill};
use super::tables;
use crate::hir::{Expr, ExprKind, Func, StringTable};
use crate::plan::RuntimeError;
use crate::types::Type;
use skep_ir::inst::{BinOp, CmpOp, InstKind, Scalar, Space, Step};
use skep_ir::kernel::Arch;
use skep_ir::types::PtrClass;
use skep_ir::{Feature, Loc, Ty, Value};

/// Address families as `ntop` and its printer know them (`AF_INET`, `AF_INET6`).
const INET: i64 = 2;
const INET6: i64 = 10;

impl<'p> Fx<'_, 'p> {
    /// Reads a string of at most `cap` bytes; `len` is how many of them are to be read, NUL included.
    pub(super) fn read_str(
        &mut self,
        src: Value,
        space: Space,
        len: Option<Value>,
        cap: u32,
        to: Dest,
        loc: Loc,
    ) {
        // A helper that may write less than it says wants all of the memory to be there already.
        if to.fill == Fill::Exact || (to.fill == Fill::Written && len.is_some()) {
            let dst = self.dest_ptr(to);
            self.fill_bytes(dst, 0, cap);
        }
        let dst = self.dest_ptr(to);
        let code = self.b.value(InstKind::ProbeReadStr { dst, cap, len, src, space }, Ty::I64);
        self.check_read(code, space, "_str", loc);
    }

    /// An address to read from and its memory. Pointers on the way may end a chain of reads.
    pub(super) fn source(&mut self, e: &'p Expr) -> (Value, Space) {
        if matches!(e.ty, Type::Ptr(..)) || e.ty.is_scalar() {
            let ptr = self.pointer(e);
            let space = self.space_of(ptr);
            return (self.number(ptr), space);
        }
        let place = self.locate(e);
        let space = if let Src::Object { base, .. } = &place { self.space_of(*base) } else { Space::Kernel };
        (self.address(&place), space)
    }

    /// As [`Fx::source`] for text. A number that is said to be an address of the kernel may be one of the process:
    /// what functions of the kernel get from system calls is. Where addresses tell, they are asked.
    fn text_source(&mut self, e: &'p Expr) -> (Value, Space) {
        let (src, space) = self.source(e);
        let tells = self.unit.env.arch() == Arch::X86_64;
        let mut written = e;
        while let (ExprKind::Cast(inner), Type::Ptr(..)) = (&written.kind, &written.ty) {
            written = inner;
        }
        let space = match space {
            Space::Kernel if tells && matches!(written.ty, Type::Int(_)) => Space::Any,
            known => known,
        };
        (src, space)
    }

    /// `str(p[, n])`, of at most `cap` bytes.
    pub(super) fn str_into(&mut self, args: &'p [Expr], cap: u32, to: Dest, loc: Loc) {
        let Some(from) = args.first() else { return };
        let fixed = args.get(1).and_then(Expr::as_int);
        let wanted = fixed.map_or(cap, |n| u32::try_from(n.saturating_add(1)).unwrap_or(cap).min(cap)).max(1);
        if let ExprKind::Str(text) = &from.kind
            && (args.len() < 2 || fixed.is_some())
        {
            let text = &text[..text.len().min(wanted as usize - 1)];
            self.put_text(text, cap, to);
            return;
        }
        if matches!(from.ty, Type::Str(had) if had == cap) && args.len() < 2 {
            self.put(from, to);
            return;
        }
        let len = args.get(1).filter(|_| fixed.is_none()).map(|n| {
            let n = self.scalar(n);
            let n = self.number(n);
            let n = self.at_most(n, u64::from(cap - 1));
            let one = self.b.i64(1);
            self.b.bin(BinOp::Add, n, one)
        });
        self.or_else(
            |f| {
                let (src, space) = f.text_source(from);
                f.read_str(src, space, len, wanted, to, loc);
                if wanted < cap && !matches!(to.fill, Fill::Loose | Fill::Zeroed) {
                    let tail = f.b.ptr_add(to.ptr, to.off + wanted as i32);
                    f.fill_bytes(tail, 0, cap - wanted);
                }
            },
            |f| f.put_text(b"", cap, to),
        );
    }

    /// `buf(p[, n])`: the length, then bytes.
    fn buf_into(&mut self, args: &'p [Expr], cap: u32, to: Dest, loc: Loc) {
        let Some(from) = args.first() else { return };
        let bounded = if from.ty.is_scalar() { cap } else { self.unit.size(&from.ty).min(cap) };
        let len = match args.get(1) {
            Some(n) if n.as_int().is_none() => {
                let n = self.scalar(n);
                let n = self.number(n);
                self.at_most(n, u64::from(bounded))
            }
            n => {
                let n = n.and_then(Expr::as_int).unwrap_or(u64::from(bounded));
                self.b.i64(n.min(u64::from(bounded)) as i64)
            }
        };
        let size = (4 + cap).next_multiple_of(4);
        if matches!(to.fill, Fill::Exact | Fill::Written) {
            let ptr = self.dest_ptr(to);
            self.fill_bytes(ptr, 0, size);
        }
        let word = self.b.resize(len, Ty::I32, false);
        self.b.store(to.ptr, to.off, word);
        if bounded == 0 {
            return;
        }
        if !from.ty.is_scalar() && self.b.func.as_const(len).is_some() && self.is_own_memory(from) {
            self.put_bytes_of(from, bounded, to.at(4));
            return;
        }
        self.or_else(
            |f| {
                let (src, space) = f.source(from);
                let dst = f.dest_ptr(to.at(4));
                let code = f.b.value(InstKind::ProbeRead { dst, len, max: bounded, src, space }, Ty::I64);
                f.check_read(code, space, "", loc);
            },
            |f| {
                let zero = f.b.iconst(Ty::I32, 0);
                f.b.store(to.ptr, to.off, zero);
            },
        );
    }

    /// Whether a value is in memory that the program may read itself, or is made there.
    pub(super) fn is_own_memory(&self, e: &Expr) -> bool {
        match &e.kind {
            ExprKind::Field(base, ..) | ExprKind::Index(base, _) => self.is_own_memory(base),
            ExprKind::Deref(_) | ExprKind::Args => false,
            _ => true,
        }
    }

    /// Functions whose result does not fit a register.
    pub(super) fn call_into(&mut self, e: &'p Expr, func: &'p Func, args: &'p [Expr], to: Dest) {
        let size = self.unit.size(&e.ty);
        match (func, args) {
            (Func::Str, args) => self.str_into(args, size, to, e.loc),
            (Func::Buf, args) => {
                let cap = if let Type::Buf(cap) = e.ty { cap } else { size.saturating_sub(4) };
                self.buf_into(args, cap, to, e.loc);
            }
            (Func::USym, [address]) => {
                let address = self.scalar(address);
                let address = self.number(address);
                self.put_with_pid(address, to);
            }
            (Func::Ntop, [family, x]) => self.ntop_into(family, x, to, e.loc),
            (Func::Macaddr, [from]) => self.bytes_into(from, 6, to, e.loc),
            (Func::StrConcat, [a, b]) => self.concat_into(a, b, size, to, e.loc),
            (Func::Path, [path, ..]) => self.path_into(path, size, to, e.loc),
            (Func::CgroupPath(filter), [id]) => {
                let id = self.scalar(id);
                let id = self.number(id);
                let filter = self.b.i64(i64::from(*filter));
                self.b.store(to.ptr, to.off, id);
                self.b.store(to.ptr, to.off + 8, filter);
            }
            (Func::Strftime(format, clock), [ns]) => {
                let ns = self.scalar(ns);
                let ns = self.number(ns);
                let format = self.b.iconst(Ty::I32, i64::from(*format));
                let clock = self.b.iconst(Ty::I32, i64::from(*clock as u32));
                self.b.store(to.ptr, to.off, ns);
                self.b.store(to.ptr, to.off + 8, format);
                self.b.store(to.ptr, to.off + 12, clock);
            }
            (Func::Table(table), [number]) => self.table_into(*table, number, size, to),
            (Func::CommOf, [pid]) => self.comm_of_into(pid, size, to, e.loc),
            _ => self.clear(to, size),
        }
    }

    /// Copies bytes from where a value lies or a pointer points to; zeros if they cannot be read.
    fn bytes_into(&mut self, from: &'p Expr, len: u32, to: Dest, loc: Loc) {
        if !from.ty.is_scalar() && self.unit.size(&from.ty) >= len && self.is_own_memory(from) {
            self.put_bytes_of(from, len, to);
            return;
        }
        self.or_else(
            |f| {
                let (src, space) = f.source(from);
                let (dst, n) = (f.dest_ptr(to), f.b.i64(i64::from(len)));
                let code = f.b.value(InstKind::ProbeRead { dst, len: n, max: len, src, space }, Ty::I64);
                f.check_read(code, space, "", loc);
            },
            |f| {
                let dst = f.dest_ptr(to);
                f.fill_bytes(dst, 0, len);
            },
        );
    }

    /// Family in 4 bytes, address in 16.
    fn ntop_into(&mut self, family: &'p Expr, x: &'p Expr, to: Dest, loc: Loc) {
        let known = family.as_int();
        let pointee = if let Type::Ptr(to, _) = &x.ty { self.unit.size(to) } else { 0 };
        let bytes = match &x.ty {
            Type::Ptr(..) if pointee == 4 || pointee == 16 => pointee,
            Type::Ptr(..) if known == Some(INET as u64) => 4,
            Type::Ptr(..) => 16,
            ty if ty.is_scalar() => 4,
            ty => self.unit.size(ty).min(16),
        };
        self.prepare(to, 20);
        let word = match known {
            Some(0) => self.b.i64(if bytes == 16 { INET6 } else { INET }),
            _ => {
                let family = self.scalar(family);
                self.number(family)
            }
        };
        let word = self.b.resize(word, Ty::I32, false);
        self.b.store(to.ptr, to.off, word);
        if x.ty.is_scalar() && !matches!(x.ty, Type::Ptr(..)) {
            let value = self.scalar(x);
            let value = self.number(value);
            self.store_bytes(to.ptr, to.off + 4, value, 4);
        } else {
            self.bytes_into(x, bytes, to.at(4), loc);
        }
    }

    /// Where a string can be read by a helper: the place that `str()` would read from, or a copy.
    pub(super) fn string_source(&mut self, e: &'p Expr) -> (Value, Space) {
        match (&e.kind, &e.ty) {
            (ExprKind::Call(Func::Str, args), Type::Str(_)) if args.len() == 1 && args[0].ty.is_scalar() => {
                self.text_source(&args[0])
            }
            (ExprKind::Str(text), _) => {
                let ptr = self.constant_string(text);
                (self.number(ptr), Space::Kernel)
            }
            _ => {
                let ptr = self.memory_ptr(e);
                (self.number(ptr), Space::Kernel)
            }
        }
    }

    /// A pointer to a constant with its NUL.
    pub(super) fn constant_string(&mut self, text: &[u8]) -> Value {
        let mut bytes = text.to_vec();
        bytes.push(0);
        let global = self.unit.constant(&bytes);
        self.b.value(InstKind::GlobalAddr(global), Ty::ptr(PtrClass::Global(global)))
    }

    fn path_into(&mut self, path: &'p Expr, cap: u32, to: Dest, loc: Loc) {
        if !self.unit.require(Feature::DPath, loc) {
            return;
        }
        // The helper leaves bytes behind the NUL that are not zero.
        let clean = to.fill.is_clean();
        let dst = if clean { self.buffer("path", cap) } else { self.dest_ptr(to) };
        self.or_else(
            |f| {
                let ptr = if path.ty.is_scalar() {
                    let ptr = f.pointer(path);
                    f.not_null(ptr)
                } else {
                    let place = f.locate(path);
                    f.place_pointer(&place)
                };
                let len = f.b.i64(i64::from(cap));
                let code = f.helper(helper::D_PATH, vec![ptr, dst, len]);
                let failed = f.is_negative(code);
                f.when(failed, true, |f| {
                    let nul = f.b.iconst(Ty::I8, 0);
                    f.b.store(dst, 0, nul);
                    if f.unit.options.report_failures {
                        f.warn(RuntimeError::Helper("d_path"), Some(code), loc);
                    }
                });
            },
            |f| {
                let nul = f.b.iconst(Ty::I8, 0);
                f.b.store(dst, 0, nul);
            },
        );
        if clean {
            let to = self.dest_ptr(to);
            self.b.inst(InstKind::StrCopy { dst: to, dst_cap: cap, src: dst, src_cap: cap }, None);
        }
    }

    /// A part of an object as a pointer of the object's class.
    fn place_pointer(&mut self, place: &Src) -> Value {
        match place {
            Src::Object { base, path } if path.is_empty() => *base,
            Src::Object { base, path } => {
                let ty = self.b.func.ty(*base);
                self.b.value(InstKind::FieldAddr { base: *base, path: path.clone() }, ty)
            }
            place => self.address(place),
        }
    }

    fn table_into(&mut self, table: StringTable, number: &'p Expr, cap: u32, to: Dest) {
        let arch = self.unit.env.arch();
        if let Some(n) = number.as_int() {
            let text = tables::text(table, arch, error_number(table, n as i64));
            let text = text.as_bytes();
            self.put_text(&text[..text.len().min(cap as usize - 1)], cap, to);
            return;
        }
        let number = self.scalar(number);
        let mut number = self.number(number);
        if table == StringTable::Errors {
            // Negative numbers are how the kernel returns errors.
            let negative = self.is_negative(number);
            let opposite = self.b.value(InstKind::Neg(number), Ty::I64);
            number = self.b.value(InstKind::Select(negative, opposite, number), Ty::I64);
        }
        let rows = tables::table(table, arch, cap);
        let global = self.unit.constant(&rows.bytes);
        let limit = self.b.i64(i64::from(rows.len));
        let known = self.b.cmp(CmpOp::ULt, number, limit);
        let (yes, no, join) = (self.b.new_block(), self.b.new_block(), self.b.new_block());
        self.b.cond_br(known, yes, no);
        self.b.switch_to(yes);
        let class = Ty::ptr(PtrClass::Global(global));
        let number = self.at_most(number, u64::from(rows.len - 1));
        let base = self.b.value(InstKind::GlobalAddr(global), class);
        let width = self.b.i64(i64::from(rows.width));
        let off = self.b.bin(BinOp::Mul, number, width);
        let src = self.b.value(InstKind::PtrAdd(base, 0, Some(off)), class);
        let dst = self.dest_ptr(to);
        self.b.inst(InstKind::MemCopy { dst, src, len: rows.width }, None);
        if rows.width < cap && matches!(to.fill, Fill::Exact | Fill::Written) {
            let tail = self.b.ptr_add(to.ptr, to.off + rows.width as i32);
            self.fill_bytes(tail, 0, cap - rows.width);
        }
        self.jump(join, None);
        self.b.switch_to(no);
        self.put_text(rows.unknown.as_bytes(), cap, to);
        self.jump(join, None);
        self.b.switch_to(join);
    }

    /// `comm(pid)`
    fn comm_of_into(&mut self, pid: &'p Expr, cap: u32, to: Dest, loc: Loc) {
        if !self.unit.require(Feature::TaskFromPid, loc) {
            return;
        }
        let pid = self.scalar(pid);
        let pid = self.number(pid);
        let pid = self.b.resize(pid, Ty::I32, false);
        let class = Ty::nullable(PtrClass::KernelTrusted(self.task_type()));
        let task = self.b.value(InstKind::Kfunc("bpf_task_from_pid".into(), vec![pid]), class);
        let (none, join) = (self.cold_block(), self.b.new_block());
        let task = self.b.unless_null(task, none);
        let place = Src::Object { base: task, path: vec![Step::Field("comm".into())] };
        let src = self.address(&place);
        self.read_str(src, Space::Kernel, None, cap.min(COMM), to, loc);
        self.b.inst(InstKind::Kfunc("bpf_task_release".into(), vec![task]), None);
        self.jump(join, None);
        self.b.switch_to(none);
        self.put_text(b"N/A", cap, to);
        self.scoped(|f| f.warn(RuntimeError::NoSuchTask, None, loc));
        self.jump(join, None);
        self.b.switch_to(join);
    }

    /// Reads a pointer that lies so many bytes behind another one; 0 if it cannot be read.
    pub(super) fn read_pointer(&mut self, list: Value, off: u32) -> Value {
        let scalar = Some(Scalar { bytes: 8, signed: false, bits: None });
        let path = vec![Step::Offset(off as i32)];
        self.b.value(InstKind::FieldLoad { base: list, path, scalar }, Ty::I64)
    }

    /// A string for a function that compares or searches: a pointer and its capacity. Of a pointer's target
    /// only `limit` bytes are read.
    pub(super) fn string_operand(&mut self, e: &'p Expr, limit: u32) -> (Value, u32) {
        match &e.kind {
            ExprKind::Str(text) => (self.constant_string(text), text.len() as u32 + 1),
            ExprKind::Cast(inner) if matches!(inner.ty, Type::Str(_)) && !is_loose(&inner.ty) => {
                self.string_operand(inner, limit)
            }
            ExprKind::Call(Func::Str, args) if limit < self.unit.size(&e.ty) => {
                let ptr = self.buffer("string", limit);
                self.str_into(args, limit, Dest { ptr, off: 0, fill: Fill::Written }, e.loc);
                (ptr, limit)
            }
            _ if matches!(e.ty, Type::Ptr(..)) => {
                let ptr = self.buffer("string", limit);
                self.or_else(
                    |f| {
                        let (src, space) = f.source(e);
                        f.read_str(src, space, None, limit, Dest { ptr, off: 0, fill: Fill::Written }, e.loc);
                    },
                    |f| f.put_text(b"", limit, Dest { ptr, off: 0, fill: Fill::Exact }),
                );
                (ptr, limit)
            }
            _ => (self.memory_ptr(e), self.unit.size(&e.ty)),
        }
    }

    /// Bytes for a function that compares them: a pointer, and how many there are at most.
    pub(super) fn bytes_operand(&mut self, e: &'p Expr, len: u32) -> (Value, u32) {
        match &e.ty {
            Type::Ptr(..) => {
                let ptr = self.buffer("bytes", len);
                self.bytes_into(e, len, Dest { ptr, off: 0, fill: Fill::Exact }, e.loc);
                (ptr, len)
            }
            Type::Buf(cap) => {
                let (ptr, off) = self.in_memory(e);
                (self.b.ptr_add(ptr, off + 4), *cap)
            }
            ty if ty.is_scalar() => match self.scalar_in_memory(e) {
                Src::Memory { ptr, .. } => (ptr, self.unit.size(ty)),
                _ => (self.buffer("bytes", len), len),
            },
            ty => (self.memory_ptr(e), self.unit.size(ty)),
        }
    }
}

/// The number whose text is meant.
fn error_number(table: StringTable, number: i64) -> u64 {
    if table == StringTable::Errors { number.unsigned_abs() } else { number as u64 }
}
