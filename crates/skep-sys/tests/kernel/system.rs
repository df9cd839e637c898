//! Kernel file systems and what the kernel tells as text.

use crate::harness::{Needs, Outcome, Stop, Test, ensure, ensure_eq};
use skep_sys::bpf::{self, Access, Map, MapCreate, MapType, ObjectKind};
use skep_sys::clock::{self, Clock};
use skep_sys::cpu;
use skep_sys::fs::{CgroupFs, TraceFs, bpffs_dir, detached_bpffs};
use skep_sys::proc::{self, Capability, Caps, MountTable, Namespace, SymbolTable};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::Path;

pub(crate) const TESTS: &[Test] = &[
    ("tracefs_is_found_wherever_it_is", Needs::Root, tracefs),
    ("tracefs_detached_leaves_the_mount_table", Needs::Root, detached_tracefs),
    ("tracefs_names_do_not_leave_the_folder", Needs::Root, tracefs_names),
    ("bpffs_pins_lead_back", Needs::Root, pins),
    ("cgroup_ids_and_paths_lead_to_each_other", Needs::Root, cgroups),
    ("kallsyms_one_pass_finds_all_names", Needs::Root, kallsyms),
    ("kallsyms_table_resolves_what_the_pass_found", Needs::Root, symbol_table),
    ("cpu_lists_agree_with_the_scheduler", Needs::Nothing, cpus),
    ("proc_self_is_this_process", Needs::Nothing, own_process),
    ("proc_file_is_opened_below_the_root_of_a_process", Needs::Root, file_of_process),
    ("capabilities_are_named", Needs::Nothing, capabilities),
    ("lockdown_and_settings_are_told", Needs::Root, settings),
    ("clocks_keep_their_distance", Needs::Nothing, clocks),
];

fn check_tracefs(tracefs: &TraceFs) -> Outcome {
    ensure!(tracefs.categories()?.iter().any(|c| c == "sched"), "no category sched");
    ensure!(tracefs.events("sched")?.iter().any(|e| e == "sched_switch"), "no sched_switch");
    let id = tracefs.event_id("sched", "sched_switch")?;
    let format = tracefs.event_format("sched", "sched_switch")?;
    ensure!(format.contains(&format!("ID: {id}\n")) && format.contains("prev_comm"), "{format}");
    let all = tracefs.available_events()?;
    ensure!(all.contains(&("sched".into(), "sched_switch".into())), "{} events", all.len());
    let none = tracefs.event_id("sched", "no_such_event").expect_err("no such event");
    ensure!(none.is_not_found() && none.detail.contains("events/sched/no_such_event/id"), "{none}");
    Ok(())
}

fn tracefs() -> Outcome {
    let tracefs = TraceFs::open()?;
    let table = MountTable::read()?;
    let mounted = table.places_of("tracefs").next().is_some();
    ensure!(mounted || tracefs.mount_point().is_none_or(|p| p.ends_with("tracing")), "{tracefs:?}");
    check_tracefs(&tracefs)
}

fn detached_tracefs() -> Outcome {
    let before = MountTable::read()?;
    let tracefs = TraceFs::detached()?;
    ensure_eq!(tracefs.mount_point(), None);
    check_tracefs(&tracefs)?;
    ensure_eq!(MountTable::read()?, before);
    Ok(())
}

fn tracefs_names() -> Outcome {
    let tracefs = TraceFs::open()?;
    for (category, event) in [("..", "x"), ("sched", ".."), ("sched/../sched", "sched_switch"), ("", "x")] {
        let e = tracefs.event_id(category, event).expect_err("no name of an event");
        ensure!(e.to_string().contains("no name of an event"), "{e}");
    }
    ensure!(tracefs.read(Path::new("../../etc/passwd")).is_err(), "left the root");
    Ok(())
}

fn pins() -> Outcome {
    let map = Map::create(&MapCreate {
        map_type: MapType::ARRAY,
        key_size: 4,
        value_size: 8,
        max_entries: 3,
        ..MapCreate::default()
    })?;
    let bpffs = detached_bpffs()?;
    let name = Path::new("skep_pin");
    match bpf::pin_at(map.as_fd(), bpffs.as_fd(), name) {
        Err(e) if e.is_unsupported() => return Err(Stop::Skip(format!("pins by directory: {e}"))),
        other => other?,
    }
    let taken = bpf::pin_at(map.as_fd(), bpffs.as_fd(), name).expect_err("taken");
    ensure!(taken.to_string().contains("EEXIST") && taken.detail.contains("skep_pin"), "{taken}");
    let fd = bpf::open_pin_at(bpffs.as_fd(), name, Access::ReadWrite)?;
    ensure_eq!(ObjectKind::of(fd.as_fd()), Some(ObjectKind::Map));
    ensure_eq!(Map::from_fd(fd)?.info()?.id, map.info()?.id);
    let none = bpf::open_pin_at(bpffs.as_fd(), Path::new("other"), Access::ReadWrite).expect_err("none");
    ensure!(none.is_not_found(), "{none}");
    // Where no bpffs is mounted the message says how to get one.
    match bpffs_dir() {
        Ok(dir) => pin_in(&dir, &map),
        Err(e) => {
            ensure!(e.is_not_found() && e.detail.contains("mount -t bpf"), "{e}");
            Ok(())
        }
    }
}

/// Pins by path, in a bpffs that is mounted.
fn pin_in(dir: &Path, map: &Map) -> Outcome {
    let path = dir.join(format!("skep-sys-test-{}", std::process::id()));
    bpf::pin(map.as_fd(), &path)?;
    let again = Map::from_pin(&path);
    let as_prog = bpf::Prog::from_pin(&path);
    std::fs::remove_file(&path)?;
    ensure_eq!(again?.info()?.id, map.info()?.id);
    let wrong = as_prog.expect_err("a map is no program");
    ensure!(wrong.errno == skep_sys::Errno::EINVAL && wrong.detail.contains("skep-sys-test"), "{wrong}");
    ensure!(Map::from_pin(&path).expect_err("unpinned").is_not_found(), "still there");
    Ok(())
}

fn cgroups() -> Outcome {
    let cgroups = match CgroupFs::open() {
        Err(e) if e.is_not_found() => return Err(Stop::Skip(e.to_string())),
        other => other?,
    };
    let name = format!("skep-sys-test-{}", std::process::id());
    let dir = cgroups.mount_point().join(&name);
    std::fs::create_dir(&dir)?;
    let outcome = in_cgroup(&cgroups, &Path::new("/").join(&name));
    std::fs::remove_dir(&dir)?;
    outcome?;
    let gone = cgroups.id(Path::new(&name)).expect_err("removed");
    ensure!(gone.is_not_found(), "{gone}");
    Ok(())
}

fn in_cgroup(cgroups: &CgroupFs, path: &Path) -> Outcome {
    use std::os::unix::fs::MetadataExt;
    let id = cgroups.id(path)?;
    let below = path.strip_prefix("/").map_err(|e| Stop::Fail(e.to_string()))?;
    ensure_eq!(id, std::fs::metadata(cgroups.mount_point().join(below))?.ino());
    ensure_eq!(cgroups.path(id)?.as_deref(), Some(path));
    ensure!(cgroups.walk()?.contains(&(path.to_owned(), id)), "the walk missed it");
    ensure_eq!(cgroups.path(cgroups.id(Path::new("/"))?)?.as_deref(), Some(Path::new("/")));
    ensure_eq!(cgroups.path(u64::from(u32::MAX))?, None);
    Ok(())
}

fn kallsyms() -> Outcome {
    let names = ["schedule", "no_such_symbol_in_any_kernel", "do_exit", "schedule"];
    let (found, visited) = proc::find_symbols(&names)?;
    ensure!(visited.symbols > 10_000 && !visited.hidden, "{visited:?}");
    ensure_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 1, 1]);
    ensure_eq!(found[0][0].kind, b'T');
    ensure_eq!(found[0], found[3]);
    let mut seen = 0;
    let early = proc::visit_symbols(|_| {
        seen += 1;
        if seen == 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    ensure_eq!(early.symbols, 10);
    Ok(())
}

fn symbol_table() -> Outcome {
    let (found, _) = proc::find_symbols(&["schedule"])?;
    let table = SymbolTable::functions()?;
    let resolved = table.resolve(found[0][0].addr + 1).expect("inside of schedule");
    ensure_eq!((resolved.name, resolved.offset, resolved.module), ("schedule", 1, None));
    ensure_eq!(table.resolve(0x1000), None);
    Ok(())
}

fn cpus() -> Outcome {
    let (possible, online) = (cpu::possible()?, cpu::online()?);
    ensure!(online.iter().all(|cpu| possible.contains(cpu)), "{online:?} of {possible:?}");
    ensure_eq!(cpu::possible_count()?, possible.len());
    ensure!(std::thread::available_parallelism()?.get() <= online.len(), "{online:?}");
    Ok(())
}

fn own_process() -> Outcome {
    let pid = std::process::id();
    let stat = proc::stat(pid)?;
    let status = proc::status(pid)?;
    ensure_eq!((stat.pid, status.tgid, stat.ppid), (pid, pid, status.ppid));
    ensure_eq!(status.ns_tgid.first(), Some(&pid));
    ensure_eq!(status.uid[1], rustix::process::geteuid().as_raw());
    ensure!(proc::threads(pid)?.contains(&pid) && proc::pids()?.contains(&pid), "not listed");
    ensure_eq!(proc::exe(pid)?, std::env::current_exe()?);
    ensure_eq!(proc::cmdline(pid)?, std::env::args_os().collect::<Vec<_>>());
    let here = own_process as fn() -> Outcome as usize as u64;
    let map = proc::maps(pid)?.into_iter().find(|m| (m.start..m.end).contains(&here));
    let map = map.ok_or("this function is not mapped")?;
    ensure!(map.perms.execute && map.is_file(), "{map:?}");
    ensure_eq!(map.path, Some(std::env::current_exe()?));
    for namespace in [Namespace::Pid, Namespace::Net, Namespace::Mnt, Namespace::User, Namespace::Cgroup] {
        let id = namespace.own()?;
        ensure_eq!(proc::namespace(pid, namespace)?, id);
        let link = std::fs::read_link(format!("/proc/self/ns/{}", namespace.file()))?;
        ensure!(link.to_string_lossy().contains(&format!("[{}]", id.inode)), "{}", link.display());
    }
    // The scheduler's tick of the machine that booted is in the initial pid namespace alone.
    let nested = status.ns_tgid.len() > 1;
    ensure!(!(nested && Namespace::Pid.is_initial(Namespace::Pid.own()?) == Some(true)), "{status:?}");
    let absent = proc::stat(u32::MAX / 2).expect_err("no such process");
    ensure!(absent.is_not_found(), "{absent}");
    Ok(())
}

fn file_of_process() -> Outcome {
    use std::io::Read;
    let mut text = String::new();
    // Absolute and climbing paths both stay below the process's root.
    let fd = proc::open_file(std::process::id(), Path::new("/../../proc/version"))?;
    std::fs::File::from(fd).read_to_string(&mut text)?;
    ensure!(text.contains(&proc::kernel_release()), "{text}");
    let e = proc::open_file(std::process::id(), Path::new("/no/such")).expect_err("no such file");
    ensure!(e.is_not_found() && e.detail.contains("/no/such in process"), "{e}");
    Ok(())
}

fn capabilities() -> Outcome {
    let own = Caps::own()?;
    for capability in Capability::ALL {
        ensure_eq!(Capability::from_name(capability.name()), Some(*capability));
    }
    ensure_eq!(Capability::from_name("bpf"), Some(Capability::BPF));
    ensure!(own.missing(Capability::ALL).iter().all(|c| !own.allows(*c)), "{own:?}");
    let admin = Caps(1 << 21);
    let wanted = [Capability::BPF, Capability::NET_ADMIN, Capability::PERFMON];
    ensure_eq!(admin.missing(&wanted), [Capability::NET_ADMIN]);
    ensure_eq!(Caps(1 << 39).missing(&wanted), [Capability::NET_ADMIN, Capability::PERFMON]);
    Ok(())
}

fn settings() -> Outcome {
    ensure!(proc::lockdown().is_some(), "root can tell");
    let text = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid")?;
    ensure_eq!(proc::sysctl_number("kernel.perf_event_paranoid"), text.trim().parse().ok());
    ensure_eq!(proc::sysctl_number("kernel.no_such_setting"), None);
    ensure!(proc::sysctl("kernel/../../../etc.passwd").is_err(), "left /proc/sys");
    ensure_eq!(proc::sysctl("kernel.osrelease")?, proc::kernel_release());
    ensure!(proc::kernel_version(&proc::kernel_release()).0 >= 4, "release");
    Ok(())
}

fn clocks() -> Outcome {
    let offset = Clock::Boot.offset_to(Clock::Real);
    let expected = Clock::Real.now() - Clock::Boot.now();
    ensure!((offset - expected).abs() < 50_000_000, "{offset} and {expected}");
    // Asleep time is not negative; both count from boot.
    let asleep = Clock::Monotonic.offset_to(Clock::Boot);
    ensure!(asleep > -1_000_000, "{asleep}");
    let leap = Clock::Real.offset_to(Clock::Tai);
    ensure!((0..=60).contains(&((leap + 500_000_000) / 1_000_000_000)), "{leap}");
    let text = std::fs::read_to_string("/proc/uptime")?;
    let told: f64 = text.split_whitespace().next().ok_or("uptime")?.parse()?;
    let apart = (clock::uptime().as_secs_f64() - told).abs();
    ensure!(matches!(apart, 0.0..1.0), "{apart} s from /proc/uptime");
    Ok(())
}
