//! Why a message goes where it goes.

use pyo3::prelude::*;

/// What all routes make of one message. `str()` of it is its text.
#[pyclass(frozen, module = "edgehub.router")]
pub(crate) struct Explanation {
    pub(super) inner: edgehub_router::Explanation,
}

#[pymethods]
impl Explanation {
    #[getter]
    fn text(&self) -> String {
        self.inner.to_string()
    }

    #[getter]
    fn json(&self) -> String {
        self.inner.to_json()
    }

    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("json")?.call_method1("loads", (self.inner.to_json(),))
    }

    fn __str__(&self) -> String {
        self.text()
    }

    fn __repr__(&self) -> String {
        let (routes, endpoints) = (self.inner.routes.len(), self.inner.decisions.len());
        format!(
            "<Explanation of a message from {}: {routes} routes, {endpoints} endpoints>",
            self.inner.source
        )
    }
}
