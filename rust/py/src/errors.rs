//! Exceptions, and which of them each error of the core becomes.

use edgehub_net::NetError;
use edgehub_store::StoreError as CoreStoreError;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(edgehub._core, CoreError, PyException);
create_exception!(edgehub._core, ConfigError, CoreError);
create_exception!(edgehub._core, ListenError, CoreError);
create_exception!(edgehub._core, StoreError, CoreError);
create_exception!(
    edgehub._core,
    RouteError,
    CoreError,
    "Routes, or a condition, that do not compile. `faults` lists every error of every route."
);

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("CoreError", py.get_type::<CoreError>())?;
    module.add("ConfigError", py.get_type::<ConfigError>())?;
    module.add("ListenError", py.get_type::<ListenError>())?;
    module.add("StoreError", py.get_type::<StoreError>())?;
    module.add("RouteError", py.get_type::<RouteError>())
}

/// An error of the core on its way to Python.
#[derive(Debug)]
pub(crate) enum Failure {
    Store(CoreStoreError),
    Net(NetError),
    Config(String),
}

impl From<CoreStoreError> for Failure {
    fn from(error: CoreStoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NetError> for Failure {
    fn from(error: NetError) -> Self {
        Self::Net(error)
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Store(error) => StoreError::new_err(error.to_string()),
            Failure::Net(error @ (NetError::Listen { .. } | NetError::Certificate { .. })) => {
                ListenError::new_err(error.to_string())
            }
            Failure::Net(error @ (NetError::Adopt(_) | NetError::NoTlsListener { .. })) => {
                ConfigError::new_err(error.to_string())
            }
            Failure::Net(error) => CoreError::new_err(error.to_string()),
            Failure::Config(detail) => ConfigError::new_err(detail),
        }
    }
}
