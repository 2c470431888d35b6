//! The steady path allocates nothing: not to stage, not to commit, not to acknowledge, not to deliver.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{World, publish_bytes};
use edgehub_engine::Shard;
use edgehub_mqtt::{Packet, decode, encode_puback};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is handed to the system's allocator; counting has no effect on memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above with the same layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PER_TURN: u16 = 20;

/// One round: a burst of publishes, their acknowledgements, their deliveries, the consumer's answers.
fn round(
    world: &mut World,
    device: edgehub_engine::ConnId,
    module: edgehub_engine::ConnId,
    burst: &[u8],
    acks: &mut Vec<u8>,
) {
    let now = world.now();
    let turn = |shard: &mut Shard, work: &dyn Fn(&mut Shard)| {
        shard.begin_turn(now);
        work(shard);
        shard.finish_turn();
    };
    turn(&mut world.shard, &|shard| shard.feed(device, burst));
    clear_out(&mut world.shard, device, None);
    clear_out(&mut world.shard, module, Some(acks));
    turn(&mut world.shard, &|shard| shard.feed(module, acks));
    while world.shard.pop_dirty().is_some() {}
}

fn clear_out(shard: &mut Shard, id: edgehub_engine::ConnId, acks: Option<&mut Vec<u8>>) {
    let out = shard.out(id).unwrap();
    if let Some(acks) = acks {
        acks.clear();
        let mut rest = out.as_slice();
        while let Some((packet, used)) = decode(rest, usize::MAX).unwrap() {
            if let Packet::Publish(publish) = packet {
                encode_puback(acks, publish.packet_id.unwrap());
            }
            rest = &rest[used..];
        }
    }
    out.clear();
    shard.written(id);
}

#[test]
fn a_message_costs_no_allocation_from_publish_to_acknowledged_delivery() {
    let mut world = World::new();
    world.routes(&[(
        "in",
        r#"FROM /messages/* WHERE kind = 'a' INTO BrokeredEndpoint("/modules/m/inputs/i")"#,
    )]);
    let (device, module) = (world.device("d1"), world.module("m"));
    world.received(module);
    let mut burst = Vec::new();
    for packet in 1..=PER_TURN {
        burst.extend(publish_bytes("devices/d1/messages/events/kind=a&%24.mid=x", &[b'x'; 256], packet));
    }
    let mut acks = Vec::new();
    for _ in 0..200 {
        round(&mut world, device, module, &burst, &mut acks);
    }
    assert_eq!(acks.len(), usize::from(PER_TURN) * 4, "every message was delivered");
    let before = COUNT.get();
    let rounds = 500;
    for _ in 0..rounds {
        round(&mut world, device, module, &burst, &mut acks);
    }
    let allocations = COUNT.get() - before;
    let messages = u64::from(PER_TURN) * rounds;
    // Room for what is per segment or per turn, such as a new piece of the journal in memory.
    assert!(allocations * 100 <= messages, "{allocations} allocations for {messages} messages");
}

#[test]
fn a_message_that_no_route_takes_costs_none_either() {
    let mut world = World::new();
    world.routes(&[(
        "in",
        r#"FROM /messages/* WHERE kind = 'a' INTO BrokeredEndpoint("/modules/m/inputs/i")"#,
    )]);
    let (device, module) = (world.device("d1"), world.module("m"));
    world.received(module);
    let mut burst = Vec::new();
    for packet in 1..=PER_TURN {
        burst.extend(publish_bytes("devices/d1/messages/events/kind=b", &[b'x'; 256], packet));
    }
    let mut acks = Vec::new();
    for _ in 0..50 {
        round(&mut world, device, module, &burst, &mut acks);
    }
    let before = COUNT.get();
    let rounds = 500;
    for _ in 0..rounds {
        round(&mut world, device, module, &burst, &mut acks);
    }
    let allocations = COUNT.get() - before;
    let messages = u64::from(PER_TURN) * rounds;
    assert!(allocations * 100 <= messages, "{allocations} allocations for {messages} messages");
    let dropped: u64 = world.hub.stats().dropped.snapshot().iter().map(|(_, count)| count).sum();
    assert_eq!(dropped, u64::from(PER_TURN) * (50 + rounds));
}
