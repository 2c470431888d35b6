//! Explanations as text for a terminal.

use std::fmt;

use crate::body::BodyState;
use crate::explain::{number_text, verdict_name};
use crate::set::decl::PRIORITY_DEFAULT;
use crate::set::explain::{Explanation, Outcome, Part, RouteExplanation, Value};

/// Characters of a condition or of a value that one line shows; the rest is cut off.
const SHOWN_CHARS_MAX: usize = 60;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "message from {}", visible(&self.source))?;
        writeln!(f, "  body: {}", body_text(self.body))?;
        self.write_deliveries(f)?;
        for route in &self.routes {
            writeln!(f)?;
            self.write_route(route, f)?;
        }
        Ok(())
    }
}

impl Explanation {
    fn write_deliveries(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.decisions.is_empty() {
            return writeln!(f, "  goes nowhere: no route takes it");
        }
        writeln!(f, "  goes to:")?;
        let chosen = self.decisions.iter().filter_map(|d| self.routes.get(d.route_index as usize));
        let rows: Vec<(String, &RouteExplanation)> = chosen.map(|r| (visible(&r.endpoint), r)).collect();
        let width = rows.iter().map(|(id, _)| id.chars().count()).max().unwrap_or(0);
        for (id, route) in rows {
            let (name, rank) = (visible(&route.name), rank_text(route));
            writeln!(f, "    {id:width$}  by route '{name}', {rank}")?;
        }
        Ok(())
    }

    fn write_route(&self, route: &RouteExplanation, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "route '{}': {}", visible(&route.name), self.outcome_text(route))?;
        let matched = if route.source_matches() { "matches" } else { "does not match" };
        writeln!(f, "  source:    {} ({matched})", visible(&route.source))?;
        writeln!(f, "  endpoint:  {}, {}", visible(&route.endpoint), rank_text(route))?;
        match route.verdict {
            Some(_) if route.parts.is_empty() => writeln!(f, "  condition: none, takes every message"),
            Some(verdict) => {
                writeln!(f, "  condition: {}", verdict_name(verdict))?;
                write_parts(route, f)
            }
            None => writeln!(f, "  condition: not looked at"),
        }
    }

    fn outcome_text(&self, route: &RouteExplanation) -> String {
        match route.outcome {
            Outcome::Chosen => "chosen".to_owned(),
            Outcome::NoMatch => "no match, the condition does not hold".to_owned(),
            Outcome::OtherSource => "no match, the source is another".to_owned(),
            Outcome::Outranked { by } => {
                format!("matches, but route '{}' to the same endpoint goes first", visible(self.name_at(by)))
            }
        }
    }
}

/// The parts from the whole condition inwards, each below and right of what it is part of; literals
/// are left out, as their value is their text.
fn write_parts(route: &RouteExplanation, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut parts: Vec<(usize, &Part)> = route.parts.iter().enumerate().collect();
    parts.sort_by_key(|(_, part)| (part.range.start, part.depth));
    let shown = |(index, part): (usize, &Part)| {
        let line = format!("{:1$}{2}", "", 2 * part.depth as usize, clipped(&part.text));
        let counts = !part.chained && (!part.literal || part.depth == 0);
        counts.then(|| (line, value_text(&part.value), index))
    };
    let rows: Vec<(String, String, usize)> = parts.into_iter().filter_map(shown).collect();
    let width = rows.iter().map(|(line, ..)| line.chars().count()).max().unwrap_or(0);
    for (line, value, index) in rows {
        let mark = if route.deciding == Some(index) { "   <-- decides" } else { "" };
        writeln!(f, "    {line:width$}  {value}{mark}")?;
    }
    Ok(())
}

fn rank_text(route: &RouteExplanation) -> String {
    let priority = match route.priority {
        PRIORITY_DEFAULT => "default priority".to_owned(),
        priority => format!("priority {priority}"),
    };
    match route.ttl_secs {
        0 => format!("{priority}, time to live of the hub"),
        secs => format!("{priority}, time to live {secs} s"),
    }
}

fn body_text(body: BodyState) -> &'static str {
    match body {
        BodyState::Unread => "not looked at",
        BodyState::ContentType => "not looked at, contentType is not application/json",
        BodyState::ContentEncoding => "not looked at, contentEncoding is not utf-8, utf-16 or utf-32",
        BodyState::Malformed => "not one JSON object",
        BodyState::Read => "read as JSON",
    }
}

fn value_text(value: &Value) -> String {
    match value {
        Value::Undefined => "undefined".to_owned(),
        Value::Null => "null".to_owned(),
        Value::MissingPath => "null (no such path in the body)".to_owned(),
        Value::NullProperty => "null (a property without a text)".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number_text(*number),
        Value::Text(text) => format!("\"{}\"", clipped(&text.replace('\\', "\\\\").replace('"', "\\\""))),
    }
}

/// One line of at most [`SHOWN_CHARS_MAX`] characters.
fn clipped(text: &str) -> String {
    let mut shown = visible(text);
    if let Some((end, _)) = shown.char_indices().nth(SHOWN_CHARS_MAX) {
        shown.truncate(end);
        shown.push_str("...");
    }
    shown
}

/// The text with what a terminal would act upon written as an escape: a message is not to move the
/// cursor of who looks at it.
fn visible(text: &str) -> String {
    let acts = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}
