//! Programs as text, and the maps that they use.

use crate::harness::Stop;
use skep_asm::{Endian, encode};
use skep_btf::{Btf, KindMask};
use skep_ir::inst::Ledger;
use skep_sys::SysError;
use skep_sys::bpf::{AttachType, Map, MapCreate, MapFlags, MapType, Prog, ProgLoad, ProgType};
use skep_sys::fs::KernelBtf;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Number of getppid(2), which nothing else calls in a loop.
pub(crate) const GETPPID: i32 = if cfg!(target_arch = "x86_64") { 110 } else { 173 };

/// Held by who counts the calls of getppid(2) of this process.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls getppid(2) in this thread, while nobody else counts it.
pub(crate) fn call(times: usize) {
    let _alone = alone();
    for _ in 0..times {
        let _ = rustix::process::getppid();
    }
}

pub(crate) fn fd(map: &Map) -> i32 {
    map.as_fd().as_raw_fd()
}

/// Loads a program from its text.
pub(crate) fn load(prog_type: ProgType, text: &str) -> Result<Prog, Stop> {
    load_for(prog_type, AttachType(0), text)
}

pub(crate) fn load_for(prog_type: ProgType, attach_type: AttachType, text: &str) -> Result<Prog, Stop> {
    let parsed = skep_asm::text::parse(text).map_err(|e| Stop::Fail(format!("{e} in\n{text}")))?;
    let insns = encode(&parsed.code.insns, Endian::Little);
    let load = ProgLoad {
        prog_type,
        insns: &insns,
        license: "GPL",
        name: "skep_test",
        expected_attach_type: attach_type,
        ..ProgLoad::default()
    };
    Prog::load(&load).map_err(|e| Stop::Fail(format!("{e}\n{}", e.log.text)))
}

pub(crate) fn ring(size: u32) -> Result<Map, SysError> {
    Map::create(&MapCreate { map_type: MapType::RINGBUF, max_entries: size, ..MapCreate::default() })
}

pub(crate) fn perf_array() -> Result<Map, SysError> {
    Map::create(&MapCreate {
        map_type: MapType::PERF_EVENT_ARRAY,
        key_size: 4,
        value_size: 4,
        max_entries: skep_sys::cpu::possible_count()? as u32,
        ..MapCreate::default()
    })
}

pub(crate) fn ledger(rows: u32) -> Result<Map, SysError> {
    Map::create(&MapCreate {
        map_type: MapType::PERCPU_ARRAY,
        key_size: 4,
        value_size: 8 * Ledger::COLUMNS,
        max_entries: rows,
        ..MapCreate::default()
    })
}

/// An array of one `u64`.
pub(crate) fn word(shared: bool) -> Result<Map, SysError> {
    Map::create(&MapCreate {
        map_type: MapType::ARRAY,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        flags: if shared { MapFlags::MMAPABLE } else { MapFlags::NONE },
        ..MapCreate::default()
    })
}

/// Adds 1 to a word made by [`word`].
pub(crate) fn counting(word: &Map) -> String {
    format!(
        "r2 = map[fd:{}][0]+0
         r1 = 1
         lock *(u64 *)(r2 +0) += r1
         r0 = 0
         exit",
        fd(word)
    )
}

/// Loads a program for a function or type of the kernel; a kernel that has no such programs skips the test.
pub(crate) fn load_tracing(attach_type: AttachType, name: &str, text: &str) -> Result<Prog, Stop> {
    let bytes = match KernelBtf::open("vmlinux") {
        Err(e) if e.is_not_found() => return Err(Stop::Skip(e.to_string())),
        other => other?,
    };
    let btf = Btf::parse(bytes.to_vec())?;
    let id = btf.find(name, KindMask::FUNC | KindMask::TYPEDEF);
    let id = id.ok_or_else(|| Stop::Skip(format!("the kernel has no {name}")))?;
    let parsed = skep_asm::text::parse(text).map_err(|e| Stop::Fail(format!("{e} in\n{text}")))?;
    let insns = encode(&parsed.code.insns, Endian::Little);
    let load = ProgLoad {
        prog_type: ProgType::TRACING,
        insns: &insns,
        license: "GPL",
        name: "skep_test",
        expected_attach_type: attach_type,
        attach_btf_id: id.0,
        ..ProgLoad::default()
    };
    match Prog::load(&load) {
        // A kernel without direct calls of ftrace refuses before it looks at the program.
        Err(e) if e.is_refused_unchecked() => Err(Stop::Skip(format!("{attach_type}: {e}"))),
        other => other.map_err(|e| Stop::Fail(format!("{e}\n{}", e.log.text))),
    }
}
