//! Rules about source, sink and what is around them; they need no condition.

use std::ops::Range;

use crate::lang::lexer::{Kind, Token};
use crate::lang::route::{RouteText, Sink};
use crate::lint::notes::Notes;
use crate::lint::warning::Warning;
use crate::set::source::Pattern;
use crate::text::fold;

/// Looks at all of a route but its condition.
pub(super) fn check(text: &str, tokens: &[Token], route: &RouteText, notes: &mut Notes<'_>) {
    if let Some(token) = route.trailing {
        let behind_where = token.kind == Kind::Where;
        let warning = if behind_where { Warning::WhereAfterInto } else { Warning::TrailingText };
        notes.warn(token.start..token.end(), warning);
    }
    check_source(text, tokens, route, notes);
    if let Ok(Sink::ModuleInput { module, input }) = &route.sink {
        check_address(text, tokens, module, input, notes);
        if !mentions_sender(text, tokens) && takes_all_of(&route.source, module) {
            notes.warn(source_span(tokens, route.source_at), Warning::OwnMessages { module: module.clone() });
        }
    }
}

/// All tokens of the source, of which `first` is the first.
fn source_span(tokens: &[Token], first: Token) -> Range<usize> {
    let inside = tokens
        .iter()
        .skip_while(|t| t.start < first.start)
        .take_while(|t| !matches!(t.kind, Kind::Where | Kind::Into | Kind::End));
    first.start..inside.last().map_or(first.end(), Token::end)
}

fn check_source(text: &str, tokens: &[Token], route: &RouteText, notes: &mut Notes<'_>) {
    let span = source_span(tokens, route.source_at);
    if let Some(comment) = lost_part(text, tokens) {
        notes.warn(comment, Warning::CommentInSource);
    }
    if Pattern::new(&route.source).is_dead() {
        let source_path = route.source.clone();
        let inside = route.source.trim_end_matches('*').split('/').any(|segment| segment == "*");
        let warning = if inside {
            Warning::WildcardInside { source_path }
        } else {
            Warning::DeadSource { source_path }
        };
        notes.warn(span, warning);
    }
}

/// A comment that was written as a part of the source, as in `/messages/*/outputs/*/`.
fn lost_part(text: &str, tokens: &[Token]) -> Option<Range<usize>> {
    let start = tokens.iter().find(|t| t.kind == Kind::From)?.end();
    let end = tokens.iter().find(|t| matches!(t.kind, Kind::Where | Kind::Into))?.start;
    let around = text.get(start..end)?;
    let open = around.find("/*/")?;
    let close = around.get(open + 2..)?.find("*/")?;
    Some(start + open..start + open + close + 4)
}

/// The address is the only string between `INTO` and the end of the sink.
fn check_address(text: &str, tokens: &[Token], module: &str, input: &str, notes: &mut Notes<'_>) {
    let mut sink = tokens.iter().skip_while(|t| t.kind != Kind::Into);
    let Some(token) = sink.find(|t| t.kind == Kind::Text) else { return };
    let quoted = token.text(text);
    let address = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or("").trim();
    let words: Vec<&str> = address.trim_matches('/').split('/').collect();
    let named = |at: usize, word: &str| words.get(at).is_some_and(|w| w.eq_ignore_ascii_case(word));
    if !(named(0, "modules") && named(2, "inputs")) {
        let warning = Warning::AddressWords { module: module.to_owned(), input: input.to_owned() };
        notes.warn(token.start..token.end(), warning);
    }
}

/// Whether the condition looks at which module sent, or at the output.
fn mentions_sender(text: &str, tokens: &[Token]) -> bool {
    let named = |token: &Token| {
        let name = token.text(text);
        ["$connectionModuleId", "$outputName"].iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    tokens.iter().any(|token| token.kind == Kind::SysProp && named(token))
}

/// Whether the source takes every output of `module`; a route of one output is meant so.
fn takes_all_of(source: &str, module: &str) -> bool {
    let wanted = fold(source.trim_end_matches('*').trim_matches('/'));
    let own = ["messages", "modules", &fold(module), "outputs"].join("/");
    own == wanted || wanted.is_empty() || own.strip_prefix(&wanted).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_take_a_whole_module() {
        for source in ["/*", "/messages/*", "/messages/modules/M", "/messages/modules/m/outputs/*"] {
            assert!(takes_all_of(source, "m"), "{source}");
        }
        for source in ["/messages/modules/m/outputs/o", "/messages/modules/m1/*", "/twinChangeNotifications"]
        {
            assert!(!takes_all_of(source, "m"), "{source}");
        }
    }
}
