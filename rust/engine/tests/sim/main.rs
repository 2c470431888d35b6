//! The hub in a world that goes wrong: shards and a store on a disk that fails, two publishers, a consumer and a control
//! plane, all on virtual time.
//!
//! Connections break at any byte, the process is killed, power is lost, acknowledgements come late, out of order or not
//! at all, wall clocks jump, routes change, writes fail, sockets are slow. Whatever happens: what was acknowledged is
//! delivered or its loss is counted, order is kept, nothing is delivered after its time, what is repeated says so, and
//! no buffer grows beyond its limit. At the end of each run all faults end, and everything must come to rest.
//!
//! A seed is a whole run: `ENGINE_SIM_SEEDS=100000` runs more of them, `ENGINE_SEED_START=5` others, `ENGINE_SEEDS=7`
//! only that one.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)] // a test may panic

mod action;
mod book;
mod client;
mod control;
mod link;
mod quiet;
mod routes;
mod world;

use action::{Action, Setup, plan};
use edgehub_testkit::{Owner, Suite};
use world::World;

fn run(setup: &Setup, actions: &[Action]) {
    let mut world = World::new(setup);
    for action in actions {
        world.act(action);
    }
    world.come_to_rest();
}

#[test]
fn what_was_promised_is_kept_whatever_goes_wrong() {
    let owner = Owner { package: "edgehub-engine", folder: "rust/engine/tests", prefix: "ENGINE" };
    let suite = Suite {
        owner,
        name: "sim",
        regressions: include_str!("../seeds/sim.txt"),
        count_variable: "ENGINE_SIM_SEEDS",
        count: 2000,
        plan,
        run,
    };
    suite.check();
}
