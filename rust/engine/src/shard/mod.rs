//! A shard: the connections of one I/O thread and everything that happens to their messages there.
//!
//! Sans-IO: a driver opens connections, feeds received bytes, and writes what is in their out-buffers.
//! One *turn* of the driver is
//!
//! 1. [`Shard::begin_turn`]: answers of the control plane and finished commits that came meanwhile,
//! 2. [`Shard::open`], [`Shard::feed`], [`Shard::eof`] for what the sockets brought,
//! 3. [`Shard::finish_turn`]: one commit for the whole turn, then acknowledgements and deliveries,
//! 4. [`Shard::pop_dirty`]: one write for each connection that has something to send,
//! 5. [`Shard::may_sleep`], [`Shard::deadline`]: how long to wait for the next turn.
//!
//! Nothing is delayed to make a batch larger: a turn commits what came in it.

mod acks;
mod commands;
mod conn;
mod delivery;
mod filters;
mod held;
mod idle;
mod ingress;
mod input;
mod requests;
mod retire;
mod sends;
mod strangers;
mod timers;

pub(crate) use delivery::priority_label;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use edgehub_pool::BufferPool;
use edgehub_store::CommitWaiter;
use edgehub_types::{Clock, MonoTime, UnixMs};
use slab::Slab;

use crate::control::{CloseReason, ControlEvent, SendOutcome};
use crate::hub::Hub;
use crate::ids::{ConnId, SLOTS_MAX};
use crate::mailbox::Mail;
use crate::stats::{Tally, bump};

use acks::AckQueue;
use commands::ShardWaiter;
use conn::{Blocked, Conn, Phase};
use ingress::Ingress;
use strangers::Strangers;

/// The time of a turn, read once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Now {
    /// For timers.
    pub mono: MonoTime,
    /// Wall-clock time, for stamps that others see.
    pub unix: UnixMs,
    /// Time of the store, for expiry.
    pub store: UnixMs,
}

/// Connections of one I/O thread and their part of the data plane.
pub struct Shard {
    hub: Arc<Hub>,
    index: usize,
    conns: Slab<Conn>,
    serial: u64,
    /// Version of the routes that the hub knows this shard works with.
    routes_told: u64,
    ingress: Ingress,
    acks: AckQueue,
    /// Connections that are closed when their acknowledgements are written.
    retired: Vec<retire::Retired>,
    pool: BufferPool,
    strangers: Strangers,
    mail: Mail,
    now: Now,
    /// Slots with bytes to write or an end to carry out.
    dirty: Vec<usize>,
    /// Slots whose input may be read again.
    resumed: Vec<usize>,
    /// Slots that wait for the store or for room in the control queue.
    waiting: Vec<usize>,
    /// Slots whose queues are to be looked at at the end of the turn.
    to_drain: Vec<usize>,
    /// Until when a consumer counts as one that keeps up but has not room for what waits.
    behind_until: MonoTime,
    sent_tally: Tally,
    next_scan: MonoTime,
    /// When unused buffers are looked for again.
    release_at: MonoTime,
    scratch: Vec<u8>,
    settled: Vec<u64>,
    waiter: Arc<dyn CommitWaiter>,
}

impl Shard {
    /// The shard with this number; the hub was made for more than `index` shards.
    pub fn new(hub: Arc<Hub>, index: usize) -> Self {
        let config = hub.config();
        Self {
            ingress: Ingress::new(&hub),
            acks: AckQueue::default(),
            retired: Vec::new(),
            pool: BufferPool::new(config.pool_bytes_max),
            strangers: Strangers::default(),
            index,
            conns: Slab::new(),
            serial: 0,
            routes_told: 0,
            mail: Mail::default(),
            now: Now::default(),
            dirty: Vec::new(),
            resumed: Vec::new(),
            waiting: Vec::new(),
            to_drain: Vec::new(),
            behind_until: MonoTime(0),
            sent_tally: Tally::default(),
            next_scan: MonoTime(u64::MAX),
            release_at: MonoTime(0),
            scratch: Vec::new(),
            settled: Vec::new(),
            waiter: Arc::new(ShardWaiter { hub: hub.clone(), shard: index }),
            hub,
        }
    }

    /// The time for a turn: that of the clock, and that of the store.
    pub fn read_clocks(&self, clock: &dyn Clock) -> Now {
        Now { mono: clock.mono(), unix: clock.unix(), store: self.hub.store.now() }
    }

    /// Starts a turn: takes in what other threads left.
    pub fn begin_turn(&mut self, now: Now) {
        self.now = now;
        bump(&self.hub.stats.turns);
        if let Some(mailbox) = self.hub.mailboxes.get(self.index) {
            mailbox.stay_awake();
        }
        self.take_mail();
    }

    /// A new connection; `None` when the limit is reached and the driver must close it.
    ///
    /// `driver_key` is what [`Shard::pop_dirty`] and [`Shard::pop_resumed`] give back.
    pub fn open(&mut self, driver_key: usize, peer: String, listener: u32) -> Option<ConnId> {
        let stats = &self.hub.stats;
        let open = stats.connections_open.fetch_add(1, Ordering::Relaxed);
        if open >= self.hub.config.connections_max as u64 || self.conns.len() >= SLOTS_MAX {
            stats.connections_open.fetch_sub(1, Ordering::Relaxed);
            bump(&stats.connections_refused);
            return None;
        }
        bump(&stats.connections_opened);
        self.serial += 1;
        let entry = self.conns.vacant_entry();
        let id = ConnId::new(self.index, entry.key(), self.serial);
        entry.insert(Conn::new(id, driver_key, peer, listener, self.now.mono));
        self.join_strangers();
        self.next_scan = self.next_scan.min(self.now.mono.plus_ms(self.pressed_connect_ms()));
        Some(id)
    }

    /// Certificates that the client showed in its TLS handshake, DER, its own first; before its first bytes.
    pub fn set_certificates(&mut self, id: ConnId, certificates: Box<[Vec<u8>]>) {
        if let Some(conn) = self.conn_mut(id) {
            conn.certificates = certificates;
        }
    }

    /// Ends the turn: commits what it brought, acknowledges, delivers.
    pub fn finish_turn(&mut self) {
        self.run_timers();
        loop {
            self.commit_batch();
            if !self.take_mail() {
                break;
            }
        }
        self.drain_marked();
        self.ingress.flush_tally(&self.hub.stats);
        self.sent_tally.flush(&self.hub.stats.sent);
    }

    /// The next connection that has bytes to write or is to be closed, by the driver's number.
    pub fn pop_dirty(&mut self) -> Option<(usize, ConnId)> {
        while let Some(slot) = self.dirty.pop() {
            if let Some(conn) = self.conns.get_mut(slot)
                && std::mem::take(&mut conn.dirty)
            {
                return Some((conn.driver_key, conn.id));
            }
        }
        None
    }

    /// The next connection whose input waits no longer: the driver reads it again.
    pub fn pop_resumed(&mut self) -> Option<(usize, ConnId)> {
        while let Some(slot) = self.resumed.pop() {
            if let Some(conn) = self.conns.get(slot)
                && self.wants_input(conn.id)
            {
                return Some((conn.driver_key, conn.id));
            }
        }
        None
    }

    /// Bytes to write; the driver removes from the front what it wrote.
    pub fn out(&mut self, id: ConnId) -> Option<&mut Vec<u8>> {
        self.conn_mut(id).map(|conn| &mut conn.out)
    }

    /// Tells that bytes were written: an emptied buffer goes back to the pool, stopped deliveries go on.
    pub fn written(&mut self, id: ConnId) {
        let out_bytes_max = self.hub.config.out_bytes_max;
        let Some(conn) = self.conns.get_mut(id.slot()).filter(|conn| conn.id == id) else { return };
        if conn.out.is_empty() {
            self.pool.give(std::mem::take(&mut conn.out));
        }
        let has_room = conn.out.len() <= out_bytes_max / 2;
        let input_waits = has_room && std::mem::take(&mut conn.pause.output);
        let waits = conn.session().is_some_and(|session| session.delivery_blocked == Some(Blocked::Out));
        if has_room && waits {
            self.to_drain.push(id.slot());
        }
        if input_waits {
            self.resume(id.slot());
        }
    }

    /// Whether more input of this connection may be read now.
    pub fn wants_input(&self, id: ConnId) -> bool {
        self.input_bytes_max(id) > 0
    }

    /// How much of it at most, in one read; zero when none may be.
    pub fn input_bytes_max(&self, id: ConnId) -> usize {
        let Some(conn) = self.conn(id) else { return 0 };
        match conn.phase {
            Phase::Closing => 0,
            Phase::AwaitConnect => self.connect_room(conn),
            _ if conn.pause.any() => conn.held_room(self.hub.config.held_bytes_max),
            _ => usize::MAX,
        }
    }

    /// Bytes of it that were read and wait: a part of a packet, or packets behind one that waits.
    pub fn input_bytes_kept(&self, id: ConnId) -> usize {
        self.conn(id).map_or(0, |conn| conn.leftover.len())
    }

    /// Whether the connection takes messages of queues: its acknowledgements make room for more.
    pub fn is_consumer(&self, id: ConnId) -> bool {
        self.conn(id).is_some_and(|conn| matches!(&conn.phase, Phase::Active(s) if s.inputs_active))
    }

    /// Whether a consumer that acknowledges promptly has less room than messages wait for it: a moment
    /// given to it now keeps its lag short. A slow consumer does not count; its messages wait in the store.
    pub fn consumers_are_behind(&self) -> bool {
        self.now.mono < self.behind_until
    }

    /// Bytes that wait for the commit at the end of the turn.
    pub fn staged_bytes(&self) -> usize {
        self.ingress.staged_bytes()
    }

    /// Whether the connection ended and only its last bytes remain to be written.
    pub fn is_closing(&self, id: ConnId) -> bool {
        self.conn(id).is_none_or(Conn::is_closing)
    }

    /// The peer is gone or broke the transport. Then, or after the last write of a closing connection,
    /// the driver forgets it and calls [`Shard::forget`].
    pub fn eof(&mut self, id: ConnId, reason: CloseReason, detail: &str) {
        if self.conn(id).is_some_and(|conn| !conn.is_closing()) {
            self.begin_close(id.slot(), reason, detail);
        }
    }

    /// Whether packets of a session wait that came before its end: the driver tells the end when they do not any more.
    pub fn has_held_input(&self, id: ConnId) -> bool {
        self.conn(id).is_some_and(|conn| {
            matches!(conn.phase, Phase::Active(_)) && conn.pause.any() && !conn.leftover.is_empty()
        })
    }

    /// The peer will send nothing more, and what it sent is not read now. A client that waits for its verdict gets
    /// none then: it could do nothing with it, and others may wait for its place. Whoever has a session is read
    /// to the end first.
    pub fn peer_gone(&mut self, id: ConnId) {
        if self.conn(id).is_some_and(|conn| matches!(conn.phase, Phase::AwaitVerdict { .. })) {
            self.begin_close(id.slot(), CloseReason::Eof, "left before its CONNACK");
        }
    }

    /// Frees the slot of a connection whose socket is closed.
    pub fn forget(&mut self, id: ConnId) {
        if self.conn(id).is_some() {
            self.leave_strangers(id.slot());
            let conn = self.conns.remove(id.slot());
            self.pool.give(conn.out);
            self.pool.give(conn.leftover);
            self.hub.stats.connections_open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Connections that are not forgotten yet.
    pub fn len(&self) -> usize {
        self.conns.len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    /// Whether work waits that needs another turn at once; otherwise the driver may sleep until
    /// [`Shard::deadline`].
    pub fn may_sleep(&self) -> bool {
        self.to_drain.is_empty()
            && self.resumed.is_empty()
            // What came after the commit: the will of a connection that ended, input that waited.
            && (self.ingress.is_blocked() || (self.ingress.staged_bytes() == 0 && !self.acks.has_open()))
            && self.hub.mailboxes.get(self.index).is_none_or(crate::mailbox::Mailbox::may_sleep)
    }

    /// Whether publishes wait for their commit.
    pub fn has_pending_acks(&self) -> bool {
        !self.acks.is_empty()
    }

    /// Ends all sessions, without wills.
    pub fn close_all(&mut self) {
        let slots: Vec<usize> = self.conns.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.begin_close(slot, CloseReason::Shutdown, "");
        }
    }

    fn conn(&self, id: ConnId) -> Option<&Conn> {
        self.conns.get(id.slot()).filter(|conn| conn.id == id)
    }

    fn conn_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(id.slot()).filter(|conn| conn.id == id)
    }

    fn mark_dirty(&mut self, slot: usize) {
        if let Some(conn) = self.conns.get_mut(slot)
            && !std::mem::replace(&mut conn.dirty, true)
        {
            self.dirty.push(slot);
        }
    }

    /// Lets `write` append an answer to the out-buffer of a connection. Whoever asks without reading the
    /// answers is not read any more at twice what deliveries may fill.
    fn write(&mut self, slot: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let answers_bytes_max = self.hub.config.out_bytes_max.saturating_mul(2);
        if let Some(conn) = self.conns.get_mut(slot) {
            if conn.out.capacity() == 0 {
                conn.out = self.pool.take();
            }
            write(&mut conn.out);
            conn.pause.output |= conn.out.len() >= answers_bytes_max && !conn.is_closing();
        }
        self.mark_dirty(slot);
    }

    /// Ends a connection: nothing more is read, its queues are free, the control plane is told. Bytes
    /// that wait to be sent still are.
    fn begin_close(&mut self, slot: usize, reason: CloseReason, detail: &str) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        if conn.is_closing() {
            return;
        }
        let phase = std::mem::replace(&mut conn.phase, Phase::Closing);
        conn.pause = conn::Pause::default();
        // Nothing is asked for a connection after its end was told.
        conn.pending_event = None;
        conn.close_reason = Some(reason);
        self.pool.give(std::mem::take(&mut conn.leftover));
        let (id, accepted) = (conn.id, matches!(phase, Phase::Active(_)));
        let peer = conn.peer.clone();
        self.leave_strangers(slot);
        let event = ControlEvent::Closed { conn: id, peer, accepted, reason, detail: detail.to_owned() };
        let known = accepted || matches!(phase, Phase::AwaitVerdict { .. });
        if let Phase::Active(session) = phase {
            self.end_session(id, *session, reason);
        }
        if known {
            self.hub.control.push_always(event);
        } else {
            self.hub.control.push_or_drop(event);
        }
        self.mark_dirty(slot);
    }

    fn end_session(&mut self, id: ConnId, mut session: conn::Session, reason: CloseReason) {
        for token in session.tokens() {
            self.tell_sent(id, Some(token), SendOutcome::Closed);
        }
        if let Some(will) = session.will.take()
            && reason.publishes_will()
        {
            let foreign = session.grants.classify(&will.topic);
            match self.named_sender(foreign, &will.topic) {
                Some(sender) => self.publish_will(&sender.grants(), &will),
                None => self.publish_will(&session.grants, &will),
            }
        }
        if session.inputs_active {
            let bound: Vec<_> = session.bindings.iter().map(|binding| binding.endpoint.clone()).collect();
            self.hub.detach(&session.grants.inputs_endpoint_prefix, id, &bound);
        }
    }

    /// Packet ids of a session: the delivery window, and some for answers of the control plane.
    fn packet_ids(&self) -> NonZeroU16 {
        let ids = self.hub.config.delivery_window.saturating_add(conn::CONTROL_IDS);
        NonZeroU16::new(ids).unwrap_or(NonZeroU16::MIN)
    }
}
