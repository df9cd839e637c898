//! Attachments of programs as text.

use super::lex::{Cursor, Parsed, Token};
use super::names::quoted;
use crate::spec::{Attach, Cpus, PerfEvent, Sample, When};
use std::fmt::{Display, Write as _};

const WHEN: [(&str, When); 3] = [("begin", When::Begin), ("end", When::End), ("manual", When::Manual)];

fn q(text: &str) -> String {
    quoted(text.as_bytes())
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|i| i.to_string()).collect();
    format!("[{}]", items.join(", "))
}

/// An attachment, without the word `attach`.
pub(super) fn print(attach: &Attach) -> String {
    let mut out = String::new();
    let _ = match attach {
        Attach::Once(when) => {
            let word = WHEN.iter().find(|(_, w)| w == when).map_or("manual", |(w, _)| w);
            write!(out, "once {word}")
        }
        Attach::Signal(number) => write!(out, "signal {number}"),
        Attach::Tracepoint { category, event } => write!(out, "tracepoint {} {}", q(category), q(event)),
        Attach::RawTracepoint { event } => write!(out, "raw_tracepoint {}", q(event)),
        Attach::Kprobe { symbol, offset, .. } => write!(out, "kprobe {} offset {offset}", q(symbol)),
        Attach::KprobeMulti { symbols, .. } => {
            write!(out, "kprobe_multi {}", list(symbols.iter().map(|s| q(s))))
        }
        Attach::Trampoline { function, module } => write!(out, "trampoline {} {}", q(function), q(module)),
        Attach::Uprobe { path, offset, semaphore, cookie, .. } => {
            write!(out, "uprobe {} offset {offset} semaphore {semaphore} cookie {cookie}", q(path))
        }
        Attach::UprobeMulti { path, offsets, semaphores, cookies, .. } => {
            let (offsets, semaphores, cookies) = (list(offsets), list(semaphores), list(cookies));
            write!(
                out,
                "uprobe_multi {} offsets {offsets} semaphores {semaphores} cookies {cookies}",
                q(path)
            )
        }
        Attach::Perf(event) => {
            let sample = match event.sample {
                Sample::Period(n) => format!("period {n}"),
                Sample::Frequency(n) => format!("frequency {n}"),
            };
            let PerfEvent { perf_type, config, bp_len, bp_type, .. } = event;
            let cpus = if event.cpus == Cpus::One { "one" } else { "online" };
            write!(out, "perf {perf_type} config {config} {sample} breakpoint {bp_len} {bp_type} cpus {cpus}")
        }
        Attach::Iter { target, pin } => {
            let pin = pin.as_ref().map_or_else(String::new, |p| format!(" pin {}", q(p)));
            write!(out, "iter {}{pin}", q(target))
        }
    };
    if let Attach::Uprobe { pid, .. } | Attach::UprobeMulti { pid, .. } | Attach::Perf(PerfEvent { pid, .. }) =
        attach
        && let Some(pid) = pid
    {
        let _ = write!(out, " pid {pid}");
    }
    if let Attach::Kprobe { ret: true, .. }
    | Attach::KprobeMulti { ret: true, .. }
    | Attach::Uprobe { ret: true, .. }
    | Attach::UprobeMulti { ret: true, .. } = attach
    {
        out.push_str(" return");
    }
    out
}

/// What follows the word `attach`.
pub(super) fn parse(c: &mut Cursor<'_>) -> Parsed<Attach> {
    let Token::Word(word) = *c.peek() else { return c.expected("a kind of attachment") };
    let number_after = |c: &mut Cursor<'_>, word: &str| {
        c.word(word)?;
        c.u64()
    };
    let numbers_after = |c: &mut Cursor<'_>, word: &str| {
        c.word(word)?;
        c.list("[", "]", Cursor::u64)
    };
    match word {
        "once" | "signal" | "tracepoint" | "raw_tracepoint" | "kprobe" | "kprobe_multi" | "trampoline"
        | "uprobe" | "uprobe_multi" | "perf" | "iter" => {
            c.next();
        }
        _ => return c.expected("a kind of attachment"),
    }
    Ok(match word {
        "once" => {
            let of = |w: &str| WHEN.iter().find(|(word, _)| *word == w).map(|(_, when)| *when);
            Attach::Once(c.one_of("`begin`, `end` or `manual`", of)?)
        }
        "signal" => Attach::Signal(c.i32()?),
        "tracepoint" => Attach::Tracepoint { category: c.string()?, event: c.string()? },
        "raw_tracepoint" => Attach::RawTracepoint { event: c.string()? },
        "kprobe" => Attach::Kprobe {
            symbol: c.string()?,
            offset: number_after(c, "offset")?,
            ret: c.eat_word("return"),
        },
        "kprobe_multi" => {
            Attach::KprobeMulti { symbols: c.list("[", "]", Cursor::string)?, ret: c.eat_word("return") }
        }
        "trampoline" => Attach::Trampoline { function: c.string()?, module: c.string()? },
        "uprobe" => Attach::Uprobe {
            path: c.string()?,
            offset: number_after(c, "offset")?,
            semaphore: number_after(c, "semaphore")?,
            cookie: number_after(c, "cookie")?,
            pid: pid(c)?,
            ret: c.eat_word("return"),
        },
        "uprobe_multi" => Attach::UprobeMulti {
            path: c.string()?,
            offsets: numbers_after(c, "offsets")?,
            semaphores: numbers_after(c, "semaphores")?,
            cookies: numbers_after(c, "cookies")?,
            pid: pid(c)?,
            ret: c.eat_word("return"),
        },
        "perf" => Attach::Perf(perf(c)?),
        _ => Attach::Iter {
            target: c.string()?,
            pin: if c.eat_word("pin") { Some(c.string()?) } else { None },
        },
    })
}

fn pid(c: &mut Cursor<'_>) -> Parsed<Option<u32>> {
    if c.eat_word("pid") { c.uint().map(Some) } else { Ok(None) }
}

fn perf(c: &mut Cursor<'_>) -> Parsed<PerfEvent> {
    let perf_type = c.uint()?;
    c.word("config")?;
    let config = c.u64()?;
    let sample = if c.eat_word("frequency") {
        Sample::Frequency(c.u64()?)
    } else {
        c.word("period")?;
        Sample::Period(c.u64()?)
    };
    c.word("breakpoint")?;
    let (bp_len, bp_type) = (c.uint()?, c.uint()?);
    c.word("cpus")?;
    let of = |w: &str| match w {
        "one" => Some(Cpus::One),
        "online" => Some(Cpus::Online),
        _ => None,
    };
    let cpus = c.one_of("`one` or `online`", of)?;
    Ok(PerfEvent { perf_type, config, sample, bp_len, bp_type, cpus, pid: pid(c)? })
}
