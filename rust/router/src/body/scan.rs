//! One pass over a body that finds every wanted path and checks the rest of the text.

use crate::body::date::is_date;
use crate::body::number;
use crate::body::path::{PathNode, PathSet};
use crate::body::reader::{Piece, Reader, Token, unescape};
use crate::value::Val;

/// Makes values of texts found.
pub(crate) trait Texts<'s, 'm> {
    /// A text that stands in the source as it is.
    fn plain(&mut self, text: &'s str) -> Val<'m>;
    /// A text decoded from it.
    fn decoded(&mut self, text: &str) -> Val<'m>;
}

/// Turns tokens into values.
pub(crate) struct Mapper<'d, T> {
    pub(crate) texts: T,
    /// Where escapes are decoded.
    pub(crate) decoded: &'d mut String,
}

impl<T> Mapper<'_, T> {
    /// Value of a token (routing section 8.3); containers and dates are [`Val::Composite`].
    pub(crate) fn map<'s, 'm>(&mut self, reader: &Reader<'s>, token: Token) -> Val<'m>
    where
        T: Texts<'s, 'm>,
    {
        match token {
            Token::Object | Token::Array => Val::Composite,
            Token::Text(piece) => self.text(reader.bytes(piece), piece),
            Token::Number(piece) => number::parse(reader.bytes(piece)).map_or(Val::Undefined, Val::num),
            Token::Infinity { negative: false } => Val::Num(f64::INFINITY),
            Token::Infinity { negative: true } => Val::Num(f64::NEG_INFINITY),
            Token::Bool(b) => Val::Bool(b),
            Token::Null => Val::Null,
            Token::Undefined => Val::Undefined,
        }
    }

    fn text<'s, 'm>(&mut self, bytes: &'s [u8], piece: Piece) -> Val<'m>
    where
        T: Texts<'s, 'm>,
    {
        match std::str::from_utf8(bytes) {
            Ok(text) if !piece.escaped => {
                if is_date(text) {
                    Val::Composite
                } else {
                    self.texts.plain(text)
                }
            }
            _ => {
                unescape(&String::from_utf8_lossy(bytes), self.decoded);
                if is_date(self.decoded) { Val::Composite } else { self.texts.decoded(self.decoded) }
            }
        }
    }
}

/// The name of a member, its escapes decoded.
pub(crate) fn name_of<'n>(reader: &Reader<'n>, piece: Piece, decoded: &'n mut String) -> &'n [u8] {
    let bytes = reader.bytes(piece);
    if !piece.escaped {
        return bytes;
    }
    unescape(&String::from_utf8_lossy(bytes), decoded);
    decoded.as_bytes()
}

/// Fills `found`, by slot, from the document `src`.
pub(crate) fn scan<'s, 'm, T: Texts<'s, 'm>>(
    src: &'s [u8],
    paths: &PathSet,
    mapper: &mut Mapper<'_, T>,
    found: &mut [Val<'m>],
) -> Option<()> {
    found.fill(Val::Missing);
    let mut scan = Scan { reader: Reader::new(src)?, paths, mapper, found };
    scan.reader.open()?;
    let root = paths.node(0)?;
    scan.put(root, Token::Object);
    scan.object(root)?;
    scan.reader.finish()
}

struct Scan<'a, 'd, 's, 'm, T> {
    reader: Reader<'s>,
    paths: &'a PathSet,
    mapper: &'a mut Mapper<'d, T>,
    found: &'a mut [Val<'m>],
}

impl<'a, 's, 'm, T: Texts<'s, 'm>> Scan<'a, '_, 's, 'm, T> {
    fn object(&mut self, node: &'a PathNode) -> Option<()> {
        if node.names.is_empty() {
            return self.reader.skip(Token::Object);
        }
        while !self.reader.closes(true)? {
            let name = self.reader.name()?;
            let child = self.member(node, name);
            let token = self.reader.token()?;
            self.value(child, token)?;
            self.reader.after_value(true)?;
        }
        Some(())
    }

    fn array(&mut self, node: &'a PathNode) -> Option<()> {
        if node.indexes.is_empty() {
            return self.reader.skip(Token::Array);
        }
        let mut index = 0;
        while !self.reader.closes(false)? {
            let token = self.reader.token()?;
            self.value(self.element(node, index), token)?;
            self.reader.after_value(false)?;
            index += 1;
        }
        Some(())
    }

    fn member(&mut self, node: &PathNode, name: Piece) -> Option<&'a PathNode> {
        let name = name_of(&self.reader, name, self.mapper.decoded);
        let child = node.names.iter().find(|(known, _)| known.as_bytes() == name)?.1;
        self.paths.node(child)
    }

    fn element(&self, node: &'a PathNode, index: u32) -> Option<&'a PathNode> {
        let child = node.indexes.iter().find(|(known, _)| *known == index)?.1;
        self.paths.node(child)
    }

    /// Takes one value, wanted by `node` and what is below it, or by nobody.
    fn value(&mut self, node: Option<&'a PathNode>, token: Token) -> Option<()> {
        let Some(node) = node else {
            return self.reader.skip(token);
        };
        // Of two members of one name the last one counts, with nothing left of the first.
        self.forget(node);
        self.put(node, token);
        match token {
            Token::Object => self.object(node),
            Token::Array => self.array(node),
            _ => Some(()),
        }
    }

    fn put(&mut self, node: &PathNode, token: Token) {
        if let Some(place) = node.slot.and_then(|slot| self.found.get_mut(slot)) {
            *place = self.mapper.map(&self.reader, token);
        }
    }

    /// At most as deep as a path is long.
    fn forget(&mut self, node: &'a PathNode) {
        let children = node.names.iter().map(|(_, c)| *c).chain(node.indexes.iter().map(|(_, c)| *c));
        for child in children.filter_map(|c| self.paths.node(c)) {
            if let Some(place) = child.slot.and_then(|slot| self.found.get_mut(slot)) {
                *place = Val::Missing;
            }
            self.forget(child);
        }
    }
}
