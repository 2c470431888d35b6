//! Topic names and topic filters (OASIS MQTT 3.1.1 section 4.7).

use std::borrow::Cow;

use crate::error::TopicError;

/// Longest topic name or filter in bytes: what the two-byte length can say (MQTT-4.7.3-3).
pub const TOPIC_BYTES_MAX: usize = u16::MAX as usize;

/// Checks a topic name: not empty, at most [`TOPIC_BYTES_MAX`], no U+0000, no wildcard.
///
/// # Errors
/// The first rule of section 4.7 that it breaks.
#[inline]
pub fn check_topic(topic: &str) -> Result<(), TopicError> {
    check_len(topic)?;
    match memchr::memchr3(0, b'+', b'#', topic.as_bytes()) {
        None => Ok(()),
        Some(at) => Err(wildcard_or_nul(topic, at)),
    }
}

/// Whether the text is a valid topic name; see [`check_topic`] for the reason when it is not.
pub fn topic_is_valid(topic: &str) -> bool {
    check_topic(topic).is_ok()
}

#[cold]
fn wildcard_or_nul(topic: &str, at: usize) -> TopicError {
    match topic.as_bytes().get(at) {
        Some(b'+') => TopicError::WildcardInName { wildcard: '+', at },
        Some(b'#') => TopicError::WildcardInName { wildcard: '#', at },
        _ => TopicError::NulCharacter { at },
    }
}

#[inline]
const fn check_len(text: &str) -> Result<(), TopicError> {
    match text.len() {
        0 => Err(TopicError::Empty),
        1..=TOPIC_BYTES_MAX => Ok(()),
        len => Err(TopicError::TooLong { len }),
    }
}

/// A valid topic filter, borrowed or owned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TopicFilter<'a>(Cow<'a, str>);

impl<'a> TopicFilter<'a> {
    /// Checks the text and borrows it.
    ///
    /// # Errors
    /// The first rule of section 4.7 that it breaks: empty, too long, U+0000, `#` not last, a wildcard that shares its
    /// level with other characters.
    pub fn parse(text: &'a str) -> Result<Self, TopicError> {
        check_filter(text)?;
        Ok(Self(Cow::Borrowed(text)))
    }

    /// The text of the filter.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same filter, free of the input.
    pub fn into_owned(self) -> TopicFilter<'static> {
        TopicFilter(Cow::Owned(self.0.into_owned()))
    }

    /// Whether the filter has no wildcard, so that it matches exactly its own text.
    pub fn is_literal(&self) -> bool {
        memchr::memchr2(b'+', b'#', self.0.as_bytes()).is_none()
    }

    /// Whether the filter matches the topic name; see [`filter_matches`].
    pub fn matches(&self, topic: &str) -> bool {
        filter_matches(&self.0, topic)
    }
}

/// Checks a topic filter.
pub(crate) fn check_filter(text: &str) -> Result<(), TopicError> {
    check_len(text)?;
    let bytes = text.as_bytes();
    for at in memchr::memchr3_iter(0, b'+', b'#', bytes) {
        check_special(bytes, at)?;
    }
    Ok(())
}

/// Checks the U+0000 or wildcard that was found at `at`.
fn check_special(bytes: &[u8], at: usize) -> Result<(), TopicError> {
    let starts_level = at == 0 || bytes.get(at - 1) == Some(&b'/');
    let next = bytes.get(at + 1);
    match bytes.get(at) {
        Some(b'#') if next.is_some() => Err(TopicError::HashNotLast { at }),
        Some(b'#') if !starts_level => Err(TopicError::WildcardNotAlone { wildcard: '#', at }),
        Some(b'+') if !starts_level || next.is_some_and(|b| *b != b'/') => {
            Err(TopicError::WildcardNotAlone { wildcard: '+', at })
        }
        Some(b'#' | b'+') => Ok(()),
        _ => Err(TopicError::NulCharacter { at }),
    }
}

/// Whether a valid topic filter matches a valid topic name, without allocation.
///
/// `+` stands for one level, `#` for any number of levels and the parent (`a/#` matches `a`). A wildcard at the first level
/// does not match a topic that begins with `$` (MQTT-4.7.2-1); a filter that spells `$...` out does.
/// For text that is not valid the answer is false or a plain comparison, never a panic.
pub fn filter_matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn filter_error_says_where() {
        assert_eq!(TopicFilter::parse(""), Err(TopicError::Empty));
        assert_eq!(TopicFilter::parse("a/#/b"), Err(TopicError::HashNotLast { at: 2 }));
        assert_eq!(TopicFilter::parse("a#"), Err(TopicError::WildcardNotAlone { wildcard: '#', at: 1 }));
        assert_eq!(TopicFilter::parse("a/+b"), Err(TopicError::WildcardNotAlone { wildcard: '+', at: 2 }));
        assert_eq!(TopicFilter::parse("a\0"), Err(TopicError::NulCharacter { at: 1 }));
    }

    #[test]
    fn length_limit_is_the_two_byte_field() {
        let longest = "a".repeat(TOPIC_BYTES_MAX);
        let longer = "a".repeat(TOPIC_BYTES_MAX + 1);
        assert!(topic_is_valid(&longest) && TopicFilter::parse(&longest).is_ok());
        assert_eq!(check_topic(&longer), Err(TopicError::TooLong { len: TOPIC_BYTES_MAX + 1 }));
        assert!(TopicFilter::parse(&longer).is_err());
    }

    #[test]
    fn literal_and_owned() {
        assert!(TopicFilter::parse("$iothub/twin/res").unwrap().is_literal());
        let owned = TopicFilter::parse("a/+").unwrap().into_owned();
        assert!(!owned.is_literal());
        assert_eq!(owned.as_str(), "a/+");
        assert!(owned.matches("a/") && owned.matches("a/b") && !owned.matches("a"));
    }

    /// The rule of section 4.7 written a second time, recursively over collected levels.
    fn matches_by_definition(filter: &[&str], topic: &[&str]) -> bool {
        match (filter.split_first(), topic.split_first()) {
            (None, None) | (Some((&"#", [])), _) => true,
            (Some((f, filter)), Some((t, topic))) if *f == "+" || f == t => {
                matches_by_definition(filter, topic)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_definition(
            filter in prop::collection::vec("[ab$]{0,1}|\\+", 1..5),
            hash in any::<bool>(),
            topic in prop::collection::vec("[ab$]{0,1}", 1..5),
        ) {
            let mut filter: Vec<&str> = filter.iter().map(String::as_str).collect();
            if hash { filter.push("#"); }
            let topic: Vec<&str> = topic.iter().map(String::as_str).collect();
            let (filter_text, topic_text) = (filter.join("/"), topic.join("/"));
            prop_assume!(!filter_text.is_empty() && !topic_text.is_empty());
            let hidden = topic_text.starts_with('$') && matches!(filter[0], "+" | "#");
            let parsed = TopicFilter::parse(&filter_text).unwrap();
            prop_assert_eq!(parsed.matches(&topic_text), !hidden && matches_by_definition(&filter, &topic));
        }

        #[test]
        fn a_valid_name_is_a_literal_filter(text in "\\PC{0,12}") {
            let literal = TopicFilter::parse(&text).is_ok_and(|f| f.is_literal());
            prop_assert_eq!(topic_is_valid(&text), literal);
        }

        #[test]
        fn matching_never_panics(filter in ".{0,12}", topic in ".{0,12}") {
            let _ = filter_matches(&filter, &topic);
        }
    }
}
