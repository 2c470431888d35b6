//! What a loss of power leaves: random work, a cut at a random moment, recovery, and on from there.
//!
//! The disk keeps live and durable images apart and leaves either a prefix of what was not synced, torn at any
//! byte, or any sectors of it in no order. The model knows of every message whether it must be there, must not be
//! there, or may. A seed is a whole run: `STORE_CRASH_SEEDS=100000` runs more of them, `STORE_SEED_START=5` others,
//! `STORE_SEEDS=7` only that one.
#![allow(clippy::unwrap_used)] // a test may panic

mod action;
#[path = "../common/mod.rs"]
mod common;
mod world;

use std::collections::BTreeSet;

use action::{Action, INTERVAL, QUEUES, plan};
use common::{NEVER, OWNER, Rig, config, lease};
use edgehub_store::{StoreConfig, SyncPolicy, Target};
use edgehub_testkit::{PowerCut, Suite};
use edgehub_types::Storage;
use world::{World, id_of};

fn run(config: &StoreConfig, actions: &[Action]) {
    actions.iter().fold(World::new(config.clone()), World::act);
}

#[test]
fn what_was_answered_survives_power_cuts() {
    let suite = Suite {
        owner: OWNER,
        name: "crash",
        regressions: include_str!("../seeds/crash.txt"),
        count_variable: "STORE_CRASH_SEEDS",
        count: 3000,
        plan,
        run,
    };
    suite.check();
}

/// A segment that is gone must be known to be spent, not lost with all that came after it.
#[test]
fn a_cut_right_after_unlinking_loses_nothing() {
    for policy in [SyncPolicy::Group, INTERVAL, SyncPolicy::None] {
        let mut rig = Rig::new(config(policy));
        let queue = rig.store.open_queue("e", 0).unwrap();
        rig.append(&[&queue], &[&[0; 1500]]);
        // These two are committed together, but in two segments: the second one begins before the first is durable.
        let target = [Target { queue: queue.id(), expires_at: NEVER }];
        for n in 1..3_u8 {
            let _ = rig.try_append(&target, &[&[n; 1500]]).unwrap();
        }
        rig.store.tick();
        let first = rig.disk.list().unwrap().into_iter().min().unwrap();
        for message in lease(&queue, rig.now(), 2) {
            queue.ack(message.seq, message.epoch);
        }
        rig.pass(40);
        rig.pass(40);
        for _ in 0..100 {
            if rig.disk.content(&first).is_none() {
                break;
            }
            rig.pass(20);
        }
        assert_eq!(rig.disk.content(&first), None, "the first segment is unlinked");
        rig.disk.sync_dir().unwrap();
        let disk = rig.disk.after_power_cut(PowerCut::all_lost());
        let rig = Rig::on(disk, rig.config, rig.clock);
        let queue = rig.store.open_queue("e", 0).unwrap();
        assert_eq!(lease(&queue, rig.now(), 9).last().map(|got| got.seq), Some(2), "{policy:?}");
    }
}

/// Every single place where a cut can be, for a short history.
#[test]
fn every_byte_of_the_end_can_be_the_last() {
    for policy in [SyncPolicy::Group, SyncPolicy::None] {
        let mut world = World::new(config(policy));
        for n in 0..12_u16 {
            world = world.act(&Action::Append { queues: 1 + n as u8 % 7, sizes: vec![70 * n, 40, 300] });
            if n % 4 == 1 {
                world = world.act(&Action::Pass { ms: 0 });
            }
            world = world.act(&Action::Lease { queue: 0, max: 3 }).act(&Action::Ack { queue: 0, pick: 0 });
        }
        let ops = world.rig.disk.unsynced_ops();
        for op in 0..=ops {
            for torn in 0..400 {
                let disk = world.rig.disk.after_power_cut(PowerCut::prefix(op, torn * 7));
                let rig = Rig::on(disk, world.rig.config.clone(), world.rig.clock.clone());
                assert_eq!((rig.report.quarantined, rig.report.orphaned), (0, 0));
                for queue in rig.store.queues() {
                    let found = lease(&queue, rig.now(), usize::MAX);
                    assert!(found.is_sorted_by(|a, b| a.seq + 1 == b.seq));
                    if policy == SyncPolicy::Group {
                        let at = QUEUES.iter().position(|name| *name == queue.endpoint()).unwrap();
                        let there: BTreeSet<_> = found.iter().map(id_of).collect();
                        assert!(world.must_be_there(at).all(|id| there.contains(&id)));
                    }
                }
            }
        }
    }
}
