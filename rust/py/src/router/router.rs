//! The router as Python sees it.

use edgehub_router::RouteTable;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::door::without_gil;
use crate::router::compiled::{Compiled, Worker};
use crate::router::declared::Declared;
use crate::router::explanation::Explanation;
use crate::router::verdicts::verdict_dict;
use crate::router::waiting::Waiting;

/// Compiled routes. Safe to use from many threads; the set may be replaced meanwhile.
///
/// >>> from edgehub.router import Router
/// >>> router = Router({
/// ...     "up": "FROM /messages/* INTO $upstream",
/// ...     "hot": {
/// ...         "route": 'FROM /* WHERE as_number(t) > 30 INTO BrokeredEndpoint("/modules/fan/inputs/on")',
/// ...         "priority": 0,
/// ...         "timeToLiveSecs": 60,
/// ...     },
/// ... })
/// >>> for delivery in router.match({"properties": {"t": "31"}}):
/// ...     print(delivery.endpoint, delivery.route, delivery.priority, delivery.ttl_secs)
/// device/fan/on hot 0 60
/// iothub up 2000000000 0
#[pyclass(frozen, module = "edgehub.router")]
pub(crate) struct Router {
    table: RouteTable<Compiled>,
    edge_device_id: String,
    schema: String,
}

#[pymethods]
impl Router {
    #[new]
    #[pyo3(signature = (routes, *, edge_device_id = "device", schema = "1.1"))]
    fn py_new(
        py: Python<'_>,
        routes: &Bound<'_, PyAny>,
        edge_device_id: &str,
        schema: &str,
    ) -> PyResult<Router> {
        let table = RouteTable::new(compile(py, routes, edge_device_id, schema)?);
        Ok(Router { table, edge_device_id: edge_device_id.to_owned(), schema: schema.to_owned() })
    }

    #[pyo3(name = "match")]
    fn py_match<'py>(&self, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
        let (py, compiled) = (message.py(), self.table.load());
        compiled.with_worker(|Worker { matcher, waiting, .. }| {
            let msg = waiting.only(message)?;
            let id = matcher.one(&compiled.set, msg.source(), &msg);
            matcher.make_tuples(py, &compiled)?;
            Ok(matcher.tuple(py, id))
        })
    }

    fn match_many<'py>(&self, messages: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let (results, compiled) = (PyList::empty(messages.py()), self.table.load());
        compiled.with_worker(|Worker { matcher, waiting, .. }| {
            waiting.feed(messages, |waiting, before| matcher.waiting(&compiled, waiting, before, &results))
        })?;
        Ok(results)
    }

    fn match_encoded<'py>(&self, data: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyList>> {
        let (py, compiled) = (data.py(), self.table.load());
        compiled.with_worker(|Worker { matcher, .. }| matcher.encoded(py, &compiled, data.as_bytes()))
    }

    fn verdicts<'py>(&self, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        let compiled = self.table.load();
        let (mut waiting, mut verdicts) = (Waiting::default(), Vec::new());
        let msg = waiting.only(message)?;
        compiled.dry_run().verdicts(msg.source(), &msg, &mut verdicts);
        verdict_dict(message.py(), &compiled, &verdicts)
    }

    fn verdicts_many<'py>(&self, messages: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let (py, compiled) = (messages.py(), self.table.load());
        let results = PyList::empty(py);
        compiled.with_worker(|Worker { waiting, verdicts, .. }| {
            waiting.feed(messages, |waiting, before| {
                without_gil(py, || verdicts.evaluate(&compiled, waiting, before))?;
                verdicts.each().try_for_each(|one| results.append(verdict_dict(py, &compiled, one)?))
            })
        })?;
        Ok(results)
    }

    fn explain(&self, message: &Bound<'_, PyAny>) -> PyResult<Explanation> {
        let mut waiting = Waiting::default();
        let msg = waiting.only(message)?;
        Ok(Explanation { inner: self.table.load().set.explain(msg.source(), &msg) })
    }

    fn replace(&self, py: Python<'_>, routes: &Bound<'_, PyAny>) -> PyResult<()> {
        self.table.replace(compile(py, routes, &self.edge_device_id, &self.schema)?);
        Ok(())
    }

    #[getter]
    fn routes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.table.load().names(py)
    }

    #[getter]
    fn endpoints<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.table.load().endpoints(py)
    }

    fn __repr__(&self) -> String {
        let compiled = self.table.load();
        let (routes, endpoints) = (compiled.set.routes().len(), compiled.set.endpoints().len());
        format!("<Router of {routes} routes to {endpoints} endpoints>")
    }
}

fn compile(
    py: Python<'_>,
    routes: &Bound<'_, PyAny>,
    edge_device_id: &str,
    schema: &str,
) -> PyResult<Compiled> {
    let set = Declared::read(routes, schema)?.compile(py, edge_device_id)?;
    Compiled::new(py, set)
}
