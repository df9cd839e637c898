//! Helpers that lowering uses.

use super::{FUNCS, Machine, Trap};
use crate::helpers as h;
use crate::inst::Space;
use crate::module::FuncId;

impl Machine<'_> {
    pub(super) fn helper(&mut self, id: u32, args: &[u64], depth: u32) -> Result<u64, Trap> {
        let a = |i: usize| args.get(i).copied().unwrap_or(0);
        let low = |i: usize| a(i) & 0xffff_ffff;
        Ok(match id {
            h::MAP_LOOKUP_ELEM | h::MAP_LOOKUP_PERCPU_ELEM | h::MAP_DELETE_ELEM | h::MAP_UPDATE_ELEM => {
                let map = self.map_at(a(0))?;
                let (key_size, value_size) =
                    (self.module.maps[map].key_size, self.module.maps[map].value_size);
                let key = self.memory.bytes(a(1), u64::from(key_size))?.to_vec();
                match id {
                    h::MAP_LOOKUP_ELEM => self.lookup(map, &key, self.cpu),
                    h::MAP_LOOKUP_PERCPU_ELEM => self.lookup(map, &key, low(2) as u32),
                    h::MAP_DELETE_ELEM => self.delete(map, &key) as u64,
                    _ => {
                        let value = self.memory.bytes(a(2), u64::from(value_size))?.to_vec();
                        self.update(map, &key, &value, a(3))? as u64
                    }
                }
            }
            // These take what the address says.
            h::PROBE_READ => match self.probe_read(Space::Kernel, a(0), low(1), a(2))? {
                0 => 0,
                _ => self.probe_read(Space::User, a(0), low(1), a(2))? as u64,
            },
            h::PROBE_READ_STR => match self.probe_read_str(Space::Kernel, a(0), low(1), a(2))? {
                n @ 0.. => n as u64,
                _ => self.probe_read_str(Space::User, a(0), low(1), a(2))? as u64,
            },
            h::PROBE_READ_KERNEL => self.probe_read(Space::Kernel, a(0), low(1), a(2))? as u64,
            h::PROBE_READ_USER | h::COPY_FROM_USER => {
                self.probe_read(Space::User, a(0), low(1), a(2))? as u64
            }
            h::PROBE_READ_KERNEL_STR => self.probe_read_str(Space::Kernel, a(0), low(1), a(2))? as u64,
            h::PROBE_READ_USER_STR => self.probe_read_str(Space::User, a(0), low(1), a(2))? as u64,
            h::RINGBUF_RESERVE => {
                let ring = self.map_at(a(0))?;
                self.reserve_uncounted(ring, a(1))
            }
            h::RINGBUF_SUBMIT | h::RINGBUF_DISCARD => {
                self.submit(a(0), id == h::RINGBUF_SUBMIT)?;
                0
            }
            h::RINGBUF_OUTPUT => {
                let ring = self.map_at(a(0))?;
                self.output(ring, a(1), a(2))? as u64
            }
            h::PERF_EVENT_OUTPUT => {
                let ring = self.map_at(a(1))?;
                self.output(ring, a(3), a(4))? as u64
            }
            // Nobody reads: what is there to be read is nothing that a run can tell.
            h::RINGBUF_QUERY => 0,
            h::GET_SMP_PROCESSOR_ID => u64::from(self.cpu),
            h::GET_STACK => {
                let user = a(3) & 1 << 8 != 0;
                let frames: Vec<u8> = self.host.stack(user).iter().flat_map(|f| f.to_le_bytes()).collect();
                let len = frames.len().min(low(2) as usize) / 8 * 8;
                // The rest stays as it is (`__bpf_get_stack` of kernel/bpf/stackmap.c).
                let to = self.memory.bytes_mut(a(1), low(2))?;
                to[..len].copy_from_slice(&frames[..len]);
                len as u64
            }
            h::LOOP => {
                let func = func_at(a(1));
                let mut done = 0;
                while done < low(0) {
                    let stop = self.call(func, &[done, a(2)], &[], depth + 1)?;
                    done += 1;
                    if stop.unwrap_or(0) != 0 {
                        break;
                    }
                }
                done
            }
            h::FOR_EACH_MAP_ELEM => {
                let (map, func, ctx) = (self.map_at(a(0))?, func_at(a(1)), a(2));
                self.for_each(map, &mut |m, key, value| {
                    Ok(m.call(func, &[a(0), key, value, ctx], &[], depth + 1)?.unwrap_or(0))
                })?
            }
            _ => {
                let name = || Trap::Unknown(format!("helper {}", skep_asm::helpers::name(id).unwrap_or("?")));
                self.host.helper(id, args, &mut self.memory).ok_or_else(name)?
            }
        })
    }
}

fn func_at(address: u64) -> FuncId {
    FuncId::from_u32(address.wrapping_sub(FUNCS) as u32)
}
