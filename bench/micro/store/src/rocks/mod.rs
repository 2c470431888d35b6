//! `RocksDB`: a column family of messages and one of references for each queue.

mod db;
mod ffi;

use std::ops::Range;
use std::path::Path;

use crate::BenchError;
use crate::contender::{Contender, Mode, OpenOptions};
use crate::payload::Payloads;
use db::Db;

const MESSAGES: usize = 1;
const FIRST_QUEUE: usize = 2;
/// Length of a GUID as text.
const TEXT_KEY_BYTES: usize = 36;

/// The database as a set of queues.
///
/// In all modes a reference's key is its number, big-endian. In mode `Reference` its value is the message's text key and the message
/// begins with its reference count. In the other modes the message has the number for its key, and goes
/// when all queues are past it.
pub struct Rocks {
    db: Db,
    mode: Mode,
    /// For each endpoint the number of its next message.
    heads: Vec<u64>,
    /// What was delivered and must be removed.
    taken: Vec<Vec<u8>>,
    value: Vec<u8>,
}

impl Rocks {
    /// Opens or makes the database.
    ///
    /// # Errors
    /// [`BenchError::Contender`].
    pub fn open(folder: &Path, options: OpenOptions) -> Result<Self, BenchError> {
        let mut names = vec!["default".to_owned(), "messages".to_owned()];
        names.extend((0..options.endpoints).map(|endpoint| format!("queue{endpoint}")));
        let db = Db::open(folder, &names)?;
        if options.mode == Mode::Reference {
            count_all(&db, names.len())?;
        }
        let heads = (0..options.endpoints).map(|endpoint| first_number(&db, FIRST_QUEUE + endpoint));
        let heads = heads.collect::<Result<_, _>>()?;
        Ok(Self { db, mode: options.mode, heads, taken: Vec::new(), value: Vec::new() })
    }

    fn put(&mut self, family: usize, key: &[u8], value: &[u8]) -> Result<(), BenchError> {
        if self.mode == Mode::Batch {
            self.db.batch_put(family, key, value);
            return Ok(());
        }
        self.db.put(family, key, value)
    }

    fn delete(&mut self, family: usize, key: &[u8]) -> Result<(), BenchError> {
        if self.mode == Mode::Batch {
            self.db.batch_delete(family, key);
            return Ok(());
        }
        self.db.delete(family, key)
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        if self.mode == Mode::Batch { self.db.batch_write() } else { Ok(()) }
    }

    /// Stores a message, or counts one more reference to it, and then the reference: once for each queue.
    fn append_counted(&mut self, number: u64, payloads: &Payloads) -> Result<(), BenchError> {
        let key = text_key(number);
        for endpoint in 0..self.heads.len() {
            let mut value = std::mem::take(&mut self.value);
            value.clear();
            if self.db.get(MESSAGES, &key, |found| value.extend_from_slice(found))? {
                change_count(&mut value, 1);
            } else {
                value.push(1);
                payloads.write(number, &mut value);
            }
            self.db.put(MESSAGES, &key, &value)?;
            self.value = value;
            self.db.put(FIRST_QUEUE + endpoint, &number.to_be_bytes(), &key)?;
        }
        Ok(())
    }

    fn append_plain(&mut self, number: u64, payloads: &Payloads) -> Result<(), BenchError> {
        let key = number.to_be_bytes();
        let mut value = std::mem::take(&mut self.value);
        value.clear();
        payloads.write(number, &mut value);
        self.put(MESSAGES, &key, &value)?;
        self.value = value;
        for endpoint in 0..self.heads.len() {
            self.put(FIRST_QUEUE + endpoint, &key, &key)?;
        }
        Ok(())
    }

    /// Takes one reference from a message, which goes with its last.
    fn remove_counted(&mut self, key: &[u8]) -> Result<(), BenchError> {
        let mut value = std::mem::take(&mut self.value);
        value.clear();
        self.db.get(MESSAGES, key, |found| value.extend_from_slice(found))?;
        change_count(&mut value, -1);
        if value.first().is_none_or(|count| *count == 0) {
            self.db.delete(MESSAGES, key)?;
        } else {
            self.db.put(MESSAGES, key, &value)?;
        }
        self.value = value;
        Ok(())
    }

    /// Removes references, and the messages that no queue needs any more.
    fn remove(&mut self, endpoint: usize, taken: &[Vec<u8>]) -> Result<(), BenchError> {
        let lowest = |heads: &[u64]| heads.iter().copied().min().unwrap_or_default();
        let before = lowest(&self.heads);
        let start = self.heads[endpoint];
        self.heads[endpoint] = start + taken.len() as u64;
        for (number, key) in (start..).zip(taken) {
            if self.mode == Mode::Reference {
                self.remove_counted(key)?;
            }
            self.delete(FIRST_QUEUE + endpoint, &number.to_be_bytes())?;
        }
        if self.mode != Mode::Reference {
            for number in before..lowest(&self.heads) {
                self.delete(MESSAGES, &number.to_be_bytes())?;
            }
        }
        self.flush()
    }

    /// Notes the message keys of the next references of a queue.
    fn choose(&mut self, endpoint: usize, max: usize, taken: &mut Vec<Vec<u8>>) -> Result<(), BenchError> {
        let from = self.heads[endpoint].to_be_bytes();
        self.db.scan(FIRST_QUEUE + endpoint, &from, |_, key| {
            if taken.len() < max {
                taken.push(key.to_vec());
            }
            taken.len() < max
        })
    }
}

/// The hub that is replaced counts every family when it opens.
fn count_all(db: &Db, families: usize) -> Result<(), BenchError> {
    for family in 0..families {
        let mut count = 0_u64;
        db.scan(family, &[], |_, _| {
            count += 1;
            true
        })?;
        std::hint::black_box(count);
    }
    Ok(())
}

fn first_number(db: &Db, family: usize) -> Result<u64, BenchError> {
    let mut first = 0;
    db.scan(family, &[], |key, _| {
        first = key.try_into().map_or(0, u64::from_be_bytes);
        false
    })?;
    Ok(first)
}

fn change_count(value: &mut [u8], by: i8) {
    if let Some(count) = value.first_mut() {
        *count = count.saturating_add_signed(by);
    }
}

/// A key like a GUID: the same for the same number, otherwise as good as random.
fn text_key(number: u64) -> [u8; TEXT_KEY_BYTES] {
    let (high, low) = (mixed(number), mixed(!number));
    let digits = u128::from(high) << 64 | u128::from(low);
    let mut key = [b'-'; TEXT_KEY_BYTES];
    let places = (0..TEXT_KEY_BYTES).filter(|place| ![8, 13, 18, 23].contains(place));
    for (at, place) in places.enumerate() {
        key[place] = b"0123456789abcdef"[(digits >> (4 * at) & 15) as usize];
    }
    key
}

/// The finaliser of `splitmix64`.
fn mixed(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

impl Contender for Rocks {
    fn append(&mut self, numbers: Range<u64>, payloads: &Payloads) -> Result<(), BenchError> {
        for number in numbers {
            match self.mode {
                Mode::Reference => self.append_counted(number, payloads)?,
                _ => self.append_plain(number, payloads)?,
            }
        }
        self.flush()
    }

    fn settle(&mut self) -> Result<(), BenchError> {
        Ok(())
    }

    fn consume(
        &mut self,
        endpoint: usize,
        max: usize,
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, BenchError> {
        let mut taken = std::mem::take(&mut self.taken);
        taken.clear();
        self.choose(endpoint, max, &mut taken)?;
        let head_bytes = usize::from(self.mode == Mode::Reference);
        for key in &taken {
            self.db.get(MESSAGES, key, |value| deliver(value.get(head_bytes..).unwrap_or_default()))?;
        }
        self.remove(endpoint, &taken)?;
        let count = taken.len();
        self.taken = taken;
        Ok(count)
    }

    fn close(self: Box<Self>) -> Result<(), BenchError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keys_look_like_guids() {
        let key = text_key(1);
        let parts: Vec<usize> = key.split(|byte| *byte == b'-').map(<[u8]>::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert!(key.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-'));
        assert_ne!(key, text_key(2));
        assert_eq!(key, text_key(1));
    }
}
