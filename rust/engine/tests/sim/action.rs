//! What a run consists of, and how a seed becomes one.

use edgehub_engine::EngineConfig;
use edgehub_store::{OverflowPolicy, Quota, SpillConfig, StoreConfig, SyncPolicy};
use edgehub_testkit::{Call, Dice, Fault};

use crate::routes::SETS_MAX;

/// Places in the table of clients: two publishers, then the consumer.
pub const CLIENTS: usize = 3;
pub const CONSUMER: usize = 2;
pub const SHARDS: usize = 2;

const ACTIONS_MAX: u64 = 130;
const YEAR_MS: i64 = 365 * 86_400_000;

/// In which order a consumer acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Oldest,
    Newest,
    /// A packet id that was never sent.
    Unknown,
}

/// One step of a run.
#[derive(Debug, Clone)]
pub enum Action {
    /// A new connection; the client forgets the one it had, and the hub is not told.
    Connect {
        client: usize,
        shard: usize,
        /// Does not wait for CONNACK before it sends.
        eager: bool,
        /// With credentials that are refused.
        refused: bool,
    },
    Publish {
        client: usize,
        count: usize,
        size: usize,
        kind: usize,
        qos1: bool,
    },
    /// A request to the control plane.
    Request {
        client: usize,
        qos1: bool,
    },
    Ping {
        client: usize,
    },
    /// The network brings so many bytes to the hub.
    Feed {
        client: usize,
        bytes: usize,
    },
    /// The network brings bytes of a connection that its client forgot.
    FeedForgotten {
        bytes: usize,
    },
    /// The network brings so many bytes to the client.
    Read {
        client: usize,
        bytes: usize,
    },
    /// The consumer acknowledges.
    Ack {
        count: usize,
        order: Order,
    },
    /// The consumer subscribes, or ends its subscription.
    Toggle,
    /// The connection breaks, and both ends know it.
    Lose {
        client: usize,
        reset: bool,
    },
    LoseForgotten,
    Disconnect {
        client: usize,
    },
    /// The control plane works on so many events.
    Control {
        events: usize,
    },
    Turn {
        shard: usize,
    },
    /// The store works.
    Tick,
    Advance {
        ms: u64,
    },
    /// The wall clock is set.
    StepClock {
        by_ms: i64,
    },
    Routes {
        set: usize,
    },
    Fault {
        call: Call,
        skip: u64,
        times: u64,
        fault: Fault,
    },
    FaultsEnd,
    /// Nothing goes wrong for a moment.
    Flow {
        rounds: usize,
    },
    Kill,
    PowerCut {
        seed: u64,
        scattered: bool,
        off_ms: u64,
    },
}

/// Under what conditions a run takes place.
#[derive(Debug, Clone)]
pub struct Setup {
    pub store: StoreConfig,
    pub engine: EngineConfig,
    pub quota: Option<Quota>,
}

fn pick<T: Copy>(dice: &mut Dice, from: &[T]) -> T {
    from[dice.below(from.len() as u64) as usize]
}

fn setup(dice: &mut Dice) -> Setup {
    let spill_all = SpillConfig { after_segments: 0, index_entries: 0, after_ms: 0, ..spill() };
    let store = StoreConfig {
        sync: pick(dice, &[SyncPolicy::Group, SyncPolicy::Interval { interval_ms: 40 }, SyncPolicy::None]),
        segment_bytes: pick(dice, &[4096, 16_384, 1 << 18]),
        tail_cache_bytes: pick(dice, &[0, 1000, 100_000]),
        index_entries_max: pick(dice, &[200, 500_000, 500_000]),
        spill: pick(dice, &[spill(), spill(), spill_all]),
        background_thread: false,
        ..StoreConfig::small()
    };
    let engine = EngineConfig {
        edge_device_id: "edge1".to_owned(),
        delivery_window: pick(dice, &[1, 3, 20, 1000]),
        out_bytes_max: pick(dice, &[1000, 8000, 512 * 1024]),
        batch_bytes_max: pick(dice, &[500, 5000, 256 * 1024]),
        control_queue_max: pick(dice, &[2, 10_000]),
        held_bytes_max: pick(dice, &[300, 64 * 1024]),
        requests_max: pick(dice, &[1, 100]),
        connect_bytes_free: pick(dice, &[10, 8 * 1024]),
        connect_bytes_max: pick(dice, &[50, 1024 * 1024]),
        store_full_grace_ms: 1000,
        pool_bytes_max: pick(dice, &[0, 100_000]),
        ..EngineConfig::default()
    };
    let quota = |policy| Some(Quota { bytes_max: 30_000, policy });
    let quotas = [None, None, quota(OverflowPolicy::RejectNew), quota(OverflowPolicy::DropOldest)];
    Setup { store, engine, quota: pick(dice, &quotas) }
}

fn spill() -> SpillConfig {
    SpillConfig {
        after_segments: usize::MAX,
        index_entries: usize::MAX,
        after_ms: 0,
        file_bytes: 4096,
        block_bytes: 1000,
        cache_bytes: 2000,
    }
}

/// How often things go wrong in a run, percent; else messages flow.
fn action(dice: &mut Dice, trouble: u64, power: bool) -> Action {
    if dice.below(100) < trouble {
        return trouble_action(dice, power);
    }
    let client = dice.below(CLIENTS as u64) as usize;
    let publisher = dice.below(CONSUMER as u64) as usize;
    match dice.below(100) {
        0..30 => Action::Publish {
            client: publisher,
            count: 1 + dice.below(8) as usize,
            size: pick(dice, &[0, 20, 200, 900]),
            kind: dice.below(2) as usize,
            qos1: dice.below(8) > 0,
        },
        30..50 => Action::Feed { client, bytes: pick(dice, &[1, 7, 100, 1000, 10_000]) },
        50..60 => Action::Read { client, bytes: pick(dice, &[1, 30, 1000, 100_000]) },
        60..68 => {
            let order = pick(dice, &[Order::Oldest, Order::Oldest, Order::Newest, Order::Unknown]);
            Action::Ack { count: 1 + dice.below(5) as usize, order }
        }
        68..74 => Action::Control { events: 1 + dice.below(4) as usize },
        74..78 => Action::Turn { shard: dice.below(SHARDS as u64) as usize },
        78..82 => Action::Tick,
        82..86 => Action::Advance { ms: pick(dice, &[1, 45, 700]) },
        86..88 => Action::Request { client: publisher, qos1: dice.below(3) > 0 },
        88..90 => Action::Ping { client },
        _ => Action::Flow { rounds: 1 + dice.below(4) as usize },
    }
}

fn trouble_action(dice: &mut Dice, power: bool) -> Action {
    let client = dice.below(CLIENTS as u64) as usize;
    match dice.below(100) {
        0..25 => Action::Connect {
            client,
            shard: dice.below(SHARDS as u64) as usize,
            eager: dice.below(2) == 0,
            refused: dice.below(12) == 0,
        },
        25..40 => Action::Lose { client, reset: dice.below(2) == 0 },
        40..44 => Action::Disconnect { client },
        44..50 => Action::FeedForgotten { bytes: pick(dice, &[1, 100, 10_000]) },
        50..53 => Action::LoseForgotten,
        53..58 => Action::Toggle,
        58..68 => Action::Advance { ms: pick(dice, &[2000, 31_000, 31_000, 61_000, 130_000]) },
        68..72 => {
            let years = pick(dice, &[-10, 10, 50]);
            let by_ms = pick(dice, &[-3_600_000, 5000, 3_600_000, years * YEAR_MS]);
            Action::StepClock { by_ms }
        }
        72..82 => Action::Routes { set: dice.below(SETS_MAX as u64) as usize },
        82..87 => Action::Fault {
            call: pick(dice, &[Call::Write, Call::SetLen, Call::SyncData, Call::SyncDir]),
            skip: dice.below(6),
            times: pick(dice, &[1, 3, u64::MAX]),
            fault: pick(dice, &[Fault::NoSpace, Fault::NoSpace, Fault::Short, Fault::Error, Fault::Late]),
        },
        87..92 => Action::FaultsEnd,
        92..96 if power => Action::PowerCut {
            seed: dice.below(u64::MAX),
            scattered: dice.below(2) == 0,
            off_ms: pick(dice, &[0, 500, 100_000]),
        },
        _ => Action::Kill,
    }
}

/// The run of a seed.
pub fn plan(seed: u64) -> (Setup, Vec<Action>) {
    let mut dice = Dice::new(seed);
    let setup = setup(&mut dice);
    // Without a sync, a loss of power may take what was acknowledged.
    let power = setup.store.sync == SyncPolicy::Group;
    let trouble = pick(&mut dice, &[3, 10, 30]);
    let mut actions = vec![Action::Routes { set: dice.below(3) as usize }, Action::Flow { rounds: 3 }];
    let count = 20 + dice.below(ACTIONS_MAX);
    actions.extend((0..count).map(|_| action(&mut dice, trouble, power)));
    (setup, actions)
}
