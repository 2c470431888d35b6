//! What `OptimizeForPerformance` and `mqttSettings__UsePooledBuffers` choose; docs/memory.md has it as a table.

use edgehub_engine::EngineConfig;
use edgehub_net::NetConfig;
use edgehub_store::StoreConfig;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Sizes of every place that may hold a buffer.
#[derive(Clone)]
pub(crate) struct Profile {
    pub engine: EngineConfig,
    pub net: NetConfig,
    pub store: StoreConfig,
}

impl Profile {
    /// `low_memory` chooses all sizes, `pooled_buffers` only whether there is a pool.
    pub fn choose(low_memory: bool, pooled_buffers: bool) -> Self {
        let mut profile = if low_memory {
            Self { engine: EngineConfig::small(), net: NetConfig::small(), store: StoreConfig::small() }
        } else {
            Self { engine: EngineConfig::default(), net: NetConfig::default(), store: StoreConfig::default() }
        };
        if !pooled_buffers {
            profile.engine.pool_bytes_max = 0;
        }
        profile
    }

    /// The sizes by name, in bytes unless the name says otherwise.
    pub fn budget<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let Self { engine, net, store } = self;
        let budget = PyDict::new(py);
        for (name, value) in [
            ("pool_bytes_max", engine.pool_bytes_max),
            ("read_bytes", net.read_bytes),
            ("out_bytes_max", engine.out_bytes_max),
            ("tls_out_bytes_max", net.tls_out_bytes_max),
            ("batch_bytes_max", engine.batch_bytes_max),
            ("batch_kept_bytes_max", engine.batch_kept_bytes_max),
            ("delivery_window_msgs", usize::from(engine.delivery_window)),
            ("upstream_window_msgs", engine.upstream_window_msgs),
            ("control_queue_max", engine.control_queue_max),
            ("control_queue_bytes_max", engine.control_queue_bytes_max),
            ("requests_max", engine.requests_max as usize),
            ("requests_bytes_max", engine.requests_bytes_max),
            ("held_bytes_max", engine.held_bytes_max),
            ("unauthenticated_max", engine.unauthenticated_max),
            ("connect_bytes_free", engine.connect_bytes_free),
            ("connect_bytes_max", engine.connect_bytes_max),
            ("segment_bytes", store.segment_bytes as usize),
            ("tail_cache_bytes", store.tail_cache_bytes),
            ("index_entries_max", store.index_entries_max),
            ("spill_index_entries", store.spill.index_entries),
            ("spill_file_bytes", store.spill.file_bytes as usize),
            ("spill_block_bytes", store.spill.block_bytes as usize),
            ("spill_cache_bytes", store.spill.cache_bytes),
            ("unsynced_bytes_max", store.unsynced_bytes_max),
            ("recycled_batches_max", store.recycled_batches_max),
            ("recycled_batch_bytes_max", store.recycled_batch_bytes_max),
            ("write_bytes", store.write_bytes),
            ("scratches_max", store.scratches_max),
        ] {
            budget.set_item(name, value)?;
        }
        budget.set_item("memory_bytes_max", store.memory_bytes_max)?;
        Ok(budget)
    }
}
