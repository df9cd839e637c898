//! Bytes that are wrong in one way each, and records at their limits.

use skep_btf::core_relo::{RelocKind, Relocation, Resolver, essential};
use skep_btf::ext::{BtfExt, ExtError};
use skep_btf::info::{self, CoreRelo, FuncInfo, LineInfo, LineTable, Record, source_line};
use skep_btf::{
    Btf, BuildError, Builder, IntEncoding, KindMask, Linkage, MemberDef, ParseError, Supported, Type,
    TypeDef, TypeId, similar,
};
use std::sync::Arc;

/// A header around words of types and a string section.
fn btf(types: &[u32], strings: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
    let types_len = types.len() as u32 * 4;
    for word in [0, types_len, types_len, strings.len() as u32].iter().chain(types) {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(strings);
    bytes
}

fn word(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn refusal(bytes: Vec<u8>) -> ParseError {
    Btf::parse(bytes).expect_err("the bytes are wrong")
}

const INT: [u32; 4] = [1, 1 << 24, 4, 1 << 24 | 32];

#[test]
fn headers_are_checked() {
    let good = btf(&INT, b"\0int\0");
    assert!(Btf::parse(good.clone()).is_ok());
    for len in 0..24 {
        let short = refusal(good[..len].to_vec());
        assert!(matches!(short, ParseError::TruncatedHeader { .. }), "{len}: {short:?}");
    }
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        refusal(bytes)
    };
    assert_eq!(changed(0, 0x9e), ParseError::Magic(0xeb9e));
    assert_eq!(changed(2, 2), ParseError::Version(2));
    let mut swapped = good.clone();
    swapped[..2].copy_from_slice(&[0xeb, 0x9f]);
    assert_eq!(refusal(swapped), ParseError::BigEndian);
    assert!(ParseError::BigEndian.to_string().contains("big-endian"));
    let changed = |at: usize, value: u32| {
        let mut bytes = good.clone();
        word(&mut bytes, at, value);
        refusal(bytes)
    };
    assert_eq!(changed(4, 23), ParseError::HeaderLength(23));
    assert_eq!(changed(4, u32::MAX), ParseError::HeaderLength(u32::MAX));
    assert_eq!(changed(8, 2), ParseError::Alignment(2));
    for (at, section) in [(8, "type"), (12, "type"), (16, "string"), (20, "string")] {
        match changed(at, 0xffff_fffc) {
            ParseError::Section { section: named, .. } => assert_eq!(named, section),
            other => panic!("{at}: {other:?}"),
        }
    }
    assert_eq!(refusal(btf(&INT, b"")), ParseError::Strings("begin"));
    assert_eq!(refusal(btf(&INT, b"int\0")), ParseError::Strings("begin"));
    assert_eq!(refusal(btf(&INT, b"\0int")), ParseError::Strings("end"));
}

#[test]
fn every_cut_is_refused() {
    let good = btf(&INT, b"\0int\0");
    for len in 0..good.len() {
        assert!(Btf::parse(good[..len].to_vec()).is_err(), "{len}");
    }
}

#[test]
fn records_are_checked() {
    for (types, kind) in [
        (&[1, 1 << 24, 4][..], "INT"),
        (&[0, 3 << 24, 0, 1, 1], "ARRAY"),
        (&[0, 4 << 24 | 2, 8, 0, 1, 0], "STRUCT"),
        (&[0, 6 << 24 | 0xffff, 4], "ENUM"),
        (&[0, 13 << 24 | 0x00ff_ffff, 0], "FUNC_PROTO"),
        (&[0, 19 << 24 | 1, 8, 0, 0], "ENUM64"),
    ] {
        assert_eq!(refusal(btf(types, b"\0")), ParseError::TruncatedType { id: TypeId(1), kind });
    }
    let two = [INT.as_slice(), &[0, 2 << 24]].concat();
    assert!(matches!(refusal(btf(&two, b"\0int\0")), ParseError::TruncatedType { id: TypeId(2), .. }));
    for kind in [0, 20, 31, 32, 127] {
        let types = [INT.as_slice(), &[0, kind << 24, 0]].concat();
        assert_eq!(refusal(btf(&types, b"\0")), ParseError::UnknownKind { id: TypeId(2), kind: kind as u8 });
    }
}

#[test]
fn kinds_from_the_future_are_skipped_where_their_size_is_described() {
    // A header of 32 bytes; record sizes of kinds 0 to 21, of which 21 has 4 bytes and 8 for each element.
    let mut layout = vec![0u8; 22 * 4];
    layout[21 * 4..].copy_from_slice(&[4, 8, 0, 0]);
    let types = [&[1, 21 << 24 | 2, 7, 1, 2, 3, 4, 5][..], &INT, &[0, 2 << 24, 1]].concat();
    let mut bytes = vec![0x9f, 0xeb, 1, 0, 32, 0, 0, 0];
    let len = types.len() as u32 * 4;
    for word in [0, len, len, 5, len + 8, layout.len() as u32].iter().chain(&types) {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(b"\0int\0\0\0\0");
    bytes.extend_from_slice(&layout);
    let btf = Btf::parse(bytes.clone()).expect("indexes");
    assert_eq!(btf.id_count(), 4);
    match btf.ty(TypeId(1)) {
        Some(Type::Unknown(u)) => assert_eq!((u.raw_kind(), u.name()), (21, "int")),
        other => panic!("{other:?}"),
    }
    assert_eq!(btf.find("int", KindMask::INT), Some(TypeId(2)));
    assert_eq!(btf.size_of(TypeId(3)), Some(8));
    assert_eq!(btf.size_of(TypeId(1)), None);
    // Without the description the kind is an error.
    word(&mut bytes, 28, 21 * 4);
    assert_eq!(Btf::parse(bytes).err(), Some(ParseError::UnknownKind { id: TypeId(1), kind: 21 }));
}

#[test]
fn names_that_are_none_are_shown_as_such() {
    let types = [[100, 7 << 24, 0], [1, 7 << 24, 0], [u32::MAX, 7 << 24, 0], [5, 7 << 24, 0]].concat();
    let btf = Btf::parse(btf(&types, b"\0\xff\xfe\0\0ok\0")).expect("indexes");
    let names: Vec<&str> = (1..5).map(|i| btf.name(TypeId(i))).collect();
    assert_eq!(names, ["\u{fffd}", "\u{fffd}", "\u{fffd}", "ok"]);
    assert_eq!(btf.find("ok", KindMask::FWD), Some(TypeId(4)));
    assert_eq!(btf.find("\u{fffd}", KindMask::ANY), None);
    assert_eq!(btf.string_at(1), Some(&b"\xff\xfe"[..]));
    assert_eq!(btf.string_at(8), None);
    let long = [b"\0".as_slice(), &[b'a'; 5000], b"\0"].concat();
    let long = Btf::parse(self::btf(&[1, 7 << 24, 0], &long)).expect("indexes");
    assert_eq!(long.name(TypeId(1)), "\u{fffd}");
    assert_eq!(long.string_at(1).map(<[u8]>::len), Some(5000));
}

/// Anonymous structs that hold two of the next: every question about them would take 2^60 steps if it went
/// everywhere.
#[test]
fn nesting_that_doubles_is_cut_short() {
    let mut builder = Builder::new();
    let int = builder.int("int", 4, IntEncoding::Signed);
    let mut id = int;
    let mut proto = int;
    for level in 0..60 {
        let name = if level == 0 { "x" } else { "" };
        id = builder.structure("", 8, [MemberDef::at(name, id, 0), MemberDef::at(name, id, 4)]);
        proto = builder.func_proto(proto, [("", proto), ("", proto)]);
        proto = builder.ptr(proto);
    }
    let bytes = builder.encode(Supported::ALL).expect("encodes").bytes;
    let btf = Btf::parse(bytes).expect("indexes");
    let start = std::time::Instant::now();
    assert!(btf.field(id, "missing").is_none());
    assert!(btf.c_definition(id).is_err());
    assert!(btf.c_type(proto).is_err());
    assert!(btf.align_of(id).is_none());
    assert!(btf.align_of(TypeId(id.0 - 3 * 40)).is_some(), "a third of the levels is fine");
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

#[test]
fn a_module_does_not_hide_the_kernel() {
    let build =
        |text: &str| Builder::from_text(text).expect("reads").encode(Supported::ALL).expect("encodes").bytes;
    let local = Btf::parse(build("INT int size=4\nSTRUCT s size=4 { a: 1 @0 }\nSTRUCT m size=4 { a: 1 @0 }"))
        .expect("indexes");
    let kernel =
        Arc::new(Btf::parse(build("INT int size=4\nSTRUCT s size=8 { a: 1 @32 }")).expect("indexes"));
    // A module with a struct s and a struct m of its own.
    let kernel_strings = b"\0int\0s\0a\0";
    let (s, m, a) = (kernel_strings.len() as u32, kernel_strings.len() as u32 + 2, 7);
    let own = [s, 4 << 24 | 1, 12, a, 1, 64, m, 4 << 24 | 1, 4, a, 1, 0];
    let module = Btf::parse_split(kernel.clone(), btf(&own, b"s\0m\0")).expect("indexes");
    assert_eq!(module.name(TypeId(3)), "s");
    assert_eq!(module.name(TypeId(4)), "m");
    assert_eq!(module.field(TypeId(3), "a").map(|f| f.bit_offset), Some(64));
    let mut resolver = Resolver::new(&local, &[&kernel, &module]);
    let ask = |type_id| Relocation { kind: RelocKind::FieldByteOffset, type_id, access: "0:0" };
    let s = resolver.resolve(&ask(TypeId(2))).expect("resolves");
    assert_eq!((s.value, s.target.map(|t| (t.btf, t.type_id))), (Some(4), Some((0, TypeId(2)))));
    let m = resolver.resolve(&ask(TypeId(3))).expect("resolves");
    assert_eq!((m.value, m.target.map(|t| (t.btf, t.type_id))), (Some(0), Some((1, TypeId(4)))));
}

#[test]
fn flavours_are_cut_at_the_last_three_underscores() {
    for (name, cut) in [
        ("task_struct", "task_struct"),
        ("task_struct___old", "task_struct"),
        ("a___b___c", "a___b"),
        ("___x", "___x"),
        ("x___", "x___"),
        ("x____y", "x____y"),
        ("x___y", "x"),
        ("", ""),
        ("__x__", "__x__"),
    ] {
        assert_eq!(essential(name), cut, "{name}");
    }
}

#[test]
fn the_builder_says_what_it_cannot_encode() {
    let mut builder = Builder::new();
    let declared = builder.declare();
    assert_eq!(builder.encode(Supported::ALL), Err(BuildError::Undefined(declared)));
    builder.define(declared, TypeDef::Ptr(declared)).expect("declared");
    assert!(builder.encode(Supported::ALL).is_ok());
    let nowhere = TypeId(7);
    assert_eq!(
        builder.define(nowhere, TypeDef::Ptr(nowhere)),
        Err(BuildError::Reference { from: nowhere, to: nowhere })
    );
    assert!(builder.define(TypeId::VOID, TypeDef::Ptr(declared)).is_err());
    let many = builder.enumeration("many", 4, false, (0..65536).map(|i| ("x", i)));
    assert_eq!(builder.encode(Supported::ALL), Err(BuildError::Elements { id: many, count: 65536 }));
    assert!(matches!(builder.string("a\0b"), Err(BuildError::Nul(_))));
    let long = "x".repeat(0x0100_0000);
    assert_eq!(builder.string(&long), Ok(1));
    assert!(matches!(builder.string("one more"), Err(BuildError::TooLarge(_))));
}

#[test]
fn strings_of_lines_and_names_are_shared() {
    let mut builder = Builder::new();
    let line = builder.string("$x = 1;").expect("fits");
    let file = builder.string("a.bt").expect("fits");
    assert_eq!(builder.string("$x = 1;"), Ok(line));
    assert_eq!(builder.string(""), Ok(0));
    let proto = builder.func_proto(TypeId::VOID, []);
    let func = builder.func("a.bt", proto, Linkage::Global);
    let encoded = builder.encode(Supported::ALL).expect("encodes");
    let btf = Btf::parse(encoded.bytes).expect("indexes");
    assert_eq!(btf.string_at(line), Some(&b"$x = 1;"[..]));
    assert_eq!(btf.string_at(file), Some(&b"a.bt"[..]));
    assert_eq!(btf.name(func), "a.bt");
    // NUL, the two strings, and nothing twice.
    assert_eq!(btf.bytes().len(), 24 + 12 + 12 + 1 + 8 + 5);
}

#[test]
fn records_have_the_layout_of_the_kernel() {
    let func = FuncInfo { insn_off: 3, type_id: TypeId(7) };
    assert_eq!(info::encode_records(&[func]), [3, 0, 0, 0, 7, 0, 0, 0]);
    let line = LineInfo { insn_off: 1, file_name_off: 2, line_off: 3, line: 5, column: 9 };
    assert_eq!(info::encode_records(&[line])[12..], (5u32 << 10 | 9).to_le_bytes());
    let far = LineInfo { line: u32::MAX, column: u32::MAX, ..line };
    let bytes = info::encode_records(&[far]);
    assert_eq!(bytes[12..], [0xff; 4]);
    let read = LineInfo::decode(&bytes).expect("a whole record");
    assert_eq!((read.line, read.column), (info::MAX_LINE, info::MAX_COLUMN));
    assert!(LineInfo::decode(&bytes[..15]).is_none());
    let relo = CoreRelo { insn_off: 8, type_id: TypeId(2), access_str_off: 4, kind: 12 };
    assert_eq!(info::encode_records(&[relo]), [8, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 12, 0, 0, 0]);
}

#[test]
fn each_function_begins_with_a_line_record() {
    let mut table = LineTable::new();
    let at = |insn_off, line| LineInfo { insn_off, file_name_off: 1, line_off: 2, line, column: 1 };
    for (info, starts) in [
        (at(0, 1), true),
        (at(1, 1), false),
        (at(2, 2), false),
        (at(3, 2), true),
        (at(4, 2), false),
        (at(3, 9), false),
        (at(6, 1), false),
    ] {
        table.mark(info, starts);
    }
    let marks: Vec<_> = table.records().iter().map(|r| (r.insn_off, r.line)).collect();
    assert_eq!(marks, [(0, 1), (2, 2), (3, 2), (6, 1)]);
}

#[test]
fn source_lines_are_made_printable() {
    assert_eq!(source_line("  $x = 1;\t// \u{1b}[1m\n"), "$x = 1; // ?[1m");
    assert_eq!(source_line(&"ä".repeat(150)).len(), 200);
    assert_eq!(source_line(&("x".to_owned() + &"ä".repeat(150))).len(), 199);
    assert_eq!(source_line("   "), "");
}

#[test]
fn broken_records_are_refused() {
    let good = {
        let mut ext = BtfExt::default();
        let records = vec![FuncInfo { insn_off: 0, type_id: TypeId(1) }; 2];
        ext.funcs.push(skep_btf::ext::ExtSection { name_off: 1, records });
        ext.encode()
    };
    let parts = BtfExt::parse(&good).expect("reads");
    assert_eq!((parts.funcs.len(), parts.lines.len(), parts.relos.len()), (1, 0, 0));
    for len in 0..good.len() {
        assert!(BtfExt::parse(&good[..len]).is_err(), "{len}");
    }
    let changed = |at: usize, value: u32| {
        let mut bytes = good.clone();
        word(&mut bytes, at, value);
        BtfExt::parse(&bytes)
    };
    assert_eq!(changed(32, 4), Err(ExtError::RecordSize { part: "func_info", size: 4, least: 8 }));
    assert_eq!(changed(32, 9), Err(ExtError::RecordSize { part: "func_info", size: 9, least: 8 }));
    assert_eq!(changed(40, u32::MAX), Err(ExtError::Truncated { part: "func_info" }));
    assert_eq!(changed(40, 1), Err(ExtError::Truncated { part: "func_info" }));
    assert!(matches!(changed(8, 1000), Err(ExtError::Part { part: "func_info", .. })));
    assert!(matches!(changed(20, u32::MAX), Err(ExtError::Part { part: "line_info", .. })));
    assert!(matches!(changed(28, u32::MAX), Err(ExtError::Part { part: "core_relo", .. })));
    assert!(matches!(changed(0, 0x0001_9feb), Err(ExtError::Header(ParseError::BigEndian))));
    // A header without the relocation part, and records longer than those known.
    let mut old = good[..24].to_vec();
    word(&mut old, 4, 24);
    word(&mut old, 12, 4 + 8 + 12);
    word(&mut old, 16, 24);
    for word in [12u32, 1, 1, 5, 6, 7] {
        old.extend_from_slice(&word.to_le_bytes());
    }
    let old = BtfExt::parse(&old).expect("reads");
    assert_eq!(old.funcs[0].records, [FuncInfo { insn_off: 5, type_id: TypeId(6) }]);
}

#[test]
fn near_names_are_near() {
    let near = |name, candidates: &[&'static str], most| similar(name, candidates.iter().copied(), most);
    assert_eq!(near("comn", &["comm", "con", "common", "xyz"], 3), ["comm", "con"]);
    assert_eq!(near("preemtp", &["preempt", "prev"], 3), ["preempt"]);
    assert_eq!(near("PID", &["pid", "tid", "uid"], 2), ["pid", "tid"]);
    assert_eq!(near("ab", &["ba", "xy"], 3), ["ba"]);
    assert_eq!(near("", &["a"], 3), Vec::<&str>::new());
    assert_eq!(near("a", &["b", "b", "c"], 0), Vec::<&str>::new());
    assert_eq!(near("state", &["state", "state", "__state"], 3), ["state"]);
    let long = "x".repeat(65);
    assert_eq!(similar(&long, [long.as_str()].into_iter(), 3), Vec::<&str>::new());
}
