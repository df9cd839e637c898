//! Texts that go with numbers: errors, signals, system calls.

use super::arch;
use crate::hir::StringTable;
use skep_ir::kernel::Arch;

/// A table as generated code has it: rows of equal width, each a text and zeros.
pub(super) struct Table {
    /// The rows.
    pub(super) bytes: Vec<u8>,
    /// Bytes of a row.
    pub(super) width: u32,
    /// Rows.
    pub(super) len: u32,
    /// What stands for numbers without a text.
    pub(super) unknown: &'static str,
}

/// The text that goes with a number.
pub(super) fn text(table: StringTable, arch: Arch, number: u64) -> String {
    let rows = rows(table, arch);
    let found = usize::try_from(number).ok().and_then(|n| rows.get(n)).filter(|t| !t.is_empty());
    found.map_or_else(|| unknown(table).to_owned(), |t| (*t).to_owned())
}

/// A table in memory; rows of numbers without a text say so.
pub(super) fn table(table: StringTable, arch: Arch, cap: u32) -> Table {
    let unknown = unknown(table);
    let rows = rows(table, arch);
    let longest = rows.iter().map(|t| t.len()).max().unwrap_or(0).max(unknown.len());
    let width = (longest as u32 + 1).next_multiple_of(8).min(cap.max(1));
    let mut bytes = Vec::with_capacity(rows.len() * width as usize);
    for row in &rows {
        let row = if row.is_empty() { unknown } else { row };
        let end = bytes.len() + width as usize;
        bytes.extend(row.bytes().take(width as usize - 1));
        bytes.resize(end, 0);
    }
    Table { bytes, width, len: rows.len() as u32, unknown }
}

fn unknown(table: StringTable) -> &'static str {
    match table {
        StringTable::Errors => "Unknown error",
        StringTable::Signals => "N/A",
        StringTable::Syscalls => "Unknown syscall",
    }
}

/// Texts by number; empty where there is none.
fn rows(table: StringTable, arch: Arch) -> Vec<&'static str> {
    match table {
        StringTable::Errors => ERRORS.to_vec(),
        StringTable::Signals => SIGNALS.to_vec(),
        StringTable::Syscalls => {
            let mut rows = Vec::new();
            for (first, names) in arch::regs(arch).syscalls {
                rows.resize(*first as usize, "");
                rows.extend(names.split(' '));
            }
            rows
        }
    }
}

/// Texts of `errno` values (the comments of `asm-generic/errno-base.h` and `asm-generic/errno.h`).
static ERRORS: &[&str] = &[
    "Success",
    "Operation not permitted",
    "No such file or directory",
    "No such process",
    "Interrupted system call",
    "I/O error",
    "No such device or address",
    "Argument list too long",
    "Exec format error",
    "Bad file number",
    "No child processes",
    "Try again (operation would block)",
    "Out of memory",
    "Permission denied",
    "Bad address",
    "Block device required",
    "Device or resource busy",
    "File exists",
    "Cross-device link",
    "No such device",
    "Not a directory",
    "Is a directory",
    "Invalid argument",
    "File table overflow",
    "Too many open files",
    "Not a typewriter",
    "Text file busy",
    "File too large",
    "No space left on device",
    "Illegal seek",
    "Read-only file system",
    "Too many links",
    "Broken pipe",
    "Math argument out of domain of func",
    "Math result not representable",
    "Resource deadlock would occur",
    "File name too long",
    "No record locks available",
    "Invalid system call number",
    "Directory not empty",
    "Too many symbolic links encountered",
    "",
    "No message of desired type",
    "Identifier removed",
    "Channel number out of range",
    "Level 2 not synchronized",
    "Level 3 halted",
    "Level 3 reset",
    "Link number out of range",
    "Protocol driver not attached",
    "No CSI structure available",
    "Level 2 halted",
    "Invalid exchange",
    "Invalid request descriptor",
    "Exchange full",
    "No anode",
    "Invalid request code",
    "Invalid slot",
    "",
    "Bad font file format",
    "Device not a stream",
    "No data available",
    "Timer expired",
    "Out of streams resources",
    "Machine is not on the network",
    "Package not installed",
    "Object is remote",
    "Link has been severed",
    "Advertise error",
    "Srmount error",
    "Communication error on send",
    "Protocol error",
    "Multihop attempted",
    "RFS specific error",
    "Not a data message",
    "Value too large for defined data type",
    "Name not unique on network",
    "File descriptor in bad state",
    "Remote address changed",
    "Can not access a needed shared library",
    "Accessing a corrupted shared library",
    ".lib section in a.out corrupted",
    "Attempting to link in too many shared libraries",
    "Cannot exec a shared library directly",
    "Illegal byte sequence",
    "Interrupted system call should be restarted",
    "Streams pipe error",
    "Too many users",
    "Socket operation on non-socket",
    "Destination address required",
    "Message too long",
    "Protocol wrong type for socket",
    "Protocol not available",
    "Protocol not supported",
    "Socket type not supported",
    "Operation not supported on transport endpoint",
    "Protocol family not supported",
    "Address family not supported by protocol",
    "Address already in use",
    "Cannot assign requested address",
    "Network is down",
    "Network is unreachable",
    "Network dropped connection because of reset",
    "Software caused connection abort",
    "Connection reset by peer",
    "No buffer space available",
    "Transport endpoint is already connected",
    "Transport endpoint is not connected",
    "Cannot send after transport endpoint shutdown",
    "Too many references: cannot splice",
    "Connection timed out",
    "Connection refused",
    "Host is down",
    "No route to host",
    "Operation already in progress",
    "Operation now in progress",
    "Stale file handle",
    "Structure needs cleaning",
    "Not a XENIX named type file",
    "No XENIX semaphores available",
    "Is a named type file",
    "Remote I/O error",
    "Quota exceeded",
    "No medium found",
    "Wrong medium type",
    "Operation Canceled",
    "Required key not available",
    "Key has expired",
    "Key has been revoked",
    "Key was rejected by service",
    "Owner died",
    "State not recoverable",
    "Operation not possible due to RF-kill",
    "Memory page has hardware error",
];

/// Texts of signals, as `strsignal` has them.
static SIGNALS: &[&str] = &[
    "Unknown signal 0",
    "Hangup",
    "Interrupt",
    "Quit",
    "Illegal instruction",
    "Trace/breakpoint trap",
    "Aborted",
    "Bus error",
    "Floating point exception",
    "Killed",
    "User defined signal 1",
    "Segmentation fault",
    "User defined signal 2",
    "Broken pipe",
    "Alarm clock",
    "Terminated",
    "Stack fault",
    "Child exited",
    "Continued",
    "Stopped (signal)",
    "Stopped",
    "Stopped (tty input)",
    "Stopped (tty output)",
    "Urgent I/O condition",
    "CPU time limit exceeded",
    "File size limit exceeded",
    "Virtual timer expired",
    "Profiling timer expired",
    "Window changed",
    "I/O possible",
    "Power failure",
    "Bad system call",
    "Unknown signal 32",
    "Unknown signal 33",
    "Real-time signal 0",
    "Real-time signal 1",
    "Real-time signal 2",
    "Real-time signal 3",
    "Real-time signal 4",
    "Real-time signal 5",
    "Real-time signal 6",
    "Real-time signal 7",
    "Real-time signal 8",
    "Real-time signal 9",
    "Real-time signal 10",
    "Real-time signal 11",
    "Real-time signal 12",
    "Real-time signal 13",
    "Real-time signal 14",
    "Real-time signal 15",
    "Real-time signal 16",
    "Real-time signal 17",
    "Real-time signal 18",
    "Real-time signal 19",
    "Real-time signal 20",
    "Real-time signal 21",
    "Real-time signal 22",
    "Real-time signal 23",
    "Real-time signal 24",
    "Real-time signal 25",
    "Real-time signal 26",
    "Real-time signal 27",
    "Real-time signal 28",
    "Real-time signal 29",
    "Real-time signal 30",
];
