//! Body queries (routing section 8) on strict JSON.

use edgehub_router::OwnedMessage;
use serde_json::{Map, Value as Json};

use super::date;
use super::names;
use super::value::{Dynamic, Word};

/// Parts that a path may have in this implementation.
const PATH_PARTS_MAX: usize = 64;

/// A readable body.
pub type Document = Map<String, Json>;

/// The body, if content type and encoding say that it is JSON and it is an object.
pub fn document(msg: &OwnedMessage) -> Option<Document> {
    if !system(msg, "contentType")?.eq_ignore_ascii_case("application/json") {
        return None;
    }
    let text = match system(msg, "contentEncoding")?.to_ascii_lowercase().as_str() {
        "utf-8" => String::from_utf8_lossy(&msg.body).into_owned(),
        "utf-16" => utf16(&msg.body)?,
        "utf-32" => utf32(&msg.body)?,
        _ => return None,
    };
    serde_json::from_str(&text).ok()
}

fn system(msg: &OwnedMessage, name: &str) -> Option<String> {
    match names::system(msg, name)? {
        Word::Is(text) => String::from_utf16(&text).ok(),
        _ => None,
    }
}

fn utf16(body: &[u8]) -> Option<String> {
    let units = body.chunks(2).map(|pair| pair.try_into().map(u16::from_le_bytes));
    String::from_utf16(&units.collect::<Result<Vec<_>, _>>().ok()?).ok()
}

fn utf32(body: &[u8]) -> Option<String> {
    let chars = body.chunks(4).map(|four| char::from_u32(u32::from_le_bytes(four.try_into().ok()?)));
    chars.collect()
}

/// A step of a path.
#[derive(Debug)]
enum Step {
    Name(String),
    /// `*`.
    AnyName,
    /// `None`: beyond any array.
    Index(Option<usize>),
}

/// What a path is made of.
#[derive(Debug)]
pub struct Path(Vec<Step>);

/// Reads `a.b[0].c`: names, each with any number of indexes behind it.
pub fn parse_path(path: &str) -> Result<Path, String> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (name, indexes) = part.split_at(part.find('[').unwrap_or(part.len()));
        steps.push(parse_name(name)?);
        let mut rest = indexes;
        while !rest.is_empty() {
            let (digits, behind) =
                rest.strip_prefix('[').and_then(|r| r.split_once(']')).ok_or("no index")?;
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(format!("no index: {digits}"));
            }
            steps.push(Step::Index(digits.parse().ok()));
            rest = behind;
        }
    }
    if steps.len() > PATH_PARTS_MAX {
        return Err("too many parts".to_owned());
    }
    Ok(Path(steps))
}

fn parse_name(name: &str) -> Result<Step, String> {
    let all_digits = name.bytes().all(|b| b.is_ascii_digit());
    if name.is_empty() || all_digits || name.contains(|c| "()<>@,;:\\\"/[]?={}\t\r\n".contains(c)) {
        return Err(format!("no name: {name}"));
    }
    Ok(if name == "*" { Step::AnyName } else { Step::Name(name.to_owned()) })
}

/// All values that the path leads to.
fn matches<'d>(document: &'d Document, path: &str) -> Vec<&'d Json> {
    let Ok(Path(steps)) = parse_path(path) else { return Vec::new() };
    let Some((first, rest)) = steps.split_first() else { return Vec::new() };
    let mut found = members(document, first);
    for step in rest {
        found = found.into_iter().flat_map(|value| step_into(value, step)).collect();
    }
    found
}

fn step_into<'d>(value: &'d Json, step: &Step) -> Vec<&'d Json> {
    match (value, step) {
        (Json::Object(object), Step::Name(_) | Step::AnyName) => members(object, step),
        (Json::Array(items), Step::Index(Some(index))) => items.get(*index).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn members<'d>(object: &'d Document, step: &Step) -> Vec<&'d Json> {
    match step {
        Step::Name(name) => object.get(name).into_iter().collect(),
        Step::AnyName => object.values().collect(),
        Step::Index(_) => Vec::new(),
    }
}

/// The value at a path.
pub fn find(document: &Document, path: &str) -> Dynamic {
    match matches(document, path).as_slice() {
        [] => Dynamic::Missing,
        [value] => from_json(value),
        _ => Dynamic::Undefined,
    }
}

/// Whether there is something at a path, be it null.
pub fn includes(document: &Document, path: &str) -> bool {
    !matches(document, path).is_empty()
}

fn from_json(value: &Json) -> Dynamic {
    match value {
        Json::Null => Dynamic::Null,
        Json::Bool(bool) => Dynamic::Bool(*bool),
        Json::Number(number) => Dynamic::from_number(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) if date::is_date(text) => Dynamic::Undefined,
        Json::String(text) => Dynamic::Text(text.encode_utf16().collect()),
        Json::Array(_) | Json::Object(_) => Dynamic::Undefined,
    }
}
