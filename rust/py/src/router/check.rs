//! Everything that is wrong with routes, and what is hardly meant.

use std::collections::HashMap;

use edgehub_router::RouteDecl;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::door::without_gil;
use crate::router::declared::Declared;
use crate::routes::RouteFault;

/// What `check` says about all routes.
#[pyclass(frozen, get_all, module = "edgehub.router")]
pub(crate) struct Report {
    valid: bool,
    routes: Py<PyDict>,
}

#[pymethods]
impl Report {
    fn __repr__(&self, py: Python<'_>) -> String {
        let (valid, routes) = (if self.valid { "True" } else { "False" }, self.routes.bind(py).len());
        format!("<Report valid={valid} of {routes} routes>")
    }
}

/// What `check` says about one route.
#[pyclass(frozen, get_all, module = "edgehub.router")]
pub(crate) struct RouteReport {
    errors: Vec<Py<RouteFault>>,
    warnings: Vec<Py<RouteFault>>,
}

#[pymethods]
impl RouteReport {
    fn __repr__(&self) -> String {
        format!("<RouteReport errors={} warnings={}>", self.errors.len(), self.warnings.len())
    }
}

/// Errors and warnings of one route while they are collected.
#[derive(Default)]
struct Findings {
    errors: Vec<RouteFault>,
    warnings: Vec<RouteFault>,
}

impl Findings {
    fn into_report(self, py: Python<'_>) -> PyResult<Py<RouteReport>> {
        let objects = |faults: Vec<RouteFault>| -> PyResult<Vec<Py<RouteFault>>> {
            faults.into_iter().map(|fault| Py::new(py, fault)).collect()
        };
        Py::new(py, RouteReport { errors: objects(self.errors)?, warnings: objects(self.warnings)? })
    }
}

/// Checks routes without using them: each is looked at, whatever is wrong with others.
///
/// Raises `TypeError` if `routes` is no mapping with names, `ValueError` for an unknown schema.
#[pyfunction]
#[pyo3(signature = (routes, *, edge_device_id = "device", schema = "1.1"))]
pub(crate) fn check(
    py: Python<'_>,
    routes: &Bound<'_, PyAny>,
    edge_device_id: &str,
    schema: &str,
) -> PyResult<Report> {
    let Declared { names, decls, texts, faults, warnings } = Declared::read(routes, schema)?;
    let mut all: HashMap<String, Findings> = HashMap::new();
    for fault in faults {
        all.entry(fault.route.clone()).or_default().errors.push(fault);
    }
    let checked = without_gil(py, || {
        Ok::<_, PyErr>((findings(edge_device_id, &decls), findings(edge_device_id, &texts)))
    })?;
    for (name, Findings { errors, warnings }) in checked.0.into_iter().chain(checked.1) {
        let findings = all.entry(name).or_default();
        findings.errors.extend(errors);
        findings.warnings.extend(warnings);
    }
    for warning in warnings {
        all.entry(warning.route.clone()).or_default().warnings.push(warning);
    }
    let valid = all.values().all(|findings| findings.errors.is_empty());
    let routes = PyDict::new(py);
    // What is wrong with the set as a whole has no name and comes first.
    let whole_set = all.contains_key("").then(String::new);
    for name in whole_set.into_iter().chain(names) {
        if let Some(findings) = all.remove(&name) {
            routes.set_item(name, findings.into_report(py)?)?;
        }
    }
    Ok(Report { valid, routes: routes.unbind() })
}

/// Name and findings of each route; without a name where the whole set is meant.
fn findings(edge_device_id: &str, decls: &[RouteDecl]) -> Vec<(String, Findings)> {
    let of_report = |report: edgehub_router::RouteReport| {
        let findings = Findings {
            errors: report.errors.iter().map(RouteFault::from).collect(),
            warnings: report.warnings.iter().map(RouteFault::from).collect(),
        };
        (report.name, findings)
    };
    edgehub_router::check(edge_device_id, decls).into_iter().map(of_report).collect()
}
