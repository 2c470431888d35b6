//! One pass over a body that finds every wanted path and checks the rest of the text.

use crate::body::escape::unescape;
use crate::body::mapper::{Mapper, Texts};
use crate::body::reader::{Piece, Reader, Token, deeper};
use crate::body::tree::{PathNode, PathSet};
use crate::body::wildcard::{self, Members};
use crate::body::window::Window;
use crate::value::Val;

/// Offsets, which tell one visit of a node from another, as nodes are visited again when members
/// have equal names.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Visit {
    /// Of the value last met at the node.
    own: u32,
    /// Of the value above it.
    parent: u32,
}

/// Buffers of a scan; they keep what they hold of the last one.
#[derive(Debug, Default)]
pub(crate) struct ScanBuffers {
    /// By node; of use only where something was found.
    visits: Vec<Visit>,
    members: Members,
}

/// Fills `found`, by slot, from the document `src`.
pub(crate) fn scan<'s, 'm, T: Texts<'s, 'm>>(
    src: &'s [u8],
    paths: &PathSet,
    buffers: &mut ScanBuffers,
    mapper: &mut Mapper<'_, T>,
    found: &mut [Val<'m>],
) -> Option<()> {
    found.fill(Val::Missing);
    if buffers.visits.len() < found.len() {
        buffers.visits.resize(found.len(), Visit::default());
    }
    let nodes = paths.nodes();
    let (reader, window) = (Reader::new(src)?, Window::new(src));
    let mut scan = Scan { src, reader, window, nodes, buffers, mapper, found, again: false };
    let (at, first) = reader.next(0, b'{')?;
    if first != b'{' {
        return None;
    }
    let end = scan.value(0, 0, at, first, 0)?;
    scan.reader.finish(end)?;
    if scan.again {
        scan.forget();
    }
    Some(())
}

struct Scan<'a, 'd, 's, 'm, T> {
    src: &'s [u8],
    reader: Reader<'s>,
    window: Window,
    nodes: &'a [PathNode],
    buffers: &'a mut ScanBuffers,
    mapper: &'a mut Mapper<'d, T>,
    found: &'a mut [Val<'m>],
    /// Whether a node was visited again.
    again: bool,
}

impl<'a, 's, 'm, T: Texts<'s, 'm>> Scan<'a, '_, 's, 'm, T> {
    /// Takes the value that begins with the byte `first` at `at`, wanted by the node and what is
    /// below it, in a container at `depth` whose value is at `parent`. As deep as a path is long.
    #[inline(always)]
    fn value(&mut self, node: u32, parent: usize, at: usize, first: u8, depth: u32) -> Option<usize> {
        let (token, behind) = self.reader.token(&mut self.window, at, first)?;
        let value = self.mapper.map(self.reader, token);
        self.put(node, parent, at, value);
        match token {
            Token::Object => self.object(self.nodes.get(node as usize)?, at, deeper(depth)?),
            Token::Array => self.array(self.nodes.get(node as usize)?, at, deeper(depth)?),
            _ => Some(behind),
        }
    }

    #[inline]
    fn put(&mut self, node: u32, parent: usize, at: usize, value: Val<'m>) {
        if let (Some(place), Some(visit)) =
            (self.found.get_mut(node as usize), self.buffers.visits.get_mut(node as usize))
        {
            // Whatever the body holds, it is not `Missing`.
            self.again |= !matches!(place, Val::Missing);
            *place = value;
            *visit = Visit { own: at as u32, parent: parent as u32 };
        }
    }

    #[inline(never)]
    fn object(&mut self, node: &'a PathNode, start: usize, depth: u32) -> Option<usize> {
        let end = if node.names.is_empty() {
            self.reader.skip_rest(&mut self.window, start + 1, true, depth)?
        } else {
            self.members(node, start, depth)?
        };
        for wildcard in &node.wildcards {
            let text = self.src.get(..end)?;
            let hit = wildcard::find(text, start, &wildcard.steps, &mut self.buffers.members)?;
            let value = self.wildcard_value(hit)?;
            self.put(wildcard.node, start, start, value);
        }
        Some(end)
    }

    fn members(&mut self, node: &'a PathNode, start: usize, depth: u32) -> Option<usize> {
        let reader = self.reader;
        let mut at = start + 1;
        loop {
            let (here, byte) = reader.next(at, b'"')?;
            if byte == b'}' {
                return Some(here + 1);
            }
            let (name, behind, byte) = reader.name(&mut self.window, here, byte)?;
            at = match self.child(node, name) {
                Some(child) => {
                    let (here, byte) = reader.next(behind, b'"')?;
                    self.value(child, start, here, byte, depth)?
                }
                None => reader.skip(&mut self.window, behind, byte, depth)?,
            };
            at = reader.after_value(at, b'}')?;
        }
    }

    /// The node below `node` of the member `name`.
    #[inline(always)]
    fn child(&mut self, node: &PathNode, name: Piece) -> Option<u32> {
        if name.escaped {
            return self.escaped_child(node, name);
        }
        let wanted = node.names.may_have(name.end - name.start);
        if wanted { node.names.get(self.reader.bytes(name)?) } else { None }
    }

    #[cold]
    fn escaped_child(&mut self, node: &PathNode, name: Piece) -> Option<u32> {
        unescape(&String::from_utf8_lossy(self.reader.bytes(name)?), self.mapper.decoded);
        node.names.get(self.mapper.decoded.as_bytes())
    }

    /// The elements up to the last one wanted are counted, the others skipped at once.
    #[inline(never)]
    fn array(&mut self, node: &'a PathNode, start: usize, depth: u32) -> Option<usize> {
        let (mut at, mut index) = (start + 1, 0);
        for (wanted, child) in &node.indexes {
            loop {
                let (here, byte) = self.reader.next(at, b']')?;
                if byte == b']' {
                    return Some(here + 1);
                }
                let is_wanted = index == *wanted;
                at = if is_wanted {
                    self.value(*child, start, here, byte, depth)?
                } else {
                    self.reader.skip(&mut self.window, here, byte, depth)?
                };
                at = self.reader.after_value(at, b']')?;
                index += 1;
                if is_wanted {
                    break;
                }
            }
        }
        self.reader.skip_rest(&mut self.window, at, false, depth)
    }

    fn wildcard_value(&mut self, hit: wildcard::Hits) -> Option<Val<'m>> {
        Some(match hit {
            wildcard::Hits::None => Val::Missing,
            wildcard::Hits::Many => Val::Undefined,
            wildcard::Hits::One(at) => {
                let at = at as usize;
                let (token, _) = self.reader.token(&mut self.window, at, *self.src.get(at)?)?;
                self.mapper.map(self.reader, token)
            }
        })
    }

    /// Of members with equal names the last one counts: takes back what was found below the others.
    fn forget(&mut self) {
        let Scan { nodes, buffers, found, .. } = self;
        for (node, place) in nodes.iter().enumerate().skip(1) {
            let under = place.parent as usize;
            let (visit, above) = (buffers.visits.get(node), buffers.visits.get(under));
            let current = visit.map(|visit| visit.parent) == above.map(|above| above.own)
                && found.get(under).is_some_and(|above| *above != Val::Missing);
            if let (false, Some(place)) = (current, found.get_mut(node)) {
                *place = Val::Missing;
            }
        }
    }
}
