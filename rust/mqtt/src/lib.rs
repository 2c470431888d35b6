//! Sans-IO MQTT 3.1.1 codec, topic filters and in-flight tables.
//!
//! Everything here works on byte slices that the caller owns: no socket, no clock, no buffer of its own. Both
//! directions are complete, so the same crate serves a broker, an upstream client and a load generator.
//!
//! # Receiving
//!
//! Call [`decode`] on what has arrived until it answers `Ok(None)`, then read more. [`frame`] is the first half of
//! it: it finds where a packet ends and refuses a wrong first byte, a wrong length or a packet above the caller's
//! limit before the body has come, so that nobody has to buffer what will be thrown away.
//!
//! A [`Packet`] borrows from the input. Decoding allocates nothing and validates everything: text is UTF-8
//! without U+0000 (OASIS MQTT 3.1.1 section 1.5.3), reserved bits are as the standard demands, the body is used up exactly.
//! After an error the connection cannot be brought back into step; [`DecodeError::answer`] says whether the peer is owed
//! a CONNACK before the close.
//!
//! # Sending
//!
//! The `encode_*` functions append whole packets to a `Vec<u8>`; on an error nothing is appended. [`encode_publish_header`]
//! takes the topic in parts and leaves the payload to the caller.
//!
//! ```
//! use edgehub_mqtt::{Packet, Publish, QoS, decode, encode_puback, encode_publish};
//!
//! let mut wire = Vec::new();
//! let sent = Publish::new("devices/d1/messages/events/", QoS::AtLeastOnce, b"21.5").with_id(7)?;
//! encode_publish(&mut wire, &sent)?;
//!
//! let (packet, used) = decode(&wire, 262_144)?.ok_or("incomplete")?;
//! assert_eq!((packet, used), (Packet::Publish(sent), wire.len()));
//!
//! let mut answer = Vec::new();
//! encode_puback(&mut answer, sent.packet_id.ok_or("no id")?);
//! assert_eq!(answer, [0x40, 2, 0, 7]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod codec;
mod error;
mod inflight;
mod packet;
mod topic;

pub use codec::ack::{encode_puback, encode_pubcomp, encode_pubrec, encode_pubrel, encode_unsuback};
pub use codec::connack::{ConnAck, ConnectReturnCode, encode_connack};
pub use codec::connect::{Connect, PROTOCOL_LEVEL, Will, encode_connect};
pub use codec::empty::{encode_disconnect, encode_pingreq, encode_pingresp};
pub use codec::header::{FixedHeader, Frame, HEADER_BYTES_MAX, REMAINING_LEN_MAX, frame};
pub use codec::publish::{Publish, PublishParams, encode_publish, encode_publish_header};
pub use codec::suback::{SubAck, SubAckCode, SubAckCodes, encode_suback};
pub use codec::subscribe::{Subscribe, SubscribeFilters, encode_subscribe};
pub use codec::unsubscribe::{Unsubscribe, UnsubscribeFilters, encode_unsubscribe};
pub use codec::{decode, decode_body, encode};
pub use error::{ConnectFlagsRule, DecodeError, EncodeError, ErrorKind, TopicError};
pub use inflight::{Drain, InFlight, Iter, WindowFull};
pub use packet::{Packet, PacketId, PacketType, QoS};
pub use topic::{TOPIC_BYTES_MAX, TopicFilter, check_topic, filter_matches, topic_is_valid};
