//! Whatever is done in whatever order with a quota in force: every message is delivered, lost and counted, or still there.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Got, NEVER, NO_SPILL, Rig, SPILL_ALL, config, drain, lease};
use edgehub_store::{LossCause, OverflowPolicy, Queue, Quota, SpillConfig, StoreConfig, SyncPolicy, Target};
use proptest::prelude::*;

const QUEUES: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Append { queues: Vec<usize>, bytes: usize },
    Lease { queue: usize, count: usize },
    Ack { queue: usize, every: usize },
    Release { queue: usize },
    Limit { segments: u64, policy: OverflowPolicy },
    Disk { segments: Option<u64> },
    Pass { ms: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let policy = prop::sample::select(vec![
        OverflowPolicy::RejectNew,
        OverflowPolicy::DropOldest,
        OverflowPolicy::DropLowestPriority,
    ]);
    let step = prop_oneof![
        6 => (prop::sample::subsequence(vec![0, 1, 2], 1..=2), 1usize..1500)
            .prop_map(|(queues, bytes)| Step::Append { queues, bytes }),
        2 => (0..QUEUES, 1usize..6).prop_map(|(queue, count)| Step::Lease { queue, count }),
        1 => (0..QUEUES, 1usize..3).prop_map(|(queue, every)| Step::Ack { queue, every }),
        1 => (0..QUEUES).prop_map(|queue| Step::Release { queue }),
        1 => (0u64..10, policy).prop_map(|(segments, policy)| Step::Limit { segments, policy }),
        1 => prop::option::of(3u64..8).prop_map(|segments| Step::Disk { segments }),
        4 => (1u64..400).prop_map(|ms| Step::Pass { ms }),
    ];
    prop::collection::vec(step, 20..150)
}

/// What a queue should hold, by number.
#[derive(Default)]
struct Model {
    sent: BTreeMap<u64, usize>,
    leased: BTreeMap<u64, u32>,
    acked: BTreeSet<u64>,
}

struct World {
    rig: Rig,
    queues: Vec<Queue>,
    models: Vec<Model>,
}

impl World {
    fn new(sync: SyncPolicy, spill: SpillConfig) -> Self {
        let rig = Rig::new(StoreConfig { spill, ..config(sync) });
        let queues = (0..QUEUES).map(|n| rig.store.open_queue("e", n as u32).unwrap()).collect();
        Self { rig, queues, models: (0..QUEUES).map(|_| Model::default()).collect() }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append { queues, bytes } => self.append(queues, *bytes),
            Step::Lease { queue, count } => {
                let got = lease(&self.queues[*queue], self.rig.now(), *count);
                self.note_leased(*queue, &got);
            }
            Step::Ack { queue, every } => self.ack(*queue, *every),
            Step::Release { queue } => {
                self.queues[*queue].release_all();
                self.models[*queue].leased.clear();
            }
            Step::Limit { segments, policy } => {
                let bytes_max = if *segments == 0 { u64::MAX } else { segments * 4096 };
                self.rig.store.set_quota(Some(Quota { bytes_max, policy: *policy }));
            }
            Step::Disk { segments } => self.rig.disk.set_bytes_max(segments.map(|segments| segments * 4096)),
            Step::Pass { ms } => self.rig.pass(*ms),
        }
    }

    fn append(&mut self, queues: &[usize], bytes: usize) {
        let target = |queue: &usize| Target { queue: self.queues[*queue].id(), expires_at: NEVER };
        let targets: Vec<_> = queues.iter().map(target).collect();
        if self.rig.try_append(&targets, &[&vec![1; bytes]]).is_ok() {
            for queue in queues {
                let sent = &mut self.models[*queue].sent;
                sent.insert(sent.len() as u64, bytes);
            }
        }
    }

    fn note_leased(&mut self, queue: usize, got: &[Got]) {
        let model = &mut self.models[queue];
        for message in got {
            assert_eq!(message.payload.len(), model.sent[&message.seq]);
            assert!(model.leased.insert(message.seq, message.epoch).is_none(), "leased twice");
            assert!(!model.acked.contains(&message.seq), "delivered again");
        }
    }

    fn ack(&mut self, queue: usize, every: usize) {
        let model = &mut self.models[queue];
        let some: Vec<_> = model.leased.iter().map(|(seq, epoch)| (*seq, *epoch)).step_by(every).collect();
        for (seq, epoch) in some {
            self.queues[queue].ack(seq, epoch);
            model.leased.remove(&seq);
            model.acked.insert(seq);
        }
    }

    /// What is leased can be read, and the numbers add up as far as everything is committed.
    fn check(&self, all_committed: bool) {
        for (queue, model) in self.queues.iter().zip(&self.models) {
            for seq in model.leased.keys() {
                assert!(queue.read(*seq, |_| {}).unwrap(), "{seq} was dropped although it is leased");
            }
            let accounted = queue.len() + model.acked.len() as u64 + queue.lost(LossCause::Quota);
            assert!(accounted <= model.sent.len() as u64);
            assert!(!all_committed || accounted == model.sent.len() as u64);
        }
    }

    /// Everything that is left comes out, in order, and nothing of it stays behind.
    fn finish(mut self) {
        self.rig.disk.set_bytes_max(None);
        (0..40).for_each(|_| self.rig.pass(300));
        self.check(true);
        for (queue, model) in self.queues.iter().zip(&mut self.models) {
            queue.release_all();
            let left = queue.len();
            let got = drain(queue, self.rig.now());
            assert_eq!(got.len() as u64, left);
            assert!(got.is_sorted_by(|a, b| a.seq < b.seq));
            assert!(got.iter().all(|got| !model.acked.contains(&got.seq)), "delivered again");
            assert!(got.iter().all(|got| got.payload.len() == model.sent[&got.seq]));
        }
        self.rig.store.set_quota(None);
        (0..40).for_each(|_| self.rig.pass(300));
        let stats = self.rig.store.stats();
        assert_eq!((stats.index_entries, stats.live_messages, stats.used_bytes), (0, 0, 0));
        assert!(!self.rig.store.pressure());
        assert_eq!(self.rig.killed().report.entries, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_uncounted(steps in steps(), group in any::<bool>(), spill in 0usize..3) {
        let sync = if group { SyncPolicy::Group } else { SyncPolicy::None };
        let some = SpillConfig { after_segments: 1, ..NO_SPILL };
        let mut world = World::new(sync, [NO_SPILL, some, SPILL_ALL][spill]);
        for step in &steps {
            world.take(step);
            world.check(!group);
        }
        world.finish();
    }
}
