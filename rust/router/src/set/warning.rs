//! What is allowed in a route but hardly meant.

use std::fmt;

use crate::condition::Verdict;
use crate::error::TextRange;
use crate::lang::lexer::{Kind, Token};
use crate::lang::route::RouteText;
use crate::program::{Op, Program, Routine};
use crate::set::compile::CompiledRoute;
use crate::set::decl::RouteDecl;
use crate::set::source::Pattern;
use crate::text::range_of;

/// An oddity of a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// The route ends at its sink; what follows has no effect.
    #[error("Text after the sink is ignored.")]
    TrailingText,
    /// A condition behind the sink has no effect.
    #[error("WHERE after INTO is ignored: write FROM ... WHERE ... INTO ...")]
    WhereAfterInto,
    /// No message has such a source.
    #[error("No message has the source '{source_path}': '*' works only at the end.")]
    DeadSource {
        /// Source as written.
        source_path: String,
    },
    /// The condition is false or undefined whatever the message.
    #[error(
        "The condition never holds: it is no comparison, or compares with a value that is always undefined."
    )]
    NeverTrue,
    /// The condition looks at the body.
    #[error(
        "$body is looked at only in messages of contentType 'application/json' and contentEncoding 'utf-8', \
         'utf-16' or 'utf-32', and a path that leads nowhere is null, which is greater than any other value."
    )]
    BodyQuery,
    /// `$body` on twin changes, which carry no content type.
    #[error("Twin change notifications carry no content type: a $body condition on them never holds.")]
    BodyOfTwinChange,
    /// `is_null` on a body value.
    #[error("is_null of a body value is true for every value that is there; use '= null' instead.")]
    IsNullOfBody,
    /// Another route of the same priority leads to the same endpoint.
    #[error(
        "Route '{first}' leads to the same endpoint with the same priority and another time to live; where both match, the one declared first counts."
    )]
    SharedEndpoint {
        /// The route declared first.
        first: String,
    },
}

/// A warning about one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteWarning {
    /// Name of the route.
    pub route: String,
    /// Where, within the route text; `None` where the whole route is meant.
    pub range: Option<TextRange>,
    /// What.
    pub warning: Warning,
}

impl fmt::Display for RouteWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route '{}'", self.route)?;
        if let Some(range) = self.range {
            write!(f, " at {range}")?;
        }
        write!(f, ": {}", self.warning)
    }
}

/// Looks at one compiled route.
pub(crate) fn check(
    decl: &RouteDecl,
    text: &RouteText,
    route: &CompiledRoute,
    pattern: &Pattern,
    program: &Program,
    warnings: &mut Vec<RouteWarning>,
) {
    let mut warn = |token: Option<Token>, warning| {
        let range = token.map(|t| range_of(&decl.text, t.start, t.len));
        warnings.push(RouteWarning { route: decl.name.clone(), range, warning });
    };
    match text.trailing {
        Some(token) if token.kind == Kind::Where => warn(Some(token), Warning::WhereAfterInto),
        Some(token) => warn(Some(token), Warning::TrailingText),
        None => {}
    }
    if pattern.is_dead() {
        warn(Some(text.source_at), Warning::DeadSource { source_path: text.source.clone() });
    }
    if route.fixed.is_some_and(|verdict| verdict != Verdict::True) {
        warn(None, Warning::NeverTrue);
    }
    if reads_body(program, route.routine) {
        let twin_only = pattern.matches_only_twin_changes();
        warn(None, if twin_only { Warning::BodyOfTwinChange } else { Warning::BodyQuery });
    }
    if program.routine(route.routine).contains(&Op::IsNullValue) {
        warn(None, Warning::IsNullOfBody);
    }
}

fn reads_body(program: &Program, routine: Routine) -> bool {
    program.routine(routine).iter().filter_map(Op::slot).any(|slot| program.reads_body(slot))
}

/// Looks at the routes together, given by priority and then declaration.
pub(crate) fn check_set(decls: &[RouteDecl], routes: &[CompiledRoute], warnings: &mut Vec<RouteWarning>) {
    let mut first = std::collections::HashMap::new();
    for route in routes {
        let (before, ttl_secs) =
            *first.entry((route.endpoint, route.priority)).or_insert((route.index, route.ttl_secs));
        let names = (decls.get(before as usize), decls.get(route.index as usize));
        if let ((Some(before), Some(decl)), true) = (names, ttl_secs != route.ttl_secs) {
            let warning = Warning::SharedEndpoint { first: before.name.clone() };
            warnings.push(RouteWarning { route: decl.name.clone(), range: None, warning });
        }
    }
}
