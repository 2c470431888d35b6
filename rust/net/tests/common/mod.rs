//! A hub with its I/O threads, a control plane that accepts everybody, the newest of each name, and clients.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
#![allow(dead_code)] // each test file uses its part

pub mod certs;

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use edgehub_engine::{Command, ConnId, ControlEvent, EngineConfig, Filters, Grants, Hub, Waker};
use edgehub_mqtt::{
    Connect, Packet, PacketId, QoS, decode, encode_connect, encode_puback, encode_publish, encode_subscribe,
};
use edgehub_net::{IoThreads, NetConfig, SystemClock};
use edgehub_router::RouteDecl;
use edgehub_store::{Media, Store, StoreConfig};
use edgehub_types::Clock;

pub const WAIT: Duration = Duration::from_secs(20);

/// How long something takes.
pub struct Stopwatch(SystemClock);

impl Stopwatch {
    pub fn start() -> Self {
        Self(SystemClock::default())
    }

    pub fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.mono().0)
    }
}

/// Looks until it is so.
pub fn wait_until(mut holds: impl FnMut() -> bool) {
    let watch = Stopwatch::start();
    while !holds() {
        assert!(watch.elapsed() < WAIT, "it never happened");
        std::thread::yield_now();
    }
}

struct Doorbell(std::thread::Thread);

impl Waker for Doorbell {
    fn wake(&self) {
        self.0.unpark();
    }
}

/// A hub that accepts everybody and counts the ends of connections.
pub struct Server {
    pub hub: Arc<Hub>,
    pub threads: Arc<IoThreads>,
    pub port: u16,
    pub stop: Arc<AtomicBool>,
    pub control: Option<JoinHandle<Vec<&'static str>>>,
    /// Certificates of each CONNECT.
    pub shown: Shown,
}

pub type Shown = Arc<Mutex<Vec<Box<[Vec<u8>]>>>>;

impl Server {
    pub fn start(shards: usize, change: impl FnOnce(&mut EngineConfig)) -> Self {
        Self::start_on(Media::Memory, StoreConfig::small(), shards, change)
    }

    pub fn start_on(
        media: Media,
        store: StoreConfig,
        shards: usize,
        change: impl FnOnce(&mut EngineConfig),
    ) -> Self {
        Self::start_with(media, store, shards, NetConfig::default(), change)
    }

    pub fn start_with(
        media: Media,
        store: StoreConfig,
        shards: usize,
        net: NetConfig,
        change: impl FnOnce(&mut EngineConfig),
    ) -> Self {
        let clock = Arc::new(SystemClock::default());
        Self::start_all(media, store, shards, net, clock, change)
    }

    /// With another clock of the I/O threads.
    pub fn start_at(clock: Arc<dyn Clock>, shards: usize) -> Self {
        let net = NetConfig::default();
        Self::start_all(Media::Memory, StoreConfig::small(), shards, net, clock, |_| {})
    }

    fn start_all(
        media: Media,
        store: StoreConfig,
        shards: usize,
        net: NetConfig,
        io_clock: Arc<dyn Clock>,
        change: impl FnOnce(&mut EngineConfig),
    ) -> Self {
        let clock = Arc::new(SystemClock::default());
        let (store, _) = Store::open(media, store, clock).unwrap();
        let mut config = EngineConfig { edge_device_id: "e".to_owned(), ..EngineConfig::default() };
        change(&mut config);
        let hub = Hub::new(config, store, shards);
        let route = r#"FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")"#;
        hub.set_routes(&[RouteDecl::new("r", route)], 60).unwrap();
        let threads = Arc::new(IoThreads::start(&hub, net, io_clock).unwrap());
        let (_, port) = threads.listen("127.0.0.1", 0, None).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let shown = Shown::default();
        let (own_hub, own_stop, own_shown) = (hub.clone(), stop.clone(), shown.clone());
        let control = std::thread::spawn(move || control_plane(&own_hub, &own_stop, &own_shown));
        hub.control().set_waker(Arc::new(Doorbell(control.thread().clone())));
        Self { hub, threads, port, stop, control: Some(control), shown }
    }

    pub fn client(&self, id: &str) -> Client {
        let mut client = Client::open(self.port);
        client.send(|out| out.extend(connect_bytes(id)));
        assert_eq!(client.next(), Some(Got::ConnAck));
        client
    }

    /// Like [`Server::client`]; `None` when another connection of this name took over meanwhile.
    pub fn try_client(&self, id: &str) -> Option<Client> {
        let mut client = Client::open(self.port);
        (client.try_send(&connect_bytes(id)) && client.next() == Some(Got::ConnAck)).then_some(client)
    }

    /// Stops everything; why connections ended.
    pub fn stop(mut self) -> Vec<&'static str> {
        self.threads.stop(1000);
        self.stop.store(true, Ordering::SeqCst);
        let control = self.control.take().unwrap();
        control.thread().unpark();
        let reasons = control.join().unwrap();
        self.hub.store().close().unwrap();
        reasons
    }
}

fn control_plane(hub: &Hub, stop: &AtomicBool, shown: &Shown) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    let mut clients: HashMap<String, ConnId> = HashMap::new();
    loop {
        let stopping = stop.load(Ordering::SeqCst);
        for event in hub.control().take(100) {
            match event {
                // Nobody knows it yet, and the parent hub does not answer.
                ControlEvent::Connect { request, .. } if request.client_id.starts_with("ghost") => {}
                ControlEvent::Connect { conn, request, .. } => {
                    shown.lock().unwrap().push(request.certificates.clone());
                    let grants = Box::new(grants(&request.client_id));
                    let filters = Filters::default();
                    hub.command(conn, Command::Accept { conn, grants, session_present: false, filters });
                    if let Some(old) = clients.insert(request.client_id, conn) {
                        hub.command(old, Command::Close { conn: old, reason: "taken over".to_owned() });
                    }
                }
                ControlEvent::Subscribe { conn, packet_id, filters } => {
                    let added = filters.into_iter().map(|(filter, qos)| (filter, qos, 0)).collect();
                    let filters = Filters { added, inputs_active: true };
                    hub.command(conn, Command::SubAck { conn, packet_id, codes: vec![1], filters });
                }
                ControlEvent::Closed { reason, .. } => reasons.push(reason.name()),
                _ => {}
            }
        }
        if stopping {
            return reasons;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

pub fn grants(client_id: &str) -> Grants {
    let telemetry_topics = vec![format!("devices/{client_id}/messages/events")];
    match client_id.split_once('/') {
        None => Grants { device_id: client_id.to_owned(), telemetry_topics, ..Grants::default() },
        Some((device, module)) => Grants {
            device_id: device.to_owned(),
            module_id: module.to_owned(),
            telemetry_topics,
            inputs_endpoint_prefix: format!("{client_id}/"),
            inputs_topic_prefixes: vec![format!("devices/{device}/modules/{module}/inputs/")],
            model_id: None,
        },
    }
}

#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    ConnAck,
    SubAck,
    PubAck(u16),
    Publish(Vec<u8>, PacketId),
}

pub struct Client {
    pub stream: TcpStream,
    pub buffer: Vec<u8>,
}

impl Client {
    pub fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        write(&mut out);
        self.stream.write_all(&out).unwrap();
    }

    pub fn publish(&mut self, device: &str, body: &[u8], id: u16) {
        let topic = format!("devices/{device}/messages/events/");
        let publish = edgehub_mqtt::Publish::new(&topic, QoS::AtLeastOnce, body).with_id(id).unwrap();
        self.send(|out| encode_publish(out, &publish).unwrap());
    }

    /// `false` when the connection is gone.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next packet; `None` at the end.
    pub fn next(&mut self) -> Option<Got> {
        self.next_within(WAIT).expect("nothing came")
    }

    /// The next packet; `None` at the end.
    ///
    /// # Errors
    /// Nothing came in this time.
    pub fn next_within(&mut self, wait: Duration) -> Result<Option<Got>, ()> {
        self.stream.set_read_timeout(Some(wait)).unwrap();
        loop {
            if let Some((got, used)) = self.cut() {
                self.buffer.drain(..used);
                return Ok(Some(got));
            }
            let mut chunk = vec![0; 65536];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(()),
                Err(error) => panic!("cannot read: {error}"),
            }
        }
    }

    fn cut(&self) -> Option<(Got, usize)> {
        let (packet, used) = decode(&self.buffer, usize::MAX).unwrap()?;
        let got = match packet {
            Packet::ConnAck(_) => Got::ConnAck,
            Packet::SubAck(_) => Got::SubAck,
            Packet::PubAck(id) => Got::PubAck(id.get()),
            Packet::Publish(publish) => Got::Publish(publish.payload.to_vec(), publish.packet_id.unwrap()),
            other => panic!("unexpected {other:?}"),
        };
        Some((got, used))
    }

    pub fn subscribe(&mut self) {
        let filter = [("devices/e/modules/m/inputs/#", QoS::AtLeastOnce)];
        self.send(|out| encode_subscribe(out, PacketId::new(1).unwrap(), &filter).unwrap());
        assert_eq!(self.next(), Some(Got::SubAck));
    }

    pub fn take(&mut self) -> Vec<u8> {
        let Some(Got::Publish(body, id)) = self.next() else { panic!("no message") };
        self.send(|out| encode_puback(out, id));
        body
    }
}

pub fn connect_bytes(client_id: &str) -> Vec<u8> {
    let connect = Connect {
        clean_session: true,
        keep_alive_s: 60,
        client_id,
        will: None,
        user_name: Some("u"),
        password: None,
    };
    let mut bytes = Vec::new();
    encode_connect(&mut bytes, &connect).unwrap();
    bytes
}
