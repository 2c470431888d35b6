//! Packets that the control plane answers. The event is put on the bounded queue; while that is full the
//! connection waits with the event kept.

use edgehub_mqtt::{Connect, Publish, Subscribe, Unsubscribe};

use super::Shard;
use super::conn::Phase;
use super::input::Step;
use crate::config::EngineConfig;
use crate::control::{ConnectRequest, ControlEvent, ControlPublish, WillMessage};
use crate::ids::ConnId;

/// Requests of one connection that the control plane has not answered. Those with an answer go there one by one; those
/// without, some at a time. Whatever else the client publishes waits for all of them (section 1.3).
#[derive(Debug, Default)]
pub(super) struct Requests {
    pending: u32,
    /// Of the pending ones, since there were none.
    bytes: usize,
    awaits_answer: bool,
}

impl Requests {
    pub fn any(&self) -> bool {
        self.pending > 0
    }

    /// Whether there is room for one without answer.
    fn admits(&self, bytes: usize, config: &EngineConfig) -> bool {
        let fits = self.pending < config.requests_max && self.bytes + bytes <= config.requests_bytes_max;
        self.pending == 0 || (!self.awaits_answer && fits)
    }

    fn add(&mut self, bytes: usize, awaits_answer: bool) {
        self.pending += 1;
        self.bytes += bytes;
        self.awaits_answer |= awaits_answer;
    }

    /// One is done; whether others that wait may be looked at again.
    fn done(&mut self, config: &EngineConfig) -> bool {
        self.pending = self.pending.saturating_sub(1);
        if self.pending == 0 {
            *self = Self::default();
        }
        // Not at every one: a look that finds no room costs as much as one that does.
        self.pending == 0 || self.pending == config.requests_max / 2
    }
}

impl Shard {
    pub(super) fn request_connect(&mut self, id: ConnId, connect: &Connect<'_>) -> Step {
        let will = connect.will.map(|will| WillMessage {
            topic: will.topic.to_owned(),
            payload: will.message.to_vec(),
            qos: will.qos.bits(),
            retain: will.retain,
        });
        let certificates = self.conn_mut(id).map(|conn| std::mem::take(&mut conn.certificates));
        let request = ConnectRequest {
            client_id: connect.client_id.to_owned(),
            username: connect.user_name.map(str::to_owned),
            password: connect.password.map(<[u8]>::to_vec),
            clean_session: connect.clean_session,
            keep_alive_secs: connect.keep_alive_s,
            will: will.clone(),
            certificates: certificates.unwrap_or_default(),
        };
        let keep_alive_ms = self.keep_alive_ms(connect.keep_alive_s);
        let Some(conn) = self.conn_mut(id) else { return Step::Wait };
        conn.keep_alive_ms = keep_alive_ms;
        conn.phase = Phase::AwaitVerdict { will };
        conn.pause.verdict = true;
        let event = ControlEvent::Connect {
            conn: id,
            peer: conn.peer.clone(),
            listener: conn.listener,
            request: Box::new(request),
        };
        self.request(id, event);
        Step::Done
    }

    /// 1.5 times what the client asked for; none or too much becomes the maximum (M-020).
    fn keep_alive_ms(&self, keep_alive_secs: u16) -> u64 {
        let max = self.hub.config.keep_alive_max_ms;
        match u64::from(keep_alive_secs) * 1500 {
            0 => max,
            ms => ms.min(max),
        }
    }

    pub(super) fn request_subscribe(&mut self, id: ConnId, subscribe: &Subscribe<'_>) -> Step {
        if self.must_wait_for_control(id) {
            return Step::Wait;
        }
        let filters = subscribe.filters().map(|(filter, qos)| (filter.to_owned(), qos.bits())).collect();
        let event = ControlEvent::Subscribe { conn: id, packet_id: subscribe.packet_id.get(), filters };
        self.request_answered(id, event);
        Step::Done
    }

    pub(super) fn request_unsubscribe(&mut self, id: ConnId, unsubscribe: &Unsubscribe<'_>) -> Step {
        if self.must_wait_for_control(id) {
            return Step::Wait;
        }
        let filters = unsubscribe.filters().map(str::to_owned).collect();
        let event = ControlEvent::Unsubscribe { conn: id, packet_id: unsubscribe.packet_id.get(), filters };
        self.request_answered(id, event);
        Step::Done
    }

    pub(super) fn request_publish(&mut self, id: ConnId, publish: &Publish<'_>) -> Step {
        let packet_id = publish.packet_id.map(std::num::NonZero::get);
        let bytes = publish.topic.len() + publish.payload.len();
        if packet_id.is_none() && !self.has_room_for_request(id, bytes) {
            return Step::Wait;
        }
        let event = ControlEvent::Publish {
            conn: id,
            publish: Box::new(ControlPublish {
                packet_id,
                topic: publish.topic.to_owned(),
                payload: publish.payload.to_vec(),
                retain: publish.retain,
                dup: publish.dup,
            }),
        };
        self.note_request(id, bytes, packet_id.is_some());
        self.request(id, event);
        Step::Done
    }

    /// Requests of one connection are answered one after the other.
    fn must_wait_for_control(&mut self, id: ConnId) -> bool {
        let Some(conn) = self.conn_mut(id) else { return true };
        let pending = conn.session().is_some_and(|session| session.requests.any());
        conn.pause.control |= pending;
        pending
    }

    fn has_room_for_request(&mut self, id: ConnId, bytes: usize) -> bool {
        let hub = self.hub.clone();
        let Some(conn) = self.conn_mut(id) else { return false };
        let admitted = conn.session().is_some_and(|session| session.requests.admits(bytes, &hub.config));
        conn.pause.control |= !admitted;
        admitted
    }

    fn note_request(&mut self, id: ConnId, bytes: usize, awaits_answer: bool) {
        if let Some(session) = self.conn_mut(id).and_then(|conn| conn.session()) {
            session.requests.add(bytes, awaits_answer);
        }
    }

    fn request_answered(&mut self, id: ConnId, event: ControlEvent) {
        self.note_request(id, event.weight(), true);
        self.request(id, event);
    }

    /// One request less is outstanding: packets behind it go on.
    pub(super) fn request_done(&mut self, id: ConnId) {
        let hub = self.hub.clone();
        let Some(conn) = self.conn_mut(id) else { return };
        let goes_on = conn.session().is_some_and(|session| session.requests.done(&hub.config));
        if goes_on && std::mem::take(&mut conn.pause.control) {
            self.resume(id.slot());
        }
    }

    fn request(&mut self, id: ConnId, event: ControlEvent) {
        if let Err(event) = self.hub.control.push(event)
            && let Some(conn) = self.conn_mut(id)
        {
            conn.pending_event = Some(event);
            conn.pause.control_full = true;
            self.waiting.push(id.slot());
        }
    }
}
