//! Capabilities.

use super::process::ProcStatus;
use crate::error::Result;
use crate::fs::read_text;
use std::fmt;
use std::path::Path;

macro_rules! capabilities {
    ($($number:literal $ident:ident $name:literal)*) => {
        /// A capability of capabilities(7).
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct Capability(u8);

        impl Capability {
            $(
                #[doc = concat!("`", $name, "`")]
                pub const $ident: Capability = Capability($number);
            )*

            /// All that this table knows, in the order of their numbers.
            pub const ALL: &'static [Capability] = &[$(Capability($number)),*];

            /// The name: `CAP_BPF`.
            pub fn name(self) -> &'static str {
                match self.0 {
                    $($number => $name,)*
                    // No other number can be made.
                    _ => "CAP_?",
                }
            }
        }
    };
}

capabilities! {
    0 CHOWN "CAP_CHOWN"
    1 DAC_OVERRIDE "CAP_DAC_OVERRIDE"
    2 DAC_READ_SEARCH "CAP_DAC_READ_SEARCH"
    3 FOWNER "CAP_FOWNER"
    4 FSETID "CAP_FSETID"
    5 KILL "CAP_KILL"
    6 SETGID "CAP_SETGID"
    7 SETUID "CAP_SETUID"
    8 SETPCAP "CAP_SETPCAP"
    9 LINUX_IMMUTABLE "CAP_LINUX_IMMUTABLE"
    10 NET_BIND_SERVICE "CAP_NET_BIND_SERVICE"
    11 NET_BROADCAST "CAP_NET_BROADCAST"
    12 NET_ADMIN "CAP_NET_ADMIN"
    13 NET_RAW "CAP_NET_RAW"
    14 IPC_LOCK "CAP_IPC_LOCK"
    15 IPC_OWNER "CAP_IPC_OWNER"
    16 SYS_MODULE "CAP_SYS_MODULE"
    17 SYS_RAWIO "CAP_SYS_RAWIO"
    18 SYS_CHROOT "CAP_SYS_CHROOT"
    19 SYS_PTRACE "CAP_SYS_PTRACE"
    20 SYS_PACCT "CAP_SYS_PACCT"
    21 SYS_ADMIN "CAP_SYS_ADMIN"
    22 SYS_BOOT "CAP_SYS_BOOT"
    23 SYS_NICE "CAP_SYS_NICE"
    24 SYS_RESOURCE "CAP_SYS_RESOURCE"
    25 SYS_TIME "CAP_SYS_TIME"
    26 SYS_TTY_CONFIG "CAP_SYS_TTY_CONFIG"
    27 MKNOD "CAP_MKNOD"
    28 LEASE "CAP_LEASE"
    29 AUDIT_WRITE "CAP_AUDIT_WRITE"
    30 AUDIT_CONTROL "CAP_AUDIT_CONTROL"
    31 SETFCAP "CAP_SETFCAP"
    32 MAC_OVERRIDE "CAP_MAC_OVERRIDE"
    33 MAC_ADMIN "CAP_MAC_ADMIN"
    34 SYSLOG "CAP_SYSLOG"
    35 WAKE_ALARM "CAP_WAKE_ALARM"
    36 BLOCK_SUSPEND "CAP_BLOCK_SUSPEND"
    37 AUDIT_READ "CAP_AUDIT_READ"
    38 PERFMON "CAP_PERFMON"
    39 BPF "CAP_BPF"
    40 CHECKPOINT_RESTORE "CAP_CHECKPOINT_RESTORE"
}

impl Capability {
    /// The capability with this name, in any case and with or without `CAP_`.
    pub fn from_name(name: &str) -> Option<Capability> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        Capability::ALL.iter().copied().find(|c| c.name().strip_prefix("CAP_") == Some(bare))
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caps(pub u64);

impl Caps {
    /// The effective capabilities of this process.
    pub fn own() -> Result<Caps> {
        Ok(Caps(ProcStatus::parse(&read_text(Path::new("/proc/self/status"))?).cap_eff))
    }

    /// Whether the capability is in the set.
    pub fn has(self, capability: Capability) -> bool {
        self.0 >> capability.0 & 1 == 1
    }

    /// Whether a program may do what this capability is for. CAP_SYS_ADMIN stands in for those that were split
    /// from it (include/linux/capability.h, `bpf_capable`, `perfmon_capable`, `checkpoint_restore_ns_capable`).
    pub fn allows(self, capability: Capability) -> bool {
        let split = [Capability::BPF, Capability::PERFMON, Capability::CHECKPOINT_RESTORE];
        self.has(capability) || (split.contains(&capability) && self.has(Capability::SYS_ADMIN))
    }

    /// Those of `wanted` that the set does not allow, in their order.
    pub fn missing(self, wanted: &[Capability]) -> Vec<Capability> {
        wanted.iter().copied().filter(|c| !self.allows(*c)).collect()
    }
}
