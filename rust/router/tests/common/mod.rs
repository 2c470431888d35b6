//! Reading vectors and making messages of them.
#![allow(dead_code, reason = "each test binary uses a part")]

use edgehub_router::{OwnedMessage, Verdict};
use serde_json::Value;

/// A file of `tests/vectors/routing`.
pub fn load(name: &str) -> Value {
    let path = format!("{}/../../tests/vectors/routing/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Its cases.
pub fn cases(vectors: &Value) -> &[Value] {
    vectors["cases"].as_array().unwrap_or_else(|| panic!("no cases"))
}

/// A text that must be there.
pub fn field<'v>(case: &'v Value, name: &str) -> &'v str {
    case[name].as_str().unwrap_or_else(|| panic!("{name} of {case}"))
}

/// A message with the case's `application`, `system` and `body`; a body that is no text is JSON.
pub fn message(case: &Value) -> OwnedMessage {
    let body = match &case["body"] {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        json => json.to_string().into_bytes(),
    };
    OwnedMessage { application: bag(&case["application"]), system: bag(&case["system"]), body }
}

fn bag(value: &Value) -> Vec<(String, Option<String>)> {
    let Some(map) = value.as_object() else { return Vec::new() };
    map.iter().map(|(key, text)| (key.clone(), text.as_str().map(str::to_owned))).collect()
}

/// T, F or U.
pub fn verdict_letter(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::True => "T",
        Verdict::False => "F",
        Verdict::Undefined => "U",
    }
}
