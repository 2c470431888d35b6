//! A list of properties as bytes: written once, read in place, never parsed into a map.
//!
//! Layout of one entry, integers little-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | number of the system property, 0 for an application property |
//! | 2 | length of the key, 0 for a system property |
//! | 4 | length of the value, `0xFFFF_FFFF` for null |
//! | .. | key, then value, UTF-8 |

use crate::SystemProperty;

const HEAD: usize = 7;
const NULL: u32 = u32::MAX;

/// Why a property cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PropertyError {
    /// The key has more than 65535 bytes.
    #[error("property key of {len} bytes; at most 65535")]
    KeyTooLong {
        /// Bytes of the key.
        len: usize,
    },
    /// The value has 4 GiB or more.
    #[error("property value of {len} bytes; at most 4294967294")]
    ValueTooLong {
        /// Bytes of the value.
        len: usize,
    },
}

/// What a property belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// One of the fixed system properties.
    System(SystemProperty),
    /// A property of the application, by name.
    Application(&'a str),
}

/// A list of properties, borrowed from a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Properties<'a> {
    bytes: &'a [u8],
}

impl<'a> Properties<'a> {
    /// Takes bytes that [`PropertiesBuf`] wrote. Damaged bytes end the list early.
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The bytes as written.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The entries in the order of their writing; a null value is `None`.
    pub fn iter(&self) -> Iter<'a> {
        Iter { rest: self.bytes }
    }

    /// The value of a system property: `None` absent, `Some(None)` null. The last entry wins.
    pub fn system(&self, property: SystemProperty) -> Option<Option<&'a str>> {
        self.iter().filter(|(key, _)| *key == Key::System(property)).last().map(|(_, value)| value)
    }

    /// The value of an application property, its name compared without case (routing section 6.1):
    /// `None` absent, `Some(None)` null. The last entry wins.
    pub fn application(&self, name: &str) -> Option<Option<&'a str>> {
        self.iter()
            .filter(|(key, _)| matches!(key, Key::Application(own) if eq_no_case(own, name)))
            .last()
            .map(|(_, value)| value)
    }

    /// Sum of the characters of all keys and values (routing section 10.1); system properties count
    /// with their route names.
    pub fn size_chars(&self) -> usize {
        self.iter()
            .map(|(key, value)| {
                let key = match key {
                    Key::System(property) => property.name(),
                    Key::Application(name) => name,
                };
                key.chars().count() + value.map_or(0, |value| value.chars().count())
            })
            .sum()
    }
}

fn eq_no_case(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || (!(a.is_ascii() && b.is_ascii()) && a.to_lowercase() == b.to_lowercase())
}

/// Iterator over [`Properties`].
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Key<'a>, Option<&'a str>);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = self.rest.split_at_checked(HEAD)?;
        let key_len = u16::from_le_bytes([head[1], head[2]]) as usize;
        let value_len = u32::from_le_bytes([head[3], head[4], head[5], head[6]]);
        let (key, rest) = rest.split_at_checked(key_len)?;
        let (value, rest) = rest.split_at_checked(if value_len == NULL { 0 } else { value_len as usize })?;
        self.rest = rest;
        let key = match head[0] {
            0 => Key::Application(std::str::from_utf8(key).ok()?),
            number => Key::System(SystemProperty::from_number(number)?),
        };
        let value = std::str::from_utf8(value).ok()?;
        Some((key, (value_len != NULL).then_some(value)))
    }
}

impl<'a> IntoIterator for &Properties<'a> {
    type Item = (Key<'a>, Option<&'a str>);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// A reusable buffer that properties are written to.
#[derive(Debug, Default)]
pub struct PropertiesBuf {
    bytes: Vec<u8>,
}

impl PropertiesBuf {
    /// Forgets the entries, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Appends one property.
    ///
    /// # Errors
    /// [`PropertyError`] when key or value are longer than the format can hold; nothing is written.
    pub fn push(&mut self, key: Key<'_>, value: Option<&str>) -> Result<(), PropertyError> {
        let (number, name) = match key {
            Key::System(property) => (property as u8, ""),
            Key::Application(name) => (0, name),
        };
        let key_len = u16::try_from(name.len()).map_err(|_| PropertyError::KeyTooLong { len: name.len() })?;
        let text = value.unwrap_or("");
        let value_len = u32::try_from(text.len())
            .ok()
            .filter(|len| *len != NULL)
            .ok_or(PropertyError::ValueTooLong { len: text.len() })?;
        self.bytes.push(number);
        self.bytes.extend_from_slice(&key_len.to_le_bytes());
        self.bytes.extend_from_slice(&(if value.is_some() { value_len } else { NULL }).to_le_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// The list as written so far.
    pub fn as_properties(&self) -> Properties<'_> {
        Properties::from_bytes(&self.bytes)
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_of_equal_names_wins_and_case_does_not_count() {
        let mut buf = PropertiesBuf::default();
        buf.push(Key::Application("Color"), Some("red")).unwrap();
        buf.push(Key::Application("color"), Some("blue")).unwrap();
        buf.push(Key::System(SystemProperty::MessageId), None).unwrap();
        let list = buf.as_properties();
        assert_eq!(list.application("COLOR"), Some(Some("blue")));
        assert_eq!(list.application("size"), None);
        assert_eq!(list.system(SystemProperty::MessageId), Some(None));
        assert_eq!(list.system(SystemProperty::To), None);
    }

    #[test]
    fn size_counts_characters_not_bytes() {
        let mut buf = PropertiesBuf::default();
        buf.push(Key::Application("ä"), Some("öü")).unwrap();
        buf.push(Key::System(SystemProperty::MessageId), Some("1")).unwrap();
        assert_eq!(buf.as_properties().size_chars(), 3 + "messageId".len() + 1);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entries in prop::collection::vec((".{0,12}", prop::option::of(".{0,20}")), 0..9)) {
            let mut buf = PropertiesBuf::default();
            for (key, value) in &entries {
                buf.push(Key::Application(key), value.as_deref()).unwrap();
            }
            let read: Vec<_> = buf.as_properties().iter().map(|(k, v)| (k, v.map(str::to_owned))).collect();
            let want: Vec<_> = entries.iter().map(|(k, v)| (Key::Application(k.as_str()), v.clone())).collect();
            prop_assert_eq!(read, want);
        }

        #[test]
        fn damaged_bytes_end_the_list(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(Properties::from_bytes(&bytes).iter().count() <= 60);
        }
    }
}
