//! Links: attachments that live as long as their fd or pin.

use super::attr::{LinkCreateAttr, LinkUpdateAttr, RawTracepointAttr, Tail, WordsAttr};
use super::info::ObjectKind;
use super::info_link::LinkInfo;
use super::kinds::AttachType;
use super::sys::{Cmd, bpf, bpf_fd, input, len32};
use crate::error::{Errno, Result, SysError};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// An open link. Closing the last fd of a link that is not pinned detaches it.
#[derive(Debug)]
pub struct Link {
    fd: OwnedFd,
}

/// What a program is linked to, with what that kind of link takes.
#[derive(Debug, Clone, Copy)]
pub enum LinkTarget<'a> {
    /// A perf event (tracepoint, kprobe, uprobe, sampling), with a cookie for the program.
    PerfEvent {
        /// The event.
        event: BorrowedFd<'a>,
        /// What `bpf_get_attach_cookie` yields.
        cookie: u64,
    },
    /// What the program was loaded for (fentry, fexit, fmod_ret, LSM, tp_btf), with a cookie.
    Tracing {
        /// What `bpf_get_attach_cookie` yields.
        cookie: u64,
    },
    /// A function of another program, replaced or traced.
    ProgFunction {
        /// The other program.
        target: BorrowedFd<'a>,
        /// The function in its BTF; 0 for the one given at load.
        btf_id: u32,
        /// What `bpf_get_attach_cookie` yields.
        cookie: u64,
    },
    /// An iterator.
    Iter(IterTarget<'a>),
    /// XDP on a device.
    Xdp {
        /// The device.
        ifindex: u32,
        /// `XDP_FLAGS_*_MODE`; 0 lets the kernel choose.
        flags: u32,
    },
    /// tcx or netkit on a device.
    Net {
        /// The device.
        ifindex: u32,
        /// Place among the other programs.
        position: Position<'a>,
        /// Revision of the list that the position was chosen for; 0 for any.
        expected_revision: u64,
    },
    /// A hook of a cgroup.
    Cgroup {
        /// Directory of the cgroup.
        cgroup: BorrowedFd<'a>,
        /// Place among the other programs (other than the end: since 6.17).
        position: Position<'a>,
        /// Revision of the list that the position was chosen for; 0 for any.
        expected_revision: u64,
    },
    /// A hook of a network namespace (flow dissector, sk_lookup).
    Netns {
        /// The namespace.
        netns: BorrowedFd<'a>,
    },
    /// A hook of netfilter.
    Netfilter {
        /// `NFPROTO_IPV4` or `NFPROTO_IPV6`.
        pf: u32,
        /// `NF_INET_*`.
        hooknum: u32,
        /// Order among the other hooks; no two may have the same.
        priority: i32,
        /// `BPF_F_NETFILTER_IP_DEFRAG` or 0.
        flags: u32,
    },
    /// Many kernel functions at once, by name or by address.
    KprobeMulti {
        /// Names; empty if `addrs` is given.
        symbols: &'a [&'a CStr],
        /// Addresses; empty if `symbols` is given.
        addrs: &'a [u64],
        /// One for each function, or none.
        cookies: &'a [u64],
        /// Run at return instead of entry.
        on_return: bool,
    },
    /// Many locations of a file at once.
    UprobeMulti {
        /// The file.
        path: &'a CStr,
        /// Offsets in it.
        offsets: &'a [u64],
        /// Offsets of the semaphores to raise, one for each location (0 for none), or none.
        ref_ctr_offsets: &'a [u64],
        /// One for each location, or none.
        cookies: &'a [u64],
        /// Only this process; 0 for all.
        pid: u32,
        /// Run at return instead of entry.
        on_return: bool,
    },
    /// A socket map.
    Sockmap {
        /// The map.
        map: BorrowedFd<'a>,
    },
}

/// What an iterator goes through.
#[derive(Debug, Clone, Copy, Default)]
pub enum IterTarget<'a> {
    /// Everything of its kind.
    #[default]
    All,
    /// The elements of a map.
    Map(BorrowedFd<'a>),
    /// A cgroup and, by `order` (`BPF_CGROUP_ITER_*`), its relatives.
    Cgroup {
        /// Directory of the cgroup.
        cgroup: BorrowedFd<'a>,
        /// 1 self, 2 descendants before, 3 descendants after, 4 ancestors.
        order: u32,
    },
    /// One thread.
    Thread(u32),
    /// The threads of one process.
    Process(u32),
}

/// Place of a program in a list of programs.
#[derive(Debug, Clone, Copy, Default)]
pub enum Position<'a> {
    /// After all others.
    #[default]
    Last,
    /// Before all others.
    First,
    /// Before this one.
    Before(Neighbour<'a>),
    /// After this one.
    After(Neighbour<'a>),
}

/// A program in a list, named by itself or by its link.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the variants say it")]
pub enum Neighbour<'a> {
    Prog(BorrowedFd<'a>),
    Link(BorrowedFd<'a>),
    ProgId(u32),
    LinkId(u32),
}

impl Position<'_> {
    /// `BPF_F_BEFORE`, `_AFTER`, `_ID` and `_LINK`, and what they refer to.
    pub(super) fn encode(self) -> (u32, u32) {
        const BEFORE: u32 = 1 << 3;
        const AFTER: u32 = 1 << 4;
        const ID: u32 = 1 << 5;
        const LINK: u32 = 1 << 13;
        let neighbour = |n: Neighbour<'_>| match n {
            Neighbour::Prog(fd) => (0, fd.as_raw_fd() as u32),
            Neighbour::Link(fd) => (LINK, fd.as_raw_fd() as u32),
            Neighbour::ProgId(id) => (ID, id),
            Neighbour::LinkId(id) => (ID | LINK, id),
        };
        match self {
            Position::Last => (0, 0),
            Position::First => (BEFORE, 0),
            Position::Before(n) => (BEFORE | neighbour(n).0, neighbour(n).1),
            Position::After(n) => (AFTER | neighbour(n).0, neighbour(n).1),
        }
    }
}

fn pair(low: u32, high: u32) -> [u8; 8] {
    let (a, b) = (low.to_ne_bytes(), high.to_ne_bytes());
    [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]]
}

impl Link {
    /// Links `prog`; offsets in the attribute are those of `link_create` in `union bpf_attr`.
    pub fn create(prog: BorrowedFd<'_>, attach_type: AttachType, target: &LinkTarget<'_>) -> Result<Link> {
        let cmd = Cmd::LINK_CREATE;
        let mut attr = LinkCreateAttr {
            prog_fd: prog.as_raw_fd() as u32,
            attach_type: attach_type.0,
            ..LinkCreateAttr::default()
        };
        // What the attribute points at lives until the call.
        let mut iter_info: Vec<u8> = Vec::new();
        let mut symbols: Vec<u64> = Vec::new();
        let tail: &mut Tail = &mut attr.tail;
        match *target {
            LinkTarget::PerfEvent { event, cookie } => {
                attr.target = event.as_raw_fd() as u32;
                tail.set_u64(16, cookie);
            }
            LinkTarget::Tracing { cookie } => {
                tail.set_u64(24, cookie);
            }
            LinkTarget::ProgFunction { target, btf_id, cookie } => {
                attr.target = target.as_raw_fd() as u32;
                tail.set_u32(16, btf_id).set_u64(24, cookie);
            }
            LinkTarget::Iter(iter) => {
                iter_info = iter.encode();
                if !iter_info.is_empty() {
                    tail.set_u64(16, input(&iter_info)).set_u32(24, iter_info.len() as u32);
                }
            }
            LinkTarget::Xdp { ifindex, flags } => {
                attr.target = ifindex;
                attr.flags = flags;
            }
            LinkTarget::Net { ifindex, position, expected_revision } => {
                attr.target = ifindex;
                let (flags, relative) = position.encode();
                attr.flags = flags;
                tail.set_u32(16, relative).set_u64(24, expected_revision);
            }
            LinkTarget::Cgroup { cgroup, position, expected_revision } => {
                attr.target = cgroup.as_raw_fd() as u32;
                let (flags, relative) = position.encode();
                attr.flags = flags;
                tail.set_u32(16, relative).set_u64(24, expected_revision);
            }
            LinkTarget::Netns { netns } => attr.target = netns.as_raw_fd() as u32,
            LinkTarget::Sockmap { map } => attr.target = map.as_raw_fd() as u32,
            LinkTarget::Netfilter { pf, hooknum, priority, flags } => {
                tail.set_u32(16, pf).set_u32(20, hooknum).set_u32(24, priority as u32).set_u32(28, flags);
            }
            LinkTarget::KprobeMulti { symbols: names, addrs, cookies, on_return } => {
                let count = names.len().max(addrs.len());
                same_length(cmd, count, &[names.len(), addrs.len(), cookies.len()])?;
                symbols.extend(names.iter().map(|name| input(name.to_bytes_with_nul())));
                tail.set_u32(16, u32::from(on_return))
                    .set_u32(20, len32(cmd, "targets", count)?)
                    .set_u64(24, input(&symbols))
                    .set_u64(32, input(addrs))
                    .set_u64(40, input(cookies));
            }
            LinkTarget::UprobeMulti { path, offsets, ref_ctr_offsets, cookies, pid, on_return } => {
                same_length(cmd, offsets.len(), &[ref_ctr_offsets.len(), cookies.len()])?;
                tail.set_u64(16, input(path.to_bytes_with_nul()))
                    .set_u64(24, input(offsets))
                    .set_u64(32, input(ref_ctr_offsets))
                    .set_u64(40, input(cookies))
                    .set_u32(48, len32(cmd, "targets", offsets.len())?)
                    .set_u32(52, u32::from(on_return))
                    .set_u32(56, pid);
            }
        }
        // SAFETY: the kernel only reads what the attribute points at: C strings, and vectors whose length
        // is the count given or which are null.
        let fd = unsafe { bpf_fd(cmd, &mut attr) }.map_err(|e| e.about(format!("{attach_type}")))?;
        // Held until here for the addresses in the attribute.
        drop((iter_info, symbols));
        Ok(Link { fd })
    }

    /// Attaches a raw tracepoint program to the tracepoint `name`. A cookie other than 0 is refused before 6.10.
    pub fn raw_tracepoint(prog: BorrowedFd<'_>, name: &str, cookie: u64) -> Result<Link> {
        let name = CString::new(name)
            .map_err(|_| Cmd::RAW_TRACEPOINT_OPEN.error(Errno::EINVAL).about("NUL in the name"))?;
        Self::raw_tracepoint_open(prog, Some(&name), cookie)
            .map_err(|e| e.about(format!("tracepoint {}", name.to_string_lossy())))
    }

    /// Attaches a tracing or LSM program to what it was loaded for by the older command, which knows no
    /// cookies: for kernels whose `BPF_LINK_CREATE` does not take these programs (before 5.19).
    pub fn tracing_legacy(prog: BorrowedFd<'_>) -> Result<Link> {
        Self::raw_tracepoint_open(prog, None, 0)
    }

    fn raw_tracepoint_open(prog: BorrowedFd<'_>, name: Option<&CStr>, cookie: u64) -> Result<Link> {
        let mut attr = RawTracepointAttr {
            name: name.map_or(0, |name| input(name.to_bytes_with_nul())),
            prog_fd: prog.as_raw_fd() as u32,
            pad: 0,
            cookie,
        };
        // SAFETY: `name` is a C string or null.
        let fd = unsafe { bpf_fd(Cmd::RAW_TRACEPOINT_OPEN, &mut attr) }?;
        Ok(Link { fd })
    }

    /// Registers a struct_ops map that was created with [`super::MapFlags::LINK`].
    pub fn struct_ops(map: BorrowedFd<'_>) -> Result<Link> {
        let mut attr = LinkCreateAttr {
            prog_fd: map.as_raw_fd() as u32,
            attach_type: AttachType::STRUCT_OPS.0,
            ..LinkCreateAttr::default()
        };
        // SAFETY: the attribute holds no addresses.
        let fd = unsafe { bpf_fd(Cmd::LINK_CREATE, &mut attr) }?;
        Ok(Link { fd })
    }

    /// Puts another program (struct_ops: map) in place of the one linked; with `old`, only if it is that one.
    pub fn update(&self, new: BorrowedFd<'_>, old: Option<BorrowedFd<'_>>) -> Result<()> {
        const F_REPLACE: u32 = 1 << 2;
        let mut attr = LinkUpdateAttr {
            link_fd: self.fd.as_raw_fd() as u32,
            new_fd: new.as_raw_fd() as u32,
            flags: if old.is_some() { F_REPLACE } else { 0 },
            old_fd: old.map_or(0, |fd| fd.as_raw_fd() as u32),
        };
        // SAFETY: the attribute holds no addresses.
        unsafe { bpf(Cmd::LINK_UPDATE, &mut attr) }.map(drop)
    }

    /// Detaches the program although the link stays open or pinned. Not every kind of link can
    /// (`EOPNOTSUPP`).
    pub fn detach(&self) -> Result<()> {
        let mut attr = WordsAttr { words: [self.fd.as_raw_fd() as u32, 0, 0, 0] };
        // SAFETY: the attribute holds no addresses.
        unsafe { bpf(Cmd::LINK_DETACH, &mut attr) }.map(drop)
    }

    /// Opens an iterator link for one pass; reading the fd to its end runs the iterator.
    pub fn iter_create(&self) -> Result<OwnedFd> {
        let mut attr = WordsAttr { words: [self.fd.as_raw_fd() as u32, 0, 0, 0] };
        // SAFETY: the attribute holds no addresses.
        unsafe { bpf_fd(Cmd::ITER_CREATE, &mut attr) }
    }

    /// Takes over an open link. Fails with `EINVAL` if it is none.
    pub fn from_fd(fd: OwnedFd) -> Result<Link> {
        ObjectKind::Link.expect(fd.as_fd())?;
        Ok(Link { fd })
    }

    /// What the kernel tells about the link.
    pub fn info(&self) -> Result<LinkInfo> {
        LinkInfo::of(self.as_fd())
    }
}

/// Refuses lists that are neither empty nor as long as `count`: the kernel would read past their end.
fn same_length(cmd: Cmd, count: usize, lengths: &[usize]) -> Result<()> {
    if lengths.iter().all(|len| *len == 0 || *len == count) {
        return Ok(());
    }
    Err(SysError::new(cmd.call(), Errno::EMSGSIZE)
        .about(format!("lists of {lengths:?} entries for {count} targets")))
}

impl IterTarget<'_> {
    /// `union bpf_iter_link_info`, as long as its used member.
    fn encode(self) -> Vec<u8> {
        match self {
            IterTarget::All => Vec::new(),
            IterTarget::Map(map) => map.as_raw_fd().to_ne_bytes().to_vec(),
            IterTarget::Cgroup { cgroup, order } => {
                let mut info = pair(order, cgroup.as_raw_fd() as u32).to_vec();
                info.extend([0; 8]);
                info
            }
            IterTarget::Thread(tid) => [pair(tid, 0), pair(0, 0)].concat(),
            IterTarget::Process(pid) => [pair(0, pid), pair(0, 0)].concat(),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Link> for OwnedFd {
    fn from(link: Link) -> OwnedFd {
        link.fd
    }
}
