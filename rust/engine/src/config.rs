//! Limits and times of the data plane. Every queue and buffer of the engine has its bound here.

/// Options of the engine; defaults are those of the reference where it has them.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Device id of this edge device; the first part of module endpoints.
    pub edge_device_id: String,
    /// Largest MQTT packet, whole remaining length (`mqttSettings__MaxInboundMessageSize`). Larger: close.
    pub packet_bytes_max: usize,
    /// Largest message: body plus characters of all properties. Larger: dropped, acknowledged, counted.
    pub message_bytes_max: usize,
    /// Wait for CONNECT after accept (`ConnectArrivalTimeout`). Passed: close.
    pub connect_timeout_ms: u64,
    /// Cap of 1.5 times the client's keep alive; also used when that is 0 (`MaxKeepAliveTimeout`).
    pub keep_alive_max_ms: u64,
    /// Wait for a client's PUBACK (`MessageAckTimeoutSecs`). Passed: everything in flight is sent again.
    pub ack_timeout_ms: u64,
    /// Messages in flight to one client. Full: its queues wait.
    pub delivery_window: u16,
    /// Bytes waiting to be written to one client. Full: its queues wait. Twice as much, with answers to what it
    /// sends: it is not read, and what the control plane has for it is dropped and counted.
    pub out_bytes_max: usize,
    /// Bytes of one staged batch. Full: it is committed before the turn ends.
    pub batch_bytes_max: usize,
    /// Bytes that the buffer of an empty batch may keep for the next one. What large messages needed beyond it is freed.
    pub batch_kept_bytes_max: usize,
    /// Events waiting for the control plane. Full: connections that need an answer wait.
    pub control_queue_max: usize,
    /// Connections of all I/O threads. Full: accepted and closed at once, counted.
    pub connections_max: usize,
    /// Messages that the upstream dispatcher may hold leased. Full: the queue waits.
    pub upstream_window_msgs: usize,
    /// How long publishers wait for room in the store, unread, before they are closed without an acknowledgement.
    pub store_full_grace_ms: u64,
    /// Bytes of unused pooled buffers per I/O thread; zero turns pooling off. Full: further ones are freed.
    pub pool_bytes_max: usize,
}

impl Default for EngineConfig {
    /// For a gateway with some memory to spend; see `docs/memory.md`.
    fn default() -> Self {
        Self {
            edge_device_id: String::new(),
            packet_bytes_max: 262_144,
            message_bytes_max: 262_144,
            connect_timeout_ms: 60_000,
            keep_alive_max_ms: 600_000,
            ack_timeout_ms: 30_000,
            delivery_window: 1000,
            out_bytes_max: 512 * 1024,
            batch_bytes_max: 256 * 1024,
            batch_kept_bytes_max: 1024 * 1024,
            control_queue_max: 10_000,
            connections_max: 4096,
            upstream_window_msgs: 2000,
            store_full_grace_ms: 30_000,
            pool_bytes_max: 4 * 1024 * 1024,
        }
    }
}

impl EngineConfig {
    /// For a small board. Windows and batches are those of a gateway: shorter ones save little, but a consumer
    /// falls behind with them, and the index of what waits for it costs more than they save.
    pub fn small() -> Self {
        Self {
            batch_kept_bytes_max: 512 * 1024,
            control_queue_max: 2000,
            pool_bytes_max: 512 * 1024,
            ..Self::default()
        }
    }
}
