//! Outbound packet identifiers and the table of what awaits an acknowledgement.
//!
//! A slot table of at most `window` entries. The identifier of an entry is `round * window + slot + 1`, so two entries
//! can never share one and an acknowledgement finds its slot by a remainder. Fresh slots are taken first and freed ones
//! in the order of their release, so with acknowledgements in order the identifiers simply count up to 65535 and start again,
//! and an identifier rests as long as possible before it is used again. A doubly linked list through
//! the slots keeps the order of sending. Every operation is O(1); the memory grows with use up to `window` slots.

use std::iter::FusedIterator;
use std::num::NonZeroU16;

use crate::packet::PacketId;

/// End of a list; no slot has this index because the window is at most 65535.
const NIL: u16 = u16::MAX;

#[derive(Debug, Clone)]
struct Slot<T> {
    /// Packet identifier, 0 while the slot is free.
    id: u16,
    prev: u16,
    /// Next in order of sending, or next free slot.
    next: u16,
    value: Option<T>,
}

/// Ends of a list of slots.
#[derive(Debug, Clone, Copy)]
struct Ends {
    head: u16,
    tail: u16,
}

impl Ends {
    const EMPTY: Self = Self { head: NIL, tail: NIL };
}

/// The window is used up; the value is handed back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all {window} places of the in-flight window are taken")]
pub struct WindowFull<T> {
    /// The value that was not inserted.
    pub value: T,
    /// Size of the window.
    pub window: u16,
}

/// Messages sent and not yet acknowledged, at most `window` of them.
///
/// ```
/// use edgehub_mqtt::InFlight;
/// use std::num::NonZeroU16;
///
/// let mut inflight = InFlight::new(NonZeroU16::new(2).ok_or("zero")?);
/// let first = inflight.insert("a")?;
/// let second = inflight.insert("b")?;
/// assert!(inflight.insert("c").is_err());
/// assert_eq!(inflight.ack(second), Some("b"));
/// assert_eq!(inflight.iter().collect::<Vec<_>>(), [(first, &"a")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct InFlight<T> {
    slots: Vec<Slot<T>>,
    /// In order of sending.
    sent: Ends,
    /// In order of release.
    free: Ends,
    len: u16,
    window: NonZeroU16,
    /// Multiple of the window that the next identifier lies in; goes up when the slot index does not.
    round: u16,
    /// Slot of the latest insert; `NIL` before the first.
    last_slot: u16,
}

impl<T> InFlight<T> {
    /// An empty table for at most `window` messages. Allocates nothing until the first insert.
    pub const fn new(window: NonZeroU16) -> Self {
        Self {
            slots: Vec::new(),
            sent: Ends::EMPTY,
            free: Ends::EMPTY,
            len: 0,
            window,
            round: 0,
            last_slot: NIL,
        }
    }

    /// Messages in flight.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether nothing is in flight.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Most messages that may be in flight.
    pub const fn window(&self) -> usize {
        self.window.get() as usize
    }

    /// How many more messages may be sent now.
    pub const fn room(&self) -> usize {
        self.window() - self.len()
    }

    /// Takes a message in and gives it an identifier that no other message in flight has.
    ///
    /// # Errors
    /// [`WindowFull`] with the value when `window` messages are in flight.
    pub fn insert(&mut self, value: T) -> Result<PacketId, WindowFull<T>> {
        let window = self.window.get();
        let Some(index) = self.take_slot() else {
            return Err(WindowFull { value, window });
        };
        let id = self.next_id(index);
        let tail = self.sent.tail;
        if let Some(slot) = self.slots.get_mut(usize::from(index)) {
            *slot = Slot { id: id.get(), prev: tail, next: NIL, value: Some(value) };
        }
        match self.slots.get_mut(usize::from(tail)) {
            Some(last) => last.next = index,
            None => self.sent.head = index,
        }
        self.sent.tail = index;
        self.len += 1;
        Ok(id)
    }

    /// Takes the message with this identifier out; `None` when it is not in flight.
    pub fn ack(&mut self, id: PacketId) -> Option<T> {
        let index = self.slot_of(id);
        let slot = self.slots.get_mut(usize::from(index)).filter(|slot| slot.id == id.get())?;
        slot.id = 0;
        let (prev, next) = (slot.prev, slot.next);
        let value = slot.value.take();
        self.unlink(prev, next);
        self.release(index);
        self.len -= 1;
        value
    }

    /// The message with this identifier.
    pub fn get(&self, id: PacketId) -> Option<&T> {
        let slot = self.slots.get(usize::from(self.slot_of(id)))?;
        slot.value.as_ref().filter(|_| slot.id == id.get())
    }

    /// The message with this identifier, to be changed.
    pub fn get_mut(&mut self, id: PacketId) -> Option<&mut T> {
        let index = usize::from(self.slot_of(id));
        let slot = self.slots.get_mut(index).filter(|slot| slot.id == id.get())?;
        slot.value.as_mut()
    }

    /// The message that has been in flight longest.
    pub fn oldest(&self) -> Option<(PacketId, &T)> {
        self.iter().next()
    }

    /// All messages in flight in order of sending.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { table: self, next: self.sent.head, left: self.len() }
    }

    /// Takes all messages out in order of sending; what the iterator has not given when it is dropped is dropped too.
    pub fn drain(&mut self) -> Drain<'_, T> {
        Drain { table: self }
    }

    /// Gives the memory back when nothing is in flight; for connections that have fallen idle.
    pub fn release_memory(&mut self) {
        if self.is_empty() {
            self.slots = Vec::new();
            self.free = Ends::EMPTY;
        }
    }

    const fn slot_of(&self, id: PacketId) -> u16 {
        (id.get() - 1) % self.window.get()
    }

    /// A slot that is not in use: a fresh one while there are any, else the one that has been free longest.
    fn take_slot(&mut self) -> Option<u16> {
        if self.slots.len() < self.window() {
            let index = self.slots.len() as u16;
            self.slots.push(Slot { id: 0, prev: NIL, next: NIL, value: None });
            return Some(index);
        }
        let index = self.free.head;
        self.free.head = self.slots.get(usize::from(index))?.next;
        if self.free.head == NIL {
            self.free.tail = NIL;
        }
        Some(index)
    }

    /// The identifier for a message in this slot: `round` goes up whenever the slot index does not, and starts again
    /// after the last round that fits completely below 65536.
    fn next_id(&mut self, index: u16) -> PacketId {
        let window = self.window.get();
        if self.last_slot != NIL && index <= self.last_slot {
            self.round = (self.round + 1) % (u16::MAX / window);
        }
        self.last_slot = index;
        PacketId::MIN.saturating_add(self.round * window + index)
    }

    fn unlink(&mut self, prev: u16, next: u16) {
        match self.slots.get_mut(usize::from(prev)) {
            Some(slot) => slot.next = next,
            None => self.sent.head = next,
        }
        match self.slots.get_mut(usize::from(next)) {
            Some(slot) => slot.prev = prev,
            None => self.sent.tail = prev,
        }
    }

    fn release(&mut self, index: u16) {
        if let Some(slot) = self.slots.get_mut(usize::from(index)) {
            slot.next = NIL;
        }
        match self.slots.get_mut(usize::from(self.free.tail)) {
            Some(slot) => slot.next = index,
            None => self.free.head = index,
        }
        self.free.tail = index;
    }
}

impl<'a, T> IntoIterator for &'a InFlight<T> {
    type Item = (PacketId, &'a T);
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// Messages in flight in order of sending.
#[derive(Debug, Clone)]
pub struct Iter<'a, T> {
    table: &'a InFlight<T>,
    next: u16,
    left: usize,
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = (PacketId, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        let slot = self.table.slots.get(usize::from(self.next))?;
        self.next = slot.next;
        self.left = self.left.saturating_sub(1);
        Some((PacketId::new(slot.id)?, slot.value.as_ref()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}
impl<T> FusedIterator for Iter<'_, T> {}

/// Takes the messages in flight out in order of sending.
#[derive(Debug)]
pub struct Drain<'a, T> {
    table: &'a mut InFlight<T>,
}

impl<T> Iterator for Drain<'_, T> {
    type Item = (PacketId, T);

    fn next(&mut self) -> Option<Self::Item> {
        let id = PacketId::new(self.table.slots.get(usize::from(self.table.sent.head))?.id)?;
        Some((id, self.table.ack(id)?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.table.len(), Some(self.table.len()))
    }
}

impl<T> ExactSizeIterator for Drain<'_, T> {}
impl<T> FusedIterator for Drain<'_, T> {}

impl<T> Drop for Drain<'_, T> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

#[cfg(test)]
mod tests;
