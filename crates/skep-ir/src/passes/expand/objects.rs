//! Fields behind addresses that the verifier knows nothing about: read into memory by a helper.

use super::Expander;
use crate::func::{Inst, Value};
use crate::inst::{InstKind, Scalar, Space, Step};
use crate::passes::field;
use crate::passes::rewrite::{Fate, Rewriter};
use crate::types::{PtrClass, Ty};

impl Expander<'_> {
    pub(super) fn field_load(
        &mut self,
        rw: &mut Rewriter<'_>,
        inst: Inst,
        base: Value,
        path: &[Step],
        scalar: Option<Scalar>,
    ) -> Fate {
        let Some(result) = rw.result(inst) else { return Fate::Replaced };
        let place = match field::place(self.module, self.kernel, rw.class(base), path, scalar, rw.loc) {
            Ok(place) => place,
            Err(message) => {
                self.diagnostics.push(*message);
                return Fate::Kept;
            }
        };
        let space =
            if matches!(rw.class(base), Some(PtrClass::User(_))) { Space::User } else { Space::Kernel };
        let src = field::address(rw, base, place.off, path);
        let slot = *self.temps.field.get_or_insert_with(|| rw.slot("field", 8, 8));
        let dst = rw.slot_addr(slot);
        let bytes = place.scalar.bytes;
        let len = rw.i64(i64::from(bytes));
        rw.inst(InstKind::ProbeRead { dst, len, max: bytes, src, space });
        let ty = rw.ty(result);
        if !ty.is_int() {
            let ptr = rw.load(dst, 0, ty);
            return rw.define(inst, ptr);
        }
        let raw = rw.load(dst, 0, Ty::int(bytes).unwrap_or(Ty::I64));
        let value = field::extend(rw, raw, place.scalar);
        rw.define(inst, value)
    }
}
