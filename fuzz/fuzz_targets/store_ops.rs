//! Runs a program of store operations with failing I/O and loss of power, and compares with a map.
//!
//! Only what must hold in every case is checked: what was committed under group commit is there, what was done with
//! a durable checkpoint is not, order and numbers are kept, and nothing is delivered that was never sent.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arbitrary::Arbitrary;
use edgehub_store::{
    Batch, CommitWaiter, Leased, Media, Queue, Store, StoreConfig, StoreError, SyncPolicy, Target,
};
use edgehub_testkit::{Fault, FaultyStorage, PowerCut, VirtualClock};
use edgehub_types::UnixMs;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
enum Op {
    Append { queues: u8, count: u8, len: u16 },
    Tick { ms: u8 },
    Lease { queue: u8, max: u8, stop: u8 },
    Ack { queue: u8, pick: u8 },
    Release { queue: u8 },
    Checkpoint,
    Kill,
    PowerCut { seed: u16, scattered: bool },
    Fault { after: u8, no_space: bool },
    Heal,
    Quota { kib: u8 },
}

/// The last ticket that was committed.
#[derive(Default)]
struct Committed(AtomicU64);

impl CommitWaiter for Committed {
    fn committed(&self, ticket: u64) {
        assert!(self.0.swap(ticket, Ordering::Relaxed) < ticket, "in order, once");
    }

    fn failed(&self, _ticket: u64, _error: &StoreError) {}
}

/// A message in one queue: the batch it came with, and whether it was acknowledged.
#[derive(Clone, Copy)]
struct Sent {
    ticket: u64,
    done: bool,
}

struct World {
    disk: FaultyStorage,
    clock: Arc<VirtualClock>,
    waiter: Arc<Committed>,
    store: Store,
    queues: Vec<Queue>,
    sent: [BTreeMap<u64, Sent>; 3],
    leased: [BTreeMap<u64, u64>; 3],
    next_id: u64,
    ticket: u64,
    group: bool,
    written: u64,
}

fn id_of(payload: &[u8]) -> u64 {
    payload.first_chunk().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
}

fn open(
    disk: &FaultyStorage,
    clock: &Arc<VirtualClock>,
    group: bool,
) -> Result<(Store, Vec<Queue>), StoreError> {
    let config = StoreConfig {
        sync: if group { SyncPolicy::Group } else { SyncPolicy::None },
        segment_bytes: 4096,
        tail_cache_bytes: 600,
        background_thread: false,
        ..StoreConfig::small()
    };
    let (store, report) =
        Store::open(Media::Disk(Arc::new(disk.clone())), config, Arc::<VirtualClock>::clone(clock))?;
    assert_eq!((report.quarantined, report.orphaned), (0, 0));
    let queues = ["a", "b", "c"].map(|endpoint| store.open_queue(endpoint, 0));
    Ok((store, queues.into_iter().collect::<Result<_, _>>()?))
}

impl World {
    fn new(group: bool) -> Option<Self> {
        let (disk, clock) = (FaultyStorage::new(), Arc::new(VirtualClock::at(UnixMs(1_000))));
        let (store, queues) = open(&disk, &clock, group).ok()?;
        Some(Self {
            disk,
            clock,
            waiter: Arc::default(),
            store,
            queues,
            sent: Default::default(),
            leased: Default::default(),
            next_id: 0,
            ticket: 0,
            group,
            written: 0,
        })
    }

    fn append(&mut self, mask: u8, count: u8, len: u16) {
        let chosen: Vec<usize> = (0..3).filter(|at| mask & 1 << at != 0).collect();
        let targets: Vec<_> = chosen
            .iter()
            .map(|at| Target { queue: self.queues[*at].id(), expires_at: UnixMs::MAX })
            .collect();
        let mut batch = Batch::new();
        let ids = self.next_id..self.next_id + u64::from(count % 4) + 1;
        for id in ids.clone() {
            let mut body = id.to_le_bytes().to_vec();
            body.resize(8 + usize::from(len % 3000), id as u8);
            if batch.push(&targets, body.len(), |out| out.extend_from_slice(&body)).is_err() {
                assert!(targets.is_empty());
                return;
            }
        }
        self.next_id = ids.end;
        self.ticket += 1;
        let waiter: Arc<dyn CommitWaiter> = Arc::<Committed>::clone(&self.waiter);
        let appended = self.store.append(&mut batch, &waiter, self.ticket);
        if appended.is_ok() {
            self.written = if self.group { self.written } else { self.ticket };
        }
        // After an error nothing is known of it, except when it can be tried again: then it was not written.
        if !appended.is_err_and(|error| error.is_retryable()) {
            for at in chosen {
                self.sent[at].extend(ids.clone().map(|id| (id, Sent { ticket: self.ticket, done: false })));
            }
        }
    }

    fn committed(&self) -> u64 {
        if self.group { self.waiter.0.load(Ordering::Relaxed) } else { self.written }
    }

    fn lease(&mut self, at: usize, max: usize, stop: usize) {
        let committed = self.committed();
        let (sent, leased) = (&self.sent[at], &mut self.leased[at]);
        let mut taken = 0;
        let deliver = |got: Leased<'_>| {
            let id = id_of(got.payload);
            let sent = sent[&id];
            assert!(!sent.done && sent.ticket <= committed && !leased.contains_key(&id));
            assert!(got.payload[8..].iter().all(|byte| *byte == id as u8));
            taken += 1;
            if taken <= stop {
                leased.insert(id, got.seq);
            }
            taken <= stop
        };
        let count = self.queues[at].lease(UnixMs(0), max, usize::MAX, deliver);
        assert!(count.is_ok_and(|count| count == taken.min(stop)));
    }

    fn ack(&mut self, at: usize, pick: usize) {
        let Some((id, seq)) = self.leased[at].iter().nth(pick).map(|(id, seq)| (*id, *seq)) else { return };
        self.leased[at].remove(&id);
        self.queues[at].ack(seq, self.queues[at].epoch());
        self.sent[at].entry(id).and_modify(|sent| sent.done = true);
    }

    /// On with another folder; everything that is there must be allowed, and what must be there must be.
    fn restart(mut self, disk: FaultyStorage, power: bool) -> Option<Self> {
        let (store, queues) = open(&disk, &self.clock, self.group).ok()?;
        let must = if power && !self.group { 0 } else { self.committed() };
        for ((queue, sent), leased) in queues.iter().zip(&mut self.sent).zip(&mut self.leased) {
            let mut there = BTreeMap::new();
            let mut last = None;
            let count = queue.lease(UnixMs(0), usize::MAX, usize::MAX, |got| {
                let id = id_of(got.payload);
                assert!(sent.contains_key(&id), "never sent");
                assert!(last.is_none_or(|last| last < (id, got.seq)), "out of order");
                last = Some((id, got.seq));
                there.insert(id, sent[&id]);
                true
            });
            assert!(count.is_ok());
            assert!(sent.iter().all(|(id, sent)| sent.done || sent.ticket > must || there.contains_key(id)));
            queue.release_all();
            there.values_mut().for_each(|sent| *sent = Sent { ticket: 0, done: false });
            *sent = there;
            leased.clear();
        }
        Some(Self { disk, store, queues, ..self })
    }

    fn run(mut self, op: &Op) -> Option<Self> {
        match *op {
            Op::Append { queues, count, len } => self.append(queues, count, len),
            Op::Tick { ms } => {
                self.clock.advance_ms(u64::from(ms) * 4);
                self.store.tick();
            }
            Op::Lease { queue, max, stop } => {
                self.lease(usize::from(queue % 3), usize::from(max), usize::from(stop))
            }
            Op::Ack { queue, pick } => self.ack(usize::from(queue % 3), usize::from(pick % 8)),
            Op::Release { queue } => {
                self.queues[usize::from(queue % 3)].release_all();
                self.leased[usize::from(queue % 3)].clear();
            }
            Op::Checkpoint => drop(self.store.checkpoint_dirty()),
            Op::Kill => {
                let disk = self.disk.after_kill();
                return self.restart(disk, false);
            }
            Op::PowerCut { seed, scattered } => {
                let seed = u64::from(seed);
                let cut = if scattered { PowerCut::scattered(seed) } else { PowerCut::random_prefix(seed) };
                let disk = self.disk.after_power_cut(cut);
                return self.restart(disk, true);
            }
            Op::Fault { after, no_space } => {
                let fault = if no_space { Fault::NoSpace } else { Fault::Error };
                self.disk.set_fault(Some((u64::from(after), fault)));
            }
            Op::Heal => self.disk.set_fault(None),
            Op::Quota { kib } => self.disk.set_bytes_max((kib > 0).then_some(u64::from(kib) << 10)),
        }
        Some(self)
    }
}

fuzz_target!(|input: (bool, Vec<Op>)| {
    let (group, ops) = input;
    let mut world = World::new(group);
    for op in &ops {
        let Some(now) = world.take() else { return };
        world = now.run(op);
    }
});
