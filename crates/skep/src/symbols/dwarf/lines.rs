//! Addresses to source lines and back.

use super::{Reader, load};
use crate::symbols::demangle::demangle;
use crate::symbols::elf::Elf;
use gimli::{ColumnType, Dwarf, LineProgramHeader, Unit};
use skep_trace::output::SourceLine;

/// Functions that are inlined into each other, at one address.
const DEEPEST: usize = 64;

/// Addresses of a program to lines; parts of the program are read when one of their addresses is asked for.
pub(crate) struct Lines {
    context: addr2line::Context<Reader>,
}

/// What debug data know of an address.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SourcePlace {
    /// The line, in the function that is called there.
    pub(crate) line: Option<SourceLine>,
    /// Functions that were inlined there, the innermost first, each with the place inside it.
    pub(crate) inlined: Vec<(String, Option<SourceLine>)>,
}

impl Lines {
    /// Of a program or its debug file; `None` if it has no debug data.
    pub(crate) fn read(elf: &Elf) -> Option<Lines> {
        Some(Lines { context: addr2line::Context::from_dwarf(load(elf)?).ok()? })
    }

    /// What is at an address as linked.
    pub(crate) fn at(&self, address: u64, demangled: bool) -> SourcePlace {
        let mut place = SourcePlace::default();
        let Ok(mut frames) = self.context.find_frames(address).skip_all_loads() else { return place };
        while let Ok(Some(frame)) = frames.next() {
            // One function lies in the next; the last is the one that is really called.
            let line = frame.location.as_ref().and_then(|at| {
                Some(SourceLine { file: at.file?.to_owned(), line: at.line.filter(|line| *line > 0)? })
            });
            if let Some(inner) = place.inlined.last_mut()
                && inner.1.is_none()
            {
                inner.1 = place.line.take();
            }
            place.line = line;
            let name = frame.function.as_ref().and_then(|f| f.raw_name().ok()).unwrap_or_default();
            let name = if demangled { demangle(&name) } else { None }.unwrap_or_else(|| name.into_owned());
            place.inlined.push((name, None));
            if place.inlined.len() > DEEPEST {
                break;
            }
        }
        place.inlined.pop();
        place
    }
}

/// Addresses where a source line begins (at a column, if one is given), ascending. The file may be given by the end
/// of its path. `None` if there are no debug data.
pub(crate) fn addresses(elf: &Elf, file: &str, line: u32, column: Option<u32>) -> Option<Vec<u64>> {
    let dwarf = load(elf)?;
    let mut found = Vec::new();
    let mut units = dwarf.units();
    while let Ok(Some(header)) = units.next() {
        if let Ok(unit) = dwarf.unit(header) {
            // What is damaged ends the unit, not the search.
            let _ = in_unit(&dwarf, &unit, file, line, column, &mut found);
        }
    }
    found.sort_unstable();
    found.dedup();
    Some(found)
}

fn in_unit(
    dwarf: &Dwarf<Reader>,
    unit: &Unit<Reader>,
    file: &str,
    line: u32,
    column: Option<u32>,
    found: &mut Vec<u64>,
) -> Result<(), gimli::Error> {
    let Some(program) = unit.line_program.clone() else { return Ok(()) };
    // Whether each file of the unit is meant.
    let mut meant: Vec<Option<bool>> = Vec::new();
    let mut rows = program.rows();
    let mut before = false;
    while let Some((header, row)) = rows.next_row()? {
        if row.end_sequence() {
            before = false;
            continue;
        }
        let here = row.line().is_some_and(|at| at.get() == u64::from(line))
            && column.is_none_or(|wanted| match row.column() {
                ColumnType::LeftEdge => wanted == 1,
                ColumnType::Column(at) => at.get() == u64::from(wanted),
            })
            && is_meant(dwarf, unit, header, row.file_index(), file, &mut meant);
        if here && !before && row.is_stmt() && row.address() != 0 {
            found.push(row.address());
            before = true;
        }
        before &= here;
    }
    Ok(())
}

fn is_meant(
    dwarf: &Dwarf<Reader>,
    unit: &Unit<Reader>,
    header: &LineProgramHeader<Reader>,
    index: u64,
    wanted: &str,
    known: &mut Vec<Option<bool>>,
) -> bool {
    const MOST: usize = 1 << 16;
    let Some(slot) = usize::try_from(index).ok().filter(|i| *i < MOST) else { return false };
    if known.len() <= slot {
        known.resize(slot + 1, None);
    }
    *known[slot]
        .get_or_insert_with(|| path(dwarf, unit, header, index).is_some_and(|path| ends_with(&path, wanted)))
}

/// The path of a file of a unit.
fn path(
    dwarf: &Dwarf<Reader>,
    unit: &Unit<Reader>,
    header: &LineProgramHeader<Reader>,
    index: u64,
) -> Option<String> {
    use gimli::Reader as _;
    let text = |value| Some(dwarf.attr_string(unit, value).ok()?.to_string_lossy().ok()?.into_owned());
    let file = header.file(index)?;
    let mut path = text(file.path_name())?;
    if !path.starts_with('/')
        && let Some(folder) = file.directory(header).and_then(text)
    {
        path = format!("{folder}/{path}");
    }
    if !path.starts_with('/')
        && let Some(folder) = unit.comp_dir.as_ref().and_then(|d| d.to_string_lossy().ok())
    {
        path = format!("{folder}/{path}");
    }
    Some(path)
}

/// Whether a path is another, or ends with it after a slash.
fn ends_with(path: &str, end: &str) -> bool {
    let end = end.strip_prefix("./").unwrap_or(end);
    path.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('/') || end.starts_with('/'))
}
