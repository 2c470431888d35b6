//! Warnings of one route while they are gathered.

use std::ops::Range;

use crate::error::{Position, TextRange};
use crate::lint::warning::{RouteWarning, Warning};
use crate::set::decl::RouteDecl;
use crate::text::utf16_len;

/// Warnings told of one route; what is beyond is found when these are mended.
pub const WARNINGS_MAX: usize = 100;

/// The warnings of one route so far.
#[derive(Debug)]
pub(super) struct Notes<'d> {
    decl: &'d RouteDecl,
    warnings: Vec<RouteWarning>,
}

impl<'d> Notes<'d> {
    pub(super) fn new(decl: &'d RouteDecl) -> Self {
        Notes { decl, warnings: Vec::new() }
    }

    /// Warns of the bytes `span` of the route text; dropped beyond [`WARNINGS_MAX`].
    pub(super) fn warn(&mut self, span: Range<usize>, warning: Warning) {
        if self.warnings.len() < WARNINGS_MAX {
            let range = TextRange { start: self.position(span.start), end: self.position(span.end) };
            self.warnings.push(RouteWarning { route: self.decl.name.clone(), range, warning });
        }
    }

    /// Warns of the whole route.
    pub(super) fn warn_whole(&mut self, warning: Warning) {
        self.warn(0..self.decl.text.len(), warning);
    }

    fn position(&self, at: usize) -> Position {
        let before = self.decl.text.get(..at).unwrap_or(&self.decl.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = utf16_len(before.get(line_start..).unwrap_or("")) + 1;
        Position { line: line as u32, column: column as u32 }
    }

    /// The warnings, by place.
    pub(super) fn sorted(mut self) -> Vec<RouteWarning> {
        self.warnings.sort_by_key(|warning| (warning.range.start, warning.range.end));
        self.warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_utf16() {
        let decl = RouteDecl::new("r", "FROM\n '😀' x");
        let mut notes = Notes::new(&decl);
        notes.warn(13..14, Warning::NeverTrue);
        notes.warn_whole(Warning::AlwaysTrue);
        let ranges: Vec<String> = notes.sorted().iter().map(|w| w.range.to_string()).collect();
        assert_eq!(ranges, ["1:1-2:8", "2:7-2:8"]);
    }

    #[test]
    fn warnings_have_a_limit() {
        let decl = RouteDecl::new("r", "x");
        let mut notes = Notes::new(&decl);
        (0..200).for_each(|_| notes.warn_whole(Warning::NeverTrue));
        assert_eq!(notes.sorted().len(), WARNINGS_MAX);
    }
}
