//! Bits flip anywhere in the files: the store opens, delivers nothing that was not sent, and says what is missing.
//!
//! `STORE_FLIP_SEEDS=100000` tries more, `STORE_SEEDS=7` only that one.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use common::Rig;
use common::promise::{Promise, Sent};
use common::script::{Driver, QUEUES, configs, found, scripts};
use common::seeds::Suite;
use edgehub_store::{StoreConfig, SyncPolicy};
use edgehub_testkit::{Dice, FaultyStorage, PowerCut, VirtualClock};
use edgehub_types::Storage;

const FLIPS_MAX: u64 = 12;
/// Folders are taken at so many moments of each workload.
const MOMENTS: usize = 4;

type Found = [Vec<(u64, u64)>; QUEUES.len()];

/// A folder before anything happens to it.
struct Whole {
    name: &'static str,
    config: StoreConfig,
    disk: FaultyStorage,
    promise: Arc<Promise>,
    moment: usize,
    found: Found,
}

/// One bit of one file, each as a part of all there are.
#[derive(Debug, Clone)]
struct Flip {
    file: u64,
    bit: u64,
}

fn open(whole: &Whole, disk: &FaultyStorage) -> Rig {
    let clock = Arc::new(VirtualClock::at(whole.promise.time(whole.moment)));
    Rig::on(disk.clone(), whole.config.clone(), clock)
}

/// Folders of all workloads and policies, all of them durable.
fn folders() -> &'static [Whole] {
    static FOLDERS: OnceLock<Vec<Whole>> = OnceLock::new();
    FOLDERS.get_or_init(|| {
        let mut folders = Vec::new();
        for config in configs() {
            for (name, steps) in scripts() {
                let driver = Driver::run(FaultyStorage::new(), config.clone(), &steps).unwrap();
                let moments: Vec<_> = driver.rig.disk.moments().collect();
                let promise = Arc::new(driver.promise);
                for moment in moments.iter().rev().step_by(moments.len() / MOMENTS) {
                    let disk = moment.after_power_cut(PowerCut::prefix(usize::MAX, 0));
                    let (config, promise) = (config.clone(), Arc::clone(&promise));
                    let mut whole =
                        Whole { name, config, disk, promise, moment: moment.number, found: Found::default() };
                    whole.found = found(&open(&whole, &whole.disk.after_kill()));
                    if whole.found.iter().any(|queue| !queue.is_empty()) {
                        folders.push(whole);
                    }
                }
            }
        }
        folders
    })
}

fn plan(seed: u64) -> (usize, Vec<Flip>) {
    let mut dice = Dice::new(seed);
    let folder = dice.below(folders().len() as u64) as usize;
    // Mostly one: more of them hide each other.
    let count = if dice.below(3) > 0 { 1 } else { 2 + dice.below(FLIPS_MAX - 1) };
    (folder, (0..count).map(|_| Flip { file: dice.below(u64::MAX), bit: dice.below(u64::MAX) }).collect())
}

/// Flips a bit of what is not zero at the end of a file: the rest is not in use.
fn flip(disk: &FaultyStorage, flip: &Flip) {
    let names = disk.list().unwrap();
    let name = &names[(flip.file % names.len() as u64) as usize];
    let mut content = disk.content(name).unwrap();
    let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    if used > 0 {
        let bit = flip.bit % (used * 8);
        content[(bit / 8) as usize] ^= 1 << (bit % 8);
        disk.set_content(name, &content);
    }
}

/// Batches that one flipped bit may cost under group commit: its own or, in what is not yet known to be durable, its round.
const ROUND_BATCHES_MAX: usize = 2;

/// Messages of which nothing came back.
#[derive(Debug, Default)]
struct Missing {
    all: u64,
    batches: BTreeSet<u64>,
    /// Those with others behind them in their queue: the numbers tell.
    between: u64,
}

/// Everything that is there was sent, with this number if it is known.
fn check_queue(
    missing: &mut Missing,
    sent: &BTreeMap<u64, Sent>,
    before: &[(u64, u64)],
    after: &[(u64, u64)],
) {
    assert!(after.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "out of order");
    let before: BTreeMap<_, _> = before.iter().copied().collect();
    for (id, seq) in after {
        let known = sent[id].seq.or(before.get(id).copied());
        assert!(known.is_none_or(|known| known == *seq), "message {id} has another number");
    }
    let there: BTreeSet<_> = after.iter().map(|(id, _)| *id).collect();
    let last = there.last().copied().unwrap_or(0);
    for id in before.keys().filter(|id| !there.contains(id)) {
        missing.all += 1;
        missing.between += u64::from(*id < last);
        missing.batches.insert(sent[id].batch);
    }
}

/// Whether no segment is spent that has others before and behind it.
fn is_whole_row(disk: &FaultyStorage) -> bool {
    let mut numbers: Vec<u64> =
        disk.list().unwrap().iter().map(|name| name[8..20].parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers.windows(2).all(|pair| pair[0] + 1 == pair[1])
}

fn run(folder: &usize, flips: &[Flip]) {
    let whole = &folders()[*folder];
    let at = (whole.name, whole.config.sync, whole.moment);
    let disk = whole.disk.after_kill();
    flips.iter().for_each(|bit| flip(&disk, bit));
    let whole_row = is_whole_row(&disk);
    let rig = open(whole, &disk);
    let (after, report) = (found(&rig), rig.report);
    let mut missing = Missing::default();
    let queues = whole.promise.queues.iter().zip(&whole.found).zip(&after);
    for ((sent, before), after) in queues {
        check_queue(&mut missing, sent, before, after);
    }
    let told = report.quarantined > 0 || report.torn_bytes > 0;
    assert!(missing.all == 0 || told, "{missing:?} without a word: {at:?}");
    let few = missing.batches.len() <= ROUND_BATCHES_MAX;
    assert!(few || flips.len() > 1 || whole.config.sync != SyncPolicy::Group, "{missing:?}: {at:?}");
    // With spent segments in between, or a header gone as well, what is missing may have been in those.
    let known = flips.len() == 1 && whole_row;
    assert!(missing.between <= report.lost || !known, "{missing:?}: {at:?} {report:?}");
    let there: usize = after.iter().map(Vec::len).sum();
    let all: usize = whole.promise.queues.iter().map(BTreeMap::len).sum();
    assert!(there as u64 + report.lost <= all as u64, "{there} of {all}: {at:?} {report:?}");
    assert_eq!(rig.store.stats().damaged, 0);
    let again = open(whole, &disk.after_kill());
    assert_eq!((found(&again), again.report.torn_bytes), (after, 0), "another time it is other: {at:?}");
}

#[test]
fn flipped_bits_are_found_and_told() {
    let suite = Suite {
        name: "bit_flips",
        regressions: include_str!("seeds/bit_flips.txt"),
        count_variable: "STORE_FLIP_SEEDS",
        count: 10_000,
        plan,
        run,
    };
    suite.check();
}
