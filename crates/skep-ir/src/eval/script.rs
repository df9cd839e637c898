//! Operations of scripts and rules.

use super::strings;
use super::{Event, Frame, Machine, Trap};
use crate::arith;
use crate::func::Value;
use crate::inst::{Agg, InstKind, Ledger};
use crate::module::{MapId, Set};

impl<'m> Machine<'m> {
    /// Strings, memory, aggregations, sets, events; `None` for what is not one of these.
    pub(super) fn composed(&mut self, kind: &InstKind, frame: &Frame<'m, '_>) -> Result<Option<u64>, Trap> {
        use InstKind as I;
        let v = |v: &Value| frame.values[*v];
        let n = match kind {
            I::MemCopy { dst, src, len } => {
                let bytes = self.memory.bytes(v(src), u64::from(*len))?.to_vec();
                self.memory.bytes_mut(v(dst), u64::from(*len))?.copy_from_slice(&bytes);
                0
            }
            I::MemSet { dst, byte, len } => {
                self.memory.bytes_mut(v(dst), u64::from(*len))?.fill(*byte);
                0
            }
            I::MemEq { a, b, len } => {
                let len = u64::from(*len);
                u64::from(self.memory.bytes(v(a), len)? == self.memory.bytes(v(b), len)?)
            }
            I::StrConst { dst, text, cap } => {
                let to = self.memory.bytes_mut(v(dst), u64::from(*cap))?;
                to.fill(0);
                let len = text.len().min(to.len());
                to[..len].copy_from_slice(&text[..len]);
                0
            }
            I::StrCopy { dst, dst_cap, src, src_cap } => {
                let from = self.memory.bytes(v(src), u64::from(*src_cap))?.to_vec();
                strings::copy(self.memory.bytes_mut(v(dst), u64::from(*dst_cap))?, &from);
                0
            }
            I::StrEq { a, a_cap, b, b_cap } => {
                let a = self.memory.bytes(v(a), u64::from(*a_cap))?;
                u64::from(strings::equal(a, self.memory.bytes(v(b), u64::from(*b_cap))?))
            }
            I::StrEqN { a, a_cap, b, b_cap, n } => {
                let len = u64::from((*n).min(*a_cap).min(*b_cap));
                u64::from(strings::equal(self.memory.bytes(v(a), len)?, self.memory.bytes(v(b), len)?))
            }
            I::StrEqConst { a, cap, text } => {
                let a = self.memory.bytes(v(a), u64::from(*cap))?;
                u64::from(text.len() <= a.len() && strings::text(a) == strings::text(text))
            }
            I::StrLen { ptr, cap } => strings::text(self.memory.bytes(v(ptr), u64::from(*cap))?).len() as u64,
            I::StrFind { hay, hay_cap, needle, needle_cap } => {
                let hay = self.memory.bytes(v(hay), u64::from(*hay_cap))?;
                strings::find(hay, self.memory.bytes(v(needle), u64::from(*needle_cap))?) as u64
            }
            I::Agg { agg, cell, val } => {
                self.aggregate(*agg, v(cell), val.as_ref().map_or(1, v))?;
                0
            }
            I::HistBucket { val, bits } => arith::hist_bucket(v(val), *bits),
            I::LinearBucket { val, min, max, step } => arith::linear_bucket(v(val), *min, *max, *step),
            I::SetMember { val, set } => match &self.module.sets[*set] {
                Set::Ints(list) => u64::from(list.contains(&(v(val) as i64))),
                _ => 0,
            },
            I::StrMember { ptr, cap, set } => {
                let text = strings::text(self.memory.bytes(v(ptr), u64::from(*cap))?);
                match &self.module.sets[*set] {
                    Set::Strings(list) => u64::from(list.iter().any(|s| strings::text(s) == text)),
                    _ => 0,
                }
            }
            I::PrefixMatch { ptr, set } => self.prefix_match(v(ptr), &self.module.sets[*set])? as u64,
            I::EventReserve { ring, size } => self.reserve(*ring, *size)?,
            I::EventSubmit { rec, .. } => {
                self.submit(v(rec), true)?;
                0
            }
            I::EventDiscard { rec } => {
                self.submit(v(rec), false)?;
                0
            }
            I::EventOutput { ring, data, len, max } => {
                let (len, max) = (v(len), u64::from(*max));
                if len == 0 || len > max {
                    return Err(Trap::Length { len, max });
                }
                let result = self.output(*ring, v(data), len)?;
                if result != 0 {
                    self.count(Ledger::LostRing)?;
                }
                result as u64
            }
            I::Count(counter) => {
                self.count(*counter)?;
                0
            }
            _ => return Ok(None),
        };
        Ok(Some(n))
    }

    fn aggregate(&mut self, agg: Agg, cell: u64, n: u64) -> Result<(), Trap> {
        let old = self.memory.read_int(cell, 8)?;
        match agg {
            Agg::Count | Agg::Sum => self.memory.write_int(cell, old.wrapping_add(n), 8),
            Agg::Stats => {
                let count = self.memory.read_int(cell + 8, 8)?;
                self.memory.write_int(cell, old.wrapping_add(n), 8)?;
                self.memory.write_int(cell + 8, count.wrapping_add(1), 8)
            }
            Agg::Min { signed } | Agg::Max { signed } => {
                let set = self.memory.read_int(cell + 8, 8)? != 0;
                let less = if signed { (n as i64) < old as i64 } else { n < old };
                let better = if matches!(agg, Agg::Min { .. }) { less } else { !less && n != old };
                if !set || better {
                    self.memory.write_int(cell, n, 8)?;
                }
                if !set {
                    self.memory.write_int(cell + 8, 1, 8)?;
                }
                Ok(())
            }
        }
    }

    fn prefix_match(&self, at: u64, set: &Set) -> Result<i64, Trap> {
        let Set::Prefixes { bytes, list } = set else { return Ok(-1) };
        let value = self.memory.bytes(at, u64::from(*bytes))?;
        let bit = |b: &[u8], n: usize| b.get(n / 8).map_or(0, |byte| byte >> (7 - n % 8) & 1);
        let matches = |prefix: &[u8], bits: u32| (0..bits as usize).all(|n| bit(prefix, n) == bit(value, n));
        let found = list.iter().enumerate().filter(|(_, (prefix, bits))| matches(prefix, *bits));
        // Of equal prefixes the first counts.
        let longest = found.max_by_key(|(place, (_, bits))| (*bits, std::cmp::Reverse(*place)));
        Ok(longest.map_or(-1, |(place, _)| place as i64))
    }

    /// Room in a ring: a record takes a header of 8 bytes and is padded to 8.
    fn take_room(&mut self, bytes: u64) -> bool {
        let needed = bytes.next_multiple_of(8) + 8;
        let enough = self.ring_room >= needed;
        if enough && self.ring_room != u64::MAX {
            self.ring_room -= needed;
        }
        enough
    }

    fn reserve(&mut self, ring: MapId, size: u32) -> Result<u64, Trap> {
        let record = self.reserve_uncounted(ring, u64::from(size));
        if record == 0 {
            self.count(Ledger::LostRing)?;
        }
        Ok(record)
    }

    pub(super) fn reserve_uncounted(&mut self, ring: MapId, size: u64) -> u64 {
        if !self.take_room(size) {
            return 0;
        }
        let at = self.memory.add(super::memory::Object::new(vec![0; size as usize]));
        self.open.insert(at, ring);
        at
    }

    pub(super) fn submit(&mut self, record: u64, keep: bool) -> Result<(), Trap> {
        let ring = self.open.remove(&record).ok_or(Trap::Record)?;
        let bytes = self.memory.bytes(record, self.memory.size(record))?.to_vec();
        self.memory.remove(record);
        if keep {
            self.events.push(Event { ring, bytes });
        }
        Ok(())
    }

    pub(super) fn output(&mut self, ring: MapId, data: u64, len: u64) -> Result<i64, Trap> {
        const EAGAIN: i64 = -11;
        let bytes = self.memory.bytes(data, len)?.to_vec();
        if !self.take_room(len) {
            return Ok(EAGAIN);
        }
        self.events.push(Event { ring, bytes });
        Ok(0)
    }
}
