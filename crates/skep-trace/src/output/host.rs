//! What printing asks of whoever runs a script.

use crate::plan::Clock;
use skep_ir::MapId;
use std::borrow::Cow;

/// Where output goes.
pub trait Sink {
    /// Output of the script, as one record or map made it. It goes to stdout or to a file.
    fn output(&mut self, bytes: &[u8]);

    /// A message for the user: whole lines, each with its newline. They go to stderr.
    fn message(&mut self, text: &[u8]);
}

/// Why a map could not be read, as the user is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MapError(pub String);

/// The kernel's maps, by the numbers that the module gives them.
///
/// Values of a per-CPU map are those of all possible CPUs one behind the other, each at a multiple of 8 bytes,
/// as `bpf(2)` reads them.
pub trait Maps {
    /// CPUs that there can be, which is how many values an element of a per-CPU map has.
    fn possible_cpus(&self) -> usize;

    /// Calls `each` with the key and the value of every element, in any order.
    ///
    /// # Errors
    /// The map cannot be read.
    fn elements(&mut self, map: MapId, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), MapError>;

    /// Puts the value of an element into `value`; false if there is none.
    ///
    /// # Errors
    /// The map cannot be read.
    fn lookup(&mut self, map: MapId, key: &[u8], value: &mut Vec<u8>) -> Result<bool, MapError>;
}

/// A symbol of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelSymbol<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// The address less that of the symbol.
    pub offset: u64,
}

/// A place in source text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// File, as the debug data have it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
}

/// What an address in a process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserSymbol {
    /// The function, demangled if that is wanted; `None` if it is not known.
    pub name: Option<String>,
    /// The address less that of the function.
    pub offset: u64,
    /// The mapped file.
    pub path: Option<String>,
    /// Where in the function's source it is, if debug data are read.
    pub line: Option<SourceLine>,
    /// Functions that were inlined there, the innermost first, each with the place inside it.
    pub inlined: Vec<(String, Option<SourceLine>)>,
}

/// Local time.
#[derive(Clone, Debug)]
pub struct Zone(pub(super) jiff::tz::TimeZone);

impl Zone {
    /// Universal time.
    #[must_use]
    pub fn utc() -> Zone {
        Zone(jiff::tz::TimeZone::UTC)
    }

    /// The zone of a compiled zone file such as `/etc/localtime`; `None` if it is not one.
    #[must_use]
    pub fn from_tzif(data: &[u8]) -> Option<Zone> {
        jiff::tz::TimeZone::tzif("local", data).ok().map(Zone)
    }

    /// The zone of a rule as in the variable `TZ`, e.g. `CET-1CEST,M3.5.0,M10.5.0/3`; `None` if it is not one.
    #[must_use]
    pub fn from_posix(rule: &str) -> Option<Zone> {
        jiff::tz::TimeZone::posix(rule).ok().map(Zone)
    }
}

/// Names and times that only the running system knows. Nothing is asked before it is printed.
pub trait Resolver {
    /// The kernel's symbol at or before an address.
    fn kernel_symbol(&mut self, address: u64) -> Option<KernelSymbol<'_>>;

    /// What an address in a process is; `None` if neither a function nor a file is known.
    fn user_symbol(&mut self, pid: u32, address: u64) -> Option<&UserSymbol>;

    /// What a frame of a process's stack is. All frames but the first are addresses that calls return to: they are of
    /// the function and the line that hold the call before them.
    fn user_frame(&mut self, pid: u32, address: u64, returned_to: bool) -> Option<&UserSymbol> {
        let _ = returned_to;
        self.user_symbol(pid, address)
    }

    /// The name of a user id.
    fn user_name(&mut self, uid: u64) -> Option<String>;

    /// The paths of a cgroup in the mounted hierarchies that match a filter (all if it is empty), as
    /// `unified:/a,cpu:/b`.
    fn cgroup_path(&mut self, id: u64, filter: &str) -> Option<String>;

    /// Nanoseconds since 1970 now.
    fn now(&mut self) -> i64;

    /// What is added to the time of a clock to have nanoseconds since 1970.
    fn clock_offset(&mut self, clock: Clock) -> i64;

    /// Local time.
    fn zone(&mut self) -> Zone;

    /// The number of an allocation flag's bit: the value of the enumerator `___GFP_NAME_BIT` in the kernel's
    /// types (`include/linux/gfp_types.h`) for a name such as `DMA`.
    fn gfp_bit(&mut self, name: &str) -> Option<u32>;
}

/// All of them.
pub struct Host<'a> {
    /// Where output goes.
    pub sink: &'a mut dyn Sink,
    /// The kernel's maps.
    pub maps: &'a mut dyn Maps,
    /// Names and times.
    pub names: &'a mut dyn Resolver,
}
