//! Limits and times of the data plane. Every queue and buffer of the engine has its bound here.

use edgehub_mqtt::QoS;

/// Options of the engine; defaults are those of the reference where it has them.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "one switch per setting, each for itself")]
pub struct EngineConfig {
    /// Device id of this edge device; the first part of module endpoints.
    pub edge_device_id: String,
    /// Largest MQTT packet, whole remaining length (`mqttSettings__MaxInboundMessageSize`). Larger: close.
    pub packet_bytes_max: usize,
    /// Largest message: body plus characters of all properties. Larger: dropped, acknowledged, counted.
    pub message_bytes_max: usize,
    /// Whether a publish that is dropped ends its connection in place of being acknowledged, as at IoT Hub.
    pub closes_on_drop: bool,
    /// Wait for CONNECT after accept (`ConnectArrivalTimeout`). Passed: close.
    pub connect_timeout_ms: u64,
    /// The same wait while there are as many connections without session as there may be: whoever is silent makes room.
    pub pressed_connect_timeout_ms: u64,
    /// Cap of 1.5 times the client's keep alive; also used when that is 0 (`MaxKeepAliveTimeout`).
    pub keep_alive_max_ms: u64,
    /// Whether what the hub sends renews the keep alive of a client, as with the reference (DEV-20).
    pub sent_renews_keep_alive: bool,
    /// Whether telemetry under another identity's topic is taken as that of the other, as with the reference
    /// (DEV-6). Whoever may connect can then write in the name of everybody.
    pub sender_of_topic: bool,
    /// Wait for a client's PUBACK (`MessageAckTimeoutSecs`). Passed: everything in flight is sent again.
    pub ack_timeout_ms: u64,
    /// How often in a row a client may let that wait pass before it is closed (`MaxOutboundRetransmissionCount`). Its
    /// messages stay. `None`: for ever.
    pub retransmissions_max: Option<u32>,
    /// Whether a PUBACK that is not for the message sent first ends the connection (`AbortOnOutOfOrderPubAck`).
    pub abort_on_bad_puback: bool,
    /// Names of the properties that a RETAIN and a DUP flag of a client become.
    pub retain_property: String,
    /// See [`EngineConfig::retain_property`].
    pub dup_property: String,
    /// Name of the property of a message that limits the quality of service of its delivery.
    pub qos_property: String,
    /// Quality of service of the delivery of messages without it (`DefaultPublishToClientQoS`).
    pub delivery_qos: QoS,
    /// Name of the property that tells a will from other messages.
    pub will_property: String,
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
    /// Bytes of these events. Full: the same; an empty queue takes one of any size.
    pub control_queue_bytes_max: usize,
    /// Requests without packet id that one client may have with the control plane. Full: what it sends waits.
    pub requests_max: u32,
    /// Bytes of these requests. Full: the same; one of any size is always taken.
    pub requests_bytes_max: usize,
    /// Bytes kept of a client whose packets wait for the control plane or the store, so that its pings and
    /// acknowledgements behind them are worked on; and up to 4 KiB more. Full: it is not read any more.
    pub held_bytes_max: usize,
    /// Bytes that every connection without session may keep. Full: a longer CONNECT needs a promise out of
    /// `connect_bytes_max`.
    pub connect_bytes_free: usize,
    /// Bytes of longer CONNECT packets of one I/O thread. Full: further ones are not read until others are
    /// decided or gone; one of any size is always taken.
    pub connect_bytes_max: usize,
    /// Connections without session, of all I/O threads. Full: [`Hub::may_accept`](crate::Hub::may_accept) says so
    /// and new ones stay with the kernel.
    pub unauthenticated_max: usize,
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
            closes_on_drop: false,
            connect_timeout_ms: 60_000,
            pressed_connect_timeout_ms: 5_000,
            keep_alive_max_ms: 600_000,
            sent_renews_keep_alive: false,
            sender_of_topic: false,
            ack_timeout_ms: 30_000,
            retransmissions_max: None,
            abort_on_bad_puback: false,
            retain_property: "mqtt-retain".to_owned(),
            dup_property: "mqtt-dup".to_owned(),
            qos_property: "mqtt-qos".to_owned(),
            delivery_qos: QoS::AtLeastOnce,
            will_property: "MessageType".to_owned(),
            delivery_window: 1000,
            out_bytes_max: 512 * 1024,
            batch_bytes_max: 256 * 1024,
            batch_kept_bytes_max: 1024 * 1024,
            control_queue_max: 10_000,
            control_queue_bytes_max: 8 * 1024 * 1024,
            requests_max: 100,
            requests_bytes_max: 64 * 1024,
            held_bytes_max: 64 * 1024,
            connect_bytes_free: 8 * 1024,
            connect_bytes_max: 1024 * 1024,
            unauthenticated_max: 1000,
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
            control_queue_bytes_max: 1024 * 1024,
            connect_bytes_max: 256 * 1024,
            unauthenticated_max: 200,
            pool_bytes_max: 512 * 1024,
            ..Self::default()
        }
    }
}
