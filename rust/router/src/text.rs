//! Case folding, UTF-16 arithmetic and places in a text.

use std::cmp::Ordering;

use crate::error::{Position, TextRange};

/// Folds one character for comparison without regard to case; one character always stays one.
pub(crate) fn fold_char(c: char) -> char {
    if c.is_ascii() { c.to_ascii_lowercase() } else { lower_char(upper_char(c)) }
}

/// Upper case where it is one character; else the character itself (`ß` stays `ß`).
pub(crate) fn upper_char(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) if c != 'ı' => one,
        _ => c,
    }
}

/// Lower case where it is one character; else the character itself.
pub(crate) fn lower_char(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// Lower-cases `text` for use as the first argument of [`names_equal`].
pub fn fold(text: &str) -> String {
    text.chars().map(fold_char).collect()
}

/// Whether `candidate` is the name `folded` (as made by [`fold`]) without regard to case.
///
/// This is how a [`crate::MessageView`] compares a property's key with the name it is asked for.
#[inline]
pub fn names_equal(folded: &str, candidate: &str) -> bool {
    folded.eq_ignore_ascii_case(candidate) || (!folded.is_ascii() && fold_cmp(folded, candidate).is_eq())
}

/// Orders a folded name against an unfolded one.
pub(crate) fn fold_cmp(folded: &str, candidate: &str) -> Ordering {
    folded.chars().cmp(candidate.chars().map(fold_char))
}

/// Whether `candidate` begins with the segments of `folded`: it is equal, or goes on with a `/`.
pub(crate) fn starts_with_segments(folded: &str, candidate: &str) -> bool {
    let mut rest = candidate.chars();
    folded.chars().all(|c| rest.next().map(fold_char) == Some(c)) && matches!(rest.next(), None | Some('/'))
}

/// Compares by UTF-16 code unit, as the reference's ordinal comparison does.
#[inline]
pub(crate) fn ordinal_cmp(a: &str, b: &str) -> Ordering {
    let same = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    match (a.as_bytes().get(same), b.as_bytes().get(same)) {
        (Some(x), Some(y)) if x.is_ascii() || y.is_ascii() => x.cmp(y),
        // Both differ beyond ASCII: only surrogate pairs order differently from UTF-8.
        (Some(_), Some(_)) => a.encode_utf16().cmp(b.encode_utf16()),
        (x, y) => x.is_some().cmp(&y.is_some()),
    }
}

/// Length in UTF-16 code units.
pub(crate) fn utf16_len(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(char::len_utf16).sum() }
}

/// Byte offset of UTF-16 index `at`; `None` within a surrogate pair or beyond the end.
pub(crate) fn utf16_offset(text: &str, at: usize) -> Option<usize> {
    if text.is_ascii() {
        return (at <= text.len()).then_some(at);
    }
    let mut units = 0;
    for (offset, c) in text.char_indices() {
        if units >= at {
            return (units == at).then_some(offset);
        }
        units += c.len_utf16();
    }
    (units == at).then_some(text.len())
}

/// The place of the bytes `start..start + len` of `text`; see [`Ruler::range`].
pub(crate) fn range_of(text: &str, start: usize, len: usize) -> TextRange {
    Ruler::new(text).range(start, len)
}

/// A text prepared for being asked for many places.
pub(crate) struct Ruler<'t> {
    text: &'t str,
    /// Offsets at which lines begin.
    lines: Vec<usize>,
    ascii: bool,
}

impl<'t> Ruler<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let breaks = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1);
        Ruler { text, lines: std::iter::once(0).chain(breaks).collect(), ascii: text.is_ascii() }
    }

    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    /// The place of the bytes `start..start + len`; an offset at the end means end of input.
    ///
    /// The end is cut to two columns beyond the end of the line on which the token starts.
    pub(crate) fn range(&self, start: usize, len: usize) -> TextRange {
        let line = self.lines.partition_point(|begin| *begin <= start.min(self.text.len()));
        let line_start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.width(line_start, start) + 1;
        let line_len = self.width(line_start, self.line_end(line));
        let token_len = self.width(start, start + len).max(1);
        let end = (column + token_len).min(line_len + 2).max(column + 1);
        let at = |column: usize| Position { line: line as u32, column: column as u32 };
        TextRange { start: at(column), end: at(end) }
    }

    /// Offset after the last character of a line that counts from 1, without its line break.
    fn line_end(&self, line: usize) -> usize {
        match self.lines.get(line) {
            None => self.text.len(),
            Some(next) => {
                let line = self.text.get(..next - 1).unwrap_or("");
                line.strip_suffix('\r').unwrap_or(line).len()
            }
        }
    }

    /// UTF-16 code units between two offsets.
    fn width(&self, from: usize, to: usize) -> usize {
        if self.ascii {
            return to.min(self.text.len()).saturating_sub(from);
        }
        self.text.get(from..to.min(self.text.len())).map_or(0, utf16_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_without_case_beyond_ascii() {
        assert!(names_equal(&fold("Ärger"), "ÄRGER"));
        assert!(names_equal("color", "COLOR"));
        assert!(!names_equal("color", "colour"));
        assert!(!names_equal("k", "\u{212a}"));
    }

    #[test]
    fn ordinal_order_is_that_of_utf16() {
        // U+1F600 is a surrogate pair (D83D...), which sorts before U+FF5E.
        assert_eq!(ordinal_cmp("😀", "\u{ff5e}"), Ordering::Less);
        assert_eq!(ordinal_cmp("a", "a"), Ordering::Equal);
        assert_eq!(ordinal_cmp("a", "ab"), Ordering::Less);
        assert_eq!(ordinal_cmp("é", "z"), Ordering::Greater);
    }

    #[test]
    fn segments_match_whole() {
        assert!(starts_with_segments("o1", "O1"));
        assert!(starts_with_segments("o1", "o1/deeper"));
        assert!(!starts_with_segments("o1", "o10"));
        assert!(!starts_with_segments("o1", "o"));
    }

    #[test]
    fn utf16_offsets_refuse_half_a_pair() {
        assert_eq!(utf16_offset("a😀b", 1), Some(1));
        assert_eq!(utf16_offset("a😀b", 2), None);
        assert_eq!(utf16_offset("a😀b", 3), Some(5));
        assert_eq!(utf16_offset("a😀b", 4), Some(6));
        assert_eq!(utf16_offset("a😀b", 5), None);
    }

    #[test]
    fn end_of_input_is_one_beyond_the_text() {
        let range = range_of("true and", 8, 0);
        assert_eq!(range.to_string(), "1:9-1:10");
    }
}
