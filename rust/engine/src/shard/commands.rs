//! What other threads left in the mailbox: answers of the control plane, finished commits, ready queues.

use std::sync::Arc;

use edgehub_mqtt::{ConnectReturnCode, PacketId, SubAckCode, encode_suback, encode_unsuback};
use edgehub_store::{CommitWaiter, StoreError};

use super::Shard;
use super::conn::{Phase, Session};
use super::sends::Send;
use crate::control::CloseReason;
use crate::grants::Grants;
use crate::hub::Hub;
use crate::ids::ConnId;
use crate::mailbox::{Command, Filters, Mail};

/// Brings the store's word on a commit back to the shard that waits for it.
pub(super) struct ShardWaiter {
    pub hub: Arc<Hub>,
    pub shard: usize,
}

impl CommitWaiter for ShardWaiter {
    fn committed(&self, ticket: u64) {
        if let Some(mailbox) = self.hub.mailboxes.get(self.shard) {
            mailbox.post(|mail| mail.committed.push(ticket));
        }
    }

    fn failed(&self, ticket: u64, error: &StoreError) {
        self.hub.tell_store_failed(error);
        if let Some(mailbox) = self.hub.mailboxes.get(self.shard) {
            mailbox.post(|mail| mail.failed.push(ticket));
        }
    }
}

impl Shard {
    /// Takes in the mail; `false` when there was none.
    pub(super) fn take_mail(&mut self) -> bool {
        let mut mail = std::mem::take(&mut self.mail);
        let taken = self.hub.mailboxes.get(self.index).is_some_and(|mailbox| mailbox.take(&mut mail));
        if taken {
            self.work_on(&mut mail);
        }
        self.mail = mail;
        taken
    }

    fn work_on(&mut self, mail: &mut Mail) {
        for ticket in mail.committed.drain(..) {
            self.acks.committed(ticket);
        }
        for ticket in mail.failed.drain(..) {
            self.fail_commit(ticket);
        }
        self.release_acks();
        for queue in mail.ready.drain(..) {
            if let Some(conn) = self.hub.consumer_of(queue).filter(|conn| conn.shard() == self.index) {
                self.mark_drain(conn.slot());
            }
        }
        if std::mem::take(&mut mail.store_relieved) {
            self.store_relieved();
        }
        for command in mail.commands.drain(..) {
            self.execute(command);
        }
    }

    fn execute(&mut self, command: Command) {
        match command {
            Command::Accept { conn, grants, session_present, filters } => {
                self.accept(conn, *grants, session_present, &filters);
            }
            Command::Refuse { conn, code } => self.refuse(conn, code),
            Command::SubAck { conn, packet_id, codes, filters } => {
                self.suback(conn, packet_id, &codes, &filters);
            }
            Command::UnsubAck { conn, packet_id, removed, inputs_active } => {
                self.unsuback(conn, packet_id, &removed, inputs_active);
            }
            Command::PubAck { conn, packet_id } => self.control_puback(conn, packet_id),
            Command::RequestDone { conn } => self.request_done(conn),
            Command::Send { conn, topic, payload, qos, token, created_ms } => {
                self.control_send(conn, &Send { topic, payload, qos, token, created_ms });
            }
            Command::Close { conn, reason } => {
                if self.conn(conn).is_some() {
                    self.begin_close(conn.slot(), CloseReason::Server, &reason);
                }
            }
            Command::Retire { conn, reason } => self.retire(conn, reason),
            Command::BindInputs { conn } => self.bind_inputs(conn),
            Command::TwinChange(change) => self.publish_twin_change(&change),
            Command::RoutesChanged => self.routes_changed(),
        }
    }

    fn accept(&mut self, id: ConnId, grants: Grants, session_present: bool, filters: &Filters) {
        let packet_ids = self.packet_ids();
        let Some(conn) = self.conn_mut(id) else { return };
        let Phase::AwaitVerdict { will } = &mut conn.phase else { return };
        let mut session = Session::new(grants, will.take(), packet_ids);
        session.add_filters(&filters.added);
        conn.phase = Phase::Active(Box::new(session));
        conn.pause.verdict = false;
        self.leave_strangers(id.slot());
        self.write_connack(id, session_present, ConnectReturnCode::Accepted);
        self.set_inputs_active(id, filters.inputs_active);
        self.note_deadline(id.slot());
        self.resume(id.slot());
    }

    fn refuse(&mut self, id: ConnId, code: u8) {
        if !self.conn(id).is_some_and(|conn| matches!(conn.phase, Phase::AwaitVerdict { .. })) {
            return;
        }
        let code = ConnectReturnCode::from_byte(code)
            .filter(|code| *code != ConnectReturnCode::Accepted)
            .unwrap_or(ConnectReturnCode::NotAuthorized);
        self.write_connack(id, false, code);
        self.begin_close(id.slot(), CloseReason::Refused, &format!("CONNACK {}", code.byte()));
    }

    fn suback(&mut self, id: ConnId, packet_id: u16, codes: &[u8], filters: &Filters) {
        let Some(packet_id) = PacketId::new(packet_id) else { return };
        let Some(session) = self.conn_mut(id).and_then(|conn| conn.session()) else { return };
        session.add_filters(&filters.added);
        let codes: Vec<SubAckCode> =
            codes.iter().map(|code| SubAckCode::from_byte(*code).unwrap_or(SubAckCode::Failure)).collect();
        self.write(id.slot(), |out| {
            // The control plane answers every filter of the packet, which had at least one.
            if let Err(error) = encode_suback(out, packet_id, &codes) {
                log::error!("SUBACK {packet_id} cannot be written: {error}");
            }
        });
        self.set_inputs_active(id, filters.inputs_active);
        self.request_done(id);
    }

    fn unsuback(&mut self, id: ConnId, packet_id: u16, removed: &[String], inputs_active: bool) {
        let Some(packet_id) = PacketId::new(packet_id) else { return };
        let Some(session) = self.conn_mut(id).and_then(|conn| conn.session()) else { return };
        session.remove_filters(removed);
        self.write(id.slot(), |out| encode_unsuback(out, packet_id));
        self.set_inputs_active(id, inputs_active);
        self.request_done(id);
    }

    /// Joins the line of acknowledgements: earlier publishes may still wait for their commit.
    fn control_puback(&mut self, id: ConnId, packet_id: u16) {
        let Some(packet_id) = PacketId::new(packet_id) else { return };
        if self.conn_mut(id).and_then(|conn| conn.session()).is_none() {
            return;
        }
        // With what is staged, not sealed on its own: the staged batch may have to stay where it is.
        self.acks.expect(id, packet_id);
        self.commit_batch();
        self.request_done(id);
    }

    /// Works on kept bytes and lets the driver read again, as far as nothing else holds the input.
    pub(super) fn resume(&mut self, slot: usize) {
        let now = self.now.mono;
        let Some(conn) = self.conns.get_mut(slot) else { return };
        let (id, is_free) = (conn.id, !conn.pause.any());
        conn.read_since = now;
        if is_free && !conn.leftover.is_empty() {
            self.process_leftover(id);
        }
        self.sift(id);
        if self.wants_input(id) {
            self.resumed.push(slot);
            self.note_deadline(slot);
        }
    }

    /// Tries again what found the control queue or the store full.
    pub(super) fn retry_waiting(&mut self) {
        for slot in std::mem::take(&mut self.waiting) {
            let Some(conn) = self.conns.get_mut(slot) else { continue };
            if let Some(event) = conn.pending_event.take() {
                match self.hub.control.push(event) {
                    Ok(()) => conn.pause.control_full = false,
                    Err(event) => conn.pending_event = Some(event),
                }
            }
            if conn.pause.store || conn.pause.control_full {
                self.waiting.push(slot);
            } else {
                self.resume(slot);
            }
        }
    }

    fn routes_changed(&mut self) {
        self.commit_batch();
        let version = self.ingress.reload_routes(&self.hub);
        let active: Vec<ConnId> = self
            .conns
            .iter_mut()
            .filter_map(|(_, conn)| {
                let id = conn.id;
                conn.session().filter(|session| session.inputs_active).map(|_| id)
            })
            .collect();
        for id in active {
            self.bind_inputs(id);
        }
        // Two changes may come together: then the first request found the newer routes.
        if version > self.routes_told {
            self.routes_told = version;
            self.hub.shard_saw_routes(version);
        }
    }
}
