//! The syntax tree of a condition with what the rules ask of it: operands, parents, static types.

use std::cmp::Ordering;
use std::ops::Range;

use crate::lang::ast::{Compare, Infix, Node, NodeKind, Tree, operand_starts};
use crate::lang::builtin::Builtin;
use crate::lang::lexer::{Kind, Token};
use crate::lang::types::Type;
use crate::lang::{literal, names};
use crate::text::{fold, ordinal_cmp};

/// Value of a literal.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    /// Never NaN.
    Num(f64),
    Text(String),
}

impl Constant {
    /// Order of body values: within a type as usual, else bool, number, string, null
    /// (routing section 8.4).
    pub(super) fn order(&self, other: &Constant) -> Ordering {
        match (self, other) {
            (Constant::Bool(a), Constant::Bool(b)) => a.cmp(b),
            (Constant::Num(a), Constant::Num(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Constant::Text(a), Constant::Text(b)) => ordinal_cmp(a, b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Constant::Bool(_) => 0,
            Constant::Num(_) => 1,
            Constant::Text(_) => 2,
            Constant::Null => 3,
        }
    }
}

/// A comparison seen from one operand: `operand op other`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Comparison {
    pub(super) op: Compare,
    pub(super) operand: usize,
    pub(super) other: usize,
}

/// A parsed condition. Nodes are meant by their place in `nodes`; a place beyond is `undefined`.
#[derive(Debug)]
pub(super) struct Expr<'t> {
    /// The route text, which tokens point into.
    pub(super) text: &'t str,
    pub(super) nodes: &'t [Node],
    /// The operands of all nodes.
    operands: Vec<usize>,
    /// For each node, where in `operands` its own are.
    places: Vec<Range<usize>>,
    parents: Vec<Option<usize>>,
    types: Vec<Type>,
}

impl<'t> Expr<'t> {
    pub(super) fn new(text: &'t str, tree: &'t Tree) -> Self {
        let nodes = tree.nodes.as_slice();
        let count = nodes.len();
        let mut expr = Expr {
            text,
            nodes,
            operands: Vec::with_capacity(count),
            places: Vec::with_capacity(count),
            parents: vec![None; count],
            types: Vec::with_capacity(count),
        };
        let starts = operand_starts(nodes);
        for at in 0..count {
            expr.add_operands(at, &starts);
            expr.types.push(expr.type_of(at));
        }
        expr
    }

    /// The whole condition.
    pub(super) fn root(&self) -> usize {
        self.nodes.len().saturating_sub(1)
    }

    pub(super) fn kind(&self, at: usize) -> NodeKind {
        self.nodes.get(at).map_or(NodeKind::Undefined, |node| node.kind)
    }

    pub(super) fn token(&self, at: usize) -> Token {
        self.nodes.get(at).map_or(Token { kind: Kind::End, start: self.text.len(), len: 0 }, |n| n.token)
    }

    /// Static type. Right for conditions that compile.
    pub(super) fn ty(&self, at: usize) -> Type {
        self.types.get(at).copied().unwrap_or(Type::Undefined)
    }

    pub(super) fn parent(&self, at: usize) -> Option<usize> {
        self.parents.get(at).copied().flatten()
    }

    /// Bytes of the expression.
    pub(super) fn span(&self, at: usize) -> Range<usize> {
        self.nodes.get(at).map_or(0..0, |node| node.start..node.end)
    }

    /// Bytes of the operator, the function's name or the leaf.
    pub(super) fn token_span(&self, at: usize) -> Range<usize> {
        let token = self.token(at);
        token.start..token.end()
    }

    /// Text of the expression as written.
    pub(super) fn source(&self, at: usize) -> &'t str {
        self.text.get(self.span(at)).unwrap_or("")
    }

    /// The operands, in the order written.
    pub(super) fn operands(&self, at: usize) -> &[usize] {
        let places = self.places.get(at).cloned().unwrap_or(0..0);
        self.operands.get(places).unwrap_or(&[])
    }

    /// Adds the operands of the next node: each ends where the one behind it begins.
    fn add_operands(&mut self, at: usize, starts: &[usize]) {
        let first = self.operands.len();
        let mut end = at;
        for _ in 0..self.kind(at).arity() {
            let Some(last) = end.checked_sub(1) else { break };
            self.operands.push(last);
            if let Some(parent) = self.parents.get_mut(last) {
                *parent = Some(at);
            }
            end = starts.get(last).copied().unwrap_or(last);
        }
        if let Some(added) = self.operands.get_mut(first..) {
            added.reverse();
        }
        self.places.push(first..self.operands.len());
    }

    /// Both operands of an infix operator.
    pub(super) fn pair(&self, at: usize) -> Option<(usize, usize)> {
        match (self.kind(at), self.operands(at)) {
            (NodeKind::Infix(_), [left, right]) => Some((*left, *right)),
            _ => None,
        }
    }

    /// What `infix` joins to make `at`, in the order written; `at` itself if it is no `infix`.
    pub(super) fn parts(&self, at: usize, infix: Infix) -> Vec<usize> {
        let (mut parts, mut open) = (Vec::new(), vec![at]);
        while let Some(part) = open.pop() {
            match self.pair(part).filter(|_| self.kind(part) == NodeKind::Infix(infix)) {
                Some((left, right)) => open.extend([right, left]),
                None => parts.push(part),
            }
        }
        parts
    }

    /// Whether parentheses stand around the expression of an operator.
    pub(super) fn in_parens(&self, at: usize) -> bool {
        let first = self.operands(at).first().map_or(usize::MAX, |left| self.span(*left).start);
        self.span(at).start < first.min(self.token(at).start)
    }

    /// Whether it is a path into the body.
    pub(super) fn is_body(&self, at: usize) -> bool {
        matches!(self.kind(at), NodeKind::SysProperty | NodeKind::SysPropertyOnly)
            && self.ty(at) == Type::Value
    }

    /// Whether it is a property, and so a text.
    pub(super) fn is_property(&self, at: usize) -> bool {
        self.kind(at) == NodeKind::Property || self.system_name(at).is_some() && !self.is_body(at)
    }

    /// Name of a system property, lower-cased and without the `$`.
    pub(super) fn system_name(&self, at: usize) -> Option<String> {
        let system = matches!(self.kind(at), NodeKind::SysProperty | NodeKind::SysPropertyOnly);
        system.then(|| fold(self.token(at).text(self.text).trim_start_matches('$')))
    }

    /// The function that is called.
    pub(super) fn function(&self, at: usize) -> Option<Builtin> {
        match self.kind(at) {
            NodeKind::Call { .. } => Builtin::named(self.token(at).text(self.text)),
            _ => None,
        }
    }

    /// The function that is called and its first argument.
    pub(super) fn call(&self, at: usize) -> Option<(Builtin, usize)> {
        Some((self.function(at)?, *self.operands(at).first()?))
    }

    /// Value of a literal, also of a negated number.
    pub(super) fn literal(&self, at: usize) -> Option<Constant> {
        let text = self.token(at).text(self.text);
        let number = |value: Option<f64>| value.filter(|n| !n.is_nan()).map(Constant::Num);
        match self.kind(at) {
            NodeKind::Integer | NodeKind::Real => number(literal::decimal(text)),
            NodeKind::Hex => number(literal::hex(text)),
            NodeKind::Text => {
                let inside = text.get(1..text.len().saturating_sub(1)).unwrap_or("");
                Some(Constant::Text(literal::unescape(inside)))
            }
            NodeKind::True => Some(Constant::Bool(true)),
            NodeKind::False => Some(Constant::Bool(false)),
            NodeKind::Null => Some(Constant::Null),
            NodeKind::Negate => match self.unsigned(at)? {
                Constant::Num(number) => Some(Constant::Num(-number)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The operand of a minus, unless it has one itself: a row of signs is no literal.
    fn unsigned(&self, at: usize) -> Option<Constant> {
        let operand = *self.operands(at).first()?;
        if self.kind(operand) == NodeKind::Negate { None } else { self.literal(operand) }
    }

    /// The comparison from both sides; nothing for what is no comparison.
    pub(super) fn comparisons(&self, at: usize) -> impl Iterator<Item = Comparison> + use<> {
        let both = match (self.kind(at), self.pair(at)) {
            (NodeKind::Infix(Infix::Compare(op)), Some((left, right))) => Some([
                Comparison { op, operand: left, other: right },
                Comparison { op: op.mirrored(), operand: right, other: left },
            ]),
            _ => None,
        };
        both.into_iter().flatten()
    }

    /// What is below all `NOT`, and whether their number is even.
    pub(super) fn below_nots(&self, mut at: usize) -> (usize, bool) {
        let mut positive = true;
        while self.kind(at) == NodeKind::Not {
            let Some(operand) = at.checked_sub(1) else { break };
            (at, positive) = (operand, !positive);
        }
        (at, positive)
    }

    /// Type by the types of the operands (routing section 5.1).
    fn type_of(&self, at: usize) -> Type {
        let mut operands = self.operands(at).iter().map(|operand| self.ty(*operand));
        let left = operands.next().unwrap_or(Type::Undefined);
        let right = operands.next().unwrap_or(Type::Undefined);
        let any = |ty: Type| left == ty || right == ty;
        match self.kind(at) {
            NodeKind::Property | NodeKind::Text | NodeKind::OpenText | NodeKind::Path => Type::Text,
            NodeKind::SysProperty => names::resolve(self.token(at).text(self.text), false).ty(),
            NodeKind::SysPropertyOnly => names::resolve(self.token(at).text(self.text), true).ty(),
            NodeKind::True | NodeKind::False | NodeKind::Not => Type::Bool,
            NodeKind::Null => Type::Null,
            NodeKind::Undefined | NodeKind::Fault(_) => Type::Undefined,
            NodeKind::Negate => left,
            NodeKind::Call { .. } => self.function(at).map_or(Type::Undefined, Builtin::result),
            NodeKind::Infix(infix) => match infix {
                Infix::Arith(_) | Infix::Coalesce if any(Type::Value) => Type::Value,
                Infix::Arith(_) => Type::Number,
                Infix::Concat => Type::Text,
                Infix::And if any(Type::Null) => Type::Null,
                Infix::Or if (left, right) == (Type::Null, Type::Null) => Type::Null,
                Infix::Coalesce => left,
                Infix::And | Infix::Or | Infix::Compare(_) => Type::Bool,
            },
            NodeKind::Integer | NodeKind::Hex | NodeKind::Real => {
                self.literal(at).map_or(Type::Undefined, |_| Type::Number)
            }
        }
    }
}

/// The comparison that holds where `op` does not, undefined operands aside.
pub(super) fn opposite(op: Compare) -> Compare {
    match op {
        Compare::Eq => Compare::Ne,
        Compare::Ne => Compare::Eq,
        Compare::Lt => Compare::Ge,
        Compare::Le => Compare::Gt,
        Compare::Gt => Compare::Le,
        Compare::Ge => Compare::Lt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::lexer::lex;
    use crate::lang::parser::Parser;

    fn with<T>(text: &str, look: impl FnOnce(&Expr<'_>) -> T) -> T {
        let tree = Parser::new(text, &lex(text)).condition().unwrap();
        look(&Expr::new(text, &tree))
    }

    #[test]
    fn types_follow_the_table() {
        for (text, ty) in [
            ("3 + 4", Type::Number),
            ("$body.a + 4", Type::Value),
            ("'a' || b", Type::Text),
            ("a = 'b'", Type::Bool),
            ("null and a = 'b'", Type::Null),
            ("null or a = 'b'", Type::Bool),
            ("null or null", Type::Null),
            ("$body.a ?? 5", Type::Value),
            ("as_number(a)", Type::Number),
            ("$body[0]", Type::Undefined),
            ("e5", Type::Undefined),
            ("- $body.a", Type::Value),
        ] {
            assert_eq!(with(text, |expr| expr.ty(expr.root())), ty, "{text}");
        }
    }

    #[test]
    fn parts_are_in_the_order_written() {
        let parts = with("a = 'x' AND (b = 'y' AND c = 'z') AND NOT d = 'v'", |expr| {
            let parts = expr.parts(expr.root(), Infix::And);
            parts.iter().map(|part| expr.source(*part).to_owned()).collect::<Vec<_>>()
        });
        assert_eq!(parts, ["a = 'x'", "b = 'y'", "c = 'z'", "NOT d = 'v'"]);
    }

    #[test]
    fn parentheses_are_seen() {
        for (text, parens) in [
            ("(a) = (b)", false),
            ("(a = b)", true),
            ("NOT a", false),
            ("(NOT a)", true),
            ("((a) = b)", true),
        ] {
            assert_eq!(with(text, |expr| expr.in_parens(expr.root())), parens, "{text}");
        }
    }

    #[test]
    fn constants_order_by_type_first() {
        let order = [
            Constant::Bool(false),
            Constant::Bool(true),
            Constant::Num(7.0),
            Constant::Text("1".into()),
            Constant::Null,
        ];
        for pair in order.windows(2) {
            assert_eq!(pair[0].order(&pair[1]), Ordering::Less, "{pair:?}");
        }
    }
}
