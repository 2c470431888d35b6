//! The data plane, sans-IO: sessions, grants, routing, queues, delivery windows, acknowledgements.
//!
//! A [`Hub`] is what all threads share; a [`Shard`] is the part of one I/O thread. Neither opens a socket or
//! reads a clock: a driver feeds bytes and time, the control plane answers [`ControlEvent`]s with
//! [`Command`]s. See `docs/architecture.md` for the way of a message.

mod bag;
mod config;
mod control;
mod control_queue;
mod endpoint;
mod escape;
mod grants;
mod hub;
mod ids;
mod lag;
mod mailbox;
mod reclaim;
mod routing;
mod shard;
mod stats;
mod upstream;

pub use bag::{BagDecoder, BagError, encode_bag};
pub use config::EngineConfig;
pub use control::{
    CloseReason, ConnectRequest, ControlEvent, ControlPublish, NoticeKind, SendOutcome, WillMessage,
};
pub use control_queue::{ControlQueue, Waker};
pub use edgehub_mqtt::QoS;
pub use endpoint::{Endpoint, UPSTREAM_ID};
pub use grants::{Grants, Topic};
pub use hub::{Hub, RoutesError};
pub use ids::ConnId;
pub use lag::RouteLag;
pub use mailbox::{Command, Filters, Mailbox, TwinChange};
pub use reclaim::Reclaim;
pub use routing::{RoutingTable, Ttl};
pub use shard::{Now, Shard};
pub use stats::{Family, IoStats, Stats};
pub use upstream::{BATCH_MESSAGE_FORMAT, Dispatcher, Outcome, TakeLimits, UpstreamBatch};
