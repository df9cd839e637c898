//! The little netlink that is needed: interfaces, XDP and tc filters where links are not to be had.
//!
//! Whatever is changed here is named exactly: programs are only added where none is, and replaced or removed only
//! if they are the ones that the caller says.

mod interface;
mod message;
mod socket;
mod tc;
mod xdp;

pub use interface::{Interface, XdpState, driver};
pub use message::{Attribute, Message, attributes, messages};
pub use socket::Netlink;
pub use tc::{Direction, TcFilter};
pub use xdp::XdpMode;
