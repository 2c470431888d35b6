//! The sets of routes that a run changes between, and by hand where each leads.

use edgehub_router::RouteDecl;

/// Inputs of the consumer.
pub const INPUTS: [&str; 2] = ["i1", "i2"];
pub const DEFAULT_TTL_SECS: u64 = 7200;

/// Where a message of one kind goes: an input by its place in [`INPUTS`], and how long it may wait there, seconds.
type Ways = &'static [(usize, u64)];

struct Set {
    /// Name, text, priority, own time to live.
    routes: &'static [(&'static str, &'static str, u32, u32)],
    /// By kind of message.
    ways: [Ways; 2],
}

const A_TO_1: &str = r#"FROM /messages/* WHERE k = 'a' INTO BrokeredEndpoint("/modules/m/inputs/i1")"#;
const A_TO_2: &str = r#"FROM /messages/* WHERE k = 'a' INTO BrokeredEndpoint("/modules/m/inputs/i2")"#;
const B_TO_1: &str = r#"FROM /messages/* WHERE k = 'b' INTO BrokeredEndpoint("/modules/m/inputs/i1")"#;
const B_TO_2: &str = r#"FROM /messages/* WHERE k = 'b' INTO BrokeredEndpoint("/modules/m/inputs/i2")"#;

/// Each kind has the same priority everywhere: messages of one sender and kind keep their order at an input.
const SETS: [Set; SETS_MAX] = [
    Set {
        routes: &[("a", A_TO_1, 0, 0), ("b", B_TO_1, 1, 0)],
        ways: [&[(0, DEFAULT_TTL_SECS)], &[(0, DEFAULT_TTL_SECS)]],
    },
    Set { routes: &[("a", A_TO_1, 0, 3), ("b", B_TO_2, 1, 0)], ways: [&[(0, 3)], &[(1, DEFAULT_TTL_SECS)]] },
    Set {
        routes: &[("a1", A_TO_1, 0, 0), ("a2", A_TO_2, 0, 20)],
        ways: [&[(0, DEFAULT_TTL_SECS), (1, 20)], &[]],
    },
    Set { routes: &[], ways: [&[], &[]] },
];

/// How many sets there are.
pub const SETS_MAX: usize = 4;

/// The set as it is declared.
pub fn declared(set: usize) -> Vec<RouteDecl> {
    let declare = |&(name, text, priority, ttl_secs): &(&str, &str, u32, u32)| RouteDecl {
        priority: Some(priority),
        ttl_secs,
        ..RouteDecl::new(name, text)
    };
    SETS[set].routes.iter().map(declare).collect()
}

/// How long a message of this kind may wait at an input, seconds; `None` when it does not go there.
pub fn ttl_secs(set: usize, kind: usize, input: usize) -> Option<u64> {
    SETS[set].ways[kind].iter().find(|(to, _)| *to == input).map(|(_, secs)| *secs)
}

/// Whether a route leads to the input.
pub fn is_used(set: usize, input: usize) -> bool {
    (0..2).any(|kind| ttl_secs(set, kind, input).is_some())
}
