//! Paths with a wildcard: one match is the value, several are undefined, none is missing.
//!
//! The text of an object with such paths was read once and found well-formed; then each path walks
//! it again. A body thus costs as many more passes as there are paths with a wildcard, and the
//! objects that wildcards stand for are put in order if they have members with equal names: time
//! grows as `n log n` with the body. Recursion goes as deep as a path is long.

use crate::body::KEEP_BYTES;
use crate::body::escape::unescape;
use crate::body::path::Step;
use crate::body::reader::{Piece, Reader};
use crate::body::window::Window;

/// Members of objects that wildcards stand for, kept at a time for one path; with more, the value
/// of the path is undefined.
pub const WILDCARD_MEMBERS_MAX: usize = 1 << 16;

/// Members for which memory is kept from one message to the next.
const MEMBERS_KEEP: usize = 1 << 10;

/// What a path has matched: the offset of the value, if it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hits {
    None,
    One(u32),
    Many,
}

/// A member of an object that a wildcard stands for.
#[derive(Debug, Clone, Copy)]
struct Member {
    name: Name,
    /// Offset of its value.
    at: u32,
    /// What the rest of the path matches there.
    hits: Hits,
}

/// Where a name is: in the source, or decoded in [`Members::names`].
#[derive(Debug, Clone, Copy)]
struct Name {
    start: u32,
    end: u32,
    decoded: bool,
}

/// Members met below wildcards; those of an inner object come after those of the outer one.
#[derive(Debug, Default)]
pub(crate) struct Members {
    list: Vec<Member>,
    /// Names that hold escapes, decoded.
    names: String,
    /// The last of them.
    decoded: String,
    /// Whether there were more than [`WILDCARD_MEMBERS_MAX`].
    full: bool,
}

/// What `steps` match below the object at `start` of `src`, which ends with it.
pub(crate) fn find(src: &[u8], start: usize, steps: &[Step], members: &mut Members) -> Option<Hits> {
    let mut walk = Walk { src, reader: Reader::new(src)?, window: Window::new(src), members };
    let found = walk.value(steps, start, b'{');
    let full = members.full;
    members.clear();
    found.map(|(hits, _)| if full { Hits::Many } else { hits })
}

struct Walk<'a, 's> {
    src: &'s [u8],
    reader: Reader<'s>,
    window: Window,
    members: &'a mut Members,
}

impl Walk<'_, '_> {
    /// What `steps` match in the value that begins with the byte `first` at `at`, and the offset
    /// behind it.
    fn value(&mut self, steps: &[Step], at: usize, first: u8) -> Option<(Hits, usize)> {
        match (steps.split_first(), first) {
            (None, _) => Some((Hits::One(at as u32), self.reader.skip(&mut self.window, at, first, 0)?)),
            (Some((Step::Name(name), rest)), b'{') => self.named(name, rest, at + 1),
            (Some((Step::Any, rest)), b'{') => self.any(rest, at + 1),
            (Some((Step::Index(index), rest)), b'[') => self.indexed(*index, rest, at + 1),
            _ => Some((Hits::None, self.reader.skip(&mut self.window, at, first, 0)?)),
        }
    }

    /// The next member: its name, and where its value is and begins with; or the end of the object.
    fn member(&mut self, at: usize) -> Option<Result<(Piece, usize, u8), usize>> {
        let (at, byte) = self.reader.next(at, b'"')?;
        if byte == b'}' {
            return Some(Err(at + 1));
        }
        let (name, behind, _) = self.reader.name(&mut self.window, at, byte)?;
        let (at, byte) = self.reader.next(behind, b'"')?;
        Some(Ok((name, at, byte)))
    }

    /// Of members with equal names the last one counts.
    fn named(&mut self, wanted: &str, rest: &[Step], mut at: usize) -> Option<(Hits, usize)> {
        let mut hits = Hits::None;
        loop {
            let (name, here, first) = match self.member(at)? {
                Ok(member) => member,
                Err(end) => return Some((hits, end)),
            };
            let is_wanted = self.members.plain(self.src, name) == wanted.as_bytes();
            if is_wanted {
                (hits, at) = self.value(rest, here, first)?;
            } else {
                at = self.reader.skip(&mut self.window, here, first, 0)?;
            }
            at = self.reader.after_value(at, b'}')?;
        }
    }

    fn any(&mut self, rest: &[Step], mut at: usize) -> Option<(Hits, usize)> {
        let base = (self.members.list.len(), self.members.names.len());
        loop {
            let (name, here, first) = match self.member(at)? {
                Ok(member) => member,
                Err(end) => {
                    let hits = self.members.fold(self.src, base.0);
                    self.members.list.truncate(base.0);
                    self.members.names.truncate(base.1);
                    return Some((hits, end));
                }
            };
            let (hits, behind) = self.value(rest, here, first)?;
            // Without a match before it, a member without one changes nothing.
            if hits != Hits::None || self.members.list.len() > base.0 {
                self.members.push(self.src, name, here, hits);
            }
            at = self.reader.after_value(behind, b'}')?;
        }
    }

    fn indexed(&mut self, wanted: u32, rest: &[Step], mut at: usize) -> Option<(Hits, usize)> {
        let mut index = 0;
        loop {
            let (here, first) = self.reader.next(at, b'"')?;
            if first == b']' {
                return Some((Hits::None, here + 1));
            }
            if index == wanted {
                let (hits, behind) = self.value(rest, here, first)?;
                at = self.reader.after_value(behind, b']')?;
                return Some((hits, self.reader.skip_rest(&mut self.window, at, false, 0)?));
            }
            at = self.reader.skip(&mut self.window, here, first, 0)?;
            at = self.reader.after_value(at, b']')?;
            index += 1;
        }
    }
}

impl Members {
    fn clear(&mut self) {
        self.list.clear();
        self.list.shrink_to(MEMBERS_KEEP);
        self.names.clear();
        self.names.shrink_to(KEEP_BYTES);
        self.decoded.clear();
        self.decoded.shrink_to(KEEP_BYTES);
        self.full = false;
    }

    /// The name without escapes.
    fn plain<'n>(&'n mut self, src: &'n [u8], name: Piece) -> &'n [u8] {
        let bytes = src.get(name.start..name.end).unwrap_or(&[]);
        if !name.escaped {
            return bytes;
        }
        unescape(&String::from_utf8_lossy(bytes), &mut self.decoded);
        self.decoded.as_bytes()
    }

    fn push(&mut self, src: &[u8], name: Piece, at: usize, hits: Hits) {
        if self.list.len() >= WILDCARD_MEMBERS_MAX {
            self.full = true;
            return;
        }
        let (mut start, mut end) = (name.start, name.end);
        if name.escaped {
            self.plain(src, name);
            start = self.names.len();
            self.names.push_str(&self.decoded);
            end = self.names.len();
        }
        let name = Name { start: start as u32, end: end as u32, decoded: name.escaped };
        self.list.push(Member { name, at: at as u32, hits });
    }

    /// What all members from `base` on match together: those of one name count once, with the last.
    fn fold(&mut self, src: &[u8], base: usize) -> Hits {
        let Members { list, names, .. } = self;
        let list = list.get_mut(base..).unwrap_or(&mut []);
        let bytes = |member: &Member| name_bytes(src, names, member.name);
        let is_hit = |member: &Member| member.hits != Hits::None;
        let (Some(first), Some(last)) = (list.iter().position(is_hit), list.iter().rposition(is_hit)) else {
            return Hits::None;
        };
        // Mostly no two names are equal: then the first and the last match tell.
        let is_current = |at: usize| match list.get(at..) {
            Some([member, later @ ..]) => later.iter().all(|other| bytes(other) != bytes(member)),
            _ => false,
        };
        match (is_current(first), is_current(last)) {
            (true, true) if first == last => list.get(first).map_or(Hits::None, |member| member.hits),
            (true, true) => Hits::Many,
            _ => {
                list.sort_unstable_by(|a, b| bytes(a).cmp(bytes(b)).then(a.at.cmp(&b.at)));
                let current = list.chunk_by(|a, b| bytes(a) == bytes(b)).filter_map(<[Member]>::last);
                current.fold(Hits::None, |hits, member| hits.plus(member.hits))
            }
        }
    }
}

impl Hits {
    fn plus(self, other: Hits) -> Hits {
        match (self, other) {
            (Hits::None, hits) | (hits, Hits::None) => hits,
            _ => Hits::Many,
        }
    }
}

fn name_bytes<'n>(src: &'n [u8], names: &'n str, name: Name) -> &'n [u8] {
    let from = if name.decoded { names.as_bytes() } else { src };
    from.get(name.start as usize..name.end as usize).unwrap_or(&[])
}
