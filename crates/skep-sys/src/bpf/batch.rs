//! Many elements of a map in one call, and dumps of whole maps.

use super::attr::BatchAttr;
use super::kinds::{ElemFlags, MapType};
use super::map::Map;
use super::sys::{Cmd, bpf, input, output};
use crate::error::{Errno, Result};
use std::os::fd::{AsFd, AsRawFd};

/// Bytes of values asked for per call when a whole map is dumped.
const DUMP_BYTES: usize = 256 << 10;

/// Elements per call beyond which a dump does not grow to fit a hash bucket.
const DUMP_CHUNK_MAX: u32 = 1 << 20;

/// Elements in the order of the kernel, keys and values each in one run of equal pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elements {
    key_size: usize,
    value_bytes: usize,
    keys: Vec<u8>,
    values: Vec<u8>,
    count: usize,
}

impl Elements {
    fn new(map: &Map) -> Self {
        let shape = map.shape();
        Elements { key_size: shape.key_size, value_bytes: shape.value_bytes, ..Elements::default() }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Key and value of one element after the other; values as of [`Map::lookup`].
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        let (k, v) = (self.key_size, self.value_bytes);
        (0..self.count).map(move |i| (&self.keys[i * k..(i + 1) * k], &self.values[i * v..(i + 1) * v]))
    }

    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.keys.extend_from_slice(key);
        self.values.extend_from_slice(value);
        self.count += 1;
    }
}

/// Place in a map between two batch lookups.
#[derive(Debug, Clone, Default)]
pub struct BatchCursor {
    /// Hash maps keep a u32 here, other kinds a key (kernel/bpf/hashtab.c, `__htab_map_lookup_and_delete_batch`;
    /// kernel/bpf/syscall.c, `generic_map_lookup_batch`).
    token: Vec<u8>,
    started: bool,
    done: bool,
}

impl BatchCursor {
    /// Whether the map has been read to its end.
    pub fn is_done(&self) -> bool {
        self.done
    }
}

impl Map {
    /// Reads up to `count` elements from `cursor` on and moves it; with `delete` also removes them.
    ///
    /// `ENOSPC`: a hash bucket holds more than `count` elements, ask again with more.
    pub fn lookup_batch(&self, cursor: &mut BatchCursor, count: u32, delete: bool) -> Result<Elements> {
        let cmd = if delete { Cmd::MAP_LOOKUP_AND_DELETE_BATCH } else { Cmd::MAP_LOOKUP_BATCH };
        let mut elements = Elements::new(self);
        if cursor.done || count == 0 {
            return Ok(elements);
        }
        let wanted = count as usize;
        let (Some(key_bytes), Some(value_bytes)) =
            (wanted.checked_mul(elements.key_size), wanted.checked_mul(elements.value_bytes))
        else {
            return Err(cmd
                .error(Errno::EMSGSIZE)
                .about(format!("{count} elements exceed the address space")));
        };
        elements.keys.resize(key_bytes, 0);
        elements.values.resize(value_bytes, 0);
        let token_size = elements.key_size.max(8);
        cursor.token.resize(token_size, 0);
        let mut next = vec![0; token_size];
        let mut attr = BatchAttr {
            in_batch: if cursor.started { input(&cursor.token) } else { 0 },
            out_batch: output(&mut next),
            keys: output(&mut elements.keys),
            values: output(&mut elements.values),
            count,
            map_fd: self.as_fd().as_raw_fd() as u32,
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: keys and values have room for `count` elements of this map; the tokens for a key and for
        // the u32 that hash maps use.
        let result = unsafe { bpf(cmd, &mut attr) };
        match result {
            Ok(_) => {}
            // The end; what came before it is valid.
            Err(e) if e.errno == Errno::ENOENT => cursor.done = true,
            Err(e) => return Err(e),
        }
        cursor.started = true;
        cursor.token = next;
        elements.count = wanted.min(attr.count as usize);
        elements.keys.truncate(elements.count * elements.key_size);
        elements.values.truncate(elements.count * elements.value_bytes);
        Ok(elements)
    }

    /// Writes `count` elements; returns how many were written, which is less than `count` only with an error.
    ///
    /// On failure the error's detail says how many were.
    pub fn update_batch(&self, keys: &[u8], values: &[u8], flags: ElemFlags) -> Result<u32> {
        let cmd = Cmd::MAP_UPDATE_BATCH;
        let count = self.batch_count(cmd, keys, Some(values))?;
        self.write_batch(cmd, keys, values, count, flags)
    }

    /// Removes the elements with these keys. On failure the error's detail says how many were removed.
    pub fn delete_batch(&self, keys: &[u8]) -> Result<u32> {
        let cmd = Cmd::MAP_DELETE_BATCH;
        let count = self.batch_count(cmd, keys, None)?;
        self.write_batch(cmd, keys, &[], count, ElemFlags::NONE)
    }

    fn batch_count(&self, cmd: Cmd, keys: &[u8], values: Option<&[u8]>) -> Result<u32> {
        let shape = self.shape();
        let count = keys.len().checked_div(shape.key_size).unwrap_or(0);
        let whole = count * shape.key_size == keys.len()
            && values.is_none_or(|v| count.checked_mul(shape.value_bytes) == Some(v.len()));
        match u32::try_from(count) {
            Ok(count) if whole => Ok(count),
            _ => Err(cmd.error(Errno::EMSGSIZE).about(format!(
                "{} bytes of keys and {} of values do not fit elements of {} and {}",
                keys.len(),
                values.map_or(0, <[u8]>::len),
                shape.key_size,
                shape.value_bytes
            ))),
        }
    }

    fn write_batch(&self, cmd: Cmd, keys: &[u8], values: &[u8], count: u32, flags: ElemFlags) -> Result<u32> {
        if count == 0 {
            return Ok(0);
        }
        let mut attr = BatchAttr {
            keys: input(keys),
            values: input(values),
            count,
            map_fd: self.as_fd().as_raw_fd() as u32,
            elem_flags: u64::from(flags.0),
            ..BatchAttr::default()
        };
        // SAFETY: `batch_count` has matched keys and values to `count` elements of this map; a deletion
        // reads no values.
        match unsafe { bpf(cmd, &mut attr) } {
            Ok(_) => Ok(attr.count),
            Err(e) => Err(e.about(format!("after {} of {count} elements", attr.count.min(count)))),
        }
    }

    /// All elements: by batches where the kernel has them for this kind of map, else key by key. Elements
    /// that come and go meanwhile may be missed.
    pub fn dump(&self) -> Result<Elements> {
        let mut all = Elements::new(self);
        let mut cursor = BatchCursor::default();
        let per_call = (DUMP_BYTES / (all.value_bytes + all.key_size).max(1)).clamp(1, 4096) as u32;
        let mut chunk = per_call.min(self.shape().max_entries.max(1));
        let batches = !matches!(self.shape().map_type, MapType::STRUCT_OPS | MapType::STACK_TRACE);
        while batches && !cursor.is_done() {
            match self.lookup_batch(&mut cursor, chunk, false) {
                Ok(part) => {
                    all.count += part.count;
                    all.keys.extend_from_slice(&part.keys);
                    all.values.extend_from_slice(&part.values);
                    // Batches of an array end with the array, but a hash that is being filled need not end.
                    if part.count == 0 || all.count as u64 > 2 * u64::from(self.shape().max_entries) {
                        return Ok(all);
                    }
                }
                Err(e) if e.errno == Errno::ENOSPC && chunk < DUMP_CHUNK_MAX => chunk *= 4,
                Err(e) if e.is_unsupported() && all.count == 0 => return self.dump_by_key(),
                Err(e) => return Err(e),
            }
        }
        if batches { Ok(all) } else { self.dump_by_key() }
    }

    fn dump_by_key(&self) -> Result<Elements> {
        let mut all = Elements::new(self);
        let mut value = vec![0; all.value_bytes];
        for key in self.keys() {
            let key = key?;
            if self.lookup_into(&key, &mut value, ElemFlags::NONE)? {
                all.push(&key, &value);
            }
        }
        Ok(all)
    }
}
