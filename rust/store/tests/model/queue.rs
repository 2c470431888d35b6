//! One queue as it should be.

use std::collections::{BTreeMap, VecDeque};

use edgehub_store::{LossCause, Queue};
use edgehub_types::UnixMs;

use crate::common::Got;

#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub payload: Vec<u8>,
    pub expires_at: UnixMs,
    pub released: bool,
    /// When its commit was heard of.
    pub since: UnixMs,
}

/// What left the queue since the store was opened, and what came.
#[derive(Debug, Default, Clone)]
struct Books {
    arrived: u64,
    acked: u64,
    given_up: u64,
}

#[derive(Debug, Default)]
pub struct ModelQueue {
    /// The endpoint is removed: what is appended counts, and is dropped.
    pub removed: bool,
    next_seq: u64,
    ready: VecDeque<(u64, Message)>,
    leased: BTreeMap<u64, Message>,
    /// Acknowledged, but no checkpoint is known to say so: a restart may bring it back.
    done: BTreeMap<u64, Message>,
    books: Books,
}

impl ModelQueue {
    /// A message was committed.
    pub fn arrive(&mut self, payload: Vec<u8>, expires_at: UnixMs, since: UnixMs) {
        if !self.removed {
            let message = Message { payload, expires_at, released: false, since };
            self.ready.push_back((self.next_seq, message));
        }
        self.next_seq += 1;
        self.books.arrived += 1;
    }

    /// The next message that may be delivered. Those that are expired go.
    fn next_ready(&mut self, now: UnixMs) -> Option<(u64, Message)> {
        while self.ready.front().is_some_and(|(_, message)| message.expires_at <= now) {
            self.ready.pop_front();
        }
        self.ready.pop_front()
    }

    /// Up to `max` messages were leased, and these were handed out.
    pub fn lease(&mut self, got: Vec<Got>, max: usize, now: UnixMs) {
        let mut got = got.into_iter();
        for _ in 0..max {
            let Some((seq, message)) = self.next_ready(now) else { break };
            let got = got.next().unwrap();
            assert_eq!((got.seq, &got.payload), (seq, &message.payload));
            assert_eq!(got.redelivered, message.released);
            self.leased.insert(seq, message);
        }
        assert_eq!(got.next(), None);
    }

    pub fn leased(&self, pick: usize) -> Option<(u64, &Message)> {
        self.leased.iter().nth(pick).map(|(seq, message)| (*seq, message))
    }

    pub fn leased_seqs(&self) -> Vec<u64> {
        self.leased.keys().copied().collect()
    }

    pub fn ack(&mut self, seqs: &[u64]) {
        self.books.acked += seqs.len() as u64;
        self.finish(seqs);
    }

    pub fn give_up(&mut self, seq: u64) {
        self.books.given_up += 1;
        self.finish(&[seq]);
    }

    fn finish(&mut self, seqs: &[u64]) {
        for seq in seqs {
            let message = self.leased.remove(seq).unwrap();
            self.done.insert(*seq, message);
        }
    }

    pub fn release(&mut self) {
        for (seq, message) in std::mem::take(&mut self.leased).into_iter().rev() {
            self.ready.push_front((seq, Message { released: true, ..message }));
        }
        self.ready.make_contiguous().sort_by_key(|(seq, _)| *seq);
    }

    pub fn remove(&mut self) {
        let Self { next_seq, books, .. } = std::mem::take(self);
        *self = Self { removed: true, next_seq, books, ..Self::default() };
    }

    /// A checkpoint is in the log: what it covers will not come back.
    pub fn checkpointed(&mut self) {
        let ready = self.ready.front().map(|(seq, _)| *seq);
        let head = self.leased.keys().next().copied().into_iter().chain(ready).min().unwrap_or(self.next_seq);
        self.done.retain(|seq, _| *seq > head);
    }

    /// Takes over what is there after a restart, which must be what has to be there and nothing else.
    pub fn restart(&mut self, arrived: u64, found: &[Got], now: UnixMs) {
        self.release();
        let wanted: BTreeMap<u64, Message> = self.ready.drain(..).collect();
        for (seq, message) in &wanted {
            let there = found.iter().any(|got| got.seq == *seq && got.payload == message.payload);
            assert_eq!(there, message.expires_at > now, "message {seq} expiring at {:?}", message.expires_at);
        }
        assert!(found.is_sorted_by(|a, b| a.seq < b.seq), "out of order");
        for got in found {
            let known = wanted.get(&got.seq).or_else(|| self.done.get(&got.seq));
            let known = known.unwrap_or_else(|| panic!("{} came back", got.seq));
            assert_eq!(got.payload, known.payload);
            assert!(got.redelivered, "whoever had it before the restart is not known any more");
            assert!(known.expires_at > now, "{} is expired", got.seq);
            self.ready.push_back((got.seq, Message { released: true, ..known.clone() }));
        }
        self.done.clear();
        self.books = Books { arrived, ..Books::default() };
    }

    /// Compares what can be seen from outside without changing anything.
    pub fn check(&self, queue: &Queue, now: UnixMs) {
        let all = (self.ready.len() + self.leased.len()) as u64;
        let expired = self.ready.iter().filter(|(_, message)| message.expires_at <= now).count() as u64;
        assert!((all - expired..=all).contains(&queue.len()), "{} of {all}", queue.len());
        assert!(queue.has_ready() || self.ready.len() as u64 <= expired);
        let lost: u64 = LossCause::ALL.iter().map(|cause| queue.lost(*cause)).sum();
        let Books { arrived, acked, given_up } = self.books;
        assert_eq!(arrived, acked + lost + queue.len(), "the books balance: {:?}", self.books);
        assert!(lost >= given_up);
        self.check_lag(queue, now);
    }

    /// Bytes and age are there when messages are, and cover what must be in the queue.
    fn check_lag(&self, queue: &Queue, now: UnixMs) {
        let all = self.ready.iter().map(|(seq, message)| (*seq, message));
        let all = all.chain(self.leased.iter().map(|(seq, message)| (*seq, message)));
        let wanted: Vec<_> = all.filter(|(_, message)| message.expires_at > now).collect();
        let (bytes, age) = (queue.waiting_bytes(), queue.oldest_ms());
        assert_eq!(
            (bytes == 0, age.is_none()),
            (queue.is_empty(), queue.is_empty()),
            "{bytes} bytes, {age:?}"
        );
        let first = wanted.iter().min_by_key(|(seq, _)| *seq);
        let least = first.map_or(0, |(_, message)| now.0.saturating_sub(message.since.0));
        assert!(age.unwrap_or(0) >= least, "{age:?} ms, at least {least}");
    }
}
