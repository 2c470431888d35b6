//! The messages of one queue, read one by one.

use std::fmt;
use std::sync::Arc;

use edgehub_types::UnixMs;

use super::Inspection;
use crate::StoreError;
use crate::format::RecordView;
use crate::index::Entry;

/// A message as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Number in its queue.
    pub seq: u64,
    /// When it must no longer be delivered, by the wall clock as it stood last; [`UnixMs::MAX`] = never.
    pub expires_at: UnixMs,
    /// The payload.
    pub payload: &'a [u8],
}

/// Walks over the messages of a queue. One payload is in memory at a time.
pub struct Messages {
    inspection: Arc<Inspection>,
    queue: usize,
    at: usize,
    buffer: Vec<u8>,
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Messages {
    pub(super) fn new(inspection: Arc<Inspection>, queue: usize) -> Self {
        Self { inspection, queue, at: 0, buffer: Vec::new() }
    }

    /// Messages still to come.
    pub fn left(&self) -> usize {
        self.inspection.indexes.get(self.queue).map_or(0, |index| index.len().saturating_sub(self.at))
    }

    /// The next message; `None` at the end. After an error the walk goes on behind the message in question.
    ///
    /// # Errors
    /// [`StoreError::Io`] and [`StoreError::DamagedMessage`]: the message was whole when the folder was read.
    pub fn read_next(&mut self) -> Result<Option<Stored<'_>>, StoreError> {
        let Self { inspection, queue, at, buffer } = self;
        let (Some(index), Some(info)) = (inspection.indexes.get(*queue), inspection.queues.get(*queue))
        else {
            return Ok(None);
        };
        let Some(entry) = index.get(*at) else { return Ok(None) };
        let seq = index.seq_at(*at);
        *at += 1;
        load(inspection, entry, buffer)?;
        let message = RecordView::decode(buffer).and_then(|view| view.message_for(info.id.get()));
        let stored = message.map(|(expires_at, payload)| {
            let expires_at = inspection.wall_of(expires_at);
            Stored { seq, expires_at, payload }
        });
        stored.map(Some).ok_or(StoreError::DamagedMessage { queue: info.id, seq })
    }
}

fn load(inspection: &Inspection, entry: Entry, buffer: &mut Vec<u8>) -> Result<(), StoreError> {
    buffer.clear();
    let Some(source) = inspection.source(entry.address) else { return Ok(()) };
    buffer.resize(entry.len() as usize, 0);
    let got = source.file.read_at(buffer, entry.address - source.base);
    let got = got.map_err(StoreError::io("read", &source.name))?;
    buffer.truncate(got);
    Ok(())
}
