//! Which verdicts a condition can have at all (routing sections 5.4 and 5.5).

use crate::condition::{Condition, Features, Verdict};
use crate::lang::ast::{Infix, NodeKind};
use crate::lang::builtin::Builtin;
use crate::lang::types::Type;
use crate::lint::expr::Expr;
use crate::message::OwnedMessage;
use crate::value;

/// A set of verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcomes(u8);

const TRUE: Outcomes = Outcomes(1);
const FALSE: Outcomes = Outcomes(2);
const UNDEFINED: Outcomes = Outcomes(4);
const NEVER_UNDEFINED: Outcomes = Outcomes(3);
/// Every verdict is possible.
pub(super) const ANY: Outcomes = Outcomes(7);

const VERDICTS: [Option<bool>; 3] = [Some(true), Some(false), None];

impl Outcomes {
    fn only(verdict: Option<bool>) -> Outcomes {
        match verdict {
            Some(true) => TRUE,
            Some(false) => FALSE,
            None => UNDEFINED,
        }
    }

    fn has(self, verdict: Option<bool>) -> bool {
        self.0 & Outcomes::only(verdict).0 != 0
    }

    /// Whether it can be true.
    pub(super) fn may_hold(self) -> bool {
        self.has(Some(true))
    }

    /// Whether it is true whatever the message.
    pub(super) fn always_holds(self) -> bool {
        self == TRUE
    }

    /// The verdict, if only one is possible.
    pub(super) fn fixed(self) -> Option<Verdict> {
        match self {
            TRUE => Some(Verdict::True),
            FALSE => Some(Verdict::False),
            UNDEFINED => Some(Verdict::Undefined),
            _ => None,
        }
    }

    fn map(self, apply: impl Fn(Option<bool>) -> Option<bool>) -> Outcomes {
        let each = VERDICTS.into_iter().filter(|v| self.has(*v)).map(apply);
        each.fold(Outcomes(0), |all, v| Outcomes(all.0 | Outcomes::only(v).0))
    }

    fn join(self, other: Outcomes, apply: impl Fn(Option<bool>, Option<bool>) -> Option<bool>) -> Outcomes {
        let each = VERDICTS.into_iter().filter(|v| self.has(*v)).map(|a| other.map(|b| apply(a, b)));
        each.fold(Outcomes(0), |all, some| Outcomes(all.0 | some.0))
    }
}

/// The verdicts that each node can have as a condition, by place of the node.
pub(super) fn of_nodes(expr: &Expr<'_>) -> Vec<Outcomes> {
    let constant = constants(expr);
    let is_constant = |at: usize| constant.get(at).copied().unwrap_or(false);
    let mut outcomes: Vec<Outcomes> = Vec::with_capacity(expr.nodes.len());
    for at in 0..expr.nodes.len() {
        // Within a larger constant nobody asks, and to compute it again there would take long.
        let inside = expr.parent(at).is_some_and(|p| is_constant(p) && !is_logical(expr.kind(p)));
        let found = match is_constant(at) && !is_logical(expr.kind(at)) {
            true if inside => ANY,
            true => computed(expr, at),
            false => of_node(expr, at, &outcomes),
        };
        outcomes.push(found);
    }
    outcomes
}

/// Which nodes have the same value for every message.
fn constants(expr: &Expr<'_>) -> Vec<bool> {
    let mut constant: Vec<bool> = Vec::with_capacity(expr.nodes.len());
    for at in 0..expr.nodes.len() {
        let own = match expr.kind(at) {
            NodeKind::Property | NodeKind::SysPropertyOnly | NodeKind::Path | NodeKind::Fault(_) => false,
            NodeKind::SysProperty => expr.ty(at) == Type::Undefined,
            _ => true,
        };
        let operands = expr.operands(at);
        constant.push(own && operands.iter().all(|operand| constant.get(*operand) == Some(&true)));
    }
    constant
}

fn is_logical(kind: NodeKind) -> bool {
    matches!(kind, NodeKind::Not | NodeKind::Infix(Infix::And | Infix::Or))
}

/// The verdict of a constant; what does not compile on its own may be anything.
fn computed(expr: &Expr<'_>, at: usize) -> Outcomes {
    match Condition::compile(expr.source(at), Features::default()) {
        Ok(condition) => match condition.evaluate(&OwnedMessage::default()) {
            Verdict::True => TRUE,
            Verdict::False => FALSE,
            Verdict::Undefined => UNDEFINED,
        },
        Err(_) => ANY,
    }
}

fn of_node(expr: &Expr<'_>, at: usize, known: &[Outcomes]) -> Outcomes {
    let of = |operand: usize| known.get(operand).copied().unwrap_or(ANY);
    match (expr.kind(at), expr.pair(at)) {
        (NodeKind::Not, _) => of(at.saturating_sub(1)).map(|v| v.map(|b| !b)),
        (NodeKind::Infix(infix), Some((left, right))) => {
            let strict = expr.ty(left) == Type::Value || expr.ty(right) == Type::Value;
            match infix {
                Infix::And => of(left).join(of(right), |a, b| logical(value::and, a, b, strict)),
                Infix::Or => of(left).join(of(right), |a, b| logical(value::or, a, b, strict)),
                Infix::Coalesce if expr.ty(at) == Type::Bool => of(left).join(of(right), Option::or),
                _ => by_type(expr.ty(at)),
            }
        }
        (NodeKind::Call { .. }, _) => of_call(expr, at),
        _ => by_type(expr.ty(at)),
    }
}

/// `and` and `or` know no shortcut where a body value takes part.
fn logical(
    join: fn(Option<bool>, Option<bool>) -> Option<bool>,
    left: Option<bool>,
    right: Option<bool>,
    strict: bool,
) -> Option<bool> {
    if strict && (left.is_none() || right.is_none()) { None } else { join(left, right) }
}

fn by_type(ty: Type) -> Outcomes {
    match ty {
        Type::Bool | Type::Value => ANY,
        Type::Null => FALSE,
        Type::Number | Type::Text | Type::Undefined => UNDEFINED,
    }
}

fn of_call(expr: &Expr<'_>, at: usize) -> Outcomes {
    let Some((builtin, argument)) = expr.call(at) else { return by_type(expr.ty(at)) };
    match (builtin, expr.ty(argument)) {
        (Builtin::IsNumber, ty) if !matches!(ty, Type::Number | Type::Value) => FALSE,
        (Builtin::IsString, ty) if !matches!(ty, Type::Text | Type::Value) => FALSE,
        (Builtin::IsBool, ty) if !matches!(ty, Type::Bool | Type::Value) => FALSE,
        (Builtin::IsNull, Type::Number | Type::Bool | Type::Undefined) => FALSE,
        (Builtin::IsBool | Builtin::IsNull, Type::Value) => ANY,
        (Builtin::IsBool, _) => Outcomes(TRUE.0 | UNDEFINED.0),
        (Builtin::IsNumber | Builtin::IsString | Builtin::IsNull | Builtin::IsDefined, _) => NEVER_UNDEFINED,
        _ => by_type(expr.ty(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::lexer::lex;
    use crate::lang::parser::Parser;

    fn root(text: &str) -> Outcomes {
        let tree = Parser::new(text, &lex(text)).condition().unwrap();
        *of_nodes(&Expr::new(text, &tree)).last().unwrap()
    }

    #[test]
    fn verdicts_that_are_possible() {
        for (text, outcomes) in [
            ("true", TRUE),
            ("1 + 1 = 2", TRUE),
            ("null", FALSE),
            ("color", UNDEFINED),
            ("a = 'b' AND 1 = 2", FALSE),
            ("a = 'b' OR 1 = 1", TRUE),
            ("a = 'b' AND undefined", Outcomes(FALSE.0 | UNDEFINED.0)),
            ("is_defined(a) OR NOT is_defined(a)", NEVER_UNDEFINED),
            ("is_number(a)", FALSE),
            ("NOT is_number(a)", TRUE),
            ("false AND $body.a", Outcomes(FALSE.0 | UNDEFINED.0)),
            ("(null and a = 'b') or true", TRUE),
            ("1 = 1 = true", TRUE),
            ("a = 'b' ?? true", NEVER_UNDEFINED),
            ("$body.a", ANY),
        ] {
            assert_eq!(root(text), outcomes, "{text}");
        }
    }
}
