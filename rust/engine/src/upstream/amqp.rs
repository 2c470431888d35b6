//! A stored message as a bare AMQP 1.0 message (OASIS AMQP 1.0 part 3 section 3.2), with the names that
//! `IoT Hub` reads (iothub section 1.3 item 9, 1.4.4).

use edgehub_types::{MessageView, PropertyKey, SystemProperty};

/// `message-format` of a transfer whose data sections are messages of their own.
pub const BATCH_MESSAGE_FORMAT: u32 = 0x8001_3700;

const MESSAGE_ANNOTATIONS: u8 = 0x72;
const PROPERTIES: u8 = 0x73;
const APPLICATION_PROPERTIES: u8 = 0x74;
const DATA: u8 = 0x75;

const NULL: u8 = 0x40;
const VBIN8: u8 = 0xa0;
const VBIN32: u8 = 0xb0;
const STR8: u8 = 0xa1;
const STR32: u8 = 0xb1;
const SYM8: u8 = 0xa3;
const SYM32: u8 = 0xb3;
const LIST32: u8 = 0xd0;
const MAP32: u8 = 0xd1;

/// The fields of the properties section in order; `None` is never set by a client of this hub.
const PROPERTY_FIELDS: [Option<SystemProperty>; 8] = [
    Some(SystemProperty::MessageId),
    Some(SystemProperty::UserId),
    Some(SystemProperty::To),
    None, // subject
    None, // reply-to
    Some(SystemProperty::CorrelationId),
    Some(SystemProperty::ContentType),
    Some(SystemProperty::ContentEncoding),
];

/// System properties that travel as application properties, with their names there.
const AS_APPLICATION: [(SystemProperty, &str); 3] = [
    (SystemProperty::MessageSchema, "iothub-message-schema"),
    (SystemProperty::CreationTime, "iothub-creation-time-utc"),
    (SystemProperty::Operation, "iothub-operation"),
];

/// System properties that travel as message annotations, with their names there.
const AS_ANNOTATION: [(SystemProperty, &str); 2] =
    [(SystemProperty::InterfaceId, "iothub-interface-id"), (SystemProperty::ComponentName, "dt-subject")];

/// Appends the message.
pub fn encode_message(message: &MessageView<'_>, out: &mut Vec<u8>) {
    annotations(message, out);
    properties(message, out);
    application_properties(message, out);
    section(DATA, out);
    variable(VBIN8, VBIN32, message.body, out);
}

/// Appends the message as one data section of a batch.
pub fn encode_batch_entry(message: &MessageView<'_>, out: &mut Vec<u8>) {
    section(DATA, out);
    out.push(VBIN32);
    let start = reserve_u32(out);
    encode_message(message, out);
    fill_u32(start, out);
}

fn section(code: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0x53, code]);
}

fn variable(short: u8, long: u8, bytes: &[u8], out: &mut Vec<u8>) {
    if let Ok(len) = u8::try_from(bytes.len()) {
        out.extend_from_slice(&[short, len]);
    } else {
        out.push(long);
        out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    }
    out.extend_from_slice(bytes);
}

fn string(text: &str, out: &mut Vec<u8>) {
    variable(STR8, STR32, text.as_bytes(), out);
}

/// A symbol is ASCII (part 1 section 1.6.21): a parent may close the link over anything else, so other
/// characters become `?`.
fn symbol(text: &str, out: &mut Vec<u8>) {
    if text.is_ascii() {
        return variable(SYM8, SYM32, text.as_bytes(), out);
    }
    let ascii: String = text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
    variable(SYM8, SYM32, ascii.as_bytes(), out);
}

fn reserve_u32(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; 4]);
    out.len()
}

/// Writes the number of bytes since `start` into the four before it.
fn fill_u32(start: usize, out: &mut [u8]) {
    let len = (out.len() - start) as u32;
    out[start - 4..start].copy_from_slice(&len.to_be_bytes());
}

/// A list or a map: size, count, then what `write` appends and counts.
fn compound(code: u8, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> u32) {
    out.push(code);
    let start = reserve_u32(out);
    let count_at = reserve_u32(out);
    let count = write(out);
    out[count_at - 4..count_at].copy_from_slice(&count.to_be_bytes());
    fill_u32(start, out);
}

fn properties(message: &MessageView<'_>, out: &mut Vec<u8>) {
    let value = |field: &Option<SystemProperty>| message.properties.system((*field)?).flatten();
    let Some(last) = PROPERTY_FIELDS.iter().rposition(|field| value(field).is_some()) else { return };
    section(PROPERTIES, out);
    compound(LIST32, out, |out| {
        for field in &PROPERTY_FIELDS[..=last] {
            match (field, value(field)) {
                (_, None) => out.push(NULL),
                (Some(SystemProperty::UserId), Some(text)) => variable(VBIN8, VBIN32, text.as_bytes(), out),
                (Some(SystemProperty::ContentType | SystemProperty::ContentEncoding), Some(text)) => {
                    symbol(text, out);
                }
                (_, Some(text)) => string(text, out),
            }
        }
        last as u32 + 1
    });
}

fn annotations(message: &MessageView<'_>, out: &mut Vec<u8>) {
    if AS_ANNOTATION.iter().all(|(property, _)| message.properties.system(*property).flatten().is_none()) {
        return;
    }
    section(MESSAGE_ANNOTATIONS, out);
    compound(MAP32, out, |out| {
        let mut count = 0;
        for (property, name) in AS_ANNOTATION {
            if let Some(text) = message.properties.system(property).flatten() {
                variable(SYM8, SYM32, name.as_bytes(), out);
                string(text, out);
                count += 2;
            }
        }
        count
    });
}

fn application_properties(message: &MessageView<'_>, out: &mut Vec<u8>) {
    let has_any = message.properties.iter().any(|(key, _)| application_name(key).is_some());
    if !has_any {
        return;
    }
    section(APPLICATION_PROPERTIES, out);
    compound(MAP32, out, |out| {
        let mut count = 0;
        for (key, value) in &message.properties {
            let Some(name) = application_name(key) else { continue };
            if is_covered(message, key) {
                continue;
            }
            string(name, out);
            match value {
                Some(text) => string(text, out),
                None => out.push(NULL),
            }
            count += 2;
        }
        count
    });
}

/// Whether a client gave an application property the name under which a system property that it set, too,
/// travels: a map has each key once (part 1 section 1.6.23).
fn is_covered(message: &MessageView<'_>, key: PropertyKey<'_>) -> bool {
    let PropertyKey::Application(name) = key else { return false };
    AS_APPLICATION
        .iter()
        .any(|(property, own)| *own == name && message.properties.system(*property).is_some())
}

fn application_name(key: PropertyKey<'_>) -> Option<&str> {
    match key {
        PropertyKey::Application(name) => Some(name),
        PropertyKey::System(property) => {
            AS_APPLICATION.iter().find(|(own, _)| *own == property).map(|(_, name)| *name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgehub_types::{MessageHead, PropertiesBuf, UnixMs};

    fn message<'a>(properties: &'a PropertiesBuf, body: &'a [u8]) -> MessageView<'a> {
        let head = MessageHead { enqueued: UnixMs(0), qos1: true, device: "d", module: "" };
        MessageView { head, properties: properties.as_properties(), body }
    }

    #[test]
    fn two_bodies_make_the_batch_of_the_published_vector() {
        // iothub section 12.4, with 32-bit lengths where the entry's size is not known beforehand.
        let none = PropertiesBuf::default();
        let mut out = Vec::new();
        encode_batch_entry(&message(&none, b"a"), &mut out);
        encode_batch_entry(&message(&none, b"b"), &mut out);
        let entry = |body: u8| [0, 0x53, 0x75, 0xb0, 0, 0, 0, 6, 0, 0x53, 0x75, 0xa0, 1, body];
        assert_eq!(out, [entry(b'a'), entry(b'b')].concat());
    }

    #[test]
    fn properties_take_their_places_and_types() {
        let mut properties = PropertiesBuf::default();
        properties.push(PropertyKey::System(SystemProperty::MessageId), Some("7")).unwrap();
        properties.push(PropertyKey::System(SystemProperty::UserId), Some("u")).unwrap();
        properties.push(PropertyKey::System(SystemProperty::ContentType), Some("t")).unwrap();
        properties.push(PropertyKey::System(SystemProperty::ComponentName), Some("c")).unwrap();
        properties.push(PropertyKey::System(SystemProperty::CreationTime), Some("x")).unwrap();
        properties.push(PropertyKey::Application("k"), None).unwrap();
        let mut out = Vec::new();
        encode_message(&message(&properties, b""), &mut out);
        let mut want = vec![0, 0x53, 0x72, 0xd1, 0, 0, 0, 19, 0, 0, 0, 2, 0xa3, 10];
        want.extend_from_slice(b"dt-subject\xa1\x01c");
        want.extend_from_slice(&[0, 0x53, 0x73, 0xd0, 0, 0, 0, 17, 0, 0, 0, 7, 0xa1, 1, b'7', 0xa0, 1, b'u']);
        want.extend_from_slice(&[0x40, 0x40, 0x40, 0x40, 0xa3, 1, b't']);
        want.extend_from_slice(&[0, 0x53, 0x74, 0xd1, 0, 0, 0, 37, 0, 0, 0, 4, 0xa1, 24]);
        want.extend_from_slice(b"iothub-creation-time-utc\xa1\x01x\xa1\x01k\x40");
        want.extend_from_slice(&[0, 0x53, 0x75, 0xa0, 0]);
        assert_eq!(out, want);
    }

    #[test]
    fn symbols_are_ascii() {
        let mut properties = PropertiesBuf::default();
        properties
            .push(PropertyKey::System(SystemProperty::ContentType), Some("t\u{eb}xt/\u{2603}"))
            .unwrap();
        let mut out = Vec::new();
        encode_message(&message(&properties, b""), &mut out);
        let want = b"\xa3\x06t?xt/?";
        assert!(out.windows(want.len()).any(|part| part == want), "{out:x?}");
    }

    #[test]
    fn no_key_is_twice_in_the_application_properties() {
        let mut properties = PropertiesBuf::default();
        properties.push(PropertyKey::Application("iothub-creation-time-utc"), Some("a")).unwrap();
        properties.push(PropertyKey::System(SystemProperty::CreationTime), Some("b")).unwrap();
        let mut out = Vec::new();
        encode_message(&message(&properties, b""), &mut out);
        let mut want = vec![0, 0x53, 0x74, 0xd1, 0, 0, 0, 33, 0, 0, 0, 2, 0xa1, 24];
        want.extend_from_slice(b"iothub-creation-time-utc\xa1\x01b\0\x53\x75\xa0\0");
        assert_eq!(out, want);
    }

    #[test]
    fn long_values_take_long_lengths() {
        let none = PropertiesBuf::default();
        let body = [7; 300];
        let mut out = Vec::new();
        encode_message(&message(&none, &body), &mut out);
        assert_eq!(out[..8], [0, 0x53, 0x75, 0xb0, 0, 0, 1, 44]);
        assert_eq!(out.len(), 308);
    }
}
