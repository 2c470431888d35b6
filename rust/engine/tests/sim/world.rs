//! The world of a run: the hub with its shards and its disk, the wires, the clients, the control plane, and the clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use edgehub_engine::{CloseReason, Hub, RoutesError, Shard};
use edgehub_store::{Media, Store};
use edgehub_testkit::{FaultPlan, FaultyStorage, PowerCut, VirtualClock};
use edgehub_types::{Clock, UnixMs};

use crate::action::{Action, CLIENTS, CONSUMER, SHARDS, Setup};
use crate::book::Book;
use crate::client::Client;
use crate::control::ControlPlane;
use crate::link::{Answer, Link, Mark, answers};
use crate::routes::{DEFAULT_TTL_SECS, declared};

const START: UnixMs = UnixMs(1_750_000_000_000);
/// Bytes that a driver reads from a socket at once.
const READ_BYTES: usize = 4096;
/// Deadlines that are met one by one while time passes; then the rest of it passes at once.
const DEADLINES_MAX: usize = 40;
/// The longest packet of a run, either way.
const PACKET_BYTES: usize = 1200;

pub struct World {
    pub setup: Setup,
    pub clock: Arc<VirtualClock>,
    pub disk: FaultyStorage,
    pub hub: Arc<Hub>,
    pub shards: Vec<Shard>,
    pub links: BTreeMap<usize, Link>,
    pub clients: Vec<Client>,
    pub control: ControlPlane,
    pub book: Book,
    /// Starts of the hub after the first.
    pub restarts: usize,
    next_key: usize,
    set: usize,
}

fn open(disk: &FaultyStorage, clock: &Arc<VirtualClock>, setup: &Setup) -> (Arc<Hub>, Vec<Shard>) {
    let media = Media::Disk(Arc::new(disk.clone()));
    let (store, _) = Store::open(media, setup.store.clone(), clock.clone()).expect("a store always opens");
    store.set_quota(setup.quota);
    let hub = Hub::new(setup.engine.clone(), store, SHARDS);
    let shards = (0..SHARDS).map(|index| Shard::new(hub.clone(), index)).collect();
    (hub, shards)
}

impl World {
    pub fn new(setup: &Setup) -> Self {
        let (clock, disk) = (Arc::new(VirtualClock::at(START)), FaultyStorage::new());
        let (hub, shards) = open(&disk, &clock, setup);
        let mut world = Self {
            setup: setup.clone(),
            clock,
            disk,
            hub,
            shards,
            links: BTreeMap::new(),
            clients: (0..CLIENTS).map(Client::new).collect(),
            control: ControlPlane::default(),
            book: Book::new(setup.quota.is_some_and(|quota| quota.policy.drops())),
            restarts: 0,
            next_key: 0,
            set: 0,
        };
        world.change_routes(0);
        world
    }

    /// One step.
    pub fn act(&mut self, action: &Action) {
        match *action {
            Action::Connect { client, shard, eager, refused } => self.connect(client, shard, eager, refused),
            Action::Publish { client, count, size, kind, qos1 } => {
                for _ in 0..count {
                    self.with_client(client, |it, link, book| it.publish(link, book, kind, size, qos1));
                }
            }
            Action::Request { client, qos1 } => self.with_link(client, |it, link| it.request(link, qos1)),
            Action::Ping { client } => self.with_link(client, |it, link| it.ping(link)),
            Action::Ack { count, order } => {
                self.with_link(CONSUMER, |it, link| it.acknowledge(link, count, order));
            }
            Action::Toggle => self.with_client(CONSUMER, |it, link, _| it.toggle(link)),
            Action::Disconnect { client } => {
                self.with_link(client, |_, link| Client::disconnect(link));
                self.clients[client].lost();
            }
            Action::Feed { client, bytes } => self.with_key(client, |world, key| world.feed(key, bytes)),
            Action::FeedForgotten { bytes } => self.with_forgotten(|world, key| world.feed(key, bytes)),
            Action::Read { client, bytes } => self.with_key(client, |world, key| world.read(key, bytes)),
            Action::Lose { client, reset } => self.with_key(client, |world, key| world.lose(key, reset)),
            Action::LoseForgotten => self.with_forgotten(|world, key| world.lose(key, true)),
            Action::Control { events } => self.control(events),
            Action::Turn { shard } => self.turn(shard, |_| {}),
            Action::Tick => self.hub.store().tick(),
            Action::Advance { ms } => self.advance(ms),
            Action::Flow { rounds } => (0..rounds).for_each(|_| self.flow()),
            _ => self.act_on_machine(action),
        }
    }

    fn act_on_machine(&mut self, action: &Action) {
        match *action {
            Action::StepClock { by_ms } => {
                self.clock.step_unix(UnixMs(self.clock.unix().0.saturating_add_signed(by_ms)));
            }
            Action::Routes { set } => self.change_routes(set),
            Action::Fault { call, skip, times, fault } => {
                self.disk.plan_fault(Some(FaultPlan::new(&[call], skip, times, fault)));
            }
            Action::FaultsEnd => self.disk.plan_fault(None),
            Action::Kill => self.restart(self.disk.after_kill()),
            Action::PowerCut { seed, scattered, off_ms } => {
                let cut = if scattered { PowerCut::scattered(seed) } else { PowerCut::random_prefix(seed) };
                let disk = self.disk.after_power_cut(cut);
                self.clock.reboot_after(off_ms);
                self.restart(disk);
            }
            _ => unreachable!("{action:?}"),
        }
    }

    /// With the connection of a client.
    pub fn with_key(&mut self, client: usize, work: impl FnOnce(&mut Self, usize)) {
        if let Some(key) = self.clients[client].link {
            work(self, key);
        }
    }

    /// With the oldest connection that its client forgot.
    fn with_forgotten(&mut self, work: impl FnOnce(&mut Self, usize)) {
        let forgotten = |key: &&usize| self.clients.iter().all(|client| client.link != Some(**key));
        if let Some(key) = self.links.keys().find(forgotten).copied() {
            work(self, key);
        }
    }

    fn with_client(&mut self, client: usize, work: impl FnOnce(&mut Client, Option<&mut Link>, &mut Book)) {
        let it = &mut self.clients[client];
        let link = it.link.and_then(|key| self.links.get_mut(&key));
        work(it, link, &mut self.book);
    }

    pub fn with_link(&mut self, client: usize, work: impl FnOnce(&mut Client, &mut Link)) {
        self.with_client(client, |it, link, _| {
            if let Some(link) = link {
                work(it, link);
            }
        });
    }

    pub fn connect(&mut self, client: usize, shard: usize, eager: bool, refused: bool) {
        self.next_key += 1;
        let (key, mut id) = (self.next_key, None);
        self.turn(shard, |shard| id = shard.open(key, format!("192.0.2.1:{key}"), 1));
        let mut link = Link::new(key, client, id.expect("room for a connection"));
        let it = &mut self.clients[client];
        it.lost();
        it.connect(key, &mut link, &mut self.book, eager, refused);
        self.links.insert(key, link);
    }

    /// A turn of every driver.
    pub fn turn_all(&mut self) {
        for index in 0..SHARDS {
            self.turn(index, |_| {});
        }
    }

    /// One turn of a driver.
    pub fn turn(&mut self, index: usize, work: impl FnOnce(&mut Shard)) {
        let now = self.shards[index].read_clocks(&*self.clock);
        self.book.set_time(now.store.0);
        let shard = &mut self.shards[index];
        shard.begin_turn(now);
        work(shard);
        shard.finish_turn();
        while shard.pop_dirty().is_some() {}
        while shard.pop_resumed().is_some() {}
        let staged_max = self.setup.engine.batch_bytes_max + 2 * PACKET_BYTES;
        assert!(shard.staged_bytes() <= staged_max, "{} bytes staged", shard.staged_bytes());
        self.observe(index);
        self.reap(index);
    }

    /// Looks at what the hub wrote in its last turn.
    fn observe(&mut self, index: usize) {
        let config = &self.setup.engine;
        let out_max = 2 * config.out_bytes_max + 2 * READ_BYTES + PACKET_BYTES;
        let kept_max = config.held_bytes_max.max(READ_BYTES + PACKET_BYTES);
        let now_ms = self.clock.mono().0;
        let mut taken_over = false;
        for link in self.links.values_mut().filter(|link| link.id.shard() == index) {
            link.look_for_late(now_ms, config.ack_timeout_ms);
            let kept = self.shards[index].input_bytes_kept(link.id);
            assert!(kept <= kept_max, "{kept} bytes wait to be worked on");
            let Some(out) = self.shards[index].out(link.id) else { continue };
            assert!(out.len() <= out_max, "{} bytes wait to be sent", out.len());
            let (found, used) = answers(&out[link.seen..]);
            assert_eq!(link.seen + used, out.len(), "whole packets");
            link.seen = out.len();
            for answer in found {
                note(&mut self.book, link, &answer, now_ms, config.delivery_window);
                let accepted = matches!(answer, Answer::ConnAck { accepted: true, .. });
                taken_over |= accepted && link.client == CONSUMER;
            }
        }
        if taken_over {
            // Where two connections of the consumer meet, the older one may have messages again when the newer one ends.
            self.links.values_mut().filter(|link| link.client == CONSUMER).for_each(Link::may_repeat);
        }
    }

    /// Closes the sockets of connections that the hub ended, when its last bytes are sent.
    fn reap(&mut self, index: usize) {
        let shard = &mut self.shards[index];
        let mut ended = Vec::new();
        self.links.retain(|key, link| {
            let is_read = self.clients[link.client].link == Some(*key);
            let here = link.id.shard() == index && shard.is_closing(link.id);
            let over = here && (!is_read || shard.out(link.id).is_none_or(|out| out.is_empty()));
            if over {
                shard.forget(link.id);
                ended.push((*key, link.client));
            }
            !over
        });
        for (key, client) in ended {
            self.client_lost(key, client);
        }
    }

    fn client_lost(&mut self, key: usize, client: usize) {
        if self.clients[client].link == Some(key) {
            self.clients[client].lost();
        }
    }

    /// Brings bytes to the hub, as far as it reads.
    pub fn feed(&mut self, key: usize, bytes_max: usize) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let (id, index) = (link.id, link.id.shard());
        let room = self.shards[index].input_bytes_max(id);
        if link.up.is_empty() || room == 0 {
            return;
        }
        let (bytes, marks) = link.carry(bytes_max.min(READ_BYTES).min(room));
        self.book.set_time(self.hub.store().now().0);
        let mut consumed = Vec::new();
        for mark in marks {
            match mark {
                Mark::Publish { tx, packet } => {
                    self.book.arrived(tx);
                    if let Some(packet) = packet {
                        link.awaits(packet, Some(tx));
                    }
                }
                Mark::Request { packet } => link.awaits(packet, None),
                Mark::Ack { packet } => consumed.extend(link.consumed(packet)),
                Mark::Ping => link.pings += 1,
                Mark::Other => {}
            }
        }
        // What waits behind something is not worked on yet.
        self.turn(index, |shard| shard.feed(id, &bytes));
        if self.shards[index].wants_input(id) && !self.shards[index].is_closing(id) {
            for (input, tx) in consumed {
                self.book.consumed(input, tx);
            }
        }
    }

    /// Brings bytes to the client, which works on them.
    pub fn read(&mut self, key: usize, bytes_max: usize) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let index = link.id.shard();
        let shard = &mut self.shards[index];
        if let Some(out) = shard.out(link.id) {
            let count = bytes_max.min(out.len());
            link.inbox.extend(out.drain(..count));
            link.seen -= count;
            shard.written(link.id);
        }
        let (found, used) = answers(&link.inbox);
        link.inbox.drain(..used);
        let client = &mut self.clients[link.client];
        for answer in found {
            client.take(answer, link, &mut self.book);
        }
        self.reap(index);
    }

    /// Both ends learn that the connection is gone.
    pub fn lose(&mut self, key: usize, reset: bool) {
        let Some(link) = self.links.remove(&key) else { return };
        let reason = if reset { CloseReason::Reset } else { CloseReason::Eof };
        self.turn(link.id.shard(), |shard| shard.eof(link.id, reason, ""));
        self.shards[link.id.shard()].forget(link.id);
        self.client_lost(key, link.client);
    }

    pub fn control(&mut self, events: usize) {
        if !self.control.work(&self.hub, events, self.next_key) {
            self.restart(self.disk.after_kill());
        }
    }

    /// Time passes; shards have their turns when they asked for them.
    pub fn advance(&mut self, ms: u64) {
        let end = self.clock.mono().0 + ms;
        for step in 0..=DEADLINES_MAX {
            let now = self.clock.mono().0;
            let due = self.shards.iter().filter_map(|shard| shard.deadline().map(|at| at.0)).min();
            let next =
                if step == DEADLINES_MAX { end } else { due.unwrap_or(end).clamp(now + 1, end.max(now + 1)) };
            self.clock.advance_ms(next.min(end) - now);
            self.turn_all();
            if next >= end {
                break;
            }
        }
        self.hub.store().tick();
    }

    fn change_routes(&mut self, set: usize) {
        match self.hub.set_routes(&declared(set), DEFAULT_TTL_SECS.cast_signed()) {
            Ok(()) => {
                self.book.change_routes(set);
                self.set = set;
            }
            Err(RoutesError::Store(_)) => {}
            Err(RoutesError::Compile(errors)) => panic!("{errors:?}"),
            Err(other) => panic!("{other}"),
        }
    }

    /// The process ends, and another one begins on what the folder has.
    pub fn restart(&mut self, disk: FaultyStorage) {
        self.disk = disk;
        self.links.clear();
        self.clients.iter_mut().for_each(Client::lost);
        self.control.restarted();
        self.book.restarted();
        (self.hub, self.shards) = open(&self.disk, &self.clock, &self.setup);
        self.restarts += 1;
        self.change_routes(self.set);
        self.turn_all();
    }
}

/// Notes what the hub wrote to one connection.
fn note(book: &mut Book, link: &mut Link, answer: &Answer, now_ms: u64, window: u16) {
    match answer {
        Answer::PubAck(packet) => {
            if let Some(tx) = link.acknowledged(*packet) {
                book.acknowledged(tx);
            }
        }
        Answer::UnsubAck => link.may_repeat(),
        Answer::Pong => link.pings = link.pings.checked_sub(1).expect("an answer to a ping"),
        Answer::Message(message) => {
            let packet = message.packet.expect("QoS 1 was asked for");
            let (tx, line, rank) = book.delivered(message);
            link.sends(tx, line, rank, packet, now_ms, window);
        }
        Answer::ConnAck { .. } | Answer::SubAck => {}
    }
}
