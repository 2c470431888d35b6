//! A message as one flat run of bytes, for batches, pipes and files.
//!
//! A producer writes many messages one after another into one buffer; the router reads them there,
//! without copying or allocating. Numbers are little-endian, nothing is aligned or padded:
//!
//! | offset | bytes | field | meaning |
//! |---|---|---|---|
//! | 0 | 4 | `message_bytes` | the whole message, this header included |
//! | 4 | 4 | `text_bytes` | all texts together |
//! | 8 | 2 | `source_bytes` | the source path, such as `/messages/modules/m1/outputs/o1` |
//! | 10 | 2 | `system_count` | system properties |
//! | 12 | 2 | `application_count` | application properties |
//! | 14 | 2 | `version` | 1 |
//! | 16 | 8 each | table | for each property, system ones first: `name_bytes`, `value_bytes` of 4 bytes each |
//! | | `text_bytes` | texts | the source, then name and value of each property, in the order of the table |
//! | | the rest | body | |
//!
//! `value_bytes` of `0xFFFFFFFF` marks a property that is there but holds no text. The texts are
//! UTF-8, which is checked once for all of them together.

mod error;
mod read;
mod write;

pub use error::EncodedError;
pub use read::{EncodedMessage, EncodedMessages, EncodedProperties};
pub use write::{MessageWriter, encode};

/// Bytes that one encoded message may have, all included.
pub const ENCODED_BYTES_MAX: usize = 16 << 20;

/// System properties that one message may have, and application properties likewise.
pub const ENCODED_PROPERTIES_MAX: usize = 1000;

/// Bytes that the source path of a message may have.
pub const ENCODED_SOURCE_BYTES_MAX: usize = u16::MAX as usize;

const VERSION: u16 = 1;
const HEADER_BYTES: usize = 16;
const ENTRY_BYTES: usize = 8;
/// Length of a value that is no text.
const NO_TEXT: u32 = u32::MAX;

/// The fixed part at the start of a message.
#[derive(Debug, Clone, Copy)]
struct Header {
    message_bytes: u32,
    text_bytes: u32,
    source_bytes: u16,
    system_count: u16,
    application_count: u16,
    version: u16,
}

impl Header {
    #[inline]
    fn from_bytes(bytes: [u8; HEADER_BYTES]) -> Header {
        let all = u128::from_le_bytes(bytes);
        Header {
            message_bytes: all as u32,
            text_bytes: (all >> 32) as u32,
            source_bytes: (all >> 64) as u16,
            system_count: (all >> 80) as u16,
            application_count: (all >> 96) as u16,
            version: (all >> 112) as u16,
        }
    }

    #[inline]
    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let counts = u128::from(self.source_bytes)
            | u128::from(self.system_count) << 16
            | u128::from(self.application_count) << 32
            | u128::from(self.version) << 48;
        let all = u128::from(self.message_bytes) | u128::from(self.text_bytes) << 32 | counts << 64;
        all.to_le_bytes()
    }
}

/// Lengths of the name and of the value of one property.
type Entry = [u8; ENTRY_BYTES];

#[inline]
fn entry_of(name_bytes: u32, value_bytes: u32) -> Entry {
    (u64::from(name_bytes) | u64::from(value_bytes) << 32).to_le_bytes()
}

/// Bytes of the name, and of the value if there is one.
#[inline]
fn lengths(entry: Entry) -> (usize, Option<usize>) {
    let both = u64::from_le_bytes(entry);
    let value_bytes = (both >> 32) as u32;
    ((both as u32) as usize, (value_bytes != NO_TEXT).then_some(value_bytes as usize))
}
