//! Routes that change while shards work.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::World;
use edgehub_engine::{EngineConfig, Hub};
use edgehub_router::RouteDecl;
use edgehub_store::{Media, Store, StoreConfig};
use edgehub_testkit::VirtualClock;

const TO_M: &str = r#"FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")"#;
const UP: &str = "FROM /* INTO $upstream";

fn has_queue(world_queues: &[(String, u32, u64)], endpoint: &str) -> bool {
    world_queues.iter().any(|(id, _, _)| id == endpoint)
}

/// The shard removes an endpoint on its thread while the next routes bring it back on another.
#[test]
fn an_endpoint_that_comes_back_while_it_is_removed_stays() {
    let World { hub, mut shard, clock, .. } = World::new();
    let stop = Arc::new(AtomicBool::new(false));
    let turns = Arc::new(AtomicU64::new(0));
    let (own_stop, own_turns) = (stop.clone(), turns.clone());
    let thread = std::thread::spawn(move || {
        while !own_stop.load(Ordering::SeqCst) {
            shard.begin_turn(shard.read_clocks(&*clock));
            shard.finish_turn();
            own_turns.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut lost = 0;
    for n in 0..1000_u32 {
        for route in [TO_M, UP] {
            hub.set_routes(&[RouteDecl::new("r", route)], 7200).unwrap();
        }
        (0..(n % 50) * 20).for_each(|_| std::hint::spin_loop());
        hub.set_routes(&[RouteDecl::new("r", TO_M)], 7200).unwrap();
        let seen = turns.load(Ordering::SeqCst);
        while turns.load(Ordering::SeqCst) < seen + 3 {
            std::thread::yield_now();
        }
        let queues = hub.queue_lengths();
        lost += u32::from(!has_queue(&queues, "edge1/m/i"));
        assert!(!has_queue(&queues, "iothub"), "round {n}: {queues:?}");
    }
    stop.store(true, Ordering::SeqCst);
    thread.join().unwrap();
    assert_eq!(lost, 0);
}

/// Nobody can still work with the old routes.
#[test]
fn without_shards_an_unused_endpoint_goes_at_once() {
    let store_config = StoreConfig { background_thread: false, ..StoreConfig::small() };
    let (store, _) =
        Store::open(Media::Memory, store_config, Arc::new(VirtualClock::at(common::EPOCH))).unwrap();
    let config = EngineConfig { edge_device_id: common::EDGE.to_owned(), ..EngineConfig::default() };
    let hub = Hub::new(config, store, 0);
    for (route, used, unused) in [(TO_M, "edge1/m/i", "iothub"), (UP, "iothub", "edge1/m/i")] {
        hub.set_routes(&[RouteDecl::new("r", route)], 7200).unwrap();
        let queues = hub.queue_lengths();
        assert!(has_queue(&queues, used) && !has_queue(&queues, unused), "{queues:?}");
    }
}
