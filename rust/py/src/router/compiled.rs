//! A route set with the Python objects that stand for it.

use std::collections::HashMap;
use std::sync::OnceLock;

use edgehub_router::{DryRun, RouteSet};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::router::delivery::Delivery;
use crate::router::matcher::Matcher;
use crate::router::verdicts::Verdicts;
use crate::router::waiting::Waiting;

/// Workers that are kept for the next call: so many threads find one at hand.
const SPARE_MAX: usize = 8;

/// What one call works with; it has grown to the size of the routes and the messages.
#[derive(Default)]
pub(super) struct Worker {
    pub(super) matcher: Matcher,
    pub(super) waiting: Waiting,
    pub(super) verdicts: Verdicts,
}

/// Compiled routes, swapped as a whole.
pub(super) struct Compiled {
    pub(super) set: RouteSet,
    /// Names and deliveries of the routes, in the order of declaration.
    names: Vec<Py<PyString>>,
    deliveries: Vec<Py<Delivery>>,
    endpoints: Vec<Py<PyString>>,
    dry_run: OnceLock<DryRun>,
    spare: Mutex<Vec<Worker>>,
}

impl Compiled {
    pub(super) fn new(py: Python<'_>, set: RouteSet) -> PyResult<Compiled> {
        let text = |text: &str| PyString::new(py, text).unbind();
        let endpoints: Vec<_> = set.endpoints().iter().map(|endpoint| text(&endpoint.id)).collect();
        let names: Vec<_> = set.routes().iter().map(|decl| text(&decl.name)).collect();
        let places = endpoint_places(&set);
        let mut deliveries = Vec::with_capacity(names.len());
        for ((index, decl), name) in set.routes().iter().enumerate().zip(&names) {
            let endpoint = places.get(&index).and_then(|place| endpoints.get(*place));
            let endpoint = endpoint.map_or_else(|| text(""), |endpoint| endpoint.clone_ref(py));
            let delivery = Delivery::py_new(endpoint, name.clone_ref(py), decl.priority(), decl.ttl_secs);
            deliveries.push(Py::new(py, delivery)?);
        }
        Ok(Compiled { set, names, deliveries, endpoints, dry_run: OnceLock::new(), spare: Mutex::default() })
    }

    pub(super) fn delivery<'py>(&self, py: Python<'py>, route: u32) -> Option<Bound<'py, Delivery>> {
        self.deliveries.get(route as usize).map(|delivery| delivery.bind(py).clone())
    }

    pub(super) fn name(&self, route: u32) -> Option<&Py<PyString>> {
        self.names.get(route as usize)
    }

    pub(super) fn names<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.names)
    }

    pub(super) fn endpoints<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.endpoints)
    }

    /// The conditions compiled to tell false from undefined, when first asked for.
    pub(super) fn dry_run(&self) -> &DryRun {
        self.dry_run.get_or_init(|| self.set.dry_run())
    }

    /// Does `work` with a worker that no other thread uses.
    pub(super) fn with_worker<T>(&self, work: impl FnOnce(&mut Worker) -> PyResult<T>) -> PyResult<T> {
        let mut worker = self.spare.lock().pop().unwrap_or_default();
        worker.matcher.begin();
        let done = work(&mut worker);
        worker.waiting.clear();
        let mut spare = self.spare.lock();
        if spare.len() < SPARE_MAX {
            spare.push(worker);
        }
        done
    }
}

/// The place of each route's endpoint, by the place of the route.
fn endpoint_places(set: &RouteSet) -> HashMap<usize, usize> {
    let routes = 0..set.routes().len();
    routes.filter_map(|route| Some((route, set.endpoint_index(route)?))).collect()
}
