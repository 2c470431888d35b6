//! Where a message goes.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyString, PyTuple};

/// One endpoint that a message goes to.
#[pyclass(frozen, get_all, module = "edgehub.router")]
pub(crate) struct Delivery {
    endpoint: Py<PyString>,
    route: Py<PyString>,
    priority: u32,
    ttl_secs: u32,
}

#[pymethods]
impl Delivery {
    #[new]
    #[pyo3(signature = (endpoint, route, priority, ttl_secs))]
    pub(crate) fn py_new(
        endpoint: Py<PyString>,
        route: Py<PyString>,
        priority: u32,
        ttl_secs: u32,
    ) -> Delivery {
        Delivery { endpoint, route, priority, ttl_secs }
    }

    #[classattr]
    #[allow(non_upper_case_globals, reason = "the name that Python asks for")]
    const __match_args__: (&'static str, &'static str, &'static str, &'static str) =
        ("endpoint", "route", "priority", "ttl_secs");

    fn __getnewargs__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        (&self.endpoint, &self.route, self.priority, self.ttl_secs).into_pyobject(py)
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        match other.cast::<Delivery>() {
            Ok(other) => {
                let same = self.__getnewargs__(py)?.eq(other.get().__getnewargs__(py)?)?;
                Ok(PyBool::new(py, same).to_owned().into_any().unbind())
            }
            Err(_) => Ok(py.NotImplemented()),
        }
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        self.__getnewargs__(py)?.hash()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (endpoint, route) = (self.endpoint.bind(py).repr()?, self.route.bind(py).repr()?);
        let Delivery { priority, ttl_secs, .. } = self;
        Ok(format!("Delivery(endpoint={endpoint}, route={route}, priority={priority}, ttl_secs={ttl_secs})"))
    }
}
