//! Programs on the clsact qdisc: for kernels without tcx.

use super::message::{Message, Request, attributes, u32_at};
use super::socket::{F_CREATE, F_EXCL, Netlink};
use crate::error::{Errno, Result, SysError};
use std::os::fd::{AsRawFd, BorrowedFd};

// include/uapi/linux/rtnetlink.h, pkt_sched.h, pkt_cls.h
const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_TAG: u16 = 10;
const TCA_BPF_ID: u16 = 11;
const ACT_DIRECT: u32 = 1;
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const ETH_P_ALL: u16 = 3;
const TCMSG: usize = 20;

/// Direction of the packets that a filter sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Received.
    Ingress,
    /// To be sent.
    Egress,
}

impl Direction {
    fn parent(self) -> u32 {
        match self {
            Direction::Ingress => 0xffff_fff2,
            Direction::Egress => 0xffff_fff3,
        }
    }
}

/// A filter on the clsact qdisc.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TcFilter {
    /// Order among the filters; smaller runs first.
    pub priority: u16,
    /// Number among the filters of its priority.
    pub handle: u32,
    /// Protocol that it is for, `ETH_P_*`; 3 for all.
    pub protocol: u16,
    /// Classifier: `bpf` and others.
    pub kind: String,
    /// Name given when it was attached (bpf).
    pub name: String,
    /// The program (bpf); 0 for none.
    pub prog_id: u32,
    /// Hash of the program's instructions (bpf).
    pub tag: Option<[u8; 8]>,
    /// Whether the program's result is the verdict (bpf).
    pub direct_action: bool,
}

impl TcFilter {
    /// Reads the payload of an `RTM_NEWTFILTER` message; `None` if it is too short for its fixed part, or
    /// stands for a priority rather than a filter.
    pub fn parse(payload: &[u8]) -> Option<TcFilter> {
        let handle = u32_at(payload, 8)?;
        let info = u32_at(payload, 16)?;
        let mut filter = TcFilter {
            priority: (info >> 16) as u16,
            handle,
            protocol: u16::from_be(info as u16),
            ..TcFilter::default()
        };
        for attribute in attributes(payload.get(TCMSG..)?) {
            match attribute.kind {
                TCA_KIND => filter.kind = attribute.text(),
                TCA_OPTIONS => {
                    for option in attribute.nested() {
                        match option.kind {
                            TCA_BPF_NAME => filter.name = option.text(),
                            TCA_BPF_ID => filter.prog_id = option.u32().unwrap_or(0),
                            TCA_BPF_TAG => filter.tag = option.value.try_into().ok(),
                            TCA_BPF_FLAGS => {
                                filter.direct_action = option.u32().unwrap_or(0) & ACT_DIRECT != 0;
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        (handle != 0).then_some(filter)
    }

    fn of(message: Message<'_>) -> Option<TcFilter> {
        if message.kind == RTM_NEWTFILTER { TcFilter::parse(message.payload) } else { None }
    }
}

/// `struct tcmsg`.
fn tcmsg(ifindex: u32, handle: u32, parent: u32, info: u32) -> [u8; TCMSG] {
    let mut fixed = [0; TCMSG];
    for (at, word) in [(4, ifindex), (8, handle), (12, parent), (16, info)] {
        fixed[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }
    fixed
}

fn filter_info(priority: u16) -> u32 {
    u32::from(priority) << 16 | u32::from(ETH_P_ALL.to_be())
}

impl Netlink {
    /// Adds the clsact qdisc to an interface; `false` if it was there.
    pub fn clsact_add(&mut self, ifindex: u32) -> Result<bool> {
        let fixed = tcmsg(ifindex, CLSACT_HANDLE, CLSACT, 0);
        let mut request = Request::new(RTM_NEWQDISC, F_CREATE | F_EXCL, &fixed);
        request.text(TCA_KIND, "clsact");
        match self.change("netlink(RTM_NEWQDISC)", request) {
            Ok(()) => Ok(true),
            // EEXIST also if the older ingress qdisc has the place, which has no egress filters.
            Err(e) if e.errno == Errno::EEXIST && self.has_clsact(ifindex)? => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Whether an interface has the clsact qdisc.
    pub fn has_clsact(&mut self, ifindex: u32) -> Result<bool> {
        let kinds = self.dump(
            "netlink(RTM_GETQDISC)",
            || Request::new(RTM_GETQDISC, 0, &tcmsg(ifindex, 0, 0, 0)),
            |message| {
                let same = u32_at(message.payload, 4)? == ifindex;
                let mut all = attributes(message.payload.get(TCMSG..)?);
                let kind = all.find(|a| a.kind == TCA_KIND)?;
                same.then(|| kind.text())
            },
        )?;
        Ok(kinds.iter().any(|kind| kind == "clsact"))
    }

    /// Removes the clsact qdisc unless it has filters; `false` if it has. For who added it: there is no telling
    /// a filter that another adds between the look and the removal.
    pub fn clsact_remove_unused(&mut self, ifindex: u32) -> Result<bool> {
        for direction in [Direction::Ingress, Direction::Egress] {
            if !self.tc_filters(ifindex, direction)?.is_empty() {
                return Ok(false);
            }
        }
        let mut request = Request::new(RTM_DELQDISC, 0, &tcmsg(ifindex, CLSACT_HANDLE, CLSACT, 0));
        request.text(TCA_KIND, "clsact");
        self.change("netlink(RTM_DELQDISC)", request)?;
        Ok(true)
    }

    /// Attaches a program, the result of which is the verdict, as a filter of this priority and handle (both
    /// not 0) for all protocols. `EEXIST`: there is a filter; `EINVAL`: the priority belongs to filters of
    /// another kind; never is one replaced.
    pub fn tc_attach(
        &mut self,
        ifindex: u32,
        direction: Direction,
        prog: BorrowedFd<'_>,
        name: &str,
        priority: u16,
        handle: u32,
    ) -> Result<()> {
        if priority == 0 || handle == 0 {
            return Err(SysError::new("netlink(RTM_NEWTFILTER)", Errno::EINVAL)
                .about("a filter needs its own priority and handle"));
        }
        let fixed = tcmsg(ifindex, handle, direction.parent(), filter_info(priority));
        let mut request = Request::new(RTM_NEWTFILTER, F_CREATE | F_EXCL, &fixed);
        request.text(TCA_KIND, "bpf");
        let name = name.replace('\0', "_").chars().take(64).collect::<String>();
        request.nested(TCA_OPTIONS, |request| {
            request.attribute(TCA_BPF_FD, &prog.as_raw_fd().to_ne_bytes());
            request.text(TCA_BPF_NAME, &name);
            request.u32(TCA_BPF_FLAGS, ACT_DIRECT);
        });
        self.change("netlink(RTM_NEWTFILTER)", request)
    }

    /// Removes the filter of this priority and handle if it is this program. `ENOENT`: there is no such filter,
    /// or it is another program.
    pub fn tc_detach(
        &mut self,
        ifindex: u32,
        direction: Direction,
        prog_id: u32,
        priority: u16,
        handle: u32,
    ) -> Result<()> {
        let filters = self.tc_filters(ifindex, direction)?;
        let ours = |f: &TcFilter| {
            (f.priority, f.handle, f.prog_id, f.kind.as_str()) == (priority, handle, prog_id, "bpf")
        };
        if priority == 0 || handle == 0 || !filters.iter().any(ours) {
            return Err(SysError::new("netlink(RTM_DELTFILTER)", Errno::ENOENT).about(format!(
                "no filter of program {prog_id} at priority {priority}, handle {handle:#x}"
            )));
        }
        let fixed = tcmsg(ifindex, handle, direction.parent(), filter_info(priority));
        let mut request = Request::new(RTM_DELTFILTER, 0, &fixed);
        request.text(TCA_KIND, "bpf");
        self.change("netlink(RTM_DELTFILTER)", request)
    }

    /// The filters of an interface in one direction, in the order in which they run. Empty without clsact.
    pub fn tc_filters(&mut self, ifindex: u32, direction: Direction) -> Result<Vec<TcFilter>> {
        // Without this check an interface that is gone would have no filters.
        self.interface(ifindex)?;
        if !self.has_clsact(ifindex)? {
            return Ok(Vec::new());
        }
        let fixed = tcmsg(ifindex, 0, direction.parent(), 0);
        let make = || Request::new(RTM_GETTFILTER, 0, &fixed);
        self.dump("netlink(RTM_GETTFILTER)", make, TcFilter::of)
    }
}
