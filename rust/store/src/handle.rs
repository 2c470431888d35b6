//! One queue as its consumer sees it.

use std::fmt;
use std::sync::Arc;

use edgehub_types::UnixMs;

use crate::StoreError;
use crate::batch::QueueId;
use crate::lease::Leased;
use crate::ledger::LossCause;
use crate::queue::QueueInner;
use crate::shared::Shared;

/// One queue of a store; a cheap handle.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<QueueInner>,
    shared: Arc<Shared>,
}

impl Queue {
    pub(crate) fn new(inner: Arc<QueueInner>, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }

    /// Id, for [`crate::Target`].
    pub fn id(&self) -> QueueId {
        self.inner.id
    }

    /// Endpoint.
    pub fn endpoint(&self) -> &str {
        &self.inner.endpoint
    }

    /// Priority, 0 is the highest.
    pub fn priority(&self) -> u32 {
        self.inner.priority
    }

    /// Messages that are neither acknowledged nor known to be expired.
    pub fn len(&self) -> u64 {
        self.inner.len()
    }

    /// Whether there are no messages.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that they take: of their records, 24 and more beside each payload; in spill files of their entries, where
    /// a file that is begun counts the rest by its average.
    pub fn waiting_bytes(&self) -> u64 {
        self.inner.bytes()
    }

    /// How long the first of them has waited, in milliseconds and about to the second, rather too long than too short;
    /// `None` when there is none. Counted in store time, so that a step of the wall clock does not show; only in
    /// spill files it is the wall clock of then that tells. Takes some locks: for a scrape, not for a message.
    pub fn oldest_ms(&self) -> Option<u64> {
        self.shared.oldest_ms(&self.inner)
    }

    /// Messages dropped since the store was opened because their time had passed.
    pub fn expired(&self) -> u64 {
        self.lost(LossCause::Expired)
    }

    /// Messages that left the queue undelivered for this cause since the store was opened, and those that opening it
    /// found damaged.
    pub fn lost(&self, cause: LossCause) -> u64 {
        self.inner.lost.get(cause)
    }

    /// Whether there are messages that nobody leases (they may turn out to be expired). One atomic read.
    pub fn has_ready(&self) -> bool {
        self.inner.has_ready()
    }

    /// The lease epoch: [`Queue::release_all`] begins another one.
    pub fn epoch(&self) -> u32 {
        self.inner.epoch()
    }

    /// Hands out the next messages in order, at most `msgs_max` and about `bytes_max` bytes of them (with 24 bytes and more
    /// for each beside its payload; one message is handed out however long it is). Returns how many.
    ///
    /// `deliver` is called without locks of the store, may call other methods of this queue but not `lease`, and
    /// returns false to stop before taking the message it was given. What is expired at `now`, which
    /// is [`crate::Store::now`], is dropped.
    ///
    /// # Errors
    /// [`StoreError::LeaseBusy`] while another lease of this queue runs. [`StoreError::Io`] when the journal cannot be
    /// read; what was not delivered is ready again.
    pub fn lease(
        &self,
        now: UnixMs,
        msgs_max: usize,
        bytes_max: usize,
        deliver: impl FnMut(Leased<'_>) -> bool,
    ) -> Result<usize, StoreError> {
        self.shared.lease(&self.inner, now, msgs_max, bytes_max, deliver)
    }

    /// Marks a leased message as done, in any order. Ignored when it is done already, was never leased, or `epoch` is not
    /// the current one.
    pub fn ack(&self, seq: u64, epoch: u32) {
        let changes = self.inner.ack(&self.shared.segments, seq, epoch);
        self.shared.settle(&self.inner, changes);
    }

    /// [`Queue::ack`] for many under one lock.
    pub fn ack_all(&self, seqs: &[u64], epoch: u32) {
        let changes = self.inner.ack_all(&self.shared.segments, seqs, epoch);
        self.shared.settle(&self.inner, changes);
    }

    /// Marks a leased message as done that was not delivered and never will be, and counts it as lost. False, and
    /// nothing is counted, where [`Queue::ack`] does nothing.
    pub fn ack_lost(&self, seq: u64, epoch: u32, cause: LossCause) -> bool {
        self.shared.ack_lost(&self.inner, seq, epoch, cause)
    }

    /// The consumer went away: what it leased and did not acknowledge is ready again, in order, and
    /// acknowledgements with its epoch are ignored from now on. The listener is not called.
    pub fn release_all(&self) {
        self.inner.release_all();
    }

    /// Reads a leased message again, for another attempt to deliver it; false when it is not leased (any more), or
    /// its record is damaged: [`Queue::ack_lost`] tells which, and counts it. Expiry is not checked:
    /// [`Leased::expires_at`] tells.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn read(&self, seq: u64, receive: impl FnOnce(Leased<'_>)) -> Result<bool, StoreError> {
        self.shared.read(&self.inner, seq, receive)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QueueInner { id, endpoint, priority, .. } = &*self.inner;
        write!(f, "{id} ({endpoint}, priority {priority})")
    }
}
