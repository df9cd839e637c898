//! What programs count: the ledger, and the words that they share with us.

use skep_ir::inst::Ledger;
use skep_sys::bpf::{ElemFlags, Map, MapFlags, MapType};
use skep_sys::shared::SharedArray;
use skep_sys::{Errno, Result, SysError};

/// The counters of one program, summed over all CPUs.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Row([u64; Ledger::COLUMNS as usize]);

impl Row {
    /// One of the counters.
    #[must_use]
    pub fn get(&self, column: Ledger) -> u64 {
        self.0.get(column as usize).copied().unwrap_or(0)
    }

    /// Events that never reach the reader: no room in a ring, or no scratch memory to make them in.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.get(Ledger::LostRing).wrapping_add(self.get(Ledger::LostScratch))
    }

    /// The sum of two rows, counter by counter.
    #[must_use]
    pub fn plus(mut self, other: &Row) -> Row {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = count.wrapping_add(more);
        }
        self
    }
}

/// Reads the ledger: a per-CPU array with one row of [`Ledger::COLUMNS`] counters for each program.
#[derive(Debug)]
pub struct LedgerReader {
    map: Map,
    rows: Vec<Row>,
    /// Lost events that were told already.
    told: u64,
}

impl LedgerReader {
    /// `EINVAL`: not a map of this shape.
    pub fn new(map: &Map) -> Result<LedgerReader> {
        let shape = map.shape();
        if shape.map_type != MapType::PERCPU_ARRAY
            || shape.key_size != 4
            || shape.value_size != size_of::<Row>()
        {
            let (kind, size) = (shape.map_type, shape.value_size);
            return Err(SysError::new("bpf(BPF_MAP_LOOKUP_ELEM)", Errno::EINVAL)
                .about(format!("no ledger: {kind} map with values of {size} bytes")));
        }
        Ok(LedgerReader { map: map.try_clone()?, rows: Vec::new(), told: 0 })
    }

    /// Reads all rows, every possible CPU's share included. Rows are by [`skep_ir::spec::ProgramSpec::slot`].
    pub fn read(&mut self) -> Result<&[Row]> {
        let shape = *self.map.shape();
        let mut value = vec![0; shape.value_bytes];
        self.rows.clear();
        for index in 0..shape.max_entries {
            let mut row = Row::default();
            if self.map.lookup_into(&index.to_ne_bytes(), &mut value, ElemFlags::NONE)? {
                for share in value.chunks_exact(shape.cpu_stride()) {
                    let words = share.chunks_exact(8).filter_map(|word| <[u8; 8]>::try_from(word).ok());
                    for (count, word) in row.0.iter_mut().zip(words) {
                        *count = count.wrapping_add(u64::from_ne_bytes(word));
                    }
                }
            }
            self.rows.push(row);
        }
        Ok(&self.rows)
    }

    /// The rows as last read; none before.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The sum of the rows as last read.
    #[must_use]
    pub fn total(&self) -> Row {
        self.rows.iter().fold(Row::default(), Row::plus)
    }

    /// Reads, and returns how many events were lost since this was last called.
    pub fn newly_lost(&mut self) -> Result<u64> {
        self.read()?;
        let lost = self.total().lost();
        let new = lost.wrapping_sub(self.told);
        self.told = lost;
        Ok(new)
    }
}

/// The word in which `exit()` leaves its code, so that it is seen even if there was no room for its record.
#[derive(Debug)]
pub struct ExitState {
    word: Word,
}

#[derive(Debug)]
enum Word {
    Shared(SharedArray),
    Map(Map),
}

impl ExitState {
    /// An array of one `u64`: 0 while running, else 1 + the code.
    pub fn new(map: &Map) -> Result<ExitState> {
        let shape = map.shape();
        if shape.map_type != MapType::ARRAY || shape.value_size != 8 {
            let (kind, size) = (shape.map_type, shape.value_size);
            return Err(SysError::new("bpf(BPF_MAP_LOOKUP_ELEM)", Errno::EINVAL)
                .about(format!("no exit state: {kind} map with values of {size} bytes")));
        }
        let word = match shape.flags.contains(MapFlags::MMAPABLE) {
            true => Word::Shared(SharedArray::read_only(map)?),
            false => Word::Map(map.try_clone()?),
        };
        Ok(ExitState { word })
    }

    /// The code of `exit()`, once it was called.
    pub fn code(&self) -> Result<Option<i64>> {
        let state = match &self.word {
            Word::Shared(array) => array.load_u64(0).unwrap_or(0),
            Word::Map(map) => {
                let mut value = [0; 8];
                map.lookup_into(&0u32.to_ne_bytes(), &mut value, ElemFlags::NONE)?;
                u64::from_ne_bytes(value)
            }
        };
        // Any code but -1 is told apart from running; programs that exit with -1 are seen by their record.
        Ok((state != 0).then(|| state.wrapping_sub(1) as i64))
    }
}

/// Writes the only element of an array of one `u64`: the start of the run, for one.
pub fn set_word(map: &Map, value: u64) -> Result<()> {
    map.update(&0u32.to_ne_bytes(), &value.to_ne_bytes(), ElemFlags::NONE)
}
