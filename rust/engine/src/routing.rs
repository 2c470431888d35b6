//! The routes in force, bound to the queues they lead to.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use edgehub_router::RouteSet;
use edgehub_store::{QueueId, StoreError, Target};
use edgehub_types::UnixMs;

/// How long a message may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// Until delivered.
    Never,
    /// Seconds from its arrival; zero expires at once.
    Secs(u64),
}

impl Ttl {
    /// The time of expiry of a message that arrives now.
    pub fn expires_at(self, now: UnixMs) -> UnixMs {
        match self {
            Self::Never => UnixMs::MAX,
            Self::Secs(secs) => now.plus_secs(secs),
        }
    }

    /// A route's own time to live, or the global one: negative never expires, zero expires at once
    /// (store section 1.5).
    pub fn of_route(route_ttl_secs: u32, default_ttl_secs: i64) -> Self {
        match (route_ttl_secs, u64::try_from(default_ttl_secs)) {
            (0, Ok(secs)) => Self::Secs(secs),
            (0, Err(_)) => Self::Never,
            (secs, _) => Self::Secs(u64::from(secs)),
        }
    }
}

struct RouteTarget {
    queue: QueueId,
    ttl: Ttl,
    matched: AtomicU64,
}

/// Compiled routes with the queue and the time to live of each.
#[derive(Default)]
pub struct RoutingTable {
    version: u64,
    pub(crate) routes: RouteSet,
    targets: Vec<RouteTarget>,
    endpoints: HashSet<String>,
}

impl RoutingTable {
    /// Binds compiled routes to queues that `open_queue` gives for endpoint and priority.
    ///
    /// # Errors
    /// What `open_queue` answers.
    pub fn build(
        version: u64,
        routes: RouteSet,
        default_ttl_secs: i64,
        open_queue: impl Fn(&str, u32) -> Result<QueueId, StoreError>,
    ) -> Result<Self, StoreError> {
        let mut targets = Vec::new();
        for (index, route) in routes.routes().iter().enumerate() {
            let endpoint = routes.endpoint_index(index).and_then(|index| routes.endpoints().get(index));
            let id = endpoint.map_or("", |endpoint| endpoint.id.as_str());
            targets.push(RouteTarget {
                queue: open_queue(id, route.priority())?,
                ttl: Ttl::of_route(route.ttl_secs, default_ttl_secs),
                matched: AtomicU64::new(0),
            });
        }
        let endpoints = routes.endpoints().iter().map(|endpoint| endpoint.id.clone()).collect();
        Ok(Self { version, routes, targets, endpoints })
    }

    /// Grows with every replacement.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether a route leads there.
    pub fn uses_endpoint(&self, id: &str) -> bool {
        self.endpoints.contains(id)
    }

    /// Where a message that took this route goes; counts the match.
    pub fn target(&self, route_index: u32, now: UnixMs) -> Option<Target> {
        let target = self.targets.get(route_index as usize)?;
        target.matched.fetch_add(1, Ordering::Relaxed);
        Some(Target { queue: target.queue, expires_at: target.ttl.expires_at(now) })
    }

    /// Name of each route and the queue that it leads to.
    pub fn queues(&self) -> impl Iterator<Item = (&str, QueueId)> {
        let names = self.routes.routes().iter().map(|route| route.name.as_str());
        names.zip(self.targets.iter().map(|target| target.queue))
    }

    /// Messages that took each route since it is in force: name, count.
    pub fn matches(&self) -> Vec<(String, u64)> {
        let names = self.routes.routes().iter().map(|route| route.name.clone());
        names.zip(self.targets.iter().map(|target| target.matched.load(Ordering::Relaxed))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_inherits_the_global_time_to_live_unless_it_has_its_own() {
        assert_eq!(Ttl::of_route(10, 7200), Ttl::Secs(10));
        assert_eq!(Ttl::of_route(0, 7200), Ttl::Secs(7200));
        assert_eq!(Ttl::of_route(0, -1), Ttl::Never);
        assert_eq!(Ttl::of_route(0, 0), Ttl::Secs(0));
        assert_eq!(Ttl::of_route(60, -1), Ttl::Secs(60));
    }

    #[test]
    fn expiry_is_fixed_from_now() {
        assert_eq!(Ttl::Secs(2).expires_at(UnixMs(500)), UnixMs(2500));
        assert_eq!(Ttl::Never.expires_at(UnixMs(500)), UnixMs::MAX);
    }
}
