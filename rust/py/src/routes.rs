//! Routes and their errors.

use edgehub_router::{ConditionError, Position, Problem, RouteDecl, RouteSet, RouteWarning, TextRange};
use pyo3::prelude::*;

use crate::errors::RouteError;

/// Name, text, priority, time to live in seconds.
pub(crate) type RouteTuple = (String, String, Option<u32>, u32);

/// Something wrong, or hardly meant, in one route.
#[pyclass(frozen, get_all, module = "edgehub._core")]
#[derive(Debug, Clone)]
pub(crate) struct RouteFault {
    pub(crate) route: String,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) end_line: u32,
    pub(crate) end_column: u32,
}

#[pymethods]
impl RouteFault {
    /// The message, followed by the hint if there is one.
    #[getter]
    fn text(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{} {hint}", self.message),
            None => self.message.clone(),
        }
    }

    fn __repr__(&self) -> String {
        let RouteFault { route, code, line, column, .. } = self;
        format!("RouteFault({route:?}, {code:?}, {line}:{column}, {:?})", self.message)
    }
}

impl RouteFault {
    /// A fault of the whole route where there is no `range`.
    pub(crate) fn new(route: &str, code: &str, message: String, range: Option<TextRange>) -> Self {
        let first = Position { line: 1, column: 1 };
        let range = range.unwrap_or(TextRange { start: first, end: first });
        RouteFault {
            route: route.to_owned(),
            code: code.to_owned(),
            message,
            hint: None,
            line: range.start.line,
            column: range.start.column,
            end_line: range.end.line,
            end_column: range.end.column,
        }
    }

    fn of_problem(route: &str, problem: &Problem, range: Option<TextRange>) -> Self {
        let hint = problem.hint();
        RouteFault { hint, ..RouteFault::new(route, problem.code(), problem.to_string(), range) }
    }

    /// What and where, for the text of an exception.
    fn summary(&self) -> String {
        let at = format!("{}:{}-{}:{}", self.line, self.column, self.end_line, self.end_column);
        match (self.route.as_str(), at.as_str()) {
            ("", "1:1-1:1") => self.text(),
            ("", at) => format!("at {at}: {}", self.text()),
            (route, "1:1-1:1") => format!("route '{route}': {}", self.text()),
            (route, at) => format!("route '{route}' at {at}: {}", self.text()),
        }
    }
}

impl From<&edgehub_router::RouteError> for RouteFault {
    fn from(error: &edgehub_router::RouteError) -> Self {
        RouteFault::of_problem(&error.route, &error.problem, error.range)
    }
}

impl From<&ConditionError> for RouteFault {
    fn from(error: &ConditionError) -> Self {
        RouteFault::of_problem("", &error.problem, Some(error.range))
    }
}

impl From<&RouteWarning> for RouteFault {
    fn from(warning: &RouteWarning) -> Self {
        let RouteWarning { route, range, warning } = warning;
        RouteFault::new(route, warning.code(), warning.to_string(), Some(*range))
    }
}

pub(crate) fn declarations(routes: Vec<RouteTuple>) -> Vec<RouteDecl> {
    routes
        .into_iter()
        .map(|(name, text, priority, ttl_secs)| RouteDecl { name, text, priority, ttl_secs })
        .collect()
}

/// The exception for routes that do not compile, with all faults as its attribute.
pub(crate) fn route_error(py: Python<'_>, faults: Vec<RouteFault>) -> PyErr {
    let texts: Vec<String> = faults.iter().map(RouteFault::summary).collect();
    let error = RouteError::new_err(texts.join("; "));
    let attached = faults
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
        Err(errors) => errors.iter().map(RouteFault::from).collect(),
    }
}
