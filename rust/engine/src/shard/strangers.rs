//! Connections without session: nobody knows yet who they are, so they get little. Every one may keep some bytes; a
//! longer CONNECT is read on only when it was promised room that all of them share.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use edgehub_mqtt::{Frame, frame};

use super::Shard;
use super::conn::{Conn, Phase};
use crate::ids::ConnId;

/// Room for long CONNECT packets of one I/O thread.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    promised_bytes: usize,
    /// Connections that wait for a promise, unread. At most one entry for each.
    waiting: VecDeque<ConnId>,
}

impl Shard {
    /// Takes a new connection into the count of all threads.
    pub(super) fn join_strangers(&self) {
        self.hub.unauthenticated.fetch_add(1, Ordering::Relaxed);
    }

    /// The connection got its session, or ended.
    pub(super) fn leave_strangers(&mut self, slot: usize) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        if !std::mem::take(&mut conn.is_stranger) {
            return;
        }
        self.hub.unauthenticated.fetch_sub(1, Ordering::Relaxed);
        let (id, promised_bytes) = (conn.id, std::mem::take(&mut conn.promised_bytes));
        self.strangers.waiting.retain(|waiting| *waiting != id);
        self.strangers.promised_bytes = self.strangers.promised_bytes.saturating_sub(promised_bytes);
        self.promise_room();
    }

    /// How many more bytes of a CONNECT may be read.
    pub(super) fn connect_room(&self, conn: &Conn) -> usize {
        conn.promised_bytes.max(self.hub.config.connect_bytes_free).saturating_sub(conn.leftover.len())
    }

    /// Gets in line when the CONNECT does not fit into what every connection may keep.
    pub(super) fn ask_for_room(&mut self, id: ConnId) {
        let Some(conn) = self.conn(id) else { return };
        let is_reading = conn.is_stranger && matches!(conn.phase, Phase::AwaitConnect);
        if is_reading && self.connect_room(conn) == 0 && !self.strangers.waiting.contains(&id) {
            self.strangers.waiting.push_back(id);
            self.promise_room();
        }
    }

    /// Promises room to those in line as long as there is some; one of any size is always taken.
    fn promise_room(&mut self) {
        let bytes_max = self.hub.config.connect_bytes_max;
        let packet_bytes_max = self.hub.config.packet_bytes_max;
        while let Some(&id) = self.strangers.waiting.front() {
            let promised_bytes = self.strangers.promised_bytes;
            let conn = self.conn_mut(id).filter(|conn| matches!(conn.phase, Phase::AwaitConnect));
            if let Some(conn) = conn {
                let bytes = match frame(&conn.leftover, packet_bytes_max) {
                    Ok(Frame::Incomplete { at_least }) => at_least,
                    // Whole or broken: then it does not wait for bytes.
                    _ => conn.leftover.len(),
                };
                let total = promised_bytes - conn.promised_bytes + bytes;
                if promised_bytes > 0 && total > bytes_max {
                    return;
                }
                conn.promised_bytes = bytes;
                self.strangers.promised_bytes = total;
                self.resumed.push(id.slot());
            }
            self.strangers.waiting.pop_front();
        }
    }
}
