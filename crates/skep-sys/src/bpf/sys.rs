//! The one door to bpf(2).

use super::attr::Attr;
use crate::error::{Errno, Result, SysError};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

macro_rules! commands {
    ($($ident:ident = $number:literal,)*) => {
        /// `enum bpf_cmd`.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[allow(non_camel_case_types, reason = "the names of the UAPI, which also stand in error messages")]
        #[repr(i32)]
        pub(crate) enum Cmd { $($ident = $number,)* }

        impl Cmd {
            pub(crate) fn call(self) -> &'static str {
                match self { $(Cmd::$ident => concat!("bpf(BPF_", stringify!($ident), ")"),)* }
            }
        }
    };
}

commands! {
    MAP_CREATE = 0, MAP_LOOKUP_ELEM = 1, MAP_UPDATE_ELEM = 2, MAP_DELETE_ELEM = 3, MAP_GET_NEXT_KEY = 4,
    PROG_LOAD = 5, OBJ_PIN = 6, OBJ_GET = 7, PROG_ATTACH = 8, PROG_DETACH = 9, PROG_TEST_RUN = 10,
    PROG_GET_NEXT_ID = 11, MAP_GET_NEXT_ID = 12, PROG_GET_FD_BY_ID = 13, MAP_GET_FD_BY_ID = 14,
    OBJ_GET_INFO_BY_FD = 15, PROG_QUERY = 16, RAW_TRACEPOINT_OPEN = 17, BTF_LOAD = 18, BTF_GET_FD_BY_ID = 19,
    TASK_FD_QUERY = 20, MAP_LOOKUP_AND_DELETE_ELEM = 21, MAP_FREEZE = 22, BTF_GET_NEXT_ID = 23,
    MAP_LOOKUP_BATCH = 24, MAP_LOOKUP_AND_DELETE_BATCH = 25, MAP_UPDATE_BATCH = 26, MAP_DELETE_BATCH = 27,
    LINK_CREATE = 28, LINK_UPDATE = 29, LINK_GET_FD_BY_ID = 30, LINK_GET_NEXT_ID = 31, ENABLE_STATS = 32,
    ITER_CREATE = 33, LINK_DETACH = 34, PROG_BIND_MAP = 35, TOKEN_CREATE = 36, PROG_STREAM_READ_BY_FD = 37,
}

impl Cmd {
    pub(crate) fn error(self, errno: Errno) -> SysError {
        SysError::new(self.call(), errno)
    }
}

/// How often a load is repeated that a pending signal ended with EAGAIN (kernel/bpf/verifier.c, `do_check`).
const LOAD_RETRIES: u32 = 8;

/// Runs one command.
///
/// # Safety
/// Every address in `attr` is null or points at live memory of at least the size that the kernel reads
/// there or, where it writes, of exclusively borrowed memory of at least the size that it writes.
pub(crate) unsafe fn bpf<T: Attr>(cmd: Cmd, attr: &mut T) -> Result<i32> {
    let mut retries = 0;
    loop {
        let size = size_of::<T>();
        // SAFETY: `attr` is `size` initialised bytes that the kernel may read and write (trait Attr); the
        // addresses inside are the caller's promise.
        let ret =
            unsafe { libc::syscall(libc::SYS_bpf, cmd as libc::c_long, std::ptr::from_mut(attr), size) };
        if ret >= 0 {
            return Ok(ret as i32);
        }
        match Errno::last() {
            // A test run that was interrupted has run: repeating it would run it twice.
            Errno::EINTR if cmd != Cmd::PROG_TEST_RUN => {}
            Errno::EAGAIN if cmd == Cmd::PROG_LOAD && retries < LOAD_RETRIES => retries += 1,
            errno => return Err(cmd.error(errno)),
        }
    }
}

/// Runs one command that answers with a new file descriptor. bpf(2) makes all of them close-on-exec.
///
/// # Safety
/// As for [`bpf`], and `cmd` is one that returns an fd.
pub(crate) unsafe fn bpf_fd<T: Attr>(cmd: Cmd, attr: &mut T) -> Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let fd: RawFd = unsafe { bpf(cmd, attr) }?;
    // SAFETY: the kernel has just opened this descriptor for us, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Address of bytes the kernel reads; null for none, since the kernel treats any other address as given.
pub(crate) fn input<T>(slice: &[T]) -> u64 {
    if slice.is_empty() { 0 } else { slice.as_ptr().expose_provenance() as u64 }
}

/// Address of memory the kernel writes; null for none.
pub(crate) fn output<T>(slice: &mut [T]) -> u64 {
    if slice.is_empty() { 0 } else { slice.as_mut_ptr().expose_provenance() as u64 }
}

/// Length as the kernel's u32.
pub(crate) fn len32(cmd: Cmd, what: &str, len: usize) -> Result<u32> {
    u32::try_from(len)
        .map_err(|_| cmd.error(Errno::EMSGSIZE).about(format!("{what} of {len} bytes exceeds 32 bits")))
}

/// An object name as the kernel keeps it: 15 bytes and a NUL, letters, digits, `_` and `.`; other bytes
/// become `_` (kernel/bpf/syscall.c, `bpf_obj_name_cpy`).
pub(crate) fn object_name(name: &str) -> [u8; 16] {
    let mut out = [0; 16];
    for (to, byte) in out[..15].iter_mut().zip(name.bytes()) {
        *to = if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.' { byte } else { b'_' };
    }
    out
}

/// Text up to the first NUL, as the kernel fills fixed name fields.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_and_cleaned() {
        assert_eq!(&object_name("skep_ledger"), b"skep_ledger\0\0\0\0\0");
        assert_eq!(&object_name("a-b c.d_0123456789"), b"a_b_c.d_0123456\0");
        assert_eq!(text(b"ab\0cd"), "ab");
        assert_eq!(text(b"abcd"), "abcd");
    }
}
