//! Trees (routing section 4): one method for all binary levels, one for prefixes, one for the rest.

use super::lexer::{Kind, Token};
use super::number;
use super::value;

/// A tree.
#[derive(Debug, Clone)]
pub enum Expr {
    Number(f64),
    Text(Vec<u16>),
    Bool(bool),
    Null,
    Undefined,
    /// An application property.
    Property(String),
    /// `$name`, with the `$`.
    Dollar(String),
    /// `{$name}`, with the `$`.
    Braces(String),
    Minus(Box<Expr>),
    Not(Box<Expr>),
    /// Operator in lower case.
    Infix(String, Box<Expr>, Box<Expr>),
    /// Function in lower case.
    Call(String, Vec<Expr>),
    /// `twin_change_includes` and its path.
    TwinChange(String),
}

/// Binary operators from the loosest to the tightest; all group to the left.
const LEVELS: [&[&str]; 7] = [
    &["??"],
    &["or"],
    &["and"],
    &["=", "!=", "<>"],
    &["<", "<=", ">", ">="],
    &["+", "-", "||"],
    &["*", "/", "%"],
];

/// Reads tokens from the first on.
pub struct Parser<'t> {
    tokens: &'t [Token],
    twin_change_includes: bool,
    /// Parentheses that are open.
    open: usize,
}

impl<'t> Parser<'t> {
    pub fn new(tokens: &'t [Token], twin_change_includes: bool) -> Self {
        Parser { tokens, twin_change_includes, open: 0 }
    }

    /// What is not read yet.
    pub fn rest(&self) -> &'t [Token] {
        self.tokens
    }

    /// Reads one whole expression.
    pub fn expression(&mut self) -> Result<Expr, String> {
        self.level(0)
    }

    fn level(&mut self, level: usize) -> Result<Expr, String> {
        let Some(operators) = LEVELS.get(level) else { return self.prefix() };
        let mut left = self.level(level + 1)?;
        while let Some(operator) = self.take_operator(operators) {
            let right = self.level(level + 1)?;
            left = Expr::Infix(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn take_operator(&mut self, operators: &[&str]) -> Option<String> {
        let (token, rest) = self.tokens.split_first()?;
        let text = token.text.to_lowercase();
        let is_operator = matches!(token.kind, Kind::Sign | Kind::And | Kind::Or);
        if !is_operator || !operators.contains(&text.as_str()) {
            return None;
        }
        self.tokens = rest;
        Some(text)
    }

    fn prefix(&mut self) -> Result<Expr, String> {
        if self.take_sign("-") {
            return Ok(Expr::Minus(Box::new(self.prefix()?)));
        }
        if self.tokens.first().is_some_and(|token| token.kind == Kind::Not) {
            self.tokens = &self.tokens[1..];
            return Ok(Expr::Not(Box::new(self.prefix()?)));
        }
        let expr = self.primary()?;
        match self.tokens.first() {
            Some(token) if token.kind == Kind::Unknown => Err(format!("invalid symbol {}", token.text)),
            _ => Ok(expr),
        }
    }

    fn primary(&mut self) -> Result<Expr, String> {
        let (token, rest) = self.tokens.split_first().ok_or("an operand is missing")?;
        self.tokens = rest;
        Ok(match token.kind {
            Kind::Integer | Kind::Real => number(number::decimal(&token.text)),
            Kind::Hex => number(number::hex(&token.text)),
            Kind::Text => Expr::Text(unescaped(&token.text)),
            Kind::True => Expr::Bool(true),
            Kind::False => Expr::Bool(false),
            Kind::Null => Expr::Null,
            Kind::Undefined => Expr::Undefined,
            Kind::SystemName => Expr::Dollar(token.text.clone()),
            Kind::Name if self.take_sign("(") => return self.call(&token.text.to_ascii_lowercase()),
            Kind::Name => Expr::Property(token.text.clone()),
            Kind::Sign if token.text == "(" => return self.group(),
            Kind::Sign if token.text == "{" => return self.braces(),
            _ => return Err(format!("no operand: {}", token.text)),
        })
    }

    fn group(&mut self) -> Result<Expr, String> {
        self.open += 1;
        let inner = self.expression()?;
        self.close()?;
        Ok(inner)
    }

    /// The end of a group or a call; one `)` too many is an error only here.
    fn close(&mut self) -> Result<(), String> {
        if !self.take_sign(")") {
            return Err("missing )".to_owned());
        }
        self.open -= 1;
        match self.tokens.first() {
            Some(token) if self.open == 0 && token.text == ")" => Err("unmatched )".to_owned()),
            _ => Ok(()),
        }
    }

    fn braces(&mut self) -> Result<Expr, String> {
        let (token, rest) = self.tokens.split_first().ok_or("a name is missing")?;
        self.tokens = rest;
        if token.kind != Kind::SystemName || !self.take_sign("}") {
            return Err("braces hold one system property".to_owned());
        }
        Ok(Expr::Braces(token.text.clone()))
    }

    fn call(&mut self, function: &str) -> Result<Expr, String> {
        self.open += 1;
        if self.twin_change_includes && function == "twin_change_includes" {
            return self.twin_change();
        }
        let mut arguments = Vec::new();
        if self.tokens.first().is_none_or(|token| token.text != ")") {
            arguments.push(self.expression()?);
            while self.take_sign(",") {
                arguments.push(self.expression()?);
            }
        }
        self.close()?;
        Ok(Expr::Call(function.to_owned(), arguments))
    }

    fn twin_change(&mut self) -> Result<Expr, String> {
        let (token, rest) = self.tokens.split_first().ok_or("a path is missing")?;
        self.tokens = rest;
        if !matches!(token.kind, Kind::Name | Kind::QueryPath) {
            return Err(format!("no path: {}", token.text));
        }
        self.close()?;
        Ok(Expr::TwinChange(token.text.clone()))
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let Some((token, rest)) = self.tokens.split_first() else { return false };
        let found = token.kind == Kind::Sign && token.text == sign;
        if found {
            self.tokens = rest;
        }
        found
    }
}

/// A token without a value (`e5`) is `undefined`, not an undefined number.
fn number(value: Option<f64>) -> Expr {
    value.map_or(Expr::Undefined, Expr::Number)
}

/// The text between the quotes with its escapes decoded.
fn unescaped(token: &str) -> Vec<u16> {
    let inner: Vec<u16> = token.encode_utf16().collect();
    let mut units = Vec::new();
    let mut at = 1;
    while at + 1 < inner.len() {
        let escaped = inner[at] == u16::from(b'\\');
        if escaped && inner[at + 1] == u16::from(b'u') {
            let digits = String::from_utf16_lossy(&inner[at + 2..at + 6]);
            units.push(u16::from_str_radix(&digits, 16).unwrap_or_default());
            at += 6;
        } else {
            at += usize::from(escaped);
            units.push(inner[at]);
            at += 1;
        }
    }
    value::without_halves(&units)
}
