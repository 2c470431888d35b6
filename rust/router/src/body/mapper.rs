//! What tokens of a body are worth as values (routing section 8.3).

use crate::body::date::is_date;
use crate::body::escape::unescape;
use crate::body::number;
use crate::body::reader::{Reader, Token};
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
    /// Value of a token; containers and dates are [`Val::Composite`].
    #[inline(always)]
    pub(crate) fn map<'s, 'm>(&mut self, reader: Reader<'s>, token: Token) -> Val<'m>
    where
        T: Texts<'s, 'm>,
    {
        match token {
            Token::Object | Token::Array => Val::Composite,
            Token::Text(piece) => self.text(reader.bytes(piece).unwrap_or(&[]), piece.escaped),
            Token::Number(piece) => {
                reader.bytes(piece).and_then(number::parse).map_or(Val::Undefined, Val::num)
            }
            Token::Infinity { negative: false } => Val::Num(f64::INFINITY),
            Token::Infinity { negative: true } => Val::Num(f64::NEG_INFINITY),
            Token::Bool(b) => Val::Bool(b),
            Token::Null => Val::Null,
            Token::Undefined => Val::Undefined,
        }
    }

    fn text<'s, 'm>(&mut self, bytes: &'s [u8], escaped: bool) -> Val<'m>
    where
        T: Texts<'s, 'm>,
    {
        match std::str::from_utf8(bytes) {
            Ok(text) if !escaped => {
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
