//! A shard without sockets: clients are byte buffers, time stands until it is moved.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, missing_docs)]
#![allow(dead_code)] // each test file uses its part

use std::sync::Arc;

use edgehub_engine::{Command, ConnId, ControlEvent, EngineConfig, Filters, Grants, Hub, Now, Shard};
use edgehub_mqtt::{
    Connect, Packet, PacketId, QoS, decode, encode_connect, encode_pingreq, encode_puback, encode_publish,
    encode_subscribe,
};
use edgehub_router::RouteDecl;
use edgehub_store::{Media, Store, StoreConfig, SyncPolicy};
use edgehub_testkit::VirtualClock;
use edgehub_types::{Clock, UnixMs};

pub const EDGE: &str = "edge1";
pub const EPOCH: UnixMs = UnixMs(1_700_000_000_000);

/// A received packet, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    ConnAck { session_present: bool, code: u8 },
    PubAck(u16),
    SubAck(u16, Vec<u8>),
    UnsubAck(u16),
    Publish { topic: String, payload: Vec<u8>, qos: u8, id: Option<u16>, dup: bool },
    PingResp,
}

/// One hub with one shard.
pub struct World {
    pub clock: Arc<VirtualClock>,
    pub hub: Arc<Hub>,
    pub shard: Shard,
    next_key: usize,
}

impl World {
    pub fn new() -> Self {
        Self::with(SyncPolicy::None, |_| {})
    }

    pub fn with(sync: SyncPolicy, change: impl FnOnce(&mut EngineConfig)) -> Self {
        Self::on(Media::Memory, sync, change)
    }

    pub fn on(media: Media, sync: SyncPolicy, change: impl FnOnce(&mut EngineConfig)) -> Self {
        let store_config = StoreConfig { sync, background_thread: false, ..StoreConfig::small() };
        Self::with_store(media, store_config, change)
    }

    pub fn with_store(
        media: Media,
        store_config: StoreConfig,
        change: impl FnOnce(&mut EngineConfig),
    ) -> Self {
        let clock = Arc::new(VirtualClock::at(EPOCH));
        let (store, _) = Store::open(media, store_config, clock.clone()).unwrap();
        let mut config = EngineConfig { edge_device_id: EDGE.to_owned(), ..EngineConfig::default() };
        change(&mut config);
        let hub = Hub::new(config, store, 1);
        let shard = Shard::new(hub.clone(), 0);
        Self::from_parts(clock, hub, shard)
    }

    /// Drives one shard of a hub that may have more.
    pub fn from_parts(clock: Arc<VirtualClock>, hub: Arc<Hub>, shard: Shard) -> Self {
        let mut world = Self { clock, hub, shard, next_key: 0 };
        world.turn(|_| {});
        world
    }

    pub fn clock_now(&self) -> UnixMs {
        self.clock.unix()
    }

    pub fn now(&self) -> Now {
        self.shard.read_clocks(&*self.clock)
    }

    /// One turn of the driver.
    pub fn turn(&mut self, work: impl FnOnce(&mut Shard)) {
        self.shard.begin_turn(self.now());
        work(&mut self.shard);
        self.shard.finish_turn();
    }

    pub fn advance(&mut self, ms: u64) {
        self.clock.advance_ms(ms);
        self.turn(|_| {});
    }

    pub fn routes(&mut self, routes: &[(&str, &str)]) {
        let routes: Vec<_> = routes
            .iter()
            .map(|(name, text)| RouteDecl {
                name: (*name).to_owned(),
                text: (*text).to_owned(),
                priority: None,
                ttl_secs: 0,
            })
            .collect();
        self.hub.set_routes(&routes, 7200).unwrap();
        self.turn(|_| {});
    }

    /// A connection that has sent nothing.
    pub fn open(&mut self) -> ConnId {
        self.next_key += 1;
        let key = self.next_key;
        let mut id = None;
        self.turn(|shard| id = shard.open(key, format!("192.0.2.1:{key}"), 1));
        id.expect("room for a connection")
    }

    pub fn feed(&mut self, id: ConnId, bytes: &[u8]) {
        self.turn(|shard| shard.feed(id, bytes));
    }

    pub fn events(&mut self) -> Vec<ControlEvent> {
        self.hub.control().take(usize::MAX)
    }

    pub fn command(&mut self, conn: ConnId, command: Command) {
        self.hub.command(conn, command);
        self.turn(|_| {});
    }

    /// Everything that waits to be sent, as the client reads it.
    pub fn received(&mut self, id: ConnId) -> Vec<Got> {
        let bytes = self.shard.out(id).map(std::mem::take).unwrap_or_default();
        self.shard.written(id);
        self.turn(|_| {});
        parse(&bytes)
    }

    /// A client with an accepted session.
    pub fn client(&mut self, grants: Grants) -> ConnId {
        let id = self.open();
        self.feed(id, &connect_bytes(&grants.identity()));
        let event = self.events().pop();
        assert!(matches!(event, Some(ControlEvent::Connect { conn, .. }) if conn == id), "{event:?}");
        let command = Command::Accept {
            conn: id,
            grants: Box::new(grants),
            session_present: false,
            filters: Filters::default(),
        };
        self.command(id, command);
        assert_eq!(self.received(id), [Got::ConnAck { session_present: false, code: 0 }]);
        id
    }

    pub fn device(&mut self, name: &str) -> ConnId {
        self.client(device_grants(name))
    }

    /// A module that consumes its inputs.
    pub fn module(&mut self, name: &str) -> ConnId {
        let id = self.client(module_grants(name));
        self.subscribe_inputs(id, name);
        id
    }

    pub fn subscribe_inputs(&mut self, id: ConnId, name: &str) {
        let filter = format!("devices/{EDGE}/modules/{name}/inputs/#");
        let mut bytes = Vec::new();
        encode_subscribe(&mut bytes, packet_id(9), &[(&filter, QoS::AtLeastOnce)]).unwrap();
        self.feed(id, &bytes);
        let events = self.events();
        assert!(matches!(events[..], [ControlEvent::Subscribe { .. }]), "{events:?}");
        let filters = Filters { added: vec![(filter, 1, 0)], inputs_active: true };
        self.command(id, Command::SubAck { conn: id, packet_id: 9, codes: vec![1], filters });
    }

    /// Publishes telemetry of a device with QoS 1.
    pub fn publish(&mut self, id: ConnId, topic: &str, body: &[u8], packet: u16) {
        self.feed(id, &publish_bytes(topic, body, packet));
    }
}

pub fn packet_id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

pub fn device_grants(name: &str) -> Grants {
    Grants {
        device_id: name.to_owned(),
        telemetry_topics: vec![format!("devices/{name}/messages/events")],
        ..Grants::default()
    }
}

pub fn module_grants(name: &str) -> Grants {
    Grants {
        device_id: EDGE.to_owned(),
        module_id: name.to_owned(),
        telemetry_topics: vec![format!("devices/{EDGE}/modules/{name}/messages/events")],
        inputs_endpoint_prefix: format!("{EDGE}/{name}/"),
        inputs_topic_prefixes: vec![format!("devices/{EDGE}/modules/{name}/inputs/")],
        model_id: None,
    }
}

pub fn connect_bytes(client_id: &str) -> Vec<u8> {
    let connect = Connect {
        clean_session: false,
        keep_alive_s: 60,
        client_id,
        will: None,
        user_name: Some("hub/user"),
        password: Some(b"secret"),
    };
    let mut bytes = Vec::new();
    encode_connect(&mut bytes, &connect).unwrap();
    bytes
}

pub fn publish_bytes(topic: &str, body: &[u8], packet: u16) -> Vec<u8> {
    let publish = edgehub_mqtt::Publish::new(topic, QoS::AtLeastOnce, body).with_id(packet).unwrap();
    let mut bytes = Vec::new();
    encode_publish(&mut bytes, &publish).unwrap();
    bytes
}

/// PINGREQ.
pub fn ping() -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_pingreq(&mut bytes);
    bytes
}

/// A publish with quality of service 0, as requests to the control plane are.
pub fn request(topic: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_publish(&mut bytes, &edgehub_mqtt::Publish::new(topic, QoS::AtMostOnce, body)).unwrap();
    bytes
}

pub fn puback_bytes(packet: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_puback(&mut bytes, packet_id(packet));
    bytes
}

pub fn parse(mut bytes: &[u8]) -> Vec<Got> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (packet, used) = decode(bytes, usize::MAX).unwrap().expect("whole packets");
        all.push(match packet {
            Packet::ConnAck(ack) => {
                Got::ConnAck { session_present: ack.session_present, code: ack.code.byte() }
            }
            Packet::PubAck(id) => Got::PubAck(id.get()),
            Packet::SubAck(ack) => {
                Got::SubAck(ack.packet_id.get(), ack.codes().map(edgehub_mqtt::SubAckCode::byte).collect())
            }
            Packet::UnsubAck(id) => Got::UnsubAck(id.get()),
            Packet::PingResp => Got::PingResp,
            Packet::Publish(publish) => Got::Publish {
                topic: publish.topic.to_owned(),
                payload: publish.payload.to_vec(),
                qos: publish.qos.bits(),
                id: publish.packet_id.map(std::num::NonZero::get),
                dup: publish.dup,
            },
            other => panic!("a server never sends {other:?}"),
        });
        bytes = &bytes[used..];
    }
    all
}

pub fn bodies(got: &[Got]) -> Vec<String> {
    got.iter()
        .filter_map(|got| match got {
            Got::Publish { payload, .. } => Some(String::from_utf8_lossy(payload).into_owned()),
            _ => None,
        })
        .collect()
}

/// Body and DUP of every message.
pub fn repeats(got: &[Got]) -> Vec<(String, bool)> {
    got.iter()
        .filter_map(|got| match got {
            Got::Publish { payload, dup, .. } => Some((String::from_utf8_lossy(payload).into_owned(), *dup)),
            _ => None,
        })
        .collect()
}

pub fn ids(got: &[Got]) -> Vec<u16> {
    got.iter()
        .filter_map(|got| match got {
            Got::Publish { id, .. } => *id,
            _ => None,
        })
        .collect()
}
