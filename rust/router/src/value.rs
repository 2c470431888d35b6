//! Values while a condition is evaluated, and what operators do with them.

use std::cmp::Ordering;

use crate::lang::ast::{Arith, Compare};
use crate::text::ordinal_cmp;

/// Bytes of the buffer for texts that a condition builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

/// A value of any type. NaN is never held: it is `Undefined`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Val<'m> {
    Undefined,
    /// The literal null, or null in the body.
    Null,
    /// A body path that leads nowhere: null, but `is_null` tells it apart.
    Missing,
    /// A property that is there without a text (a number in AMQP).
    NullText,
    /// Object, array or date in the body; becomes `Undefined` when loaded.
    Composite,
    Bool(bool),
    Num(f64),
    /// Text of the message or of the condition.
    Text(&'m str),
    /// Text in the buffer.
    Built(Span),
}

impl Val<'_> {
    /// A number, undefined if it is NaN.
    #[inline]
    pub(crate) fn num(n: f64) -> Self {
        if n.is_nan() { Val::Undefined } else { Val::Num(n) }
    }

    /// A bool that may be undefined.
    #[inline]
    pub(crate) fn from_bool(b: Option<bool>) -> Self {
        b.map_or(Val::Undefined, Val::Bool)
    }

    /// True, false, or neither.
    #[inline]
    pub(crate) fn as_bool(self) -> Option<bool> {
        match self {
            Val::Bool(b) => Some(b),
            _ => None,
        }
    }

    pub(crate) fn as_num(self) -> Option<f64> {
        match self {
            Val::Num(n) => Some(n),
            _ => None,
        }
    }

    /// Whether `is_defined` and `??` take it as defined: null is, even a missing path is.
    pub(crate) fn is_defined(self) -> bool {
        !matches!(self, Val::Undefined | Val::Composite)
    }

    /// Place in the order of types: bool, number, string, null. `None` for what never compares.
    fn rank(self) -> Option<u8> {
        match self {
            Val::Bool(_) => Some(0),
            Val::Num(_) => Some(1),
            Val::Text(_) | Val::Built(_) => Some(2),
            Val::Null | Val::Missing => Some(3),
            Val::Undefined | Val::NullText | Val::Composite => None,
        }
    }

    /// The text, if it is one.
    #[inline]
    pub(crate) fn text<'s>(self, buffer: &'s str) -> Option<&'s str>
    where
        Self: 's,
    {
        match self {
            Val::Text(text) => Some(text),
            Val::Built(span) => buffer.get(span.start as usize..(span.start + span.len) as usize),
            _ => None,
        }
    }
}

/// Compares two values; undefined if either is. Values of different types are never equal and
/// ordered by type, which static types allow for body values only (routing section 8.4).
#[inline]
pub(crate) fn compare(op: Compare, left: Val<'_>, right: Val<'_>, buffer: &str) -> Option<bool> {
    let ordering = match (left, right) {
        (Val::Num(a), Val::Num(b)) => return Some(number_holds(op, a, b)),
        (Val::Text(a), Val::Text(b)) => return Some(compare_text(op, a, b)),
        (Val::Bool(a), Val::Bool(b)) => a.cmp(&b),
        _ => compare_mixed(left, right, buffer)?,
    };
    Some(holds(op, ordering))
}

/// Compares two numbers, neither of which is NaN.
#[inline]
#[allow(clippy::float_cmp, reason = "the language compares exactly: 0.1 + 0.2 = 0.3 is false")]
pub(crate) fn number_holds(op: Compare, a: f64, b: f64) -> bool {
    match op {
        Compare::Eq => a == b,
        Compare::Ne => a != b,
        Compare::Lt => a < b,
        Compare::Le => a <= b,
        Compare::Gt => a > b,
        Compare::Ge => a >= b,
    }
}

/// Compares two texts.
#[inline]
pub(crate) fn compare_text(op: Compare, a: &str, b: &str) -> bool {
    match op {
        Compare::Eq => a == b,
        Compare::Ne => a != b,
        _ => holds(op, ordinal_cmp(a, b)),
    }
}

fn compare_mixed(left: Val<'_>, right: Val<'_>, buffer: &str) -> Option<Ordering> {
    match (left.text(buffer), right.text(buffer)) {
        (Some(a), Some(b)) => Some(ordinal_cmp(a, b)),
        _ => Some(left.rank()?.cmp(&right.rank()?)),
    }
}

fn holds(op: Compare, ordering: Ordering) -> bool {
    match op {
        Compare::Eq => ordering.is_eq(),
        Compare::Ne => ordering.is_ne(),
        Compare::Lt => ordering.is_lt(),
        Compare::Le => ordering.is_le(),
        Compare::Gt => ordering.is_gt(),
        Compare::Ge => ordering.is_ge(),
    }
}

/// Arithmetic; undefined unless both are numbers. `%` keeps the sign of the left side.
pub(crate) fn arith(op: Arith, left: Val<'_>, right: Val<'_>) -> Val<'static> {
    let (Val::Num(a), Val::Num(b)) = (left, right) else {
        return Val::Undefined;
    };
    Val::num(match op {
        Arith::Add => a + b,
        Arith::Sub => a - b,
        Arith::Mul => a * b,
        Arith::Div => a / b,
        Arith::Rem => a % b,
    })
}

/// Kleene `and`.
#[inline]
pub(crate) fn and(left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match (left, right) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// Kleene `or`.
#[inline]
pub(crate) fn or(left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match (left, right) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Option<bool>; 3] = [Some(true), Some(false), None];

    #[test]
    fn de_morgan_holds() {
        for a in ALL {
            for b in ALL {
                assert_eq!(and(a, b).map(|x| !x), or(a.map(|x| !x), b.map(|x| !x)));
                assert_eq!(and(a, b), and(b, a));
                assert_eq!(or(a, b), or(b, a));
            }
        }
    }

    #[test]
    fn types_rank_when_they_differ() {
        let order = [Val::Bool(true), Val::Num(-1.0), Val::Text(""), Val::Missing];
        for pair in order.windows(2) {
            assert_eq!(compare(Compare::Lt, pair[0], pair[1], ""), Some(true));
            assert_eq!(compare(Compare::Eq, pair[0], pair[1], ""), Some(false));
        }
        assert_eq!(compare(Compare::Eq, Val::Null, Val::Missing, ""), Some(true));
        assert_eq!(compare(Compare::Eq, Val::Undefined, Val::Null, ""), None);
        assert_eq!(compare(Compare::Ne, Val::NullText, Val::Text("x"), ""), None);
    }
}
