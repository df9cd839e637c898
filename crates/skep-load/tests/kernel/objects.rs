//! Object files, loaded by another loader: the kernel must end up with the same code as when skep loads the
//! collection itself.

use crate::harness::{Needs, Outcome, Stop, Test, ensure_eq};
use crate::support::{add_program, collection};
use skep_btf::info::FuncInfo;
use skep_btf::{Builder, IntEncoding, Linkage, Supported};
use skep_ir::spec::Collection;
use skep_load::{LiveKernel, LoadOptions, elf, load};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

pub(crate) const TESTS: &[Test] = &[
    ("object_with_maps_loads_elsewhere", Needs::Root, maps),
    ("object_with_values_loads_elsewhere", Needs::Root, values),
    ("object_with_functions_loads_elsewhere", Needs::Root, functions),
    ("object_with_kernel_addresses_loads_elsewhere", Needs::Root, addresses),
];

/// Loads an object file with bpftool, and so libbpf, into a bpffs of a mount namespace of its own; the first
/// argument is the file. Prints what `prog show` says of each program.
const SCRIPT: &str = r#"
set -e
dir=$(mktemp -d)
mount -t bpf bpf "$dir"
trap 'umount "$dir"; rmdir "$dir"' EXIT
mkdir "$dir/progs"
bpftool prog loadall "$1" "$dir/progs" >&2
for pin in "$dir"/progs/*; do bpftool prog show pinned "$pin"; done
"#;

/// Tags of the programs by their names; a tag is a hash of the code.
fn elsewhere(bytes: &[u8], name: &str) -> Result<BTreeMap<String, String>, Stop> {
    let found = Command::new("bpftool").arg("version").output();
    found.map_err(|e| Stop::Skip(format!("bpftool: {e}")))?;
    let path = std::env::temp_dir().join(format!("skep-object-{name}-{}.o", std::process::id()));
    std::fs::write(&path, bytes)?;
    let run = Command::new("unshare").args(["-m", "sh", "-c", SCRIPT, "sh"]).arg(&path).output();
    std::fs::remove_file(&path)?;
    let run = run.map_err(|e| Stop::Skip(format!("unshare: {e}")))?;
    if !run.status.success() {
        return Err(Stop::Fail(String::from_utf8_lossy(&run.stderr).into_owned()));
    }
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    let word = |line: &str, key: &str| {
        line.split_whitespace().skip_while(|w| *w != key).nth(1).unwrap_or_default().to_owned()
    };
    let lines = text.lines().filter(|line| line.contains(" tag "));
    Ok(lines.map(|line| (word(line, "name"), word(line, "tag"))).collect())
}

fn same(c: &Collection, name: &str) -> Outcome {
    let there = elsewhere(&elf::write(c)?, name)?;
    let loaded = load(c, &LiveKernel::new(), &LoadOptions::default())?;
    let mut here = BTreeMap::new();
    for program in &loaded.programs {
        let tag: String = program.prog.info()?.tag.iter().map(|b| format!("{b:02x}")).collect();
        here.insert(c.programs[program.spec].name.clone(), tag);
    }
    ensure_eq!(there, here);
    Ok(())
}

fn maps() -> Outcome {
    let text = "
*(u64 *)(r10 -8) = 0
r2 = r10
r2 += -8
r1 = map[hash]
call bpf_map_lookup_elem#1
r1 = map[ring]
r2 = r10
r2 += -8
r3 = 8
r4 = 0
call bpf_ringbuf_output#130
r0 = 0
exit
";
    let mut c = collection("tracepoint", &["syscalls:sys_enter_getppid"], text)?;
    add_program(&mut c, "second", "raw_tp", &["sched_switch"], text)?;
    same(&c, "maps")
}

fn values() -> Outcome {
    let text = r#"
r1 = map[.rodata][0]+4
r6 = *(u32 *)(r1 +0)
r1 = map[".bss"][0]+0
*(u32 *)(r1 +0) = r6
r1 = map[count][0]+0
*(u64 *)(r1 +0) = r6
r0 = 0
exit
"#;
    let mut c = collection("raw_tp", &["sched_switch"], text)?;
    for spec in c.maps.values_mut().filter(|m| m.map.name == ".rodata") {
        // What loaders ask for by themselves for such a section.
        spec.map.flags = skep_sys::bpf::MapFlags::RDONLY_PROG.0;
        spec.frozen = true;
        spec.map.contents = vec![(vec![0; 4], vec![1, 0, 0, 0, 2, 0, 0, 0])];
    }
    same(&c, "values")
}

fn functions() -> Outcome {
    let text = "
main:
call f
r1 = 3
r2 = subprog[g]
r3 = 0
r4 = 0
call bpf_loop#181
r0 = 0
exit
f:
call h
r0 += 1
exit
g:
call h
r0 = 0
exit
h:
r0 = 0
exit
";
    let mut c = collection("raw_tp", &["sched_switch"], text)?;
    add_program(&mut c, "second", "raw_tp", &["sched_switch"], text)?;
    describe_functions(&mut c)?;
    // The order of functions in the code is each loader's own: only that they load can be compared.
    let there = elsewhere(&elf::write(&c)?, "functions")?;
    ensure_eq!(there.keys().collect::<Vec<_>>(), ["prog", "second"]);
    Ok(())
}

fn addresses() -> Outcome {
    same(&collection("raw_tp", &["sched_switch"], "r1 = ksym[do_exit]\nr0 = 0\nexit\n")?, "addresses")
}

/// Gives every function a type, which those that the kernel calls back must have.
fn describe_functions(c: &mut Collection) -> Result<(), Stop> {
    let mut builder = Builder::new();
    let int = builder.int("int", 4, IntEncoding::Signed);
    let proto = builder.func_proto(int, []);
    for program in &mut c.programs {
        let targets = program.insns.iter().enumerate().filter_map(|(at, insn)| insn.subprog_target(at));
        let starts: BTreeSet<u32> = targets.map(|t| t as u32).chain([0]).collect();
        for (i, insn_off) in starts.into_iter().enumerate() {
            let type_id = builder.func(&format!("{}_{i}", program.name), proto, Linkage::Static);
            program.func_info.push(FuncInfo { insn_off, type_id });
        }
    }
    c.btf = builder.encode(Supported::ALL)?.bytes;
    Ok(())
}
