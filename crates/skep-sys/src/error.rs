//! The one error of this crate: which call failed, with which errno, and what was asked.

use std::fmt;

/// Result of everything in this crate that asks the kernel.
pub type Result<T, E = SysError> = std::result::Result<T, E>;

/// A Linux error number. Prints as name and text: `EPERM (Operation not permitted)`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($name:ident)*) => {
        impl Errno {
            $(
                #[doc = concat!("`", stringify!($name), "` of errno(3).")]
                pub const $name: Errno = Errno(libc::$name);
            )*

            /// The symbolic name, where it is one that this crate knows.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $(libc::$name => Some(stringify!($name)),)*
                    524 => Some("ENOTSUPP"),
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT EBUSY EEXIST
    EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE
    EDOM ERANGE EDEADLK ENAMETOOLONG ENOSYS ENOTEMPTY ELOOP ENODATA EPROTO EBADMSG EOVERFLOW EILSEQ
    EMSGSIZE EPROTONOSUPPORT EOPNOTSUPP EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH
    ENOBUFS EISCONN ENOTCONN ETIMEDOUT ECONNREFUSED EALREADY EINPROGRESS ESTALE EDQUOT ECANCELED ENOKEY
    EKEYREJECTED EUCLEAN
}

impl Errno {
    /// The kernel-internal "not supported" that leaks out of bpf(2); it has no libc name
    /// (include/linux/errno.h).
    pub const ENOTSUPP: Errno = Errno(524);

    /// The errno of the calling thread's last failed libc call.
    pub(crate) fn last() -> Errno {
        Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Errno::ENOTSUPP {
            return f.write_str("ENOTSUPP (not supported by the running kernel)");
        }
        // The standard library appends "(os error N)", which the name says better.
        let text = std::io::Error::from_raw_os_error(self.0).to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        match self.name() {
            Some(name) => write!(f, "{name} ({text})"),
            None => write!(f, "errno {} ({text})", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl From<rustix::io::Errno> for Errno {
    fn from(e: rustix::io::Errno) -> Self {
        Errno(e.raw_os_error())
    }
}

/// A call that the kernel refused, or that this crate refused before it reached the kernel (sizes that do
/// not fit the object: `EMSGSIZE`, with the sizes in `detail`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SysError {
    /// The call as a manual page names it: `bpf(BPF_MAP_CREATE)`, `openat`.
    pub call: &'static str,
    /// Why.
    pub errno: Errno,
    /// What it was about: a path, an object name, the kernel's own message. May be empty.
    pub detail: String,
}

impl fmt::Display for SysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.errno)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

impl SysError {
    /// A failure of `call` with `errno` and nothing more to say.
    pub fn new(call: &'static str, errno: impl Into<Errno>) -> Self {
        SysError { call, errno: errno.into(), detail: String::new() }
    }

    /// The failure of the libc call that the calling thread made last.
    pub(crate) fn last(call: &'static str) -> Self {
        Self::new(call, Errno::last())
    }

    /// From an error of the standard library's own system calls.
    pub(crate) fn io(call: &'static str, e: &std::io::Error) -> Self {
        match e.raw_os_error() {
            Some(errno) => Self::new(call, Errno(errno)),
            None => Self::new(call, Errno::EIO).about(e.to_string()),
        }
    }

    /// The same failure, saying what it was about.
    #[must_use]
    pub fn about(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The kernel does not know what was asked for, or not in this combination. `EINVAL` and `E2BIG` are
    /// how bpf(2) says so for commands, flags and attribute fields newer than the kernel.
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self.errno,
            Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOTSUPP | Errno::E2BIG | Errno::ENOSYS
        )
    }

    /// A capability, a security module, lockdown or a file mode forbids it.
    pub fn is_permission(&self) -> bool {
        matches!(self.errno, Errno::EPERM | Errno::EACCES)
    }

    /// The object asked for is not there (any more).
    pub fn is_not_found(&self) -> bool {
        matches!(self.errno, Errno::ENOENT | Errno::ESRCH | Errno::ENODEV)
    }
}

/// Names the call of a failed rustix function: `.map_err(failed("openat"))`.
pub(crate) fn failed(call: &'static str) -> impl FnOnce(rustix::io::Errno) -> SysError {
    move |e| SysError::new(call, e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_call_cause_and_object() {
        let e = SysError::new("bpf(BPF_PROG_LOAD)", Errno::ENOTSUPP).about("program probe");
        assert_eq!(
            e.to_string(),
            "bpf(BPF_PROG_LOAD): ENOTSUPP (not supported by the running kernel): program probe"
        );
        assert!(e.is_unsupported());
        assert!(!e.is_permission());
        let e = SysError::new("openat", Errno::EACCES);
        assert_eq!(e.to_string(), "openat: EACCES (Permission denied)");
        assert!(e.is_permission());
    }

    #[test]
    fn unnamed_errno_keeps_its_number() {
        assert!(Errno(4000).to_string().starts_with("errno 4000"));
    }
}
