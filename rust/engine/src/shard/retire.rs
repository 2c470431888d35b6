//! Connections whose time is over: nothing more is read of them, and they are closed when the acknowledgements of what
//! they published are written.

use super::Shard;
use crate::control::CloseReason;
use crate::ids::ConnId;
use edgehub_types::MonoTime;

/// Longest wait for a commit, counted when the control plane asks again; then the connection is closed without the
/// acknowledgements.
const WAIT_MS_MAX: u64 = 30_000;

/// A connection that waits for its acknowledgements.
#[derive(Debug)]
pub(super) struct Retired {
    conn: ConnId,
    /// The group with the last of them.
    ticket: u64,
    since: MonoTime,
    reason: String,
}

impl Shard {
    /// Closes a connection once all that it published so far is acknowledged.
    pub(super) fn retire(&mut self, id: ConnId, reason: String) {
        let (now, last) = (self.now.mono, self.acks.last_ticket());
        let waits = self.retired.iter().any(|one| one.conn == id && now < one.since.plus_ms(WAIT_MS_MAX));
        let Some(conn) = self.conn_mut(id).filter(|conn| !conn.is_closing() && !waits) else { return };
        let is_first = !std::mem::replace(&mut conn.pause.retired, true);
        match last {
            Some(ticket) if is_first => self.retired.push(Retired { conn: id, ticket, since: now, reason }),
            _ => self.begin_close(id.slot(), CloseReason::Server, &reason),
        }
    }

    /// Closes those whose acknowledgements are written.
    pub(super) fn close_retired(&mut self) {
        let released = self.acks.released_before();
        // They came in the order of their tickets.
        while self.retired.first().is_some_and(|one| one.ticket < released) {
            let one = self.retired.remove(0);
            if self.conn(one.conn).is_some() {
                self.begin_close(one.conn.slot(), CloseReason::Server, &one.reason);
            }
        }
    }
}
