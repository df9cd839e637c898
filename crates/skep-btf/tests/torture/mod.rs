//! Asks everything about arbitrary bytes. Nothing may panic or hang, whatever the answers are.

use skep_btf::core_relo::{RelocKind, Relocation, Resolver};
use skep_btf::ext::BtfExt;
use skep_btf::{Btf, Builder, CPrinter, KindMask, NameIndex, Supported, Type, TypeId};
use std::hint::black_box;

/// Ids that are asked about one by one; the rest would only cost time.
const MOST: usize = 200;

/// Everything about one BTF.
pub(crate) fn queries(btf: &Btf) {
    let (mut text, mut printed) = (String::new(), 0);
    let mut printer = CPrinter::new(btf);
    let ids = || [TypeId(0)].into_iter().chain(btf.ids().take(MOST)).chain([TypeId(u32::MAX)]);
    for id in ids() {
        text.clear();
        let _ = black_box(btf.dump_type(&mut text, id));
        if let Some(ty) = btf.ty(id) {
            views(ty);
        }
        black_box((btf.kind(id), btf.name(id), btf.size_of(id), btf.align_of(id), btf.chase(id)));
        black_box((btf.peel(id), btf.unqualified(id), btf.array(id), btf.pointee(id), btf.proto(id)));
        // What is too large costs a mebibyte each time; a few of them tell as much as all.
        if printed < 2 << 20 {
            text.clear();
            let _ = black_box(printer.definition(&mut text, id));
            printed += text.len();
            text.clear();
            let _ = black_box(printer.declaration(&mut text, id, "name"));
            printed += text.len();
        }
        black_box(btf.fields(id).take(1000).count());
        let last = btf.fields(id).take(100).last().map(|f| f.member.name());
        if let Some(name) = last {
            black_box(btf.field(id, name));
            let _ = black_box(btf.field_path(id, name));
            let _ = black_box(btf.field_path(id, "a[1].b"));
        }
        black_box(btf.similar_fields(id, "counter", 3));
        black_box(btf.enum_name(id, 1));
    }
    names(btf);
    text.clear();
    let _ = black_box(btf.dump(&mut text));
}

fn views(ty: Type<'_>) {
    black_box((ty.id(), ty.kind(), ty.name(), ty.peeled(), format!("{ty:?}")));
    match ty {
        Type::Int(i) => {
            black_box((i.size(), i.bits(), i.bit_offset(), i.encoding(), i.is_signed()));
        }
        Type::Array(a) => {
            black_box((a.element(), a.index(), a.len()));
        }
        Type::Struct(c) | Type::Union(c) => {
            for m in c.members() {
                black_box((m.name(), m.is_anonymous(), m.type_id(), m.bit_offset(), m.bit_size()));
            }
            black_box((c.members().rev().count(), c.members().get(usize::MAX), c.members().nth(3)));
        }
        Type::Enum(e) | Type::Enum64(e) => {
            black_box(e.variants().map(|v| v.value()).max());
        }
        Type::FuncProto(p) => {
            black_box((p.params().map(|p| p.type_id()).max(), p.is_variadic()));
        }
        Type::Datasec(d) => {
            black_box(d.vars().map(|v| v.offset).max());
        }
        Type::Func(f) => {
            black_box((f.proto(), f.linkage()));
        }
        Type::Var(v) => {
            black_box((v.target(), v.linkage()));
        }
        Type::DeclTag(t) => {
            black_box((t.target(), t.component(), t.is_attribute()));
        }
        _ => {}
    }
}

fn names(btf: &Btf) {
    let index = NameIndex::new(btf);
    let some: Vec<&str> = btf.named(KindMask::ANY).map(|(_, name)| name).take(20).collect();
    let asked: Vec<(&str, KindMask)> = some.iter().map(|&name| (name, KindMask::ANY)).collect();
    for (&(name, kinds), many) in asked.iter().zip(btf.find_many(&asked)) {
        // U+FFFD stands for names that cannot be asked for.
        if name != "\u{fffd}" {
            assert_eq!(btf.find(name, kinds), many);
            assert_eq!(index.find(btf, name, kinds), many);
        }
    }
    black_box(btf.enum_values(&some));
    black_box(btf.raw_tracepoints(&some));
    black_box(btf.raw_tracepoint_names().count() + btf.iterators().count());
    black_box(btf.similar_types("task_struct", KindMask::ANY, 3));
    if let Some(name) = some.first() {
        black_box((btf.func(name), btf.iterator(name), btf.tagged(name).count()));
    }
}

/// Relocations of every kind on every type.
pub(crate) fn relocations(local: &Btf, target: &Btf, access: &str) {
    let mut resolver = Resolver::new(local, &[target]);
    resolver.prepare(local.ids().take(MOST));
    for type_id in local.ids().take(MOST) {
        for &kind in RelocKind::ALL {
            for access in ["0", "0:0", access] {
                let _ = black_box(resolver.resolve(&Relocation { kind, type_id, access }));
            }
        }
    }
}

/// What can be indexed can be copied, and the copy says the same.
pub(crate) fn copies(btf: &Btf) {
    let builder = Builder::copy_of(btf);
    for supported in [Supported::ALL, Supported::NONE] {
        if let Ok(encoded) = builder.encode(supported) {
            let copy = Btf::parse(encoded.bytes).expect("what was encoded can be indexed");
            black_box(copy.id_count());
        }
    }
}

/// Bytes as the section of records.
pub(crate) fn ext(bytes: &[u8]) {
    if let Ok(ext) = BtfExt::parse(bytes) {
        let again = BtfExt::parse(&ext.encode()).expect("what was encoded can be read");
        let count = |e: &BtfExt| {
            e.funcs.iter().map(|s| s.records.len()).sum::<usize>()
                + e.lines.iter().map(|s| s.records.len()).sum::<usize>()
                + e.relos.iter().map(|s| s.records.len()).sum::<usize>()
        };
        assert_eq!(count(&again), count(&ext));
    }
}
