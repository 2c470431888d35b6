//! A cursor over the body of one packet.

use crate::error::{DecodeError, TopicError};
use crate::packet::{PacketId, PacketType};
use crate::topic::{check_filter, check_topic};

/// Reads fields from the front; every error names the packet and the field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    packet: PacketType,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) const fn new(packet: PacketType, body: &'a [u8]) -> Self {
        Self { packet, rest: body }
    }

    /// What has not been read yet.
    #[inline]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Checks that nothing is left.
    #[inline]
    pub(crate) const fn finish(&self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(DecodeError::TrailingBytes { packet: self.packet, count }),
        }
    }

    #[inline]
    pub(crate) fn bytes(&mut self, needed: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let Some((field, rest)) = self.rest.split_at_checked(needed) else {
            return Err(DecodeError::Truncated { packet: self.packet, what, needed, left: self.rest.len() });
        };
        self.rest = rest;
        Ok(field)
    }

    #[inline]
    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(self.bytes(1, what)?.first().copied().unwrap_or_default())
    }

    #[inline]
    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        let field = self.bytes(2, what)?;
        Ok(field.iter().fold(0, |value, byte| value << 8 | u16::from(*byte)))
    }

    /// Bytes behind a two-byte length.
    #[inline]
    pub(crate) fn binary(&mut self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = self.u16(what)?;
        self.bytes(usize::from(len), what)
    }

    /// Text behind a two-byte length: UTF-8 without U+0000 (section 1.5.3).
    pub(crate) fn text(&mut self, what: &'static str) -> Result<&'a str, DecodeError> {
        let text = self.utf8(what)?;
        match memchr::memchr(0, text.as_bytes()) {
            None => Ok(text),
            Some(at) => Err(DecodeError::NulCharacter { packet: self.packet, what, at }),
        }
    }

    /// A topic name behind a two-byte length.
    #[inline]
    pub(crate) fn topic(&mut self, what: &'static str) -> Result<&'a str, DecodeError> {
        let text = self.utf8(what)?;
        check_topic(text).map_err(|source| self.topic_error(what, source))?;
        Ok(text)
    }

    /// A topic filter behind a two-byte length.
    pub(crate) fn filter(&mut self) -> Result<&'a str, DecodeError> {
        let what = "topic filter";
        let text = self.utf8(what)?;
        check_filter(text).map_err(|source| self.topic_error(what, source))?;
        Ok(text)
    }

    #[inline]
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.u16("packet identifier")?).ok_or(DecodeError::PacketIdZero { packet: self.packet })
    }

    #[inline]
    fn utf8(&mut self, what: &'static str) -> Result<&'a str, DecodeError> {
        let field = self.binary(what)?;
        std::str::from_utf8(field).map_err(|err| DecodeError::NotUtf8 {
            packet: self.packet,
            what,
            at: err.valid_up_to(),
        })
    }

    /// U+0000 is an error of the encoding wherever it stands; the rest is about topics.
    #[cold]
    fn topic_error(&self, what: &'static str, source: TopicError) -> DecodeError {
        let packet = self.packet;
        match source {
            TopicError::NulCharacter { at } => DecodeError::NulCharacter { packet, what, at },
            source => DecodeError::Topic { packet, what, source },
        }
    }
}
