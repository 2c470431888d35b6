//! Walking a tree for one message (routing sections 5, 6.2 and 8.4).

use std::cmp::Ordering;

use edgehub_router::OwnedMessage;

use super::body::{self, Document};
use super::functions;
use super::names::{self, Dollar};
use super::parser::Expr;
use super::value::{Dynamic, Value, Word};

/// A message with its body read.
pub struct Message<'m> {
    pub msg: &'m OwnedMessage,
    pub document: Option<Document>,
}

/// What a whole condition comes to.
pub fn whole(tree: &Expr, message: &Message<'_>) -> Option<bool> {
    match eval(tree, message) {
        Value::Null => Some(false),
        value => value.bool(),
    }
}

fn eval(expr: &Expr, message: &Message<'_>) -> Value {
    match expr {
        Expr::Number(n) => Value::Number(*n),
        Expr::Text(text) => Value::Text(Word::Is(text.clone())),
        Expr::Bool(bool) => Value::Bool(Some(*bool)),
        Expr::Null => Value::Null,
        Expr::Undefined => Value::Undefined,
        Expr::Property(name) => text(names::application(message.msg, name)),
        Expr::Dollar(name) => dollar(name, message),
        Expr::Braces(name) => braces(name, message),
        Expr::Minus(inner) => minus(&eval(inner, message)),
        Expr::Not(inner) => not(&eval(inner, message)),
        Expr::Infix(operator, left, right) => infix(operator, eval(left, message), eval(right, message)),
        Expr::Call(function, arguments) => {
            let values: Vec<Value> = arguments.iter().map(|argument| eval(argument, message)).collect();
            functions::call(function, &values)
        }
        Expr::TwinChange(path) => {
            Value::Bool(message.document.as_ref().map(|document| body::includes(document, path)))
        }
    }
}

fn text(word: Option<Word>) -> Value {
    Value::Text(word.unwrap_or(Word::Undefined))
}

/// An application property of that name goes first, also before the body.
fn dollar(name: &str, message: &Message<'_>) -> Value {
    match (names::dollar(name), names::application(message.msg, name)) {
        (Dollar::Body(path), None) => from_body(path, message),
        (Dollar::Body(_), Some(Word::Is(text))) => Value::Body(Dynamic::Text(text)),
        (Dollar::Body(_), Some(_)) => Value::Body(Dynamic::NullText),
        (Dollar::System(name), None) => text(names::system(message.msg, name)),
        (Dollar::System(_), Some(word)) => Value::Text(word),
        (Dollar::Nothing, _) => Value::Undefined,
    }
}

fn braces(name: &str, message: &Message<'_>) -> Value {
    match names::dollar(name) {
        Dollar::Body(path) => from_body(path, message),
        Dollar::System(name) => text(names::system(message.msg, name)),
        Dollar::Nothing => Value::Undefined,
    }
}

fn from_body(path: &str, message: &Message<'_>) -> Value {
    let found = message.document.as_ref().map(|document| body::find(document, path));
    Value::Body(found.unwrap_or(Dynamic::Undefined))
}

fn minus(inner: &Value) -> Value {
    match inner {
        Value::Body(_) => Value::Body(Dynamic::from_number(-inner.number())),
        _ => Value::Number(-inner.number()),
    }
}

fn not(inner: &Value) -> Value {
    match inner {
        Value::Null => Value::Bool(Some(true)),
        _ => Value::Bool(inner.bool().map(|bool| !bool)),
    }
}

fn infix(operator: &str, left: Value, right: Value) -> Value {
    match operator {
        "+" | "-" | "*" | "/" | "%" => arithmetic(operator, &left, &right),
        "||" => functions::call("concat", &[left, right]),
        "and" => and(&left, &right),
        "or" => or(&left, &right),
        "??" => coalesce(left, right),
        _ => Value::Bool(order(&left, &right).map(|order| holds(operator, order))),
    }
}

fn either_is_body(left: &Value, right: &Value) -> bool {
    matches!(left, Value::Body(_)) || matches!(right, Value::Body(_))
}

fn arithmetic(operator: &str, left: &Value, right: &Value) -> Value {
    let (a, b) = (left.number(), right.number());
    let result = match operator {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" => a / b,
        _ => a % b,
    };
    if either_is_body(left, right) {
        return Value::Body(Dynamic::from_number(result));
    }
    Value::Number(result)
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a.partial_cmp(b),
        (Value::Text(Word::Is(a)), Value::Text(Word::Is(b))) => Some(a.cmp(b)),
        (Value::Bool(Some(a)), Value::Bool(Some(b))) => Some(a.cmp(b)),
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        _ if either_is_body(left, right) => left.dynamic().order(&right.dynamic()),
        _ => None,
    }
}

fn holds(operator: &str, order: Ordering) -> bool {
    match operator {
        "=" => order == Ordering::Equal,
        "!=" | "<>" => order != Ordering::Equal,
        "<" => order == Ordering::Less,
        "<=" => order != Ordering::Greater,
        ">" => order == Ordering::Greater,
        _ => order != Ordering::Less,
    }
}

fn and(left: &Value, right: &Value) -> Value {
    if *left == Value::Null || *right == Value::Null {
        return Value::Null;
    }
    let strict = either_is_body(left, right);
    Value::Bool(match (left.bool(), right.bool()) {
        (Some(a), Some(b)) => Some(a && b),
        (Some(false), None) | (None, Some(false)) if !strict => Some(false),
        _ => None,
    })
}

/// Static null with a bool counts as the bool; with a body value it is no bool.
fn or(left: &Value, right: &Value) -> Value {
    let strict = either_is_body(left, right);
    match (left, right) {
        (Value::Null, Value::Null) => Value::Null,
        (Value::Null, other) | (other, Value::Null) if !strict => Value::Bool(other.bool()),
        _ => Value::Bool(match (left.bool(), right.bool()) {
            (Some(a), Some(b)) => Some(a || b),
            (Some(true), None) | (None, Some(true)) if !strict => Some(true),
            _ => None,
        }),
    }
}

/// The right side stands in for what is undefined; null is not.
fn coalesce(left: Value, right: Value) -> Value {
    let undefined = match &left {
        Value::Number(n) => n.is_nan(),
        Value::Text(word) => *word == Word::Undefined,
        Value::Bool(bool) => bool.is_none(),
        Value::Null => false,
        Value::Undefined => true,
        Value::Body(dynamic) => *dynamic == Dynamic::Undefined,
    };
    let body = either_is_body(&left, &right);
    let chosen = if undefined { right } else { left };
    if body { Value::Body(chosen.dynamic()) } else { chosen }
}
