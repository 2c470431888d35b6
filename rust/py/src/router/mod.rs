//! `edgehub.router`: the route language for Python programs.
//!
//! Messages cross the boundary as flat bytes: dictionaries are encoded into one buffer while the GIL
//! is held, and matched there after it is released. What comes back are objects made once: a delivery
//! for each route, a tuple for each list of deliveries.

mod check;
mod compiled;
mod condition;
mod declared;
mod delivery;
mod explanation;
mod lists;
mod matcher;
mod message;
#[allow(clippy::module_inception, reason = "the class is the router")]
mod router;
mod verdicts;
mod waiting;

use pyo3::prelude::*;

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("MessageError", module.py().get_type::<message::MessageError>())?;
    module.add_class::<router::Router>()?;
    module.add_class::<delivery::Delivery>()?;
    module.add_class::<condition::Condition>()?;
    module.add_class::<explanation::Explanation>()?;
    module.add_class::<check::Report>()?;
    module.add_class::<check::RouteReport>()?;
    module.add_function(wrap_pyfunction!(check::check, module)?)?;
    module.add_function(wrap_pyfunction!(message::encode, module)?)?;
    module.add_function(wrap_pyfunction!(message::encode_many, module)?)
}
