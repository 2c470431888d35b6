//! Any body is read or found unreadable; strict JSON objects are always read, and the tree of wanted
//! paths finds the same as one pass for a single path.
#![no_main]

use edgehub_router::{Condition, Features, OwnedMessage, Verdict};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const PATHS: [&str; 8] = ["a", "a.b", "a.b[0]", "a[1]", "a[1].b", "b", "a.*", "*"];

fn compile(text: &str) -> Condition {
    match Condition::compile(text, Features::default()) {
        Ok(condition) => condition,
        Err(errors) => panic!("{text}: {}", errors[0]),
    }
}

static ALONE: LazyLock<Vec<Condition>> =
    LazyLock::new(|| PATHS.iter().map(|path| compile(&format!("is_null($body.{path})"))).collect());

/// Condition `i` looks at path `i`, but reads the others with it.
static TOGETHER: LazyLock<Vec<Condition>> = LazyLock::new(|| {
    let others = PATHS.map(|path| format!("is_number($body.{path})")).join(" OR ");
    let one = |path| compile(&format!("is_null($body.{path}) AND ({others} OR true)"));
    PATHS.iter().map(one).collect()
});

static READABLE: LazyLock<Condition> = LazyLock::new(|| compile("$body.none_of_these = null"));

fuzz_target!(|body: &[u8]| {
    let text = |key: &str, text: &str| (key.to_owned(), Some(text.to_owned()));
    let mut msg = OwnedMessage {
        system: vec![text("contentType", "application/json"), text("contentEncoding", "utf-8")],
        body: body.to_vec(),
        ..OwnedMessage::default()
    };
    for (alone, together) in ALONE.iter().zip(TOGETHER.iter()) {
        assert_eq!(alone.evaluate(&msg), together.evaluate(&msg));
    }
    let strict = serde_json::from_slice::<serde_json::Map<_, serde_json::Value>>(body).is_ok();
    let readable = READABLE.evaluate(&msg) == Verdict::True;
    // The library allows 128 levels of nesting, the router 64.
    let shallow = body.iter().filter(|b| matches!(b, b'{' | b'[')).count() <= 64;
    assert!(readable || !strict || !shallow || body.windows(15).any(|w| w == b"\"none_of_these\""));
    for encoding in ["utf-16", "utf-32"] {
        msg.system[1] = text("contentEncoding", encoding);
        READABLE.evaluate(&msg);
    }
});
