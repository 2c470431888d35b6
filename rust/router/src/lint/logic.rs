//! Rules about what a condition says as a whole and how its parts are joined.

use crate::lang::ast::{Compare, Infix, NodeKind};
use crate::lang::builtin::Builtin;
use crate::lang::types::Type;
use crate::lint::expr::Constant;
use crate::lint::facts::{Facts, Fit};
use crate::lint::notes::Notes;
use crate::lint::warning::Warning;
use crate::lint::{Subject, types};

/// Looks at a condition that compiles.
pub(super) fn check(subject: &Subject<'_>, notes: &mut Notes<'_>) {
    if !whole(subject, notes) {
        constant_parts(subject, notes);
    }
    contradictions(subject, notes);
    for at in 0..subject.expr.nodes.len() {
        precedence(subject, at, notes);
        self_comparison(subject, at, notes);
        or_of_inequalities(subject, at, notes);
    }
}

/// Whether the whole was warned of: it always holds, or never does.
fn whole(subject: &Subject<'_>, notes: &mut Notes<'_>) -> bool {
    let expr = &subject.expr;
    let root = expr.root();
    if matches!(expr.ty(root), Type::Text | Type::Number) {
        notes.warn(expr.span(root), Warning::NoCondition { ty: expr.ty(root) });
        return true;
    }
    if subject.outcomes(root).always_holds() {
        notes.warn(expr.span(root), Warning::AlwaysTrue);
        return true;
    }
    if subject.outcomes(root).may_hold() {
        return false;
    }
    let parts = expr.parts(root, Infix::And);
    let culprit = parts.into_iter().find(|part| !subject.outcomes(*part).may_hold()).unwrap_or(root);
    if types::type_test(expr, culprit).is_none() {
        notes.warn(expr.span(culprit), Warning::NeverTrue);
    }
    true
}

/// The largest parts that are the same for every message.
fn constant_parts(subject: &Subject<'_>, notes: &mut Notes<'_>) {
    let expr = &subject.expr;
    for at in 0..expr.nodes.len() {
        let fixed = |node: usize| subject.outcomes(node).fixed().is_some();
        let Some(parent) = expr.parent(at).filter(|parent| fixed(at) && !fixed(*parent)) else { continue };
        let joined = matches!(expr.kind(parent), NodeKind::Not | NodeKind::Infix(Infix::And | Infix::Or));
        let compares = matches!(expr.kind(at), NodeKind::Infix(Infix::Compare(_)));
        if (joined || compares) && types::type_test(expr, expr.below_nots(at).0).is_none() {
            notes.warn(expr.span(at), Warning::ConstantPart);
        }
    }
}

fn contradictions(subject: &Subject<'_>, notes: &mut Notes<'_>) {
    let expr = &subject.expr;
    let mut facts = Facts::default();
    for part in expr.parts(expr.root(), Infix::And) {
        match facts.add(expr, &subject.keys, part) {
            Fit::Fits => {}
            Fit::Repeats => notes.warn(expr.span(part), Warning::RepeatedPart),
            Fit::Contradicts(before) => {
                let other = expr.source(before).to_owned();
                notes.warn(expr.span(part), Warning::Contradiction { other });
            }
        }
    }
}

/// `a ?? b = c` and `NOT a = b`, where they compile.
fn precedence(subject: &Subject<'_>, at: usize, notes: &mut Notes<'_>) {
    let expr = &subject.expr;
    let Some((left, right)) = expr.pair(at) else { return };
    let bare = |side: usize| !expr.in_parens(side);
    let logical = |side: usize| {
        matches!(expr.kind(side), NodeKind::Infix(Infix::Compare(_) | Infix::And | Infix::Or)) && bare(side)
    };
    match expr.kind(at) {
        NodeKind::Infix(Infix::Coalesce) if logical(left) || logical(right) => {
            notes.warn(expr.token_span(at), Warning::CoalescePrecedence);
        }
        NodeKind::Infix(Infix::Compare(_)) if expr.kind(left) == NodeKind::Not && bare(left) => {
            notes.warn(expr.token_span(left), Warning::NotPrecedence);
        }
        _ => {}
    }
}

fn self_comparison(subject: &Subject<'_>, at: usize, notes: &mut Notes<'_>) {
    let expr = &subject.expr;
    let Some((left, right)) = expr.pair(at) else { return };
    let compares = matches!(expr.kind(at), NodeKind::Infix(Infix::Compare(_)));
    let varies = subject.outcomes(at).fixed().is_none() && expr.literal(left).is_none();
    if compares && varies && subject.key(left) == subject.key(right) {
        notes.warn(expr.span(at), Warning::SelfComparison);
    }
}

/// `a != 'x' OR a != 'y'`.
fn or_of_inequalities(subject: &Subject<'_>, at: usize, notes: &mut Notes<'_>) {
    let expr = &subject.expr;
    let unequal = |side: usize| {
        let seen = expr.comparisons(side).find(|c| expr.literal(c.other).is_some())?;
        let pair = (subject.key(seen.operand), subject.key(seen.other));
        (seen.op == Compare::Ne).then_some(pair)
    };
    let Some((left, right)) = expr.pair(at).filter(|_| expr.kind(at) == NodeKind::Infix(Infix::Or)) else {
        return;
    };
    if let (Some((operand, one)), Some((same, other))) = (unequal(left), unequal(right))
        && operand == same
        && one != other
    {
        notes.warn(expr.span(at), Warning::OrOfInequalities);
    }
}

/// What `name` must be equal to for `part` to hold, lower-cased: `name = 'x'`, also of
/// `lower(name)`, or several of them joined by `OR`.
pub(super) fn required(subject: &Subject<'_>, part: usize, name: &str) -> Option<Vec<String>> {
    let expr = &subject.expr;
    let value = |part: usize| {
        let mut sides = expr.comparisons(part).filter(|seen| seen.op == Compare::Eq);
        sides.find_map(|seen| match (expr.literal(seen.other)?, names(subject, seen.operand, name)) {
            (Constant::Text(text), true) => Some(crate::text::fold(&text)),
            _ => None,
        })
    };
    expr.parts(part, Infix::Or).into_iter().map(value).collect()
}

fn names(subject: &Subject<'_>, at: usize, name: &str) -> bool {
    let expr = &subject.expr;
    let named = match expr.call(at) {
        Some((Builtin::Lower | Builtin::Upper, argument)) => argument,
        _ => at,
    };
    expr.system_name(named).is_some_and(|found| found == name)
}
