//! What was promised: every transmission of every message, where it had to go, and what became of it.

use std::collections::{HashMap, HashSet};

use crate::link::Message;
use crate::routes::{INPUTS, is_used, ttl_secs};

/// Whether what is sent again must say so.
const REPEATS_ARE_MARKED: bool = true;

/// Number of a transmission. A message that is sent again is another one: the hub keeps no list of messages it knows.
pub type Tx = usize;

/// When something happened: under which routes, at what time of the store, and after how many other things.
#[derive(Debug, Clone, Copy, Default)]
pub struct When {
    pub epoch: usize,
    pub store_ms: u64,
    pub step: usize,
}

/// A transmission.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub sender: usize,
    pub kind: usize,
    pub size: usize,
    /// It was sent on an earlier connection too, and says so.
    pub dup: bool,
    /// Connection that it was sent on.
    link: usize,
    /// All its bytes were with the hub.
    arrived: Option<When>,
    /// The hub acknowledged it.
    acked: Option<When>,
}

/// Messages that were acknowledged and never delivered, by what excuses that.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Missing {
    pub expired: u64,
    pub removed: u64,
    pub dropped: u64,
}

#[derive(Default)]
pub struct Book {
    pub now: When,
    /// The latest time of the store that was seen. A loss of power may set it back, but not bring back what expired.
    latest_ms: u64,
    /// Messages may be dropped to make room. What was dropped just before the process ended may be there again.
    drops: bool,
    /// When the hub was started last, in steps.
    started: usize,
    sent: Vec<Sent>,
    /// The set of routes of each epoch.
    epochs: Vec<usize>,
    /// What the hub sent, by input: how many others it sent before.
    delivered: HashMap<(usize, Tx), usize>,
    /// What the consumer got.
    received: HashSet<(usize, Tx)>,
    /// Acknowledged by the consumer in this life of the hub.
    consumed: HashSet<(usize, Tx)>,
    /// By line: the arrival of the newest that was delivered.
    newest: HashMap<Line, usize>,
    /// The same by connection of the sender.
    newest_of_link: HashMap<(Line, usize), usize>,
}

/// Input, sender and kind of message: in each, order is kept.
pub type Line = (usize, usize, usize);

impl Book {
    pub fn new(drops: bool) -> Self {
        Self { drops, ..Self::default() }
    }

    /// A sender writes a message; its body.
    pub fn write(
        &mut self,
        sender: usize,
        link: usize,
        kind: usize,
        size: usize,
        dup: bool,
    ) -> (Tx, Vec<u8>) {
        self.sent.push(Sent { sender, kind, size, dup, link, arrived: None, acked: None });
        let tx = self.sent.len() - 1;
        (tx, body(tx, size))
    }

    /// What time it is for the store.
    pub fn set_time(&mut self, store_ms: u64) {
        self.now.store_ms = store_ms;
        self.latest_ms = self.latest_ms.max(store_ms);
    }

    /// Other routes are in force.
    pub fn change_routes(&mut self, set: usize) {
        self.epochs.push(set);
        self.now.epoch = self.epochs.len() - 1;
    }

    pub fn arrived(&mut self, tx: Tx) {
        self.now.step += 1;
        self.sent[tx].arrived = Some(self.now);
    }

    pub fn acknowledged(&mut self, tx: Tx) {
        self.now.step += 1;
        let sent = &mut self.sent[tx];
        assert!(sent.arrived.is_some() && sent.acked.is_none(), "acknowledged once: {sent:?}");
        sent.acked = Some(self.now);
    }

    /// The consumer got a message.
    pub fn received(&mut self, message: &Message) {
        self.received.insert((input_of(message), tx_of(message)));
    }

    /// The consumer acknowledged, and the hub worked on that.
    pub fn consumed(&mut self, input: usize, tx: Tx) {
        self.consumed.insert((input, tx));
    }

    /// The hub was started anew.
    pub fn restarted(&mut self) {
        self.consumed.clear();
        self.started = self.now.step;
    }

    /// Sets of routes that a transmission may have met.
    fn sets_of(&self, sent: &Sent) -> &[usize] {
        let from = sent.arrived.map_or(0, |when| when.epoch);
        let to = sent.acked.unwrap_or(self.now).epoch;
        &self.epochs[from..=to]
    }

    /// The hub sends a message to the consumer: which one it is, its line, and its rank there if that is certain.
    pub fn delivered(&mut self, message: &Message) -> (Tx, Line, Option<usize>) {
        let (input, tx) = (input_of(message), tx_of(message));
        let sent = self.sent[tx];
        assert_eq!(message.body, body(tx, sent.size));
        let arrived = sent.arrived.unwrap_or_else(|| panic!("delivered before it arrived: {sent:?}"));
        check_bag(&sent, &message.topic);
        let longest = self.sets_of(&sent).iter().filter_map(|set| ttl_secs(*set, sent.kind, input)).max();
        let longest = longest.unwrap_or_else(|| panic!("no route leads {sent:?} to {}", INPUTS[input]));
        let staged_ms = sent.acked.unwrap_or(self.now).store_ms.max(arrived.store_ms);
        let now_ms = self.now.store_ms;
        assert!(now_ms < staged_ms + longest * 1000, "delivered at {now_ms} after its time: {sent:?}");
        assert!(!self.consumed.contains(&(input, tx)), "delivered after its acknowledgement: {sent:?}");
        let line = (input, sent.sender, sent.kind);
        let came_back = self.drops && arrived.step <= self.started;
        let next_rank = self.delivered.len();
        let rank = *self.delivered.entry((input, tx)).or_insert(next_rank);
        if rank < next_rank {
            assert!(!REPEATS_ARE_MARKED || message.dup, "sent again without DUP: {sent:?}");
        } else if !came_back {
            self.check_order(line, &sent, arrived.step);
        }
        (tx, line, (!came_back).then_some(rank))
    }

    /// First deliveries keep the order of one connection (M-060). A message that was acknowledged comes before all that arrived
    /// after that, on whatever connection.
    fn check_order(&mut self, line: Line, sent: &Sent, arrived: usize) {
        let newest = self.newest_of_link.entry((line, sent.link)).or_insert(0);
        assert!(*newest < arrived, "after one that arrived at {newest}: {sent:?}");
        *newest = arrived;
        let newest = self.newest.entry(line).or_insert(0);
        let acked = sent.acked.map_or(usize::MAX, |when| when.step);
        assert!(*newest < acked, "after one of another connection that arrived at {newest}: {sent:?}");
        *newest = arrived.max(*newest);
    }

    /// What was acknowledged, had to be delivered, and never came to the consumer.
    ///
    /// # Panics
    /// When nothing excuses it.
    pub fn missing(&self) -> Missing {
        let mut missing = Missing::default();
        for (tx, sent) in self.sent.iter().enumerate() {
            for input in 0..INPUTS.len() {
                if let Some(shortest_secs) = self.owed_ttl_secs(sent, input)
                    && !self.received.contains(&(input, tx))
                {
                    self.excuse(tx, input, shortest_secs, &mut missing);
                }
            }
        }
        missing
    }

    /// The shortest time to live of an acknowledged message at an input; `None` when it need not have gone there.
    fn owed_ttl_secs(&self, sent: &Sent, input: usize) -> Option<u64> {
        sent.acked?;
        let ways: Option<Vec<_>> =
            self.sets_of(sent).iter().map(|set| ttl_secs(*set, sent.kind, input)).collect();
        ways?.into_iter().min()
    }

    fn excuse(&self, tx: Tx, input: usize, shortest_secs: u64, missing: &mut Missing) {
        let sent = self.sent[tx];
        let arrived = sent.arrived.unwrap_or_default();
        let later = self.epochs.get(arrived.epoch + 1..).unwrap_or_default();
        if later.iter().any(|set| !is_used(*set, input)) {
            missing.removed += 1;
        } else if arrived.store_ms + shortest_secs * 1000 <= self.latest_ms {
            missing.expired += 1;
        } else {
            assert!(self.drops, "lost: {tx} {sent:?} at {}, now {:?}", INPUTS[input], self.now);
            missing.dropped += 1;
        }
    }
}

fn input_of(message: &Message) -> usize {
    let input = INPUTS.iter().position(|input| message.topic.contains(&format!("/inputs/{input}/")));
    input.unwrap_or_else(|| panic!("an input of the consumer: {}", message.topic))
}

fn tx_of(message: &Message) -> Tx {
    let text = std::str::from_utf8(&message.body).expect("a body of ours");
    text.split('|').next().and_then(|tx| tx.parse().ok()).expect("a body of ours")
}

fn body(tx: Tx, size: usize) -> Vec<u8> {
    let mut body = format!("{tx}|").into_bytes();
    body.resize(body.len() + size, b'x');
    body
}

/// The bag tells the kind, the sender, and whether the sender sent it before.
fn check_bag(sent: &Sent, topic: &str) {
    let bag = topic.rsplit('/').next().unwrap_or_default();
    let has = |property: &str| bag.split('&').any(|pair| pair == property);
    assert!(has(["k=a", "k=b"][sent.kind]), "{topic}: {sent:?}");
    assert!(has(["%24.cdid=d1", "%24.cdid=d2"][sent.sender]), "{topic}: {sent:?}");
    assert_eq!(has("mqtt-dup=true"), sent.dup, "{topic}: {sent:?}");
}
