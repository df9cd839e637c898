//! Interfaces, XDP and tc, on a veth pair in a network namespace of the test's own.

use crate::harness::{Needs, Outcome, Stop, Test, ensure, ensure_eq, unless_unsupported};
use crate::insn::*;
use crate::progs::load;
use skep_sys::bpf::{
    self, AttachMode, AttachType, Hook, Link, LinkTarget, LinkTargetInfo, Neighbour, Position, Prog, ProgType,
};
use skep_sys::net::{self, Direction, Netlink, XdpMode, XdpState};
use skep_sys::proc::Namespace;
use skep_sys::process::in_namespace_at;
use skep_sys::{Errno, SysError};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

pub(crate) const TESTS: &[Test] = &[
    ("net_interfaces_tell_what_they_are", Needs::Root, || in_netns(interfaces)),
    ("net_missing_interface_is_named", Needs::Nothing, missing),
    ("xdp_by_netlink_replaces_only_what_is_expected", Needs::Root, || in_netns(xdp)),
    ("xdp_link_holds_the_interface", Needs::Root, || in_netns(xdp_link)),
    ("tc_filters_never_replace_one_another", Needs::Root, || in_netns(tc)),
    ("tcx_links_stand_where_they_are_put", Needs::Root, || in_netns(tcx)),
];

/// A network namespace with a veth pair `skep0`, `skep1`; removed when it is dropped.
struct Netns(String);

impl Netns {
    fn new() -> Result<Netns, Stop> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("skep-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        ip(&["netns", "add", &name])?;
        // From here on the namespace is removed whatever happens.
        let netns = Netns(name);
        let pair = ["link", "add", "skep0", "mtu", "1400", "type", "veth", "peer", "name", "skep1"];
        ip(&[&["-n", &netns.0][..], &pair[..]].concat())?;
        ip(&["-n", &netns.0, "link", "set", "skep0", "up"])?;
        Ok(netns)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // The test has its outcome already; a namespace that stays is seen in `ip netns`.
        let _ = ip(&["netns", "del", &self.0]);
    }
}

fn ip(args: &[&str]) -> Outcome {
    match Command::new("ip").args(args).output() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(Stop::Skip("the program ip is missing".into()))
        }
        Err(e) => Err(e.into()),
        Ok(out) if out.status.success() => Ok(()),
        Ok(out) => Err(Stop::Fail(format!("ip {args:?}: {}", String::from_utf8_lossy(&out.stderr)))),
    }
}

pub(crate) fn in_netns(test: impl FnOnce() -> Outcome + Send) -> Outcome {
    let netns = Netns::new()?;
    let path = Path::new("/run/netns").join(&netns.0);
    in_namespace_at(Namespace::Net, &path, test)?
}

fn interfaces() -> Outcome {
    let mut netlink = Netlink::open()?;
    let all = netlink.interfaces()?;
    ensure_eq!(all.iter().map(|i| i.name.as_str()).collect::<Vec<_>>(), ["lo", "skep1", "skep0"]);
    let (lo, veth, peer) = (&all[0], &all[2], &all[1]);
    ensure!(lo.is_loopback() && lo.index == 1 && !veth.is_loopback(), "{lo:?}");
    ensure_eq!((veth.kind.as_str(), veth.mtu, veth.address.len(), veth.hardware), ("veth", 1400, 6, 1));
    ensure!(veth.is_up() && !peer.is_up(), "{veth:?} {peer:?}");
    ensure_eq!((veth.link, peer.link), (peer.index, veth.index));
    ensure!(veth.rx_queues > 0 && veth.tx_queues > 0, "{veth:?}");
    ensure!(veth.xdp.is_empty(), "{veth:?}");
    ensure_eq!(netlink.interface(veth.index)?, *veth);
    ensure_eq!(netlink.interface_by_name("skep0")?, *veth);
    ensure_eq!(net::driver("skep0")?, "veth");
    Ok(())
}

fn missing() -> Outcome {
    let mut netlink = Netlink::open()?;
    for (result, name) in [
        (netlink.interface_by_name("skep-none"), "skep-none"),
        (netlink.interface_by_name("a_name_that_is_too_long"), "a_name_that_is_too_long"),
        (netlink.interface(0x7fff_fff0), "interface 2147483632"),
        (netlink.interface(0), "interface 0"),
    ] {
        let e = result.expect_err("no such interface");
        ensure!(e.errno == Errno::ENODEV && e.to_string().contains(name), "{e}");
    }
    ensure!(net::driver("skep-none").expect_err("none").is_not_found(), "driver of nothing");
    Ok(())
}

fn pass() -> Result<(Prog, u32), Stop> {
    let prog = load(ProgType::XDP, &[mov_imm(R0, 2), exit()])?;
    let id = prog.info()?.id;
    Ok((prog, id))
}

fn errno<T: std::fmt::Debug>(result: Result<T, SysError>) -> Result<Errno, Stop> {
    match result {
        Ok(value) => Err(Stop::Fail(format!("succeeded: {value:?}"))),
        Err(e) => Ok(e.errno),
    }
}

fn xdp() -> Outcome {
    let mut netlink = Netlink::open()?;
    let index = netlink.interface_by_name("skep0")?.index;
    let ((a, a_id), (b, b_id)) = (pass()?, pass()?);
    let mode = XdpMode::Generic;
    netlink.xdp_attach(index, a.as_fd(), mode)?;
    ensure_eq!(netlink.xdp_query(index)?, XdpState { generic: a_id, ..XdpState::default() });
    ensure_eq!(mode.program(netlink.xdp_query(index)?), a_id);
    // Taken: by itself, by another, by another mode.
    let busy = netlink.xdp_attach(index, b.as_fd(), mode).expect_err("taken");
    ensure!(busy.errno == Errno::EBUSY && !busy.detail.is_empty(), "{busy}");
    let other = netlink.xdp_attach(index, b.as_fd(), XdpMode::Native).expect_err("another mode");
    ensure!(other.errno == Errno::EEXIST && other.detail.contains("at the same time"), "{other}");
    // Only what is expected is replaced or removed.
    ensure_eq!(errno(netlink.xdp_replace(index, b.as_fd(), b.as_fd(), mode))?, Errno::EEXIST);
    ensure_eq!(errno(netlink.xdp_detach(index, b.as_fd(), mode))?, Errno::EEXIST);
    ensure_eq!(netlink.xdp_query(index)?.generic, a_id);
    netlink.xdp_replace(index, b.as_fd(), a.as_fd(), mode)?;
    ensure_eq!(netlink.xdp_query(index)?.generic, b_id);
    netlink.xdp_detach(index, b.as_fd(), mode)?;
    ensure!(netlink.xdp_query(index)?.is_empty(), "still attached");
    ensure_eq!(errno(netlink.xdp_detach(index, b.as_fd(), mode))?, Errno::EEXIST);
    netlink.xdp_attach(index, a.as_fd(), XdpMode::Native)?;
    ensure_eq!(netlink.xdp_query(index)?, XdpState { native: a_id, ..XdpState::default() });
    ensure_eq!(errno(netlink.xdp_attach(0x7fff_fff0, a.as_fd(), mode))?, Errno::ENODEV);
    Ok(())
}

fn xdp_link() -> Outcome {
    let mut netlink = Netlink::open()?;
    let index = netlink.interface_by_name("skep0")?.index;
    let ((a, a_id), (b, b_id)) = (pass()?, pass()?);
    let target = LinkTarget::Xdp { ifindex: index, flags: XdpMode::Generic.flags() };
    let link = Link::create(a.as_fd(), AttachType::XDP, &target)?;
    ensure_eq!(link.info()?.target, LinkTargetInfo::Xdp { ifindex: index });
    ensure_eq!(netlink.xdp_query(index)?.generic, a_id);
    ensure_eq!(errno(netlink.xdp_attach(index, b.as_fd(), XdpMode::Generic))?, Errno::EBUSY);
    link.update(b.as_fd(), Some(a.as_fd()))?;
    ensure_eq!((link.info()?.prog_id, netlink.xdp_query(index)?.generic), (b_id, b_id));
    ensure_eq!(errno(link.update(a.as_fd(), Some(a.as_fd())))?, Errno::EPERM);
    link.detach()?;
    ensure!(netlink.xdp_query(index)?.is_empty(), "detached, but there");
    ensure_eq!(link.info()?.target, LinkTargetInfo::Xdp { ifindex: 0 });
    Ok(())
}

fn tc() -> Outcome {
    let mut netlink = Netlink::open()?;
    let index = netlink.interface_by_name("skep0")?.index;
    let prog = |verdict| -> Result<(Prog, u32), Stop> {
        let prog = load(ProgType::SCHED_CLS, &[mov_imm(R0, verdict), exit()])?;
        let id = prog.info()?.id;
        Ok((prog, id))
    };
    let ((a, a_id), (b, b_id)) = (prog(-1)?, prog(0)?);
    let (ingress, egress) = (Direction::Ingress, Direction::Egress);
    ensure!(netlink.tc_filters(index, ingress)?.is_empty(), "no qdisc, no filters");
    ensure!(netlink.clsact_add(index)?, "added");
    ensure!(!netlink.clsact_add(index)?, "was there");
    netlink.tc_attach(index, ingress, a.as_fd(), "skep_a", 10, 0x5ce9)?;
    netlink.tc_attach(index, ingress, b.as_fd(), "skep_b", 5, 1)?;
    ensure_eq!(errno(netlink.tc_attach(index, ingress, b.as_fd(), "skep_b", 10, 0x5ce9))?, Errno::EEXIST);
    ensure_eq!(errno(netlink.tc_attach(index, ingress, b.as_fd(), "skep_b", 0, 1))?, Errno::EINVAL);
    let filters = netlink.tc_filters(index, ingress)?;
    let seen: Vec<_> =
        filters.iter().map(|f| (f.priority, f.handle, f.prog_id, f.name.as_str(), f.direct_action)).collect();
    ensure_eq!(seen, [(5, 1, b_id, "skep_b", true), (10, 0x5ce9, a_id, "skep_a", true)]);
    ensure_eq!(
        (filters[0].kind.as_str(), filters[0].protocol, filters[0].tag),
        ("bpf", 3, Some(b.info()?.tag))
    );
    ensure!(netlink.tc_filters(index, egress)?.is_empty(), "the other direction");
    // Of another program, another handle, the other direction: not ours to remove.
    for (direction, id, priority, handle) in [
        (ingress, b_id, 10, 0x5ce9),
        (ingress, a_id, 10, 1),
        (ingress, a_id, 5, 1),
        (egress, a_id, 10, 0x5ce9),
    ] {
        ensure_eq!(errno(netlink.tc_detach(index, direction, id, priority, handle))?, Errno::ENOENT);
    }
    ensure!(!netlink.clsact_remove_unused(index)?, "has filters");
    netlink.tc_detach(index, ingress, a_id, 10, 0x5ce9)?;
    ensure_eq!(netlink.tc_filters(index, ingress)?.len(), 1);
    netlink.tc_detach(index, ingress, b_id, 5, 1)?;
    ensure!(netlink.clsact_remove_unused(index)?, "empty now");
    ensure!(!netlink.has_clsact(index)?, "removed, but there");
    ensure_eq!(errno(netlink.tc_filters(0x7fff_fff0, ingress))?, Errno::ENODEV);
    Ok(())
}

fn tcx() -> Outcome {
    let index = Netlink::open()?.interface_by_name("skep0")?.index;
    let prog = || load(ProgType::SCHED_CLS, &[mov_imm(R0, -1), exit()]);
    let (first, second, third) = (prog()?, prog()?, prog()?);
    let hook = Hook::Ifindex(index);
    let attach_type = AttachType::TCX_INGRESS;
    let link = |prog: &Prog, position| {
        let target = LinkTarget::Net { ifindex: index, position, expected_revision: 0 };
        Link::create(prog.as_fd(), attach_type, &target)
    };
    let last = unless_unsupported("tcx", link(&third, Position::Last))?;
    let begin = link(&first, Position::First)?;
    bpf::prog_attach(
        second.as_fd(),
        hook,
        attach_type,
        AttachMode::At {
            position: Position::After(Neighbour::Link(begin.as_fd())),
            expected_revision: 0,
            cgroup: false,
        },
    )?;
    let query = bpf::prog_query(hook, attach_type, false)?;
    let ids = |progs: &[&Prog]| progs.iter().map(|p| p.info().map(|i| i.id)).collect::<Result<Vec<_>, _>>();
    let seen: Vec<_> = query.progs.iter().map(|p| p.prog_id).collect();
    ensure_eq!(seen, ids(&[&first, &second, &third])?);
    let links: Vec<_> = query.progs.iter().map(|p| p.link_id).collect();
    ensure_eq!(links, [begin.info()?.id, 0, last.info()?.id]);
    ensure_eq!(last.info()?.target, LinkTargetInfo::Tcx { ifindex: index, attach_type });
    // A list that has changed since it was looked at.
    let stale =
        LinkTarget::Net { ifindex: index, position: Position::Last, expected_revision: query.revision - 1 };
    let fourth = prog()?;
    ensure_eq!(errno(Link::create(fourth.as_fd(), attach_type, &stale))?, Errno::ESTALE);
    bpf::prog_detach(second.as_fd(), hook, attach_type)?;
    drop((begin, last));
    ensure!(bpf::prog_query(hook, attach_type, false)?.progs.is_empty(), "links are closed");
    Ok(())
}
