//! The messages that the scenarios route.

use std::fmt::Write as _;

use edgehub_router::{Lookup, MessageView, encode};

/// Messages that a scenario goes round in, so that no single one decides its cost.
pub const MESSAGES: usize = 16;

/// A message with its properties in a list, their keys in lower case, as the hub keeps them.
#[derive(Debug, Clone)]
pub struct Message {
    application: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl MessageView for Message {
    fn application_property(&self, name: &str) -> Lookup<'_> {
        match self.application.iter().find(|(key, _)| *key == name) {
            Some((_, text)) => Lookup::Text(text),
            None => Lookup::Absent,
        }
    }

    fn system_property(&self, name: &str) -> Lookup<'_> {
        match name {
            "contenttype" => Lookup::Text("application/json"),
            "contentencoding" => Lookup::Text("utf-8"),
            _ => Lookup::Absent,
        }
    }

    fn body(&self) -> &[u8] {
        &self.body
    }
}

/// [`MESSAGES`] messages that differ in their values, with bodies of about `body_bytes`.
pub fn messages(body_bytes: usize) -> Vec<Message> {
    (0..MESSAGES).map(|i| message(i, body_bytes)).collect()
}

/// The messages one after another, as a batch or a pipe has them.
///
/// # Panics
/// If one exceeds a limit, which is a mistake in this file.
#[allow(clippy::expect_used, reason = "the messages are this crate's own")]
pub fn encoded(messages: &[Message]) -> Vec<u8> {
    let system = [("contenttype", Some("application/json")), ("contentencoding", Some("utf-8"))];
    let mut out = Vec::new();
    for msg in messages {
        let application = msg.application.iter().map(|(name, text)| (*name, Some(text.as_str())));
        encode("/messages/", system, application, &msg.body, &mut out).expect("the messages are small");
    }
    out
}

fn message(i: usize, body_bytes: usize) -> Message {
    let application = vec![
        ("machine", format!("x{i}")),
        ("line", format!("{}", i % 4)),
        ("site", "north".to_owned()),
        ("kind", format!("k{i}")),
        ("temperature", format!("{}.5", 31 + i)),
    ];
    Message { application, body: body(i, body_bytes) }
}

/// A reading of the wanted size. The paths that conditions ask for come first, filling follows: a
/// scan has to look at all of it, because a later duplicate of a key would count.
fn body(i: usize, bytes: usize) -> Vec<u8> {
    let mut text = if bytes < 180 {
        format!("{{\"machine\":{{\"id\":\"x{i}\"}},\"temperature\":{}.5", 31 + i)
    } else {
        format!(
            "{{\"machine\":{{\"id\":\"x{i}\",\"line\":{{\"no\":{},\"site\":\"north\"}}}},\"temperature\":{}.5,\
             \"pressure\":1.0{},\"state\":\"ok\",\"shift\":\"late\",\"cycle\":{},\"alarms\":[0,{}],\
             \"tool\":{{\"id\":\"t7\"}}",
            i % 4,
            31 + i,
            i % 10,
            120 + i,
            i % 3
        )
    };
    let tail_bytes = "}".len();
    let mut n = 0;
    while text.len() + ",\"s000\":{\"v\":0.25}".len() + tail_bytes <= bytes {
        // Writing to a string does not fail.
        let _ = write!(text, ",\"s{n:03}\":{{\"v\":{}.25}}", n % 10);
        n += 1;
    }
    text.push('}');
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_of_about_the_size_asked_for() {
        for bytes in [100, 180, 900] {
            for msg in messages(bytes) {
                assert!(msg.body.len().abs_diff(bytes) <= 20, "{} B for {bytes}", msg.body.len());
                serde_json::from_slice::<serde_json::Value>(&msg.body).unwrap();
            }
        }
    }
}
