//! Numbers for equal things: two texts that mean the same get the same key.
//!
//! A key is even, and the key with its lowest bit set stands for the negation: `a != b` is the
//! negation of `a = b`, and `a >= b` that of `a < b`, undefined operands included.

use std::collections::HashMap;

use crate::lang::ast::{Arith, Compare, Infix, NodeKind};
use crate::lang::lexer::Token;
use crate::lint::expr::{Constant, Expr};
use crate::text::fold;

/// Number of a thing; equal for things that mean the same.
pub(super) type Key = u32;

/// The key of the negation of what `key` stands for.
pub(super) fn negation(key: Key) -> Key {
    key ^ 1
}

/// All things met so far. Its size is bounded by the texts that are checked.
#[derive(Debug, Default)]
pub(super) struct Keys {
    known: HashMap<(String, Vec<Key>), Key>,
}

impl Keys {
    /// The key of what `head` makes of `args`.
    pub(super) fn of(&mut self, head: String, args: Vec<Key>) -> Key {
        let next = (self.known.len() as Key) << 1;
        *self.known.entry((head, args)).or_insert(next)
    }

    /// The keys of all nodes of `expr`, by place of the node.
    pub(super) fn of_nodes(&mut self, expr: &Expr<'_>) -> Vec<Key> {
        let mut keys: Vec<Key> = Vec::with_capacity(expr.nodes.len());
        for at in 0..expr.nodes.len() {
            let args = expr.operands(at).iter().filter_map(|i| keys.get(*i).copied()).collect();
            let key = self.of_node(expr, at, args);
            keys.push(key);
        }
        keys
    }

    fn of_node(&mut self, expr: &Expr<'_>, at: usize, mut args: Vec<Key>) -> Key {
        match (expr.kind(at), args.as_slice()) {
            (NodeKind::Not, [operand]) => negation(*operand),
            (NodeKind::Infix(Infix::Compare(op)), [left, right]) => self.of_compare(op, *left, *right),
            (NodeKind::Infix(infix), _) => {
                if matches!(infix, Infix::And | Infix::Or) {
                    args.sort_unstable();
                }
                self.of(infix_head(infix).to_owned(), args)
            }
            _ => self.of(leaf_head(expr, at), args),
        }
    }

    fn of_compare(&mut self, op: Compare, left: Key, right: Key) -> Key {
        let sorted = vec![left.min(right), left.max(right)];
        match op {
            Compare::Eq => self.of("=".to_owned(), sorted),
            Compare::Ne => negation(self.of("=".to_owned(), sorted)),
            Compare::Lt => self.of("<".to_owned(), vec![left, right]),
            Compare::Gt => self.of("<".to_owned(), vec![right, left]),
            Compare::Le => negation(self.of("<".to_owned(), vec![right, left])),
            Compare::Ge => negation(self.of("<".to_owned(), vec![left, right])),
        }
    }
}

fn infix_head(infix: Infix) -> &'static str {
    match infix {
        Infix::Arith(Arith::Add) => "+",
        Infix::Arith(Arith::Sub) => "-",
        Infix::Arith(Arith::Mul) => "*",
        Infix::Arith(Arith::Div) => "/",
        Infix::Arith(Arith::Rem) => "%",
        Infix::Concat => "||",
        Infix::And => "and",
        Infix::Or => "or",
        Infix::Coalesce => "??",
        Infix::Compare(_) => "=",
    }
}

/// What tells a node without infix operator from others: first a letter for its kind.
fn leaf_head(expr: &Expr<'_>, at: usize) -> String {
    if let Some(constant) = expr.literal(at) {
        return match constant {
            Constant::Null => "null".to_owned(),
            Constant::Bool(value) => format!("b{value}"),
            Constant::Num(number) => format!("n{}", (number + 0.0).to_bits()),
            Constant::Text(text) => format!("t{text}"),
        };
    }
    let token = expr.token(at);
    match expr.kind(at) {
        NodeKind::Property => format!("p{}", fold(token.text(expr.text))),
        NodeKind::SysProperty => format!("s{}", system_head(expr, at, token)),
        NodeKind::SysPropertyOnly => format!("o{}", system_head(expr, at, token)),
        NodeKind::Negate => "neg".to_owned(),
        NodeKind::Call { .. } => format!("f{}", fold(token.text(expr.text))),
        _ => format!("x{}", token.text(expr.text)),
    }
}

/// Names are told apart without regard to case, but for those of the body.
fn system_head(expr: &Expr<'_>, at: usize, token: Token) -> String {
    let text = token.text(expr.text);
    match text.get(..BODY_BYTES).filter(|_| expr.is_body(at)) {
        Some(prefix) => format!("{}{}", fold(prefix), text.get(BODY_BYTES..).unwrap_or("")),
        None => fold(text),
    }
}

/// Length of `$body.`.
const BODY_BYTES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::lexer::lex;
    use crate::lang::parser::Parser;

    fn key(keys: &mut Keys, text: &str) -> Key {
        let tree = Parser::new(text, &lex(text)).condition().unwrap();
        keys.of_nodes(&Expr::new(text, &tree)).pop().unwrap()
    }

    #[test]
    fn equal_meaning_equal_key() {
        let mut keys = Keys::default();
        for (one, other) in [
            ("a = 'x'", "'x'/* c */=A"),
            ("a = 'x' AND b > '1'", "\"1\" < B and ('x' = a)"),
            ("NOT (a = 'x')", "a <> 'x'"),
            ("NOT (as_number(t) < 3)", "AS_NUMBER(t) >= 3.0"),
            ("$contentType = 'x'", "$CONTENTTYPE = 'x'"),
            ("$BODY.a = 1", "$body.a = 0x1"),
            ("a = '\\u0041'", "a = 'A'"),
        ] {
            assert_eq!(key(&mut keys, one), key(&mut keys, other), "{one} | {other}");
        }
    }

    #[test]
    fn other_meaning_other_key() {
        let mut keys = Keys::default();
        for (one, other) in [
            ("a = 'x'", "a = 'X'"),
            ("$body.a = 1", "$body.A = 1"),
            ("$a = 'x'", "{$a} = 'x'"),
            ("a = 'x'", "$a = 'x'"),
            ("a < b", "b < a"),
            ("a = '1'", "as_number(a) = 1"),
            ("a = 'x' AND b = 'y'", "a = 'x' OR b = 'y'"),
        ] {
            assert_ne!(key(&mut keys, one), key(&mut keys, other), "{one} | {other}");
        }
        assert_eq!(key(&mut keys, "a = 'x'"), negation(key(&mut keys, "a != 'x'")));
    }
}
