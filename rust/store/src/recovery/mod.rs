//! Opening a folder: which segments there are, what in them is good, damaged or torn.
//!
//! The rules are in `docs/store-format.md`, section 9.

mod files;
mod finding;
mod lost;
mod repair;
mod replay;
mod scan;
mod spilled;

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use edgehub_types::{Storage, UnixMs};

use crate::StoreError;
use crate::format::SegmentHeader;
use crate::journal::{LogEnd, QueueTable};
use crate::ledger::Loss;
use crate::segment::{Segment, SegmentMeta, Written};
use crate::time::LastSeen;
pub(crate) use files::{Part, SegmentFile, has_number, segment_number};
use files::{open_segments, read_header, read_parts};
pub(crate) use finding::Findings;
pub use finding::{FINDINGS_MAX, Finding, FindingFile, FindingKind};
use repair::repair;
pub(crate) use replay::{Replay, ReplayedQueue};
pub(crate) use scan::Found;
use scan::Scan;
use scan::find_origin;
use spilled::overlay;
pub(crate) use spilled::{SpillFate, SpillFiles, SpillPart, SpillParts, SpillRest};

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
    /// Those of them that are in spill files.
    pub spilled: u64,
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
    /// Messages in queues, without those in spill files.
    pub entries: usize,
    pub losses: Vec<Loss>,
    /// Whether there are messages that expire.
    pub expiring: bool,
    pub seen: LastSeen,
    pub end: LogEnd,
    pub spill_files: usize,
    pub spill_bytes: u64,
    pub spill_number: u64,
}

/// A file in which no batch can be found.
pub(crate) struct EmptyPart {
    pub part: Part,
    /// Bytes up to the last one that is not zero.
    pub bytes: u64,
    /// It lies behind the end of the log or has never been written: it was only begun.
    pub begun: bool,
}

/// What the files of a folder hold. Nothing was changed to find it out.
pub(crate) struct Examined {
    pub report: Recovery,
    pub replay: Replay,
    /// What the end of the log tells of the time.
    pub seen: LastSeen,
    pub salt: u64,
    /// Every address below had been durable.
    pub durable: u64,
    /// The log, in order of address.
    pub parts: Vec<Part>,
    /// Files that were used again meanwhile.
    pub gone: u64,
    /// Behind the torn end of the log.
    pub dropped: Vec<Part>,
    pub empty: Vec<EmptyPart>,
    pub findings: Findings,
    pub spills: SpillParts,
    /// First address that no segment has.
    next_base: u64,
}

/// Reads the folder and puts it in order.
///
/// # Errors
/// [`StoreError::NewerFormat`] before anything was changed; [`StoreError::Io`].
pub(crate) fn recover(storage: &dyn Storage) -> Result<Recovered, StoreError> {
    let (files, next_number) = open_segments(storage)?;
    let mut spills = SpillFiles::default();
    spills.open_new(storage)?;
    let examined = examine(files, || spills.read())?;
    repair(storage, &examined)?;
    Ok(examined.into_recovered(next_number))
}

/// Reads all segments, then the spill files that `read_spills` gives, and changes nothing.
///
/// # Errors
/// [`StoreError::NewerFormat`]; [`StoreError::Io`] when the disk cannot read what it takes to know a segment.
pub(crate) fn examine(
    files: Vec<SegmentFile>,
    read_spills: impl FnOnce() -> Result<SpillParts, StoreError>,
) -> Result<Examined, StoreError> {
    let mut run = RecoveryRun::default();
    let (parts, gone) = read_parts(files)?;
    let (parts, unplaced) = run.place_parts(parts)?;
    let next_base = parts.iter().map(|part| crate::format::align8(part.base + part.len)).max().unwrap_or(0);
    let durable = run.durable(&parts);
    let (parts, dropped) = run.read_log(parts, &unplaced, durable);
    let empty = run.judge_empty(unplaced, parts.last())?;
    run.replay.drop_unreachable();
    let mut spills = read_spills()?;
    overlay(&mut spills, &mut run.replay, run.salt);
    let RecoveryRun { report, replay, seen, salt, findings } = run;
    Ok(Examined {
        report,
        replay,
        seen,
        salt,
        durable,
        parts,
        gone,
        dropped,
        empty,
        findings,
        spills,
        next_base,
    })
}

#[derive(Default)]
struct RecoveryRun {
    report: Recovery,
    replay: Replay,
    seen: LastSeen,
    salt: u64,
    findings: Findings,
}

impl RecoveryRun {
    /// Finds out where segments without a readable header belong, and orders all by address. Returns also those in
    /// which there is no batch and should be.
    fn place_parts(&mut self, parts: Vec<Part>) -> Result<(Vec<Part>, Vec<Part>), StoreError> {
        let mut salt = parts.iter().rev().find_map(|part| Some(part.header.as_ref()?.salt));
        let (mut placed, mut unplaced) = (Vec::with_capacity(parts.len()), Vec::new());
        for mut part in parts {
            if part.prepared {
                unplaced.push(part);
                continue;
            }
            if part.header.is_none() {
                let origin = find_origin(&*part.file, part.len, salt.map(|salt| part.batch_salt(salt)));
                let Some((found, base)) = origin.map_err(StoreError::io("read", &part.name))? else {
                    unplaced.push(part);
                    continue;
                };
                part.base = base;
                // Its own inverse.
                salt = Some(part.batch_salt(found));
                // Whoever writes just now wrote the header before the batch.
                let header = read_header(&*part.file, &part.name, part.len)?;
                if let Some(header) = header.filter(|header| header.number == part.number) {
                    part.base = header.base;
                    part.header = Some(header);
                }
            }
            placed.push(part);
        }
        self.salt = salt.unwrap_or_else(random);
        placed.sort_by_key(|part| (part.base, part.number));
        Ok((placed, unplaced))
    }

    /// Measures the files in which no batch can be found. Behind the end of the log they were only begun.
    fn judge_empty(&mut self, parts: Vec<Part>, last: Option<&Part>) -> Result<Vec<EmptyPart>, StoreError> {
        let mut empty = Vec::with_capacity(parts.len());
        for part in parts {
            let bytes = part.unknown_bytes().map_err(StoreError::io("read", &part.name))?;
            let begun = bytes == 0 || last.is_none_or(|last| part.number > last.number);
            if begun {
                self.report.torn_bytes += bytes;
            } else {
                self.report.quarantined += 1;
                self.quarantine(part.number, 0, bytes);
            }
            empty.push(EmptyPart { part, bytes, begun });
        }
        Ok(empty)
    }

    fn quarantine(&mut self, segment: u64, offset: u64, bytes: u64) {
        self.report.quarantined_bytes += bytes;
        let file = FindingFile::Segment(segment);
        self.findings.add(Finding { kind: FindingKind::Damaged, file, offset, bytes });
    }

    /// The address below which everything had been durable. The newest segment knows.
    fn durable(&self, parts: &[Part]) -> u64 {
        let headers = parts.iter().filter_map(|part| part.header.as_ref()).map(|header| header.durable);
        let mut durable = headers.max().unwrap_or(0);
        let Some(last) = parts.last() else { return durable };
        let mut scan = last.scan(self.salt, last.data_start(), last.len);
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

    /// Reads all batches in order. Returns the segments up to the torn end, if there is one, and those behind it.
    fn read_log(&mut self, mut parts: Vec<Part>, unplaced: &[Part], durable: u64) -> (Vec<Part>, Vec<Part>) {
        for part in &parts {
            self.replay.define_all(part.header.as_ref().map_or(&[], |header| &header.queues));
        }
        let mut kept = parts.len();
        for at in 0..parts.len() {
            let (before, rest) = parts.split_at_mut(at);
            let Some((part, later)) = rest.split_first_mut() else { break };
            if !follows(part, before.last(), unplaced, durable) {
                kept = at;
                break;
            }
            let rows = part.header.as_ref().map(|header| header.queues.as_slice());
            self.seen.enter(part.header.as_ref().map(SegmentHeader::stamp));
            self.replay.enter(rows, is_next(part, before.last(), unplaced));
            if self.read_part(part, later, durable) {
                // Without its header and without a batch it is no place that the log can be said to end in.
                kept = if part.end > 0 { at + 1 } else { at };
                break;
            }
        }
        let dropped = parts.split_off(kept);
        for part in &dropped {
            self.report.torn_bytes += part.unknown_bytes().unwrap_or(part.len);
        }
        (parts, dropped)
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
        let (salt, leftovers) = (part.batch_salt(self.salt), part.has_leftovers());
        let mut scan = Scan::new(&*part.file, part.base, salt, part.end, stop).with_leftovers(leftovers);
        let (mut torn, mut damage_end) = (false, None);
        while let Some(found) = scan.next() {
            let (address, bytes) = match found {
                Found::Batch(batch) if self.replay.apply(&batch) => {
                    self.seen.pass(&batch);
                    part.end = batch.header.address + u64::from(batch.header.bytes) - part.base;
                    let store_ms = batch.header.written_ms;
                    let wall_ms = self.seen.wall_of(UnixMs(store_ms)).0;
                    part.times.note(batch.header.address, Written { wall_ms, store_ms });
                    continue;
                }
                Found::Batch(batch) => (batch.header.address, u64::from(batch.header.bytes)),
                Found::Damaged { address, bytes, .. } => (address, bytes),
                Found::Rest { address, .. } if left_at.is_some() => (address, part.base + stop - address),
                Found::Rest { nonzero: 0, .. } => continue,
                Found::Rest { address, nonzero } => (address, nonzero),
            };
            // What the disk cannot read may have been whole and answered: it is not for the log to end there.
            if address >= durable && scan.unreadable_end(address, bytes).is_none() {
                let bytes = bytes + behind(&mut scan);
                self.report.torn_bytes += bytes;
                let (file, offset) = (FindingFile::Segment(part.number), address - part.base);
                self.findings.add(Finding { kind: FindingKind::Torn, file, offset, bytes });
                torn = true;
                break;
            }
            // What lies side by side is one damage.
            self.report.quarantined += u64::from(damage_end != Some(address));
            self.quarantine(part.number, address - part.base, bytes);
            self.replay.skip_damage();
            damage_end = Some(address + bytes);
            part.end = address + bytes - part.base;
        }
        if let Some(error) = scan.take_failure() {
            log::error!("{}: parts of it cannot be read: {error}", part.name);
            part.unreadable = true;
        }
        torn
    }
}

impl Examined {
    /// The report with everything counted, and the entries by segment.
    pub fn count(&mut self) -> (Recovery, Vec<Arc<SegmentMeta>>) {
        let parts = self.parts.iter();
        let metas =
            parts.map(|part| SegmentMeta::complete(part.base, part.base + part.end, part.times.clone()));
        let metas: Vec<_> = metas.collect();
        let report = &mut self.report;
        report.spilled = self.replay.spilled_msgs();
        report.entries = count_live(&self.replay, &metas) as u64 + report.spilled;
        report.segments = self.parts.len() as u64;
        report.batches = self.replay.batches;
        report.records = self.replay.records;
        report.orphaned = self.replay.orphaned;
        report.queues = self.replay.present() as u64;
        report.lost = self.replay.losses().iter().fold(0, |lost, loss| loss.count.saturating_add(lost));
        (*report, metas)
    }

    fn into_recovered(mut self, next_number: u64) -> Recovered {
        let (report, metas) = self.count();
        let end = self.parts.last().map_or(0, |part| part.base + part.end);
        let seqs = self.replay.seqs();
        let (next_base, salt) = (self.next_base, self.salt);
        let losses = self.replay.losses();
        let expiring = self.replay.entries().any(|entry| entry.expires_at().is_some());
        let (seen, expiring) = (self.seen, expiring || self.spills.may_expire());
        if report.lost > 0 {
            log::error!("damage took {} messages, counted once per queue", report.lost);
        }
        let kept =
            self.spills.parts.iter().filter(|part| matches!(part.fate, SpillFate::Keep | SpillFate::Cut));
        let (spill_files, spill_bytes) = (kept.clone().count(), kept.map(|part| part.list.bytes).sum());
        let end = LogEnd { salt, seqs, next_number, next_base, end };
        let segments = self.parts.into_iter().zip(metas);
        let segments = segments.map(|(part, meta)| Segment { meta, name: part.name, file: part.file });
        Recovered {
            report,
            segments: segments.map(Arc::new).collect(),
            queues: self.replay.into_table(),
            entries: (report.entries - report.spilled) as usize,
            losses,
            expiring,
            seen,
            end,
            spill_files,
            spill_bytes,
            spill_number: self.spills.next_number,
        }
    }
}

/// Whether the log goes on in this segment. It does not if the one before it was not written in time: then that one is
/// there, shorter or empty. One that is gone was spent, also where damage took the statement that it had been durable.
fn follows(part: &Part, before: Option<&Part>, unplaced: &[Part], durable: u64) -> bool {
    let prev_end = part.header.as_ref().map_or(0, |header| header.prev_end);
    let next = |before: &Part| before.number + 1 == part.number || prev_end <= before.base + before.len;
    let shorter = before.is_some_and(next);
    let reached = before.is_some_and(|before| before.base + before.end == prev_end);
    prev_end <= durable || reached || !(shorter || is_between(before, part, unplaced))
}

/// Whether there is a file between two segments in which no batch was found.
fn is_between(before: Option<&Part>, part: &Part, unplaced: &[Part]) -> bool {
    let from = before.map_or(0, |before| before.number);
    unplaced.iter().any(|other| (from..part.number).contains(&other.number))
}

/// Whether no spent segment was between two, so that numbers missing between them are lost. A segment that is there and
/// cannot be read was not spent.
fn is_next(part: &Part, before: Option<&Part>, unplaced: &[Part]) -> bool {
    is_between(before, part, unplaced)
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

/// Counts every wanted message in the segment it lies in, and notes until when it lives.
fn count_live(replay: &Replay, metas: &[Arc<SegmentMeta>]) -> usize {
    let mut entries = 0;
    for entry in replay.entries() {
        entries += 1;
        let at = metas.partition_point(|meta| meta.base <= entry.address);
        if let Some(meta) = at.checked_sub(1).and_then(|at| metas.get(at)) {
            meta.note_expiry(entry.expires_at().unwrap_or(UnixMs::MAX));
            meta.add_live(1);
        }
    }
    entries
}

/// A random number without a source of randomness of our own: the seed of the standard hasher.
fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
