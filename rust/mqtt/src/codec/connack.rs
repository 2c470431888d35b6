//! CONNACK (OASIS MQTT 3.1.1 section 3.2).

use super::read::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::packet::PacketType;

const SESSION_PRESENT: u8 = 0x01;

/// Answer to CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnAck {
    /// The server has stored state of this client; only with [`ConnectReturnCode::Accepted`].
    pub session_present: bool,
    /// The verdict.
    pub code: ConnectReturnCode,
}

/// Return code of a CONNACK (table 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ConnectReturnCode {
    /// Connection accepted.
    Accepted = 0,
    /// The server does not support the protocol level.
    UnacceptableProtocolVersion = 1,
    /// The client identifier is not allowed.
    IdentifierRejected = 2,
    /// The service is unavailable.
    ServerUnavailable = 3,
    /// The user name or password is malformed.
    BadUserNameOrPassword = 4,
    /// The client is not authorised.
    NotAuthorized = 5,
}

impl ConnectReturnCode {
    /// The code for the byte, `None` for the reserved values above 5.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Accepted,
            1 => Self::UnacceptableProtocolVersion,
            2 => Self::IdentifierRejected,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }

    /// The byte on the wire.
    pub const fn byte(self) -> u8 {
        self as u8
    }
}

pub(crate) fn read(reader: &mut Reader<'_>) -> Result<ConnAck, DecodeError> {
    let flags = reader.u8("acknowledge flags")?;
    let byte = reader.u8("return code")?;
    let code = ConnectReturnCode::from_byte(byte).ok_or(DecodeError::ConnAckCode { code: byte })?;
    let session_present = flags == SESSION_PRESENT;
    if flags > SESSION_PRESENT || (session_present && code != ConnectReturnCode::Accepted) {
        return Err(DecodeError::ConnAckFlags { flags, code: byte });
    }
    Ok(ConnAck { session_present, code })
}

/// Appends a CONNACK.
///
/// # Errors
/// Session present beside a refusal (MQTT-3.2.2-4).
pub fn encode_connack(out: &mut Vec<u8>, connack: ConnAck) -> Result<(), EncodeError> {
    let code = connack.code.byte();
    if connack.session_present && connack.code != ConnectReturnCode::Accepted {
        return Err(EncodeError::SessionPresentOnRefusal { code });
    }
    out.extend_from_slice(&[PacketType::ConnAck.first_byte(), 2, u8::from(connack.session_present), code]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;

    #[test]
    fn every_pair_of_bytes_is_judged() {
        for flags in 0..=u8::MAX {
            for code in 0..=u8::MAX {
                let valid = matches!((flags, code), (0, 0..=5) | (1, 0));
                assert_eq!(decode(&[0x20, 2, flags, code], 10).is_ok(), valid, "{flags} {code}");
            }
        }
    }

    #[test]
    fn a_refusal_has_no_session() {
        let bad = ConnAck { session_present: true, code: ConnectReturnCode::NotAuthorized };
        assert_eq!(
            encode_connack(&mut Vec::new(), bad),
            Err(EncodeError::SessionPresentOnRefusal { code: 5 })
        );
    }
}
