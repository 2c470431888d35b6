//! Explanations tell the source, every value, and the clause that decided.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use edgehub_router::{
    BodyState, Outcome, OwnedMessage, RouteDecl, RouteExplanation, RouteSet, Source, Value, Verdict,
};

fn message() -> OwnedMessage {
    let text = |key: &str, text: &str| (key.to_owned(), Some(text.to_owned()));
    OwnedMessage {
        application: vec![text("temp", "25"), text("kind", "a"), ("nil".to_owned(), None)],
        system: vec![text("contentType", "application/json"), text("contentEncoding", "utf-8")],
        body: br#"{"a":{"b":5},"when":"2020-01-01T00:00:00Z"}"#.to_vec(),
    }
}

fn explain_one(condition: &str) -> RouteExplanation {
    let decl = RouteDecl::new("r", format!("FROM /messages/* WHERE {condition} INTO $upstream"));
    let set = RouteSet::compile("edge", &[decl]).unwrap();
    set.explain(Source::Device, &message()).routes.remove(0)
}

/// Text of the deciding part.
fn decided(route: &RouteExplanation) -> &str {
    &route.parts[route.deciding.unwrap()].text
}

#[test]
fn every_part_has_its_value() {
    let route = explain_one("as_number(temp) > 30 AND $body.a.b = 5");
    let parts: Vec<(&str, Value)> = route.parts.iter().map(|p| (p.text.as_str(), p.value.clone())).collect();
    assert_eq!(
        parts,
        [
            ("temp", Value::Text("25".into())),
            ("as_number(temp)", Value::Number(25.0)),
            ("30", Value::Number(30.0)),
            ("as_number(temp) > 30", Value::Bool(false)),
            ("$body.a.b", Value::Number(5.0)),
            ("5", Value::Number(5.0)),
            ("$body.a.b = 5", Value::Bool(true)),
            ("as_number(temp) > 30 AND $body.a.b = 5", Value::Bool(false)),
        ]
    );
    assert_eq!(route.parts[3].range.to_string(), "1:24-1:44");
    assert_eq!(decided(&route), "as_number(temp) > 30");
    assert_eq!((route.outcome, route.verdict), (Outcome::NoMatch, Some(Verdict::False)));
}

#[test]
fn the_deciding_clause() {
    for (condition, verdict, clause) in [
        ("kind = 'a' AND none = 'x'", Verdict::Undefined, "none = 'x'"),
        ("none = 'x' AND kind = 'b'", Verdict::False, "kind = 'b'"),
        ("kind = 'b' OR (temp = '25' AND kind = 'a')", Verdict::True, "(temp = '25' AND kind = 'a')"),
        ("kind = 'a' AND temp = '25'", Verdict::True, "kind = 'a' AND temp = '25'"),
        ("NOT (kind = 'a')", Verdict::False, "NOT (kind = 'a')"),
        (
            "kind = 'a' AND (none = 'x' OR temp = '1') AND kind = 'a'",
            Verdict::Undefined,
            "(none = 'x' OR temp = '1')",
        ),
        ("null AND kind = 'a'", Verdict::False, "null"),
        ("kind", Verdict::Undefined, "kind"),
    ] {
        let route = explain_one(condition);
        assert_eq!(route.verdict, Some(verdict), "{condition}");
        assert_eq!(decided(&route), clause, "{condition}");
    }
}

#[test]
fn values_of_every_kind() {
    for (condition, part, value) in [
        ("$body.no = null", "$body.no", Value::MissingPath),
        ("is_defined($body.a)", "$body.a", Value::Undefined),
        ("is_defined($body.when)", "$body.when", Value::Undefined),
        ("is_null(nil)", "nil", Value::NullProperty),
        ("(null or null) = null", "(null or null)", Value::Null),
        ("upper(kind) || 'x' = 'Ax'", "upper(kind) || 'x'", Value::Text("Ax".into())),
        ("is_bool(3) = false", "is_bool(3)", Value::Bool(false)),
        ("(none ?? 'd') = 'd'", "(none ?? 'd')", Value::Text("d".into())),
        ("kind = 'a' AND (not null and is_null(3)) = false", "(not null and is_null(3))", Value::Bool(false)),
    ] {
        let route = explain_one(condition);
        let found = route.parts.iter().find(|p| p.text == part);
        assert_eq!(found.map(|p| &p.value), Some(&value), "{condition}");
        assert_ne!(route.verdict, None);
    }
}

#[test]
fn outcomes_follow_the_decisions() {
    let decls = [
        RouteDecl { priority: Some(5), ..RouteDecl::new("late", "FROM /* INTO $upstream") },
        RouteDecl { priority: Some(1), ..RouteDecl::new("first", "FROM /* WHERE kind = 'a' INTO $upstream") },
        RouteDecl::new("no", "FROM /* WHERE kind = 'b' INTO BrokeredEndpoint('/modules/m/inputs/i')"),
        RouteDecl::new("twin", "FROM /twinChangeNotifications INTO $upstream"),
    ];
    let set = RouteSet::compile("edge", &decls).unwrap();
    let why = set.explain(Source::Device, &message());
    let outcomes: Vec<(&str, Outcome)> = why.routes.iter().map(|r| (r.name.as_str(), r.outcome)).collect();
    assert_eq!(
        outcomes,
        [
            ("late", Outcome::Outranked { by: 1 }),
            ("first", Outcome::Chosen),
            ("no", Outcome::NoMatch),
            ("twin", Outcome::OtherSource),
        ]
    );
    assert_eq!(why.routes[3].verdict, None);
    assert_eq!(why.decisions.len(), 1);
    assert_eq!(why.body, BodyState::Unread);
}

#[test]
fn the_state_of_the_body_is_told() {
    let decl = RouteDecl::new("r", "FROM /* WHERE $body.a.b = 5 INTO $upstream");
    let set = RouteSet::compile("edge", &[decl]).unwrap();
    let state = |change: fn(&mut OwnedMessage)| {
        let mut msg = message();
        change(&mut msg);
        set.explain(Source::Device, &msg).body
    };
    assert_eq!(state(|_| {}), BodyState::Read);
    assert_eq!(state(|msg| msg.body.truncate(5)), BodyState::Malformed);
    assert_eq!(state(|msg| msg.system.truncate(1)), BodyState::ContentEncoding);
    assert_eq!(state(|msg| drop(msg.system.remove(0))), BodyState::ContentType);
}
