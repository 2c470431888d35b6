//! Which of the operations that were not synced a loss of power leaves behind.

use crate::disk::{Image, Op};

const SECTOR_BYTES: usize = 512;

/// A reproducible source of choices.
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// Equal seeds give equal choices.
    pub fn new(seed: u64) -> Self {
        Self { state: seed ^ 0x9E37_79B9_7F4A_7C15 }
    }

    /// A number below `limit`; 0 when the limit is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        // splitmix64
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)).checked_rem(limit).unwrap_or(0)
    }
}

/// A way to lose power.
#[derive(Debug, Clone)]
pub struct PowerCut {
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Prefix { ops: usize, torn_bytes: usize },
    RandomPrefix(Dice),
    Scattered(Dice),
    NamesOnly,
    ContentsOnly,
}

impl PowerCut {
    /// Nothing that was not synced is there.
    pub fn all_lost() -> Self {
        Self::prefix(0, 0)
    }

    /// The first `ops` operations are there, and of the next one, if it is a write, its first `torn_bytes` bytes.
    pub fn prefix(ops: usize, torn_bytes: usize) -> Self {
        Self { kind: Kind::Prefix { ops, torn_bytes } }
    }

    /// A prefix of random length, torn at a random byte.
    pub fn random_prefix(seed: u64) -> Self {
        Self { kind: Kind::RandomPrefix(Dice::new(seed)) }
    }

    /// Any sectors of any writes, in no order: what a disk with a cache does. Names come and go in order, as a
    /// journaling file system sees to.
    pub fn scattered(seed: u64) -> Self {
        Self { kind: Kind::Scattered(Dice::new(seed)) }
    }

    /// All names that came and went, and nothing of what was written.
    pub fn names_only() -> Self {
        Self { kind: Kind::NamesOnly }
    }

    /// All that was written, and none of the names that came and went.
    pub fn contents_only() -> Self {
        Self { kind: Kind::ContentsOnly }
    }

    pub(crate) fn image(self, durable: &Image, ops: &[Op]) -> Image {
        let mut image = durable.clone();
        match self.kind {
            Kind::Prefix { ops: count, torn_bytes } => apply_prefix(&mut image, ops, count, torn_bytes),
            Kind::RandomPrefix(mut dice) => {
                let count = dice.below(ops.len() as u64 + 1) as usize;
                let torn = match ops.get(count) {
                    Some(Op::Write { bytes, .. }) => dice.below(bytes.len() as u64 + 1) as usize,
                    _ => 0,
                };
                apply_prefix(&mut image, ops, count, torn);
            }
            Kind::Scattered(dice) => apply_scattered(&mut image, ops, dice),
            Kind::NamesOnly => ops.iter().filter(|op| op.file().is_none()).for_each(|op| image.apply(op)),
            Kind::ContentsOnly => ops.iter().filter(|op| op.file().is_some()).for_each(|op| image.apply(op)),
        }
        let named: Vec<_> = image.names.values().copied().collect();
        image.contents.retain(|file, _| named.contains(file));
        image
    }
}

fn apply_prefix(image: &mut Image, ops: &[Op], count: usize, torn_bytes: usize) {
    ops.iter().take(count).for_each(|op| image.apply(op));
    if let Some(Op::Write { file, offset, bytes }) = ops.get(count) {
        let bytes = bytes[..torn_bytes.min(bytes.len())].to_vec();
        if !bytes.is_empty() {
            image.apply(&Op::Write { file: *file, offset: *offset, bytes });
        }
    }
}

fn apply_scattered(image: &mut Image, ops: &[Op], mut dice: Dice) {
    let names_kept = dice.below(ops.len() as u64 + 1) as usize;
    for (index, op) in ops.iter().enumerate() {
        match op {
            Op::Write { file, offset, bytes } => {
                for (sector, part) in bytes.chunks(SECTOR_BYTES).enumerate() {
                    if dice.below(2) == 0 {
                        let offset = offset + (sector * SECTOR_BYTES) as u64;
                        image.apply(&Op::Write { file: *file, offset, bytes: part.to_vec() });
                    }
                }
            }
            Op::SetLen { .. } if dice.below(2) == 0 => image.apply(op),
            Op::SetLen { .. } => {}
            _ if index < names_kept => image.apply(op),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FaultyStorage;
    use edgehub_types::{Storage, StorageFile};

    fn written() -> (FaultyStorage, Box<dyn StorageFile>) {
        let storage = FaultyStorage::new();
        let file = storage.open("a", true).unwrap();
        storage.sync_dir().unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        file.write_all_at(b"def", 3).unwrap();
        (storage, file)
    }

    #[test]
    fn a_prefix_is_torn_at_the_byte() {
        let (storage, _file) = written();
        let after = storage.after_power_cut(PowerCut::prefix(1, 2));
        assert_eq!(after.content("a"), Some(b"abcde".to_vec()));
    }

    #[test]
    fn names_and_contents_can_go_their_own_ways() {
        let (storage, _file) = written();
        storage.rename("a", "b").unwrap();
        assert_eq!(storage.after_power_cut(PowerCut::names_only()).content("b"), Some(Vec::new()));
        let after = storage.after_power_cut(PowerCut::contents_only());
        assert_eq!(after.content("a"), Some(b"abcdef".to_vec()));
    }

    #[test]
    fn equal_seeds_cut_equally() {
        let (storage, _file) = written();
        for seed in 0..20 {
            let cut = || storage.after_power_cut(PowerCut::random_prefix(seed)).content("a");
            assert_eq!(cut(), cut());
        }
    }

    #[test]
    fn scattered_cuts_lose_the_first_and_keep_the_last() {
        let (storage, _file) = written();
        let images: Vec<_> = (0..40)
            .map(|seed| storage.after_power_cut(PowerCut::scattered(seed)).content("a").unwrap())
            .collect();
        assert!(images.contains(&b"\0\0\0def".to_vec()));
        assert!(images.contains(&b"abc".to_vec()));
    }
}
