//! What the parts that `AND` joins say together.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::lang::ast::{Compare, Infix};
use crate::lint::expr::{Constant, Expr, opposite};
use crate::lint::keys::{Key, negation};

/// An end of the range that an operand is in.
#[derive(Debug, Clone)]
struct Bound {
    constant: Constant,
    /// Whether the constant itself is out.
    strict: bool,
    /// Part that says so.
    part: usize,
}

/// Range of an operand. Equality is a range of one value.
#[derive(Debug, Default)]
struct Limits {
    lower: Option<Bound>,
    upper: Option<Bound>,
}

/// How a part goes with those before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It may hold with them.
    Fits,
    /// It was there before.
    Repeats,
    /// It never holds together with this part.
    Contradicts(usize),
}

/// The parts so far.
#[derive(Debug, Default)]
pub(super) struct Facts {
    seen: HashMap<Key, usize>,
    limits: HashMap<Key, Limits>,
}

impl Facts {
    /// Adds a part of the condition.
    pub(super) fn add(&mut self, expr: &Expr<'_>, keys: &[Key], part: usize) -> Fit {
        let Some(key) = keys.get(part).copied() else { return Fit::Fits };
        if let Some(before) = self.seen.get(&negation(key)) {
            return Fit::Contradicts(*before);
        }
        if self.seen.insert(key, part).is_some() {
            return Fit::Repeats;
        }
        match limit(expr, part) {
            Some((op, operand, constant)) => {
                let limits = self.limits.entry(keys.get(operand).copied().unwrap_or(key)).or_default();
                limits.add(op, &constant, part).map_or(Fit::Fits, Fit::Contradicts)
            }
            None => Fit::Fits,
        }
    }
}

impl Limits {
    /// Narrows the range; gives the part before that leaves nothing.
    fn add(&mut self, op: Compare, constant: &Constant, part: usize) -> Option<usize> {
        let bound = |strict| Bound { constant: constant.clone(), strict, part };
        let (lower, upper) = match op {
            Compare::Eq => (Some(bound(false)), Some(bound(false))),
            Compare::Gt | Compare::Ge => (Some(bound(op == Compare::Gt)), None),
            Compare::Lt | Compare::Le => (None, Some(bound(op == Compare::Lt))),
            Compare::Ne => (None, None),
        };
        let conflict = clash(lower.as_ref(), self.upper.as_ref(), part)
            .or_else(|| clash(self.lower.as_ref(), upper.as_ref(), part));
        if conflict.is_none() {
            tighten(&mut self.lower, lower, Ordering::Greater);
            tighten(&mut self.upper, upper, Ordering::Less);
        }
        conflict
    }
}

/// The part other than `part` of two ends between which nothing is.
fn clash(lower: Option<&Bound>, upper: Option<&Bound>, part: usize) -> Option<usize> {
    let (lower, upper) = (lower?, upper?);
    let empty = match lower.constant.order(&upper.constant) {
        Ordering::Less => false,
        Ordering::Equal => lower.strict || upper.strict,
        Ordering::Greater => true,
    };
    empty.then_some(if lower.part == part { upper.part } else { lower.part })
}

fn tighten(bound: &mut Option<Bound>, new: Option<Bound>, tighter: Ordering) {
    let Some(new) = new else { return };
    let replaces = bound.as_ref().is_none_or(|old| match new.constant.order(&old.constant) {
        Ordering::Equal => new.strict,
        order => order == tighter,
    });
    if replaces {
        *bound = Some(new);
    }
}

/// The comparison of an operand with a literal that `part` is.
fn limit(expr: &Expr<'_>, part: usize) -> Option<(Compare, usize, Constant)> {
    let (inner, positive) = expr.below_nots(part);
    let seen = expr.comparisons(inner).find(|c| expr.literal(c.other).is_some())?;
    let op = if positive { seen.op } else { opposite(seen.op) };
    Some((op, seen.operand, expr.literal(seen.other)?))
}

/// Equalities with a literal among the parts: keys of operand and literal, the first `max`.
pub(super) fn equalities(expr: &Expr<'_>, keys: &[Key], max: usize) -> Vec<(Key, Key)> {
    let parts = expr.parts(expr.root(), Infix::And);
    let equal = |part: usize| {
        let seen = expr.comparisons(part).find(|c| expr.literal(c.other).is_some())?;
        let pair = (*keys.get(seen.operand)?, *keys.get(seen.other)?);
        (seen.op == Compare::Eq).then_some(pair)
    };
    parts.into_iter().filter_map(equal).take(max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::lexer::lex;
    use crate::lang::parser::Parser;
    use crate::lint::keys::Keys;

    fn fits(text: &str) -> bool {
        let tree = Parser::new(text, &lex(text)).condition().unwrap();
        let expr = Expr::new(text, &tree);
        let keys = Keys::default().of_nodes(&expr);
        let mut facts = Facts::default();
        let parts = expr.parts(expr.root(), Infix::And);
        parts.into_iter().all(|part| facts.add(&expr, &keys, part) == Fit::Fits)
    }

    #[test]
    fn contradictions() {
        for text in [
            "a = 'x' AND a = 'y'",
            "a = 'x' AND b = 'z' AND 'y' = A",
            "a = 'x' AND a != 'x'",
            "a = 'x' AND NOT (a = 'x')",
            "as_number(t) > 30 AND as_number(t) < 10",
            "as_number(t) >= 30 AND 30 > as_number(t)",
            "as_number(t) = 5 AND as_number(t) > 5",
            "as_number(t) < 10 AND as_number(t) > -5 AND as_number(t) > 20",
            "as_number(t) < -5 AND NOT (as_number(t) < 3)",
            "$body.x > 'a' AND $body.x < 3",
            "is_defined(a) AND NOT is_defined(a)",
            "a = b AND b <> a",
        ] {
            assert!(!fits(text), "{text}");
        }
    }

    #[test]
    fn what_may_hold() {
        for text in [
            "a = 'x' AND b = 'y'",
            "a != 'x' AND a != 'y'",
            "as_number(t) >= 30 AND as_number(t) <= 30",
            "as_number(t) > 10 AND as_number(t) < 30 AND as_number(t) != 20",
            "$body.x > 30 AND $body.x = 'a'",
            "$body.x > 30 AND $body.y < 10",
            "a = 'x' AND a > 'w'",
            "as_number(t) > - 3 AND as_number(t) < -1",
        ] {
            assert!(fits(text), "{text}");
        }
    }
}
