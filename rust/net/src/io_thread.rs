//! The loop of one I/O thread.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use edgehub_engine::{CloseReason, ConnId, Hub, Shard};
use edgehub_types::{Clock, MonoTime};
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use parking_lot::Mutex;
use slab::Slab;

use crate::gate::{ConnectRate, Pace};
use crate::link::{Calls, End, Link, Progress};
use crate::listener::Listener;
use crate::runtime::NetConfig;
use crate::stream::Stream;
use crate::tls::TlsAcceptor;

/// Tokens from here on are listeners; below are connections.
const LISTENER_BASE: usize = 1 << 30;
/// Token of the wake-up.
pub(crate) const WAKE: Token = Token(usize::MAX);
const EVENTS_MAX: usize = 1024;
/// Connections accepted in one turn; the rest waits in the kernel so that clients are served meanwhile.
const ACCEPTS_MAX: usize = 64;
/// Wait before the next try when the system gives no socket, for instance for want of descriptors.
const ACCEPT_RETRY_MS: u64 = 100;
/// Wait before the next look whether there is room for one more connection without session.
const STRANGERS_RETRY_MS: u64 = 10;
/// Sockets read in one turn before what they brought is committed and answered.
const READS_MAX: usize = 256;
/// Bytes staged in one turn before they are committed and delivered. Without it many busy publishers fill
/// a turn with more than their consumer's window takes, and its acknowledgements wait behind them all.
const STAGED_BYTES_MAX: usize = 128 * 1024;
/// Longest hold of publishers while a prompt consumer is behind.
const HOLD_MS: u64 = 1;
/// Longest sleep; a turn without work costs nothing worth saving.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// What the rest of the process asks of an I/O thread.
pub(crate) enum NetCommand {
    Listen(Listener),
    CloseListener(u32),
    /// Drive this connected socket.
    Adopt {
        stream: Stream,
        peer: String,
        listener: u32,
        tls: Option<Arc<TlsAcceptor>>,
    },
    /// Accept more from the listener with this key.
    AcceptAgain(usize),
    /// Finish what is in flight until this time, then end.
    Stop {
        deadline: MonoTime,
    },
}

/// Commands on their way to one thread.
pub(crate) struct Inbox {
    pub commands: Mutex<Vec<NetCommand>>,
    pub waker: mio::Waker,
}

impl Inbox {
    pub fn post(&self, command: NetCommand) {
        self.commands.lock().push(command);
        if let Err(error) = self.waker.wake() {
            log::error!("cannot wake an I/O thread: {error}");
        }
    }
}

/// One I/O thread: poll, sockets and the shard they belong to.
pub(crate) struct IoThread {
    poll: Poll,
    inboxes: Vec<Arc<Inbox>>,
    index: usize,
    hub: Arc<Hub>,
    calls: Calls,
    shard: Shard,
    links: Slab<Link>,
    listeners: Slab<Listener>,
    clock: Arc<dyn Clock>,
    buffer: Vec<u8>,
    tls_out_bytes_max: usize,
    /// Sockets of consumers: their acknowledgements make room for deliveries, so they are read first.
    consumers_to_read: VecDeque<usize>,
    /// All other sockets.
    to_read: VecDeque<usize>,
    /// Since when publishers are held.
    held_since: Option<MonoTime>,
    next_thread: usize,
    /// Of the listeners, which are all with one thread.
    rate: ConnectRate,
    refusals: Pace,
    /// When listeners whose connections could not be accepted are tried again.
    accept_again_at: Option<MonoTime>,
    stop_at: Option<MonoTime>,
}

impl IoThread {
    pub fn new(
        poll: Poll,
        inboxes: Vec<Arc<Inbox>>,
        index: usize,
        hub: Arc<Hub>,
        clock: Arc<dyn Clock>,
        config: &NetConfig,
    ) -> Self {
        Self {
            poll,
            inboxes,
            index,
            calls: Calls::default(),
            shard: Shard::new(hub.clone(), index),
            hub,
            links: Slab::new(),
            listeners: Slab::new(),
            rate: ConnectRate::new(config.connects_per_s, clock.mono()),
            refusals: Pace::default(),
            clock,
            buffer: vec![0; config.read_bytes],
            tls_out_bytes_max: config.tls_out_bytes_max,
            consumers_to_read: VecDeque::new(),
            to_read: VecDeque::new(),
            held_since: None,
            next_thread: 0,
            accept_again_at: None,
            stop_at: None,
        }
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// The system's, when it does not tell any more what its sockets are ready for.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            let timeout = Some(self.sleep());
            self.calls.polls += 1;
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                return Err(error);
            }
            if self.turn(&events) {
                return Ok(());
            }
        }
    }

    fn sleep(&self) -> Duration {
        let held = self.held_since.is_some();
        if !self.consumers_to_read.is_empty() || !(held || self.to_read.is_empty()) || !self.shard.may_sleep()
        {
            return Duration::ZERO;
        }
        if held {
            return Duration::from_millis(HOLD_MS);
        }
        let stop = self.stop_at.map(|at| at.min(self.clock.mono().plus_ms(5)));
        let deadline = [self.shard.deadline(), self.accept_again_at, stop].into_iter().flatten().min();
        deadline.map_or(SLEEP_MAX, |at| at.since(self.clock.mono()).min(SLEEP_MAX))
    }

    /// `true` when the thread is to end.
    fn turn(&mut self, events: &Events) -> bool {
        let now = self.shard.read_clocks(&*self.clock);
        self.shard.begin_turn(now);
        let mut woken = false;
        for event in events {
            woken |= event.token() == WAKE;
            self.note(event);
        }
        if woken {
            self.take_commands();
        }
        if self.accept_again_at.take_if(|at| now.mono >= *at).is_some() {
            let keys: Vec<usize> = self.listeners.iter().map(|(key, _)| key).collect();
            for key in keys {
                self.accept(key);
            }
        }
        self.read_ready(now.mono);
        self.shard.finish_turn();
        self.flush();
        self.calls.flush(&self.hub.stats().io);
        while let Some((key, id)) = self.shard.pop_resumed() {
            self.queue_read(key, id);
        }
        self.stop_at.is_some_and(|at| self.try_stop(at, now.mono))
    }

    fn note(&mut self, event: &Event) {
        let key = event.token().0;
        if event.token() == WAKE {
            return;
        }
        if key >= LISTENER_BASE {
            self.accept(key - LISTENER_BASE);
            return;
        }
        let Some(link) = self.links.get_mut(key) else { return };
        let id = link.id;
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            link.readable = true;
            if link.end == End::Open && (event.is_read_closed() || event.is_error()) {
                link.end = End::Sent;
            }
            self.queue_read(key, id);
            self.note_gone(key, id);
        }
        if event.is_writable() {
            self.flush_link(key, id);
        }
    }

    /// Puts a socket in the line of those to read, if its shard takes input.
    fn queue_read(&mut self, key: usize, id: ConnId) {
        if let Some(link) = self.links.get_mut(key)
            && link.id == id
            && link.readable
            && !link.queued
            && self.shard.wants_input(id)
        {
            link.queued = true;
            if self.shard.is_consumer(id) {
                self.consumers_to_read.push_back(key);
            } else {
                self.to_read.push_back(key);
            }
        }
    }

    /// Tells the shard of a peer whose end is known although nothing of it is read now.
    fn note_gone(&mut self, key: usize, id: ConnId) {
        if self.links.get(key).is_some_and(|link| link.id == id && link.end != End::Open && !link.queued) {
            self.shard.peer_gone(id);
        }
    }

    /// Gives a consumer that is behind, but prompt, a moment to make room before publishers bring more.
    fn holds_publishers(&mut self, now: MonoTime) -> bool {
        let behind = !self.to_read.is_empty() && self.shard.consumers_are_behind();
        let since = *self.held_since.get_or_insert(now);
        if behind && now < since.plus_ms(HOLD_MS) {
            return true;
        }
        self.held_since = None;
        false
    }

    fn read_ready(&mut self, now: MonoTime) {
        if self.stop_at.is_some() {
            self.consumers_to_read.clear();
            self.to_read.clear();
            return;
        }
        for _ in 0..self.consumers_to_read.len().min(READS_MAX) {
            let Some(key) = self.consumers_to_read.pop_front() else { break };
            self.read_link(key);
        }
        if self.holds_publishers(now) {
            return;
        }
        // At least one of the others, however much the consumers brought.
        for _ in 0..self.to_read.len().min(READS_MAX) {
            let Some(key) = self.to_read.pop_front() else { break };
            self.read_link(key);
            if self.shard.staged_bytes() >= STAGED_BYTES_MAX {
                break;
            }
        }
    }

    fn read_link(&mut self, key: usize) {
        let Some(link) = self.links.get_mut(key) else { return };
        link.queued = false;
        let id = link.id;
        if !self.shard.wants_input(id) {
            return;
        }
        match link.read(&mut self.shard, &mut self.buffer, &mut self.calls) {
            Progress::Blocked => {}
            Progress::More => {
                self.queue_read(key, id);
                self.note_gone(key, id);
            }
            // It is read again when nothing waits any more.
            Progress::Ended(CloseReason::Eof, _) if self.shard.has_held_input(id) => {
                link.end = End::Seen;
                link.readable = true;
            }
            Progress::Ended(reason, detail) => {
                self.shard.eof(id, reason, &detail);
                self.drop_link(key);
                return;
            }
        }
        if self.links.get(key).is_some_and(Link::wants_write) {
            self.flush_link(key, id);
        }
    }

    fn flush(&mut self) {
        while let Some((key, id)) = self.shard.pop_dirty() {
            self.flush_link(key, id);
        }
    }

    fn flush_link(&mut self, key: usize, id: ConnId) {
        let Some(link) = self.links.get_mut(key).filter(|link| link.id == id) else {
            self.shard.forget(id);
            return;
        };
        let Some(out) = self.shard.out(id) else { return };
        let had_bytes = !out.is_empty();
        match link.write(out, &mut self.calls) {
            Progress::Ended(reason, detail) => {
                self.shard.eof(id, reason, &detail);
                self.drop_link(key);
            }
            // A closing connection gets one attempt: an answer of a few bytes always fits.
            _ if self.shard.is_closing(id) => {
                link.shut_down();
                self.drop_link(key);
            }
            _ if had_bytes => self.shard.written(id),
            _ => {}
        }
    }

    fn drop_link(&mut self, key: usize) {
        if self.links.contains(key) {
            let link = self.links.remove(key);
            self.shard.forget(link.id);
        }
    }

    fn accept(&mut self, key: usize) {
        let now = self.clock.mono();
        for _ in 0..ACCEPTS_MAX {
            if let Err(again) = self.may_accept(now) {
                self.hold_accepts(again);
                return;
            }
            let Some(listener) = self.listeners.get(key) else { return };
            let (id, tls) = (listener.id, listener.tls.clone());
            match listener.socket.accept() {
                Ok((stream, peer)) => {
                    self.rate.count();
                    self.place(Stream::Tcp(stream), peer.to_string(), id, tls);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    log::warn!("cannot accept connections: {error}");
                    self.hold_accepts(now.plus_ms(ACCEPT_RETRY_MS));
                    return;
                }
            }
        }
        // More may wait, and the edge is spent: look again in the next turn.
        self.inboxes[self.index].post(NetCommand::AcceptAgain(key));
    }

    /// Whether a connection may be taken now, or when to ask again. Those that are on their way to other threads are
    /// not counted yet: a turn may go beyond the limit by what it accepts.
    fn may_accept(&mut self, now: MonoTime) -> Result<(), MonoTime> {
        if self.hub.may_accept() { self.rate.check(now) } else { Err(now.plus_ms(STRANGERS_RETRY_MS)) }
    }

    /// Leaves all listeners alone until then.
    fn hold_accepts(&mut self, until: MonoTime) {
        self.hub.stats().io.accepts_held.fetch_add(1, Ordering::Relaxed);
        self.accept_again_at = Some(until);
    }

    /// Gives a new connection to the next thread in turn.
    fn place(&mut self, stream: Stream, peer: String, listener: u32, tls: Option<Arc<TlsAcceptor>>) {
        let target = self.next_thread % self.inboxes.len();
        self.next_thread = self.next_thread.wrapping_add(1);
        if target == self.index {
            self.adopt(stream, peer, listener, tls.as_deref());
        } else {
            self.inboxes[target].post(NetCommand::Adopt { stream, peer, listener, tls });
        }
    }

    fn adopt(&mut self, mut stream: Stream, peer: String, listener: u32, tls: Option<&TlsAcceptor>) {
        let entry = self.links.vacant_entry();
        let key = entry.key();
        let Some(id) = self.shard.open(key, peer, listener) else {
            if let Some(count) = self.refusals.count(self.clock.mono()) {
                log::warn!("connections refused since the last such line, too many are open: {count}");
            }
            return;
        };
        let registered = stream.set_nodelay().and_then(|()| {
            self.poll.registry().register(&mut stream, Token(key), Interest::READABLE | Interest::WRITABLE)
        });
        let link = registered.map_err(|error| error.to_string()).and_then(|()| {
            Link::new(stream, tls, self.tls_out_bytes_max, id).map_err(|error| error.to_string())
        });
        match link {
            Ok(link) => {
                entry.insert(link);
                self.queue_read(key, id);
            }
            Err(detail) => {
                self.shard.eof(id, CloseReason::TlsError, &detail);
                self.shard.forget(id);
            }
        }
    }

    fn take_commands(&mut self) {
        let commands = std::mem::take(&mut *self.inboxes[self.index].commands.lock());
        for command in commands {
            match command {
                NetCommand::Listen(listener) => self.add_listener(listener),
                NetCommand::CloseListener(id) => self.listeners.retain(|_, listener| listener.id != id),
                NetCommand::Adopt { stream, peer, listener, tls } => {
                    self.adopt(stream, peer, listener, tls.as_deref());
                }
                NetCommand::AcceptAgain(key) => self.accept(key),
                NetCommand::Stop { deadline } => {
                    self.listeners.clear();
                    self.stop_at = Some(deadline);
                }
            }
        }
    }

    fn add_listener(&mut self, mut listener: Listener) {
        let entry = self.listeners.vacant_entry();
        let token = Token(LISTENER_BASE + entry.key());
        match self.poll.registry().register(&mut listener.socket, token, Interest::READABLE) {
            Ok(()) => {
                entry.insert(listener);
            }
            Err(error) => log::error!("cannot watch listener {}: {error}", listener.id),
        }
    }

    /// Ends when nothing waits for a commit any more, or the time is up.
    fn try_stop(&mut self, at: MonoTime, now: MonoTime) -> bool {
        if self.shard.has_pending_acks() && now < at {
            return false;
        }
        self.shard.close_all();
        self.shard.finish_turn();
        self.flush();
        for (_, link) in &mut self.links {
            link.shut_down();
        }
        true
    }
}
