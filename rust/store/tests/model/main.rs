//! Random actions against a simple model in memory, with restarts in between.
//!
//! A seed is a whole run. `STORE_MODEL_SEEDS=100000` runs more of them, `STORE_SEED_START=5` others, `STORE_SEEDS=7`
//! only that one.
#![allow(clippy::unwrap_used)] // a test may panic

mod action;
#[path = "../common/mod.rs"]
mod common;
mod queue;
mod world;

use action::{Action, Setup, plan};
use common::OWNER;
use edgehub_testkit::Suite;
use world::World;

fn run(setup: &Setup, actions: &[Action]) {
    let mut world = World::new(setup);
    for action in actions {
        world.act(action);
        world.check();
    }
    world.drain();
}

#[test]
fn the_store_does_as_the_model() {
    let suite = Suite {
        owner: OWNER,
        name: "model",
        regressions: include_str!("../seeds/model.txt"),
        count_variable: "STORE_MODEL_SEEDS",
        count: 10_000,
        plan,
        run,
    };
    suite.check();
}
