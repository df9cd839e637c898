//! Where fields of kernel and user objects lie, and what their bits mean.

use super::fold::{find, is_signed, walk};
use super::rewrite::Rewriter;
use crate::diag::{Diagnostic, Severity};
use crate::func::{Func, Value};
use crate::inst::{BinOp, InstKind, Scalar, Step};
use crate::kernel::KernelInfo;
use crate::module::Module;
use crate::source::Loc;
use crate::types::{PtrClass, Ty, Type};

/// Largest offset by a number that the verifier allows on a typed pointer (below `BPF_MAX_VAR_OFF` of
/// include/linux/bpf_verifier.h).
const MAX_VAR_OFF: i64 = (1 << 29) - 1;

/// Whether a field can only be read by a helper: behind an address that the verifier knows nothing about, or an
/// element by a number, which typed pointers do not move by.
pub(super) fn needs_helper(func: &Func, base: Value, path: &[Step]) -> bool {
    let class = func.ty(base).as_ptr().map(|p| p.class);
    !is_typed(class) || path.iter().any(|s| matches!(s, Step::IndexBy(..)))
}

/// Whether a pointer is one whose object the verifier knows.
pub(super) fn is_typed(class: Option<PtrClass>) -> bool {
    matches!(class, Some(PtrClass::KernelTrusted(_) | PtrClass::KernelUntrusted(_)))
}

/// Where a path leads.
pub(super) struct Place {
    /// Bytes from the base; elements by a number count from the first.
    pub(super) off: i64,
    /// What is there.
    pub(super) scalar: Scalar,
}

/// Where a path leads to a scalar.
pub(super) fn place(
    module: &Module,
    kernel: &dyn KernelInfo,
    class: Option<PtrClass>,
    path: &[Step],
    scalar: Option<Scalar>,
    loc: Option<Loc>,
) -> Result<Place, Box<Diagnostic>> {
    if let (Some(off), Some(scalar)) = (known_offset(path), scalar) {
        return Ok(Place { off, scalar });
    }
    let (at, name) = resolve(module, kernel, class, path, loc)?;
    let btf = kernel.btf();
    let fail = |what: &str| error(loc, format!("{name}: {what}"));
    let off = i64::from(at.bit_offset / 8);
    if let Some(scalar) = scalar {
        return Ok(Place { off, scalar });
    }
    let signed = btf.is_some_and(|btf| is_signed(btf, at.type_id));
    let scalar = match at.bit_size {
        None => {
            let bytes = btf.and_then(|btf| btf.size_of(at.type_id)).unwrap_or(0);
            Scalar { bytes, signed, bits: None }
        }
        Some(bits) => {
            let from = at.bit_offset % 8;
            let bytes = (from + u32::from(bits)).div_ceil(8).next_power_of_two();
            Scalar { bytes, signed, bits: Some((from, u32::from(bits))) }
        }
    };
    if Ty::int(scalar.bytes).is_none() {
        return Err(fail("the field does not fit a register"));
    }
    Ok(Place { off, scalar })
}

/// Bytes from the base to where a path leads.
pub(super) fn offset(
    module: &Module,
    kernel: &dyn KernelInfo,
    class: Option<PtrClass>,
    path: &[Step],
    loc: Option<Loc>,
) -> Result<i64, Box<Diagnostic>> {
    if let Some(off) = known_offset(path) {
        return Ok(off);
    }
    resolve(module, kernel, class, path, loc).map(|(at, _)| i64::from(at.bit_offset / 8))
}

/// Offset of a path that needs no type information.
fn known_offset(path: &[Step]) -> Option<i64> {
    path.iter()
        .map(|step| match step {
            Step::Offset(n) => Some(i64::from(*n)),
            Step::IndexBy(..) => Some(0),
            Step::Field(_) | Step::Index(_) => None,
        })
        .sum()
}

fn resolve<'m>(
    module: &'m Module,
    kernel: &dyn KernelInfo,
    class: Option<PtrClass>,
    path: &[Step],
    loc: Option<Loc>,
) -> Result<(skep_btf::FieldRef, &'m str), Box<Diagnostic>> {
    let Some(Type::Kernel { name, id }) = class.and_then(PtrClass::pointee).map(|t| module.types.get(t))
    else {
        return Err(error(loc, "the layout of what the pointer points to is not known".to_owned()));
    };
    let Some(btf) = kernel.btf() else {
        let message = format!("the layout of {name} is not known: this kernel has no type information");
        let mut diagnostic = error(loc, message);
        diagnostic.hints.push("the kernel must be built with CONFIG_DEBUG_INFO_BTF".to_owned());
        return Err(diagnostic);
    };
    let Some(found) = find(btf, name, *id) else {
        return Err(error(loc, format!("this kernel has no type {name}")));
    };
    let at = walk(btf, found, path).map_err(|e| error(loc, format!("{name} {}", e.0)))?;
    Ok((at, name))
}

fn error(loc: Option<Loc>, message: String) -> Box<Diagnostic> {
    Box::new(Diagnostic::new(Severity::Error, loc, message))
}

/// The address that a path leads to, as a number; the base itself if that is it.
pub(super) fn address(rw: &mut Rewriter<'_>, base: Value, off: i64, path: &[Step]) -> Value {
    let typed = is_typed(rw.class(base));
    let indexed = path.iter().any(|s| matches!(s, Step::IndexBy(..)));
    if off == 0 && !indexed {
        return base;
    }
    let mut at = rw.value(InstKind::PtrToInt(base), Ty::I64);
    if off != 0 {
        at = rw.bin_n(BinOp::Add, at, off);
    }
    for step in path {
        let Step::IndexBy(index, size) = step else { continue };
        let mut by = match *size {
            1 => *index,
            size => rw.bin_n(BinOp::Mul, *index, i64::from(size)),
        };
        if typed {
            // The index is in range, and the verifier wants to see that.
            by = rw.bin_n(BinOp::And, by, MAX_VAR_OFF);
        }
        at = rw.bin(BinOp::Add, at, by);
    }
    at
}

/// A scalar's bytes as an `i64`: extended by its sign, and cut out if it is a bit-field.
pub(super) fn extend(rw: &mut Rewriter<'_>, raw: Value, scalar: Scalar) -> Value {
    let Some((from, bits)) = scalar.bits else { return rw.resize(raw, Ty::I64, scalar.signed) };
    if bits == 0 || bits > 64 || from > 63 {
        return rw.i64(0);
    }
    let mut value = rw.resize(raw, Ty::I64, false);
    if from + bits <= 64 && !scalar.signed && bits < 32 {
        if from > 0 {
            value = rw.bin_n(BinOp::LShr, value, i64::from(from));
        }
        return rw.bin_n(BinOp::And, value, (1 << bits) - 1);
    }
    // What lies beyond the bytes that were read is 0.
    let left = 64 - i64::from(bits) - i64::from(from);
    if left >= 0 {
        value = rw.bin_n(BinOp::Shl, value, left);
    } else {
        value = rw.bin_n(BinOp::LShr, value, i64::from(from));
        value = rw.bin_n(BinOp::Shl, value, 64 - i64::from(bits));
    }
    let op = if scalar.signed { BinOp::AShr } else { BinOp::LShr };
    rw.bin_n(op, value, 64 - i64::from(bits))
}
