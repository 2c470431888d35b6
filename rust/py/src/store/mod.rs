//! Looking at the files of a store, for `edgehub store`. Reading them releases the GIL.

mod infos;
mod inspector;
mod losses;
mod messages;

use pyo3::prelude::*;

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<inspector::StoreInspector>()?;
    module.add_class::<infos::StoreQueue>()?;
    module.add_class::<infos::StoreSegment>()?;
    module.add_class::<infos::StoreSpillFile>()?;
    module.add_class::<infos::StoreSpillBlock>()?;
    module.add_class::<infos::StoreFinding>()?;
    module.add_class::<losses::StoreLossTotal>()?;
    module.add_class::<losses::StoreLoss>()?;
    module.add_class::<messages::StoreMessages>()?;
    module.add_class::<messages::StoredMessage>()
}
