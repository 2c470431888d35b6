//! Starting and stopping the I/O threads.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use edgehub_engine::{Hub, IoStats, Waker};
use edgehub_types::Clock;
use mio::Poll;
use parking_lot::Mutex;

use crate::error::NetError;
use crate::io_thread::{Inbox, IoThread, NetCommand, WAKE};
use crate::listener::{Listener, bind};
use crate::slice::ask_for_short_slices;
use crate::stream::Stream;
use crate::tls::{TlsAcceptor, TlsIdentity, TlsOptions};
use crate::trimmer::Trimmer;

/// Most threads that are ever useful: beyond, hand-overs cost more than they bring.
const THREADS_MAX: usize = 4;

/// Options of the I/O threads.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// Bytes read from one socket in one go; one buffer per thread.
    pub read_bytes: usize,
    /// Bytes that a TLS session keeps while its socket takes none. Full: the rest stays with the connection.
    pub tls_out_bytes_max: usize,
    /// Connections that wait in the kernel to be accepted.
    pub listen_backlog: u32,
    /// Connections that all listeners take in a second, and at once after a quiet second; 0 for any number. Full:
    /// the others wait in the kernel.
    pub connects_per_s: u32,
}

impl Default for NetConfig {
    /// For a gateway with some memory to spend; see `docs/memory.md`.
    fn default() -> Self {
        Self { read_bytes: 256 * 1024, tls_out_bytes_max: 64 * 1024, listen_backlog: 200, connects_per_s: 0 }
    }
}

impl NetConfig {
    /// For a small board. The read buffer takes a whole packet here too: with a smaller one every publisher of large
    /// messages keeps a part of one, and that is more memory than the one buffer saves.
    pub fn small() -> Self {
        Self { tls_out_bytes_max: 16 * 1024, ..Self::default() }
    }
}

/// The number of threads for a wish: 0 is one, until a measured load asks for more. Never more than the
/// cores that the process may use.
pub(crate) fn thread_count(wish: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    wish.clamp(1, THREADS_MAX).min(cores.max(1))
}

/// A panic or a failed poll ends the thread, not silently: its clients would wait for ever.
fn run_guarded(thread: IoThread, hub: &Hub) {
    match catch_unwind(AssertUnwindSafe(|| thread.run())) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => hub.fail(&format!("an I/O thread ended, polling failed: {error}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
            hub.fail(&format!("an I/O thread panicked: {text}"));
        }
    }
}

struct InboxWaker {
    inbox: Arc<Inbox>,
    totals: Arc<IoStats>,
}

impl Waker for InboxWaker {
    fn wake(&self) {
        self.totals.wakes.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.inbox.waker.wake() {
            log::error!("cannot wake an I/O thread: {error}");
        }
    }
}

/// The running I/O threads.
pub struct IoThreads {
    hub: Arc<Hub>,
    inboxes: Vec<Arc<Inbox>>,
    handles: Mutex<Vec<JoinHandle<()>>>,
    trimmer: Trimmer,
    clock: Arc<dyn Clock>,
    config: NetConfig,
    next_listener: AtomicU32,
    /// Of the listeners with TLS, by their numbers.
    acceptors: Mutex<HashMap<u32, Arc<TlsAcceptor>>>,
    next_adopted: AtomicUsize,
}

impl IoThreads {
    /// How many shards a hub needs for a wish of `io_threads`, 0 for the default.
    pub fn shards_for(io_threads: usize) -> usize {
        thread_count(io_threads)
    }

    /// Starts one thread per shard of the hub.
    ///
    /// # Errors
    /// [`NetError::Thread`].
    pub fn start(hub: &Arc<Hub>, config: NetConfig, clock: Arc<dyn Clock>) -> Result<Self, NetError> {
        let mut polls = Vec::new();
        let mut inboxes = Vec::new();
        for index in 0.. {
            let Some(mailbox) = hub.mailbox(index) else { break };
            let poll = Poll::new()?;
            let waker = mio::Waker::new(poll.registry(), WAKE)?;
            let inbox = Arc::new(Inbox { commands: Mutex::default(), waker });
            let totals = hub.stats().io.clone();
            mailbox.set_waker(Arc::new(InboxWaker { inbox: inbox.clone(), totals }));
            polls.push(poll);
            inboxes.push(inbox);
        }
        let mut handles = Vec::new();
        for (index, poll) in polls.into_iter().enumerate() {
            let (inboxes, hub, clock) = (inboxes.clone(), hub.clone(), clock.clone());
            let config = config.clone();
            let run = move || {
                if let Err(error) = ask_for_short_slices() {
                    log::debug!("I/O threads get no shorter time slices: {error}");
                }
                let thread = IoThread::new(poll, inboxes, index, hub.clone(), clock, &config);
                run_guarded(thread, &hub);
            };
            handles.push(std::thread::Builder::new().name(format!("edgehub-io-{index}")).spawn(run)?);
        }
        let trimmer = Trimmer::start(hub, &clock)?;
        Ok(Self {
            hub: hub.clone(),
            inboxes,
            handles: Mutex::new(handles),
            trimmer,
            clock,
            config,
            next_listener: AtomicU32::new(1),
            acceptors: Mutex::default(),
            next_adopted: AtomicUsize::new(0),
        })
    }

    /// Opens a listener; `port` 0 is any free port. Its number and port.
    ///
    /// # Errors
    /// [`NetError::Listen`], [`NetError::Certificate`], [`NetError::Stopped`].
    pub fn listen(&self, host: &str, port: u16, tls: Option<&TlsOptions>) -> Result<(u32, u16), NetError> {
        if self.handles.lock().is_empty() {
            return Err(NetError::Stopped);
        }
        let tls = tls.map(TlsAcceptor::new).transpose()?.map(Arc::new);
        let (socket, port) = bind(host, port, self.config.listen_backlog)?;
        let id = self.next_listener.fetch_add(1, Ordering::Relaxed);
        if let Some(tls) = &tls {
            self.acceptors.lock().insert(id, tls.clone());
        }
        self.inboxes[0].post(NetCommand::Listen(Listener { id, socket, tls }));
        Ok((id, port))
    }

    /// Replaces the certificate of a TLS listener. Connections stay, and keep the one that they began with.
    ///
    /// # Errors
    /// [`NetError::Certificate`], the old one stays; [`NetError::NoTlsListener`].
    pub fn set_tls(&self, listener: u32, identity: &TlsIdentity) -> Result<(), NetError> {
        let acceptor = self.acceptors.lock().get(&listener).cloned();
        acceptor.ok_or(NetError::NoTlsListener { listener })?.replace(identity)
    }

    /// Drives one end of a connected pair of stream sockets as a plain MQTT connection. Whoever keeps the other
    /// end moves bytes and nothing else; the socket's own buffers hold it back. The connection counts for the
    /// limits like any other; beyond them, that on connections without session included, it is closed at once.
    ///
    /// `peer` is the client's address for the log, `listener` what the control plane is told.
    ///
    /// # Errors
    /// [`NetError::Adopt`], [`NetError::Stopped`].
    pub fn adopt(&self, stream: UnixStream, peer: String, listener: u32) -> Result<(), NetError> {
        if self.handles.lock().is_empty() {
            return Err(NetError::Stopped);
        }
        let stream = Stream::of_pair(stream).map_err(NetError::Adopt)?;
        if !self.hub.may_accept() {
            self.hub.stats().connections_refused.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let turn = self.next_adopted.fetch_add(1, Ordering::Relaxed);
        let target = &self.inboxes[turn % self.inboxes.len()];
        target.post(NetCommand::Adopt { stream, peer, listener, tls: None });
        Ok(())
    }

    /// Closes a listener; its connections live on.
    pub fn close_listener(&self, id: u32) {
        self.acceptors.lock().remove(&id);
        self.inboxes[0].post(NetCommand::CloseListener(id));
    }

    /// Finishes what is in flight for at most `drain_ms`, closes all sessions and ends the threads.
    pub fn stop(&self, drain_ms: u64) {
        let deadline = self.clock.mono().plus_ms(drain_ms);
        let handles = std::mem::take(&mut *self.handles.lock());
        if handles.is_empty() {
            return;
        }
        self.trimmer.stop();
        for inbox in &self.inboxes {
            inbox.post(NetCommand::Stop { deadline });
        }
        for handle in handles {
            if handle.join().is_err() {
                log::error!("an I/O thread ended by a panic");
            }
        }
    }
}
