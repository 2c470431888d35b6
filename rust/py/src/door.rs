//! The one place where the GIL is released.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;

use crate::errors::CoreError;

/// Runs work that may wait, without the GIL. A panic becomes an error instead of ending the process: the
/// caller decides what is still to be saved.
///
/// # Errors
/// What the work answers, or the panic as [`CoreError`].
pub(crate) fn without_gil<T, E>(py: Python<'_>, work: impl FnOnce() -> Result<T, E> + Send) -> PyResult<T>
where
    T: Send,
    E: Send + Into<PyErr>,
{
    match py.detach(|| catch_unwind(AssertUnwindSafe(work))) {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(CoreError::new_err("the core failed internally; see the log")),
    }
}
