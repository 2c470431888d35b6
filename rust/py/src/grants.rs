//! Rights of a session.

use pyo3::prelude::*;

/// What a session may do; decided once in Python, applied per message in Rust.
#[pyclass(frozen, module = "edgehub._core")]
pub(crate) struct Grants {
    pub(crate) inner: edgehub_engine::Grants,
}

#[pymethods]
impl Grants {
    #[new]
    #[pyo3(signature = (*, device_id, module_id=None, telemetry_topics, inputs_endpoint_prefix=None,
        inputs_topic_prefixes=Vec::new(), model_id=None))]
    fn py_new(
        device_id: String,
        module_id: Option<String>,
        telemetry_topics: Vec<String>,
        inputs_endpoint_prefix: Option<String>,
        inputs_topic_prefixes: Vec<String>,
        model_id: Option<String>,
    ) -> Self {
        Self {
            inner: edgehub_engine::Grants {
                device_id,
                module_id: module_id.unwrap_or_default(),
                telemetry_topics,
                inputs_endpoint_prefix: inputs_endpoint_prefix.unwrap_or_default(),
                inputs_topic_prefixes,
                model_id,
            },
        }
    }
}
