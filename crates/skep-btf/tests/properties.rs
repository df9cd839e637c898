//! Properties of the builder, the encoder, the text form and the index over generated types and broken bytes.

mod torture;

use proptest::collection::vec;
use proptest::prelude::*;
use skep_btf::ext::{BtfExt, ExtSection};
use skep_btf::info::{self, CoreRelo, FuncInfo, LineInfo, LineTable, Record};
use skep_btf::{Btf, Builder, IntEncoding, Linkage, MemberDef, SectionVar, Supported, TypeDef, TypeId};
use std::sync::Arc;

/// Types refer to ids up to this one; every list is filled up to it.
const TYPES: u32 = 12;

fn id() -> impl Strategy<Value = TypeId> {
    (0..=TYPES).prop_map(TypeId)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-c_]{0,6}", 1 => "[a-z]{1,3}___[a-z]{1,2}", 1 => "[ -~]{1,12}", 1 => "[é-ö\u{1}\"\\\\]{1,3}"]
}

fn members() -> impl Strategy<Value = Vec<MemberDef>> {
    let member = (name(), id(), 0u32..0x00ff_ffff, prop::option::of(1u8..=64));
    vec(member, 0..5).prop_map(|members| {
        members
            .into_iter()
            .map(|(name, type_id, bit_offset, bit_size)| MemberDef { name, type_id, bit_offset, bit_size })
            .collect()
    })
}

fn linkage() -> impl Strategy<Value = Linkage> {
    prop_oneof![Just(Linkage::Static), Just(Linkage::Global), Just(Linkage::Extern)]
}

fn encoding() -> impl Strategy<Value = IntEncoding> {
    use IntEncoding::{Bool, Char, Mixed, Signed, Unsigned};
    prop_oneof![Just(Unsigned), Just(Signed), Just(Char), Just(Bool), Just(Mixed(5))]
}

fn enumeration() -> impl Strategy<Value = TypeDef> {
    let variants = vec((name(), any::<i64>()), 0..5);
    (name(), any::<u32>(), any::<bool>(), any::<bool>(), variants).prop_map(
        |(name, size, signed, wide, variants)| {
            let fit = |v: i64| match (wide, signed) {
                (true, _) => v,
                (false, true) => i64::from(v as i32),
                (false, false) => i64::from(v as u32),
            };
            let variants = variants.into_iter().map(|(name, value)| (name, fit(value))).collect();
            TypeDef::Enum { name, size, signed, wide, variants }
        },
    )
}

fn definition() -> impl Strategy<Value = TypeDef> {
    let var = (id(), any::<u32>(), any::<u32>()).prop_map(|(type_id, offset, size)| SectionVar {
        type_id,
        offset,
        size,
    });
    let tag = || (name(), id(), any::<bool>());
    prop_oneof![
        (name(), any::<u32>(), any::<u8>(), any::<u8>(), encoding()).prop_map(
            |(name, size, bits, bit_offset, encoding)| TypeDef::Int {
                name,
                size,
                bits,
                bit_offset,
                encoding
            }
        ),
        (name(), any::<u32>()).prop_map(|(name, size)| TypeDef::Float { name, size }),
        id().prop_map(TypeDef::Ptr),
        id().prop_map(TypeDef::Const),
        id().prop_map(TypeDef::Volatile),
        id().prop_map(TypeDef::Restrict),
        (id(), id(), any::<u32>()).prop_map(|(element, index, len)| TypeDef::Array { element, index, len }),
        (name(), any::<bool>(), any::<u32>(), members())
            .prop_map(|(name, union, size, members)| TypeDef::Composite { name, union, size, members }),
        enumeration(),
        (name(), any::<bool>()).prop_map(|(name, union)| TypeDef::Fwd { name, union }),
        (name(), id()).prop_map(|(name, target)| TypeDef::Typedef { name, target }),
        (id(), vec((name(), id()), 0..5)).prop_map(|(ret, params)| TypeDef::FuncProto { ret, params }),
        (name(), id(), linkage()).prop_map(|(name, proto, linkage)| TypeDef::Func { name, proto, linkage }),
        (name(), id(), linkage()).prop_map(|(name, target, linkage)| TypeDef::Var { name, target, linkage }),
        (name(), any::<u32>(), vec(var, 0..4)).prop_map(|(name, size, vars)| TypeDef::Datasec {
            name,
            size,
            vars
        }),
        (tag(), prop::option::of(0u32..9)).prop_map(|((name, target, attribute), component)| {
            TypeDef::DeclTag { name, target, component, attribute }
        }),
        tag().prop_map(|(name, target, attribute)| TypeDef::TypeTag { name, target, attribute }),
    ]
}

fn definitions() -> impl Strategy<Value = Vec<TypeDef>> {
    vec(definition(), TYPES as usize..TYPES as usize + 8)
}

fn pushed(defs: &[TypeDef]) -> Builder {
    let mut builder = Builder::new();
    for def in defs {
        builder.push(def.clone());
    }
    builder
}

fn encoded(defs: &[TypeDef]) -> Btf {
    Btf::parse(pushed(defs).encode(Supported::ALL).expect("encodes").bytes).expect("indexes")
}

proptest! {
    #[test]
    fn what_was_built_is_read_back(defs in definitions()) {
        let btf = encoded(&defs);
        prop_assert_eq!(btf.id_count() as usize, defs.len() + 1);
        for (i, def) in defs.iter().enumerate() {
            let id = TypeId(i as u32 + 1);
            let read = TypeDef::from_type(btf.ty(id).expect("indexed"));
            prop_assert_eq!(read.as_ref(), Some(def));
            prop_assert_eq!(btf.kind(id), Some(def.kind()));
        }
    }

    #[test]
    fn equal_input_gives_equal_bytes(defs in definitions()) {
        let once = pushed(&defs).encode(Supported::ALL);
        prop_assert_eq!(once, pushed(&defs).encode(Supported::ALL));
    }

    #[test]
    fn the_text_form_is_read_back(defs in definitions()) {
        let btf = encoded(&defs);
        let mut text = String::new();
        btf.dump(&mut text).expect("a string takes everything");
        let read = Builder::from_text(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        for (i, def) in defs.iter().enumerate() {
            prop_assert_eq!(read.get(TypeId(i as u32 + 1)), Some(def));
        }
    }

    #[test]
    fn equal_types_have_equal_ids(defs in definitions()) {
        let mut builder = Builder::new();
        let first: Vec<TypeId> = defs.iter().map(|d| builder.add(d.clone())).collect();
        let len = builder.len();
        for (def, &id) in defs.iter().zip(&first) {
            prop_assert_eq!(builder.get(id), Some(def));
            let thing = matches!(def, TypeDef::Func { .. } | TypeDef::Var { .. } | TypeDef::Datasec { .. });
            if !thing {
                prop_assert_eq!(builder.add(def.clone()), id);
            }
        }
        prop_assert_eq!(builder.len(), len);
    }

    #[test]
    fn lowered_types_are_those_that_are_supported(defs in definitions(), bits in 0u8..64) {
        let supported = Supported {
            func_global: bits & 1 != 0,
            datasec: bits & 2 != 0,
            float: bits & 4 != 0,
            decl_tag: bits & 8 != 0,
            type_tag: bits & 16 != 0,
            enum64: bits & 32 != 0,
        };
        let builder = pushed(&defs);
        if let Ok(encoded) = builder.encode(supported) {
            let btf = Btf::parse(encoded.bytes.clone()).expect("indexes");
            for id in btf.ids() {
                let def = TypeDef::from_type(btf.ty(id).expect("indexed")).expect("a known kind");
                let refused = match def {
                    TypeDef::Func { linkage, .. } => !supported.func_global && linkage != Linkage::Static,
                    TypeDef::Var { .. } | TypeDef::Datasec { .. } => !supported.datasec,
                    TypeDef::Float { .. } => !supported.float,
                    TypeDef::DeclTag { .. } => !supported.decl_tag,
                    TypeDef::TypeTag { .. } => !supported.type_tag,
                    TypeDef::Enum { wide, signed, .. } => !supported.enum64 && (wide || signed),
                    _ => false,
                };
                prop_assert!(!refused, "{def:?} with {supported:?}");
            }
            // Kinds that were kept keep their names under their new ids.
            for (i, def) in defs.iter().enumerate() {
                let new = encoded.id(TypeId(i as u32 + 1));
                if let (Some(new), TypeDef::Composite { .. } | TypeDef::Typedef { .. }) = (new, def) {
                    prop_assert_eq!(btf.name(new), def.name());
                    prop_assert_eq!(btf.kind(new), Some(def.kind()));
                }
            }
        } else {
            prop_assert!(supported != Supported::ALL);
        }
    }

    #[test]
    fn broken_bytes_never_panic(defs in definitions(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
                                cut in any::<prop::sample::Index>(), shorten in any::<bool>()) {
        let mut bytes = pushed(&defs).encode(Supported::ALL).expect("encodes").bytes;
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if shorten {
            bytes.truncate(cut.index(bytes.len()));
        }
        torture::ext(&bytes);
        if let Ok(btf) = Btf::parse(bytes) {
            torture::queries(&btf);
            torture::copies(&btf);
            let whole = encoded(&defs);
            torture::relocations(&btf, &whole, "0:1:0");
            torture::relocations(&whole, &btf, "0:1:0");
        }
    }

    #[test]
    fn split_parts_never_panic(base in definitions(), part in vec(any::<u8>(), 0..200), types in 0usize..50) {
        let base = Arc::new(encoded(&base));
        // A header around arbitrary types and strings.
        let types = (types * 4).min(part.len());
        let mut bytes = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0];
        for word in [types, types, part.len() - types] {
            bytes.extend_from_slice(&(word as u32).to_le_bytes());
        }
        bytes.extend_from_slice(&part);
        if let Ok(btf) = Btf::parse_split(base, bytes) {
            torture::queries(&btf);
        }
    }

    #[test]
    fn records_are_read_back(funcs in vec((any::<u32>(), any::<u32>()), 0..5),
                             lines in vec((any::<u32>(), 0..=info::MAX_LINE, 0..=info::MAX_COLUMN), 0..5),
                             relos in vec((any::<u32>(), 0u32..13), 0..5)) {
        let mut ext = BtfExt::default();
        if !funcs.is_empty() {
            let records = funcs.iter().map(|&(insn_off, id)| FuncInfo { insn_off, type_id: TypeId(id) }).collect();
            ext.funcs = vec![ExtSection { name_off: 1, records }];
        }
        if !lines.is_empty() {
            let records: Vec<_> = lines
                .iter()
                .map(|&(insn_off, line, column)| LineInfo { insn_off, file_name_off: 2, line_off: 3, line, column })
                .collect();
            prop_assert_eq!(info::encode_records(&records).len(), records.len() * LineInfo::SIZE);
            ext.lines = vec![ExtSection { name_off: 1, records: records.clone() }, ExtSection { name_off: 9, records }];
        }
        if !relos.is_empty() {
            let records = relos
                .iter()
                .map(|&(insn_off, kind)| CoreRelo { insn_off, type_id: TypeId(4), access_str_off: 5, kind })
                .collect();
            ext.relos = vec![ExtSection { name_off: 7, records }];
        }
        prop_assert_eq!(BtfExt::parse(&ext.encode()), Ok(ext));
    }

    #[test]
    fn line_tables_ascend_and_do_not_repeat(marks in vec((0u32..40, 1u32..4, any::<bool>()), 0..40)) {
        let mut table = LineTable::new();
        for &(insn_off, line, starts) in &marks {
            table.mark(LineInfo { insn_off, file_name_off: 1, line_off: 2, line, column: 1 }, starts);
        }
        for pair in table.records().windows(2) {
            prop_assert!(pair[0].insn_off < pair[1].insn_off);
        }
        if let Some(&(insn_off, line, _)) = marks.first() {
            let first = table.records()[0];
            prop_assert_eq!((first.insn_off, first.line), (insn_off, line));
        }
    }
}
