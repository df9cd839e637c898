//! What a type comes to: peeling, sizes, alignments, arrays, pointers.

use crate::{Btf, Type, TypeId};
use std::collections::HashMap;

/// Bytes of a pointer; BPF knows 64-bit kernels alone.
pub const POINTER_SIZE: u32 = 8;

/// Longest chain of typedefs, qualifiers, tags and array dimensions that is followed. The kernel stops at 32
/// (`kernel/bpf/btf.c`, `MAX_RESOLVE_DEPTH`); a longer chain is taken for a circle.
pub(crate) const MAX_CHAIN: usize = 64;

/// Deepest nesting of struct, union and array types that is entered.
pub(crate) const MAX_NESTING: usize = 32;

/// Most dimensions of an array that are told apart.
const MAX_DIMS: usize = 8;

/// An array with its dimensions.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct ArrayShape {
    /// Type of the innermost element.
    pub element: TypeId,
    dims: [u32; MAX_DIMS],
    count: usize,
}

impl ArrayShape {
    /// Numbers of elements, outermost dimension first. Compilers flatten most arrays to one dimension.
    #[must_use]
    pub fn dims(&self) -> &[u32] {
        &self.dims[..self.count]
    }

    /// Elements in all.
    #[must_use]
    pub fn elements(&self) -> Option<u32> {
        self.dims().iter().try_fold(1u32, |n, &d| n.checked_mul(d))
    }
}

/// Where a pointer may point, as its type tags tell. They are there only if the kernel was built by a
/// compiler that writes them.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct PtrTags {
    /// `__user`: memory of a process.
    pub user: bool,
    /// `__rcu`: valid within a read-side critical section.
    pub rcu: bool,
    /// `__percpu`: one copy for each CPU.
    pub percpu: bool,
    /// Arena: memory shared with user space (`address_space(1)`).
    pub arena: bool,
}

/// What a pointer points to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Pointee {
    /// Its type, with qualifiers and tags taken off and typedefs left on.
    pub target: TypeId,
    /// Tags between the pointer and the type.
    pub tags: PtrTags,
    /// Whether it is `const`.
    pub is_const: bool,
}

impl Btf {
    /// The type below typedefs, qualifiers and type tags. `None` where that leads nowhere or in circles.
    #[must_use]
    pub fn peel(&self, id: TypeId) -> Option<Type<'_>> {
        let mut id = id;
        for _ in 0..MAX_CHAIN {
            let ty = self.ty(id)?;
            match ty.peeled() {
                Some(next) => id = next,
                None => return Some(ty),
            }
        }
        None
    }

    /// The type below qualifiers and type tags; typedefs stay.
    #[must_use]
    pub fn unqualified(&self, id: TypeId) -> Option<Type<'_>> {
        let mut id = id;
        for _ in 0..MAX_CHAIN {
            match self.ty(id)? {
                Type::Const(r) | Type::Volatile(r) | Type::Restrict(r) => id = r.target(),
                Type::TypeTag(t) => id = t.target(),
                ty => return Some(ty),
            }
        }
        None
    }

    /// Bytes of a type. `None` for `void`, functions, forward declarations, and sizes beyond 32 bits.
    #[must_use]
    pub fn size_of(&self, id: TypeId) -> Option<u32> {
        let mut id = id;
        let mut count = 1u32;
        for _ in 0..MAX_CHAIN {
            let size = match self.peel(id)? {
                Type::Array(a) => {
                    count = count.checked_mul(a.len())?;
                    id = a.element();
                    continue;
                }
                Type::Var(v) => {
                    id = v.target();
                    continue;
                }
                Type::Int(i) => i.size(),
                Type::Float(f) => f.size(),
                Type::Ptr(_) => POINTER_SIZE,
                Type::Struct(c) | Type::Union(c) => c.size(),
                Type::Enum(e) | Type::Enum64(e) => e.size(),
                Type::Datasec(d) => d.size(),
                _ => return None,
            };
            return count.checked_mul(size);
        }
        None
    }

    /// Alignment in bytes that a C compiler gives a type; 1 for what can only be a packed struct.
    #[must_use]
    pub fn align_of(&self, id: TypeId) -> Option<u32> {
        Alignments::new(self).of(id)
    }

    /// Dimensions of an array; `None` if the type, peeled, is none.
    #[must_use]
    pub fn array(&self, id: TypeId) -> Option<ArrayShape> {
        let mut shape = ArrayShape { element: id, dims: [0; MAX_DIMS], count: 0 };
        while shape.count < MAX_DIMS {
            let Some(Type::Array(a)) = self.peel(shape.element) else { break };
            shape.dims[shape.count] = a.len();
            shape.count += 1;
            shape.element = a.element();
        }
        (shape.count > 0).then_some(shape)
    }

    /// What a pointer points to; `None` if the type, peeled, is none.
    #[must_use]
    pub fn pointee(&self, id: TypeId) -> Option<Pointee> {
        let Type::Ptr(ptr) = self.peel(id)? else { return None };
        let mut pointee = Pointee { target: ptr.target(), tags: PtrTags::default(), is_const: false };
        let mut below_typedef = false;
        let mut id = ptr.target();
        for _ in 0..MAX_CHAIN {
            let next = match self.ty(id)? {
                Type::TypeTag(t) => {
                    match (t.is_attribute(), t.name()) {
                        (false, "user") => pointee.tags.user = true,
                        (false, "rcu") => pointee.tags.rcu = true,
                        (false, "percpu") => pointee.tags.percpu = true,
                        (true, "address_space(1)") => pointee.tags.arena = true,
                        _ => {}
                    }
                    t.target()
                }
                Type::Const(r) => {
                    pointee.is_const = true;
                    r.target()
                }
                Type::Volatile(r) | Type::Restrict(r) => r.target(),
                Type::Typedef(r) => {
                    below_typedef = true;
                    r.target()
                }
                _ => return Some(pointee),
            };
            if !below_typedef {
                pointee.target = next;
            }
            id = next;
        }
        None
    }

    /// The last type of a chain of pointers, and how many there are: `struct file **` gives the struct and 2.
    #[must_use]
    pub fn chase(&self, id: TypeId) -> Option<(Type<'_>, u32)> {
        let mut ty = self.peel(id)?;
        for depth in 0..MAX_CHAIN as u32 {
            let Type::Ptr(ptr) = ty else { return Some((ty, depth)) };
            ty = self.peel(ptr.target())?;
        }
        None
    }
}

/// Alignments of types, each composite looked at once. Serves one question or a whole listing.
pub(crate) struct Alignments<'a> {
    btf: &'a Btf,
    /// Composites seen; `None` while one is being looked at, which catches those that contain themselves.
    known: HashMap<TypeId, Option<u32>>,
}

impl<'a> Alignments<'a> {
    pub(crate) fn new(btf: &'a Btf) -> Self {
        Alignments { btf, known: HashMap::new() }
    }

    pub(crate) fn of(&mut self, id: TypeId) -> Option<u32> {
        self.enter(id, MAX_NESTING)
    }

    fn enter(&mut self, id: TypeId, depth: usize) -> Option<u32> {
        let mut id = id;
        for _ in 0..MAX_CHAIN {
            match self.btf.peel(id)? {
                Type::Array(a) => id = a.element(),
                Type::Var(v) => id = v.target(),
                Type::Ptr(_) => return Some(POINTER_SIZE),
                Type::Int(i) => return Some(i.size().clamp(1, POINTER_SIZE)),
                Type::Float(f) => return Some(f.size().clamp(1, POINTER_SIZE)),
                Type::Enum(e) | Type::Enum64(e) => return Some(e.size().clamp(1, POINTER_SIZE)),
                Type::Struct(c) | Type::Union(c) => {
                    let depth = depth.checked_sub(1)?;
                    if let Some(&known) = self.known.get(&c.id()) {
                        return known;
                    }
                    self.known.insert(c.id(), None);
                    let natural = self.natural(c, depth)?;
                    let misplaced = |m: crate::Member<'_>, align: u32| {
                        m.bit_size().is_none() && !m.bit_offset().is_multiple_of(align.saturating_mul(8))
                    };
                    let mut packed = !c.size().is_multiple_of(natural);
                    for m in c.members() {
                        packed = packed || misplaced(m, self.enter(m.type_id(), depth)?);
                    }
                    let align = if packed { 1 } else { natural };
                    self.known.insert(c.id(), Some(align));
                    return Some(align);
                }
                _ => return None,
            }
        }
        None
    }

    /// The largest alignment of the members.
    fn natural(&mut self, c: crate::Composite<'_>, depth: usize) -> Option<u32> {
        c.members().try_fold(1, |most, m| Some(self.enter(m.type_id(), depth)?.max(most)))
    }

    /// Whether a struct is laid out in a way that only `packed` gives.
    pub(crate) fn is_packed(&mut self, c: crate::Composite<'_>) -> Option<bool> {
        let natural = self.natural(c, MAX_NESTING)?;
        Some(natural > 1 && self.of(c.id())? == 1)
    }
}
