//! The store's thread: a loop around one round of housekeeping.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use crate::StoreError;
use crate::keeper::NextRound;
use crate::shared::Shared;

/// Somebody else runs the store's round just now; look again after this.
const BUSY_WAIT: Duration = Duration::from_millis(1);

/// Ends the thread when the last handle of the store goes.
#[derive(Default)]
pub(crate) struct ThreadGuard {
    running: Mutex<Option<(Arc<Shared>, JoinHandle<()>)>>,
}

impl ThreadGuard {
    /// # Errors
    /// The system's, when no thread can be started.
    pub fn start(shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let own = Arc::clone(shared);
        let handle = Builder::new()
            .name("edgehub-store".to_owned())
            .spawn(move || run(&own))
            .map_err(StoreError::io("start", "the store's thread"))?;
        Ok(Self { running: Mutex::new(Some((Arc::clone(shared), handle))) })
    }

    /// Lets the thread finish its round and waits for its end.
    pub fn stop(&self) {
        let Some((shared, handle)) = self.running.lock().take() else { return };
        shared.gather.lock().ending = true;
        shared.kick();
        if handle.thread().id() != std::thread::current().id() && handle.join().is_err() {
            log::error!("the store's thread ended with a panic");
        }
    }
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(shared: &Shared) {
    while !shared.gather.lock().ending {
        match catch_unwind(AssertUnwindSafe(|| shared.run_once())) {
            Ok(Some(next)) => sleep(shared, next),
            Ok(None) => std::thread::sleep(BUSY_WAIT),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                shared.set_poison(StoreError::Panicked { what: text.unwrap_or("no message").to_owned() });
            }
        }
    }
}

/// Waits until the next round is due, or until something gathers while nothing was there.
fn sleep(shared: &Shared, next: NextRound) {
    let wait = next.at.since(shared.clock.mono());
    let mut gather = shared.gather.lock();
    let surprised = !gather.pending.is_empty() && !next.gathered;
    if wait.is_zero() || surprised || gather.kicked || gather.ending {
        return;
    }
    gather.idle = gather.pending.is_empty();
    shared.gathered.wait_for(&mut gather, wait);
    gather.idle = false;
}
