//! The least broker that the generator can be pointed at: it acknowledges every PUBLISH and hands it to every subscriber.
//!
//! It stores nothing, checks no credentials and does not look at filters, so that what is measured against it is the
//! generator and the kernel. Plain TCP only.

use std::io::{self, Read, Write};
use std::num::NonZeroU16;

use edgehub_mqtt::{
    ConnAck, ConnectReturnCode, InFlight, Packet, Publish, QoS, SubAckCode, decode, encode_connack,
    encode_pingresp, encode_puback, encode_publish_header, encode_suback,
};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::conn::PACKET_BYTES_MAX;
use crate::transport::READ_BYTES;

const LISTENER: Token = Token(usize::MAX);
/// Messages in flight to a subscriber. There is no queue: beyond the window a message is sent with QoS 0.
const WINDOW: NonZeroU16 = NonZeroU16::MAX;

struct Peer {
    stream: TcpStream,
    kept: Vec<u8>,
    out: Vec<u8>,
    in_flight: InFlight<()>,
    blocked: bool,
    dirty: bool,
}

/// A broker without I/O threads, storage or policy.
pub struct Mirror {
    poll: Poll,
    listener: TcpListener,
    /// By token; the place of one that has left stays empty, for a token is not given twice.
    peers: Vec<Option<Peer>>,
    subscribers: Vec<usize>,
    dirty: Vec<usize>,
}

/// What a packet asks the mirror to do beyond answering its sender.
enum Wish {
    Nothing,
    Subscribe,
    Leave,
}

impl Mirror {
    /// Listens on a loopback port, 0 = any free one.
    ///
    /// # Errors
    /// The port cannot be had.
    pub fn bind(port: u16) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(([127, 0, 0, 1], port).into())?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let (peers, subscribers, dirty) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { poll, listener, peers, subscribers, dirty })
    }

    /// The port that it listens on.
    ///
    /// # Errors
    /// The system does not know.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// The poll fails. What fails for one peer ends that peer.
    pub fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; READ_BYTES + PACKET_BYTES_MAX + 5];
        loop {
            self.poll.poll(&mut events, None)?;
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(index) => {
                        if event.is_writable() {
                            self.unblock(index);
                        }
                        while self.read(index, &mut buffer) {}
                    }
                }
            }
            self.flush();
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(err) => return Err(err),
            };
            stream.set_nodelay(true)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(self.peers.len()), interest)?;
            let (kept, out, in_flight) = (Vec::new(), Vec::new(), InFlight::new(WINDOW));
            let peer = Peer { stream, kept, out, in_flight, blocked: false, dirty: false };
            self.peers.push(Some(peer));
        }
    }

    fn peer(&mut self, index: usize) -> Option<&mut Peer> {
        self.peers.get_mut(index)?.as_mut()
    }

    /// Reads once; true when there may be more.
    fn read(&mut self, index: usize, buffer: &mut [u8]) -> bool {
        let Some(peer) = self.peer(index) else { return false };
        let kept = peer.kept.len();
        buffer[..kept].copy_from_slice(&peer.kept);
        peer.kept.clear();
        let count = match peer.stream.read(&mut buffer[kept..kept + READ_BYTES]) {
            Ok(count) if count > 0 => count,
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                peer.kept.extend_from_slice(&buffer[..kept]);
                return false;
            }
            _ => return self.remove(index),
        };
        let mut rest = &buffer[..kept + count];
        while let Ok(Some((packet, used))) = decode(rest, PACKET_BYTES_MAX) {
            match self.handle(index, &packet) {
                Wish::Nothing => {}
                Wish::Subscribe => self.subscribers.push(index),
                Wish::Leave => return self.remove(index),
            }
            rest = &rest[used..];
        }
        if let Some(peer) = self.peer(index) {
            peer.kept.extend_from_slice(rest);
        }
        self.mark_dirty(index);
        count == READ_BYTES
    }

    fn handle(&mut self, index: usize, packet: &Packet<'_>) -> Wish {
        if let Packet::Publish(publish) = packet {
            self.forward(publish);
        }
        let Some(peer) = self.peer(index) else { return Wish::Leave };
        let accepted = ConnAck { session_present: false, code: ConnectReturnCode::Accepted };
        let answered = match packet {
            Packet::Publish(publish) => {
                if let Some(id) = publish.packet_id {
                    encode_puback(&mut peer.out, id);
                }
                Ok(())
            }
            Packet::PubAck(id) => {
                peer.in_flight.ack(*id);
                Ok(())
            }
            Packet::Connect(_) => encode_connack(&mut peer.out, accepted),
            Packet::Subscribe(subscribe) => {
                let codes: Vec<_> = subscribe.filters().map(|(_, qos)| SubAckCode::Granted(qos)).collect();
                return match encode_suback(&mut peer.out, subscribe.packet_id, &codes) {
                    Ok(()) => Wish::Subscribe,
                    Err(_) => Wish::Leave,
                };
            }
            Packet::PingReq => {
                encode_pingresp(&mut peer.out);
                Ok(())
            }
            _ => return Wish::Leave,
        };
        if answered.is_ok() { Wish::Nothing } else { Wish::Leave }
    }

    fn forward(&mut self, publish: &Publish<'_>) {
        for at in 0..self.subscribers.len() {
            let index = self.subscribers[at];
            let Some(peer) = self.peer(index) else { continue };
            let wanted = publish.packet_id.and_then(|_| peer.in_flight.insert(()).ok());
            let qos = if wanted.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
            let topic = [publish.topic.as_bytes()];
            let len = publish.payload.len();
            if encode_publish_header(&mut peer.out, false, qos, false, &topic, wanted, len).is_ok() {
                peer.out.extend_from_slice(publish.payload);
            }
            self.mark_dirty(index);
        }
    }

    fn mark_dirty(&mut self, index: usize) {
        if let Some(peer) = self.peer(index).filter(|peer| !peer.dirty) {
            peer.dirty = true;
            self.dirty.push(index);
        }
    }

    fn unblock(&mut self, index: usize) {
        if let Some(peer) = self.peer(index) {
            peer.blocked = false;
        }
        self.mark_dirty(index);
    }

    fn flush(&mut self) {
        for index in std::mem::take(&mut self.dirty) {
            let Some(peer) = self.peer(index) else { continue };
            peer.dirty = false;
            while !peer.blocked && !peer.out.is_empty() {
                match peer.stream.write(&peer.out) {
                    Ok(count) => drop(peer.out.drain(..count)),
                    Err(err) if err.kind() == io::ErrorKind::WouldBlock => peer.blocked = true,
                    Err(_) => {
                        self.remove(index);
                        break;
                    }
                }
            }
        }
    }

    /// Drops a peer; false, for there is nothing more to read.
    fn remove(&mut self, index: usize) -> bool {
        if let Some(place) = self.peers.get_mut(index) {
            *place = None;
        }
        self.subscribers.retain(|subscriber| *subscriber != index);
        false
    }
}
