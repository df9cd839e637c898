//! Types as inference sees them: a [`Type`] with what is not settled about its parts.

use crate::hir::NsecsClock;
use crate::types::{AddrSpace, AggTy, IntTy, Type};
use std::rc::Rc;

/// Most elements that a tuple or record may have, those of its elements included.
const MAX_LEAVES: u32 = 4096;

/// What inference knows about a value beyond its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Traits {
    /// A value that is not made of parts that matter.
    Leaf {
        /// An integer that came from a non-negative literal and takes the sign of what it meets.
        flexible: bool,
        /// The memory that it is an address of, if it is one in the guise of an integer.
        space: AddrSpace,
        /// The clock that it was read from.
        clock: Option<NsecsClock>,
    },
    /// Traits of the elements of a tuple or record, or of what a pointer points to.
    Parts(Rc<[Traits]>),
}

impl Traits {
    /// Nothing to say.
    pub(crate) const PLAIN: Traits = Traits::leaf(false, AddrSpace::None);
    /// A non-negative literal.
    pub(crate) const FLEXIBLE: Traits = Traits::leaf(true, AddrSpace::None);

    /// A value without parts.
    pub(crate) const fn leaf(flexible: bool, space: AddrSpace) -> Traits {
        Traits::Leaf { flexible, space, clock: None }
    }

    /// An integer that may be an address.
    pub(crate) fn address(space: AddrSpace) -> Traits {
        Traits::leaf(false, space)
    }

    /// A point in time.
    pub(crate) fn time(clock: NsecsClock) -> Traits {
        Traits::Leaf { flexible: false, space: AddrSpace::None, clock: Some(clock) }
    }

    /// The clock that an integer was read from.
    pub(crate) fn clock(&self) -> Option<NsecsClock> {
        if let Traits::Leaf { clock, .. } = self { *clock } else { None }
    }

    fn parts(parts: Vec<Traits>) -> Traits {
        if parts.iter().all(|t| *t == Traits::PLAIN) { Traits::PLAIN } else { Traits::Parts(parts.into()) }
    }

    /// Traits of a part.
    pub(crate) fn part(&self, index: usize) -> Traits {
        match self {
            Traits::Parts(parts) => parts.get(index).cloned().unwrap_or(Traits::PLAIN),
            Traits::Leaf { .. } => Traits::PLAIN,
        }
    }

    /// Whether it is a flexible integer.
    pub(crate) fn is_flexible(&self) -> bool {
        matches!(self, Traits::Leaf { flexible: true, .. })
    }

    /// The memory that an integer is an address of.
    pub(crate) fn space(&self) -> AddrSpace {
        if let Traits::Leaf { space, .. } = self { *space } else { AddrSpace::None }
    }
}

/// A type under inference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ty {
    /// The type so far.
    pub(crate) ty: Type,
    /// What is not settled.
    pub(crate) traits: Traits,
}

impl From<Type> for Ty {
    fn from(ty: Type) -> Ty {
        Ty { ty, traits: Traits::PLAIN }
    }
}

impl Ty {
    /// The smallest type of an integer literal.
    pub(crate) fn of_literal(value: i128) -> Ty {
        let bits =
            |v: i128| [1u8, 2, 4, 8].into_iter().find(|b| v >> (u32::from(*b) * 8 - 1) == -i128::from(v < 0));
        match bits(value) {
            Some(bytes) if value < 0 => Type::int(bytes, true).into(),
            Some(bytes) => Ty { ty: Type::int(bytes, true), traits: Traits::FLEXIBLE },
            None => Type::U64.into(),
        }
    }

    /// A tuple of elements.
    pub(crate) fn tuple(elems: Vec<Ty>) -> Ty {
        let (types, traits): (Vec<_>, Vec<_>) = elems.into_iter().map(|e| (e.ty, e.traits)).unzip();
        Ty { ty: Type::Tuple(types.into()), traits: Traits::parts(traits) }
    }

    /// A record of elements.
    pub(crate) fn record(elems: Vec<(Rc<str>, Ty)>) -> Ty {
        let (types, traits): (Vec<_>, Vec<_>) =
            elems.into_iter().map(|(name, e)| ((name, e.ty), e.traits)).unzip();
        Ty { ty: Type::Record(types.into()), traits: Traits::parts(traits) }
    }

    /// Whether a tuple or record has more leaves than any sensible one. Variables that hold pairs of themselves
    /// grow twofold with every line, so this is asked before a type is made of others.
    pub(crate) fn is_too_large<'a>(elems: impl Iterator<Item = &'a Type>) -> bool {
        fn leaves(ty: &Type, budget: &mut u32) {
            *budget = budget.saturating_sub(1);
            match ty {
                _ if *budget == 0 => {}
                Type::Tuple(elems) => elems.iter().for_each(|t| leaves(t, budget)),
                Type::Record(elems) => elems.iter().for_each(|(_, t)| leaves(t, budget)),
                _ => {}
            }
        }
        let mut budget = MAX_LEAVES;
        elems.for_each(|t| leaves(t, &mut budget));
        budget == 0
    }

    /// A pointer to it.
    pub(crate) fn pointer(self, space: AddrSpace) -> Ty {
        Ty { traits: Traits::parts(vec![self.traits]), ty: Type::Ptr(Rc::new(self.ty), space) }
    }

    /// What a pointer points to.
    pub(crate) fn pointee(&self) -> Option<Ty> {
        let Type::Ptr(to, _) = &self.ty else { return None };
        Some(Ty { ty: (**to).clone(), traits: self.traits.part(0) })
    }

    /// An element of a tuple or record.
    pub(crate) fn element(&self, index: usize) -> Option<Ty> {
        let ty = match &self.ty {
            Type::Tuple(elems) => elems.get(index)?.clone(),
            Type::Record(elems) => elems.get(index)?.1.clone(),
            _ => return None,
        };
        Some(Ty { ty, traits: self.traits.part(index) })
    }

    /// The integer that an expression of this type counts as in arithmetic; `None` for what is no number.
    /// Enumerations count as unsigned numbers of 64 bits, as do truth values.
    pub(crate) fn as_int(&self) -> Option<IntTy> {
        match &self.ty {
            Type::Int(int) => Some(*int),
            Type::Enum(_) | Type::Bool => Some(IntTy { bytes: 8, signed: false }),
            Type::Agg(agg) => Some(IntTy { bytes: 8, signed: agg_reads_as(*agg)? }),
            _ => None,
        }
    }

    /// Whether it is an integer that takes the sign of what it meets.
    pub(crate) fn is_flexible(&self) -> bool {
        self.traits.is_flexible()
    }

    /// The address space of a pointer, or of an integer that came from one.
    pub(crate) fn space(&self) -> AddrSpace {
        if let Type::Ptr(_, space) = self.ty { space } else { self.traits.space() }
    }
}

/// Whether collected numbers read as a signed integer; `None` if they do not read as an integer at all.
pub(crate) fn agg_reads_as(agg: AggTy) -> Option<bool> {
    match agg {
        AggTy::Count => Some(false),
        AggTy::Sum(signed) | AggTy::Min(signed) | AggTy::Max(signed) | AggTy::Avg(signed) => Some(signed),
        AggTy::Stats(_) | AggTy::Hist { .. } | AggTy::Lhist { .. } | AggTy::Tseries { .. } => None,
    }
}

/// The type that holds values of two integer types, and whether one that does not fit into it is among them.
///
/// Equal signs give the larger size, a flexible side takes the other's sign, a larger signed type takes in an
/// unsigned one, and else it is the signed type of twice the larger size, which is 64 bits at most.
pub(crate) fn merge_ints(a: IntTy, a_flexible: bool, b: IntTy, b_flexible: bool) -> IntTy {
    let bytes = a.bytes.max(b.bytes);
    if a.signed == b.signed {
        return IntTy { bytes, signed: a.signed };
    }
    if a_flexible != b_flexible {
        return IntTy { bytes, signed: if a_flexible { b.signed } else { a.signed } };
    }
    let (signed, unsigned) = if a.signed { (a, b) } else { (b, a) };
    let bytes = if signed.bytes > unsigned.bytes { signed.bytes } else { (bytes * 2).min(8) };
    IntTy { bytes, signed: true }
}

/// Whether every value of one integer type is a value of another.
pub(crate) fn int_fits(from: IntTy, flexible: bool, to: IntTy) -> bool {
    if from.signed == to.signed || flexible {
        return from.bytes <= to.bytes;
    }
    !from.signed && from.bytes < to.bytes
}

/// What is known first stays: a result that went back to unknown would never settle.
fn merge_spaces(a: AddrSpace, b: AddrSpace) -> AddrSpace {
    if a == AddrSpace::None { b } else { a }
}

fn merge_traits(a: &Traits, b: &Traits) -> Traits {
    match (a, b) {
        (
            Traits::Leaf { flexible: fa, space: sa, clock: ca },
            Traits::Leaf { flexible: fb, space: sb, clock: cb },
        ) => Traits::Leaf {
            flexible: *fa && *fb,
            space: merge_spaces(*sa, *sb),
            clock: ca.filter(|c| Some(*c) == *cb),
        },
        _ => {
            let count = |t: &Traits| if let Traits::Parts(p) = t { p.len() } else { 0 };
            let parts = (0..count(a).max(count(b))).map(|i| merge_traits(&a.part(i), &b.part(i)));
            Traits::parts(parts.collect())
        }
    }
}

/// The type that takes in both, for variables, elements of maps and arms of choices; `None` if there is none.
pub(crate) fn merge(a: &Ty, b: &Ty) -> Option<Ty> {
    if a.ty == b.ty {
        return Some(Ty { ty: a.ty.clone(), traits: merge_traits(&a.traits, &b.traits) });
    }
    let plain = |ty: Type| Some(Ty { ty, traits: merge_traits(&a.traits, &b.traits) });
    match (&a.ty, &b.ty) {
        (Type::Int(x), Type::Int(y)) => {
            plain(Type::Int(merge_ints(*x, a.is_flexible(), *y, b.is_flexible())))
        }
        (Type::Enum(_), Type::Enum(_)) => Some(Type::U64.into()),
        (Type::Enum(_), Type::Int(y)) => Some(merge_enum(*y, b.is_flexible()).into()),
        (Type::Int(x), Type::Enum(_)) => Some(merge_enum(*x, a.is_flexible()).into()),
        (Type::Str(x), Type::Str(y)) => plain(Type::Str(*x.max(y))),
        (Type::Buf(x), Type::Buf(y)) => plain(Type::Buf(*x.max(y))),
        (Type::Ptr(x, s), Type::Ptr(y, t)) if x == y => plain(Type::Ptr(x.clone(), merge_spaces(*s, *t))),
        (Type::Tuple(x), Type::Tuple(y)) if x.len() == y.len() => {
            let elems = (0..x.len()).map(|i| merge(&a.element(i)?, &b.element(i)?));
            Some(Ty::tuple(elems.collect::<Option<_>>()?))
        }
        (Type::Record(x), Type::Record(y)) if x.len() == y.len() => {
            let elem = |(i, (name, _)): (usize, &(Rc<str>, Type))| {
                let other = y.iter().position(|(n, _)| n == name)?;
                Some((name.clone(), merge(&a.element(i)?, &b.element(other)?)?))
            };
            Some(Ty::record(x.iter().enumerate().map(elem).collect::<Option<_>>()?))
        }
        (Type::Agg(x), Type::Agg(y)) => Some(Ty {
            ty: Type::Agg(merge_aggs(*x, a.is_flexible(), *y, b.is_flexible())?),
            traits: merge_traits(&a.traits, &b.traits),
        }),
        _ => None,
    }
}

fn merge_enum(int: IntTy, flexible: bool) -> Type {
    Type::Int(merge_ints(IntTy { bytes: 8, signed: false }, false, int, flexible))
}

/// Aggregates of one kind that differ only in the sign of what they collect.
fn merge_aggs(a: AggTy, a_flexible: bool, b: AggTy, b_flexible: bool) -> Option<AggTy> {
    let sign = |x: bool, y: bool| match (a_flexible, b_flexible) {
        (true, false) => y,
        (false, true) => x,
        _ => x || y,
    };
    Some(match (a, b) {
        (AggTy::Sum(x), AggTy::Sum(y)) => AggTy::Sum(sign(x, y)),
        (AggTy::Min(x), AggTy::Min(y)) => AggTy::Min(sign(x, y)),
        (AggTy::Max(x), AggTy::Max(y)) => AggTy::Max(sign(x, y)),
        (AggTy::Avg(x), AggTy::Avg(y)) => AggTy::Avg(sign(x, y)),
        (AggTy::Stats(x), AggTy::Stats(y)) => AggTy::Stats(sign(x, y)),
        (
            AggTy::Tseries { interval, count, agg, signed: x },
            AggTy::Tseries { interval: i, count: c, agg: g, signed: y },
        ) if (interval, count, agg) == (i, c, g) => {
            AggTy::Tseries { interval, count, agg, signed: sign(x, y) }
        }
        (a, b) if a == b => a,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(bytes: u8, signed: bool) -> IntTy {
        IntTy { bytes, signed }
    }

    #[test]
    fn literals_take_the_smallest_type() {
        let of = |v| Ty::of_literal(v).ty;
        assert_eq!(of(0), Type::int(1, true));
        assert_eq!(of(127), Type::int(1, true));
        assert_eq!(of(128), Type::int(2, true));
        assert_eq!(of(40_000), Type::int(4, true));
        assert_eq!(of(-129), Type::int(2, true));
        assert_eq!(of(-128), Type::int(1, true));
        assert_eq!(of(i128::from(i64::MAX)), Type::I64);
        assert_eq!(of(i128::from(i64::MIN)), Type::I64);
        assert_eq!(of(i128::from(u64::MAX)), Type::U64);
        assert!(Ty::of_literal(5).is_flexible() && !Ty::of_literal(-5).is_flexible());
    }

    #[test]
    fn integers_merge_by_sign_and_size() {
        assert_eq!(merge_ints(int(1, true), true, int(8, false), false), int(8, false));
        assert_eq!(merge_ints(int(4, true), false, int(4, false), false), int(8, true));
        assert_eq!(merge_ints(int(4, true), false, int(2, false), false), int(4, true));
        assert_eq!(merge_ints(int(8, true), false, int(8, false), false), int(8, true));
        assert!(int_fits(int(4, false), false, int(8, true)));
        assert!(!int_fits(int(8, false), false, int(8, true)));
        assert!(int_fits(int(1, true), true, int(1, false)));
    }

    #[test]
    fn composites_merge_by_element_and_name() {
        let strings = |n| Ty::from(Type::Str(n));
        let a = Ty::tuple(vec![Ty::of_literal(1), strings(2)]);
        let b = Ty::tuple(vec![Type::U64.into(), strings(9)]);
        assert_eq!(merge(&a, &b).map(|t| t.ty), Some(Type::Tuple([Type::U64, Type::Str(9)].into())));
        let a = Ty::record(vec![("x".into(), Ty::of_literal(1)), ("y".into(), strings(2))]);
        let b = Ty::record(vec![("y".into(), strings(5)), ("x".into(), Ty::of_literal(500))]);
        let merged = merge(&a, &b).map(|t| t.ty);
        assert_eq!(
            merged,
            Some(Type::Record([("x".into(), Type::int(2, true)), ("y".into(), Type::Str(5))].into()))
        );
        assert_eq!(merge(&a, &strings(1)), None);
    }
}
