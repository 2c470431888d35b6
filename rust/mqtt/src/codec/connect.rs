//! CONNECT (OASIS MQTT 3.1.1 section 3.1).

use super::header::write_header;
use super::read::Reader;
use super::write::{check_binary, check_text, check_topic_field, prefixed_len, put_binary, put_u16};
use crate::error::{ConnectFlagsRule, DecodeError, EncodeError};
use crate::packet::{PacketType, QoS};

/// The protocol level of MQTT 3.1.1, the only one spoken here.
pub const PROTOCOL_LEVEL: u8 = 4;

const PROTOCOL_NAME: &[u8] = b"MQTT";
/// Protocol name with its length, level, flags and keep alive.
const VARIABLE_HEADER_BYTES: usize = 10;

const RESERVED: u8 = 0x01;
const CLEAN_SESSION: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USER_NAME: u8 = 0x80;

/// Opens a session.
///
/// An empty client id is decoded as such: whether it is acceptable is the server's policy (MQTT-3.1.3-8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// Forget what is stored of an earlier session, and store nothing.
    pub clean_session: bool,
    /// Keep alive in seconds, 0 = off.
    pub keep_alive_s: u16,
    /// Client identifier.
    pub client_id: &'a str,
    /// Message to publish when the session ends abnormally.
    pub will: Option<Will<'a>>,
    /// User name.
    pub user_name: Option<&'a str>,
    /// Password; only together with a user name.
    pub password: Option<&'a [u8]>,
}

/// The will of a CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Will<'a> {
    /// Topic name.
    pub topic: &'a str,
    /// Payload, at most 65535 bytes.
    pub message: &'a [u8],
    /// QoS to publish with.
    pub qos: QoS,
    /// RETAIN to publish with.
    pub retain: bool,
}

pub(crate) fn read<'a>(reader: &mut Reader<'a>) -> Result<Connect<'a>, DecodeError> {
    read_protocol(reader)?;
    let flags = reader.u8("connect flags")?;
    let will_qos = check_flags(flags)?;
    let keep_alive_s = reader.u16("keep alive")?;
    Ok(Connect {
        clean_session: flags & CLEAN_SESSION != 0,
        keep_alive_s,
        client_id: reader.text("client identifier")?,
        will: when(flags & WILL, || read_will(reader, will_qos, flags & WILL_RETAIN != 0))?,
        user_name: when(flags & USER_NAME, || reader.text("user name"))?,
        password: when(flags & PASSWORD, || reader.binary("password"))?,
    })
}

/// Reads an optional field when its flag is set.
fn when<T>(flag: u8, read: impl FnOnce() -> Result<T, DecodeError>) -> Result<Option<T>, DecodeError> {
    if flag == 0 { Ok(None) } else { read().map(Some) }
}

/// The name is looked at first: only to a peer that speaks some MQTT an answer makes sense.
fn read_protocol(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    let name = reader.binary("protocol name")?;
    if name != PROTOCOL_NAME {
        let mut head = [0; 8];
        head.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
        return Err(DecodeError::BadProtocolName { head, len: name.len() as u16 });
    }
    match reader.u8("protocol level")? {
        PROTOCOL_LEVEL => Ok(()),
        level => Err(DecodeError::UnsupportedProtocolLevel { level }),
    }
}

/// Checks the flags against each other; gives the will QoS.
fn check_flags(flags: u8) -> Result<QoS, DecodeError> {
    let broken = |rule| Err(DecodeError::ConnectFlags { flags, rule });
    if flags & RESERVED != 0 {
        return broken(ConnectFlagsRule::ReservedBit);
    }
    let Some(will_qos) = QoS::from_bits(flags >> WILL_QOS_SHIFT & 0b11) else {
        return broken(ConnectFlagsRule::WillQos3);
    };
    if flags & WILL == 0 && will_qos != QoS::AtMostOnce {
        return broken(ConnectFlagsRule::WillQosWithoutWill);
    }
    if flags & WILL == 0 && flags & WILL_RETAIN != 0 {
        return broken(ConnectFlagsRule::WillRetainWithoutWill);
    }
    if flags & PASSWORD != 0 && flags & USER_NAME == 0 {
        return broken(ConnectFlagsRule::PasswordWithoutUserName);
    }
    Ok(will_qos)
}

fn read_will<'a>(reader: &mut Reader<'a>, qos: QoS, retain: bool) -> Result<Will<'a>, DecodeError> {
    Ok(Will { topic: reader.topic("will topic")?, message: reader.binary("will message")?, qos, retain })
}

/// Appends a CONNECT of protocol level 4.
///
/// # Errors
/// A field above 65535 bytes, U+0000 in text, a will topic that is not a topic name, a password without a user name.
pub fn encode_connect(out: &mut Vec<u8>, connect: &Connect<'_>) -> Result<(), EncodeError> {
    check(connect)?;
    let fields = fields(connect);
    let payload_len: usize = fields.iter().flatten().map(|field| prefixed_len(field)).sum();
    write_header(out, PacketType::Connect, 0, VARIABLE_HEADER_BYTES + payload_len)?;
    put_binary(out, PROTOCOL_NAME);
    out.extend_from_slice(&[PROTOCOL_LEVEL, flags(connect)]);
    put_u16(out, connect.keep_alive_s);
    fields.iter().flatten().for_each(|field| put_binary(out, field));
    Ok(())
}

/// The payload in the order of section 3.1.3.
fn fields<'a>(connect: &Connect<'a>) -> [Option<&'a [u8]>; 5] {
    [
        Some(connect.client_id.as_bytes()),
        connect.will.map(|will| will.topic.as_bytes()),
        connect.will.map(|will| will.message),
        connect.user_name.map(str::as_bytes),
        connect.password,
    ]
}

fn check(connect: &Connect<'_>) -> Result<(), EncodeError> {
    let packet = PacketType::Connect;
    check_text(packet, "client identifier", connect.client_id)?;
    if let Some(will) = &connect.will {
        check_topic_field(packet, "will topic", will.topic)?;
        check_binary(packet, "will message", will.message)?;
    }
    if let Some(user_name) = connect.user_name {
        check_text(packet, "user name", user_name)?;
    }
    match connect.password {
        Some(_) if connect.user_name.is_none() => Err(EncodeError::PasswordWithoutUserName),
        Some(password) => check_binary(packet, "password", password),
        None => Ok(()),
    }
}

fn flags(connect: &Connect<'_>) -> u8 {
    let set = |on: bool, bits: u8| if on { bits } else { 0 };
    let will = connect
        .will
        .map_or(0, |will| WILL | will.qos.bits() << WILL_QOS_SHIFT | set(will.retain, WILL_RETAIN));
    will | set(connect.clean_session, CLEAN_SESSION)
        | set(connect.user_name.is_some(), USER_NAME)
        | set(connect.password.is_some(), PASSWORD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConnectReturnCode, ErrorKind, decode};

    fn connect_bytes(name: &[u8], level: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_header(&mut out, PacketType::Connect, 0, 6 + name.len() + payload.len()).unwrap();
        put_binary(&mut out, name);
        out.extend_from_slice(&[level, flags, 0, 60]);
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn every_flags_byte_is_judged_by_the_rules() {
        for flags in 0..=u8::MAX {
            let will = flags & 0x04 != 0;
            let valid = flags & 1 == 0
                && flags & 0x18 != 0x18
                && (will || flags & 0x38 == 0)
                && (flags & 0x40 == 0 || flags & 0x80 != 0);
            // One-byte fields "c", "t", "m", "u", "p", as many as the flags ask for.
            let count = 1 + if will { 2 } else { 0 } + usize::from(flags >> 7) + usize::from(flags >> 6 & 1);
            let payload: Vec<u8> = b"ctmup".iter().take(count).flat_map(|c| [0, 1, *c]).collect();
            let bytes = connect_bytes(b"MQTT", 4, flags, &payload);
            let got = decode(&bytes, 1000);
            assert_eq!(got.is_ok(), valid, "{flags:#010b}: {got:?}");
            if !valid {
                assert!(matches!(got, Err(DecodeError::ConnectFlags { .. })), "{got:?}");
            }
        }
    }

    #[test]
    fn another_level_is_answered_and_another_name_is_not() {
        for level in (0..=u8::MAX).filter(|level| *level != 4) {
            // Flags and payload of another version are not judged.
            let err = decode(&connect_bytes(b"MQTT", level, 0xff, &[1, 2, 3]), 1000).unwrap_err();
            assert_eq!(err, DecodeError::UnsupportedProtocolLevel { level });
            assert_eq!(err.answer(), Some(ConnectReturnCode::UnacceptableProtocolVersion));
        }
        for name in [&b"MQIsdp"[..], b"mqtt", b"MQTTX", b"", b"AVeryLongProtocolName"] {
            let err = decode(&connect_bytes(name, 4, 0, &[0, 0]), 1000).unwrap_err();
            assert_eq!((err.kind(), err.answer()), (ErrorKind::NotMqtt, None), "{err}");
        }
    }

    #[test]
    fn the_name_found_is_shown() {
        let err = decode(&connect_bytes(b"MQIsdp", 3, 0, &[0, 0]), 1000).unwrap_err();
        assert_eq!(err.to_string(), "CONNECT: protocol name is 6 bytes, \"MQIsdp\"; expected \"MQTT\"");
    }

    #[test]
    fn what_cannot_be_said_is_refused_and_nothing_is_written() {
        let plain = Connect {
            clean_session: true,
            keep_alive_s: 0,
            client_id: "c",
            will: None,
            user_name: None,
            password: None,
        };
        let long = "x".repeat(65_536);
        let will = Will { topic: "a/#", message: b"", qos: QoS::AtMostOnce, retain: false };
        let mut out = vec![1];
        for bad in [
            Connect { password: Some(b"p"), ..plain },
            Connect { client_id: &long, ..plain },
            Connect { client_id: "a\0", ..plain },
            Connect { user_name: Some(&long), ..plain },
            Connect { user_name: Some("u"), password: Some(long.as_bytes()), ..plain },
            Connect { will: Some(will), ..plain },
            Connect { will: Some(Will { topic: "", ..will }), ..plain },
            Connect { will: Some(Will { topic: "t", message: long.as_bytes(), ..will }), ..plain },
        ] {
            assert!(encode_connect(&mut out, &bad).is_err());
            assert_eq!(out, [1]);
        }
    }
}
