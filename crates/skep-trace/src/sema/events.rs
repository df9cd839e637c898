//! Where the arguments of a record lie.

use crate::plan::{Arg, Layout};
use crate::types::{Structs, Type, sequence};

/// Bytes before the arguments of a data record.
pub(crate) const DATA_HEADER: u32 = 8;
/// Bytes before the arguments of a control record.
pub(crate) const CONTROL_HEADER: u32 = 16;

/// Arguments behind a header, laid out as a C struct would be.
pub(crate) fn arguments(types: &[Type], header: u32, structs: &Structs) -> Vec<Arg> {
    let places = sequence(types.iter(), structs).offsets;
    let arg = |(ty, offset): (&Type, u32)| Arg {
        offset: header + offset,
        size: ty.size(structs),
        layout: Layout::of(ty, structs),
    };
    types.iter().zip(places).map(arg).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_stand_behind_the_header_at_their_alignment() {
        let types = [Type::int(1, true), Type::U64, Type::Str(3)];
        let args = arguments(&types, DATA_HEADER, &Structs::default());
        let places: Vec<_> = args.iter().map(|a| (a.offset, a.size)).collect();
        assert_eq!(places, [(8, 1), (16, 8), (24, 3)]);
    }
}
