//! Paths: the one of the program, and the same one on the target.

use super::compat::{self, Budget, TooComplex};
use super::{CoreError, RelocKind, Relocation, essential};
use crate::{Btf, FieldRef, Type, TypeId};

/// Longest access string (`BPF_CORE_SPEC_MAX_LEN`).
const MAX_PATH: usize = 64;

/// A step that means something on another kernel: indexes of anonymous members do not.
#[derive(Copy, Clone, Debug)]
enum Step<'a> {
    /// Into a named member, with its type in the program.
    Member { name: &'a str, type_id: TypeId },
    /// To an element of an array, or first, of the array that the type itself is taken for.
    Element(u32),
}

/// What a path leads to.
#[derive(Copy, Clone, Debug)]
pub(super) enum Leaf {
    /// A type as a whole, or nothing to be measured.
    Type(TypeId),
    /// A constant and its value.
    Constant { value: i64 },
    /// An element of an array.
    Element(FieldRef),
    /// A member.
    Member(FieldRef),
}

impl Leaf {
    pub(super) fn bit_offset(&self) -> u32 {
        match self {
            Leaf::Element(at) | Leaf::Member(at) => at.bit_offset,
            Leaf::Type(_) | Leaf::Constant { .. } => 0,
        }
    }
}

/// The path of a relocation in the program's own types.
pub(super) struct LocalSpec<'a> {
    pub(super) btf: &'a Btf,
    pub(super) kind: RelocKind,
    pub(super) root: TypeId,
    pub(super) leaf: Leaf,
    steps: Vec<Step<'a>>,
    /// Name of the constant.
    constant: &'a str,
}

impl<'a> LocalSpec<'a> {
    /// Checks a relocation against the program's types.
    pub(super) fn new(btf: &'a Btf, relocation: &Relocation<'_>) -> Result<Self, CoreError> {
        let Relocation { kind, type_id: root, access } = *relocation;
        let fail = |why| CoreError::Access {
            kind: kind.name(),
            access: access.to_owned(),
            id: root,
            name: btf.name(root).to_owned(),
            why,
        };
        let mut spec = LocalSpec { btf, kind, root, leaf: Leaf::Type(root), steps: Vec::new(), constant: "" };
        if !kind.is_field() && !kind.is_enumval() {
            return if access == "0" { Ok(spec) } else { Err(fail("a type is accessed by \"0\" alone")) };
        }
        let path = indexes(access).ok_or_else(|| fail("it is not up to 64 numbers separated by colons"))?;
        let (&first, rest) = path.split_first().ok_or_else(|| fail("it is empty"))?;
        let ty = btf.peel(root).ok_or_else(|| fail("the type leads nowhere"))?;
        if kind.is_enumval() {
            let variant = ty.enumeration().and_then(|e| e.variants().get(first as usize));
            let variant = variant.filter(|_| rest.is_empty());
            let variant = variant.ok_or_else(|| fail("the type has no constant of that index"))?;
            spec.constant = variant.name();
            spec.leaf = Leaf::Constant { value: variant.value() };
            return Ok(spec);
        }
        spec.walk(ty.id(), first, rest).map_err(fail)?;
        Ok(spec)
    }

    fn walk(&mut self, id: TypeId, first: u32, rest: &[u32]) -> Result<(), &'static str> {
        const SIZE: &str = "an element has no size";
        const NOWHERE: &str = "a type on the path leads nowhere";
        let size = self.btf.size_of(id).ok_or(SIZE)?;
        let mut at =
            FieldRef { type_id: id, bit_offset: element_bits(first, size).ok_or(SIZE)?, bit_size: None };
        self.steps.push(Step::Element(first));
        self.leaf = Leaf::Element(at);
        // Whether the last step was the last member of a struct: an array without elements may be there.
        let mut flexible = false;
        for &index in rest {
            match self.btf.peel(at.type_id).ok_or(NOWHERE)? {
                Type::Struct(c) | Type::Union(c) => {
                    let members = c.members();
                    let member = members.get(index as usize).ok_or("a struct has fewer members")?;
                    at = FieldRef {
                        type_id: member.type_id(),
                        bit_offset: at.bit_offset.checked_add(member.bit_offset()).ok_or(SIZE)?,
                        bit_size: member.bit_size(),
                    };
                    if !member.is_anonymous() {
                        flexible = index as usize + 1 == members.len();
                        self.steps.push(Step::Member { name: member.name(), type_id: member.type_id() });
                        self.leaf = Leaf::Member(at);
                    }
                }
                Type::Array(a) => {
                    if index >= a.len() && !(flexible && a.len() == 0) {
                        return Err("an array has fewer elements");
                    }
                    flexible = false;
                    let type_id = self.btf.peel(a.element()).ok_or(NOWHERE)?.id();
                    let skip =
                        self.btf.size_of(type_id).and_then(|size| element_bits(index, size)).ok_or(SIZE)?;
                    let bit_offset = at.bit_offset.checked_add(skip).ok_or(SIZE)?;
                    at = FieldRef { type_id, bit_offset, bit_size: None };
                    self.steps.push(Step::Element(index));
                    self.leaf = Leaf::Element(at);
                }
                _ => return Err("it goes into what is neither a struct, a union nor an array"),
            }
        }
        Ok(())
    }

    /// The same path on a type of the target, if it is there.
    pub(super) fn matches(
        &self,
        btf: &Btf,
        id: TypeId,
        budget: &mut Budget,
    ) -> Result<Option<Matched>, TooComplex> {
        let leaf = match self.kind {
            RelocKind::TypeMatches => {
                compat::types_match(self.btf, self.root, btf, id, budget)?.then_some(Leaf::Type(id))
            }
            kind if kind.is_enumval() => self.find_constant(btf, id),
            kind if kind.is_field() => self.find_field(btf, id, budget)?,
            _ => {
                compat::types_are_compatible(self.btf, self.root, btf, id, budget)?.then_some(Leaf::Type(id))
            }
        };
        Ok(leaf.map(|leaf| Matched { leaf }))
    }

    fn find_constant(&self, btf: &Btf, id: TypeId) -> Option<Leaf> {
        let wanted = essential(self.constant);
        let mut variants = btf.peel(id)?.enumeration()?.variants();
        let variant = variants.find(|v| essential(v.name()) == wanted)?;
        Some(Leaf::Constant { value: variant.value() })
    }

    fn find_field(&self, btf: &Btf, id: TypeId, budget: &mut Budget) -> Result<Option<Leaf>, TooComplex> {
        let mut at = FieldRef { type_id: id, bit_offset: 0, bit_size: None };
        let mut leaf = Leaf::Type(id);
        let mut flexible = false;
        for (i, step) in self.steps.iter().enumerate() {
            match *step {
                Step::Member { name, type_id } => {
                    let mut found = None;
                    for field in btf.fields(at.type_id) {
                        budget.spend()?;
                        if field.member.is_named(name) {
                            found = Some(field);
                            break;
                        }
                    }
                    let Some(field) = found else { return Ok(None) };
                    if !compat::fields_are_compatible(self.btf, type_id, btf, field.at.type_id) {
                        return Ok(None);
                    }
                    flexible = field.is_last;
                    let bit_offset = at.bit_offset.checked_add(field.at.bit_offset).ok_or(TooComplex)?;
                    at = FieldRef { bit_offset, ..field.at };
                    leaf = Leaf::Member(at);
                }
                Step::Element(index) => {
                    let mut element = at.type_id;
                    if i > 0 {
                        let Some(Type::Array(a)) = btf.peel(at.type_id) else { return Ok(None) };
                        if index >= a.len() && !(flexible && a.len() == 0) {
                            return Ok(None);
                        }
                        element = a.element();
                    }
                    let Some(element) = btf.peel(element).map(|t| t.id()) else { return Ok(None) };
                    let skip = btf.size_of(element).and_then(|size| element_bits(index, size));
                    let Some(skip) = skip else { return Ok(None) };
                    flexible = false;
                    let bit_offset = at.bit_offset.checked_add(skip).ok_or(TooComplex)?;
                    at = FieldRef { type_id: element, bit_offset, bit_size: None };
                    leaf = Leaf::Element(at);
                }
            }
        }
        Ok(Some(leaf))
    }
}

/// A path on the target.
pub(super) struct Matched {
    pub(super) leaf: Leaf,
}

impl Matched {
    pub(super) fn bit_offset(&self) -> u32 {
        self.leaf.bit_offset()
    }
}

fn element_bits(index: u32, size: u32) -> Option<u32> {
    index.checked_mul(size)?.checked_mul(8)
}

/// Numbers of an access string.
fn indexes(access: &str) -> Option<Vec<u32>> {
    if access.len() > MAX_PATH * 11 {
        return None;
    }
    let number = |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse().ok())?;
    let path: Vec<u32> = access.split(':').map(number).collect::<Option<_>>()?;
    (path.len() <= MAX_PATH).then_some(path)
}
