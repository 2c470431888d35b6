//! Small conversions.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

pub(crate) fn bytes(py: Python<'_>, data: &[u8]) -> Py<PyBytes> {
    PyBytes::new(py, data).unbind()
}
