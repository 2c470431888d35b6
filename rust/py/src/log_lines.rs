//! Log lines of the core as Python objects. They wait in a ring until Python comes for events: no thread of the core
//! ever needs the interpreter to say something.

use edgehub_net::{LogLine, LogRing};
use log::{Level, LevelFilter};
use pyo3::prelude::*;

/// Of the whole process: a library has one logger. The engine that was opened last is woken.
pub(crate) static RING: LogRing = LogRing::new();

/// The core has something for the log.
#[pyclass(frozen, get_all, module = "edgehub._core")]
pub(crate) struct LogEvent {
    level: u32,
    source: String,
    text: String,
}

/// The lines that a level of Python's `logging` lets through.
pub(crate) fn filter(level: u32) -> LevelFilter {
    match level {
        0..10 => LevelFilter::Trace,
        10..20 => LevelFilter::Debug,
        20..30 => LevelFilter::Info,
        30..40 => LevelFilter::Warn,
        40..50 => LevelFilter::Error,
        50.. => LevelFilter::Off,
    }
}

pub(crate) fn to_python(py: Python<'_>, line: LogLine) -> PyResult<Py<PyAny>> {
    let level = match line.level {
        Level::Error => 40,
        Level::Warn => 30,
        Level::Info => 20,
        Level::Debug => 10,
        Level::Trace => 5,
    };
    Ok(Py::new(py, LogEvent { level, source: line.source, text: line.text })?.into_any())
}
