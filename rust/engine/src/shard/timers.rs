//! Deadlines of connections. They are found by looking at all connections when the earliest one known has
//! come: a few nanoseconds each, seldom, and nothing to maintain per packet.

use edgehub_types::MonoTime;

use super::Shard;
use super::conn::{Conn, Phase};
use crate::control::CloseReason;

/// How soon an event that found the control queue full is tried again.
const WAITING_RETRY_MS: u64 = 10;

enum Due {
    Nothing,
    Close(CloseReason, String),
    Redeliver,
    Drain,
}

impl Shard {
    /// When the next turn is due even without input; `None` when there is nothing to wait for.
    pub fn deadline(&self) -> Option<MonoTime> {
        let mut deadline = self.next_scan;
        if let Some(at) = self.ingress.look_at() {
            deadline = deadline.min(at);
        }
        if self.waiting.iter().any(|slot| self.conns.get(*slot).is_some_and(|conn| conn.pause.control_full)) {
            deadline = deadline.min(self.now.mono.plus_ms(WAITING_RETRY_MS));
        }
        if self.kept_bytes() > 0 {
            deadline = deadline.min(self.release_at);
        }
        (deadline != MonoTime(u64::MAX)).then_some(deadline)
    }

    /// Carries out what is due.
    pub(super) fn run_timers(&mut self) {
        if self.ingress.is_blocked() {
            self.commit_batch();
        }
        if !self.waiting.is_empty() {
            self.retry_waiting();
        }
        if self.now.mono >= self.next_scan {
            self.scan();
        }
        self.release_unused();
    }

    fn scan(&mut self) {
        // Once for all: those that go would relieve the others.
        let connect_ms = if self.hub.may_accept() {
            self.hub.config.connect_timeout_ms
        } else {
            self.pressed_connect_ms()
        };
        self.next_scan = MonoTime(u64::MAX);
        let slots: Vec<usize> = self.conns.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.release_window(slot);
            match self.due(slot, connect_ms) {
                Due::Nothing => {}
                Due::Close(reason, detail) => self.begin_close(slot, reason, &detail),
                Due::Redeliver => self.redeliver(slot),
                Due::Drain => self.mark_drain(slot),
            }
            if let Some(next) = self.next_deadline(slot) {
                self.next_scan = self.next_scan.min(next);
            }
        }
    }

    /// The table of what is in flight grows with a burst; nobody needs it while nothing is.
    fn release_window(&mut self, slot: usize) {
        if let Some(session) = self.conns.get_mut(slot).and_then(Conn::session) {
            session.in_flight.release_memory();
        }
    }

    /// A deadline of this connection changed outside of a scan.
    pub(super) fn note_deadline(&mut self, slot: usize) {
        if let Some(next) = self.next_deadline(slot) {
            self.next_scan = self.next_scan.min(next);
        }
    }

    pub(super) fn pressed_connect_ms(&self) -> u64 {
        self.hub.config.pressed_connect_timeout_ms.min(self.hub.config.connect_timeout_ms)
    }

    fn due(&mut self, slot: usize, connect_ms: u64) -> Due {
        let now = self.now.mono;
        let ack_ms = self.hub.config.ack_timeout_ms;
        let held_bytes_max = self.hub.config.held_bytes_max;
        let Some(conn) = self.conns.get_mut(slot) else { return Due::Nothing };
        let opened = conn.opened;
        let listening_since = conn.listening_since(conn.last_activity, held_bytes_max);
        let is_silent = listening_since.is_some_and(|since| now >= since.plus_ms(conn.keep_alive_ms));
        // What is in flight is late only if its acknowledgement could have been read.
        let listening = conn.listening_since(conn.opened, held_bytes_max);
        let may_be_late = listening.is_some_and(|since| now >= since.plus_ms(ack_ms));
        match &mut conn.phase {
            Phase::AwaitConnect if now >= opened.plus_ms(connect_ms) => {
                Due::Close(CloseReason::ConnectTimeout, format!("no CONNECT within {connect_ms} ms"))
            }
            Phase::Active(_) if is_silent => Due::Close(
                CloseReason::KeepAliveTimeout,
                format!("nothing received for {} ms", now.0 - conn.last_activity.0),
            ),
            Phase::Active(session) => {
                if may_be_late && session.has_overdue(now, ack_ms) {
                    Due::Redeliver
                } else if session.retry_at.is_some_and(|at| now >= at) {
                    Due::Drain
                } else {
                    Due::Nothing
                }
            }
            _ => Due::Nothing,
        }
    }

    fn next_deadline(&self, slot: usize) -> Option<MonoTime> {
        let config = &self.hub.config;
        let conn: &Conn = self.conns.get(slot)?;
        match &conn.phase {
            Phase::AwaitConnect => {
                let pressed = conn.opened.plus_ms(self.pressed_connect_ms());
                let last = conn.opened.plus_ms(config.connect_timeout_ms);
                Some(if self.now.mono < pressed { pressed } else { last })
            }
            Phase::Active(session) => {
                let held_bytes_max = config.held_bytes_max;
                let from =
                    |from, ms| conn.listening_since(from, held_bytes_max).map(|since| since.plus_ms(ms));
                let idle = from(conn.last_activity, conn.keep_alive_ms);
                let ack = session.oldest_timed().and_then(|(_, d)| from(d.sent, config.ack_timeout_ms));
                [idle, ack, session.retry_at].into_iter().flatten().min()
            }
            _ => None,
        }
    }
}
