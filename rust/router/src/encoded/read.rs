//! Reading encoded messages where they lie.

use crate::encoded::{
    ENCODED_BYTES_MAX, ENCODED_PROPERTIES_MAX, ENTRY_BYTES, EncodedError, Entry, HEADER_BYTES, Header,
    VERSION, lengths,
};
use crate::message::{Lookup, MessageView};
use crate::set::source::Source;
use crate::text::names_equal;

/// An encoded message, checked and ready to be asked; it borrows the bytes it was read from.
///
/// If two names differ only in case, which [`crate::encode`] refuses, the first one counts.
///
/// ```
/// use edgehub_router::{EncodedMessage, Lookup, MessageView, encode};
///
/// let mut bytes = Vec::new();
/// encode("/messages/", [("messageId", Some("7"))], [("kind", Some("a")), ("n", None)], b"{}", &mut bytes)?;
/// let (msg, rest) = EncodedMessage::parse(&bytes)?;
/// assert_eq!(msg.application_property("kind"), Lookup::Text("a"));
/// assert_eq!(msg.application_property("n"), Lookup::Null);
/// assert_eq!((msg.source_path(), msg.body(), rest.len()), ("/messages/", &b"{}"[..], 0));
/// # Ok::<(), edgehub_router::EncodedError>(())
/// ```
#[derive(Debug, Clone)]
pub struct EncodedMessage<'a> {
    source: &'a str,
    system: EncodedProperties<'a>,
    application: EncodedProperties<'a>,
    body: &'a [u8],
}

impl<'a> EncodedMessage<'a> {
    /// Reads the message at the start of `data`; also gives what follows it. Nothing is copied.
    ///
    /// # Errors
    /// [`EncodedError::Truncated`] if `data` ends too early, else what is wrong with the bytes.
    pub fn parse(data: &'a [u8]) -> Result<(Self, &'a [u8]), EncodedError> {
        let truncated = |needed| EncodedError::Truncated { needed, have: data.len() };
        let (head, _) = data.split_first_chunk::<HEADER_BYTES>().ok_or(truncated(HEADER_BYTES))?;
        let header = Header::from_bytes(*head);
        let message_bytes = checked_bytes(&header)?;
        let (message, rest) = data.split_at_checked(message_bytes).ok_or(truncated(message_bytes))?;
        Ok((Self::of(&header, message)?, rest))
    }

    /// The parts of a message whose length is right.
    fn of(header: &Header, message: &'a [u8]) -> Result<Self, EncodedError> {
        let properties = usize::from(header.system_count) + usize::from(header.application_count);
        let texts_at = HEADER_BYTES + properties * ENTRY_BYTES;
        let body_at = texts_at + header.text_bytes as usize;
        let (table, _) = message.get(HEADER_BYTES..texts_at).unwrap_or(&[]).as_chunks();
        let texts = std::str::from_utf8(message.get(texts_at..body_at).unwrap_or(&[]))
            .map_err(|e| EncodedError::NotUtf8 { at: texts_at + e.valid_up_to() })?;
        let (system, application) = table.split_at(usize::from(header.system_count).min(table.len()));
        let cut = |at| EncodedError::SplitCharacter { at: texts_at + at as usize };
        let source_end = u64::from(header.source_bytes);
        let system_end = measure(texts, source_end, system).map_err(cut)?;
        let end = measure(texts, system_end, application).map_err(cut)?;
        if end != texts.len() as u64 {
            return Err(EncodedError::Lengths { text_bytes: texts.len(), sum: end });
        }
        let part = |from: u64, to: u64| texts.get(from as usize..to as usize).ok_or(cut(from));
        Ok(EncodedMessage {
            source: part(0, source_end)?,
            system: EncodedProperties { table: system, texts: part(source_end, system_end)? },
            application: EncodedProperties { table: application, texts: part(system_end, end)? },
            body: message.get(body_at..).unwrap_or(&[]),
        })
    }

    /// Path of the source, such as `/messages/modules/m1/outputs/o1`.
    pub fn source_path(&self) -> &'a str {
        self.source
    }

    /// The source that the path stands for.
    #[inline]
    pub fn source(&self) -> Source<'a> {
        Source::parse(self.source)
    }

    /// The system properties.
    pub fn system(&self) -> EncodedProperties<'a> {
        self.system.clone()
    }

    /// The application properties.
    pub fn application(&self) -> EncodedProperties<'a> {
        self.application.clone()
    }
}

/// The length of the message, if all that the header says can be.
fn checked_bytes(header: &Header) -> Result<usize, EncodedError> {
    if header.version != VERSION {
        return Err(EncodedError::Version { found: header.version });
    }
    let (system, application) = (usize::from(header.system_count), usize::from(header.application_count));
    let count = system.max(application);
    if count > ENCODED_PROPERTIES_MAX {
        return Err(EncodedError::TooManyProperties { count, max: ENCODED_PROPERTIES_MAX });
    }
    let message_bytes = header.message_bytes as usize;
    if message_bytes > ENCODED_BYTES_MAX {
        return Err(EncodedError::TooLong { bytes: message_bytes, max: ENCODED_BYTES_MAX });
    }
    let table_bytes = (system + application) * ENTRY_BYTES;
    let needed = (HEADER_BYTES + table_bytes).saturating_add(header.text_bytes as usize);
    if message_bytes < needed {
        return Err(EncodedError::MessageBytes { message_bytes, needed });
    }
    Ok(message_bytes)
}

/// Adds up the lengths of `table` from `start`; the error is a place within a character. A sum beyond
/// the texts is given as it is.
#[inline]
fn measure(texts: &str, start: u64, table: &[Entry]) -> Result<u64, u64> {
    // Continuation bytes begin with the bits 10.
    let splits = |at: u64| texts.as_bytes().get(at as usize).is_some_and(|byte| byte & 0xC0 == 0x80);
    let mut at = start;
    if splits(at) {
        return Err(at);
    }
    for entry in table {
        let (name_bytes, value_bytes) = lengths(*entry);
        let value_at = at + name_bytes as u64;
        at = value_at + value_bytes.unwrap_or(0) as u64;
        if splits(value_at) || splits(at) {
            return Err(if splits(value_at) { value_at } else { at });
        }
    }
    Ok(at)
}

impl MessageView for EncodedMessage<'_> {
    #[inline]
    fn application_property(&self, name: &str) -> Lookup<'_> {
        self.application.get(name)
    }

    #[inline]
    fn system_property(&self, name: &str) -> Lookup<'_> {
        self.system.get(name)
    }

    #[inline]
    fn body(&self) -> &[u8] {
        self.body
    }
}

/// Properties of one kind of an encoded message; iterates over names and values in the order written.
#[derive(Debug, Clone)]
pub struct EncodedProperties<'a> {
    table: &'a [Entry],
    /// Names and values, one after another.
    texts: &'a str,
}

impl<'a> EncodedProperties<'a> {
    /// Number of properties.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The property `name`, which is lower-cased (see [`crate::fold`]).
    #[inline]
    fn get(&self, name: &str) -> Lookup<'a> {
        let ascii = name.is_ascii();
        let mut at = 0;
        for entry in self.table {
            let (name_bytes, value_bytes) = lengths(*entry);
            let value_at = at + name_bytes;
            let end = value_at + value_bytes.unwrap_or(0);
            let found = match ascii {
                true if name_bytes != name.len() => false,
                true => {
                    self.texts.as_bytes().get(at..value_at).is_some_and(|other| same(name.as_bytes(), other))
                }
                // Case changes the length of a name only beyond ASCII.
                false => self.texts.get(at..value_at).is_some_and(|other| names_equal(name, other)),
            };
            if found {
                let text = value_bytes.and_then(|_| self.texts.get(value_at..end));
                return text.map_or(Lookup::Null, Lookup::Text);
            }
            at = end;
        }
        Lookup::Absent
    }
}

/// Whether two names of equal length are the same but for case; `folded` is ASCII in lower case.
#[inline]
fn same(folded: &[u8], other: &[u8]) -> bool {
    let word_same = |word: [u8; 8], other: [u8; 8]| u64::from_le_bytes(word) == lower_word(other);
    // The last word may overlap the one before it.
    if let (Some(last), Some(other_last)) = (folded.last_chunk(), other.last_chunk()) {
        let pairs = folded.as_chunks().0.iter().zip(other.as_chunks().0);
        return word_same(*last, *other_last)
            && pairs.into_iter().all(|(word, other)| word_same(*word, *other));
    }
    match (half_words(folded), half_words(other)) {
        (Some(word), Some(other)) => word_same(word, other),
        _ => folded.eq_ignore_ascii_case(other),
    }
}

/// The first and the last four of four to seven bytes.
#[inline]
fn half_words(bytes: &[u8]) -> Option<[u8; 8]> {
    let (first, last) = (bytes.first_chunk()?, bytes.last_chunk()?);
    let both = u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32;
    Some(both.to_le_bytes())
}

/// Eight bytes at once, each upper-case ASCII letter made lower-case.
#[inline]
fn lower_word(bytes: [u8; 8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let word = u64::from_le_bytes(bytes);
    let low = word & !HIGH;
    // The high bit of each byte tells: at least `A`, beyond `Z`, not ASCII. No sum carries over.
    let from_a = low + ONES * (0x80 - b'A' as u64);
    let beyond_z = low + ONES * (0x7f - b'Z' as u64);
    word | ((from_a & !beyond_z & !word & HIGH) >> 2)
}

impl<'a> Iterator for EncodedProperties<'a> {
    type Item = (&'a str, Option<&'a str>);

    fn next(&mut self) -> Option<Self::Item> {
        let (entry, table) = self.table.split_first()?;
        let (name_bytes, value_bytes) = lengths(*entry);
        let (name, texts) = self.texts.split_at_checked(name_bytes)?;
        let (value, texts) = texts.split_at_checked(value_bytes.unwrap_or(0))?;
        *self = EncodedProperties { table, texts };
        Some((name, value_bytes.map(|_| value)))
    }
}

/// Messages encoded one after another. Ends after the first error, as what follows cannot be found.
///
/// ```
/// use edgehub_router::{EncodedMessages, encode};
///
/// let mut bytes = Vec::new();
/// for temp in ["20", "31"] {
///     encode("/messages/", [], [("temp", Some(temp))], b"", &mut bytes)?;
/// }
/// assert_eq!(EncodedMessages::new(&bytes).filter_map(Result::ok).count(), 2);
/// bytes.pop();
/// assert!(EncodedMessages::new(&bytes).last().is_some_and(|last| last.is_err()));
/// # Ok::<(), edgehub_router::EncodedError>(())
/// ```
#[derive(Debug, Clone)]
pub struct EncodedMessages<'a> {
    data: &'a [u8],
}

impl<'a> EncodedMessages<'a> {
    /// The messages in `data`.
    pub fn new(data: &'a [u8]) -> Self {
        EncodedMessages { data }
    }

    /// The bytes not read yet; none after an error.
    pub fn rest(&self) -> &'a [u8] {
        self.data
    }
}

impl<'a> Iterator for EncodedMessages<'a> {
    type Item = Result<EncodedMessage<'a>, EncodedError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.data.is_empty() {
            return None;
        }
        let parsed = EncodedMessage::parse(self.data);
        self.data = parsed.as_ref().map_or(&[], |(_, rest)| rest);
        Some(parsed.map(|(msg, _)| msg))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_lowered_as_their_bytes_are() {
        for byte in 0..=u8::MAX {
            let bytes = [byte, b'A', byte, b'Z', byte, b'@', b'[', byte];
            assert_eq!(lower_word(bytes), u64::from_le_bytes(bytes.map(|b| b.to_ascii_lowercase())));
        }
    }

    #[test]
    fn names_are_the_same_but_for_case() {
        let name = b"contentencoding-x";
        for len in 0..=name.len() {
            let upper = name[..len].to_ascii_uppercase();
            assert!(same(&name[..len], &upper) && same(&name[..len], &name[..len]));
            for at in 0..len {
                let mut other = upper.clone();
                other[at] ^= 0x40;
                assert!(!same(&name[..len], &other));
            }
        }
    }
}
