//! Modules from text: everything but the bodies of functions.

use super::attach;
use super::lex::{Cursor, Fault, ParseError, Parsed, Token};
use super::names::{kind_of, map_of, section_of};
use super::parse_func::function;
use super::print::LINKAGES;
use super::symbols::{Item, Names};
use super::types::{TypeParser, begins_type};
use crate::module::{Global, Map, Module, Prog, Set};
use crate::types::Types;

/// Reads a module.
///
/// # Errors
/// Says where the text is not well formed. Whether the module makes sense is the checker's business.
pub fn parse(text: &str) -> Result<Module, ParseError> {
    parse_with_types(text, Types::default())
}

/// Reads a module whose types are added to a table: those that the table has keep their ids.
///
/// # Errors
/// As [`parse`].
pub fn parse_with_types(text: &str, types: Types) -> Result<Module, ParseError> {
    module(text, types).map_err(|fault| fault.locate(text))
}

fn module(text: &str, types: Types) -> Parsed<Module> {
    let mut c = Cursor::new(text)?;
    let names = declare(&c)?;
    let mut types = TypeParser::new(types);
    let mut module = Module::default();
    while *c.peek() != Token::End {
        let at = c.offset();
        let word = c.any_word("an item of a module")?;
        match word {
            "license" => module.license = c.string()?,
            "type" => types.declaration(&mut c)?,
            "map" => {
                let map = map(&mut c, &names, &mut types)?;
                module.maps.push(map);
            }
            "var" => {
                let global = global(&mut c, &mut types)?;
                module.globals.push(global);
            }
            "set" => {
                let set = set(&mut c)?;
                module.sets.push(set);
            }
            "ledger" => module.ledger = Some(names.parse_map(&mut c)?),
            "prog" => {
                let prog = prog(&mut c, &names)?;
                module.progs.push(prog);
            }
            _ => {
                let Some((_, linkage)) = LINKAGES.iter().find(|(linkage, _)| *linkage == word) else {
                    return Err(Fault { at, message: format!("`{word}` begins no item of a module") });
                };
                let func = function(&mut c, *linkage, &names, &mut types)?;
                module.funcs.push(func);
            }
        }
    }
    module.types = types.types;
    Ok(module)
}

/// Finds all named items first, since they may be referred to before they are described.
fn declare(c: &Cursor<'_>) -> Parsed<Names> {
    let mut names = Names::default();
    let mut depth = 0usize;
    for pair in c.all().windows(2) {
        let (Token::Word(word), (Token::Symbol('@', symbol), at)) = (&pair[0].0, &pair[1]) else {
            match pair[0].0 {
                Token::Sign("{") => depth += 1,
                Token::Sign("}") => depth = depth.saturating_sub(1),
                _ => {}
            }
            continue;
        };
        let item = match *word {
            "map" => Item::Map,
            "var" => Item::Global,
            "set" => Item::Set,
            "fn" => Item::Func,
            _ => continue,
        };
        if depth == 0 && !names.declare(item, symbol) {
            return Err(Fault { at: *at, message: format!("a second `{word} @{symbol}`") });
        }
    }
    Ok(names)
}

/// `@symbol`, and the name if it is another.
pub(super) fn named(c: &mut Cursor<'_>, sigil: char) -> Parsed<String> {
    let name = c.symbol(sigil, "a name")?;
    if matches!(c.peek(), Token::Str(_)) { c.string() } else { Ok(name) }
}

fn map(c: &mut Cursor<'_>, names: &Names, types: &mut TypeParser) -> Parsed<Map> {
    let name = named(c, '@')?;
    c.sign(":")?;
    let kind = c.one_of("a kind of map", map_of)?;
    let mut part = |c: &mut Cursor<'_>, word: &str| {
        c.word(word)?;
        let size = c.uint()?;
        Ok((size, if begins_type(c.peek()) { Some(types.memory(c)?) } else { None }))
    };
    let (key_size, key) = part(c, "key")?;
    let (value_size, value) = part(c, "value")?;
    c.word("entries")?;
    let max_entries = c.uint()?;
    let flags = if c.eat_word("flags") { c.uint()? } else { 0 };
    let inner = if c.eat_word("inner") { Some(names.parse_map(c)?) } else { None };
    let pin = if c.eat_word("pin") { Some(c.string()?) } else { None };
    let contents = if c.eat_word("contents") {
        c.list("[", "]", |c| {
            let key = c.bytes()?;
            c.sign("=")?;
            Ok((key, c.bytes()?))
        })?
    } else {
        Vec::new()
    };
    Ok(Map { name, kind, key, value, key_size, value_size, max_entries, flags, inner, contents, pin })
}

fn global(c: &mut Cursor<'_>, types: &mut TypeParser) -> Parsed<Global> {
    let name = named(c, '@')?;
    c.sign(":")?;
    let section = c.one_of("a section", section_of)?;
    let ty = types.memory(c)?;
    c.word("size")?;
    let size = c.uint()?;
    c.word("align")?;
    let align = c.uint()?;
    let init = if c.eat("=") { c.bytes()? } else { Vec::new() };
    Ok(Global { name, section, ty, size, align, init })
}

fn set(c: &mut Cursor<'_>) -> Parsed<Set> {
    c.symbol('@', "a name")?;
    c.sign(":")?;
    if c.eat_word("ints") {
        return Ok(Set::Ints(c.list("[", "]", Cursor::i64)?));
    }
    if c.eat_word("strings") {
        return Ok(Set::Strings(c.list("[", "]", Cursor::bytes)?));
    }
    if !c.eat_word("prefixes") {
        return c.expected("`ints`, `strings` or `prefixes`");
    }
    let bytes = c.uint()?;
    let list = c.list("[", "]", |c| {
        let prefix = c.bytes()?;
        c.sign("/")?;
        Ok((prefix, c.uint()?))
    })?;
    Ok(Set::Prefixes { bytes, list })
}

fn prog(c: &mut Cursor<'_>, names: &Names) -> Parsed<Prog> {
    let name = c.string()?;
    c.sign(":")?;
    let kind = c.one_of("a kind of program", kind_of)?;
    let func = names.parse_func(c)?;
    let sleepable = c.eat_word("sleepable");
    let mut places = Vec::new();
    while c.eat_word("attach") {
        places.push(attach::parse(c)?);
    }
    Ok(Prog { name, func, kind, attach: places, sleepable })
}
