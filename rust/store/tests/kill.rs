//! A process that is killed while it stores and delivers: what it had answered is there, in order, and the folder is free.
//!
//! The program starts itself as the victim. That one writes a line for every answered batch, and after so many lines it
//! is killed. The next victim goes on in the same folder. `STORE_KILLS=100` kills that often.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test may panic, and the victim talks by its output

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use edgehub_store::{
    Batch, Commit, CommitWaiter, FileStorage, Media, Queue, Store, StoreConfig, StoreError, SyncPolicy,
    Target,
};
use edgehub_testkit::Dice;
use edgehub_types::{Clock, MonoTime, UnixMs};

const VICTIM: &str = "--victim";
const BATCH_MSGS: u64 = 5;
/// A little less than is sent, so that there is a backlog and old segments go.
const CONSUMED_MSGS: u64 = 4;
const POLICIES: [&str; 3] = ["group", "interval", "none"];
const KILLS: u64 = 9;

/// The victim lives in real time: its checkpoints, syncs and unlinking must be under way when it ends.
struct RealClock(Instant);

impl RealClock {
    #[allow(clippy::disallowed_methods)]
    fn start() -> Arc<Self> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for RealClock {
    fn mono(&self) -> MonoTime {
        MonoTime(self.0.elapsed().as_millis() as u64)
    }

    #[allow(clippy::disallowed_methods)]
    fn unix(&self) -> UnixMs {
        UnixMs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
    }
}

fn open(folder: &Path, policy: &str) -> Store {
    let sync = match policy {
        "group" => SyncPolicy::Group,
        "interval" => SyncPolicy::Interval { interval_ms: 10 },
        _ => SyncPolicy::None,
    };
    let config = StoreConfig { sync, segment_bytes: 128 << 10, ..StoreConfig::small() };
    let media = Media::Disk(Arc::new(FileStorage::open(folder).unwrap()));
    let (store, report) = Store::open(media, config, RealClock::start()).unwrap();
    assert_eq!((report.quarantined, report.lost, report.orphaned), (0, 0, 0), "{report:?}");
    store
}

struct Answers(mpsc::Sender<()>);

impl CommitWaiter for Answers {
    fn committed(&self, _ticket: u64) {
        self.0.send(()).unwrap();
    }

    fn failed(&self, ticket: u64, error: &StoreError) {
        panic!("batch {ticket} failed: {error}");
    }
}

/// Takes the next messages and checks each. Returns the number behind the last one; 0 when there is none.
fn receive(queue: &Queue, max: usize, mut next: Option<u64>) -> u64 {
    let taken = queue.lease(UnixMs(0), max, usize::MAX, |leased| {
        assert!(next.is_none_or(|next| next == leased.seq), "{next:?} is missing, there is {}", leased.seq);
        assert_eq!(leased.payload[..8], leased.seq.to_le_bytes());
        next = Some(leased.seq + 1);
        true
    });
    taken.unwrap();
    next.unwrap_or(0)
}

/// Stores and delivers from one number on until it is killed. Each line has the answered batch and the number up to which all is
/// acknowledged.
fn victim(folder: &Path, policy: &str, first: u64) {
    let store = open(folder, policy);
    let queue = store.open_queue("e", 0).unwrap();
    let (sender, answers) = mpsc::channel();
    let waiter: Arc<dyn CommitWaiter> = Arc::new(Answers(sender));
    let target = [Target { queue: queue.id(), expires_at: UnixMs::MAX }];
    let mut batch = Batch::new();
    let mut output = std::io::stdout().lock();
    for number in first.. {
        for n in 0..BATCH_MSGS {
            let body = (number * BATCH_MSGS + n).to_le_bytes();
            batch.push(&target, 200, |out| out.extend(body.iter().cycle().take(200))).unwrap();
        }
        if store.append(&mut batch, &waiter, number).unwrap() == Commit::Pending {
            answers.recv().unwrap();
        }
        let done = receive(&queue, CONSUMED_MSGS as usize, None);
        let seqs: Vec<_> = (done.saturating_sub(CONSUMED_MSGS)..done).collect();
        queue.ack_all(&seqs, queue.epoch());
        writeln!(output, "{number} {done}").unwrap();
    }
}

/// What is known of a folder.
#[derive(Debug, Default, Clone, Copy)]
struct Known {
    /// Batches that are answered, and what may have been acknowledged.
    answered: u64,
    done: u64,
}

/// Kills a victim after so many answers, and says what is known then.
fn kill_after(folder: &Path, policy: &str, answers: usize, mut known: Known) -> Known {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .arg(VICTIM)
        .arg(folder)
        .arg(policy)
        .arg(known.answered.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let first: Vec<_> = lines.by_ref().take(answers).map(Result::unwrap).collect();
    assert_eq!(first.len(), answers, "the victim ended by itself");
    victim.kill().unwrap();
    victim.wait().unwrap();
    // What was still on the way was answered too; the last line may be cut.
    let rest = lines.map_while(Result::ok);
    let whole = first.into_iter().chain(rest).filter_map(|line| {
        let (number, done) = line.split_once(' ')?;
        Some((number.parse::<u64>().ok()?, done.parse::<u64>().ok()?))
    });
    for (number, done) in whole {
        known.answered = known.answered.max(number + 1);
        known.done = known.done.max(done);
    }
    known.done += CONSUMED_MSGS;
    known
}

/// Everything that was answered and not acknowledged is there. Returns where the next victim goes on.
fn check(folder: &Path, policy: &str, known: Known, close: bool) -> Known {
    let store = open(folder, policy);
    let queue = store.open_queue("e", 0).unwrap();
    let first = receive(&queue, 1, None).saturating_sub(1);
    queue.release_all();
    let next = if queue.is_empty() { 0 } else { receive(&queue, usize::MAX, Some(first)) };
    assert!(next >= known.answered * BATCH_MSGS, "{next} after {known:?}");
    assert!(first <= known.done, "{first} after {known:?}");
    assert_eq!(next % BATCH_MSGS, 0, "a batch is there as a whole");
    if close {
        store.close().unwrap();
    }
    Known { answered: next / BATCH_MSGS, ..known }
}

/// Kills one victim after the other. Returns how many batches were answered.
fn rounds(policy: &str, kills: u64) -> u64 {
    let folder: PathBuf =
        std::env::temp_dir().join(format!("edgehub-store-kill-{}-{policy}", std::process::id()));
    let most = if policy == "group" { 60 } else { 3000 };
    let mut known = Known::default();
    for round in 0..kills {
        let mut dice = Dice::new(round);
        // Now and then in the middle of opening.
        let answers = if round % 7 == 6 { 0 } else { 1 + dice.below(most) as usize };
        known = kill_after(&folder, policy, answers, known);
        known = check(&folder, policy, known, round % 3 == 2);
    }
    std::fs::remove_dir_all(&folder).unwrap();
    known.answered
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, mode, folder, policy, first] = &args[..]
        && mode == VICTIM
    {
        return victim(Path::new(folder), policy, first.parse().unwrap());
    }
    let kills = std::env::var("STORE_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    for policy in POLICIES {
        let each = kills.div_ceil(POLICIES.len() as u64);
        let answered = rounds(policy, each);
        println!("{policy}: killed {each} times, {answered} batches ... ok");
    }
}
