//! Log lines on their way to another logging system: any thread writes, one reads when it is woken.
//!
//! Bounded in lines and in their length. A full ring takes no more until it is read; how many were lost is told then.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::{Arc, Weak};

use edgehub_engine::Waker;
use log::{LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;

/// Lines that wait to be read. Full: further ones are lost and counted.
const LINES_MAX: usize = 256;
/// Bytes of one line's text. Longer: cut.
const TEXT_BYTES_MAX: usize = 500;
/// Crates whose lines are taken. What libraries say of single connections is told with their ends.
const OWN_PREFIXES: [&str; 2] = ["edgehub_", "_core"];

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How bad it is.
    pub level: log::Level,
    /// The part that wrote it, such as `net`.
    pub source: String,
    /// What it says, at most 500 bytes.
    pub text: String,
}

#[derive(Default)]
struct Lines {
    waiting: VecDeque<LogLine>,
    lost: u64,
    waker: Option<Weak<dyn Waker>>,
}

/// The ring.
pub struct LogRing {
    lines: Mutex<Lines>,
}

impl LogRing {
    /// An empty ring.
    pub const fn new() -> Self {
        let lines = Lines { waiting: VecDeque::new(), lost: 0, waker: None };
        Self { lines: Mutex::new(lines) }
    }

    /// Makes it the logger of the process, unless there is one already, and says who is woken from now on and which
    /// lines are wanted.
    pub fn install(&'static self, waker: &Arc<dyn Waker>, level: LevelFilter) {
        self.lines.lock().waker = Some(Arc::downgrade(waker));
        // Of a second engine in the same process.
        let _ = log::set_logger(self);
        log::set_max_level(level);
    }

    /// Takes all lines; the last tells how many were lost, if some were.
    pub fn take(&self) -> Vec<LogLine> {
        let mut lines = self.lines.lock();
        let mut taken: Vec<_> = lines.waiting.drain(..).collect();
        let lost = std::mem::take(&mut lines.lost);
        if lost > 0 {
            let text = format!("{lost} log lines were lost, there were too many at once");
            taken.push(LogLine { level: log::Level::Warn, source: "log".to_owned(), text });
        }
        taken
    }

    fn push(&self, line: impl FnOnce() -> LogLine) {
        let mut lines = self.lines.lock();
        if lines.waiting.len() >= LINES_MAX {
            lines.lost += 1;
            return;
        }
        lines.waiting.push_back(line());
        let first = lines.waiting.len() == 1;
        let waker = lines.waker.as_ref().filter(|_| first).and_then(Weak::upgrade);
        drop(lines);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Default for LogRing {
    fn default() -> Self {
        Self::new()
    }
}

impl Log for LogRing {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        OWN_PREFIXES.iter().any(|prefix| metadata.target().starts_with(prefix))
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.push(|| LogLine {
                level: record.level(),
                source: source_of(record.target()),
                text: cut_text(record.args()),
            });
        }
    }

    fn flush(&self) {}
}

/// `net` of `edgehub_net::io_thread`.
fn source_of(target: &str) -> String {
    let name = target.split("::").next().unwrap_or_default();
    name.trim_start_matches("edgehub_").trim_start_matches('_').to_owned()
}

/// Text that takes no more than it may.
struct Cut(String);

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = TEXT_BYTES_MAX.saturating_sub(self.0.len());
        let end = (0..=room.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.0.push_str(text.get(..end).unwrap_or_default());
        // An error ends the formatting: what follows would not fit either.
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

fn cut_text(args: &fmt::Arguments<'_>) -> String {
    let mut cut = Cut(String::new());
    let _ = cut.write_fmt(*args);
    cut.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Waker for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn say(ring: &LogRing, target: &str, text: &str) {
        let args = format_args!("{text}");
        ring.log(&Record::builder().level(log::Level::Warn).target(target).args(args).build());
    }

    fn woken() -> (LogRing, Arc<Count>) {
        let count = Arc::new(Count::default());
        let ring = LogRing::new();
        let weak: Weak<dyn Waker> = Arc::<Count>::downgrade(&count);
        ring.lines.lock().waker = Some(weak);
        (ring, count)
    }

    #[test]
    fn lines_of_ours_wake_once_until_they_are_read() {
        let (ring, count) = woken();
        say(&ring, "edgehub_net::io_thread", "one");
        say(&ring, "_core::engine", "two");
        say(&ring, "rustls::conn", "noise");
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        let taken = ring.take();
        let seen: Vec<_> = taken.iter().map(|line| (line.source.as_str(), line.text.as_str())).collect();
        assert_eq!(seen, [("net", "one"), ("core", "two")]);
        say(&ring, "edgehub_store", "three");
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
        assert_eq!(ring.take().len(), 1);
        assert!(ring.take().is_empty());
    }

    #[test]
    fn a_full_ring_says_how_many_were_lost() {
        let (ring, _count) = woken();
        for n in 0..LINES_MAX + 7 {
            say(&ring, "edgehub_net", &n.to_string());
        }
        let taken = ring.take();
        assert_eq!(taken.len(), LINES_MAX + 1);
        assert_eq!(taken[LINES_MAX - 1].text, (LINES_MAX - 1).to_string());
        assert!(taken[LINES_MAX].text.starts_with("7 log lines"));
        say(&ring, "edgehub_net", "again");
        assert_eq!(ring.take().len(), 1);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let (ring, _count) = woken();
        say(&ring, "edgehub_net", &"ä".repeat(TEXT_BYTES_MAX));
        say(&ring, "edgehub_net", &format!("x{}", "ä".repeat(TEXT_BYTES_MAX)));
        let lens: Vec<_> = ring.take().iter().map(|line| line.text.len()).collect();
        assert_eq!(lens, [TEXT_BYTES_MAX, TEXT_BYTES_MAX - 1]);
    }

    #[test]
    fn without_anybody_to_wake_lines_wait() {
        let (ring, count) = woken();
        drop(count);
        say(&ring, "edgehub_net", "x");
        assert_eq!(ring.take().len(), 1);
    }
}
