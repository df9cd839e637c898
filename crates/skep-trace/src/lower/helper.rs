//! Numbers of the kernel helpers that scripts need (`___BPF_FUNC_MAPPER` in `linux/bpf.h`) and their flags.

pub(super) const KTIME_GET_NS: u32 = 5;
pub(super) const TRACE_PRINTK: u32 = 6;
pub(super) const GET_PRANDOM_U32: u32 = 7;
pub(super) const GET_SMP_PROCESSOR_ID: u32 = 8;
pub(super) const GET_CURRENT_PID_TGID: u32 = 14;
pub(super) const GET_CURRENT_UID_GID: u32 = 15;
pub(super) const GET_CURRENT_COMM: u32 = 16;
pub(super) const GET_CURRENT_TASK: u32 = 35;
pub(super) const PROBE_WRITE_USER: u32 = 36;
pub(super) const GET_NUMA_NODE_ID: u32 = 42;
pub(super) const GET_SOCKET_COOKIE: u32 = 46;
pub(super) const OVERRIDE_RETURN: u32 = 58;
pub(super) const GET_CURRENT_CGROUP_ID: u32 = 80;
pub(super) const SEND_SIGNAL: u32 = 109;
pub(super) const SEND_SIGNAL_THREAD: u32 = 117;
pub(super) const JIFFIES64: u32 = 118;
pub(super) const GET_NS_CURRENT_PID_TGID: u32 = 120;
pub(super) const KTIME_GET_BOOT_NS: u32 = 125;
pub(super) const RINGBUF_QUERY: u32 = 134;
pub(super) const D_PATH: u32 = 147;
pub(super) const PER_CPU_PTR: u32 = 153;
pub(super) const THIS_CPU_PTR: u32 = 154;
pub(super) const GET_CURRENT_TASK_BTF: u32 = 158;
pub(super) const GET_FUNC_IP: u32 = 173;
pub(super) const TRACE_VPRINTK: u32 = 177;
pub(super) const KTIME_GET_TAI_NS: u32 = 208;

/// `BPF_RB_AVAIL_DATA`: bytes that the reader has not yet taken.
pub(super) const RB_AVAIL_DATA: i64 = 0;
/// `BPF_RB_PROD_POS`: bytes ever reserved.
pub(super) const RB_PROD_POS: i64 = 3;

/// `BPF_ANY`: create or replace.
pub(super) const UPDATE_ANY: u64 = 0;
/// `BPF_NOEXIST`: only create.
pub(super) const UPDATE_NOEXIST: u64 = 1;

/// `BPF_F_NO_PREALLOC`: allocate elements of a hash when they are made.
pub(super) const NO_PREALLOC: u32 = 1;
