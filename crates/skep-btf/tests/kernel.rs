//! The running kernel's BTF, or that of a file named by `SKEP_TEST_BTF`: what is true of every kernel.
//!
//! Where there is none, each test says so and passes.
#![allow(clippy::print_stdout, reason = "tests name what they skip")]

use skep_btf::core_relo::{CoreError, RelocKind, Relocation, Resolver};
use skep_btf::{Btf, Builder, CPrinter, Kind, KindMask, NameIndex, Supported, Type, TypeDef, TypeId};
use std::collections::HashSet;
use std::sync::OnceLock;

fn path() -> String {
    std::env::var("SKEP_TEST_BTF").unwrap_or_else(|_| "/sys/kernel/btf/vmlinux".to_owned())
}

fn vmlinux() -> Option<&'static Btf> {
    static BTF: OnceLock<Option<Btf>> = OnceLock::new();
    let btf = BTF.get_or_init(|| match std::fs::read(path()) {
        Ok(bytes) => Some(Btf::parse(bytes).expect("the kernel's BTF can be indexed")),
        Err(e) => {
            println!("skipped: {}: {e}", path());
            None
        }
    });
    btf.as_ref()
}

fn tag(btf: &Btf, name: &str) -> TypeId {
    btf.find(name, KindMask::STRUCT).unwrap_or_else(|| panic!("no struct {name}"))
}

#[test]
fn every_type_can_be_looked_at() {
    let Some(btf) = vmlinux() else { return };
    assert!(btf.id_count() > 10_000, "{btf:?}");
    for id in btf.ids() {
        let ty = btf.ty(id).expect("an id below the count");
        assert_eq!(ty.id(), id);
        assert!(!matches!(ty, Type::Unknown(_) | Type::Void), "{ty:?}");
        assert_ne!(ty.name(), "\u{fffd}", "{ty:?}");
        if !matches!(ty, Type::DeclTag(_) | Type::Datasec(_)) {
            btf.peel(id).unwrap_or_else(|| panic!("{ty:?} does not peel"));
        }
    }
    assert!(btf.ty(TypeId(btf.id_count())).is_none());
}

#[test]
fn sizes_agree_with_members() {
    let Some(btf) = vmlinux() else { return };
    let mut composites = 0;
    for id in btf.ids() {
        let Some(c) = btf.ty(id).and_then(|t| t.composite()) else { continue };
        composites += 1;
        let bits = u64::from(c.size()) * 8;
        let mut end = 0;
        for m in c.members() {
            let size = match m.bit_size() {
                Some(bits) => u64::from(bits),
                None => {
                    u64::from(btf.size_of(m.type_id()).unwrap_or_else(|| panic!("{c:?} {m:?} has no size")))
                        * 8
                }
            };
            let start = u64::from(m.bit_offset());
            // An array without elements may stand behind the end.
            assert!(start + size <= bits, "{c:?} {m:?} ends at {} of {bits}", start + size);
            assert!(c.is_union() || start >= end, "{c:?} {m:?} begins before the one before it ends");
            if c.is_union() {
                assert_eq!(start, 0, "{c:?} {m:?}");
            }
            end = start + size;
        }
        assert_eq!(btf.size_of(id), Some(c.size()));
        let align = btf.align_of(id).unwrap_or_else(|| panic!("{c:?} has no alignment"));
        assert!(align.is_power_of_two() && c.size() % align == 0, "{c:?}: {align}");
    }
    assert!(composites > 1000);
}

#[test]
fn every_member_is_found_by_its_name() {
    let Some(btf) = vmlinux() else { return };
    for id in btf.ids() {
        let Some(c) = btf.ty(id).and_then(|t| t.composite()) else { continue };
        let mut seen = HashSet::new();
        for field in btf.fields(id).filter(|f| f.member.name() != "") {
            // A name that is in the struct twice (unions of variants may do that) is found once.
            if seen.insert(field.member.name()) && c.members().all(|m| m.name() != field.member.name()) {
                assert_eq!(btf.field(id, field.member.name()), Some(field.at), "{c:?}");
            }
        }
        for m in c.members().filter(|m| !m.is_anonymous()) {
            let found = btf.field(id, m.name()).unwrap_or_else(|| panic!("{c:?} {m:?}"));
            let first = c.members().find(|o| o.name() == m.name()).expect("itself at least");
            assert_eq!(
                (found.bit_offset, found.type_id),
                (first.bit_offset(), first.type_id()),
                "{c:?} {m:?}"
            );
        }
    }
}

#[test]
fn task_struct_is_what_it_is() {
    let Some(btf) = vmlinux() else { return };
    let task = tag(btf, "task_struct");
    let pid = btf.field(task, "pid").expect("pid");
    assert_eq!(btf.size_of(pid.type_id), Some(4));
    assert!(pid.byte_offset().is_some());
    let comm = btf.field(task, "comm").expect("comm");
    assert_eq!(btf.array(comm.type_id).map(|a| a.dims().to_vec()), Some(vec![16]));
    let comm_first = btf.field_path(task, "comm[3]").expect("comm[3]");
    assert_eq!(comm_first.bit_offset, comm.bit_offset + 24);
    let parent = btf.field(task, "real_parent").expect("real_parent");
    assert_eq!(btf.pointee(parent.type_id).map(|p| p.target), Some(task));
    assert_eq!(btf.chase(parent.type_id).map(|(t, n)| (t.name(), n)), Some(("task_struct", 1)));
    assert_eq!(btf.c_decl(parent.type_id, "prev").as_deref(), Ok("struct task_struct *prev"));
    let exiting = btf.field(task, "in_execve").expect("in_execve");
    assert_eq!(exiting.bit_size, Some(1));
    assert_eq!(btf.similar_fields(task, "comn", 1), ["comm"]);
    assert!(btf.similar_types("task_strct", KindMask::STRUCT, 3).contains(&"task_struct"));
    assert!(btf.field_path(task, "se.vruntime").is_ok() || btf.field_path(task, "se.exec_start").is_ok());
}

#[test]
fn one_scan_for_many_names_answers_as_many_scans() {
    let Some(btf) = vmlinux() else { return };
    let index = NameIndex::new(btf);
    let kinds = [
        KindMask::STRUCT,
        KindMask::TYPEDEF,
        KindMask::FUNC,
        KindMask::ANY_ENUM,
        KindMask::INT,
        KindMask::ANY,
    ];
    let mut asked: Vec<(&str, KindMask)> =
        kinds.iter().flat_map(|&k| btf.named(k).step_by(997).map(move |(_, name)| (name, k))).collect();
    // The same name again, with another kind, and names that are not there.
    asked.extend([
        ("task_struct", KindMask::STRUCT),
        ("task_struct", KindMask::FUNC),
        ("no such", KindMask::ANY),
    ]);
    asked.extend([("", KindMask::ANY), ("a\0b", KindMask::ANY)]);
    let many = btf.find_many(&asked);
    assert!(many.iter().filter(|id| id.is_some()).count() > 100);
    for (&(name, mask), found) in asked.iter().zip(many) {
        assert_eq!(btf.find(name, mask), found, "{name} {mask:?}");
        assert_eq!(index.find(btf, name, mask), found, "{name} {mask:?}");
        let all: Vec<_> = btf.find_all(name, mask).collect();
        assert_eq!(index.find_all(btf, name, mask).collect::<Vec<_>>(), all, "{name} {mask:?}");
    }
}

#[test]
fn constants_are_found_with_their_values() {
    let Some(btf) = vmlinux() else { return };
    let asked = ["BPF_MAP_TYPE_RINGBUF", "no such constant", "BPF_PROG_TYPE_KPROBE", "BPF_MAP_TYPE_HASH"];
    let found: Vec<_> = btf.enum_values(&asked).into_iter().map(|v| v.map(|v| v.value)).collect();
    assert_eq!(found, [Some(27), None, Some(2), Some(1)]);
    let map_type = btf.find("bpf_map_type", KindMask::ANY_ENUM).expect("enum bpf_map_type");
    assert_eq!(btf.enum_name(map_type, 27), Some("BPF_MAP_TYPE_RINGBUF"));
}

#[test]
fn tracepoints_have_prototypes_with_names() {
    let Some(btf) = vmlinux() else { return };
    let proto = btf.raw_tracepoint("sched_switch").expect("sched_switch");
    let params: Vec<String> = proto
        .params()
        .skip(1)
        .map(|p| format!("{} {}", btf.c_type(p.type_id()).expect("prints"), p.name()))
        .collect();
    assert_eq!(params[..3], ["bool preempt", "struct task_struct * prev", "struct task_struct * next"]);
    let names: Vec<&str> = btf.raw_tracepoint_names().collect();
    assert!(names.len() > 300);
    for (name, proto) in names.iter().zip(btf.raw_tracepoints(&names)) {
        let proto = proto.unwrap_or_else(|| panic!("{name} has no prototype"));
        assert!(proto.params().len() >= 1, "{name}");
        let unnamed = proto.params().filter(|p| p.name().is_empty()).count();
        assert_eq!(unnamed, 0, "{name}: parameters without names");
    }
}

#[test]
fn iterators_and_kernel_functions_are_listed() {
    let Some(btf) = vmlinux() else { return };
    let iterators: Vec<_> = btf.iterators().map(|(kind, _)| kind).collect();
    assert!(iterators.contains(&"task") && iterators.contains(&"bpf_map"), "{iterators:?}");
    assert_eq!(btf.iterator("task"), Some(tag(btf, "bpf_iter__task")));
    let func =
        btf.func("do_exit").or_else(|| btf.func("vfs_read")).expect("a function that is never inlined");
    assert!(btf.proto(func.id()).is_some());
    for (id, _) in btf.tagged("bpf_kfunc") {
        assert_eq!(btf.kind(id), Some(Kind::Func));
    }
}

#[test]
fn a_copy_says_the_same() {
    let Some(btf) = vmlinux() else { return };
    let copy = Builder::copy_of(btf).encode(Supported::ALL).expect("encodes");
    let copy = Btf::parse(copy.bytes).expect("indexes");
    let text = |btf: &Btf| {
        let mut out = String::new();
        btf.dump(&mut out).expect("a string takes everything");
        out
    };
    let original = text(btf);
    assert_eq!(original.lines().count() + 1, btf.id_count() as usize);
    assert!(original == text(&copy), "the copy differs");
    let read =
        Builder::from_text(&original).expect("the text can be read").encode(Supported::ALL).expect("encodes");
    assert!(read.bytes == copy.bytes(), "the copy by way of text differs");
}

#[test]
fn every_definition_can_be_printed() {
    let Some(btf) = vmlinux() else { return };
    let mut printer = CPrinter::new(btf);
    let mut out = String::new();
    for id in btf.ids() {
        out.clear();
        let what = match btf.ty(id).expect("indexed") {
            Type::Datasec(_) | Type::DeclTag(_) => continue,
            Type::Struct(_)
            | Type::Union(_)
            | Type::Enum(_)
            | Type::Enum64(_)
            | Type::Func(_)
            | Type::Typedef(_) => printer.definition(&mut out, id),
            Type::Var(_) => printer.definition(&mut out, id),
            _ => printer.declaration(&mut out, id, "x"),
        };
        what.unwrap_or_else(|e| panic!("{id}: {e}"));
        assert!(!out.is_empty());
    }
}

/// Definitions against those of `bpftool`, which marks second types of a name by a number.
#[test]
fn definitions_are_those_of_bpftool() {
    let Some(btf) = vmlinux() else { return };
    let output =
        std::process::Command::new("bpftool").args(["btf", "dump", "file", &path(), "format", "c"]).output();
    let text = match output {
        Ok(output) if output.status.success() => String::from_utf8(output.stdout).expect("C text"),
        _ => {
            println!("skipped: bpftool does not run here");
            return;
        }
    };
    let plain = |block: &str| {
        let mut out = String::new();
        let mut rest = block;
        while let Some(at) = rest.find("___") {
            let end = at + 3 + rest[at + 3..].bytes().take_while(u8::is_ascii_digit).count();
            out += &rest[..if end == at + 3 { end } else { at }];
            rest = &rest[end..];
        }
        // Older releases do not say of what size an enumeration is.
        (out + rest).replace(" __attribute__((mode(byte)))", "").replace(" __attribute__((mode(word)))", "")
    };
    let theirs: HashSet<String> = text.split("\n\n").map(|b| plain(b.trim_matches('\n'))).collect();
    let mut printer = CPrinter::new(btf);
    let mut compared = 0;
    for (id, name) in btf.named(KindMask::COMPOSITE | KindMask::ANY_ENUM) {
        let mut ours = String::new();
        printer.definition(&mut ours, id).expect("prints");
        ours.push(';');
        assert!(theirs.contains(&plain(&ours)), "{name} differs:\n{ours}");
        compared += 1;
    }
    assert!(compared > 1000);
}

/// A program compiled against this kernel finds everything where it was.
#[test]
fn relocations_against_itself_change_nothing() {
    let Some(btf) = vmlinux() else { return };
    let some: Vec<TypeId> = btf.named(KindMask::COMPOSITE).map(|(id, _)| id).step_by(37).collect();
    let mut resolver = Resolver::new(btf, &[btf]);
    resolver.prepare(some.iter().copied());
    let (mut answered, mut ambiguous) = (0, 0);
    for &type_id in &some {
        let name = btf.name(type_id);
        let alone = btf.find_all(name, btf.kind(type_id).expect("indexed").into()).count() == 1;
        let c = btf.ty(type_id).and_then(|t| t.composite()).expect("asked for composites");
        for (i, m) in c.members().enumerate().filter(|(_, m)| !m.is_anonymous()) {
            let access = format!("0:{i}");
            for kind in [RelocKind::FieldByteOffset, RelocKind::FieldByteSize, RelocKind::FieldExists] {
                match resolver.resolve(&Relocation { kind, type_id, access: &access }) {
                    Ok(r) if alone => {
                        assert_eq!(r.value, Some(r.original), "{name} {m:?}");
                        assert!(
                            r.access.is_none_or(|a| a.adjustable && a.original == a.target),
                            "{name} {m:?}"
                        );
                        answered += 1;
                    }
                    Err(CoreError::Ambiguous { .. }) if !alone => ambiguous += 1,
                    Err(CoreError::Unanswerable { .. }) | Ok(_) => {}
                    Err(e) => panic!("{name} {m:?}: {e}"),
                }
            }
        }
        let whole = |kind| Relocation { kind, type_id, access: "0" };
        if alone {
            assert_eq!(
                resolver.resolve(&whole(RelocKind::TypeMatches)).expect(name).value,
                Some(1),
                "{name}"
            );
            let size = resolver.resolve(&whole(RelocKind::TypeSize)).expect(name);
            assert_eq!(size.value, Some(u64::from(c.size())));
            let id = resolver.resolve(&whole(RelocKind::TypeIdTarget)).expect(name);
            assert_eq!(id.value, Some(u64::from(type_id.0)));
        }
    }
    assert!(answered > 1000, "{answered} answered, {ambiguous} ambiguous");
}

#[test]
fn split_types_stand_on_the_kernel() {
    let Some(btf) = vmlinux() else { return };
    let base = std::sync::Arc::new(Btf::parse(btf.bytes().to_vec()).expect("indexed before"));
    let task = tag(&base, "task_struct");
    // One pointer to task_struct, as a module would have it: no strings of its own.
    let mut bytes = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
    for word in [0u32, 12, 12, 0, 0, 2 << 24, task.0] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    let split = Btf::parse_split(base.clone(), bytes).expect("indexes");
    let own = split.first_id();
    assert_eq!(own.0, base.id_count());
    assert_eq!(split.id_count(), base.id_count() + 1);
    assert_eq!(split.pointee(own).map(|p| p.target), Some(task));
    assert_eq!(split.c_type(own).as_deref(), Ok("struct task_struct *"));
    assert_eq!(split.find("task_struct", KindMask::STRUCT), Some(task));
    assert_eq!(TypeDef::from_type(split.ty(own).expect("indexed")), Some(TypeDef::Ptr(task)));
}
