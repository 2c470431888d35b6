//! Acknowledgements that wait for their commit, released in the order in which the publishes came
//! (OASIS MQTT 3.1.1 section 4.6).

use std::collections::VecDeque;

use edgehub_mqtt::{PacketId, encode_puback};

use super::Shard;
use crate::control::CloseReason;
use crate::ids::ConnId;

#[derive(Debug)]
struct Group {
    ticket: u64,
    committed: bool,
    acks: Vec<(ConnId, PacketId)>,
}

/// Groups of acknowledgements, one per commit.
#[derive(Debug, Default)]
pub(super) struct AckQueue {
    /// For the batch that is being staged.
    open: Vec<(ConnId, PacketId)>,
    /// Handed to the store.
    sealed: VecDeque<Group>,
    next_ticket: u64,
    spare: Vec<Vec<(ConnId, PacketId)>>,
}

impl AckQueue {
    /// The publish is part of the batch that is being staged.
    pub fn expect(&mut self, conn: ConnId, packet_id: PacketId) {
        self.open.push((conn, packet_id));
    }

    /// The ticket under which the next batch is handed to the store.
    pub fn next_ticket(&self) -> u64 {
        self.next_ticket
    }

    /// Whether acknowledgements wait for the batch that is being staged.
    pub fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.sealed.is_empty()
    }

    /// The ticket of the group with the last acknowledgement that waits.
    pub fn last_ticket(&self) -> Option<u64> {
        if self.has_open() {
            return Some(self.next_ticket);
        }
        self.sealed.back().map(|group| group.ticket)
    }

    /// All groups with smaller tickets are released.
    pub fn released_before(&self) -> u64 {
        self.sealed.front().map_or(self.next_ticket, |group| group.ticket)
    }

    /// Closes the group of the staged batch.
    pub fn seal(&mut self, committed: bool) {
        let acks = std::mem::replace(&mut self.open, self.spare.pop().unwrap_or_default());
        self.sealed.push_back(Group { ticket: self.next_ticket, committed, acks });
        self.next_ticket += 1;
    }

    /// A commit is durable.
    pub fn committed(&mut self, ticket: u64) {
        if let Some(group) = self.sealed.iter_mut().find(|group| group.ticket == ticket) {
            group.committed = true;
        }
    }

    /// The next group that may be released.
    fn pop_released(&mut self) -> Option<Vec<(ConnId, PacketId)>> {
        self.sealed.front().filter(|group| group.committed)?;
        self.sealed.pop_front().map(|group| group.acks)
    }

    /// Bytes of lists that hold nothing.
    pub fn kept_bytes(&self) -> usize {
        let open = if self.open.is_empty() { self.open.capacity() } else { 0 };
        (open + self.spare.iter().map(Vec::capacity).sum::<usize>()) * size_of::<(ConnId, PacketId)>()
    }

    /// Frees lists that hold nothing; their bytes.
    pub fn release(&mut self) -> usize {
        let freed = self.kept_bytes();
        self.spare = Vec::new();
        if self.open.is_empty() {
            self.open = Vec::new();
        }
        if self.sealed.is_empty() {
            self.sealed = VecDeque::new();
        }
        freed
    }

    fn recycle(&mut self, mut acks: Vec<(ConnId, PacketId)>) {
        const SPARE_MAX: usize = 4;
        if self.spare.len() < SPARE_MAX {
            acks.clear();
            self.spare.push(acks);
        }
    }

    /// Gives up the group of a failed commit; the connections whose acknowledgements were in it.
    fn fail(&mut self, ticket: u64) -> Vec<ConnId> {
        let position = self.sealed.iter().position(|group| group.ticket == ticket);
        let group = position.and_then(|position| self.sealed.remove(position));
        conns_of(&group.map(|group| group.acks).unwrap_or_default())
    }

    /// Gives up the acknowledgements of the batch that is being staged.
    fn fail_open(&mut self) -> Vec<ConnId> {
        conns_of(&std::mem::take(&mut self.open))
    }
}

fn conns_of(acks: &[(ConnId, PacketId)]) -> Vec<ConnId> {
    let mut conns: Vec<ConnId> = acks.iter().map(|(conn, _)| *conn).collect();
    conns.sort_unstable();
    conns.dedup();
    conns
}

impl Shard {
    /// Writes the acknowledgements whose commits are done, up to the first that is not.
    pub(super) fn release_acks(&mut self) {
        while let Some(acks) = self.acks.pop_released() {
            for run in acks.chunk_by(|a, b| a.0 == b.0) {
                let conn = run[0].0;
                if self.conn(conn).is_some_and(|conn| !conn.is_closing()) {
                    self.write(conn.slot(), |out| run.iter().for_each(|(_, id)| encode_puback(out, *id)));
                }
            }
            self.acks.recycle(acks);
        }
        self.close_retired();
    }

    /// A commit failed: its publishers are closed without an acknowledgement and will send again.
    pub(super) fn fail_commit(&mut self, ticket: u64) {
        let conns = self.acks.fail(ticket);
        self.close_unacked(conns, "the store failed");
        self.release_acks();
    }

    /// The staged batch is given up.
    pub(super) fn fail_staged(&mut self, detail: &str) {
        let conns = self.acks.fail_open();
        self.ingress.give_up(&self.hub.stats);
        self.close_unacked(conns, detail);
    }

    fn close_unacked(&mut self, conns: Vec<ConnId>, detail: &str) {
        for conn in conns {
            if self.conn(conn).is_some() {
                self.begin_close(conn.slot(), CloseReason::StoreError, detail);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u16) -> PacketId {
        PacketId::new(n).unwrap()
    }

    #[test]
    fn groups_are_released_in_order_whatever_order_they_commit_in() {
        let mut queue = AckQueue::default();
        for n in 1..=2 {
            queue.expect(ConnId(7), id(n));
            queue.seal(false);
        }
        queue.committed(1);
        assert_eq!(queue.pop_released(), None);
        queue.committed(0);
        assert_eq!(queue.pop_released(), Some(vec![(ConnId(7), id(1))]));
        assert_eq!(queue.pop_released(), Some(vec![(ConnId(7), id(2))]));
        assert_eq!(queue.pop_released(), None);
    }

    #[test]
    fn a_failed_group_names_its_connections_once() {
        let mut queue = AckQueue::default();
        for (conn, packet) in [(9, 1), (7, 1), (9, 2)] {
            queue.expect(ConnId(conn), id(packet));
        }
        queue.seal(false);
        assert_eq!(queue.fail(0), [ConnId(7), ConnId(9)]);
        assert_eq!(queue.fail(0), []);
    }
}
