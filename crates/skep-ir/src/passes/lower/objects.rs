//! Fields of kernel objects, reads of foreign memory, questions about types.

use super::{Lowering, int};
use crate::diag::{Diagnostic, Severity};
use crate::func::{Inst, Value};
use crate::helpers as h;
use crate::inst::{Core, InstKind, Scalar, Space, Step};
use crate::kernel::Feature;
use crate::passes::field;
use crate::passes::fold::answer;
use crate::passes::rewrite::{Fate, Rewriter};
use crate::types::{Ty, Type, TypeId};

impl Lowering<'_> {
    /// A field of an object that the verifier knows.
    pub(super) fn field_load(
        &mut self,
        rw: &mut Rewriter<'_>,
        inst: Inst,
        base: Value,
        path: &[Step],
        scalar: Option<Scalar>,
    ) -> Fate {
        let Some(result) = rw.result(inst) else { return Fate::Replaced };
        let place = field::place(self.module, self.kernel, rw.class(base), path, scalar, rw.loc);
        let place = match place {
            Ok(place) => aligned(place),
            Err(message) => {
                self.diagnostics.push(*message);
                return Fate::Kept;
            }
        };
        let Ok(off) = i32::try_from(place.off) else {
            let message = "the field lies too far from the start of the object";
            self.diagnostics.push(Diagnostic::new(Severity::Error, rw.loc, message));
            return Fate::Kept;
        };
        let ty = rw.ty(result);
        if !ty.is_int() {
            let kind = InstKind::Load { ptr: base, off, volatile: false };
            return rw.become_kind(inst, kind);
        }
        let raw = rw.load(base, off, int(place.scalar.bytes));
        let value = field::extend(rw, raw, place.scalar);
        rw.define(inst, value)
    }

    pub(super) fn field_addr(
        &mut self,
        rw: &mut Rewriter<'_>,
        inst: Inst,
        base: Value,
        path: &[Step],
    ) -> Fate {
        let Some(result) = rw.result(inst) else { return Fate::Replaced };
        let off = match field::offset(self.module, self.kernel, rw.class(base), path, rw.loc) {
            Ok(off) => off,
            Err(message) => {
                self.diagnostics.push(*message);
                return Fate::Kept;
            }
        };
        let at = field::address(rw, base, off, path);
        if rw.ty(at) == rw.ty(result) {
            return rw.define(inst, at);
        }
        let at = if at == base { rw.value(InstKind::PtrToInt(base), Ty::I64) } else { at };
        rw.become_kind(inst, InstKind::IntToPtr(at))
    }

    /// Copies bytes or a string. What cannot be read is zeros: helpers see to that.
    #[allow(clippy::too_many_arguments, reason = "the operands of the instruction")]
    pub(super) fn probe_read(
        &mut self,
        rw: &mut Rewriter<'_>,
        inst: Inst,
        (dst, max): (Value, u32),
        len: Option<Value>,
        src: Value,
        space: Space,
        string: bool,
    ) -> Fate {
        let len = match len {
            Some(len) => rw.at_most(len, max),
            None => rw.i64(i64::from(max)),
        };
        let split = self.kernel.has(Feature::ProbeReadKernel);
        let id = match (space, string) {
            (Space::User, false) if self.sleeps && self.kernel.has(Feature::CopyFromUser) => {
                h::COPY_FROM_USER
            }
            (Space::User, false) if split => h::PROBE_READ_USER,
            (Space::Kernel, false) if split => h::PROBE_READ_KERNEL,
            (_, false) => h::PROBE_READ,
            (Space::User, true) if split => h::PROBE_READ_USER_STR,
            (Space::Kernel, true) if split => h::PROBE_READ_KERNEL_STR,
            (_, true) => h::PROBE_READ_STR,
        };
        rw.become_kind(inst, InstKind::Helper(id, vec![dst, len, src]))
    }

    pub(super) fn core(
        &mut self,
        rw: &mut Rewriter<'_>,
        inst: Inst,
        what: Core,
        ty: TypeId,
        path: &[Step],
    ) -> Fate {
        let known = self.kernel.btf().and_then(|btf| answer(btf, &self.module.types, what, ty, path));
        if let Some(n) = known {
            return rw.become_kind(inst, InstKind::Const(n));
        }
        let name = if let Type::Kernel { name, .. } = self.module.types.get(ty) { name } else { "the type" };
        let message = format!("nothing is known of {name}: this kernel has no type information");
        self.diagnostics.push(Diagnostic::new(Severity::Error, rw.loc, message));
        Fate::Kept
    }
}

/// A bit-field as the verifier wants it read: whole, by an access that is aligned (`btf_struct_walk` of
/// kernel/bpf/btf.c).
fn aligned(mut place: field::Place) -> field::Place {
    let Some((from, bits)) = place.scalar.bits else { return place };
    let first = place.off * 8 + i64::from(from);
    for bytes in [1i64, 2, 4, 8] {
        let start = first.div_euclid(8).div_euclid(bytes) * bytes;
        if first + i64::from(bits) <= (start + bytes) * 8 {
            place.off = start;
            place.scalar.bytes = bytes as u32;
            place.scalar.bits = Some(((first - start * 8) as u32, bits));
            break;
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bit_fields_are_read_by_aligned_accesses() {
        let place = |off, bytes, bits| {
            let p = aligned(field::Place { off, scalar: Scalar { bytes, signed: false, bits } });
            (p.off, p.scalar.bytes, p.scalar.bits)
        };
        assert_eq!(place(5, 2, Some((3, 9))), (4, 4, Some((11, 9))));
        assert_eq!(place(5, 1, Some((3, 5))), (5, 1, Some((3, 5))));
        assert_eq!(place(4, 4, None), (4, 4, None));
    }
}
