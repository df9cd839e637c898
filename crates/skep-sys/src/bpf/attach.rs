//! Attachments without links: `BPF_PROG_ATTACH`, `BPF_PROG_DETACH`, and the query that sees both kinds.

use super::attr::{AttachAttr, QueryAttr};
use super::kinds::AttachType;
use super::link::Position;
use super::sys::{Cmd, bpf, output};
use crate::error::{Errno, Result};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Where programs are attached.
#[derive(Debug, Clone, Copy)]
pub enum Hook<'a> {
    /// A cgroup, a network namespace, a socket map or an infrared device, by its fd.
    Fd(BorrowedFd<'a>),
    /// A device (tcx, netkit), by its index.
    Ifindex(u32),
}

impl Hook<'_> {
    fn raw(self) -> u32 {
        match self {
            Hook::Fd(fd) => fd.as_raw_fd() as u32,
            Hook::Ifindex(ifindex) => ifindex,
        }
    }
}

/// How a program joins those that are attached already.
#[derive(Debug, Clone, Copy, Default)]
pub enum AttachMode<'a> {
    /// Alone; replaces a program that was attached alone (`flags` 0).
    #[default]
    Alone,
    /// Alone, but cgroups below may attach their own instead (`BPF_F_ALLOW_OVERRIDE`).
    Override,
    /// Beside others (`BPF_F_ALLOW_MULTI`), at the end.
    Multi,
    /// Beside others, in place of this one (`BPF_F_REPLACE`).
    MultiReplace(BorrowedFd<'a>),
    /// Beside others, at this place (tcx, netkit; cgroups since 6.17 with `cgroup` set).
    At {
        /// The place.
        position: Position<'a>,
        /// Revision of the list that the place was chosen for; 0 for any.
        expected_revision: u64,
        /// Adds `BPF_F_ALLOW_MULTI`, which cgroup lists want.
        cgroup: bool,
    },
}

/// Attaches a program to a hook. It stays when the fd is closed, until it is detached or the hook goes.
pub fn prog_attach(
    prog: BorrowedFd<'_>,
    hook: Hook<'_>,
    attach_type: AttachType,
    mode: AttachMode<'_>,
) -> Result<()> {
    const ALLOW_OVERRIDE: u32 = 1 << 0;
    const ALLOW_MULTI: u32 = 1 << 1;
    const REPLACE: u32 = 1 << 2;
    let mut attr = AttachAttr {
        target: hook.raw(),
        attach_bpf_fd: prog.as_raw_fd() as u32,
        attach_type: attach_type.0,
        ..AttachAttr::default()
    };
    match mode {
        AttachMode::Alone => {}
        AttachMode::Override => attr.attach_flags = ALLOW_OVERRIDE,
        AttachMode::Multi => attr.attach_flags = ALLOW_MULTI,
        AttachMode::MultiReplace(old) => {
            attr.attach_flags = ALLOW_MULTI | REPLACE;
            attr.replace_bpf_fd = old.as_raw_fd() as u32;
        }
        AttachMode::At { position, expected_revision, cgroup } => {
            let (flags, relative) = position.encode();
            attr.attach_flags = flags | if cgroup { ALLOW_MULTI } else { 0 };
            attr.relative = relative;
            attr.expected_revision = expected_revision;
        }
    }
    // SAFETY: the attribute holds no addresses.
    unsafe { bpf(Cmd::PROG_ATTACH, &mut attr) }.map(drop).map_err(|e| e.about(attach_type.to_string()))
}

/// Detaches this program. Mind that a cgroup hook without `BPF_F_ALLOW_MULTI` gives up whatever is attached to
/// it, whichever program is named (kernel/bpf/cgroup.c, `find_detach_entry`): query it first.
pub fn prog_detach(prog: BorrowedFd<'_>, hook: Hook<'_>, attach_type: AttachType) -> Result<()> {
    let mut attr = AttachAttr {
        target: hook.raw(),
        attach_bpf_fd: prog.as_raw_fd() as u32,
        attach_type: attach_type.0,
        ..AttachAttr::default()
    };
    // SAFETY: the attribute holds no addresses.
    unsafe { bpf(Cmd::PROG_DETACH, &mut attr) }.map(drop).map_err(|e| e.about(attach_type.to_string()))
}

/// One program at a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
    /// The program.
    pub prog_id: u32,
    /// Its link; 0 if it was attached without one or the kernel does not tell.
    pub link_id: u32,
    /// `BPF_F_*` flags of its attachment, where the kernel tells.
    pub flags: u32,
}

/// The programs at a hook, in the order in which they run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// The programs.
    pub progs: Vec<Attached>,
    /// `BPF_F_*` flags of the hook itself.
    pub attach_flags: u32,
    /// Revision of the list; 0 where lists have none.
    pub revision: u64,
}

/// Programs per hook beyond which something is wrong: cgroups allow 64, tcx and netkit 63.
const QUERY_MAX: usize = 4096;

/// Asks which programs are attached to a hook; with `effective` also those inherited from cgroups above.
pub fn prog_query(hook: Hook<'_>, attach_type: AttachType, effective: bool) -> Result<Query> {
    let cmd = Cmd::PROG_QUERY;
    let mut room = 64;
    // Inherited cgroup programs come without flags, and lists of links exist for tcx and netkit alone; each
    // kind refuses the fields that it does not have.
    let with_links = matches!(
        attach_type,
        AttachType::TCX_INGRESS
            | AttachType::TCX_EGRESS
            | AttachType::NETKIT_PRIMARY
            | AttachType::NETKIT_PEER
    );
    loop {
        let mut prog_ids = vec![0u32; room];
        let mut link_ids = vec![0u32; room];
        let mut link_flags = vec![0u32; room];
        let mut prog_flags = vec![0u32; room];
        let mut attr = QueryAttr {
            target: hook.raw(),
            attach_type: attach_type.0,
            query_flags: u32::from(effective),
            prog_ids: output(&mut prog_ids),
            count: room as u32,
            ..QueryAttr::default()
        };
        if with_links {
            attr.prog_attach_flags = output(&mut prog_flags);
            attr.link_ids = output(&mut link_ids);
            attr.link_attach_flags = output(&mut link_flags);
        }
        // SAFETY: each vector has `count` entries or is null.
        match unsafe { bpf(cmd, &mut attr) } {
            Ok(_) => {
                let count = (attr.count as usize).min(room);
                let progs = (0..count)
                    .map(|i| Attached {
                        prog_id: prog_ids[i],
                        link_id: link_ids[i],
                        flags: prog_flags[i] | link_flags[i],
                    })
                    .collect();
                return Ok(Query { progs, attach_flags: attr.attach_flags, revision: attr.revision });
            }
            Err(e) if e.errno == Errno::ENOSPC && room < QUERY_MAX => room *= 4,
            Err(e) => return Err(e.about(attach_type.to_string())),
        }
    }
}
