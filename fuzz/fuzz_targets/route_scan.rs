//! What the body scanner finds in strict JSON is what a JSON library finds.
#![no_main]

use std::sync::LazyLock;

use edgehub_router::{Condition, Features, OwnedMessage, Verdict};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

const PATHS: [&[&str]; 7] =
    [&["a"], &["b"], &["a", "a"], &["a", "b"], &["a", "b", "a"], &["a", "1"], &["a", "0", "b"]];

/// Conditions on one path; `n` is the property that holds the text or number expected.
struct Questions {
    missing: Condition,
    null: Condition,
    on: Condition,
    off: Condition,
    number: Condition,
    text: Condition,
    undefined: Condition,
}

fn compile(text: &str) -> Condition {
    match Condition::compile(text, Features::default()) {
        Ok(condition) => condition,
        Err(errors) => panic!("{text}: {}", errors[0]),
    }
}

fn questions(path: &[&str]) -> Questions {
    let path = path.iter().fold(String::from("$body"), |text, step| match step.parse::<u32>() {
        Ok(index) => format!("{text}[{index}]"),
        Err(_) => format!("{text}.{step}"),
    });
    Questions {
        missing: compile(&format!("{path} = null AND NOT is_null({path})")),
        null: compile(&format!("{path} = null AND is_null({path})")),
        on: compile(&format!("{path} = true")),
        off: compile(&format!("{path} = false")),
        number: compile(&format!("{path} = as_number(n)")),
        text: compile(&format!("{path} = n")),
        undefined: compile(&format!("NOT is_defined({path})")),
    }
}

static QUESTIONS: LazyLock<Vec<Questions>> =
    LazyLock::new(|| PATHS.iter().map(|path| questions(path)).collect());

fn at<'v>(document: &'v Map<String, Value>, path: &[&str]) -> Option<&'v Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(document.get(*first)?, |value, step| match step.parse::<usize>() {
        Ok(index) => value.as_array()?.get(index),
        Err(_) => value.as_object()?.get(*step),
    })
}

fuzz_target!(|body: &[u8]| {
    // The library allows 128 levels of nesting, the router 64.
    let shallow = body.iter().filter(|b| matches!(b, b'{' | b'[')).count() <= 64;
    let Ok(document) = serde_json::from_slice::<Map<String, Value>>(body) else { return };
    if !shallow {
        return;
    }
    let text = |key: &str, text: &str| (key.to_owned(), Some(text.to_owned()));
    let mut msg = OwnedMessage {
        system: vec![text("contentType", "application/json"), text("contentEncoding", "utf-8")],
        body: body.to_vec(),
        ..OwnedMessage::default()
    };
    for (path, questions) in PATHS.iter().zip(QUESTIONS.iter()) {
        let (question, n) = match at(&document, path) {
            None => (&questions.missing, String::new()),
            Some(Value::Null) => (&questions.null, String::new()),
            Some(Value::Bool(true)) => (&questions.on, String::new()),
            Some(Value::Bool(false)) => (&questions.off, String::new()),
            Some(Value::Number(n)) => (&questions.number, n.to_string()),
            // What looks like a date is undefined.
            Some(Value::String(s)) if s.starts_with(|c: char| c == '/' || c.is_ascii_digit()) => continue,
            Some(Value::String(s)) => (&questions.text, s.clone()),
            Some(Value::Array(_) | Value::Object(_)) => (&questions.undefined, String::new()),
        };
        msg.application = vec![text("n", &n)];
        assert_eq!(question.evaluate(&msg), Verdict::True, "{path:?}");
    }
});
