//! The class that Python opens a folder with.

use std::path::PathBuf;
use std::sync::Arc;

use edgehub_store::inspect::Inspection;
use edgehub_store::{QueueId, StoreError as CoreStoreError};
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;

use super::infos::{StoreFinding, StoreQueue, StoreSegment, StoreSpillBlock, StoreSpillFile};
use super::losses::{StoreLoss, StoreLossTotal};
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
    #[pyo3(signature = (folder, *, verify=false))]
    fn py_new(py: Python<'_>, folder: PathBuf, verify: bool) -> PyResult<Self> {
        let inspection = without_gil(py, move || {
            let read = if verify { Inspection::verify_folder } else { Inspection::of_folder };
            read(&folder).map_err(|error: CoreStoreError| Failure::from(error))
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

    fn spill_files(&self) -> Vec<StoreSpillFile> {
        all(self.inspection.spill_files())
    }

    /// Messages that were lost, by queue and cause.
    fn loss_totals(&self) -> Vec<StoreLossTotal> {
        self.inspection.losses().map_or_else(|_| Vec::new(), |book| all(&book.totals))
    }

    /// The last losses one by one.
    fn losses(&self) -> Vec<StoreLoss> {
        self.inspection.losses().map_or_else(|_| Vec::new(), |book| all(&book.last))
    }

    /// When the losses were written.
    #[getter]
    fn losses_written_ms(&self) -> Option<u64> {
        self.inspection.losses().ok()?.written_at.map(|at| at.0)
    }

    /// Why the losses cannot be told.
    #[getter]
    fn losses_error(&self) -> Option<String> {
        self.inspection.losses().err().map(ToString::to_string)
    }

    /// Findings beyond those that are listed.
    #[getter]
    fn findings_more(&self) -> u64 {
        self.inspection.findings_more()
    }

    /// Files that came or went while the folder was read.
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

    /// Messages that damage took, as far as the numbers of others tell.
    #[getter]
    fn lost(&self) -> u64 {
        self.inspection.summary().lost
    }

    /// Bytes that are damaged.
    #[getter]
    fn damaged_bytes(&self) -> u64 {
        self.inspection.damaged_bytes()
    }

    /// How much the wall clock is ahead of the times that are stored.
    #[getter]
    fn wall_skew_ms(&self) -> i64 {
        self.inspection.wall_skew_ms()
    }

    /// The next messages of a queue.
    fn peek(&self, queue_id: u32, count: usize) -> PyResult<StoreMessages> {
        Ok(StoreMessages::new(self.walk(queue_id, Inspection::messages)?, count))
    }

    /// All messages of a queue.
    fn export(&self, queue_id: u32) -> PyResult<StoreMessages> {
        Ok(StoreMessages::new(self.walk(queue_id, Inspection::messages)?, usize::MAX))
    }

    /// Those that are not in spill files.
    fn journal(&self, queue_id: u32) -> PyResult<StoreMessages> {
        Ok(StoreMessages::new(self.walk(queue_id, Inspection::journal_messages)?, usize::MAX))
    }

    /// Where those are that come before.
    fn spill_blocks(&self, queue_id: u32) -> PyResult<Vec<StoreSpillBlock>> {
        let blocks = self.walk(queue_id, |inspection, id| inspection.spill_blocks(id))?;
        Ok(blocks.into_iter().map(StoreSpillBlock::from).collect())
    }
}

impl StoreInspector {
    fn walk<T>(
        &self,
        queue_id: u32,
        begin: impl FnOnce(&Arc<Inspection>, QueueId) -> Option<T>,
    ) -> PyResult<T> {
        let queue = self.inspection.queues().iter().find(|queue| queue.id.get() == queue_id);
        let begun = queue.and_then(|queue| begin(&self.inspection, queue.id));
        begun.ok_or_else(|| PyKeyError::new_err(format!("no queue {queue_id}")))
    }
}
