//! The routes of the scenarios.

use edgehub_router::{RouteDecl, RouteSet};

/// Properties that text clauses ask for, by turns.
const NAMES: [&str; 4] = ["machine", "line", "site", "kind"];

/// Body paths to a text, and to a number.
const TEXT_PATHS: [&str; 5] = ["machine.id", "machine.line.site", "state", "shift", "tool.id"];
const NUMBER_PATHS: [&str; 5] = ["machine.line.no", "temperature", "pressure", "cycle", "alarms[1]"];

/// What a condition looks like; `i` is the number of the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// No condition.
    Always,
    /// `as_number(temperature) > k AND <name> = 'x<i>'`: the first clause holds, so both count.
    TwoClauses,
    /// `as_number(temperature) > k`, with a `k` of its own for each route: half of them hold.
    OneNumber,
    /// `kind = 'k<i>'`.
    Kind,
    /// `as_number(temperature) > k OR <name> = 'x<i>'`: the first clause fails, so both count.
    Either,
    /// The same two clauses in every route, which hold.
    Identical,
    /// One comparison with a body path, ten paths by turns.
    Body,
    /// A number property, and a body path, four paths by turns.
    PropertyAndBody,
}

impl Shape {
    /// The condition of route `i`.
    pub fn condition(self, i: usize) -> String {
        let name = NAMES.get(i % NAMES.len()).copied().unwrap_or_default();
        match self {
            Shape::Always => "true".to_owned(),
            Shape::TwoClauses => format!("as_number(temperature) > {} AND {name} = 'x{i}'", i % 30),
            Shape::OneNumber => format!("as_number(temperature) > {i}"),
            Shape::Kind => format!("kind = 'k{i}'"),
            Shape::Either => format!("as_number(temperature) > {} OR {name} = 'x{i}'", 100 + i),
            Shape::Identical => "as_number(temperature) > 10 AND site = 'north'".to_owned(),
            Shape::Body => body_clause(i),
            Shape::PropertyAndBody => {
                format!("as_number(temperature) > {} AND $body.{} = 'x{i}'", i % 30, path(&TEXT_PATHS, i))
            }
        }
    }
}

fn path(paths: &[&'static str], i: usize) -> &'static str {
    paths.get(i % paths.len()).copied().unwrap_or_default()
}

/// Text and number paths by turns; the first is `machine.id`.
fn body_clause(i: usize) -> String {
    if i.is_multiple_of(2) {
        format!("$body.{} = 'x{i}'", path(&TEXT_PATHS, i / 2))
    } else {
        format!("$body.{} = {i}", path(&NUMBER_PATHS, i / 2))
    }
}

/// Declares `count` routes from `sources` modules by turns (0: from all telemetry), each to an
/// endpoint of its own.
pub fn declare(shape: Shape, count: usize, sources: usize) -> Vec<RouteDecl> {
    let route = |i: usize| {
        let from = match i.checked_rem(sources) {
            None => "/messages/*".to_owned(),
            Some(module) => format!("/messages/modules/source{module}/*"),
        };
        let condition = match i.checked_div(sources) {
            None => shape.condition(i),
            Some(nth) => shape.condition(nth),
        };
        let text =
            format!("FROM {from} WHERE {condition} INTO BrokeredEndpoint(\"/modules/m{i}/inputs/in\")");
        RouteDecl::new(format!("r{i}"), text)
    };
    (0..count).map(route).collect()
}

/// Compiles them.
///
/// # Panics
/// If one of these routes is wrong, which is a mistake in this file.
#[allow(clippy::expect_used, reason = "the routes are this crate's own")]
pub fn compile(decls: &[RouteDecl]) -> RouteSet {
    RouteSet::compile("edge", decls).expect("the routes are right")
}
