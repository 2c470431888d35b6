//! The body scanner against a JSON library, and the rules beyond strict JSON.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod reference;

use edgehub_router::{Condition, Decisions, Features, OwnedMessage, RouteDecl, RouteSet, Source, Verdict};
use proptest::prelude::*;
use reference::Json;
use serde_json::{Map, Value};

fn with_body(body: impl Into<Vec<u8>>, encoding: &str) -> OwnedMessage {
    let text = |key: &str, text: &str| (key.to_owned(), Some(text.to_owned()));
    OwnedMessage {
        system: vec![text("contentType", "application/json"), text("contentEncoding", encoding)],
        body: body.into(),
        ..OwnedMessage::default()
    }
}

fn eval(condition: &str, msg: &OwnedMessage) -> Verdict {
    Condition::compile(condition, Features::default()).unwrap().evaluate(msg)
}

fn holds(condition: &str, body: &str) -> bool {
    eval(condition, &with_body(body, "utf-8")) == Verdict::True
}

/// Whether the body can be read at all: then a path that leads nowhere is null.
fn readable(body: &[u8]) -> bool {
    eval("$body.none_of_these = null", &with_body(body, "utf-8")) == Verdict::True
}

#[derive(Debug, Clone)]
enum Step {
    Name(&'static str),
    Index(usize),
}

fn path_text(path: &[Step]) -> String {
    let mut text = String::from("$body");
    for step in path {
        match step {
            Step::Name(name) => text = format!("{text}.{name}"),
            Step::Index(index) => text = format!("{text}[{index}]"),
        }
    }
    text
}

fn at<'v>(value: &'v Value, path: &[Step]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Name(name) => value.as_object()?.get(*name),
        Step::Index(index) => value.as_array()?.get(*index),
    })
}

/// A condition that is true of the value found.
fn true_of(path: &str, found: Option<&Value>) -> String {
    match found {
        None => format!("{path} = null AND NOT is_null({path})"),
        Some(Value::Null) => format!("{path} = null AND is_null({path})"),
        Some(Value::Bool(b)) => format!("{path} = {b}"),
        Some(Value::Number(n)) => format!("{path} = {n}"),
        Some(Value::String(s)) => {
            let escaped = s.encode_utf16().fold(String::new(), |text, u| format!("{text}\\u{u:04x}"));
            format!("{path} = '{escaped}'")
        }
        Some(_) => format!("NOT is_defined({path})"),
    }
}

const NAMES: [&str; 4] = ["a", "b", "é", "a-b"];

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1e6_f64..1e6).prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(Value::from("2020-01-01T00:00")),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let name = prop::sample::select(NAMES.to_vec());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..4).prop_map(|members| {
                Value::Object(members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>())
            }),
        ]
    })
}

fn document() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(NAMES.to_vec());
    prop::collection::vec((name, json()), 0..4).prop_map(|members| {
        Value::Object(members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>())
    })
}

fn path() -> impl Strategy<Value = Vec<Step>> {
    let name = || prop::sample::select(NAMES.to_vec()).prop_map(Step::Name);
    let step = prop_oneof![2 => name(), 1 => (0_usize..3).prop_map(Step::Index)];
    (name(), prop::collection::vec(step, 0..4)).prop_map(|(first, rest)| {
        let mut path = vec![first];
        path.extend(rest);
        path
    })
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn utf32(text: &str) -> Vec<u8> {
    text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect()
}

/// Things that may stand between two tokens.
const BLANKS: [&str; 12] = [
    "",
    "",
    "",
    " ",
    "\n",
    "\n      ",
    "\r\n\t",
    "             ",
    "/*c*/",
    "// c\n",
    "/***/ ",
    "\u{a0}\u{2003}",
];

/// Scalars of every form.
const SCALARS: [&str; 39] = [
    "0",
    "7",
    "-1",
    "31.5",
    "-0.25",
    "1234567",
    "12345678",
    "123456789.123456789",
    "1.0",
    "1.",
    ".5",
    "1e3",
    "-1.5E-2",
    "010",
    "0x1F",
    "00",
    "9007199254740993",
    "0.1",
    "true",
    "false",
    "null",
    "undefined",
    "NaN",
    "Infinity",
    "-Infinity",
    "'x'",
    r#""""#,
    "\"\u{e9}\"",
    r#""a \"quoted\" \u0041\n""#,
    r#"'it\'s "so"'"#,
    r#""\ud83d\ude00\ud83d""#,
    r#""2020-01-01""#,
    r#""2020-01-01T00:00:00Z""#,
    r#""/Date(0)/""#,
    "\"\n\"",
    r#""1""#,
    "",
    r#""////////////////////////////////////////////////////////////////////////""#,
    r#""{[,:]}\\ \\\"""#,
];

/// What is no scalar.
const BROKEN: [&str; 15] = [
    "09",
    "0xg",
    "-0x1",
    "1-2",
    "--1",
    "1x",
    "tru",
    "truex",
    "1 2",
    "+1",
    r#""\q""#,
    r#""\u12g4""#,
    "-",
    ".",
    "\"open",
];

/// Names, some of them equal under different spellings.
const SPELLED: [&str; 11] = [
    "\"a\"",
    "'a'",
    "a",
    "\"\\u0061\"",
    "\"b\"",
    "b",
    "\"c\"",
    "\"sensor-temperature\"",
    "\"a-name-that-takes-more-bytes-than-a-window-shows-or-nearly-so\"",
    "\"x\\ty\"",
    "é",
];

/// Lenient JSON of every style; now and then not quite.
fn lenient() -> impl Strategy<Value = String> {
    let blank = || prop::sample::select(BLANKS.to_vec());
    let leaf = prop_oneof![
        60 => prop::sample::select(SCALARS.to_vec()).prop_map(String::from),
        1 => prop::sample::select(BROKEN.to_vec()).prop_map(String::from),
        10 => "[0-9]{1,20}(\\.[0-9]{1,20})?",
        10 => "\"[a-z /\u{e9}]{0,90}\"",
    ];
    let value = leaf.prop_recursive(4, 40, 5, move |inner| {
        let element = (blank(), inner.clone(), blank()).prop_map(|(b, v, a)| format!("{b}{v}{a}"));
        let name = prop::sample::select(SPELLED.to_vec());
        let member = (blank(), name, prop::sample::select(vec!["", "", " "]), element.clone())
            .prop_map(|(b, n, a, v)| format!("{b}{n}{a}:{v}"));
        let end = || prop::sample::select(vec!["", "", "", ",", " "]);
        prop_oneof![
            2 => (prop::collection::vec(element, 0..5), end()).prop_map(|(e, end)| format!("[{}{end}]", e.join(","))),
            3 => (prop::collection::vec(member, 0..6), end())
                .prop_map(|(m, end)| format!("{{{}{end}}}", m.join(","))),
        ]
    });
    let noise = prop::sample::select(vec![
        "", "", "", "", "", "", "", "", "{", "}", "[", "]", ",", ":", "\"", "\\", "'", "/", "/*",
    ]);
    (prop::collection::vec(("[abc]", value), 0..4), noise, any::<prop::sample::Index>()).prop_map(
        |(members, noise, place)| {
            let members: Vec<String> = members.into_iter().map(|(n, v)| format!("\"{n}\":{v}")).collect();
            let mut text = format!("{{{}}}", members.join(","));
            let mut at = place.index(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            text.insert_str(at, noise);
            text
        },
    )
}

const PATHS: [&[reference::Step]; 18] = {
    use reference::Step::{Any, Index, Name};
    [
        &[Name("a")],
        &[Name("b")],
        &[Name("a"), Name("a")],
        &[Name("a"), Name("b")],
        &[Name("a"), Index(0)],
        &[Name("a"), Index(2)],
        &[Name("a"), Index(1), Name("a")],
        &[Name("b"), Name("sensor-temperature")],
        &[Name("b"), Name("c"), Name("a")],
        &[Name("b"), Name("c"), Name("b"), Index(0)],
        &[Name("a"), Name("a-name-that-takes-more-bytes-than-a-window-shows-or-nearly-so")],
        &[Any],
        &[Any, Name("a")],
        &[Any, Any],
        &[Name("a"), Any],
        &[Name("a"), Any, Name("b")],
        &[Name("b"), Any, Any, Index(0)],
        &[Any, Any, Any],
    ]
};

fn route_path(path: &[reference::Step]) -> String {
    path.iter().fold(String::from("$body"), |text, step| match step {
        reference::Step::Name(name) => format!("{text}.{name}"),
        reference::Step::Any => format!("{text}.*"),
        reference::Step::Index(index) => format!("{text}[{index}]"),
    })
}

/// Strings of this test that the rules take for dates.
fn is_date(text: &str) -> bool {
    ["2020-01-01T00:00:00Z", "/Date(0)/"].contains(&text)
}

/// A condition that is true of what the slow reader found, and the property `n` that it looks at.
fn true_of_json(path: &str, found: &[&Json]) -> (String, String) {
    let condition = match found {
        [] => format!("{path} = null AND NOT is_null({path})"),
        [Json::Null] => format!("{path} = null AND is_null({path})"),
        [Json::Bool(b)] => format!("{path} = {b}"),
        [Json::Number(n)] => {
            let n = if n.is_finite() { format!("{n:?}") } else { n.to_string().replace("inf", "Infinity") };
            return (format!("{path} = as_number(n)"), n);
        }
        [Json::Text(text)] if !is_date(text) => return (format!("{path} = n"), text.clone()),
        _ => format!("NOT is_defined({path})"),
    };
    (condition, String::new())
}

fn encodings(text: &str) -> [OwnedMessage; 3] {
    [with_body(text.as_bytes(), "utf-8"), with_body(utf16(text), "utf-16"), with_body(utf32(text), "utf-32")]
}

/// All paths in one set of routes, so that they are found in one reading; the results one by one.
fn all_paths() -> Vec<String> {
    PATHS
        .iter()
        .map(|path| format!("is_null({0}) OR is_number({0}) OR is_string({0})", route_path(path)))
        .collect()
}

fn matched(conditions: &[String], msg: &OwnedMessage) -> Vec<u32> {
    let decl = |(i, condition)| {
        RouteDecl::new(
            format!("r{i}"),
            format!("FROM /messages/* WHERE {condition} INTO BrokeredEndpoint('/modules/m{i}/inputs/i')"),
        )
    };
    let decls: Vec<RouteDecl> = conditions.iter().enumerate().map(decl).collect();
    let mut decisions = Decisions::new();
    RouteSet::compile("edge", &decls).unwrap().evaluate(Source::Device, msg, &mut decisions);
    decisions.iter().map(|decision| decision.route_index).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn finds_what_a_json_library_finds(doc in document(), path in path(), pretty in any::<bool>()) {
        let text = if pretty { format!("{doc:#}") } else { doc.to_string() };
        let condition = true_of(&path_text(&path), at(&doc, &path));
        for msg in [
            with_body(text.as_bytes(), "utf-8"),
            with_body(utf16(&text), "UTF-16"),
            with_body(utf32(&text), "utf-32"),
        ] {
            prop_assert_eq!(eval(&condition, &msg), Verdict::True, "{} of {}", condition, text);
        }
    }

    #[test]
    fn finds_what_a_slow_reader_finds(text in lenient()) {
        let document = reference::read(&text);
        prop_assert_eq!(readable(text.as_bytes()), document.is_some(), "{}", text);
        let Some(document) = document else { return Ok(()) };
        for path in PATHS {
            let (condition, n) = true_of_json(&route_path(path), &reference::find(&document, path));
            for mut msg in encodings(&text) {
                msg.application.push(("n".to_owned(), Some(n.clone())));
                prop_assert_eq!(eval(&condition, &msg), Verdict::True, "{} of {}", condition, text);
            }
        }
    }

    #[test]
    fn paths_read_together_are_those_read_alone(text in lenient()) {
        let msg = with_body(text.as_bytes(), "utf-8");
        let conditions = all_paths();
        let alone: Vec<u32> = (0..).zip(&conditions).filter(|(_, c)| eval(c, &msg) == Verdict::True).map(|(i, _)| i).collect();
        prop_assert_eq!(matched(&conditions, &msg), alone, "{}", text);
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        text in lenient(),
        place in any::<prop::sample::Index>(),
        inside in any::<bool>(),
    ) {
        let mut bytes = noise;
        if inside {
            let at = place.index(text.len());
            bytes = [&text.as_bytes()[..at], &bytes, &text.as_bytes()[at..]].concat();
        }
        for encoding in ["utf-8", "utf-16", "utf-32"] {
            matched(&all_paths(), &with_body(bytes.clone(), encoding));
        }
    }

    #[test]
    fn a_wildcard_finds_the_only_member(doc in document()) {
        let msg = with_body(doc.to_string(), "utf-8");
        let members = doc.as_object().unwrap();
        let condition = match members.len() {
            0 | 1 => true_of("$body.*", members.values().next()),
            _ => "NOT is_defined($body.*)".to_owned(),
        };
        prop_assert_eq!(eval(&condition, &msg), Verdict::True, "{} of {}", condition, doc);
    }

    #[test]
    fn every_cut_makes_a_document_unreadable(doc in document(), cut in any::<prop::sample::Index>()) {
        let text = doc.to_string();
        prop_assert!(readable(text.as_bytes()));
        prop_assert!(!readable(&text.as_bytes()[..cut.index(text.len())]));
    }

    #[test]
    fn strict_json_is_readable_and_noise_does_no_harm(
        doc in document(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = doc.to_string().into_bytes();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let strict = serde_json::from_slice::<Value>(&bytes).is_ok_and(|v| v.is_object());
        prop_assert!(!strict || readable(&bytes), "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn lenient_forms_are_read() {
    for body in [
        "{a:1}",
        "{$a_1:1}",
        "{é:1}",
        "{1:2}",
        "{'a':'b'}",
        r#"{"a":'it\'s'}"#,
        "{\"a\":\"line\nbreak\"}",
        "{\"a\":1,}",
        "{\"a\":[1,]}",
        "{\"a\":[1,,2]}",
        "{\"a\":,}",
        "{\"a\":undefined}",
        "// c\n{\"a\":/*x*/1/**/}// end",
        "{\"a\" : .5}",
        "{\"a\":1.}",
        "\u{a0}{\u{3000}\"a\"\u{2003}:1\u{a0}}\u{a0}",
        "{\"a\":-Infinity}",
    ] {
        assert!(readable(body.as_bytes()), "{body}");
    }
}

#[test]
fn broken_forms_are_not() {
    for body in [
        "",
        "{",
        "}",
        "[]",
        "5",
        "null",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1]",
        "{,}",
        "{\"a\":1,,}",
        "{\"a\":tru}",
        "{\"a\":truex}",
        "{\"a\":1x}",
        "{\"a\":09}",
        "{\"a\":-0x1}",
        "{\"a\":\"\\q\"}",
        "{\"a\":\"\\u12G4\"}",
        "{\"a\":1}}",
        "{\"a\":1} x",
        "{\"a\":1},",
        "{\"a\":1}/*",
        "{\"a\":1}/",
        "{a b:1}",
        "{\"a\"/*c*/:1}",
        "{-:1}",
        "\u{feff}{\"a\":1}",
        "{\"a\":+1}",
        "{\"a\":\"open}",
        "{\"a\":new Date(1)}",
        "{\"a\":\u{0}1}",
    ] {
        assert!(!readable(body.as_bytes()), "{body}");
    }
}

#[test]
fn numbers_in_other_bases() {
    assert!(holds("$body.a = 8", "{\"a\":010}"));
    assert!(holds("$body.a = 255", "{\"a\":0xFF}"));
    assert!(holds("$body.a = - 1", "{\"a\":-01}"));
    assert!(holds("$body.a = 1000", "{\"a\":1E3}"));
    assert!(holds("$body.a = 12345678901234567890", "{\"a\":12345678901234567890}"));
    assert!(holds("$body.a < 0 and not is_number($body.a)", "{\"a\":-Infinity}"));
}

#[test]
fn escapes_and_surrogates() {
    assert!(holds(r"$body.a = '\u0008\u0009\u000a\u000c\u000d\\/'", r#"{"a":"\b\t\n\f\r\\\/"}"#));
    assert!(holds(r"$body.a = '\uD83D\uDE00'", r#"{"a":"\ud83d\uDE00"}"#));
    assert!(holds(r"$body.a = '\ufffdx'", r#"{"a":"\ud83dx"}"#));
    assert!(holds(r"$body.a = '\ufffd\ufffd'", r#"{"a":"\ude00\ud83d"}"#));
    assert!(holds("$body.key = 1", r#"{"\u006bey":1}"#));
}

#[test]
fn the_last_of_equal_names_counts_and_takes_all() {
    assert!(holds("$body.a.y = 2 and not is_null($body.a.x)", r#"{"a":{"x":1},"a":{"y":2}}"#));
    assert!(holds("$body.a = 3 and not is_null($body.a.x)", r#"{"a":{"x":1},"a":3}"#));
    assert!(holds("$body.* = 2", r#"{"a":1,"a":2}"#));
    assert!(holds("not is_null($body.a[1])", r#"{"a":[1,2],"a":[1]}"#));
}

#[test]
fn wildcards_go_anywhere_in_a_path() {
    assert!(holds("$body.*.x = 1", r#"{"a":{"x":1},"b":{"y":2},"c":3}"#));
    assert!(holds("not is_defined($body.*.x)", r#"{"a":{"x":1},"b":{"x":1}}"#));
    assert!(holds("$body.a.*[1] = 2", r#"{"a":{"b":[1,2]}}"#));
    assert!(holds("$body.*.x = null", r#"{"a":[1],"b":"x"}"#));
    assert!(holds("$body.a.* = null", r#"{"a":[1]}"#));
}

#[test]
fn depth_has_a_limit() {
    let nested = |depth: usize| format!("{}{}", "{\"a\":".repeat(depth - 1) + "{", "}".repeat(depth));
    assert!(readable(nested(64).as_bytes()));
    assert!(!readable(nested(65).as_bytes()));
    let arrays = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(readable(arrays(63).as_bytes()));
    assert!(!readable(arrays(64).as_bytes()));
}

#[test]
fn bytes_that_are_no_text_become_replacement_characters() {
    let msg = with_body(b"{\"a\":\"x\xffy\"}".to_vec(), "utf-8");
    assert_eq!(eval(r"$body.a = 'x\ufffdy'", &msg), Verdict::True);
    let mut cut = utf16("{\"a\":1}");
    cut.push(b' ');
    assert_eq!(eval("$body.a = 1", &with_body(cut, "utf-16")), Verdict::Undefined);
    let lone = [utf16("{\"a\":\""), vec![0x00, 0xd8], utf16("\"}")].concat();
    assert_eq!(eval(r"$body.a = '\ufffd'", &with_body(lone, "utf-16")), Verdict::True);
}

#[test]
fn dates_are_undefined_only_when_they_are_dates() {
    assert!(holds("not is_defined($body.a)", r#"{"a":"2020-02-29T12:30:00+02:00"}"#));
    assert!(holds("not is_defined($body.a)", r#"{"a":"\u0032020-02-29T12:30:00Z"}"#));
    assert!(holds("is_string($body.a)", r#"{"a":"2019-02-29T12:30:00Z"}"#));
}

#[test]
fn a_path_with_an_index_is_never_a_property() {
    let mut msg = with_body(r#"{"a":[1]}"#, "utf-8");
    msg.application = vec![("$body.a[0]".into(), Some("x".into())), ("$body.a".into(), Some("y".into()))];
    assert_eq!(eval("$body.a[0] = 1", &msg), Verdict::True);
    assert_eq!(eval("$body.a = 'y'", &msg), Verdict::True);
    assert_eq!(eval("is_defined({$body.a})", &msg), Verdict::False);
}

#[test]
fn names_are_found_among_many() {
    let name = |i: usize| format!("name-{i}{}", "x".repeat(i % 90));
    let conditions: Vec<String> = (0..2_000).map(|i| format!("$body.o.{} = {i}", name(i))).collect();
    let members: Vec<String> = (0..2_000).step_by(7).map(|i| format!("\"{}\":{i}", name(i))).collect();
    let body = format!("{{\"o\":{{{}}}}}", members.join(","));
    let expected: Vec<u32> = (0..2_000).step_by(7).collect();
    assert_eq!(matched(&conditions, &with_body(body, "utf-8")), expected);
}

#[test]
fn elements_are_found_among_many() {
    let conditions: Vec<String> = (0..500).rev().map(|i| format!("$body.a[{}] = {i}", i * 3)).collect();
    let body =
        format!("{{\"a\":[{}]}}", (0..900).map(|i| format!("{}.0", i / 3)).collect::<Vec<_>>().join(","));
    let expected: Vec<u32> = (200..500).collect();
    assert_eq!(matched(&conditions, &with_body(body, "utf-8")), expected);
}

#[test]
fn a_member_that_comes_again_takes_back_what_was_below() {
    let conditions: Vec<String> =
        ["a.x", "a.y.z", "a.*", "a.y.*", "a.y", "a"].map(|path| format!("$body.{path} = null")).into();
    let missing = |body: &str| matched(&conditions, &with_body(body, "utf-8"));
    let whole = r#""a":{"x":1,"y":{"z":2}}"#;
    assert_eq!(missing(&format!("{{{whole}}}")), [] as [u32; 0]);
    assert_eq!(missing(&format!(r#"{{{whole},"a":1}}"#)), [0, 1, 2, 3, 4]);
    assert_eq!(missing(&format!(r#"{{{whole},"a":{{}}}}"#)), [0, 1, 2, 3, 4]);
    assert_eq!(missing(&format!(r#"{{{whole},"a":{{"y":[]}}}}"#)), [0, 1, 3]);
    assert_eq!(missing(&format!(r#"{{"a":3,{whole},{whole}}}"#)), [] as [u32; 0]);
    assert_eq!(missing(r#"{"a":{"y":{"z":1},"x":1,"y":{"w":1}}}"#), [1]);
}

#[test]
fn strings_end_where_they_end() {
    for len in 0..300 {
        let text = "s".repeat(len);
        let body = format!(r#"{{"{text}":"{text}","k\u0065y":"{text}\n{text}","a":"{text}"}}"#);
        assert!(holds(&format!("$body.a = '{text}'"), &body), "{len}");
        assert!(holds(&format!("$body.key = '{text}\\u000a{text}'"), &body), "{len}");
    }
}

#[test]
fn too_many_members_below_a_wildcard_are_undefined() {
    let body = |members: usize| {
        let others: Vec<String> = (1..members).map(|i| format!("m{i}:0")).collect();
        format!("{{a:{{first:{{x:5}},{}}}}}", others.join(","))
    };
    assert!(holds("$body.a.*.x = 5", &body(1 << 16)));
    assert!(holds("not is_defined($body.a.*.x)", &body((1 << 16) + 1)));
}
