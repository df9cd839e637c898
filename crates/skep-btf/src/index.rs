//! The index: where each type lies in the bytes.

use crate::view::Head;
use crate::{Kind, ParseError, Type, wire};
use std::fmt;
use std::sync::Arc;

/// Id of a type. 0 is `void`; ids of split BTF continue those of its base.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub u32);

impl TypeId {
    /// `void`.
    pub const VOID: TypeId = TypeId(0);

    /// Whether it is `void`.
    #[must_use]
    pub fn is_void(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.0)
    }
}

/// Longest name that is looked at, in bytes without the NUL. Kernels refuse names of more than
/// `KSYM_NAME_LEN` (512) bytes (`kernel/bpf/btf.c`, `__btf_name_valid`); the bound keeps the cost of printing
/// hostile bytes linear.
pub(crate) const MAX_NAME: usize = 4096;

type Storage = Box<dyn AsRef<[u8]> + Send + Sync>;

/// Type information: bytes in a storage of the caller's choice, and an index with one word for each type.
///
/// References between types are checked when they are followed, not when the index is built: what leads
/// nowhere or in circles is answered with `None`.
pub struct Btf {
    data: Storage,
    base: Option<Arc<Btf>>,
    strings: std::ops::Range<usize>,
    /// Id of the first own type.
    first_id: u32,
    /// Offset of the first own string byte among all string bytes.
    first_string: u32,
    /// Where the record of `first_id + i` starts in `data`.
    offsets: Vec<u32>,
    /// Its kind: scans for a few kinds need not touch the records of all others.
    kinds: Vec<u8>,
}

impl Btf {
    /// Indexes BTF that stands alone, e.g. the kernel's.
    ///
    /// # Errors
    /// Says what in the bytes is not BTF. Only the shape of records is checked here.
    pub fn parse(data: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Btf, ParseError> {
        Btf::index(Box::new(data), None)
    }

    /// Indexes split BTF, whose ids and strings continue those of a base, e.g. a kernel module's.
    ///
    /// # Errors
    /// As [`Btf::parse`]; ids and string offsets must still fit into 32 bits.
    pub fn parse_split(
        base: Arc<Btf>,
        data: impl AsRef<[u8]> + Send + Sync + 'static,
    ) -> Result<Btf, ParseError> {
        Btf::index(Box::new(data), Some(base))
    }

    fn index(data: Storage, base: Option<Arc<Btf>>) -> Result<Btf, ParseError> {
        let bytes = data.as_ref().as_ref();
        if u32::try_from(bytes.len()).is_err() {
            return Err(ParseError::TooLarge("offsets"));
        }
        let sections = wire::sections(bytes)?;
        let strings = &bytes[sections.strings.clone()];
        match (strings.first(), strings.last(), &base) {
            (None, _, None) => return Err(ParseError::Strings("begin")),
            (Some(&first), _, None) if first != 0 => return Err(ParseError::Strings("begin")),
            (_, Some(&last), _) if last != 0 => return Err(ParseError::Strings("end")),
            _ => {}
        }
        let first_id =
            base.as_ref().map_or(Some(1), |b| b.first_id.checked_add(u32::try_from(b.offsets.len()).ok()?));
        let first_id = first_id.ok_or(ParseError::TooLarge("type ids"))?;
        let first_string = base
            .as_ref()
            .map_or(Some(0), |b| b.first_string.checked_add(u32::try_from(b.strings.len()).ok()?));
        let first_string = first_string.ok_or(ParseError::TooLarge("string offsets"))?;
        let (offsets, kinds) = walk(bytes, &sections, first_id)?;
        Ok(Btf { strings: sections.strings, data, base, first_id, first_string, offsets, kinds })
    }

    /// All bytes, as given.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.data.as_ref().as_ref()
    }

    /// What this BTF continues.
    #[must_use]
    pub fn base(&self) -> Option<&Arc<Btf>> {
        self.base.as_ref()
    }

    /// Number of ids, counting `void` and the types of the base: ids below it exist.
    #[must_use]
    pub fn id_count(&self) -> u32 {
        self.first_id + self.offsets.len() as u32
    }

    /// The first id that is not of the base.
    #[must_use]
    pub fn first_id(&self) -> TypeId {
        TypeId(self.first_id)
    }

    /// Every id but `void`, those of the base first.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = TypeId> + use<> {
        (1..self.id_count()).map(TypeId)
    }

    /// A type by its id; `None` if there is no such id.
    #[must_use]
    pub fn ty(&self, id: TypeId) -> Option<Type<'_>> {
        if id.is_void() {
            return Some(Type::Void);
        }
        Type::new(self.head(id)?)
    }

    /// Kind of a type; `None` if there is no such id.
    #[must_use]
    pub fn kind(&self, id: TypeId) -> Option<Kind> {
        Some(self.ty(id)?.kind())
    }

    /// Name of a type, empty if it has none or there is no such id.
    #[must_use]
    pub fn name(&self, id: TypeId) -> &str {
        self.head(id).map_or("", |h| h.btf.name_at(h.name_off))
    }

    /// The string at an offset of the string section, without its NUL.
    ///
    /// This is how source lines and access strings are read; names come from the types.
    #[must_use]
    pub fn string_at(&self, offset: u32) -> Option<&[u8]> {
        let tail = self.strings_from(offset)?;
        Some(&tail[..tail.iter().position(|&b| b == 0)?])
    }

    /// A name as text. What is not UTF-8 (kernels accept ASCII alone) or has no end is shown as U+FFFD.
    pub(crate) fn name_at(&self, offset: u32) -> &str {
        match self.name_bytes_at(offset) {
            Some(bytes) => std::str::from_utf8(bytes).unwrap_or("\u{fffd}"),
            None => "\u{fffd}",
        }
    }

    /// A name as bytes; `None` if the offset is outside or the name has no end within [`MAX_NAME`].
    pub(crate) fn name_bytes_at(&self, offset: u32) -> Option<&[u8]> {
        let tail = self.strings_from(offset)?;
        let tail = &tail[..tail.len().min(MAX_NAME + 1)];
        Some(&tail[..tail.iter().position(|&b| b == 0)?])
    }

    /// The string bytes from an offset to the end of the section that the offset is in.
    pub(crate) fn strings_from(&self, offset: u32) -> Option<&[u8]> {
        let mut btf = self;
        while offset < btf.first_string {
            btf = btf.base.as_ref()?;
        }
        btf.own_strings().get((offset - btf.first_string) as usize..)
    }

    pub(crate) fn own_strings(&self) -> &[u8] {
        self.bytes().get(self.strings.clone()).unwrap_or(&[])
    }

    pub(crate) fn first_string(&self) -> u32 {
        self.first_string
    }

    /// Offsets in [`Btf::bytes`] of the own records, with their kinds.
    pub(crate) fn records(&self) -> impl ExactSizeIterator<Item = (u32, u8)> {
        self.offsets.iter().copied().zip(self.kinds.iter().copied())
    }

    /// The record of a type that is not `void`.
    pub(crate) fn head(&self, id: TypeId) -> Option<Head<'_>> {
        let mut btf = self;
        while id.0 < btf.first_id {
            btf = btf.base.as_ref()?;
        }
        let at = *btf.offsets.get((id.0 - btf.first_id) as usize)?;
        let record = btf.bytes().get(at as usize..)?;
        let [name_off, info, size_or_type] = wire::words(record)?;
        // `self`, not the base that holds the record: references out of a base stay within the base, and
        // whoever asked may go on with ids of the split part.
        Some(Head { btf: self, id, name_off, info, size_or_type, rest: record.get(wire::RECORD_LEN..)? })
    }
}

/// Where each record starts, and its kind.
fn walk(bytes: &[u8], sections: &wire::Sections, first_id: u32) -> Result<(Vec<u32>, Vec<u8>), ParseError> {
    let end = sections.types.end;
    let types = &bytes[..end];
    let mut at = sections.types.start;
    // Kernel BTF has about 27 bytes a type; reserving for 24 avoids growing and stays a sixth of the input.
    let expected = (end - at) / 24;
    let (mut offsets, mut kinds) = (Vec::with_capacity(expected), Vec::with_capacity(expected));
    // Record sizes for the common kinds, looked up instead of matched in the loop.
    let sizes: [(u32, u32); 32] = std::array::from_fn(|k| {
        Kind::from_raw(k as u8).filter(|&k| k != Kind::Void).map_or((u32::MAX, 0), wire::trailer)
    });
    while at < end {
        let id = TypeId(first_id.wrapping_add(offsets.len() as u32));
        let truncated =
            |kind| ParseError::TruncatedType { id, kind: Kind::from_raw(kind).map_or("UNKNOWN", Kind::name) };
        let info = wire::u32_at(types, at + 4).ok_or(truncated(0))?;
        let number = wire::info_kind(info);
        let (fixed, each) = match sizes.get(usize::from(number)) {
            Some(&(fixed, each)) if fixed != u32::MAX => (fixed, each),
            _ => described(bytes, sections, number).ok_or(ParseError::UnknownKind { id, kind: number })?,
        };
        let vlen = if each == 0 { 0 } else { wire::info_vlen(info) };
        let len = wire::RECORD_LEN as u64 + u64::from(fixed) + u64::from(each) * u64::from(vlen);
        if len > (end - at) as u64 {
            return Err(truncated(number));
        }
        offsets.push(at as u32);
        kinds.push(number);
        at += len as usize;
    }
    if (first_id as usize).checked_add(offsets.len()).is_none_or(|n| u32::try_from(n).is_err()) {
        return Err(ParseError::TooLarge("type ids"));
    }
    Ok((offsets, kinds))
}

/// Record size of a kind newer than this reader, where the layout section tells it.
fn described(bytes: &[u8], sections: &wire::Sections, kind: u8) -> Option<(u32, u32)> {
    if kind == 0 {
        return None;
    }
    let entry = bytes[sections.layout.clone()].get(usize::from(kind) * 4..)?.first_chunk::<4>()?;
    Some((u32::from(entry[0]), u32::from(entry[1])))
}

impl fmt::Debug for Btf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Btf")
            .field("bytes", &self.bytes().len())
            .field("types", &self.offsets.len())
            .field("first_id", &self.first_id)
            .finish_non_exhaustive()
    }
}
