//! Control events as Python objects.

use edgehub_engine::ControlEvent;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::convert::bytes;

/// The last will of a CONNECT packet.
#[pyclass(frozen, get_all, module = "edgehub._core")]
pub(crate) struct Will {
    topic: String,
    payload: Py<PyBytes>,
    qos: u8,
    retain: bool,
}

/// A client sent CONNECT and waits.
#[pyclass(frozen, get_all, module = "edgehub._core")]
pub(crate) struct ConnectEvent {
    conn: u64,
    peer: String,
    listener: u32,
    client_id: String,
    username: Option<String>,
    password: Option<Py<PyBytes>>,
    clean_session: bool,
    keep_alive_secs: u16,
    will: Option<Py<Will>>,
    certificates: Py<PyTuple>,
}

/// A client sent SUBSCRIBE and waits.
#[pyclass(frozen, get_all, module = "edgehub._core")]
pub(crate) struct SubscribeEvent {
    conn: u64,
    packet_id: u16,
    filters: Vec<(String, u8)>,
}

/// A client sent UNSUBSCRIBE and waits.
#[pyclass(frozen, get_all, module = "edgehub._core")]
pub(crate) struct UnsubscribeEvent {
    conn: u64,
    packet_id: u16,
    filters: Vec<String>,
}

/// A client published to a control topic.
#[pyclass(frozen, get_all, module = "edgehub._core")]
pub(crate) struct PublishEvent {
    conn: u64,
    packet_id: u16,
    topic: String,
    payload: Py<PyBytes>,
    qos: u8,
    retain: bool,
    dup: bool,
}

/// A publish of the control plane ended.
#[pyclass(frozen, get_all, module = "edgehub._core")]
pub(crate) struct SendDoneEvent {
    conn: u64,
    token: u64,
    outcome: &'static str,
}

/// Something worth one log line.
#[pyclass(frozen, get_all, module = "edgehub._core")]
pub(crate) struct NoticeEvent {
    conn: u64,
    kind: &'static str,
    detail: String,
}

/// A connection ended.
#[pyclass(frozen, get_all, module = "edgehub._core")]
pub(crate) struct ClosedEvent {
    conn: u64,
    peer: String,
    accepted: bool,
    reason: &'static str,
    detail: String,
}

/// Messages for the parent hub may wait.
#[pyclass(frozen, module = "edgehub._core")]
pub(crate) struct UpstreamReadyEvent {}

/// The store failed for good.
#[pyclass(frozen, get_all, module = "edgehub._core")]
pub(crate) struct StoreFailedEvent {
    detail: String,
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<crate::log_lines::LogEvent>()?;
    module.add_class::<Will>()?;
    module.add_class::<ConnectEvent>()?;
    module.add_class::<SubscribeEvent>()?;
    module.add_class::<UnsubscribeEvent>()?;
    module.add_class::<PublishEvent>()?;
    module.add_class::<SendDoneEvent>()?;
    module.add_class::<NoticeEvent>()?;
    module.add_class::<ClosedEvent>()?;
    module.add_class::<UpstreamReadyEvent>()?;
    module.add_class::<StoreFailedEvent>()
}

/// The Python object of an event.
pub(crate) fn to_python(py: Python<'_>, event: ControlEvent) -> PyResult<Py<PyAny>> {
    let object = match event {
        ControlEvent::Connect { conn, peer, listener, request } => {
            let will = request.will.map(|will| {
                let payload = bytes(py, &will.payload);
                Py::new(py, Will { topic: will.topic, payload, qos: will.qos, retain: will.retain })
            });
            let event = ConnectEvent {
                conn: conn.0,
                peer,
                listener,
                client_id: request.client_id,
                username: request.username,
                password: request.password.map(|password| bytes(py, &password)),
                clean_session: request.clean_session,
                keep_alive_secs: request.keep_alive_secs,
                will: will.transpose()?,
                certificates: PyTuple::new(py, request.certificates.iter().map(|der| bytes(py, der)))?
                    .unbind(),
            };
            Py::new(py, event)?.into_any()
        }
        ControlEvent::Subscribe { conn, packet_id, filters } => {
            Py::new(py, SubscribeEvent { conn: conn.0, packet_id, filters })?.into_any()
        }
        ControlEvent::Unsubscribe { conn, packet_id, filters } => {
            Py::new(py, UnsubscribeEvent { conn: conn.0, packet_id, filters })?.into_any()
        }
        ControlEvent::Publish { conn, publish } => {
            let event = PublishEvent {
                conn: conn.0,
                packet_id: publish.packet_id.unwrap_or(0),
                qos: u8::from(publish.packet_id.is_some()),
                topic: publish.topic,
                payload: bytes(py, &publish.payload),
                retain: publish.retain,
                dup: publish.dup,
            };
            Py::new(py, event)?.into_any()
        }
        ControlEvent::SendDone { conn, token, outcome } => {
            Py::new(py, SendDoneEvent { conn: conn.0, token, outcome: outcome.name() })?.into_any()
        }
        ControlEvent::Notice { conn, kind, detail } => {
            Py::new(py, NoticeEvent { conn: conn.0, kind: kind.name(), detail })?.into_any()
        }
        ControlEvent::Closed { conn, peer, accepted, reason, detail } => {
            Py::new(py, ClosedEvent { conn: conn.0, peer, accepted, reason: reason.name(), detail })?
                .into_any()
        }
        ControlEvent::UpstreamReady => Py::new(py, UpstreamReadyEvent {})?.into_any(),
        ControlEvent::StoreFailed { detail } => Py::new(py, StoreFailedEvent { detail })?.into_any(),
    };
    Ok(object)
}
