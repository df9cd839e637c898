//! The live system, asked about files whose contents are known.

use super::{Kernel, LiveEnv};
use crate::symbols::testing::{Folder, PROGRAM, TYPED, line_of};
use skep_btf::{Btf, KindMask, Type};
use skep_ir::kernel::Arch;
use skep_ir::{Feature, KernelInfo};
use skep_trace::env::{BinaryError, Env, UserBinary};
use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;

/// A kernel that nothing is known about.
struct NoKernel;

impl KernelInfo for NoKernel {
    fn arch(&self) -> Arch {
        Arch::X86_64
    }
    fn page_size(&self) -> u32 {
        4096
    }
    fn possible_cpus(&self) -> u32 {
        1
    }
    fn has(&self, _: Feature) -> bool {
        true
    }
    fn btf(&self) -> Option<&Btf> {
        None
    }
}

impl Kernel for NoKernel {
    fn module_btf(&self, _: &str) -> Option<Arc<Btf>> {
        None
    }
}

fn env() -> LiveEnv<'static> {
    LiveEnv::new(&NoKernel)
}

fn open(env: &LiveEnv<'_>, path: &std::path::Path) -> Arc<dyn UserBinary> {
    env.binary(path.to_str().expect("made by this test"), None).expect("a program")
}

/// Name, address and size of defined functions as `readelf` sees them.
fn readelf_functions(folder: &Folder, path: &str, table: &str) -> Option<Vec<(String, u64, u64)>> {
    let text = folder.run("readelf", &["-W", table, path])?;
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, value, size, "FUNC" | "IFUNC", _, _, section, name, ..] = words[..] else { return None };
        let size = size.strip_prefix("0x").map_or_else(|| size.parse(), |hex| u64::from_str_radix(hex, 16));
        let name = name.split('@').next().expect("split yields a part").to_owned();
        (section != "UND").then(|| Some((name, u64::from_str_radix(value, 16).ok()?, size.ok()?)))?
    };
    Some(text.lines().filter_map(line).collect())
}

#[test]
fn libc_by_name() {
    let env = env();
    let paths = env.find_binary("libc", None);
    let path = paths.first().expect("every test runs with libc").clone();
    let libc = env.binary(&path, None).expect("a library");
    let malloc = libc
        .functions()
        .binary_search_by(|s| s.name.as_str().cmp("malloc"))
        .map(|i| libc.functions()[i].clone());
    let malloc = malloc.expect("libc has malloc");
    assert_eq!(env.find_binary("libc.so.6", None), std::slice::from_ref(&path));

    let folder = Folder::new("libc");
    let Some(expected) = readelf_functions(&folder, &path, "--dyn-syms") else { return };
    let (_, address, size) = expected.iter().find(|(name, ..)| name == "malloc").expect("libc has malloc");
    assert_eq!((malloc.address, malloc.size), (*address, *size));
    assert_eq!(libc.file_offset(*address), Some(malloc.offset));
    assert_eq!(libc.address_of(malloc.offset), Some(malloc.address));
    let known: BTreeSet<&str> = libc.functions().iter().map(|s| s.name.as_str()).collect();
    let missing: Vec<_> = expected.iter().filter(|(name, ..)| !known.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let other = self::env();
    let other = other.binary(&path, None).expect("a library");
    assert_eq!(other.function("malloc").as_ref(), Some(&malloc));
    assert_eq!(other.function("mallo"), None);
    for name in known.iter().step_by(50) {
        let at = libc.functions().partition_point(|f| f.name.as_str() < *name);
        let found = other.function(name).expect("it is listed");
        let of_that_name = libc.functions()[at..].iter().take_while(|f| f.name == *name);
        assert!(of_that_name.clone().any(|f| *f == found), "{name}");
    }
}

#[test]
fn programs_of_all_kinds() {
    let folder = Folder::new("programs");
    for (name, flags) in [
        ("pie", &["-O1", "-pie", "-fPIE"][..]),
        ("fixed", &["-O1", "-no-pie", "-fno-PIE"]),
        ("debug", &["-O0", "-g", "-Wl,--build-id"]),
    ] {
        let Some(program) = folder.compile(name, PROGRAM, flags) else { return };
        let text = program.to_str().expect("made by this test");
        let env = env();
        let binary = open(&env, &program);
        assert!(!binary.is_stripped());
        let expected = readelf_functions(&folder, text, "--syms").expect("binutils come with the compiler");
        let by_name: HashMap<&str, _> = binary.functions().iter().map(|s| (s.name.as_str(), s)).collect();
        for name in ["twice", "hidden", "main"] {
            let (_, address, size) = expected.iter().find(|(n, ..)| n == name).expect("readelf knows it");
            assert_eq!((by_name[name].address, by_name[name].size), (*address, *size), "{name}");
        }
        let (address, size) = binary.variable("counter").expect("a variable");
        assert_eq!(size, 4);
        let at = binary.file_offset(address).expect("it has a value") as usize;
        let bytes = std::fs::read(&program).expect("just made");
        assert_eq!(bytes[at..at + 4], 42u32.to_ne_bytes());
        assert_eq!(binary.variable("twice"), None);

        let notes = binary.usdt();
        let names: Vec<&str> = notes.iter().map(|n| n.name.as_str()).collect();
        assert_eq!(names, ["plain", "gate"]);
        for note in notes {
            assert_eq!(bytes[note.offset as usize], 0x90, "a probe is a nop");
            assert!(note.args.starts_with("-4@%"), "{}", note.args);
        }
        assert_eq!(notes[0].semaphore, 0);
        let (semaphore, _) = binary.variable("test_gate_semaphore").expect("a variable");
        assert_eq!(Some(notes[1].semaphore), binary.file_offset(semaphore));

        instructions(&folder, text, &*binary, by_name["twice"].address, by_name["twice"].size);
        stripped(&folder, &program, &*binary);
    }
}

/// Instructions begin where the disassembler says.
fn instructions(folder: &Folder, path: &str, binary: &dyn UserBinary, start: u64, size: u64) {
    let range = [format!("--start-address={start:#x}"), format!("--stop-address={:#x}", start + size)];
    let args = ["-d", "--no-show-raw-insn", &range[0], &range[1], path];
    let text = folder.run("objdump", &args).expect("binutils come with the compiler");
    let address = |line: &str| u64::from_str_radix(line.trim_start().split_once(":\t")?.0, 16).ok();
    let expected: Vec<u64> = text.lines().filter_map(address).collect();
    assert!(expected.len() > 3);
    let found: Vec<u64> =
        (start..start + size).filter(|at| binary.is_instruction_start(*at) == Some(true)).collect();
    assert_eq!(found, expected);
}

/// A stripped copy keeps what the linker needs; with its debug file it has everything again.
fn stripped(folder: &Folder, program: &std::path::Path, full: &dyn UserBinary) {
    let name = program.file_name().and_then(|n| n.to_str()).expect("made by this test");
    let (copy, debug) = (format!("{name}.stripped"), format!("{name}.debug"));
    folder.run("objcopy", &["--only-keep-debug", name, &debug]).expect("binutils");
    folder.run("objcopy", &["--strip-all", name, &copy]).expect("binutils");
    let env = env();
    let bare = open(&env, &folder.path().join(&copy));
    assert!(bare.is_stripped());
    assert!(bare.functions().iter().all(|f| f.name != "hidden"));
    let twice = full.functions().iter().find(|f| f.name == "twice").expect("a function");
    assert_eq!(bare.is_instruction_start(twice.address), None);
    assert_eq!(bare.usdt(), full.usdt());

    let linked = format!("{name}.linked");
    folder.run("objcopy", &[&format!("--add-gnu-debuglink={debug}"), &copy, &linked]).expect("binutils");
    let whole = open(&env, &folder.path().join(&linked));
    assert!(!whole.is_stripped());
    assert_eq!(whole.functions(), full.functions());

    // Another file of that name does not count.
    let other = folder.path().join(&debug);
    let mut bytes = std::fs::read(&other).expect("just made");
    bytes.push(0);
    let id = folder.run("readelf", &["-n", name]).expect("binutils");
    if !id.contains("Build ID") {
        std::fs::write(&other, bytes).expect("the test's folder");
        assert!(open(&super::tests::env(), &folder.path().join(&linked)).is_stripped());
    }
}

#[test]
fn files_that_are_no_programs() {
    let folder = Folder::new("others");
    let path = |name: &str| folder.path().join(name).to_str().expect("made by this test").to_owned();
    let env = env();
    let why = |path: &str| match env.binary(path, None) {
        Ok(_) => "a program".to_owned(),
        Err(BinaryError::Missing) => "missing".to_owned(),
        Err(BinaryError::NotElf(what)) => what,
        Err(BinaryError::Io(why)) => format!("error: {why}"),
    };
    std::fs::write(path("script"), "#!/bin/sh\n").expect("the test's folder");
    std::fs::write(path("text"), "hello\n").expect("the test's folder");
    std::fs::write(path("empty"), "").expect("the test's folder");
    std::fs::write(path("short"), b"\x7fELF\x02").expect("the test's folder");
    folder.run("mkfifo", &["pipe"]).expect("coreutils");
    let mut foreign = std::fs::read("/proc/self/exe").expect("this program");
    foreign.truncate(1 << 20);
    foreign[18..20].copy_from_slice(&243u16.to_le_bytes());
    std::fs::write(path("foreign"), &foreign).expect("the test's folder");

    assert_eq!(why(&path("script")), "a script");
    assert_eq!(why(&path("text")), "a text file");
    assert_eq!(why(&path("empty")), "an empty file");
    assert!(why(&path("short")).starts_with("a damaged ELF file"), "{}", why(&path("short")));
    assert_eq!(why(&path("pipe")), "a pipe");
    assert_eq!(why("/"), "a folder");
    assert_eq!(why("/dev/null"), "a device");
    assert_eq!(why("/proc/self/maps"), "an empty file");
    assert_eq!(why(&path("foreign")), "a program for RISC-V");
    assert_eq!(why(&path("absent")), "missing");
    assert_eq!(why("/proc/self/exe"), "a program");
}

#[test]
fn names_of_files() {
    let folder = Folder::new("names");
    for name in ["one", "two", ".dot"] {
        std::fs::copy("/proc/self/exe", folder.path().join(name)).expect("the test's folder");
    }
    let env = env();
    let at = folder.path().to_str().expect("made by this test");
    assert_eq!(env.find_binary(&format!("{at}/*"), None), [format!("{at}/one"), format!("{at}/two")]);
    assert_eq!(env.find_binary(&format!("{at}/t?o"), None), [format!("{at}/two")]);
    assert_eq!(env.find_binary(&format!("{at}/./one"), None), [format!("{at}/one")]);
    assert!(env.find_binary(&format!("{at}/three"), None).is_empty());
    assert!(env.find_binary("", None).is_empty());
    assert!(env.find_binary("*", None).is_empty());
    assert!(env.find_binary("no-such-program", None).is_empty());
    let shell = env.find_binary("sh", None);
    assert!(shell.len() == 1 && shell[0].ends_with("/sh"), "{shell:?}");
    let mapped = env.find_binary("*", Some(std::process::id()));
    let own = std::env::current_exe().expect("/proc is there");
    assert!(mapped.iter().any(|p| *p == own.to_string_lossy()), "{mapped:?}");
    assert_eq!(env.find_binary("libc", Some(std::process::id())).len(), 1);
}

#[test]
fn sources() {
    let folder = Folder::new("sources");
    let path = |name: &str| folder.path().join(name).to_str().expect("made by this test").to_owned();
    let env = env();
    std::fs::write(path("b.bt"), "begin {}").expect("the test's folder");
    std::fs::write(path("a.bt"), b"\xff").expect("the test's folder");
    std::fs::create_dir(path("dir")).expect("the test's folder");
    assert_eq!(env.read_source(&path("b.bt")).as_deref(), Ok("begin {}"));
    assert!(env.read_source(&path("a.bt")).is_err_and(|e| e.contains("UTF-8")));
    assert!(env.read_source(&path("dir")).is_err_and(|e| e.contains("folder")));
    assert!(env.read_source(&path("c.bt")).is_err_and(|e| e.contains("no such file")));
    assert!(env.read_source("/dev/zero").is_err());
    let root = folder.path().to_str().expect("made by this test");
    assert_eq!(env.list_folder(root), Some(vec![path("a.bt"), path("b.bt")]));
    assert_eq!(env.list_folder(&path("b.bt")), None);
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).expect("our folder");
    assert_eq!(env.list_folder(root), None);
    assert!(env.read_source(root).is_err_and(|e| e.contains("everyone")));
    assert!(env.read_source(&path("b.bt")).is_err_and(|e| e.contains("everyone")));
}

#[test]
fn the_system() {
    let env = env();
    assert!(env.variable("PATH").is_some_and(|p| p.contains("bin")));
    assert_eq!(env.variable("SKEP_NO_SUCH_VARIABLE"), None);
    assert_ne!(env.tai_offset(), 0);
    let namespace = env.pid_namespace();
    assert_eq!(namespace.ino, std::fs::metadata("/proc/self/ns/pid").expect("/proc").ino());
    assert_eq!(env.cgroup_id("/tmp"), None);
    if let Ok(meta) = std::fs::metadata("/sys/fs/cgroup/cgroup.procs") {
        let id = std::fs::metadata("/sys/fs/cgroup").expect("it holds the file").ino();
        assert_eq!(env.cgroup_id("/sys/fs/cgroup"), Some(id), "{meta:?}");
    }
    if env.tracepoints_unavailable().is_none() {
        let all = env.tracepoints();
        assert!(all.contains(&("sched".into(), "sched_switch".into())));
        let format = env.tracepoint_format("sched", "sched_switch").expect("it is listed");
        assert!(format.contains("prev_comm"));
        assert_eq!(env.tracepoint_format("sched", "../sched_switch"), None);
    }
    if env.kernel_symbol("_text").is_some_and(|at| at != 0) {
        assert_eq!(env.kernel_symbol("no_such_symbol_here"), None);
        let functions = env.kernel_functions();
        assert!(functions.is_sorted() && functions.len() > 10_000, "{}", functions.len());
        let names: BTreeSet<&str> = functions.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains("vfs_read") && !names.contains("_text_end_of_nothing"));
    }
}

#[test]
fn debug_data() {
    let folder = Folder::new("debug");
    for (name, flags) in [
        ("plain", &["-O1", "-g"][..]),
        ("old", &["-O0", "-gdwarf-4"]),
        ("compressed", &["-O1", "-g", "-Wl,--compress-debug-sections=zlib"]),
    ] {
        let Some(program) = folder.compile(name, TYPED, flags) else { return };
        let env = env();
        let binary = open(&env, &program);
        let measure = binary.functions().iter().find(|f| f.name == "measure").expect("a function").clone();
        let file = format!("{name}.c");
        let begins = line_of(TYPED, "size measure(");
        assert_eq!(binary.line_addresses(&file, begins, None), Some(vec![measure.address]), "{name}");
        let whole = program.with_extension("c");
        assert_eq!(
            binary.line_addresses(whole.to_str().expect("made by this test"), begins, None),
            Some(vec![measure.address])
        );
        let called = binary.line_addresses(&file, line_of(TYPED, "call of measure"), None);
        let called = called.expect("debug data");
        let main = binary.functions().iter().find(|f| f.name == "main").expect("a function").clone();
        assert!(
            called.len() == 1 && (main.address..main.address + main.size).contains(&called[0]),
            "{called:?}"
        );
        assert_eq!(binary.is_instruction_start(called[0]), Some(true));
        assert_eq!(binary.line_addresses(&file, 1, None), Some(Vec::new()));
        assert_eq!(binary.line_addresses("lain.c", begins, None), Some(Vec::new()), "a part of a name");
        types(binary.types().expect("debug data"));
    }
    let bare = folder.compile("bare", TYPED, &[]).expect("it compiled before");
    let env = env();
    let binary = open(&env, &bare);
    assert_eq!(binary.line_addresses("bare.c", 20, None), None);
    assert!(binary.types().is_none());
}

fn types(btf: &Btf) {
    let node = btf.find("node", KindMask::STRUCT).expect("a struct");
    assert_eq!(
        btf.c_definition(node).expect("it is whole"),
        "struct node {\n\tstruct node *next;\n\tconst char *name;\n\tstruct point at[3];\n\t\
         unsigned int ready: 1;\n\tunsigned int level: 5;\n\tenum color color;\n\tunion either value;\n\t\
         double weight;\n\tint (*call)(int);\n};"
    );
    let id = btf.find("measure", KindMask::FUNC).expect("a function");
    let Some(Type::Func(func)) = btf.ty(id) else { panic!("{id:?}") };
    let Some(Type::FuncProto(proto)) = btf.ty(func.proto()) else { panic!("no prototype") };
    let params: Vec<&str> = proto.params().map(|p| p.name()).collect();
    assert_eq!(params, ["n", "label", "max", ""]);
    assert!(proto.is_variadic());
    assert_eq!(btf.name(proto.ret()), "size");
    assert_eq!(btf.enum_value("BLUE").map(|v| v.value), Some(6));
    assert_eq!(btf.field_path(node, "at[2].y").ok().and_then(|f| f.byte_offset()), Some(16 + 2 * 8 + 4));
}

#[test]
fn library_in_an_archive() {
    let folder = Folder::new("archive");
    let Some(program) = folder.compile("member", PROGRAM, &["-shared", "-fPIC"]) else { return };
    let script = "import sys, zipfile\n\
        z = zipfile.ZipFile('a.zip', 'w')\n\
        z.write('member', 'lib/x.so', zipfile.ZIP_STORED)\n\
        z.write('member', 'packed.so', zipfile.ZIP_DEFLATED)\n";
    if folder.run("python3", &["-c", script]).is_none() {
        return;
    }
    let env = env();
    let archive = folder.path().join("a.zip").to_str().expect("made by this test").to_owned();
    assert_eq!(env.find_binary(&format!("{archive}!/lib/x.so"), None), [format!("{archive}!/lib/x.so")]);
    let inside = env.binary(&format!("{archive}!/lib/x.so"), None).expect("a library");
    let alone = open(&env, &program);
    assert_eq!(inside.path(), archive);
    assert_eq!(inside.functions().len(), alone.functions().len());
    let bytes = std::fs::read(&archive).expect("just made");
    let whole = std::fs::read(&program).expect("just made");
    let base = bytes.windows(64).position(|w| *w == whole[..64]).expect("it is stored") as u64;
    for (a, b) in inside.functions().iter().zip(alone.functions()) {
        assert_eq!((&a.name, a.address, a.offset), (&b.name, b.address, b.offset + base));
    }
    assert_eq!(inside.address_of(inside.functions()[0].offset), Some(inside.functions()[0].address));
    assert_eq!(inside.usdt().len(), 2);
    assert!(matches!(env.binary(&format!("{archive}!/packed.so"), None), Err(BinaryError::NotElf(_))));
    assert!(matches!(env.binary(&format!("{archive}!/other.so"), None), Err(BinaryError::Missing)));
}

/// A process in a mount namespace of its own, where another file lies at a path and links are absolute.
#[test]
fn files_of_another_mount_namespace() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let folder = Folder::new("namespace");
    let Some(program) = folder.compile("shown", PROGRAM, &[]) else { return };
    let at = folder.path().to_str().expect("made by this test");
    std::fs::create_dir(folder.path().join("over")).expect("the test's folder");
    let script = format!(
        "mount -t tmpfs skep-test {at}/over && cp {at}/shown {at}/over/inside && \
         ln -s {at}/over/inside {at}/over/link && exec {at}/over/inside wait"
    );
    let child = Command::new("unshare").args(["-m", "sh", "-c", &script]).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else { return };
    let mut line = String::new();
    let output = child.stdout.take().expect("it was piped");
    let _ = BufReader::new(output).read_line(&mut line);
    if line.is_empty() {
        // Not allowed to make one.
        let _ = child.wait();
        return;
    }
    let pid = Some(child.id());
    let env = env();
    let inside = format!("{at}/over/inside");
    assert!(env.find_binary(&inside, None).is_empty());
    assert_eq!(env.find_binary(&inside, pid), std::slice::from_ref(&inside));
    assert_eq!(env.find_binary(&format!("{at}/over/i*"), pid), std::slice::from_ref(&inside));
    assert!(env.find_binary("*", pid).contains(&inside));
    for path in [inside.clone(), format!("{at}/over/link")] {
        let binary = env.binary(&path, pid).expect("a program");
        assert_eq!(binary.path(), format!("/proc/{}/root{inside}", child.id()));
        assert!(binary.functions().iter().any(|f| f.name == "twice"));
        let (there, here) = (std::fs::read(binary.path()), std::fs::read(&program));
        assert_eq!(there.expect("reachable"), here.expect("just made"));
    }
    let mut symbols = crate::symbols::process::UserSymbols::new(Default::default());
    let address = line.trim().split_once(" 0x").and_then(|(_, hex)| u64::from_str_radix(hex, 16).ok());
    let found =
        symbols.resolve(child.id(), address.expect("it printed one"), false).and_then(|s| s.name.clone());
    let _ = child.kill();
    let _ = child.wait();
    assert_eq!(found.as_deref(), Some("twice"));
}
