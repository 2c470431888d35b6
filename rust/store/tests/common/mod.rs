//! A store on a folder that can fail, on virtual time, without a thread.
#![allow(dead_code)] // each test file uses its own part
#![allow(clippy::unwrap_used)] // a test may panic

pub mod cases;
pub mod promise;
pub mod script;

use std::sync::Arc;

use edgehub_store::{
    Batch, Commit, CommitWaiter, Leased, Media, Queue, QueueId, QueueListener, Recovery, SpillConfig, Store,
    StoreConfig, StoreError, SyncPolicy, Target,
};
use edgehub_testkit::{FaultyStorage, Owner, VirtualClock};
use edgehub_types::{Storage, UnixMs};
use parking_lot::Mutex;

/// Whose runs of seeds these are.
pub const OWNER: Owner = Owner { package: "edgehub-store", folder: "rust/store/tests", prefix: "STORE" };
pub const NEVER: UnixMs = UnixMs::MAX;
pub const START: UnixMs = UnixMs(1_750_000_000_000);

/// Remembers what it was told.
#[derive(Default)]
pub struct Tickets {
    pub committed: Mutex<Vec<u64>>,
    pub failed: Mutex<Vec<u64>>,
}

impl CommitWaiter for Tickets {
    fn committed(&self, ticket: u64) {
        self.committed.lock().push(ticket);
    }

    fn failed(&self, ticket: u64, _error: &StoreError) {
        self.failed.lock().push(ticket);
    }
}

/// Remembers which queues became ready.
#[derive(Default)]
pub struct Ready {
    pub queues: Mutex<Vec<QueueId>>,
    pub relieved: Mutex<u32>,
}

impl QueueListener for Ready {
    fn ready(&self, queue: QueueId) {
        self.queues.lock().push(queue);
    }

    fn pressure_ended(&self) {
        *self.relieved.lock() += 1;
    }
}

pub fn config(sync: SyncPolicy) -> StoreConfig {
    StoreConfig {
        sync,
        segment_bytes: 4096,
        tail_cache_bytes: 1000,
        spill: NO_SPILL,
        background_thread: false,
        ..StoreConfig::small()
    }
}

/// Everything stays in the journal.
pub const NO_SPILL: SpillConfig = SpillConfig {
    after_segments: usize::MAX,
    index_entries: usize::MAX,
    after_ms: 0,
    file_bytes: 4096,
    block_bytes: 1000,
    cache_bytes: 2000,
};

/// Everything that is durable goes to files at once.
pub const SPILL_ALL: SpillConfig = SpillConfig { after_segments: 0, index_entries: 0, ..NO_SPILL };

/// A store with all that is needed to drive it.
pub struct Rig {
    pub disk: FaultyStorage,
    pub clock: Arc<VirtualClock>,
    pub store: Store,
    pub report: Recovery,
    pub tickets: Arc<Tickets>,
    pub waiter: Arc<dyn CommitWaiter>,
    pub config: StoreConfig,
    batch: Batch,
    next_ticket: u64,
}

impl Rig {
    pub fn new(config: StoreConfig) -> Self {
        Self::on(FaultyStorage::new(), config, Arc::new(VirtualClock::at(START)))
    }

    pub fn on(disk: FaultyStorage, config: StoreConfig, clock: Arc<VirtualClock>) -> Self {
        Self::try_on(disk, config, clock).unwrap()
    }

    pub fn try_on(
        disk: FaultyStorage,
        config: StoreConfig,
        clock: Arc<VirtualClock>,
    ) -> Result<Self, StoreError> {
        Self::with_media(Media::Disk(Arc::new(disk.clone())), disk, config, clock)
    }

    pub fn in_memory(config: StoreConfig) -> Self {
        Self::in_memory_at(config, Arc::new(VirtualClock::at(START)))
    }

    pub fn in_memory_at(config: StoreConfig, clock: Arc<VirtualClock>) -> Self {
        Self::with_media(Media::Memory, FaultyStorage::new(), config, clock).unwrap()
    }

    fn with_media(
        media: Media,
        disk: FaultyStorage,
        config: StoreConfig,
        clock: Arc<VirtualClock>,
    ) -> Result<Self, StoreError> {
        let (store, report) = Store::open(media, config.clone(), Arc::<VirtualClock>::clone(&clock))?;
        let tickets = Arc::new(Tickets::default());
        let waiter: Arc<dyn CommitWaiter> = Arc::<Tickets>::clone(&tickets);
        Ok(Self { disk, clock, store, report, tickets, waiter, config, batch: Batch::new(), next_ticket: 0 })
    }

    /// The same folder after the end of the process.
    pub fn killed(self) -> Self {
        let disk = self.disk.after_kill();
        Self::on(disk, self.config, self.clock)
    }

    /// The time of the store, in which messages expire.
    pub fn now(&self) -> UnixMs {
        self.store.now()
    }

    /// Lets time pass and the store work.
    pub fn pass(&self, ms: u64) {
        self.clock.advance_ms(ms);
        self.store.tick();
    }

    pub fn try_append(&mut self, targets: &[Target], payloads: &[&[u8]]) -> Result<Commit, StoreError> {
        self.batch.clear();
        for payload in payloads {
            self.batch.push(targets, payload.len(), |out| out.extend_from_slice(payload))?;
        }
        self.append_batch()
    }

    fn append_batch(&mut self) -> Result<Commit, StoreError> {
        self.next_ticket += 1;
        self.store.append(&mut self.batch, &self.waiter, self.next_ticket)
    }

    /// [`Rig::try_append`] of messages whose senders wait for nothing.
    pub fn try_append_unawaited(
        &mut self,
        targets: &[Target],
        payloads: &[&[u8]],
    ) -> Result<Commit, StoreError> {
        self.batch.clear();
        for payload in payloads {
            self.batch.push_unawaited(targets, payload.len(), |out| out.extend_from_slice(payload))?;
        }
        self.append_batch()
    }

    /// The ticket of the last batch that [`Rig::try_append`] was given.
    pub fn ticket(&self) -> u64 {
        self.next_ticket
    }

    /// Appends one batch of messages that never expire and has it committed.
    pub fn append(&mut self, queues: &[&Queue], payloads: &[&[u8]]) {
        self.append_until(queues, payloads, NEVER);
    }

    pub fn append_until(&mut self, queues: &[&Queue], payloads: &[&[u8]], expires_at: UnixMs) {
        let targets: Vec<_> = queues.iter().map(|queue| Target { queue: queue.id(), expires_at }).collect();
        if self.try_append(&targets, payloads).unwrap() == Commit::Pending {
            self.store.tick();
        }
    }
}

/// A message as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    pub seq: u64,
    pub epoch: u32,
    pub redelivered: bool,
    pub expires_at: UnixMs,
    pub payload: Vec<u8>,
}

impl From<Leased<'_>> for Got {
    fn from(leased: Leased<'_>) -> Self {
        let Leased { seq, epoch, redelivered, expires_at, payload } = leased;
        Self { seq, epoch, redelivered, expires_at, payload: payload.to_vec() }
    }
}

/// Leases at most `max` messages.
pub fn lease(queue: &Queue, now: UnixMs, max: usize) -> Vec<Got> {
    let mut got = Vec::new();
    let count = queue.lease(now, max, usize::MAX, |leased| {
        got.push(leased.into());
        true
    });
    assert_eq!(count.unwrap(), got.len());
    got
}

pub fn payloads(got: &[Got]) -> Vec<&[u8]> {
    got.iter().map(|got| &got.payload[..]).collect()
}

pub fn seqs(got: &[Got]) -> Vec<u64> {
    got.iter().map(|got| got.seq).collect()
}

/// Leases and acknowledges everything.
pub fn drain(queue: &Queue, now: UnixMs) -> Vec<Got> {
    let got = lease(queue, now, usize::MAX);
    for message in &got {
        queue.ack(message.seq, message.epoch);
    }
    got
}

/// Batches of a folder with a backlog, and messages in each.
pub const BATCHES: u8 = 24;
pub const BATCH_MSGS: usize = 3;
/// Messages of its queue "b" that are acknowledged; of "a" none is.
pub const DONE: usize = 10;

/// A folder with a backlog in several segments, closed in order.
pub fn backlog_folder(segment_bytes: u32) -> FaultyStorage {
    let mut rig = Rig::new(StoreConfig { segment_bytes, ..config(SyncPolicy::Group) });
    let (a, b) = (rig.store.open_queue("a", 0).unwrap(), rig.store.open_queue("b", 3).unwrap());
    for n in 0..BATCHES {
        let bodies: Vec<_> = (0..BATCH_MSGS as u8).map(|k| vec![n * 3 + k; 150 + usize::from(n)]).collect();
        let bodies: Vec<_> = bodies.iter().map(|body| &body[..]).collect();
        rig.append(&[&a, &b], &bodies);
    }
    for message in lease(&b, rig.now(), DONE) {
        b.ack(message.seq, message.epoch);
    }
    rig.store.close().unwrap();
    rig.disk.after_kill()
}

/// The segments of a folder by name.
pub fn segments(disk: &FaultyStorage) -> Vec<(String, Vec<u8>)> {
    let mut names: Vec<_> = disk.list().unwrap().into_iter().filter(|name| name.contains(".seg")).collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), disk.content(&name).unwrap())).collect()
}
