//! Publishers and consumers that come and go on several threads while routes change: whatever was
//! acknowledged is delivered, and what one device sent arrives in its order.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Client, Got, Server};
use edgehub_mqtt::{PacketId, QoS, encode_puback, encode_publish, encode_subscribe};
use edgehub_net::SystemClock;
use edgehub_router::RouteDecl;
use edgehub_store::{Media, StoreConfig, SyncPolicy};
use edgehub_testkit::FaultyStorage;
use edgehub_types::{Clock, MonoTime};

const DEVICES: usize = 4;
const MODULES: usize = 3;
const WINDOW: usize = 20;
/// Far beyond what it takes; a message that is stuck shows by this.
const PATIENCE: MonoTime = MonoTime(60_000);

/// Xorshift: the choices of a run follow from its seed.
struct Choices(u64);

impl Choices {
    fn one_in(&mut self, n: u64) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.is_multiple_of(n)
    }
}

/// What a run is made of.
#[derive(Clone, Copy)]
struct Shape {
    shards: usize,
    seed: u64,
    /// Of each device.
    messages: u32,
    body_bytes: usize,
}

struct Run {
    server: Server,
    shape: Shape,
    /// Distinct messages that arrived.
    arrived: AtomicUsize,
    /// By module and device, the numbers in order of their first arrival.
    firsts: Mutex<HashMap<(usize, usize), Vec<u32>>>,
    published: AtomicBool,
}

impl Run {
    /// Also when all has arrived, publishers may wait for room: what they send again has to go somewhere.
    fn is_done(&self) -> bool {
        let all = DEVICES * self.shape.messages as usize;
        self.published.load(Ordering::SeqCst) && self.arrived.load(Ordering::SeqCst) >= all
    }
}

fn module_of(seq: u32) -> usize {
    seq as usize % MODULES
}

fn send(run: &Run, client: &mut Client, device: usize, seq: u32) -> bool {
    let topic = format!("devices/d{device}/messages/events/m={}", module_of(seq));
    let mut body = [(device as u32).to_be_bytes(), seq.to_be_bytes()].concat();
    body.resize(run.shape.body_bytes, seq as u8);
    let id = (seq % 60_000 + 1) as u16;
    let publish = edgehub_mqtt::Publish::new(&topic, QoS::AtLeastOnce, &body).with_id(id).unwrap();
    let mut out = Vec::new();
    encode_publish(&mut out, &publish).unwrap();
    client.try_send(&out)
}

/// A new connection that sends again what was not acknowledged.
fn reconnect(run: &Run, device: usize, unacked: &VecDeque<u32>) -> Client {
    loop {
        let Some(mut client) = run.server.try_client(&format!("d{device}")) else { continue };
        if unacked.iter().all(|seq| send(run, &mut client, device, *seq)) {
            return client;
        }
    }
}

fn publisher(run: &Run, device: usize, mut choices: Choices) {
    let mut unacked = VecDeque::new();
    let mut client = reconnect(run, device, &unacked);
    let mut older = None;
    let mut next = 1;
    let messages = run.shape.messages;
    while next <= messages || !unacked.is_empty() {
        let mut lives = true;
        if next <= messages && unacked.len() < WINDOW {
            unacked.push_back(next);
            lives = send(run, &mut client, device, next);
            next += 1;
        } else {
            match client.next() {
                Some(Got::PubAck(id)) => {
                    let seq = unacked.pop_front().unwrap();
                    assert_eq!(u32::from(id), seq % 60_000 + 1, "acknowledgements in order");
                }
                None => lives = false,
                other => panic!("unexpected {other:?}"),
            }
        }
        if !lives || choices.one_in(300) {
            let new = reconnect(run, device, &unacked);
            // Sometimes the older one stays open until the hub closes it.
            older = Some(std::mem::replace(&mut client, new)).filter(|_| choices.one_in(2));
        }
    }
    drop(older);
}

fn subscribe(run: &Run, module: usize) -> Option<Client> {
    let mut client = run.server.try_client(&format!("e/m{module}"))?;
    let mut out = Vec::new();
    let filter = format!("devices/e/modules/m{module}/inputs/#");
    encode_subscribe(&mut out, PacketId::MIN, &[(&filter, QoS::AtLeastOnce)]).unwrap();
    (client.try_send(&out) && client.next() == Some(Got::SubAck)).then_some(client)
}

fn note(run: &Run, module: usize, seen: &mut HashSet<(usize, u32)>, body: &[u8]) {
    let number = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
    let (device, seq) = (number(0) as usize, number(4));
    assert_eq!(module_of(seq), module);
    assert!(body.len() == run.shape.body_bytes && body[8..].iter().all(|byte| *byte == seq as u8));
    if seen.insert((device, seq)) {
        run.firsts.lock().unwrap().entry((module, device)).or_default().push(seq);
        run.arrived.fetch_add(1, Ordering::SeqCst);
    }
}

fn consumer(run: &Run, module: usize, mut choices: Choices) {
    let mut seen = HashSet::new();
    let mut older: Option<Client> = None;
    let mut waiting = Vec::new();
    let mut client = None;
    let clock = SystemClock::default();
    while !run.is_done() && clock.mono() < PATIENCE {
        let Some(current) = client.as_mut() else {
            waiting.clear();
            client = subscribe(run, module);
            continue;
        };
        match current.next_within(Duration::from_millis(20)) {
            Ok(Some(Got::Publish(body, id))) => {
                note(run, module, &mut seen, &body);
                waiting.push(id);
            }
            Ok(Some(other)) => panic!("unexpected {other:?}"),
            Ok(None) => {
                client = None;
                continue;
            }
            Err(()) => {}
        }
        if !choices.one_in(3) {
            let mut out = Vec::new();
            waiting.drain(..).for_each(|id| encode_puback(&mut out, id));
            current.try_send(&out);
        }
        if choices.one_in(400) {
            std::thread::sleep(Duration::from_millis(10)); // reads nothing meanwhile
        }
        if choices.one_in(300) {
            older = client.take().filter(|_| choices.one_in(2));
        }
    }
    drop(older);
}

/// Routes to all modules, and one more endpoint that comes and goes.
fn routes(extra: bool) -> Vec<RouteDecl> {
    let into = |module: usize| format!(r#"INTO BrokeredEndpoint("/modules/m{module}/inputs/i")"#);
    let mut all: Vec<_> = (0..MODULES)
        .map(|m| RouteDecl::new(format!("r{m}"), format!("FROM /messages/* WHERE m = '{m}' {}", into(m))))
        .collect();
    if extra {
        all.push(RouteDecl::new("extra", format!("FROM /messages/* WHERE m = '0' {}", into(9))));
        all.push(RouteDecl::new("up", "FROM /messages/* WHERE m = '1' INTO $upstream"));
    }
    all
}

fn run(shape: Shape, media: Media, store: StoreConfig) {
    let Shape { shards, seed, messages, .. } = shape;
    let server = Server::start_on(media, store, shards, |config| {
        config.delivery_window = 50;
        config.out_bytes_max = 64 * 1024;
    });
    server.hub.set_routes(&routes(false), 3600).unwrap();
    let run = Run {
        server,
        shape,
        arrived: AtomicUsize::new(0),
        firsts: Mutex::default(),
        published: AtomicBool::new(false),
    };
    let run = Arc::new(run);
    std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..DEVICES)
            .map(|n| {
                let run = &run;
                scope.spawn(move || publisher(run, n, Choices(seed * 100 + n as u64 + 1)))
            })
            .collect();
        for n in 0..MODULES {
            let run = &run;
            scope.spawn(move || consumer(run, n, Choices(seed * 100 + 50 + n as u64)));
        }
        let run = &run;
        scope.spawn(move || {
            let mut extra = false;
            while !run.published.load(Ordering::SeqCst) {
                extra = !extra;
                run.server.hub.set_routes(&routes(extra), 3600).unwrap();
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        let ends: Vec<_> = publishers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        run.published.store(true, Ordering::SeqCst);
        for end in ends {
            end.unwrap();
        }
    });
    let run = Arc::into_inner(run).unwrap();
    let firsts = run.firsts.into_inner().unwrap();
    let queues = run.server.hub.queue_lengths();
    for module in 0..MODULES {
        for device in 0..DEVICES {
            let got = firsts.get(&(module, device)).cloned().unwrap_or_default();
            let want: Vec<u32> = (1..=messages).filter(|seq| module_of(*seq) == module).collect();
            assert!(got.is_sorted(), "seed {seed}: module {module}, device {device}: out of order");
            assert_eq!(
                got.len(),
                want.len(),
                "seed {seed}: module {module}, device {device}; left {queues:?}"
            );
        }
    }
    run.server.stop();
}

#[test]
fn two_threads_lose_nothing_and_keep_the_order() {
    let shape = Shape { shards: 2, seed: 1, messages: 2000, body_bytes: 8 };
    run(shape, Media::Memory, StoreConfig::small());
}

#[test]
fn four_threads_lose_nothing_and_keep_the_order() {
    let shape = Shape { shards: 4, seed: 2, messages: 2000, body_bytes: 8 };
    run(shape, Media::Memory, StoreConfig::small());
}

#[test]
fn large_bodies_lose_nothing_in_a_store_that_is_full_again_and_again() {
    let store = StoreConfig { memory_bytes_max: 2 << 20, ..StoreConfig::small() };
    let shape = Shape { shards: 3, seed: 3, messages: 400, body_bytes: 20_000 };
    run(shape, Media::Memory, store);
}

#[test]
fn group_commit_on_disk_loses_nothing_and_keeps_the_order() {
    let storage = Arc::new(FaultyStorage::new());
    let store = StoreConfig { sync: SyncPolicy::Group, ..StoreConfig::small() };
    let shape = Shape { shards: 3, seed: 4, messages: 1000, body_bytes: 100 };
    run(shape, Media::Disk(storage), store);
}
