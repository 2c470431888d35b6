//! Gives free memory back to the system some time after the data plane freed it.
//!
//! The C library keeps what is freed in the middle of its heaps, also after a burst of which nothing is left. Only
//! `malloc_trim` returns it; that holds the lock of one heap after the other, so it has a thread of its own and
//! happens seldom. What is large, and the ends of heaps, it gives back by itself, if it is told to. With other C
//! libraries than glibc there is nothing to do and no thread.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use edgehub_engine::{Hub, Waker};
use edgehub_types::{Clock, MonoTime};
use parking_lot::{Condvar, Mutex};

/// Memory is given back when nothing more was freed for this long: the steps of an idle pool are shorter.
const QUIET_MS: u64 = 5_000;
/// And after this long at the latest, if there is always something.
const WAIT_MAX_MS: u64 = 30_000;
/// Time from one trim to the next.
const SPACING_MS: u64 = 30_000;
/// And the longest: under a steady load nothing that an I/O thread keeps is ever spare, while the heaps get holes.
const PERIOD_MS: u64 = 120_000;
/// The thread calls one function and logs.
const STACK_BYTES: usize = 64 * 1024;

/// Blocks of this size and above are the system's own, and go back to it when they are freed; of the end of a heap no
/// more than this is kept. Left to itself, glibc raises both with the first large block that is freed, to as much as
/// 64 MiB, and keeps what a burst took.
const KEPT_BYTES: i32 = 256 * 1024;

/// Heaps that threads may have beside each other. Left to itself glibc makes one for nearly each thread that comes, also
/// for those that look up a name once an hour, and keeps what each took. Threads of the data plane hardly allocate.
const HEAPS_MAX: i32 = 4;

/// Whether `malloc_trim` is to be had.
const SUPPORTED: bool = cfg!(all(target_os = "linux", target_env = "gnu"));

/// When to trim.
#[derive(Debug)]
struct Plan {
    /// First and latest time at which something was freed since the last trim.
    freed: Option<(MonoTime, MonoTime)>,
    /// The last trim, and before the first one the start.
    since: MonoTime,
}

impl Plan {
    const fn starting(now: MonoTime) -> Self {
        Self { freed: None, since: now }
    }

    fn note_freed(&mut self, now: MonoTime) {
        self.freed = Some((self.freed.map_or(now, |(first, _)| first), now));
    }

    /// When the next trim is due.
    fn due_at(&self) -> MonoTime {
        let at_latest = self.since.plus_ms(PERIOD_MS);
        let Some((first, latest)) = self.freed else { return at_latest };
        let due = latest.plus_ms(QUIET_MS).min(first.plus_ms(WAIT_MAX_MS));
        due.max(self.since.plus_ms(SPACING_MS)).min(at_latest)
    }

    /// Whether it is due; counts as done then.
    fn take_due(&mut self, now: MonoTime) -> bool {
        let due = now >= self.due_at();
        if due {
            *self = Self::starting(now);
        }
        due
    }
}

struct State {
    plan: Plan,
    stopped: bool,
}

struct Inner {
    state: Mutex<State>,
    changed: Condvar,
    clock: Arc<dyn Clock>,
}

impl Waker for Inner {
    fn wake(&self) {
        let now = self.clock.mono();
        let mut state = self.state.lock();
        let due = state.plan.due_at();
        state.plan.note_freed(now);
        let sooner = state.plan.due_at() < due;
        drop(state);
        // Otherwise the thread looks again when the time comes that it waits for.
        if sooner {
            self.changed.notify_one();
        }
    }
}

/// The thread that trims.
pub(crate) struct Trimmer {
    inner: Arc<Inner>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Trimmer {
    /// # Errors
    /// The system's, when no thread can be started.
    pub fn start(hub: &Arc<Hub>, clock: &Arc<dyn Clock>) -> io::Result<Self> {
        let state = Mutex::new(State { plan: Plan::starting(clock.mono()), stopped: false });
        let inner = Arc::new(Inner { state, changed: Condvar::new(), clock: Arc::clone(clock) });
        let mut thread = None;
        if SUPPORTED {
            keep_little();
            let (own, counted) = (Arc::clone(&inner), Arc::clone(hub));
            let named = Builder::new().name("edgehub-trim".to_owned()).stack_size(STACK_BYTES);
            thread = Some(named.spawn(move || own.run(&counted))?);
            hub.reclaim().set_waker(inner.clone());
        }
        Ok(Self { inner, thread: Mutex::new(thread) })
    }

    /// Ends the thread.
    pub fn stop(&self) {
        self.inner.state.lock().stopped = true;
        self.inner.changed.notify_one();
        if self.thread.lock().take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the thread that trims the memory ended by a panic");
        }
    }
}

impl Drop for Trimmer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    fn run(&self, hub: &Hub) {
        while self.wait() {
            trim();
            hub.reclaim().count_trim();
        }
    }

    /// Waits until memory is to be given back; `false` at the end.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        loop {
            if state.stopped {
                return false;
            }
            let now = self.clock.mono();
            if state.plan.take_due(now) {
                return true;
            }
            let rest = state.plan.due_at().since(now);
            self.changed.wait_for(&mut state, rest);
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    // SAFETY: a call without conditions, from any thread; 0 keeps nothing at the top of the heaps.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

/// Fixes from when on the C library gives memory back by itself, and among how many heaps it is spread.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn keep_little() {
    let kept = [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD].map(|option| (option, KEPT_BYTES));
    for (option, value) in kept.into_iter().chain([(libc::M_ARENA_MAX, HEAPS_MAX)]) {
        // SAFETY: a call without conditions, from any thread.
        if unsafe { libc::mallopt(option, value) } == 0 {
            log::debug!("the C library does not take its option {option}");
        }
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep_little() {}

#[cfg(test)]
mod tests {
    use edgehub_engine::EngineConfig;
    use edgehub_store::{Media, Store, StoreConfig};
    use edgehub_testkit::VirtualClock;
    use edgehub_types::UnixMs;

    use super::*;

    #[test]
    fn the_thread_trims_when_it_is_time_and_ends() {
        let virtual_clock = Arc::new(VirtualClock::at(UnixMs(0)));
        let clock: Arc<dyn Clock> = virtual_clock.clone();
        let config = StoreConfig { background_thread: false, ..StoreConfig::small() };
        let (store, _) = Store::open(Media::Memory, config, clock.clone()).unwrap();
        let hub = Hub::new(EngineConfig::small(), store, 1);
        let trimmer = Trimmer::start(&hub, &clock).unwrap();
        trimmer.inner.wake();
        virtual_clock.advance_ms(SPACING_MS);
        // With the lock taken once the thread has seen the new time, or waits and is woken.
        drop(trimmer.inner.state.lock());
        trimmer.inner.changed.notify_one();
        while SUPPORTED && hub.reclaim().trims() == 0 {
            std::thread::yield_now();
        }
        trimmer.stop();
        assert_eq!(hub.reclaim().trims(), u64::from(SUPPORTED));
    }

    fn at(ms: u64) -> MonoTime {
        MonoTime(ms)
    }

    #[test]
    fn without_anything_freed_memory_is_trimmed_once_in_a_period() {
        let mut plan = Plan::starting(at(1000));
        assert!(!plan.take_due(at(1000 + PERIOD_MS - 1)));
        assert!(plan.take_due(at(1000 + PERIOD_MS)));
        assert_eq!(plan.due_at(), at(1000 + 2 * PERIOD_MS));
    }

    #[test]
    fn memory_is_trimmed_once_it_is_quiet() {
        let mut plan = Plan::starting(at(0));
        let freed = SPACING_MS + 1000;
        plan.note_freed(at(freed - 500));
        plan.note_freed(at(freed));
        assert!(!plan.take_due(at(freed + QUIET_MS - 1)));
        assert!(plan.take_due(at(freed + QUIET_MS)));
        assert!(!plan.take_due(at(freed + QUIET_MS + PERIOD_MS - 1)));
    }

    #[test]
    fn or_after_a_while_when_it_is_never_quiet() {
        let mut plan = Plan::starting(at(0));
        for ms in (1000..1000 + WAIT_MAX_MS).step_by(2000) {
            assert!(!plan.take_due(at(ms)));
            plan.note_freed(at(ms));
        }
        assert!(plan.take_due(at(1000 + WAIT_MAX_MS)));
    }

    #[test]
    fn two_trims_keep_their_distance() {
        let mut plan = Plan::starting(at(0));
        plan.note_freed(at(10));
        assert_eq!(plan.due_at(), at(SPACING_MS));
        plan.note_freed(at(PERIOD_MS - 1));
        assert_eq!(plan.due_at(), at(WAIT_MAX_MS + 10), "the first one counts");
        assert!(plan.take_due(at(PERIOD_MS - 1)));
        plan.note_freed(at(2 * PERIOD_MS - 2));
        assert_eq!(plan.due_at(), at(2 * PERIOD_MS - 1), "and no more than a period");
    }
}
