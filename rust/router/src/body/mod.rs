//! Values from the message body (routing section 8): which paths are wanted, and one pass over the
//! JSON text that finds them all.

mod date;
mod number;
mod path;
mod reader;
mod scan;
mod wildcard;

pub(crate) use date::is_date;
pub(crate) use path::{PathSet, Step, parse_path};

use crate::body::scan::{Mapper, Texts};
use crate::message::{Lookup, MessageView};
use crate::value::Val;

/// Depth of nested objects and arrays beyond which a body is taken as unreadable.
pub const BODY_DEPTH_MAX: u32 = 64;

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
    found.fill(Val::Undefined);
    let encoding = match admit(msg) {
        Ok(encoding) => encoding,
        Err(state) => return state,
    };
    let BodyBuffers { transcoded, decoded } = buffers;
    let done = if encoding == Encoding::Utf8 {
        find_all(msg.body(), paths, &mut Mapper { texts: Borrow(keep), decoded }, found)
    } else {
        encoding.transcode(msg.body(), transcoded);
        find_all(transcoded.as_bytes(), paths, &mut Mapper { texts: Copy(keep), decoded }, found)
    };
    if done.is_some() {
        return BodyState::Read;
    }
    found.fill(Val::Undefined);
    BodyState::Malformed
}

fn find_all<'s, 'm, T: Texts<'s, 'm>>(
    src: &'s [u8],
    paths: &PathSet,
    mapper: &mut Mapper<'_, T>,
    found: &mut [Val<'m>],
) -> Option<()> {
    scan::scan(src, paths, mapper, found)?;
    for (steps, slot) in &paths.wildcards {
        let value = wildcard::find(src, steps, mapper)?;
        if let Some(place) = found.get_mut(*slot) {
            *place = value;
        }
    }
    Some(())
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
        Lookup::Text(t) if t.eq_ignore_ascii_case("utf-8") => Encoding::Utf8,
        Lookup::Text(t) if t.eq_ignore_ascii_case("utf-16") => Encoding::Utf16,
        Lookup::Text(t) if t.eq_ignore_ascii_case("utf-32") => Encoding::Utf32,
        _ => return Err(BodyState::ContentEncoding),
    };
    match msg.system_property("contenttype") {
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
