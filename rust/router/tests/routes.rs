//! Routes as vectors: grammar, errors, declarations, sources and deliveries.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{cases, field, load};
use edgehub_router::{
    Condition, Decisions, Features, OwnedMessage, RouteDecl, RouteError, RouteSet, Schema, Source,
};
use serde_json::Value;

fn compile(text: &str) -> Result<RouteSet, Vec<RouteError>> {
    RouteSet::compile("edge", &[RouteDecl::new("r", text)])
}

fn wrong_route(case: &Value) -> Option<String> {
    let text = field(case, "route");
    match (field(case, "expect"), compile(text)) {
        ("ok", Ok(set)) => {
            let id = &set.endpoints()[0].id;
            (id != field(case, "endpoint")).then(|| format!("{text}: leads to {id}"))
        }
        ("ok", Err(errors)) => Some(format!("{text}: {}", errors[0])),
        (_, Ok(_)) => Some(format!("{text}: accepted")),
        (_, Err(errors)) => {
            let codes: Vec<Value> = errors.iter().map(|e| e.problem.code().into()).collect();
            let range = errors[0].range.map(|r| r.to_string());
            let codes_ok = case["codes"].as_array().map_or(codes[0] == case["code"], |all| *all == codes);
            let at_ok = case["at"].as_str().is_none_or(|at| range.as_deref() == Some(at));
            (!(codes_ok && at_ok)).then(|| format!("{text}: {codes:?} at {range:?}"))
        }
    }
}

#[test]
fn route_texts() {
    let vectors = load("routes.json");
    let wrong: Vec<String> = cases(&vectors).iter().filter_map(wrong_route).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases(&vectors).len() > 70);
}

fn told(case: &Value) -> Vec<(String, String)> {
    let errors = case["errors"].as_array().unwrap();
    errors.iter().map(|e| (field(e, "at").to_owned(), field(e, "message").to_owned())).collect()
}

#[test]
fn condition_errors() {
    let vectors = load("errors.json");
    for case in cases(&vectors) {
        let condition = field(case, "condition");
        let errors = Condition::compile(condition, Features::default()).unwrap_err();
        let got: Vec<_> = errors.iter().map(|e| (e.range.to_string(), e.problem.to_string())).collect();
        assert_eq!(got, told(case), "{condition}");
    }
    for case in vectors["routes"].as_array().unwrap() {
        let errors = compile(field(case, "route")).unwrap_err();
        let got: Vec<_> =
            errors.iter().map(|e| (e.range.unwrap().to_string(), e.problem.to_string())).collect();
        assert_eq!(got, told(case));
    }
}

#[test]
fn syntax_errors_say_what_is_right() {
    let errors = compile("FROM /messages WHERE a == 1 INTO $upstream").unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "route 'r' at 1:25-1:26: Syntax error. \
         Expected a value, a property, a function or '(', found '='. \
         Equality is one '=', and <= and >= are written without a blank."
    );
    let errors = compile("FROM /messages WHERE temp > 20 INTO $upstream").unwrap_err();
    assert!(errors[0].to_string().ends_with("or convert with as_number(...)."), "{}", errors[0]);
}

#[test]
fn sources() {
    let vectors = load("sources.json");
    let module = |output| Source::Module { module: "m1", output };
    let sources = [
        ("device", Source::Device),
        ("module", module(None)),
        ("output", module(Some("o1"))),
        ("twinChange", Source::TwinChange),
    ];
    let mut decisions = Decisions::new();
    for case in cases(&vectors) {
        let path = field(case, "source");
        let set = compile(&format!("FROM {path} INTO $upstream")).unwrap();
        for (name, source) in sources {
            set.evaluate(source, &OwnedMessage::default(), &mut decisions);
            assert_eq!(Value::from(!decisions.is_empty()), case[name], "{path} {name}");
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
fn deliveries() {
    let vectors = load("deliveries.json");
    let msg =
        OwnedMessage { application: vec![("kind".into(), Some("a".into()))], ..OwnedMessage::default() };
    let mut decisions = Decisions::new();
    for case in cases(&vectors) {
        let decls: Vec<RouteDecl> = case["routes"].as_array().unwrap().iter().map(decl).collect();
        let set = RouteSet::compile("edge", &decls).unwrap();
        set.evaluate(Source::Device, &msg, &mut decisions);
        let got: Vec<Value> = decisions
            .iter()
            .map(|d| {
                serde_json::json!({
                    "endpoint": set.endpoints()[d.endpoint_index as usize].id,
                    "priority": d.priority,
                    "ttlSecs": d.ttl_secs,
                    "route": set.routes()[d.route_index as usize].name,
                })
            })
            .collect();
        assert_eq!(Value::from(got), case["expect"], "{}", case["name"]);
    }
}

fn declared(case: &Value) -> Result<Option<RouteDecl>, RouteError> {
    let schema = if field(case, "schema") == "1.0" { Schema::V1_0 } else { Schema::V1_1 };
    let name = field(case, "name");
    let object = &case["object"];
    if object.is_null() {
        return RouteDecl::from_text(schema, name, case["text"].as_str());
    }
    let number = |key: &str| object[key].as_i64();
    RouteDecl::from_object(schema, name, field(object, "route"), number("priority"), number("timeToLiveSecs"))
        .map(Some)
}

#[test]
fn declarations() {
    for case in cases(&load("declarations.json")) {
        match declared(case) {
            Ok(None) => assert_eq!(field(case, "expect"), "skipped", "{case}"),
            Err(error) => assert_eq!(error.problem.code(), field(case, "expect"), "{case}"),
            Ok(Some(decl)) => {
                assert_eq!(field(case, "expect"), "ok", "{case}");
                if field(case, "schema") != "1.0" {
                    assert_eq!(Value::from(decl.priority()), case["priority"]);
                    assert_eq!(Value::from(decl.ttl_secs), case["ttlSecs"]);
                }
            }
        }
    }
}

#[test]
fn all_errors_of_all_routes_are_told_and_nothing_applies() {
    let decls = [
        RouteDecl::new("good", "FROM /* INTO $upstream"),
        RouteDecl::new("typed", "FROM /* WHERE 1 = 'a' AND f(2) INTO $upstream"),
        RouteDecl { priority: Some(11), ..RouteDecl::new("loud", "FROM /* INTO $upstream") },
        RouteDecl::new("good", "FROM /* INTO $upstream"),
        RouteDecl::new("", "FROM /* INTO $upstream"),
    ];
    let errors = RouteSet::compile("edge", &decls).unwrap_err();
    let told: Vec<(&str, &str)> = errors.iter().map(|e| (e.route.as_str(), e.problem.code())).collect();
    assert_eq!(
        told,
        [
            ("typed", "binary-operands"),
            ("typed", "unknown-function"),
            ("loud", "priority"),
            ("good", "duplicate-name"),
            ("", "empty-name"),
        ]
    );
}

#[test]
fn limits_are_told() {
    let max = edgehub_router::ROUTE_BYTES_MAX;
    let route = "FROM /* INTO $upstream";
    let padded = |len: usize| format!("{route}{}", " ".repeat(len - route.len()));
    assert!(compile(&padded(max)).is_ok());
    assert_eq!(compile(&padded(max + 1)).unwrap_err()[0].problem.code(), "too-long");

    let many = |count: usize| -> Vec<RouteDecl> {
        (0..count).map(|i| RouteDecl::new(format!("r{i}"), "FROM /* INTO $upstream")).collect()
    };
    let max = edgehub_router::ROUTES_MAX;
    assert!(RouteSet::compile("edge", &many(max)).is_ok());
    let errors = RouteSet::compile("edge", &many(max + 1)).unwrap_err();
    assert_eq!(errors[0].problem.code(), "too-many-routes");
    assert!(errors[0].to_string().starts_with("10001 routes"));

    let max = edgehub_router::EXPR_DEPTH_MAX;
    let nested = |depth: usize| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Condition::compile(&nested(max - 1), Features::default()).is_ok());
    let errors = Condition::compile(&nested(max), Features::default()).unwrap_err();
    assert_eq!(errors[0].problem.code(), "too-deep");

    let max = edgehub_router::ERRORS_MAX;
    let wrong = |count: usize| format!("true{}", " AND 1 = 'a'".repeat(count));
    for (count, told) in [(max - 1, max - 1), (max, max), (max + 1, max)] {
        assert_eq!(Condition::compile(&wrong(count), Features::default()).unwrap_err().len(), told);
    }
}

#[test]
fn a_long_flat_condition_is_fine() {
    let clauses: Vec<String> = (0..2000).map(|i| format!("kind = 'k{i}'")).collect();
    let set = compile(&format!("FROM /* WHERE {} INTO $upstream", clauses.join(" OR "))).unwrap();
    let mut decisions = Decisions::new();
    let msg = |kind: &str| OwnedMessage {
        application: vec![("Kind".into(), Some(kind.into()))],
        ..OwnedMessage::default()
    };
    set.evaluate(Source::Device, &msg("k1999"), &mut decisions);
    assert_eq!(decisions.len(), 1);
    set.evaluate(Source::Device, &msg("k2000"), &mut decisions);
    assert!(decisions.is_empty());
}

#[test]
fn modules_meet_their_own_and_common_routes_in_order() {
    let decls = [
        RouteDecl::new(
            "own",
            "FROM /messages/modules/M1/outputs/a INTO BrokeredEndpoint('/modules/x/inputs/1')",
        ),
        RouteDecl::new("all", "FROM /messages/* INTO BrokeredEndpoint('/modules/x/inputs/1')"),
        RouteDecl::new("mods", "FROM /messages/modules/* INTO $upstream"),
        RouteDecl::new("other", "FROM /messages/modules/m2/* INTO $upstream"),
    ];
    let set = RouteSet::compile("edge", &decls).unwrap();
    let mut decisions = Decisions::new();
    let mut routes = |source| {
        set.evaluate(source, &OwnedMessage::default(), &mut decisions);
        decisions.iter().map(|d| set.routes()[d.route_index as usize].name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(routes(Source::Module { module: "m1", output: Some("A") }), ["own", "mods"]);
    assert_eq!(routes(Source::Module { module: "m1", output: Some("b") }), ["all", "mods"]);
    assert_eq!(routes(Source::Module { module: "m1", output: None }), ["all", "mods"]);
    assert_eq!(routes(Source::Module { module: "m2", output: None }), ["all", "mods"]);
    assert_eq!(routes(Source::Device), ["all"]);
    assert!(routes(Source::TwinChange).is_empty());
}

#[test]
fn route_sets_are_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<RouteSet>();
    shared::<Condition>();
}

#[test]
fn complexity_counts_leaves() {
    let complexity = |text| Condition::compile(text, Features::default()).unwrap().complexity();
    assert_eq!(complexity("true"), 1);
    assert_eq!(complexity("a = 'b'"), 3);
    assert_eq!(complexity("NOT is_defined(a) OR {$b} = 'c'"), 11);
    assert_eq!(complexity(""), 1);
}
