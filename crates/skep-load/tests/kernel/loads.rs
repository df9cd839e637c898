//! Collections become kernel objects.

use crate::harness::{Needs, Outcome, Stop, Test, ensure, ensure_eq};
use crate::support::{add_program, collection, spec};
use skep_asm::{Endian, decode};
use skep_btf::KindMask;
use skep_ir::kernel::{Feature, FeatureSet, KernelInfo};
use skep_ir::module::MapKind;
use skep_ir::spec::{Attach, Collection};
use skep_load::{LiveKernel, LoadFailure, LoadOptions, Stage, load};
use skep_sys::bpf::{TestRun, log_level};
use skep_sys::proc::find_symbols;
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] = &[
    ("kinds_of_programs_load", Needs::Root, kinds),
    ("maps_get_sizes_contents_and_are_frozen", Needs::Root, maps),
    ("maps_of_maps", Needs::Root, maps_of_maps),
    ("references_are_replaced", Needs::Root, references),
    ("bound_programs_load_once_for_each_place", Needs::Root, bound),
    ("places_that_are_linked_together_have_a_program_of_their_own", Needs::Root, mixed),
    ("names_that_the_kernel_does_not_have", Needs::Root, unknown_names),
    ("a_subset_of_programs_loads", Needs::Root, subset),
    ("failures_are_kept_or_end_the_load", Needs::Root, failures),
    ("a_kind_that_the_kernel_forbids_is_named", Needs::Root, forbidden),
    ("a_thousand_programs_load_in_time", Needs::Root, thousand),
    ("the_log_of_a_program_that_loads", Needs::Root, log),
    ("maps_that_cannot_be_made", Needs::Root, bad_maps),
    ("functions_of_modules", Needs::Root, module_functions),
    ("signals_do_not_end_a_load", Needs::Root, signals),
    ("pinned_maps_are_kept_and_never_replaced", Needs::Root, pins),
    ("missing_capabilities_are_named", Needs::Root, unprivileged),
];

const NOTHING: &str = "r0 = 0\nexit\n";

fn done(c: &Collection) -> Result<skep_load::Loaded, LoadFailure> {
    load(c, &LiveKernel::new(), &LoadOptions::default())
}

fn kinds() -> Outcome {
    let kernel = LiveKernel::new();
    for (kind, attach, feature) in [
        ("kprobe", "do_exit", None),
        ("tracepoint", "sched:sched_switch", None),
        ("raw_tp", "sched_switch", None),
        ("tp_btf", "sched_switch", Some(Feature::TpBtf)),
        ("fentry", "do_exit", Some(Feature::Fentry)),
        ("fexit", "kernel_clone", Some(Feature::Fentry)),
        ("lsm", "file_open", Some(Feature::Lsm)),
        ("iter", "task", Some(Feature::Iter)),
        ("perf_event", "", None),
        ("tc", "", None),
        ("cgroup_skb", "", None),
        ("netfilter", "", Some(Feature::Netfilter)),
        ("syscall", "", None),
    ] {
        if feature.is_some_and(|f| !kernel.has(f)) {
            continue;
        }
        let mut c = collection(kind, &[attach], NOTHING)?;
        c.programs[0].sleepable = kind == "syscall";
        if let Err(e) = load(&c, &kernel, &LoadOptions::default()) {
            return Err(Stop::Fail(format!("{kind}: {e}\n{}", e.log.text)));
        }
    }
    Ok(())
}

fn maps() -> Outcome {
    let mut c = Collection::default();
    let ring = c.maps.push(spec("ring", MapKind::RingBuf, 0, 0, 5000));
    let perf = c.maps.push(spec("perf", MapKind::PerfEventArray, 4, 4, 0));
    let mut rodata = spec(".rodata", MapKind::Array, 4, 8, 1);
    rodata.frozen = true;
    rodata.map.contents = vec![(vec![0; 4], vec![1, 2, 3, 4, 5, 6, 7, 8])];
    let rodata = c.maps.push(rodata);
    let mut each = spec("@a name, long", MapKind::PercpuArray, 4, 4, 2);
    each.map.contents = vec![(1u32.to_le_bytes().to_vec(), vec![9, 9, 9, 9])];
    let each = c.maps.push(each);
    let loaded = done(&c)?;
    ensure_eq!(loaded.maps[ring].info()?.max_entries, 8192);
    let cpus = skep_sys::cpu::possible_count()?;
    ensure_eq!(loaded.maps[perf].info()?.max_entries as usize, cpus);
    let frozen = &loaded.maps[rodata];
    ensure_eq!(frozen.lookup(&[0; 4])?, Some(vec![1, 2, 3, 4, 5, 6, 7, 8]));
    let written = frozen.update(&[0; 4], &[0; 8], skep_sys::bpf::ElemFlags::NONE);
    ensure!(written.is_err_and(|e| e.is_permission()), "a frozen map is not written");
    let value = loaded.maps[each].lookup(&1u32.to_le_bytes())?.unwrap_or_default();
    ensure_eq!(value, [9, 9, 9, 9, 0, 0, 0, 0].repeat(cpus));
    ensure_eq!(loaded.maps[each].info()?.name, "_a_name__long");
    Ok(())
}

fn maps_of_maps() -> Outcome {
    let mut c = Collection::default();
    let mut outer = spec("outer", MapKind::ArrayOfMaps, 4, 4, 3);
    outer.map.inner = Some(skep_ir::MapId::from_u32(1));
    let outer = c.maps.push(outer);
    let inner = c.maps.push(spec("inner", MapKind::Hash, 4, 4, 8));
    let loaded = done(&c)?;
    use std::os::fd::AsFd;
    let none = skep_sys::bpf::ElemFlags::NONE;
    loaded.maps[outer].update_fd(&[0; 4], loaded.maps[inner].as_fd(), none)?;
    ensure!(loaded.maps[outer].lookup(&[0; 4])?.is_some(), "the inner map is in the outer one");
    Ok(())
}

fn references() -> Outcome {
    let text = "
r6 = ksym[do_exit]
r1 = map[count][0]+0
*(u64 *)(r1 +0) = r6
*(u64 *)(r10 -8) = 7
r1 = map[hash]
r2 = r10
r2 += -8
r3 = r2
r4 = 0
call bpf_map_update_elem#2
r0 = 0
exit
";
    let c = collection("raw_tp", &["once"], text)?;
    let loaded = done(&c)?;
    loaded.programs[0].prog.test_run(&TestRun::default())?;
    let by_name = |name| c.maps.iter().find(|(_, m)| m.map.name == name).map(|(id, _)| &loaded.maps[id]);
    let (Some(count), Some(hash)) = (by_name("count"), by_name("hash")) else {
        return Err(Stop::Fail("the maps are there".into()));
    };
    let address = find_symbols(&["do_exit"])?.0[0].first().map(|s| s.addr);
    let stored = count.lookup(&[0; 4])?.unwrap_or_default();
    ensure_eq!(Some(stored), address.map(|a| a.to_le_bytes().to_vec()));
    let seven = 7u64.to_le_bytes();
    ensure_eq!(hash.lookup(&seven)?, Some(seven.to_vec()));
    Ok(())
}

fn bound() -> Outcome {
    let kernel = LiveKernel::new();
    if !kernel.has(Feature::TpBtf) {
        return Err(Stop::Skip("no tp_btf".into()));
    }
    let c = collection("tp_btf", &["sched_switch", "sched_wakeup"], NOTHING)?;
    let loaded = load(&c, &kernel, &LoadOptions::default())?;
    let places: Vec<_> = loaded.programs.iter().map(|p| p.attach.clone()).collect();
    ensure_eq!(places, vec![0..1, 1..2]);
    let id = |i: usize| loaded.programs[i].prog.info().map(|info| info.attach_btf_id);
    ensure!(id(0)? != id(1)? && id(0)? != 0, "they are bound to different tracepoints");
    if kernel.has(Feature::Kfuncs) && kernel.btf().is_some_and(|b| b.func("bpf_rcu_read_lock").is_some()) {
        let text = "call kfunc:bpf_rcu_read_lock\ncall kfunc:bpf_rcu_read_unlock\nr0 = 0\nexit\n";
        let loaded = load(&collection("tp_btf", &["sched_switch"], text)?, &kernel, &LoadOptions::default())?;
        let code = loaded.programs[0].prog.code()?;
        ensure!(!decode(&code.xlated, Endian::Little)?.is_empty(), "it is there");
    }
    Ok(())
}

fn mixed() -> Outcome {
    let mut c = collection("kprobe", &["do_exit"], NOTHING)?;
    let many = Attach::KprobeMulti { symbols: vec!["do_exit".into()], ret: false };
    c.programs[0].attach.extend([many.clone(), many]);
    let places: Vec<_> = done(&c)?.programs.iter().map(|p| p.attach.clone()).collect();
    ensure_eq!(places, [0..1, 1..3]);
    Ok(())
}

fn unknown_names() -> Outcome {
    let message = |c: Collection| match done(&c) {
        Ok(_) => "loaded".to_owned(),
        Err(e) => e.diagnostic.render(&c.sources, false),
    };
    let text = message(collection("tp_btf", &["sched_swich"], NOTHING)?);
    ensure!(text.contains("the kernel describes no tracepoint sched_swich"), "{text}");
    ensure!(text.contains("HINT: did you mean sched_switch"), "{text}");
    ensure!(text.contains("prog.s:1:1-7"), "it has a place: {text}");
    let text = message(collection("raw_tp", &[], "r1 = ksym[no_such_symbol]\nr0 = 0\nexit\n")?);
    ensure!(text.contains("the kernel has no symbol no_such_symbol"), "{text}");
    let text = message(collection("raw_tp", &[], "call kfunc:no_such_kfunc\nr0 = 0\nexit\n")?);
    ensure!(text.contains("the kernel has no kernel function no_such_kfunc"), "{text}");
    Ok(())
}

fn many(count: usize) -> Result<Collection, String> {
    let mut c = collection("raw_tp", &["sched_switch"], NOTHING)?;
    for i in 1..count {
        add_program(&mut c, &format!("prog{i}"), "raw_tp", &["sched_switch"], NOTHING)?;
    }
    Ok(c)
}

fn subset() -> Outcome {
    let options = LoadOptions { programs: Some(&[2, 0]), ..LoadOptions::default() };
    let loaded = load(&many(4)?, &LiveKernel::new(), &options)?;
    let specs: Vec<usize> = loaded.programs.iter().map(|p| p.spec).collect();
    ensure_eq!(specs, [0, 2]);
    Ok(())
}

fn failures() -> Outcome {
    let mut c = many(40)?;
    add_program(&mut c, "bad", "raw_tp", &["sched_switch"], "r0 = r5\nexit\n")?;
    add_program(&mut c, "good", "raw_tp", &["sched_switch"], NOTHING)?;
    let failure = match done(&c) {
        Ok(_) => return Err(Stop::Fail("a bad program loaded".into())),
        Err(failure) => failure,
    };
    ensure_eq!(failure.stage, Stage::Program(40));
    ensure!(failure.log.text.contains("!read_ok"), "{}", failure.log.text);
    ensure!(
        failure.diagnostic.render(&c.sources, false).starts_with("bad.s:1:1-8: ERROR: bad: "),
        "{failure}"
    );
    for threads in [0, 1, 3] {
        let options = LoadOptions { keep_going: true, threads, ..LoadOptions::default() };
        let loaded = load(&c, &LiveKernel::new(), &options)?;
        ensure_eq!(loaded.programs.len(), 41);
        ensure_eq!(loaded.failed.len(), 1);
        ensure!(loaded.programs.iter().map(|p| p.spec).is_sorted(), "in the order of the collection");
    }
    Ok(())
}

fn forbidden() -> Outcome {
    let kernel = LiveKernel::new();
    if kernel.has(Feature::Fentry) {
        return Err(Stop::Skip("this kernel has fentry".into()));
    }
    if kernel.open_btf().is_err() {
        return Err(Stop::Skip("this kernel has no BTF".into()));
    }
    let c = collection("fentry", &["do_exit"], NOTHING)?;
    match load(&c, &kernel, &LoadOptions::default()) {
        Ok(_) => Err(Stop::Fail("it loads, and the probe said that it does not".into())),
        Err(e) => {
            let text = e.diagnostic.render(&c.sources, false);
            ensure!(text.contains("forbids programs of kind fentry to everybody"), "{text}");
            ensure!(text.contains("use a kprobe, or a tracepoint"), "{text}");
            Ok(())
        }
    }
}

fn thousand() -> Outcome {
    let c = many(1000)?;
    let start = Instant::now();
    let loaded = done(&c)?;
    let took = start.elapsed();
    ensure_eq!(loaded.programs.len(), 1000);
    // Kernels in machines that are emulated take their time.
    let emulated = std::fs::read_to_string("/proc/cpuinfo")?.contains("QEMU");
    let most = Duration::from_secs(if emulated { 60 } else { 3 });
    ensure!(took < most, "1000 programs took {took:?}");
    Ok(())
}

fn log() -> Outcome {
    let options = LoadOptions { log_level: log_level::STATES, ..LoadOptions::default() };
    let loaded = load(&many(1)?, &LiveKernel::new(), &options)?;
    let log = loaded.programs[0].log.clone().unwrap_or_default();
    ensure!(log.text.contains("processed 2 insns"), "{}", log.text);
    Ok(())
}

fn bad_maps() -> Outcome {
    let kernel = LiveKernel::without(FeatureSet::default());
    let text = |map| {
        let mut c = Collection::default();
        c.maps.push(map);
        match load(&c, &kernel, &LoadOptions::default()) {
            Ok(_) => "made".to_owned(),
            Err(e) => e.diagnostic.render(&c.sources, false),
        }
    };
    let zero = text(spec("zero", MapKind::Hash, 4, 4, 0));
    ensure!(zero.starts_with("ERROR: map zero cannot be made: bpf(BPF_MAP_CREATE): EINVAL"), "{zero}");
    let mut pinned = spec("pinned", MapKind::Hash, 4, 4, 1);
    pinned.map.pin = Some("pinned".into());
    let pinned = text(pinned);
    ensure!(pinned.contains("no directory is given"), "{pinned}");
    Ok(())
}

/// A trampoline on a function of a loaded module, if there is one.
fn module_functions() -> Outcome {
    let kernel = LiveKernel::new();
    if !kernel.has(Feature::Fentry) {
        return Err(Stop::Skip("this kernel has no fentry".into()));
    }
    let names = skep_sys::fs::kernel_btf_names()?;
    for module in names.iter().filter(|n| *n != "vmlinux") {
        let Some(btf) = kernel.module_btf(module) else { continue };
        let own = btf.first_id();
        // Some of them are inlined everywhere, or share their names: the first that can be traced will do.
        let function = btf.named(KindMask::FUNC).filter(|(id, _)| *id >= own).map(|(_, name)| name);
        for function in function.filter(|f| !f.starts_with("__")).take(20) {
            let mut c = collection("fentry", &[function], NOTHING)?;
            c.programs[0].attach =
                vec![Attach::Trampoline { function: function.to_owned(), module: module.clone() }];
            match load(&c, &kernel, &LoadOptions::default()) {
                Ok(loaded) => {
                    let info = loaded.programs[0].prog.info()?;
                    let object = kernel.module_btf_object(module)?.info()?;
                    ensure_eq!(info.attach_btf_obj_id, object.id);
                    return Ok(());
                }
                Err(e) => ensure!(!e.log.text.is_empty(), "{module}: {function}: {e}"),
            }
        }
    }
    Err(Stop::Skip(format!("no module with a function to trace: {}", names.join(" "))))
}

/// Environment variable that makes the test binary load a program that takes the verifier long.
const STOPPED: &str = "SKEP_TEST_STOPPED";

/// In the process that is stopped: whether the load succeeded. `None` in any other.
pub(crate) fn as_stopped() -> Option<bool> {
    std::env::var_os(STOPPED)?;
    // 100,000 steps.
    let text = "r6 = 0\nr6 += 1\nif r6 < 50000 goto pc-2\nr0 = 0\nexit\n";
    let c = collection("raw_tp", &["sched_switch"], text).ok()?;
    Some(done(&c).is_ok())
}

/// A process that is stopped has a signal pending, and the verifier gives up when it sees one.
fn signals() -> Outcome {
    let mut child = Command::new(std::env::current_exe()?).env(STOPPED, "1").spawn()?;
    let pid = rustix::process::Pid::from_child(&child);
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(5));
        if child.try_wait()?.is_some() {
            break;
        }
        rustix::process::kill_process(pid, rustix::process::Signal::STOP)?;
        std::thread::sleep(Duration::from_millis(1));
        rustix::process::kill_process(pid, rustix::process::Signal::CONT)?;
    }
    ensure!(child.wait()?.success(), "the load was ended by a signal");
    Ok(())
}

/// Environment variable that makes the test binary do what a process without capabilities does.
const UNPRIVILEGED: &str = "SKEP_TEST_WITHOUT_CAPABILITIES";

/// In the process without capabilities: what users read. `None` in any other.
pub(crate) fn as_unprivileged() -> Option<String> {
    std::env::var_os(UNPRIVILEGED)?;
    let kernel = LiveKernel::new();
    let mut c = collection("raw_tp", &["sched_switch"], NOTHING).ok()?;
    let text = |c: &Collection| match load(c, &kernel, &LoadOptions::default()) {
        Ok(_) => "loaded\n".to_owned(),
        Err(e) => e.diagnostic.render(&c.sources, false),
    };
    let program = text(&c);
    c.maps.push(spec("m", MapKind::Hash, 4, 4, 1));
    let map = text(&c);
    Some(format!("{program}{map}{:?} {}\n", kernel.answer(Feature::BpfLoop), kernel.has(Feature::BpfLoop)))
}

fn unprivileged() -> Outcome {
    let own = std::env::current_exe()?;
    let run = Command::new("setpriv").arg("--bounding-set=-all").arg(own).env(UNPRIVILEGED, "1").output();
    let run = run.map_err(|e| Stop::Skip(format!("setpriv: {e}")))?;
    let hint = "HINT: run as root, or give skep these capabilities\n";
    let expected = format!(
        "prog.s:1:1-7: ERROR: loading program prog needs CAP_BPF and CAP_PERFMON\nr0 = 0\n~~~~~~\n{hint}\
         ERROR: loading map m needs CAP_BPF\n{hint}Unknown true\n"
    );
    ensure_eq!(String::from_utf8_lossy(&run.stdout), expected);
    Ok(())
}

/// Environment variable with a bpffs that the test binary pins maps in.
const PINS: &str = "SKEP_TEST_PINS";

/// In the process with a bpffs: what became of the pins. `None` in any other.
pub(crate) fn as_pinner() -> Option<String> {
    let dir = std::path::PathBuf::from(std::env::var_os(PINS)?);
    let kernel = LiveKernel::new();
    let options = LoadOptions { pin_dir: Some(&dir), ..LoadOptions::default() };
    let id = |value_size| {
        let mut c = Collection::default();
        let mut kept = spec("kept", MapKind::Hash, 4, value_size, 1);
        kept.map.pin = Some("kept".into());
        let map = c.maps.push(kept);
        let loaded = load(&c, &kernel, &options).map_err(|e| e.diagnostic.message.clone())?;
        loaded.maps[map].info().map(|info| info.id).map_err(|e| e.to_string())
    };
    let (first, again, other) = (id(4), id(4), id(8));
    let still = skep_sys::bpf::Map::from_pin(&dir.join("kept")).and_then(|m| m.info()).map(|i| i.id);
    let kept = first.is_ok() && first == again && still.is_ok_and(|id| first == Ok(id));
    Some(format!("{kept} {}\n", other.err().unwrap_or_default().replace(&*dir.to_string_lossy(), "DIR")))
}

fn pins() -> Outcome {
    let script = r#"dir=$(mktemp -d) && mount -t bpf bpf "$dir" && SKEP_TEST_PINS="$dir" "$1"
        umount "$dir" && rmdir "$dir""#;
    let own = std::env::current_exe()?;
    let run = Command::new("unshare").args(["-m", "sh", "-c", script, "sh"]).arg(own).output();
    let run = run.map_err(|e| Stop::Skip(format!("unshare: {e}")))?;
    let expected = "true map kept cannot be made: bpf(BPF_OBJ_GET): EEXIST (File exists): DIR/kept holds a hash map with \
        keys of 4 and values of 4 bytes and 1 entries\n";
    ensure_eq!(String::from_utf8_lossy(&run.stdout), expected);
    Ok(())
}
