//! Everything that happened to a folder, so that power can be cut at any moment of it without doing it all again.

use crate::disk::{Disk, FileId, Op, Platter};
use crate::storage::FaultyStorage;
use crate::storage_crash::PowerCut;

/// What happened to a disk.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Change(Op),
    SyncFile(FileId),
    /// A sync failed.
    ForgetFile(FileId),
    SyncNames,
}

/// The disk at the beginning, and what happened then.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub start: Platter,
    pub events: Vec<Event>,
}

/// The moments of a recorded history, in order: before the first operation, and after each; see
/// [`FaultyStorage::moments`].
#[derive(Debug)]
pub struct Moments {
    platter: Platter,
    events: std::vec::IntoIter<Event>,
    next: usize,
}

impl Moments {
    pub(crate) fn new(History { start, events }: History) -> Self {
        Self { platter: start, events: events.into_iter(), next: 0 }
    }
}

impl Iterator for Moments {
    type Item = Moment;

    fn next(&mut self) -> Option<Moment> {
        if self.next > 0 {
            self.platter.apply(self.events.next()?);
        }
        self.next += 1;
        Some(Moment { number: self.next - 1, platter: self.platter.clone() })
    }
}

/// The folder as it was after so many operations.
#[derive(Debug)]
pub struct Moment {
    /// How many operations there had been; compare with [`FaultyStorage::moment`].
    pub number: usize,
    platter: Platter,
}

impl Moment {
    /// Operations that a loss of power at this moment may undo.
    pub fn unsynced_ops(&self) -> usize {
        self.platter.ops.len()
    }

    /// Bytes of one of them, if it is a write: it can be torn at each.
    pub fn op_bytes(&self, op: usize) -> Option<usize> {
        match self.platter.ops.get(op)? {
            Op::Write { bytes, .. } => Some(bytes.len()),
            _ => None,
        }
    }

    /// The folder that the end of the process at this moment leaves; see [`FaultyStorage::after_kill`].
    #[must_use]
    pub fn after_kill(&self) -> FaultyStorage {
        FaultyStorage::from_disk(Disk::from_platter(self.platter.clone()))
    }

    /// The folder that a loss of power at this moment leaves.
    #[must_use]
    pub fn after_power_cut(&self, cut: PowerCut) -> FaultyStorage {
        let image = cut.image(&self.platter.durable, &self.platter.ops);
        FaultyStorage::from_disk(Disk::from_image(image))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgehub_types::Storage;

    /// Content of `a` after a cut that takes all it can.
    fn kept(moment: &Moment) -> Option<Vec<u8>> {
        moment.after_power_cut(PowerCut::all_lost()).content("a")
    }

    #[test]
    fn every_moment_can_be_gone_back_to() {
        let storage = FaultyStorage::new();
        storage.open("before", true).unwrap();
        storage.record();
        let file = storage.open("a", true).unwrap();
        storage.sync_dir().unwrap();
        file.write_all_at(b"x", 0).unwrap();
        let written = storage.moment();
        file.sync_data().unwrap();
        storage.remove("a").unwrap();
        let moments: Vec<_> = storage.moments().collect();
        assert_eq!(moments.iter().map(|moment| moment.number).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        let kept: Vec<_> = moments.iter().map(kept).collect();
        let (none, empty, full) = (None, Some(Vec::new()), Some(b"x".to_vec()));
        assert_eq!(kept, [none.clone(), none, empty.clone(), empty, full.clone(), full]);
        assert_eq!(written, 3);
        assert_eq!((moments[3].unsynced_ops(), moments[3].op_bytes(0)), (1, Some(1)));
        assert_eq!(moments[3].after_kill().content("a"), Some(b"x".to_vec()));
        assert_eq!(moments[5].after_kill().content("a"), None);
    }
}
