//! Messages on their way from Python to the router.

use edgehub_router::EncodedMessage;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::router::message::{MessageError, at_index, each, encode_into};

/// Encoded bytes that are collected before they are matched: large enough to make the release of the
/// GIL cheap, small enough to stay in the cache. One message may exceed it.
const CHUNK_BYTES: usize = 256 << 10;

/// Capacity of the buffer that is kept after a larger message.
const KEPT_BYTES_MAX: usize = 4 * CHUNK_BYTES;

/// What is wrong with one of several encoded messages.
pub(super) struct BadMessage {
    index: usize,
    what: String,
}

impl BadMessage {
    pub(super) fn new(index: usize, what: String) -> Self {
        BadMessage { index, what }
    }
}

impl From<BadMessage> for PyErr {
    fn from(bad: BadMessage) -> PyErr {
        MessageError::new_err(format!("messages[{}]: {}", bad.index, bad.what))
    }
}

/// Encoded messages that wait to be evaluated, one after another.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    bytes: Vec<u8>,
    /// Where each message ends.
    ends: Vec<usize>,
}

impl Waiting {
    /// Adds a mapping, which is encoded, or `bytes` as they are, which are checked when evaluated.
    fn push(&mut self, message: &Bound<'_, PyAny>) -> PyResult<()> {
        match message.cast::<PyBytes>() {
            Ok(encoded) => self.bytes.extend_from_slice(encoded.as_bytes()),
            Err(_) => encode_into(message, &mut self.bytes)?,
        }
        self.ends.push(self.bytes.len());
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= CHUNK_BYTES
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.ends.clear();
    }

    /// Takes messages in chunks: `work` gets each full chunk and the number of messages before it.
    ///
    /// # Errors
    /// The first message that is none, or what `work` answers.
    pub(super) fn feed(
        &mut self,
        messages: &Bound<'_, PyAny>,
        mut work: impl FnMut(&Waiting, usize) -> PyResult<()>,
    ) -> PyResult<()> {
        let mut before = 0;
        for message in each(messages)? {
            let index = before + self.ends.len();
            self.push(&message?).map_err(|error| at_index(messages.py(), index, &error))?;
            if self.is_full() {
                work(self, before)?;
                before += self.ends.len();
                self.clear();
            }
        }
        work(self, before)
    }

    /// Takes a single message in place of whatever waits.
    ///
    /// # Errors
    /// `MessageError` if it is none.
    pub(super) fn only(&mut self, message: &Bound<'_, PyAny>) -> PyResult<EncodedMessage<'_>> {
        self.clear();
        self.push(message)?;
        let bad = |what: String| MessageError::new_err(what);
        self.messages().next().unwrap_or_else(|| Err(String::new())).map_err(bad)
    }

    /// The messages; each takes all of its bytes.
    pub(super) fn messages(&self) -> impl Iterator<Item = Result<EncodedMessage<'_>, String>> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let bytes = self.bytes.get(start..*end).unwrap_or(&[]);
            start = *end;
            match EncodedMessage::parse(bytes) {
                Ok((msg, [])) => Ok(msg),
                Ok((_, rest)) => Err(format!(
                    "{} bytes follow the message; match_encoded takes several in one",
                    rest.len()
                )),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}
