//! Runs the case files: types in their text form, and what becomes of them.
//!
//! Which sections a case has decides what is done with its types: `dump` encodes, indexes and dumps them, `c`
//! prints every definition, `lowered` encodes them for a kernel without the kinds named by `without:`, `error`
//! is the message for text that cannot be read or encoded, `answers` answers the lines of `ask` (questions) or
//! `relocations` (kind, type, access string) against the types of `target`.

use skep_btf::core_relo::{RelocKind, Relocation, Resolver};
use skep_btf::{Btf, Builder, FieldRef, Kind, KindMask, Supported, Type, TypeId};
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;
use testkit::{Case, Outcome};

fn main() -> ExitCode {
    testkit::run("tests/cases", run)
}

fn run(case: &Case) -> Outcome {
    let text = case.required("types")?;
    if case.section("error").is_some() {
        let failure = match Builder::from_text(text) {
            Err(e) => e.to_string(),
            Ok(builder) => match builder.encode(supported(case)?) {
                Err(e) => e.to_string(),
                Ok(_) => return Err("the types can be read and encoded".into()),
            },
        };
        return Ok(vec![("error", failure + "\n")]);
    }
    let btf = Arc::new(index(text)?);
    let mut out = Vec::new();
    if case.section("dump").is_some() {
        out.push(("dump", dump(&btf)));
    }
    if case.section("c").is_some() {
        out.push(("c", definitions(&btf)));
    }
    if case.section("lowered").is_some() {
        out.push(("lowered", lowered(text, supported(case)?)?));
    }
    if let Some(questions) = case.section("ask") {
        let split = case.section("split").map(|text| split(&btf, text)).transpose()?;
        let btf = split.as_ref().unwrap_or(&btf);
        let answer = |line: &str| Ok(format!("{line}: {}\n", answer(btf, line)?));
        out.push(("answers", questions.lines().map(answer).collect::<Result<String, String>>()?));
    }
    if let Some(relocations) = case.section("relocations") {
        let target = index(case.required("target")?)?;
        out.push(("answers", relocate(&btf, &target, relocations)?));
    }
    if out.is_empty() {
        return Err("the case has no section to compare".into());
    }
    Ok(out)
}

fn index(text: &str) -> Result<Btf, String> {
    let builder = Builder::from_text(text).map_err(|e| e.to_string())?;
    let encoded = builder.encode(Supported::ALL).map_err(|e| e.to_string())?;
    Btf::parse(encoded.bytes).map_err(|e| e.to_string())
}

/// Types whose ids continue those of a base. They are encoded behind it and its part is then cut off.
fn split(base: &Arc<Btf>, text: &str) -> Result<Arc<Btf>, String> {
    let mut whole = base.bytes()[24..].to_vec();
    let mut all = String::new();
    base.dump(&mut all).map_err(|e| e.to_string())?;
    let builder = Builder::from_text(&(all + text)).map_err(|e| e.to_string())?;
    let bytes = builder.encode(Supported::ALL).map_err(|e| e.to_string())?.bytes;
    let word = |bytes: &[u8], at: usize| {
        u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
    };
    let base_types = word(base.bytes(), 12);
    let base_strings = word(base.bytes(), 20);
    let types = &bytes[24 + base_types..24 + word(&bytes, 12)];
    let strings = &bytes[24 + word(&bytes, 12)..];
    assert_eq!(strings[..base_strings], whole.split_off(base_types)[..], "strings of the base come first");
    let mut own = bytes[..24].to_vec();
    own[12..16].copy_from_slice(&(types.len() as u32).to_le_bytes());
    own[16..20].copy_from_slice(&(types.len() as u32).to_le_bytes());
    own[20..24].copy_from_slice(&((strings.len() - base_strings) as u32).to_le_bytes());
    own.extend_from_slice(types);
    own.extend_from_slice(&strings[base_strings..]);
    Btf::parse_split(base.clone(), own).map(Arc::new).map_err(|e| e.to_string())
}

fn dump(btf: &Btf) -> String {
    let mut out = String::new();
    btf.dump(&mut out).expect("a string takes everything");
    out
}

fn supported(case: &Case) -> Result<Supported, String> {
    let mut supported = Supported::ALL;
    for word in case.attribute("without").unwrap_or("").split([',', ' ']).filter(|w| !w.is_empty()) {
        let flag = match word {
            "func_global" => &mut supported.func_global,
            "datasec" => &mut supported.datasec,
            "float" => &mut supported.float,
            "decl_tag" => &mut supported.decl_tag,
            "type_tag" => &mut supported.type_tag,
            "enum64" => &mut supported.enum64,
            other => return Err(format!("{other} is not something that a kernel can lack")),
        };
        *flag = false;
    }
    Ok(supported)
}

fn lowered(text: &str, supported: Supported) -> Result<String, String> {
    let builder = Builder::from_text(text).map_err(|e| e.to_string())?;
    let encoded = builder.encode(supported).map_err(|e| e.to_string())?;
    let mut out = "ids".to_owned();
    for id in 1..=builder.len() as u32 {
        match encoded.id(TypeId(id)) {
            Some(new) => write!(out, " {id}={}", new.0),
            None => write!(out, " {id}=none"),
        }
        .expect("a string takes everything");
    }
    let btf = Btf::parse(encoded.bytes).map_err(|e| e.to_string())?;
    Ok(out + "\n" + &dump(&btf))
}

fn definitions(btf: &Btf) -> String {
    let mut out = String::new();
    for id in btf.ids() {
        let what = match btf.ty(id) {
            Some(Type::Struct(c) | Type::Union(c)) if c.name().is_empty() => continue,
            Some(Type::Enum(e) | Type::Enum64(e)) if e.name().is_empty() => continue,
            Some(
                Type::Struct(_)
                | Type::Union(_)
                | Type::Enum(_)
                | Type::Enum64(_)
                | Type::Typedef(_)
                | Type::Func(_)
                | Type::Var(_)
                | Type::Fwd(_),
            ) => btf.c_definition(id),
            _ => continue,
        };
        out += &what.unwrap_or_else(|e| format!("error: {e}"));
        out += "\n";
    }
    out
}

/// A type by number or by `struct x`, `union x`, `enum x`, `func x`, `x`.
fn type_id(btf: &Btf, words: &[&str]) -> Result<TypeId, String> {
    let found = match words {
        [number] if number.parse::<u32>().is_ok() => number.parse().ok().map(TypeId),
        ["struct", name] => btf.find(name, KindMask::STRUCT),
        ["union", name] => btf.find(name, KindMask::UNION),
        ["enum", name] => btf.find(name, KindMask::ANY_ENUM),
        [name] => btf.find(name, KindMask::ORDINARY),
        _ => None,
    };
    found.ok_or_else(|| format!("no type {words:?}"))
}

fn answer(btf: &Btf, line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (question, rest) = words.split_first().ok_or("an empty question")?;
    let shown = |n: Option<u32>| n.map_or("none".to_owned(), |n| n.to_string());
    let id = |id: Option<TypeId>| shown(id.map(|i| i.0));
    let place = |at: FieldRef| {
        let bits = at.bit_size.map_or(String::new(), |n| format!(" of {n} bits"));
        format!("type {} at bit {}{bits}", at.type_id.0, at.bit_offset)
    };
    Ok(match *question {
        "size" => shown(btf.size_of(type_id(btf, rest)?)),
        "align" => shown(btf.align_of(type_id(btf, rest)?)),
        "peel" => id(btf.peel(type_id(btf, rest)?).map(|t| t.id())),
        "unqualified" => id(btf.unqualified(type_id(btf, rest)?).map(|t| t.id())),
        "dims" => btf
            .array(type_id(btf, rest)?)
            .map_or("none".to_owned(), |a| format!("{:?} of {}", a.dims(), a.element.0)),
        "pointee" => btf.pointee(type_id(btf, rest)?).map_or("none".to_owned(), |p| {
            let tags = [
                (p.is_const, " const"),
                (p.tags.user, " user"),
                (p.tags.rcu, " rcu"),
                (p.tags.percpu, " percpu"),
                (p.tags.arena, " arena"),
            ];
            let tags: String = tags.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect();
            format!("{}{tags}", p.target.0)
        }),
        "chase" => btf
            .chase(type_id(btf, rest)?)
            .map_or("none".to_owned(), |(t, n)| format!("{} after {n}", t.id().0)),
        "type" => btf.c_type(type_id(btf, rest)?).unwrap_or_else(|e| e.to_string()),
        "decl" => {
            let (name, ty) = rest.split_last().ok_or("decl TYPE NAME")?;
            btf.c_decl(type_id(btf, ty)?, name).unwrap_or_else(|e| e.to_string())
        }
        "find" => {
            let (kind, names) = rest.split_first().ok_or("find KIND NAME…")?;
            let mask = match *kind {
                "any" => KindMask::ANY,
                kind => (0..31)
                    .filter_map(Kind::from_raw)
                    .find(|k| k.name() == kind)
                    .map(KindMask::from)
                    .ok_or_else(|| format!("no kind {kind}"))?,
            };
            let asked: Vec<_> = names.iter().map(|&n| (n, mask)).collect();
            btf.find_many(&asked).into_iter().map(id).collect::<Vec<_>>().join(" ")
        }
        "all" => {
            let ids = btf.find_all(rest.first().ok_or("all NAME")?, KindMask::ANY);
            ids.map(|i| i.0.to_string()).collect::<Vec<_>>().join(" ")
        }
        "field" => {
            let (path, ty) = rest.split_last().ok_or("field TYPE PATH")?;
            btf.field_path(type_id(btf, ty)?, path).map_or_else(|e| e.to_string(), place)
        }
        "fields" => {
            let fields = btf.fields(type_id(btf, rest)?);
            fields.map(|f| format!("{}@{}", f.member.name(), f.at.bit_offset)).collect::<Vec<_>>().join(" ")
        }
        "similar" => btf.similar_types(rest.first().ok_or("similar NAME")?, KindMask::ANY, 3).join(" "),
        "similar-field" => {
            let (name, ty) = rest.split_last().ok_or("similar-field TYPE NAME")?;
            btf.similar_fields(type_id(btf, ty)?, name, 3).join(" ")
        }
        "value" => btf
            .enum_values(rest)
            .into_iter()
            .map(|v| v.map_or("none".to_owned(), |v| format!("{}[{}]={}", v.type_id.0, v.index, v.value)))
            .collect::<Vec<_>>()
            .join(" "),
        "name-of" => {
            let (value, ty) = rest.split_last().ok_or("name-of TYPE VALUE")?;
            let value = value.parse().map_err(|_| "a value is a number")?;
            btf.enum_name(type_id(btf, ty)?, value).unwrap_or("none").to_owned()
        }
        "tracepoint" => btf
            .raw_tracepoints(rest)
            .into_iter()
            .map(|p| match p {
                Some(p) => p
                    .params()
                    .skip(1)
                    .map(|p| format!("{}:{}", p.name(), p.type_id().0))
                    .collect::<Vec<_>>()
                    .join(","),
                None => "none".to_owned(),
            })
            .collect::<Vec<_>>()
            .join(" "),
        "tracepoints" => btf.raw_tracepoint_names().collect::<Vec<_>>().join(" "),
        "iterators" => btf.iterators().map(|(n, id)| format!("{n}={}", id.0)).collect::<Vec<_>>().join(" "),
        "iterator" => id(btf.iterator(rest.first().ok_or("iterator KIND")?)),
        "func" => btf.func(rest.first().ok_or("func NAME")?).map_or("none".to_owned(), |f| {
            let proto = btf.proto(f.id()).map_or(TypeId::VOID, skep_btf::FuncProto::id);
            format!("{} with prototype {}", f.id().0, proto.0)
        }),
        "tagged" => btf
            .tagged(rest.first().ok_or("tagged TAG")?)
            .map(|(id, component)| match component {
                Some(c) => format!("{}:{c}", id.0),
                None => id.0.to_string(),
            })
            .collect::<Vec<_>>()
            .join(" "),
        other => return Err(format!("{other} is not a question")),
    })
}

fn relocate(local: &Btf, target: &Btf, lines: &str) -> Result<String, String> {
    let mut resolver = Resolver::new(local, &[target]);
    let mut out = String::new();
    for line in lines.lines() {
        let [kind, rest @ .., access] = &line.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(format!("{line:?} is not a kind, a type and an access string"));
        };
        let kind =
            RelocKind::ALL.iter().copied().find(|k| k.name() == *kind).ok_or("no such kind of relocation")?;
        let relocation = Relocation { kind, type_id: type_id(local, rest)?, access };
        out += line;
        out += ": ";
        out += &match resolver.resolve(&relocation) {
            Err(e) => format!("error: {e}"),
            Ok(r) => {
                let mut text = r.original.to_string();
                text += if r.check_original { " -> " } else { "? -> " };
                text += &r.value.map_or("does not exist".to_owned(), |v| v.to_string());
                if let Some(a) = r.access {
                    text += &format!(" access {} -> {}", a.original, a.target);
                    text += if a.adjustable { "" } else { " refused" };
                }
                text + &r.target.map_or(String::new(), |t| format!(" in {}", t.type_id.0))
            }
        };
        out += "\n";
    }
    Ok(out)
}
