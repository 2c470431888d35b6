//! The store's threads: loops around one round of committing and one of upkeep.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use edgehub_types::MonoTime;
use parking_lot::Mutex;

use crate::StoreError;
use crate::keeper::NextRound;
use crate::shared::Shared;

/// Somebody else runs the store's round just now; look again after this.
const BUSY_WAIT: Duration = Duration::from_millis(1);

struct Running {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// Ends the threads when the last handle of the store goes.
#[derive(Default)]
pub(crate) struct ThreadGuard {
    running: Mutex<Option<Running>>,
}

impl ThreadGuard {
    /// # Errors
    /// The system's, when no thread can be started.
    pub fn start(shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let running = Running { shared: Arc::clone(shared), threads: Vec::new() };
        let guard = Self { running: Mutex::new(Some(running)) };
        guard.spawn("edgehub-store", shared, commit_loop)?;
        guard.spawn("edgehub-upkeep", shared, upkeep_loop)?;
        Ok(guard)
    }

    fn spawn(&self, name: &str, shared: &Arc<Shared>, work: fn(&Shared)) -> Result<(), StoreError> {
        let own = Arc::clone(shared);
        let started = Builder::new().name(name.to_owned()).spawn(move || work(&own));
        let thread = started.map_err(StoreError::io("start", "a thread of the store"))?;
        if let Some(running) = self.running.lock().as_mut() {
            running.threads.push(thread);
        }
        Ok(())
    }

    /// Lets the threads finish their rounds and waits for their end.
    pub fn stop(&self) {
        let Some(Running { shared, threads }) = self.running.lock().take() else { return };
        shared.gather.lock().ending = true;
        shared.kick();
        shared.kick_upkeep();
        let own = std::thread::current().id();
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != own) {
            if thread.join().is_err() {
                log::error!("a thread of the store ended with a panic");
            }
        }
    }
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        self.stop();
    }
}

fn commit_loop(shared: &Shared) {
    run(shared, Shared::run_once, wait_for_commits);
}

fn upkeep_loop(shared: &Shared) {
    run(shared, Shared::run_upkeep_once, wait_for_upkeep);
}

fn run<T>(shared: &Shared, round: fn(&Shared) -> Option<T>, wait: fn(&Shared, T)) {
    while !shared.gather.lock().ending {
        match catch_unwind(AssertUnwindSafe(|| round(shared))) {
            Ok(Some(next)) => wait(shared, next),
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
fn wait_for_commits(shared: &Shared, next: NextRound) {
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

/// Waits until the next round is due or wanted.
fn wait_for_upkeep(shared: &Shared, at: MonoTime) {
    let wait = at.since(shared.clock.mono());
    let mut wanted = shared.upkeep_wanted.lock();
    if !wait.is_zero() && !*wanted {
        shared.upkeep_waker.wait_for(&mut wanted, wait);
    }
    *wanted = false;
}
