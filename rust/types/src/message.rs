//! A telemetry message as one run of bytes: what the journal stores and every delivery reads.
//!
//! Layout, integers little-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | layout version, 1 |
//! | 1 | flags: bit 0 quality of service was 1 |
//! | 8 | time of arrival, milliseconds since 1970 UTC |
//! | 2 + n | sender's device id |
//! | 2 + n | sender's module id, empty for a device |
//! | 4 + n | properties, see [`crate::Properties`] |
//! | rest | body |

use crate::{Properties, UnixMs};

const VERSION: u8 = 1;
const FLAG_QOS1: u8 = 1;

/// Why stored bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The bytes end before the field does.
    #[error("message ends inside its {field}")]
    Truncated {
        /// The field that is cut.
        field: &'static str,
    },
    /// A layout that this version does not know.
    #[error("message layout {found}; known is {VERSION}")]
    UnknownLayout {
        /// The version found.
        found: u8,
    },
    /// An id is not UTF-8.
    #[error("{field} is not UTF-8")]
    NotUtf8 {
        /// The field.
        field: &'static str,
    },
    /// An id is longer than 65535 bytes.
    #[error("{field} of {len} bytes; at most 65535")]
    IdTooLong {
        /// The field.
        field: &'static str,
        /// Its bytes.
        len: usize,
    },
}

/// What is known of a message besides properties and body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageHead<'a> {
    /// Time of arrival.
    pub enqueued: UnixMs,
    /// Whether the sender asked for an acknowledgement.
    pub qos1: bool,
    /// Device id of the authenticated sender.
    pub device: &'a str,
    /// Module id of the authenticated sender; empty for a device.
    pub module: &'a str,
}

/// Appends a message to `out`.
///
/// # Errors
/// [`MessageError::IdTooLong`]; nothing is written then.
pub fn encode_message(
    out: &mut Vec<u8>,
    head: &MessageHead<'_>,
    properties: Properties<'_>,
    body: &[u8],
) -> Result<(), MessageError> {
    let device_len = id_len(head.device, "device id")?;
    let module_len = id_len(head.module, "module id")?;
    let properties = properties.as_bytes();
    out.reserve(head.device.len() + head.module.len() + properties.len() + body.len() + 18);
    out.extend_from_slice(&[VERSION, if head.qos1 { FLAG_QOS1 } else { 0 }]);
    out.extend_from_slice(&head.enqueued.0.to_le_bytes());
    out.extend_from_slice(&device_len.to_le_bytes());
    out.extend_from_slice(head.device.as_bytes());
    out.extend_from_slice(&module_len.to_le_bytes());
    out.extend_from_slice(head.module.as_bytes());
    out.extend_from_slice(&(properties.len() as u32).to_le_bytes());
    out.extend_from_slice(properties);
    out.extend_from_slice(body);
    Ok(())
}

fn id_len(id: &str, field: &'static str) -> Result<u16, MessageError> {
    u16::try_from(id.len()).map_err(|_| MessageError::IdTooLong { field, len: id.len() })
}

/// A message read in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageView<'a> {
    /// Head of the message.
    pub head: MessageHead<'a>,
    /// System and application properties.
    pub properties: Properties<'a>,
    /// Body.
    pub body: &'a [u8],
}

impl<'a> MessageView<'a> {
    /// Reads bytes that [`encode_message`] wrote.
    ///
    /// # Errors
    /// [`MessageError`] naming the field that is cut or wrong.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader { rest: bytes };
        let [version, flags] = reader.array("layout")?;
        if version != VERSION {
            return Err(MessageError::UnknownLayout { found: version });
        }
        let enqueued = UnixMs(u64::from_le_bytes(reader.array("time")?));
        let device = reader.text("device id")?;
        let module = reader.text("module id")?;
        let properties_len = u32::from_le_bytes(reader.array("properties")?) as usize;
        let properties = Properties::from_bytes(reader.take(properties_len, "properties")?);
        let head = MessageHead { enqueued, qos1: flags & FLAG_QOS1 != 0, device, module };
        Ok(Self { head, properties, body: reader.rest })
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], MessageError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(MessageError::Truncated { field })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], MessageError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(MessageError::Truncated { field })?;
        self.rest = rest;
        Ok(*taken)
    }

    fn text(&mut self, field: &'static str) -> Result<&'a str, MessageError> {
        let len = u16::from_le_bytes(self.array(field)?) as usize;
        let bytes = self.take(len, field)?;
        std::str::from_utf8(bytes).map_err(|_| MessageError::NotUtf8 { field })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PropertiesBuf;
    use crate::properties::Key;
    use proptest::prelude::*;

    fn sample() -> Vec<u8> {
        let mut properties = PropertiesBuf::default();
        properties.push(Key::Application("a"), Some("b")).unwrap();
        let head = MessageHead { enqueued: UnixMs(7), qos1: true, device: "d", module: "m" };
        let mut out = Vec::new();
        encode_message(&mut out, &head, properties.as_properties(), b"body").unwrap();
        out
    }

    #[test]
    fn a_message_survives_its_encoding() {
        let bytes = sample();
        let view = MessageView::decode(&bytes).unwrap();
        assert_eq!(view.head, MessageHead { enqueued: UnixMs(7), qos1: true, device: "d", module: "m" });
        assert_eq!(view.properties.application("a"), Some(Some("b")));
        assert_eq!(view.body, b"body");
    }

    #[test]
    fn every_cut_before_the_body_is_named() {
        let bytes = sample();
        for len in 0..bytes.len() - 4 {
            let error = MessageView::decode(&bytes[..len]).unwrap_err();
            assert!(matches!(error, MessageError::Truncated { .. }), "cut at {len}: {error}");
        }
    }

    #[test]
    fn another_layout_is_refused() {
        let mut bytes = sample();
        bytes[0] = 9;
        assert_eq!(MessageView::decode(&bytes), Err(MessageError::UnknownLayout { found: 9 }));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = MessageView::decode(&bytes);
        }
    }
}
