//! The property bag at the end of a telemetry topic (protocol heads section 1.6).
//!
//! In: `key=value&key2=value2`, percent-encoded; system properties have keys such as `$.mid`.
//! Out: application properties first, then system properties, then the real sender.

use edgehub_types::{MessageView, Properties, PropertiesBuf, PropertyKey, SystemProperty};

use crate::escape::{escape_into, unescape_into};

/// Up to this many properties duplicates are found by comparing all pairs, without memory.
const PAIRWISE_MAX: usize = 16;

/// Why a bag is not accepted; the message is then dropped and acknowledged (M-039).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BagError {
    /// A pair without a key, which includes a trailing `&`.
    #[error("property {index} has an empty key")]
    EmptyKey {
        /// Position of the pair, from 0.
        index: usize,
    },
    /// More than one `=` in a pair.
    #[error("property {index} has a second '='; write it as %3D")]
    SecondEquals {
        /// Position of the pair, from 0.
        index: usize,
    },
    /// Two names that differ only by case (routing section 6.1).
    #[error("properties {first:?} and {second:?} differ only by case")]
    CaseClash {
        /// The earlier name.
        first: String,
        /// The later name.
        second: String,
    },
    /// A key or value that the message format cannot hold.
    #[error(transparent)]
    TooLong(#[from] edgehub_types::PropertyError),
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

#[derive(Debug, Clone, Copy)]
struct Pair {
    key: Span,
    value: Option<Span>,
}

/// Reusable decoder; holds its scratch memory between messages.
#[derive(Debug, Default)]
pub struct BagDecoder {
    text: Vec<u8>,
    pairs: Vec<Pair>,
}

impl BagDecoder {
    /// Decodes `bag` and appends its properties to `out`. The last of equal keys wins.
    ///
    /// # Errors
    /// [`BagError`] naming the pair; `out` may then hold a part of the properties.
    pub fn decode(&mut self, bag: &str, out: &mut PropertiesBuf) -> Result<(), BagError> {
        self.text.clear();
        self.pairs.clear();
        for (index, pair) in bag.split('&').enumerate() {
            let pair = self.decode_pair(pair, index)?;
            self.pairs.push(pair);
        }
        if self.pairs.len() > PAIRWISE_MAX {
            self.drop_overwritten_sorted()?;
        } else {
            self.drop_overwritten_pairwise()?;
        }
        for pair in &self.pairs {
            let key = self.str_of(pair.key);
            let value = pair.value.map(|span| self.str_of(span));
            let key = SystemProperty::from_bag_key(key.as_bytes())
                .map_or(PropertyKey::Application(key), PropertyKey::System);
            out.push(key, value)?;
        }
        Ok(())
    }

    fn decode_pair(&mut self, pair: &str, index: usize) -> Result<Pair, BagError> {
        let (key, value) = match pair.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (pair, None),
        };
        if key.is_empty() {
            return Err(BagError::EmptyKey { index });
        }
        if value.is_some_and(|value| value.contains('=')) {
            return Err(BagError::SecondEquals { index });
        }
        let key = self.unescape(key);
        let value = value.map(|value| self.unescape(value));
        Ok(Pair { key, value })
    }

    fn unescape(&mut self, text: &str) -> Span {
        let start = self.text.len() as u32;
        unescape_into(text, &mut self.text);
        Span { start, end: self.text.len() as u32 }
    }

    fn bytes_of(&self, span: Span) -> &[u8] {
        self.text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    fn str_of(&self, span: Span) -> &str {
        std::str::from_utf8(self.bytes_of(span)).unwrap_or_default()
    }

    fn drop_overwritten_pairwise(&mut self) -> Result<(), BagError> {
        let mut kept = 0;
        for index in 0..self.pairs.len() {
            let later = &self.pairs[index + 1..];
            if !self.is_overwritten(self.pairs[index], later)? {
                self.pairs[kept] = self.pairs[index];
                kept += 1;
            }
        }
        self.pairs.truncate(kept);
        Ok(())
    }

    fn is_overwritten(&self, pair: Pair, later: &[Pair]) -> Result<bool, BagError> {
        let key = self.bytes_of(pair.key);
        for other in later {
            let other_key = self.bytes_of(other.key);
            if key.eq_ignore_ascii_case(other_key) {
                return if key == other_key { Ok(true) } else { Err(self.clash(pair, *other)) };
            }
        }
        Ok(false)
    }

    fn clash(&self, first: Pair, second: Pair) -> BagError {
        BagError::CaseClash {
            first: self.str_of(first.key).to_owned(),
            second: self.str_of(second.key).to_owned(),
        }
    }

    /// The same for large bags: comparing all pairs would be quadratic.
    fn drop_overwritten_sorted(&mut self) -> Result<(), BagError> {
        let mut last = std::collections::HashMap::with_capacity(self.pairs.len());
        for (index, pair) in self.pairs.iter().enumerate() {
            let folded = self.bytes_of(pair.key).to_ascii_lowercase();
            if let Some(earlier) = last.insert(folded, index)
                && self.bytes_of(self.pairs[earlier].key) != self.bytes_of(pair.key)
            {
                return Err(self.clash(self.pairs[earlier], *pair));
            }
        }
        let mut kept: Vec<usize> = last.into_values().collect();
        kept.sort_unstable();
        self.pairs = kept.into_iter().map(|index| self.pairs[index]).collect();
        Ok(())
    }
}

/// Appends the bag of a message that goes to a client. Never empty: the sender's device id is in it.
pub fn encode_bag(message: &MessageView<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    encode_application(message.properties, start, out);
    for (key, value) in &message.properties {
        if let PropertyKey::System(property) = key
            && property.sent_to_client()
        {
            encode_entry(property.bag_key(), value, start, out);
        }
    }
    encode_entry("$.cdid", Some(message.head.device), start, out);
    if !message.head.module.is_empty() {
        encode_entry("$.cmid", Some(message.head.module), start, out);
    }
}

fn encode_application(properties: Properties<'_>, start: usize, out: &mut Vec<u8>) {
    for (key, value) in &properties {
        // The sender is said by us alone, whatever a client put under these keys.
        if let PropertyKey::Application(name) = key
            && name != "$.cdid"
            && name != "$.cmid"
        {
            encode_entry(name, value, start, out);
        }
    }
}

fn encode_entry(key: &str, value: Option<&str>, start: usize, out: &mut Vec<u8>) {
    if out.len() > start {
        out.push(b'&');
    }
    escape_into(key.as_bytes(), out);
    if let Some(value) = value {
        out.push(b'=');
        escape_into(value.as_bytes(), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgehub_types::{MessageHead, UnixMs};
    use proptest::prelude::*;

    fn decode(bag: &str) -> Result<Vec<(String, Option<String>)>, BagError> {
        let mut out = PropertiesBuf::default();
        BagDecoder::default().decode(bag, &mut out)?;
        Ok(out
            .as_properties()
            .iter()
            .map(|(key, value)| {
                let key = match key {
                    PropertyKey::System(property) => format!("sys:{}", property.name()),
                    PropertyKey::Application(name) => name.to_owned(),
                };
                (key, value.map(str::to_owned))
            })
            .collect())
    }

    fn pairs(want: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
        want.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect()
    }

    #[test]
    fn raw_and_escaped_dollar_keys_are_system_properties() {
        let want = pairs(&[("sys:messageId", Some("1")), ("sys:outputName", Some("o"))]);
        assert_eq!(decode("$.mid=1&%24.on=o").unwrap(), want);
    }

    #[test]
    fn plus_stays_and_a_bare_key_is_null() {
        let want = pairs(&[("a b", Some("1+2")), ("n", None), ("e", Some(""))]);
        assert_eq!(decode("a%20b=1+2&n&e=").unwrap(), want);
    }

    #[test]
    fn the_last_of_equal_keys_wins() {
        assert_eq!(decode("$.mid=1&%24.mid=2").unwrap(), pairs(&[("sys:messageId", Some("2"))]));
        let many: String = (0..40).map(|n| format!("k{}={n}", n % 20)).collect::<Vec<_>>().join("&") + "&z=1";
        let got = decode(&many).unwrap();
        assert_eq!(got.len(), 21);
        assert_eq!(got[0], ("k0".to_owned(), Some("20".to_owned())));
    }

    #[test]
    fn malformed_bags_name_the_pair() {
        assert_eq!(decode("a=1&"), Err(BagError::EmptyKey { index: 1 }));
        assert_eq!(decode("=1"), Err(BagError::EmptyKey { index: 0 }));
        assert_eq!(decode("a=1=2"), Err(BagError::SecondEquals { index: 0 }));
        assert!(matches!(decode("a=1&A=2"), Err(BagError::CaseClash { .. })));
        let many: String = (0..20).map(|n| format!("k{n}={n}")).collect::<Vec<_>>().join("&") + "&K3=1";
        assert!(matches!(decode(&many), Err(BagError::CaseClash { .. })));
    }

    #[test]
    fn sender_ids_in_a_bag_stay_ordinary_properties() {
        let want = pairs(&[("deviceId", Some("x")), ("$.cdid", Some("y"))]);
        assert_eq!(decode("deviceId=x&$.cdid=y").unwrap(), want);
    }

    fn encoded(bag: &str, module: &str) -> String {
        let mut properties = PropertiesBuf::default();
        BagDecoder::default().decode(bag, &mut properties).unwrap();
        let head = MessageHead { enqueued: UnixMs(0), qos1: true, device: "dev 1", module };
        let view = MessageView { head, properties: properties.as_properties(), body: b"" };
        let mut out = Vec::new();
        encode_bag(&view, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn out_come_application_then_system_then_the_real_sender() {
        assert_eq!(
            encoded("%24.mid=7&a%3Db=c%26&n&%24.on=out&%24.cdid=liar", "m"),
            "a%3Db=c%26&n&%24.mid=7&%24.cdid=dev%201&%24.cmid=m"
        );
        assert_eq!(encoded("a=1", ""), "a=1&%24.cdid=dev%201");
    }

    proptest! {
        #[test]
        fn any_bag_is_decoded_or_refused_without_panic(bag in "[a-cA%=&$.0-9]{0,40}") {
            let _ = decode(&bag);
        }

        /// Whatever is written behind `%`, nothing is lost but the escapes that are resolved.
        #[test]
        fn what_is_no_escape_stays(value in "[%aéF0-9]{0,20}") {
            let got = decode(&format!("k={value}")).unwrap()[0].1.clone().unwrap();
            prop_assert!(value.contains('%') || got == value);
            let unresolved = got.matches('%').count();
            prop_assert!(unresolved <= value.matches('%').count());
        }

        #[test]
        fn what_goes_out_can_come_in(key in "[a-z ä/&=%+]{1,8}", value in ".{0,12}") {
            let mut escaped = Vec::new();
            encode_entry(&key, Some(&value), 0, &mut escaped);
            let bag = String::from_utf8(escaped).unwrap();
            prop_assert_eq!(decode(&bag).unwrap(), vec![(key, Some(value))]);
        }
    }
}
