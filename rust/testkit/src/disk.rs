//! The two images of a folder, and the way from one to the other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::Range;

use crate::fault::{Call, CallCounts, Fault, FaultPlan};
use crate::history::{Event, History};

/// Number of a file's content; names point to it.
pub(crate) type FileId = u64;

/// A change that is not durable yet.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Write { file: FileId, offset: u64, bytes: Vec<u8> },
    SetLen { file: FileId, len: u64 },
    Link { name: String, file: FileId },
    Unlink { name: String },
    Rename { from: String, to: String },
}

impl Op {
    pub fn file(&self) -> Option<FileId> {
        match self {
            Self::Write { file, .. } | Self::SetLen { file, .. } => Some(*file),
            _ => None,
        }
    }
}

/// Names and contents at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    pub names: BTreeMap<String, FileId>,
    pub contents: HashMap<FileId, Vec<u8>>,
}

impl Image {
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Write { file, offset, bytes } => {
                let content = self.contents.entry(*file).or_default();
                let (start, end) = (*offset as usize, *offset as usize + bytes.len());
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[start..end].copy_from_slice(bytes);
            }
            Op::SetLen { file, len } => self.contents.entry(*file).or_default().resize(*len as usize, 0),
            Op::Link { name, file } => {
                self.names.insert(name.clone(), *file);
            }
            Op::Unlink { name } => {
                self.names.remove(name);
            }
            Op::Rename { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
        }
    }

    /// Bytes of all files that have a name.
    pub fn bytes(&self) -> u64 {
        self.names
            .values()
            .filter_map(|file| self.contents.get(file))
            .map(|content| content.len() as u64)
            .sum()
    }
}

/// What is on the disk, and what is still on its way there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Platter {
    pub live: Image,
    pub durable: Image,
    pub ops: Vec<Op>,
}

impl Platter {
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Change(op) => {
                self.live.apply(&op);
                self.ops.push(op);
            }
            Event::SyncFile(file) => self.settle(true, |op| op.file() == Some(file)),
            Event::ForgetFile(file) => self.settle(false, |op| op.file() == Some(file)),
            Event::SyncNames => self.settle(true, |op| op.file().is_none()),
        }
    }

    /// Takes operations off the list; they are durable from now on, or never will be.
    fn settle(&mut self, durable: bool, settled: impl Fn(&Op) -> bool) {
        let (done, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.ops).into_iter().partition(settled);
        self.ops = left;
        for op in done.iter().filter(|_| durable) {
            self.durable.apply(op);
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub platter: Platter,
    next_file: FileId,
    pub bytes_max: Option<u64>,
    pub plan: Option<FaultPlan>,
    pub counts: CallCounts,
    /// Names that files had when a write or sync of them failed.
    pub failed: BTreeSet<String>,
    /// Bytes of files that cannot be read.
    pub unreadable: Vec<(FileId, Range<u64>)>,
    pub history: Option<History>,
}

impl Disk {
    /// A disk of which everything is durable.
    pub fn from_image(image: Image) -> Self {
        Self::from_platter(Platter { live: image.clone(), durable: image, ops: Vec::new() })
    }

    pub fn from_platter(platter: Platter) -> Self {
        let files = platter.live.contents.keys().chain(platter.durable.contents.keys());
        let files = files.chain(platter.live.names.values()).chain(platter.durable.names.values());
        let next_file = files.max().map_or(1, |last| last + 1);
        Self { platter, next_file, ..Self::default() }
    }

    pub fn live(&self) -> &Image {
        &self.platter.live
    }

    pub fn happen(&mut self, event: Event) {
        if let Some(history) = &mut self.history {
            history.events.push(event.clone());
        }
        self.platter.apply(event);
    }

    fn change(&mut self, op: Op) {
        self.happen(Event::Change(op));
    }

    /// Counts a call. A fault that is planned for it is told before (`Err`) or after it was done (`Ok`).
    fn meet(&mut self, call: Call) -> Result<Option<Fault>, Fault> {
        self.counts.add(call);
        match self.plan.as_mut().and_then(|plan| plan.meet(call)) {
            Some(fault @ Fault::Late) => Ok(Some(fault)),
            Some(fault) => Err(fault),
            None => Ok(None),
        }
    }

    /// The same for a file that is told in [`Disk::failed`].
    fn meet_at(&mut self, call: Call, file: FileId) -> Result<Option<Fault>, Fault> {
        let met = self.meet(call);
        if !matches!(met, Ok(None)) {
            let names = self.platter.live.names.iter().filter(|(_, named)| **named == file);
            self.failed.extend(names.map(|(name, _)| name.clone()));
        }
        met
    }

    /// Does something unless a fault was planned for it.
    pub fn call<T>(&mut self, call: Call, action: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        let late = self.meet(call).map_err(|fault| fault.error(call))?;
        let done = action(self)?;
        late.map_or(Ok(done), |fault| Err(fault.error(call)))
    }

    /// Whether a file of this length would not fit on the disk.
    fn is_too_long(&self, file: FileId, len: u64) -> bool {
        let now = self.live().contents.get(&file).map_or(0, |content| content.len() as u64);
        let grown = self.live().bytes() + len.saturating_sub(now);
        len > now && self.bytes_max.is_some_and(|max| grown > max)
    }

    pub fn write(&mut self, file: FileId, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.is_too_long(file, offset + bytes.len() as u64) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let met = self.meet_at(Call::Write, file);
        let len = match met {
            Err(Fault::NoSpace) => return Err(Fault::NoSpace.error(Call::Write)),
            Err(Fault::Short) => bytes.len().saturating_sub(1),
            Err(_) => bytes.len() / 2,
            Ok(_) => bytes.len(),
        };
        self.change(Op::Write { file, offset, bytes: bytes[..len].to_vec() });
        match met {
            Err(fault) | Ok(Some(fault)) => Err(fault.error(Call::Write)),
            Ok(None) => Ok(()),
        }
    }

    pub fn set_len(&mut self, file: FileId, len: u64) -> io::Result<()> {
        if self.is_too_long(file, len) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.call(Call::SetLen, |disk| {
            disk.change(Op::SetLen { file, len });
            Ok(())
        })
    }

    pub fn sync_data(&mut self, file: FileId) -> io::Result<()> {
        match self.meet_at(Call::SyncData, file) {
            // As Linux does: what could not be written is forgotten, the next sync succeeds without it.
            Err(fault) => {
                self.happen(Event::ForgetFile(file));
                Err(fault.error(Call::SyncData))
            }
            Ok(late) => {
                self.happen(Event::SyncFile(file));
                late.map_or(Ok(()), |fault| Err(fault.error(Call::SyncData)))
            }
        }
    }

    pub fn sync_names(&mut self) -> io::Result<()> {
        self.call(Call::SyncDir, |disk| {
            disk.happen(Event::SyncNames);
            Ok(())
        })
    }

    pub fn open(&mut self, name: &str, create: bool) -> io::Result<FileId> {
        self.call(Call::Open, |disk| match disk.live().names.get(name) {
            Some(file) => Ok(*file),
            None if create => {
                let file = disk.new_file();
                disk.change(Op::Link { name: name.to_owned(), file });
                Ok(file)
            }
            None => Err(io::ErrorKind::NotFound.into()),
        })
    }

    pub fn new_file(&mut self) -> FileId {
        self.next_file += 1;
        self.next_file - 1
    }

    pub fn change_name(&mut self, call: Call, name: &str, op: Op) -> io::Result<()> {
        self.call(call, |disk| {
            if !disk.live().names.contains_key(name) {
                return Err(io::ErrorKind::NotFound.into());
            }
            disk.change(op);
            Ok(())
        })
    }

    pub fn read(&mut self, file: FileId, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.call(Call::Read, |disk| {
            let end = offset + buf.len() as u64;
            let bad =
                |(other, bad): &(FileId, Range<u64>)| *other == file && bad.start < end && offset < bad.end;
            if disk.unreadable.iter().any(bad) {
                return Err(Fault::Error.error(Call::Read));
            }
            let content = disk.live().contents.get(&file).map(Vec::as_slice).unwrap_or_default();
            let rest = content.get(offset as usize..).unwrap_or_default();
            let len = rest.len().min(buf.len());
            buf[..len].copy_from_slice(&rest[..len]);
            Ok(len)
        })
    }
}
