//! Rules about types: what compiles, but compares things that do not go together.

use crate::lang::ast::{Compare, NodeKind};
use crate::lang::builtin::Builtin;
use crate::lang::types::Type;
use crate::lint::Subject;
use crate::lint::expr::{Constant, Expr};
use crate::lint::notes::Notes;
use crate::lint::warning::Warning;
use crate::number::as_number;
use crate::text::{lower_char, upper_char};

/// Looks at a condition that compiles.
pub(super) fn check(subject: &Subject<'_>, notes: &mut Notes<'_>) {
    let expr = &subject.expr;
    for at in 0..expr.nodes.len() {
        if let Some(warning) = type_test(expr, at) {
            notes.warn(expr.span(at), warning);
        }
        for warning in comparison(expr, at) {
            notes.warn(expr.span(at), warning);
        }
    }
}

/// A question for a type that is known not to be.
pub(super) fn type_test(expr: &Expr<'_>, at: usize) -> Option<Warning> {
    let (builtin, argument) = expr.call(at)?;
    let (function, wanted) = match builtin {
        Builtin::IsNumber => ("is_number", Type::Number),
        Builtin::IsString => ("is_string", Type::Text),
        Builtin::IsBool => ("is_bool", Type::Bool),
        _ => return None,
    };
    let ty = expr.ty(argument);
    (ty != wanted && ty != Type::Value).then_some(Warning::TypeTest { function, ty })
}

fn comparison(expr: &Expr<'_>, at: usize) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for seen in expr.comparisons(at) {
        let Some(Constant::Text(text)) = expr.literal(seen.other) else { continue };
        let orders = !matches!(seen.op, Compare::Eq | Compare::Ne);
        if orders && expr.is_property(seen.operand) && is_number(&text) {
            warnings.push(Warning::TextOrder { property: expr.source(seen.operand).to_owned() });
        }
        if !orders && let Some(warning) = other_case(expr, seen.operand, &text) {
            warnings.push(warning);
        }
    }
    warnings
}

/// Whether `text` reads like a number.
pub(super) fn is_number(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_digit()) && as_number(text).is_some()
}

/// A text that `lower` or `upper` never gives.
fn other_case(expr: &Expr<'_>, at: usize, text: &str) -> Option<Warning> {
    let (function, convert): (_, fn(char) -> char) = match (expr.kind(at), expr.function(at)) {
        (NodeKind::Call { .. }, Some(Builtin::Lower)) => ("lower", lower_char),
        (NodeKind::Call { .. }, Some(Builtin::Upper)) => ("upper", upper_char),
        _ => return None,
    };
    let right: String = text.chars().map(convert).collect();
    (right != text).then_some(Warning::CaseNeverEqual { function, right })
}
