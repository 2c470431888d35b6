//! What a run consists of, and how a seed becomes one.

use edgehub_store::{LossCause, SpillConfig, StoreConfig, SyncPolicy};
use edgehub_testkit::Dice;

use crate::common::config;

/// Endpoint and priority of every queue.
pub const QUEUES: [(&str, u32); 5] = [("a", 0), ("a", 7), ("b", 0), ("c", 1), ("c", 2)];
pub const ENDPOINTS: [&str; 3] = ["a", "b", "c"];

const ACTIONS_MAX: u64 = 200;

/// One step of a run. Queues and endpoints are places in the tables above, `pick` is one of what is leased.
#[derive(Debug, Clone)]
pub enum Action {
    Append {
        /// A bit for each queue.
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
    AckLost {
        queue: usize,
        pick: usize,
        cause: LossCause,
    },
    Release {
        queue: usize,
    },
    Read {
        queue: usize,
        pick: usize,
    },
    Remove {
        endpoint: usize,
    },
    /// The endpoint is there (again).
    Return {
        endpoint: usize,
    },
    /// Time passes, then the store works.
    Pass {
        ms: u16,
    },
    Checkpoint,
    /// So many bytes are free on the disk from now on.
    Space {
        bytes: Option<u32>,
    },
    Kill {
        checkpoint: bool,
    },
    Close,
}

/// What does not change during a run.
#[derive(Debug, Clone)]
pub struct Setup {
    pub store: StoreConfig,
    pub in_memory: bool,
}

fn one_of<T: Clone>(dice: &mut Dice, choices: &[T]) -> T {
    choices[dice.below(choices.len() as u64) as usize].clone()
}

fn setup(dice: &mut Dice) -> Setup {
    let policies = [
        SyncPolicy::None,
        SyncPolicy::Group,
        SyncPolicy::Interval { interval_ms: 40 },
        SyncPolicy::Interval { interval_ms: 3000 },
    ];
    let sync = one_of(dice, &policies);
    let in_memory = dice.below(8) == 0;
    // Memory is given back by the segment, so its limit is one of several segments.
    let segment_bytes = one_of(dice, if in_memory { &[4096] } else { &[4096, 20_000, 1 << 17] });
    let store = StoreConfig {
        sync_min_interval_ms: one_of(dice, &[0, 0, 50]),
        segment_bytes,
        tail_cache_bytes: one_of(dice, &[0, 700, 100_000]),
        index_entries_max: one_of(dice, &[25, 100, 1_000_000]),
        unsynced_bytes_max: one_of(dice, &[3000, 1 << 20]),
        memory_bytes_max: one_of(dice, &[30_000, 1 << 20]),
        spill: spill(dice),
        ..config(sync)
    };
    Setup { store, in_memory }
}

fn spill(dice: &mut Dice) -> SpillConfig {
    SpillConfig {
        after_segments: dice.below(3) as usize,
        index_entries: one_of(dice, &[0, 10, 40, 1000]),
        after_ms: one_of(dice, &[0, 0, 500]),
        file_bytes: one_of(dice, &[4096, 9000]),
        block_bytes: 256 + dice.below(2800) as u32,
        cache_bytes: one_of(dice, &[0, 2000]),
    }
}

fn append(dice: &mut Dice) -> Action {
    let queues = 1 + dice.below(31) as u8;
    let count = 1 + dice.below(5);
    let longest = one_of(dice, &[10, 300, 1200]);
    let sizes = (0..count).map(|_| dice.below(longest) as u16).collect();
    let ttl_ms = (dice.below(10) < 3).then(|| dice.below(3000) as u16);
    Action::Append { queues, sizes, ttl_ms }
}

fn action(dice: &mut Dice) -> Action {
    let queue = dice.below(QUEUES.len() as u64) as usize;
    let endpoint = dice.below(ENDPOINTS.len() as u64) as usize;
    let pick = dice.below(9) as usize;
    match dice.below(100) {
        0..22 => append(dice),
        22..40 => Action::Lease { queue, max: 1 + dice.below(8) as usize, stop_at: dice.below(12) as usize },
        40..54 => Action::Ack { queue, pick },
        54..62 => Action::AckAll { queue },
        62..64 => Action::AckLate { queue },
        64..67 => Action::AckLost { queue, pick, cause: one_of(dice, &LossCause::ALL) },
        67..70 => Action::Release { queue },
        70..73 => Action::Read { queue, pick },
        73..75 => Action::Remove { endpoint },
        75..78 => Action::Return { endpoint },
        78..90 => Action::Pass { ms: one_of(dice, &[0, 0, 1, 45, 300, 1500]) },
        90..92 => Action::Checkpoint,
        92..95 => Action::Space { bytes: one_of(dice, &[None, None, Some(0), Some(5000), Some(30_000)]) },
        95..98 => Action::Kill { checkpoint: dice.below(2) == 0 },
        _ => Action::Close,
    }
}

/// The run of a seed.
pub fn plan(seed: u64) -> (Setup, Vec<Action>) {
    let mut dice = Dice::new(seed);
    let setup = setup(&mut dice);
    let count = 1 + dice.below(ACTIONS_MAX);
    (setup, (0..count).map(|_| action(&mut dice)).collect())
}
