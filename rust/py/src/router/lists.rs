//! Lists of routes that decided, each kept once.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Lists that are kept from one batch to the next. A batch that begins with more starts over.
pub(super) const LISTS_MAX: usize = 4096;

/// Different lists of route indexes, numbered as they come.
#[derive(Debug, Default)]
pub(super) struct Lists {
    ids: HashMap<Box<[u32]>, u32, BuildHasherDefault<IndexHasher>>,
    all: Vec<Box<[u32]>>,
    /// The list asked for last: messages often come in runs.
    last: Option<u32>,
}

impl Lists {
    /// The number of a list.
    #[inline]
    pub(super) fn id_of(&mut self, list: &[u32]) -> u32 {
        if let Some(last) = self.last
            && self.get(last) == list
        {
            return last;
        }
        let id = self.ids.get(list).copied().unwrap_or_else(|| self.add(list));
        self.last = Some(id);
        id
    }

    fn add(&mut self, list: &[u32]) -> u32 {
        let id = self.all.len() as u32;
        self.all.push(list.into());
        self.ids.insert(list.into(), id);
        id
    }

    /// The list of a number; empty for a number never given.
    pub(super) fn get(&self, id: u32) -> &[u32] {
        self.all.get(id as usize).map_or(&[], |list| list)
    }

    /// Number of lists.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Lists::default();
    }
}

/// Hashes lists of small numbers that no attacker chooses: they are places of routes.
#[derive(Debug, Default)]
struct IndexHasher(u64);

impl IndexHasher {
    fn mix(&mut self, word: u64) {
        // A large odd constant spreads the low bits, the rotation brings them back to the low end.
        self.0 = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
}

impl Hasher for IndexHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.mix(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.mix(u64::from(number));
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_have_one_number() {
        let mut lists = Lists::default();
        let all: Vec<Vec<u32>> = (0..2000_u32).map(|i| (0..i % 7).map(|j| i / 7 + j * i).collect()).collect();
        let ids: Vec<u32> = all.iter().map(|list| lists.id_of(list)).collect();
        for (list, id) in all.iter().zip(&ids) {
            assert_eq!(lists.get(*id), list);
            assert_eq!(lists.id_of(list), *id);
        }
        let different: std::collections::HashSet<&Vec<u32>> = all.iter().collect();
        assert_eq!(lists.len(), different.len());
        lists.clear();
        assert_eq!((lists.len(), lists.get(0)), (0, &[][..]));
        assert_eq!(lists.id_of(&[5]), 0);
    }
}
