//! What helpers do with their arguments, as far as the compiler must know it.
//!
//! The kernel describes helpers by `struct bpf_func_proto`; the rows here say the same of those that front
//! ends and lowering use. A helper without a row is passed on as it is and nothing is checked.

use crate::kernel::Feature;

/// What a helper does with an argument (`enum bpf_arg_type` of `linux/bpf.h`).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A number, or something that is taken for one.
    Any,
    /// The context.
    Ctx,
    /// A map.
    Map,
    /// Reads a key of the map.
    Key,
    /// Reads a value of the map.
    Value,
    /// Writes a value of the map.
    OutValue,
    /// Reads as many bytes as the next argument says.
    In,
    /// Writes as many bytes as the next argument says; they need not have been written before.
    Out,
    /// Writes so many bytes.
    OutFixed(u32),
    /// A number of bytes.
    Len,
    /// Function that the kernel calls.
    Callback,
    /// What the callback gets: an address on the stack, or null.
    CallbackCtx,
    /// A record of a ring, given back.
    Record,
}

/// A helper.
#[derive(Copy, Clone, Debug)]
pub struct Helper {
    /// Number.
    pub id: u32,
    /// Arguments; what follows them is not looked at.
    pub args: &'static [Arg],
    /// Whether it may sleep, so that only sleepable programs may call it.
    pub sleeps: bool,
    /// The feature that a kernel has if it has the helper, for helpers that came late.
    pub feature: Option<Feature>,
}

macro_rules! helpers {
    ($($(#[doc = $doc:literal])* $name:ident = $id:literal [$($arg:expr),*] $($feature:ident)? $(, $sleeps:ident)?;)*) => {
        $($(#[doc = $doc])* pub const $name: u32 = $id;)*

        const ALL: &[Helper] = &[$(Helper {
            id: $id,
            args: &[$($arg),*],
            sleeps: helpers!(@sleeps $($sleeps)?),
            feature: helpers!(@feature $($feature)?),
        },)*];

        #[cfg(test)]
        const NAMES: &[(&str, u32)] = &[$((stringify!($name), $id),)*];
    };
    (@sleeps) => { false };
    (@sleeps sleeps) => { true };
    (@feature) => { None };
    (@feature $feature:ident) => { Some(Feature::$feature) };
}

use Arg::{Any, Callback, CallbackCtx, Ctx, In, Key, Len, Map, Out, OutFixed, OutValue, Record, Value};

helpers! {
    /// Finds a value.
    MAP_LOOKUP_ELEM = 1 [Map, Key];
    /// Writes a value.
    MAP_UPDATE_ELEM = 2 [Map, Key, Value, Any];
    /// Removes an element.
    MAP_DELETE_ELEM = 3 [Map, Key];
    /// Reads memory of either kind.
    PROBE_READ = 4 [Out, Len, Any];
    /// Clock without suspend.
    KTIME_GET_NS = 5 [];
    /// Prints to the kernel's trace.
    TRACE_PRINTK = 6 [In, Len];
    /// Pseudo-random number.
    GET_PRANDOM_U32 = 7 [];
    /// CPU.
    GET_SMP_PROCESSOR_ID = 8 [];
    /// Writes packet bytes.
    SKB_STORE_BYTES = 9 [Ctx, Any, In, Len, Any];
    /// Process and thread ids.
    GET_CURRENT_PID_TGID = 14 [];
    /// User and group ids.
    GET_CURRENT_UID_GID = 15 [];
    /// Name of the current task.
    GET_CURRENT_COMM = 16 [Out, Len];
    /// Sends bytes through a perf buffer.
    PERF_EVENT_OUTPUT = 25 [Ctx, Map, Any, In, Len];
    /// Reads packet bytes.
    SKB_LOAD_BYTES = 26 [Ctx, Any, Out, Len];
    /// Id of the current stack in a map of stacks.
    GET_STACKID = 27 [Ctx, Map, Any];
    /// The current task as an address.
    GET_CURRENT_TASK = 35 [];
    /// Writes memory of the current process.
    PROBE_WRITE_USER = 36 [Any, In, Len] ProbeWriteUser;
    /// NUMA node.
    GET_NUMA_NODE_ID = 42 [];
    /// Reads a string of either kind of memory.
    PROBE_READ_STR = 45 [Out, Len, Any];
    /// Changes the result of the probed function.
    OVERRIDE_RETURN = 58 [Ctx, Any] OverrideReturn;
    /// Frames of the current stack.
    GET_STACK = 67 [Ctx, Out, Len, Any] GetStack;
    /// Looks up a route.
    FIB_LOOKUP = 69 [Ctx, In, Len, Any];
    /// cgroup of the current task.
    GET_CURRENT_CGROUP_ID = 80 [];
    /// Appends to a queue or stack.
    MAP_PUSH_ELEM = 87 [Map, Value, Any];
    /// Takes from a queue or stack.
    MAP_POP_ELEM = 88 [Map, OutValue];
    /// Looks at the head of a queue or stack.
    MAP_PEEK_ELEM = 89 [Map, OutValue];
    /// Signals the current process.
    SEND_SIGNAL = 109 [Any] SendSignal;
    /// Sends packet bytes through a perf buffer.
    SKB_OUTPUT = 111 [Any, Map, Any, In, Len] SkbOutput;
    /// Reads user memory.
    PROBE_READ_USER = 112 [Out, Len, Any] ProbeReadKernel;
    /// Reads kernel memory.
    PROBE_READ_KERNEL = 113 [Out, Len, Any] ProbeReadKernel;
    /// Reads a string of user memory.
    PROBE_READ_USER_STR = 114 [Out, Len, Any] ProbeReadKernel;
    /// Reads a string of kernel memory.
    PROBE_READ_KERNEL_STR = 115 [Out, Len, Any] ProbeReadKernel;
    /// Signals the current thread.
    SEND_SIGNAL_THREAD = 117 [Any] SendSignalThread;
    /// Jiffies.
    JIFFIES64 = 118 [] Jiffies64;
    /// Process and thread ids in a namespace.
    GET_NS_CURRENT_PID_TGID = 120 [Any, Any, Out, Len] GetNsCurrentPidTgid;
    /// Ancestor of the current task's cgroup.
    GET_CURRENT_ANCESTOR_CGROUP_ID = 123 [Any];
    /// Boot clock.
    KTIME_GET_BOOT_NS = 125 [] KtimeGetBootNs;
    /// Sends bytes through a ring.
    RINGBUF_OUTPUT = 130 [Map, In, Len, Any] RingBuffer;
    /// Reserves a record.
    RINGBUF_RESERVE = 131 [Map, Any, Any] RingBuffer;
    /// Submits a record.
    RINGBUF_SUBMIT = 132 [Record, Any] RingBuffer;
    /// Gives a record back.
    RINGBUF_DISCARD = 133 [Record, Any] RingBuffer;
    /// State of a ring.
    RINGBUF_QUERY = 134 [Map, Any] RingBuffer;
    /// Path of a file object.
    D_PATH = 147 [Any, Out, Len] DPath;
    /// Reads user memory and waits for it.
    COPY_FROM_USER = 148 [Out, Len, Any] CopyFromUser, sleeps;
    /// The current task as a typed pointer.
    GET_CURRENT_TASK_BTF = 158 [] GetCurrentTaskBtf;
    /// Runs a callback for every element of a map.
    FOR_EACH_MAP_ELEM = 164 [Map, Callback, CallbackCtx, Any] ForEachMapElem;
    /// Formats into memory.
    SNPRINTF = 165 [Out, Len, Any, In, Len];
    /// Sets what a timer calls.
    TIMER_SET_CALLBACK = 170 [Any, Callback];
    /// Address of the traced function.
    GET_FUNC_IP = 173 [Ctx] GetFuncIp;
    /// Cookie of the attachment.
    GET_ATTACH_COOKIE = 174 [Ctx] AttachCookie;
    /// Calls a callback for a memory area.
    FIND_VMA = 180 [Any, Any, Callback, CallbackCtx, Any];
    /// Runs a callback many times.
    LOOP = 181 [Any, Callback, CallbackCtx, Any] BpfLoop;
    /// Compares strings.
    STRNCMP = 182 [In, Len, Any] Strncmp;
    /// Argument of the traced function.
    GET_FUNC_ARG = 183 [Ctx, Any, OutFixed(8)];
    /// Result of the traced function.
    GET_FUNC_RET = 184 [Ctx, OutFixed(8)];
    /// Reads user memory of a task.
    COPY_FROM_USER_TASK = 191 [Out, Len, Any, Any, Any] CopyFromUser, sleeps;
    /// Finds another CPU's value.
    MAP_LOOKUP_PERCPU_ELEM = 195 [Map, Key, Any] LookupPercpuElem;
    /// TAI clock.
    KTIME_GET_TAI_NS = 208 [] KtimeGetTaiNs;
    /// Runs a callback for records of a user ring.
    USER_RINGBUF_DRAIN = 209 [Map, Callback, CallbackCtx, Any];
}

/// What is known of a helper.
#[must_use]
pub fn helper(id: u32) -> Option<&'static Helper> {
    ALL.iter().find(|h| h.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_names() {
        for (name, id) in NAMES {
            assert_eq!(skep_asm::helpers::id(&name.to_lowercase()), Some(*id), "{name}");
        }
    }

    #[test]
    fn lengths_stand_beside_what_they_measure() {
        for h in ALL {
            for (i, arg) in h.args.iter().enumerate() {
                if matches!(arg, In | Out) {
                    assert_eq!(h.args.get(i + 1), Some(&Len), "helper {}", h.id);
                }
                if matches!(arg, Key | Value | OutValue) {
                    assert_eq!(h.args[0], Map, "helper {}", h.id);
                }
            }
        }
    }
}
