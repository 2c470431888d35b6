//! A process that is killed while it stores: what it had answered is there, in order, and the folder is free.
//!
//! The program starts itself as the victim. That one writes a line for every answered batch, and after so many lines it
//! is killed.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test may panic, and the victim talks by its output

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};

use edgehub_store::{
    Batch, Commit, CommitWaiter, FileStorage, Media, Store, StoreConfig, StoreError, SyncPolicy, Target,
};
use edgehub_testkit::VirtualClock;
use edgehub_types::UnixMs;

const VICTIM: &str = "--victim";
const BATCH_MSGS: u64 = 5;

fn open(folder: &Path, policy: &str) -> Store {
    let sync = match policy {
        "group" => SyncPolicy::Group,
        "interval" => SyncPolicy::Interval { interval_ms: 10 },
        _ => SyncPolicy::None,
    };
    let config = StoreConfig { sync, segment_bytes: 128 << 10, ..StoreConfig::small() };
    let media = Media::Disk(Arc::new(FileStorage::open(folder).unwrap()));
    Store::open(media, config, Arc::new(VirtualClock::at(UnixMs(0)))).unwrap().0
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

/// Stores until it is killed.
fn victim(folder: &Path, policy: &str) {
    let store = open(folder, policy);
    let queue = store.open_queue("e", 0).unwrap();
    let (sender, answers) = mpsc::channel();
    let waiter: Arc<dyn CommitWaiter> = Arc::new(Answers(sender));
    let target = [Target { queue: queue.id(), expires_at: UnixMs::MAX }];
    let mut batch = Batch::new();
    let mut output = std::io::stdout().lock();
    for number in 0_u64.. {
        for n in 0..BATCH_MSGS {
            let body = (number * BATCH_MSGS + n).to_le_bytes();
            batch.push(&target, 200, |out| out.extend(body.iter().cycle().take(200))).unwrap();
        }
        if store.append(&mut batch, &waiter, number).unwrap() == Commit::Pending {
            answers.recv().unwrap();
        }
        writeln!(output, "{number}").unwrap();
    }
}

/// Kills a victim after so many answers. Returns how many there were in the end.
fn kill_after(folder: &Path, policy: &str, answers: usize) -> u64 {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .arg(VICTIM)
        .arg(folder)
        .arg(policy)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let first = lines.by_ref().take(answers).count();
    assert_eq!(first, answers, "the victim ended by itself");
    victim.kill().unwrap();
    victim.wait().unwrap();
    // What was still on the way was answered too.
    first as u64 + lines.filter(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).count() as u64
}

fn check(folder: &Path, policy: &str, answered: u64) {
    let store = open(folder, policy);
    let queue = store.open_queue("e", 0).unwrap();
    let mut next = 0;
    let taken = queue.lease(UnixMs(0), usize::MAX, usize::MAX, |leased| {
        assert_eq!(leased.seq, next);
        assert_eq!(leased.payload[..8], next.to_le_bytes());
        next += 1;
        true
    });
    taken.unwrap();
    assert!(next >= answered * BATCH_MSGS, "{next} of {answered} answered batches");
    assert_eq!(next % BATCH_MSGS, 0, "a batch is there as a whole");
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, mode, folder, policy] = &args[..]
        && mode == VICTIM
    {
        return victim(Path::new(folder), policy);
    }
    for (policy, answers) in [("group", 40), ("interval", 2000), ("none", 2000)] {
        let folder = std::env::temp_dir().join(format!("edgehub-store-kill-{}-{policy}", std::process::id()));
        let answered = kill_after(&folder, policy, answers);
        check(&folder, policy, answered);
        std::fs::remove_dir_all(&folder).unwrap();
        println!("{policy}: killed after {answered} answers ... ok");
    }
}
