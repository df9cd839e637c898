//! Comments in the order of the source, and the empty lines around them.

use super::super::lexer::Comment;

/// A comment on a line of its own.
pub(super) struct OwnLine<'a> {
    pub(super) text: &'a str,
    /// Empty lines in front of it.
    pub(super) blank_lines: usize,
    /// Code follows on the same line.
    pub(super) inline: bool,
}

/// Hands out comments once, as printing goes on through the source.
pub(super) struct Comments<'a> {
    text: &'a str,
    comments: Vec<Comment>,
    /// The next one.
    next: usize,
    /// Where the last thing that was printed ended; `None` at the start of the file, where empty lines are
    /// dropped.
    last: Option<u32>,
}

impl<'a> Comments<'a> {
    pub(super) fn new(text: &'a str, comments: Vec<Comment>) -> Self {
        Comments { text, comments, next: 0, last: None }
    }

    fn source(&self, comment: Comment) -> &'a str {
        self.text.get(comment.lo as usize..comment.hi as usize).unwrap_or("").trim_end()
    }

    fn between(&self, lo: u32, hi: u32) -> &'a str {
        self.text.get(lo as usize..hi as usize).unwrap_or("")
    }

    /// Notes that the source was printed up to here.
    pub(super) fn pass(&mut self, hi: u32) {
        self.last = Some(hi);
    }

    /// Whether a comment that was not printed stands in a range.
    pub(super) fn any_in(&self, lo: u32, hi: u32) -> bool {
        let rest = &self.comments[self.next..];
        let first = rest.partition_point(|c| c.lo < lo);
        rest.get(first).is_some_and(|c| c.lo < hi)
    }

    /// Empty lines between the last thing and what begins at `lo`.
    pub(super) fn blank_lines_to(&mut self, lo: u32) -> usize {
        let Some(last) = self.last else { return 0 };
        self.between(last, lo).matches('\n').count().saturating_sub(1)
    }

    /// Takes the comments in front of `lo`.
    pub(super) fn before(&mut self, lo: u32) -> Vec<OwnLine<'a>> {
        let mut taken = Vec::new();
        while let Some(&comment) = self.comments.get(self.next).filter(|c| c.lo < lo) {
            let blank_lines = self.blank_lines_to(comment.lo);
            let inline = self.is_inline(comment);
            taken.push(OwnLine { text: self.source(comment), blank_lines, inline });
            self.next += 1;
            self.last = Some(comment.hi);
        }
        taken
    }

    /// Takes the comment that stands behind `hi` on the same line, with nothing behind it there.
    pub(super) fn behind(&mut self, hi: u32) -> Option<&'a str> {
        self.last = Some(hi.max(self.last.unwrap_or(0)));
        let comment = *self.comments.get(self.next)?;
        if comment.lo < hi || !is_blank_line(self.between(hi, comment.lo)) {
            return None;
        }
        if comment.block && (self.is_inline(comment) || self.source(comment).contains('\n')) {
            return None;
        }
        self.next += 1;
        self.last = Some(comment.hi);
        Some(self.source(comment))
    }

    /// Takes the comment that stands between `hi` and the next sign on the same line.
    pub(super) fn beside(&mut self, hi: u32) -> Option<&'a str> {
        let comment = *self.comments.get(self.next)?;
        if comment.lo < hi || !self.is_inline(comment) || !is_blank_line(self.between(hi, comment.lo)) {
            return None;
        }
        self.next += 1;
        self.last = Some(comment.hi);
        Some(self.source(comment))
    }

    /// A comment in the middle of a line.
    fn is_inline(&self, comment: Comment) -> bool {
        let rest = self.text.get(comment.hi as usize..).unwrap_or("");
        let line = rest.lines().next().unwrap_or("");
        comment.block && !is_blank_line(line) && !self.source(comment).contains('\n')
    }

    /// Behind the `;` that follows `hi`, if there is one.
    pub(super) fn behind_semicolon(&self, hi: u32) -> u32 {
        self.behind_sign(hi, ';')
    }

    /// Behind the `,` that follows `hi`, if there is one.
    pub(super) fn behind_comma(&self, hi: u32) -> u32 {
        self.behind_sign(hi, ',')
    }

    fn behind_sign(&self, hi: u32, sign: char) -> u32 {
        let rest = self.text.get(hi as usize..).unwrap_or("");
        let blanks = rest.len() - rest.trim_start().len();
        if rest[blanks..].starts_with(sign) { hi + blanks as u32 + 1 } else { hi }
    }
}

fn is_blank_line(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' ' | b'\t' | b'\r'))
}
