//! Errors of the crate. Variants carry what was found and what would be right.
//!
//! ```text
//! DecodeError   the peer sent something that the standard forbids, or too much
//! EncodeError   the caller asked for a packet that cannot be written
//! TopicError    a topic name or a topic filter is not valid; also the source of the two above
//! ```

use crate::codec::connack::ConnectReturnCode;
use crate::packet::{PacketType, QoS};

/// Why bytes are not an acceptable packet.
///
/// Every error ends the connection (OASIS MQTT 3.1.1 section 4.8, MQTT-4.8.0-1); [`answer`](Self::answer) tells what is
/// to be sent first. In the variants `packet` is the type at hand and `what` names the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The packet type is 0 or 15, both reserved (table 2.1).
    #[error("packet type {value} is reserved; expected 1 to 14")]
    ReservedPacketType {
        /// Upper four bits of the first byte.
        value: u8,
    },
    /// The lower four bits of the first byte are not those of table 2.2 (MQTT-2.2.2-2).
    #[error("{packet}: fixed header flags are {flags:#06b}; expected {expected:#06b}")]
    FixedFlags {
        /// Type at hand.
        packet: PacketType,
        /// Lower four bits found.
        flags: u8,
        /// Lower four bits that the type demands.
        expected: u8,
    },
    /// PUBLISH with QoS 3 (MQTT-3.3.1-4).
    #[error("PUBLISH: QoS 3 is reserved; expected 0, 1 or 2")]
    PublishQos3,
    /// PUBLISH with DUP although its QoS is 0 (MQTT-3.3.1-2).
    #[error("PUBLISH: DUP is set on a QoS 0 message")]
    DupOnQos0,
    /// The remaining length goes on after its fourth byte (section 2.2.3).
    #[error("{packet}: remaining length has more than 4 bytes")]
    RemainingLengthTooLong {
        /// Type at hand.
        packet: PacketType,
    },
    /// The remaining length is above the caller's limit.
    #[error("{packet}: remaining length is {len} bytes; at most {max} are accepted")]
    PacketTooLarge {
        /// Type at hand.
        packet: PacketType,
        /// Remaining length announced.
        len: usize,
        /// Limit given by the caller.
        max: usize,
    },
    /// A packet of fixed size has another remaining length.
    #[error("{packet}: remaining length is {len}; expected {expected}")]
    BodyLength {
        /// Type at hand.
        packet: PacketType,
        /// Remaining length announced.
        len: usize,
        /// The only length that the type has.
        expected: usize,
    },
    /// A field reaches beyond the end of the packet.
    #[error("{packet}: {what} needs {needed} bytes; {left} are left in the packet")]
    Truncated {
        /// Type at hand.
        packet: PacketType,
        /// Field.
        what: &'static str,
        /// Bytes that the field needs.
        needed: usize,
        /// Bytes left.
        left: usize,
    },
    /// Bytes remain after the last field.
    #[error("{packet}: {count} bytes follow the last field")]
    TrailingBytes {
        /// Type at hand.
        packet: PacketType,
        /// Bytes left over.
        count: usize,
    },
    /// Text is not UTF-8 (MQTT-1.5.3-1).
    #[error("{packet}: {what} is not UTF-8 at byte {at}")]
    NotUtf8 {
        /// Type at hand.
        packet: PacketType,
        /// Field.
        what: &'static str,
        /// Offset in the field where valid text ends.
        at: usize,
    },
    /// Text contains U+0000 (MQTT-1.5.3-2).
    #[error("{packet}: {what} contains U+0000 at byte {at}")]
    NulCharacter {
        /// Type at hand.
        packet: PacketType,
        /// Field.
        what: &'static str,
        /// Offset in the field.
        at: usize,
    },
    /// CONNECT with another protocol name (MQTT-3.1.2-1): close without an answer.
    #[error("CONNECT: protocol name is {len} bytes, \"{}\"; expected \"MQTT\"", head[..usize::from(*len).min(8)].escape_ascii())]
    BadProtocolName {
        /// First bytes of the name found, zero padded.
        head: [u8; 8],
        /// Length of the name found.
        len: u16,
    },
    /// CONNECT for another protocol level: answer CONNACK 1 (MQTT-3.1.2-2).
    #[error("CONNECT: protocol level is {level}; only 4 (MQTT 3.1.1) is supported")]
    UnsupportedProtocolLevel {
        /// Level asked for.
        level: u8,
    },
    /// The connect flags contradict each other or use reserved values.
    #[error("CONNECT: flags are {flags:#010b}: {rule}")]
    ConnectFlags {
        /// The flags byte.
        flags: u8,
        /// The rule that it breaks.
        rule: ConnectFlagsRule,
    },
    /// CONNACK whose first byte has a reserved bit, or session present beside a refusal (section 3.2.2).
    #[error(
        "CONNACK: acknowledge flags are {flags:#04x} with return code {code}; expected 0, or 1 with code 0"
    )]
    ConnAckFlags {
        /// The flags byte.
        flags: u8,
        /// The return code beside it.
        code: u8,
    },
    /// CONNACK with a return code that the standard reserves.
    #[error("CONNACK: return code {code} is reserved; expected 0 to 5")]
    ConnAckCode {
        /// The code found.
        code: u8,
    },
    /// The packet identifier is zero (MQTT-2.3.1-1).
    #[error("{packet}: packet identifier is 0; expected 1 to 65535")]
    PacketIdZero {
        /// Type at hand.
        packet: PacketType,
    },
    /// SUBSCRIBE or UNSUBSCRIBE without a topic filter (MQTT-3.8.3-3, MQTT-3.10.3-2).
    #[error("{packet}: no topic filter; expected at least one")]
    NoFilters {
        /// Type at hand.
        packet: PacketType,
    },
    /// SUBSCRIBE whose requested QoS byte is above 2 (MQTT-3-8.3-4).
    #[error("SUBSCRIBE: requested QoS byte is {byte:#04x}; expected 0, 1 or 2")]
    RequestedQos {
        /// The byte found.
        byte: u8,
    },
    /// SUBACK without a return code.
    #[error("SUBACK: no return code; expected one for each filter")]
    NoReturnCodes,
    /// SUBACK with a return code other than 0, 1, 2 and 0x80 (MQTT-3.9.3-2).
    #[error("SUBACK: return code {code:#04x} is reserved; expected 0, 1, 2 or 0x80")]
    SubAckCode {
        /// The code found.
        code: u8,
    },
    /// A topic name or a topic filter is not valid (section 4.7).
    #[error("{packet}: {what}: {source}")]
    Topic {
        /// Type at hand.
        packet: PacketType,
        /// Field.
        what: &'static str,
        /// What is wrong with it.
        source: TopicError,
    },
}

/// Coarse reason of a [`DecodeError`], for counters and for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// MQTT of another version: the peer is owed a CONNACK with code 1.
    UnsupportedLevel,
    /// Another protocol altogether, by its name.
    NotMqtt,
    /// A packet above the caller's limit.
    TooLarge,
    /// A packet that breaks a rule of the standard.
    Malformed,
}

impl DecodeError {
    /// The coarse reason.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::UnsupportedProtocolLevel { .. } => ErrorKind::UnsupportedLevel,
            Self::BadProtocolName { .. } => ErrorKind::NotMqtt,
            Self::PacketTooLarge { .. } => ErrorKind::TooLarge,
            _ => ErrorKind::Malformed,
        }
    }

    /// The CONNACK return code to send before the close; `None`: close without a word.
    pub const fn answer(&self) -> Option<ConnectReturnCode> {
        match self.kind() {
            ErrorKind::UnsupportedLevel => Some(ConnectReturnCode::UnacceptableProtocolVersion),
            _ => None,
        }
    }
}

/// The rule that a connect flags byte breaks (OASIS MQTT 3.1.1 section 3.1.2.3 to 3.1.2.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectFlagsRule {
    /// Bit 0 must be zero (MQTT-3.1.2-3).
    #[error("bit 0 is reserved and must be 0")]
    ReservedBit,
    /// Will QoS 3 (MQTT-3.1.2-14).
    #[error("will QoS 3 is reserved")]
    WillQos3,
    /// Will QoS without the will flag (MQTT-3.1.2-13).
    #[error("will QoS must be 0 without the will flag")]
    WillQosWithoutWill,
    /// Will retain without the will flag (MQTT-3.1.2-15).
    #[error("will retain must be 0 without the will flag")]
    WillRetainWithoutWill,
    /// Password flag without the user name flag (MQTT-3.1.2-22).
    #[error("the password flag needs the user name flag")]
    PasswordWithoutUserName,
}

/// Why a packet cannot be written. Nothing has been appended to the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The body would not fit the remaining length field.
    #[error("{packet}: remaining length would be {len} bytes; at most {max} can be written")]
    RemainingLength {
        /// Type at hand.
        packet: PacketType,
        /// Length that would be needed.
        len: usize,
        /// [`REMAINING_LEN_MAX`](crate::REMAINING_LEN_MAX).
        max: usize,
    },
    /// A field with a two-byte length is longer than 65535 bytes.
    #[error("{packet}: {what} is {len} bytes; at most 65535 can be written")]
    FieldTooLong {
        /// Type at hand.
        packet: PacketType,
        /// Field.
        what: &'static str,
        /// Its length.
        len: usize,
    },
    /// Text contains U+0000 (MQTT-1.5.3-2).
    #[error("{packet}: {what} contains U+0000 at byte {at}")]
    NulCharacter {
        /// Type at hand.
        packet: PacketType,
        /// Field.
        what: &'static str,
        /// Offset in the field.
        at: usize,
    },
    /// QoS 1 and 2 need a packet identifier, QoS 0 must not have one (section 2.3.1).
    #[error("PUBLISH: QoS {} {} a packet identifier", qos.bits(), if *has_id { "must not have" } else { "needs" })]
    PacketId {
        /// QoS of the message.
        qos: QoS,
        /// Whether an identifier was given.
        has_id: bool,
    },
    /// The packet identifier given is zero (MQTT-2.3.1-1).
    #[error("packet identifier is 0; expected 1 to 65535")]
    PacketIdZero,
    /// DUP on a QoS 0 message (MQTT-3.3.1-2).
    #[error("PUBLISH: DUP must not be set on a QoS 0 message")]
    DupOnQos0,
    /// A password without a user name (MQTT-3.1.2-22).
    #[error("CONNECT: a password needs a user name")]
    PasswordWithoutUserName,
    /// Session present beside a refusal (MQTT-3.2.2-4).
    #[error("CONNACK: session present must be 0 beside return code {code}")]
    SessionPresentOnRefusal {
        /// The return code given.
        code: u8,
    },
    /// A packet that needs at least one entry has none.
    #[error("{packet}: no entry; expected at least one")]
    NoEntries {
        /// Type at hand.
        packet: PacketType,
    },
    /// A topic name or a topic filter is not valid (section 4.7).
    #[error("{packet}: {what}: {source}")]
    Topic {
        /// Type at hand.
        packet: PacketType,
        /// Field.
        what: &'static str,
        /// What is wrong with it.
        source: TopicError,
    },
}

/// Why text is not a topic name or not a topic filter (OASIS MQTT 3.1.1 section 4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// It is empty (MQTT-4.7.3-1).
    #[error("it is empty; expected at least one character")]
    Empty,
    /// It is longer than the length field can say (MQTT-4.7.3-3).
    #[error("it is {len} bytes; at most 65535 are allowed")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// It contains U+0000 (MQTT-4.7.3-2).
    #[error("it contains U+0000 at byte {at}")]
    NulCharacter {
        /// Offset in bytes.
        at: usize,
    },
    /// A topic name contains a wildcard (MQTT-4.7.1-1).
    #[error("a topic name cannot contain the wildcard '{wildcard}' (at byte {at})")]
    WildcardInName {
        /// `+` or `#`.
        wildcard: char,
        /// Offset in bytes.
        at: usize,
    },
    /// `#` is not the last character (MQTT-4.7.1-2).
    #[error("'#' at byte {at} is not the last character")]
    HashNotLast {
        /// Offset in bytes.
        at: usize,
    },
    /// A wildcard shares its level with other characters (MQTT-4.7.1-2, MQTT-4.7.1-3).
    #[error("'{wildcard}' at byte {at} does not stand alone in its level")]
    WildcardNotAlone {
        /// `+` or `#`.
        wildcard: char,
        /// Offset in bytes.
        at: usize,
    },
}
