//! Messages with a JSON body, and what conditions make of them.
#![allow(dead_code, reason = "each test binary uses a part")]

use edgehub_router::{Condition, Decisions, Features, OwnedMessage, RouteDecl, RouteSet, Source, Verdict};

pub fn with_body(body: impl Into<Vec<u8>>, encoding: &str) -> OwnedMessage {
    let text = |key: &str, text: &str| (key.to_owned(), Some(text.to_owned()));
    OwnedMessage {
        system: vec![text("contentType", "application/json"), text("contentEncoding", encoding)],
        body: body.into(),
        ..OwnedMessage::default()
    }
}

pub fn eval(condition: &str, msg: &OwnedMessage) -> Verdict {
    Condition::compile(condition, Features::default()).unwrap().evaluate(msg)
}

pub fn holds(condition: &str, body: &str) -> bool {
    eval(condition, &with_body(body, "utf-8")) == Verdict::True
}

/// Whether the body can be read at all: then a path that leads nowhere is null.
pub fn readable(body: &[u8]) -> bool {
    eval("$body.none_of_these = null", &with_body(body, "utf-8")) == Verdict::True
}

pub fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

pub fn utf32(text: &str) -> Vec<u8> {
    text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect()
}

pub fn matched(conditions: &[String], msg: &OwnedMessage) -> Vec<u32> {
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
