//! What a loss of power leaves: random work, a cut at a random moment, recovery, and on from there.
//!
//! The disk keeps live and durable images apart and leaves either a prefix of what was not synced, torn at any
//! byte, or any sectors of it in no order. The model knows of every message whether it must be there, must not be
//! there, or may.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Got, NEVER, NO_SPILL, Rig, SPILL_ALL, config, lease};
use edgehub_store::{Commit, Queue, SpillConfig, StoreConfig, SyncPolicy, Target};
use edgehub_testkit::{Dice, PowerCut};
use edgehub_types::Storage;

const QUEUES: [&str; 3] = ["a", "b", "c"];
const INTERVAL: SyncPolicy = SyncPolicy::Interval { interval_ms: 40 };

/// One message in one queue.
#[derive(Debug, Clone, Copy)]
struct Sent {
    batch: u64,
    life: u32,
    done: bool,
    seq: Option<u64>,
}

#[derive(Debug, Default)]
struct ModelQueue {
    /// By id, which is the order of appending.
    sent: BTreeMap<u64, Sent>,
    leased: BTreeMap<u64, u64>,
    /// Messages of which the log says that they are done.
    written_done: BTreeSet<u64>,
    /// Messages of which the durable log says so.
    durable_done: BTreeSet<u64>,
    /// Numbers below are given for ever.
    floor: u64,
}

impl ModelQueue {
    /// The checkpoint covers what is done without a gap.
    fn write_checkpoint(&mut self) {
        let prefix = self.sent.iter().take_while(|(_, sent)| sent.done).map(|(id, _)| *id);
        self.written_done.extend(prefix);
    }

    fn is_durable(&self, durable_batch: u64, id: u64) -> bool {
        self.sent.get(&id).is_some_and(|sent| sent.batch <= durable_batch)
    }
}

struct World {
    rig: Rig,
    dice: Dice,
    life: u32,
    queues: Vec<Queue>,
    model: Vec<ModelQueue>,
    next_id: u64,
    batches: u64,
    /// Batches up to this one are committed, up to the other one durable.
    committed: u64,
    durable: u64,
}

fn id_of(got: &Got) -> u64 {
    u64::from_le_bytes(got.payload[..8].try_into().unwrap())
}

impl World {
    fn new(config: StoreConfig, seed: u64) -> Self {
        let mut world = Self {
            rig: Rig::new(config),
            dice: Dice::new(seed),
            life: 0,
            queues: Vec::new(),
            model: QUEUES.iter().map(|_| ModelQueue::default()).collect(),
            next_id: 1,
            batches: 0,
            committed: 0,
            durable: 0,
        };
        world.open_queues();
        world
    }

    fn is_group(&self) -> bool {
        self.rig.config.sync == SyncPolicy::Group
    }

    fn open_queues(&mut self) {
        self.queues = QUEUES.map(|endpoint| self.rig.store.open_queue(endpoint, 0).unwrap()).into();
    }

    fn append(&mut self) {
        self.batches += 1;
        let mask = 1 + self.dice.below(7);
        let ids = self.next_id..self.next_id + 1 + self.dice.below(4);
        self.next_id = ids.end;
        let chosen: Vec<usize> = (0..QUEUES.len()).filter(|at| mask & 1 << at != 0).collect();
        let mut bodies = Vec::new();
        for id in ids {
            let mut body = id.to_le_bytes().to_vec();
            body.resize(8 + self.dice.below(900) as usize, id as u8);
            bodies.push(body);
            for at in &chosen {
                let sent = Sent { batch: self.batches, life: self.life, done: false, seq: None };
                self.model[*at].sent.insert(id, sent);
            }
        }
        let targets = chosen.iter().map(|at| Target { queue: self.queues[*at].id(), expires_at: NEVER });
        let targets: Vec<_> = targets.collect();
        let bodies: Vec<_> = bodies.iter().map(|body| &body[..]).collect();
        let commit = self.rig.try_append(&targets, &bodies).unwrap();
        assert_eq!(commit == Commit::Pending, self.is_group());
        if !self.is_group() {
            self.committed = self.batches;
            self.model.iter_mut().for_each(ModelQueue::write_checkpoint);
        }
    }

    fn tick(&mut self, ms: u64) {
        let told = self.rig.tickets.committed.lock().len();
        self.rig.pass(ms);
        if self.rig.tickets.committed.lock().len() > told {
            self.committed = self.batches;
            self.model.iter_mut().for_each(ModelQueue::write_checkpoint);
            self.all_durable();
        }
        if self.rig.disk.unsynced_ops() == 0 {
            self.all_durable();
        }
    }

    fn all_durable(&mut self) {
        self.durable = self.committed;
        for model in &mut self.model {
            model.durable_done.clone_from(&model.written_done);
        }
    }

    fn lease(&mut self, at: usize) {
        let max = 1 + self.dice.below(6) as usize;
        let model = &mut self.model[at];
        for got in lease(&self.queues[at], self.rig.now(), max) {
            let sent = model.sent.get_mut(&id_of(&got)).unwrap();
            assert!(!sent.done, "delivered after it was done: {sent:?}");
            assert!(sent.batch <= self.committed, "delivered before its commit: {sent:?}");
            assert!(sent.seq.is_none_or(|seq| seq == got.seq));
            assert!(sent.life < self.life || got.seq >= model.floor, "number {} given again", got.seq);
            sent.seq = Some(got.seq);
            model.leased.insert(id_of(&got), got.seq);
        }
    }

    fn ack(&mut self, at: usize) {
        let pick = self.dice.below(3) as usize;
        let model = &mut self.model[at];
        let Some((id, seq)) = model.leased.iter().nth(pick).map(|(id, seq)| (*id, *seq)) else { return };
        self.queues[at].ack(seq, self.queues[at].epoch());
        model.leased.remove(&id);
        model.sent.get_mut(&id).unwrap().done = true;
    }

    fn checkpoint(&mut self) {
        self.rig.store.checkpoint_dirty().unwrap();
        self.model.iter_mut().for_each(ModelQueue::write_checkpoint);
    }

    /// The endpoint goes and comes back at once; what is still to be committed belongs to the new one.
    fn remove(&mut self, at: usize) {
        self.rig.store.remove_endpoint(QUEUES[at]).unwrap();
        self.queues[at] = self.rig.store.open_queue(QUEUES[at], 0).unwrap();
        let model = &mut self.model[at];
        model.leased.clear();
        for (id, sent) in model.sent.iter_mut().filter(|(_, sent)| sent.batch <= self.committed) {
            sent.done = true;
            model.written_done.insert(*id);
        }
    }

    fn act(&mut self) {
        let at = self.dice.below(3) as usize;
        match self.dice.below(100) {
            0..33 => self.append(),
            33..53 => self.tick(0),
            53..60 => self.tick(45),
            60..76 => self.lease(at),
            76..93 => self.ack(at),
            93..98 => self.checkpoint(),
            _ => self.remove(at),
        }
    }

    /// Loses power, recovers, and checks what came back.
    fn cut(mut self, cut: PowerCut) -> Self {
        let disk = self.rig.disk.after_power_cut(cut);
        self.rig = Rig::on(disk, self.rig.config.clone(), self.rig.clock.clone());
        assert_eq!(self.rig.report.quarantined, 0, "what was not durable is torn, not damaged");
        assert_eq!(self.rig.report.lost, 0);
        assert_eq!(self.rig.report.orphaned, 0);
        self.open_queues();
        let now = self.rig.now();
        let found: Vec<_> = self.queues.iter().map(|queue| lease(queue, now, usize::MAX)).collect();
        let batches = found
            .iter()
            .zip(&self.model)
            .flat_map(|(found, model)| found.iter().map(|got| model.sent[&id_of(got)].batch));
        let last_batch = batches.max().unwrap_or(0);
        for (model, found) in self.model.iter_mut().zip(&found) {
            check_and_restart(model, found, self.durable, last_batch);
        }
        for queue in &self.queues {
            queue.release_all();
        }
        self.life += 1;
        self.committed = self.batches;
        // A recovery makes durable what it found.
        self.durable = self.batches;
        self
    }
}

/// What came back in one queue is what had to, and a prefix of what could.
fn check_and_restart(model: &mut ModelQueue, found: &[Got], durable: u64, last_batch: u64) {
    let there: BTreeMap<u64, u64> = found.iter().map(|got| (id_of(got), got.seq)).collect();
    assert!(found.is_sorted_by(|a, b| id_of(a) < id_of(b) && a.seq < b.seq), "order is kept");
    for (id, sent) in &model.sent {
        let seq = there.get(id);
        assert!(seq.is_some() || sent.done || sent.batch > durable, "lost: {sent:?}");
        assert!(seq.is_some() || sent.done || sent.batch > last_batch, "not a prefix: {sent:?}");
        assert!(seq.is_none() || !model.durable_done.contains(id), "came back: {sent:?}");
        assert!(seq.is_none() || sent.seq.is_none() || sent.seq.as_ref() == seq, "{seq:?} was {sent:?}");
    }
    let given = model.sent.iter().filter(|(id, _)| model.is_durable(durable, **id));
    let given = given.filter_map(|(_, sent)| sent.seq).chain(there.values().copied());
    model.floor = given.map(|seq| seq + 1).max().unwrap_or(0).max(model.floor);
    model.sent.retain(|id, _| there.contains_key(id));
    for (id, sent) in &mut model.sent {
        *sent = Sent { done: false, seq: there.get(id).copied(), ..*sent };
    }
    model.leased.clear();
    model.written_done.clear();
    model.durable_done.clear();
}

fn run(policy: SyncPolicy, seed: u64) {
    let mut dice = Dice::new(seed);
    let segment_bytes = [4096, 16_384, 1 << 20][dice.below(3) as usize];
    let spill = [NO_SPILL, SPILL_ALL, SpillConfig { after_segments: 1, index_entries: 30, ..NO_SPILL }];
    let spill = spill[dice.below(3) as usize];
    let mut world = World::new(StoreConfig { segment_bytes, spill, ..config(policy) }, seed);
    for _ in 0..4 {
        for _ in 0..dice.below(80) {
            world.act();
        }
        let cut_seed = dice.below(u64::MAX);
        let prefix = dice.below(2) == 0;
        let cut = if prefix { PowerCut::random_prefix(cut_seed) } else { PowerCut::scattered(cut_seed) };
        world = world.cut(cut);
    }
}

/// More of them with `STORE_CRASHES=100000`.
fn seeds() -> u64 {
    std::env::var("STORE_CRASHES").ok().and_then(|count| count.parse().ok()).unwrap_or(100)
}

#[test]
fn group_commit_survives_power_cuts() {
    for seed in 0..seeds() {
        run(SyncPolicy::Group, seed);
    }
}

#[test]
fn the_interval_policy_survives_power_cuts() {
    for seed in 0..seeds() {
        run(INTERVAL, seed);
    }
}

#[test]
fn without_sync_a_prefix_survives_power_cuts() {
    for seed in 0..seeds() {
        run(SyncPolicy::None, seed);
    }
}

/// A segment that is gone must be known to be spent, not lost with all that came after it.
#[test]
fn a_cut_right_after_unlinking_loses_nothing() {
    for policy in [SyncPolicy::Group, INTERVAL, SyncPolicy::None] {
        let mut rig = Rig::new(config(policy));
        let queue = rig.store.open_queue("e", 0).unwrap();
        rig.append(&[&queue], &[&[0; 1500]]);
        // These two are committed together, but in two segments: the second one begins before the first is durable.
        let target = [Target { queue: queue.id(), expires_at: NEVER }];
        for n in 1..3_u8 {
            let _ = rig.try_append(&target, &[&[n; 1500]]).unwrap();
        }
        rig.store.tick();
        let first = rig.disk.list().unwrap().into_iter().min().unwrap();
        for message in lease(&queue, rig.now(), 2) {
            queue.ack(message.seq, message.epoch);
        }
        rig.pass(40);
        rig.pass(40);
        for _ in 0..100 {
            if rig.disk.content(&first).is_none() {
                break;
            }
            rig.pass(20);
        }
        assert_eq!(rig.disk.content(&first), None, "the first segment is unlinked");
        rig.disk.sync_dir().unwrap();
        let disk = rig.disk.after_power_cut(PowerCut::all_lost());
        let rig = Rig::on(disk, rig.config, rig.clock);
        let queue = rig.store.open_queue("e", 0).unwrap();
        assert_eq!(lease(&queue, rig.now(), 9).last().map(|got| got.seq), Some(2), "{policy:?}");
    }
}

/// Every single place where a cut can be, for a short history.
#[test]
fn every_byte_of_the_end_can_be_the_last() {
    for policy in [SyncPolicy::Group, SyncPolicy::None] {
        let mut world = World::new(config(policy), 3);
        for _ in 0..12 {
            world.append();
            if world.dice.below(4) == 0 {
                world.tick(0);
            }
            world.lease(0);
            world.ack(0);
        }
        let ops = world.rig.disk.unsynced_ops();
        for op in 0..=ops {
            for torn in 0..400 {
                let disk = world.rig.disk.after_power_cut(PowerCut::prefix(op, torn * 7));
                let rig = Rig::on(disk, world.rig.config.clone(), world.rig.clock.clone());
                assert_eq!((rig.report.quarantined, rig.report.orphaned), (0, 0));
                for queue in rig.store.queues() {
                    let found = lease(&queue, rig.now(), usize::MAX);
                    assert!(found.is_sorted_by(|a, b| a.seq + 1 == b.seq));
                    if policy == SyncPolicy::Group {
                        let at = QUEUES.iter().position(|name| *name == queue.endpoint()).unwrap();
                        let model = &world.model[at];
                        let must =
                            model.sent.iter().filter(|(_, sent)| sent.batch <= world.durable && !sent.done);
                        let there: BTreeSet<_> = found.iter().map(id_of).collect();
                        assert!(must.map(|(id, _)| id).all(|id| there.contains(id)));
                    }
                }
            }
        }
    }
}
