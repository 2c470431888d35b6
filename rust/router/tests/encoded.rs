//! Encoded messages: what is written is read back, what is broken is told.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use edgehub_router::{
    Condition, ENCODED_BYTES_MAX, ENCODED_PROPERTIES_MAX, ENCODED_SOURCE_BYTES_MAX, EncodedError,
    EncodedMessage, EncodedMessages, Features, Lookup, MessageView, MessageWriter, OwnedMessage, Source,
    encode, fold,
};
use proptest::prelude::*;

type Bag<'a> = &'a [(&'a str, Option<&'a str>)];

fn encoded(source: &str, system: Bag<'_>, application: Bag<'_>, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (system, application) = (system.iter().copied(), application.iter().copied());
    encode(source, system, application, body, &mut out).unwrap();
    out
}

fn sample() -> Vec<u8> {
    let system = [("contentType", Some("application/json")), ("contentEncoding", Some("utf-8"))];
    let application = [("temp", Some("31.5")), ("nil", None), ("empty", Some("")), ("Größe", Some("é😀"))];
    encoded("/messages/modules/m1/outputs/o1", &system, &application, br#"{"a":1}"#)
}

fn broken(bytes: &[u8]) -> EncodedError {
    EncodedMessage::parse(bytes).unwrap_err()
}

/// The sample with the bytes at `at` changed.
fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut data = sample();
    data[at..at + bytes.len()].copy_from_slice(bytes);
    data
}

#[test]
fn a_message_is_read_where_it_lies() {
    let data = sample();
    let (msg, rest) = EncodedMessage::parse(&data).unwrap();
    assert_eq!(msg.source_path(), "/messages/modules/m1/outputs/o1");
    assert_eq!(msg.source(), Source::Module { module: "m1", output: Some("o1") });
    assert_eq!(msg.system_property("contenttype"), Lookup::Text("application/json"));
    assert_eq!(msg.system_property("temp"), Lookup::Absent);
    assert_eq!(msg.application_property("temp"), Lookup::Text("31.5"));
    assert_eq!(msg.application_property("nil"), Lookup::Null);
    assert_eq!(msg.application_property("empty"), Lookup::Text(""));
    assert_eq!(msg.application_property(&fold("GRÖSSE")), Lookup::Absent);
    assert_eq!(msg.application_property(&fold("GRÖßE")), Lookup::Text("é😀"));
    assert_eq!(msg.application_property("contenttype"), Lookup::Absent);
    assert_eq!((msg.system().len(), msg.application().len()), (2, 4));
    assert!(!msg.application().is_empty());
    assert_eq!((msg.body(), rest), (&br#"{"a":1}"#[..], &[][..]));
}

/// The layout is a contract with those who write it without this library.
#[test]
fn the_layout_is_as_documented() {
    let data = encoded("/messages/", &[("cid", Some("7"))], &[("k", None)], b"xy");
    let mut expected = vec![47, 0, 0, 0, 15, 0, 0, 0, 10, 0, 1, 0, 1, 0, 1, 0];
    expected.extend([3, 0, 0, 0, 1, 0, 0, 0]);
    expected.extend([1, 0, 0, 0, 255, 255, 255, 255]);
    expected.extend(b"/messages/cid7kxy");
    expected[0] = u8::try_from(expected.len()).unwrap();
    assert_eq!(data, expected);
}

#[test]
fn every_cut_is_told() {
    let data = sample();
    for end in 0..data.len() {
        let needed = if end < 16 { 16 } else { data.len() };
        assert_eq!(broken(&data[..end]), EncodedError::Truncated { needed, have: end });
    }
    let twice = [data.clone(), data.clone()].concat();
    for end in 0..=twice.len() {
        let messages: Vec<_> = EncodedMessages::new(&twice[..end]).collect();
        let whole = end / data.len();
        let rest = end % data.len();
        assert_eq!(messages.len(), whole + usize::from(rest > 0));
        assert_eq!(messages.iter().filter(|m| m.is_ok()).count(), whole);
    }
}

#[test]
fn iteration_ends_with_the_first_error() {
    let mut data = [sample(), sample()].concat();
    data[14] = 2;
    let mut messages = EncodedMessages::new(&data);
    assert_eq!(messages.next().unwrap().unwrap_err(), EncodedError::Version { found: 2 });
    assert!(messages.next().is_none() && messages.rest().is_empty());
}

#[test]
fn broken_headers_are_told() {
    let len = sample().len();
    let count = (ENCODED_PROPERTIES_MAX + 1) as u16;
    assert_eq!(broken(&patched(14, &[0, 0])), EncodedError::Version { found: 0 });
    let too_many = EncodedError::TooManyProperties { count: 1001, max: ENCODED_PROPERTIES_MAX };
    assert_eq!(broken(&patched(10, &count.to_le_bytes())), too_many);
    assert_eq!(broken(&patched(12, &count.to_le_bytes())), too_many);
    let too_long = EncodedError::TooLong { bytes: u32::MAX as usize, max: ENCODED_BYTES_MAX };
    assert_eq!(broken(&patched(0, &[255; 4])), too_long);
    let message_bytes = EncodedError::MessageBytes { message_bytes: 20, needed: len - 7 };
    assert_eq!(broken(&patched(0, &[20, 0, 0, 0])), message_bytes);
    let needed = 16 + 6 * 8 + u32::MAX as usize;
    let message_bytes = EncodedError::MessageBytes { message_bytes: len, needed };
    assert_eq!(broken(&patched(4, &[255; 4])), message_bytes);
}

#[test]
fn broken_lengths_are_told() {
    let texts = 31 + 11 + 16 + 15 + 5 + 4 + 4 + 3 + 5 + 7 + 6;
    let lengths = |sum: usize| EncodedError::Lengths { text_bytes: texts, sum: sum as u64 };
    // The value of `contentType` one longer: all after it shifts and the end is one too far.
    assert_eq!(broken(&patched(20, &[17, 0, 0, 0])).to_string(), {
        "a name or value is cut within a character at byte 166 of the message"
    });
    // The name of the last property one longer, its value one shorter: the same sum, within a character.
    assert!(matches!(broken(&patched(56, &[8, 0, 0, 0])), EncodedError::SplitCharacter { .. }));
    assert_eq!(broken(&patched(60, &[2, 0, 0, 0])), lengths(texts - 4));
    assert_eq!(broken(&patched(60, &[255; 4])), lengths(texts - 6));
    assert_eq!(broken(&patched(60, &[100, 0, 0, 0])), lengths(texts + 94));
    assert_eq!(broken(&patched(8, &[255, 255])), lengths(texts - 31 + 65535));
    let at = 16 + 6 * 8;
    assert_eq!(broken(&patched(at + 3, &[0xff])), EncodedError::NotUtf8 { at: at + 3 });
}

#[test]
fn what_cannot_be_encoded_leaves_the_buffer_as_it_was() {
    let before = sample();
    let mut out = before.clone();
    let long = "x".repeat(ENCODED_BYTES_MAX);
    let mut refused = |source: &str, system: Bag<'_>, application: Bag<'_>, body: &[u8]| {
        let (system, application) = (system.iter().copied(), application.iter().copied());
        let error = encode(source, system, application, body, &mut out).unwrap_err();
        assert_eq!(out, before);
        error
    };
    let same = refused("/", &[], &[("Temp", Some("1")), ("b", None), ("tEMP", None)], b"");
    assert_eq!(same.to_string(), "properties 'Temp' and 'tEMP' differ only in case");
    assert!(matches!(refused("/", &[], &[("é", None), ("É", None)], b""), EncodedError::SameName { .. }));
    assert!(matches!(refused("/", &[("a", None), ("A", None)], &[], b""), EncodedError::SameName { .. }));
    let source = "/".repeat(ENCODED_SOURCE_BYTES_MAX + 1);
    let too_long = EncodedError::SourceTooLong { bytes: 65536, max: ENCODED_SOURCE_BYTES_MAX };
    assert_eq!(refused(&source, &[], &[], b""), too_long);
    assert!(matches!(refused("/", &[], &[("a", Some(&long))], b""), EncodedError::TooLong { .. }));
    assert!(matches!(refused("/", &[], &[], long.as_bytes()), EncodedError::TooLong { .. }));
    let names: Vec<String> = (0..=ENCODED_PROPERTIES_MAX).map(|i| i.to_string()).collect();
    let many: Vec<(&str, Option<&str>)> = names.iter().map(|name| (name.as_str(), None)).collect();
    assert!(matches!(refused("/", &many, &[], b""), EncodedError::TooManyProperties { count: 1001, .. }));
    assert!(matches!(refused("/", &[], &many, b""), EncodedError::TooManyProperties { count: 1001, .. }));
    // A system property and an application property may share a name.
    encode("/", [("a", None)], [("A", None)], b"", &mut out).unwrap();
    encode("/", [], many[1..].iter().copied(), b"", &mut out).unwrap();
    assert_eq!(EncodedMessages::new(&out).filter_map(Result::ok).count(), 3);
}

#[test]
fn a_writer_wants_what_was_announced() {
    let mut out = vec![1, 2, 3];
    let writer = MessageWriter::begin(&mut out, "/", 1, 0).unwrap();
    assert_eq!(writer.finish(b"").unwrap_err(), EncodedError::PropertyCount { announced: 1, given: 0 });
    let mut writer = MessageWriter::begin(&mut out, "/", 0, 1).unwrap();
    writer.property("a", None).unwrap();
    let error = writer.property("b", None).unwrap_err();
    assert_eq!(error.to_string(), "1 properties were announced, 2 given");
    drop(writer);
    assert_eq!(out, [1, 2, 3]);
}

#[test]
fn conditions_see_an_encoded_message() {
    let data = sample();
    let (msg, _) = EncodedMessage::parse(&data).unwrap();
    let condition = "as_number(TEMP) > 30 AND $body.a = 1 AND is_null(nil) AND größe = 'é😀' AND empty = ''";
    let condition = Condition::compile(condition, Features::default()).unwrap();
    assert_eq!(condition.evaluate(&msg), edgehub_router::Verdict::True);
}

type OwnedBag = Vec<(String, Option<String>)>;

fn bag() -> impl Strategy<Value = OwnedBag> {
    let name = prop_oneof!["[a-cA-C]{0,3}", "[a-zé😀Ä$.]{0,6}", any::<String>()];
    prop::collection::vec((name, any::<Option<String>>()), 0..8).prop_map(|bag| {
        let mut folded = std::collections::HashSet::new();
        bag.into_iter().filter(|(name, _)| folded.insert(fold(name))).collect()
    })
}

fn pairs(bag: &OwnedBag) -> Vec<(&str, Option<&str>)> {
    bag.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect()
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        source in any::<String>(), system in bag(), application in bag(),
        body in any::<Vec<u8>>(), others in prop::collection::vec("[a-d]{1,3}", 3),
    ) {
        let msg = OwnedMessage { system, application, body };
        let mut out = sample();
        let before = out.len();
        encode(&source, pairs(&msg.system), pairs(&msg.application), &msg.body, &mut out).unwrap();
        let (read, rest) = EncodedMessage::parse(&out[before..]).unwrap();
        prop_assert!(rest.is_empty());
        prop_assert_eq!(read.source_path(), &source);
        prop_assert_eq!(read.system().collect::<Vec<_>>(), pairs(&msg.system));
        prop_assert_eq!(read.application().collect::<Vec<_>>(), pairs(&msg.application));
        prop_assert_eq!(read.body(), &msg.body);
        let names = msg.system.iter().chain(&msg.application).map(|(name, _)| fold(name));
        for name in names.chain(others) {
            prop_assert_eq!(read.system_property(&name), msg.system_property(&name));
            prop_assert_eq!(read.application_property(&name), msg.application_property(&name));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut data in any::<Vec<u8>>(), at in 0_usize..200, byte in any::<u8>()) {
        let _ = EncodedMessages::new(&data).count();
        data = sample();
        let place = at % data.len();
        data[place] = byte;
        if let Ok((msg, rest)) = EncodedMessage::parse(&data) {
            prop_assert_eq!(msg.application().count(), msg.application().len());
            prop_assert_eq!(msg.system().count(), msg.system().len());
            prop_assert!(rest.len() < data.len());
        }
    }
}
