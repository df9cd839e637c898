//! Types of a program's functions and structs, from DWARF to BTF.

use super::{Reader, load};
use crate::symbols::elf::Elf;
use gimli::{AttributeValue, DebuggingInformationEntry, Dwarf, Unit, UnitOffset, UnitSectionOffset};
use gimli::{DwAt, constants as dw};
use skep_btf::{Btf, Builder, IntEncoding, Linkage, MemberDef, Supported, TypeDef, TypeId};
use std::collections::{HashMap, HashSet, VecDeque};

/// Programs with more debug data are left alone: reading all their types would take seconds.
const LARGEST: u64 = 256 << 20;
/// Types that one type leads to without a struct between; more are a circle.
const DEEPEST: u32 = 64;
/// More types than any program has.
const MOST: usize = 4 << 20;

type Entry = DebuggingInformationEntry<Reader>;

/// Where an entry is: its unit and the place in it.
type Place = (usize, UnitOffset);

/// The types of a program or its debug file; `None` if it has no debug data. Of several structs with one name and
/// size, which units of a C program repeat, one is kept.
pub(crate) fn btf(elf: &Elf) -> Option<Btf> {
    elf.section(".debug_info").filter(|s| s.size <= LARGEST)?;
    let dwarf = load(elf)?;
    let mut headers = dwarf.units();
    let mut units = Vec::new();
    while let Ok(Some(header)) = headers.next() {
        units.extend(dwarf.unit(header));
    }
    let mut maker = Maker {
        debug: Debug { dwarf, units },
        builder: Builder::new(),
        ids: HashMap::new(),
        named: HashMap::new(),
        functions: HashSet::new(),
        todo: VecDeque::new(),
    };
    for unit in 0..maker.debug.units.len() {
        maker.unit(unit);
    }
    let bytes = maker.builder.encode(Supported::ALL).ok()?.bytes;
    Btf::parse(bytes).ok()
}

struct Debug {
    dwarf: Dwarf<Reader>,
    units: Vec<Unit<Reader>>,
}

impl Debug {
    fn entry(&self, (unit, at): Place) -> Option<Entry> {
        self.units.get(unit)?.entry(at).ok()
    }

    /// The entries directly below one.
    fn children(&self, (unit, at): Place) -> Vec<Entry> {
        let mut found = Vec::new();
        let Some(unit) = self.units.get(unit) else { return found };
        if let Ok(mut tree) = unit.entries_tree(Some(at))
            && let Ok(root) = tree.root()
        {
            let mut children = root.children();
            while let Ok(Some(child)) = children.next() {
                found.push(child.entry().clone());
            }
        }
        found
    }

    fn text(&self, unit: usize, entry: &Entry, name: DwAt) -> Option<String> {
        use gimli::Reader as _;
        let value = entry.attr_value(name)?;
        let text = self.dwarf.attr_string(self.units.get(unit)?, value).ok()?;
        let text = text.to_string_lossy().ok()?.into_owned();
        // A NUL would end a name of BTF early.
        (!text.is_empty() && !text.contains('\0')).then_some(text)
    }

    /// The entry that an attribute refers to.
    fn reference(&self, unit: usize, entry: &Entry, name: DwAt) -> Option<Place> {
        match entry.attr_value(name)? {
            AttributeValue::UnitRef(at) => Some((unit, at)),
            // Of another unit: after optimisation of the whole program.
            AttributeValue::DebugInfoRef(at) => {
                let offset = UnitSectionOffset(at.0);
                let find = |(i, unit): (usize, &Unit<Reader>)| Some((i, offset.to_unit_offset(unit)?));
                self.units.iter().enumerate().find_map(find)
            }
            _ => None,
        }
    }
}

fn number(entry: &Entry, name: DwAt) -> Option<u64> {
    entry.attr_value(name)?.udata_value()
}

fn signed(entry: &Entry, name: DwAt) -> Option<i64> {
    entry.attr_value(name)?.sdata_value()
}

fn size(entry: &Entry) -> Option<u32> {
    number(entry, dw::DW_AT_byte_size).and_then(|n| u32::try_from(n).ok())
}

struct Maker {
    debug: Debug,
    builder: Builder,
    ids: HashMap<Place, TypeId>,
    /// Structs and unions by name, kind and size.
    named: HashMap<(String, bool, u32), TypeId>,
    functions: HashSet<String>,
    /// Structs and unions whose members are to follow.
    todo: VecDeque<(TypeId, Place)>,
}

impl Maker {
    fn unit(&mut self, unit: usize) {
        let Some(places) = self.places(unit) else { return };
        for (at, is_function) in places {
            if self.builder.len() > MOST {
                return;
            }
            if is_function {
                self.function((unit, at));
            } else {
                self.ty(Some((unit, at)), 0);
            }
            while let Some((id, place)) = self.todo.pop_front() {
                self.members(id, place);
            }
        }
    }

    /// Functions of a unit, and types with a name that are not inside a function.
    fn places(&self, unit: usize) -> Option<Vec<(UnitOffset, bool)>> {
        let mut places = Vec::new();
        let mut entries = self.debug.units.get(unit)?.entries();
        let mut function_depth = None;
        while let Ok(Some(entry)) = entries.next_dfs() {
            if function_depth.is_some_and(|depth| entry.depth() <= depth) {
                function_depth = None;
            }
            match entry.tag() {
                dw::DW_TAG_subprogram => {
                    // Declarations and templates for inlining have no code.
                    if entry.attr(dw::DW_AT_low_pc).is_some() || entry.attr(dw::DW_AT_ranges).is_some() {
                        places.push((entry.offset(), true));
                    }
                    function_depth = function_depth.or(Some(entry.depth()));
                }
                dw::DW_TAG_structure_type
                | dw::DW_TAG_class_type
                | dw::DW_TAG_union_type
                | dw::DW_TAG_enumeration_type
                | dw::DW_TAG_typedef
                    if function_depth.is_none()
                        && entry.attr(dw::DW_AT_name).is_some()
                        && entry.attr(dw::DW_AT_declaration).is_none() =>
                {
                    places.push((entry.offset(), false));
                }
                _ => {}
            }
        }
        Some(places)
    }

    fn function(&mut self, place: Place) {
        // A copy of a function refers to what it is a copy of, that to its declaration in a class.
        let mut chain = vec![place];
        while let Some(entry) = chain.last().and_then(|at| self.debug.entry(*at)) {
            let unit = chain.last().map_or(place.0, |at| at.0);
            let origin = self.debug.reference(unit, &entry, dw::DW_AT_abstract_origin);
            let next = origin.or_else(|| self.debug.reference(unit, &entry, dw::DW_AT_specification));
            match next {
                Some(next) if chain.len() < 4 => chain.push(next),
                _ => break,
            }
        }
        let text = |maker: &Maker, name: DwAt| {
            chain.iter().find_map(|at| maker.debug.text(at.0, &maker.debug.entry(*at)?, name))
        };
        let name = text(self, dw::DW_AT_linkage_name).or_else(|| text(self, dw::DW_AT_name));
        let Some(name) = name.filter(|name| !self.functions.contains(name)) else { return };
        let result =
            chain.iter().find_map(|at| self.debug.reference(at.0, &self.debug.entry(*at)?, dw::DW_AT_type));
        let ret = self.ty(result, 0);
        // The parameters stand where the types are: with the template of an inlined function, if there is one.
        let mut params = Vec::new();
        for &at in &chain {
            params = self.parameters(at, 0);
            if !params.is_empty() {
                break;
            }
        }
        let proto = self.builder.add(TypeDef::FuncProto { ret, params });
        self.builder.push(TypeDef::Func { name: name.clone(), proto, linkage: Linkage::Global });
        self.functions.insert(name);
    }

    fn parameters(&mut self, place: Place, depth: u32) -> Vec<(String, TypeId)> {
        let mut params = Vec::new();
        for child in self.debug.children(place) {
            match child.tag() {
                dw::DW_TAG_formal_parameter => {
                    let unit = place.0;
                    let mut name = self.debug.text(unit, &child, dw::DW_AT_name);
                    let mut ty = self.debug.reference(unit, &child, dw::DW_AT_type);
                    if let Some(origin) = self.debug.reference(unit, &child, dw::DW_AT_abstract_origin)
                        && let Some(entry) = self.debug.entry(origin)
                    {
                        name = name.or_else(|| self.debug.text(origin.0, &entry, dw::DW_AT_name));
                        ty = ty.or_else(|| self.debug.reference(origin.0, &entry, dw::DW_AT_type));
                    }
                    params.push((name.unwrap_or_default(), self.ty(ty, depth)));
                }
                dw::DW_TAG_unspecified_parameters => {
                    params.push((String::new(), TypeId::VOID));
                    break;
                }
                _ => {}
            }
        }
        params
    }

    /// The id of a type. What BTF cannot say is `void`.
    fn ty(&mut self, place: Option<Place>, depth: u32) -> TypeId {
        let Some(place) = place.filter(|_| depth < DEEPEST) else { return TypeId::VOID };
        if let Some(id) = self.ids.get(&place) {
            return *id;
        }
        let Some(entry) = self.debug.entry(place) else { return TypeId::VOID };
        // Types that lead back to themselves without a struct between are damage.
        self.ids.insert(place, TypeId::VOID);
        let id = self.new_type(place, &entry, depth);
        self.ids.insert(place, id);
        id
    }

    fn new_type(&mut self, place: Place, entry: &Entry, depth: u32) -> TypeId {
        let unit = place.0;
        let name = self.debug.text(unit, entry, dw::DW_AT_name);
        let target = self.debug.reference(unit, entry, dw::DW_AT_type);
        match entry.tag() {
            dw::DW_TAG_base_type => self.number_type(entry, &name.unwrap_or_default()),
            dw::DW_TAG_pointer_type | dw::DW_TAG_reference_type | dw::DW_TAG_rvalue_reference_type => {
                let target = self.ty(target, depth + 1);
                self.builder.ptr(target)
            }
            dw::DW_TAG_const_type => {
                let target = self.ty(target, depth + 1);
                self.builder.add(TypeDef::Const(target))
            }
            dw::DW_TAG_volatile_type => {
                let target = self.ty(target, depth + 1);
                self.builder.add(TypeDef::Volatile(target))
            }
            dw::DW_TAG_restrict_type => {
                let target = self.ty(target, depth + 1);
                self.builder.add(TypeDef::Restrict(target))
            }
            dw::DW_TAG_atomic_type => self.ty(target, depth + 1),
            dw::DW_TAG_typedef => {
                let target = self.ty(target, depth + 1);
                match name {
                    Some(name) => self.builder.typedef(&name, target),
                    None => target,
                }
            }
            dw::DW_TAG_array_type => self.array(place, target, depth),
            dw::DW_TAG_structure_type | dw::DW_TAG_class_type => self.composite(place, entry, name, false),
            dw::DW_TAG_union_type => self.composite(place, entry, name, true),
            dw::DW_TAG_enumeration_type => self.enumeration(place, entry, &name.unwrap_or_default()),
            dw::DW_TAG_subroutine_type => {
                let ret = self.ty(target, depth + 1);
                let params = self.parameters(place, depth + 1);
                self.builder.add(TypeDef::FuncProto { ret, params })
            }
            _ => TypeId::VOID,
        }
    }

    fn number_type(&mut self, entry: &Entry, name: &str) -> TypeId {
        let size = size(entry).unwrap_or(0);
        let encoding = match entry.attr_value(dw::DW_AT_encoding) {
            Some(AttributeValue::Encoding(encoding)) => encoding,
            _ => dw::DW_ATE_unsigned,
        };
        let encoding = match encoding {
            dw::DW_ATE_boolean => IntEncoding::Bool,
            dw::DW_ATE_signed => IntEncoding::Signed,
            // BTF has no type for signed characters, and C compilers write them as signed numbers.
            dw::DW_ATE_signed_char => IntEncoding::Signed,
            dw::DW_ATE_float if matches!(size, 2 | 4 | 8 | 12 | 16) => return self.builder.float(name, size),
            _ => IntEncoding::Unsigned,
        };
        match size {
            1 | 2 | 4 | 8 | 16 => self.builder.int(name, size, encoding),
            _ => TypeId::VOID,
        }
    }

    fn array(&mut self, place: Place, element: Option<Place>, depth: u32) -> TypeId {
        let mut id = self.ty(element, depth + 1);
        let ranges = self.debug.children(place);
        for range in ranges.iter().rev().filter(|r| r.tag() == dw::DW_TAG_subrange_type) {
            let bound = || number(range, dw::DW_AT_upper_bound)?.checked_add(1);
            let len = number(range, dw::DW_AT_count).or_else(bound).unwrap_or(0);
            id = self.builder.array(id, u32::try_from(len).unwrap_or(0));
        }
        id
    }

    fn composite(&mut self, place: Place, entry: &Entry, name: Option<String>, union: bool) -> TypeId {
        let name = name.unwrap_or_default();
        if entry.attr(dw::DW_AT_declaration).is_some() {
            return if name.is_empty() { TypeId::VOID } else { self.builder.fwd(&name, union) };
        }
        let key = (name, union, size(entry).unwrap_or(0));
        if !key.0.is_empty()
            && let Some(id) = self.named.get(&key)
        {
            return *id;
        }
        let id = self.builder.declare();
        // Defined at once, so that whatever follows there is a definition.
        let def = TypeDef::Composite { name: key.0.clone(), union, size: key.2, members: Vec::new() };
        if self.builder.define(id, def).is_err() {
            return TypeId::VOID;
        }
        if !key.0.is_empty() {
            self.named.insert(key, id);
        }
        self.todo.push_back((id, place));
        id
    }

    fn members(&mut self, id: TypeId, place: Place) {
        let mut members = Vec::new();
        for child in self.debug.children(place) {
            let is_base = child.tag() == dw::DW_TAG_inheritance;
            if child.tag() != dw::DW_TAG_member && !is_base {
                continue;
            }
            // Static members of classes have no place.
            if child.attr(dw::DW_AT_external).is_some() || child.attr(dw::DW_AT_declaration).is_some() {
                continue;
            }
            let name = if is_base { None } else { self.debug.text(place.0, &child, dw::DW_AT_name) };
            let target = self.debug.reference(place.0, &child, dw::DW_AT_type);
            let type_id = self.ty(target, 0);
            let bytes = number(&child, dw::DW_AT_data_member_location).unwrap_or(0);
            let bit_size = number(&child, dw::DW_AT_bit_size).and_then(|n| u8::try_from(n).ok());
            let bit = number(&child, dw::DW_AT_data_bit_offset).or_else(|| bytes.checked_mul(8));
            let Some(bit_offset) = bit.and_then(|bit| u32::try_from(bit).ok()) else { continue };
            // A structure with bit-fields keeps offsets in 24 bits.
            let fits = bit_size.is_none() || bit_offset < 1 << 24;
            if type_id != TypeId::VOID && fits && members.len() < usize::from(u16::MAX) {
                members.push(MemberDef { name: name.unwrap_or_default(), type_id, bit_offset, bit_size });
            }
        }
        if members.iter().any(|m| m.bit_size.is_some()) {
            members.retain(|m| m.bit_offset < 1 << 24);
        }
        if let Some(TypeDef::Composite { name, union, size, .. }) = self.builder.get(id).cloned() {
            // The id is one that the builder gave.
            let _ = self.builder.define(id, TypeDef::Composite { name, union, size, members });
        }
    }

    fn enumeration(&mut self, place: Place, entry: &Entry, name: &str) -> TypeId {
        let size = size(entry).unwrap_or(4);
        let mut variants = Vec::new();
        for child in self.debug.children(place).iter().filter(|c| c.tag() == dw::DW_TAG_enumerator) {
            let value = signed(child, dw::DW_AT_const_value)
                .or_else(|| number(child, dw::DW_AT_const_value).map(|n| n as i64));
            if let (Some(name), Some(value)) = (self.debug.text(place.0, child, dw::DW_AT_name), value) {
                variants.push((name, value));
            }
        }
        variants.truncate(usize::from(u16::MAX));
        if !matches!(size, 1 | 2 | 4 | 8) {
            return TypeId::VOID;
        }
        let is_signed = variants.iter().any(|(_, value)| *value < 0);
        self.builder.enumeration(name, size, is_signed, variants.iter().map(|(n, v)| (n.as_str(), *v)))
    }
}
