//! Network interfaces.

use super::message::{Message, Request, attributes, u32_at};
use super::socket::Netlink;
use crate::error::{Errno, Result, SysError, failed};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::os::fd::AsRawFd;

// include/uapi/linux/rtnetlink.h, if_link.h
pub(super) const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;
const IFLA_XDP_HW_PROG_ID: u16 = 7;
const IFINFO: usize = 16;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// Index, unique in its network namespace.
    pub index: u32,
    /// Name, at most 15 bytes.
    pub name: String,
    /// Hardware type, `ARPHRD_*`: 1 Ethernet, 772 loopback, 65534 none.
    pub hardware: u16,
    /// `IFF_*` flags.
    pub flags: u32,
    /// Largest packet, without the link header.
    pub mtu: u32,
    /// Kind of a virtual interface: `veth`, `bridge`, `vxlan`; empty for others.
    pub kind: String,
    /// Hardware address; empty if it has none.
    pub address: Vec<u8>,
    /// `IF_OPER_*` state: 6 up, 2 down, 0 unknown.
    pub operstate: u8,
    /// Index of the interface below (VLAN) or at the other end (veth); 0 for none.
    pub link: u32,
    /// Index of the bridge or bond that it belongs to; 0 for none.
    pub master: u32,
    /// Number of transmit queues.
    pub tx_queues: u32,
    /// Number of receive queues.
    pub rx_queues: u32,
    /// XDP programs.
    pub xdp: XdpState,
}

/// XDP programs on an interface, by mode; 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct XdpState {
    /// In the driver.
    pub native: u32,
    /// In the network stack, on any driver.
    pub generic: u32,
    /// In the device.
    pub offloaded: u32,
}

impl XdpState {
    /// Whether there is none in any mode.
    pub fn is_empty(self) -> bool {
        self == XdpState::default()
    }

    /// Reads the `IFLA_XDP` attribute. The id of one program without its mode's own field (before 4.20) goes
    /// to the mode that is told.
    fn parse(value: &[u8]) -> XdpState {
        let mut state = XdpState::default();
        let (mut mode, mut id) = (0, 0);
        for attribute in attributes(value) {
            match attribute.kind {
                IFLA_XDP_ATTACHED => mode = attribute.u8().unwrap_or(0),
                IFLA_XDP_PROG_ID => id = attribute.u32().unwrap_or(0),
                IFLA_XDP_DRV_PROG_ID => state.native = attribute.u32().unwrap_or(0),
                IFLA_XDP_SKB_PROG_ID => state.generic = attribute.u32().unwrap_or(0),
                IFLA_XDP_HW_PROG_ID => state.offloaded = attribute.u32().unwrap_or(0),
                _ => {}
            }
        }
        if state.is_empty() {
            match mode {
                1 => state.native = id,
                2 => state.generic = id,
                3 => state.offloaded = id,
                _ => {}
            }
        }
        state
    }
}

impl Interface {
    /// Administratively up (`IFF_UP`).
    pub fn is_up(&self) -> bool {
        self.flags & libc::IFF_UP as u32 != 0
    }

    /// The loopback interface.
    pub fn is_loopback(&self) -> bool {
        self.flags & libc::IFF_LOOPBACK as u32 != 0
    }

    /// Reads the payload of an `RTM_NEWLINK` message; `None` if it is too short for its fixed part.
    pub fn parse(payload: &[u8]) -> Option<Interface> {
        let hardware = payload.get(2..4)?.try_into().ok().map(u16::from_ne_bytes)?;
        let index = u32_at(payload, 4)?;
        let flags = u32_at(payload, 8)?;
        let mut interface = Interface { index, hardware, flags, ..Interface::default() };
        for attribute in attributes(payload.get(IFINFO..)?) {
            let number = || attribute.u32().unwrap_or(0);
            match attribute.kind {
                IFLA_IFNAME => interface.name = attribute.text(),
                IFLA_MTU => interface.mtu = number(),
                IFLA_ADDRESS => interface.address = attribute.value.to_vec(),
                IFLA_OPERSTATE => interface.operstate = attribute.u8().unwrap_or(0),
                IFLA_LINK => interface.link = number(),
                IFLA_MASTER => interface.master = number(),
                IFLA_NUM_TX_QUEUES => interface.tx_queues = number(),
                IFLA_NUM_RX_QUEUES => interface.rx_queues = number(),
                IFLA_LINKINFO => {
                    let kind = attribute.nested().find(|a| a.kind == IFLA_INFO_KIND);
                    interface.kind = kind.map(|a| a.text()).unwrap_or_default();
                }
                IFLA_XDP => interface.xdp = XdpState::parse(attribute.value),
                _ => {}
            }
        }
        Some(interface)
    }

    fn of(message: Message<'_>) -> Option<Interface> {
        if message.kind == RTM_NEWLINK { Interface::parse(message.payload) } else { None }
    }
}

/// `struct ifinfomsg` for an interface; 0 for any.
pub(super) fn ifinfo(index: u32) -> [u8; IFINFO] {
    let mut fixed = [0; IFINFO];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed
}

impl Netlink {
    /// All interfaces, by index.
    pub fn interfaces(&mut self) -> Result<Vec<Interface>> {
        let make = || Request::new(RTM_GETLINK, 0, &ifinfo(0));
        let mut all = self.dump("netlink(RTM_GETLINK)", make, Interface::of)?;
        all.sort_by_key(|interface| interface.index);
        Ok(all)
    }

    /// The interface with this index. `ENODEV`: there is none.
    pub fn interface(&mut self, index: u32) -> Result<Interface> {
        // Index 0 would be refused as a malformed request.
        if index == 0 {
            return Err(SysError::new("netlink(RTM_GETLINK)", Errno::ENODEV).about("interface 0"));
        }
        self.get_interface(Request::new(RTM_GETLINK, 0, &ifinfo(index)), &format!("interface {index}"))
    }

    /// The interface with this name. `ENODEV`: there is none.
    pub fn interface_by_name(&mut self, name: &str) -> Result<Interface> {
        if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains('\0') {
            let why = format!("no interface can be called {name:?}");
            return Err(SysError::new("netlink(RTM_GETLINK)", Errno::ENODEV).about(why));
        }
        let mut request = Request::new(RTM_GETLINK, 0, &ifinfo(0));
        request.text(IFLA_IFNAME, name);
        self.get_interface(request, name)
    }

    fn get_interface(&mut self, request: Request, what: &str) -> Result<Interface> {
        let mut found = None;
        self.get("netlink(RTM_GETLINK)", request, |message| found = Interface::of(message))
            .map_err(|e| if e.detail.is_empty() { e.about(what) } else { e })?;
        found.ok_or_else(|| SysError::new("netlink(RTM_GETLINK)", Errno::ENODEV).about(what))
    }
}

/// `struct ethtool_drvinfo` of include/uapi/linux/ethtool.h.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware: [u8; 32],
    bus: [u8; 32],
    rest: [u8; 64],
}

const ETHTOOL_GDRVINFO: u32 = 3;

/// The name of the driver behind an interface of the calling thread's network namespace. `EOPNOTSUPP`: it has
/// none to tell; `ENODEV`: no such interface.
pub fn driver(name: &str) -> Result<String> {
    let about = |e: SysError| e.about(format!("driver of {name}"));
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .map_err(failed("socket"))?;
    let mut info = DriverInfo {
        command: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        version: [0; 32],
        firmware: [0; 32],
        bus: [0; 32],
        rest: [0; 64],
    };
    let mut label = [0; libc::IFNAMSIZ];
    if name.len() >= label.len() {
        return Err(about(SysError::new("ioctl(SIOCETHTOOL)", Errno::ENODEV)));
    }
    for (to, byte) in label.iter_mut().zip(name.bytes()) {
        *to = byte as libc::c_char;
    }
    let ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_data: (&raw mut info).cast() };
    let mut request = libc::ifreq { ifr_name: label, ifr_ifru };
    // SAFETY: `struct ifreq` with a name that ends with NUL and the address of the struct that this command
    // fills.
    let ret = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as libc::Ioctl, &raw mut request) };
    if ret < 0 {
        return Err(about(SysError::last("ioctl(SIOCETHTOOL)")));
    }
    Ok(crate::bpf::text(&info.driver))
}
