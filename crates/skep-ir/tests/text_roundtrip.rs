//! The text form carries everything, and its parser survives anything.

mod support;

use proptest::prelude::*;
use skep_ir::Module;
use skep_ir::text::{Locations, parse, parse_with_types, print};
use support::arbitrary;
use support::entropy::Entropy;

fn assert_same(module: &Module) {
    let text = print(module, Locations::Hide);
    let back = match parse_with_types(&text, module.types.clone()) {
        Ok(back) => back,
        Err(e) => panic!("{e}\n{text}"),
    };
    assert_eq!(back.license, module.license);
    assert_eq!(back.maps, module.maps, "{text}");
    assert_eq!(back.globals, module.globals, "{text}");
    assert_eq!(back.sets, module.sets, "{text}");
    assert_eq!(back.ledger, module.ledger, "{text}");
    assert_eq!(back.funcs, module.funcs, "{text}");
    assert_eq!(back.progs, module.progs, "{text}");
    // Without the table, types that nothing refers to are gone, and symbols that they had taken are free.
    let once = parse(&text).map(|m| print(&m, Locations::Hide)).expect("it was read before");
    let twice = parse(&once).map(|m| print(&m, Locations::Hide));
    assert_eq!(once.lines().count(), text.lines().count(), "{text}");
    assert_eq!(twice.as_ref(), Ok(&once));
}

#[test]
fn every_kind_of_instruction_is_printed_and_read() {
    for seed in 0..200u32 {
        let bytes: Vec<u8> = (0..4000u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) ^ (seed * 40_503)) as u8 ^ (i >> 3) as u8)
            .collect();
        assert_same(&arbitrary::one_of_each(&mut Entropy::new(&bytes)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn modules_are_printed_and_read(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        assert_same(&arbitrary::module(&mut Entropy::new(&bytes)));
    }

    #[test]
    fn the_parser_survives_damaged_texts(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4u8), 1..6),
    ) {
        let module = arbitrary::module(&mut Entropy::new(&bytes));
        let mut chars: Vec<char> = print(&module, Locations::Hide).chars().collect();
        for (from, to, how) in edits {
            if chars.is_empty() {
                break;
            }
            let (from, to) = (from.index(chars.len()), to.index(chars.len()));
            match how {
                0 => { chars.remove(from); }
                1 => chars.swap(from, to),
                2 => chars.truncate(from.max(1)),
                _ => { let c = chars[to]; chars.insert(from, c); }
            }
        }
        let text: String = chars.into_iter().collect();
        if let Err(e) = parse(&text) {
            prop_assert!(e.line >= 1 && e.column >= 1);
            prop_assert!(e.line as usize <= text.lines().count() + 1);
        }
    }

    #[test]
    fn the_parser_survives_any_text(text in "\\PC*") {
        let _ = parse(&text);
    }
}
