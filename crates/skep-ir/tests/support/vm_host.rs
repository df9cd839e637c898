//! What surrounds generated code in the interpreter: the same maps, memory and helpers that the evaluator has.

use super::world::{KERNEL, SIZE, World};
use skep_asm::interp::{Args, Host, HostError, Kfunc, Protection, Space as Region, Vm};
use skep_asm::{SymKind, WideImm};
use skep_ir::eval::{Elements, Host as _, Memory};
use skep_ir::helpers as h;
use skep_ir::inst::Space;
use skep_ir::module::{Map, MapId, MapKind};
use skep_ir::spec::Collection;
use std::collections::{BTreeMap, BTreeSet};

/// Addresses of maps themselves; nothing is there.
const MAPS: u64 = 0xffff_ea00_0000_0000;

/// Elements by key and CPU: the address of the value. Maps that are not per CPU use CPU 0.
type Table = BTreeMap<(Vec<u8>, u32), u64>;

pub struct VmHost<'c> {
    collection: &'c Collection,
    pub world: World,
    pub cpu: u32,
    cpus: u32,
    pub ring_room: u64,
    tables: Vec<Table>,
    records: BTreeMap<u64, u32>,
    /// Ring and bytes of every record that was sent.
    pub events: Vec<(u32, Vec<u8>)>,
}

impl<'c> VmHost<'c> {
    pub fn new(collection: &'c Collection, cpus: u32, vm: &mut Vm<'_>) -> Self {
        let mut host = VmHost {
            collection,
            world: World::default(),
            cpu: 0,
            cpus,
            ring_room: 0,
            tables: vec![Table::new(); collection.maps.len()],
            records: BTreeMap::new(),
            events: Vec::new(),
        };
        // The world's memory, which programs may read directly, is where the machine's first region begins.
        let mut kernel = vec![0; (KERNEL & 0xffff_ffff) as usize];
        let mut text = vec![0; SIZE as usize];
        host.world.read(Space::Kernel, KERNEL, &mut text);
        kernel.extend(text);
        let at = vm.memory.map(Region::Kernel, Protection::ReadOnly, kernel).expect("it is the first region");
        assert_eq!(at, KERNEL & !0xffff_ffff);
        for (id, spec) in &collection.maps {
            if spec.map.name.starts_with('.') {
                // What constants point into is there from the beginning.
                let at = add(vm, vec![0; spec.map.value_size as usize]);
                host.tables[id.as_u32() as usize].insert((vec![0; 4], 0), at);
            }
            for (key, value) in &spec.map.contents {
                let copies = if spec.map.kind.is_per_cpu() { cpus } else { 1 };
                for cpu in 0..copies {
                    let at = add(vm, value.clone());
                    host.tables[id.as_u32() as usize].insert((key.clone(), cpu), at);
                }
            }
        }
        host
    }

    fn map(&self, number: u32) -> Result<&'c Map, HostError> {
        let id = MapId::from_u32(number);
        self.collection.maps.get(id).map(|m| &m.map).ok_or(HostError::Unknown)
    }

    fn lookup(&mut self, vm: &mut Vm<'_>, id: u32, key: &[u8], cpu: u32) -> Result<u64, HostError> {
        let map = self.map(id)?;
        let table = &mut self.tables[id as usize];
        if map.kind == MapKind::LpmTrie {
            return Ok(longest_prefix(table, key));
        }
        let cpu = if map.kind.is_per_cpu() { cpu } else { 0 };
        let place = (key.to_vec(), cpu);
        if let Some(&at) = table.get(&place) {
            return Ok(at);
        }
        let number = key.try_into().map_or(u32::MAX, u32::from_le_bytes);
        let exists = if map.kind.is_array() {
            number < map.max_entries
        } else {
            map.kind.is_per_cpu() && table.keys().any(|(k, _)| k == key)
        };
        if !exists || cpu >= self.cpus {
            return Ok(0);
        }
        let at = add(vm, vec![0; map.value_size as usize]);
        self.tables[id as usize].insert(place, at);
        Ok(at)
    }

    fn update(
        &mut self,
        vm: &mut Vm<'_>,
        id: u32,
        key: &[u8],
        value: Vec<u8>,
        flags: u64,
    ) -> Result<i64, HostError> {
        let map = self.map(id)?;
        let number = key.try_into().map_or(u32::MAX, u32::from_le_bytes);
        if map.kind.is_array() && number >= map.max_entries {
            return Ok(-7);
        }
        let at = self.lookup(vm, id, key, self.cpu)?;
        match (at, flags) {
            (0, 2) => return Ok(-2),
            (0, _) => {}
            (_, 1) => return Ok(-17),
            (at, _) => return Ok(vm.memory.write_as_host(at, &value).map(|()| 0)?),
        }
        let table = &mut self.tables[id as usize];
        let keys: BTreeSet<&Vec<u8>> = table.keys().map(|(k, _)| k).collect();
        if keys.len() >= map.max_entries as usize {
            if !matches!(map.kind, MapKind::LruHash | MapKind::LruPercpuHash) {
                return Ok(-7);
            }
            let oldest = table.keys().next().map(|(k, _)| k.clone());
            table.retain(|(k, _), _| Some(k) != oldest.as_ref());
        }
        let cpu = if map.kind.is_per_cpu() { self.cpu } else { 0 };
        let at = add(vm, value);
        table.insert((key.to_vec(), cpu), at);
        Ok(0)
    }

    fn delete(&mut self, id: u32, key: &[u8]) -> Result<i64, HostError> {
        if self.map(id)?.kind.is_array() {
            return Ok(-22);
        }
        let table = &mut self.tables[id as usize];
        let before = table.len();
        table.retain(|(k, _), _| k != key);
        Ok(if table.len() < before { 0 } else { -2 })
    }

    fn for_each(&mut self, vm: &mut Vm<'_>, id: u32, func: u64, ctx: u64) -> Result<u64, HostError> {
        let map = self.map(id)?;
        let keys: BTreeSet<Vec<u8>> = if map.kind.is_array() {
            (0..map.max_entries).map(|n| n.to_le_bytes().to_vec()).collect()
        } else {
            self.tables[id as usize].keys().map(|(k, _)| k.clone()).collect()
        };
        let mut visited = 0;
        for key in keys {
            let value = self.lookup(vm, id, &key, self.cpu)?;
            if value == 0 {
                continue;
            }
            let key = add(vm, key);
            visited += 1;
            let args = [MAPS + u64::from(id), key, value, ctx];
            let stop = vm.call_back(self, func, &args)?;
            vm.memory.unmap(key);
            if stop != 0 {
                break;
            }
        }
        Ok(visited)
    }

    fn take_room(&mut self, size: u64) -> bool {
        let left = self.ring_room.checked_sub((size + 8).next_multiple_of(8));
        self.ring_room = left.unwrap_or(self.ring_room);
        left.is_some()
    }

    /// Memory of the world, or of the machine where a program reads its own.
    fn read(&mut self, vm: &Vm<'_>, space: Space, at: u64, len: u64) -> Option<Vec<u8>> {
        if let (Space::Kernel, Ok(bytes)) = (space, vm.memory.read(at, len)) {
            return Some(bytes.to_vec());
        }
        let mut bytes = vec![0; len as usize];
        self.world.read(space, at, &mut bytes).then_some(bytes)
    }

    fn probe_read(&mut self, vm: &mut Vm<'_>, space: Space, args: Args) -> Result<i64, HostError> {
        let (to, len, from) = (args.get(0)?, args.get(1)? & 0xffff_ffff, args.get(2)?);
        let (bytes, result) = match self.read(vm, space, from, len) {
            Some(bytes) => (bytes, 0),
            None => (vec![0; len as usize], -14),
        };
        write(vm, to, &bytes)?;
        Ok(result)
    }

    fn probe_read_str(&mut self, vm: &mut Vm<'_>, space: Space, args: Args) -> Result<i64, HostError> {
        let (to, len, from) = (args.get(0)?, args.get(1)? & 0xffff_ffff, args.get(2)?);
        let mut text = Vec::new();
        while (text.len() as u64) < len {
            let Some(byte) = self.read(vm, space, from.wrapping_add(text.len() as u64), 1) else {
                write(vm, to, &vec![0; len as usize])?;
                return Ok(-14);
            };
            text.push(byte[0]);
            if byte[0] == 0 {
                break;
            }
        }
        if let Some(last) = text.last_mut() {
            *last = 0;
        }
        write(vm, to, &text)?;
        Ok(text.len() as i64)
    }

    /// Contents of the first maps, as the evaluator's snapshot has them.
    pub fn contents(&self, vm: &Vm<'_>, maps: usize) -> Vec<Elements> {
        let sized = self.collection.maps.values().zip(&self.tables).take(maps);
        sized
            .map(|(spec, table)| {
                let bytes = |at: &u64| vm.memory.region(*at).map(<[u8]>::to_vec).unwrap_or_default();
                let all = table.iter().map(|(k, at)| (k.clone(), bytes(at)));
                let array = spec.map.kind.is_array();
                all.filter(|(_, v)| !array || v.iter().any(|&b| b != 0)).collect()
            })
            .collect()
    }
}

fn add(vm: &mut Vm<'_>, bytes: Vec<u8>) -> u64 {
    vm.memory.map(Region::Kernel, Protection::ReadWrite, bytes).expect("tests need few regions")
}

fn write(vm: &mut Vm<'_>, at: u64, bytes: &[u8]) -> Result<(), HostError> {
    Ok(vm.memory.write(at, bytes)?)
}

fn longest_prefix(table: &Table, key: &[u8]) -> u64 {
    let prefix = |k: &[u8]| k.get(..4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let matches = |k: &[u8]| {
        let bit = |k: &[u8], bit: usize| k.get(4 + bit / 8).map_or(0, |b| b >> (7 - bit % 8) & 1);
        prefix(k) <= prefix(key) && (0..prefix(k) as usize).all(|n| bit(k, n) == bit(key, n))
    };
    let found = table.iter().filter(|((k, _), _)| matches(k));
    found.max_by_key(|((k, _), _)| prefix(k)).map_or(0, |(_, &at)| at)
}

impl Host for VmHost<'_> {
    fn helper(&mut self, vm: &mut Vm<'_>, id: i32, args: Args) -> Result<u64, HostError> {
        let a = |i: usize| args.get(i);
        let map = |i: usize| a(i).map(|at| at.wrapping_sub(MAPS) as u32);
        let bytes = |vm: &Vm<'_>, at: u64, len: u64| -> Result<Vec<u8>, HostError> {
            Ok(vm.memory.read(at, len)?.to_vec())
        };
        let number = id as u32;
        Ok(match number {
            h::MAP_LOOKUP_ELEM | h::MAP_LOOKUP_PERCPU_ELEM | h::MAP_DELETE_ELEM | h::MAP_UPDATE_ELEM => {
                let id = map(0)?;
                let spec = self.map(id)?;
                let key = bytes(vm, a(1)?, u64::from(spec.key_size))?;
                match number {
                    h::MAP_LOOKUP_ELEM => self.lookup(vm, id, &key, self.cpu)?,
                    h::MAP_LOOKUP_PERCPU_ELEM => self.lookup(vm, id, &key, a(2)? as u32)?,
                    h::MAP_DELETE_ELEM => self.delete(id, &key)? as u64,
                    _ => {
                        let value = bytes(vm, a(2)?, u64::from(spec.value_size))?;
                        self.update(vm, id, &key, value, a(3)?)? as u64
                    }
                }
            }
            h::PROBE_READ | h::PROBE_READ_KERNEL => self.probe_read(vm, Space::Kernel, args)? as u64,
            h::PROBE_READ_USER | h::COPY_FROM_USER => self.probe_read(vm, Space::User, args)? as u64,
            h::PROBE_READ_STR | h::PROBE_READ_KERNEL_STR => {
                self.probe_read_str(vm, Space::Kernel, args)? as u64
            }
            h::PROBE_READ_USER_STR => self.probe_read_str(vm, Space::User, args)? as u64,
            h::RINGBUF_RESERVE => {
                let (ring, size) = (map(0)?, a(1)?);
                if !self.take_room(size) {
                    return Ok(0);
                }
                let at = add(vm, vec![0; size as usize]);
                self.records.insert(at, ring);
                at
            }
            h::RINGBUF_SUBMIT | h::RINGBUF_DISCARD => {
                let ring = self.records.remove(&a(0)?).ok_or(HostError::Unknown)?;
                let record = vm.memory.unmap(a(0)?).ok_or(HostError::Unknown)?;
                if number == h::RINGBUF_SUBMIT {
                    self.events.push((ring, record));
                }
                0
            }
            h::RINGBUF_OUTPUT | h::PERF_EVENT_OUTPUT => {
                let (ring, data, len) = if number == h::RINGBUF_OUTPUT { (0, 1, 2) } else { (1, 3, 4) };
                let record = bytes(vm, a(data)?, a(len)?)?;
                if !self.take_room(record.len() as u64) {
                    return Ok((-11i64).cast_unsigned());
                }
                self.events.push((map(ring)?, record));
                0
            }
            h::RINGBUF_QUERY => 0,
            h::GET_SMP_PROCESSOR_ID => u64::from(self.cpu),
            h::GET_STACK => {
                let frames = self.world.stack(a(3)? & 1 << 8 != 0);
                let frames: Vec<u8> = frames.iter().flat_map(|f| f.to_le_bytes()).collect();
                let len = frames.len().min((a(2)? & 0xffff_ffff) as usize) / 8 * 8;
                write(vm, a(1)?, &frames[..len])?;
                len as u64
            }
            h::LOOP => {
                let (count, func, ctx) = (a(0)? & 0xffff_ffff, a(1)?, a(2)?);
                let mut done = 0;
                while done < count {
                    let stop = vm.call_back(self, func, &[done, ctx])?;
                    done += 1;
                    if stop != 0 {
                        break;
                    }
                }
                done
            }
            h::FOR_EACH_MAP_ELEM => {
                let (id, func, ctx) = (map(0)?, a(1)?, a(2)?);
                self.for_each(vm, id, func, ctx)?
            }
            _ => {
                let given: Vec<u64> = (0..5).map_while(|i| a(i).ok()).collect();
                self.world.helper(number, &given, &mut Memory::default()).ok_or(HostError::Unknown)?
            }
        })
    }

    fn kfunc(&mut self, _: &mut Vm<'_>, kfunc: Kfunc, args: Args) -> Result<u64, HostError> {
        let Kfunc::Symbol(index) = kfunc else { return Err(HostError::Unknown) };
        let name = self.collection.kfuncs.get(index as usize).ok_or(HostError::Unknown)?;
        let given: Vec<u64> = (0..5).map_while(|i| args.get(i).ok()).collect();
        self.world.kfunc(name, &given, &mut Memory::default()).ok_or(HostError::Unknown)
    }

    fn constant(&mut self, _: WideImm, symbol: Option<SymKind>) -> Option<u64> {
        match symbol? {
            SymKind::Map(map) => Some(MAPS + u64::from(map)),
            SymKind::MapValue { map, offset } => {
                let at = self.tables.get(map as usize)?.values().next()?;
                Some(at + u64::from(offset))
            }
            SymKind::Kfunc(_) | SymKind::Ksym(_) => None,
        }
    }
}
