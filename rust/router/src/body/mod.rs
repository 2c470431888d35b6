//! Values from the message body (routing section 8): which paths are wanted, and one pass over the
//! JSON text that finds them all.

#![allow(clippy::inline_always, reason = "measured: the scanner's steps are a few instructions each")]

mod blanks;
mod date;
mod escape;
mod mapper;
mod names;
mod number;
mod path;
mod reader;
mod scan;
mod tree;
mod wildcard;
mod window;

pub(crate) use date::is_date;
pub(crate) use path::{Step, parse_path};
pub(crate) use tree::PathSet;
pub use wildcard::WILDCARD_MEMBERS_MAX;

use crate::body::mapper::{Mapper, Texts};
use crate::body::scan::ScanBuffers;
use crate::message::{Lookup, MessageView};
use crate::value::Val;

/// Depth of nested objects and arrays beyond which a body is taken as unreadable.
pub const BODY_DEPTH_MAX: u32 = 64;

/// Bytes of a buffer that are kept from one message to the next.
const KEEP_BYTES: usize = 64 << 10;

/// What became of the body of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyState {
    /// No condition asked for it.
    Unread,
    /// The content type is not `application/json`, or absent.
    ContentType,
    /// The content encoding is not `utf-8`, `utf-16` or `utf-32`, or absent.
    ContentEncoding,
    /// It is not one JSON object.
    Malformed,
    /// It was read.
    Read,
}

/// Buffers of one reading that outlive the message.
#[derive(Debug, Default)]
pub(crate) struct BodyBuffers {
    /// The body as UTF-8 when it came in another encoding.
    pub(crate) transcoded: String,
    /// Text decoded from escapes.
    pub(crate) decoded: String,
    scan: ScanBuffers,
}

/// Finds every path of `paths` in the body of `msg` and puts the results into `found`, one for each
/// slot; texts that are no plain slice of the body are put through `keep`.
pub(crate) fn read<'m, M: MessageView + ?Sized>(
    msg: &'m M,
    paths: &PathSet,
    buffers: &mut BodyBuffers,
    found: &mut [Val<'m>],
    keep: Keep<'_, 'm>,
) -> BodyState {
    let state = match admit(msg) {
        Ok(encoding) => find_all(msg, encoding, paths, buffers, found, keep),
        Err(state) => state,
    };
    if state != BodyState::Read {
        found.fill(Val::Undefined);
    }
    state
}

fn find_all<'m, M: MessageView + ?Sized>(
    msg: &'m M,
    encoding: Encoding,
    paths: &PathSet,
    buffers: &mut BodyBuffers,
    found: &mut [Val<'m>],
    keep: Keep<'_, 'm>,
) -> BodyState {
    let BodyBuffers { transcoded, decoded, scan: buffers } = buffers;
    let body = msg.body();
    let done = if encoding == Encoding::Utf8 {
        scan::scan(body, paths, buffers, &mut Mapper { texts: Borrow(keep), decoded }, found)
    } else {
        encoding.transcode(body, transcoded);
        scan::scan(transcoded.as_bytes(), paths, buffers, &mut Mapper { texts: Copy(keep), decoded }, found)
    };
    for buffer in [transcoded, decoded] {
        if buffer.capacity() > KEEP_BYTES {
            buffer.clear();
            buffer.shrink_to(KEEP_BYTES);
        }
    }
    done.map_or(BodyState::Malformed, |()| BodyState::Read)
}

type Keep<'k, 'm> = &'k mut dyn FnMut(&str) -> Val<'m>;

/// Texts are slices of the message's own body.
struct Borrow<'k, 'm>(Keep<'k, 'm>);

/// Texts are copied, because what they stand in does not outlive the reading.
struct Copy<'k, 'm>(Keep<'k, 'm>);

impl<'m> Texts<'m, 'm> for Borrow<'_, 'm> {
    fn plain(&mut self, text: &'m str) -> Val<'m> {
        Val::Text(text)
    }

    fn decoded(&mut self, text: &str) -> Val<'m> {
        (self.0)(text)
    }
}

impl<'s, 'm> Texts<'s, 'm> for Copy<'_, 'm> {
    fn plain(&mut self, text: &'s str) -> Val<'m> {
        (self.0)(text)
    }

    fn decoded(&mut self, text: &str) -> Val<'m> {
        (self.0)(text)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Utf16,
    Utf32,
}

/// Checks content type and encoding; the spellings are exact but for their case.
fn admit<M: MessageView + ?Sized>(msg: &M) -> Result<Encoding, BodyState> {
    let encoding = match msg.system_property("contentencoding") {
        Lookup::Text("utf-8") => Encoding::Utf8,
        Lookup::Text(t) if t.eq_ignore_ascii_case("utf-8") => Encoding::Utf8,
        Lookup::Text(t) if t.eq_ignore_ascii_case("utf-16") => Encoding::Utf16,
        Lookup::Text(t) if t.eq_ignore_ascii_case("utf-32") => Encoding::Utf32,
        _ => return Err(BodyState::ContentEncoding),
    };
    match msg.system_property("contenttype") {
        Lookup::Text("application/json") => Ok(encoding),
        Lookup::Text(t) if t.eq_ignore_ascii_case("application/json") => Ok(encoding),
        _ => Err(BodyState::ContentType),
    }
}

impl Encoding {
    /// Decodes little-endian text; what is no character becomes U+FFFD, as does a cut-off rest.
    fn transcode(self, body: &[u8], into: &mut String) {
        into.clear();
        let unit = if self == Encoding::Utf16 { 2 } else { 4 };
        let units = body.chunks_exact(unit);
        let cut_off = !units.remainder().is_empty();
        if self == Encoding::Utf16 {
            let units = units.map(|u| u16::from_le_bytes([u[0], u[1]]));
            into.extend(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
        } else {
            let units = units.map(|u| u32::from_le_bytes([u[0], u[1], u[2], u[3]]));
            into.extend(units.map(|u| char::from_u32(u).unwrap_or(char::REPLACEMENT_CHARACTER)));
        }
        if cut_off {
            into.push(char::REPLACEMENT_CHARACTER);
        }
    }
}
