//! Routes and their errors.

use edgehub_router::{Position, RouteDecl, RouteSet, TextRange};
use pyo3::prelude::*;

use crate::errors::RouteError;

/// Name, text, priority, time to live in seconds.
pub(crate) type RouteTuple = (String, String, Option<u32>, u32);

/// One error in one route.
#[pyclass(frozen, get_all, module = "edgehub._core")]
pub(crate) struct RouteFault {
    route: String,
    message: String,
    line: u32,
    column: u32,
    end_line: u32,
    end_column: u32,
}

pub(crate) fn declarations(routes: Vec<RouteTuple>) -> Vec<RouteDecl> {
    routes
        .into_iter()
        .map(|(name, text, priority, ttl_secs)| RouteDecl { name, text, priority, ttl_secs })
        .collect()
}

fn faults(errors: &[edgehub_router::RouteError]) -> Vec<RouteFault> {
    errors.iter().map(fault).collect()
}

fn fault(error: &edgehub_router::RouteError) -> RouteFault {
    let hint = error.problem.hint().map(|hint| format!(" {hint}")).unwrap_or_default();
    let first = Position { line: 1, column: 1 };
    let range = error.range.unwrap_or(TextRange { start: first, end: first });
    RouteFault {
        route: error.route.clone(),
        message: format!("{}{hint}", error.problem),
        line: range.start.line,
        column: range.start.column,
        end_line: range.end.line,
        end_column: range.end.column,
    }
}

/// The exception for routes that do not compile, with all faults as its attribute.
pub(crate) fn route_error(py: Python<'_>, errors: &[edgehub_router::RouteError]) -> PyErr {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let error = RouteError::new_err(texts.join("; "));
    let attached = faults(errors)
        .into_iter()
        .map(|fault| Py::new(py, fault))
        .collect::<PyResult<Vec<_>>>()
        .and_then(|faults| error.value(py).setattr("faults", faults));
    attached.err().unwrap_or(error)
}

/// Compiles routes and returns the faults, empty when all are right.
#[pyfunction]
pub(crate) fn check_routes(edge_device_id: &str, routes: Vec<RouteTuple>) -> Vec<RouteFault> {
    match RouteSet::compile(edge_device_id, &declarations(routes)) {
        Ok(_) => Vec::new(),
        Err(errors) => faults(&errors),
    }
}
