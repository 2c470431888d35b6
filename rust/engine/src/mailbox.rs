//! What other threads ask of a shard: answers of the control plane, finished commits, queues that became
//! ready. One lock and at most one wake-up per hand-over; none while the shard is awake anyway.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use edgehub_store::QueueId;
use parking_lot::Mutex;

use crate::control_queue::Waker;
use crate::grants::Grants;
use crate::ids::ConnId;

/// Filters that a session has or gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    /// Filter, granted quality of service, 0 or 1, and wall-clock time of the first SUBSCRIBE in milliseconds.
    pub added: Vec<(String, u8, u64)>,
    /// Whether the session now asks for module messages.
    pub inputs_active: bool,
}

/// An update of reported properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwinChange {
    /// Device whose properties, or whose module's, changed.
    pub device: String,
    /// Module; empty for a device.
    pub module: String,
    /// The patch, JSON.
    pub patch: Vec<u8>,
}

/// A request to the shard that owns a connection.
#[derive(Debug)]
pub enum Command {
    /// CONNACK 0.
    Accept {
        /// The connection.
        conn: ConnId,
        /// Rights of the session.
        grants: Box<Grants>,
        /// Flag in CONNACK.
        session_present: bool,
        /// Restored filters.
        filters: Filters,
    },
    /// CONNACK with this code, then close.
    Refuse {
        /// The connection.
        conn: ConnId,
        /// Return code, 1 to 5.
        code: u8,
    },
    /// SUBACK.
    SubAck {
        /// The connection.
        conn: ConnId,
        /// Packet id.
        packet_id: u16,
        /// One code per requested filter.
        codes: Vec<u8>,
        /// Filters to add.
        filters: Filters,
    },
    /// UNSUBACK.
    UnsubAck {
        /// The connection.
        conn: ConnId,
        /// Packet id.
        packet_id: u16,
        /// Filters to remove.
        removed: Vec<String>,
        /// Whether the session still asks for module messages.
        inputs_active: bool,
    },
    /// PUBACK of a control publish.
    PubAck {
        /// The connection.
        conn: ConnId,
        /// Packet id.
        packet_id: u16,
    },
    /// A request without packet id is done.
    RequestDone {
        /// The connection.
        conn: ConnId,
    },
    /// A publish of the control plane to one client, sent once, in the order of these commands.
    Send {
        /// The connection.
        conn: ConnId,
        /// Topic.
        topic: String,
        /// Body.
        payload: Vec<u8>,
        /// Quality of service bits.
        qos: u8,
        /// Asks for [`ControlEvent::SendDone`](crate::ControlEvent::SendDone); then the acknowledgement is waited
        /// for as long as the connection lasts.
        token: Option<u64>,
        /// Wall-clock time of its creation in milliseconds; `None` is now. Not sent to younger subscriptions.
        created_ms: Option<u64>,
    },
    /// Close without will.
    Close {
        /// The connection.
        conn: ConnId,
        /// Text for the log.
        reason: String,
    },
    /// Close without will, once what it published so far is acknowledged; nothing more is read of it.
    Retire {
        /// The connection.
        conn: ConnId,
        /// Text for the log.
        reason: String,
    },
    /// The session is the only one left that asks for its module's messages.
    BindInputs {
        /// The connection.
        conn: ConnId,
    },
    /// Reported properties changed: a message for routes from `/twinChangeNotifications`.
    TwinChange(Box<TwinChange>),
    /// Routes were replaced.
    RoutesChanged,
}

/// Everything that came since the shard last looked.
#[derive(Debug, Default)]
pub struct Mail {
    /// Requests in the order of their making.
    pub commands: Vec<Command>,
    /// Tickets of commits that are durable.
    pub committed: Vec<u64>,
    /// Tickets of commits that failed.
    pub failed: Vec<u64>,
    /// Queues of this shard's consumers that have something to deliver.
    pub ready: Vec<QueueId>,
    /// The store takes batches again.
    pub store_relieved: bool,
}

impl Mail {
    fn is_empty(&self) -> bool {
        self.commands.is_empty()
            && self.committed.is_empty()
            && self.failed.is_empty()
            && self.ready.is_empty()
            && !self.store_relieved
    }

    fn clear(&mut self) {
        self.commands.clear();
        self.committed.clear();
        self.failed.clear();
        self.ready.clear();
        self.store_relieved = false;
    }
}

/// The mailbox of one shard.
pub struct Mailbox {
    mail: Mutex<Mail>,
    /// Set while the shard runs a turn: it will look again before it sleeps.
    awake: AtomicBool,
    waker: Mutex<Option<Arc<dyn Waker>>>,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self { mail: Mutex::default(), awake: AtomicBool::new(false), waker: Mutex::new(None) }
    }
}

impl Mailbox {
    /// Sets who is woken.
    pub fn set_waker(&self, waker: Arc<dyn Waker>) {
        *self.waker.lock() = Some(waker);
    }

    /// Leaves something for the shard.
    pub fn post(&self, write: impl FnOnce(&mut Mail)) {
        write(&mut self.mail.lock());
        if !self.awake.swap(true, Ordering::AcqRel)
            && let Some(waker) = &*self.waker.lock()
        {
            waker.wake();
        }
    }

    /// Called by the shard when it wakes: no wake-ups are needed from here on.
    pub fn stay_awake(&self) {
        self.awake.store(true, Ordering::Release);
    }

    /// Called by the shard before it sleeps: `false` when mail came in the meantime and it must not.
    pub fn may_sleep(&self) -> bool {
        self.awake.store(false, Ordering::SeqCst);
        let empty = self.mail.lock().is_empty();
        if !empty {
            self.stay_awake();
        }
        empty
    }

    /// Frees the buffers of an empty mailbox.
    pub fn release(&self) {
        let mut mail = self.mail.lock();
        if mail.is_empty() {
            *mail = Mail::default();
        }
    }

    /// Exchanges the mail for the emptied buffers of the last look; `false` when there is none.
    pub fn take(&self, mail: &mut Mail) -> bool {
        mail.clear();
        let mut waiting = self.mail.lock();
        if waiting.is_empty() {
            return false;
        }
        std::mem::swap(&mut *waiting, mail);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Waker for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_shard_that_is_awake_is_not_woken() {
        let mailbox = Mailbox::default();
        let count = Arc::new(Count::default());
        mailbox.set_waker(count.clone());
        mailbox.post(|mail| mail.committed.push(1));
        mailbox.post(|mail| mail.committed.push(2));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(!mailbox.may_sleep());
        let mut mail = Mail::default();
        assert!(mailbox.take(&mut mail));
        assert_eq!(mail.committed, [1, 2]);
        assert!(!mailbox.take(&mut mail));
        assert!(mailbox.may_sleep());
        mailbox.post(|mail| mail.commands.push(Command::RoutesChanged));
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
    }
}
