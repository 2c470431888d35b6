//! Explanations tell the source, every value, and the clause that decided.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use edgehub_router::{
    BodyState, EXPLAINED_TEXT_BYTES_MAX, Outcome, OwnedMessage, RouteDecl, RouteExplanation, RouteSet,
    Source, Value, Verdict,
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

/// Three routes: one chosen, one outranked, one that looks at the body, one of another source.
fn explain_several() -> edgehub_router::Explanation {
    let hot = "INTO BrokeredEndpoint(\"/modules/alarm/inputs/hot\")";
    let decls = [
        RouteDecl {
            priority: Some(0),
            ttl_secs: 3600,
            ..RouteDecl::new(
                "hot",
                format!("FROM /messages/* WHERE as_number(temp) > 20 AND kind = 'a' {hot}"),
            )
        },
        RouteDecl::new("late", format!("FROM /messages {hot}")),
        RouteDecl::new("body", "FROM /* WHERE $body.a.b = 6 OR $body.no > 1/0 INTO $upstream"),
        RouteDecl::new("twin", "FROM /twinChangeNotifications INTO $upstream"),
    ];
    let set = RouteSet::compile("edge", &decls).unwrap();
    set.explain(Source::Module { module: "m1", output: Some("o1") }, &message())
}

#[test]
fn an_explanation_tells_what_was_declared() {
    let why = explain_several();
    assert_eq!(why.source, "/messages/modules/m1/outputs/o1/");
    let told: Vec<_> = why
        .routes
        .iter()
        .map(|r| (r.source.as_str(), r.endpoint.as_str(), r.priority, r.ttl_secs, r.source_matches()))
        .collect();
    let default = edgehub_router::PRIORITY_DEFAULT;
    assert_eq!(
        told,
        [
            ("/messages/*", "edge/alarm/hot", 0, 3600, true),
            ("/messages", "edge/alarm/hot", default, 0, true),
            ("/*", "iothub", default, 0, true),
            ("/twinChangeNotifications", "iothub", default, 0, false),
        ]
    );
}

#[test]
fn parts_know_their_depth_and_which_are_literals() {
    let route = explain_one("NOT (kind = 'a' OR concat(kind, 'x', kind) = 'y') AND true");
    let told: Vec<(&str, u32, bool)> =
        route.parts.iter().map(|p| (p.text.as_str(), p.depth, p.literal)).collect();
    assert_eq!(
        told,
        [
            ("kind", 4, false),
            ("'a'", 4, true),
            ("kind = 'a'", 3, false),
            ("kind", 5, false),
            ("'x'", 5, true),
            ("kind", 5, false),
            ("concat(kind, 'x', kind)", 4, false),
            ("'y'", 4, true),
            ("concat(kind, 'x', kind) = 'y'", 3, false),
            ("(kind = 'a' OR concat(kind, 'x', kind) = 'y')", 2, false),
            ("NOT (kind = 'a' OR concat(kind, 'x', kind) = 'y')", 1, false),
            ("true", 1, true),
            ("NOT (kind = 'a' OR concat(kind, 'x', kind) = 'y') AND true", 0, false),
        ]
    );
}

#[test]
fn a_chain_is_one_level() {
    let route = explain_one("kind = 'a' AND temp = '25' AND kind = temp");
    let told: Vec<(&str, u32, bool)> =
        route.parts.iter().filter(|p| !p.literal).map(|p| (p.text.as_str(), p.depth, p.chained)).collect();
    assert_eq!(
        told,
        [
            ("kind", 2, false),
            ("kind = 'a'", 1, false),
            ("temp", 2, false),
            ("temp = '25'", 1, false),
            ("kind = 'a' AND temp = '25'", 0, true),
            ("kind", 2, false),
            ("temp", 2, false),
            ("kind = temp", 1, false),
            ("kind = 'a' AND temp = '25' AND kind = temp", 0, false),
        ]
    );
    assert_eq!(decided(&route), "kind = temp");
}

#[test]
fn long_texts_are_cut() {
    let route = explain_one(&format!("kind = '{}é'", "x".repeat(EXPLAINED_TEXT_BYTES_MAX - 1)));
    assert!(route.parts.iter().all(|part| part.text.len() <= EXPLAINED_TEXT_BYTES_MAX));
    assert_eq!(route.parts[2].text.len(), EXPLAINED_TEXT_BYTES_MAX);
    let Value::Text(text) = &route.parts[1].value else { panic!("{route:?}") };
    assert_eq!(text.len(), EXPLAINED_TEXT_BYTES_MAX - 1);
}

#[test]
fn the_text_is_for_reading() {
    let text = explain_several().to_string();
    let expected = r#"message from /messages/modules/m1/outputs/o1/
  body: read as JSON
  goes to:
    edge/alarm/hot  by route 'hot', priority 0, time to live 3600 s
    iothub          by route 'body', default priority, time to live of the hub

route 'hot': chosen
  source:    /messages/* (matches)
  endpoint:  edge/alarm/hot, priority 0, time to live 3600 s
  condition: true
    as_number(temp) > 20 AND kind = 'a'  true   <-- decides
      as_number(temp) > 20               true
        as_number(temp)                  25
          temp                           "25"
      kind = 'a'                         true
        kind                             "a"

route 'late': matches, but route 'hot' to the same endpoint goes first
  source:    /messages (matches)
  endpoint:  edge/alarm/hot, default priority, time to live of the hub
  condition: none, takes every message

route 'body': chosen
  source:    /* (matches)
  endpoint:  iothub, default priority, time to live of the hub
  condition: true
    $body.a.b = 6 OR $body.no > 1/0  true
      $body.a.b = 6                  false
        $body.a.b                    5
      $body.no > 1/0                 true   <-- decides
        $body.no                     null (no such path in the body)
        1/0                          Infinity

route 'twin': no match, the source is another
  source:    /twinChangeNotifications (does not match)
  endpoint:  iothub, default priority, time to live of the hub
  condition: not looked at
"#;
    assert_eq!(text, expected);
}

#[test]
fn the_text_is_safe_and_of_bounded_width() {
    let esc = "a\u{1b}[2J\n\u{202e}\"é\\";
    let mut msg = message();
    msg.application.push(("evil".to_owned(), Some(format!("{esc}{}", "x".repeat(500)))));
    let condition = format!("evil = '{}'\n\tAND 1e300 > 1e-9 AND true", "y".repeat(500));
    let decls = [
        RouteDecl::new("r", format!("FROM /messages/* WHERE {condition} INTO $upstream")),
        RouteDecl::new(
            esc,
            format!("FROM /x{esc2}/* INTO BrokeredEndpoint('/m/{esc2}/i/i')", esc2 = "\u{200b}"),
        ),
    ];
    let set = RouteSet::compile("edge", &decls).unwrap();
    let text = set.explain(Source::Device, &msg).to_string();
    assert!(text.contains(r#""a\u{1b}[2J\n\u{202e}\"é\\xxx"#), "{text}");
    assert!(text.contains(r#"route 'a\u{1b}[2J\n\u{202e}"é\'"#), "{text}");
    assert!(text.contains("goes nowhere: no route takes it"));
    assert!(!text.chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}' || c == '\u{200b}'));
    assert!(text.lines().all(|line| line.chars().count() < 160), "{text}");
}

#[test]
fn the_json_says_the_same() {
    let why = explain_several();
    let json: serde_json::Value = serde_json::from_str(&why.to_json()).unwrap();
    assert_eq!(json["source"], "/messages/modules/m1/outputs/o1/");
    assert_eq!(json["body"], "read");
    let deliveries = serde_json::json!([
        {"endpoint": "edge/alarm/hot", "route": "hot", "priority": 0, "ttlSecs": 3600},
        {"endpoint": "iothub", "route": "body", "priority": 2_000_000_000, "ttlSecs": 0},
    ]);
    assert_eq!(json["deliveries"], deliveries);
    assert_eq!(json["routes"].as_array().unwrap().len(), 4);
    let late = serde_json::json!({
        "name": "late", "source": "/messages", "endpoint": "edge/alarm/hot", "priority": 2_000_000_000,
        "ttlSecs": 0, "sourceMatches": true, "verdict": "true", "outcome": "outranked", "outrankedBy": "hot",
        "deciding": null, "parts": [],
    });
    assert_eq!(json["routes"][1], late);
    let twin = &json["routes"][3];
    assert_eq!((&twin["verdict"], &twin["outcome"]), (&serde_json::Value::Null, &"otherSource".into()));
    let body = &json["routes"][2];
    let deciding = &body["parts"][body["deciding"].as_u64().unwrap() as usize];
    assert_eq!(deciding["text"], "$body.no > 1/0");
    assert_eq!((&deciding["type"], &deciding["value"]), (&"bool".into(), &true.into()));
    let part = serde_json::json!({
        "text": "as_number(temp)", "line": 1, "column": 24, "endLine": 1, "endColumn": 39, "depth": 2,
        "chained": false, "literal": false, "type": "number", "value": 25,
    });
    assert_eq!(json["routes"][0]["parts"][1].to_string(), part.to_string());
}

#[test]
fn json_has_every_kind_of_value() {
    let told = |condition: &str, part: &str| {
        let decl = RouteDecl::new("r", format!("FROM /messages/* WHERE {condition} INTO $upstream"));
        let why = RouteSet::compile("edge", &[decl]).unwrap().explain(Source::Device, &message());
        let json: serde_json::Value = serde_json::from_str(&why.to_json()).unwrap();
        let parts = json["routes"][0]["parts"].as_array().unwrap().clone();
        let found = parts.iter().find(|p| p["text"] == part).unwrap();
        (found["type"].as_str().unwrap().to_owned(), found["value"].clone())
    };
    let null = serde_json::Value::Null;
    for (condition, part, kind, value) in [
        ("$body.no = null", "$body.no", "missingPath", null.clone()),
        ("$body.no = null", "null", "null", null.clone()),
        ("none = 'x'", "none", "undefined", null.clone()),
        ("nil = 'x'", "nil", "nullProperty", null),
        ("1e300 = 1", "1e300", "number", serde_json::json!(1e300)),
        ("-0.5e-9 = 1", "-0.5e-9", "number", serde_json::json!(-0.5e-9)),
        ("1e400 = 1", "1e400", "number", "Infinity".into()),
        ("-1/0 = 1", "-1/0", "number", "-Infinity".into()),
        ("kind = 'q\"é'", "'q\"é'", "string", "q\"é".into()),
    ] {
        assert_eq!(told(condition, part), (kind.to_owned(), value), "{condition}");
    }
}
