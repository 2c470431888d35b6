//! Any text is a route, or is refused with errors that point into it; what compiles also evaluates,
//! and its explanation comes to the same.
#![no_main]

use edgehub_router::{Condition, Decisions, Features, OwnedMessage, RouteDecl, RouteSet, Source, Verdict};
use libfuzzer_sys::fuzz_target;

fn message() -> OwnedMessage {
    let text = |key: &str, text: &str| (key.to_owned(), Some(text.to_owned()));
    OwnedMessage {
        application: vec![text("a", "1.5"), text("b", "é😀x"), ("nil".to_owned(), None)],
        system: vec![text("contentType", "application/json"), text("contentEncoding", "utf-8")],
        body: br#"{"a":{"b":[1,"two",null,true]},"c":"2020-01-01T00:00:00Z"}"#.to_vec(),
    }
}

fn check_condition(text: &str, msg: &OwnedMessage) {
    match Condition::compile(text, Features { twin_change_includes: true }) {
        Ok(condition) => {
            condition.evaluate(msg);
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            let lines = text.split('\n').count() as u32;
            for error in errors {
                assert!(error.range.start < error.range.end && error.range.end.line <= lines, "{error}");
                assert!(!error.problem.to_string().is_empty());
            }
        }
    }
}

fn check_route(text: &str, msg: &OwnedMessage) {
    let Ok(set) = RouteSet::compile("edge", &[RouteDecl::new("r", text)]) else { return };
    let source = Source::Module { module: "m", output: Some("o") };
    let mut decisions = Decisions::new();
    set.evaluate(source, msg, &mut decisions);
    let why = set.explain(source, msg);
    assert_eq!(why.routes[0].verdict == Some(Verdict::True), !decisions.is_empty(), "{text}");
}

fuzz_target!(|text: &str| {
    let msg = message();
    check_condition(text, &msg);
    check_route(text, &msg);
    check_route(&format!("FROM /messages WHERE {text} INTO $upstream"), &msg);
});
