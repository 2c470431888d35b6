//! Where the ledger is between two runs, and where tools find it.

use std::io;

use edgehub_types::{MonoTime, Storage};

use super::book::{BOOK_BYTES_MAX, LossBook, LossBookError};
use crate::shared::Shared;

const NAME: &str = "losses.txt";
const NEW_NAME: &str = "losses.new";
/// A file that cannot be read is put there.
const ASIDE_NAME: &str = "losses.bad";
/// From the first loss to the file, so that what goes together is in it together.
const SOON_MS: u64 = 1000;
/// Time between two writes while losses go on: the file is small, but a memory card does not like to write it all the time.
const EVERY_MS: u64 = 60_000;

/// State of the writing between two rounds of upkeep.
#[derive(Debug, Default)]
pub(crate) struct LossFile {
    not_before: MonoTime,
    due_at: Option<MonoTime>,
}

impl Shared {
    /// Writes the ledger if it has something new and the time has come. It is for people: a failure is told and tried
    /// again, and keeps nobody from storing messages.
    pub fn save_losses_if_due(&self, file: &mut LossFile, now: MonoTime) {
        if self.in_memory || !self.ledger.has_changed() {
            return;
        }
        let soon = now.plus_ms(SOON_MS).max(file.not_before);
        if *file.due_at.get_or_insert(soon) > now {
            return;
        }
        *file = LossFile { not_before: now.plus_ms(EVERY_MS), due_at: None };
        self.save_losses();
    }

    /// The same at once.
    pub fn save_losses(&self) {
        if self.in_memory || !self.ledger.has_changed() {
            return;
        }
        let salt = self.journal.lock().salt();
        let text = self.ledger.take_book(self.clock.unix()).to_text(salt);
        if let Err(error) = write_text(&*self.storage, &text) {
            self.ledger.mark_changed();
            log::warn!("{NAME}: the ledger of losses cannot be written for now: {error}");
        }
    }

    /// Goes on with the ledger of the run before.
    pub fn carry_losses(&self) {
        if self.in_memory {
            return;
        }
        let salt = self.journal.lock().salt();
        match read_book(&*self.storage, salt) {
            Ok(book) => self.ledger.carry(book),
            Err(error) => {
                log::warn!("{NAME}: {error}; the ledger of losses begins anew, the old one is {ASIDE_NAME}");
                if let Err(error) = self.storage.rename(NAME, ASIDE_NAME) {
                    log::warn!("cannot rename {NAME}: {error}");
                }
            }
        }
    }
}

/// The old file is there until the new one is on disk as a whole.
fn write_text(storage: &dyn Storage, text: &str) -> io::Result<()> {
    let file = storage.open(NEW_NAME, true)?;
    file.set_len(0)?;
    file.write_all_at(text.as_bytes(), 0)?;
    file.sync_data()?;
    storage.rename(NEW_NAME, NAME)
}

/// Reads the file; an empty book when there is none.
///
/// # Errors
/// [`LossBookError`].
pub(crate) fn read_book(storage: &dyn Storage, salt: u64) -> Result<LossBook, LossBookError> {
    let unreadable = |error: io::Error| LossBookError::Unreadable { reason: error.to_string() };
    let Some(bytes) = read_bytes(storage).map_err(unreadable)? else { return Ok(LossBook::default()) };
    let text = String::from_utf8(bytes).map_err(|_| LossBookError::Checksum)?;
    LossBook::from_text(&text, Some(salt))
}

fn read_bytes(storage: &dyn Storage) -> io::Result<Option<Vec<u8>>> {
    let file = match storage.open(NAME, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // A longer one is not ours: what is cut off spoils the checksum.
    let mut bytes = vec![0; file.len()?.min(BOOK_BYTES_MAX as u64) as usize];
    let count = file.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    Ok(Some(bytes))
}
