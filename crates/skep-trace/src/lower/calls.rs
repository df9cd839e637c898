//! Functions with a scalar result, or with none.

use super::function::Fx;
use super::helper;
use super::store::{Dest, Fill};
use crate::hir::{Expr, ExprKind, Func};
use crate::plan::RuntimeError;
use crate::types::Type;
use skep_ir::inst::InstKind;
use skep_ir::module::{Global, Section};
use skep_ir::types::PtrClass;
use skep_ir::{Feature, Loc, Ty, Value};

/// Arguments that `bpf_trace_printk` takes besides the format.
const PRINTK_ARGS: usize = 3;

/// Bytes that `write_user` writes at most where the script does not say how many.
const WRITE_USER: u64 = 256;

impl<'p> Fx<'_, 'p> {
    /// A function whose result fits a register.
    pub(super) fn call(&mut self, e: &'p Expr, func: &'p Func, args: &'p [Expr]) -> Value {
        match (func, args) {
            (Func::KSym, [address]) => {
                let address = self.scalar(address);
                self.number(address)
            }
            (Func::Bswap, [n]) => self.byte_swap(n),
            (Func::Strlen, [s]) => self.string_length(s),
            (Func::Strncmp(n), [a, b]) => {
                let limit = n.saturating_add(1).max(2);
                let (a, a_cap) = self.string_operand(a, limit);
                let (b, b_cap) = self.string_operand(b, limit);
                let equal = self.b.value(InstKind::StrEqN { a, a_cap, b, b_cap, n: *n }, Ty::I1);
                self.differs(equal)
            }
            (Func::Memcmp(n), [a, b]) => {
                let (a, a_len) = self.bytes_operand(a, *n);
                let (b, b_len) = self.bytes_operand(b, *n);
                let len = (*n).min(a_len).min(b_len);
                let equal = self.b.value(InstKind::MemEq { a, b, len }, Ty::I1);
                self.differs(equal)
            }
            (Func::Strstr, [hay, needle]) => {
                let (hay, hay_cap) = self.string_operand(hay, self.unit.size(&hay.ty));
                let (needle, needle_cap) = self.string_operand(needle, self.unit.size(&needle.ty));
                self.b.value(InstKind::StrFind { hay, hay_cap, needle, needle_cap }, Ty::I64)
            }
            (Func::Signal { thread }, [number]) => self.signal(*thread, number, e.loc),
            (Func::Override, [result]) => {
                if !self.unit.require(Feature::OverrideReturn, e.loc) {
                    return self.b.i64(0);
                }
                let result = self.scalar(result);
                let (result, ctx) = (self.number(result), self.context());
                self.helper(helper::OVERRIDE_RETURN, vec![ctx, result])
            }
            (Func::WriteUser, [dst, src, rest @ ..]) => self.write_user(dst, src, rest.first(), e.loc),
            (Func::SocketCookie, [socket]) => self.or_zero(|f| {
                let socket = f.pointer(socket);
                let socket = f.not_null(socket);
                f.helper(helper::GET_SOCKET_COOKIE, vec![socket])
            }),
            (Func::SkbOutput(event), args) => self.packet(*event, args, e.loc),
            (Func::Delete(map), args) => self.delete(*map, args.first()),
            (Func::HasKey(map), args) => self.has_key(*map, args.first()),
            (Func::MapLen(map), _) => self.map_len(*map, e.loc),
            (Func::StackLen, [stack]) => self.stack_len(stack),
            (Func::Debugf(format), args) => self.debugf(format, args),
            (Func::PercpuKaddr(name), args) => self.percpu_address(name, args.first()),
            // The others do not fit a register; sema types them so.
            _ => self.b.i64(0),
        }
    }

    /// A function called for its effect alone.
    pub(super) fn call_for_effect(&mut self, e: &'p Expr, func: &'p Func, args: &'p [Expr]) {
        match func {
            Func::Delete(map) => {
                let was_there = self.delete(*map, args.first());
                self.note_not_deleted(was_there, e.loc);
            }
            _ if e.ty.is_scalar() || e.ty == Type::None => {
                self.call(e, func, args);
            }
            _ => {
                let ptr = self.buffer("unused", self.unit.size(&e.ty));
                self.call_into(e, func, args, Dest { ptr, off: 0, fill: Fill::Written });
            }
        }
    }

    /// Reports that there was nothing to delete, if that is wanted.
    fn note_not_deleted(&mut self, was_there: Value, loc: Loc) {
        if !self.unit.options.report_failures {
            return;
        }
        let missing = self.not(was_there);
        self.when(missing, true, |f| {
            // -ENOENT, `asm-generic/errno-base.h`.
            let code = f.b.i64(-2);
            f.warn(RuntimeError::Helper("map_delete_elem"), Some(code), loc);
        });
    }

    /// 0 where things are equal, as comparing functions have it.
    fn differs(&mut self, equal: Value) -> Value {
        let differs = self.not(equal);
        self.b.resize(differs, Ty::I64, false)
    }

    fn byte_swap(&mut self, n: &'p Expr) -> Value {
        let bytes = self.unit.size(&n.ty);
        let value = self.scalar(n);
        let value = self.number(value);
        let Some(ty) = Ty::int(bytes).filter(|_| bytes > 1) else {
            let low = self.b.resize(value, Ty::I8, false);
            return self.b.resize(low, Ty::I64, false);
        };
        let low = self.b.resize(value, ty, false);
        let swapped = self.b.value(InstKind::Bswap(low), ty);
        self.b.resize(swapped, Ty::I64, false)
    }

    fn signal(&mut self, thread: bool, number: &'p Expr, loc: Loc) -> Value {
        let (feature, helper, name) = if thread {
            (Feature::SendSignalThread, helper::SEND_SIGNAL_THREAD, "send_signal_thread")
        } else {
            (Feature::SendSignal, helper::SEND_SIGNAL, "send_signal")
        };
        if !self.unit.require(feature, loc) {
            return self.b.i64(0);
        }
        let number = self.scalar(number);
        let number = self.number(number);
        let code = self.helper(helper, vec![number]);
        self.note_failure(name, code, loc);
        code
    }

    /// Reports a helper that failed, if that is wanted.
    fn note_failure(&mut self, helper: &'static str, code: Value, loc: Loc) {
        if self.unit.options.report_failures {
            self.warn_if_negative(RuntimeError::Helper(helper), code, loc);
        }
    }

    fn write_user(&mut self, dst: &'p Expr, src: &'p Expr, len: Option<&'p Expr>, loc: Loc) -> Value {
        if !self.unit.require(Feature::ProbeWriteUser, loc) {
            return self.b.i64(0);
        }
        let dst = self.scalar(dst);
        let dst = self.number(dst);
        let (from, had) = self.written_bytes(src);
        let limit = len.and_then(Expr::as_int).unwrap_or(WRITE_USER).min(u64::from(had)).max(1);
        let len = match len {
            Some(len) if len.as_int().is_none() => {
                let len = self.scalar(len);
                let len = self.number(len);
                self.at_most(len, limit)
            }
            _ => self.b.i64(limit as i64),
        };
        let code = self.helper(helper::PROBE_WRITE_USER, vec![dst, from, len]);
        self.note_failure("probe_write_user", code, loc);
        code
    }

    /// Memory that is to be written, and how many bytes it has: behind a pointer to a variable, or a value.
    fn written_bytes(&mut self, src: &'p Expr) -> (Value, u32) {
        match &src.kind {
            ExprKind::LocalAddr(id) => {
                let size = self.variable_size(&self.site.body.locals[*id].ty);
                (self.variable_ptr(*id), size)
            }
            ExprKind::Cast(inner) if matches!(inner.ty, Type::Ptr(..)) => self.written_bytes(inner),
            _ => {
                let len =
                    if let Type::Ptr(to, _) = &src.ty { self.unit.size(to) } else { self.unit.size(&src.ty) };
                self.bytes_operand(src, len.clamp(1, WRITE_USER as u32))
            }
        }
    }

    fn debugf(&mut self, format: &str, args: &'p [Expr]) -> Value {
        let text = self.constant_string(format.as_bytes());
        let size = self.b.iconst(Ty::I32, format.len() as i64 + 1);
        let values: Vec<_> = args.iter().map(|arg| self.printk_argument(arg)).collect();
        if values.len() <= PRINTK_ARGS {
            let args = [text, size].into_iter().chain(values).collect();
            return self.helper(helper::TRACE_PRINTK, args);
        }
        let list = self.buffer("printk arguments", 8 * values.len() as u32);
        for (n, value) in (0..).zip(&values) {
            self.b.store(list, 8 * n, *value);
        }
        let len = self.b.iconst(Ty::I32, 8 * values.len() as i64);
        self.helper(helper::TRACE_VPRINTK, vec![text, size, list, len])
    }

    fn printk_argument(&mut self, arg: &'p Expr) -> Value {
        if arg.ty.is_scalar() {
            let value = self.scalar(arg);
            return self.number(value);
        }
        // The helper reads strings by their address.
        let ptr = self.memory_ptr(arg);
        self.number(ptr)
    }

    /// Address of a CPU's copy of a kernel variable; 0 if there is none.
    fn percpu_address(&mut self, name: &str, cpu: Option<&'p Expr>) -> Value {
        let ty = self.unit.module.types.void();
        let found =
            self.unit.module.globals.iter().find(|(_, g)| g.section == Section::Ksym && g.name == name);
        let global = match found.map(|(id, _)| id) {
            Some(global) => global,
            None => self.unit.module.globals.push(Global {
                name: name.to_owned(),
                section: Section::Ksym,
                ty,
                size: 0,
                align: 1,
                init: Vec::new(),
            }),
        };
        let base = self.b.value(InstKind::GlobalAddr(global), Ty::ptr(PtrClass::Global(global)));
        let class = PtrClass::KernelUntrusted(ty);
        let ptr = match cpu {
            Some(cpu) => {
                let cpu = self.scalar(cpu);
                let cpu = self.number(cpu);
                let cpu = self.b.resize(cpu, Ty::I32, false);
                let kind = InstKind::Helper(helper::PER_CPU_PTR, vec![base, cpu]);
                self.b.value(kind, Ty::nullable(class))
            }
            None => self.b.value(InstKind::Helper(helper::THIS_CPU_PTR, vec![base]), Ty::ptr(class)),
        };
        self.number(ptr)
    }
}
