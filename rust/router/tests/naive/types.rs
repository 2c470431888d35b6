//! Static types (routing sections 5.1, 5.5, 7 and 8.4): what does not type-check is refused.

use super::body;
use super::names::{self, Dollar};
use super::parser::Expr;

/// Type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Number,
    Text,
    Bool,
    Null,
    Undefined,
    /// Known only at run time: from the body.
    Body,
}

use Type::{Body, Bool, Null, Number, Text, Undefined};

/// The type of a tree, or what is wrong in it.
pub fn type_of(expr: &Expr) -> Result<Type, String> {
    match expr {
        Expr::Number(_) => Ok(Number),
        Expr::Text(_) | Expr::Property(_) => Ok(Text),
        Expr::Bool(_) => Ok(Bool),
        Expr::Null => Ok(Null),
        Expr::Undefined => Ok(Undefined),
        Expr::Dollar(name) | Expr::Braces(name) => dollar(name),
        Expr::Minus(inner) => minus(type_of(inner)?),
        Expr::Not(inner) => not(type_of(inner)?),
        Expr::Infix(operator, left, right) => infix(operator, type_of(left)?, type_of(right)?),
        Expr::Call(function, arguments) => {
            let types: Result<Vec<Type>, String> = arguments.iter().map(type_of).collect();
            call(function, &types?)
        }
        Expr::TwinChange(path) => {
            let lower = path.to_ascii_lowercase();
            let starts = ["properties.reported.", "properties.desired.", "tags."];
            if !starts.iter().any(|start| lower.starts_with(start)) {
                return Err(format!("not in a twin: {path}"));
            }
            body::parse_path(path).map(|_| Bool)
        }
    }
}

fn dollar(name: &str) -> Result<Type, String> {
    match names::dollar(name) {
        Dollar::Body(path) => body::parse_path(path).map(|_| Body),
        Dollar::System(_) => Ok(Text),
        Dollar::Nothing => Ok(Undefined),
    }
}

fn minus(inner: Type) -> Result<Type, String> {
    match inner {
        Number | Body => Ok(inner),
        _ => Err(format!("- {inner:?}")),
    }
}

fn not(inner: Type) -> Result<Type, String> {
    match inner {
        Bool | Body | Null => Ok(Bool),
        _ => Err(format!("not {inner:?}")),
    }
}

fn infix(operator: &str, left: Type, right: Type) -> Result<Type, String> {
    let found = match operator {
        "+" | "-" | "*" | "/" | "%" => arithmetic(left, right),
        "||" => takes_text(left).then(|| takes_text(right).then_some(Text)).flatten(),
        "and" | "or" => logic(operator, left, right),
        "??" => coalesce(left, right),
        _ => comparison(left, right),
    };
    found.ok_or_else(|| format!("{left:?} {operator} {right:?}"))
}

fn takes_number(operand: Type) -> bool {
    matches!(operand, Number | Body)
}

fn takes_text(operand: Type) -> bool {
    matches!(operand, Text | Body)
}

fn arithmetic(left: Type, right: Type) -> Option<Type> {
    match (left, right) {
        (Number, Number) => Some(Number),
        _ if takes_number(left) && takes_number(right) => Some(Body),
        _ => None,
    }
}

/// Undefined is comparable with itself alone.
fn comparison(left: Type, right: Type) -> Option<Type> {
    let comparable = match (left, right) {
        (Body, other) | (other, Body) => other != Undefined,
        _ => left == right,
    };
    comparable.then_some(Bool)
}

fn logic(operator: &str, left: Type, right: Type) -> Option<Type> {
    let takes = |operand| matches!(operand, Bool | Null | Undefined | Body);
    if !takes(left) || !takes(right) {
        return None;
    }
    let null = match operator {
        "and" => left == Null || right == Null,
        _ => left == Null && right == Null,
    };
    Some(if null { Null } else { Bool })
}

fn coalesce(left: Type, right: Type) -> Option<Type> {
    match (left, right) {
        (Body, Undefined) | (Undefined, Body) => None,
        (Body, _) | (_, Body) => Some(Body),
        _ => (left == right).then_some(left),
    }
}

/// What the arguments of a function are.
fn call(function: &str, arguments: &[Type]) -> Result<Type, String> {
    let numbers = |count| arguments.len() == count && arguments.iter().all(|a| takes_number(*a));
    let texts = |count| arguments.len() == count && arguments.iter().all(|a| takes_text(*a));
    let (fits, result) = match function {
        "abs" | "exp" | "ceiling" | "floor" | "sign" | "sqrt" | "square" => (numbers(1), Number),
        "power" => (numbers(2), Number),
        "as_number" => (numbers(1) || texts(1), Number),
        "is_bool" | "is_defined" | "is_null" | "is_number" | "is_string" => (arguments.len() == 1, Bool),
        "concat" => (arguments.len() >= 2 && texts(arguments.len()), Text),
        "length" => (texts(1), Number),
        "lower" | "upper" => (texts(1), Text),
        "substring" => (substring(arguments), Text),
        "index_of" => (texts(2), Number),
        "starts_with" | "ends_with" | "contains" => (texts(2), Bool),
        _ => return Err(format!("no function {function}")),
    };
    if fits { Ok(result) } else { Err(format!("{function}({arguments:?})")) }
}

fn substring(arguments: &[Type]) -> bool {
    match arguments {
        [text, places @ ..] => {
            takes_text(*text) && matches!(places.len(), 1 | 2) && places.iter().all(|p| takes_number(*p))
        }
        [] => false,
    }
}
