//! Text over several lines, and lists that are broken into them.

use super::WIDTH;

/// Lines of text. The first one goes on where something else ended; all others are whole.
#[derive(Clone, Debug)]
pub(super) struct Text(Vec<String>);

impl From<String> for Text {
    fn from(text: String) -> Self {
        Text(vec![text])
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Text(vec![text.to_owned()])
    }
}

impl From<Vec<String>> for Text {
    fn from(lines: Vec<String>) -> Self {
        Text(lines)
    }
}

impl Text {
    /// Takes blanks away that only moved the first line to where it will stand.
    pub(super) fn cut_first(&mut self, blanks: usize) {
        if let Some(first) = self.0.first_mut() {
            first.drain(..blanks.min(first.len()));
        }
    }

    pub(super) fn lines(&self) -> &[String] {
        &self.0
    }

    /// Columns of the last line.
    pub(super) fn width(&self) -> usize {
        self.0.last().map_or(0, |line| line.chars().count())
    }

    /// Where text goes on that was appended to this one, if this one began at `column`.
    pub(super) fn end(&self, column: usize) -> usize {
        if self.0.len() == 1 { column + self.width() } else { self.width() }
    }

    pub(super) fn is_one_line(&self) -> bool {
        self.0.len() == 1
    }

    pub(super) fn push(&mut self, text: &str) {
        match self.0.last_mut() {
            Some(line) => line.push_str(text),
            None => self.0.push(text.to_owned()),
        }
    }

    /// Begins a new line.
    pub(super) fn newline(&mut self, indent: usize) {
        self.0.push(" ".repeat(indent));
    }

    pub(super) fn append(&mut self, other: Text) {
        let mut lines = other.0.into_iter();
        if let Some(first) = lines.next() {
            self.push(&first);
        }
        self.0.extend(lines);
    }
}

/// A list in lines that begin at `column`. Lines are filled from the last one backward, so that what is short
/// of a line is the beginning, where most often a format string stands alone. `close` columns are kept free
/// behind the last item.
pub(super) fn fill(items: Vec<Text>, column: usize, close: usize) -> Text {
    joined(items, column, close, ", ", ",")
}

/// Like [`fill`], with operators between the items; `flat` and `broken` are what stands between two items on
/// one line and at the end of a line.
pub(super) fn joined(items: Vec<Text>, column: usize, close: usize, flat: &str, broken: &str) -> Text {
    // Whether a line break stands in front of each item.
    let mut breaks = vec![false; items.len() + 1];
    let (flat_width, broken_width) = (flat.chars().count(), broken.chars().count());
    // Width of what stands behind the item on its line.
    let mut tail = close;
    for (index, item) in items.iter().enumerate().rev() {
        let is_last = index + 1 == items.len();
        let before = if item.is_one_line() { column } else { 0 };
        if !is_last && !breaks[index + 1] && before + item.width() + flat_width + tail > WIDTH {
            breaks[index + 1] = true;
        }
        tail = item.width()
            + match () {
                () if is_last => close,
                () if breaks[index + 1] => broken_width,
                () => flat_width + tail,
            };
        // What takes several lines was laid out for the start of one.
        breaks[index] |= index > 0 && !item.is_one_line();
    }
    let mut out = Text::from("");
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 && breaks[index] {
            out.push(broken);
            out.newline(column);
        } else if index > 0 {
            out.push(flat);
        }
        out.append(item);
    }
    out
}
