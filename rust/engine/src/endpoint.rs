//! Where routes lead: the parent hub or the input of a module. An endpoint has one queue per priority and
//! at most one consumer.

pub use edgehub_router::UPSTREAM_ID;
use edgehub_store::Queue;
use parking_lot::{Mutex, RwLock};

use crate::ids::ConnId;

/// An endpoint and its queues.
pub struct Endpoint {
    id: String,
    /// Where the input's name begins in it; asked for with every message.
    input_at: usize,
    /// By ascending number: 0 is served first.
    queues: RwLock<Vec<Queue>>,
    consumer: Mutex<Option<ConnId>>,
}

impl Endpoint {
    /// An endpoint without queues.
    pub fn new(id: &str) -> Self {
        let input_at = id.len() - id.splitn(3, '/').nth(2).unwrap_or("").len();
        Self { id: id.to_owned(), input_at, queues: RwLock::default(), consumer: Mutex::new(None) }
    }

    /// `iothub` or `device/module/input`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether this is the parent hub.
    pub fn is_upstream(&self) -> bool {
        self.id == UPSTREAM_ID
    }

    /// The input's name; empty for the parent hub.
    pub fn input(&self) -> &str {
        &self.id[self.input_at..]
    }

    /// The module as `device/module`; `upstream` for the parent hub.
    pub fn target(&self) -> &str {
        if self.input().is_empty() { "upstream" } else { &self.id[..self.input_at - 1] }
    }

    /// Adds a queue in its place.
    pub fn add_queue(&self, queue: Queue) {
        let mut queues = self.queues.write();
        if queues.iter().all(|known| known.id() != queue.id()) {
            queues.push(queue);
            queues.sort_by_key(Queue::priority);
        }
    }

    /// The queues by priority.
    pub fn queues(&self) -> Vec<Queue> {
        self.queues.read().clone()
    }

    /// The queue to serve now: the first by priority that has something.
    pub fn ready_queue(&self) -> Option<Queue> {
        self.queues.read().iter().find(|queue| queue.has_ready()).cloned()
    }

    /// The consumer now.
    pub fn consumer(&self) -> Option<ConnId> {
        *self.consumer.lock()
    }

    /// Makes `conn` the only consumer; what an earlier one had not acknowledged is deliverable again.
    pub fn attach(&self, conn: ConnId) {
        let mut consumer = self.consumer.lock();
        if *consumer != Some(conn) {
            *consumer = Some(conn);
            self.release();
        }
    }

    /// Ends the consumption by `conn`, if it still is the consumer.
    pub fn detach(&self, conn: ConnId) {
        let mut consumer = self.consumer.lock();
        if *consumer == Some(conn) {
            *consumer = None;
            self.release();
        }
    }

    /// Makes what `conn` has in flight deliverable again, if it still is the consumer.
    pub fn redeliver(&self, conn: ConnId) {
        if *self.consumer.lock() == Some(conn) {
            self.release();
        }
    }

    /// Ends the endpoint: whoever is bound to it finds nothing any more. One of the same name may follow and
    /// have the same queues.
    pub fn retire(&self) {
        let mut consumer = self.consumer.lock();
        *consumer = None;
        self.queues.write().clear();
    }

    /// Runs `lease` while `conn` is certain to be the consumer; `None` when it is not any more.
    pub fn with_consumer<R>(&self, conn: ConnId, lease: impl FnOnce() -> R) -> Option<R> {
        let consumer = self.consumer.lock();
        (*consumer == Some(conn)).then(lease)
    }

    fn release(&self) {
        for queue in self.queues.read().iter() {
            queue.release_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_target_and_input() {
        let input = Endpoint::new("edge/mod/in/with/slashes");
        assert_eq!((input.target(), input.input()), ("edge/mod", "in/with/slashes"));
        let upstream = Endpoint::new(UPSTREAM_ID);
        assert_eq!((upstream.target(), upstream.input()), ("upstream", ""));
        assert!(upstream.is_upstream() && !input.is_upstream());
    }

    #[test]
    fn only_the_consumer_leases() {
        let endpoint = Endpoint::new("e/m/i");
        let (old, new) = (ConnId(1), ConnId(2));
        endpoint.attach(old);
        assert_eq!(endpoint.with_consumer(old, || 7), Some(7));
        endpoint.attach(new);
        assert_eq!(endpoint.with_consumer(old, || 7), None);
        endpoint.detach(old);
        assert_eq!(endpoint.consumer(), Some(new));
        endpoint.detach(new);
        assert_eq!(endpoint.consumer(), None);
    }
}
