//! Totals that the control plane reads at scrape time. The data plane never builds a label twice in a row:
//! equal labels follow each other, so a tally counts them in a plain integer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Label sets that one family holds. Beyond it everything counts under the label `other`.
const LABEL_SETS_MAX: usize = 20_000;
/// Separates the label values in a key; no text in UTF-8 has this byte.
const SEPARATOR: u8 = 0xff;

/// A family of counters with labels.
#[derive(Debug, Default)]
pub struct Family {
    counters: Mutex<HashMap<Box<[u8]>, Arc<AtomicU64>>>,
}

impl Family {
    /// Adds to the counter with these label values.
    pub fn add(&self, labels: &[&str], count: u64) {
        let mut key = Vec::new();
        write_key(&mut key, labels);
        self.counter(&key).fetch_add(count, Ordering::Relaxed);
    }

    /// All counters with their label values.
    pub fn snapshot(&self) -> Vec<(Vec<String>, u64)> {
        let counters = self.counters.lock();
        counters.iter().map(|(key, value)| (split_key(key), value.load(Ordering::Relaxed))).collect()
    }

    fn counter(&self, key: &[u8]) -> Arc<AtomicU64> {
        let mut counters = self.counters.lock();
        if let Some(counter) = counters.get(key) {
            return counter.clone();
        }
        let key = if counters.len() < LABEL_SETS_MAX { key } else { b"other" };
        counters.entry(key.into()).or_default().clone()
    }
}

fn write_key(key: &mut Vec<u8>, labels: &[&str]) {
    key.clear();
    for (index, label) in labels.iter().enumerate() {
        if index > 0 {
            key.push(SEPARATOR);
        }
        key.extend_from_slice(label.as_bytes());
    }
}

/// Whether [`write_key`] would write this.
fn is_key(key: &[u8], labels: &[&str]) -> bool {
    let mut rest = Some(key);
    for (index, label) in labels.iter().enumerate() {
        if index > 0 {
            rest = rest.and_then(|rest| rest.strip_prefix(&[SEPARATOR]));
        }
        rest = rest.and_then(|rest| rest.strip_prefix(label.as_bytes()));
    }
    rest.is_some_and(<[u8]>::is_empty)
}

fn split_key(key: &[u8]) -> Vec<String> {
    key.split(|byte| *byte == SEPARATOR).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// One thread's way into a [`Family`]: counts runs of equal labels without a lock or a hash.
#[derive(Debug, Default)]
pub struct Tally {
    key: Vec<u8>,
    pending: u64,
    known: HashMap<Box<[u8]>, Arc<AtomicU64>>,
}

impl Tally {
    /// Counts one with these label values.
    pub fn count(&mut self, family: &Family, labels: &[&str]) {
        if !is_key(&self.key, labels) {
            self.flush(family);
            write_key(&mut self.key, labels);
        }
        self.pending += 1;
    }

    /// Moves what is pending into the family; called at the end of every turn.
    pub fn flush(&mut self, family: &Family) {
        if self.pending == 0 {
            return;
        }
        if let Some(counter) = self.known.get(self.key.as_slice()) {
            counter.fetch_add(self.pending, Ordering::Relaxed);
        } else {
            let counter = family.counter(&self.key);
            counter.fetch_add(self.pending, Ordering::Relaxed);
            if self.known.len() < LABEL_SETS_MAX {
                self.known.insert(self.key.as_slice().into(), counter);
            }
        }
        self.pending = 0;
    }
}

/// Totals of the whole engine.
#[derive(Debug, Default)]
pub struct Stats {
    /// Telemetry accepted: id, output.
    pub received: Family,
    /// Messages delivered: from, to, output, input, priority.
    pub sent: Family,
    /// Messages dropped: reason, from, output.
    pub dropped: Family,
    /// Messages not acknowledged because the store failed: reason, from, output.
    pub unacked: Family,
    /// Connections accepted by a listener.
    pub connections_opened: AtomicU64,
    /// Connections open now.
    pub connections_open: AtomicU64,
    /// Connections closed because the limit was reached.
    pub connections_refused: AtomicU64,
    /// Acknowledgements that did not come in time: everything in flight was sent again.
    pub redeliveries: AtomicU64,
    /// Turns of all I/O threads.
    pub turns: AtomicU64,
    /// System calls of the I/O threads.
    pub io: Arc<IoStats>,
}

/// System calls of the I/O threads, those of the store left out. A thread adds them up by itself and moves them here
/// at the end of each turn.
#[derive(Debug, Default)]
pub struct IoStats {
    /// Reads of sockets.
    pub reads: AtomicU64,
    /// Writes to sockets.
    pub writes: AtomicU64,
    /// Waits for events.
    pub polls: AtomicU64,
    /// Wake-ups of one thread by another.
    pub wakes: AtomicU64,
    /// Times that a listener was left alone because a limit was reached: its connections waited with the kernel.
    pub accepts_held: AtomicU64,
}

/// Adds one without a result.
pub fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_changes_of_labels_add_up() {
        let family = Family::default();
        let mut tally = Tally::default();
        for id in ["a", "a", "b", "a"] {
            tally.count(&family, &[id, "out"]);
        }
        tally.flush(&family);
        tally.flush(&family);
        let mut snapshot = family.snapshot();
        snapshot.sort();
        let row = |id: &str, n| (vec![id.to_owned(), "out".to_owned()], n);
        assert_eq!(snapshot, [row("a", 3), row("b", 1)]);
    }

    #[test]
    fn labels_stay_apart_whatever_they_hold() {
        let family = Family::default();
        let mut tally = Tally::default();
        family.add(&["a\0b", "c"], 1);
        tally.count(&family, &["a\0b", "c"]);
        tally.flush(&family);
        assert_eq!(family.snapshot(), [(vec!["a\0b".to_owned(), "c".to_owned()], 2)]);
    }

    #[test]
    fn labels_that_begin_alike_are_told_apart() {
        let rows: [&[&str]; 6] = [&["ab", ""], &["a", "b"], &["", "ab"], &["a", ""], &["abc", ""], &["ab"]];
        for labels in rows {
            let mut key = Vec::new();
            write_key(&mut key, labels);
            for others in rows {
                assert_eq!(is_key(&key, others), labels == others, "{labels:?} {others:?}");
            }
        }
    }

    #[test]
    fn beyond_the_limit_all_count_as_other() {
        let family = Family::default();
        for n in 0..LABEL_SETS_MAX + 5 {
            family.add(&[&n.to_string()], 1);
        }
        let snapshot = family.snapshot();
        assert_eq!(snapshot.len(), LABEL_SETS_MAX + 1);
        assert!(snapshot.contains(&(vec!["other".to_owned()], 5)));
    }
}
