//! The crate against the plain evaluator in `naive`: on the vectors, and on conditions, messages and
//! route sets made at random.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod generate;
mod naive;

use common::{cases, field, load, message, verdict_letter};
use edgehub_router::{Condition, Decisions, Features, OwnedMessage, RouteDecl, RouteSet, Verdict};
use generate::messages::{self, Shown};
use generate::{conditions, routes};
use naive::Delivery;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;

/// Letter of a condition as the oracle sees it.
fn letter(condition: &str, twin_change_includes: bool, msg: &OwnedMessage) -> &'static str {
    match naive::Condition::compile(condition, twin_change_includes) {
        Ok(compiled) => verdict_letter(compiled.verdict(msg)),
        Err(_) => "E",
    }
}

#[test]
fn the_oracle_knows_the_conditions() {
    let vectors = load("conditions.json");
    let mut wrong = Vec::new();
    for case in cases(&vectors) {
        let fixture = field(case, "fixture");
        let msg = message(&vectors["fixtures"][fixture]);
        let expect = case["here"].as_str().unwrap_or_else(|| field(case, "expect"));
        let got = letter(field(case, "condition"), fixture == "T", &msg);
        if got != expect {
            wrong.push(format!("{fixture} {expect} got {got}: {}", field(case, "condition")));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Rows whose bodies are not strict JSON, which the oracle does not read.
const LENIENT_ROWS: [u64; 7] = [16, 17, 18, 19, 21, 23, 24];

#[test]
fn the_oracle_knows_the_bodies() {
    let vectors = load("bodies.json");
    for case in cases(&vectors) {
        if LENIENT_ROWS.contains(&case["row"].as_u64().unwrap()) {
            continue;
        }
        let got = letter(field(case, "condition"), false, &message(case));
        assert_eq!(got, field(case, "expect"), "{case}");
    }
}

#[test]
fn the_oracle_knows_the_routes() {
    for case in cases(&load("routes.json")) {
        let route = naive::Route::compile("edge", &RouteDecl::new("r", field(case, "route")));
        assert_eq!(route.is_ok(), field(case, "expect") == "ok", "{case}: {route:?}");
    }
}

#[test]
fn the_oracle_knows_the_sources() {
    let sources = [
        ("device", "/messages/"),
        ("module", "/messages/modules/m1/"),
        ("output", "/messages/modules/m1/outputs/o1/"),
        ("twinChange", "/twinChangeNotifications/"),
    ];
    for case in cases(&load("sources.json")) {
        for (name, source) in sources {
            let got = naive::source_matches(field(case, "source"), source);
            assert_eq!(Value::from(got), case[name], "{case} {name}");
        }
    }
}

fn decl(case: &Value) -> RouteDecl {
    let number = |name: &str| case[name].as_u64().map(|n| u32::try_from(n).unwrap());
    RouteDecl {
        priority: number("priority"),
        ttl_secs: number("ttlSecs").unwrap_or(0),
        ..RouteDecl::new(field(case, "name"), field(case, "text"))
    }
}

#[test]
fn the_oracle_knows_the_deliveries() {
    let msg =
        OwnedMessage { application: vec![("kind".into(), Some("a".into()))], ..OwnedMessage::default() };
    for case in cases(&load("deliveries.json")) {
        let decls: Vec<RouteDecl> = case["routes"].as_array().unwrap().iter().map(decl).collect();
        let compiled: Result<Vec<_>, _> =
            decls.iter().map(|decl| naive::Route::compile("edge", decl)).collect();
        let told = naive::deliver(&compiled.unwrap(), "/messages/", &msg);
        let got: Vec<Value> = told
            .iter()
            .map(|d| {
                let route = &decls[d.route_index].name;
                serde_json::json!({"endpoint": d.endpoint, "priority": d.priority, "ttlSecs": d.ttl_secs, "route": route})
            })
            .collect();
        assert_eq!(Value::from(got), case["expect"], "{}", case["name"]);
    }
}

/// Cases to try: what `PROPTEST_CASES` asks for, or else `cases`.
fn config(cases: u32) -> ProptestConfig {
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return ProptestConfig::default();
    }
    ProptestConfig::with_cases(cases)
}

/// The verdict on each message, or none if the condition does not compile.
fn verdicts(text: &str, msgs: &[Shown]) -> Option<Vec<Verdict>> {
    let condition = Condition::compile(text, Features::default()).ok()?;
    Some(msgs.iter().map(|msg| condition.evaluate(&msg.0)).collect())
}

fn expected_verdicts(text: &str, msgs: &[Shown]) -> Result<Vec<Verdict>, String> {
    let condition = naive::Condition::compile(text, false)?;
    Ok(msgs.iter().map(|msg| condition.verdict(&msg.0)).collect())
}

/// What the set says, told like the oracle.
fn delivered(set: &RouteSet, decisions: &Decisions) -> Vec<Delivery> {
    let delivery = |decision: &edgehub_router::Decision| Delivery {
        endpoint: set.endpoints()[decision.endpoint_index as usize].id.clone(),
        priority: decision.priority,
        ttl_secs: decision.ttl_secs,
        route_index: decision.route_index as usize,
    };
    decisions.iter().map(delivery).collect()
}

/// Routes for both; those that the oracle refuses, the crate must refuse too.
fn compiled(decls: &[RouteDecl]) -> Result<(RouteSet, Vec<naive::Route>), TestCaseError> {
    let mut good = Vec::new();
    let mut routes = Vec::new();
    for decl in decls {
        let refused = RouteSet::compile("edge", std::slice::from_ref(decl)).err();
        match (naive::Route::compile("edge", decl), refused) {
            (Ok(route), None) => {
                good.push(decl.clone());
                routes.push(route);
            }
            (Err(_), Some(_)) => {}
            (Ok(_), Some(errors)) => prop_assert!(false, "refused: {}", errors[0]),
            (Err(why), None) => prop_assert!(false, "accepted: {}: {why}", decl.text),
        }
    }
    match RouteSet::compile("edge", &good) {
        Ok(set) => Ok((set, routes)),
        Err(errors) => Err(TestCaseError::fail(format!("good alone, not together: {}", errors[0]))),
    }
}

proptest! {
    #![proptest_config(config(3000))]

    #[test]
    fn conditions_agree(text in conditions::condition(), msgs in prop::collection::vec(messages::message(), 1..4)) {
        let expected = expected_verdicts(&text, &msgs);
        let got = verdicts(&text, &msgs);
        prop_assert_eq!(got, expected.clone().ok(), "{}: {:?}", text, expected);
    }

    #[test]
    fn words_agree(text in conditions::words(), msg in messages::message()) {
        let expected = expected_verdicts(&text, std::slice::from_ref(&msg));
        let got = verdicts(&text, std::slice::from_ref(&msg));
        prop_assert_eq!(got, expected.clone().ok(), "{}: {:?}", text, expected);
    }
}

proptest! {
    #![proptest_config(config(400))]

    /// One buffer serves several sets and many messages in turn.
    #[test]
    fn route_sets_agree(
        sets in prop::collection::vec(routes::routes(), 1..4),
        msgs in prop::collection::vec((messages::message(), prop::sample::select(routes::MESSAGE_SOURCES.to_vec())), 1..8),
    ) {
        let sets: Result<Vec<_>, _> = sets.iter().map(|decls| compiled(&decls.0)).collect();
        let mut decisions = Decisions::new();
        for (msg, (source, source_text)) in &msgs {
            for (set, routes) in sets.as_ref().map_err(Clone::clone)? {
                set.evaluate(*source, &msg.0, &mut decisions);
                let expected = naive::deliver(routes, source_text, &msg.0);
                prop_assert_eq!(delivered(set, &decisions), expected, "from {}", source_text);
                let told = set.explain(*source, &msg.0).routes.into_iter().map(|route| route.verdict);
                let expected: Vec<_> = routes.iter().map(|route| route.verdict(source_text, &msg.0)).collect();
                prop_assert_eq!(told.collect::<Vec<_>>(), expected, "from {}", source_text);
            }
        }
    }
}

/// What the strategies make is worth comparing: most conditions compile, and all verdicts come up.
#[test]
fn most_conditions_made_at_random_compile() {
    let mut runner = TestRunner::deterministic();
    let strategy = (conditions::condition(), messages::message());
    let mut counts = [0; 4];
    for _ in 0..2000 {
        let (text, msg) = strategy.new_tree(&mut runner).unwrap().current();
        let verdict = verdicts(&text, std::slice::from_ref(&msg)).map(|verdicts| verdicts[0]);
        let place = match verdict {
            Some(Verdict::True) => 0,
            Some(Verdict::False) => 1,
            Some(Verdict::Undefined) => 2,
            None => 3,
        };
        counts[place] += 1;
    }
    assert!((100..800).contains(&counts[3]), "{counts:?}");
    assert!(counts[..3].iter().all(|count| *count >= 200), "{counts:?}");
}
