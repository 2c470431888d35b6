//! What a `$name` refers to (routing section 6.2).

use crate::body::{Step, parse_path};
use crate::lang::types::Type;
use crate::text::fold;

const BODY_PREFIX: &str = "$body.";

/// Where the value of a `$name` comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// System property, lower-cased.
    System(String),
    /// Path in the body.
    Body(Vec<Step>),
    /// Nowhere: no property has such a name.
    Nowhere,
}

/// A resolved `$name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Application property that goes first, lower-cased with its `$`.
    pub(crate) application: Option<String>,
    pub(crate) source: Source,
    /// What is wrong with it as a body path.
    pub(crate) error: Option<String>,
}

impl Reference {
    /// Static type of the reference.
    pub(crate) fn ty(&self) -> Type {
        match (&self.source, &self.application) {
            (Source::Body(_), _) => Type::Value,
            (Source::Nowhere, None) => Type::Undefined,
            _ => Type::Text,
        }
    }
}

/// Resolves the token `$name`; `only_system` is the form in braces, which no application property
/// hides. A bad body path is treated as the name of a system property, beside its error.
pub(crate) fn resolve(token: &str, only_system: bool) -> Reference {
    let bracketed = token.contains(['[', ']']);
    let application = (!only_system && !bracketed).then(|| fold(token));
    if is_body(token) {
        return match body_path(token.get(BODY_PREFIX.len()..).unwrap_or("")) {
            Ok(steps) => Reference { application, source: Source::Body(steps), error: None },
            Err(error) => Reference { application, source: Source::Nowhere, error: Some(error) },
        };
    }
    let source = if bracketed { Source::Nowhere } else { Source::System(fold(token.get(1..).unwrap_or(""))) };
    Reference { application, source, error: None }
}

/// Whether the token is a path in the body.
pub(crate) fn is_body(token: &str) -> bool {
    token.get(..BODY_PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(BODY_PREFIX))
}

fn body_path(path: &str) -> Result<Vec<Step>, String> {
    if path.is_empty() {
        return Err("$body query cannot be empty".to_owned());
    }
    parse_path(path).map_err(|e| format!("Error in $body query. {}", path_error(path, e.at, e.message)))
}

/// Message of a path error with its place, counted in the path alone.
pub(crate) fn path_error(path: &str, at: usize, message: &str) -> String {
    let len = path.get(at..).and_then(|r| r.chars().next()).map_or(0, char::len_utf8);
    let range = crate::text::range_of(path, at, len);
    format!("Message: {message}, Location: ({}, {})", range.start, range.end)
}

/// Path that `twin_change_includes` takes: below reported or desired properties or tags.
pub(crate) fn twin_path(path: &str) -> Result<Vec<Step>, String> {
    const PREFIXES: [&str; 3] = ["properties.reported.", "properties.desired.", "tags."];
    let starts = |prefix: &&str| path.get(..prefix.len()).is_some_and(|p| p.eq_ignore_ascii_case(prefix));
    if !PREFIXES.iter().any(starts) {
        return Err("Path must start with properties.reported., properties.desired. or tags.".to_owned());
    }
    parse_path(path).map_err(|e| path_error(path, e.at, e.message))
}
