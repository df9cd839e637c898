//! Names and times of the live system, for output.

use super::cgroups;
use super::kernel::KernelSymbols;
use super::process::{UserOptions, UserSymbols};
use skep_ir::KernelInfo;
use skep_sys::clock::Clock as SysClock;
use skep_sys::proc::Users;
use skep_trace::output::{KernelSymbol, Resolver, UserSymbol, Zone};
use skep_trace::plan::Clock;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path};
use std::time::{Instant, SystemTime};

const USERS: &str = "/etc/passwd";
const ZONES: &str = "/usr/share/zoneinfo";
/// How long a difference between clocks holds: setting the time of day changes it.
const CLOCK_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// The live system. Nothing is read before it is asked for.
pub(crate) struct LiveNames<'k> {
    kernel: &'k dyn KernelInfo,
    symbols: KernelSymbols,
    processes: UserSymbols,
    users: Users,
    users_of: Option<SystemTime>,
    cgroups: cgroups::Paths,
    /// Differences of [`Clock`]s to time of day.
    offsets: [Option<(Instant, i64)>; 3],
    zone: Option<Zone>,
    gfp_bits: HashMap<String, Option<u32>>,
}

impl<'k> LiveNames<'k> {
    /// Names as these settings want them; the kernel gives what its type information knows.
    pub(crate) fn new(kernel: &'k dyn KernelInfo, options: UserOptions) -> LiveNames<'k> {
        LiveNames {
            kernel,
            symbols: KernelSymbols::default(),
            processes: UserSymbols::new(options),
            users: Users::default(),
            users_of: None,
            cgroups: cgroups::Paths::default(),
            offsets: [None; 3],
            zone: None,
            gfp_bits: HashMap::new(),
        }
    }

    /// Reads what a process has mapped, so that its addresses can be told after its end: for the process of `-p`,
    /// the child of `-c` when it has begun its program, and before it goes on.
    pub(crate) fn remember(&mut self, pid: u32) {
        self.processes.remember(pid);
    }
}

impl Resolver for LiveNames<'_> {
    fn kernel_symbol(&mut self, address: u64) -> Option<KernelSymbol<'_>> {
        let found = self.symbols.resolve(address)?;
        Some(KernelSymbol { name: Cow::Borrowed(found.name), offset: found.offset })
    }

    fn user_symbol(&mut self, pid: u32, address: u64) -> Option<&UserSymbol> {
        self.processes.resolve(pid, address, false)
    }

    fn user_frame(&mut self, pid: u32, address: u64, returned_to: bool) -> Option<&UserSymbol> {
        self.processes.resolve(pid, address, returned_to)
    }

    fn user_name(&mut self, uid: u64) -> Option<String> {
        let uid = u32::try_from(uid).ok()?;
        if let Some(name) = self.users.name(uid) {
            return Some(name.to_owned());
        }
        // Perhaps a user that was made since.
        let changed = fs::metadata(USERS).and_then(|m| m.modified()).ok()?;
        if self.users_of != Some(changed) {
            self.users = Users::read().unwrap_or_default();
            self.users_of = Some(changed);
        }
        self.users.name(uid).map(str::to_owned)
    }

    fn cgroup_path(&mut self, id: u64, filter: &str) -> Option<String> {
        self.cgroups.of(id, filter)
    }

    fn now(&mut self) -> i64 {
        SysClock::Real.now()
    }

    fn clock_offset(&mut self, clock: Clock) -> i64 {
        let (slot, from) = match clock {
            Clock::Boot => (0, SysClock::Boot),
            Clock::Tai => (1, SysClock::Tai),
            Clock::Monotonic => (2, SysClock::Monotonic),
        };
        match self.offsets[slot] {
            Some((at, offset)) if at.elapsed() < CLOCK_PAUSE => offset,
            _ => {
                let mut offset = from.offset_to(SysClock::Real);
                // Measured anew it differs by what reading takes; only a change of the clock is one.
                if let Some((_, before)) = self.offsets[slot]
                    && offset.abs_diff(before) < 100_000
                {
                    offset = before;
                }
                self.offsets[slot] = Some((Instant::now(), offset));
                offset
            }
        }
    }

    fn zone(&mut self) -> Zone {
        self.zone.get_or_insert_with(|| local_zone(std::env::var("TZ").ok().as_deref())).clone()
    }

    fn gfp_bit(&mut self, name: &str) -> Option<u32> {
        if let Some(known) = self.gfp_bits.get(name) {
            return *known;
        }
        let value = self.kernel.btf().and_then(|btf| btf.enum_value(&format!("___GFP_{name}_BIT")));
        let bit = value.and_then(|v| u32::try_from(v.value).ok());
        self.gfp_bits.insert(name.to_owned(), bit);
        bit
    }
}

/// The zone that `TZ` names, or that of the machine; universal time if it cannot be read. As in tzset(3), a colon
/// in front is dropped, and a name is that of a file, or else a rule.
fn local_zone(variable: Option<&str>) -> Zone {
    let zone = match variable.map(|v| v.strip_prefix(':').unwrap_or(v)) {
        None => file_zone(Path::new("/etc/localtime")),
        Some("") => None,
        Some(name) => {
            let path = Path::new(name);
            // A name that leads out of the folder is none.
            let inside = path.is_absolute() || path.components().all(|c| matches!(c, Component::Normal(_)));
            let file = inside.then(|| file_zone(&Path::new(ZONES).join(path))).flatten();
            file.or_else(|| Zone::from_posix(name))
        }
    };
    zone.unwrap_or_else(Zone::utc)
}

fn file_zone(path: &Path) -> Option<Zone> {
    const LARGEST: u64 = 1 << 20;
    fs::metadata(path).ok().filter(|m| m.is_file() && m.len() <= LARGEST)?;
    Zone::from_tzif(&fs::read(path).ok()?)
}
