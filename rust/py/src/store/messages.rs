//! Stored messages as Python objects, one at a time.

use edgehub_store::StoreError as CoreStoreError;
use edgehub_store::inspect::{Messages, Stored};
use edgehub_types::{MessageView, PropertyKey, SystemProperty, UnixMs};
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::door::without_gil;
use crate::errors::Failure;

/// Walks over the messages of a queue. After an error it goes on behind the message in question.
#[pyclass(frozen, module = "edgehub._core")]
pub(crate) struct StoreMessages {
    walk: Mutex<Walk>,
}

struct Walk {
    messages: Messages,
    count: usize,
}

impl Walk {
    fn step(&mut self) -> Result<Option<StoredMessage>, Failure> {
        let Some(left) = self.count.checked_sub(1) else { return Ok(None) };
        self.count = left;
        let next = self.messages.read_next().map_err(|error: CoreStoreError| Failure::from(error))?;
        Ok(next.map(StoredMessage::from))
    }
}

impl StoreMessages {
    pub(super) fn new(messages: Messages, count: usize) -> Self {
        Self { walk: Mutex::new(Walk { messages, count }) }
    }
}

#[pymethods]
impl StoreMessages {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<StoredMessage>> {
        without_gil(py, || self.walk.lock().step())
    }

    fn __length_hint__(&self, py: Python<'_>) -> usize {
        py.detach(|| {
            let walk = self.walk.lock();
            walk.messages.left().min(walk.count)
        })
    }
}

/// A message as stored.
#[pyclass(frozen, module = "edgehub._core")]
pub(crate) struct StoredMessage {
    seq: u64,
    expires_at: UnixMs,
    payload: Vec<u8>,
}

impl From<Stored<'_>> for StoredMessage {
    fn from(stored: Stored<'_>) -> Self {
        let Stored { seq, expires_at, payload } = stored;
        Self { seq, expires_at, payload: payload.to_vec() }
    }
}

#[pymethods]
impl StoredMessage {
    /// For those who read a spill file themselves. `expires_at_ms` of `None`: it never expires.
    #[new]
    fn py_new(seq: u64, expires_at_ms: Option<u64>, payload: Vec<u8>) -> Self {
        Self { seq, expires_at: expires_at_ms.map_or(UnixMs::MAX, UnixMs), payload }
    }

    #[getter]
    fn seq(&self) -> u64 {
        self.seq
    }

    /// `None` when it never expires.
    #[getter]
    fn expires_at_ms(&self) -> Option<u64> {
        (self.expires_at != UnixMs::MAX).then_some(self.expires_at.0)
    }

    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.payload)
    }

    /// The payload as the hub reads it: `source`, `enqueuedAtMs`, `systemProperties`, `properties`, `body`.
    ///
    /// Raises `ValueError` if it is none of the hub's messages.
    fn decode<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let view =
            MessageView::decode(&self.payload).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let decoded = PyDict::new(py);
        decoded.set_item("source", source_of(&view))?;
        decoded.set_item("enqueuedAtMs", view.head.enqueued.0)?;
        let (system, application) = properties_of(py, &view)?;
        decoded.set_item("systemProperties", system)?;
        decoded.set_item("properties", application)?;
        decoded.set_item("body", PyBytes::new(py, view.body))?;
        Ok(decoded)
    }

    fn __repr__(&self) -> String {
        format!("StoredMessage(seq={}, {} bytes)", self.seq, self.payload.len())
    }
}

/// As routes name it.
fn source_of(view: &MessageView<'_>) -> String {
    let output = view.properties.system(SystemProperty::OutputName).flatten();
    match (view.head.module, output) {
        ("", _) => "/messages/".to_owned(),
        (module, None | Some("")) => format!("/messages/modules/{module}/"),
        (module, Some(output)) => format!("/messages/modules/{module}/outputs/{output}/"),
    }
}

/// System properties by their names in routes, with those of the sender, and the application's own.
fn properties_of<'py>(
    py: Python<'py>,
    view: &MessageView<'_>,
) -> PyResult<(Bound<'py, PyDict>, Bound<'py, PyDict>)> {
    let (system, application) = (PyDict::new(py), PyDict::new(py));
    system.set_item("connectionDeviceId", view.head.device)?;
    if !view.head.module.is_empty() {
        system.set_item("connectionModuleId", view.head.module)?;
    }
    for (key, value) in &view.properties {
        match key {
            PropertyKey::System(property) => system.set_item(property.name(), value)?,
            PropertyKey::Application(name) => application.set_item(name, value)?,
        }
    }
    Ok((system, application))
}
