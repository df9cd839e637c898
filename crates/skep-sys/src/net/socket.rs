//! A routing netlink socket.

use super::message::{Message, Request, attributes, messages, u32_at};
use crate::error::{Errno, Result, SysError, failed};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::os::fd::{AsRawFd, OwnedFd};

// include/uapi/linux/netlink.h
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
pub(super) const F_REQUEST: u16 = 1;
const F_ACK: u16 = 4;
pub(super) const F_DUMP: u16 = 0x300;
pub(super) const F_EXCL: u16 = 0x200;
pub(super) const F_CREATE: u16 = 0x400;
/// In an answer: the list changed while it was being read.
const F_DUMP_INTR: u16 = 0x10;
/// In an error: the request is not repeated in it, its attributes follow the header.
const F_CAPPED: u16 = 0x100;
/// In an error: it has attributes.
const F_ACK_TLVS: u16 = 0x200;
const ERR_ATTR_MSG: u16 = 1;

const NETLINK_CAP_ACK: i32 = 10;
const NETLINK_EXT_ACK: i32 = 11;
const NETLINK_GET_STRICT_CHK: i32 = 12;

/// Dumps that changed while being read are repeated so often.
const DUMP_TRIES: u32 = 10;

/// A connection to the network configuration of the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    seq: u32,
}

impl Netlink {
    /// Opens the connection. Reading needs no privilege, changing CAP_NET_ADMIN.
    pub fn open() -> Result<Netlink> {
        let flags = SocketFlags::CLOEXEC;
        // No protocol is NETLINK_ROUTE, which is 0.
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)
            .map_err(failed("socket(AF_NETLINK)"))?;
        // Connected to the kernel, the socket takes messages from nobody else
        // (net/netlink/af_netlink.c, `netlink_getsockbyportid`).
        rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0))
            .map_err(failed("connect(AF_NETLINK)"))?;
        for option in [NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK] {
            // Refused by older kernels: errors are then without text, lists longer than asked for.
            let _ = enable(&socket, option);
        }
        Ok(Netlink { socket, seq: 0 })
    }

    /// Sends a request that changes something and waits for its answer.
    pub(super) fn change(&mut self, call: &'static str, request: Request) -> Result<()> {
        let request = request.with_flags(F_REQUEST | F_ACK);
        self.exchange(call, request, |_| {}).map(drop)
    }

    /// Sends a request for one thing and hands its answer over.
    pub(super) fn get(
        &mut self,
        call: &'static str,
        request: Request,
        on_message: impl FnMut(Message<'_>),
    ) -> Result<()> {
        let request = request.with_flags(F_REQUEST | F_ACK);
        self.exchange(call, request, on_message).map(drop)
    }

    /// Sends a request for a list and hands its items over. `make` is called again if the list changed while
    /// it was read; `items` is cleared before.
    pub(super) fn dump<T>(
        &mut self,
        call: &'static str,
        make: impl Fn() -> Request,
        item: impl Fn(Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>> {
        for _ in 0..DUMP_TRIES {
            let mut items = Vec::new();
            let request = make().with_flags(F_REQUEST | F_DUMP);
            if self.exchange(call, request, |message| items.extend(item(message)))? {
                return Ok(items);
            }
        }
        Err(SysError::new(call, Errno::EAGAIN).about("the list kept changing while it was read"))
    }

    /// Sends a request and reads until its answer ends; `false` if the list changed meanwhile.
    fn exchange(
        &mut self,
        call: &'static str,
        request: Request,
        mut on_message: impl FnMut(Message<'_>),
    ) -> Result<bool> {
        self.seq = self.seq.wrapping_add(1).max(1);
        let seq = self.seq;
        self.send(&request.finish(seq))?;
        let mut buffer = vec![0; 64 << 10];
        let mut consistent = true;
        loop {
            let len = self.receive(&mut buffer)?;
            for message in messages(&buffer[..len]) {
                // An answer to a request that was given up before.
                if message.seq != seq {
                    continue;
                }
                consistent &= message.flags & F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_DONE => {
                        // A dump that failed ends with the negative errno.
                        let code = u32_at(message.payload, 0).unwrap_or(0) as i32;
                        return if code < 0 { Err(error(call, code, &message, 4)) } else { Ok(consistent) };
                    }
                    NLMSG_ERROR => {
                        let code = u32_at(message.payload, 0).ok_or_else(|| short(call))? as i32;
                        return if code == 0 { Ok(consistent) } else { Err(refusal(call, code, &message)) };
                    }
                    _ => on_message(message),
                }
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        loop {
            return match rustix::net::send(&self.socket, bytes, SendFlags::empty()) {
                Ok(_) => Ok(()),
                Err(rustix::io::Errno::INTR) => continue,
                Err(e) => Err(failed("send(AF_NETLINK)")(e)),
            };
        }
    }

    /// One datagram; the kernel's are at most 32 KiB.
    fn receive(&self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            return match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::TRUNC) {
                Ok((_, len)) if len <= buffer.len() && len > 0 => Ok(len),
                Ok((_, len)) => {
                    Err(SysError::new("recv(AF_NETLINK)", Errno::EMSGSIZE).about(format!("{len} bytes")))
                }
                Err(rustix::io::Errno::INTR) => continue,
                Err(e) => Err(failed("recv(AF_NETLINK)")(e)),
            };
        }
    }
}

fn short(call: &'static str) -> SysError {
    SysError::new(call, Errno::EBADMSG).about("the kernel's answer is cut short")
}

/// `struct nlmsgerr`: the errno, the header of the request, the rest of the request unless capped, attributes.
fn refusal(call: &'static str, code: i32, message: &Message<'_>) -> SysError {
    let request = u32_at(message.payload, 4).unwrap_or(16) as usize;
    let skipped = if message.flags & F_CAPPED != 0 { 16 } else { request.next_multiple_of(4) };
    error(call, code, message, 4usize.saturating_add(skipped))
}

/// The error with the kernel's own words, which are in the attributes from this offset on.
fn error(call: &'static str, code: i32, message: &Message<'_>, attributes_at: usize) -> SysError {
    let e = SysError::new(call, Errno(code.checked_neg().unwrap_or(0)));
    if message.flags & F_ACK_TLVS == 0 {
        return e;
    }
    let rest = message.payload.get(attributes_at..).unwrap_or(&[]);
    match attributes(rest).find(|a| a.kind == ERR_ATTR_MSG) {
        Some(text) => e.about(text.text()),
        None => e,
    }
}

fn enable(socket: &OwnedFd, option: i32) -> Result<()> {
    let on = 1i32;
    let size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel reads an int.
    let ret = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_NETLINK, option, (&raw const on).cast(), size)
    };
    if ret == 0 { Ok(()) } else { Err(SysError::last("setsockopt(SOL_NETLINK)")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer to a refused request, with or without the request in it.
    fn answer(flags: u16, request: &[u8]) -> SysError {
        let mut payload = (-16i32).to_ne_bytes().to_vec();
        let mut header = vec![0; 16];
        header[..4].copy_from_slice(&(16 + request.len() as u32).to_ne_bytes());
        payload.extend(header);
        if flags & F_CAPPED == 0 {
            payload.extend_from_slice(request);
        }
        payload.extend([10u8, 0, 1, 0]);
        payload.extend(b"busy!\0");
        refusal("call", -16, &Message { kind: NLMSG_ERROR, flags, seq: 1, payload: &payload })
    }

    #[test]
    fn the_kernels_own_words_are_found() {
        for (flags, request) in [(F_CAPPED | F_ACK_TLVS, &[7u8; 40][..]), (F_ACK_TLVS, &[7; 40])] {
            let e = answer(flags, request);
            assert_eq!((e.errno, e.detail.as_str()), (Errno::EBUSY, "busy!"));
        }
        assert_eq!(answer(F_CAPPED, &[]).detail, "");
        let broken = Message { kind: NLMSG_ERROR, flags: F_ACK_TLVS, seq: 1, payload: &[0xff; 8] };
        assert_eq!(refusal("call", i32::MIN, &broken).errno, Errno(0));
    }
}
