//! Kinds of maps, programs, links and attachments: numbers of include/uapi/linux/bpf.h.
//!
//! They are open sets (the running kernel may know more than this table), so each is a number with names
//! rather than an enum. The names are those that the tools of the field print and accept.

use std::fmt;

macro_rules! kinds {
    ($(#[$doc:meta])* $type:ident, $what:literal; $($number:literal $ident:ident $name:literal)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $type(pub u32);

        impl $type {
            $(
                #[doc = concat!("`", $name, "`")]
                pub const $ident: $type = $type($number);
            )*

            /// Every kind of the table, in the order of its numbers.
            pub const ALL: &'static [$type] = &[$($type($number)),*];

            /// The name, where the table has one.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($name),)*
                    _ => None,
                }
            }

            /// The kind with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some($type($number)),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => write!(f, concat!($what, "_{}"), self.0),
                }
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

kinds! {
    /// `enum bpf_map_type`.
    MapType, "map_type";
    0 UNSPEC "unspec"
    1 HASH "hash"
    2 ARRAY "array"
    3 PROG_ARRAY "prog_array"
    4 PERF_EVENT_ARRAY "perf_event_array"
    5 PERCPU_HASH "percpu_hash"
    6 PERCPU_ARRAY "percpu_array"
    7 STACK_TRACE "stack_trace"
    8 CGROUP_ARRAY "cgroup_array"
    9 LRU_HASH "lru_hash"
    10 LRU_PERCPU_HASH "lru_percpu_hash"
    11 LPM_TRIE "lpm_trie"
    12 ARRAY_OF_MAPS "array_of_maps"
    13 HASH_OF_MAPS "hash_of_maps"
    14 DEVMAP "devmap"
    15 SOCKMAP "sockmap"
    16 CPUMAP "cpumap"
    17 XSKMAP "xskmap"
    18 SOCKHASH "sockhash"
    19 CGROUP_STORAGE "cgroup_storage"
    20 REUSEPORT_SOCKARRAY "reuseport_sockarray"
    21 PERCPU_CGROUP_STORAGE "percpu_cgroup_storage"
    22 QUEUE "queue"
    23 STACK "stack"
    24 SK_STORAGE "sk_storage"
    25 DEVMAP_HASH "devmap_hash"
    26 STRUCT_OPS "struct_ops"
    27 RINGBUF "ringbuf"
    28 INODE_STORAGE "inode_storage"
    29 TASK_STORAGE "task_storage"
    30 BLOOM_FILTER "bloom_filter"
    31 USER_RINGBUF "user_ringbuf"
    32 CGRP_STORAGE "cgrp_storage"
    33 ARENA "arena"
    34 INSN_ARRAY "insn_array"
}

kinds! {
    /// `enum bpf_prog_type`.
    ProgType, "prog_type";
    0 UNSPEC "unspec"
    1 SOCKET_FILTER "socket_filter"
    2 KPROBE "kprobe"
    3 SCHED_CLS "sched_cls"
    4 SCHED_ACT "sched_act"
    5 TRACEPOINT "tracepoint"
    6 XDP "xdp"
    7 PERF_EVENT "perf_event"
    8 CGROUP_SKB "cgroup_skb"
    9 CGROUP_SOCK "cgroup_sock"
    10 LWT_IN "lwt_in"
    11 LWT_OUT "lwt_out"
    12 LWT_XMIT "lwt_xmit"
    13 SOCK_OPS "sock_ops"
    14 SK_SKB "sk_skb"
    15 CGROUP_DEVICE "cgroup_device"
    16 SK_MSG "sk_msg"
    17 RAW_TRACEPOINT "raw_tracepoint"
    18 CGROUP_SOCK_ADDR "cgroup_sock_addr"
    19 LWT_SEG6LOCAL "lwt_seg6local"
    20 LIRC_MODE2 "lirc_mode2"
    21 SK_REUSEPORT "sk_reuseport"
    22 FLOW_DISSECTOR "flow_dissector"
    23 CGROUP_SYSCTL "cgroup_sysctl"
    24 RAW_TRACEPOINT_WRITABLE "raw_tracepoint_writable"
    25 CGROUP_SOCKOPT "cgroup_sockopt"
    26 TRACING "tracing"
    27 STRUCT_OPS "struct_ops"
    28 EXT "ext"
    29 LSM "lsm"
    30 SK_LOOKUP "sk_lookup"
    31 SYSCALL "syscall"
    32 NETFILTER "netfilter"
}

kinds! {
    /// `enum bpf_link_type`.
    LinkType, "link_type";
    0 UNSPEC "unspec"
    1 RAW_TRACEPOINT "raw_tracepoint"
    2 TRACING "tracing"
    3 CGROUP "cgroup"
    4 ITER "iter"
    5 NETNS "netns"
    6 XDP "xdp"
    7 PERF_EVENT "perf_event"
    8 KPROBE_MULTI "kprobe_multi"
    9 STRUCT_OPS "struct_ops"
    10 NETFILTER "netfilter"
    11 TCX "tcx"
    12 UPROBE_MULTI "uprobe_multi"
    13 NETKIT "netkit"
    14 SOCKMAP "sockmap"
}

kinds! {
    /// `enum bpf_attach_type`.
    AttachType, "attach_type";
    0 CGROUP_INET_INGRESS "cgroup_inet_ingress"
    1 CGROUP_INET_EGRESS "cgroup_inet_egress"
    2 CGROUP_INET_SOCK_CREATE "cgroup_inet_sock_create"
    3 CGROUP_SOCK_OPS "cgroup_sock_ops"
    4 SK_SKB_STREAM_PARSER "sk_skb_stream_parser"
    5 SK_SKB_STREAM_VERDICT "sk_skb_stream_verdict"
    6 CGROUP_DEVICE "cgroup_device"
    7 SK_MSG_VERDICT "sk_msg_verdict"
    8 CGROUP_INET4_BIND "cgroup_inet4_bind"
    9 CGROUP_INET6_BIND "cgroup_inet6_bind"
    10 CGROUP_INET4_CONNECT "cgroup_inet4_connect"
    11 CGROUP_INET6_CONNECT "cgroup_inet6_connect"
    12 CGROUP_INET4_POST_BIND "cgroup_inet4_post_bind"
    13 CGROUP_INET6_POST_BIND "cgroup_inet6_post_bind"
    14 CGROUP_UDP4_SENDMSG "cgroup_udp4_sendmsg"
    15 CGROUP_UDP6_SENDMSG "cgroup_udp6_sendmsg"
    16 LIRC_MODE2 "lirc_mode2"
    17 FLOW_DISSECTOR "flow_dissector"
    18 CGROUP_SYSCTL "cgroup_sysctl"
    19 CGROUP_UDP4_RECVMSG "cgroup_udp4_recvmsg"
    20 CGROUP_UDP6_RECVMSG "cgroup_udp6_recvmsg"
    21 CGROUP_GETSOCKOPT "cgroup_getsockopt"
    22 CGROUP_SETSOCKOPT "cgroup_setsockopt"
    23 TRACE_RAW_TP "trace_raw_tp"
    24 TRACE_FENTRY "trace_fentry"
    25 TRACE_FEXIT "trace_fexit"
    26 MODIFY_RETURN "modify_return"
    27 LSM_MAC "lsm_mac"
    28 TRACE_ITER "trace_iter"
    29 CGROUP_INET4_GETPEERNAME "cgroup_inet4_getpeername"
    30 CGROUP_INET6_GETPEERNAME "cgroup_inet6_getpeername"
    31 CGROUP_INET4_GETSOCKNAME "cgroup_inet4_getsockname"
    32 CGROUP_INET6_GETSOCKNAME "cgroup_inet6_getsockname"
    33 XDP_DEVMAP "xdp_devmap"
    34 CGROUP_INET_SOCK_RELEASE "cgroup_inet_sock_release"
    35 XDP_CPUMAP "xdp_cpumap"
    36 SK_LOOKUP "sk_lookup"
    37 XDP "xdp"
    38 SK_SKB_VERDICT "sk_skb_verdict"
    39 SK_REUSEPORT_SELECT "sk_reuseport_select"
    40 SK_REUSEPORT_SELECT_OR_MIGRATE "sk_reuseport_select_or_migrate"
    41 PERF_EVENT "perf_event"
    42 TRACE_KPROBE_MULTI "trace_kprobe_multi"
    43 LSM_CGROUP "lsm_cgroup"
    44 STRUCT_OPS "struct_ops"
    45 NETFILTER "netfilter"
    46 TCX_INGRESS "tcx_ingress"
    47 TCX_EGRESS "tcx_egress"
    48 TRACE_UPROBE_MULTI "trace_uprobe_multi"
    49 CGROUP_UNIX_CONNECT "cgroup_unix_connect"
    50 CGROUP_UNIX_SENDMSG "cgroup_unix_sendmsg"
    51 CGROUP_UNIX_RECVMSG "cgroup_unix_recvmsg"
    52 CGROUP_UNIX_GETPEERNAME "cgroup_unix_getpeername"
    53 CGROUP_UNIX_GETSOCKNAME "cgroup_unix_getsockname"
    54 NETKIT_PRIMARY "netkit_primary"
    55 NETKIT_PEER "netkit_peer"
    56 TRACE_KPROBE_SESSION "trace_kprobe_session"
    57 TRACE_UPROBE_SESSION "trace_uprobe_session"
}

macro_rules! flags {
    ($(#[$doc:meta])* $type:ident; $($(#[$fdoc:meta])* $ident:ident = $value:expr;)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
        pub struct $type(pub u32);

        impl $type {
            /// No flag.
            pub const NONE: $type = $type(0);
            $($(#[$fdoc])* pub const $ident: $type = $type($value);)*

            /// Whether every flag of `other` is set.
            pub fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }
        }

        impl std::ops::BitOr for $type {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                $type(self.0 | other.0)
            }
        }
    };
}

flags! {
    /// Flags of map creation (`BPF_F_*`).
    MapFlags;
    /// Hash elements are allocated when they are inserted.
    NO_PREALLOC = 1 << 0;
    /// LRU lists per CPU instead of one for all.
    NO_COMMON_LRU = 1 << 1;
    /// Memory from the NUMA node given.
    NUMA_NODE = 1 << 2;
    /// User space cannot write through bpf(2).
    RDONLY = 1 << 3;
    /// User space cannot read through bpf(2).
    WRONLY = 1 << 4;
    /// Stack maps store build id and offset instead of addresses.
    STACK_BUILD_ID = 1 << 5;
    /// The seed of the hash is zero.
    ZERO_SEED = 1 << 6;
    /// Programs cannot write.
    RDONLY_PROG = 1 << 7;
    /// Programs cannot read.
    WRONLY_PROG = 1 << 8;
    /// Socket storage is copied to accepted sockets.
    CLONE = 1 << 9;
    /// User space may map the values of an array into memory.
    MMAPABLE = 1 << 10;
    /// Perf event arrays keep their events when the fd that set them is closed.
    PRESERVE_ELEMS = 1 << 11;
    /// Inner maps may have other max_entries than the template.
    INNER_MAP = 1 << 12;
    /// A link rather than a registered map carries the struct_ops.
    LINK = 1 << 13;
    /// `MapCreate::token` is set; added by the call itself.
    TOKEN_FD = 1 << 16;
    /// A fault in an arena ends in SIGSEGV instead of a fresh page.
    SEGV_ON_FAULT = 1 << 17;
    /// The arena gets no user mapping area.
    NO_USER_CONV = 1 << 18;
}

flags! {
    /// Flags of program load (`BPF_F_*`).
    ProgFlags;
    /// Loads and stores must be aligned.
    STRICT_ALIGNMENT = 1 << 0;
    /// Unaligned access is not checked even where the machine lacks it.
    ANY_ALIGNMENT = 1 << 1;
    /// Tests of the verifier: sub-register zero extension is randomised.
    TEST_RND_HI32 = 1 << 2;
    /// Tests of the verifier: state pruning is done at every instruction.
    TEST_STATE_FREQ = 1 << 3;
    /// The program may sleep.
    SLEEPABLE = 1 << 4;
    /// XDP: the program handles packets in several buffers.
    XDP_HAS_FRAGS = 1 << 5;
    /// XDP: the program belongs to the device given and sees its metadata.
    XDP_DEV_BOUND_ONLY = 1 << 6;
    /// Tests of the verifier: a violated register invariant refuses the program.
    TEST_REG_INVARIANTS = 1 << 7;
    /// `ProgLoad::token` is set; added by the call itself.
    TOKEN_FD = 1 << 16;
}

flags! {
    /// Flags of map updates and lookups.
    ElemFlags;
    /// Only create (`BPF_NOEXIST`).
    NOEXIST = 1;
    /// Only replace (`BPF_EXIST`).
    EXIST = 2;
    /// Under the `bpf_spin_lock` of the value (`BPF_F_LOCK`).
    LOCK = 4;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_names_come_back() {
        for (i, kind) in AttachType::ALL.iter().enumerate() {
            assert_eq!(kind.0 as usize, i);
            assert_eq!(kind.name().and_then(AttachType::from_name), Some(*kind));
        }
        for (i, kind) in MapType::ALL.iter().enumerate() {
            assert_eq!(kind.0 as usize, i);
        }
        for (i, kind) in ProgType::ALL.iter().enumerate() {
            assert_eq!(kind.0 as usize, i);
        }
        assert_eq!(LinkType(99).to_string(), "link_type_99");
    }
}
