//! Functions (routing section 7) on checked arguments.

use super::names;
use super::number;
use super::value::{self, Dynamic, Value, Word};

/// Calls the function, named in lower case.
pub fn call(function: &str, arguments: &[Value]) -> Value {
    let [first, rest @ ..] = arguments else { return Value::Undefined };
    match function {
        "is_bool" => Value::Bool(is_bool(first)),
        "is_defined" => Value::Bool(Some(is_defined(first))),
        "is_null" => Value::Bool(is_null(first)),
        "is_number" => Value::Bool(Some(first.number().is_finite())),
        "is_string" => Value::Bool(Some(first.text().is_some())),
        "as_number" => Value::Number(as_number(first)),
        "concat" => Value::Text(concat(arguments)),
        "substring" => word(substring(first, rest)),
        "length" => Value::Number(first.text().map_or(f64::NAN, |text| text.len() as f64)),
        "lower" => word(first.text().map(|text| mapped(text, names::lower))),
        "upper" => word(first.text().map(|text| mapped(text, names::upper))),
        "index_of" => Value::Number(index_of(first, &rest[0])),
        "starts_with" => of_texts(first, &rest[0], <[u16]>::starts_with),
        "ends_with" => of_texts(first, &rest[0], <[u16]>::ends_with),
        "contains" => of_texts(first, &rest[0], |text, part| place_of(text, part).is_some()),
        "power" => Value::Number(power(first.number(), rest[0].number())),
        _ => Value::Number(of_number(function, first.number())),
    }
}

fn is_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(bool) => bool.map(|_| true),
        Value::Body(Dynamic::Undefined) => None,
        Value::Body(dynamic) => Some(matches!(dynamic, Dynamic::Bool(_))),
        _ => Some(false),
    }
}

fn is_defined(value: &Value) -> bool {
    match value {
        Value::Number(n) => !n.is_nan(),
        Value::Text(word) => *word != Word::Undefined,
        Value::Bool(bool) => bool.is_some(),
        Value::Null => true,
        Value::Undefined => false,
        Value::Body(dynamic) => *dynamic != Dynamic::Undefined,
    }
}

/// On body values it is turned round, as the reference has it.
fn is_null(value: &Value) -> Option<bool> {
    match value {
        Value::Body(Dynamic::Undefined) => None,
        Value::Body(dynamic) => Some(*dynamic != Dynamic::Missing),
        Value::Null | Value::Text(Word::Null) => Some(true),
        _ => Some(false),
    }
}

fn as_number(value: &Value) -> f64 {
    match value.text() {
        Some(text) => number::parse(&String::from_utf16_lossy(text)),
        None => value.number(),
    }
}

/// A null property counts as empty; what else has no text makes the whole undefined.
fn concat(arguments: &[Value]) -> Word {
    let mut whole = Vec::new();
    for argument in arguments {
        match (argument, argument.text()) {
            (_, Some(text)) => whole.extend_from_slice(text),
            (Value::Text(Word::Null) | Value::Body(Dynamic::NullText), None) => {}
            _ => return Word::Undefined,
        }
    }
    Word::Is(whole)
}

fn word(text: Option<Vec<u16>>) -> Value {
    Value::Text(text.map_or(Word::Undefined, Word::Is))
}

/// Places are checked as they are and only then cut to whole numbers.
fn substring(text: &Value, places: &[Value]) -> Option<Vec<u16>> {
    let text = text.text()?;
    let numbers: Vec<f64> = places.iter().map(Value::number).collect();
    let length = text.len() as f64;
    let (start, count) = match numbers.as_slice() {
        [start] if (0.0..=length).contains(start) => (*start, length - start.trunc()),
        [start, count] if (0.0..length).contains(start) && (0.0..=length - start).contains(count) => {
            (*start, *count)
        }
        _ => return None,
    };
    let (start, count) = (start.trunc(), count.trunc());
    Some(value::without_halves(&text[start as usize..(start + count) as usize]))
}

fn mapped(text: &[u16], map: fn(char) -> char) -> Vec<u16> {
    let mut units = Vec::new();
    for c in String::from_utf16_lossy(text).chars() {
        units.extend_from_slice(map(c).encode_utf16(&mut [0; 2]));
    }
    units
}

fn place_of(text: &[u16], part: &[u16]) -> Option<usize> {
    (0..=text.len()).find(|at| text[*at..].starts_with(part))
}

fn index_of(text: &Value, part: &Value) -> f64 {
    match (text.text(), part.text()) {
        (Some(text), Some(part)) => place_of(text, part).map_or(-1.0, |at| at as f64),
        _ => f64::NAN,
    }
}

fn of_texts(text: &Value, part: &Value, holds: fn(&[u16], &[u16]) -> bool) -> Value {
    match (text.text(), part.text()) {
        (Some(text), Some(part)) => Value::Bool(Some(holds(text, part))),
        _ => Value::Bool(None),
    }
}

/// Undefined if either is, also where mathematics says 1.
fn power(base: f64, exponent: f64) -> f64 {
    if base.is_nan() || exponent.is_nan() { f64::NAN } else { base.powf(exponent) }
}

fn of_number(function: &str, n: f64) -> f64 {
    match function {
        "abs" => n.abs(),
        "exp" => n.exp(),
        "ceiling" => n.ceil(),
        "floor" => n.floor(),
        "sqrt" => n.sqrt(),
        "square" => n * n,
        _ if n == 0.0 || n.is_nan() => n,
        _ => n.signum(),
    }
}
