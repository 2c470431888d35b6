//! Commands on their way to the shards.

use edgehub_engine::{Command, ConnId, Hub};
use parking_lot::Mutex;

/// Passes commands on at once, or together.
///
/// A command that wakes an I/O thread on the same core makes it run at once, for one connection, and Python waits until
/// it sleeps again. While a batch of events is answered the commands are kept, and each thread is woken once.
#[derive(Default)]
pub(crate) struct Outbox {
    /// `None`: commands pass. What is kept is bounded by the events of a batch.
    kept: Mutex<Option<Vec<(ConnId, Command)>>>,
}

impl Outbox {
    pub fn send(&self, hub: &Hub, conn: ConnId, command: Command) {
        match &mut *self.kept.lock() {
            Some(kept) => kept.push((conn, command)),
            None => hub.command(conn, command),
        }
    }

    /// Keeps commands from now on.
    pub fn hold(&self) {
        self.kept.lock().get_or_insert_default();
    }

    /// Passes on what was kept, in order, and keeps no more.
    pub fn flush(&self, hub: &Hub) {
        let mut kept = self.kept.lock();
        if let Some(commands) = kept.take() {
            // Under the lock: a command of another thread must not overtake these.
            hub.commands(commands);
        }
    }
}
