//! What a probe's context holds: arguments, registers, results.

use super::arch::{self, Regs};
use super::function::Fx;
use super::helper;
use super::place::Src;
use crate::hir::{Builtin, Expr, ExprKind, Provider};
use crate::types::{DataLoc, FieldDef, Origin, Type};
use skep_ir::inst::{BinOp, CmpOp, InstKind, Scalar, Step};
use skep_ir::spec::Attach;
use skep_ir::types::PtrClass;
use skep_ir::{Feature, Loc, ProgKind, Ty, Value};

impl<'p> Fx<'_, 'p> {
    /// The registers of the target.
    fn regs(&self) -> &'static Regs {
        arch::regs(self.unit.env.arch())
    }

    /// Whether the context is, or begins with, the saved registers.
    fn has_registers(&self) -> bool {
        matches!(self.site.kind, ProgKind::Kprobe | ProgKind::PerfEvent)
    }

    /// Where a field of the argument list lies.
    pub(super) fn argument(&mut self, origin: &Origin, n: u32, field: &FieldDef) -> Src {
        match origin {
            Origin::TracepointRecord => match field.data_loc {
                DataLoc::Direct => Src::Context { off: field.offset as i32 },
                DataLoc::FromRecord => self.data_at(field.offset as i32, 0),
                DataLoc::FromField => self.data_at(field.offset as i32, field.offset as i32 + 4),
            },
            _ if self.has_registers() => {
                let word = field.offset / 8;
                let off = self.register_argument(if word == 0 { n } else { word });
                Src::Words { off, at: 0 }
            }
            _ => Src::Words { off: field.offset as i32, at: 0 },
        }
    }

    /// Data of variable length: the lower half of a word of the record says how many bytes behind `from` it is.
    fn data_at(&mut self, word: i32, from: i32) -> Src {
        let ctx = self.context();
        let loc = self.b.value(InstKind::CtxLoad { ctx, off: word }, Ty::I32);
        let loc = self.b.resize(loc, Ty::I64, false);
        let mask = self.b.i64(0xffff);
        let offset = self.b.bin(BinOp::And, loc, mask);
        let start = self.context_address(from);
        let address = self.b.bin(BinOp::Add, start, offset);
        let class = PtrClass::KernelRaw(self.unit.module.types.void());
        let base = self.b.value(InstKind::IntToPtr(address), Ty::ptr(class));
        Src::Object { base, path: Vec::new() }
    }

    /// Address of a field's data of variable length, for fields that are pointers.
    pub(super) fn data_pointer(&self, e: &Expr) -> bool {
        let ExprKind::Field(base, id, n) = &e.kind else { return false };
        let field = self.unit.program.structs.structs[*id].fields.as_ref().and_then(|f| f.get(*n as usize));
        matches!(base.kind, ExprKind::Args)
            && matches!(e.ty, Type::Ptr(..))
            && field.is_some_and(|f| f.data_loc != DataLoc::Direct)
    }

    fn register_argument(&mut self, n: u32) -> i32 {
        self.regs().args.get(n as usize).copied().unwrap_or(0)
    }

    /// `argN`
    pub(super) fn argument_word(&mut self, n: u32) -> Value {
        if !self.has_registers() {
            return self.context_word(n as i32 * 8);
        }
        if self.is_syscall_wrapper() {
            return self.syscall_argument(n);
        }
        let off = self.register_argument(n);
        self.context_word(off)
    }

    /// Whether the probe is on a function that the kernel enters with a pointer to the registers of a system
    /// call, so that arguments are to be found there.
    fn is_syscall_wrapper(&self) -> bool {
        let Some(probe) = self.site.probe else { return false };
        let prefix = self.regs().syscall_prefix;
        let wraps = |attach: &Attach| match attach {
            Attach::Kprobe { symbol, offset: 0, ret: false } => symbol.starts_with(prefix),
            Attach::KprobeMulti { symbols, ret: false } => symbols.iter().all(|s| s.starts_with(prefix)),
            _ => false,
        };
        probe.provider == Provider::Kprobe && probe.targets.iter().all(|(_, attach)| wraps(attach))
    }

    fn syscall_argument(&mut self, n: u32) -> Value {
        let first = self.register_argument(0);
        let inner = self.context_word(first);
        let class = PtrClass::KernelRaw(self.unit.module.types.void());
        let base = self.b.value(InstKind::IntToPtr(inner), Ty::ptr(class));
        let off = self.regs().syscall_args.get(n as usize).copied().unwrap_or(0);
        let scalar = Some(Scalar { bytes: 8, signed: false, bits: None });
        self.b.value(InstKind::FieldLoad { base, path: vec![Step::Offset(off)], scalar }, Ty::I64)
    }

    /// Whether a cast asks for the argument that the wrapper of a system call really has: the pointer to the
    /// registers.
    pub(super) fn means_registers(&self, inner: &Expr, ty: &Type) -> bool {
        let Type::Ptr(to, _) = ty else { return false };
        let Type::Struct(id) = &**to else { return false };
        let first = match &inner.kind {
            ExprKind::Cast(e) => matches!(e.kind, ExprKind::Builtin(Builtin::Arg(0))),
            kind => matches!(kind, ExprKind::Builtin(Builtin::Arg(0))),
        };
        first && self.unit.program.structs.structs[*id].name == "struct pt_regs" && self.is_syscall_wrapper()
    }

    /// `arg0` as the function has it.
    pub(super) fn plain_argument(&mut self) -> Value {
        let off = self.register_argument(0);
        self.context_word(off)
    }

    /// `retval`
    pub(super) fn result(&mut self, e: &'p Expr) -> Value {
        if self.has_registers() {
            let word = self.context_word(self.regs().ret);
            return self.truth_of(word, &e.ty);
        }
        let Some(off) = self.site.result_offset else {
            self.unit
                .error(e.loc, "The type of the traced function is not known, so its result cannot be found");
            return self.b.i64(0);
        };
        self.load(&Src::Words { off, at: 0 }, &e.ty, None, e.loc)
    }

    fn truth_of(&mut self, word: Value, ty: &Type) -> Value {
        let value = self.canonical(word, ty);
        if *ty == Type::Bool { self.convert(value, &Type::U64, ty) } else { value }
    }

    /// Address of the function that a probe is on.
    pub(super) fn function_address(&mut self, loc: Loc) -> Value {
        match self.site.provider {
            // At the first instruction of a function the program counter is its address.
            Provider::Uprobe | Provider::Usdt => {
                let ip = self.regs().ip;
                self.context_word(ip)
            }
            Provider::Kprobe if !self.unit.env.has(Feature::GetFuncIp) => {
                let ip = self.regs().ip;
                self.context_word(ip)
            }
            _ => {
                if !self.unit.require(Feature::GetFuncIp, loc) {
                    return self.b.i64(0);
                }
                let ctx = self.context();
                self.b.value(InstKind::Helper(helper::GET_FUNC_IP, vec![ctx]), Ty::I64)
            }
        }
    }

    /// `usermode`
    pub(super) fn user_mode(&mut self) -> Value {
        if !self.has_registers() {
            // What runs by request runs for this process; the rest runs in the kernel.
            let own = matches!(self.site.provider, Provider::Begin | Provider::End | Provider::Signal);
            return self.b.i64(i64::from(own));
        }
        let mode = self.regs().mode;
        let word = self.context_word(mode.register);
        let mask = self.b.i64(mode.mask);
        let bits = self.b.bin(BinOp::And, word, mask);
        let user = self.b.i64(mode.user);
        let is_user = self.b.cmp(CmpOp::Eq, bits, user);
        self.b.resize(is_user, Ty::I64, false)
    }
}
