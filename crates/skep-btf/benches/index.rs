//! What the index and the commonest questions cost on the running kernel's BTF.
//!
//! Prints milliseconds of one thread that never waits, so that the least of many runs is its CPU time, the
//! median, and the ratio to reading all bytes once, which nothing that looks at everything can beat.
#![allow(clippy::print_stdout, reason = "a benchmark reports on stdout")]

use skep_btf::{Btf, CPrinter, KindMask, NameIndex};
use std::hint::black_box;
use std::time::Instant;

const RUNS: usize = 41;

/// Least and median milliseconds of a function.
fn measure<T>(mut f: impl FnMut() -> T) -> (f64, f64) {
    let mut times: Vec<u64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            black_box(f());
            start.elapsed().as_nanos() as u64
        })
        .collect();
    times.sort_unstable();
    (times[0] as f64 / 1e6, times[RUNS / 2] as f64 / 1e6)
}

fn main() {
    let path = "/sys/kernel/btf/vmlinux";
    let Ok(bytes) = std::fs::read(path) else {
        println!("skipped: no {path}");
        return;
    };
    let bytes: &'static [u8] = bytes.leak();
    let words =
        || bytes.chunks_exact(8).fold(0u64, |sum, w| sum ^ w.iter().fold(0, |n, &b| n << 8 | u64::from(b)));
    let read = measure(|| black_box(words()));
    let report = |what: &str, (least, median): (f64, f64)| {
        println!("{what:44} {least:8.3} {median:8.3} ms  {:6.2} x read", least / read.0);
    };
    println!("{} bytes of {path}{:>24} {:>8}", bytes.len(), "least", "median");
    report("read every byte", read);
    report("index", measure(|| Btf::parse(bytes).map(|b| b.id_count())));
    let Ok(btf) = Btf::parse(bytes) else {
        println!("the bytes cannot be indexed");
        return;
    };
    report("one missing struct", measure(|| btf.find("no_such_type_there", KindMask::STRUCT)));
    report("one missing name", measure(|| btf.find("no_such_type_there", KindMask::ANY)));
    let names: Vec<&str> = btf.named(KindMask::STRUCT).map(|(_, name)| name).step_by(100).collect();
    let asked: Vec<(&str, KindMask)> =
        names.iter().map(|&n| (n, KindMask::STRUCT)).chain([("no_such_type_there", KindMask::ANY)]).collect();
    report(&format!("{} names in one scan", asked.len()), measure(|| btf.find_many(&asked)));
    report("one missing enumeration constant", measure(|| btf.enum_value("NO_SUCH_CONSTANT")));
    report("hash index of all names", measure(|| NameIndex::new(&btf)));
    report(
        "near names of a missing struct",
        measure(|| btf.similar_types("task_strct", KindMask::STRUCT, 3)),
    );
    let Some(task) = btf.find("task_struct", KindMask::STRUCT) else {
        println!("no task_struct");
        return;
    };
    report(
        "1000 fields of task_struct",
        measure(|| (0..1000).filter_map(|_| btf.field(task, "prio")).count()),
    );
    report("definition of task_struct", measure(|| btf.c_definition(task)));
    report(
        "definitions of all structs",
        measure(|| {
            let (mut printer, mut out) = (CPrinter::new(&btf), String::new());
            btf.named(KindMask::STRUCT).filter(|&(id, _)| printer.definition(&mut out, id).is_ok()).count()
        }),
    );
}
