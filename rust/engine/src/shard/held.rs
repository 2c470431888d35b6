//! Consumers that are held back for a publish of their own. Their acknowledgements make room in the store: if these
//! waited behind the publish, it might wait for ever.

use edgehub_mqtt::{Packet, decode, encode_pingresp};

use super::Shard;
use crate::ids::ConnId;

/// Bytes kept of a consumer that is held back, and up to one read more. Full: it is not read any more.
const HELD_BYTES_MAX: usize = 64 * 1024;

impl Shard {
    /// Whether a connection that is held back is read all the same.
    pub(super) fn reads_while_held(&self, id: ConnId) -> bool {
        self.is_held_consumer(id) && self.conn(id).is_some_and(|conn| conn.leftover.len() < HELD_BYTES_MAX)
    }

    fn is_held_consumer(&self, id: ConnId) -> bool {
        self.is_consumer(id) && self.conn(id).is_some_and(|conn| conn.pause.is_of_store_alone())
    }

    /// Works on acknowledgements and pings among the bytes that wait, whatever waits before them: neither has an order
    /// with what a client publishes.
    pub(super) fn take_held_acks(&mut self, id: ConnId) {
        if !self.is_held_consumer(id) {
            return;
        }
        let packet_bytes_max = self.hub.config.packet_bytes_max;
        let Some(conn) = self.conn_mut(id) else { return };
        let mut bytes = std::mem::take(&mut conn.leftover);
        let (mut at, mut kept) = (0, 0);
        while let Ok(Some((packet, len))) = decode(bytes.get(at..).unwrap_or_default(), packet_bytes_max) {
            let taken = match packet {
                Packet::PubAck(packet_id) => {
                    self.client_acked(id, packet_id);
                    true
                }
                Packet::PingReq => {
                    self.write(id.slot(), encode_pingresp);
                    true
                }
                _ => false,
            };
            if !taken {
                bytes.copy_within(at..at + len, kept);
                kept += len;
            }
            at += len;
        }
        bytes.copy_within(at.., kept);
        bytes.truncate(kept + bytes.len() - at);
        if let Some(conn) = self.conn_mut(id).filter(|conn| !conn.is_closing()) {
            conn.leftover = bytes;
        }
    }
}
