//! Routes that many threads use and one may replace.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::set::compile::RouteSet;

/// The routes in force, replaced as a whole while other threads go on evaluating.
///
/// `T` is what is swapped: a [`RouteSet`], or a type of yours that holds one along with what belongs
/// to it (the queues of its endpoints, say), so that both change in the same instant.
///
/// A thread that evaluates message after message takes a [`RouteReader`], which looks at one atomic
/// per message and takes the lock only after a change.
///
/// ```
/// use std::sync::Arc;
/// use std::thread;
/// use edgehub_router::{Decisions, OwnedMessage, RouteDecl, RouteSet, RouteTable, Source};
///
/// let compile = |text: &str| RouteSet::compile("gateway-7", &[RouteDecl::new("r", text)]).unwrap();
/// let table = Arc::new(RouteTable::new(compile("FROM /messages/* INTO $upstream")));
///
/// let mut reader = table.reader();
/// let worker = thread::spawn(move || {
///     let mut decisions = Decisions::new();
///     for _ in 0..100 {
///         reader.get().evaluate(Source::Device, &OwnedMessage::default(), &mut decisions);
///     }
/// });
/// let old = table.replace(compile("FROM /messages/* WHERE kind = 'a' INTO $upstream"));
/// assert_eq!((table.version(), old.routes().len()), (1, 1));
/// worker.join().unwrap();
/// ```
#[derive(Debug)]
pub struct RouteTable<T = RouteSet> {
    current: RwLock<Arc<T>>,
    /// Number of replacements; changes while `current` is locked for writing.
    version: AtomicU64,
}

impl<T> RouteTable<T> {
    /// A table with its first routes, version 0.
    pub fn new(routes: T) -> Self {
        RouteTable { current: RwLock::new(Arc::new(routes)), version: AtomicU64::new(0) }
    }

    /// The routes in force. They stay as they are for as long as the `Arc` is kept.
    pub fn load(&self) -> Arc<T> {
        self.load_versioned().0
    }

    /// Puts other routes in force and gives back those before. Evaluations that have begun end with
    /// the routes they began with; the old ones go when the last of them lets go.
    pub fn replace(&self, routes: T) -> Arc<T> {
        let routes = Arc::new(routes);
        // A panic cannot come between the two steps, so a poisoned lock guards sound routes.
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        self.version.fetch_add(1, Ordering::Release);
        std::mem::replace(&mut *current, routes)
    }

    /// Number of times that the routes were replaced.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// A reader for one thread.
    pub fn reader(self: &Arc<Self>) -> RouteReader<T> {
        let (routes, version) = self.load_versioned();
        RouteReader { table: Arc::clone(self), routes, version }
    }

    fn load_versioned(&self) -> (Arc<T>, u64) {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&current), self.version())
    }
}

/// One thread's view of a [`RouteTable`].
#[derive(Debug)]
pub struct RouteReader<T = RouteSet> {
    table: Arc<RouteTable<T>>,
    routes: Arc<T>,
    version: u64,
}

impl<T> RouteReader<T> {
    /// The routes in force now. Use the answer for one message, or one batch that is to see one set.
    #[inline]
    pub fn get(&mut self) -> &T {
        if self.table.version() != self.version {
            (self.routes, self.version) = self.table.load_versioned();
        }
        &self.routes
    }

    /// The table that it reads.
    pub fn table(&self) -> &Arc<RouteTable<T>> {
        &self.table
    }
}

impl<T> Clone for RouteReader<T> {
    fn clone(&self) -> Self {
        RouteReader {
            table: Arc::clone(&self.table),
            routes: Arc::clone(&self.routes),
            version: self.version,
        }
    }
}
