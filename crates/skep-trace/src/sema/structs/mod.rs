//! Structs, unions, enumerations and type names: of the script's C part, the kernel, its modules, user programs
//! and tracepoints, each looked up when it is first named.

mod btf;
mod cpart;
pub(crate) mod tracepoint;

use crate::btf_types::BtfRef;
use crate::env::Env;
use crate::types::{DataLoc, EnumDef, EnumId, FieldDef, IntTy, Origin, StructDef, StructId, Structs, Type};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// Where BTF comes from: an index into [`TypeDb::sources`].
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source(u32);

impl Source {
    /// The kernel itself.
    pub(crate) const KERNEL: Source = Source(0);
}

struct SourceInfo<'e> {
    /// Name of the module; empty for the kernel. `None` for user programs.
    module: Option<String>,
    /// `None` once it was looked for and not found.
    btf: Option<BtfRef<'e>>,
}

/// What a name stands for.
#[derive(Clone)]
enum Named {
    Struct(StructId),
    Enum(EnumId),
    Type(Type),
}

/// All types that a script has named so far.
pub(crate) struct TypeDb<'e> {
    env: &'e dyn Env,
    /// The tables that types refer to.
    pub(crate) structs: Structs,
    sources: Vec<SourceInfo<'e>>,
    /// Whether modules were added to the sources.
    modules_listed: bool,
    /// Names with their keyword, e.g. `struct foo`; typedefs and other ordinary names without.
    names: HashMap<String, Option<Named>>,
    /// Names of the C part, which hide those of the kernel.
    own: HashMap<String, Named>,
    /// Enumerators of the C part.
    own_values: HashMap<String, (EnumId, i64)>,
    /// Enumerators of the kernel that were asked for.
    values: HashMap<String, Option<(EnumId, i64)>>,
    by_id: HashMap<(Source, u32), Named>,
    /// Where the fields of a struct come from, if not from [`Origin::Script`] and the like.
    origins: HashMap<StructId, (Source, u32)>,
    /// Structs of which only the name was seen; they are looked for when a field is asked for.
    forwards: HashMap<String, StructId>,
    /// Capacity of text whose length is known only at run time.
    pub(crate) max_strlen: u32,
}

/// Keyword before the name of a struct or union.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Struct,
    Union,
}

impl Keyword {
    fn text(self) -> &'static str {
        match self {
            Keyword::Struct => "struct",
            Keyword::Union => "union",
        }
    }
}

impl<'e> TypeDb<'e> {
    pub(crate) fn new(env: &'e dyn Env) -> Self {
        TypeDb {
            env,
            structs: Structs::default(),
            sources: Vec::new(),
            modules_listed: false,
            names: HashMap::new(),
            own: HashMap::new(),
            own_values: HashMap::new(),
            values: HashMap::new(),
            by_id: HashMap::new(),
            origins: HashMap::new(),
            forwards: HashMap::new(),
            max_strlen: 1024,
        }
    }

    /// The struct or union of a name.
    pub(crate) fn composite_named(&mut self, keyword: Keyword, name: &str) -> Option<StructId> {
        match self.tagged(&format!("{} {name}", keyword.text()))? {
            Named::Struct(id) => Some(id),
            _ => None,
        }
    }

    /// The enumeration of a name.
    pub(crate) fn enum_named(&mut self, name: &str) -> Option<EnumId> {
        match self.tagged(&format!("enum {name}"))? {
            Named::Enum(id) => Some(id),
            _ => None,
        }
    }

    fn tagged(&mut self, full: &str) -> Option<Named> {
        if let Some(named) = self.own.get(full) {
            return Some(named.clone());
        }
        if let Some(known) = self.names.get(full) {
            return known.clone();
        }
        let found = self.find_tagged(full);
        self.names.insert(full.to_owned(), found.clone());
        found
    }

    /// What an ordinary name stands for: a typedef or basic type of the script or the kernel, or a struct,
    /// union or enumeration without its keyword.
    pub(crate) fn type_named(&mut self, name: &str) -> Option<Type> {
        if let Some(named) = self.own.get(name) {
            return Some(named_type(named));
        }
        if let Some(known) = self.names.get(name) {
            return known.as_ref().map(named_type);
        }
        let found = self.find_ordinary(name).or_else(|| {
            let tags = ["struct", "union", "enum"];
            tags.iter().find_map(|k| self.tagged(&format!("{k} {name}")))
        });
        self.names.insert(name.to_owned(), found.clone());
        found.as_ref().map(named_type)
    }

    /// Whether the C part defines a name itself.
    pub(crate) fn is_own(&self, full: &str) -> bool {
        self.own.contains_key(full)
    }

    /// An enumerator: its type and value.
    pub(crate) fn enumerator(&mut self, name: &str) -> Option<(EnumId, i64)> {
        if let Some(&value) = self.own_values.get(name) {
            return Some(value);
        }
        if let Some(&known) = self.values.get(name) {
            return known;
        }
        let found = self.find_enumerator(name);
        self.values.insert(name.to_owned(), found);
        found
    }

    /// The fields of a struct, those of anonymous members among them.
    pub(crate) fn fields(&mut self, id: StructId) -> Rc<[FieldDef]> {
        if let Some(fields) = &self.structs.structs[id].fields {
            return fields.clone();
        }
        let fields: Rc<[FieldDef]> = match self.origins.get(&id).copied() {
            Some((source, btf_id)) => self.btf_fields(source, btf_id).into(),
            None => self.defined_elsewhere(id),
        };
        self.structs.structs[id].fields = Some(fields.clone());
        fields
    }

    /// The struct or union of a name that need not be defined anywhere.
    pub(crate) fn forward(&mut self, keyword: Keyword, name: &str) -> StructId {
        let full = format!("{} {name}", keyword.text());
        if let Some(Named::Struct(own)) = self.own.get(&full) {
            return *own;
        }
        if let Some(&known) = self.forwards.get(&full) {
            return known;
        }
        let id = self.add_struct(full.clone(), 0, 1, Origin::Script, None);
        self.forwards.insert(full, id);
        id
    }

    fn defined_elsewhere(&mut self, id: StructId) -> Rc<[FieldDef]> {
        let full = self.structs.structs[id].name.clone();
        match self.tagged(&full) {
            Some(Named::Struct(other)) if other != id => {
                let fields = self.fields(other);
                let StructDef { size, align, origin, .. } = self.structs.structs[other].clone();
                let this = &mut self.structs.structs[id];
                (this.size, this.align, this.origin) = (size, align, origin);
                fields
            }
            _ => Rc::new([]),
        }
    }

    /// A field by its name, with its place among the fields.
    pub(crate) fn field(&mut self, id: StructId, name: &str) -> Option<(u32, FieldDef)> {
        let fields = self.fields(id);
        let index = fields.iter().position(|f| *f.name == *name)?;
        Some((index as u32, fields[index].clone()))
    }

    /// Makes sure that every struct inside a type has its fields, because the value will be printed or stored.
    pub(crate) fn complete(&mut self, ty: &Type) {
        self.complete_within(ty, 0);
    }

    fn complete_within(&mut self, ty: &Type, depth: u32) {
        // Structs cannot contain themselves by value; only hostile type information nests this deeply.
        if depth > 32 {
            return;
        }
        match ty {
            Type::Struct(id) => {
                for field in self.fields(*id).iter() {
                    if !matches!(field.ty, Type::Ptr(..)) {
                        self.complete_within(&field.ty, depth + 1);
                    }
                }
            }
            Type::Array(elem, _) => self.complete_within(elem, depth + 1),
            Type::Tuple(elems) => elems.iter().for_each(|t| self.complete_within(t, depth + 1)),
            Type::Record(elems) => elems.iter().for_each(|(_, t)| self.complete_within(t, depth + 1)),
            _ => {}
        }
    }

    /// Adds a user program to the places where types are looked for.
    pub(crate) fn add_binary(&mut self, binary: &Arc<dyn crate::env::UserBinary>) -> Option<Source> {
        self.kernel_source();
        let same =
            |s: &SourceInfo<'_>| matches!(&s.btf, Some(BtfRef::Binary(b)) if b.path() == binary.path());
        if let Some(at) = self.sources.iter().position(same) {
            return Some(Source(at as u32));
        }
        let btf = BtfRef::binary(binary.clone())?;
        self.sources.push(SourceInfo { module: None, btf: Some(btf) });
        // What was not found before may be there now.
        self.names.retain(|_, found| found.is_some());
        Some(Source(self.sources.len() as u32 - 1))
    }

    /// Adds a list of arguments: field n is the nth argument.
    pub(crate) fn argument_list(&mut self, name: &str, args: Vec<(String, Type)>) -> StructId {
        let mut slot = 0;
        let fields: Vec<FieldDef> = args
            .into_iter()
            .map(|(name, ty)| {
                let offset = slot * 8;
                slot += ty.size(&self.structs).div_ceil(8).max(1);
                field(name, ty, offset)
            })
            .collect();
        self.add_struct(name.to_owned(), slot * 8, 8, Origin::Arguments, Some(fields.into()))
    }

    /// Adds a struct.
    pub(crate) fn add_struct(
        &mut self,
        name: String,
        size: u32,
        align: u32,
        origin: Origin,
        fields: Option<Rc<[FieldDef]>>,
    ) -> StructId {
        self.structs.structs.push(StructDef { name, size, align, origin, fields })
    }

    fn add_enum(&mut self, name: String, repr: IntTy, variants: Vec<(String, i64)>) -> EnumId {
        self.structs.enums.push(EnumDef { name, repr, variants: variants.into() })
    }

    /// Bytes of a type.
    pub(crate) fn size_of(&self, ty: &Type) -> u32 {
        ty.size(&self.structs)
    }

    /// The type as messages show it.
    pub(crate) fn show(&self, ty: &Type) -> String {
        ty.name(&self.structs)
    }
}

fn named_type(named: &Named) -> Type {
    match named {
        Named::Struct(id) => Type::Struct(*id),
        Named::Enum(id) => Type::Enum(*id),
        Named::Type(ty) => ty.clone(),
    }
}

/// A field that is no bit-field and stands where it is.
pub(crate) fn field(name: impl Into<Rc<str>>, ty: Type, offset: u32) -> FieldDef {
    FieldDef { name: name.into(), ty, offset, bits: None, data_loc: DataLoc::Direct }
}
