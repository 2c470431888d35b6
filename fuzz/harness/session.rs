//! One connection against any bytes and any commands in any order.
//!
//! The input is a list of steps: a byte below 0x80 is the length of a piece of what the client sends, any other is
//! something that happens beside it. The whole list is played three ways: every run of pieces at once, in pieces of a few
//! bytes within one turn, and with a turn for each piece. Bytes out, events and the reason of the end must agree.

use std::sync::Arc;

use edgehub_engine::{CloseReason, Command, ConnId, ControlEvent, EngineConfig, Filters, Grants, Hub, Shard};
use edgehub_mqtt::{Packet, Publish, QoS, decode, encode_publish};
use edgehub_router::RouteDecl;
use edgehub_store::{Media, Store, StoreConfig, SyncPolicy};
use edgehub_testkit::VirtualClock;
use edgehub_types::UnixMs;

const START: UnixMs = UnixMs(1_700_000_000_000);
const TO_INPUT: &str = r#"FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")"#;
const TELEMETRY: &str = "devices/d1/messages/events/";
/// Small enough that the fuzzer reaches every limit.
const PACKET_BYTES_MAX: usize = 1000;
const INPUT_BYTES_MAX: usize = 4000;

/// Something that happens.
enum Step {
    /// The client sends.
    Bytes(Vec<u8>),
    /// Anything else.
    Other(u8),
}

fn steps(data: &[u8]) -> Vec<Step> {
    let (mut steps, mut at) = (Vec::new(), 0);
    while let Some(head) = data.get(at).copied() {
        at += 1;
        if head >= 0x80 {
            steps.push(Step::Other(head));
            continue;
        }
        let piece = &data[at..data.len().min(at + usize::from(head))];
        at += piece.len();
        match steps.last_mut() {
            Some(Step::Bytes(before)) => before.extend_from_slice(piece),
            _ => steps.push(Step::Bytes(piece.to_vec())),
        }
    }
    steps
}

/// How what the client sends is cut.
#[derive(Clone, Copy)]
enum Cut {
    Whole,
    WithinTurn(usize),
    Turns(usize),
}

/// What came of a run.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    out: Vec<u8>,
    events: Vec<ControlEvent>,
    closed: Option<CloseReason>,
}

struct Session {
    clock: Arc<VirtualClock>,
    hub: Arc<Hub>,
    shard: Shard,
    conn: ConnId,
    /// A device whose messages go to the module.
    device: ConnId,
    /// Events that nobody answered.
    asked: std::collections::VecDeque<ControlEvent>,
    sent: u16,
    outcome: Outcome,
}

fn grants(module: bool) -> Grants {
    if !module {
        let telemetry_topics = vec!["devices/d1/messages/events".to_owned()];
        return Grants { device_id: "d1".to_owned(), telemetry_topics, ..Grants::default() };
    }
    Grants {
        device_id: "edge1".to_owned(),
        module_id: "m".to_owned(),
        telemetry_topics: vec!["devices/edge1/modules/m/messages/events".to_owned()],
        inputs_endpoint_prefix: "edge1/m/".to_owned(),
        inputs_topic_prefixes: vec!["devices/edge1/modules/m/inputs/".to_owned()],
        ..Grants::default()
    }
}

fn config() -> EngineConfig {
    EngineConfig {
        edge_device_id: "edge1".to_owned(),
        packet_bytes_max: PACKET_BYTES_MAX,
        message_bytes_max: PACKET_BYTES_MAX / 2,
        delivery_window: 3,
        out_bytes_max: 400,
        batch_bytes_max: 700,
        control_queue_max: 4,
        store_full_grace_ms: 1000,
        ..EngineConfig::default()
    }
}

impl Session {
    fn new() -> Self {
        let clock = Arc::new(VirtualClock::at(START));
        let store = StoreConfig { sync: SyncPolicy::None, background_thread: false, ..StoreConfig::small() };
        let store = StoreConfig { index_entries_max: 50, segment_bytes: 1 << 16, ..store };
        let (store, _) = Store::open(Media::Memory, store, clock.clone()).expect("a store in memory");
        let hub = Hub::new(config(), store, 1);
        hub.set_routes(&[RouteDecl::new("r", TO_INPUT)], 7200).expect("a good route");
        let mut shard = Shard::new(hub.clone(), 0);
        let now = shard.read_clocks(&*clock);
        shard.begin_turn(now);
        let device = shard.open(1, "device".to_owned(), 1).expect("room");
        let conn = shard.open(2, "client".to_owned(), 1).expect("room");
        shard.feed(device, b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02d1");
        shard.finish_turn();
        let mut session = Self {
            clock,
            hub,
            shard,
            conn,
            device,
            asked: std::collections::VecDeque::new(),
            sent: 0,
            outcome: Outcome::default(),
        };
        session.take_events();
        session.answer(true);
        session.turn(|_| {});
        session.outcome = Outcome::default();
        session
    }

    fn turn(&mut self, work: impl FnOnce(&mut Shard)) {
        let now = self.shard.read_clocks(&*self.clock);
        self.shard.begin_turn(now);
        work(&mut self.shard);
        self.shard.finish_turn();
        while self.shard.pop_dirty().is_some() {}
        while self.shard.pop_resumed().is_some() {}
        let staged = self.shard.staged_bytes();
        assert!(staged <= config().batch_bytes_max + 2 * PACKET_BYTES_MAX, "{staged} bytes staged");
    }

    fn feed(&mut self, bytes: &[u8], cut: Cut) {
        let conn = self.conn;
        match cut {
            Cut::Whole => self.turn(|shard| shard.feed(conn, bytes)),
            Cut::WithinTurn(len) => {
                self.turn(|shard| bytes.chunks(len).for_each(|piece| shard.feed(conn, piece)));
            }
            Cut::Turns(len) => {
                bytes.chunks(len).for_each(|piece| self.turn(|shard| shard.feed(conn, piece)));
            }
        }
    }

    fn happen(&mut self, what: u8) {
        let conn = self.conn;
        match what & 0x0f {
            0..=2 => self.answer_next(true),
            3 => self.answer_next(false),
            4 => self.pass_ms(100),
            5 => self.pass_ms(40_000),
            6 => self.command(Command::Close { conn, reason: "told to".to_owned() }),
            7 => self.turn(|shard| shard.eof(conn, CloseReason::Eof, "")),
            8 => self.read(),
            9..=11 => self.device_publishes(),
            12 => self.change_routes(),
            _ => {}
        }
    }

    fn pass_ms(&mut self, ms: u64) {
        self.clock.advance_ms(ms);
        self.hub.store().tick();
        self.turn(|_| {});
    }

    fn command(&mut self, command: Command) {
        self.hub.command(self.conn, command);
        self.turn(|_| {});
    }

    fn change_routes(&mut self) {
        self.sent += 1;
        let routes = [RouteDecl::new("r", TO_INPUT)];
        let routes = if self.sent.is_multiple_of(2) { &routes[..] } else { &[] };
        self.hub.set_routes(routes, 7200).expect("good routes");
        self.turn(|_| {});
    }

    fn device_publishes(&mut self) {
        self.sent += 1;
        let body = self.sent.to_string();
        let publish = Publish::new(TELEMETRY, QoS::AtMostOnce, body.as_bytes());
        let (mut bytes, device) = (Vec::new(), self.device);
        encode_publish(&mut bytes, &publish).expect("a good packet");
        self.turn(|shard| shard.feed(device, &bytes));
    }

    fn take_events(&mut self) {
        for event in self.hub.control().take(usize::MAX) {
            if let ControlEvent::Closed { conn, reason, .. } = &event
                && *conn == self.conn
            {
                assert_eq!(self.outcome.closed.replace(*reason), None, "a connection ends once");
            }
            self.asked.push_back(event.clone());
            self.outcome.events.push(event);
        }
    }

    fn answer_next(&mut self, kindly: bool) {
        self.take_events();
        self.answer(kindly);
        self.turn(|_| {});
    }

    fn answer(&mut self, kindly: bool) {
        let Some(event) = self.asked.pop_front() else { return };
        let (conn, command) = match event {
            ControlEvent::Connect { conn, .. } if !kindly => (conn, Command::Refuse { conn, code: 5 }),
            ControlEvent::Connect { conn, request, .. } => {
                let grants = Box::new(grants(request.client_id != "d1"));
                let filters = Filters::default();
                (conn, Command::Accept { conn, grants, session_present: false, filters })
            }
            ControlEvent::Subscribe { conn, packet_id, filters } => {
                let codes = filters.iter().map(|(_, qos)| (*qos).min(1)).collect();
                let added = filters.into_iter().map(|(filter, qos)| (filter, qos, 0)).collect();
                let filters = Filters { added, inputs_active: kindly };
                (conn, Command::SubAck { conn, packet_id, codes, filters })
            }
            ControlEvent::Unsubscribe { conn, packet_id, filters } => {
                let inputs_active = !kindly;
                (conn, Command::UnsubAck { conn, packet_id, removed: filters, inputs_active })
            }
            ControlEvent::Publish { conn, publish } => {
                let done = publish.packet_id.map(|packet_id| Command::PubAck { conn, packet_id });
                (conn, done.unwrap_or(Command::RequestDone { conn }))
            }
            _ => return,
        };
        self.hub.command(conn, command);
    }

    /// The client reads all that is there for it.
    fn read(&mut self) {
        let Some(out) = self.shard.out(self.conn) else { return };
        let out_max = 2 * config().out_bytes_max + 2 * PACKET_BYTES_MAX + INPUT_BYTES_MAX;
        assert!(out.len() <= out_max, "{} bytes wait to be sent", out.len());
        self.outcome.out.append(out);
        self.shard.written(self.conn);
        self.turn(|_| {});
    }
}

fn play(data: &[u8], cut: Cut) -> Outcome {
    let mut session = Session::new();
    for step in steps(data) {
        match step {
            Step::Bytes(bytes) => session.feed(&bytes, cut),
            Step::Other(what) => session.happen(what),
        }
    }
    session.read();
    session.take_events();
    session.outcome
}

/// Packets by kind, each kind in its order: between kinds there is none (OASIS MQTT 3.1.1 section 4.6).
fn by_kind(mut out: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut kinds = vec![Vec::new(); 16];
    while !out.is_empty() {
        let (packet, used) = decode(out, usize::MAX).expect("valid packets").expect("whole packets");
        // Which id a message got depends on when acknowledgements made room.
        let kind = usize::from(out[0] >> 4);
        let shown = match packet {
            Packet::Publish(publish) => publish.payload.to_vec(),
            _ => out[..used].to_vec(),
        };
        kinds[kind].push(shown);
        out = &out[used..];
    }
    kinds
}

/// Plays the input in all ways; panics where they differ.
pub fn check(data: &[u8]) {
    if data.len() > INPUT_BYTES_MAX {
        return;
    }
    let whole = play(data, Cut::Whole);
    for len in [1, 7] {
        assert_eq!(whole, play(data, Cut::WithinTurn(len)), "in pieces of {len} within a turn");
    }
    let turns = play(data, Cut::Turns(3));
    assert_eq!((&whole.events, whole.closed), (&turns.events, turns.closed), "in turns");
    for (one, other) in by_kind(&whole.out).iter().zip(&by_kind(&turns.out)) {
        // What was stored before the end of its connection may be acknowledged in an earlier turn.
        let same = if whole.closed.is_some() { other.starts_with(one) } else { other == one };
        assert!(same, "{one:?} at once, {other:?} in turns");
    }
}
