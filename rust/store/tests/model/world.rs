//! The store and its model side by side.

use std::collections::VecDeque;
use std::sync::Arc;

use edgehub_store::{Commit, Queue, StoreError, Target};
use edgehub_testkit::{FaultyStorage, VirtualClock};
use edgehub_types::UnixMs;

use crate::action::{Action, ENDPOINTS, QUEUES, Setup};
use crate::common::{Got, NEVER, Rig, START, lease};
use crate::queue::ModelQueue;

/// A batch that was accepted and not answered yet.
struct Pending {
    ticket: u64,
    queues: Vec<usize>,
    payloads: Vec<Vec<u8>>,
    expires_at: UnixMs,
}

pub struct World {
    setup: Setup,
    rig: Rig,
    /// `None` until the endpoint is there; a removed one keeps its handle.
    queues: Vec<Option<Queue>>,
    model: Vec<ModelQueue>,
    pending: VecDeque<Pending>,
    /// Answers that were heeded.
    answered: usize,
    failed: usize,
    messages: u64,
    bytes_max: Option<u64>,
}

/// Nothing happened, and it may be tried again.
fn refused(error: &StoreError) {
    assert!(error.is_retryable(), "{error}");
}

impl World {
    pub fn new(setup: &Setup) -> Self {
        let clock = Arc::new(VirtualClock::at(START));
        let mut world = Self {
            setup: setup.clone(),
            rig: open(setup, FaultyStorage::new(), clock),
            queues: QUEUES.map(|_| None).into(),
            model: QUEUES.iter().map(|_| ModelQueue::default()).collect(),
            pending: VecDeque::new(),
            answered: 0,
            failed: 0,
            messages: 0,
            bytes_max: None,
        };
        (0..ENDPOINTS.len()).for_each(|endpoint| world.bring_back(endpoint));
        world
    }

    fn now(&self) -> UnixMs {
        self.rig.now()
    }

    fn of_endpoint(endpoint: usize) -> impl Iterator<Item = usize> {
        (0..QUEUES.len()).filter(move |at| QUEUES[*at].0 == ENDPOINTS[endpoint])
    }

    fn bring_back(&mut self, endpoint: usize) {
        for at in Self::of_endpoint(endpoint) {
            match self.rig.store.open_queue(QUEUES[at].0, QUEUES[at].1) {
                Ok(queue) => {
                    self.queues[at] = Some(queue);
                    self.model[at].removed = false;
                }
                Err(error) => refused(&error),
            }
        }
    }

    fn remove(&mut self, endpoint: usize) {
        match self.rig.store.remove_endpoint(ENDPOINTS[endpoint]) {
            Ok(_) => Self::of_endpoint(endpoint).for_each(|at| self.model[at].remove()),
            Err(error) => refused(&error),
        }
    }

    fn payload(&mut self, size: u16) -> Vec<u8> {
        self.messages += 1;
        let mut payload = self.messages.to_le_bytes().to_vec();
        payload.resize(8 + usize::from(size), self.messages as u8);
        payload
    }

    fn append(&mut self, mask: u8, sizes: &[u16], ttl_ms: Option<u16>) {
        let expires_at = ttl_ms.map_or(NEVER, |ttl| UnixMs(self.now().0 + u64::from(ttl)));
        let queues: Vec<_> =
            (0..QUEUES.len()).filter(|at| mask & 1 << at != 0 && self.queues[*at].is_some()).collect();
        let targets = queues.iter().flat_map(|at| &self.queues[*at]);
        let targets: Vec<_> = targets.map(|queue| Target { queue: queue.id(), expires_at }).collect();
        let payloads: Vec<_> = sizes.iter().map(|size| self.payload(*size)).collect();
        if targets.is_empty() {
            return;
        }
        let bodies: Vec<_> = payloads.iter().map(|payload| &payload[..]).collect();
        let appended = self.rig.try_append(&targets, &bodies);
        let batch = Pending { ticket: self.rig.ticket(), queues, payloads, expires_at };
        match appended {
            Ok(Commit::Done) => self.arrive(batch),
            Ok(Commit::Pending) => self.pending.push_back(batch),
            Err(error) => refused(&error),
        }
    }

    fn arrive(&mut self, batch: Pending) {
        let now = self.now();
        for at in batch.queues {
            for payload in &batch.payloads {
                self.model[at].arrive(payload.clone(), batch.expires_at, now);
            }
        }
    }

    /// Heeds what waiters were told: each batch once, in order.
    fn hear(&mut self) {
        let told = self.rig.tickets.committed.lock()[self.answered..].to_vec();
        self.answered += told.len();
        for ticket in told {
            let batch = self.pending.pop_front().unwrap();
            assert_eq!(batch.ticket, ticket, "answered out of order");
            self.arrive(batch);
        }
        let failed = self.rig.tickets.failed.lock()[self.failed..].to_vec();
        self.failed += failed.len();
        for ticket in failed {
            assert_eq!(self.pending.pop_front().unwrap().ticket, ticket);
        }
    }

    fn pass(&mut self, ms: u16) {
        self.rig.pass(u64::from(ms));
        self.hear();
    }

    fn lease(&mut self, at: usize, max: usize, stop_at: usize) {
        let Some(queue) = &self.queues[at] else { return };
        let now = self.now();
        let mut got: Vec<Got> = Vec::new();
        let count = queue.lease(now, max, usize::MAX, |leased| {
            let take = got.len() < stop_at;
            if take {
                got.push(leased.into());
            }
            take
        });
        assert_eq!(count.unwrap(), got.len());
        self.model[at].lease(got, max.min(stop_at), now);
    }

    fn ack(&mut self, at: usize, seqs: &[u64]) {
        let Some(queue) = &self.queues[at] else { return };
        match seqs {
            [seq] => queue.ack(*seq, queue.epoch()),
            many => queue.ack_all(many, queue.epoch()),
        }
        self.model[at].ack(seqs);
    }

    fn ack_late(&self, at: usize) {
        let Some(queue) = &self.queues[at] else { return };
        (0..50).for_each(|seq| queue.ack(seq, queue.epoch().wrapping_sub(1)));
    }

    fn give_up(&mut self, at: usize, pick: usize, cause: edgehub_store::LossCause) {
        let Some(queue) = &self.queues[at] else { return };
        let Some((seq, _)) = self.model[at].leased(pick) else { return };
        let before = queue.lost(cause);
        assert!(queue.ack_lost(seq, queue.epoch(), cause));
        assert!(!queue.ack_lost(seq, queue.epoch(), cause), "counted once");
        assert_eq!(queue.lost(cause), before + 1);
        self.model[at].give_up(seq);
    }

    fn read(&self, at: usize, pick: usize) {
        let Some(queue) = &self.queues[at] else { return };
        let Some((seq, message)) = self.model[at].leased(pick) else { return };
        let mut got = None;
        let found = queue.read(seq, |leased| got = Some((leased.payload.to_vec(), leased.expires_at)));
        assert!(found.unwrap());
        assert_eq!(got, Some((message.payload.clone(), message.expires_at)));
    }

    fn release(&mut self, at: usize) {
        let Some(queue) = &self.queues[at] else { return };
        queue.release_all();
        self.model[at].release();
    }

    fn checkpoint(&mut self) {
        match self.rig.store.checkpoint_dirty() {
            Ok(()) => self.model.iter_mut().for_each(ModelQueue::checkpointed),
            Err(error) => refused(&error),
        }
    }

    fn set_space(&mut self, bytes: Option<u32>) {
        self.bytes_max = bytes.map(|free| self.rig.disk.bytes() + u64::from(free));
        self.rig.disk.set_bytes_max(self.bytes_max);
    }

    fn close(&mut self) {
        match self.rig.store.close() {
            // On a full disk there may be no room for checkpoints.
            Ok(()) if self.bytes_max.is_none() => {
                self.model.iter_mut().for_each(ModelQueue::checkpointed);
            }
            Ok(()) => {}
            Err(error) => refused(&error),
        }
        self.hear();
        assert!(self.pending.is_empty(), "everybody was answered");
        assert!(matches!(self.rig.store.checkpoint_dirty(), Err(StoreError::Closed)));
    }

    /// The process ends, and another one begins.
    fn restart(&mut self) {
        self.pending.clear();
        (self.answered, self.failed) = (0, 0);
        self.queues.fill(None);
        let disk = self.rig.disk.after_kill();
        disk.set_bytes_max(self.bytes_max);
        self.rig = open(&self.setup, disk, Arc::clone(&self.rig.clock));
        if self.setup.in_memory {
            self.model.fill_with(ModelQueue::default);
            return (0..ENDPOINTS.len()).for_each(|endpoint| self.bring_back(endpoint));
        }
        let report = self.rig.report;
        assert_eq!((report.quarantined, report.torn_bytes, report.orphaned), (0, 0, 0));
        assert_eq!(report.lost, 0, "no numbers are missing without damage");
        let now = self.now();
        for queue in self.rig.store.queues() {
            let name = (queue.endpoint(), queue.priority());
            let at = QUEUES.iter().position(|known| *known == name).unwrap();
            let arrived = queue.len();
            let found = lease(&queue, now, usize::MAX);
            queue.release_all();
            self.model[at].restart(arrived, &found, now);
            self.queues[at] = Some(queue);
        }
        let absent = self.queues.iter().zip(&mut self.model).filter(|(queue, _)| queue.is_none());
        for (_, model) in absent {
            assert!(model.removed, "a queue is missing");
            model.restart(0, &[], now);
        }
    }

    pub fn act(&mut self, action: &Action) {
        match *action {
            Action::Append { queues, ref sizes, ttl_ms } => self.append(queues, sizes, ttl_ms),
            Action::Lease { queue, max, stop_at } => self.lease(queue, max, stop_at),
            Action::Ack { queue, pick } => {
                if let Some((seq, _)) = self.model[queue].leased(pick) {
                    self.ack(queue, &[seq]);
                }
            }
            Action::AckAll { queue } => self.ack(queue, &self.model[queue].leased_seqs()),
            Action::AckLate { queue } => self.ack_late(queue),
            Action::AckLost { queue, pick, cause } => self.give_up(queue, pick, cause),
            Action::Release { queue } => self.release(queue),
            Action::Read { queue, pick } => self.read(queue, pick),
            Action::Remove { endpoint } => self.remove(endpoint),
            Action::Return { endpoint } => self.bring_back(endpoint),
            Action::Pass { ms } => self.pass(ms),
            Action::Checkpoint => self.checkpoint(),
            Action::Space { bytes } => self.set_space(bytes),
            Action::Kill { checkpoint } => {
                if checkpoint {
                    self.checkpoint();
                }
                self.restart();
            }
            Action::Close => {
                self.close();
                self.restart();
            }
        }
    }

    /// What can be seen from outside without changing anything.
    pub fn check(&self) {
        let now = self.now();
        for (queue, model) in self.queues.iter().zip(&self.model) {
            if let Some(queue) = queue {
                model.check(queue, now);
            }
        }
        let stats = self.rig.store.stats();
        let live: u64 = self.queues.iter().flatten().map(Queue::len).sum();
        assert_eq!(stats.live_messages, live);
        assert!(self.rig.store.is_poisoned().is_none());
        assert_eq!(stats.damaged, 0);
        if self.setup.in_memory {
            assert!(stats.disk_bytes <= self.setup.store.memory_bytes_max.max(1 << 20), "{stats:?}");
        }
    }

    /// At the end everything can be consumed, and then nothing is left, neither in memory nor on disk.
    pub fn drain(&mut self) {
        self.set_space(None);
        (0..3).for_each(|_| self.pass(1000));
        assert!(self.pending.is_empty(), "with space everything is committed");
        for at in 0..QUEUES.len() {
            self.release(at);
            self.lease(at, usize::MAX, usize::MAX);
            self.ack(at, &self.model[at].leased_seqs());
        }
        let mut rounds = 0;
        while self.rig.store.stats().segments > 1 || self.rig.store.stats().spill_files > 0 {
            rounds += 1;
            assert!(rounds < 200, "{:?}", self.rig.store.stats());
            self.pass(1000);
        }
        let stats = self.rig.store.stats();
        assert_eq!((stats.live_messages, stats.index_entries, stats.unsynced_bytes), (0, 0, 0), "{stats:?}");
        assert_eq!((stats.segments, stats.spill_files, stats.spill_bytes), (1, 0, 0), "{stats:?}");
        assert!(!self.rig.store.pressure());
    }
}

fn open(setup: &Setup, disk: FaultyStorage, clock: Arc<VirtualClock>) -> Rig {
    if setup.in_memory {
        Rig::in_memory_at(setup.store.clone(), clock)
    } else {
        Rig::on(disk, setup.store.clone(), clock)
    }
}
