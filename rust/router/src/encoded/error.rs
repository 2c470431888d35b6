//! What can be wrong with an encoded message.

/// Why bytes are no message, or a message cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodedError {
    /// The bytes end before the message does.
    #[error("the message ends after {have} bytes, it needs {needed}")]
    Truncated {
        /// Bytes that the message has, as far as could be read.
        needed: usize,
        /// Bytes that are there.
        have: usize,
    },
    /// A layout that this version of the library does not read.
    #[error("layout version {found} is not known, expected 1")]
    Version {
        /// Version found.
        found: u16,
    },
    /// The length in the header is less than header, table and texts take.
    #[error("the header says {message_bytes} bytes in all, but table and texts alone need {needed}")]
    MessageBytes {
        /// Length in the header.
        message_bytes: usize,
        /// Length without a body.
        needed: usize,
    },
    /// The single lengths do not add up to the length of all texts.
    #[error("source and properties add up to {sum} bytes of text, the header says {text_bytes}")]
    Lengths {
        /// Length of all texts in the header.
        text_bytes: usize,
        /// Sum of the single lengths.
        sum: u64,
    },
    /// The texts are not UTF-8.
    #[error("the texts are not UTF-8 at byte {at} of the message")]
    NotUtf8 {
        /// First byte that is wrong, counted from the start of the message.
        at: usize,
    },
    /// A name or value begins or ends within a character.
    #[error("a name or value is cut within a character at byte {at} of the message")]
    SplitCharacter {
        /// Place of the cut, counted from the start of the message.
        at: usize,
    },
    /// A message beyond [`crate::ENCODED_BYTES_MAX`].
    #[error("a message of {bytes} bytes is longer than {max}")]
    TooLong {
        /// Length of the message, as far as it was added up.
        bytes: usize,
        /// Length allowed.
        max: usize,
    },
    /// A source path beyond [`crate::ENCODED_SOURCE_BYTES_MAX`].
    #[error("a source of {bytes} bytes is longer than {max}")]
    SourceTooLong {
        /// Length of the path.
        bytes: usize,
        /// Length allowed.
        max: usize,
    },
    /// More properties of one kind than [`crate::ENCODED_PROPERTIES_MAX`].
    #[error("{count} properties of one kind are more than {max}")]
    TooManyProperties {
        /// Number found.
        count: usize,
        /// Number allowed.
        max: usize,
    },
    /// Two properties that conditions could not tell apart (routing section 6.1).
    #[error("properties '{first}' and '{second}' differ only in case")]
    SameName {
        /// Name of the property before.
        first: String,
        /// Name of the one refused.
        second: String,
    },
    /// A writer was given more or fewer properties than announced.
    #[error("{announced} properties were announced, {given} given")]
    PropertyCount {
        /// Number announced.
        announced: usize,
        /// Number given.
        given: usize,
    },
}
