//! The I/O threads over real sockets on the loopback address.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use edgehub_engine::{Command, ControlEvent, EngineConfig, Filters, Grants, Hub, Waker};
use edgehub_mqtt::{
    Connect, Packet, PacketId, QoS, decode, encode_connect, encode_puback, encode_publish, encode_subscribe,
};
use edgehub_net::{IoThreads, NetConfig, SystemClock};
use edgehub_router::RouteDecl;
use edgehub_store::{Media, Store, StoreConfig};

const WAIT: Duration = Duration::from_secs(20);

struct Doorbell(std::thread::Thread);

impl Waker for Doorbell {
    fn wake(&self) {
        self.0.unpark();
    }
}

/// A hub that accepts everybody and counts the ends of connections.
struct Server {
    hub: Arc<Hub>,
    threads: Arc<IoThreads>,
    port: u16,
    stop: Arc<AtomicBool>,
    control: Option<JoinHandle<Vec<&'static str>>>,
}

impl Server {
    fn start(shards: usize, change: impl FnOnce(&mut EngineConfig)) -> Self {
        let clock = Arc::new(SystemClock::default());
        let (store, _) = Store::open(Media::Memory, StoreConfig::small(), clock.clone()).unwrap();
        let mut config = EngineConfig { edge_device_id: "e".to_owned(), ..EngineConfig::default() };
        change(&mut config);
        let hub = Hub::new(config, store, shards);
        let route = r#"FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")"#;
        hub.set_routes(&[RouteDecl::new("r", route)], 60).unwrap();
        let threads = Arc::new(IoThreads::start(&hub, NetConfig::default(), clock).unwrap());
        let (_, port) = threads.listen("127.0.0.1", 0, None).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (own_hub, own_stop) = (hub.clone(), stop.clone());
        let control = std::thread::spawn(move || control_plane(&own_hub, &own_stop));
        hub.control().set_waker(Arc::new(Doorbell(control.thread().clone())));
        Self { hub, threads, port, stop, control: Some(control) }
    }

    fn client(&self, id: &str) -> Client {
        let mut client = Client::open(self.port);
        let connect = Connect {
            clean_session: true,
            keep_alive_s: 60,
            client_id: id,
            will: None,
            user_name: Some("u"),
            password: None,
        };
        client.send(|out| encode_connect(out, &connect).unwrap());
        assert_eq!(client.next(), Some(Got::ConnAck));
        client
    }

    /// Stops everything; why connections ended.
    fn stop(mut self) -> Vec<&'static str> {
        self.threads.stop(1000);
        self.stop.store(true, Ordering::SeqCst);
        let control = self.control.take().unwrap();
        control.thread().unpark();
        let reasons = control.join().unwrap();
        self.hub.store().close().unwrap();
        reasons
    }
}

fn control_plane(hub: &Hub, stop: &AtomicBool) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    loop {
        let stopping = stop.load(Ordering::SeqCst);
        for event in hub.control().take(100) {
            match event {
                ControlEvent::Connect { conn, request, .. } => {
                    let grants = Box::new(grants(&request.client_id));
                    let filters = Filters::default();
                    hub.command(conn, Command::Accept { conn, grants, session_present: false, filters });
                }
                ControlEvent::Subscribe { conn, packet_id, filters } => {
                    let filters = Filters { added: filters, inputs_active: true };
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

fn grants(client_id: &str) -> Grants {
    let telemetry_topics = vec![format!("devices/{client_id}/messages/events")];
    match client_id.split_once('/') {
        None => Grants { device_id: client_id.to_owned(), telemetry_topics, ..Grants::default() },
        Some((device, module)) => Grants {
            device_id: device.to_owned(),
            module_id: module.to_owned(),
            telemetry_topics,
            inputs_endpoint_prefix: format!("{client_id}/"),
            inputs_topic_prefix: format!("devices/{device}/modules/{module}/inputs/"),
            model_id: None,
        },
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Got {
    ConnAck,
    SubAck,
    PubAck(u16),
    Publish(Vec<u8>, PacketId),
}

struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        write(&mut out);
        self.stream.write_all(&out).unwrap();
    }

    fn publish(&mut self, device: &str, body: &[u8], id: u16) {
        let topic = format!("devices/{device}/messages/events/");
        let publish = edgehub_mqtt::Publish::new(&topic, QoS::AtLeastOnce, body).with_id(id).unwrap();
        self.send(|out| encode_publish(out, &publish).unwrap());
    }

    /// The next packet; `None` at the end.
    fn next(&mut self) -> Option<Got> {
        loop {
            if let Some((got, used)) = self.cut() {
                self.buffer.drain(..used);
                return Some(got);
            }
            let mut chunk = vec![0; 65536];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came: {error}"),
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

    fn subscribe(&mut self) {
        let filter = [("devices/e/modules/m/inputs/#", QoS::AtLeastOnce)];
        self.send(|out| encode_subscribe(out, PacketId::new(1).unwrap(), &filter).unwrap());
        assert_eq!(self.next(), Some(Got::SubAck));
    }

    fn take(&mut self) -> Vec<u8> {
        let Some(Got::Publish(body, id)) = self.next() else { panic!("no message") };
        self.send(|out| encode_puback(out, id));
        body
    }
}

#[test]
fn messages_cross_threads_in_order() {
    const COUNT: u16 = 500;
    let server = Server::start(2, |_| {});
    // Connections go to the threads in turn: device and module are on different ones.
    let mut module = server.client("e/m");
    module.subscribe();
    let mut device = server.client("d");
    for n in 1..=COUNT {
        device.publish("d", &n.to_be_bytes(), n);
    }
    for n in 1..=COUNT {
        assert_eq!(device.next(), Some(Got::PubAck(n)));
        assert_eq!(module.take(), n.to_be_bytes());
    }
    assert_eq!(server.stop(), ["shutdown", "shutdown"]);
}

#[test]
fn what_came_before_the_end_of_a_connection_counts() {
    let server = Server::start(1, |_| {});
    let mut module = server.client("e/m");
    module.subscribe();
    let mut device = server.client("d");
    device.publish("d", b"last words", 1);
    device.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(module.take(), b"last words");
    while device.next().is_some() {}
    drop(module);
    let mut reasons = server.stop();
    reasons.sort_unstable();
    assert_eq!(reasons[0], "eof");
}

#[test]
fn a_body_larger_than_every_buffer_arrives_whole() {
    let server = Server::start(1, |config| config.packet_bytes_max = 4 << 20);
    let mut module = server.client("e/m");
    module.subscribe();
    let mut device = server.client("d");
    let body: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    for n in 1..=20 {
        device.publish("d", &body, n);
        assert_eq!(device.next(), Some(Got::PubAck(n)));
    }
    for _ in 1..=20 {
        assert_eq!(module.take(), body);
    }
    server.stop();
}

#[test]
fn beyond_the_limit_a_connection_is_closed_and_the_others_stay() {
    let server = Server::start(1, |config| config.connections_max = 2);
    let mut first = server.client("d");
    let _second = server.client("e/m");
    let mut third = Client::open(server.port);
    assert_eq!(third.next(), None);
    first.publish("d", b"still here", 1);
    assert_eq!(first.next(), Some(Got::PubAck(1)));
    server.stop();
}

#[test]
fn a_closed_listener_takes_no_more_and_its_port_is_free() {
    let server = Server::start(1, |_| {});
    let (id, port) = server.threads.listen("127.0.0.1", 0, None).unwrap();
    drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
    server.threads.close_listener(id);
    let closed = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        TcpStream::connect(("127.0.0.1", port)).is_err()
    });
    assert!(closed);
    server.stop();
}
