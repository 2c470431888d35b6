//! A control plane in few lines: it knows everybody, keeps sessions, sees to it that a client has one connection.

use std::collections::{BTreeMap, VecDeque};

use edgehub_engine::{CloseReason, Command, ConnId, ConnectRequest, ControlEvent, Filters, Grants, Hub};

use crate::client::{FILTER, WRONG};

#[derive(Default)]
pub struct ControlPlane {
    /// Filters of each identity; what is here survives the process.
    sessions: BTreeMap<String, Vec<(String, u8, u64)>>,
    /// The connection of each identity.
    connected: BTreeMap<String, ConnId>,
    /// Taken from the hub, and not worked on.
    events: VecDeque<ControlEvent>,
    /// Connections that were closed because nothing came.
    pub silent: usize,
}

impl ControlPlane {
    /// The process was started anew.
    pub fn restarted(&mut self) {
        self.connected.clear();
        self.events.clear();
    }

    /// Works on so many events; `false` when the process has to end.
    pub fn work(&mut self, hub: &Hub, count: usize, conns: usize) -> bool {
        for _ in 0..count {
            if self.events.is_empty() {
                self.events.extend(hub.control().take(usize::MAX));
                // The ends of connections, news of the store and of upstream have a place of their own.
                let room = hub.config().control_queue_max + conns + 2;
                assert!(self.events.len() <= room, "{} events wait", self.events.len());
            }
            let Some(event) = self.events.pop_front() else { return true };
            if matches!(event, ControlEvent::StoreFailed { .. }) {
                return false;
            }
            self.handle(hub, event);
        }
        true
    }

    /// Whether nothing waits.
    pub fn is_idle(&self, hub: &Hub) -> bool {
        self.events.is_empty() && !hub.control().has_events()
    }

    fn handle(&mut self, hub: &Hub, event: ControlEvent) {
        match event {
            ControlEvent::Connect { conn, request, .. } => self.connect(hub, conn, &request),
            ControlEvent::Subscribe { conn, packet_id, filters } => {
                let codes = vec![1; filters.len()];
                let session = self.session(conn);
                let added: Vec<_> = filters.into_iter().map(|(filter, qos)| (filter, qos, 0)).collect();
                session.retain(|(filter, ..)| added.iter().all(|(other, ..)| other != filter));
                session.extend(added.iter().cloned());
                let filters = Filters { added, inputs_active: asks_for_inputs(session) };
                hub.command(conn, Command::SubAck { conn, packet_id, codes, filters });
            }
            ControlEvent::Unsubscribe { conn, packet_id, filters } => {
                let session = self.session(conn);
                session.retain(|(filter, ..)| !filters.contains(filter));
                let inputs_active = asks_for_inputs(session);
                hub.command(conn, Command::UnsubAck { conn, packet_id, removed: filters, inputs_active });
            }
            ControlEvent::Publish { conn, publish } => {
                let done = publish.packet_id.map(|packet_id| Command::PubAck { conn, packet_id });
                hub.command(conn, done.unwrap_or(Command::RequestDone { conn }));
            }
            ControlEvent::Closed { conn, reason, .. } => {
                self.silent += usize::from(reason == CloseReason::KeepAliveTimeout);
                self.connected.retain(|_, known| *known != conn);
            }
            _ => {}
        }
    }

    /// Checks the password, ends an older connection, restores the session.
    fn connect(&mut self, hub: &Hub, conn: ConnId, request: &ConnectRequest) {
        if request.password.as_deref() == Some(WRONG) {
            hub.command(conn, Command::Refuse { conn, code: 5 });
            return;
        }
        let identity = request.client_id.clone();
        if let Some(older) = self.connected.insert(identity.clone(), conn) {
            hub.command(older, Command::Close { conn: older, reason: "taken over".to_owned() });
        }
        let stored = self.sessions.get(&identity);
        let added = stored.cloned().unwrap_or_default();
        let filters = Filters { inputs_active: asks_for_inputs(&added), added };
        let (grants, session_present) = (Box::new(grants_of(&identity)), stored.is_some());
        hub.command(conn, Command::Accept { conn, grants, session_present, filters });
    }

    /// The session of a connection. It may have ended meanwhile; what it asked for is done all the same.
    fn session(&mut self, conn: ConnId) -> &mut Vec<(String, u8, u64)> {
        let identity = self.connected.iter().find(|(_, known)| **known == conn);
        let identity = identity.map_or("nobody", |(identity, _)| identity).to_owned();
        self.sessions.entry(identity).or_default()
    }
}

fn asks_for_inputs(session: &[(String, u8, u64)]) -> bool {
    session.iter().any(|(filter, ..)| filter == FILTER)
}

fn grants_of(identity: &str) -> Grants {
    match identity.split_once('/') {
        Some((device, module)) => Grants {
            device_id: device.to_owned(),
            module_id: module.to_owned(),
            telemetry_topics: vec![format!("devices/{device}/modules/{module}/messages/events")],
            inputs_endpoint_prefix: format!("{identity}/"),
            inputs_topic_prefixes: vec![format!("devices/{device}/modules/{module}/inputs/")],
            model_id: None,
        },
        None => Grants {
            device_id: identity.to_owned(),
            telemetry_topics: vec![format!("devices/{identity}/messages/events")],
            ..Grants::default()
        },
    }
}
