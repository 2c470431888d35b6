//! Fixed workloads, and what they were promised.

use std::sync::Arc;

use edgehub_store::{Commit, Queue, StoreConfig, StoreError, SyncPolicy, Target};
use edgehub_testkit::{FaultyStorage, VirtualClock};
use edgehub_types::UnixMs;

use super::promise::{Promise, Sent};
use super::{NEVER, Rig, SPILL_ALL, START, config, lease};

/// Endpoint and priority of the queues.
pub const QUEUES: [(&str, u32); 3] = [("a", 0), ("a", 1), ("b", 0)];

/// One step of a workload.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// One batch of `count` messages of `bytes` bytes to the queues whose bits are set.
    Append {
        queues: u8,
        count: u8,
        bytes: usize,
        ttl_ms: Option<u64>,
    },
    /// Time passes, then the store works.
    Pass(u64),
    /// Leases up to `count` messages and acknowledges those, except every third with `gaps`.
    Consume {
        queue: usize,
        count: usize,
        gaps: bool,
    },
    Remove(&'static str),
    Return(&'static str),
    Checkpoint,
    Close,
}

use Step::{Append, Checkpoint, Close, Consume, Pass, Remove, Return};

fn append(queues: u8, count: u8, bytes: usize) -> Step {
    Append { queues, count, bytes, ttl_ms: None }
}

fn consume(queue: usize, count: usize) -> Step {
    Consume { queue, count, gaps: false }
}

/// Segments are filled, consumed and unlinked.
fn steady() -> Vec<Step> {
    let mut steps = Vec::new();
    for round in 0..8 {
        steps.extend([append(7, 2, 400), append(1, 1, 700), Pass(30)]);
        steps.extend([consume(0, 3), consume(2, 2), Pass(120)]);
        if round % 3 == 2 {
            steps.extend([consume(1, 9), Pass(1100), Pass(100), Pass(1100)]);
        }
    }
    steps.extend([Pass(100), Pass(100), Pass(1100), Close]);
    steps
}

/// A backlog over several segments, consumed with gaps.
fn backlog() -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..6 {
        steps.extend([append(3, 3, 300), append(4, 1, 900), Pass(10)]);
    }
    for _ in 0..4 {
        steps.extend([Consume { queue: 0, count: 5, gaps: true }, consume(2, 2), Checkpoint, Pass(200)]);
    }
    steps.extend([append(7, 1, 3000), Pass(1100), consume(1, 20), Pass(1100), Pass(1100)]);
    steps
}

/// Endpoints go with their messages, and come back.
fn removals() -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..3 {
        steps.extend([append(7, 2, 500), Pass(20), append(5, 1, 600), Remove("a"), Pass(30)]);
        steps.extend([append(4, 2, 500), Pass(120), Return("a"), append(3, 1, 800), Pass(1100)]);
        steps.extend([consume(2, 4), Pass(150), Remove("b"), Return("b"), append(4, 1, 100), Pass(1100)]);
    }
    steps.push(Close);
    steps
}

/// Messages expire before, between and behind others.
fn expiries() -> Vec<Step> {
    let mut steps = Vec::new();
    for ttl_ms in [500, 3000, 90, 1500] {
        steps.extend([Append { queues: 3, count: 3, bytes: 350, ttl_ms: Some(ttl_ms) }, append(5, 1, 200)]);
        steps.extend([Pass(40), consume(0, 2), Pass(700)]);
    }
    steps.extend([Pass(1500), consume(0, 30), Pass(1100), Pass(1100), append(7, 1, 100), Pass(1100)]);
    steps
}

/// Segments are unlinked before a batch of messages could say that they are spent: one is begun before its
/// predecessor is durable, and then nothing more is sent.
fn reclaim() -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..2 {
        steps.extend([append(4, 1, 1500), Pass(0), append(4, 1, 1500), append(4, 1, 1500), Pass(0)]);
        steps.push(consume(2, 2));
        steps.extend([Pass(40); 6]);
        steps.extend([Pass(1000), Pass(20), Pass(20)]);
    }
    steps
}

/// All workloads with their names.
pub fn scripts() -> [(&'static str, Vec<Step>); 5] {
    [
        ("steady", steady()),
        ("backlog", backlog()),
        ("removals", removals()),
        ("expiries", expiries()),
        ("reclaim", reclaim()),
    ]
}

/// Stores that roll their segments often: one for each policy, and two that move all they can to spill files.
pub fn configs() -> [StoreConfig; 5] {
    let interval = SyncPolicy::Interval { interval_ms: 100 };
    let spilling = |policy| StoreConfig { spill: SPILL_ALL, ..config(policy) };
    [
        config(SyncPolicy::Group),
        config(interval),
        config(SyncPolicy::None),
        spilling(SyncPolicy::Group),
        spilling(interval),
    ]
}

/// Drives a store through a workload, and takes down what it promised. Errors are taken as they come: what is refused
/// was not sent, of what fails otherwise nothing is known.
pub struct Driver {
    pub rig: Rig,
    pub promise: Promise,
    queues: [Option<Queue>; QUEUES.len()],
    answered: usize,
    next_id: u64,
}

impl Driver {
    /// # Errors
    /// That of opening the store.
    pub fn new(disk: FaultyStorage, config: StoreConfig) -> Result<Self, StoreError> {
        let rig = Rig::try_on(disk, config, Arc::new(VirtualClock::at(START)))?;
        let promise = Promise::new(&rig.config);
        let mut driver = Self { rig, promise, queues: [const { None }; 3], answered: 0, next_id: 1 };
        driver.bring_back("a");
        driver.bring_back("b");
        Ok(driver)
    }

    /// A recorded disk and a workload that ran on it to its end.
    pub fn run(disk: FaultyStorage, config: StoreConfig, steps: &[Step]) -> Result<Self, StoreError> {
        disk.record();
        let mut driver = Self::new(disk, config)?;
        for step in steps {
            driver.step(*step);
        }
        Ok(driver)
    }

    fn moment(&self) -> usize {
        self.rig.disk.moment()
    }

    pub fn step(&mut self, step: Step) {
        match step {
            Append { queues, count, bytes, ttl_ms } => self.append(queues, count, bytes, ttl_ms),
            Pass(ms) => self.pass(ms),
            Consume { queue, count, gaps } => self.consume(queue, count, gaps),
            Remove(endpoint) => self.remove(endpoint),
            Return(endpoint) => self.bring_back(endpoint),
            Checkpoint => drop(self.rig.store.checkpoint_dirty()),
            Close => {
                let _ = self.rig.store.close();
                self.hear();
            }
        }
        self.promise.poisoned |= self.rig.store.is_poisoned().is_some();
    }

    fn append(&mut self, mask: u8, count: u8, bytes: usize, ttl_ms: Option<u64>) {
        let begun = self.moment();
        let at = self.rig.now();
        let expires_at = ttl_ms.map_or(NEVER, |ttl| UnixMs(at.0 + ttl));
        let chosen: Vec<_> = (0..QUEUES.len()).filter(|at| mask & 1 << at != 0).collect();
        let chosen: Vec<_> = chosen.into_iter().filter(|at| self.queues[*at].is_some()).collect();
        let targets = chosen.iter().flat_map(|at| &self.queues[*at]);
        let targets: Vec<_> = targets.map(|queue| Target { queue: queue.id(), expires_at }).collect();
        if targets.is_empty() {
            return;
        }
        let ids = self.next_id..self.next_id + u64::from(count);
        self.next_id = ids.end;
        let bodies: Vec<_> = ids.clone().map(|id| body(id, bytes)).collect();
        let appended =
            self.rig.try_append(&targets, &bodies.iter().map(|body| &body[..]).collect::<Vec<_>>());
        if appended.as_ref().is_err_and(StoreError::is_retryable) {
            return;
        }
        let batch = self.rig.ticket();
        let answered = matches!(appended, Ok(Commit::Done)).then(|| self.moment());
        self.promise.bytes += ids.clone().map(|_| bytes as u64).sum::<u64>();
        let written = self.promise.bytes;
        let sent = Sent { batch, begun, at, written, answered, done: None, seq: None, expires_at };
        for queue in chosen {
            self.promise.queues[queue].extend(ids.clone().map(|id| (id, sent)));
        }
    }

    fn pass(&mut self, ms: u64) {
        self.rig.clock.advance_ms(ms);
        self.promise.time_passes(self.moment(), self.rig.now());
        self.rig.store.tick();
        self.hear();
        if self.rig.store.is_poisoned().is_none() {
            self.promise.tick_ends(self.moment(), self.rig.now());
        }
    }

    /// Waiters were told that batches are committed.
    fn hear(&mut self) {
        let told = self.rig.tickets.committed.lock()[self.answered..].to_vec();
        self.answered += told.len();
        let moment = self.moment();
        for queue in &mut self.promise.queues {
            for sent in queue.values_mut().filter(|sent| told.contains(&sent.batch)) {
                sent.answered = Some(moment);
            }
        }
    }

    fn consume(&mut self, at: usize, count: usize, gaps: bool) {
        let Some(queue) = &self.queues[at] else { return };
        let now = self.rig.now();
        let moment = self.rig.disk.moment();
        let mut got = Vec::new();
        // A disk that cannot read gives them later.
        let _ = queue.lease(now, count, usize::MAX, |leased| {
            got.push((leased.seq, leased.epoch, id_of(leased.payload), leased.payload.len()));
            true
        });
        for (nth, (seq, epoch, id, len)) in got.into_iter().enumerate() {
            let sent = self.promise.queues[at].get_mut(&id).unwrap();
            assert!(sent.done.is_none(), "delivered after it was done: {sent:?}");
            assert!(sent.answered.is_some(), "delivered before its commit: {sent:?}");
            assert!(sent.expires_at > now && len >= 8);
            sent.seq = Some(seq);
            if !(gaps && nth % 3 == 0) {
                queue.ack(seq, epoch);
                sent.done = Some((moment, now));
            }
        }
        queue.release_all();
    }

    fn remove(&mut self, endpoint: &str) {
        let (moment, now) = (self.moment(), self.rig.now());
        let removed = self.rig.store.remove_endpoint(endpoint);
        if removed.as_ref().is_err_and(StoreError::is_retryable) {
            return;
        }
        for at in (0..QUEUES.len()).filter(|at| QUEUES[*at].0 == endpoint) {
            self.queues[at] = None;
            // Also what is still to be committed: it depends on the return of the endpoint whether it is dropped.
            let wanted = self.promise.queues[at].values_mut().filter(|sent| sent.done.is_none());
            wanted.for_each(|sent| sent.done = Some((moment, if removed.is_ok() { now } else { NEVER })));
        }
    }

    fn bring_back(&mut self, endpoint: &str) {
        for at in (0..QUEUES.len()).filter(|at| QUEUES[*at].0 == endpoint) {
            self.queues[at] = self.rig.store.open_queue(endpoint, QUEUES[at].1).ok();
        }
    }
}

fn body(id: u64, bytes: usize) -> Vec<u8> {
    let mut body = id.to_le_bytes().to_vec();
    body.resize(bytes.max(8), id as u8);
    body
}

/// The message that a payload is.
///
/// # Panics
/// When it was changed.
pub fn id_of(payload: &[u8]) -> u64 {
    let id = u64::from_le_bytes(payload[..8].try_into().unwrap());
    assert!(payload[8..].iter().all(|byte| *byte == id as u8), "message {id} was changed");
    id
}

/// All that is there, by place in [`QUEUES`]: message and number, in order of delivery.
pub fn found(rig: &Rig) -> [Vec<(u64, u64)>; QUEUES.len()] {
    let mut all = [const { Vec::new() }; QUEUES.len()];
    for queue in rig.store.queues() {
        let name = (queue.endpoint(), queue.priority());
        let at = QUEUES.iter().position(|known| *known == name).unwrap();
        let got = lease(&queue, rig.now(), usize::MAX);
        assert!(got.iter().all(|got| got.expires_at > rig.now()), "delivered after its expiry");
        all[at] = got.iter().map(|got| (id_of(&got.payload), got.seq)).collect();
        queue.release_all();
    }
    all
}
