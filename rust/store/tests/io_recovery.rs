//! Every call of a recovery fails once, twice, or from then on: the store opens or says why not, and a fault that passes
//! takes nothing with it.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::sync::Arc;

use common::cases::{Case, Told, for_all};
use common::promise::{End, Promise};
use common::script::{Driver, configs, found, scripts};
use common::{Rig, START};
use edgehub_store::{StoreConfig, StoreError};
use edgehub_testkit::{FaultyStorage, Moment, PowerCut, VirtualClock};

/// Folders to recover are taken at so many moments of each workload.
const MOMENTS: usize = 3;

/// A folder that somebody has to recover.
struct Left {
    disk: FaultyStorage,
    moment: usize,
    end: End,
}

/// What the end of the process and of power leave at a moment.
fn left_at(moment: &Moment) -> Vec<Left> {
    let ops = moment.unsynced_ops();
    let torn = moment.op_bytes(ops / 2).map_or(0, |bytes| bytes / 2);
    let cuts = [PowerCut::all_lost(), PowerCut::prefix(ops / 2, torn), PowerCut::contents_only()];
    let disks = cuts.map(|cut| (moment.after_power_cut(cut), End::PowerCut));
    let disks = disks.into_iter().chain([(moment.after_kill(), End::Kill)]);
    disks.map(|(disk, end)| Left { disk, moment: moment.number, end }).collect()
}

fn try_open(
    disk: &FaultyStorage,
    config: &StoreConfig,
    promise: &Promise,
    left: &Left,
) -> Result<Rig, StoreError> {
    let clock = Arc::new(VirtualClock::at(promise.time(left.moment)));
    Rig::try_on(disk.clone(), config.clone(), clock)
}

struct Recovering<'a> {
    config: &'a StoreConfig,
    promise: &'a Promise,
    left: &'a Left,
}

impl Recovering<'_> {
    /// All that is there when nothing fails.
    fn check(&self, disk: &FaultyStorage) {
        let rig = try_open(disk, self.config, self.promise, self.left).unwrap();
        assert_eq!((rig.report.quarantined, rig.report.lost, rig.report.orphaned), (0, 0, 0));
        self.promise.check(&found(&rig), self.left.moment, self.left.end);
    }

    fn check_case(&self, case: Case) {
        let disk = self.left.disk.after_kill();
        disk.plan_fault(Some(case.plan()));
        let opened = try_open(&disk, self.config, self.promise, self.left);
        disk.plan_fault(None);
        if let Ok(rig) = opened {
            if rig.report.quarantined > 0 {
                return assert!(case.never_ends(), "a fault that passes is damage");
            }
            self.promise.check(&found(&rig), self.left.moment, self.left.end);
        }
        self.check(&disk.after_kill());
        if self.left.end == End::PowerCut {
            self.check(&disk.after_power_cut(PowerCut::all_lost()));
            self.check(&disk.after_power_cut(PowerCut::names_only()));
        }
    }
}

#[test]
fn every_call_of_a_recovery_may_fail() {
    let mut tried = 0;
    for config in configs() {
        for (name, steps) in scripts() {
            let driver = Driver::run(FaultyStorage::new(), config.clone(), &steps).unwrap();
            let moments: Vec<_> = driver.rig.disk.moments().collect();
            for left in moments.iter().step_by(moments.len() / MOMENTS).flat_map(left_at) {
                let recovering = Recovering { config: &config, promise: &driver.promise, left: &left };
                let disk = left.disk.after_kill();
                drop(try_open(&disk, &config, &driver.promise, &left).unwrap());
                let cases = Case::all(&disk, &[1, 2, u64::MAX]);
                for_all(&cases, |&case| {
                    let _told = Told((name, config.sync, left.moment, left.end, case));
                    recovering.check_case(case);
                });
                tried += cases.len();
            }
        }
    }
    assert!(tried > 1000, "only {tried} cases");
}

/// A folder with everything that a recovery may have to do: to cut, to remove and to put aside.
fn damaged_folder(config: &StoreConfig) -> FaultyStorage {
    let (_, steps) = scripts().into_iter().find(|(name, _)| *name == "backlog").unwrap();
    let driver = Driver::run(FaultyStorage::new(), config.clone(), &steps).unwrap();
    let disk = driver.rig.disk.after_power_cut(PowerCut::prefix(usize::MAX, 0));
    let names = ["journal-000000000002.seg", "journal-000000000900.seg", "journal-000000000901.seg"];
    disk.set_content(names[0], &[7; 4096]);
    disk.set_content(names[1], &[7; 100]);
    disk.set_content(names[2], &[0; 4096]);
    disk
}

#[test]
fn every_call_of_a_repair_may_fail() {
    for config in configs() {
        let folder = damaged_folder(&config);
        let open = |disk: &FaultyStorage| {
            Rig::try_on(disk.clone(), config.clone(), Arc::new(VirtualClock::at(START)))
        };
        let whole = folder.after_kill();
        let rig = open(&whole).unwrap();
        let (wanted, quarantined) = (found(&rig), rig.report.quarantined);
        assert!(whole.content("journal-000000000002.bad").is_some(), "{:?} {:?}", config.sync, rig.report);
        for_all(&Case::all(&whole, &[1, 2, u64::MAX]), |&case| {
            let _told = Told((config.sync, case));
            let disk = folder.after_kill();
            disk.plan_fault(Some(case.plan()));
            let opened = open(&disk);
            disk.plan_fault(None);
            if opened.is_ok_and(|rig| rig.report.quarantined > quarantined) {
                return assert!(case.never_ends(), "a fault that passes is damage");
            }
            for disk in [disk.after_kill(), disk.after_power_cut(PowerCut::all_lost())] {
                assert_eq!(found(&open(&disk).unwrap()), wanted);
            }
        });
    }
}
