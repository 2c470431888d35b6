//! The conformance vectors of `tests/vectors/routing`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{cases, field, load, message, verdict_letter};
use edgehub_router::{Condition, Features};

/// Letter of a condition on a message: T, F, U, or E if it does not compile.
fn letter(condition: &str, features: Features, msg: &edgehub_router::OwnedMessage) -> &'static str {
    match Condition::compile(condition, features) {
        Ok(compiled) => verdict_letter(compiled.evaluate(msg)),
        Err(_) => "E",
    }
}

#[test]
fn conditions() {
    let vectors = load("conditions.json");
    let mut wrong = Vec::new();
    for case in cases(&vectors) {
        let fixture = field(case, "fixture");
        let msg = message(&vectors["fixtures"][fixture]);
        let features = Features { twin_change_includes: fixture == "T" };
        let expect = case["here"].as_str().unwrap_or_else(|| field(case, "expect"));
        let got = letter(field(case, "condition"), features, &msg);
        if got != expect {
            wrong.push(format!("{fixture} {expect} got {got}: {}", field(case, "condition")));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases(&vectors).len() >= 613);
}

#[test]
fn bodies() {
    let vectors = load("bodies.json");
    let mut wrong = Vec::new();
    for case in cases(&vectors) {
        let msg = message(case);
        let expect = field(case, "expect");
        let got = letter(field(case, "condition"), Features::default(), &msg);
        if got != expect {
            wrong.push(format!("row {}: {expect} got {got}: {}", case["row"], field(case, "condition")));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases(&vectors).len() >= 67);
}
