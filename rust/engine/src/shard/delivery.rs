//! Messages on their way to modules: leases of the input queues become PUBLISH packets in the window.

use edgehub_mqtt::{QoS, encode_publish_header};
use edgehub_store::{Leased, LossCause, Queue};
use edgehub_types::{MessageView, MonoTime, SystemProperty};

use super::Shard;
use super::conn::{Blocked, Conn, Delivery, InputBinding, Session};
use crate::bag::encode_bag;
use crate::config::EngineConfig;
use crate::control::CloseReason;
use crate::endpoint::Endpoint;
use crate::hub::Hub;
use crate::ids::ConnId;
use crate::stats::{Stats, Tally, bump};

/// First wait after a missed acknowledgement; doubles up to [`RETRY_MAX_MS`] (protocol heads section 9.4).
const RETRY_MIN_MS: u64 = 1000;
const RETRY_MAX_MS: u64 = 60_000;
/// A literal bag in a filter cannot be decided without the message; none of the clients uses one.
const ANY_BAG: &str = "x";

impl Shard {
    /// Starts, changes or ends the consumption of the session's module inputs.
    pub(super) fn set_inputs_active(&mut self, id: ConnId, active: bool) {
        let hub = self.hub.clone();
        let Some(session) = self.conn_mut(id).and_then(|conn| conn.session()) else { return };
        if session.grants.inputs_endpoint_prefix.is_empty() {
            return;
        }
        if active {
            if !std::mem::replace(&mut session.inputs_active, true) {
                hub.take_over(&session.grants.inputs_endpoint_prefix, id);
            }
            self.bind_inputs(id);
        } else if std::mem::take(&mut session.inputs_active) {
            let bound: Vec<_> = session.bindings.drain(..).map(|binding| binding.endpoint).collect();
            let prefix = session.grants.inputs_endpoint_prefix.clone();
            session.release_deliveries();
            hub.detach(&prefix, id, &bound);
        }
    }

    /// Binds the session to the endpoints of its module, under its present filters, unless a newer
    /// connection took over.
    pub(super) fn bind_inputs(&mut self, id: ConnId) {
        let hub = self.hub.clone();
        let Some(session) = self.conn_mut(id).and_then(|conn| conn.session()) else { return };
        let Some(endpoints) = hub.attach(&session.grants.inputs_endpoint_prefix, id) else { return };
        session.bindings = endpoints.into_iter().map(|endpoint| binding(session, endpoint)).collect();
        self.mark_drain(id.slot());
    }

    /// Delivers from every queue that was marked during the turn.
    pub(super) fn drain_marked(&mut self) {
        let mut marked = std::mem::take(&mut self.to_drain);
        marked.sort_unstable();
        marked.dedup();
        for slot in marked.drain(..) {
            self.drain(slot);
        }
        // Slots that were marked meanwhile are looked at in the next turn.
        marked.append(&mut self.to_drain);
        self.to_drain = marked;
    }

    fn drain(&mut self, slot: usize) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(slot) else { return };
        let Some(session) = conn.session() else { return };
        if session.retry_at.is_some_and(|at| now.mono < at) {
            return;
        }
        session.retry_at = None;
        session.delivery_blocked = None;
        if session.bindings.iter().all(|binding| binding.endpoint.ready_queue().is_none()) {
            return;
        }
        if conn.out.capacity() == 0 {
            conn.out = self.pool.take();
        }
        let mut run = Run {
            hub: &self.hub,
            tally: &mut self.sent_tally,
            bag: &mut self.scratch,
            settled: &mut self.settled,
            now: now.mono,
            out_bytes_max: self.hub.config.out_bytes_max,
        };
        let unsent = conn.out.len();
        let result = run.drain(conn, now.store);
        if conn.out.len() > unsent {
            self.note_sent(slot);
        }
        if let Err(error) = result {
            log::error!("cannot read messages for {}: {error}", self.conns[slot].peer);
            self.hub.tell_store_failed(&error);
        }
        if self.conns[slot].session().is_some_and(|session| session.delivery_blocked.is_none()) {
            self.behind_until = now.mono;
        }
        self.note_deadline(slot);
        self.mark_dirty(slot);
    }

    /// An acknowledgement did not come in time: everything in flight is sent again, in order, after a wait.
    pub(super) fn redeliver(&mut self, slot: usize) {
        let now = self.now.mono;
        let Some(conn) = self.conns.get_mut(slot) else { return };
        let id = conn.id;
        let Some(session) = conn.session() else { return };
        if self.hub.config.retransmissions_max.is_some_and(|max| session.retries >= max) {
            let detail = format!("no PUBACK, not even after sending again {} times", session.retries);
            return self.begin_close(slot, CloseReason::AckTimeout, &detail);
        }
        bump(&self.hub.stats.redeliveries);
        session.release_deliveries();
        let wait_ms = RETRY_MIN_MS.saturating_mul(1 << session.retries.min(6)).min(RETRY_MAX_MS);
        session.retries += 1;
        session.retry_at = Some(now.plus_ms(wait_ms));
        for binding in &session.bindings {
            binding.endpoint.redeliver(id);
        }
        self.note_deadline(slot);
    }
}

fn binding(session: &Session, endpoint: std::sync::Arc<Endpoint>) -> InputBinding {
    let input = endpoint.input();
    let granted = session.grants.inputs_topic_prefixes.iter().find_map(|prefix| {
        let topic_prefix = format!("{prefix}{input}/");
        let qos = session.granted(&format!("{topic_prefix}{ANY_BAG}"))?;
        Some((topic_prefix.into_bytes(), qos))
    });
    let (topic_prefix, qos) = granted.map_or_else(Default::default, |(prefix, qos)| (prefix, Some(qos)));
    InputBinding { endpoint, topic_prefix, qos }
}

/// One pass over the queues of a session.
struct Run<'a> {
    hub: &'a Hub,
    tally: &'a mut Tally,
    bag: &'a mut Vec<u8>,
    /// Messages of a lease that nobody acknowledges; empty between two.
    settled: &'a mut Vec<u64>,
    now: MonoTime,
    out_bytes_max: usize,
}

impl Run<'_> {
    fn drain(
        &mut self,
        conn: &mut Conn,
        now: edgehub_types::UnixMs,
    ) -> Result<(), edgehub_store::StoreError> {
        let id = conn.id;
        let Conn { phase, out, .. } = conn;
        let super::conn::Phase::Active(session) = phase else { return Ok(()) };
        let (first, count) = (session.next_binding, session.bindings.len());
        for step in 0..count {
            let index = (first + step) % count;
            // From the highest priority again after every lease (routing section 10.6).
            while let Some(queue) = session.bindings[index].endpoint.ready_queue() {
                if let Some(blocked) = self.blocked(session, out) {
                    session.delivery_blocked = Some(blocked);
                    return Ok(());
                }
                let endpoint = session.bindings[index].endpoint.clone();
                let leased = endpoint.with_consumer(id, || self.lease(session, index, &queue, out, now));
                match leased.transpose()? {
                    None => break,
                    Some(0) if queue.has_ready() => break,
                    // All that was there had expired: the next queue may have something.
                    Some(0) => {}
                    Some(_) => session.next_binding = index + 1,
                }
            }
        }
        Ok(())
    }

    fn blocked(&self, session: &Session, out: &[u8]) -> Option<Blocked> {
        if session.delivery_room() == 0 {
            return Some(Blocked::Window);
        }
        (out.len() >= self.out_bytes_max).then_some(Blocked::Out)
    }

    fn lease(
        &mut self,
        session: &mut Session,
        index: usize,
        queue: &Queue,
        out: &mut Vec<u8>,
        now: edgehub_types::UnixMs,
    ) -> Result<usize, edgehub_store::StoreError> {
        let queue_index = session.queue_index(queue);
        let room = session.delivery_room();
        let bytes = self.out_bytes_max.saturating_sub(out.len());
        let Session { bindings, in_flight, .. } = session;
        let binding = &bindings[index];
        let (mut epoch, mut lost) = (0, Vec::new());
        let count = queue.lease(now, room, bytes, |leased| {
            let delivery =
                Delivery { queue: queue_index, seq: leased.seq, epoch: leased.epoch, sent: self.now };
            let mut packet_id = None;
            if std::mem::replace(&mut epoch, leased.epoch) != leased.epoch {
                self.settled.clear(); // the lease that they belonged to is over
            }
            let next_id = || {
                packet_id = in_flight.insert(delivery).ok();
                packet_id
            };
            match self.encode(binding, &leased, queue.priority(), out, next_id) {
                Encoded::AwaitsAck => {}
                Encoded::Settled => self.settled.push(leased.seq),
                Encoded::Lost(cause) => {
                    // One that could not be written after all: nothing will acknowledge it.
                    packet_id.and_then(|id| in_flight.ack(id));
                    lost.push((leased.seq, leased.epoch, cause));
                }
            }
            true
        });
        if !self.settled.is_empty() {
            queue.ack_all(self.settled, epoch);
            self.settled.clear();
        }
        for (seq, epoch, cause) in lost {
            queue.ack_lost(seq, epoch, cause);
        }
        count
    }

    fn encode(
        &mut self,
        binding: &InputBinding,
        leased: &Leased<'_>,
        priority: u32,
        out: &mut Vec<u8>,
        next_id: impl FnOnce() -> Option<edgehub_mqtt::PacketId>,
    ) -> Encoded {
        let stats = self.hub.stats();
        let message = match MessageView::decode(leased.payload) {
            Ok(message) => message,
            Err(error) => {
                log::error!("message {} of {} is damaged: {error}", leased.seq, binding.endpoint.id());
                stats.dropped.add(&["damaged", "", ""], 1);
                return Encoded::Lost(LossCause::Damaged);
            }
        };
        let Some(qos) = binding.qos else {
            stats.dropped.add(&["rejected", message.head.device, ""], 1);
            return Encoded::Lost(LossCause::Rejected);
        };
        let qos = qos.min(wanted_qos(&message, &self.hub.config));
        self.bag.clear();
        encode_bag(&message, self.bag);
        let packet_id = if qos == QoS::AtMostOnce { None } else { next_id() };
        let topic = [binding.topic_prefix.as_slice(), self.bag.as_slice()];
        // MQTT-3.3.1-2: never with QoS 0.
        let dup = leased.redelivered && qos > QoS::AtMostOnce;
        if let Err(error) = encode_publish_header(out, dup, qos, false, &topic, packet_id, message.body.len())
        {
            log::error!("message {} of {} cannot be sent: {error}", leased.seq, binding.endpoint.id());
            stats.dropped.add(&["not_encodable", message.head.device, ""], 1);
            return Encoded::Lost(LossCause::Rejected);
        }
        out.extend_from_slice(message.body);
        count_sent(self.tally, stats, &message, &binding.endpoint, priority);
        if packet_id.is_some() { Encoded::AwaitsAck } else { Encoded::Settled }
    }
}

enum Encoded {
    AwaitsAck,
    /// Sent, and nobody acknowledges it.
    Settled,
    /// Never to be sent.
    Lost(LossCause),
}

/// Quality of service that the message asks for in a property, else the one that is configured (M-031).
fn wanted_qos(message: &MessageView<'_>, config: &EngineConfig) -> QoS {
    match message.properties.application(&config.qos_property) {
        Some(Some("0")) => QoS::AtMostOnce,
        Some(Some("1" | "2")) => QoS::AtLeastOnce,
        _ => config.delivery_qos,
    }
}

fn count_sent(
    tally: &mut Tally,
    stats: &Stats,
    message: &MessageView<'_>,
    endpoint: &Endpoint,
    priority: u32,
) {
    let output = message.properties.system(SystemProperty::OutputName).flatten().unwrap_or("");
    let priority = priority_label(priority);
    tally.count(
        &stats.sent,
        &[message.head.device, message.head.module, output, endpoint.target(), endpoint.input(), priority],
    );
}

/// The few priorities there are, without formatting a number per message.
pub(crate) fn priority_label(priority: u32) -> &'static str {
    const LABELS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    LABELS.get(priority as usize).copied().unwrap_or("2000000000")
}
