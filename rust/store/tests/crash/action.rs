//! What a run consists of, and how a seed becomes one.

use edgehub_store::{SpillConfig, StoreConfig, SyncPolicy};
use edgehub_testkit::Dice;

use crate::common::{NO_SPILL, SPILL_ALL, config};

pub const QUEUES: [&str; 3] = ["a", "b", "c"];
pub const INTERVAL: SyncPolicy = SyncPolicy::Interval { interval_ms: 40 };

/// Cuts of power in one run, and actions between two of them.
const CUTS: u64 = 4;
const ACTIONS_MAX: u64 = 80;

/// One step of a run. A queue is a place in the table above, `pick` is one of what is leased.
#[derive(Debug, Clone)]
pub enum Action {
    Append {
        /// A bit for each queue.
        queues: u8,
        sizes: Vec<u16>,
    },
    /// Time passes, then the store works.
    Pass {
        ms: u64,
    },
    Lease {
        queue: usize,
        max: usize,
    },
    Ack {
        queue: usize,
        pick: usize,
    },
    Checkpoint,
    /// The endpoint goes and comes back at once.
    Remove {
        queue: usize,
    },
    Cut {
        seed: u64,
        scattered: bool,
    },
}

fn action(dice: &mut Dice) -> Action {
    let queue = dice.below(QUEUES.len() as u64) as usize;
    match dice.below(100) {
        0..33 => {
            let (queues, count) = (1 + dice.below(7) as u8, 1 + dice.below(4));
            Action::Append { queues, sizes: (0..count).map(|_| dice.below(900) as u16).collect() }
        }
        33..53 => Action::Pass { ms: 0 },
        53..60 => Action::Pass { ms: 45 },
        60..76 => Action::Lease { queue, max: 1 + dice.below(6) as usize },
        76..93 => Action::Ack { queue, pick: dice.below(3) as usize },
        93..98 => Action::Checkpoint,
        _ => Action::Remove { queue },
    }
}

/// The run of a seed.
pub fn plan(seed: u64) -> (StoreConfig, Vec<Action>) {
    let mut dice = Dice::new(seed);
    let policy = [SyncPolicy::Group, INTERVAL, SyncPolicy::None][dice.below(3) as usize];
    let segment_bytes = [4096, 16_384, 1 << 18][dice.below(3) as usize];
    let spills = [NO_SPILL, SPILL_ALL, SpillConfig { after_segments: 1, index_entries: 30, ..NO_SPILL }];
    let spill = spills[dice.below(3) as usize];
    let mut actions = Vec::new();
    for _ in 0..CUTS {
        actions.extend((0..dice.below(ACTIONS_MAX)).map(|_| action(&mut dice)).collect::<Vec<_>>());
        actions.push(Action::Cut { seed: dice.below(u64::MAX), scattered: dice.below(2) == 0 });
    }
    (StoreConfig { segment_bytes, spill, ..config(policy) }, actions)
}
