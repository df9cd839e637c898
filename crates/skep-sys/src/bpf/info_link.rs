//! `BPF_OBJ_GET_INFO_BY_FD` for links.

use super::attr::{Tail, attrs};
use super::info::{ObjectKind, get_info};
use super::kinds::{AttachType, LinkType};
use super::sys::{output, text};
use crate::error::Result;
use std::os::fd::BorrowedFd;

attrs! {
    RawLinkInfo { link_type: u32, id: u32, prog_id: u32, pad: u32, tail: Tail, }
}

/// Room for a name or path that the kernel tells: PATH_MAX.
const NAME_MAX: usize = 4096;

/// `struct bpf_link_info`. Fields that the kernel does not know are zero or empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkInfo {
    /// Kind of link.
    pub link_type: LinkType,
    /// Id, unique while the link lives.
    pub id: u32,
    /// The program; 0 for struct_ops.
    pub prog_id: u32,
    /// What it is attached to.
    pub target: LinkTargetInfo,
}

/// What a link is attached to, by kind of link.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of struct bpf_link_info by their names")]
pub enum LinkTargetInfo {
    RawTracepoint {
        name: String,
        cookie: u64,
    },
    Tracing {
        attach_type: AttachType,
        target_obj_id: u32,
        target_btf_id: u32,
        cookie: u64,
    },
    Cgroup {
        cgroup_id: u64,
        attach_type: AttachType,
    },
    Iter {
        target: String,
        scope: IterScope,
    },
    Netns {
        netns_ino: u32,
        attach_type: AttachType,
    },
    Xdp {
        ifindex: u32,
    },
    StructOps {
        map_id: u32,
    },
    Netfilter {
        pf: u32,
        hooknum: u32,
        priority: i32,
        flags: u32,
    },
    KprobeMulti {
        addrs: Vec<u64>,
        cookies: Vec<u64>,
        flags: u32,
        missed: u64,
    },
    UprobeMulti(UprobeMultiInfo),
    Kprobe {
        function: String,
        offset: u32,
        addr: u64,
        missed: u64,
        cookie: u64,
        is_return: bool,
    },
    Uprobe {
        path: String,
        offset: u32,
        ref_ctr_offset: u64,
        cookie: u64,
        is_return: bool,
    },
    Tracepoint {
        name: String,
        cookie: u64,
    },
    PerfEvent {
        event_type: u32,
        config: u64,
        cookie: u64,
    },
    Tcx {
        ifindex: u32,
        attach_type: AttachType,
    },
    Netkit {
        ifindex: u32,
        attach_type: AttachType,
    },
    Sockmap {
        map_id: u32,
        attach_type: AttachType,
    },
    /// A kind that this table does not know, or of which this kernel tells nothing.
    Other,
}

/// What an iterator is restricted to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of struct bpf_link_info by their names")]
pub enum IterScope {
    All,
    Map { map_id: u32 },
    Cgroup { cgroup_id: u64, order: u32 },
    Task { tid: u32, pid: u32 },
}

/// Targets of a uprobe_multi link; the vectors have one entry per location, or none where hidden.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the fields are those of struct bpf_link_info by their names")]
pub struct UprobeMultiInfo {
    pub path: String,
    pub offsets: Vec<u64>,
    pub ref_ctr_offsets: Vec<u64>,
    pub cookies: Vec<u64>,
    pub flags: u32,
    pub pid: u32,
}

impl LinkInfo {
    /// Asks for the info of an open link.
    pub fn of(fd: BorrowedFd<'_>) -> Result<LinkInfo> {
        ObjectKind::Link.expect(fd)?;
        let mut raw = RawLinkInfo::default();
        // SAFETY: `raw` is `struct bpf_link_info` with all addresses null and all sizes 0.
        unsafe { get_info(fd, &mut raw) }?;
        let link_type = LinkType(raw.link_type);
        let target = LinkTargetInfo::of(fd, link_type, &raw.tail)?;
        Ok(LinkInfo { link_type, id: raw.id, prog_id: raw.prog_id, target })
    }
}

impl LinkTargetInfo {
    /// Offsets are those of `struct bpf_link_info`.
    fn of(fd: BorrowedFd<'_>, link_type: LinkType, t: &Tail) -> Result<Self> {
        let attach_type = |offset| AttachType(t.u32(offset));
        Ok(match link_type {
            LinkType::RAW_TRACEPOINT => {
                let (name, t) = named(fd, 16, 24)?;
                LinkTargetInfo::RawTracepoint { name, cookie: t.u64(32) }
            }
            LinkType::TRACING => LinkTargetInfo::Tracing {
                attach_type: attach_type(16),
                target_obj_id: t.u32(20),
                target_btf_id: t.u32(24),
                cookie: t.u64(32),
            },
            LinkType::CGROUP => LinkTargetInfo::Cgroup { cgroup_id: t.u64(16), attach_type: attach_type(24) },
            LinkType::ITER => {
                let (target, t) = named(fd, 16, 24)?;
                let scope = IterScope::of(&target, &t);
                LinkTargetInfo::Iter { target, scope }
            }
            LinkType::NETNS => LinkTargetInfo::Netns { netns_ino: t.u32(16), attach_type: attach_type(20) },
            LinkType::XDP => LinkTargetInfo::Xdp { ifindex: t.u32(16) },
            LinkType::STRUCT_OPS => LinkTargetInfo::StructOps { map_id: t.u32(16) },
            LinkType::NETFILTER => LinkTargetInfo::Netfilter {
                pf: t.u32(16),
                hooknum: t.u32(20),
                priority: t.u32(24) as i32,
                flags: t.u32(28),
            },
            LinkType::KPROBE_MULTI => kprobe_multi(fd, t.u32(24))?,
            LinkType::UPROBE_MULTI => LinkTargetInfo::UprobeMulti(uprobe_multi(fd, t.u32(52))?),
            LinkType::PERF_EVENT => perf_event(fd, t)?,
            LinkType::TCX => LinkTargetInfo::Tcx { ifindex: t.u32(16), attach_type: attach_type(20) },
            LinkType::NETKIT => LinkTargetInfo::Netkit { ifindex: t.u32(16), attach_type: attach_type(20) },
            LinkType::SOCKMAP => LinkTargetInfo::Sockmap { map_id: t.u32(16), attach_type: attach_type(20) },
            _ => LinkTargetInfo::Other,
        })
    }
}

impl IterScope {
    fn of(target: &str, t: &Tail) -> Self {
        match target {
            "bpf_map_elem" | "bpf_sk_storage_map" | "sockmap" => IterScope::Map { map_id: t.u32(28) },
            "cgroup" => IterScope::Cgroup { cgroup_id: t.u64(32), order: t.u32(40) },
            "task" | "task_file" | "task_vma" if t.u64(32) != 0 => {
                IterScope::Task { tid: t.u32(32), pid: t.u32(36) }
            }
            _ => IterScope::All,
        }
    }
}

/// Asks again with room for the name whose address and length fields are at these offsets.
fn named(fd: BorrowedFd<'_>, address: usize, length: usize) -> Result<(String, Tail)> {
    let mut name = vec![0u8; NAME_MAX];
    let mut raw = RawLinkInfo::default();
    raw.tail.set_u64(address, output(&mut name)).set_u32(length, NAME_MAX as u32);
    // SAFETY: `raw` is `struct bpf_link_info` of the kind for which the caller gives the offsets of a name;
    // `name` has the length told beside it, all other addresses are null.
    unsafe { get_info(fd, &mut raw) }?;
    Ok((text(&name), raw.tail))
}

/// `perf_event` links tell one of four things (`enum bpf_perf_event_type`), three of them with a name.
fn perf_event(fd: BorrowedFd<'_>, t: &Tail) -> Result<LinkTargetInfo> {
    Ok(match t.u32(16) {
        kind @ (1 | 2) => {
            let (path, t) = named(fd, 24, 32)?;
            LinkTargetInfo::Uprobe {
                path,
                offset: t.u32(36),
                cookie: t.u64(40),
                ref_ctr_offset: t.u64(48),
                is_return: kind == 2,
            }
        }
        kind @ (3 | 4) => {
            let (function, t) = named(fd, 24, 32)?;
            LinkTargetInfo::Kprobe {
                function,
                offset: t.u32(36),
                addr: t.u64(40),
                missed: t.u64(48),
                cookie: t.u64(56),
                is_return: kind == 4,
            }
        }
        5 => {
            let (name, t) = named(fd, 24, 32)?;
            LinkTargetInfo::Tracepoint { name, cookie: t.u64(40) }
        }
        6 => LinkTargetInfo::PerfEvent { config: t.u64(24), event_type: t.u32(32), cookie: t.u64(40) },
        _ => LinkTargetInfo::Other,
    })
}

fn kprobe_multi(fd: BorrowedFd<'_>, count: u32) -> Result<LinkTargetInfo> {
    let mut addrs = vec![0u64; count as usize];
    let mut cookies = vec![0u64; count as usize];
    let mut raw = RawLinkInfo::default();
    raw.tail.set_u64(16, output(&mut addrs)).set_u32(24, count).set_u64(40, output(&mut cookies));
    // SAFETY: `raw` is `struct bpf_link_info` of a kprobe_multi link; both vectors have `count` entries.
    unsafe { get_info(fd, &mut raw) }?;
    // Cookies came later (6.9): a kernel without them leaves the address that it was given.
    let (flags, missed) = (raw.tail.u32(28), raw.tail.u64(32));
    Ok(LinkTargetInfo::KprobeMulti { addrs, cookies, flags, missed })
}

fn uprobe_multi(fd: BorrowedFd<'_>, count: u32) -> Result<UprobeMultiInfo> {
    let n = count as usize;
    let mut path = vec![0u8; NAME_MAX];
    let (mut offsets, mut ref_ctr_offsets, mut cookies) = (vec![0u64; n], vec![0u64; n], vec![0u64; n]);
    let mut raw = RawLinkInfo::default();
    raw.tail
        .set_u64(16, output(&mut path))
        .set_u64(24, output(&mut offsets))
        .set_u64(32, output(&mut ref_ctr_offsets))
        .set_u64(40, output(&mut cookies))
        .set_u32(48, NAME_MAX as u32)
        .set_u32(52, count);
    // SAFETY: `raw` is `struct bpf_link_info` of a uprobe_multi link; `path` has `path_size` bytes and the
    // vectors `count` entries.
    unsafe { get_info(fd, &mut raw) }?;
    let (flags, pid) = (raw.tail.u32(56), raw.tail.u32(60));
    Ok(UprobeMultiInfo { path: text(&path), offsets, ref_ctr_offsets, cookies, flags, pid })
}
