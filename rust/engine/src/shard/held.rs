//! Clients whose packets wait for the control plane or the store. Pings and acknowledgements behind these packets are
//! worked on: a client that gets no answer to its ping gives up, and acknowledgements make the room in the store
//! for which the packet before them may wait.

use edgehub_mqtt::{Packet, QoS, decode, encode_pingresp};

use super::Shard;
use super::conn::Sifted;
use crate::ids::ConnId;

/// What becomes of a packet behind one that waits.
enum Fate {
    /// It was worked on.
    Taken,
    /// It waits, too.
    Kept,
    /// It ends the connection when its turn comes.
    ToEnd,
}

impl Shard {
    /// Works on acknowledgements and pings among the bytes that wait: neither has an order with what a client
    /// publishes. Every byte is looked at once, however often more come.
    pub(super) fn sift(&mut self, id: ConnId) {
        let Some(conn) = self.conn_mut(id).filter(|conn| conn.pause.allows_sifting()) else { return };
        if conn.session().is_none() || conn.sifted.to_end || conn.sifted.bytes >= conn.leftover.len() {
            return;
        }
        let mut bytes = std::mem::take(&mut conn.leftover);
        let sifted = self.sift_bytes(id, &mut bytes);
        if let Some(conn) = self.conn_mut(id).filter(|conn| !conn.is_closing()) {
            conn.leftover = bytes;
            conn.sifted = sifted;
        }
    }

    fn sift_bytes(&mut self, id: ConnId, bytes: &mut Vec<u8>) -> Sifted {
        let packet_bytes_max = self.hub.config.packet_bytes_max;
        let now = self.now.mono;
        let Some(conn) = self.conn_mut(id) else { return Sifted::default() };
        let mut kept = conn.sifted.bytes;
        let (mut at, mut to_end) = (kept, false);
        while !to_end && self.conn(id).is_some_and(|conn| conn.pause.allows_sifting()) {
            let (packet, len) = match decode(bytes.get(at..).unwrap_or_default(), packet_bytes_max) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(_) => (Packet::Disconnect, 0), // told when its turn comes
            };
            match self.sift_packet(id, packet) {
                Fate::Taken => at += len,
                Fate::Kept => {
                    bytes.copy_within(at..at + len, kept);
                    kept += len;
                    at += len;
                }
                Fate::ToEnd => to_end = true,
            }
            if let Some(conn) = self.conn_mut(id) {
                conn.last_activity = now;
            }
        }
        bytes.copy_within(at.., kept);
        bytes.truncate(kept + bytes.len() - at);
        Sifted { bytes: kept, to_end }
    }

    fn sift_packet(&mut self, id: ConnId, packet: Packet<'_>) -> Fate {
        match packet {
            Packet::PubAck(packet_id) => {
                self.client_acked(id, packet_id);
                Fate::Taken
            }
            Packet::PingReq => {
                self.write(id.slot(), encode_pingresp);
                Fate::Taken
            }
            Packet::Publish(publish) if publish.qos == QoS::ExactlyOnce => Fate::ToEnd,
            Packet::Publish(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PubRec(_)
            | Packet::PubComp(_) => Fate::Kept,
            _ => Fate::ToEnd,
        }
    }
}
