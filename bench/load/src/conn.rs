//! A client on its connection.

use edgehub_mqtt::decode;

use crate::client::Client;
use crate::clock::now_ns;
use crate::error::ClientError;
use crate::tally::Tally;
use crate::transport::{Buffers, Transport};

/// Largest packet taken from a broker.
pub const PACKET_BYTES_MAX: usize = 262_144;

/// A client with its socket.
#[derive(Debug)]
pub struct Conn {
    /// The protocol.
    pub client: Client,
    /// The connection.
    pub transport: Transport,
    /// Answers of this turn, or what the socket did not take. Bounded by the client's window.
    pub out: Vec<u8>,
    /// Start of a packet whose end has not come.
    kept: Vec<u8>,
    /// The socket takes nothing now; an event will tell when it does.
    pub blocked: bool,
    /// Listed to be flushed.
    pub dirty: bool,
    /// Listed to be read.
    pub readable: bool,
}

impl Conn {
    /// A client that has said nothing yet.
    pub const fn new(client: Client, transport: Transport) -> Self {
        Self {
            client,
            transport,
            out: Vec::new(),
            kept: Vec::new(),
            blocked: false,
            dirty: false,
            readable: false,
        }
    }

    /// Reads once and handles every whole packet; true when the socket may have more.
    ///
    /// # Errors
    /// The connection failed, or the broker sent what it must not.
    pub fn receive(&mut self, buffers: &mut Buffers, tally: &mut Tally) -> Result<bool, ClientError> {
        let kept = self.kept.len();
        if kept > 0 {
            buffers.plain[..kept].copy_from_slice(&self.kept);
            self.kept.clear();
        }
        let received = self.transport.receive(buffers, kept)?;
        let now_ns = now_ns();
        let mut rest = &buffers.plain[..kept + received.bytes];
        while let Some((packet, used)) = decode(rest, PACKET_BYTES_MAX)? {
            self.client.receive(&packet, now_ns, &mut self.out, tally)?;
            rest = &rest[used..];
        }
        self.kept.extend_from_slice(rest);
        Ok(received.more)
    }

    /// Fills the window and writes everything in one piece. `scratch` is empty before and after: all connections build
    /// what they write in the same memory, which so stays in the cache.
    ///
    /// # Errors
    /// The connection failed.
    pub fn flush(&mut self, tally: &mut Tally, scratch: &mut Vec<u8>) -> Result<(), ClientError> {
        if self.blocked {
            return Ok(());
        }
        scratch.append(&mut self.out);
        self.client.fill(now_ns(), scratch, tally);
        self.blocked = !self.transport.send(scratch)?;
        self.out.append(scratch);
        Ok(())
    }
}
