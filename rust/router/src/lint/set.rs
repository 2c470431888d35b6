//! Rules about routes together. Routes are looked up, never compared one by one with all others.

use std::collections::HashMap;

use crate::lint::keys::{Key, Keys};
use crate::lint::notes::Notes;
use crate::lint::warning::Warning;
use crate::set::decl::RouteDecl;
use crate::text::fold;

/// Segments up to which a source is compared with shorter ones; those of the hub have at most five.
const SOURCE_SEGMENTS_MAX: usize = 16;

/// Equalities of one condition that are compared with those of another route.
pub(super) const EQUALITIES_MAX: usize = 16;

/// A route that may match, in keys.
#[derive(Debug)]
pub(super) struct SetRoute {
    /// Place in the declaration.
    pub(super) index: usize,
    pub(super) priority: u32,
    pub(super) ttl_secs: u32,
    pub(super) endpoint: Key,
    /// The source and what it is below, widest first.
    pub(super) sources: Vec<Key>,
    /// The condition; `None` if it always holds.
    pub(super) condition: Option<Key>,
    /// What `AND` joins to make the condition.
    pub(super) parts: Vec<Key>,
    /// Operands and the literals they must equal.
    pub(super) equalities: Vec<(Key, Key)>,
}

impl SetRoute {
    fn source(&self) -> Key {
        self.sources.last().copied().unwrap_or_default()
    }

    /// Whether both ask for different values of one operand.
    fn excludes(&self, other: &SetRoute) -> bool {
        self.equalities.iter().any(|(operand, value)| {
            other.equalities.iter().any(|(same, another)| operand == same && value != another)
        })
    }
}

/// Keys of a source and of what it is below, widest first.
pub(super) fn source_keys(source: &str, keys: &mut Keys) -> Vec<Key> {
    let prefix = fold(source.trim_end_matches('*').trim_matches('/'));
    let mut last = keys.of("/".to_owned(), Vec::new());
    let mut all = vec![last];
    for segment in prefix.split('/').filter(|segment| !segment.is_empty()) {
        last = keys.of(format!("/{segment}"), vec![last]);
        all.push(last);
    }
    all.drain(SOURCE_SEGMENTS_MAX.min(all.len() - 1)..all.len() - 1);
    all
}

/// Endpoint, source, condition.
type Taken = (Key, Key, Option<Key>);

/// Endpoint, priority, source.
type Place = (Key, u32, Key);

/// Two routes with different times to live: at any time, one of them differs from a third.
type Pair<'r> = (&'r SetRoute, Option<&'r SetRoute>);

/// Routes that come first, found by what they take.
#[derive(Debug, Default)]
struct Before<'r> {
    taken: HashMap<Taken, &'r SetRoute>,
    /// Routes of exactly this source.
    at: HashMap<Place, Pair<'r>>,
    /// Routes of this source or one below it.
    below: HashMap<Place, Pair<'r>>,
}

/// Looks at all routes; `notes` are by place in the declaration.
pub(super) fn check(decls: &[RouteDecl], mut routes: Vec<SetRoute>, notes: &mut [Notes<'_>]) {
    routes.sort_by_key(|route| (route.priority, route.index));
    let mut before = Before::default();
    for route in &routes {
        let name = |other: &SetRoute| decls.get(other.index).map_or(String::new(), |d| d.name.clone());
        let warning = match before.shadow_of(route) {
            Some(other) if other.source() == route.source() && other.condition == route.condition => {
                Some(Warning::DuplicateRoute { of: name(other) })
            }
            Some(other) => Some(Warning::ShadowedRoute { by: name(other) }),
            None => before.rival_of(route).map(|other| Warning::SharedEndpoint { first: name(other) }),
        };
        if let (Some(warning), Some(notes)) = (warning, notes.get_mut(route.index)) {
            notes.warn_whole(warning);
        }
        before.add(route);
    }
}

impl<'r> Before<'r> {
    fn add(&mut self, route: &'r SetRoute) {
        self.taken.entry((route.endpoint, route.source(), route.condition)).or_insert(route);
        remember(&mut self.at, (route.endpoint, route.priority, route.source()), route);
        for source in &route.sources {
            remember(&mut self.below, (route.endpoint, route.priority, *source), route);
        }
    }

    /// A route that takes all that `route` does: the same source or a wider one, and no condition,
    /// the same, or one that `route` requires among others.
    fn shadow_of(&self, route: &SetRoute) -> Option<&'r SetRoute> {
        let conditions = || {
            let single = route.parts.iter().map(|part| Some(*part)).filter(|part| *part != route.condition);
            [route.condition, None].into_iter().chain(single)
        };
        let at = |source: Key| conditions().find_map(move |c| self.taken.get(&(route.endpoint, source, c)));
        route.sources.iter().rev().find_map(|source| at(*source)).copied()
    }

    /// A route of the same priority with another time to live that may match together with `route`.
    fn rival_of(&self, route: &SetRoute) -> Option<&'r SetRoute> {
        let place = |source: Key| (route.endpoint, route.priority, source);
        let wider = route.sources.iter().filter_map(|source| self.at.get(&place(*source)));
        let pairs = self.below.get(&place(route.source())).into_iter().chain(wider);
        let mut rivals = pairs.flat_map(|(one, other)| [Some(*one), *other]).flatten();
        rivals.find(|rival| rival.ttl_secs != route.ttl_secs && !rival.excludes(route))
    }
}

fn remember<'r>(places: &mut HashMap<Place, Pair<'r>>, place: Place, route: &'r SetRoute) {
    let (one, other) = places.entry(place).or_insert((route, None));
    if other.is_none() && one.ttl_secs != route.ttl_secs {
        *other = Some(route);
    }
}
