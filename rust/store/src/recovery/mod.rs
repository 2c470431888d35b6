//! Opening a folder: which segments there are, what in them is good, damaged or torn.
//!
//! The rules are in `docs/store-format.md`, section 9.

mod lost;
mod replay;
mod scan;

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use edgehub_types::{Storage, StorageFile};

use crate::StoreError;
use crate::format::{SEGMENT_HEADER_BYTES_MAX, SegmentHeader, SegmentHeaderError};
use crate::journal::{LogEnd, QueueTable};
use crate::ledger::Loss;
use crate::segment::{Segment, SegmentMeta};
use replay::Replay;
use scan::{Found, Scan, find_origin, nonzero_bytes};

const HEADER_READ_BYTES: usize = 4096;
/// Less unused space than this is left at the end of an old segment.
const CUT_BYTES_MIN: u64 = 64 << 10;

/// What was found when a store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// Segments with something in them.
    pub segments: u64,
    /// Good batches read.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Messages in queues now, counted once per queue.
    pub entries: u64,
    /// Queues.
    pub queues: u64,
    /// Bytes at the end that were not yet durable and are not whole; dropped.
    pub torn_bytes: u64,
    /// Damaged regions in what had been durable; skipped. They count again at the next start, as long as their
    /// segment is needed for other messages.
    pub quarantined: u64,
    /// Bytes of these regions.
    pub quarantined_bytes: u64,
    /// Messages that belong to a queue whose definition is damaged; dropped.
    pub orphaned: u64,
    /// Messages that damage took, counted once per queue, orphaned ones included. They count again at the next start like
    /// the damage itself. At most: one that was acknowledged out of order counts as well. The last batches of the log
    /// are not in it if nothing tells any more what they held.
    pub lost: u64,
}

/// A store as found.
pub(crate) struct Recovered {
    pub report: Recovery,
    pub segments: Vec<Arc<Segment>>,
    pub queues: QueueTable,
    pub entries: usize,
    pub losses: Vec<Loss>,
    pub end: LogEnd,
}

struct Part {
    number: u64,
    name: String,
    file: Box<dyn StorageFile>,
    len: u64,
    base: u64,
    header: Option<SegmentHeader>,
    /// Offset behind the last good batch.
    end: u64,
    /// The disk could not read all of it; then nothing is cut off.
    unreadable: bool,
}

impl Part {
    fn data_start(&self) -> u64 {
        self.header.as_ref().map_or(0, |header| u64::from(header.header_bytes))
    }
}

/// Reads the folder and puts it in order.
///
/// # Errors
/// [`StoreError::NewerFormat`] before anything was changed; [`StoreError::Io`].
pub(crate) fn recover(storage: &dyn Storage) -> Result<Recovered, StoreError> {
    let mut recovery =
        RecoveryRun { storage, report: Recovery::default(), replay: Replay::default(), salt: 0 };
    let (parts, next_number) = recovery.read_parts()?;
    let (parts, unplaced) = recovery.place_parts(parts)?;
    let next_base = parts.iter().map(|part| crate::format::align8(part.base + part.len)).max().unwrap_or(0);
    let durable = recovery.durable(&parts);
    let parts = recovery.read_log(parts, &unplaced, durable)?;
    recovery.put_aside(&unplaced, parts.last())?;
    storage.sync_dir().map_err(StoreError::io("sync", "the folder"))?;
    let log_end = parts.last().map_or(0, |part| part.base + part.end);
    Ok(recovery.finish(parts, LogEnd { next_number, next_base, end: log_end, ..LogEnd::default() }))
}

struct RecoveryRun<'s> {
    storage: &'s dyn Storage,
    report: Recovery,
    replay: Replay,
    salt: u64,
}

impl RecoveryRun<'_> {
    /// Opens all segments and reads their headers; changes nothing. Also says which number is free.
    fn read_parts(&self) -> Result<(Vec<Part>, u64), StoreError> {
        let (mut parts, mut next_number) = (Vec::new(), 1);
        for name in self.storage.list().map_err(StoreError::io("list", "the folder"))? {
            let Some((number, readable)) = segment_number(&name) else { continue };
            next_number = next_number.max(number + 1);
            if !readable {
                continue;
            }
            let file = self.storage.open(&name, false).map_err(StoreError::io("open", &name))?;
            let len = file.len().map_err(StoreError::io("measure", &name))?;
            let header = read_header(&*file, &name, len)?;
            let base = header.as_ref().map_or(0, |header| header.base);
            parts.push(Part { number, name, file, len, base, header, end: 0, unreadable: false });
        }
        parts.sort_by_key(|part| part.number);
        Ok((parts, next_number))
    }

    /// Finds out where segments without a readable header belong, and orders all by address. Returns also those in
    /// which there is no batch.
    fn place_parts(&mut self, parts: Vec<Part>) -> Result<(Vec<Part>, Vec<Part>), StoreError> {
        let mut salt = parts.iter().rev().find_map(|part| Some(part.header.as_ref()?.salt));
        let (mut placed, mut unplaced) = (Vec::with_capacity(parts.len()), Vec::new());
        for mut part in parts {
            if part.header.is_none() {
                let origin = find_origin(&*part.file, part.len, salt);
                let Some((found, base)) = origin.map_err(StoreError::io("read", &part.name))? else {
                    unplaced.push(part);
                    continue;
                };
                part.base = base;
                salt = Some(found);
            }
            placed.push(part);
        }
        self.salt = salt.unwrap_or_else(random);
        placed.sort_by_key(|part| (part.base, part.number));
        Ok((placed, unplaced))
    }

    /// Gets files out of the way in which no batch can be found. Behind the end of the log they were only begun.
    fn put_aside(&mut self, unplaced: &[Part], last: Option<&Part>) -> Result<(), StoreError> {
        for part in unplaced {
            let bytes = nonzero_bytes(&*part.file, part.len).map_err(StoreError::io("read", &part.name))?;
            let begun = last.is_none_or(|last| part.number > last.number);
            if begun || bytes == 0 {
                self.report.torn_bytes += bytes;
                self.storage.remove(&part.name).map_err(StoreError::io("remove", &part.name))?;
            } else {
                self.report.quarantined += 1;
                self.quarantine(&part.name, part.base, bytes);
                let aside = format!("journal-{:012}.bad", part.number);
                self.storage.rename(&part.name, &aside).map_err(StoreError::io("rename", &part.name))?;
            }
        }
        Ok(())
    }

    fn quarantine(&mut self, name: &str, address: u64, bytes: u64) {
        log::error!("{name}: {bytes} damaged bytes at address {address} are skipped");
        self.report.quarantined_bytes += bytes;
    }

    /// The address below which everything had been durable. The newest segment knows.
    fn durable(&self, parts: &[Part]) -> u64 {
        let headers = parts.iter().filter_map(|part| part.header.as_ref()).map(|header| header.durable);
        let mut durable = headers.max().unwrap_or(0);
        let Some(last) = parts.last() else { return durable };
        let mut scan = Scan::new(&*last.file, last.base, self.salt, last.data_start(), last.len);
        while let Some(found) = scan.next() {
            let said = match found {
                Found::Batch(batch) => Some(batch.header.durable),
                Found::Damaged { durable, .. } => durable,
                Found::Rest { .. } => None,
            };
            durable = durable.max(said.unwrap_or(0));
        }
        durable
    }

    /// Reads all batches in order and returns the segments up to the torn end, if there is one.
    fn read_log(
        &mut self,
        mut parts: Vec<Part>,
        unplaced: &[Part],
        durable: u64,
    ) -> Result<Vec<Part>, StoreError> {
        for part in &parts {
            self.replay.define_all(part.header.as_ref().map_or(&[], |header| &header.queues));
        }
        let mut kept = parts.len();
        for at in 0..parts.len() {
            let (before, rest) = parts.split_at_mut(at);
            let Some((part, later)) = rest.split_first_mut() else { break };
            if !follows(part, before.last(), durable) {
                kept = at;
                break;
            }
            let rows = part.header.as_ref().map(|header| header.queues.as_slice());
            self.replay.enter(rows, is_next(part, before.last(), unplaced));
            let torn = self.read_part(part, later, durable);
            if torn {
                // Without its header and without a batch it is no place that the log can be said to end in.
                kept = if part.end > 0 { at + 1 } else { at };
            }
            if kept > at {
                settle_file(part, durable).map_err(StoreError::io("cut", &part.name))?;
            }
            if torn {
                break;
            }
        }
        for part in parts.drain(kept..) {
            log::warn!("{}: behind the torn end of the log, removed", part.name);
            self.report.torn_bytes += nonzero_bytes(&*part.file, part.len).unwrap_or(part.len);
            self.storage.remove(&part.name).map_err(StoreError::io("remove", &part.name))?;
        }
        Ok(parts)
    }

    /// Reads one segment; true when the log is torn in it.
    fn read_part(&mut self, part: &mut Part, later: &[Part], durable: u64) -> bool {
        let next = later.first();
        // Another segment's addresses are never this one's, and a header says where the log went on from.
        let limit = next.map_or(part.len, |next| part.len.min(next.base.saturating_sub(part.base)));
        let left_at = next.and_then(|next| next.header.as_ref()).map(|header| header.prev_end);
        let left_at = left_at.and_then(|left_at| left_at.checked_sub(part.base));
        let left_at = left_at.filter(|left_at| (1..=limit).contains(left_at));
        let stop = left_at.unwrap_or(limit);
        part.end = part.data_start().min(stop);
        let mut scan = Scan::new(&*part.file, part.base, self.salt, part.end, stop);
        let (mut torn, mut damage_end) = (false, None);
        while let Some(found) = scan.next() {
            let (address, bytes) = match found {
                Found::Batch(batch) if self.replay.apply(&batch) => {
                    part.end = batch.header.address + u64::from(batch.header.bytes) - part.base;
                    continue;
                }
                Found::Batch(batch) => (batch.header.address, u64::from(batch.header.bytes)),
                Found::Damaged { address, bytes, .. } => (address, bytes),
                Found::Rest { address, .. } if left_at.is_some() => (address, part.base + stop - address),
                Found::Rest { nonzero: 0, .. } => continue,
                Found::Rest { address, nonzero } => (address, nonzero),
            };
            if address >= durable {
                self.report.torn_bytes += bytes + behind(&mut scan);
                log::warn!("{}: the log is torn at address {address} and ends there", part.name);
                torn = true;
                break;
            }
            // What lies side by side is one damage.
            self.report.quarantined += u64::from(damage_end != Some(address));
            self.quarantine(&part.name, address, bytes);
            damage_end = Some(address + bytes);
            part.end = address + bytes - part.base;
        }
        if let Some(error) = scan.take_failure() {
            log::error!("{}: parts of it cannot be read: {error}", part.name);
            part.unreadable = true;
        }
        torn
    }

    fn finish(mut self, parts: Vec<Part>, mut end: LogEnd) -> Recovered {
        self.replay.drop_unreachable();
        let metas: Vec<_> =
            parts.iter().map(|part| SegmentMeta::new(part.base, part.base + part.end, 0, true)).collect();
        let entries = count_live(&self.replay, &metas);
        let segments = parts.into_iter().zip(metas);
        let segments: Vec<_> = segments
            .map(|(part, meta)| Arc::new(Segment { meta, name: part.name, file: part.file }))
            .collect();
        end.salt = self.salt;
        end.seqs = self.replay.seqs();
        self.report.segments = segments.len() as u64;
        self.report.batches = self.replay.batches;
        self.report.records = self.replay.records;
        self.report.orphaned = self.replay.orphaned;
        self.report.entries = entries as u64;
        let losses = self.replay.losses();
        self.report.lost = losses.iter().fold(0, |lost, loss| loss.count.saturating_add(lost));
        if self.report.lost > 0 {
            log::error!("damage took {} messages, counted once per queue", self.report.lost);
        }
        let queues = self.replay.into_table();
        self.report.queues = queues.iter().flatten().filter(|queue| !queue.is_removed()).count() as u64;
        Recovered { report: self.report, segments, queues, entries, losses, end }
    }
}

/// Whether the log goes on in this segment. Where it went on from must be there, unless it had been durable: then
/// it was spent and unlinked.
fn follows(part: &Part, before: Option<&Part>, durable: u64) -> bool {
    let prev_end = part.header.as_ref().map_or(0, |header| header.prev_end);
    prev_end <= durable || before.is_some_and(|before| before.base + before.end == prev_end)
}

/// Whether no spent segment was between two, so that numbers missing between them are lost. A segment that is there and
/// cannot be read was not spent.
fn is_next(part: &Part, before: Option<&Part>, unplaced: &[Part]) -> bool {
    let from = before.map_or(0, |before| before.number);
    let unreadable = unplaced.iter().any(|other| (from..part.number).contains(&other.number));
    unreadable
        || before.is_some_and(|before| match &part.header {
            Some(header) => before.base + before.end == header.prev_end,
            None => before.number + 1 == part.number,
        })
}

/// Bytes that a scan would still come across.
fn behind(scan: &mut Scan<'_>) -> u64 {
    let mut bytes = 0;
    while let Some(found) = scan.next() {
        bytes += match found {
            Found::Batch(batch) => u64::from(batch.header.bytes),
            Found::Damaged { bytes, .. } => bytes,
            Found::Rest { nonzero, .. } => nonzero,
        };
    }
    bytes
}

/// Cuts what is behind the log and makes durable what was not known to be.
fn settle_file(part: &Part, durable: u64) -> std::io::Result<()> {
    let unused = part.len.saturating_sub(part.end);
    let torn = part.base + part.end >= durable;
    if !part.unreadable && (unused >= CUT_BYTES_MIN || (torn && unused > 0)) {
        part.file.set_len(part.end)?;
    }
    if torn { part.file.sync_data() } else { Ok(()) }
}

/// Counts every wanted message in the segment it lies in.
fn count_live(replay: &Replay, metas: &[Arc<SegmentMeta>]) -> usize {
    let mut entries = 0;
    for entry in replay.entries() {
        entries += 1;
        let at = metas.partition_point(|meta| meta.base <= entry.address);
        if let Some(meta) = at.checked_sub(1).and_then(|at| metas.get(at)) {
            meta.add_live(1);
        }
    }
    entries
}

/// Number of a segment, and whether it is one to read.
fn segment_number(name: &str) -> Option<(u64, bool)> {
    let (digits, kind) = name.strip_prefix("journal-")?.split_once('.')?;
    let readable = match kind {
        "seg" => true,
        "bad" => false,
        _ => return None,
    };
    let right = digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((digits.parse().ok().filter(|_| right)?, readable))
}

/// The header of a segment; `None` when it is damaged.
///
/// # Errors
/// [`StoreError::NewerFormat`]; [`StoreError::Io`] when the disk cannot read it, which is no reason to take it for
/// damaged: the fault may pass.
fn read_header(file: &dyn StorageFile, name: &str, len: u64) -> Result<Option<SegmentHeader>, StoreError> {
    let read = |bytes: usize| {
        let mut header = vec![0; bytes];
        let got = file.read_at(&mut header, 0).map_err(StoreError::io("read", name))?;
        header.truncate(got);
        Ok::<_, StoreError>(SegmentHeader::decode(&header))
    };
    let mut decoded = read(HEADER_READ_BYTES.min(len as usize))?;
    if let Err(SegmentHeaderError::Short { needed }) = decoded
        && needed as u64 <= len
    {
        decoded = read(needed.min(SEGMENT_HEADER_BYTES_MAX))?;
    }
    match decoded {
        Ok(header) => Ok(Some(header)),
        Err(SegmentHeaderError::Newer { found }) => Err(StoreError::NewerFormat {
            file: name.to_owned(),
            found,
            known: crate::format::FORMAT_VERSION,
        }),
        Err(_) => Ok(None),
    }
}

/// A random number without a source of randomness of our own: the seed of the standard hasher.
fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
