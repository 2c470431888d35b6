//! All connections of a run on one poll loop.
//!
//! A turn reads every ready socket once, hands all packets to the clients, then writes every connection that has something
//! to say in one piece. Nothing waits for more to come.

use std::io;
use std::time::Duration;

use edgehub_mqtt::encode_disconnect;
use mio::{Events, Interest, Poll, Token};

use crate::client::Client;
use crate::clients::{ClientSpec, Clients};
use crate::clock::now_ns;
use crate::config::RunConfig;
use crate::conn::Conn;
use crate::error::{ClientError, LoadError};
use crate::publisher::{Publisher, Schedule};
use crate::sequence::StreamCounts;
use crate::tally::Tally;
use crate::target::Target;
use crate::transport::Buffers;

/// Clients that wait for their CONNACK at the same time: not more than the backlog of a listener.
const CONNECTING_MAX: usize = 64;
const EVENTS_PER_POLL: usize = 1024;

/// The connections and what they have counted.
pub struct Swarm {
    target: Target,
    poll: Poll,
    events: Events,
    conns: Vec<Conn>,
    /// Place of the first publisher; subscribers are before it.
    publishers_from: usize,
    publishers: usize,
    dirty: Vec<usize>,
    readable: Vec<usize>,
    buffers: Buffers,
    scratch: Vec<u8>,
    pings: Pings,
    /// The counters.
    pub tally: Tally,
}

/// When to send PINGREQ: at half the keep alive, on every connection at once.
struct Pings {
    every_ns: u64,
    next_ns: u64,
}

impl Pings {
    const fn new(keep_alive_s: u16, now_ns: u64) -> Self {
        let every_ns = keep_alive_s as u64 * 500_000_000;
        let next_ns = if every_ns == 0 { u64::MAX } else { now_ns + every_ns };
        Self { every_ns, next_ns }
    }

    const fn are_due(&mut self, now_ns: u64) -> bool {
        let due = now_ns >= self.next_ns;
        if due {
            self.next_ns = now_ns + self.every_ns;
        }
        due
    }
}

impl Swarm {
    /// Connects all clients and waits until they are connected and subscribed, subscribers first.
    ///
    /// # Errors
    /// The broker cannot be reached, refuses a client, or is not done in time.
    pub fn connect(config: &RunConfig, clients: &Clients) -> Result<Self, LoadError> {
        let mut swarm = Self::new(config, clients.subscribers.len(), clients.publishers.len())?;
        let deadline_ns = now_ns() + config.ready_timeout.as_nanos() as u64;
        swarm.add_all(config, &clients.subscribers, deadline_ns)?;
        swarm.add_all(config, &clients.publishers, deadline_ns)?;
        Ok(swarm)
    }

    /// No connection yet; as many of each kind will be added.
    ///
    /// # Errors
    /// The broker's address or certificates cannot be had.
    pub fn new(config: &RunConfig, subscribers: usize, publishers: usize) -> Result<Self, LoadError> {
        let start_ns = now_ns();
        let histogram =
            |_| LoadError::System { what: "histogram", source: io::ErrorKind::OutOfMemory.into() };
        Ok(Self {
            target: Target::new(config)?,
            poll: Poll::new().map_err(|source| LoadError::System { what: "epoll", source })?,
            events: Events::with_capacity(EVENTS_PER_POLL),
            conns: Vec::with_capacity(publishers + subscribers),
            publishers_from: subscribers,
            publishers,
            dirty: Vec::new(),
            readable: Vec::new(),
            buffers: Buffers::default(),
            scratch: Vec::new(),
            pings: Pings::new(config.keep_alive_s, start_ns),
            tally: Tally::new(publishers, start_ns).map_err(histogram)?,
        })
    }

    /// Connects these clients, all of one kind, and waits until they are connected and subscribed.
    ///
    /// # Errors
    /// The broker cannot be reached, refuses a client, or is not done by the deadline.
    pub fn add_all(
        &mut self,
        config: &RunConfig,
        specs: &[ClientSpec],
        deadline_ns: u64,
    ) -> Result<(), LoadError> {
        for spec in specs {
            self.add(config, spec)?;
            self.await_ready(CONNECTING_MAX, deadline_ns, config)?;
        }
        self.await_ready(0, deadline_ns, config)
    }

    /// What each subscriber has counted.
    pub fn subscriber_counts(&self) -> impl Iterator<Item = StreamCounts> {
        self.conns.iter().filter_map(|conn| conn.client.subscriber_counts())
    }

    /// Allows each publisher to send this many more messages.
    pub fn allow_all(&mut self, more: u64) {
        self.each_publisher(|publisher| publisher.allow(more));
    }

    /// Allows this publisher one more message.
    pub fn allow_one(&mut self, publisher: usize) {
        let index = self.publishers_from + publisher;
        if let Some(publisher) = self.conns.get_mut(index).and_then(|conn| conn.client.publisher()) {
            publisher.allow(1);
            self.mark_dirty(index);
        }
    }

    /// Takes back what is allowed and not sent.
    pub fn pause_all(&mut self) {
        self.each_publisher(Publisher::pause);
    }

    /// Whether every publisher has sent all that it is allowed.
    pub fn nothing_to_send(&self) -> bool {
        self.conns.iter().all(|conn| !conn.client.has_to_send())
    }

    /// Stamps messages with the times of a schedule from now on.
    pub fn follow(&mut self, schedule: Schedule) {
        self.each_publisher(|publisher| publisher.follow(schedule));
    }

    /// TLS version and cipher suite of the first connection.
    pub fn tls_facts(&self) -> Option<String> {
        self.conns.first()?.transport.tls_facts()
    }

    /// One turn; waits at most this long for something to happen.
    ///
    /// # Errors
    /// Any client fails.
    pub fn turn(&mut self, timeout: Duration) -> Result<(), LoadError> {
        let idle = self.readable.is_empty() && self.dirty.is_empty();
        let timeout = if idle { timeout } else { Duration::ZERO };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result.map_err(|source| LoadError::System { what: "epoll", source })?,
        }
        self.take_events();
        self.read_all()?;
        self.take_moved();
        if self.pings.are_due(now_ns()) {
            self.ping_all();
        }
        self.flush_all()
    }

    /// Says DISCONNECT on every connection. What fails now is not of interest any more.
    pub fn leave(&mut self) {
        for conn in &mut self.conns {
            encode_disconnect(&mut conn.out);
            let _ = conn.transport.send(&mut conn.out);
            conn.transport.finish();
            let _ = conn.transport.send(&mut conn.out);
        }
    }

    fn add(&mut self, config: &RunConfig, spec: &ClientSpec) -> Result<(), LoadError> {
        let place = self.conns.len();
        let index = place.saturating_sub(self.publishers_from);
        let connect = || -> Result<Conn, ClientError> {
            let client = Client::new(spec.clone(), index, self.publishers, config)?;
            let mut transport = self.target.connect()?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(transport.socket(), Token(place), interest)?;
            let mut conn = Conn::new(client, transport);
            conn.client.start(&mut conn.out)?;
            Ok(conn)
        };
        let client_id = || spec.client_id.clone();
        let conn = connect().map_err(|source| LoadError::Client { client_id: client_id(), source })?;
        self.conns.push(conn);
        self.mark_dirty(place);
        Ok(())
    }

    /// Takes turns until at most this many clients are not ready.
    fn await_ready(
        &mut self,
        waiting_max: usize,
        deadline_ns: u64,
        config: &RunConfig,
    ) -> Result<(), LoadError> {
        loop {
            let mut waiting = self.conns.iter().filter(|conn| !conn.client.is_ready());
            let Some(first) = waiting.next() else { return Ok(()) };
            let (first, waiting) = (first.client.client_id().to_owned(), 1 + waiting.count());
            if waiting <= waiting_max {
                return Ok(());
            }
            if now_ns() > deadline_ns {
                let (clients, limit_s) = (self.conns.len(), config.ready_timeout.as_secs_f64());
                return Err(LoadError::ReadyTimeout { waiting, clients, limit_s, first });
            }
            self.turn(Duration::from_millis(100))?;
        }
    }

    fn each_publisher(&mut self, mut change: impl FnMut(&mut Publisher)) {
        for index in self.publishers_from..self.conns.len() {
            if let Some(publisher) = self.conns.get_mut(index).and_then(|conn| conn.client.publisher()) {
                change(publisher);
            }
            self.mark_dirty(index);
        }
    }

    fn mark_dirty(&mut self, index: usize) {
        if let Some(conn) = self.conns.get_mut(index).filter(|conn| !conn.dirty) {
            conn.dirty = true;
            self.dirty.push(index);
        }
    }

    fn take_events(&mut self) {
        for event in &self.events {
            let index = event.token().0;
            let Some(conn) = self.conns.get_mut(index) else { continue };
            if event.is_writable() {
                conn.blocked = false;
                if !conn.dirty {
                    conn.dirty = true;
                    self.dirty.push(index);
                }
            }
            // A closed or failed socket is found by reading it.
            let readable = event.is_readable() || event.is_read_closed() || event.is_error();
            if readable && !conn.readable {
                conn.readable = true;
                self.readable.push(index);
            }
        }
    }

    /// Reads each listed socket once; those that may have more stay listed.
    fn read_all(&mut self) -> Result<(), LoadError> {
        let mut kept = 0;
        for at in 0..self.readable.len() {
            let index = self.readable[at];
            let conn = &mut self.conns[index];
            conn.readable = match conn.receive(&mut self.buffers, &mut self.tally) {
                Ok(more) => more,
                Err(source) => return Err(client_failed(conn, source)),
            };
            if conn.readable {
                self.readable[kept] = index;
                kept += 1;
            }
            self.mark_dirty(index);
        }
        self.readable.truncate(kept);
        Ok(())
    }

    /// With QoS 0 a delivery is what makes room in a window.
    fn take_moved(&mut self) {
        for at in 0..self.tally.moved.len() {
            self.mark_dirty(self.publishers_from + self.tally.moved[at] as usize);
        }
        self.tally.moved.clear();
    }

    fn ping_all(&mut self) {
        for index in 0..self.conns.len() {
            let conn = &mut self.conns[index];
            conn.client.ping(&mut conn.out);
            self.mark_dirty(index);
        }
    }

    fn flush_all(&mut self) -> Result<(), LoadError> {
        for index in self.dirty.drain(..) {
            let conn = &mut self.conns[index];
            conn.dirty = false;
            if let Err(source) = conn.flush(&mut self.tally, &mut self.scratch) {
                return Err(client_failed(conn, source));
            }
        }
        Ok(())
    }
}

fn client_failed(conn: &Conn, source: ClientError) -> LoadError {
    LoadError::Client { client_id: conn.client.client_id().to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_come_at_half_the_keep_alive() {
        let mut pings = Pings::new(60, 1000);
        let half_ns = 30_000_000_000;
        assert!(!pings.are_due(1000 + half_ns - 1));
        assert!(pings.are_due(1000 + half_ns));
        assert!(!pings.are_due(1000 + half_ns + 1));
        assert!(pings.are_due(1000 + 2 * half_ns));
    }

    #[test]
    fn no_keep_alive_no_pings() {
        assert!(!Pings::new(0, 0).are_due(u64::MAX - 1));
    }
}
