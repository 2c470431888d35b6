//! The wanted members of one object, looked up by name.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Names compared one after the other; more are hashed.
const FEW_NAMES: usize = 8;

/// Names and the place in the tree that each leads to.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Bit `n % 64` is set if a name of `n` bytes is wanted.
    lengths: u64,
    few: Vec<(Box<[u8]>, u32)>,
    /// All names, once there are more than [`FEW_NAMES`].
    many: Option<HashMap<Box<[u8]>, u32, Seed>>,
}

impl Names {
    /// Whether no name is wanted.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.lengths == 0
    }

    /// Adds a name that is not there yet.
    pub(crate) fn insert(&mut self, name: &str, node: u32) {
        self.lengths |= 1 << (name.len() % 64);
        let entry = (Box::from(name.as_bytes()), node);
        match &mut self.many {
            Some(many) => {
                many.insert(entry.0, entry.1);
            }
            None if self.few.len() < FEW_NAMES => self.few.push(entry),
            None => self.many = Some(self.few.drain(..).chain([entry]).collect()),
        }
    }

    /// Whether a name of `len` bytes may be wanted.
    #[inline(always)]
    pub(crate) fn may_have(&self, len: usize) -> bool {
        self.lengths >> (len % 64) & 1 == 1
    }

    /// The place that `name` leads to.
    #[inline]
    pub(crate) fn get(&self, name: &[u8]) -> Option<u32> {
        match &self.many {
            None => self.few.iter().find(|(known, _)| same(known, name)).map(|(_, node)| *node),
            Some(many) => many.get(name).copied(),
        }
    }
}

/// Whether two names are equal. Names are short: the call of a general comparison costs more.
#[inline]
fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if let (Some(a8), Some(b8)) = (a.first_chunk::<8>(), b.first_chunk::<8>()) {
        return a8 == b8 && a.last_chunk::<8>() == b.last_chunk() && (a.len() <= 16 || a == b);
    }
    if let (Some(a4), Some(b4)) = (a.first_chunk::<4>(), b.first_chunk::<4>()) {
        return a4 == b4 && a.last_chunk::<4>() == b.last_chunk();
    }
    a.iter().zip(b).all(|(a, b)| a == b)
}

/// Hashes names with a number drawn at random for each table, so that no list of names can be made
/// that all meet in one place.
#[derive(Debug, Clone)]
struct Seed(u64);

impl Default for Seed {
    fn default() -> Self {
        Seed(RandomState::new().hash_one(0))
    }
}

impl BuildHasher for Seed {
    type Hasher = Folder;

    #[inline]
    fn build_hasher(&self) -> Folder {
        Folder(self.0)
    }
}

/// An odd number with its bits well mixed: 2^64 divided by the golden ratio.
const FOLD_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Folds words into one by multiplication.
struct Folder(u64);

impl Folder {
    #[inline]
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(FOLD_FACTOR);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for Folder {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        let rest = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        self.fold(rest);
    }

    #[inline]
    fn write_usize(&mut self, n: usize) {
        self.fold(n as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        let names: Vec<String> = (0..200).map(|n: usize| "x".repeat(n % 20) + &n.to_string()).collect();
        for count in [0, 1, 2, FEW_NAMES, FEW_NAMES + 1, names.len()] {
            let mut table = Names::default();
            for (node, name) in names.iter().take(count).enumerate() {
                table.insert(name, node as u32);
            }
            assert_eq!(table.is_empty(), count == 0);
            for (node, name) in names.iter().enumerate() {
                let found = (node < count).then_some(node as u32);
                assert_eq!(table.get(name.as_bytes()), found, "{name} of {count}");
            }
        }
    }

    #[test]
    fn equal_at_every_length() {
        for len in 0..40 {
            let name = vec![b'n'; len];
            assert!(same(&name, &name.clone()));
            for at in 0..len {
                let mut other = name.clone();
                other[at] = b'm';
                assert!(!same(&name, &other), "{at} of {len}");
            }
            assert!(!same(&name, &vec![b'n'; len + 1]));
        }
    }
}
