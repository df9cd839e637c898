//! Kernel types for tests, written in C.
//!
//! Structs, unions, enumerations and typedefs are read by the language's own C part. Functions, raw tracepoints
//! and variables are lines of their own, whose parameters are read as the members of a struct:
//!
//! ```text
//! func do_nanosleep(struct hrtimer_sleeper *t; int mode) int
//! raw sched_switch(bool preempt; struct task_struct *prev)
//! var process_counts unsigned long
//! ```

use skep_btf::{Btf, Builder, IntEncoding, Linkage, MemberDef, Supported, TypeId};
use skep_ir::SourceMap;
use skep_trace::syntax::ast::{CComposite, CItem, CMember, CType};
use skep_trace::syntax::{NoFiles, ParseOptions, parse};
use std::collections::HashMap;

/// Type information of a text in C and of the lines described above.
pub(crate) fn btf(c_text: &str, lines: &[&str]) -> Result<Btf, String> {
    let mut kernel = Kernel::default();
    for item in items(c_text)? {
        kernel.item(&item);
    }
    for line in lines {
        kernel.line(line)?;
    }
    let encoded = kernel.builder.encode(Supported::ALL).map_err(|e| e.to_string())?;
    Btf::parse(encoded.bytes).map_err(|e| e.to_string())
}

fn items(text: &str) -> Result<Vec<CItem>, String> {
    let mut sources = SourceMap::default();
    let file = sources.add_file("kernel", format!("{text}\nbegin {{ }}\n"));
    let options = ParseOptions { have_btf: true, ..ParseOptions::default() };
    let (script, errors) = parse(&mut sources, file, &options, &mut NoFiles);
    if errors.is_empty() {
        Ok(script.c_items)
    } else {
        Err(skep_ir::diag::render_all(&errors, &sources, false))
    }
}

#[derive(Default)]
struct Kernel {
    builder: Builder,
    names: HashMap<String, TypeId>,
    /// Size and alignment.
    layouts: HashMap<TypeId, (u32, u32)>,
}

impl Kernel {
    fn item(&mut self, item: &CItem) -> TypeId {
        match item {
            CItem::Composite(c) => self.composite(c),
            CItem::Enum(e) => {
                let variants = e.variants.iter().map(|(n, v)| (n.as_str(), *v));
                let id =
                    self.builder.enumeration(&e.name, 4, e.variants.iter().any(|(_, v)| *v < 0), variants);
                self.layouts.insert(id, (4, 4));
                self.names.insert(format!("enum {}", e.name), id);
                id
            }
            CItem::Typedef { name, ty } => {
                let target = self.ty(ty);
                let id = self.builder.typedef(&name.name, target);
                let layout = self.layouts.get(&target).copied().unwrap_or((0, 1));
                self.layouts.insert(id, layout);
                self.names.insert(name.name.clone(), id);
                id
            }
        }
    }

    fn composite(&mut self, c: &CComposite) -> TypeId {
        let full = format!("{} {}", if c.union { "union" } else { "struct" }, c.name);
        let id = match self.names.get(&full) {
            Some(&declared) if !c.name.is_empty() => declared,
            _ => self.builder.declare(),
        };
        if !c.name.is_empty() {
            self.names.insert(full, id);
        }
        let Some(members) = &c.members else { return id };
        let (mut size, mut align) = (0u32, 1u32);
        let mut defs = Vec::new();
        let mut bits_left = 0;
        for m in members {
            let ty = self.ty(&m.ty);
            let (bytes, alignment) = self.layouts.get(&ty).copied().unwrap_or((0, 1));
            if let Some(bits) = m.bits {
                if bits_left < bits {
                    size = size.next_multiple_of(alignment) + bytes;
                    bits_left = bytes * 8;
                }
                defs.push(MemberDef::bits(&m.name, ty, size * 8 - bits_left, bits as u8));
                bits_left -= bits;
            } else {
                bits_left = 0;
                let offset = if c.union { 0 } else { size.next_multiple_of(alignment) };
                defs.push(MemberDef::at(&m.name, ty, offset));
                size = size.max(offset + bytes);
            }
            align = align.max(alignment);
        }
        size = size.next_multiple_of(align);
        self.layouts.insert(id, (size, align));
        let def = skep_btf::TypeDef::Composite { name: c.name.clone(), union: c.union, size, members: defs };
        self.builder.define(id, def).expect("the id was declared");
        id
    }

    fn basic(&mut self, name: &str, bytes: u32, encoding: IntEncoding) -> TypeId {
        let id = self.builder.int(name, bytes, encoding);
        self.layouts.insert(id, (bytes, bytes));
        id
    }

    fn ty(&mut self, ty: &CType) -> TypeId {
        match ty {
            CType::Int { bytes, signed } => {
                let name = match (bytes, signed) {
                    (1, true) => "char",
                    (1, false) => "unsigned char",
                    (2, true) => "short",
                    (2, false) => "unsigned short",
                    (4, true) => "int",
                    (4, false) => "unsigned int",
                    (_, true) => "long",
                    (_, false) => "unsigned long",
                };
                let encoding = if *signed { IntEncoding::Signed } else { IntEncoding::Unsigned };
                self.basic(name, *bytes, encoding)
            }
            CType::Bool => self.basic("_Bool", 1, IntEncoding::Bool),
            CType::Float(bytes) => self.builder.float("double", *bytes),
            CType::Void => TypeId::VOID,
            CType::Name(name) => self.named(&name.name, |b, n| b.typedef(n, TypeId::VOID)),
            CType::Struct(name) => self.named(&format!("struct {}", name.name), |b, _| b.declare()),
            CType::Union(name) => self.named(&format!("union {}", name.name), |b, _| b.declare()),
            CType::Enum(name) => {
                self.named(&format!("enum {}", name.name), |b, _| b.int("int", 4, IntEncoding::Signed))
            }
            CType::Inline(item) => self.item(item),
            CType::Ptr(to) => {
                let to = self.ty(to);
                let id = self.builder.ptr(to);
                self.layouts.insert(id, (8, 8));
                id
            }
            CType::Array(elem, len) => {
                let elem = self.ty(elem);
                let (size, align) = self.layouts.get(&elem).copied().unwrap_or((0, 1));
                let len = len.unwrap_or(0) as u32;
                let id = self.builder.array(elem, len);
                self.layouts.insert(id, (size * len, align));
                id
            }
        }
    }

    fn named(&mut self, name: &str, or: impl FnOnce(&mut Builder, &str) -> TypeId) -> TypeId {
        if let Some(&id) = self.names.get(name) {
            return id;
        }
        let id = or(&mut self.builder, name);
        self.names.insert(name.to_owned(), id);
        id
    }

    /// A type and names written as members: `int a; struct s *b`.
    fn members(&mut self, text: &str) -> Result<Vec<(String, TypeId)>, String> {
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        let items = items(&format!("struct __members {{ {text}; }};"))?;
        let Some(CItem::Composite(CComposite { members: Some(members), .. })) = items.first() else {
            return Err(format!("no members: {text}"));
        };
        Ok(members.iter().map(|m: &CMember| (m.name.clone(), self.ty(&m.ty))).collect())
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(' ').ok_or_else(|| format!("not a line: {line}"))?;
        match word {
            "var" => {
                let (name, ty) = rest.split_once(' ').ok_or("var NAME TYPE")?;
                let members = self.members(&format!("{ty} x"))?;
                let target = members.first().ok_or("a type")?.1;
                self.builder.var(name, target, Linkage::Global);
                Ok(())
            }
            "func" | "raw" => {
                let (name, rest) = rest.split_once('(').ok_or("NAME(...)")?;
                let (params, ret) = rest.rsplit_once(')').ok_or("NAME(...)")?;
                let mut params = self.members(params)?;
                let ret = match ret.trim() {
                    "" | "void" => TypeId::VOID,
                    ty => self.members(&format!("{ty} x"))?.first().ok_or("a type")?.1,
                };
                if word == "raw" {
                    let data = self.builder.ptr(TypeId::VOID);
                    params.insert(0, ("__data".into(), data));
                }
                let proto = self.builder.func_proto(ret, params.iter().map(|(n, t)| (n.as_str(), *t)));
                if word == "raw" {
                    let pointer = self.builder.ptr(proto);
                    self.builder.typedef(&format!("btf_trace_{name}"), pointer);
                } else {
                    self.builder.func(name, proto, Linkage::Static);
                }
                Ok(())
            }
            _ => Err(format!("not a line: {line}")),
        }
    }
}
