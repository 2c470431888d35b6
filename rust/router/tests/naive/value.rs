//! Values at run time, each with its static type as its variant.

use std::cmp::Ordering;

/// Value of a text expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Word {
    Undefined,
    /// A property without a text.
    Null,
    Is(Vec<u16>),
}

/// Value of an expression whose type is known at run time only.
#[derive(Debug, Clone, PartialEq)]
pub enum Dynamic {
    Undefined,
    /// Null in the body.
    Null,
    /// A path that leads nowhere; but for `is_null` this is null.
    Missing,
    Bool(bool),
    /// Never NaN, which is `Undefined`.
    Number(f64),
    Text(Vec<u16>),
    /// A property without a text where a body value may stand: defined, but not comparable.
    NullText,
}

/// Any value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NaN is the undefined number.
    Number(f64),
    Text(Word),
    Bool(Option<bool>),
    Null,
    Undefined,
    Body(Dynamic),
}

impl Value {
    /// The number held; NaN if there is none.
    pub fn number(&self) -> f64 {
        match self {
            Value::Number(n) | Value::Body(Dynamic::Number(n)) => *n,
            _ => f64::NAN,
        }
    }

    /// The text held.
    pub fn text(&self) -> Option<&[u16]> {
        match self {
            Value::Text(Word::Is(text)) | Value::Body(Dynamic::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The bool held.
    pub fn bool(&self) -> Option<bool> {
        match self {
            Value::Bool(bool) => *bool,
            Value::Body(Dynamic::Bool(bool)) => Some(*bool),
            _ => None,
        }
    }

    /// The value as one of the body, for a comparison with such a one.
    pub fn dynamic(&self) -> Dynamic {
        match self {
            Value::Number(n) if n.is_nan() => Dynamic::Undefined,
            Value::Number(n) => Dynamic::Number(*n),
            Value::Text(Word::Is(text)) => Dynamic::Text(text.clone()),
            Value::Bool(Some(bool)) => Dynamic::Bool(*bool),
            Value::Null => Dynamic::Null,
            Value::Body(dynamic) => dynamic.clone(),
            Value::Text(Word::Null) => Dynamic::NullText,
            Value::Text(Word::Undefined) | Value::Bool(None) | Value::Undefined => Dynamic::Undefined,
        }
    }
}

/// The text with U+FFFD for each half of a surrogate pair.
pub fn without_halves(units: &[u16]) -> Vec<u16> {
    String::from_utf16_lossy(units).encode_utf16().collect()
}

impl Dynamic {
    /// A number, unless it is the undefined one.
    pub fn from_number(n: f64) -> Dynamic {
        if n.is_nan() { Dynamic::Undefined } else { Dynamic::Number(n) }
    }

    fn rank(&self) -> Option<u8> {
        match self {
            Dynamic::Undefined | Dynamic::NullText => None,
            Dynamic::Bool(_) => Some(0),
            Dynamic::Number(_) => Some(1),
            Dynamic::Text(_) => Some(2),
            Dynamic::Null | Dynamic::Missing => Some(3),
        }
    }

    /// Order by type, then within the type; none if either is undefined.
    pub fn order(&self, other: &Dynamic) -> Option<Ordering> {
        let (left, right) = (self.rank()?, other.rank()?);
        match (self, other) {
            (Dynamic::Bool(a), Dynamic::Bool(b)) => Some(a.cmp(b)),
            (Dynamic::Number(a), Dynamic::Number(b)) => a.partial_cmp(b),
            (Dynamic::Text(a), Dynamic::Text(b)) => Some(a.cmp(b)),
            _ => Some(left.cmp(&right)),
        }
    }
}
