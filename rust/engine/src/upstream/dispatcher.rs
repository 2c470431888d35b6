//! Which messages go upstream next: order per sender, at most one batch of a sender on the way, several
//! senders side by side (routing section 10.8).

use std::collections::{HashMap, VecDeque};

use edgehub_store::{LossCause, Queue, StoreError};
use edgehub_types::{MessageView, SystemProperty, UnixMs};

use super::amqp::{BATCH_MESSAGE_FORMAT, encode_batch_entry, encode_message};
use crate::endpoint::Endpoint;
use crate::shard::priority_label;
use crate::stats::{Stats, Tally};

/// How much one call may take.
#[derive(Debug, Clone, Copy)]
pub struct TakeLimits {
    /// Messages in a batch (`MaxUpstreamBatchSize`).
    pub batch_msgs_max: usize,
    /// Encoded bytes in a batch.
    pub batch_bytes_max: usize,
    /// Senders with a batch on the way (`UpstreamFanOutFactor`).
    pub senders_max: usize,
}

/// Messages of one sender, ready for the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamBatch {
    /// To settle it by.
    pub token: u64,
    /// `device` or `device/module`.
    pub sender: String,
    /// Messages in it.
    pub count: usize,
    /// Encoded messages.
    pub payload: Vec<u8>,
    /// 0 for a single message, else [`BATCH_MESSAGE_FORMAT`].
    pub message_format: u32,
}

/// How a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The parent hub has it.
    Delivered,
    /// The parent hub will never take it. A batch is then tried message by message; a single message is
    /// dropped and counted.
    Rejected,
    /// To be sent again.
    Retry,
}

/// A leased message that waits for its turn.
#[derive(Debug, Clone, Copy)]
struct Pending {
    queue: usize,
    priority: u32,
    seq: u64,
    epoch: u32,
    expires_at: UnixMs,
}

#[derive(Default)]
struct Sender {
    /// By priority, then in order of arrival.
    waiting: VecDeque<Pending>,
    /// Token of the batch on the way.
    outstanding: Option<u64>,
    /// Messages to send one by one because a batch with them was rejected.
    singly: usize,
}

struct Outstanding {
    sender: String,
    items: Vec<Pending>,
}

/// Leases and groups messages for the parent hub. Sans-IO; one per hub.
pub struct Dispatcher {
    window_msgs: usize,
    leased: usize,
    queues: Vec<Queue>,
    senders: HashMap<String, Sender>,
    /// Senders that may get a batch, oldest first.
    line: VecDeque<String>,
    outstanding: HashMap<u64, Outstanding>,
    next_token: u64,
    sent: Tally,
}

impl Dispatcher {
    /// A dispatcher that holds at most `window_msgs` leases.
    pub fn new(window_msgs: usize) -> Self {
        Self {
            window_msgs,
            leased: 0,
            queues: Vec::new(),
            senders: HashMap::new(),
            line: VecDeque::new(),
            outstanding: HashMap::new(),
            next_token: 1,
            sent: Tally::default(),
        }
    }

    /// The next batches; empty when nothing waits or every sender that has something is busy.
    ///
    /// # Errors
    /// What the store answers, when there is no batch to give; nothing is lost, and whose messages can
    /// be read has precedence.
    pub fn take(
        &mut self,
        endpoint: &Endpoint,
        limits: TakeLimits,
        now: UnixMs,
        stats: &Stats,
    ) -> Result<Vec<UpstreamBatch>, StoreError> {
        let mut batches = Vec::new();
        loop {
            self.fill(endpoint, now, stats)?;
            let leased = self.leased;
            self.build_all(&mut batches, limits, now, stats)?;
            // Nobody calls again for what is behind a window of messages that all expired meanwhile.
            let made_room = self.leased < leased && endpoint.ready_queue().is_some();
            if !batches.is_empty() || !made_room {
                return Ok(batches);
            }
        }
    }

    /// One batch for each sender in the line, as many as may be on the way.
    fn build_all(
        &mut self,
        batches: &mut Vec<UpstreamBatch>,
        limits: TakeLimits,
        now: UnixMs,
        stats: &Stats,
    ) -> Result<(), StoreError> {
        let mut failed = None;
        for _ in 0..self.line.len() {
            if self.outstanding.len() >= limits.senders_max {
                break;
            }
            let Some(name) = self.line.pop_front() else { break };
            match self.build(&name, limits, now, stats) {
                Ok(Some(batch)) => batches.push(batch),
                Ok(None) => self.stand_in_line(&name),
                Err(error) => {
                    log::error!("cannot read a message of {name} for upstream: {error}");
                    self.stand_in_line(&name);
                    failed = Some(error);
                }
            }
        }
        failed.filter(|_| batches.is_empty()).map_or(Ok(()), Err)
    }

    /// Leases up to the window, highest priority first.
    fn fill(&mut self, endpoint: &Endpoint, now: UnixMs, stats: &Stats) -> Result<(), StoreError> {
        for queue in endpoint.queues() {
            while self.leased < self.window_msgs && queue.has_ready() {
                let index = self.queue_index(&queue);
                let room = self.window_msgs - self.leased;
                let mut damaged = Vec::new();
                let count = queue.lease(now, room, usize::MAX, |leased| {
                    let pending = Pending {
                        queue: index,
                        priority: queue.priority(),
                        seq: leased.seq,
                        epoch: leased.epoch,
                        expires_at: leased.expires_at,
                    };
                    match MessageView::decode(leased.payload) {
                        Ok(message) => self.enqueue(&sender_name(&message), pending),
                        Err(error) => {
                            log::error!("message {} for upstream is damaged: {error}", leased.seq);
                            damaged.push(pending);
                        }
                    }
                    true
                });
                for pending in damaged {
                    stats.dropped.add(&["damaged", "", ""], 1);
                    queue.ack_lost(pending.seq, pending.epoch, LossCause::Damaged);
                }
                if count? == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    fn queue_index(&mut self, queue: &Queue) -> usize {
        if let Some(index) = self.queues.iter().position(|known| known.id() == queue.id()) {
            return index;
        }
        self.queues.push(queue.clone());
        self.queues.len() - 1
    }

    fn enqueue(&mut self, name: &str, pending: Pending) {
        if !self.senders.contains_key(name) {
            self.senders.insert(name.to_owned(), Sender::default());
        }
        let Some(sender) = self.senders.get_mut(name) else { return };
        let was_idle = sender.waiting.is_empty() && sender.outstanding.is_none();
        let place = sender.waiting.partition_point(|other| other.priority <= pending.priority);
        sender.waiting.insert(place, pending);
        self.leased += 1;
        if was_idle {
            self.line.push_back(name.to_owned());
        }
    }

    /// Back into the line if it has something and nothing on the way; forgotten when it has nothing.
    fn stand_in_line(&mut self, name: &str) {
        let Some(sender) = self.senders.get(name) else { return };
        if sender.outstanding.is_some() {
            return;
        }
        if sender.waiting.is_empty() {
            self.senders.remove(name);
        } else {
            self.line.push_back(name.to_owned());
        }
    }

    fn build(
        &mut self,
        name: &str,
        limits: TakeLimits,
        now: UnixMs,
        stats: &Stats,
    ) -> Result<Option<UpstreamBatch>, StoreError> {
        let Some(sender) = self.senders.get_mut(name) else { return Ok(None) };
        let msgs_max = if sender.singly > 0 { 1 } else { limits.batch_msgs_max.max(1) };
        let mut builder = BatchBuilder::default();
        while builder.items.len() < msgs_max {
            let Some(pending) = sender.waiting.front().copied() else { break };
            if builder.items.first().is_some_and(|first| first.priority != pending.priority) {
                break; // a batch never mixes priorities
            }
            let queue = &self.queues[pending.queue];
            let taken = if pending.expires_at <= now {
                Added::Gone(LossCause::Expired)
            } else {
                match builder.add(queue, pending, limits.batch_bytes_max) {
                    Ok(taken) => taken,
                    Err(error) if builder.items.is_empty() => return Err(error),
                    Err(_) => break, // what is before it goes; the next batch begins with it
                }
            };
            if taken == Added::Full {
                break;
            }
            sender.waiting.pop_front();
            if let Added::Gone(cause) = taken {
                give_up(queue, pending, cause, name, stats);
                self.leased -= 1;
            }
        }
        if builder.items.is_empty() {
            return Ok(None);
        }
        let token = self.next_token;
        self.next_token += 1;
        sender.outstanding = Some(token);
        sender.singly = sender.singly.saturating_sub(1);
        let count = builder.items.len();
        let message_format = if count == 1 { 0 } else { BATCH_MESSAGE_FORMAT };
        let payload = if count == 1 { builder.single } else { builder.batch };
        self.outstanding.insert(token, Outstanding { sender: name.to_owned(), items: builder.items });
        Ok(Some(UpstreamBatch { token, sender: name.to_owned(), count, payload, message_format }))
    }

    /// Ends the batch with this token. A token that is unknown, for instance because the link went down
    /// meanwhile, is ignored.
    pub fn settle(&mut self, token: u64, outcome: Outcome, stats: &Stats) {
        let Some(Outstanding { sender: name, items }) = self.outstanding.remove(&token) else { return };
        match outcome {
            Outcome::Delivered => self.acknowledge(&name, &items, stats),
            Outcome::Rejected if items.len() == 1 => {
                for item in &items {
                    give_up(&self.queues[item.queue], *item, LossCause::Rejected, &name, stats);
                }
                self.leased -= items.len();
            }
            Outcome::Rejected => self.put_back(&name, &items, items.len()),
            Outcome::Retry => self.put_back(&name, &items, 0),
        }
        if let Some(sender) = self.senders.get_mut(&name) {
            sender.outstanding = None;
        }
        self.stand_in_line(&name);
    }

    fn acknowledge(&mut self, name: &str, items: &[Pending], stats: &Stats) {
        let (device, module) = name.split_once('/').unwrap_or((name, ""));
        for item in items {
            let output = if module.is_empty() { String::new() } else { self.output_of(item) };
            let labels = [device, module, &output, "upstream", "", priority_label(item.priority)];
            self.sent.count(&stats.sent, &labels);
        }
        self.sent.flush(&stats.sent);
        self.ack_items(items);
    }

    /// The output for the label of a metric; empty when it cannot be read any more.
    fn output_of(&self, item: &Pending) -> String {
        let mut output = String::new();
        let read = self.queues[item.queue].read(item.seq, |leased| {
            if let Ok(message) = MessageView::decode(leased.payload) {
                let named = message.properties.system(SystemProperty::OutputName).flatten();
                named.unwrap_or("").clone_into(&mut output);
            }
        });
        read.map_or_else(|_| String::new(), |_| output)
    }

    fn ack_items(&mut self, items: &[Pending]) {
        for item in items {
            self.queues[item.queue].ack(item.seq, item.epoch);
        }
        self.leased -= items.len();
    }

    fn put_back(&mut self, name: &str, items: &[Pending], singly: usize) {
        let sender = self.senders.entry(name.to_owned()).or_default();
        sender.singly = sender.singly.max(singly);
        for item in items.iter().rev() {
            // Before the waiting ones of the same priority, behind those of a higher one.
            let place = sender.waiting.partition_point(|other| other.priority < item.priority);
            sender.waiting.insert(place, *item);
        }
    }

    /// The link is gone: what was on the way waits again, each at its place.
    pub fn link_down(&mut self) {
        let mut tokens: Vec<u64> = self.outstanding.keys().copied().collect();
        tokens.sort_unstable(); // the oldest is first again
        for token in tokens {
            let Some(Outstanding { sender, items }) = self.outstanding.remove(&token) else { continue };
            self.put_back(&sender, &items, 0);
            if let Some(state) = self.senders.get_mut(&sender) {
                state.outstanding = None;
            }
            self.stand_in_line(&sender);
        }
    }

    /// Gives all messages back to their queues, in order. Until the next [`Dispatcher::take`] others decide about them.
    pub fn release(&mut self) {
        self.outstanding.clear();
        self.line.clear();
        self.leased = 0;
        self.senders.retain(|_, sender| {
            sender.waiting.clear();
            sender.outstanding = None;
            sender.singly > 0
        });
        self.queues.iter().for_each(Queue::release_all);
    }
}

/// Drops a message, and counts it if it was still there.
fn give_up(queue: &Queue, pending: Pending, cause: LossCause, sender: &str, stats: &Stats) {
    if !queue.ack_lost(pending.seq, pending.epoch, cause) {
        return;
    }
    match cause {
        LossCause::Expired => stats.dropped.add(&["ttl_expiry", sender, ""], 1),
        LossCause::Rejected => stats.dropped.add(&["rejected_upstream", sender, ""], 1),
        other => stats.dropped.add(&[other.name(), "", ""], 1),
    }
}

fn sender_name(message: &MessageView<'_>) -> String {
    if message.head.module.is_empty() {
        message.head.device.to_owned()
    } else {
        format!("{}/{}", message.head.device, message.head.module)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Added {
    Yes,
    /// Does not fit any more.
    Full,
    /// Never goes upstream: expired, not in the store any more, or not readable.
    Gone(LossCause),
}

#[derive(Default)]
struct BatchBuilder {
    items: Vec<Pending>,
    /// The first message alone.
    single: Vec<u8>,
    /// All as data sections; empty while there is only one.
    batch: Vec<u8>,
}

impl BatchBuilder {
    fn add(&mut self, queue: &Queue, pending: Pending, bytes_max: usize) -> Result<Added, StoreError> {
        let mut added = Added::Gone(LossCause::Damaged);
        queue.read(pending.seq, |leased| {
            if let Ok(message) = MessageView::decode(leased.payload) {
                added = self.add_message(&message, leased.payload.len(), bytes_max);
            }
        })?;
        if added == Added::Yes {
            self.items.push(pending);
        }
        Ok(added)
    }

    fn add_message(&mut self, message: &MessageView<'_>, stored_len: usize, bytes_max: usize) -> Added {
        /// Section codes and lengths around a message of a batch, generously.
        const ENTRY_OVERHEAD: usize = 96;
        if self.items.is_empty() {
            encode_message(message, &mut self.single);
            encode_batch_entry(message, &mut self.batch);
            return Added::Yes; // even if larger than the limit: the parent hub decides
        }
        if self.batch.len() + stored_len + ENTRY_OVERHEAD > bytes_max {
            return Added::Full;
        }
        encode_batch_entry(message, &mut self.batch);
        Added::Yes
    }
}
