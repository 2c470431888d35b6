//! Power is cut at every moment of fixed workloads, after every prefix of what was not synced, torn at some bytes, and
//! scattered: the store opens and keeps what it promised. The same again while it recovers from that.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::cases::{Told, for_all};
use common::promise::{End, Promise};
use common::script::{Driver, Step, configs, found, scripts};
use common::{NEVER, Rig};
use edgehub_store::{StoreConfig, Target};
use edgehub_testkit::{FaultyStorage, Moment, PowerCut, VirtualClock};

const SCATTERED: u64 = 3;

/// All ways to lose power at a moment, with writes torn at these bytes and before their last one.
fn cuts(moment: &Moment, torn: &[usize]) -> Vec<PowerCut> {
    let mut cuts = vec![PowerCut::names_only(), PowerCut::contents_only()];
    for op in 0..=moment.unsynced_ops() {
        cuts.push(PowerCut::prefix(op, 0));
        if let Some(bytes) = moment.op_bytes(op) {
            let torn = torn.iter().copied().chain([bytes.saturating_sub(1)]);
            cuts.extend(torn.filter(|torn| *torn < bytes).map(|torn| PowerCut::prefix(op, torn)));
        }
    }
    cuts.extend((0..SCATTERED).map(|seed| PowerCut::scattered(seed + moment.number as u64 * SCATTERED)));
    cuts
}

struct Proof<'a> {
    config: &'a StoreConfig,
    promise: &'a Promise,
    opened: &'a AtomicU64,
}

impl Proof<'_> {
    fn open(&self, disk: FaultyStorage, moment: usize) -> Rig {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let clock = Arc::new(VirtualClock::at(self.promise.time(moment)));
        let rig = Rig::on(disk, self.config.clone(), clock);
        assert_eq!((rig.report.quarantined, rig.report.lost, rig.report.orphaned), (0, 0, 0));
        let (now, time) = (rig.now(), self.promise.time(moment));
        assert!(now <= time, "nothing may grow older by a loss of power: {now:?} after {time:?}");
        rig
    }

    /// A folder keeps the promises, and what is delivered of it is durable.
    fn check(&self, disk: FaultyStorage, moment: usize, end: End) -> Rig {
        let rig = self.open(disk, moment);
        let there = found(&rig);
        self.promise.check(&there, moment, end);
        let again = self.open(rig.disk.after_power_cut(PowerCut::all_lost()), moment);
        // The second time the store may know better what has expired.
        let [there, again] = [there, found(&again)].map(|found| self.promise.live(found, moment));
        assert_eq!(again, there, "delivered and lost");
        rig
    }

    /// Power goes once more, at every moment of the recovery.
    fn check_recovery(&self, disk: FaultyStorage, moment: usize) {
        disk.record();
        let rig = self.open(disk, moment);
        for step in rig.disk.moments() {
            for cut in cuts(&step, &[]) {
                let _told = Told(("recovery", step.number, cut.clone(), step.unsynced_ops()));
                self.promise.check(
                    &found(&self.open(step.after_power_cut(cut), moment)),
                    moment,
                    End::PowerCut,
                );
            }
        }
    }

    /// Numbers and order go on.
    fn check_continuation(&self, mut rig: Rig, moment: usize) {
        let before = found(&rig);
        let queues = rig.store.queues();
        if queues.is_empty() {
            return;
        }
        let id = u64::MAX - u64::from(u8::MAX);
        let targets: Vec<_> =
            queues.iter().map(|queue| Target { queue: queue.id(), expires_at: NEVER }).collect();
        let _ = rig.try_append(&targets, &[&id.to_le_bytes()]).unwrap();
        rig.pass(0);
        rig.store.close().unwrap();
        let after = found(&self.open(rig.disk.after_kill(), moment));
        for (after, before) in after.iter().zip(before).filter(|(after, _)| !after.is_empty()) {
            let (last, rest) = after.split_last().unwrap();
            assert_eq!((rest, last.0), (&before[..], id));
            assert!(rest.iter().all(|(_, seq)| *seq < last.1), "a number was given twice");
        }
    }

    fn check_moment(&self, moment: &Moment) {
        for cut in cuts(moment, &[1, 64, 300]) {
            let _told = Told(cut.clone());
            self.check(moment.after_power_cut(cut), moment.number, End::PowerCut);
        }
        let rig = self.check(moment.after_kill(), moment.number, End::Kill);
        self.check_continuation(rig, moment.number);
        for cut in [PowerCut::all_lost(), PowerCut::scattered(moment.number as u64)] {
            let _told = Told(cut.clone());
            self.check_recovery(moment.after_power_cut(cut), moment.number);
        }
    }
}

/// Returns how many folders were opened.
fn prove(config: &StoreConfig, name: &str, steps: &[Step]) -> u64 {
    let driver = Driver::run(FaultyStorage::new(), config.clone(), steps).unwrap();
    assert!(driver.rig.store.is_poisoned().is_none());
    let opened = AtomicU64::new(0);
    let proof = Proof { config, promise: &driver.promise, opened: &opened };
    let moments: Vec<_> = driver.rig.disk.moments().collect();
    assert!(moments.len() > 30, "{name} does too little: {}", moments.len());
    for_all(&moments, |moment| {
        let _told = Told((name, config.sync, moment.number));
        proof.check_moment(moment);
    });
    opened.into_inner()
}

#[test]
fn power_may_go_at_every_moment() {
    let mut opened = 0;
    for config in configs() {
        for (name, steps) in scripts() {
            opened += prove(&config, name, &steps);
        }
    }
    assert!(opened > 10_000, "only {opened} folders were opened");
}
