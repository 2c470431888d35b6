//! Messages that have, or have not, what the conditions ask for.

use edgehub_router::OwnedMessage;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value};

/// Application properties that conditions name.
pub const PROPERTIES: [&str; 9] = ["kind", "count", "color", "temp", "nil", "a-b", "a.b", "1a", "été"];

/// System properties that conditions name, without the `$`; some are application properties with it.
pub const SYSTEM_PROPERTIES: [&str; 6] = ["sysA", "messageId", "dup", "contentType", "twin.tags.a", "none"];

/// Names in bodies.
pub const BODY_NAMES: [&str; 8] = ["a", "b", "c", "A", "a-b", "é", "flag", "t"];

/// Application properties with a name that looks like another thing.
const DOLLAR_PROPERTIES: [&str; 4] = ["$dup", "$sysA", "$body.a", "$Body.B"];

/// A message that shows itself in one line.
#[derive(Clone)]
pub struct Shown(pub OwnedMessage);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.0.body);
        write!(f, "application {:?} system {:?} body {body:?}", self.0.application, self.0.system)
    }
}

type Bag = Vec<(String, Option<String>)>;

fn property_text() -> impl Strategy<Value = String> {
    let fixed = select(vec![
        "a", "b", "red", "RED", "", "3", " 3 ", "2.5", "1,234", "(5)", "-1e1", "0x10", "é", "ß", "😀x",
        "AND", "\u{ffff}", "Infinity", "NaN", "¤5-", "true", "1 2",
    ]);
    prop_oneof![6 => fixed.prop_map(str::to_owned), 1 => "[ -~é😀]{0,6}"]
}

/// Under each name a text, null, or nothing; the name in any case.
fn bag(names: &[&'static str]) -> BoxedStrategy<Bag> {
    let one = |name: &&'static str| {
        let name = *name;
        let value = prop_oneof![
            5 => property_text().prop_map(|text| Some(Some(text))),
            3 => Just(None),
            1 => Just(Some(None)),
        ];
        (value, 0..6_u8).prop_map(move |(value, case)| {
            let name = if case == 0 { name.to_uppercase() } else { name.to_owned() };
            value.map(|text| (name, text))
        })
    };
    let all: Vec<_> = names.iter().map(one).collect();
    all.prop_map(|bag| bag.into_iter().flatten().collect()).boxed()
}

fn json() -> impl Strategy<Value = Value> {
    let texts = select(vec![
        "a",
        "b",
        "",
        "red",
        "3",
        "é",
        "😀",
        "true",
        "2020-01-01T00:00:00Z",
        "2020-01-01",
        "2020-02-30T00:00:00Z",
        "2020-02-29T23:59:59.1234567+02:00",
        "/Date(0)/",
        "line\nbreak\t\"\\/\u{8}",
    ]);
    let leaf = prop_oneof![
        3 => (-3_i32..100).prop_map(Value::from),
        1 => select(vec![0.5, -2.25, 1e3, 1e15]).prop_map(Value::from),
        1 => Just(Value::from(u64::MAX)),
        3 => texts.prop_map(Value::from),
        2 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            members(inner).prop_map(Value::from),
        ]
    })
}

fn members(of: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec((select(BODY_NAMES.to_vec()), of), 0..6)
        .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Strict JSON, or what no reader takes.
fn body_text() -> impl Strategy<Value = String> {
    let document = (members(json()), any::<bool>()).prop_map(|(members, pretty)| {
        let document = Value::Object(members);
        if pretty { format!("{document:#}") } else { document.to_string() }
    });
    let repeated = Just(r#"{"a":1,"b":{"a":2},"a":{"b":[1]},"flag":true,"b":null}"#.to_owned());
    let broken = select(vec!["", "[1]", "5", "{\"a\":1} x", "{\"a\":", "no json", "\u{feff}{}", "{\"a\":1]"]);
    prop_oneof![20 => document, 1 => repeated, 2 => broken.prop_map(str::to_owned)]
}

fn metadata() -> impl Strategy<Value = Bag> {
    let kind =
        select(vec!["application/json", "Application/JSON", "application/json; charset=utf-8", "text/plain"]);
    let encoding = select(vec!["utf-8", "UTF-8", "utf-16", "utf-32", "utf8"]);
    let pair = |kind: &str, encoding: &str| {
        let text = |key: &str, text: &str| (key.to_owned(), Some(text.to_owned()));
        vec![text("contentType", kind), text("ContentEncoding", encoding)]
    };
    prop_oneof![
        12 => Just(pair("application/json", "utf-8")),
        4 => (kind, encoding).prop_map(move |(kind, encoding)| pair(kind, encoding)),
        1 => Just(Vec::new()),
    ]
}

fn encoded(text: &str, system: &Bag) -> Vec<u8> {
    let encoding =
        system.iter().find(|(key, _)| key == "ContentEncoding").and_then(|(_, value)| value.as_deref());
    match encoding {
        Some("utf-16") => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        Some("utf-32") => text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect(),
        _ => text.as_bytes().to_vec(),
    }
}

/// A message.
pub fn message() -> impl Strategy<Value = Shown> {
    let dollar = prop_oneof![6 => Just(Bag::new()), 1 => bag(&DOLLAR_PROPERTIES)];
    let named = bag(&["sysA", "messageId", "dup", "twin.tags.a"]);
    (bag(&PROPERTIES), dollar, named, metadata(), body_text()).prop_map(
        |(mut application, dollar, named, mut system, body)| {
            application.extend(dollar);
            let body = encoded(&body, &system);
            system.extend(named);
            Shown(OwnedMessage { application, system, body })
        },
    )
}
