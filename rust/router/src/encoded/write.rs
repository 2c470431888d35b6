//! Encoding messages.

use crate::encoded::{
    ENCODED_BYTES_MAX, ENCODED_PROPERTIES_MAX, ENCODED_SOURCE_BYTES_MAX, ENTRY_BYTES, EncodedError,
    HEADER_BYTES, Header, NO_TEXT, VERSION, entry_of, lengths,
};
use crate::text::{fold, names_equal};

/// Appends one message to `out`: the path of its source, its properties (`None` is one that holds no
/// text), its body.
///
/// # Errors
/// A limit that is exceeded, or two names that differ only in case; then `out` is as before.
pub fn encode<'t, S, A>(
    source: &str,
    system: S,
    application: A,
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), EncodedError>
where
    S: IntoIterator<Item = (&'t str, Option<&'t str>), IntoIter: ExactSizeIterator>,
    A: IntoIterator<Item = (&'t str, Option<&'t str>), IntoIter: ExactSizeIterator>,
{
    let (system, application) = (system.into_iter(), application.into_iter());
    let mut writer = MessageWriter::begin(out, source, system.len(), application.len())?;
    for (name, value) in system.chain(application) {
        writer.property(name, value)?;
    }
    writer.finish(body)
}

/// Encodes a message property by property. A writer that is dropped before [`MessageWriter::finish`]
/// takes back what it wrote.
///
/// ```
/// use edgehub_router::{EncodedMessage, MessageWriter};
///
/// let mut bytes = Vec::new();
/// let mut writer = MessageWriter::begin(&mut bytes, "/messages/modules/m1", 1, 2)?;
/// writer.property("contentType", Some("application/json"))?; // the one system property
/// writer.property("kind", Some("a"))?;
/// writer.property("level", None)?;
/// writer.finish(b"{}")?;
/// assert_eq!(EncodedMessage::parse(&bytes)?.0.application().count(), 2);
/// # Ok::<(), edgehub_router::EncodedError>(())
/// ```
#[derive(Debug)]
pub struct MessageWriter<'o> {
    out: &'o mut Vec<u8>,
    /// Where the message begins in `out`.
    start: usize,
    source_bytes: u16,
    system_count: u16,
    application_count: u16,
    /// Properties written.
    given: usize,
    /// Marks of the names of the present kind; see [`mark_of`].
    marks_seen: u64,
    finished: bool,
}

impl<'o> MessageWriter<'o> {
    /// Begins a message at the end of `out` that will have exactly the given numbers of properties.
    ///
    /// # Errors
    /// [`EncodedError::SourceTooLong`], [`EncodedError::TooManyProperties`].
    #[inline]
    pub fn begin(
        out: &'o mut Vec<u8>,
        source: &str,
        system_count: usize,
        application_count: usize,
    ) -> Result<Self, EncodedError> {
        let (bytes, max) = (source.len(), ENCODED_SOURCE_BYTES_MAX);
        let source_bytes = u16::try_from(bytes).map_err(|_| EncodedError::SourceTooLong { bytes, max })?;
        let start = out.len();
        let writer = MessageWriter {
            source_bytes,
            system_count: checked_count(system_count)?,
            application_count: checked_count(application_count)?,
            start,
            given: 0,
            marks_seen: 0,
            finished: false,
            out,
        };
        let table_bytes = (system_count + application_count) * ENTRY_BYTES;
        writer.out.resize(start + HEADER_BYTES + table_bytes, 0);
        writer.out.extend_from_slice(source.as_bytes());
        Ok(writer)
    }

    /// Writes the next property: first the system properties, then the application properties. `None`
    /// is a property that holds no text.
    ///
    /// # Errors
    /// [`EncodedError::SameName`], [`EncodedError::TooLong`], [`EncodedError::PropertyCount`].
    #[inline]
    pub fn property(&mut self, name: &str, value: Option<&str>) -> Result<(), EncodedError> {
        let announced = self.announced();
        if self.given >= announced {
            return Err(EncodedError::PropertyCount { announced, given: self.given + 1 });
        }
        self.refuse_same_name(name)?;
        let text = value.unwrap_or("");
        self.make_room(name.len().saturating_add(text.len()))?;
        // Both fit: a message is shorter than the largest length.
        let value_bytes = value.map_or(NO_TEXT, |text| text.len() as u32);
        let entry_at = self.start + HEADER_BYTES + self.given * ENTRY_BYTES;
        if let Some(entry) = self.out.get_mut(entry_at..entry_at + ENTRY_BYTES) {
            entry.copy_from_slice(&entry_of(name.len() as u32, value_bytes));
        }
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(text.as_bytes());
        self.given += 1;
        Ok(())
    }

    /// Ends the message with its body.
    ///
    /// # Errors
    /// [`EncodedError::PropertyCount`] if properties are missing, [`EncodedError::TooLong`].
    #[inline]
    pub fn finish(mut self, body: &[u8]) -> Result<(), EncodedError> {
        let announced = self.announced();
        if self.given != announced {
            return Err(EncodedError::PropertyCount { announced, given: self.given });
        }
        self.make_room(body.len())?;
        let texts_at = self.start + HEADER_BYTES + announced * ENTRY_BYTES;
        let text_bytes = self.out.len() - texts_at;
        self.out.extend_from_slice(body);
        let header = Header {
            message_bytes: (self.out.len() - self.start) as u32,
            text_bytes: text_bytes as u32,
            source_bytes: self.source_bytes,
            system_count: self.system_count,
            application_count: self.application_count,
            version: VERSION,
        };
        if let Some(head) = self.out.get_mut(self.start..self.start + HEADER_BYTES) {
            head.copy_from_slice(&header.to_bytes());
        }
        self.finished = true;
        Ok(())
    }

    fn announced(&self) -> usize {
        usize::from(self.system_count) + usize::from(self.application_count)
    }

    fn make_room(&self, more_bytes: usize) -> Result<(), EncodedError> {
        let bytes = (self.out.len() - self.start).saturating_add(more_bytes);
        if bytes > ENCODED_BYTES_MAX {
            return Err(EncodedError::TooLong { bytes, max: ENCODED_BYTES_MAX });
        }
        Ok(())
    }

    /// Compares a name with those of the same kind before it. At most
    /// [`ENCODED_PROPERTIES_MAX`] are there, and most differ in length.
    #[inline]
    fn refuse_same_name(&mut self, name: &str) -> Result<(), EncodedError> {
        if self.given == usize::from(self.system_count) {
            self.marks_seen = 0;
        }
        let mark = mark_of(name);
        let new = self.marks_seen & mark == 0;
        self.marks_seen |= mark;
        // Beyond ASCII, names that differ only in case may have different marks.
        if new && name.is_ascii() { Ok(()) } else { self.compare_names(name) }
    }

    #[inline(never)]
    fn compare_names(&self, name: &str) -> Result<(), EncodedError> {
        let system_count = usize::from(self.system_count);
        let first = if self.given < system_count { 0 } else { system_count };
        let table_at = self.start + HEADER_BYTES;
        let table_end = table_at + self.given * ENTRY_BYTES;
        let (table, _) = self.out.get(table_at..table_end).unwrap_or(&[]).as_chunks();
        let folded = if name.is_ascii() { None } else { Some(fold(name)) };
        // The names of this kind end where the texts do now, so they are walked from the back.
        let mut end = self.out.len();
        for entry in table.get(first..).unwrap_or(&[]).iter().rev() {
            let (name_bytes, value_bytes) = lengths(*entry);
            let value_at = end - value_bytes.unwrap_or(0);
            let name_at = value_at - name_bytes;
            let other = self.out.get(name_at..value_at).unwrap_or(&[]);
            if same_name(name, folded.as_deref(), other) {
                let first = String::from_utf8_lossy(other).into_owned();
                return Err(EncodedError::SameName { first, second: name.to_owned() });
            }
            end = name_at;
        }
        Ok(())
    }
}

impl Drop for MessageWriter<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.out.truncate(self.start);
        }
    }
}

fn checked_count(count: usize) -> Result<u16, EncodedError> {
    match u16::try_from(count) {
        Ok(small) if count <= ENCODED_PROPERTIES_MAX => Ok(small),
        _ => Err(EncodedError::TooManyProperties { count, max: ENCODED_PROPERTIES_MAX }),
    }
}

/// One of 64 bits, by the length and by the first and last byte. ASCII names that differ only in case
/// have the same one, few others do.
#[inline]
fn mark_of(name: &str) -> u64 {
    let letter = |byte: Option<&u8>| byte.map_or(0, |byte| usize::from(*byte | 0x20));
    let ends = letter(name.as_bytes().first()) + 5 * letter(name.as_bytes().last());
    1 << ((ends + 11 * name.len()) % 64)
}

/// Whether two names are the same to a condition; `folded` is `name` lower-cased if it is not ASCII.
#[inline]
fn same_name(name: &str, folded: Option<&str>, other: &[u8]) -> bool {
    match folded {
        None => name.len() == other.len() && name.as_bytes().eq_ignore_ascii_case(other),
        Some(folded) => std::str::from_utf8(other).is_ok_and(|o| !o.is_ascii() && names_equal(folded, o)),
    }
}
