//! Rules about the message body (routing section 8).

use std::collections::HashMap;

use crate::body::is_date;
use crate::lang::ast::{Compare, Infix, NodeKind};
use crate::lang::builtin::Builtin;
use crate::lang::types::Type;
use crate::lint::Subject;
use crate::lint::expr::{Comparison, Constant, opposite};
use crate::lint::keys::Key;
use crate::lint::logic::required;
use crate::lint::notes::Notes;
use crate::lint::types::is_number;
use crate::lint::warning::Warning;

/// Looks at a condition that compiles; `twin_only` says that only twin changes meet it.
pub(super) fn check(subject: &Subject<'_>, twin_only: bool, notes: &mut Notes<'_>) {
    let expr = &subject.expr;
    let Some(first) = (0..expr.nodes.len()).find(|at| expr.is_body(*at)) else { return };
    if twin_only {
        notes.warn(expr.token_span(first), Warning::BodyOfTwinChange);
        return;
    }
    content_type(subject, first, notes);
    for at in 0..expr.nodes.len() {
        operators(subject, at, notes);
    }
    Walk::default().run(subject, notes);
}

/// Whether the condition asks for JSON in an encoding that is read.
fn content_type(subject: &Subject<'_>, first: usize, notes: &mut Notes<'_>) {
    let ty = requirement(subject, "contenttype", &["application/json"]);
    let encoding = requirement(subject, "contentencoding", &["utf-8", "utf-16", "utf-32"]);
    let warning = match (ty, encoding) {
        (Require::Other(required), _) => Warning::BodyOfOtherType { property: "contentType", required },
        (_, Require::Other(required)) => Warning::BodyOfOtherType { property: "contentEncoding", required },
        (Require::Right, Require::Right) => return,
        (Require::Right, _) => Warning::BodyQuery { missing: "$contentEncoding = 'utf-8'" },
        (_, Require::Right) => Warning::BodyQuery { missing: "$contentType = 'application/json'" },
        _ => {
            Warning::BodyQuery { missing: "$contentType = 'application/json' AND $contentEncoding = 'utf-8'" }
        }
    };
    notes.warn(subject.expr.token_span(first), warning);
}

/// What the condition asks of a system property.
enum Require {
    Nothing,
    /// Something for which the body is read.
    Right,
    /// Something for which it is not.
    Other(String),
}

fn requirement(subject: &Subject<'_>, name: &str, right: &[&str]) -> Require {
    let mut found = Require::Nothing;
    for part in subject.expr.parts(subject.expr.root(), Infix::And) {
        let Some(values) = required(subject, part, name) else { continue };
        let is_right = |value: &String| right.contains(&value.as_str());
        if values.iter().all(is_right) {
            found = Require::Right;
        } else if !values.iter().any(is_right) {
            return Require::Other(values.first().cloned().unwrap_or_default());
        }
    }
    found
}

/// Functions and operators that treat body values unlike others.
fn operators(subject: &Subject<'_>, at: usize, notes: &mut Notes<'_>) {
    let expr = &subject.expr;
    let path = |at: usize| expr.token(at).text(expr.text).to_owned();
    match expr.call(at).filter(|(_, argument)| expr.is_body(*argument)) {
        Some((Builtin::IsDefined, argument)) => {
            notes.warn(expr.span(at), Warning::IsDefinedOfBody { path: path(argument) });
        }
        Some((Builtin::IsNull, argument)) => {
            notes.warn(expr.span(at), Warning::IsNullOfBody { path: path(argument) });
        }
        _ => {}
    }
    match (expr.kind(at), expr.pair(at)) {
        (NodeKind::Infix(Infix::Coalesce), Some((left, _))) if expr.is_body(left) => {
            notes.warn(expr.token_span(at), Warning::CoalesceOfBody);
        }
        (NodeKind::Infix(Infix::Or), Some((left, right))) => {
            for side in [left, right].into_iter().filter(|side| expr.is_body(*side)) {
                notes.warn(expr.span(side), Warning::OrOfBody { path: path(side) });
            }
        }
        _ => {}
    }
}

/// What other parts of an `AND` say of a body path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Known {
    /// It is there and not null.
    Present,
    /// It is a text.
    Text,
}

enum Step {
    /// A part, and whether it must be true rather than false for the route to match.
    Enter(usize, bool),
    /// The end of parts between which these were known.
    Leave(Vec<(Key, Known)>),
}

/// A walk from the whole down to the comparisons, with what is known on the way.
#[derive(Default)]
struct Walk {
    known: HashMap<(Key, Known), usize>,
    open: Vec<Step>,
}

impl Walk {
    fn run(mut self, subject: &Subject<'_>, notes: &mut Notes<'_>) {
        self.open.push(Step::Enter(subject.expr.root(), true));
        while let Some(step) = self.open.pop() {
            match step {
                Step::Enter(at, positive) => self.enter(subject, at, positive, notes),
                Step::Leave(known) => self.forget(&known),
            }
        }
    }

    fn enter(&mut self, subject: &Subject<'_>, at: usize, positive: bool, notes: &mut Notes<'_>) {
        let expr = &subject.expr;
        match expr.kind(at) {
            NodeKind::Not => self.open.extend(at.checked_sub(1).map(|inner| Step::Enter(inner, !positive))),
            NodeKind::Infix(infix @ (Infix::And | Infix::Or)) => {
                let parts = expr.parts(at, infix);
                // All parts must hold; where all must fail it is the same the other way round.
                if (infix == Infix::And) == positive {
                    self.learn(parts.iter().filter_map(|part| known(subject, *part, positive)).collect());
                }
                self.open.extend(parts.into_iter().map(|part| Step::Enter(part, positive)));
            }
            NodeKind::Infix(Infix::Coalesce) => {
                self.open.extend(expr.operands(at).iter().map(|side| Step::Enter(*side, positive)));
            }
            NodeKind::Infix(Infix::Compare(_)) => self.compare(subject, at, positive, notes),
            _ => {}
        }
    }

    fn learn(&mut self, known: Vec<(Key, Known)>) {
        for fact in &known {
            *self.known.entry(*fact).or_default() += 1;
        }
        self.open.push(Step::Leave(known));
    }

    fn forget(&mut self, known: &[(Key, Known)]) {
        for fact in known {
            if let Some(count) = self.known.get_mut(fact) {
                *count -= 1;
            }
        }
    }

    fn knows(&self, fact: (Key, Known)) -> bool {
        self.known.get(&fact).is_some_and(|count| *count > 0)
    }

    fn compare(&self, subject: &Subject<'_>, at: usize, positive: bool, notes: &mut Notes<'_>) {
        let expr = &subject.expr;
        let mut missing = false;
        for seen in expr.comparisons(at).filter(|seen| expr.is_body(seen.operand)) {
            let key = subject.key(seen.operand);
            let op = if positive { seen.op } else { opposite(seen.op) };
            let present = [Known::Present, Known::Text].iter().any(|known| self.knows((key, *known)));
            if !missing && !present && holds_for_null(expr.ty(seen.other), op) {
                missing = true;
                let path = expr.token(seen.operand).text(expr.text).to_owned();
                notes.warn(expr.token_span(seen.operand), Warning::MissingBodyPath { path });
            }
            if let Some(Constant::Text(text)) = expr.literal(seen.other)
                && let Some(warning) = text_warning(text, self.knows((key, Known::Text)))
            {
                notes.warn(expr.token_span(seen.other), warning);
            }
        }
    }
}

/// Whether a path that leads nowhere makes `path op other` true though it looks as if it did not.
fn holds_for_null(other: Type, op: Compare) -> bool {
    let beside_null = matches!(other, Type::Null | Type::Undefined);
    !beside_null && matches!(op, Compare::Gt | Compare::Ge | Compare::Ne)
}

/// What is odd about comparing a body value with `text`.
fn text_warning(text: String, is_text: bool) -> Option<Warning> {
    if is_date(&text) {
        return Some(Warning::DateText);
    }
    match text.as_str() {
        _ if is_text => None,
        "true" | "false" => Some(Warning::QuotedBool { value: text == "true" }),
        _ => is_number(&text).then_some(Warning::QuotedNumber { number: text }),
    }
}

/// What the part says of a body path where it is true, or false if not `positive`.
fn known(subject: &Subject<'_>, part: usize, positive: bool) -> Option<(Key, Known)> {
    let expr = &subject.expr;
    let (at, even) = expr.below_nots(part);
    let positive = positive == even;
    if let Some((builtin, argument)) = expr.call(at) {
        let known = match builtin {
            Builtin::IsString if positive => Known::Text,
            Builtin::IsNumber | Builtin::IsBool | Builtin::IsNull if positive => Known::Present,
            // Undefined of null, whichever way they are asked.
            Builtin::StartsWith | Builtin::EndsWith | Builtin::Contains => Known::Present,
            _ => return None,
        };
        return expr.is_body(argument).then(|| (subject.key(argument), known));
    }
    expr.comparisons(at).find_map(|seen| {
        let op = if positive { seen.op } else { opposite(seen.op) };
        let operand = present_operand(subject, Comparison { op, ..seen })?;
        Some((subject.key(operand), Known::Present))
    })
}

/// The body path that is not null where the comparison holds.
fn present_operand(subject: &Subject<'_>, seen: Comparison) -> Option<usize> {
    let expr = &subject.expr;
    if let Some((Builtin::AsNumber, argument)) = expr.call(seen.operand) {
        return expr.is_body(argument).then_some(argument);
    }
    let fails_for_null = match (expr.ty(seen.other), seen.op) {
        (Type::Null, op) => matches!(op, Compare::Ne | Compare::Lt),
        (Type::Value, op) => op == Compare::Lt,
        (_, op) => matches!(op, Compare::Eq | Compare::Lt | Compare::Le),
    };
    (expr.is_body(seen.operand) && fails_for_null).then_some(seen.operand)
}
