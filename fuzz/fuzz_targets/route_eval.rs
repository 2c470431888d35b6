//! Any condition on any message: the crate and the plain evaluator of its tests come to the same,
//! alone and in a set of routes.
//!
//! The first byte chooses between text as it comes and text put together from the tokens of the
//! language, which gets past the parser far more often.
#![no_main]

#[path = "../../rust/router/tests/naive/mod.rs"]
mod naive;

use arbitrary::{Arbitrary, Unstructured};
use edgehub_router::{Condition, Decisions, Features, OwnedMessage, RouteDecl, RouteSet, Source, Verdict};
use libfuzzer_sys::fuzz_target;

/// Bytes of a condition: the oracle recurses, and takes squared time.
const CONDITION_BYTES_MAX: usize = 2048;

const TOKENS: [&str; 96] = [
    "true",
    "false",
    "null",
    "undefined",
    "0",
    "1",
    "2",
    "-1",
    "0.5",
    "1e2",
    "e5",
    "0x1F",
    "'a'",
    "'b'",
    "\"\"",
    "'3'",
    "'é😀'",
    "'\\u0041'",
    "a",
    "b",
    "A",
    "n",
    "nil",
    "none",
    "$a",
    "$s",
    "{$s}",
    "{$a}",
    "$body.a",
    "$body.b",
    "$body.a.b",
    "$body.a[0]",
    "$body.*",
    "$body.b.*",
    "$BODY.a",
    "{$body.b}",
    "$s[0]",
    "$body",
    "(",
    "(",
    "(",
    ")",
    ")",
    ")",
    ",",
    ",",
    "{",
    "}",
    " and ",
    " AND ",
    " or ",
    " not ",
    " NOT ",
    " = ",
    "=",
    " <> ",
    " != ",
    " < ",
    " <= ",
    ">",
    " >= ",
    " + ",
    " - ",
    "- ",
    " * ",
    "/",
    " / ",
    " % ",
    " || ",
    "??",
    " ?? ",
    "abs(",
    "sign(",
    "sqrt(",
    "floor(",
    "power(",
    "as_number(",
    "is_bool(",
    "is_defined(",
    "is_null(",
    "is_number(",
    "is_string(",
    "concat(",
    "length(",
    "lower(",
    "UPPER(",
    "substring(",
    "index_of(",
    "starts_with(",
    "ends_with(",
    "contains(",
    "twin_change_includes(properties.reported.a",
    "tags.b",
    " ",
    "/* c */",
    "\n",
];

const TEXTS: [&str; 14] =
    ["a", "b", "", "3", " -2.5 ", "1,0", "(5)", "é😀", "A", "1e5", "¤7-", "\u{ffff}", "Infinity", "0x1"];

/// Numbers that a JSON library reads without rounding.
const BODIES: [&str; 12] = [
    r#"{"a":1,"b":"a"}"#,
    r#"{"a":null}"#,
    r#"{"a":{"b":true}}"#,
    r#"{"a":[1,"b"],"b":{"x":2}}"#,
    r#"{"a":false,"b":true}"#,
    r#"{"a":"2020-01-01T00:00:00Z","b":{}}"#,
    r#"{"properties":{"reported":{"a":null}},"tags":{"b":[0]}}"#,
    "{}",
    "",
    "[1]",
    "{\"a\":1",
    r#" {"a":-0.5, "a":"é😀", "b":[[2]]} "#,
];

#[derive(Debug)]
struct Input {
    condition: String,
    msg: OwnedMessage,
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let msg = message(u)?;
        let condition = if u.arbitrary()? {
            let tokens: Result<Vec<&str>, _> = u.arbitrary_iter::<u8>()?.take(64).map(token).collect();
            tokens?.concat()
        } else {
            String::from_utf8_lossy(u.bytes(u.len())?).into_owned()
        };
        Ok(Input { condition, msg })
    }
}

fn token(byte: arbitrary::Result<u8>) -> arbitrary::Result<&'static str> {
    byte.map(|byte| TOKENS[usize::from(byte) % TOKENS.len()])
}

fn message(u: &mut Unstructured<'_>) -> arbitrary::Result<OwnedMessage> {
    let text = |key: &str, text: &str| (key.to_owned(), Some(text.to_owned()));
    let mut application = vec![("nil".to_owned(), None)];
    for name in ["a", "b", "n", "$a", "$body.b"] {
        if u.ratio(2, 3)? {
            application.push(text(name, u.choose(&TEXTS)?));
        }
    }
    let mut system = vec![text("S", u.choose(&TEXTS)?)];
    if u.ratio(5, 6)? {
        system.extend([text("contentType", "application/json"), text("contentEncoding", "utf-8")]);
    }
    Ok(OwnedMessage { application, system, body: u.choose(&BODIES)?.as_bytes().to_vec() })
}

/// Whether the crate refused for a limit, which the oracle does not have.
fn is_limit(code: &str) -> bool {
    matches!(code, "too-deep" | "too-long")
}

fn check_condition(condition: &str, msg: &OwnedMessage) -> bool {
    let compiled = Condition::compile(condition, Features { twin_change_includes: true });
    if compiled.as_ref().is_err_and(|errors| is_limit(errors[0].problem.code())) {
        return false;
    }
    match (compiled, naive::Condition::compile(condition, true)) {
        (Ok(compiled), Ok(plain)) => assert_eq!(compiled.evaluate(msg), plain.verdict(msg), "{condition}"),
        (Err(_), Err(_)) => return false,
        (Ok(_), Err(why)) => panic!("accepted: {condition}: {why}"),
        (Err(errors), Ok(_)) => panic!("refused: {condition}: {}", errors[0]),
    }
    true
}

/// The condition twice, as it is and behind an equality, so that the routes share its parts.
fn check_routes(condition: &str, msg: &OwnedMessage) {
    let sink = |input: u8| format!("INTO BrokeredEndpoint('/modules/m/inputs/{input}')");
    let decls = [
        RouteDecl::new("whole", format!("FROM /* WHERE {condition} {}", sink(0))),
        RouteDecl::new("a", format!("FROM /* WHERE a = 'a' AND is_defined(({condition})) {}", sink(1))),
        RouteDecl::new("b", format!("FROM /* WHERE a = 'b' OR is_defined(({condition})) {}", sink(2))),
    ];
    let plain: Vec<_> = decls.iter().map(|decl| naive::Route::compile("edge", decl)).collect();
    match RouteSet::compile("edge", &decls) {
        Ok(set) => {
            let plain: Vec<naive::Route> =
                plain.into_iter().map(|r| r.unwrap_or_else(|e| panic!("{e}"))).collect();
            let mut decisions = Decisions::new();
            set.evaluate(Source::Device, msg, &mut decisions);
            let got: Vec<usize> = decisions.iter().map(|d| d.route_index as usize).collect();
            let expected: Vec<usize> =
                naive::deliver(&plain, "/messages/", msg).iter().map(|d| d.route_index).collect();
            assert_eq!(got, expected, "{condition}");
            let told = set.explain(Source::Device, msg).routes;
            let verdicts: Vec<Option<Verdict>> = told.iter().map(|route| route.verdict).collect();
            let expected: Vec<_> = plain.iter().map(|route| route.verdict("/messages/", msg)).collect();
            assert_eq!(verdicts, expected, "{condition}");
        }
        Err(errors) if errors.iter().any(|error| is_limit(error.problem.code())) => {}
        Err(errors) => assert!(plain.iter().any(Result::is_err), "refused: {condition}: {}", errors[0]),
    }
}

fuzz_target!(|input: Input| {
    let Input { condition, msg } = input;
    if condition.len() <= CONDITION_BYTES_MAX && check_condition(&condition, &msg) {
        check_routes(&condition, &msg);
    }
});
