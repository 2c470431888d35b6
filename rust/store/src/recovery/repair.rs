//! Making the files agree with what was found in them: the only part of a recovery that writes.

use edgehub_types::Storage;

use super::spilled::repair_spills;
use super::{EmptyPart, Examined, Finding, FindingKind, Part};
use crate::StoreError;

/// Less unused space than this is left at the end of an old segment.
const CUT_BYTES_MIN: u64 = 64 << 10;

/// Cuts the log at its end, removes what is behind, and puts aside what cannot be read.
///
/// # Errors
/// [`StoreError::Io`].
pub(super) fn repair(storage: &dyn Storage, examined: &Examined) -> Result<(), StoreError> {
    tell(examined);
    remove_dropped(storage, &examined.dropped)?;
    for part in &examined.parts {
        settle_file(part, examined.durable).map_err(StoreError::io("cut", &part.name))?;
    }
    for empty in &examined.empty {
        put_aside(storage, empty)?;
    }
    repair_spills(storage, &examined.spills)?;
    storage.sync_dir().map_err(StoreError::io("sync", "the folder"))
}

/// Removes what lies behind the torn end, the newest first and before anything is cut: at no moment may a segment be left
/// over that looks as if it followed a spent one.
fn remove_dropped(storage: &dyn Storage, dropped: &[Part]) -> Result<(), StoreError> {
    for part in dropped.iter().rev() {
        log::warn!("{}: behind the torn end of the log, removed", part.name);
        storage.remove(&part.name).map_err(StoreError::io("remove", &part.name))?;
    }
    if dropped.is_empty() { Ok(()) } else { storage.sync_dir().map_err(StoreError::io("sync", "the folder")) }
}

fn tell(examined: &Examined) {
    for Finding { kind, file, offset, bytes } in examined.findings.iter() {
        match kind {
            FindingKind::Damaged => {
                log::error!("{file}: {bytes} damaged bytes at offset {offset} are skipped");
            }
            FindingKind::Torn => log::warn!("{file}: the log is torn at offset {offset} and ends there"),
        }
    }
    if examined.findings.more > 0 {
        log::error!("{} more regions are damaged", examined.findings.more);
    }
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

/// Gets a file out of the way in which no batch can be found.
fn put_aside(storage: &dyn Storage, EmptyPart { part, begun, .. }: &EmptyPart) -> Result<(), StoreError> {
    if *begun {
        return storage.remove(&part.name).map_err(StoreError::io("remove", &part.name));
    }
    let aside = format!("journal-{:012}.bad", part.number);
    storage.rename(&part.name, &aside).map_err(StoreError::io("rename", &part.name))
}
