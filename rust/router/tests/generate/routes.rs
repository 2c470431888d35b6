//! Sets of routes with much in common: sources, endpoints, conditions and parts of conditions.

use edgehub_router::{RouteDecl, Source};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::conditions::{condition, small_condition};

const SOURCES: [&str; 14] = [
    "/*",
    "/messages",
    "/messages/*",
    "/MESSAGES/**",
    "/messages/modules/*",
    "/messages/modules/m1",
    "/messages/modules/M1/*",
    "/messages/modules/m1/outputs/*",
    "/messages/modules/m1/outputs/o1",
    "/messages/modules/m2*",
    "/messages/modules/*/outputs/*",
    "/ messages / modules / m1",
    "/twinChangeNotifications",
    "/foo",
];

const SINKS: [&str; 6] = [
    "$upstream",
    "$UPSTREAM",
    "BrokeredEndpoint('/modules/m1/inputs/i')",
    "BrokeredEndpoint(\"modules/m1/inputs/i\")",
    "BrokeredEndpoint('/modules/M1/inputs/i')",
    "BrokeredEndpoint(\"/modules/m1/inputs/j\")",
];

/// A message's source, for the crate and as text.
pub const MESSAGE_SOURCES: [(Source<'static>, &str); 9] = [
    (Source::Device, "/messages/"),
    (Source::TwinChange, "/twinChangeNotifications/"),
    (Source::Module { module: "m1", output: None }, "/messages/modules/m1/"),
    (Source::Module { module: "M1", output: None }, "/messages/modules/M1/"),
    (Source::Module { module: "m10", output: None }, "/messages/modules/m10/"),
    (Source::Module { module: "m1", output: Some("o1") }, "/messages/modules/m1/outputs/o1/"),
    (Source::Module { module: "m1", output: Some("O1") }, "/messages/modules/m1/outputs/O1/"),
    (Source::Module { module: "m1", output: Some("o1/x") }, "/messages/modules/m1/outputs/o1/x/"),
    (Source::Module { module: "m2", output: Some("o2") }, "/messages/modules/m2/outputs/o2/"),
];

/// Declarations that show themselves one a line.
#[derive(Clone)]
pub struct Shown(pub Vec<RouteDecl>);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line = |decl: &RouteDecl| {
            format!("{} ttl {} {:?}: {}", decl.name, decl.ttl_secs, decl.priority, decl.text)
        };
        f.write_str(&self.0.iter().map(line).collect::<Vec<_>>().join("\n"))
    }
}

/// How a route's condition is made of the conditions that the set shares.
#[derive(Debug, Clone)]
enum Filter {
    None,
    Shared(Index),
    Both(&'static str, Index, Index),
    Not(Index),
    /// The first so many of them, joined.
    Prefix(&'static str, Index),
    /// A property against one of few constants.
    Equality(&'static str, &'static str, &'static str),
    /// An equality and a shared condition.
    EqualityAnd(&'static str, &'static str, Index),
}

fn filter() -> impl Strategy<Value = Filter> {
    let joint = || select(vec!["AND", "OR"]);
    let name = || select(vec!["kind", "Kind", "color", "$sysA", "{$sysA}", "$dup", "$body.a", "$body.b"]);
    let constant = || select(vec!["'a'", "'b'", "\"a\"", "'red'", "''", "'é'"]);
    let index = any::<Index>;
    prop_oneof![
        1 => Just(Filter::None),
        2 => index().prop_map(Filter::Shared),
        2 => (joint(), index(), index()).prop_map(|(joint, a, b)| Filter::Both(joint, a, b)),
        1 => index().prop_map(Filter::Not),
        2 => (joint(), index()).prop_map(|(joint, count)| Filter::Prefix(joint, count)),
        4 => (name(), select(vec!["=", "=", "=", "<>"]), constant()).prop_map(|(n, op, c)| Filter::Equality(n, op, c)),
        2 => (name(), constant(), index()).prop_map(|(n, c, i)| Filter::EqualityAnd(n, c, i)),
    ]
}

fn where_text(filter: &Filter, shared: &[String]) -> Option<String> {
    let pick = |index: &Index| index.get(shared).as_str();
    Some(match filter {
        Filter::None => return None,
        Filter::Shared(index) => pick(index).to_owned(),
        Filter::Both(joint, a, b) => format!("({}) {joint} ({})", pick(a), pick(b)),
        Filter::Not(index) => format!("NOT ({})", pick(index)),
        Filter::Prefix(joint, count) => {
            let parts: Vec<String> =
                shared[..=count.index(shared.len())].iter().map(|c| format!("({c})")).collect();
            parts.join(&format!(" {joint} "))
        }
        Filter::Equality(name, operator, constant) => format!("{name} {operator} {constant}"),
        Filter::EqualityAnd(name, constant, index) => format!("{name} = {constant} AND ({})", pick(index)),
    })
}

/// Route declarations; most, but not all, compile.
pub fn routes() -> impl Strategy<Value = Shown> {
    let shared =
        prop::collection::vec(prop_oneof![3 => small_condition().boxed(), 1 => condition().boxed()], 1..8);
    let priority = prop_oneof![2 => Just(None), 1 => (0..4_u32).prop_map(Some)];
    let route = (select(SOURCES.to_vec()), filter(), select(SINKS.to_vec()), priority, 0..3_u32);
    (shared, prop::collection::vec(route, 2..40)).prop_map(|(shared, routes)| {
        let decl = |(index, (source, filter, sink, priority, ttl_secs)): (usize, &(_, Filter, _, _, u32))| {
            let condition =
                where_text(filter, &shared).map_or(String::new(), |text| format!("WHERE {text} "));
            let text = format!("FROM {source} {condition}INTO {sink}");
            RouteDecl {
                priority: *priority,
                ttl_secs: *ttl_secs,
                ..RouteDecl::new(format!("r{index}"), text)
            }
        };
        Shown(routes.iter().enumerate().map(decl).collect())
    })
}
