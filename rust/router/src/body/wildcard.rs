//! Paths with a wildcard: one match is the value, several are undefined, none is missing.

use std::collections::HashMap;

use crate::body::path::Step;
use crate::body::reader::{Reader, Token};
use crate::body::scan::{Mapper, Texts, name_of};
use crate::value::Val;

/// What a path has matched so far.
#[derive(Clone, Copy)]
enum Hits<'m> {
    None,
    One(Val<'m>),
    Many,
}

impl<'m> Hits<'m> {
    fn plus(self, other: Hits<'m>) -> Hits<'m> {
        match (self, other) {
            (Hits::None, hits) | (hits, Hits::None) => hits,
            _ => Hits::Many,
        }
    }
}

/// The value at `steps` in the document `src`.
pub(crate) fn find<'s, 'm, T: Texts<'s, 'm>>(
    src: &'s [u8],
    steps: &[Step],
    mapper: &mut Mapper<'_, T>,
) -> Option<Val<'m>> {
    let mut walk = Walk { reader: Reader::new(src)?, mapper };
    walk.reader.open()?;
    let hits = walk.value(steps, Token::Object)?;
    walk.reader.finish()?;
    Some(match hits {
        Hits::None => Val::Missing,
        Hits::One(value) => value,
        Hits::Many => Val::Undefined,
    })
}

struct Walk<'a, 'd, 's, T> {
    reader: Reader<'s>,
    mapper: &'a mut Mapper<'d, T>,
}

impl<'s, 'm, T: Texts<'s, 'm>> Walk<'_, '_, 's, T> {
    /// Recursion goes as deep as the path is long.
    fn value(&mut self, steps: &[Step], token: Token) -> Option<Hits<'m>> {
        match (steps.split_first(), token) {
            (None, token) => {
                let value = self.mapper.map(&self.reader, token);
                self.reader.skip(token)?;
                Some(Hits::One(value))
            }
            (Some((Step::Name(name), rest)), Token::Object) => self.named(name, rest),
            (Some((Step::Any, rest)), Token::Object) => self.any(rest),
            (Some((Step::Index(index), rest)), Token::Array) => self.indexed(*index, rest),
            (Some(_), token) => self.reader.skip(token).map(|()| Hits::None),
        }
    }

    fn named(&mut self, wanted: &str, rest: &[Step]) -> Option<Hits<'m>> {
        let mut hits = Hits::None;
        while !self.reader.closes(true)? {
            let name = self.reader.name()?;
            let is_wanted = name_of(&self.reader, name, self.mapper.decoded) == wanted.as_bytes();
            let token = self.reader.token()?;
            if is_wanted {
                hits = self.value(rest, token)?;
            } else {
                self.reader.skip(token)?;
            }
            self.reader.after_value(true)?;
        }
        Some(hits)
    }

    /// Members of one name count once, with the last value.
    fn any(&mut self, rest: &[Step]) -> Option<Hits<'m>> {
        let mut members: HashMap<Vec<u8>, Hits<'m>> = HashMap::new();
        while !self.reader.closes(true)? {
            let name = self.reader.name()?;
            let name = name_of(&self.reader, name, self.mapper.decoded).to_vec();
            let token = self.reader.token()?;
            let hits = self.value(rest, token)?;
            self.reader.after_value(true)?;
            members.insert(name, hits);
        }
        Some(members.into_values().fold(Hits::None, Hits::plus))
    }

    fn indexed(&mut self, wanted: u32, rest: &[Step]) -> Option<Hits<'m>> {
        let mut hits = Hits::None;
        let mut index = 0;
        while !self.reader.closes(false)? {
            let token = self.reader.token()?;
            if index == wanted {
                hits = self.value(rest, token)?;
            } else {
                self.reader.skip(token)?;
            }
            index += 1;
            self.reader.after_value(false)?;
        }
        Some(hits)
    }
}
