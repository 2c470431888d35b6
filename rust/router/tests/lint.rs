//! What `check` tells of routes: the vectors of `lint.json`, errors as compilation has them, any text.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::{cases, field, load};
use edgehub_router::{
    Condition, Decisions, Features, OwnedMessage, Problem, ROUTES_MAX, RouteDecl, RouteReport, RouteSet,
    Source, Verdict, WARNINGS_MAX, check,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The routes of a case: one text, or objects as in a twin with their names.
fn declared(case: &Value) -> Vec<RouteDecl> {
    if let Some(text) = case["route"].as_str() {
        return vec![RouteDecl::new("r", text)];
    }
    let number = |value: &Value| value.as_u64().map(|n| u32::try_from(n).unwrap());
    let routes = case["routes"].as_array().unwrap();
    let decl = |route: &Value| RouteDecl {
        name: field(route, "name").to_owned(),
        text: field(route, "route").to_owned(),
        priority: number(&route["priority"]),
        ttl_secs: number(&route["timeToLiveSecs"]).unwrap_or(0),
    };
    routes.iter().map(decl).collect()
}

fn told(reports: &[RouteReport], with_name: bool) -> Value {
    let warnings = reports.iter().flat_map(|report| &report.warnings).map(|warned| {
        let (start, end) = (warned.range.start, warned.range.end);
        let mut told = json!({
            "code": warned.warning.code(),
            "line": start.line, "column": start.column, "endLine": end.line, "endColumn": end.column,
        });
        if with_name {
            told["name"] = json!(warned.route);
        }
        told
    });
    warnings.collect()
}

fn wrong(case: &Value) -> Option<String> {
    let decls = declared(case);
    let reports = check("edge", &decls);
    let got = told(&reports, case["route"].is_null());
    let compiles = RouteSet::compile("edge", &decls).is_ok() != case["fails"].as_bool().unwrap_or(false);
    let right = got == case["warnings"] && compiles;
    (!right).then(|| format!("{}\n  got  {got}\n  want {}", decls[0].text, case["warnings"]))
}

#[test]
fn warnings() {
    let vectors = load("lint.json");
    let wrong: Vec<String> = cases(&vectors).iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_warning_has_a_vector() {
    const CODES: usize = 41;
    let vectors = load("lint.json");
    let all = cases(&vectors).iter().flat_map(|case| case["warnings"].as_array().unwrap());
    let codes: BTreeSet<&str> = all.map(|warning| field(warning, "code")).collect();
    assert_eq!(codes.len(), CODES, "{codes:?}");
}

#[test]
fn messages_say_what_to_write() {
    let message = |text: &str| {
        let reports = check("edge", &[RouteDecl::new("r", text)]);
        reports[0].warnings[0].to_string()
    };
    assert_eq!(
        message("FROM /messages WHERE x!=3 INTO $upstream"),
        "route 'r' at 1:22-1:24: 'x!' is one name, of a property: put a blank before '!=', as in x != ..."
    );
    assert_eq!(
        message("FROM /messages WHERE is_number(temp) INTO $upstream"),
        "route 'r' at 1:22-1:37: is_number of a string is false for every message: \
         properties are texts, write is_number(as_number(...))."
    );
    assert_eq!(
        message("FROM /messages WHERE a = 'x' AND a = 'y' INTO $upstream"),
        "route 'r' at 1:34-1:41: This and 'a = 'x'' never hold together, so the route never matches: \
         did you mean OR?"
    );
}

#[test]
fn every_route_is_looked_at() {
    let reports = check(
        "edge",
        &[
            RouteDecl::new("bad", "FROM /messages WHERE a = 3 INTO $upstream"),
            RouteDecl::new("odd", "FROM /messages INTO $upstream junk"),
            RouteDecl::new("odd", "FROM"),
            RouteDecl { priority: Some(10), ..RouteDecl::new("", "FROM /* INTO $upstream") },
        ],
    );
    let names: Vec<&str> = reports.iter().map(|report| report.name.as_str()).collect();
    assert_eq!(names, ["bad", "odd", "odd", ""]);
    let errors = |at: usize| -> Vec<&str> { reports[at].errors.iter().map(|e| e.problem.code()).collect() };
    assert_eq!(errors(0), ["binary-operands"]);
    assert!(errors(1).is_empty());
    assert_eq!(reports[1].warnings[0].warning.code(), "trailing-text");
    assert_eq!(errors(2), ["duplicate-name", "syntax"]);
    assert_eq!(errors(3), ["empty-name"]);
}

#[test]
fn too_many_routes_are_told_first() {
    let decl =
        |at: usize| RouteDecl::new(format!("r{at}"), format!("FROM /* WHERE a = '{at}' INTO $upstream"));
    let decls: Vec<RouteDecl> = (0..=ROUTES_MAX).map(decl).collect();
    let reports = check("edge", &decls);
    assert_eq!(reports.len(), decls.len() + 1);
    let expected = Problem::TooManyRoutes { count: ROUTES_MAX + 1, max: ROUTES_MAX };
    assert_eq!(reports[0].errors[0].problem, expected);
    assert!(reports[1..].iter().all(|report| report.errors.is_empty() && report.warnings.is_empty()));
    assert!(check("edge", &decls[1..]).iter().all(|report| report.errors.is_empty()));
}

#[test]
fn warnings_of_a_route_have_a_limit() {
    let condition = vec!["x!=3"; 1000].join(" AND ");
    let text = format!("FROM /messages WHERE {condition} INTO $upstream");
    let reports = check("edge", &[RouteDecl::new("r", text)]);
    assert_eq!(reports[0].warnings.len(), WARNINGS_MAX);
}

/// Pieces of routes, with odd ones among them.
const PIECES: [&str; 64] = [
    "FROM",
    "SELECT",
    "*",
    "/messages",
    "/*",
    "/twinChangeNotifications",
    "/modules/",
    "m",
    "WHERE",
    "INTO",
    "$upstream",
    "BrokeredEndpoint(",
    "\"/modules/m/inputs/i\"",
    "'/a/b/c/d'",
    ")",
    "(",
    "AND",
    "or",
    "NOT",
    "=",
    "!=",
    "<>",
    "<",
    "<=",
    ">",
    ">=",
    "??",
    "||",
    "+",
    "-",
    "/",
    "%",
    ",",
    "{",
    "}",
    "a",
    "x!",
    "3+4",
    "'x'",
    "'30'",
    "'true'",
    "'2020-01-01T00:00:00'",
    "\"open",
    "3",
    "-5",
    "0xFF",
    "e5",
    "true",
    "false",
    "null",
    "undefined",
    "TRUE",
    "$body.a",
    "$body.b[0]",
    "$body",
    "$contentType",
    "$cid",
    "is_defined(",
    "is_number(",
    "as_number(",
    "nope(",
    "/* c */",
    "@",
    "😀\n",
];

/// Text made of pieces, or of anything.
fn texts() -> impl Strategy<Value = String> {
    let pieces = prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..30);
    let condition =
        pieces.clone().prop_map(|some| format!("FROM /messages/* WHERE {} INTO $upstream", some.join(" ")));
    prop_oneof![any::<String>(), pieces.prop_map(|some| some.join(" ")), condition]
}

/// A condition that mostly compiles.
fn conditions() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a = 'x'",
        "a != 'x'",
        "$body.a > 5",
        "$body.a = '5'",
        "is_defined($body.a)",
        "is_number($body.a)",
        "as_number(t) > 30",
        "as_number(t) < 10",
        "true",
        "null",
        "undefined",
        "1 = 1",
        "$body.flag",
        "$contentType = 'application/json'",
        "lower($contentEncoding) = 'utf-8'",
        "is_null(a)",
        "e5 = e5",
        "$body.a ?? $body.b",
        "a = a",
        "'x' = a",
        "is_number(t)",
        "$body.a = $body.b",
        "t > '30'",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(6, 40, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} AND {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} OR {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) = ({b})")),
            inner.prop_map(|a| format!("NOT ({a})")),
        ]
    })
}

fn agrees(text: &str, priority: Option<u32>) -> Result<(), TestCaseError> {
    let decls = [RouteDecl { priority, ..RouteDecl::new("r", text) }];
    let compiled = RouteSet::compile("edge", &decls).err().unwrap_or_default();
    let reports = check("edge", &decls);
    prop_assert_eq!(reports.len(), 1);
    prop_assert_eq!(&reports[0].errors, &compiled);
    let lines = text.split('\n').count();
    for warned in &reports[0].warnings {
        let (start, end) = (warned.range.start, warned.range.end);
        prop_assert!(start < end && start.line >= 1 && end.line as usize <= lines, "{}", warned);
        prop_assert!(!warned.to_string().is_empty());
    }
    for error in &reports[0].errors {
        prop_assert!(error.problem.hint().is_none_or(|hint| !hint.is_empty()));
    }
    Ok(())
}

/// A message that some of the conditions hold for.
fn messages() -> impl Strategy<Value = OwnedMessage> {
    let body = r#"{} | {"a":null} | {"a":6} | {"a":"5"} | {"a":5,"b":5,"flag":true} | {"a":{},"flag":false}"#;
    let bodies: Vec<&str> = body.split(" | ").collect();
    let property = |values: &[&str]| {
        prop::option::of(prop::sample::select(values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>()))
    };
    let text =
        (property(&["x", "y", "30"]), property(&["5", "20", "31", "word"]), prop::sample::select(bodies));
    (text, any::<bool>()).prop_map(|((a, t, body), is_json)| {
        let named = |name: &str, value: Option<String>| value.map(|v| (name.to_owned(), Some(v)));
        let system = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        let json = [system("contentType", "application/json"), system("contentEncoding", "utf-8")];
        OwnedMessage {
            application: named("a", a).into_iter().chain(named("t", t)).collect(),
            system: if is_json { json.to_vec() } else { Vec::new() },
            body: body.as_bytes().to_vec(),
        }
    })
}

/// Codes that say the route never matches.
const NEVER: [&str; 5] = ["never-true", "no-condition", "contradiction", "dead-source", "wildcard-inside"];

/// Routes to one endpoint; few conditions and sources, so that they often cover each other.
fn small_sets() -> impl Strategy<Value = Vec<RouteDecl>> {
    let source = prop::sample::select(vec![
        "/*",
        "/messages/*",
        "/messages/modules/m/*",
        "/messages/modules/m/outputs/o",
    ]);
    let part = prop::sample::select(vec![
        "a = 'x'",
        "'y' = A",
        "t <> '5'",
        "NOT (t = '5')",
        "true",
        "is_defined(t)",
    ]);
    let condition = prop::collection::vec(part, 0..3);
    let route = (source, condition, prop::option::of(0..2_u32), 0..3_u32).prop_map(
        |(source, parts, priority, ttl_secs)| {
            let filter =
                if parts.is_empty() { String::new() } else { format!("WHERE {}", parts.join(" AND ")) };
            RouteDecl {
                priority,
                ttl_secs,
                ..RouteDecl::new("", format!("FROM {source} {filter} INTO $upstream"))
            }
        },
    );
    prop::collection::vec(route, 1..6).prop_map(|mut decls| {
        decls.iter_mut().enumerate().for_each(|(at, decl)| decl.name = format!("r{at}"));
        decls
    })
}

fn codes(report: &RouteReport) -> Vec<&'static str> {
    report.warnings.iter().map(|warned| warned.warning.code()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_checked(text in texts(), priority in prop::option::of(0_u32..12)) {
        agrees(&text, priority)?;
    }

    #[test]
    fn any_condition_is_checked(condition in conditions()) {
        agrees(&format!("FROM /messages/* WHERE {condition} INTO $upstream"), None)?;
    }

    #[test]
    fn sets_fail_where_a_report_has_errors(some in prop::collection::vec((0..4_u8, texts()), 0..8)) {
        let decls: Vec<RouteDecl> =
            some.into_iter().map(|(name, text)| RouteDecl::new(format!("r{name}"), text)).collect();
        let reports = check("edge", &decls);
        let fails = reports.iter().any(|report| !report.errors.is_empty());
        prop_assert_eq!(fails, RouteSet::compile("edge", &decls).is_err());
    }

    #[test]
    fn verdicts_that_are_told_come_true(condition in conditions(), msg in messages()) {
        let text = format!("FROM /messages/* WHERE {condition} INTO $upstream");
        let reports = check("edge", &[RouteDecl::new("r", text)]);
        let told = codes(&reports[0]);
        if let Ok(compiled) = Condition::compile(&condition, Features::default()) {
            let verdict = compiled.evaluate(&msg);
            prop_assert!(verdict != Verdict::True || !told.iter().any(|code| NEVER.contains(code)), "{:?}", told);
            prop_assert!(verdict == Verdict::True || !told.contains(&"always-true"), "{:?}", told);
        }
    }

    #[test]
    fn shadowed_routes_never_decide(decls in small_sets(), msg in messages(), source in 0..4_usize) {
        let source = [
            Source::Device,
            Source::Module { module: "m", output: None },
            Source::Module { module: "m", output: Some("o") },
            Source::TwinChange,
        ][source];
        let set = RouteSet::compile("edge", &decls).unwrap();
        let mut decisions = Decisions::new();
        set.evaluate(source, &msg, &mut decisions);
        let reports = check("edge", &decls);
        for decision in &decisions {
            let told = codes(&reports[decision.route_index as usize]);
            let idle = ["shadowed-route", "duplicate-route"].iter().any(|code| told.contains(code));
            prop_assert!(!idle, "{}", decls[decision.route_index as usize].text);
        }
    }
}
