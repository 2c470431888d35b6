//! Opening segments that somebody else may unlink meanwhile.

use std::io;

use edgehub_types::Storage;

use super::report::{SegmentInfo, SegmentState};
use crate::StoreError;
use crate::recovery::{SegmentFile, segment_number};

/// A store unlinks at most one segment in a round, so the second attempt succeeds normally.
const ATTEMPTS_MAX: usize = 10;

/// The files as they were together at one moment, unless some vanished.
pub(super) struct SegmentFiles {
    pub files: Vec<SegmentFile>,
    /// Those that an earlier recovery put aside.
    pub aside: Vec<SegmentInfo>,
    pub vanished: u64,
}

/// Opens all segments. If one goes before it is open, the list is too old: what it held may be acknowledged in a
/// segment that is not in the list, so the list is made anew. An open file stays readable when it is unlinked.
///
/// # Errors
/// [`StoreError::Io`].
pub(super) fn open_files(storage: &dyn Storage) -> Result<SegmentFiles, StoreError> {
    let mut found = open_once(storage)?;
    for _ in 1..ATTEMPTS_MAX {
        if found.vanished == 0 {
            break;
        }
        found = open_once(storage)?;
    }
    Ok(found)
}

fn open_once(storage: &dyn Storage) -> Result<SegmentFiles, StoreError> {
    let mut found = SegmentFiles { files: Vec::new(), aside: Vec::new(), vanished: 0 };
    for name in storage.list().map_err(StoreError::io("list", "the folder"))? {
        let Some((number, readable)) = segment_number(&name) else { continue };
        match storage.open(&name, false) {
            Ok(file) if readable => found.files.push(SegmentFile { number, name, file }),
            Ok(file) => {
                let bytes = file.len().map_err(StoreError::io("measure", &name))?;
                found.aside.push(SegmentInfo::without_log(number, name, bytes, SegmentState::Aside));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => found.vanished += 1,
            Err(error) => return Err(StoreError::io("open", &name)(error)),
        }
    }
    Ok(found)
}
