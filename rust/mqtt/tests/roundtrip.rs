//! Properties: what is written is read back, and no input makes the decoder panic or contradict itself.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panic")]

use edgehub_mqtt::{
    ConnAck, Connect, ConnectReturnCode, Frame, Packet, PacketId, Publish, QoS, REMAINING_LEN_MAX,
    SubAckCode, Will, decode, encode, encode_suback, encode_subscribe, encode_unsubscribe, frame,
};
use proptest::prelude::*;

fn qos() -> impl Strategy<Value = QoS> {
    (0_u8..3).prop_map(|bits| QoS::from_bits(bits).unwrap())
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).unwrap())
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        // Lengths at which the remaining length takes another byte.
        (16_300_usize..16_400).prop_map(|len| vec![7; len]),
    ]
}

fn plain_text() -> impl Strategy<Value = String> {
    "[^\0]{0,40}"
}

fn topic() -> impl Strategy<Value = String> {
    "[^\0+#]{1,40}"
}

fn filter() -> impl Strategy<Value = String> {
    prop_oneof![topic(), Just("#".into()), topic().prop_map(|t| format!("+/{t}/+/#")), Just("/+".into())]
}

/// Writes the packet, reads it back, and checks that it is the same and that all bytes were used.
fn assert_round_trip(packet: &Packet<'_>) -> Result<(), TestCaseError> {
    let mut wire = Vec::new();
    encode(&mut wire, packet).map_err(|err| TestCaseError::fail(err.to_string()))?;
    prop_assert_eq!(decode(&wire, REMAINING_LEN_MAX), Ok(Some((*packet, wire.len()))));
    Ok(())
}

proptest! {
    #[test]
    fn connect(
        clean_session: bool,
        keep_alive_s: u16,
        client_id in plain_text(),
        will in prop::option::of((topic(), prop::collection::vec(any::<u8>(), 0..50), qos(), any::<bool>())),
        user_name in prop::option::of(plain_text()),
        password in prop::option::of(prop::collection::vec(any::<u8>(), 0..50)),
    ) {
        let will = will.as_ref().map(|(topic, message, qos, retain)| Will {
            topic, message, qos: *qos, retain: *retain,
        });
        let password = password.as_deref().filter(|_| user_name.is_some());
        assert_round_trip(&Packet::Connect(Connect {
            clean_session, keep_alive_s, client_id: &client_id, will, user_name: user_name.as_deref(), password,
        }))?;
    }

    #[test]
    fn connack(session_present: bool, code in 0_u8..6) {
        let code = ConnectReturnCode::from_byte(code).unwrap();
        let session_present = session_present && code == ConnectReturnCode::Accepted;
        assert_round_trip(&Packet::ConnAck(ConnAck { session_present, code }))?;
    }

    #[test]
    fn publish(dup: bool, qos in qos(), retain: bool, topic in topic(), id in packet_id(), payload in payload()) {
        let at_most_once = qos == QoS::AtMostOnce;
        assert_round_trip(&Packet::Publish(Publish {
            dup: dup && !at_most_once,
            qos,
            retain,
            topic: &topic,
            packet_id: (!at_most_once).then_some(id),
            payload: &payload,
        }))?;
    }

    #[test]
    fn acks_and_empty_packets(id in packet_id()) {
        for packet in [
            Packet::PubAck(id), Packet::PubRec(id), Packet::PubRel(id), Packet::PubComp(id), Packet::UnsubAck(id),
            Packet::PingReq, Packet::PingResp, Packet::Disconnect,
        ] {
            assert_round_trip(&packet)?;
        }
    }

    #[test]
    fn subscribe(id in packet_id(), entries in prop::collection::vec((filter(), qos()), 1..20)) {
        let entries: Vec<_> = entries.iter().map(|(filter, qos)| (filter.as_str(), *qos)).collect();
        let mut wire = Vec::new();
        encode_subscribe(&mut wire, id, &entries).unwrap();
        let Ok(Some((packet @ Packet::Subscribe(read), used))) = decode(&wire, REMAINING_LEN_MAX) else {
            return Err(TestCaseError::fail("not a SUBSCRIBE"));
        };
        prop_assert_eq!((read.packet_id, used), (id, wire.len()));
        prop_assert_eq!(read.filters().collect::<Vec<_>>(), entries);
        assert_round_trip(&packet)?;
    }

    #[test]
    fn unsubscribe(id in packet_id(), filters in prop::collection::vec(filter(), 1..20)) {
        let filters: Vec<_> = filters.iter().map(String::as_str).collect();
        let mut wire = Vec::new();
        encode_unsubscribe(&mut wire, id, &filters).unwrap();
        let Ok(Some((packet @ Packet::Unsubscribe(read), used))) = decode(&wire, REMAINING_LEN_MAX) else {
            return Err(TestCaseError::fail("not an UNSUBSCRIBE"));
        };
        prop_assert_eq!((read.packet_id, used), (id, wire.len()));
        prop_assert_eq!(read.filters().collect::<Vec<_>>(), filters);
        assert_round_trip(&packet)?;
    }

    #[test]
    fn suback(id in packet_id(), codes in prop::collection::vec(prop::sample::select(vec![0_u8, 1, 2, 0x80]), 1..20)) {
        let codes: Vec<_> = codes.into_iter().map(|byte| SubAckCode::from_byte(byte).unwrap()).collect();
        let mut wire = Vec::new();
        encode_suback(&mut wire, id, &codes).unwrap();
        let Ok(Some((packet @ Packet::SubAck(read), used))) = decode(&wire, REMAINING_LEN_MAX) else {
            return Err(TestCaseError::fail("not a SUBACK"));
        };
        prop_assert_eq!((read.packet_id, used), (id, wire.len()));
        prop_assert_eq!(read.codes().collect::<Vec<_>>(), codes);
        assert_round_trip(&packet)?;
    }

    /// Bytes that begin like a packet and go on at random.
    #[test]
    fn any_bytes_give_a_packet_an_error_or_a_wait(
        first in prop_oneof![any::<u8>(), prop::sample::select(vec![0x10_u8, 0x20, 0x30, 0x32, 0x82, 0x90, 0xa2])],
        fit in any::<bool>(),
        body in prop::collection::vec(prop_oneof![3 => 0_u8..6, 1 => any::<u8>()], 0..100),
        max in 0_usize..200,
    ) {
        let mut wire = vec![first];
        if fit { wire.push(body.len() as u8); }
        wire.extend(&body);
        match decode(&wire, max) {
            Ok(Some((packet, used))) => {
                prop_assert!(used <= wire.len());
                // Another way to write the remaining length is the only freedom that the standard leaves.
                let mut again = Vec::new();
                encode(&mut again, &packet).unwrap();
                prop_assert!(again.len() <= used);
                prop_assert_eq!(decode(&again, max), Ok(Some((packet, again.len()))));
            }
            Ok(None) => {
                let Ok(Frame::Incomplete { at_least }) = frame(&wire, max) else {
                    return Err(TestCaseError::fail("complete and not decoded"));
                };
                prop_assert!(at_least > wire.len());
            }
            Err(err) => prop_assert!(!err.to_string().is_empty()),
        }
    }
}
