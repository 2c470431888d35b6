//! The property bag of a topic: any text in; what is accepted can be written and is read back the same.

use edgehub_engine::{BagDecoder, encode_bag};
use edgehub_mqtt::topic_is_valid;
use edgehub_types::{MessageHead, MessageView, PropertiesBuf, PropertyKey, UnixMs, encode_message};

fn decoded(text: &str) -> Option<PropertiesBuf> {
    let mut properties = PropertiesBuf::default();
    BagDecoder::default().decode(text, &mut properties).ok().map(|()| properties)
}

/// The bag that a client gets for these properties.
fn written(properties: &PropertiesBuf) -> String {
    let head = MessageHead { enqueued: UnixMs(1), qos1: true, device: "d/1", module: "" };
    let mut record = Vec::new();
    encode_message(&mut record, &head, properties.as_properties(), b"")
        .expect("properties that were accepted");
    let message = MessageView::decode(&record).expect("what was written");
    let mut bag = Vec::new();
    encode_bag(&message, &mut bag);
    String::from_utf8(bag).expect("a bag is a text")
}

/// Decodes, encodes and decodes again.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(properties) = decoded(text) else { return };
    let bag = written(&properties);
    assert!(!bag.contains('/'), "one level of a topic: {bag}");
    assert!(topic_is_valid(&bag) || bag.len() > 65_535, "{bag}");
    let again = decoded(&bag).unwrap_or_else(|| panic!("{bag} of {text} is not read"));
    for (key, value) in &properties.as_properties() {
        // The sender is told by the hub alone; whoever claims to be another is not repeated.
        if let PropertyKey::Application(name) = key
            && !["$.cdid", "$.cmid"].contains(&name)
        {
            assert_eq!(again.as_properties().application(name), Some(value), "{name} in {bag} of {text}");
        }
    }
}
