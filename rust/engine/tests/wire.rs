//! The wire vectors: bytes in, and the bytes that must come out, however the first are cut.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use common::{EDGE, World, connect_bytes, device_grants, module_grants};
use edgehub_engine::{Command, ConnId, ControlEvent, Filters, Grants};
use edgehub_mqtt::{QoS, encode_subscribe};
use serde_json::Value;

/// Segments up to this length are cut at every place, longer ones at some.
const CUT_EVERYWHERE_BYTES: usize = 400;
const FEW_CUTS: usize = 23;
const CONNECT_TIMEOUT_MS: u64 = 60_000;
const INPUTS: &str = "devices/edge1/modules/m/inputs/#";

fn load(name: &str) -> Value {
    let path = format!("{}/../../tests/vectors/mqtt/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(&path).expect(&path)).expect(&path)
}

fn rows(doc: &Value, key: &str) -> Vec<Value> {
    doc[key].as_array().filter(|rows| !rows.is_empty()).expect("rows").clone()
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).expect("a hex digit") as u8;
    text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// What a client does: it sends bytes, or nothing for as long as it may.
#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Bytes(Vec<u8>),
    Silence,
}

fn piece(text: &str, client_id: &str) -> Piece {
    match text {
        "@silence" => Piece::Silence,
        "@connect" => Piece::Bytes(connect_bytes(client_id)),
        _ => Piece::Bytes(text.split('+').flat_map(part).collect()),
    }
}

/// `7879`, or `78*9` for nine times the same.
fn part(text: &str) -> Vec<u8> {
    match text.split_once('*') {
        Some((bytes, times)) => hex(bytes).repeat(times.parse().expect("a number")),
        None => hex(text),
    }
}

/// A connection in the state of a row, with a control plane that allows everything.
struct Peer {
    world: World,
    conn: ConnId,
    grants: Grants,
    out: Vec<u8>,
    /// Why it ended.
    closed: Option<&'static str>,
}

impl Peer {
    fn new(state: &str) -> Self {
        let mut world = World::new();
        let grants = if state == "subscribed" { module_grants("m") } else { device_grants("d1") };
        let conn = world.open();
        let mut peer = Self { world, conn, grants, out: Vec::new(), closed: None };
        if state != "fresh" {
            peer.send(&connect_bytes(&peer.grants.identity()));
        }
        if state == "subscribed" {
            let mut bytes = Vec::new();
            encode_subscribe(&mut bytes, common::packet_id(1), &[(INPUTS, QoS::AtLeastOnce)]).unwrap();
            peer.send(&bytes);
        }
        assert_eq!(peer.closed, None);
        peer.out.clear();
        peer
    }

    fn act(&mut self, piece: &Piece) {
        match piece {
            Piece::Bytes(bytes) => self.send(bytes),
            Piece::Silence => {
                self.world.advance(CONNECT_TIMEOUT_MS);
                self.settle();
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.world.feed(self.conn, bytes);
        self.settle();
    }

    /// Answers what is asked, and reads what comes.
    fn settle(&mut self) {
        loop {
            self.out.append(self.world.shard.out(self.conn).unwrap_or(&mut Vec::new()));
            self.world.shard.written(self.conn);
            let events = self.world.events();
            if events.is_empty() {
                return;
            }
            for event in events {
                self.answer(event);
            }
            self.world.turn(|_| {});
        }
    }

    fn answer(&mut self, event: ControlEvent) {
        let command = match event {
            ControlEvent::Connect { conn, .. } => Command::Accept {
                conn,
                grants: Box::new(self.grants.clone()),
                session_present: false,
                filters: Filters::default(),
            },
            ControlEvent::Subscribe { conn, packet_id, filters } => {
                let codes = filters.iter().map(|(_, qos)| (*qos).min(1)).collect();
                let inputs_active = filters.iter().any(|(filter, _)| filter == INPUTS);
                let added = filters.into_iter().map(|(filter, qos)| (filter, qos, 0)).collect();
                Command::SubAck { conn, packet_id, codes, filters: Filters { added, inputs_active } }
            }
            ControlEvent::Unsubscribe { conn, packet_id, filters } => {
                Command::UnsubAck { conn, packet_id, removed: filters, inputs_active: false }
            }
            ControlEvent::Closed { reason, .. } => {
                assert_eq!(self.closed.replace(reason.name()), None, "ends once");
                return;
            }
            _ => return,
        };
        self.world.hub.command(self.conn, command);
    }
}

/// Plays the pieces; what came out, and why the connection ended if it did.
fn play(state: &str, pieces: &[Piece]) -> (Vec<u8>, Option<&'static str>) {
    let mut peer = Peer::new(state);
    for piece in pieces {
        peer.act(piece);
    }
    assert_eq!(peer.world.shard.is_closing(peer.conn), peer.closed.is_some());
    (peer.out, peer.closed)
}

/// Neighbouring segments as one.
fn joined(pieces: &[Piece]) -> Vec<Piece> {
    let mut whole: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (whole.last_mut(), piece) {
            (Some(Piece::Bytes(before)), Piece::Bytes(bytes)) => before.extend(bytes),
            _ => whole.push(piece.clone()),
        }
    }
    whole
}

/// The same bytes in two segments, cut at this place of each segment.
fn cut(pieces: &[Piece], at: usize) -> Vec<Piece> {
    let mut all = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) if at < bytes.len() => {
                all.extend([Piece::Bytes(bytes[..at].to_vec()), Piece::Bytes(bytes[at..].to_vec())]);
            }
            _ => all.push(piece.clone()),
        }
    }
    all
}

fn chopped(pieces: &[Piece]) -> Vec<Piece> {
    let chop = |piece: &Piece| match piece {
        Piece::Bytes(bytes) => bytes.iter().map(|byte| Piece::Bytes(vec![*byte])).collect(),
        Piece::Silence => vec![Piece::Silence],
    };
    pieces.iter().flat_map(chop).collect()
}

/// All ways to cut these segments that are tried.
fn ways(pieces: &[Piece]) -> Vec<Vec<Piece>> {
    let whole = joined(pieces);
    let longest =
        whole.iter().map(|piece| if let Piece::Bytes(bytes) = piece { bytes.len() } else { 0 }).max();
    let longest = longest.unwrap_or(0);
    let step = if longest <= CUT_EVERYWHERE_BYTES { 1 } else { longest / FEW_CUTS };
    let mut ways: Vec<_> = (1..longest).step_by(step).map(|at| cut(&whole, at)).collect();
    if longest <= CUT_EVERYWHERE_BYTES {
        ways.push(chopped(&whole));
    }
    ways.extend([whole, pieces.to_vec()]);
    ways
}

fn check(what: &str, state: &str, pieces: &[Piece], out: &[u8], reason: Option<&str>) {
    for way in ways(pieces) {
        let (got, closed) = play(state, &way);
        assert_eq!((&got[..], closed), (out, reason), "{what}: {state}, {} segments", way.len());
    }
}

#[test]
fn every_row_is_answered_as_it_says_however_it_is_cut() {
    for row in rows(&load("wire.json"), "rows") {
        let text = |key: &str| row[key].as_str();
        let state = text("state").expect("a state");
        let client_id = if state == "subscribed" { format!("{EDGE}/m") } else { "d1".to_owned() };
        let pieces: Vec<_> =
            rows(&row, "in").iter().map(|p| piece(p.as_str().unwrap(), &client_id)).collect();
        let closes = text("end").expect("an end") == "close";
        assert_eq!(closes, text("reason").is_some(), "{row}");
        let out = text("out").map(hex).unwrap_or_default();
        check(text("name").expect("a name"), state, &pieces, &out, text("reason"));
    }
}

#[test]
fn malformed_packets_close_in_every_state() {
    for row in rows(&load("packets-invalid.json"), "packets") {
        let pieces = [Piece::Bytes(hex(row["hex"].as_str().unwrap()))];
        let too_large = row["kind"] == "too_large";
        for state in ["fresh", "connected", "subscribed"] {
            let answered = state == "fresh" && row["answer"] == 1;
            let (out, reason) = match (answered, too_large) {
                (true, _) => (&[0x20, 2, 0, 1][..], "unsupported_protocol_level"),
                (false, true) => (&[][..], "packet_too_large"),
                (false, false) => (&[][..], "protocol_error"),
            };
            check(row["name"].as_str().unwrap(), state, &pieces, out, Some(reason));
        }
    }
}
