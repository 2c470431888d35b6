//! Fresh connections, as many as the broker takes: TCP, TLS if asked for, CONNECT, CONNACK, DISCONNECT, end.
//!
//! A connection counts when its CONNACK is there. The place of one is free again when the broker has closed it, so that a
//! client never meets the end of its own earlier connection.

use std::io;
use std::time::Duration;

use edgehub_mqtt::encode_disconnect;
use mio::{Events, Interest, Poll, Token};

use crate::client::Client;
use crate::clients::{ClientSpec, Clients};
use crate::clock::now_ns;
use crate::config::ConnectsConfig;
use crate::conn::Conn;
use crate::error::{ClientError, LoadError};
use crate::latency::{Latencies, LatencySummary};
use crate::limits;
use crate::procfs::ProcessSample;
use crate::tally::Tally;
use crate::target::Target;
use crate::transport::Buffers;

mod report;

/// Longest sleep of the loop.
const TURN_MAX: Duration = Duration::from_millis(5);
const EVENTS_PER_POLL: usize = 1024;

/// Counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mark {
    /// Moment, ns of the monotonic clock.
    pub at_ns: u64,
    /// Connections accepted so far.
    pub connected: u64,
    /// The broker, if it is observed.
    pub broker: Option<ProcessSample>,
    /// This process.
    pub generator: ProcessSample,
}

/// Everything measured.
#[derive(Debug)]
pub struct ConnectsOutcome {
    /// Different clients that took turns.
    pub identities: usize,
    /// At the end of the warm-up.
    pub start: Mark,
    /// At the end of the measured interval.
    pub end: Mark,
    /// From the first packet to CONNACK.
    pub latency: Option<LatencySummary>,
    /// TLS version and suite.
    pub tls: Option<String>,
}

/// One of the connections under way.
#[derive(Default)]
struct Place {
    conn: Option<Conn>,
    began_ns: u64,
    /// DISCONNECT is sent.
    leaving: bool,
    /// How often this place was taken, which tells whose turn it is.
    round: usize,
}

struct Storm<'a> {
    config: &'a ConnectsConfig,
    clients: Vec<ClientSpec>,
    target: Target,
    poll: Poll,
    events: Events,
    ready: Vec<usize>,
    places: Vec<Place>,
    buffers: Buffers,
    scratch: Vec<u8>,
    tally: Tally,
    latencies: Latencies,
    connected: u64,
    /// Time of the latest CONNACK.
    progress_ns: u64,
    tls: Option<String>,
}

/// Connects for the time asked for.
///
/// # Errors
/// A connection fails or is refused, or nothing comes about for the ready time-out.
pub fn connects(config: &ConnectsConfig) -> Result<ConnectsOutcome, LoadError> {
    let clients = Clients::load(&config.run.clients)?.publishers;
    limits::allow_connections(config.parallel)?;
    let identities = clients.len();
    let mut storm = Storm::new(config, clients)?;
    for index in 0..storm.places.len() {
        storm.open(index)?;
    }
    storm.go_on_for(config.run.warm_up)?;
    storm.latencies.clear();
    let start = storm.mark()?;
    storm.go_on_for(config.measured)?;
    let end = storm.mark()?;
    Ok(ConnectsOutcome { identities, start, end, latency: storm.latencies.summary(), tls: storm.tls })
}

impl<'a> Storm<'a> {
    fn new(config: &'a ConnectsConfig, clients: Vec<ClientSpec>) -> Result<Self, LoadError> {
        let system = |what| move |source| LoadError::System { what, source };
        let histogram = |_| system("histogram")(io::ErrorKind::OutOfMemory.into());
        // A client is at one place only, or two of its connections would take over from each other.
        let places = config.parallel.min(clients.len());
        Ok(Self {
            config,
            target: Target::new(&config.run)?,
            poll: Poll::new().map_err(system("epoll"))?,
            events: Events::with_capacity(EVENTS_PER_POLL),
            ready: Vec::new(),
            places: (0..places).map(|_| Place::default()).collect(),
            clients,
            buffers: Buffers::default(),
            scratch: Vec::new(),
            tally: Tally::new(1, now_ns()).map_err(histogram)?,
            latencies: Latencies::new().map_err(histogram)?,
            connected: 0,
            progress_ns: now_ns(),
            tls: None,
        })
    }

    fn mark(&self) -> Result<Mark, LoadError> {
        let sample =
            |pid| ProcessSample::read(pid).map_err(|source| LoadError::BrokerProcess { pid, source });
        Ok(Mark {
            at_ns: now_ns(),
            connected: self.connected,
            broker: self.config.run.broker_pid.map(sample).transpose()?,
            generator: sample(std::process::id())?,
        })
    }

    fn go_on_for(&mut self, time: Duration) -> Result<(), LoadError> {
        let end_ns = now_ns() + time.as_nanos() as u64;
        let stalled_ns = self.config.run.ready_timeout.as_nanos() as u64;
        loop {
            let now_ns = now_ns();
            if now_ns >= end_ns {
                return Ok(());
            }
            if now_ns - self.progress_ns > stalled_ns {
                let (connected, waiting) = (self.connected, self.places.len());
                let limit_s = self.config.run.ready_timeout.as_secs_f64();
                return Err(LoadError::Stalled { connected, limit_s, waiting });
            }
            self.turn()?;
        }
    }

    fn turn(&mut self) -> Result<(), LoadError> {
        match self.poll.poll(&mut self.events, Some(TURN_MAX)) {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result.map_err(|source| LoadError::System { what: "epoll", source })?,
        }
        self.ready.clear();
        self.ready.extend(self.events.iter().map(|event| event.token().0));
        for at in 0..self.ready.len() {
            let index = self.ready[at];
            if self.advance(index)? {
                self.open(index)?;
            }
        }
        Ok(())
    }

    /// The client whose turn it is at a place: each place has clients of its own.
    fn spec(&self, index: usize, round: usize) -> ClientSpec {
        let own = (self.clients.len() - index).div_ceil(self.places.len());
        self.clients[index + (round % own) * self.places.len()].clone()
    }

    fn open(&mut self, index: usize) -> Result<(), LoadError> {
        let round = self.places[index].round;
        let spec = self.spec(index, round);
        let client_id = spec.client_id.clone();
        let begin = || -> Result<Conn, ClientError> {
            let client = Client::new(spec, 0, 1, &self.config.run)?;
            let mut transport = self.target.begin()?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(transport.socket(), Token(index), interest)?;
            let mut conn = Conn::new(client, transport);
            conn.client.start(&mut conn.out)?;
            Ok(conn)
        };
        let conn = begin().map_err(|source| LoadError::Client { client_id, source })?;
        self.places[index] = Place { conn: Some(conn), began_ns: now_ns(), leaving: false, round: round + 1 };
        Ok(())
    }

    /// Reads and writes at one place; true when its connection has ended as it should.
    fn advance(&mut self, index: usize) -> Result<bool, LoadError> {
        let Some(Place { conn: Some(conn), began_ns, leaving, .. }) = self.places.get_mut(index) else {
            return Ok(false);
        };
        conn.blocked = false;
        match exchange(conn, leaving, &mut self.buffers, &mut self.tally, &mut self.scratch) {
            Ok(Step::Nothing) => Ok(false),
            Ok(Step::Accepted) => {
                let now_ns = now_ns();
                self.latencies.record(now_ns.saturating_sub(*began_ns));
                self.connected += 1;
                self.progress_ns = now_ns;
                if self.tls.is_none() {
                    self.tls = conn.transport.tls_facts();
                }
                Ok(false)
            }
            // The end that was asked for, whatever form it takes.
            Err(ClientError::Closed(_) | ClientError::Io(_)) if *leaving => {
                self.places[index].conn = None;
                Ok(true)
            }
            Err(source) => Err(LoadError::Client { client_id: conn.client.client_id().to_owned(), source }),
        }
    }
}

/// What came of reading a connection.
enum Step {
    Nothing,
    /// CONNACK, which was answered with DISCONNECT.
    Accepted,
}

fn exchange(
    conn: &mut Conn,
    leaving: &mut bool,
    buffers: &mut Buffers,
    tally: &mut Tally,
    scratch: &mut Vec<u8>,
) -> Result<Step, ClientError> {
    while conn.receive(buffers, tally)? {}
    let accepted = !*leaving && conn.client.is_ready();
    if accepted {
        *leaving = true;
        encode_disconnect(&mut conn.out);
    }
    conn.flush(tally, scratch)?;
    if accepted {
        conn.transport.finish();
        conn.flush(tally, scratch)?;
    }
    Ok(if accepted { Step::Accepted } else { Step::Nothing })
}

#[cfg(test)]
mod tests;
