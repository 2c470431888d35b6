//! The vector files against the codec and the topic rules.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panic")]

mod support;

use edgehub_mqtt::{
    DecodeError, ErrorKind, Frame, TopicError, TopicFilter, check_topic, decode, encode, filter_matches,
    frame, topic_is_valid,
};
use support::{PACKET_BYTES_MAX, array, bytes, describe, load, text};

/// Name of the variant, as the derived `Debug` prints it.
fn variant(err: &impl std::fmt::Debug) -> String {
    format!("{err:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

const fn kind_name(err: &DecodeError) -> &'static str {
    match err.kind() {
        ErrorKind::UnsupportedLevel => "unsupported_level",
        ErrorKind::NotMqtt => "not_mqtt",
        ErrorKind::TooLarge => "too_large",
        ErrorKind::Malformed => "malformed",
        _ => "unknown",
    }
}

#[test]
fn valid_packets_say_what_the_vector_says() {
    for row in array(&load("packets-valid.json"), "packets") {
        let wire = bytes(row);
        let (packet, used) = decode(&wire, PACKET_BYTES_MAX).unwrap().unwrap_or_else(|| panic!("{row}"));
        assert_eq!(used, wire.len(), "{row}");
        assert_eq!(describe(&packet), row["packet"]);
    }
}

#[test]
fn valid_packets_are_written_back_byte_for_byte() {
    for row in array(&load("packets-valid.json"), "packets") {
        let wire = bytes(row);
        let (packet, _) = decode(&wire, PACKET_BYTES_MAX).unwrap().unwrap();
        let mut out = b"before".to_vec();
        encode(&mut out, &packet).unwrap();
        let written = out.strip_prefix(b"before").unwrap();
        if row["canonical"] == false {
            assert_ne!(written, wire, "{row}");
            assert_eq!(decode(written, PACKET_BYTES_MAX).unwrap().unwrap().0, packet, "{row}");
        } else {
            assert_eq!(written, wire, "{row}");
        }
    }
}

#[test]
fn invalid_packets_are_refused_for_the_right_reason() {
    for row in array(&load("packets-invalid.json"), "packets") {
        let wire = bytes(row);
        let err = decode(&wire, PACKET_BYTES_MAX).expect_err(&row.to_string());
        assert_eq!(variant(&err), text(row, "error"), "{row}: {err}");
        assert_eq!(kind_name(&err), text(row, "kind"), "{row}");
        let answer = err.answer().map(|code| u64::from(code.byte()));
        assert_eq!(answer, row["answer"].as_u64(), "{row}");
    }
}

#[test]
fn a_prefix_of_a_valid_packet_is_incomplete_and_says_how_much_is_missing() {
    for row in array(&load("packets-valid.json"), "packets") {
        let wire = bytes(row);
        for len in 0..wire.len() {
            assert_eq!(decode(&wire[..len], PACKET_BYTES_MAX), Ok(None), "{row} cut at {len}");
            let Ok(Frame::Incomplete { at_least }) = frame(&wire[..len], PACKET_BYTES_MAX) else {
                panic!("{row} cut at {len}")
            };
            assert!(len < at_least && at_least <= wire.len(), "{row} cut at {len}: {at_least}");
        }
    }
}

#[test]
fn a_prefix_of_an_invalid_packet_is_incomplete_or_the_same_error() {
    for row in array(&load("packets-invalid.json"), "packets") {
        let wire = bytes(row);
        let whole = decode(&wire, PACKET_BYTES_MAX).unwrap_err();
        for len in 0..wire.len() {
            match decode(&wire[..len], PACKET_BYTES_MAX) {
                Ok(None) => {}
                other => assert_eq!(other, Err(whole), "{row} cut at {len}"),
            }
        }
    }
}

/// Decodes chunks as a connection would: keep what is incomplete, describe what is whole.
fn feed<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<serde_json::Value> {
    let mut kept = Vec::new();
    let mut seen = Vec::new();
    for chunk in chunks {
        kept.extend_from_slice(chunk);
        let mut at = 0;
        while let Some((packet, used)) = decode(&kept[at..], PACKET_BYTES_MAX).unwrap() {
            seen.push(describe(&packet));
            at += used;
        }
        kept.drain(..at);
    }
    assert!(kept.is_empty());
    seen
}

#[test]
fn a_stream_is_the_same_wherever_it_is_split() {
    let doc = load("packets-valid.json");
    let rows = array(&doc, "packets");
    let stream: Vec<u8> = rows.iter().flat_map(bytes).collect();
    let expected: Vec<_> = rows.iter().map(|row| row["packet"].clone()).collect();
    assert_eq!(feed(stream.chunks(1)), expected, "byte by byte");
    for at in 0..=stream.len() {
        let (head, tail) = stream.split_at(at);
        assert_eq!(feed([head, tail]), expected, "split at {at}");
    }
}

#[test]
fn topic_names() {
    let doc = load("topics.json");
    for name in array(&doc, "names_valid") {
        assert_eq!(check_topic(name.as_str().unwrap()), Ok(()), "{name}");
    }
    for row in array(&doc, "names_invalid") {
        let err: TopicError = check_topic(text(row, "text")).expect_err(&row.to_string());
        assert_eq!(variant(&err), text(row, "error"), "{row}");
        assert!(!topic_is_valid(text(row, "text")));
    }
}

#[test]
fn topic_filters() {
    let doc = load("topics.json");
    for filter in array(&doc, "filters_valid") {
        let text = filter.as_str().unwrap();
        assert_eq!(TopicFilter::parse(text).as_ref().map(TopicFilter::as_str), Ok(text));
    }
    for row in array(&doc, "filters_invalid") {
        let err = TopicFilter::parse(text(row, "text")).expect_err(&row.to_string());
        assert_eq!(variant(&err), text(row, "error"), "{row}");
    }
}

#[test]
fn filter_matching() {
    for row in array(&load("topics.json"), "matches") {
        let (filter, topic) = (text(row, "filter"), text(row, "topic"));
        let parsed = TopicFilter::parse(filter).unwrap_or_else(|err| panic!("{row}: {err}"));
        assert_eq!(parsed.matches(topic), row["matches"].as_bool().unwrap(), "{row}");
        assert_eq!(filter_matches(filter, topic), parsed.matches(topic), "{row}");
    }
}
