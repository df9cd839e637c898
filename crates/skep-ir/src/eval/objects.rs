//! Kernel and user objects, maps before lowering, stacks.

use super::{Frame, Machine, Trap};
use crate::arith::stack_hash;
use crate::func::Value;
use crate::inst::{InstKind, Ledger, Scalar, Space, Step};
use crate::passes::fold::{answer, find, is_signed, walk};
use crate::types::{PtrClass, Ty, Type};

const EFAULT: i64 = -14;

impl<'m> Machine<'m> {
    /// What [`Machine::composed`] does not do.
    pub(super) fn objects(&mut self, kind: &InstKind, frame: &Frame<'m, '_>, ty: Ty) -> Result<u64, Trap> {
        use InstKind as I;
        let v = |v: &Value| frame.values[*v];
        let key = |m: &Self, map: &crate::module::MapId, key: &Value| {
            m.memory.bytes(v(key), u64::from(m.module.maps[*map].key_size)).map(<[u8]>::to_vec)
        };
        Ok(match kind {
            I::FieldLoad { base, path, scalar } => {
                let class = frame.func.ty(*base).as_ptr().map(|p| p.class);
                let (off, layout) = self.place(class, path, *scalar, &v)?;
                let space =
                    if matches!(class, Some(PtrClass::User(_))) { Space::User } else { Space::Kernel };
                let at = v(base).wrapping_add_signed(off);
                let raw = self.external(space, at, layout.bytes).unwrap_or(0);
                if ty.is_int() { extend(raw, layout) } else { raw }
            }
            I::FieldAddr { base, path } => {
                let class = frame.func.ty(*base).as_ptr().map(|p| p.class);
                let address = Scalar { bytes: 8, signed: false, bits: None };
                let (off, _) = self.place(class, path, Some(address), &v)?;
                v(base).wrapping_add_signed(off)
            }
            I::ProbeRead { dst, len, max, src, space } => {
                let (len, max) = (v(len), u64::from(*max));
                if len > max {
                    return Err(Trap::Length { len, max });
                }
                self.probe_read(*space, v(dst), len, v(src))? as u64
            }
            I::ProbeReadStr { dst, cap, len, src, space } => {
                let cap = u64::from(*cap);
                let len = len.as_ref().map_or(cap, v);
                if len == 0 || len > cap {
                    return Err(Trap::Length { len, max: cap });
                }
                self.probe_read_str(*space, v(dst), len, v(src))? as u64
            }
            I::Core { what, ty, path } => {
                let btf = self.kernel.btf();
                let known = btf.and_then(|btf| answer(btf, &self.module.types, *what, *ty, path));
                known.ok_or_else(|| Trap::Unknown("the kernel's type information".to_owned()))? as u64
            }
            I::MapLookup { map, key: k } => {
                let key = key(self, map, k)?;
                self.lookup(*map, &key, self.cpu)
            }
            I::MapLookupPercpu { map, key: k, cpu } => {
                let key = key(self, map, k)?;
                u32::try_from(v(cpu)).map_or(0, |cpu| self.lookup(*map, &key, cpu))
            }
            I::MapUpsert { map, key: k } => {
                let key = key(self, map, k)?;
                let mut at = self.lookup(*map, &key, self.cpu);
                if at == 0 {
                    let zeros = vec![0; self.module.maps[*map].value_size as usize];
                    self.update(*map, &key, &zeros, 1)?;
                    at = self.lookup(*map, &key, self.cpu);
                }
                if at == 0 {
                    self.count(Ledger::LostMap)?;
                }
                at
            }
            I::MapUpdate { map, key: k, val, flags } => {
                let key = key(self, map, k)?;
                let size = u64::from(self.module.maps[*map].value_size);
                let value = self.memory.bytes(v(val), size)?.to_vec();
                self.update(*map, &key, &value, *flags)? as u64
            }
            I::MapDelete { map, key: k } => {
                let key = key(self, map, k)?;
                self.delete(*map, &key) as u64
            }
            I::StackId { map, user, depth, .. } => {
                let map = *map;
                let size = self.module.maps[map].value_size as usize;
                let frames = self.host.stack(*user);
                let frames: Vec<u8> =
                    frames.iter().take(*depth as usize).flat_map(|f| f.to_le_bytes()).take(size).collect();
                self.keep_stack(map, &frames)? as u64
            }
            other => return Err(Trap::Unknown(format!("{other:?}"))),
        })
    }

    /// Where a path leads: bytes from the base, and what is there.
    fn place(
        &self,
        class: Option<PtrClass>,
        path: &[Step],
        scalar: Option<Scalar>,
        v: &dyn Fn(&Value) -> u64,
    ) -> Result<(i64, Scalar), Trap> {
        let variable: i64 = path.iter().fold(0, |sum, step| match step {
            Step::IndexBy(index, size) => sum.wrapping_add((v(index) as i64).wrapping_mul(i64::from(*size))),
            _ => sum,
        });
        let fixed = |step: &Step| match step {
            Step::Offset(n) => Some(i64::from(*n)),
            Step::IndexBy(..) => Some(0),
            Step::Field(_) | Step::Index(_) => None,
        };
        if let (Some(off), Some(scalar)) = (path.iter().map(fixed).sum::<Option<i64>>(), scalar) {
            return Ok((off.wrapping_add(variable), scalar));
        }
        let unknown = || Trap::Unknown("a field of a kernel type".to_owned());
        let btf = self.kernel.btf().ok_or_else(unknown)?;
        let Some(Type::Kernel { name, id }) =
            class.and_then(PtrClass::pointee).map(|t| self.module.types.get(t))
        else {
            return Err(unknown());
        };
        let found = find(btf, name, *id).ok_or_else(unknown)?;
        let at = walk(btf, found, path).map_err(|e| Trap::Unknown(format!("{name}, which {}", e.0)))?;
        let signed = is_signed(btf, at.type_id);
        let (off, scalar) = match (at.bit_size, scalar) {
            (_, Some(scalar)) => (at.bit_offset / 8, scalar),
            (None, None) => {
                let bytes = btf.size_of(at.type_id).ok_or_else(unknown)?;
                (at.bit_offset / 8, Scalar { bytes, signed, bits: None })
            }
            // A bit-field may lie across the bytes of its type; eight bytes from its first one hold it.
            (Some(bits), None) => {
                let from = at.bit_offset % 8;
                let bytes = (from + u32::from(bits)).div_ceil(8).next_power_of_two();
                (at.bit_offset / 8, Scalar { bytes, signed, bits: Some((from, u32::from(bits))) })
            }
        };
        Ok((i64::from(off).wrapping_add(variable), scalar))
    }

    pub(super) fn probe_read(&mut self, space: Space, dst: u64, len: u64, src: u64) -> Result<i64, Trap> {
        let mut bytes = vec![0; len as usize];
        let ok = self.read_external(space, src, &mut bytes);
        if !ok {
            bytes.fill(0);
        }
        self.memory.bytes_mut(dst, len)?.copy_from_slice(&bytes);
        Ok(if ok { 0 } else { EFAULT })
    }

    pub(super) fn probe_read_str(&mut self, space: Space, dst: u64, len: u64, src: u64) -> Result<i64, Trap> {
        let mut text = Vec::new();
        while (text.len() as u64) < len {
            let mut byte = [0];
            if !self.read_external(space, src.wrapping_add(text.len() as u64), &mut byte) {
                self.memory.bytes_mut(dst, len)?.fill(0);
                return Ok(EFAULT);
            }
            text.push(byte[0]);
            if byte[0] == 0 {
                break;
            }
        }
        if let Some(last) = text.last_mut() {
            *last = 0;
        }
        self.memory.bytes_mut(dst, text.len() as u64)?.copy_from_slice(&text);
        Ok(text.len() as i64)
    }

    /// Keeps frames of a stack under what identifies them.
    fn keep_stack(&mut self, map: crate::module::MapId, frames: &[u8]) -> Result<i64, Trap> {
        if frames.is_empty() {
            return Ok(EFAULT);
        }
        let words = frames.chunks(8).map(|c| {
            let mut word = [0; 8];
            word[..c.len()].copy_from_slice(c);
            u64::from_le_bytes(word)
        });
        let id = stack_hash(words);
        let size = self.module.maps[map].value_size as usize;
        let mut value = frames.to_vec();
        value.resize(size, 0);
        let result = self.update(map, &id.to_le_bytes(), &value, 0)?;
        if result < 0 {
            self.count(Ledger::LostMap)?;
        }
        Ok(id as i64)
    }
}

/// A field's bits as an `i64`.
fn extend(raw: u64, layout: Scalar) -> u64 {
    let (from, bits) = layout.bits.unwrap_or((0, layout.bytes * 8));
    if bits == 0 || bits > 64 || from > 63 {
        return 0;
    }
    let raw = raw >> from;
    let up = 64 - bits;
    if layout.signed { ((raw << up) as i64 >> up) as u64 } else { raw << up >> up }
}
