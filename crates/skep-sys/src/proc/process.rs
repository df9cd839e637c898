//! Processes: `/proc/PID`.

use super::maps::{MemoryMap, parse_maps};
use super::ns::{Namespace, NsId};
use crate::error::{Result, SysError, failed};
use crate::fs::{read_file, read_text};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

fn path(pid: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

fn numbers(dir: &Path) -> Result<Vec<u32>> {
    let about = |e| SysError::io("open", &e).about(dir.display().to_string());
    let mut found: Vec<u32> = std::fs::read_dir(dir)
        .map_err(about)?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// The processes that /proc shows, ascending.
pub fn pids() -> Result<Vec<u32>> {
    numbers(Path::new("/proc"))
}

/// The threads of a process, ascending.
pub fn threads(pid: u32) -> Result<Vec<u32>> {
    numbers(&path(pid, "task"))
}

/// What a process has mapped. Empty for kernel threads.
pub fn maps(pid: u32) -> Result<Vec<MemoryMap>> {
    Ok(parse_maps(&read_file(&path(pid, "maps"))?).collect())
}

/// The arguments of a process. Empty for kernel threads and zombies.
pub fn cmdline(pid: u32) -> Result<Vec<OsString>> {
    Ok(argv(&read_file(&path(pid, "cmdline"))?))
}

/// Splits arguments that each end with a NUL; the last may lack it.
pub fn argv(bytes: &[u8]) -> Vec<OsString> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|b| *b == 0).map(|arg| OsString::from_vec(arg.to_vec())).collect()
}

/// The program of a process, as it sees the path. A removed file has ` (deleted)` after it. `ENOENT`: a
/// kernel thread.
pub fn exe(pid: u32) -> Result<PathBuf> {
    link(pid, "exe")
}

/// The root directory of a process, as this one sees it.
pub fn root(pid: u32) -> Result<PathBuf> {
    link(pid, "root")
}

fn link(pid: u32, file: &str) -> Result<PathBuf> {
    let path = path(pid, file);
    std::fs::read_link(&path).map_err(|e| SysError::io("readlink", &e).about(path.display().to_string()))
}

/// The namespace that a process is in.
pub fn namespace(pid: u32, namespace: Namespace) -> Result<NsId> {
    NsId::of(&path(pid, "ns").join(namespace.file()))
}

/// The cgroup of a process in the unified hierarchy, from the root that this process sees, with a leading
/// slash. `None`: there is no unified hierarchy.
pub fn cgroup(pid: u32) -> Result<Option<PathBuf>> {
    Ok(parse_cgroup(&read_file(&path(pid, "cgroup"))?))
}

/// Reads the format of `/proc/PID/cgroup`: the line of hierarchy 0 has no controllers and is the unified one.
pub fn parse_cgroup(text: &[u8]) -> Option<PathBuf> {
    let path = text.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    // A cgroup that was removed keeps its last processes.
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    path.starts_with(b"/").then(|| OsString::from_vec(path.to_vec()).into())
}

/// Opens a file as a process sees it: in its mount namespace and below its root, whatever links lead where.
/// Needs the permission to trace it (PTRACE_MODE_READ).
pub fn open_file(pid: u32, file: &Path) -> Result<OwnedFd> {
    let place = path(pid, "root");
    let about = |e: SysError| e.about(format!("{} in process {pid}", file.display()));
    let root = rustix::fs::open(&place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| about(failed("open")(e)))?;
    // Whoever owns the process decides what lies there: a pipe must not make this one wait.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::openat2(&root, file, flags, Mode::empty(), ResolveFlags::IN_ROOT)
        .map_err(|e| about(failed("openat2")(e)))
}

/// `/proc/PID/stat`, what of it is of use here. Times are in clock ticks (100 a second on all common kernels).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcStat {
    /// Process id.
    pub pid: u32,
    /// Name, at most 15 bytes (63 for kernel workers).
    pub comm: String,
    /// State letter: R, S, D, Z, T, t, X, I.
    pub state: char,
    /// Parent.
    pub ppid: u32,
    /// Process group.
    pub pgrp: i32,
    /// Session.
    pub session: i32,
    /// Kernel flags (`PF_*`).
    pub flags: u32,
    /// Page faults without and with I/O.
    pub faults: (u64, u64),
    /// Time in user mode.
    pub utime: u64,
    /// Time in the kernel.
    pub stime: u64,
    /// Nice value.
    pub nice: i32,
    /// Number of threads.
    pub threads: u32,
    /// When it started, since boot. With the pid it names a process for good.
    pub start_time: u64,
    /// Virtual size in bytes.
    pub vsize: u64,
    /// Resident pages.
    pub rss: i64,
    /// CPU that it ran on last.
    pub processor: u32,
}

impl ProcStat {
    /// Reads the format of proc_pid_stat(5). The name may hold anything, also parentheses and newlines.
    pub fn parse(text: &[u8]) -> Option<ProcStat> {
        let open = text.iter().position(|b| *b == b'(')?;
        let close = text.iter().rposition(|b| *b == b')')?;
        let comm = text.get(open + 1..close)?;
        let pid = std::str::from_utf8(&text[..open]).ok()?.trim().parse().ok()?;
        let rest = std::str::from_utf8(&text[close + 1..]).ok()?;
        // Numbered as in the manual page: the state is field 3.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        fn field<T: std::str::FromStr>(fields: &[&str], number: usize) -> Option<T> {
            fields.get(number - 3)?.parse().ok()
        }
        let f = &fields[..];
        Some(ProcStat {
            pid,
            comm: String::from_utf8_lossy(comm).into_owned(),
            state: field(f, 3)?,
            ppid: field(f, 4)?,
            pgrp: field(f, 5)?,
            session: field(f, 6)?,
            flags: field(f, 9)?,
            faults: (field(f, 10)?, field(f, 12)?),
            utime: field(f, 14)?,
            stime: field(f, 15)?,
            nice: field(f, 19)?,
            threads: field(f, 20)?,
            start_time: field(f, 22)?,
            vsize: field(f, 23)?,
            rss: field(f, 24)?,
            processor: field(f, 39)?,
        })
    }
}

/// Reads `/proc/PID/stat`.
pub fn stat(pid: u32) -> Result<ProcStat> {
    let path = path(pid, "stat");
    ProcStat::parse(&read_file(&path)?)
        .ok_or_else(|| SysError::new("read", crate::Errno::EINVAL).about(path.display().to_string()))
}

/// `/proc/PID/status`, what of it is of use here. Absent lines are zero or empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProcStatus {
    /// Name.
    pub name: String,
    /// Process (thread group) id.
    pub tgid: u32,
    /// Thread id.
    pub pid: u32,
    /// Parent.
    pub ppid: u32,
    /// Tracer; 0 for none.
    pub tracer: u32,
    /// Real, effective, saved and file system user.
    pub uid: [u32; 4],
    /// Real, effective, saved and file system group.
    pub gid: [u32; 4],
    /// Thread id in each pid namespace, from the reader's to the innermost.
    pub ns_pid: Vec<u32>,
    /// Process id in each pid namespace.
    pub ns_tgid: Vec<u32>,
    /// Effective capabilities, a bit each.
    pub cap_eff: u64,
    /// Permitted capabilities.
    pub cap_prm: u64,
    /// Bounding set.
    pub cap_bnd: u64,
    /// Number of threads.
    pub threads: u32,
    /// Seccomp mode: 0 off, 1 strict, 2 filter.
    pub seccomp: u32,
    /// Whether no_new_privs is set.
    pub no_new_privs: bool,
}

impl ProcStatus {
    /// Reads the format of proc_pid_status(5).
    pub fn parse(text: &str) -> ProcStatus {
        let mut status = ProcStatus::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            let number = || value.split_ascii_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
            let list = || value.split_ascii_whitespace().map_while(|n| n.parse().ok()).collect::<Vec<u32>>();
            let ids = || {
                let mut ids = [0; 4];
                ids.iter_mut().zip(list()).for_each(|(to, id)| *to = id);
                ids
            };
            let mask = || u64::from_str_radix(value, 16).unwrap_or(0);
            match key {
                "Name" => status.name = value.to_owned(),
                "Tgid" => status.tgid = number(),
                "Pid" => status.pid = number(),
                "PPid" => status.ppid = number(),
                "TracerPid" => status.tracer = number(),
                "Uid" => status.uid = ids(),
                "Gid" => status.gid = ids(),
                "NSpid" => status.ns_pid = list(),
                "NStgid" => status.ns_tgid = list(),
                "CapEff" => status.cap_eff = mask(),
                "CapPrm" => status.cap_prm = mask(),
                "CapBnd" => status.cap_bnd = mask(),
                "Threads" => status.threads = number(),
                "Seccomp" => status.seccomp = number(),
                "NoNewPrivs" => status.no_new_privs = number() != 0,
                _ => {}
            }
        }
        status
    }
}

/// Reads `/proc/PID/status`.
pub fn status(pid: u32) -> Result<ProcStatus> {
    Ok(ProcStatus::parse(&read_text(&path(pid, "status"))?))
}
