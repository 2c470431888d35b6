//! The bounded queue that carries events to the control plane.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::control::ControlEvent;

/// Makes another thread look at its queue: an eventfd, or a flag in tests.
pub trait Waker: Send + Sync {
    /// Wakes the thread; cheap to call twice.
    fn wake(&self);
}

/// Events that the emptied queue keeps room for.
const EVENTS_KEPT: usize = 256;

/// What waits, and how much memory it takes.
#[derive(Default)]
struct Waiting {
    events: VecDeque<ControlEvent>,
    bytes: usize,
}

impl Waiting {
    fn push(&mut self, event: ControlEvent) {
        self.bytes += event.weight();
        self.events.push_back(event);
    }
}

/// Events on their way to the control plane. Bounded in number and bytes: [`ControlQueue::push`] says when it is
/// full.
pub struct ControlQueue {
    waiting: Mutex<Waiting>,
    events_max: usize,
    bytes_max: usize,
    waker: Mutex<Option<Arc<dyn Waker>>>,
    signalled: AtomicBool,
    dropped: AtomicU64,
}

impl ControlQueue {
    /// An empty queue for so many events of so many bytes in all.
    pub fn new(events_max: usize, bytes_max: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            events_max,
            bytes_max,
            waker: Mutex::new(None),
            signalled: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        }
    }

    /// Sets who is woken when the queue is no longer empty.
    pub fn set_waker(&self, waker: Arc<dyn Waker>) {
        *self.waker.lock() = Some(waker);
    }

    /// Appends an event. An empty queue takes one of any size.
    ///
    /// # Errors
    /// Gives the event back when the queue is full; the caller waits and tries again.
    pub fn push(&self, event: ControlEvent) -> Result<(), ControlEvent> {
        {
            let mut waiting = self.waiting.lock();
            let bytes = waiting.bytes + event.weight();
            let too_many = waiting.events.len() >= self.events_max;
            if !waiting.events.is_empty() && (too_many || bytes > self.bytes_max) {
                return Err(event);
            }
            waiting.push(event);
        }
        self.signal();
        Ok(())
    }

    /// Appends a small event that must arrive whatever waits: the end of a connection that the control plane
    /// knows, or of something that it asked for. There are never more of these than it has open.
    pub fn push_always(&self, event: ControlEvent) {
        self.waiting.lock().push(event);
        self.signal();
    }

    /// Appends an event that only informs; dropped and counted when the queue is full.
    pub fn push_or_drop(&self, event: ControlEvent) {
        if self.push(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes up to `events_max` events. When fewer are taken the next push wakes again.
    pub fn take(&self, events_max: usize) -> Vec<ControlEvent> {
        let mut waiting = self.waiting.lock();
        let count = waiting.events.len().min(events_max);
        let taken: Vec<_> = waiting.events.drain(..count).collect();
        let freed: usize = taken.iter().map(ControlEvent::weight).sum();
        waiting.bytes = waiting.bytes.saturating_sub(freed);
        if waiting.events.is_empty() {
            waiting.events.shrink_to(EVENTS_KEPT);
            self.signalled.store(false, Ordering::Release);
        }
        taken
    }

    /// Whether events wait.
    pub fn has_events(&self) -> bool {
        !self.waiting.lock().events.is_empty()
    }

    /// Bytes of the events that wait.
    pub fn bytes(&self) -> usize {
        self.waiting.lock().bytes
    }

    /// Informing events that were dropped because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn signal(&self) {
        if !self.signalled.swap(true, Ordering::AcqRel)
            && let Some(waker) = &*self.waker.lock()
        {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Waker for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn one_wake_per_emptying() {
        let queue = ControlQueue::new(10, 1 << 20);
        let count = Arc::new(Count::default());
        queue.set_waker(count.clone());
        for _ in 0..3 {
            queue.push(ControlEvent::UpstreamReady).unwrap();
        }
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(queue.take(2).len(), 2);
        assert_eq!(queue.take(2).len(), 1);
        queue.push(ControlEvent::UpstreamReady).unwrap();
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_full_queue_gives_back_drops_or_makes_room_by_kind() {
        let queue = ControlQueue::new(1, 1 << 20);
        queue.push(ControlEvent::UpstreamReady).unwrap();
        assert_eq!(queue.push(ControlEvent::UpstreamReady), Err(ControlEvent::UpstreamReady));
        queue.push_or_drop(ControlEvent::UpstreamReady);
        assert_eq!(queue.dropped(), 1);
        queue.push_always(ControlEvent::UpstreamReady);
        assert_eq!(queue.take(9).len(), 2);
    }

    fn notice(bytes: usize) -> ControlEvent {
        let (conn, kind) = (crate::ids::ConnId(1), crate::control::NoticeKind::UnknownTopic);
        ControlEvent::Notice { conn, kind, detail: "x".repeat(bytes) }
    }

    #[test]
    fn bytes_count_and_an_empty_queue_takes_any_event() {
        let queue = ControlQueue::new(10, 5000);
        queue.push(notice(20_000)).unwrap();
        assert!(queue.push(notice(1)).is_err());
        queue.take(1);
        assert_eq!(queue.bytes(), 0);
        for _ in 0..3 {
            queue.push(notice(1000)).unwrap();
        }
        let kept = queue.bytes();
        assert_eq!(kept, 3 * notice(1000).weight());
        assert!(queue.push(notice(5000 - kept)).is_err());
        queue.push_always(notice(5000));
        assert_eq!(queue.take(9).len(), 4);
        assert_eq!(queue.bytes(), 0);
    }
}
