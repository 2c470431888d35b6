//! A table of texts made once and asked for every message: open addressing over a list of entries.

use crate::text::{fold_char, names_equal};

/// How texts are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Exact,
    /// Without regard to case; keys are kept as [`crate::fold`] makes them.
    Folded,
}

/// Values by text. Adding is amortised, asking takes no allocation.
#[derive(Debug)]
pub(crate) struct TextTable<T> {
    case: Case,
    entries: Vec<(Box<str>, T)>,
    /// Index of an entry plus one, by hash; 0 is free. A power of two, at most half full.
    places: Vec<u32>,
    key_bytes_max: usize,
}

impl<T> TextTable<T> {
    pub(crate) fn new(case: Case) -> Self {
        TextTable { case, entries: Vec::new(), places: Vec::new(), key_bytes_max: 0 }
    }

    /// The value of `key`.
    #[inline]
    pub(crate) fn get(&self, key: &str) -> Option<&T> {
        // Folding changes the length of a few letters, so only exact tables know that a key is too long.
        if self.places.is_empty() || (self.case == Case::Exact && key.len() > self.key_bytes_max) {
            return None;
        }
        self.find(key).and_then(|entry| self.entries.get(entry)).map(|(_, value)| value)
    }

    /// The value of `key`, which is folded if the table is; made if it is new.
    pub(crate) fn get_or_insert_with(&mut self, key: &str, make: impl FnOnce() -> T) -> &mut T {
        if (self.entries.len() + 1) * 2 > self.places.len() {
            self.grow();
        }
        let entry = self.find(key).unwrap_or_else(|| {
            self.entries.push((key.into(), make()));
            self.key_bytes_max = self.key_bytes_max.max(key.len());
            self.place(self.entries.len() - 1);
            self.entries.len() - 1
        });
        &mut self.entries[entry].1
    }

    /// All values.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    fn grow(&mut self) {
        self.places = vec![0; (self.places.len() * 2).max(8)];
        for entry in 0..self.entries.len() {
            self.place(entry);
        }
    }

    fn place(&mut self, entry: usize) {
        let mask = self.places.len() - 1;
        let mut at = self.hash(&self.entries[entry].0) & mask;
        while self.places[at] != 0 {
            at = (at + 1) & mask;
        }
        self.places[at] = entry as u32 + 1;
    }

    #[inline]
    fn find(&self, key: &str) -> Option<usize> {
        let mask = self.places.len().checked_sub(1)?;
        let mut at = self.hash(key) & mask;
        loop {
            let entry = (*self.places.get(at)? as usize).checked_sub(1)?;
            if self.entries.get(entry).is_some_and(|(known, _)| self.equal(known, key)) {
                return Some(entry);
            }
            at = (at + 1) & mask;
        }
    }

    #[inline]
    fn equal(&self, known: &str, key: &str) -> bool {
        match self.case {
            Case::Exact => known == key,
            Case::Folded => names_equal(known, key),
        }
    }

    #[inline]
    fn hash(&self, key: &str) -> usize {
        let hash = match self.case {
            Case::Exact => key.bytes().fold(0, |hash, b| mix(hash, u32::from(b))),
            Case::Folded if key.is_ascii() => {
                key.bytes().fold(0, |hash, b| mix(hash, u32::from(b.to_ascii_lowercase())))
            }
            Case::Folded => key.chars().fold(0, |hash, c| mix(hash, u32::from(fold_char(c)))),
        };
        (hash ^ (hash >> 32)) as usize
    }
}

/// Keys come from the configuration, so the hash need not withstand an attacker.
#[inline]
fn mix(hash: u64, unit: u32) -> u64 {
    (hash.rotate_left(5) ^ u64::from(unit)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::fold;

    #[test]
    fn finds_every_key_and_no_other() {
        let mut table = TextTable::new(Case::Exact);
        for i in 0..1000 {
            *table.get_or_insert_with(&format!("key{i}"), || 0) = i;
            *table.get_or_insert_with(&format!("key{i}"), || 9999) += 1;
        }
        for i in 0..1000 {
            assert_eq!(table.get(&format!("key{i}")), Some(&(i + 1)));
        }
        for other in ["", "key", "key1000", "KEY1", "key1 and much more than any key"] {
            assert_eq!(table.get(other), None, "{other}");
        }
        assert_eq!(table.values_mut().count(), 1000);
    }

    #[test]
    fn folds_beyond_ascii() {
        let mut table = TextTable::new(Case::Folded);
        for name in ["Ärger", "m1", "M2"] {
            table.get_or_insert_with(&fold(name), || name);
        }
        assert_eq!(table.get("äRGER"), Some(&"Ärger"));
        assert_eq!(table.get("M1"), Some(&"m1"));
        assert_eq!(table.get("m2"), Some(&"M2"));
        assert_eq!(table.get("m3"), None);
        assert_eq!(TextTable::<u8>::new(Case::Folded).get("x"), None);
    }
}
