//! Persistent queues with a time to live over one shared journal.
//!
//! A [`Store`] keeps FIFO queues, one per endpoint and priority. A sender collects the messages of one read in a
//! [`Batch`] and calls [`Store::append`]; the body of a message is written once, whatever the number of queues it goes to. A
//! consumer takes messages with [`Queue::lease`] and gives them back with [`Queue::ack`]; what it never acknowledges
//! is delivered again.
//!
//! Invariants:
//! - Nothing is committed before it is as durable as the [`SyncPolicy`] says, and nothing can be leased before it is committed.
//! - Numbers in a queue rise by one, begin with 0 and are never given twice; checkpoints never move back.
//! - A message is not delivered after its expiry, which is in the store's own time ([`Store::now`]): steps of the wall clock
//!   change nothing.
//! - What leaves a queue undelivered is counted there by cause ([`Queue::lost`], [`Store::losses`]).
//! - After a failed write or sync the store takes nothing more ([`StoreError::Poisoned`]).
//! - The store opens whatever is damaged, and says what was lost ([`Recovery`]); or it says why not.
//!
//! [`inspect`] looks at the files of a store without opening it.
//!
//! The files are described in `docs/store-format.md`, [`format`](mod@format) reads and writes them. On the hot path there is one write
//! and one lock per batch, one lock per batch and queue, and no allocation per message.

mod batch;
mod commit;
mod config;
mod error;
mod fetch;
pub mod format;
mod group;
mod handle;
mod index;
pub mod inspect;
mod journal;
mod keeper;
mod lease;
mod ledger;
mod open;
mod plan;
mod queue;
mod quota;
mod recovery;
mod runs;
mod segment;
mod shared;
mod spill;
mod stats;
mod storage;
mod store;
mod sync;
mod tail;
mod thread;
mod time;
mod upkeep;
mod usage;

pub use batch::{Batch, QueueId, Target};
pub use commit::{Commit, CommitWaiter};
pub use config::{
    BATCH_BYTES_MAX, ENDPOINT_BYTES_MAX, Media, PAYLOAD_BYTES_MAX, QUEUES_MAX, SpillConfig, StoreConfig,
    SyncPolicy, TARGETS_MAX,
};
pub use error::StoreError;
pub use handle::Queue;
pub use lease::Leased;
pub use ledger::{LOSSES_KEPT, Loss, LossBook, LossBookError, LossCause, LossTotal};
pub use quota::{OverflowPolicy, Quota};
pub use recovery::Recovery;
pub use shared::QueueListener;
pub use stats::StoreStats;
pub use storage::FileStorage;
pub use store::Store;
