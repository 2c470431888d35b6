//! Random actions against a simple model in memory, with restarts in between.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::collections::{BTreeMap, VecDeque};

use common::{Got, Rig, config, lease};
use edgehub_store::{Queue, SpillConfig, StoreConfig, SyncPolicy};
use edgehub_types::UnixMs;
use proptest::prelude::*;

const QUEUES: [(&str, u32); 4] = [("a", 0), ("a", 7), ("b", 0), ("c", 1)];

#[derive(Debug, Clone)]
enum Action {
    Append {
        queues: u8,
        sizes: Vec<u16>,
        ttl_ms: Option<u16>,
    },
    Lease {
        queue: usize,
        max: usize,
        stop_at: usize,
    },
    Ack {
        queue: usize,
        pick: usize,
    },
    AckAll {
        queue: usize,
    },
    /// With an epoch that is over.
    AckLate {
        queue: usize,
    },
    Release {
        queue: usize,
    },
    Reread {
        queue: usize,
        pick: usize,
    },
    Remove {
        endpoint: usize,
    },
    Pass {
        ms: u16,
    },
    Kill,
    Close,
}

fn action() -> impl Strategy<Value = Action> {
    let queue = 0..QUEUES.len();
    let ttl = prop::option::weighted(0.3, 0_u16..3000);
    prop_oneof![
        6 => (1_u8..16, prop::collection::vec(0_u16..1200, 1..6), ttl)
            .prop_map(|(queues, sizes, ttl_ms)| Action::Append { queues, sizes, ttl_ms }),
        6 => (queue.clone(), 1..9_usize, 0..12_usize)
            .prop_map(|(queue, max, stop_at)| Action::Lease { queue, max, stop_at }),
        6 => (queue.clone(), 0..9_usize).prop_map(|(queue, pick)| Action::Ack { queue, pick }),
        3 => queue.clone().prop_map(|queue| Action::AckAll { queue }),
        1 => queue.clone().prop_map(|queue| Action::AckLate { queue }),
        1 => queue.clone().prop_map(|queue| Action::Release { queue }),
        1 => (queue, 0..9_usize).prop_map(|(queue, pick)| Action::Reread { queue, pick }),
        1 => (0..3_usize).prop_map(|endpoint| Action::Remove { endpoint }),
        3 => (0_u16..1500).prop_map(|ms| Action::Pass { ms }),
        1 => Just(Action::Kill),
        1 => Just(Action::Close),
    ]
}

#[derive(Debug, Clone, PartialEq)]
struct Message {
    payload: Vec<u8>,
    expires_at: UnixMs,
    released: bool,
}

/// One queue as it should be.
#[derive(Debug, Default)]
struct ModelQueue {
    next_seq: u64,
    ready: VecDeque<(u64, Message)>,
    leased: BTreeMap<u64, Message>,
    /// Acknowledged, but behind something that is not: a restart may bring it back.
    done_behind: BTreeMap<u64, Message>,
}

impl ModelQueue {
    fn forget_below_head(&mut self) {
        let ready = self.ready.front().map(|(seq, _)| *seq);
        let head = self.leased.keys().next().copied().into_iter().chain(ready).min().unwrap_or(self.next_seq);
        self.done_behind.retain(|seq, _| *seq > head);
    }

    fn release(&mut self) {
        for (seq, message) in std::mem::take(&mut self.leased).into_iter().rev() {
            self.ready.push_front((seq, Message { released: true, ..message }));
        }
        self.ready.make_contiguous().sort_by_key(|(seq, _)| *seq);
    }

    /// Takes over what is there after a restart, which must be what has to be there and nothing else.
    fn restart(&mut self, found: &[Got], now: UnixMs) {
        self.release();
        let wanted: BTreeMap<u64, Message> = self.ready.drain(..).collect();
        for (seq, message) in &wanted {
            let there = found.iter().any(|got| got.seq == *seq && got.payload == message.payload);
            assert_eq!(there, message.expires_at > now, "message {seq} expiring at {:?}", message.expires_at);
        }
        for got in found {
            let known = wanted.get(&got.seq).or_else(|| self.done_behind.get(&got.seq)).unwrap();
            assert_eq!(got.payload, known.payload);
            assert!(!got.redelivered);
            self.ready.push_back((got.seq, Message { released: true, ..known.clone() }));
        }
        self.done_behind.clear();
    }
}

struct World {
    rig: Rig,
    queues: Vec<Queue>,
    model: Vec<ModelQueue>,
    counter: u64,
}

impl World {
    fn new(config: StoreConfig) -> Self {
        let rig = Rig::new(config);
        let model = QUEUES.iter().map(|_| ModelQueue::default()).collect();
        let mut world = Self { rig, queues: Vec::new(), model, counter: 0 };
        world.open_queues();
        world
    }

    fn open_queues(&mut self) {
        self.queues =
            QUEUES.map(|(endpoint, priority)| self.rig.store.open_queue(endpoint, priority).unwrap()).into();
    }

    fn payload(&mut self, size: usize) -> Vec<u8> {
        self.counter += 1;
        let mut payload = self.counter.to_le_bytes().to_vec();
        payload.resize(8 + size, self.counter as u8);
        payload
    }

    fn append(&mut self, mask: u8, sizes: &[u16], ttl_ms: Option<u16>) {
        let expires_at = ttl_ms.map_or(UnixMs::MAX, |ttl| UnixMs(self.rig.now().0 + u64::from(ttl)));
        let payloads: Vec<_> = sizes.iter().map(|size| self.payload(usize::from(*size))).collect();
        let chosen: Vec<_> = (0..QUEUES.len()).filter(|at| mask & 1 << at != 0).collect();
        let targets: Vec<_> = chosen.iter().map(|at| &self.queues[*at]).collect();
        let bodies: Vec<_> = payloads.iter().map(|payload| &payload[..]).collect();
        self.rig.append_until(&targets, &bodies, expires_at);
        for at in chosen {
            let model = &mut self.model[at];
            for payload in &payloads {
                let message = Message { payload: payload.clone(), expires_at, released: false };
                model.ready.push_back((model.next_seq, message));
                model.next_seq += 1;
            }
        }
    }

    fn lease(&mut self, at: usize, max: usize, stop_at: usize) {
        let now = self.rig.now();
        let mut got: Vec<Got> = Vec::new();
        let count = self.queues[at].lease(now, max, usize::MAX, |leased| {
            let take = got.len() < stop_at;
            if take {
                got.push(leased.into());
            }
            take
        });
        assert_eq!(count.unwrap(), got.len());
        let model = &mut self.model[at];
        let mut got = got.into_iter();
        for _ in 0..max.min(stop_at) {
            while model.ready.front().is_some_and(|(_, message)| message.expires_at <= now) {
                model.ready.pop_front();
            }
            let Some((seq, message)) = model.ready.pop_front() else { break };
            let got = got.next().unwrap();
            assert_eq!((got.seq, &got.payload), (seq, &message.payload));
            assert_eq!(got.redelivered, message.released);
            model.leased.insert(seq, message);
        }
        assert_eq!(got.next(), None);
        model.forget_below_head();
    }

    fn ack(&mut self, at: usize, pick: usize) {
        let model = &mut self.model[at];
        let Some(seq) = model.leased.keys().nth(pick).copied() else { return };
        self.queues[at].ack(seq, self.queues[at].epoch());
        let message = model.leased.remove(&seq).unwrap();
        model.done_behind.insert(seq, message);
        model.forget_below_head();
    }

    fn ack_all(&mut self, at: usize) {
        let model = &mut self.model[at];
        let seqs: Vec<_> = model.leased.keys().copied().collect();
        self.queues[at].ack_all(&seqs, self.queues[at].epoch());
        model.done_behind.append(&mut model.leased);
        model.forget_below_head();
    }

    fn reread(&mut self, at: usize, pick: usize) {
        let Some((seq, message)) = self.model[at].leased.iter().nth(pick) else { return };
        let mut payload = Vec::new();
        assert!(self.queues[at].read(*seq, |leased| payload = leased.payload.to_vec()).unwrap());
        assert_eq!(&payload, &message.payload);
    }

    fn remove(&mut self, endpoint: usize) {
        let endpoint = ["a", "b", "c"][endpoint];
        self.rig.store.remove_endpoint(endpoint).unwrap();
        for (model, _) in self.model.iter_mut().zip(QUEUES).filter(|(_, queue)| queue.0 == endpoint) {
            *model = ModelQueue { next_seq: model.next_seq, ..ModelQueue::default() };
        }
        self.open_queues();
    }

    fn restart(self, close: bool) -> Self {
        let Self { rig, queues, mut model, counter } = self;
        if close {
            rig.store.close().unwrap();
        } else {
            rig.store.checkpoint_dirty().unwrap();
        }
        drop(queues);
        let rig = rig.killed();
        assert_eq!((rig.report.quarantined, rig.report.torn_bytes, rig.report.orphaned), (0, 0, 0));
        assert_eq!(rig.report.lost, 0, "no numbers are missing without damage");
        let mut world = Self { rig, queues: Vec::new(), model: Vec::new(), counter };
        world.open_queues();
        for (queue, model) in world.queues.iter().zip(&mut model) {
            let found = lease(queue, world.rig.now(), usize::MAX);
            queue.release_all();
            model.restart(&found, world.rig.now());
        }
        world.model = model;
        world
    }

    fn act(mut self, action: Action) -> Self {
        match action {
            Action::Append { queues, sizes, ttl_ms } => self.append(queues, &sizes, ttl_ms),
            Action::Lease { queue, max, stop_at } => self.lease(queue, max, stop_at),
            Action::Ack { queue, pick } => self.ack(queue, pick),
            Action::AckAll { queue } => self.ack_all(queue),
            Action::AckLate { queue } => {
                let queue = &self.queues[queue];
                (0..50).for_each(|seq| queue.ack(seq, queue.epoch().wrapping_sub(1)));
            }
            Action::Release { queue } => {
                self.queues[queue].release_all();
                self.model[queue].release();
            }
            Action::Reread { queue, pick } => self.reread(queue, pick),
            Action::Remove { endpoint } => self.remove(endpoint),
            Action::Pass { ms } => self.rig.pass(u64::from(ms)),
            Action::Kill => return self.restart(false),
            Action::Close => return self.restart(true),
        }
        self
    }

    /// What can be seen from outside without changing anything.
    fn check(&self) {
        let now = self.rig.now();
        let mut live = 0;
        for (queue, model) in self.queues.iter().zip(&self.model) {
            let all = (model.ready.len() + model.leased.len()) as u64;
            let expired = model.ready.iter().filter(|(_, message)| message.expires_at <= now).count() as u64;
            assert!((all - expired..=all).contains(&queue.len()), "{} of {all}", queue.len());
            assert!(queue.has_ready() || model.ready.len() as u64 <= expired);
            live += queue.len();
        }
        assert_eq!(self.rig.store.stats().live_messages, live);
        assert!(self.rig.store.is_poisoned().is_none());
        assert_eq!(self.rig.store.stats().damaged, 0);
    }
}

fn run(config: StoreConfig, actions: Vec<Action>) {
    let mut world = World::new(config);
    for action in actions {
        world = world.act(action);
        world.check();
    }
    // At the end everything can be consumed, and then nothing is left, neither in memory nor on disk.
    for (at, queue) in world.queues.iter().enumerate() {
        queue.release_all();
        world.model[at].release();
    }
    for at in 0..QUEUES.len() {
        world.lease(at, usize::MAX, usize::MAX);
        world.ack_all(at);
    }
    for _ in 0..200 {
        world.rig.pass(1000);
    }
    let stats = world.rig.store.stats();
    assert_eq!((stats.live_messages, stats.index_entries), (0, 0));
    assert_eq!((stats.segments, stats.spill_files, stats.spill_bytes), (1, 0, 0), "{stats:?}");
}

proptest! {
    #[test]
    fn the_store_does_as_the_model(
        actions in prop::collection::vec(action(), 1..120),
        policy in prop_oneof![
            Just(SyncPolicy::None),
            Just(SyncPolicy::Group),
            Just(SyncPolicy::Interval { interval_ms: 40 }),
        ],
        segment_bytes in prop_oneof![Just(4096_u32), Just(20_000), Just(1 << 20)],
        tail_cache_bytes in prop_oneof![Just(0_usize), Just(700), Just(100_000)],
        spill in (0_usize..3, 0_usize..40, 4096_u32..9000, 256_u32..3000, 0_usize..2000).prop_map(
            |(after_segments, index_entries, file_bytes, block_bytes, cache_bytes)| {
                SpillConfig { after_segments, index_entries, after_ms: 0, file_bytes, block_bytes, cache_bytes }
            }),
    ) {
        run(StoreConfig { segment_bytes, tail_cache_bytes, spill, ..config(policy) }, actions);
    }
}
