//! What the scenarios ask of a store, and the stores there are.

use std::ops::Range;
use std::path::Path;

use crate::BenchError;
use crate::edgehub::Edgehub;
use crate::payload::Payloads;
use crate::report::Kept;

/// A store of messages with one queue for each endpoint. Every message goes to all endpoints.
pub trait Contender {
    /// Stores the messages of these numbers, which continue those before.
    ///
    /// # Errors
    /// When the store fails.
    fn append(&mut self, numbers: Range<u64>, payloads: &Payloads) -> Result<(), BenchError>;

    /// Waits until everything appended is as durable as the mode promises.
    ///
    /// # Errors
    /// When something was not stored.
    fn settle(&mut self) -> Result<(), BenchError>;

    /// Waits until what the store does by itself with messages that nobody fetches has been done.
    ///
    /// # Errors
    /// When the store fails.
    fn rest(&mut self) -> Result<(), BenchError> {
        self.settle()
    }

    /// Messages that are in files of their own because nobody fetched them; `None` where there is no such thing.
    fn kept(&self) -> Option<Kept> {
        None
    }

    /// Hands the next messages of an endpoint to `deliver`, in order, at most `max`, and then removes them from its queue.
    /// Returns how many; fewer than `max` when no more are committed.
    ///
    /// # Errors
    /// When the store fails.
    fn consume(
        &mut self,
        endpoint: usize,
        max: usize,
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, BenchError>;

    /// Closes in good order.
    ///
    /// # Errors
    /// When the store fails.
    fn close(self: Box<Self>) -> Result<(), BenchError>;
}

/// The stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// This project's.
    Edgehub,
    /// A log-structured merge tree.
    RocksDb,
    /// B-trees with a write-ahead log.
    Sqlite,
}

/// How a store is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// edgehub: nothing is synced but full segments.
    None,
    /// edgehub: a sync within 100 ms.
    Interval,
    /// edgehub: a message counts when it is synced.
    Group,
    /// `RocksDB` as the hub it replaces uses it: text keys in random order, reference counts, every put and delete by itself.
    Reference,
    /// `RocksDB` with numbers as keys and no reference counts; every put and delete by itself.
    Put,
    /// As `Put`, with one write batch for each call.
    Batch,
    /// `SQLite`: one transaction for each call, WAL, `synchronous=NORMAL`.
    Transaction,
}

/// A store and what it can do.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Which.
    pub kind: Kind,
    /// Name on the command line, also that of the feature.
    pub name: &'static str,
    /// Its modes; the first is the default.
    pub modes: &'static [Mode],
    /// Whether it was built in.
    pub built: bool,
}

/// All stores.
pub const CONTENDERS: [About; 3] = [
    About {
        kind: Kind::Edgehub,
        name: "edgehub",
        modes: &[Mode::None, Mode::Interval, Mode::Group],
        built: true,
    },
    About {
        kind: Kind::RocksDb,
        name: "rocksdb",
        modes: &[Mode::Reference, Mode::Put, Mode::Batch],
        built: cfg!(feature = "rocksdb"),
    },
    About {
        kind: Kind::Sqlite,
        name: "sqlite",
        modes: &[Mode::Transaction],
        built: cfg!(feature = "sqlite"),
    },
];

impl Mode {
    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Interval => "interval",
            Self::Group => "group",
            Self::Reference => "reference",
            Self::Put => "put",
            Self::Batch => "batch",
            Self::Transaction => "transaction",
        }
    }
}

impl Kind {
    /// What is known of it.
    pub fn about(self) -> &'static About {
        let [edgehub, rocksdb, sqlite] = &CONTENDERS;
        match self {
            Self::Edgehub => edgehub,
            Self::RocksDb => rocksdb,
            Self::Sqlite => sqlite,
        }
    }
}

/// How a store is opened.
#[derive(Debug, Clone, Copy)]
pub struct OpenOptions {
    /// Which store.
    pub kind: Kind,
    /// How it is used; one of its modes.
    pub mode: Mode,
    /// Number of endpoints.
    pub endpoints: usize,
    /// Messages that may wait for a sync before `append` waits; edgehub's `group` only.
    pub outstanding_max: u64,
    /// Every message counts as old at once; edgehub only.
    pub all_is_old: bool,
}

/// Opens a store in a folder, which may hold one already.
///
/// # Errors
/// [`BenchError::NotBuilt`], or when the store fails.
pub fn open(folder: &Path, options: OpenOptions) -> Result<Box<dyn Contender>, BenchError> {
    match options.kind {
        Kind::Edgehub => Ok(Box::new(Edgehub::open(folder, options)?)),
        #[cfg(feature = "rocksdb")]
        Kind::RocksDb => Ok(Box::new(crate::rocks::Rocks::open(folder, options)?)),
        #[cfg(feature = "sqlite")]
        Kind::Sqlite => Ok(Box::new(crate::sqlite::Sqlite::open(folder, options)?)),
        #[cfg(not(all(feature = "rocksdb", feature = "sqlite")))]
        other => Err(BenchError::NotBuilt { contender: other.about().name }),
    }
}
