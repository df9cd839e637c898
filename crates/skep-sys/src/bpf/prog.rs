//! Programs: loading, with the verifier's log.

use super::attr::ProgLoadAttr;
use super::info_prog::{ProgCode, ProgInfo};
use super::kinds::{AttachType, ProgFlags, ProgType};
use super::log::{LoadError, Log, LogBuffer, log_level, with_log};
use super::sys::{Cmd, bpf, bpf_fd, input, len32, object_name, output};
use crate::error::{Errno, Result, SysError};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What a program is attached to when that is decided at load time.
#[derive(Debug, Clone, Copy, Default)]
pub enum LoadTarget<'a> {
    /// Nothing, or a function or type of the kernel (`attach_btf_id` in vmlinux).
    #[default]
    Kernel,
    /// A function of another program (`attach_btf_id` in its BTF).
    Prog(BorrowedFd<'a>),
    /// A function or type of a module (`attach_btf_id` in its BTF).
    BtfObj(BorrowedFd<'a>),
}

/// What `BPF_PROG_LOAD` is asked for. Zero, empty and `None` are the kernel's defaults.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProgLoad<'a> {
    /// Kind of program.
    pub prog_type: ProgType,
    /// Instructions, 8 bytes each.
    pub insns: &'a [u8],
    /// Licence; GPL-compatible ones may call every helper.
    pub license: &'a str,
    /// Name for listings: cut to 15 bytes, characters outside `[A-Za-z0-9_.]` become `_`.
    pub name: &'a str,
    /// Attachment that it will be used for.
    pub expected_attach_type: AttachType,
    /// Type or function attached to, in the BTF that `target` says.
    pub attach_btf_id: u32,
    /// What it is attached to.
    pub target: LoadTarget<'a>,
    /// BTF that describes the program.
    pub prog_btf: Option<BorrowedFd<'a>>,
    /// `struct bpf_func_info` records of `func_info_rec_size` bytes.
    pub func_info: &'a [u8],
    /// Size of one of them; 8 in all kernels so far.
    pub func_info_rec_size: u32,
    /// `struct bpf_line_info` records of `line_info_rec_size` bytes.
    pub line_info: &'a [u8],
    /// Size of one of them; 16 in all kernels so far.
    pub line_info_rec_size: u32,
    /// Maps and BTF objects that instructions name by index.
    pub fd_array: &'a [BorrowedFd<'a>],
    /// Flags; that of `token` is added.
    pub flags: ProgFlags,
    /// `LINUX_VERSION_CODE`, wanted for kprobes before 5.0.
    pub kern_version: u32,
    /// Device that the program is offloaded or bound to.
    pub ifindex: u32,
    /// BPF token that grants the load.
    pub token: Option<BorrowedFd<'a>>,
}

/// A loaded program.
#[derive(Debug)]
pub struct Prog {
    fd: OwnedFd,
}

impl Prog {
    /// Loads a program; if the kernel refuses it, loads it again to get the log.
    pub fn load(load: &ProgLoad<'_>) -> Result<Prog, LoadError> {
        match Self::load_plain(load) {
            Ok(prog) => Ok(prog),
            // EAGAIN and EINTR are no verdicts, and a log would not explain them or a missing resource.
            Err(error) if matches!(error.errno, Errno::EINTR | Errno::EAGAIN | Errno::EMFILE) => {
                Err(LoadError { error, log: Log::default() })
            }
            Err(error) => match Self::load_logged(load, log_level::BRANCHES) {
                // It can pass the second time, if memory was short.
                Ok((prog, _)) => Ok(prog),
                Err(e) if e.log.text.is_empty() => Err(LoadError { error, log: e.log }),
                Err(e) => Err(e),
            },
        }
    }

    /// Loads a program once and without a log: for those who want to know no more than the errno.
    pub fn load_plain(load: &ProgLoad<'_>) -> Result<Prog> {
        Self::load_once(load, 0, &mut LogBuffer::none())
    }

    /// Loads a program with a log of this level (see [`log_level`]), which is returned in either case.
    pub fn load_logged(load: &ProgLoad<'_>, level: u32) -> Result<(Prog, Log), LoadError> {
        with_log(|level, buffer| Self::load_once(load, level, buffer), level)
    }

    fn load_once(load: &ProgLoad<'_>, level: u32, log: &mut LogBuffer) -> Result<Prog> {
        let cmd = Cmd::PROG_LOAD;
        let about = |e: SysError| e.about(format!("{} program {:?}", load.prog_type, load.name));
        if !load.insns.len().is_multiple_of(8) {
            let len = load.insns.len();
            return Err(cmd.error(Errno::EMSGSIZE).about(format!("{len} bytes are no whole instructions")));
        }
        let license =
            CString::new(load.license).map_err(|_| cmd.error(Errno::EINVAL).about("NUL in the licence"))?;
        let records = |what: &str, bytes: &[u8], size: u32| -> Result<u32> {
            let size = size as usize;
            if bytes.is_empty() {
                return Ok(0);
            }
            if size == 0 || !bytes.len().is_multiple_of(size) {
                let why = format!("{what} of {} bytes are no whole records of {size}", bytes.len());
                return Err(cmd.error(Errno::EMSGSIZE).about(why));
            }
            len32(cmd, what, bytes.len() / size)
        };
        let fd = |fd: Option<BorrowedFd<'_>>| fd.map_or(0, |fd| fd.as_raw_fd());
        let token = if load.token.is_some() { ProgFlags::TOKEN_FD } else { ProgFlags::NONE };
        let attach_fd = match load.target {
            LoadTarget::Kernel => 0,
            LoadTarget::Prog(fd) | LoadTarget::BtfObj(fd) => fd.as_raw_fd(),
        };
        let func_info_cnt = records("func_info", load.func_info, load.func_info_rec_size)?;
        let line_info_cnt = records("line_info", load.line_info, load.line_info_rec_size)?;
        let mut attr = ProgLoadAttr {
            prog_type: load.prog_type.0,
            insn_cnt: len32(cmd, "program", load.insns.len() / 8)?,
            insns: input(load.insns),
            license: input(license.as_bytes_with_nul()),
            log_level: level,
            log_size: log.size(),
            log_buf: output(&mut log.bytes),
            kern_version: load.kern_version,
            prog_flags: (load.flags | token).0,
            prog_name: object_name(load.name),
            prog_ifindex: load.ifindex,
            expected_attach_type: load.expected_attach_type.0,
            prog_btf_fd: fd(load.prog_btf) as u32,
            func_info_rec_size: if func_info_cnt > 0 { load.func_info_rec_size } else { 0 },
            func_info: input(load.func_info),
            func_info_cnt,
            line_info_rec_size: if line_info_cnt > 0 { load.line_info_rec_size } else { 0 },
            line_info: input(load.line_info),
            line_info_cnt,
            attach_btf_id: load.attach_btf_id,
            attach_fd: attach_fd as u32,
            // BorrowedFd is a transparent RawFd, which is the int that the kernel reads here.
            fd_array: input(load.fd_array),
            prog_token_fd: fd(load.token),
            ..ProgLoadAttr::default()
        };
        // SAFETY: all addresses are of borrowed slices with the sizes beside them; the kernel writes to
        // `log` alone. Of `fd_array` it reads what the instructions index, never writes.
        let result = unsafe { bpf_fd(cmd, &mut attr) };
        log.true_size = attr.log_true_size;
        Ok(Prog { fd: result.map_err(about)? })
    }

    /// Takes over an open program. Fails with `EINVAL` if it is none.
    pub fn from_fd(fd: OwnedFd) -> Result<Prog> {
        super::info::ObjectKind::Prog.expect(fd.as_fd())?;
        Ok(Prog { fd })
    }

    /// A second handle on the same program.
    pub fn try_clone(&self) -> Result<Prog> {
        let fd = self.fd.try_clone().map_err(|e| SysError::io("fcntl(F_DUPFD_CLOEXEC)", &e))?;
        Ok(Prog { fd })
    }

    /// What the kernel tells about the program.
    pub fn info(&self) -> Result<ProgInfo> {
        ProgInfo::of(self.as_fd())
    }

    /// The code as the kernel runs it, with its debug information.
    pub fn code(&self) -> Result<ProgCode> {
        ProgCode::of(self.as_fd())
    }

    /// Keeps `map` alive as long as the program, as if the program used it.
    pub fn bind_map(&self, map: BorrowedFd<'_>) -> Result<()> {
        let words = [self.fd.as_raw_fd() as u32, map.as_raw_fd() as u32, 0, 0];
        let mut attr = super::attr::WordsAttr { words };
        // SAFETY: the attribute holds no addresses.
        unsafe { bpf(Cmd::PROG_BIND_MAP, &mut attr) }.map(drop)
    }

    /// Reads what the program has printed to its standard output (1) or error (2) stream; returns the number
    /// of bytes, 0 if there is nothing. Since 6.17.
    pub fn read_stream(&self, stream: u32, buffer: &mut [u8]) -> Result<usize> {
        let cmd = Cmd::PROG_STREAM_READ_BY_FD;
        let mut attr = super::attr::StreamReadAttr {
            buf: output(buffer),
            buf_len: len32(cmd, "buffer", buffer.len())?,
            stream_id: stream,
            prog_fd: self.fd.as_raw_fd() as u32,
            pad: 0,
        };
        // SAFETY: `buffer` has `buf_len` bytes.
        unsafe { bpf(cmd, &mut attr) }.map(|n| n as usize)
    }
}

impl AsFd for Prog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Prog> for OwnedFd {
    fn from(prog: Prog) -> OwnedFd {
        prog.fd
    }
}
