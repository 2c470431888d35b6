//! Every call of a disk fails once, or from then on, in every way: what was answered is there after a loss of power, a
//! failed sync or write ends the store for good, and a fault that passes takes nothing with it.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::sync::Arc;

use common::cases::{Case, Told, for_all};
use common::promise::{End, Promise};
use common::script::{Driver, Step, configs, found, scripts};
use common::{NEVER, NO_SPILL, Rig};
use edgehub_store::{StoreConfig, StoreError, Target};
use edgehub_testkit::{Call, FaultyStorage, PowerCut, VirtualClock};

fn open(disk: FaultyStorage, config: &StoreConfig, promise: &Promise, moment: usize) -> Rig {
    let clock = Arc::new(VirtualClock::at(promise.time(moment)));
    let rig = Rig::on(disk, config.clone(), clock);
    assert_eq!((rig.report.quarantined, rig.report.lost, rig.report.orphaned), (0, 0, 0));
    rig
}

/// A store that met its fault has stopped, if it had to, and says so.
fn check_stopped(rig: &mut Rig, case: Case) {
    let met = rig.disk.calls(case.call) > case.skip;
    rig.disk.plan_fault(None);
    // What fails of a spill file is given up and tried again, and so is the ledger of losses.
    let spills = rig.config.spill != NO_SPILL;
    let ledger_only =
        case.call != Call::SyncDir && rig.disk.failed_files().iter().all(|name| name.starts_with("losses"));
    let fatal = met && !ledger_only && matches!(case.call, Call::Write | Call::SyncData | Call::SyncDir);
    if fatal && (rig.store.is_poisoned().is_some() || !spills) {
        assert!(rig.store.is_poisoned().is_some());
        if let Some(queue) = rig.store.queues().first() {
            let target = Target { queue: queue.id(), expires_at: NEVER };
            let refused = rig.try_append(&[target], &[b"no"]);
            assert!(matches!(refused, Err(StoreError::Poisoned { .. } | StoreError::Closed)));
        }
    } else {
        assert!(rig.store.is_poisoned().is_none(), "{:?}", rig.store.is_poisoned());
    }
    assert_eq!(rig.store.stats().damaged, 0, "what cannot be read now is not lost");
    let _ = rig.store.close();
}

/// What power may leave of a folder.
fn cuts(seed: u64) -> [PowerCut; 7] {
    [
        PowerCut::all_lost(),
        PowerCut::names_only(),
        PowerCut::contents_only(),
        PowerCut::random_prefix(seed),
        PowerCut::random_prefix(!seed),
        PowerCut::scattered(seed),
        PowerCut::scattered(!seed),
    ]
}

fn check_case(config: &StoreConfig, steps: &[Step], case: Case) {
    let disk = FaultyStorage::new();
    disk.plan_fault(Some(case.plan()));
    let Ok(mut driver) = Driver::run(disk.clone(), config.clone(), steps) else {
        disk.plan_fault(None);
        assert_eq!(Driver::run(disk, config.clone(), steps).unwrap().rig.report.lost, 0);
        return;
    };
    driver.promise.crowded = matches!(case.call, Call::SetLen | Call::Open) && case.times == u64::MAX;
    check_stopped(&mut driver.rig, case);
    let (disk, moment) = (&driver.rig.disk, driver.rig.disk.moment());
    for cut in cuts(case.skip) {
        let rig = open(disk.after_power_cut(cut), config, &driver.promise, moment);
        driver.promise.check(&found(&rig), moment, End::PowerCut);
    }
    let rig = open(disk.after_kill(), config, &driver.promise, moment);
    driver.promise.check(&found(&rig), moment, End::Kill);
}

#[test]
fn every_call_of_a_running_store_may_fail() {
    let mut tried = 0;
    for config in configs() {
        for (name, steps) in scripts() {
            let whole = Driver::run(FaultyStorage::new(), config.clone(), &steps).unwrap();
            let cases = Case::all(&whole.rig.disk, &[1, u64::MAX]);
            for_all(&cases, |&case| {
                let _told = Told((name, config.sync, case));
                check_case(&config, &steps, case);
            });
            tried += cases.len();
        }
    }
    assert!(tried > 1000, "only {tried} cases");
}
