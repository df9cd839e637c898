//! What xtask writes for people: results on stdout, progress on stderr.
//!
//! A closed pipe is not an error here: whoever stopped reading has seen enough.

use std::io::Write;

/// One line on stdout.
#[cfg(not(test))]
pub(crate) fn out(line: &str) {
    raw(&mut std::io::stdout().lock(), line);
}

/// One line on stdout, where the test harness catches it.
#[cfg(test)]
#[allow(clippy::print_stdout, reason = "the harness catches what the macro prints, and nothing else")]
pub(crate) fn out(line: &str) {
    println!("{line}");
}

/// One line on stderr: progress, warnings.
pub(crate) fn note(line: &str) {
    raw(&mut std::io::stderr().lock(), line);
}

fn raw(to: &mut dyn Write, line: &str) {
    let _ = to.write_all(format!("{line}\n").as_bytes()).and_then(|()| to.flush());
}

/// Rows as a table: columns padded to their widest cell, the columns named in `right` aligned right.
pub(crate) fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (c, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            line += &if right.contains(&c) { format!("{pad}{cell}  ") } else { format!("{cell}{pad}  ") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn table_pads_to_the_widest_cell() {
        let rows = vec![vec!["a".into(), "bb".into()], vec!["ccc".into(), "d".into()]];
        assert_eq!(super::table(&rows, &[1]), "a    bb\nccc   d\n");
    }
}
