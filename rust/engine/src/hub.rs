//! What all shards share: routes, endpoints, the store, the way to the control plane and between threads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use edgehub_router::{RouteDecl, RouteError, RouteSet};
use edgehub_store::{LossCause, Queue, QueueId, QueueListener, Store, StoreError};
use parking_lot::{Mutex, RwLock};

use crate::config::EngineConfig;
use crate::control::ControlEvent;
use crate::control_queue::ControlQueue;
use crate::endpoint::{Endpoint, UPSTREAM_ID};
use crate::ids::ConnId;
use crate::mailbox::{Command, Mailbox};
use crate::reclaim::Reclaim;
use crate::routing::RoutingTable;
use crate::stats::Stats;
use crate::upstream::Dispatcher;

/// Passes the store's word on ready queues to the hub, as long as there is one.
struct Ready(Weak<Hub>);

impl QueueListener for Ready {
    fn ready(&self, queue: QueueId) {
        if let Some(hub) = self.0.upgrade() {
            hub.queue_ready(queue);
        }
    }

    fn pressure_ended(&self) {
        if let Some(hub) = self.0.upgrade() {
            hub.mailboxes.iter().for_each(|mailbox| mailbox.post(|mail| mail.store_relieved = true));
        }
    }
}

/// Why routes were not replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoutesError {
    /// Routes that do not compile; all errors of all routes.
    #[error("{} error(s) in routes", .0.len())]
    Compile(Vec<RouteError>),
    /// A queue could not be opened.
    #[error("cannot open a queue for the routes: {0}")]
    Store(#[from] StoreError),
}

#[derive(Default)]
struct Endpoints {
    by_id: HashMap<String, Arc<Endpoint>>,
    by_queue: HashMap<QueueId, Arc<Endpoint>>,
    /// Connections of modules that wait for messages, by endpoint prefix, the latest last: it gets them. There
    /// is more than one only between a take-over and the end of the older connection.
    consumers: HashMap<String, Vec<ConnId>>,
}

/// Endpoints that no route uses any more, removed when every shard works with the new routes.
struct Removal {
    /// Of the routes that do not use them.
    version: u64,
    endpoints: Vec<String>,
    shards_left: usize,
}

/// The shared part of the engine.
pub struct Hub {
    pub(crate) config: EngineConfig,
    pub(crate) store: Store,
    pub(crate) routing: ArcSwap<RoutingTable>,
    pub(crate) control: ControlQueue,
    pub(crate) mailboxes: Vec<Mailbox>,
    pub(crate) stats: Stats,
    /// Connections without session, of all shards.
    pub(crate) unauthenticated: AtomicUsize,
    pub(crate) reclaim: Reclaim,
    upstream: Mutex<Dispatcher>,
    upstream_signalled: AtomicBool,
    failure_told: AtomicBool,
    endpoints: RwLock<Endpoints>,
    /// Held while routes are replaced and while endpoints are removed: an endpoint that comes back is not
    /// removed after its queue was opened again.
    removal: Mutex<Option<Removal>>,
}

impl Hub {
    /// Takes over an opened store and the queues it recovered. Without shards nobody can connect; routes, the
    /// store and the way upstream work.
    pub fn new(config: EngineConfig, store: Store, shards: usize) -> Arc<Self> {
        let upstream = Mutex::new(Dispatcher::new(config.upstream_window_msgs));
        let hub = Arc::new(Self {
            routing: ArcSwap::from_pointee(RoutingTable::default()),
            control: ControlQueue::new(config.control_queue_max, config.control_queue_bytes_max),
            mailboxes: (0..shards).map(|_| Mailbox::default()).collect(),
            stats: Stats::default(),
            unauthenticated: AtomicUsize::new(0),
            reclaim: Reclaim::new(shards.max(1)),
            upstream,
            upstream_signalled: AtomicBool::new(false),
            failure_told: AtomicBool::new(false),
            endpoints: RwLock::default(),
            removal: Mutex::new(None),
            config,
            store,
        });
        for queue in hub.store.queues() {
            hub.register_queue(queue);
        }
        hub.store.set_listener(Arc::new(Ready(Arc::downgrade(&hub))));
        hub
    }

    /// Options in force.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Events for the control plane.
    pub fn control(&self) -> &ControlQueue {
        &self.control
    }

    /// Totals.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Connections without session, those in a TLS handshake included.
    pub fn unauthenticated(&self) -> usize {
        self.unauthenticated.load(Ordering::Relaxed)
    }

    /// Whether there may be one connection more without session. If not, the driver leaves new ones with the kernel
    /// and asks again some time later. Threads that ask at once may go beyond the limit by one each.
    pub fn may_accept(&self) -> bool {
        self.unauthenticated() < self.config.unauthenticated_max
    }

    /// Memory that is kept for later use.
    pub fn reclaim(&self) -> &Reclaim {
        &self.reclaim
    }

    /// Mailbox of a shard.
    pub fn mailbox(&self, shard: usize) -> Option<&Mailbox> {
        self.mailboxes.get(shard)
    }

    /// Sends a request to the shard that owns `conn`.
    pub fn command(&self, conn: ConnId, command: Command) {
        if let Some(mailbox) = self.mailboxes.get(conn.shard()) {
            mailbox.post(|mail| mail.commands.push(command));
        }
    }

    /// Sends requests to the shards that own their connections, in order, and wakes each shard once at most.
    pub fn commands(&self, commands: Vec<(ConnId, Command)>) {
        let mut by_shard: Vec<Vec<Command>> = self.mailboxes.iter().map(|_| Vec::new()).collect();
        for (conn, command) in commands {
            if let Some(own) = by_shard.get_mut(conn.shard()) {
                own.push(command);
            }
        }
        for (mailbox, mut own) in self.mailboxes.iter().zip(by_shard).filter(|(_, own)| !own.is_empty()) {
            mailbox.post(|mail| mail.commands.append(&mut own));
        }
    }

    /// Sends a request to every shard.
    pub fn command_all(&self, make: impl Fn() -> Command) {
        for mailbox in &self.mailboxes {
            mailbox.post(|mail| mail.commands.push(make()));
        }
    }

    /// The routes in force.
    pub fn routing_table(&self) -> Arc<RoutingTable> {
        self.routing.load_full()
    }

    /// Replaces all routes at once, or none. Endpoints that no route uses any more are removed with what
    /// waits in them (store section 1.7).
    ///
    /// # Errors
    /// [`RoutesError`]; the routes in force stay.
    pub fn set_routes(&self, routes: &[RouteDecl], default_ttl_secs: i64) -> Result<(), RoutesError> {
        let compiled =
            RouteSet::compile(&self.config.edge_device_id, routes).map_err(RoutesError::Compile)?;
        let mut removal = self.removal.lock();
        let version = self.routing.load().version() + 1;
        let table = RoutingTable::build(version, compiled, default_ttl_secs, |endpoint, priority| {
            self.open_queue(endpoint, priority)
        })?;
        let unused = self.unused_endpoints(&table);
        self.routing.store(Arc::new(table));
        if self.mailboxes.is_empty() {
            // Nobody works with the old routes.
            for id in &unused {
                self.remove_endpoint(id);
            }
            return Ok(());
        }
        *removal = Some(Removal { version, endpoints: unused, shards_left: self.mailboxes.len() });
        drop(removal);
        self.command_all(|| Command::RoutesChanged);
        Ok(())
    }

    fn unused_endpoints(&self, table: &RoutingTable) -> Vec<String> {
        let endpoints = self.endpoints.read();
        endpoints.by_id.keys().filter(|id| !table.uses_endpoint(id)).cloned().collect()
    }

    fn open_queue(&self, endpoint: &str, priority: u32) -> Result<QueueId, StoreError> {
        let queue = self.store.open_queue(endpoint, priority)?;
        let id = queue.id();
        self.register_queue(queue);
        Ok(id)
    }

    fn register_queue(&self, queue: Queue) {
        let mut endpoints = self.endpoints.write();
        let endpoint = endpoints
            .by_id
            .entry(queue.endpoint().to_owned())
            .or_insert_with(|| Arc::new(Endpoint::new(queue.endpoint())))
            .clone();
        endpoints.by_queue.insert(queue.id(), endpoint.clone());
        endpoint.add_queue(queue);
    }

    /// Called by each shard once for every version that it works with; the last one removes what the newest
    /// version leaves unused.
    pub(crate) fn shard_saw_routes(&self, version: u64) {
        let mut removal = self.removal.lock();
        let Some(pending) = removal.as_mut().filter(|pending| pending.version == version) else { return };
        pending.shards_left = pending.shards_left.saturating_sub(1);
        if pending.shards_left > 0 {
            return;
        }
        for id in removal.take().map(|removal| removal.endpoints).unwrap_or_default() {
            self.remove_endpoint(&id);
        }
    }

    fn remove_endpoint(&self, id: &str) {
        {
            let mut endpoints = self.endpoints.write();
            if let Some(endpoint) = endpoints.by_id.remove(id) {
                endpoint.retire();
            }
            endpoints.by_queue.retain(|_, endpoint| endpoint.id() != id);
        }
        match self.store.remove_endpoint(id) {
            Ok(dropped) => self.stats.dropped.add(&["endpoint_removed", "", ""], dropped),
            Err(error) => log::error!("cannot remove the queues of {id}: {error}"),
        }
    }

    /// Makes `conn` the consumer of the module with this prefix, in place of an earlier one.
    pub(crate) fn take_over(&self, prefix: &str, conn: ConnId) {
        let mut endpoints = self.endpoints.write();
        let consumers = endpoints.consumers.entry(prefix.to_owned()).or_default();
        consumers.retain(|other| *other != conn);
        consumers.push(conn);
    }

    /// The endpoints whose messages belong to the module with this prefix, with `conn` as their consumer;
    /// `None` when a newer connection took over.
    pub(crate) fn attach(&self, prefix: &str, conn: ConnId) -> Option<Vec<Arc<Endpoint>>> {
        let endpoints = self.endpoints.read();
        if endpoints.consumers.get(prefix)?.last() != Some(&conn) {
            return None;
        }
        let found: Vec<_> = endpoints
            .by_id
            .values()
            .filter(|endpoint| !endpoint.is_upstream() && endpoint.id().starts_with(prefix))
            .cloned()
            .collect();
        for endpoint in &found {
            endpoint.attach(conn);
        }
        Some(found)
    }

    /// Ends the consumption by `conn`. One that had to give way to it, but lives, is the consumer again.
    pub(crate) fn detach(&self, prefix: &str, conn: ConnId, bound: &[Arc<Endpoint>]) {
        let mut endpoints = self.endpoints.write();
        let Some(consumers) = endpoints.consumers.get_mut(prefix) else { return };
        let was_consumer = consumers.pop_if(|latest| *latest == conn).is_some();
        consumers.retain(|other| *other != conn);
        let latest = consumers.last().copied();
        if latest.is_none() {
            endpoints.consumers.remove(prefix);
        }
        for endpoint in bound {
            endpoint.detach(conn);
        }
        drop(endpoints);
        if let Some(latest) = latest.filter(|_| was_consumer) {
            self.command(latest, Command::BindInputs { conn: latest });
        }
    }

    /// The connection that a queue with something ready is to be drained to.
    pub(crate) fn consumer_of(&self, queue: QueueId) -> Option<ConnId> {
        self.endpoints.read().by_queue.get(&queue)?.consumer()
    }

    /// Called by the store, on any thread, when a queue has something to lease.
    fn queue_ready(&self, queue: QueueId) {
        let endpoint = self.endpoints.read().by_queue.get(&queue).cloned();
        let Some(endpoint) = endpoint else { return };
        if endpoint.is_upstream() {
            self.signal_upstream();
        } else if let Some(conn) = endpoint.consumer()
            && let Some(mailbox) = self.mailboxes.get(conn.shard())
        {
            mailbox.post(|mail| mail.ready.push(queue));
        }
    }

    fn signal_upstream(&self) {
        if !self.upstream_signalled.swap(true, Ordering::AcqRel) {
            // Never dropped: without it the control plane would not look. At most one is in the queue.
            self.control.push_always(ControlEvent::UpstreamReady);
        }
    }

    /// Leases and encodes messages for the parent hub: at most one outstanding batch per sender.
    pub fn upstream_take(
        &self,
        batch_msgs_max: usize,
        batch_bytes_max: usize,
        senders_max: usize,
    ) -> Result<Vec<crate::upstream::UpstreamBatch>, StoreError> {
        self.upstream_signalled.store(false, Ordering::Release);
        let Some(endpoint) = self.upstream_endpoint() else { return Ok(Vec::new()) };
        let limits = crate::upstream::TakeLimits { batch_msgs_max, batch_bytes_max, senders_max };
        self.upstream.lock().take(&endpoint, limits, self.store.now(), &self.stats)
    }

    /// Ends an outstanding batch.
    pub fn upstream_settle(&self, token: u64, outcome: crate::upstream::Outcome) {
        self.upstream.lock().settle(token, outcome, &self.stats);
    }

    /// Returns every outstanding batch to its sender's line, in order; or to the queues, if the store may have to drop
    /// them to make room.
    pub fn upstream_link_down(&self) {
        let mut upstream = self.upstream.lock();
        if self.store.quota().is_some_and(|quota| quota.policy.drops()) {
            upstream.release();
        } else {
            upstream.link_down();
        }
    }

    fn upstream_endpoint(&self) -> Option<Arc<Endpoint>> {
        self.endpoints.read().by_id.get(UPSTREAM_ID).cloned()
    }

    /// Every queue with its length: endpoint, priority, messages.
    pub fn queue_lengths(&self) -> Vec<(String, u32, u64)> {
        self.store
            .queues()
            .iter()
            .map(|queue| (queue.endpoint().to_owned(), queue.priority(), queue.len()))
            .collect()
    }

    /// Endpoint, priority, cause and number of the messages that left a queue undelivered, where there are some.
    /// Endpoints that are removed are not in it.
    pub fn queue_losses(&self) -> Vec<(String, u32, &'static str, u64)> {
        let mut rows = Vec::new();
        for queue in self.store.queues() {
            let lost = LossCause::ALL.map(|cause| (cause.name(), queue.lost(cause)));
            for (cause, count) in lost.into_iter().filter(|(_, count)| *count > 0) {
                rows.push((queue.endpoint().to_owned(), queue.priority(), cause, count));
            }
        }
        rows
    }

    pub(crate) fn tell_store_failed(&self, error: &StoreError) {
        self.fail(&error.to_string());
    }

    /// Tells the control plane, once, that nothing is acknowledged any more and the process should end.
    pub fn fail(&self, detail: &str) {
        if !self.failure_told.swap(true, Ordering::AcqRel) {
            self.control.push_always(ControlEvent::StoreFailed { detail: detail.to_owned() });
        }
    }
}
