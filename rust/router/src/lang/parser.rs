//! Conditions: tokens to tree (routing section 4).

use crate::error::Problem;
use crate::lang::ast::{Arith, Compare, Fault, Infix, Node, NodeKind, Tree};
use crate::lang::lexer::{Kind, Token};
use crate::lint::hint::expected;

/// Levels that parentheses, calls, prefix operators and right operands may nest.
pub const EXPR_DEPTH_MAX: usize = 256;

/// Function whose argument is a path, not an expression.
pub(crate) const TWIN_FUNCTION: &str = "twin_change_includes";

/// Precedence of infix operators, loosest first. Prefix operators bind tighter than any.
const LOOSEST: u8 = 1;
const COALESCE: u8 = 2;
const MULTIPLICATIVE: u8 = 8;
const TIGHTEST: u8 = MULTIPLICATIVE + 1;

/// A place where the grammar ends: the token and what is wrong with it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stop {
    pub(crate) token: Token,
    pub(crate) problem: Problem,
}

/// Reads tokens of one text.
pub(crate) struct Parser<'t> {
    text: &'t str,
    tokens: &'t [Token],
    at: usize,
    depth: usize,
    /// Parentheses open around the current token.
    open_parens: usize,
    nodes: Vec<Node>,
}

impl<'t> Parser<'t> {
    pub(crate) fn new(text: &'t str, tokens: &'t [Token]) -> Self {
        Parser { text, tokens, at: 0, depth: 0, open_parens: 0, nodes: Vec::new() }
    }

    /// The next token; the end of input repeats for ever.
    pub(crate) fn peek(&self) -> Token {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Token {
        let end = Token { kind: Kind::End, start: self.text.len(), len: 0 };
        self.tokens.get(self.at + ahead).copied().unwrap_or(end)
    }

    /// Takes the next token if it is a `kind`.
    pub(crate) fn take(&mut self, kind: Kind) -> Option<Token> {
        let token = self.peek();
        (token.kind == kind).then(|| {
            self.at += 1;
            token
        })
    }

    /// Takes a `kind` or stops with what was `expected`.
    pub(crate) fn need(&mut self, kind: Kind, expected: &'static str) -> Result<Token, Stop> {
        self.take(kind).ok_or_else(|| self.stop(expected))
    }

    /// The error that something else was expected at the next token.
    pub(crate) fn stop(&self, expected: &'static str) -> Stop {
        let token = self.peek();
        let found = match token.kind {
            Kind::End => "end of text".to_owned(),
            _ => format!("'{}'", token.text(self.text)),
        };
        Stop { token, problem: Problem::Syntax { found, expected } }
    }

    /// Parses one condition from here on; what follows a complete one is left alone.
    pub(crate) fn condition(&mut self) -> Result<Tree, Stop> {
        let before = self.at;
        self.expr(LOOSEST)?;
        Ok(Tree { nodes: std::mem::take(&mut self.nodes), tokens: self.at - before })
    }

    fn expr(&mut self, loosest: u8) -> Result<(), Stop> {
        if self.depth >= EXPR_DEPTH_MAX {
            return Err(Stop { token: self.peek(), problem: Problem::TooDeep { max: EXPR_DEPTH_MAX } });
        }
        self.depth += 1;
        let first = self.nodes.len();
        self.primary()?;
        let start = self.nodes.last().map_or(0, |left| left.start);
        while let Some((precedence, infix)) = infix_of(self.peek().kind).filter(|(p, _)| *p >= loosest) {
            let token = self.peek();
            self.at += 1;
            self.expr(precedence + 1)?;
            match infix {
                Some(infix) => self.push_infix(infix, token, start),
                None => self.push_fault(Fault::InvalidSymbol, token, first),
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn primary(&mut self) -> Result<(), Stop> {
        let token = self.peek();
        let first = self.nodes.len();
        if let Some(leaf) = leaf_of(token.kind) {
            self.at += 1;
            self.push(leaf, token, first);
            return Ok(());
        }
        match token.kind {
            Kind::Id if self.peek_at(1).kind == Kind::LParen => self.call(),
            Kind::Id => {
                self.at += 1;
                self.push(NodeKind::Property, token, first);
                Ok(())
            }
            Kind::LParen => self.nested(),
            Kind::LBrace => self.braced(),
            Kind::Minus => self.prefix(NodeKind::Negate),
            Kind::Not => self.prefix(NodeKind::Not),
            Kind::Unknown => self.invalid_prefix(),
            _ => Err(self.stop(expected::VALUE)),
        }
    }

    fn prefix(&mut self, kind: NodeKind) -> Result<(), Stop> {
        let (token, first) = (self.peek(), self.nodes.len());
        self.at += 1;
        self.expr(TIGHTEST)?;
        self.push(kind, token, first);
        Ok(())
    }

    /// A symbol that starts no token, alone or before an expression that it spoils.
    fn invalid_prefix(&mut self) -> Result<(), Stop> {
        let (token, first) = (self.peek(), self.nodes.len());
        self.at += 1;
        if self.starts_expr() {
            self.expr(COALESCE)?;
        }
        self.push_fault(Fault::InvalidSymbol, token, first);
        Ok(())
    }

    fn starts_expr(&self) -> bool {
        let kind = self.peek().kind;
        leaf_of(kind).is_some()
            || matches!(
                kind,
                Kind::Id | Kind::LParen | Kind::LBrace | Kind::Minus | Kind::Not | Kind::Unknown
            )
    }

    fn nested(&mut self) -> Result<(), Stop> {
        let (open, first) = (self.peek(), self.nodes.len());
        self.at += 1;
        self.open_parens += 1;
        self.expr(LOOSEST)?;
        self.open_parens -= 1;
        let Some(close) = self.take(Kind::RParen) else {
            self.push_fault(Fault::MissingParen, open, first);
            return Ok(());
        };
        if let Some(root) = self.nodes.last_mut() {
            (root.start, root.end) = (open.start, close.end());
        }
        self.spare_paren(first);
        Ok(())
    }

    /// After a parenthesis that closed: another one that closes nothing is an error of its own.
    fn spare_paren(&mut self, first: usize) {
        if self.open_parens == 0
            && let Some(token) = self.take(Kind::RParen)
        {
            self.push_fault(Fault::UnmatchedParen, token, first);
        }
    }

    fn braced(&mut self) -> Result<(), Stop> {
        let first = self.nodes.len();
        self.need(Kind::LBrace, "'{'")?;
        let token = self.need(Kind::SysProp, "a system property such as $messageId")?;
        self.need(Kind::RBrace, "'}'")?;
        self.push(NodeKind::SysPropertyOnly, token, first);
        Ok(())
    }

    fn call(&mut self) -> Result<(), Stop> {
        let (name, first) = (self.peek(), self.nodes.len());
        self.at += 2;
        self.open_parens += 1;
        let args = if self.take_path(name) { 1 } else { self.args()? };
        self.open_parens -= 1;
        let close = self.need(Kind::RParen, "',' or ')'")?;
        self.push(NodeKind::Call { args }, name, first);
        if let Some(root) = self.nodes.last_mut() {
            (root.start, root.end) = (name.start, close.end());
        }
        self.spare_paren(first);
        Ok(())
    }

    fn args(&mut self) -> Result<usize, Stop> {
        if self.peek().kind == Kind::RParen {
            return Ok(0);
        }
        let mut args = 1;
        self.expr(LOOSEST)?;
        while self.take(Kind::Comma).is_some() {
            self.expr(LOOSEST)?;
            args += 1;
        }
        Ok(args)
    }

    /// Takes the single path that is the argument of the function `name`, if it is that function.
    fn take_path(&mut self, name: Token) -> bool {
        let path = self.peek();
        let is_path = name.text(self.text).eq_ignore_ascii_case(TWIN_FUNCTION)
            && matches!(path.kind, Kind::Id | Kind::QueryPath)
            && self.peek_at(1).kind == Kind::RParen;
        if is_path {
            self.at += 1;
            self.push(NodeKind::Path, path, self.nodes.len());
        }
        is_path
    }

    /// Adds a node whose operands are the nodes from `first` on.
    fn push(&mut self, kind: NodeKind, token: Token, first: usize) {
        let root_end = self.nodes.last().filter(|_| self.nodes.len() > first).map(|n| n.end);
        self.nodes.push(Node {
            kind,
            token,
            start: token.start,
            end: root_end.unwrap_or_else(|| token.end()),
        });
    }

    /// Adds an operator behind both its operands, the left of which begins at `start`.
    fn push_infix(&mut self, infix: Infix, token: Token, start: usize) {
        let end = self.nodes.last().map_or(token.end(), |right| right.end);
        self.nodes.push(Node { kind: NodeKind::Infix(infix), token, start, end });
    }

    /// Where the text of the nodes from `first` on begins.
    fn left_start(&self, first: usize) -> Option<usize> {
        self.nodes.get(first..).and_then(|nodes| nodes.iter().map(|n| n.start).min())
    }

    /// Replaces the nodes from `first` on by a fault: what is wrong inside is not reported too.
    fn push_fault(&mut self, fault: Fault, token: Token, first: usize) {
        let start = self.left_start(first).unwrap_or(token.start).min(token.start);
        let end = self.nodes.get(first..).and_then(|n| n.last()).map_or(0, |n| n.end).max(token.end());
        self.nodes.truncate(first);
        self.nodes.push(Node { kind: NodeKind::Fault(fault), token, start, end });
    }
}

fn leaf_of(kind: Kind) -> Option<NodeKind> {
    Some(match kind {
        Kind::Text => NodeKind::Text,
        Kind::OpenText => NodeKind::OpenText,
        Kind::Integer => NodeKind::Integer,
        Kind::Hex => NodeKind::Hex,
        Kind::Real => NodeKind::Real,
        Kind::True => NodeKind::True,
        Kind::False => NodeKind::False,
        Kind::Null => NodeKind::Null,
        Kind::Undefined => NodeKind::Undefined,
        Kind::SysProp => NodeKind::SysProperty,
        _ => return None,
    })
}

/// Precedence and operator of an infix token; a symbol that starts no token joins two
/// expressions as loosely as possible, and only to report it.
fn infix_of(kind: Kind) -> Option<(u8, Option<Infix>)> {
    let (precedence, infix) = match kind {
        Kind::Unknown => return Some((LOOSEST, None)),
        Kind::Coalesce => (COALESCE, Infix::Coalesce),
        Kind::Or => (3, Infix::Or),
        Kind::And => (4, Infix::And),
        Kind::Eq => (5, Infix::Compare(Compare::Eq)),
        Kind::Ne => (5, Infix::Compare(Compare::Ne)),
        Kind::Lt => (6, Infix::Compare(Compare::Lt)),
        Kind::Le => (6, Infix::Compare(Compare::Le)),
        Kind::Gt => (6, Infix::Compare(Compare::Gt)),
        Kind::Ge => (6, Infix::Compare(Compare::Ge)),
        Kind::Plus => (7, Infix::Arith(Arith::Add)),
        Kind::Minus => (7, Infix::Arith(Arith::Sub)),
        Kind::Concat => (7, Infix::Concat),
        Kind::Star => (MULTIPLICATIVE, Infix::Arith(Arith::Mul)),
        Kind::Slash => (MULTIPLICATIVE, Infix::Arith(Arith::Div)),
        Kind::Percent => (MULTIPLICATIVE, Infix::Arith(Arith::Rem)),
        _ => return None,
    };
    Some((precedence, Some(infix)))
}
