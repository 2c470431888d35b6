//! Opening segments that somebody else may unlink meanwhile.

use std::collections::HashSet;
use std::io;

use edgehub_types::Storage;

use super::report::{SegmentInfo, SegmentState};
use crate::StoreError;
use crate::recovery::{SegmentFile, segment_number};

/// A store unlinks at most one segment in a round, so the second attempt succeeds normally.
const ATTEMPTS_MAX: usize = 10;

/// The files as they were together at one moment, unless some were missed.
pub(super) struct SegmentFiles {
    pub files: Vec<SegmentFile>,
    /// Those that an earlier recovery put aside.
    pub aside: Vec<SegmentInfo>,
    /// Segments that came too late for the list, or went too early.
    pub missed: u64,
}

/// Opens all segments. If one goes before it is open, the list is too old: what it held may be acknowledged in a
/// segment that is not in the list. If one before the newest is not in the list, it was made while the folder was
/// read. In both cases the list is made anew. An open file stays readable when it is unlinked.
///
/// # Errors
/// [`StoreError::Io`].
pub(super) fn open_files(storage: &dyn Storage) -> Result<SegmentFiles, StoreError> {
    let mut attempt = 1;
    loop {
        let mut found = open_once(storage)?;
        found.missed += left_out(storage, &found.files)?;
        if found.missed == 0 || attempt == ATTEMPTS_MAX {
            return Ok(found);
        }
        attempt += 1;
    }
}

/// Segments that are there now, older than the newest of these, and not one of them.
fn left_out(storage: &dyn Storage, files: &[SegmentFile]) -> Result<u64, StoreError> {
    let opened: HashSet<u64> = files.iter().map(|file| file.number).collect();
    let newest = opened.iter().max().copied().unwrap_or(0);
    let names = storage.list().map_err(StoreError::io("list", "the folder"))?;
    let numbers = names.iter().filter_map(|name| segment_number(name)).filter(|(_, readable)| *readable);
    Ok(numbers.filter(|(number, _)| *number < newest && !opened.contains(number)).count() as u64)
}

fn open_once(storage: &dyn Storage) -> Result<SegmentFiles, StoreError> {
    let mut found = SegmentFiles { files: Vec::new(), aside: Vec::new(), missed: 0 };
    for name in storage.list().map_err(StoreError::io("list", "the folder"))? {
        let Some((number, readable)) = segment_number(&name) else { continue };
        match storage.open(&name, false) {
            Ok(file) if readable => found.files.push(SegmentFile { number, name, file }),
            Ok(file) => {
                let bytes = file.len().map_err(StoreError::io("measure", &name))?;
                found.aside.push(SegmentInfo::without_log(number, name, bytes, SegmentState::Aside));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => found.missed += 1,
            Err(error) => return Err(StoreError::io("open", &name)(error)),
        }
    }
    Ok(found)
}
