//! One message through all routes.

use crate::condition::Verdict;
use crate::machine::{Buffers, Machine};
use crate::message::MessageView;
use crate::set::bucket::Gathered;
use crate::set::compile::{CompiledRoute, RouteSet};
use crate::set::source::Source;

/// One endpoint that a message goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Place in [`RouteSet::endpoints`].
    pub endpoint_index: u32,
    /// Priority of the route that decided.
    pub priority: u32,
    /// Its time to live in seconds; 0 takes the setting of the hub.
    pub ttl_secs: u32,
    /// Its place in [`RouteSet::routes`].
    pub route_index: u32,
}

/// Where a message goes, and the buffers for finding out. Use one over and over: once it has grown
/// to the size of the routes, evaluation allocates nothing.
#[derive(Debug, Default)]
pub struct Decisions {
    chosen: Chosen,
    gathered: Gathered,
    buffers: Buffers,
}

#[derive(Debug, Default)]
struct Chosen {
    list: Vec<Decision>,
    /// For each endpoint, the number of the evaluation that last decided for it.
    decided: Vec<u64>,
    evaluation: u64,
}

impl Decisions {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// The endpoints of the last evaluation, by priority, then declaration.
    pub fn as_slice(&self) -> &[Decision] {
        &self.chosen.list
    }

    /// The same, one by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Decision> {
        self.chosen.list.iter()
    }

    /// Number of endpoints.
    pub fn len(&self) -> usize {
        self.chosen.list.len()
    }

    /// Whether no route matched.
    pub fn is_empty(&self) -> bool {
        self.chosen.list.is_empty()
    }
}

impl Chosen {
    fn begin(&mut self, endpoints: usize) {
        self.list.clear();
        self.evaluation += 1;
        if self.decided.len() < endpoints {
            self.decided.resize(endpoints, 0);
        }
    }

    #[inline]
    fn is_decided(&self, endpoint: u32) -> bool {
        self.decided.get(endpoint as usize) == Some(&self.evaluation)
    }

    #[inline]
    fn decide(&mut self, route: &CompiledRoute) {
        if let Some(last) = self.decided.get_mut(route.endpoint as usize) {
            *last = self.evaluation;
        }
        self.list.push(Decision {
            endpoint_index: route.endpoint,
            priority: route.priority,
            ttl_secs: route.ttl_secs,
            route_index: route.index,
        });
    }
}

impl<'a> IntoIterator for &'a Decisions {
    type Item = &'a Decision;
    type IntoIter = std::slice::Iter<'a, Decision>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl RouteSet {
    /// Finds where a message from `source` goes: each endpoint at most once, with the priority and
    /// time to live of the best route to it (lowest number, then first declared).
    pub fn evaluate<M: MessageView + ?Sized>(&self, source: Source<'_>, msg: &M, decisions: &mut Decisions) {
        let Decisions { chosen, gathered, buffers } = decisions;
        chosen.begin(self.endpoints.len());
        let mut machine = Machine::new(&self.program, msg, buffers);
        let ranks = match self.index.fixed(source) {
            Some(ranks) => ranks,
            None => self.gather(source, &mut machine, gathered),
        };
        for route in ranks.iter().filter_map(|rank| self.routes.get(*rank as usize)) {
            if chosen.is_decided(route.endpoint) {
                continue;
            }
            if route.fixed == Some(Verdict::True) || machine.matches(route.routine) {
                chosen.decide(route);
            }
        }
        machine.release();
    }

    /// The ranks of the routes that may match, in order.
    fn gather<'g, M: MessageView + ?Sized>(
        &self,
        source: Source<'_>,
        machine: &mut Machine<'_, '_, M>,
        gathered: &'g mut Gathered,
    ) -> &'g [u32] {
        gathered.clear();
        self.index.visit(source, |bucket| bucket.gather(machine, gathered));
        if let Source::Path(_) = source {
            self.index.of_path(source).for_each(|rank| gathered.push(rank));
        }
        gathered.sorted()
    }
}
