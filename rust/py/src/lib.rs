//! The Python extension module `edgehub._core`: the only crate that knows Python.
//!
//! The control plane's door to the data plane. Calls return at once; those that wait release the GIL
//! through [`door`]. Nothing of the hub is called per message; the router as a library, in [`router`],
//! is, and takes messages in batches.

mod batch;
mod convert;
mod door;
mod engine;
mod errors;
mod events;
mod grants;
mod log_lines;
mod metrics;
mod outbox;
mod profile;
mod router;
mod routes;
mod seal;
mod store;

use pyo3::prelude::*;

/// Built with the version of the package.
#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    errors::register(module)?;
    events::register(module)?;
    module.add_class::<engine::Engine>()?;
    module.add_class::<grants::Grants>()?;
    module.add_class::<batch::UpstreamBatch>()?;
    module.add_class::<routes::RouteFault>()?;
    router::register(module)?;
    store::register(module)?;
    module.add_function(wrap_pyfunction!(routes::check_routes, module)?)?;
    module.add_function(wrap_pyfunction!(seal::aes_gcm_seal, module)?)?;
    module.add_function(wrap_pyfunction!(seal::aes_gcm_open, module)?)?;
    Ok(())
}
