//! MQTT decoder on a stream of any bytes.
//!
//! No input may panic; the whole input and the same bytes one by one must give the same packets and the same error; a packet
//! that was decoded can be written and is read back as the same packet.

use edgehub_mqtt::{DecodeError, Packet, decode, encode, filter_matches};

/// Small enough that the fuzzer reaches the limit.
const PACKET_BYTES_MAX: usize = 4096;

type Outcome = (Vec<Vec<u8>>, Option<DecodeError>);

/// Writes the packet, checks that it is read back the same, and looks at everything that is decoded lazily.
fn canonical(packet: &Packet<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, packet).expect("a decoded packet can be written");
    let again = decode(&out, PACKET_BYTES_MAX).expect("what was written is valid");
    assert_eq!(again, Some((*packet, out.len())));
    match packet {
        Packet::Subscribe(subscribe) => {
            assert!(subscribe.filters().count() > 0);
            for (filter, _) in subscribe.filters() {
                assert!(filter.contains(['+', '#']) || filter_matches(filter, filter));
            }
        }
        Packet::Unsubscribe(unsubscribe) => assert!(unsubscribe.filters().count() > 0),
        Packet::SubAck(suback) => assert_eq!(suback.codes().count(), suback.codes().len()),
        _ => {}
    }
    out
}

fn run<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let (mut kept, mut packets) = (Vec::new(), Vec::new());
    for chunk in chunks {
        kept.extend_from_slice(chunk);
        let mut at = 0;
        loop {
            match decode(&kept[at..], PACKET_BYTES_MAX) {
                Ok(Some((packet, used))) => {
                    packets.push(canonical(&packet));
                    at += used;
                }
                Ok(None) => break,
                Err(err) => return (packets, Some(err)),
            }
        }
        kept.drain(..at);
    }
    (packets, None)
}

/// Decodes the input whole and cut.
pub fn check(data: &[u8]) {
    let whole = run(std::iter::once(data));
    assert_eq!(whole, run(data.chunks(1)));
    assert_eq!(whole, run(data.chunks(7)));
}
