//! Laws of conditions, and texts made at random: each is taken, or refused with a place in it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod generate;

use edgehub_router::{Condition, Features, OwnedMessage, RouteDecl, RouteSet, Verdict, fold, names_equal};
use generate::conditions;
use generate::messages::{self, Shown};
use proptest::prelude::*;

fn message() -> OwnedMessage {
    OwnedMessage { application: vec![("a".into(), Some("1".into()))], ..OwnedMessage::default() }
}

/// The verdict; none if the condition does not compile.
fn verdict(text: &str, msg: &Shown) -> Option<Verdict> {
    Some(Condition::compile(text, Features::default()).ok()?.evaluate(&msg.0))
}

/// A condition that is a bool also where it was a value of the body.
fn truth() -> impl Strategy<Value = String> {
    // As a route: a condition alone ends at a `)` too many, and what follows is ignored.
    let route = |text: &String| RouteDecl::new("r", format!("FROM /* WHERE {text} INTO $upstream"));
    let compiles = move |text: &String| RouteSet::compile("edge", &[route(text)]).is_ok();
    conditions::condition()
        .prop_map(|condition| format!("(({condition}) = true)"))
        .prop_filter("does not compile", compiles)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn logic_is_kleene(a in truth(), b in truth(), msg in messages::message()) {
        let same = |left: String, right: String| {
            prop_assert_eq!(verdict(&left, &msg), verdict(&right, &msg), "{} against {}", left, right);
            Ok(())
        };
        prop_assert!(verdict(&a, &msg).is_some());
        same(format!("not ({a} and {b})"), format!("(not {a}) or (not {b})"))?;
        same(format!("{a} and {b}"), format!("{b} and {a}"))?;
        same(format!("{a} or ({a} and {b})"), a.clone())?;
        same(format!("not not {a}"), a.clone())?;
    }

    #[test]
    fn any_text_is_taken_or_refused(text in r"[ -~äé😀\t\n]{0,60}") {
        if let Ok(condition) = Condition::compile(&text, Features { twin_change_includes: true }) {
            condition.evaluate(&message());
        }
        let _ = RouteSet::compile("edge", &[RouteDecl::new("r", text)]);
    }

    #[test]
    fn any_words_are_taken_or_refused(words in prop::collection::vec(prop::sample::select(vec![
        "FROM", "/messages", "/*", "WHERE", "INTO", "$upstream", "(", ")", "and", "OR", "not", "-", "+", "=", "<>",
        "??", "||", "1", "'a'", "\"b", "a", "$a", "{", "}", "$body.a[0]", "$body..", "null", "undefined", "true",
        "upper", "concat(", ",", "is_null(", "@", ";", "/*c*/", "0x1F", "e5",
    ]), 0..24), glue in prop::bool::ANY) {
        let text = words.join(if glue { "" } else { " " });
        if let Err(errors) = Condition::compile(&text, Features::default()) {
            for error in errors {
                prop_assert!(error.range.start < error.range.end, "{}: {}", text, error);
            }
        }
        let _ = RouteSet::compile("edge", &[RouteDecl::new("r", text)]);
    }

    #[test]
    fn names_match_without_regard_to_case(name in "[a-zA-Z0-9_.éÉäÄ-]{1,12}") {
        prop_assert!(names_equal(&fold(&name), &name));
        prop_assert!(names_equal(&fold(&name), &fold(&name)));
        prop_assert!(names_equal(&fold(&name), &name.to_uppercase()));
        let longer = format!("{name}x");
        prop_assert!(!names_equal(&fold(&name), &longer));
    }
}

#[test]
fn every_prefix_of_a_route_is_taken_or_refused() {
    let text = "SELECT * FROM /messages/modules/é/outputs/o WHERE as_number($body.a[1].b) > 1e3 AND NOT \
                (upper('\\u00e9' ?? x) = \"y\" /* c */) INTO BrokeredEndpoint(\"/modules/m/inputs/i\")";
    for (at, _) in text.char_indices() {
        let result = RouteSet::compile("edge", &[RouteDecl::new("r", &text[..at])]);
        assert!(result.is_err(), "{}", &text[..at]);
    }
    assert!(RouteSet::compile("edge", &[RouteDecl::new("r", text)]).is_ok());
}
