//! Messages for the parent hub.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::convert::bytes;

/// Messages of one sender, encoded for AMQP 1.0.
#[pyclass(frozen, get_all, module = "edgehub._core")]
pub(crate) struct UpstreamBatch {
    token: u64,
    sender: String,
    count: usize,
    payload: Py<PyBytes>,
    message_format: u32,
}

impl UpstreamBatch {
    pub(crate) fn new(py: Python<'_>, batch: edgehub_engine::UpstreamBatch) -> Self {
        Self {
            token: batch.token,
            sender: batch.sender,
            count: batch.count,
            payload: bytes(py, &batch.payload),
            message_format: batch.message_format,
        }
    }
}
