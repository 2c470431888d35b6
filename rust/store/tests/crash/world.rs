//! The store and what is known of every message: whether a loss of power may take it.

use std::collections::{BTreeMap, BTreeSet};

use edgehub_store::{Commit, Queue, StoreConfig, SyncPolicy, Target};
use edgehub_testkit::PowerCut;

use crate::action::{Action, QUEUES};
use crate::common::{Got, NEVER, Rig, lease};

/// One message in one queue.
#[derive(Debug, Clone, Copy)]
struct Sent {
    batch: u64,
    life: u32,
    done: bool,
    /// It was handed out in this life.
    leased: bool,
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

pub struct World {
    pub rig: Rig,
    life: u32,
    queues: Vec<Queue>,
    model: Vec<ModelQueue>,
    next_id: u64,
    batches: u64,
    /// Batches up to this one are committed, up to the other one durable.
    committed: u64,
    durable: u64,
    /// Whether somebody waits for a batch that is not committed yet.
    is_awaited: bool,
}

/// Of so many batches one is such that nobody waits for it.
const UNAWAITED_EACH: u64 = 3;

pub fn id_of(got: &Got) -> u64 {
    u64::from_le_bytes(got.payload[..8].try_into().unwrap())
}

impl World {
    pub fn new(config: StoreConfig) -> Self {
        let mut world = Self {
            rig: Rig::new(config),
            life: 0,
            queues: Vec::new(),
            model: QUEUES.iter().map(|_| ModelQueue::default()).collect(),
            next_id: 1,
            batches: 0,
            committed: 0,
            durable: 0,
            is_awaited: false,
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

    fn append(&mut self, mask: u8, sizes: &[u16]) {
        self.batches += 1;
        let ids = self.next_id..self.next_id + sizes.len() as u64;
        self.next_id = ids.end;
        let chosen: Vec<usize> = (0..QUEUES.len()).filter(|at| mask & 1 << at != 0).collect();
        let mut bodies = Vec::new();
        for (id, size) in ids.zip(sizes) {
            let mut body = id.to_le_bytes().to_vec();
            body.resize(8 + usize::from(*size), id as u8);
            bodies.push(body);
            for at in &chosen {
                let sent =
                    Sent { batch: self.batches, life: self.life, done: false, leased: false, seq: None };
                self.model[*at].sent.insert(id, sent);
            }
        }
        let targets = chosen.iter().map(|at| Target { queue: self.queues[*at].id(), expires_at: NEVER });
        let targets: Vec<_> = targets.collect();
        let bodies: Vec<_> = bodies.iter().map(|body| &body[..]).collect();
        let is_awaited = !self.batches.is_multiple_of(UNAWAITED_EACH);
        let commit = if is_awaited {
            self.rig.try_append(&targets, &bodies).unwrap()
        } else {
            self.rig.try_append_unawaited(&targets, &bodies).unwrap()
        };
        self.is_awaited |= is_awaited;
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
            if std::mem::take(&mut self.is_awaited) {
                self.all_durable();
            }
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

    fn lease(&mut self, at: usize, max: usize) {
        let model = &mut self.model[at];
        for got in lease(&self.queues[at], self.rig.now(), max) {
            let sent = model.sent.get_mut(&id_of(&got)).unwrap();
            assert!(!sent.done, "delivered after it was done: {sent:?}");
            assert!(sent.batch <= self.committed, "delivered before its commit: {sent:?}");
            assert!(sent.seq.is_none_or(|seq| seq == got.seq));
            assert!(got.redelivered || (sent.life == self.life && !sent.leased), "not told: {sent:?}");
            assert!(sent.life < self.life || got.seq >= model.floor, "number {} given again", got.seq);
            (sent.seq, sent.leased) = (Some(got.seq), true);
            model.leased.insert(id_of(&got), got.seq);
        }
    }

    fn ack(&mut self, at: usize, pick: usize) {
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

    /// One step; a cut of power ends the life of this world and begins another.
    pub fn act(self, action: &Action) -> Self {
        let mut world = self;
        match *action {
            Action::Append { queues, ref sizes } => world.append(queues, sizes),
            Action::Pass { ms } => world.tick(ms),
            Action::Lease { queue, max } => world.lease(queue, max),
            Action::Ack { queue, pick } => world.ack(queue, pick),
            Action::Checkpoint => world.checkpoint(),
            Action::Remove { queue } => world.remove(queue),
            Action::Cut { seed, scattered } => {
                let cut = if scattered { PowerCut::scattered(seed) } else { PowerCut::random_prefix(seed) };
                return world.cut(cut);
            }
        }
        world
    }

    /// Every message of a place in [`QUEUES`] that must be there whatever happens.
    pub fn must_be_there(&self, at: usize) -> impl Iterator<Item = u64> {
        let wanted = self.model[at].sent.iter().filter(|(_, sent)| sent.batch <= self.durable && !sent.done);
        wanted.map(|(id, _)| *id)
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
        self.is_awaited = false;
        self
    }
}

/// What came back in one queue is what had to, and a prefix of what could.
fn check_and_restart(model: &mut ModelQueue, found: &[Got], durable: u64, last_batch: u64) {
    let there: BTreeMap<u64, u64> = found.iter().map(|got| (id_of(got), got.seq)).collect();
    assert!(found.iter().all(|got| got.redelivered), "any may have been delivered before");
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
        *sent = Sent { done: false, leased: false, seq: there.get(id).copied(), ..*sent };
    }
    model.leased.clear();
    model.written_done.clear();
    model.durable_done.clear();
}
