//! This project's store.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use edgehub_store::{
    Batch, CommitWaiter, FileStorage, Media, Queue, SpillConfig, Store, StoreConfig, StoreError, SyncPolicy,
    Target,
};
use edgehub_types::{Clock, MonoTime, UnixMs};
use parking_lot::{Condvar, Mutex};

use crate::BenchError;
use crate::contender::{Contender, Mode, OpenOptions};
use crate::meter::{now_ns, unix_ms};
use crate::payload::Payloads;
use crate::report::Kept;

const INTERVAL_MS: u64 = 100;
/// A store that takes nothing for so long takes nothing any more: nobody consumes while a scenario appends.
const RETRIES_MAX: u32 = 10_000;
const RETRY: Duration = Duration::from_millis(1);

/// Old messages come to where they stay in steps. After so long without one, there will be no more.
const REST_STEP: Duration = Duration::from_millis(250);
const REST_STEPS_MAX: u32 = 120;

struct SystemClock;

impl Clock for SystemClock {
    fn mono(&self) -> MonoTime {
        MonoTime(now_ns() / 1_000_000)
    }

    fn unix(&self) -> UnixMs {
        UnixMs(unix_ms())
    }
}

/// How far commits have come. A ticket is the number of messages up to the end of its batch.
#[derive(Default)]
struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    committed: u64,
    wanted: Option<u64>,
    failure: Option<String>,
}

impl CommitWaiter for Progress {
    fn committed(&self, ticket: u64) {
        let mut state = self.state.lock();
        state.committed = ticket;
        if state.wanted.is_some_and(|wanted| ticket >= wanted) {
            state.wanted = None;
            self.changed.notify_one();
        }
    }

    fn failed(&self, _ticket: u64, error: &StoreError) {
        self.state.lock().failure = Some(error.to_string());
        self.changed.notify_one();
    }
}

impl Progress {
    /// Waits until so many messages are committed.
    fn wait_for(&self, messages: u64) -> Result<(), BenchError> {
        let mut state = self.state.lock();
        while state.failure.is_none() && state.committed < messages {
            state.wanted = Some(messages);
            self.changed.wait(&mut state);
        }
        state.failure.clone().map_or(Ok(()), |reason| {
            Err(BenchError::Contender { contender: "edgehub", action: "commit", reason })
        })
    }
}

/// The store with its queues.
pub struct Edgehub {
    store: Store,
    queues: Vec<Queue>,
    targets: Vec<Target>,
    batch: Batch,
    seqs: Vec<u64>,
    progress: Arc<Progress>,
    waiter: Arc<dyn CommitWaiter>,
    appended: u64,
    /// `None` unless the mode is group.
    outstanding_max: Option<u64>,
    /// With more messages than this in its index, the store moves some to files.
    unspilled_max: u64,
}

impl Edgehub {
    /// Opens the store with the settings of a gateway.
    ///
    /// # Errors
    /// [`BenchError::Store`].
    pub fn open(folder: &Path, options: OpenOptions) -> Result<Self, BenchError> {
        let sync = match options.mode {
            Mode::Group => SyncPolicy::Group,
            Mode::Interval => SyncPolicy::Interval { interval_ms: INTERVAL_MS },
            _ => SyncPolicy::None,
        };
        let media = Media::Disk(Arc::new(FileStorage::open(folder)?));
        let mut config = StoreConfig { sync, ..StoreConfig::default() };
        if options.all_is_old {
            config.spill = SpillConfig { after_segments: 0, index_entries: 0, after_ms: 0, ..config.spill };
        }
        let unspilled_max = config.spill.index_entries as u64;
        let (store, _) = Store::open(media, config, Arc::new(SystemClock))?;
        let queues = (0..options.endpoints)
            .map(|endpoint| store.open_queue(&format!("endpoint{endpoint}"), 0))
            .collect::<Result<Vec<_>, _>>()?;
        let targets = queues.iter().map(|queue| Target { queue: queue.id(), expires_at: UnixMs::MAX });
        let targets = targets.collect();
        let progress = Arc::new(Progress::default());
        let waiter: Arc<dyn CommitWaiter> = Arc::<Progress>::clone(&progress);
        let outstanding_max = (options.mode == Mode::Group).then_some(options.outstanding_max);
        let (batch, seqs) = (Batch::new(), Vec::new());
        Ok(Self {
            store,
            queues,
            targets,
            batch,
            seqs,
            progress,
            waiter,
            appended: 0,
            outstanding_max,
            unspilled_max,
        })
    }

    /// Appends messages to the first queue alone that live until `expires_at`, in the time of the store.
    ///
    /// # Errors
    /// [`BenchError::Store`].
    pub fn append_until(
        &mut self,
        numbers: Range<u64>,
        payloads: &Payloads,
        expires_at: UnixMs,
    ) -> Result<(), BenchError> {
        let Some(target) = self.targets.first().map(|target| Target { expires_at, ..*target }) else {
            return Ok(());
        };
        for number in numbers {
            self.batch.push(&[target], payloads.bytes(), |out| payloads.write(number, out))?;
        }
        self.appended += self.batch.len_msgs() as u64;
        self.append_batch()
    }

    /// The time of the store.
    pub fn now(&self) -> UnixMs {
        self.store.now()
    }

    /// Messages that expired.
    pub fn expired(&self) -> u64 {
        self.store.stats().expired
    }

    fn append_batch(&mut self) -> Result<(), BenchError> {
        let mut tries = 0;
        while let Err(error) = self.store.append(&mut self.batch, &self.waiter, self.appended) {
            tries += 1;
            if !error.is_retryable() || tries > RETRIES_MAX {
                return Err(error.into());
            }
            sleep(RETRY);
        }
        Ok(())
    }
}

impl Contender for Edgehub {
    fn append(&mut self, numbers: Range<u64>, payloads: &Payloads) -> Result<(), BenchError> {
        for number in numbers {
            self.batch.push(&self.targets, payloads.bytes(), |out| payloads.write(number, out))?;
        }
        let count = self.batch.len_msgs() as u64;
        if let Some(max) = self.outstanding_max {
            self.progress.wait_for((self.appended + count).saturating_sub(max.max(count)))?;
        }
        self.appended += count;
        self.append_batch()
    }

    fn settle(&mut self) -> Result<(), BenchError> {
        if self.outstanding_max.is_some() { self.progress.wait_for(self.appended) } else { Ok(()) }
    }

    fn consume(
        &mut self,
        endpoint: usize,
        max: usize,
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, BenchError> {
        let Some(queue) = self.queues.get(endpoint) else { return Ok(0) };
        let mut epoch = 0;
        self.seqs.clear();
        let taken = queue.lease(self.store.now(), max, usize::MAX, |leased| {
            deliver(leased.payload);
            self.seqs.push(leased.seq);
            epoch = leased.epoch;
            true
        })?;
        queue.ack_all(&self.seqs, epoch);
        Ok(taken)
    }

    fn rest(&mut self) -> Result<(), BenchError> {
        self.settle()?;
        let (mut last, mut idle) = (self.store.stats(), 0);
        while last.index_entries > self.unspilled_max && idle < REST_STEPS_MAX {
            sleep(REST_STEP);
            let now = self.store.stats();
            idle = if now.spilled == last.spilled { idle + 1 } else { 0 };
            last = now;
        }
        Ok(())
    }

    fn kept(&self) -> Option<Kept> {
        let stats = self.store.stats();
        Some(Kept { messages: stats.spilled, bytes: stats.spill_bytes })
    }

    fn close(self: Box<Self>) -> Result<(), BenchError> {
        Ok(self.store.close()?)
    }
}
