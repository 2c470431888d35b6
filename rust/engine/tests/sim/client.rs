//! The clients: publishers that send again what was not acknowledged, and a consumer.

use std::collections::{BTreeSet, VecDeque};

use edgehub_mqtt::{
    Connect, PacketId, Publish, QoS, encode_connect, encode_disconnect, encode_pingreq, encode_puback,
    encode_publish, encode_subscribe, encode_unsubscribe,
};

use crate::action::{CONSUMER, Order};
use crate::book::Book;
use crate::link::{Answer, Link, Mark};

/// Identities of the clients.
pub const IDENTITIES: [&str; 3] = ["d1", "d2", "edge1/m"];
pub const FILTER: &str = "devices/edge1/modules/m/inputs/#";
/// A password that the control plane refuses.
pub const WRONG: &[u8] = b"wrong";

const UNACKED_MAX: usize = 40;
/// An id that no delivery has.
const UNKNOWN_PACKET: u16 = 65_000;

/// A message that the hub did not acknowledge.
#[derive(Debug, Clone, Copy)]
struct Unacked {
    packet: u16,
    kind: usize,
    size: usize,
    sent: bool,
}

pub struct Client {
    pub index: usize,
    /// Key of its connection.
    pub link: Option<usize>,
    pub accepted: bool,
    eager: bool,
    unacked: VecDeque<Unacked>,
    requests: BTreeSet<u16>,
    last_packet: u16,
    to_ack: VecDeque<u16>,
    /// Whether it wants messages.
    wants: bool,
    /// What it asked for and was not told the end of: to subscribe or not.
    asked: VecDeque<bool>,
    /// What the hub confirmed last.
    confirmed: Option<bool>,
}

impl Client {
    pub fn new(index: usize) -> Self {
        Self {
            index,
            link: None,
            accepted: false,
            eager: false,
            unacked: VecDeque::new(),
            requests: BTreeSet::new(),
            last_packet: 0,
            to_ack: VecDeque::new(),
            wants: true,
            asked: VecDeque::new(),
            confirmed: None,
        }
    }

    /// Whether it waits for nothing and has nothing to do.
    pub fn is_content(&self) -> bool {
        let served = self.index != CONSUMER || (self.wants && self.confirmed == Some(true));
        self.accepted
            && served
            && self.unacked.is_empty()
            && self.requests.is_empty()
            && self.to_ack.is_empty()
    }

    pub fn connect(&mut self, key: usize, link: &mut Link, book: &mut Book, eager: bool, refused: bool) {
        let connect = Connect {
            clean_session: false,
            keep_alive_s: 60,
            client_id: IDENTITIES[self.index],
            will: None,
            user_name: Some("hub/user"),
            password: Some(if refused { WRONG } else { b"secret" }),
        };
        let mut bytes = Vec::new();
        encode_connect(&mut bytes, &connect).unwrap();
        link.write(&bytes, Mark::Other);
        (self.link, self.eager) = (Some(key), eager);
        if eager {
            self.send_again(link, book);
        }
    }

    /// The connection is gone.
    pub fn lost(&mut self) {
        (self.link, self.accepted) = (None, false);
        self.requests.clear();
        self.to_ack.clear();
        if !self.asked.is_empty() {
            self.asked.clear();
            self.confirmed = None;
        }
    }

    fn next_packet(&mut self) -> u16 {
        self.last_packet = self.last_packet % 1000 + 1;
        self.last_packet
    }

    fn may_send(&self) -> bool {
        self.accepted || self.eager
    }

    pub fn publish(
        &mut self,
        link: Option<&mut Link>,
        book: &mut Book,
        kind: usize,
        size: usize,
        qos1: bool,
    ) {
        let link = link.filter(|_| self.may_send());
        if !qos1 {
            if let Some(link) = link {
                self.transmit(link, book, Unacked { packet: 0, kind, size, sent: false });
            }
        } else if self.unacked.len() < UNACKED_MAX {
            let message = Unacked { packet: self.next_packet(), kind, size, sent: link.is_some() };
            self.unacked.push_back(message);
            if let Some(link) = link {
                self.transmit(link, book, Unacked { sent: false, ..message });
            }
        }
    }

    fn transmit(&self, link: &mut Link, book: &mut Book, message: Unacked) {
        let (tx, body) = book.write(self.index, link.key, message.kind, message.size, message.sent);
        let topic =
            format!("devices/{}/messages/events/k={}", IDENTITIES[self.index], ["a", "b"][message.kind]);
        let packet = (message.packet > 0).then_some(message.packet);
        let qos = if packet.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let packet_id = packet.and_then(PacketId::new);
        let publish = Publish { dup: message.sent, packet_id, ..Publish::new(&topic, qos, &body) };
        let mut bytes = Vec::new();
        encode_publish(&mut bytes, &publish).unwrap();
        link.write(&bytes, Mark::Publish { tx, packet });
    }

    fn send_again(&mut self, link: &mut Link, book: &mut Book) {
        let mut unacked = std::mem::take(&mut self.unacked);
        for message in &mut unacked {
            self.transmit(link, book, *message);
            message.sent = true;
        }
        self.unacked = unacked;
    }

    /// Asks the control plane for something.
    pub fn request(&mut self, link: &mut Link, qos1: bool) {
        if !self.may_send() {
            return;
        }
        let qos = if qos1 { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let packet_id = if qos1 { PacketId::new(self.next_packet()) } else { None };
        let publish = Publish { packet_id, ..Publish::new("$iothub/twin/GET/?$rid=1", qos, b"") };
        let mut bytes = Vec::new();
        encode_publish(&mut bytes, &publish).unwrap();
        let packet = packet_id.map(PacketId::get);
        self.requests.extend(packet);
        link.write(&bytes, packet.map_or(Mark::Other, |packet| Mark::Request { packet }));
    }

    pub fn ping(&self, link: &mut Link) {
        if self.may_send() {
            let mut bytes = Vec::new();
            encode_pingreq(&mut bytes);
            link.write(&bytes, Mark::Ping);
        }
    }

    pub fn disconnect(link: &mut Link) {
        let mut bytes = Vec::new();
        encode_disconnect(&mut bytes);
        link.write(&bytes, Mark::Other);
    }

    pub fn acknowledge(&mut self, link: &mut Link, count: usize, order: Order) {
        for _ in 0..count {
            let packet = match order {
                Order::Oldest => self.to_ack.pop_front(),
                Order::Newest => self.to_ack.pop_back(),
                Order::Unknown => Some(UNKNOWN_PACKET),
            };
            let Some(packet) = packet else { return };
            let mut bytes = Vec::new();
            encode_puback(&mut bytes, PacketId::new(packet).unwrap());
            link.write(&bytes, Mark::Ack { packet });
        }
    }

    /// The consumer wants messages from now on, or not.
    pub fn want(&mut self, link: Option<&mut Link>, wants: bool) {
        self.wants = wants;
        if let Some(link) = link.filter(|_| self.accepted) {
            self.ask(link);
        } else {
            self.confirmed = None;
        }
    }

    pub fn toggle(&mut self, link: Option<&mut Link>) {
        self.want(link, !self.wants);
    }

    pub fn wants(&self) -> bool {
        self.wants
    }

    fn ask(&mut self, link: &mut Link) {
        let (mut bytes, id) = (Vec::new(), PacketId::new(9).unwrap());
        if self.wants {
            encode_subscribe(&mut bytes, id, &[(FILTER, QoS::AtLeastOnce)]).unwrap();
        } else {
            encode_unsubscribe(&mut bytes, id, &[FILTER]).unwrap();
        }
        link.write(&bytes, Mark::Other);
        self.asked.push_back(self.wants);
    }

    /// Works on an answer of the hub.
    pub fn take(&mut self, answer: Answer, link: &mut Link, book: &mut Book) {
        match answer {
            Answer::ConnAck { accepted: true, session_present } => {
                self.accepted = true;
                if !self.eager {
                    self.send_again(link, book);
                }
                if self.index == CONSUMER && !(session_present && self.confirmed == Some(self.wants)) {
                    self.ask(link);
                }
            }
            Answer::PubAck(packet) => {
                let at = self.unacked.iter().position(|message| message.packet == packet);
                let known = at.and_then(|at| self.unacked.remove(at)).is_some();
                assert!(known || self.requests.remove(&packet), "PUBACK {packet} for nothing");
            }
            Answer::SubAck | Answer::UnsubAck => self.confirmed = self.asked.pop_front(),
            Answer::ConnAck { .. } | Answer::Pong => {}
            Answer::Message(message) => {
                book.received(&message);
                self.to_ack.extend(message.packet);
            }
        }
    }
}
