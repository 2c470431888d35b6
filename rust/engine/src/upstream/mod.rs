//! Messages on their way to the parent hub: leased from the queues of `$upstream`, grouped by sender,
//! encoded for AMQP. The link itself is the control plane's.

mod amqp;
mod dispatcher;

pub use amqp::BATCH_MESSAGE_FORMAT;
pub use dispatcher::{Dispatcher, Outcome, TakeLimits, UpstreamBatch};
