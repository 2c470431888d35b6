//! Writing JSON (RFC 8259).

use std::fmt::Write;

/// JSON under construction. The caller opens and closes; commas come by themselves.
#[derive(Debug, Default)]
pub(super) struct JsonWriter {
    out: String,
    /// Whether something stands before the next element on its level.
    follows: bool,
}

impl JsonWriter {
    pub(super) fn finish(self) -> String {
        self.out
    }

    /// Begins an object or array with its bracket.
    pub(super) fn open(&mut self, bracket: char) {
        self.separate();
        self.out.push(bracket);
        self.follows = false;
    }

    /// Ends it.
    pub(super) fn close(&mut self, bracket: char) {
        self.out.push(bracket);
        self.follows = true;
    }

    /// The name of the member that comes next.
    pub(super) fn key(&mut self, name: &str) -> &mut Self {
        self.separate();
        self.quoted(name);
        self.out.push(':');
        self.follows = false;
        self
    }

    pub(super) fn string(&mut self, text: &str) {
        self.separate();
        self.quoted(text);
        self.follows = true;
    }

    /// A number, `true`, `false` or `null`, as it stands in JSON.
    pub(super) fn raw(&mut self, token: &str) {
        self.separate();
        self.out.push_str(token);
        self.follows = true;
    }

    pub(super) fn whole(&mut self, number: impl Into<u64>) {
        self.raw(&number.into().to_string());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.raw(if value { "true" } else { "false" });
    }

    fn separate(&mut self) {
        if self.follows {
            self.out.push(',');
        }
    }

    fn quoted(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                // DEL needs no escape in JSON, but terminals act on it.
                c if c.is_ascii_control() => {
                    // Writing to a string never fails.
                    let _ = write!(self.out, "\\u{:04x}", c as u32);
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_comes_back(text in any::<String>(), controls in "[\\x00-\\x7f]{0,20}") {
            let text = format!("{text}{controls}");
            let mut writer = JsonWriter::default();
            writer.open('{');
            writer.key(&text).string(&text);
            writer.key("list").open('[');
            writer.whole(1_u32);
            writer.bool(false);
            writer.raw("null");
            writer.close(']');
            writer.close('}');
            let read: serde_json::Value = serde_json::from_str(&writer.finish()).unwrap();
            prop_assert_eq!(&read[&text], &serde_json::json!(text));
            if text != "list" {
                prop_assert_eq!(&read["list"], &serde_json::json!([1, false, null]));
            }
        }
    }
}
