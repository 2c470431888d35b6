//! What a message costs in the store: CPU time of append, of lease and acknowledgement, and group commit figures.
//!
//! `cargo run --release -p edgehub-store --example store_cost [folder]`; the folder (default: a new one in the
//! temporary directory) decides which disk is measured.
#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::unwrap_used)] // a measurement, not the product

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use edgehub_store::{
    Batch, CommitWaiter, FileStorage, Media, Queue, Store, StoreConfig, StoreError, SyncPolicy, Target,
};
use edgehub_types::{Clock, MonoTime, UnixMs};
use parking_lot::{Condvar, Mutex};

const PAYLOAD: [u8; 256] = [0x5A; 256];

struct RealClock {
    start: Instant,
}

impl Clock for RealClock {
    fn mono(&self) -> MonoTime {
        MonoTime(self.start.elapsed().as_millis() as u64)
    }

    fn unix(&self) -> UnixMs {
        UnixMs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64)
    }
}

/// Lets a sender wait for its window, and notes how long commits took.
#[derive(Default)]
struct Window {
    state: Mutex<WindowState>,
    changed: Condvar,
}

#[derive(Default)]
struct WindowState {
    done: u64,
    sent_at: Vec<Instant>,
    latencies: Vec<Duration>,
}

impl CommitWaiter for Window {
    fn committed(&self, ticket: u64) {
        let mut state = self.state.lock();
        state.done = ticket;
        let latency = state.sent_at[ticket as usize - 1].elapsed();
        state.latencies.push(latency);
        drop(state);
        self.changed.notify_one();
    }

    fn failed(&self, ticket: u64, error: &StoreError) {
        println!("batch {ticket} failed: {error}");
        std::process::exit(1);
    }
}

impl Window {
    fn wait(&self, behind: u64, sent: u64) {
        let mut state = self.state.lock();
        while sent - state.done > behind {
            self.changed.wait(&mut state);
        }
    }
}

/// Whose CPU time is meant.
#[derive(Clone, Copy)]
enum Whose {
    /// Of this thread.
    Thread,
    /// Of the process, the store's thread and the kernel's work for it included.
    Process,
}

fn cpu_time(whose: Whose) -> Duration {
    let clock = match whose {
        Whose::Thread => libc::CLOCK_THREAD_CPUTIME_ID,
        Whose::Process => libc::CLOCK_PROCESS_CPUTIME_ID,
    };
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the result for the duration of the call.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The kernel's part of this thread's.
fn kernel_time() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the place is large enough and zeros are a valid value of it, should the call fail.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init()
    };
    Duration::new(usage.ru_stime.tv_sec as u64, usage.ru_stime.tv_usec as u32 * 1000)
}

/// CPU time between two looks at it.
struct Stopwatch {
    whose: Whose,
    at: Duration,
}

impl Stopwatch {
    fn start(whose: Whose) -> Self {
        Self { whose, at: cpu_time(whose) }
    }

    fn lap(&mut self) -> Duration {
        let before = std::mem::replace(&mut self.at, cpu_time(self.whose));
        self.at.saturating_sub(before)
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(RealClock { start: Instant::now() })
}

fn open(folder: Option<&Path>, config: StoreConfig) -> (Store, Queue) {
    let media =
        folder.map_or(Media::Memory, |folder| Media::Disk(Arc::new(FileStorage::open(folder).unwrap())));
    let (store, _) = Store::open(media, config, clock()).unwrap();
    let queue = store.open_queue("iothub", 0).unwrap();
    (store, queue)
}

fn fill(batch: &mut Batch, target: Target, msgs: usize) {
    for _ in 0..msgs {
        batch.push(&[target], PAYLOAD.len(), |out| out.extend_from_slice(&PAYLOAD)).unwrap();
    }
}

/// Appends, and waits as long as the store asks to.
fn append(store: &Store, batch: &mut Batch, waiter: &Arc<dyn CommitWaiter>, ticket: u64) {
    while let Err(error) = store.append(batch, waiter, ticket) {
        assert!(error.is_retryable(), "{error}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn per_msg(time: Duration, msgs: u64) -> f64 {
    time.as_nanos() as f64 / msgs as f64
}

/// Append and consume in turns, as an I/O thread does that serves both sides. A turn is long enough for reading
/// the clock not to count.
fn near_tail(name: &str, folder: Option<&Path>, sync: SyncPolicy, batch_msgs: usize) {
    const TURN_MSGS: usize = 2000;
    let (store, queue) = open(folder, StoreConfig { sync, ..StoreConfig::default() });
    let waiter: Arc<dyn CommitWaiter> = Arc::new(Window::default());
    let target = Target { queue: queue.id(), expires_at: UnixMs::MAX };
    let mut batch = Batch::new();
    let (mut appending, mut consuming, mut kernel) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let turns = 1000;
    let mut all = Stopwatch::start(Whose::Process);
    for _ in 0..turns {
        let (mut watch, start_kernel) = (Stopwatch::start(Whose::Thread), kernel_time());
        for _ in 0..TURN_MSGS / batch_msgs {
            fill(&mut batch, target, batch_msgs);
            append(&store, &mut batch, &waiter, 0);
        }
        appending += watch.lap();
        kernel += kernel_time().saturating_sub(start_kernel);
        watch.lap();
        for _ in 0..TURN_MSGS / batch_msgs {
            consume_some(&queue, batch_msgs);
        }
        consuming += watch.lap();
    }
    assert!(queue.is_empty());
    let msgs = (turns * TURN_MSGS) as u64;
    println!(
        "{name:<16} batch {batch_msgs:>4}: append {:>5.0} ns/msg (kernel about {:>4.0}), lease+ack {:>4.0} ns/msg, \
         both with the store's thread {:>5.0} ns/msg",
        per_msg(appending, msgs),
        per_msg(kernel, msgs),
        per_msg(consuming, msgs),
        per_msg(all.lap(), msgs)
    );
    store.close().unwrap();
}

/// Leases a window and acknowledges it message by message.
fn consume_some(queue: &Queue, msgs: usize) {
    let mut seen = (0, 0, 0);
    let taken = queue.lease(UnixMs(0), msgs, usize::MAX, |leased| {
        seen = (leased.seq, leased.epoch, seen.2 + leased.payload.len());
        true
    });
    let taken = taken.unwrap();
    assert_eq!((taken, seen.2), (msgs, msgs * PAYLOAD.len()));
    for seq in seen.0 + 1 - taken as u64..=seen.0 {
        queue.ack(seq, seen.1);
    }
}

fn group(folder: &Path, outstanding: u64, batch_msgs: u64, batches: u64) {
    let config = StoreConfig { sync: SyncPolicy::Group, ..StoreConfig::default() };
    let (store, queue) = open(Some(folder), config);
    let window = Arc::new(Window::default());
    let waiter: Arc<dyn CommitWaiter> = Arc::<Window>::clone(&window);
    let target = Target { queue: queue.id(), expires_at: UnixMs::MAX };
    let mut batch = Batch::new();
    let (start, mut watch) = (Instant::now(), Stopwatch::start(Whose::Process));
    for ticket in 1..=batches {
        window.wait(outstanding / batch_msgs - 1, ticket - 1);
        fill(&mut batch, target, batch_msgs as usize);
        window.state.lock().sent_at.push(Instant::now());
        append(&store, &mut batch, &waiter, ticket);
        if ticket % 16 == 0 {
            consume_all(&queue);
        }
    }
    window.wait(0, batches);
    let (elapsed, cpu) = (start.elapsed(), watch.lap());
    let msgs = batches * batch_msgs;
    let mut state = window.state.lock();
    state.latencies.sort_unstable();
    let at = |percent: usize| state.latencies[(state.latencies.len() - 1) * percent / 100].as_micros();
    let stats = store.stats();
    println!(
        "group, {outstanding:>6} outstanding by {batch_msgs:>3}: {:>8.0} msg/s, commit p50 {:>6} us, p99 {:>6} us, {:.0} ns CPU/msg, \
         {} syncs of {} us (max {} us), {:.2} bytes per payload byte",
        msgs as f64 / elapsed.as_secs_f64(),
        at(50),
        at(99),
        per_msg(cpu, msgs),
        stats.syncs,
        stats.sync_ns_total / stats.syncs.max(1) / 1000,
        stats.sync_ns_max / 1000,
        stats.bytes_written as f64 / (msgs * PAYLOAD.len() as u64) as f64,
    );
    drop(state);
    store.close().unwrap();
}

fn consume_all(queue: &Queue) {
    let (mut seqs, mut epoch) = (Vec::new(), 0);
    let taken = queue.lease(UnixMs(0), usize::MAX, usize::MAX, |leased| {
        seqs.push(leased.seq);
        epoch = leased.epoch;
        true
    });
    taken.unwrap();
    queue.ack_all(&seqs, epoch);
}

/// A backlog that is recovered and read from files.
fn backlog(folder: &Path, msgs: usize) {
    let config = StoreConfig { sync: SyncPolicy::None, ..StoreConfig::default() };
    let (store, queue) = open(Some(folder), config.clone());
    let waiter: Arc<dyn CommitWaiter> = Arc::new(Window::default());
    let target = Target { queue: queue.id(), expires_at: UnixMs::MAX };
    let mut batch = Batch::new();
    for _ in 0..msgs / 100 {
        fill(&mut batch, target, 100);
        append(&store, &mut batch, &waiter, 0);
    }
    store.close().unwrap();
    drop((store, queue));
    let start = Instant::now();
    let (store, queue) = open(Some(folder), config);
    let opened = start.elapsed();
    let mut watch = Stopwatch::start(Whose::Process);
    consume_all(&queue);
    println!(
        "backlog of {msgs}: opened in {} ms, then lease+ack from files {:.0} ns CPU/msg",
        opened.as_millis(),
        per_msg(watch.lap(), msgs as u64)
    );
    assert!(queue.is_empty());
    store.close().unwrap();
}

fn main() {
    let base = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let root = base.join(format!("store-cost-{}", std::process::id()));
    let mut next = 0;
    let mut folder = || {
        next += 1;
        root.join(next.to_string())
    };
    for batch_msgs in [1, 20, 100, 1000] {
        near_tail("none", Some(&folder()), SyncPolicy::None, batch_msgs);
    }
    near_tail("interval 100 ms", Some(&folder()), SyncPolicy::Interval { interval_ms: 100 }, 20);
    near_tail("memory", None, SyncPolicy::None, 20);
    group(&folder(), 1, 1, 5_000);
    group(&folder(), 20, 1, 50_000);
    group(&folder(), 1000, 20, 50_000);
    group(&folder(), 100_000, 100, 20_000);
    backlog(&folder(), 1_000_000);
    std::fs::remove_dir_all(&root).unwrap();
}
