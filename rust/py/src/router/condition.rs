//! A condition on its own.

use edgehub_router::Features;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::router::verdicts::verdict_text;
use crate::router::waiting::Waiting;
use crate::routes::{RouteFault, route_error};

/// A compiled condition, without a route around it.
///
/// >>> from edgehub.router import Condition
/// >>> hot = Condition("as_number(temp) > 30")
/// >>> hot.evaluate({"properties": {"temp": "31.5"}}), hot.evaluate({}), hot.complexity
/// ('true', 'undefined', 6)
#[pyclass(frozen, module = "edgehub.router")]
pub(crate) struct Condition {
    inner: edgehub_router::Condition,
    #[pyo3(get)]
    text: String,
}

#[pymethods]
impl Condition {
    #[new]
    #[pyo3(signature = (text, *, twin_change_includes = false))]
    fn py_new(py: Python<'_>, text: String, twin_change_includes: bool) -> PyResult<Condition> {
        match edgehub_router::Condition::compile(&text, Features { twin_change_includes }) {
            Ok(inner) => Ok(Condition { inner, text }),
            Err(errors) => Err(route_error(py, errors.iter().map(RouteFault::from).collect())),
        }
    }

    #[getter]
    fn complexity(&self) -> usize {
        self.inner.complexity()
    }

    fn evaluate<'py>(&self, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
        let mut waiting = Waiting::default();
        let verdict = self.inner.evaluate(&waiting.only(message)?);
        Ok(verdict_text(message.py(), verdict).clone())
    }

    fn __repr__(&self) -> String {
        format!("Condition({:?})", self.text)
    }
}
