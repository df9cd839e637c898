//! Builtins: the current task, CPU and time.

use super::function::{Fx, Known};
use super::helper;
use super::store::{Dest, Fill};
use crate::hir::{Builtin, Expr, NsecsClock};
use crate::types::Origin;
use skep_ir::inst::{BinOp, CmpOp, InstKind};
use skep_ir::types::PtrClass;
use skep_ir::{Feature, Ty, TypeId, Value};

/// Bytes of a task's name, `TASK_COMM_LEN` of `linux/sched.h`.
pub(super) const COMM: u32 = 16;

impl<'p> Fx<'_, 'p> {
    /// A helper's result as an `i64`.
    pub(super) fn helper(&mut self, number: u32, args: Vec<Value>) -> Value {
        self.b.value(InstKind::Helper(number, args), Ty::I64)
    }

    /// A builtin that fits a register.
    pub(super) fn builtin(&mut self, builtin: &Builtin, e: &'p Expr) -> Value {
        match builtin {
            Builtin::Pid { init: true } => {
                let ids = self.ids();
                self.upper_half(ids)
            }
            Builtin::Tid { init: true } => {
                let ids = self.ids();
                self.lower_half(ids)
            }
            Builtin::Pid { init: false } => self.own_pid(),
            Builtin::Tid { init: false } => match self.namespace_ids() {
                // struct bpf_pidns_info: the thread's id first, then the process's.
                Some(ids) => self.lower_half(ids),
                None => {
                    let ids = self.ids();
                    self.lower_half(ids)
                }
            },
            Builtin::Uid => {
                let ids = self.user_ids();
                self.lower_half(ids)
            }
            Builtin::Gid => {
                let ids = self.user_ids();
                self.upper_half(ids)
            }
            Builtin::Cpu => self.helper(helper::GET_SMP_PROCESSOR_ID, vec![]),
            Builtin::NumaNode => self.helper(helper::GET_NUMA_NODE_ID, vec![]),
            Builtin::Rand => {
                let number = self.helper(helper::GET_PRANDOM_U32, vec![]);
                self.lower_half(number)
            }
            Builtin::Cgroup => self.known(Known::Cgroup, |f| f.helper(helper::GET_CURRENT_CGROUP_ID, vec![])),
            // As a number: no use for the typed pointer, with which the verifier allows no arithmetic.
            Builtin::Curtask => self.known(Known::Task, |f| f.helper(helper::GET_CURRENT_TASK, vec![])),
            Builtin::Nsecs(clock) => self.clock(*clock),
            Builtin::Elapsed => self.elapsed(),
            Builtin::Jiffies => {
                if self.unit.require(Feature::Jiffies64, e.loc) {
                    self.helper(helper::JIFFIES64, vec![])
                } else {
                    self.b.i64(0)
                }
            }
            Builtin::Arg(n) => {
                let word = self.argument_word(*n);
                self.canonical(word, &e.ty)
            }
            Builtin::Retval => self.result(e),
            Builtin::Reg(off) => self.context_word(*off as i32),
            Builtin::FuncAddr => self.function_address(e.loc),
            Builtin::KStack(stack) => self.stack_id(false, *stack, e.loc),
            Builtin::Usermode => self.user_mode(),
            // These do not fit a register; their first 8 bytes are asked for.
            Builtin::UStack(stack) => self.stack_id(true, *stack, e.loc),
            Builtin::Comm => {
                let ptr = self.buffer("comm", COMM);
                self.put_comm(COMM, Dest { ptr, off: 0, fill: Fill::Exact });
                self.b.load(ptr, 0, Ty::I64)
            }
        }
    }

    fn upper_half(&mut self, value: Value) -> Value {
        let shift = self.b.i64(32);
        self.b.bin(BinOp::LShr, value, shift)
    }

    fn lower_half(&mut self, value: Value) -> Value {
        let low = self.b.resize(value, Ty::I32, false);
        self.b.resize(low, Ty::I64, false)
    }

    fn ids(&mut self) -> Value {
        self.known(Known::PidTgid, |f| f.helper(helper::GET_CURRENT_PID_TGID, vec![]))
    }

    fn user_ids(&mut self) -> Value {
        self.known(Known::UidGid, |f| f.helper(helper::GET_CURRENT_UID_GID, vec![]))
    }

    /// The ids of the current thread in the script's own PID namespace, thread in the lower half; `None` if that
    /// is the first one. Zeros if the thread is not in it.
    fn namespace_ids(&mut self) -> Option<Value> {
        let namespace = self.unit.env.pid_namespace();
        if namespace.initial || !self.unit.env.has(Feature::GetNsCurrentPidTgid) {
            return None;
        }
        Some(self.known(Known::NamespacePid, |f| {
            let info = f.buffer("pid and tgid", 8);
            let dev = f.b.i64(namespace.dev as i64);
            let ino = f.b.i64(namespace.ino as i64);
            let size = f.b.i64(8);
            f.helper(helper::GET_NS_CURRENT_PID_TGID, vec![dev, ino, info, size]);
            f.b.load(info, 0, Ty::I64)
        }))
    }

    /// The process's id in the script's own PID namespace.
    pub(super) fn own_pid(&mut self) -> Value {
        let ids = match self.namespace_ids() {
            Some(ids) => ids,
            None => self.ids(),
        };
        self.upper_half(ids)
    }

    /// Writes the name of the current thread. What the helper leaves behind the name differs between kernels
    /// (strscpy in 6.1, strscpy_pad later: bpf_get_current_comm in kernel/bpf/helpers.c), and keys must not.
    pub(super) fn put_comm(&mut self, size: u32, to: Dest) {
        let dst = self.dest_ptr(to);
        if to.fill == Fill::Exact {
            self.fill_bytes(dst, 0, size);
        }
        let len = self.b.i64(i64::from(size));
        self.helper(helper::GET_CURRENT_COMM, vec![dst, len]);
    }

    /// The type `struct task_struct` of the kernel.
    pub(super) fn task_type(&mut self) -> TypeId {
        let structs = self.unit.program.structs.structs.values();
        let id = structs
            .filter(|s| s.name == "struct task_struct")
            .find_map(|s| match &s.origin {
                Origin::Kernel { module, id } if module.is_empty() => Some(*id),
                _ => None,
            })
            .unwrap_or(0);
        self.unit.module.types.kernel("struct task_struct", id)
    }

    /// The current task as a pointer.
    pub(super) fn current_task(&mut self) -> Value {
        let ty = self.task_type();
        if self.unit.env.has(Feature::GetCurrentTaskBtf) {
            let class = PtrClass::KernelTrusted(ty);
            return self.b.value(InstKind::Helper(helper::GET_CURRENT_TASK_BTF, vec![]), Ty::ptr(class));
        }
        let task = self.known(Known::Task, |f| f.helper(helper::GET_CURRENT_TASK, vec![]));
        self.b.value(InstKind::IntToPtr(task), Ty::ptr(PtrClass::KernelRaw(ty)))
    }

    /// Nanoseconds of a clock.
    pub(super) fn clock(&mut self, clock: NsecsClock) -> Value {
        match clock {
            NsecsClock::Boot => self.boot_time(),
            NsecsClock::Monotonic => self.helper(helper::KTIME_GET_NS, vec![]),
            NsecsClock::Tai if self.unit.env.has(Feature::KtimeGetTaiNs) => {
                self.helper(helper::KTIME_GET_TAI_NS, vec![])
            }
            NsecsClock::Tai | NsecsClock::SwTai => {
                let boot = self.boot_time();
                let offset = self.b.i64(self.unit.env.tai_offset());
                self.b.bin(BinOp::Add, boot, offset)
            }
        }
    }

    /// Nanoseconds since boot; without the time in suspend on kernels that cannot tell it.
    pub(super) fn boot_time(&mut self) -> Value {
        let boot = self.unit.env.has(Feature::KtimeGetBootNs);
        self.helper(if boot { helper::KTIME_GET_BOOT_NS } else { helper::KTIME_GET_NS }, vec![])
    }

    fn elapsed(&mut self) -> Value {
        let map = self.unit.start_time();
        let now = self.boot_time();
        let key = self.zero_key();
        let start = self.or_zero(|f| {
            let class = Ty::nullable(PtrClass::MapValue(map));
            let ptr = f.b.value(InstKind::MapLookup { map, key }, class);
            let ptr = f.not_null(ptr);
            f.b.load(ptr, 0, Ty::I64)
        });
        self.b.bin(BinOp::Sub, now, start)
    }

    /// Leaves the program unless the current process is the one that is traced.
    pub(super) fn filter_pid(&mut self, pid: u32) {
        let own = self.own_pid();
        let wanted = self.b.i64(i64::from(pid));
        let same = self.b.cmp(CmpOp::Eq, own, wanted);
        let (go_on, other) = (self.b.new_block(), self.b.new_block());
        self.b.cond_br(same, go_on, other);
        self.b.switch_to(other);
        self.leave_program();
        self.b.switch_to(go_on);
    }
}
