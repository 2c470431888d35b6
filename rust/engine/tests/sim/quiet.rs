//! Moments in which nothing goes wrong, and the end of a run: everything must come to rest.

use edgehub_store::LossCause;

use crate::action::{CONSUMER, Order, SHARDS};
use crate::world::World;

/// Rounds of the end; in each everybody does all that it can.
const ROUNDS_MAX: usize = 400;
/// Deliveries that the consumer takes one after the other in one round.
const DELIVERIES_MAX: usize = 20;
/// After so many rounds more time passes in each: something waits for a time-out.
const PATIENT_AFTER: usize = 20;

impl World {
    /// Everybody does all that it can at once.
    pub fn flow(&mut self) {
        for client in 0..self.clients.len() {
            if self.clients[client].link.is_none() {
                self.connect(client, client % SHARDS, false, false);
            }
            self.exhaust_wire(client);
        }
        self.control(usize::MAX);
        for _ in 0..2 {
            self.turn_all();
            self.hub.store().tick();
        }
        self.turn_all();
        for client in 0..self.clients.len() {
            self.with_key(client, |world, key| world.read(key, usize::MAX));
        }
        for _ in 0..DELIVERIES_MAX {
            if !self.consume() {
                break;
            }
        }
        self.advance(1);
    }

    /// The consumer reads and acknowledges; `false` when there was nothing.
    fn consume(&mut self) -> bool {
        let Some(key) = self.clients[CONSUMER].link else { return false };
        self.read(key, usize::MAX);
        let Some(link) = self.links.get_mut(&key) else { return false };
        self.clients[CONSUMER].acknowledge(link, usize::MAX, Order::Oldest);
        let found = !link.up.is_empty();
        self.exhaust_wire(CONSUMER);
        found
    }

    /// Brings to the hub what it reads.
    fn exhaust_wire(&mut self, client: usize) {
        let Some(key) = self.clients[client].link else { return };
        let left = |world: &Self| world.links.get(&key).map_or(0, |link| link.up.len());
        let mut before = usize::MAX;
        while left(self) > 0 && left(self) < before {
            before = left(self);
            self.feed(key, usize::MAX);
        }
    }

    /// All faults end; whatever was promised must be done, and all work end.
    pub fn come_to_rest(&mut self) {
        self.disk.plan_fault(None);
        let forgotten: Vec<_> = self.links.keys().copied().filter(|key| !self.is_in_use(*key)).collect();
        for key in forgotten {
            self.lose(key, true);
        }
        self.flow();
        if self.hub.store().is_poisoned().is_some() {
            self.restart(self.disk.after_kill());
        }
        if !self.clients[CONSUMER].wants() {
            let link = self.clients[CONSUMER].link.and_then(|key| self.links.get_mut(&key));
            self.clients[CONSUMER].want(link, true);
        }
        self.settle();
        self.check_missing();
    }

    /// Who waits for something waits in silence: it must come before that costs the connection.
    fn settle(&mut self) {
        let (mut rounds, silent) = (0, self.control.silent);
        while !self.is_at_rest() {
            rounds += 1;
            assert!(rounds < ROUNDS_MAX, "no rest: {}", self.unrest());
            for client in 0..self.clients.len() {
                if self.clients[client].is_content() {
                    self.with_link(client, |it, link| it.ping(link));
                }
            }
            self.flow();
            assert_eq!(self.control.silent, silent, "nothing came: {}", self.unrest());
            self.advance(if rounds > PATIENT_AFTER { 300 } else { 20 });
        }
    }

    fn is_in_use(&self, key: usize) -> bool {
        self.clients.iter().any(|client| client.link == Some(key))
    }

    fn is_at_rest(&mut self) -> bool {
        let wires = self.links.values().all(|link| link.up.is_empty() && !link.is_owed());
        let queues = self.hub.store().queues().iter().all(edgehub_store::Queue::is_empty);
        wires
            && queues
            && self.control.is_idle(&self.hub)
            && self.clients.iter().all(crate::client::Client::is_content)
            && self.shards.iter_mut().all(|shard| shard.may_sleep() && !shard.has_pending_acks())
            && self.links.values().all(|link| self.shards[link.id.shard()].wants_input(link.id))
    }

    fn unrest(&self) -> String {
        let queues: Vec<_> = self.hub.queue_lengths();
        let content: Vec<_> = self.clients.iter().map(crate::client::Client::is_content).collect();
        let shards: Vec<_> = self.shards.iter().map(|s| (s.may_sleep(), s.has_pending_acks())).collect();
        let links: Vec<_> = self.links.values().map(|link| (link.up.len(), link.is_owed())).collect();
        format!("queues {queues:?} clients {content:?} shards {shards:?} wires {links:?}")
    }

    /// What was acknowledged is delivered, or there is a reason, and the hub counted it. Counters begin anew with the
    /// hub, and those of an input that is removed go with it.
    fn check_missing(&self) {
        let missing = self.book.missing();
        if self.restarts > 0 || missing.removed > 0 {
            return;
        }
        let lost = |cause| self.hub.store().queues().iter().map(|queue| queue.lost(cause)).sum::<u64>();
        // One that had to make room may have been expired by now, and the other way round.
        let counted = lost(LossCause::Expired) + lost(LossCause::Quota);
        assert!(missing.expired + missing.dropped <= counted, "{missing:?}, and {counted} counted");
    }
}
