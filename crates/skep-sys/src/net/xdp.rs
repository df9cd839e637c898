//! XDP programs by netlink: for kernels and drivers where links are not to be had.

use super::interface::{XdpState, ifinfo};
use super::message::Request;
use super::socket::Netlink;
use crate::error::{Errno, Result};
use std::os::fd::{AsRawFd, BorrowedFd};

const RTM_SETLINK: u16 = 19;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_FD: u16 = 1;
const IFLA_XDP_FLAGS: u16 = 3;
const IFLA_XDP_EXPECTED_FD: u16 = 8;
const UPDATE_IF_NOEXIST: u32 = 1 << 0;
const REPLACE: u32 = 1 << 4;

/// Where on its way a packet meets the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum XdpMode {
    /// In the network stack, on any driver; slower.
    Generic,
    /// In the driver.
    Native,
    /// In the device.
    Offloaded,
}

impl XdpMode {
    /// `XDP_FLAGS_*_MODE`, also for links ([`crate::bpf::LinkTarget::Xdp`]).
    pub fn flags(self) -> u32 {
        match self {
            XdpMode::Generic => 1 << 1,
            XdpMode::Native => 1 << 2,
            XdpMode::Offloaded => 1 << 3,
        }
    }

    /// The program in this mode; 0 for none.
    pub fn program(self, state: XdpState) -> u32 {
        match self {
            XdpMode::Generic => state.generic,
            XdpMode::Native => state.native,
            XdpMode::Offloaded => state.offloaded,
        }
    }
}

impl Netlink {
    /// Attaches a program where there is none in this mode. `EBUSY`: there is one; `EEXIST`: one in another
    /// mode; `EOPNOTSUPP`: the driver cannot. It stays until it is detached or the interface goes.
    pub fn xdp_attach(&mut self, index: u32, prog: BorrowedFd<'_>, mode: XdpMode) -> Result<()> {
        self.set_xdp(index, prog.as_raw_fd(), mode.flags() | UPDATE_IF_NOEXIST, None)
    }

    /// Puts `new` in place of `old`. `EEXIST`: another program than `old` is attached, or none.
    pub fn xdp_replace(
        &mut self,
        index: u32,
        new: BorrowedFd<'_>,
        old: BorrowedFd<'_>,
        mode: XdpMode,
    ) -> Result<()> {
        self.set_xdp(index, new.as_raw_fd(), mode.flags() | REPLACE, Some(old))
    }

    /// Detaches `old`. `EEXIST`: another program is attached, or none.
    pub fn xdp_detach(&mut self, index: u32, old: BorrowedFd<'_>, mode: XdpMode) -> Result<()> {
        self.set_xdp(index, -1, mode.flags() | REPLACE, Some(old))
    }

    /// The programs on an interface. `ENODEV`: there is no such interface.
    pub fn xdp_query(&mut self, index: u32) -> Result<XdpState> {
        Ok(self.interface(index)?.xdp)
    }

    fn set_xdp(&mut self, index: u32, fd: i32, flags: u32, expected: Option<BorrowedFd<'_>>) -> Result<()> {
        let mut request = Request::new(RTM_SETLINK, 0, &ifinfo(index));
        request.nested(IFLA_XDP, |request| {
            request.attribute(IFLA_XDP_FD, &fd.to_ne_bytes());
            request.u32(IFLA_XDP_FLAGS, flags);
            if let Some(expected) = expected {
                request.attribute(IFLA_XDP_EXPECTED_FD, &expected.as_raw_fd().to_ne_bytes());
            }
        });
        self.change("netlink(RTM_SETLINK)", request).map_err(|e| match e.errno {
            Errno::ENODEV if e.detail.is_empty() => e.about(format!("interface {index}")),
            _ => e,
        })
    }
}
