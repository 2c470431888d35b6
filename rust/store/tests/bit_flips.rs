//! Bits flip anywhere in the files: the store opens, delivers nothing that was not sent, and says what is missing.
//!
//! `STORE_FLIP_SEEDS=100000` tries more, `STORE_SEEDS=7` only that one.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use common::cases::{Told, for_all};
use common::promise::{Promise, Sent};
use common::script::{Driver, QUEUES, Step, configs, found, scripts};
use common::{NO_SPILL, OWNER, Rig};
use edgehub_store::{StoreConfig, SyncPolicy};
use edgehub_testkit::{Dice, FaultyStorage, Moment, PowerCut, Suite, VirtualClock};
use edgehub_types::Storage;

const FLIPS_MAX: u64 = 12;
/// Folders are taken at one moment of so many of each workload.
const EVERY: usize = 12;

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

/// Which of the folders.
#[derive(Debug)]
struct Chosen {
    folder: usize,
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

/// Folders of a workload at some moments, one of so many, all of it durable.
fn folders_of(config: &StoreConfig, name: &'static str, steps: &[Step], every: usize) -> Vec<Whole> {
    let driver = Driver::run(FaultyStorage::new(), config.clone(), steps).unwrap();
    let moments: Vec<_> = driver.rig.disk.moments().collect();
    let promise = Arc::new(driver.promise);
    let folder = |moment: &Moment| {
        let disk = moment.after_power_cut(PowerCut::prefix(usize::MAX, 0));
        let (config, promise) = (config.clone(), Arc::clone(&promise));
        let mut whole = Whole { name, config, disk, promise, moment: moment.number, found: Found::default() };
        whole.found = found(&open(&whole, &whole.disk.after_kill()));
        whole
    };
    let folders = moments.iter().rev().step_by(every).map(folder);
    folders.filter(|whole| whole.found.iter().any(|queue| !queue.is_empty())).collect()
}

/// Folders of all workloads and policies.
fn folders() -> &'static [Whole] {
    static FOLDERS: OnceLock<Vec<Whole>> = OnceLock::new();
    FOLDERS.get_or_init(|| {
        let mut folders = Vec::new();
        for config in configs() {
            for (name, steps) in scripts() {
                folders.append(&mut folders_of(&config, name, &steps, EVERY));
            }
        }
        folders
    })
}

fn plan(seed: u64) -> (Chosen, Vec<Flip>) {
    let mut dice = Dice::new(seed);
    let folder = dice.below(folders().len() as u64) as usize;
    // Mostly one: more of them hide each other.
    let count = if dice.below(3) > 0 { 1 } else { 2 + dice.below(FLIPS_MAX - 1) };
    (
        Chosen { folder },
        (0..count).map(|_| Flip { file: dice.below(u64::MAX), bit: dice.below(u64::MAX) }).collect(),
    )
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
    let names = disk.list().unwrap();
    let numbers = names.iter().filter_map(|name| name.strip_prefix("journal-")?.get(..12)?.parse().ok());
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    numbers.windows(2).all(|pair| pair[0] + 1 == pair[1])
}

fn run(chosen: &Chosen, flips: &[Flip]) {
    let whole = &folders()[chosen.folder];
    let disk = whole.disk.after_kill();
    for bit in flips {
        flip(&disk, bit);
    }
    check_folder(whole, &disk, flips.len());
}

/// What is missing in a folder in which so many bits were flipped is told.
fn check_folder(whole: &Whole, disk: &FaultyStorage, flips: usize) {
    let at = (whole.name, whole.config.sync, whole.moment);
    let whole_row = is_whole_row(disk);
    let rig = open(whole, disk);
    let (after, report) = (found(&rig), rig.report);
    let mut missing = Missing::default();
    let queues = whole.promise.queues.iter().zip(&whole.found).zip(&after);
    for ((sent, before), after) in queues {
        check_queue(&mut missing, sent, before, after);
    }
    // A block of a spill file is found damaged when it is fetched.
    let lost = report.lost + rig.store.stats().damaged;
    let told = report.quarantined > 0 || report.torn_bytes > 0 || lost > 0;
    assert!(missing.all == 0 || told, "{missing:?} without a word: {at:?}");
    // A block of a spill file, or the only header with the definition of a queue, holds more; all of that is told.
    let more = report.orphaned > 0 || whole.config.spill != NO_SPILL;
    let few = missing.batches.len() <= ROUND_BATCHES_MAX || (more && missing.all <= lost);
    assert!(few || flips > 1 || whole.config.sync != SyncPolicy::Group, "{missing:?}: {at:?}");
    // With spent segments in between, or a header gone as well, what is missing may have been in those. What is in spill
    // files is known from the journal, which is damaged.
    let known = flips == 1 && whole_row && whole.config.spill == NO_SPILL;
    assert!(missing.between <= lost || !known, "{missing:?}: {at:?} {report:?}");
    let there: usize = after.iter().map(Vec::len).sum();
    let all: usize = whole.promise.queues.iter().map(BTreeMap::len).sum();
    assert!(there as u64 + lost <= all as u64, "{there} of {all}: {at:?} {report:?}");
    let again = open(whole, &disk.after_kill());
    // Several damages together may leave a folder in which the first recovery's own segment cannot be placed.
    if flips == 1 {
        assert_eq!(found(&again), after, "another time it is other: {at:?}");
        assert_eq!(again.report.torn_bytes, 0, "the first recovery cleaned up: {at:?}");
    }
}

#[test]
fn flipped_bits_are_found_and_told() {
    let suite = Suite {
        owner: OWNER,
        name: "bit_flips",
        regressions: include_str!("seeds/bit_flips.txt"),
        count_variable: "STORE_FLIP_SEEDS",
        count: 10_000,
        plan,
        run,
    };
    suite.check();
}

/// Also the one batch that says that a segment which is gone was spent.
#[test]
fn every_byte_may_be_damaged_where_segments_are_spent() {
    let (name, steps) = scripts().into_iter().find(|(name, _)| *name == "reclaim").unwrap();
    let folders = folders_of(&configs()[0], name, &steps, 1);
    let spent = |whole: &&Whole| whole.disk.content("journal-000000000001.seg").is_none();
    let folders: Vec<_> = folders.iter().filter(spent).collect();
    assert!(folders.len() > 10, "{} folders", folders.len());
    for_all(&folders, |whole| {
        for name in whole.disk.list().unwrap() {
            let content = whole.disk.content(&name).unwrap();
            for at in (0..content.len()).step_by(8) {
                let disk = whole.disk.after_kill();
                let mut damaged = content.clone();
                damaged[at] ^= 1;
                disk.set_content(&name, &damaged);
                let _told = Told((&name, at));
                check_folder(whole, &disk, 1);
            }
        }
    });
}
