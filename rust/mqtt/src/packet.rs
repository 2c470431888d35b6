//! The packet enumeration and the small types that several packets share.

use std::num::NonZeroU16;

use crate::codec::connack::ConnAck;
use crate::codec::connect::Connect;
use crate::codec::publish::Publish;
use crate::codec::suback::SubAck;
use crate::codec::subscribe::Subscribe;
use crate::codec::unsubscribe::Unsubscribe;

/// Packet identifier; zero is not one (OASIS MQTT 3.1.1 section 2.3.1, MQTT-2.3.1-1).
pub type PacketId = NonZeroU16;

/// Quality of service of a message or of a subscription (OASIS MQTT 3.1.1 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0: no answer, may be lost.
    AtMostOnce = 0,
    /// QoS 1: answered with PUBACK, may come twice.
    AtLeastOnce = 1,
    /// QoS 2: four-step exchange.
    ExactlyOnce = 2,
}

impl QoS {
    /// The level for the two-bit value, `None` for the reserved value 3 and anything above.
    #[inline]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// The two-bit value on the wire.
    #[inline]
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

/// Control packet type: the upper four bits of the first byte (OASIS MQTT 3.1.1 table 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are those of the standard's table")]
pub enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
}

impl PacketType {
    /// The type for the four-bit value, `None` for the reserved values 0 and 15.
    #[inline]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            _ => return None,
        })
    }

    /// The name that the standard uses, upper case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
        }
    }

    /// Whether a client may send this type; a server closes the connection on any other (OASIS MQTT 3.1.1 table 2.1).
    pub const fn is_sent_by_client(self) -> bool {
        !matches!(self, Self::ConnAck | Self::SubAck | Self::UnsubAck | Self::PingResp)
    }

    /// Whether a server may send this type.
    pub const fn is_sent_by_server(self) -> bool {
        !matches!(
            self,
            Self::Connect | Self::Subscribe | Self::Unsubscribe | Self::PingReq | Self::Disconnect
        )
    }

    /// The lower four bits that the first byte must have; `None` for PUBLISH, where they carry DUP, QoS and RETAIN
    /// (OASIS MQTT 3.1.1 table 2.2).
    pub(crate) const fn required_flags(self) -> Option<u8> {
        match self {
            Self::Publish => None,
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => Some(0b0010),
            _ => Some(0),
        }
    }

    /// The only remaining length that the type may have; `None` where it varies.
    pub(crate) const fn fixed_body_len(self) -> Option<usize> {
        match self {
            Self::PingReq | Self::PingResp | Self::Disconnect => Some(0),
            Self::ConnAck | Self::PubAck | Self::PubRec | Self::PubRel | Self::PubComp | Self::UnsubAck => {
                Some(2)
            }
            _ => None,
        }
    }

    /// First byte of a packet of this type whose flags are fixed.
    pub(crate) const fn first_byte(self) -> u8 {
        let flags = match self.required_flags() {
            Some(flags) => flags,
            None => 0,
        };
        (self as u8) << 4 | flags
    }
}

impl std::fmt::Display for PacketType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// One control packet, validated, borrowing from the bytes that it was decoded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the standard's table")]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    ConnAck(ConnAck),
    Publish(Publish<'a>),
    PubAck(PacketId),
    PubRec(PacketId),
    PubRel(PacketId),
    PubComp(PacketId),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(PacketId),
    PingReq,
    PingResp,
    Disconnect,
}

impl Packet<'_> {
    /// The type of the packet.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect => PacketType::Disconnect,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_type_survives_its_bits() {
        for bits in 0..=u8::MAX {
            match PacketType::from_bits(bits) {
                Some(kind) => assert_eq!(kind as u8, bits),
                None => assert!(bits == 0 || bits > 14, "{bits}"),
            }
        }
    }

    #[test]
    fn every_type_is_sent_by_someone() {
        for kind in (1..=14).filter_map(PacketType::from_bits) {
            assert!(kind.is_sent_by_client() || kind.is_sent_by_server(), "{kind}");
        }
        assert!(!PacketType::SubAck.is_sent_by_client());
        assert!(!PacketType::Subscribe.is_sent_by_server());
        assert!(PacketType::Publish.is_sent_by_client() && PacketType::Publish.is_sent_by_server());
    }

    #[test]
    fn qos_three_is_reserved() {
        assert_eq!(QoS::from_bits(2), Some(QoS::ExactlyOnce));
        assert_eq!(QoS::from_bits(3), None);
        assert_eq!(QoS::AtLeastOnce.bits(), 1);
    }
}
