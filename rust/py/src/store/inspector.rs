//! The class that Python opens a folder with.

use std::path::PathBuf;
use std::sync::Arc;

use edgehub_store::StoreError as CoreStoreError;
use edgehub_store::inspect::Inspection;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;

use super::infos::{StoreFinding, StoreQueue, StoreSegment};
use super::messages::StoreMessages;
use crate::door::without_gil;
use crate::errors::Failure;

/// What the files of a store hold, read once.
#[pyclass(frozen, module = "edgehub._core")]
pub(crate) struct StoreInspector {
    inspection: Arc<Inspection>,
}

fn all<'a, T: 'a, U: From<&'a T>>(items: &'a [T]) -> Vec<U> {
    items.iter().map(U::from).collect()
}

#[pymethods]
impl StoreInspector {
    #[new]
    fn py_new(py: Python<'_>, folder: PathBuf) -> PyResult<Self> {
        let inspection = without_gil(py, move || {
            Inspection::of_folder(&folder).map_err(|error: CoreStoreError| Failure::from(error))
        })?;
        Ok(Self { inspection })
    }

    fn queues(&self) -> Vec<StoreQueue> {
        all(self.inspection.queues())
    }

    fn segments(&self) -> Vec<StoreSegment> {
        all(self.inspection.segments())
    }

    fn findings(&self) -> Vec<StoreFinding> {
        all(self.inspection.findings())
    }

    /// Findings beyond those that are listed.
    #[getter]
    fn findings_more(&self) -> u64 {
        self.inspection.findings_more()
    }

    /// Segments that came or went while the folder was read.
    #[getter]
    fn missed(&self) -> u64 {
        self.inspection.missed()
    }

    #[getter]
    fn is_sound(&self) -> bool {
        self.inspection.is_sound()
    }

    /// Good batches.
    #[getter]
    fn batches(&self) -> u64 {
        self.inspection.summary().batches
    }

    /// Records in them.
    #[getter]
    fn records(&self) -> u64 {
        self.inspection.summary().records
    }

    /// Messages of queues whose definition is damaged.
    #[getter]
    fn orphaned(&self) -> u64 {
        self.inspection.summary().orphaned
    }

    /// Bytes at the end of the log that are not whole.
    #[getter]
    fn torn_bytes(&self) -> u64 {
        self.inspection.summary().torn_bytes
    }

    /// Bytes that are damaged.
    #[getter]
    fn damaged_bytes(&self) -> u64 {
        self.inspection.summary().quarantined_bytes
    }

    /// The next messages of a queue.
    fn peek(&self, queue_id: u32, count: usize) -> PyResult<StoreMessages> {
        self.walk(queue_id, count)
    }

    /// All messages of a queue.
    fn export(&self, queue_id: u32) -> PyResult<StoreMessages> {
        self.walk(queue_id, usize::MAX)
    }
}

impl StoreInspector {
    fn walk(&self, queue_id: u32, count: usize) -> PyResult<StoreMessages> {
        let queue = self.inspection.queues().iter().find(|queue| queue.id.get() == queue_id);
        let messages = queue.and_then(|queue| self.inspection.messages(queue.id));
        let messages = messages.ok_or_else(|| PyKeyError::new_err(format!("no queue {queue_id}")))?;
        Ok(StoreMessages::new(messages, count))
    }
}
