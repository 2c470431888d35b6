//! The crate against the plain evaluator in `naive`: on the vectors, and on conditions, messages and
//! route sets made at random.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod naive;

use common::{cases, field, load, message, verdict_letter};
use edgehub_router::{OwnedMessage, RouteDecl};
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
