//! Losses as Python objects.

use edgehub_store::{Loss, LossTotal};
use pyo3::prelude::*;

/// Messages that left one queue undelivered for one cause since the folder was made.
#[pyclass(frozen, get_all, module = "edgehub._core")]
pub(crate) struct StoreLossTotal {
    queue: u32,
    endpoint: String,
    priority: u32,
    cause: &'static str,
    messages: u64,
}

impl From<&LossTotal> for StoreLossTotal {
    fn from(total: &LossTotal) -> Self {
        Self {
            queue: total.queue.get(),
            endpoint: total.endpoint.to_string(),
            priority: total.priority,
            cause: total.cause.name(),
            messages: total.count,
        }
    }
}

#[pymethods]
impl StoreLossTotal {
    fn __repr__(&self) -> String {
        let Self { endpoint, priority, cause, messages, .. } = self;
        format!("StoreLossTotal({endpoint:?}, priority={priority}, {cause:?}, messages={messages})")
    }
}

/// Messages that left one queue together for one cause.
#[pyclass(frozen, get_all, module = "edgehub._core")]
pub(crate) struct StoreLoss {
    at_ms: u64,
    queue: u32,
    endpoint: String,
    priority: u32,
    cause: &'static str,
    first_seq: u64,
    messages: u64,
}

impl From<&Loss> for StoreLoss {
    fn from(loss: &Loss) -> Self {
        Self {
            at_ms: loss.at.0,
            queue: loss.queue.get(),
            endpoint: loss.endpoint.to_string(),
            priority: loss.priority,
            cause: loss.cause.name(),
            first_seq: loss.first_seq,
            messages: loss.count,
        }
    }
}

#[pymethods]
impl StoreLoss {
    fn __repr__(&self) -> String {
        let Self { endpoint, cause, first_seq, messages, .. } = self;
        format!("StoreLoss({endpoint:?}, {cause:?}, first_seq={first_seq}, messages={messages})")
    }
}
