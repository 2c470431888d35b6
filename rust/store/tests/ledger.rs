//! What leaves a queue undelivered is counted once, in its queue and by cause, and can be looked at.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use common::{Got, Rig, START, config, drain, lease};
use edgehub_store::{LOSSES_KEPT, Loss, LossCause, Queue, Store, StoreConfig, SyncPolicy};
use edgehub_testkit::FaultyStorage;
use edgehub_types::{Storage, UnixMs};
use proptest::prelude::*;

fn rigs() -> Vec<Rig> {
    vec![Rig::in_memory(config(SyncPolicy::None)), Rig::new(config(SyncPolicy::Group))]
}

/// Reads every message from the disk, where a test can damage it.
fn cold() -> StoreConfig {
    StoreConfig { tail_cache_bytes: 0, ..config(SyncPolicy::None) }
}

type Row = (u32, String, u32, u64, u64, LossCause, UnixMs);

fn row(loss: &Loss) -> Row {
    let Loss { queue, endpoint, priority, first_seq, count, cause, at, .. } = loss;
    (queue.get(), endpoint.to_string(), *priority, *first_seq, *count, *cause, *at)
}

fn rows(store: &Store) -> Vec<Row> {
    store.losses().iter().map(row).collect()
}

fn lost(queue: &Queue) -> [u64; 4] {
    assert_eq!(queue.lost(LossCause::Quota), 0);
    [LossCause::Expired, LossCause::EndpointRemoved, LossCause::Damaged, LossCause::Rejected]
        .map(|cause| queue.lost(cause))
}

/// Flips a bit of a message wherever it is on disk.
fn damage(disk: &FaultyStorage, body: &[u8]) {
    for name in disk.list().unwrap() {
        let mut content = disk.content(&name).unwrap();
        if let Some(at) = content.windows(body.len()).position(|bytes| bytes == body) {
            content[at] ^= 4;
            disk.set_content(&name, &content);
        }
    }
}

#[test]
fn nothing_is_in_the_ledger_of_a_store_that_delivers() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("e", 0).unwrap();
        rig.append(&[&queue], &[b"a", b"b"]);
        drain(&queue, rig.now());
        assert_eq!((lost(&queue), rig.store.losses()), ([0; 4], vec![]));
    }
}

#[test]
fn what_expires_is_one_loss_per_step() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("e", 2).unwrap();
        rig.append(&[&queue], &[b"first"]);
        rig.append_until(&[&queue], &[&b"x"[..]; 300], UnixMs(START.0 + 1000));
        rig.append(&[&queue], &[b"last"]);
        rig.clock.advance_ms(2000);
        assert_eq!(drain(&queue, rig.now()).len(), 2);
        let at = UnixMs(START.0 + 2000);
        assert_eq!(rows(&rig.store), [(1, "e".to_owned(), 2, 1, 300, LossCause::Expired, at)]);
        assert_eq!((lost(&queue), rig.store.stats().expired), ([300, 0, 0, 0], 300));
    }
}

#[test]
fn what_expires_unread_is_one_loss_per_search() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("e", 0).unwrap();
        rig.append_until(&[&queue], &[&b"x"[..]; 50], UnixMs(START.0 + 1000));
        rig.pass(2000);
        let at = UnixMs(START.0 + 2000);
        assert_eq!(rows(&rig.store), [(1, "e".to_owned(), 0, 0, 50, LossCause::Expired, at)]);
    }
}

#[test]
fn what_expires_within_the_second_is_one_loss_per_run() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("e", 0).unwrap();
        let soon = UnixMs(START.0 + 1500);
        rig.append_until(&[&queue], &[&b"x"[..]; 3], soon);
        rig.append(&[&queue], &[b"stays"]);
        rig.append_until(&[&queue], &[&b"x"[..]; 5], soon);
        rig.clock.advance_ms(1600);
        assert_eq!(drain(&queue, rig.now()).len(), 1);
        let found: Vec<_> = rig.store.losses().iter().map(|loss| (loss.first_seq, loss.count)).collect();
        assert_eq!(found, [(0, 3), (4, 5)]);
        assert_eq!((lost(&queue), rig.store.stats().expired), ([8, 0, 0, 0], 8));
    }
}

#[test]
fn a_removed_endpoint_says_what_it_took_with_it() {
    for mut rig in rigs() {
        let queues = [0, 5].map(|priority| rig.store.open_queue("e", priority).unwrap());
        rig.append(&[&queues[0], &queues[1]], &[b"a", b"b", b"c"]);
        let got = lease(&queues[0], rig.now(), 2);
        queues[0].ack(got[0].seq, got[0].epoch);
        assert_eq!(rig.store.remove_endpoint("e").unwrap(), 5);
        rig.append(&[&queues[1]], &[b"late", b"later"]);
        let row = |id, priority, first_seq, count| {
            (id, "e".to_owned(), priority, first_seq, count, LossCause::EndpointRemoved, START)
        };
        assert_eq!(rows(&rig.store), [row(1, 0, 1, 2), row(2, 5, 0, 3), row(2, 5, 3, 2)]);
        assert_eq!((lost(&queues[0]), lost(&queues[1])), ([0, 2, 0, 0], [0, 5, 0, 0]));
        assert_eq!(rig.store.stats().removed, 7);
    }
}

#[test]
fn records_that_rot_side_by_side_are_one_loss() {
    let mut rig = Rig::new(cold());
    let queue = rig.store.open_queue("e", 0).unwrap();
    rig.append(&[&queue], &[b"one", b"two", b"three", b"four"]);
    damage(&rig.disk, b"two");
    damage(&rig.disk, b"three");
    assert_eq!(drain(&queue, rig.now()).len(), 2);
    assert_eq!(rows(&rig.store), [(1, "e".to_owned(), 0, 1, 2, LossCause::Damaged, START)]);
    assert_eq!((lost(&queue), rig.store.stats().damaged), ([0, 0, 2, 0], 2));
}

#[test]
fn a_consumer_says_why_it_gives_up() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("e", 0).unwrap();
        rig.append(&[&queue], &[b"a", b"b", b"c"]);
        assert!(!queue.ack_lost(0, queue.epoch(), LossCause::Rejected), "not leased");
        let epoch = lease(&queue, rig.now(), 2)[0].epoch;
        assert!(!queue.ack_lost(0, epoch.wrapping_add(1), LossCause::Rejected), "not its lease");
        assert!(queue.ack_lost(1, epoch, LossCause::Rejected));
        assert!(!queue.ack_lost(1, epoch, LossCause::Rejected), "done already");
        assert!(queue.ack_lost(0, epoch, LossCause::Expired));
        let row = |first_seq, cause| (1, "e".to_owned(), 0, first_seq, 1, cause, START);
        assert_eq!(rows(&rig.store), [row(1, LossCause::Rejected), row(0, LossCause::Expired)]);
        let stats = rig.store.stats();
        assert_eq!((lost(&queue), stats.given_up, stats.expired), ([1, 0, 0, 1], 2, 0));
        assert_eq!((queue.len(), stats.index_entries), (1, 1));
    }
}

#[test]
fn what_a_consumer_gave_up_does_not_come_back() {
    let mut rig = Rig::new(config(SyncPolicy::Group));
    let queue = rig.store.open_queue("e", 0).unwrap();
    rig.append(&[&queue], &[b"poison", b"good"]);
    let got = lease(&queue, rig.now(), 1);
    assert!(queue.ack_lost(got[0].seq, got[0].epoch, LossCause::Rejected));
    rig.store.close().unwrap();
    let rig = rig.killed();
    let queue = rig.store.queues().swap_remove(0);
    assert_eq!(drain(&queue, rig.now())[0].payload, b"good");
    assert_eq!((lost(&queue), rig.store.losses()), ([0; 4], vec![]));
}

#[test]
fn the_last_thousand_are_kept_and_all_are_counted() {
    let mut rig = Rig::in_memory(config(SyncPolicy::None));
    let queue = rig.store.open_queue("e", 0).unwrap();
    let all = LOSSES_KEPT as u64 + 50;
    for _ in 0..all {
        rig.append(&[&queue], &[b"x"]);
    }
    for message in lease(&queue, rig.now(), usize::MAX) {
        assert!(queue.ack_lost(message.seq, message.epoch, LossCause::Rejected));
    }
    let kept: Vec<_> = rig.store.losses().iter().map(|loss| loss.first_seq).collect();
    assert!(kept.iter().copied().eq(50..all), "{} kept", kept.len());
    assert_eq!(queue.lost(LossCause::Rejected), all);
}

const ENDPOINTS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Action {
    Append { queues: u8, count: u8, ttl_ms: Option<u16> },
    Lease { queue: usize, max: usize },
    Ack { queue: usize, pick: usize },
    GiveUp { queue: usize, pick: usize, cause: usize },
    Release { queue: usize },
    Remove { queue: usize },
    Revive { queue: usize },
    Rot { pick: usize },
    Pass { ms: u16 },
}

fn action() -> impl Strategy<Value = Action> {
    let queue = 0..ENDPOINTS.len();
    let ttl = prop::option::weighted(0.4, 0_u16..3000);
    prop_oneof![
        6 => (1_u8..8, 1_u8..6, ttl)
            .prop_map(|(queues, count, ttl_ms)| Action::Append { queues, count, ttl_ms }),
        6 => (queue.clone(), 1..9_usize).prop_map(|(queue, max)| Action::Lease { queue, max }),
        6 => (queue.clone(), 0..6_usize).prop_map(|(queue, pick)| Action::Ack { queue, pick }),
        3 => (queue.clone(), 0..6_usize, 0..4_usize)
            .prop_map(|(queue, pick, cause)| Action::GiveUp { queue, pick, cause }),
        1 => queue.clone().prop_map(|queue| Action::Release { queue }),
        1 => queue.clone().prop_map(|queue| Action::Remove { queue }),
        2 => queue.prop_map(|queue| Action::Revive { queue }),
        2 => (0..40_usize).prop_map(|pick| Action::Rot { pick }),
        3 => (0_u16..1500).prop_map(|ms| Action::Pass { ms }),
    ]
}

/// A store and, for each queue, what went in and came out.
struct World {
    rig: Rig,
    queues: Vec<Queue>,
    appended: [u64; 3],
    acked: [u64; 3],
    leased: [Vec<Got>; 3],
    bodies: Vec<Vec<u8>>,
}

impl World {
    fn new() -> Self {
        let rig = Rig::new(cold());
        let queues = ENDPOINTS.map(|endpoint| rig.store.open_queue(endpoint, 0).unwrap()).into();
        let leased = Default::default();
        Self { rig, queues, appended: [0; 3], acked: [0; 3], leased, bodies: Vec::new() }
    }

    fn append(&mut self, mask: u8, count: u8, ttl_ms: Option<u16>) {
        let expires_at = ttl_ms.map_or(UnixMs::MAX, |ttl| UnixMs(self.rig.now().0 + u64::from(ttl)));
        let first = self.bodies.len();
        self.bodies.extend((0..count).map(|n| format!("<{}>", first + usize::from(n)).into_bytes()));
        let bodies: Vec<_> = self.bodies[first..].iter().map(|body| &body[..]).collect();
        let chosen: Vec<_> = (0..ENDPOINTS.len()).filter(|at| mask & 1 << at != 0).collect();
        let queues: Vec<_> = chosen.iter().map(|at| &self.queues[*at]).collect();
        self.rig.append_until(&queues, &bodies, expires_at);
        for at in chosen {
            self.appended[at] += u64::from(count);
        }
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Append { queues, count, ttl_ms } => self.append(queues, count, ttl_ms),
            Action::Lease { queue, max } => {
                let mut got = lease(&self.queues[queue], self.rig.now(), max);
                self.leased[queue].append(&mut got);
            }
            Action::Ack { queue, pick } if pick < self.leased[queue].len() => {
                let message = self.leased[queue].swap_remove(pick);
                self.queues[queue].ack(message.seq, message.epoch);
                self.acked[queue] += 1;
            }
            Action::GiveUp { queue, pick, cause } if pick < self.leased[queue].len() => {
                let message = self.leased[queue].swap_remove(pick);
                assert!(self.queues[queue].ack_lost(message.seq, message.epoch, LossCause::ALL[cause]));
            }
            Action::Ack { .. } | Action::GiveUp { .. } => {}
            Action::Release { queue } => {
                self.queues[queue].release_all();
                self.leased[queue].clear();
            }
            Action::Remove { queue } => {
                self.rig.store.remove_endpoint(ENDPOINTS[queue]).unwrap();
                self.leased[queue].clear();
            }
            Action::Revive { queue } => _ = self.rig.store.open_queue(ENDPOINTS[queue], 0).unwrap(),
            Action::Rot { pick } => {
                if let Some(body) = self.bodies.get(pick) {
                    damage(&self.rig.disk, body);
                }
            }
            Action::Pass { ms } => self.rig.pass(u64::from(ms)),
        }
    }

    fn check(&self) {
        for (at, queue) in self.queues.iter().enumerate() {
            let lost: u64 = lost(queue).iter().sum();
            assert_eq!(self.appended[at], self.acked[at] + lost + queue.len(), "{queue:?}");
        }
        let stats = self.rig.store.stats();
        let all: u64 = self.queues.iter().flat_map(lost).sum();
        assert_eq!(all, stats.expired + stats.removed + stats.damaged + stats.given_up);
        let losses = self.rig.store.losses();
        assert!(losses.iter().all(|loss| loss.count > 0));
        assert!(losses.is_sorted_by_key(|loss| loss.at));
        if losses.len() < LOSSES_KEPT {
            assert_eq!(all, losses.iter().map(|loss| loss.count).sum::<u64>());
        }
    }
}

proptest! {
    /// Appended = acknowledged + lost + live, whatever happens.
    #[test]
    fn the_books_balance(actions in prop::collection::vec(action(), 1..120)) {
        let mut world = World::new();
        for action in actions {
            world.act(&action);
            world.check();
        }
    }
}
