//! Names and what they stand for (routing section 6).

use edgehub_router::OwnedMessage;

use super::value::Word;

/// What `$name` may mean beyond an application property of that name.
pub enum Dollar<'n> {
    /// A path in the body.
    Body(&'n str),
    /// A system property.
    System(&'n str),
    /// Brackets, but not in a body query.
    Nothing,
}

/// Takes `$name` apart.
pub fn dollar(name: &str) -> Dollar<'_> {
    let body = name.get(.."$body.".len()).filter(|start| start.eq_ignore_ascii_case("$body."));
    if body.is_some() {
        return Dollar::Body(&name["$body.".len()..]);
    }
    if name.contains(['[', ']']) {
        return Dollar::Nothing;
    }
    Dollar::System(&name[1..])
}

/// An application property; `None` if it is absent.
pub fn application(msg: &OwnedMessage, name: &str) -> Option<Word> {
    find(&msg.application, name)
}

/// A system property; `None` if it is absent.
pub fn system(msg: &OwnedMessage, name: &str) -> Option<Word> {
    find(&msg.system, name)
}

fn find(bag: &[(String, Option<String>)], name: &str) -> Option<Word> {
    let (_, text) = bag.iter().find(|(key, _)| same(key, name))?;
    Some(match text {
        Some(text) => Word::Is(text.encode_utf16().collect()),
        None => Word::Null,
    })
}

/// Whether two names are equal but for their case.
pub fn same(a: &str, b: &str) -> bool {
    a.chars().map(upper).eq(b.chars().map(upper))
}

/// Upper case where it is one character (`ß` stays), and not that of another language (`ı` stays).
pub fn upper(c: char) -> char {
    let mapped: Vec<char> = c.to_uppercase().collect();
    if mapped.len() == 1 && c != 'ı' { mapped[0] } else { c }
}

/// Lower case where it is one character.
pub fn lower(c: char) -> char {
    let mapped: Vec<char> = c.to_lowercase().collect();
    if mapped.len() == 1 { mapped[0] } else { c }
}
