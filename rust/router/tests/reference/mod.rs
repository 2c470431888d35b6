//! A slow and plain reader of lenient JSON (routing section 8), to hold the scanner against: it makes
//! a tree of the whole text, then walks it.

/// One step of a path.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Name(&'static str),
    Any,
    Index(usize),
}

/// A value of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    /// `undefined`, `NaN`, or nothing.
    Undefined,
    Array(Vec<Json>),
    /// Names are unique.
    Object(Vec<(String, Json)>),
}

/// The document, if the text is one.
pub fn read(text: &str) -> Option<Json> {
    let mut reader = Reader { rest: text };
    reader.blanks()?;
    let document = reader.value(0)?;
    reader.blanks()?;
    (reader.rest.is_empty() && matches!(document, Json::Object(_))).then_some(document)
}

/// What a path leads to: nothing, one value, or (with wildcards) several.
pub fn find<'v>(value: &'v Json, path: &[Step]) -> Vec<&'v Json> {
    let Some((step, rest)) = path.split_first() else { return vec![value] };
    let next: Vec<&Json> = match (step, value) {
        (Step::Name(name), Json::Object(members)) => {
            members.iter().filter(|(n, _)| n == name).map(|(_, v)| v).collect()
        }
        (Step::Any, Json::Object(members)) => members.iter().map(|(_, v)| v).collect(),
        (Step::Index(index), Json::Array(elements)) => elements.get(*index).into_iter().collect(),
        _ => Vec::new(),
    };
    next.into_iter().flat_map(|value| find(value, rest)).collect()
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => self.rest = rest,
            None => return false,
        }
        true
    }

    fn spaces(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.next();
        }
    }

    fn blanks(&mut self) -> Option<()> {
        self.spaces();
        while self.peek() == Some('/') {
            self.rest = if let Some(inside) = self.rest.strip_prefix("/*") {
                inside.split_once("*/")?.1
            } else {
                let inside = self.rest.strip_prefix("//")?;
                &inside[inside.find(['\n', '\r']).unwrap_or(inside.len())..]
            };
            self.spaces();
        }
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        match self.peek()? {
            '{' | '[' if depth == 64 => None,
            '{' => self.object(depth),
            '[' => self.array(depth),
            '"' | '\'' => self.string().map(Json::Text),
            ',' => Some(Json::Undefined),
            _ => self.word().or_else(|| self.number()),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        let mut members: Vec<(String, Json)> = Vec::new();
        self.next();
        loop {
            self.blanks()?;
            if self.take("}") {
                return Some(Json::Object(members));
            }
            let name =
                if matches!(self.peek(), Some('"' | '\'')) { self.string()? } else { self.bare_name()? };
            self.spaces();
            self.take(":").then_some(())?;
            self.blanks()?;
            let value = self.value(depth + 1)?;
            members.retain(|(known, _)| *known != name);
            members.push((name, value));
            self.blanks()?;
            (self.take(",") || self.peek() == Some('}')).then_some(())?;
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        let mut elements = Vec::new();
        self.next();
        loop {
            self.blanks()?;
            if self.take("]") {
                return Some(Json::Array(elements));
            }
            elements.push(self.value(depth + 1)?);
            self.blanks()?;
            (self.take(",") || self.peek() == Some(']')).then_some(())?;
        }
    }

    fn bare_name(&mut self) -> Option<String> {
        let mut name = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_alphanumeric() || matches!(c, '_' | '$')) {
            name.push(c);
            self.next();
        }
        (!name.is_empty()).then_some(name)
    }

    fn string(&mut self) -> Option<String> {
        let quote = self.next()?;
        let mut units: Vec<u16> = Vec::new();
        loop {
            match self.next()? {
                c if c == quote => return Some(String::from_utf16_lossy(&units)),
                '\\' => units.push(self.escape()?),
                c => units.extend_from_slice(c.encode_utf16(&mut [0; 2])),
            }
        }
    }

    fn escape(&mut self) -> Option<u16> {
        Some(match self.next()? {
            'b' => 8,
            't' => 9,
            'n' => 10,
            'f' => 12,
            'r' => 13,
            'u' => {
                let digits = self.rest.get(..4).filter(|d| d.chars().all(|c| c.is_ascii_hexdigit()))?;
                self.rest = &self.rest[4..];
                u16::from_str_radix(digits, 16).ok()?
            }
            c @ ('\\' | '"' | '\'' | '/') => c as u16,
            _ => return None,
        })
    }

    fn word(&mut self) -> Option<Json> {
        let words = [
            ("true", Json::Bool(true)),
            ("false", Json::Bool(false)),
            ("null", Json::Null),
            ("undefined", Json::Undefined),
            ("NaN", Json::Undefined),
            ("Infinity", Json::Number(f64::INFINITY)),
            ("-Infinity", Json::Number(f64::NEG_INFINITY)),
        ];
        words.into_iter().find_map(|(word, value)| self.take(word).then_some(value))
    }

    fn number(&mut self) -> Option<Json> {
        let is_part = |c: char| c.is_ascii_hexdigit() || matches!(c, '+' | '-' | '.' | 'x' | 'X');
        let len = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(len);
        self.rest = rest;
        let first = run.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.'));
        let sloppy =
            run.strip_prefix('0').filter(|rest| !rest.is_empty() && !rest.starts_with(['.', 'e', 'E']));
        let value = match sloppy {
            Some(rest) => {
                let (digits, radix) = rest.strip_prefix(['x', 'X']).map_or((rest, 8), |digits| (digits, 16));
                digits.chars().all(|c| c.is_digit(radix)).then_some(())?;
                u64::from_str_radix(digits, radix).ok()?.cast_signed() as f64
            }
            None => run.parse().ok()?,
        };
        first.then_some(Json::Number(value))
    }
}
