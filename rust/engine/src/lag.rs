//! How far the consumer of each route is behind. Looked up at a scrape; no message costs anything for it.

use std::collections::HashMap;

use edgehub_store::{Queue, QueueId};

use crate::hub::Hub;

/// What waits for the consumer of a route. Routes to one endpoint with one priority share a queue, and with it this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteLag {
    /// Name of the route.
    pub route: String,
    /// `iothub`, or `device/module/input`.
    pub endpoint: String,
    /// Priority, 0 is the highest.
    pub priority: u32,
    /// Messages that are not acknowledged, those in flight included.
    pub messages: u64,
    /// What they take, see [`Queue::waiting_bytes`].
    pub bytes: u64,
    /// How long the first of them has waited, milliseconds; see [`Queue::oldest_ms`]. 0 when there is none.
    pub age_ms: u64,
}

impl RouteLag {
    fn of(route: &str, queue: &Queue) -> Self {
        Self {
            route: route.to_owned(),
            endpoint: queue.endpoint().to_owned(),
            priority: queue.priority(),
            messages: queue.len(),
            bytes: queue.waiting_bytes(),
            age_ms: queue.oldest_ms().unwrap_or(0),
        }
    }
}

impl Hub {
    /// The lag of every route in force, in their order.
    pub fn route_lags(&self) -> Vec<RouteLag> {
        let queues: HashMap<QueueId, Queue> =
            self.store().queues().into_iter().map(|queue| (queue.id(), queue)).collect();
        let table = self.routing_table();
        table.queues().filter_map(|(route, id)| Some(RouteLag::of(route, queues.get(&id)?))).collect()
    }
}
