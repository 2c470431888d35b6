//! Field writers and the checks that come before them.

use crate::error::{EncodeError, TopicError};
use crate::packet::PacketType;
use crate::topic::{check_filter, check_topic};

/// Bytes that a field with a two-byte length takes.
#[inline]
pub(crate) const fn prefixed_len(field: &[u8]) -> usize {
    2 + field.len()
}

/// Checks that the length fits two bytes.
pub(crate) const fn check_binary(
    packet: PacketType,
    what: &'static str,
    field: &[u8],
) -> Result<(), EncodeError> {
    match field.len() {
        0..=0xffff => Ok(()),
        len => Err(EncodeError::FieldTooLong { packet, what, len }),
    }
}

/// Checks the length and that there is no U+0000.
pub(crate) fn check_text(packet: PacketType, what: &'static str, text: &str) -> Result<(), EncodeError> {
    check_binary(packet, what, text.as_bytes())?;
    match memchr::memchr(0, text.as_bytes()) {
        None => Ok(()),
        Some(at) => Err(EncodeError::NulCharacter { packet, what, at }),
    }
}

#[inline]
pub(crate) fn check_topic_field(
    packet: PacketType,
    what: &'static str,
    topic: &str,
) -> Result<(), EncodeError> {
    check_topic(topic).map_err(|source| topic_error(packet, what, source))
}

pub(crate) fn check_filter_field(packet: PacketType, filter: &str) -> Result<(), EncodeError> {
    check_filter(filter).map_err(|source| topic_error(packet, "topic filter", source))
}

#[cold]
const fn topic_error(packet: PacketType, what: &'static str, source: TopicError) -> EncodeError {
    EncodeError::Topic { packet, what, source }
}

#[inline]
pub(crate) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a two-byte length and the bytes. The caller has checked the length.
#[inline]
pub(crate) fn put_binary(out: &mut Vec<u8>, field: &[u8]) {
    put_u16(out, field.len() as u16);
    out.extend_from_slice(field);
}
