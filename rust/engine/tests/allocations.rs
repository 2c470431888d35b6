//! The steady path allocates nothing: not to stage, not to commit, not to acknowledge, not to deliver.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use common::{EDGE, World, module_grants};
use edgehub_engine::{Command, ConnId, Filters, Shard};
use edgehub_mqtt::{Packet, Publish, QoS, decode, encode_puback, encode_publish};
use edgehub_store::{Media, StoreConfig, SyncPolicy};
use edgehub_types::{Storage, StorageFile};
use parking_lot::Mutex;

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

/// Publishes of a round.
const BURST: u16 = 20;
/// Rounds until every buffer has its size: a window is filled before its places are used again.
const WARM_UP: u64 = 60;
const ROUNDS: u64 = 200;
/// Time of a round. Syncs and checkpoints that wait for time come while warming up and while measuring; what the store
/// looks after once a second, on a thread of its own, ends up in neither.
const WARM_UP_ROUND_MS: u64 = 10;
const ROUND_MS: u64 = 1;
/// All rounds of a test go to one: what is made once for a segment is not per message.
const SEGMENT_BYTES: u32 = 64 << 20;

/// Files in memory that have their full size from the beginning.
#[derive(Clone, Default)]
struct Flat {
    files: Arc<Mutex<HashMap<String, FlatFile>>>,
}

#[derive(Clone, Default)]
struct FlatFile(Arc<Mutex<Vec<u8>>>);

impl StorageFile for FlatFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let at = offset as usize;
        self.0.lock()[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.0.lock();
        let rest = content.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().resize(len as usize, 0);
        Ok(())
    }
}

impl Storage for Flat {
    fn open(&self, name: &str, create: bool) -> io::Result<Box<dyn StorageFile>> {
        let mut files = self.files.lock();
        if create {
            files.entry(name.to_owned()).or_default();
        }
        files.get(name).map(|file| Box::new(file.clone()) as _).ok_or(io::ErrorKind::NotFound.into())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A device that publishes and modules that each get all of it.
struct Bench {
    world: World,
    device: ConnId,
    modules: Vec<ConnId>,
    burst: Vec<u8>,
    acks: Vec<u8>,
    delivered: u64,
}

impl Bench {
    fn new(sync: SyncPolicy, modules: usize, qos: QoS, topic: &str) -> Self {
        let store = StoreConfig {
            sync,
            segment_bytes: SEGMENT_BYTES,
            background_thread: false,
            ..StoreConfig::default()
        };
        let mut world = World::with_store(Media::Disk(Arc::new(Flat::default())), store, |_| {});
        let names: Vec<_> = (0..modules).map(|n| format!("m{n}")).collect();
        let route = |name: &String| {
            format!("FROM /messages/* WHERE kind = 'a' INTO BrokeredEndpoint(\"/modules/{name}/inputs/i\")")
        };
        let routes: Vec<_> = names.iter().map(|name| (name.clone(), route(name))).collect();
        let routes: Vec<_> = routes.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        world.routes(&routes);
        let device = world.device("d1");
        let modules = names.iter().map(|name| consumer(&mut world, name, qos)).collect();
        Self { world, device, modules, burst: burst(topic, qos), acks: Vec::new(), delivered: 0 }
    }

    fn turn(&mut self, work: impl FnOnce(&mut Shard)) {
        let now = self.world.now();
        self.world.shard.begin_turn(now);
        work(&mut self.world.shard);
        self.world.shard.finish_turn();
    }

    /// A burst of publishes, their commit, acknowledgements and deliveries, the answers of the consumers.
    fn round(&mut self, ms: u64) {
        self.world.clock.advance_ms(ms);
        let burst = std::mem::take(&mut self.burst);
        let device = self.device;
        self.turn(|shard| shard.feed(device, &burst));
        self.burst = burst;
        self.world.hub.store().tick();
        self.turn(|_| {});
        self.clear(device);
        for at in 0..self.modules.len() {
            let module = self.modules[at];
            self.clear(module);
            let acks = std::mem::take(&mut self.acks);
            self.turn(|shard| shard.feed(module, &acks));
            self.acks = acks;
        }
        while self.world.shard.pop_dirty().is_some() {}
        while self.world.shard.pop_resumed().is_some() {}
    }

    /// Reads what waits for a client; its acknowledgements are in `acks` then.
    fn clear(&mut self, id: ConnId) {
        self.acks.clear();
        let out = self.world.shard.out(id).unwrap();
        let mut rest = out.as_slice();
        while let Some((packet, used)) = decode(rest, usize::MAX).unwrap() {
            if let Packet::Publish(publish) = packet {
                self.delivered += 1;
                if let Some(packet_id) = publish.packet_id {
                    encode_puback(&mut self.acks, packet_id);
                }
            }
            rest = &rest[used..];
        }
        out.clear();
        self.world.shard.written(id);
    }

    /// Allocations of all measured rounds.
    fn measure(&mut self) -> u64 {
        (0..WARM_UP).for_each(|_| self.round(WARM_UP_ROUND_MS));
        self.delivered = 0;
        let before = COUNT.get();
        (0..ROUNDS).for_each(|_| self.round(ROUND_MS));
        COUNT.get() - before
    }

    /// Messages of the measured rounds.
    const MESSAGES: u64 = ROUNDS * BURST as u64;
}

fn consumer(world: &mut World, name: &str, qos: QoS) -> ConnId {
    let id = world.client(module_grants(name));
    let added = vec![(format!("devices/{EDGE}/modules/{name}/inputs/#"), qos.bits(), 0)];
    let filters = Filters { added, inputs_active: true };
    world.command(id, Command::SubAck { conn: id, packet_id: 9, codes: vec![qos.bits()], filters });
    world.received(id);
    id
}

fn burst(topic: &str, qos: QoS) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in 1..=BURST {
        let publish = Publish::new(topic, qos, &[b'x'; 256]);
        let publish = if qos == QoS::AtMostOnce { publish } else { publish.with_id(packet).unwrap() };
        encode_publish(&mut bytes, &publish).unwrap();
    }
    bytes
}

const TAKEN: &str = "devices/d1/messages/events/kind=a&%24.mid=x";

#[test]
fn a_message_costs_no_allocation_from_publish_to_acknowledged_delivery() {
    for sync in [SyncPolicy::None, SyncPolicy::Group, SyncPolicy::Interval { interval_ms: 100 }] {
        let mut bench = Bench::new(sync, 1, QoS::AtLeastOnce, TAKEN);
        assert_eq!(bench.measure(), 0, "{sync:?}");
        assert_eq!(bench.delivered, Bench::MESSAGES, "every message was delivered");
    }
}

#[test]
fn nor_does_one_to_a_hundred_modules() {
    for sync in [SyncPolicy::None, SyncPolicy::Group] {
        let mut bench = Bench::new(sync, 100, QoS::AtLeastOnce, TAKEN);
        assert_eq!(bench.measure(), 0, "{sync:?}");
        assert_eq!(bench.delivered, 100 * Bench::MESSAGES);
    }
}

#[test]
fn nor_does_one_with_quality_zero() {
    for (sync, modules) in [(SyncPolicy::None, 1), (SyncPolicy::Group, 1), (SyncPolicy::None, 100)] {
        let mut bench = Bench::new(sync, modules, QoS::AtMostOnce, TAKEN);
        assert_eq!(bench.measure(), 0, "{sync:?} {modules}");
        assert_eq!(bench.delivered, modules as u64 * Bench::MESSAGES);
    }
}

#[test]
fn nor_does_one_that_no_route_takes() {
    let mut bench = Bench::new(SyncPolicy::None, 1, QoS::AtLeastOnce, "devices/d1/messages/events/kind=b");
    assert_eq!(bench.measure(), 0);
    assert_eq!(bench.delivered, 0);
    let dropped: u64 = bench.world.hub.stats().dropped.snapshot().iter().map(|(_, count)| count).sum();
    assert_eq!(dropped, (WARM_UP + ROUNDS) * u64::from(BURST));
}
