//! What the built-in functions compute (routing section 7).

use crate::lang::builtin::Builtin;
use crate::number::as_number;
use crate::text::{lower_char, upper_char, utf16_len, utf16_offset};
use crate::value::{Span, Val};

/// Bytes of text that the conditions of one message may build; what goes beyond is undefined.
pub const SCRATCH_BYTES_MAX: usize = 4 << 20;

/// Bytes of text kept allocated from one message to the next.
const SCRATCH_KEEP_BYTES: usize = 64 << 10;

/// Buffers for texts that conditions build.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Finished texts, which [`Val::Built`] points into.
    pub(crate) built: String,
    /// The text being built.
    draft: String,
}

impl Scratch {
    /// Forgets the texts of the last message.
    pub(crate) fn clear(&mut self) {
        self.built.clear();
        self.built.shrink_to(SCRATCH_KEEP_BYTES);
        self.draft.clear();
        self.draft.shrink_to(SCRATCH_KEEP_BYTES);
    }

    /// Keeps a copy of `text`.
    pub(crate) fn keep(&mut self, text: &str) -> Val<'static> {
        self.draft.clear();
        self.append(text);
        self.finish()
    }

    fn append(&mut self, text: &str) {
        // One byte beyond the limit is enough to be refused by `finish`.
        if self.draft.len() <= SCRATCH_BYTES_MAX {
            self.draft.push_str(text);
        }
    }

    fn finish(&mut self) -> Val<'static> {
        let start = self.built.len();
        if start + self.draft.len() > SCRATCH_BYTES_MAX {
            return Val::Undefined;
        }
        self.built.push_str(&self.draft);
        Val::Built(Span { start: start as u32, len: self.draft.len() as u32 })
    }
}

/// Calls `builtin`; arguments of the wrong type (which only body values can have) give undefined,
/// except for the functions that ask for the type.
pub(crate) fn call<'m>(builtin: Builtin, args: &[Val<'m>], scratch: &mut Scratch) -> Val<'m> {
    let first = args.first().copied().unwrap_or(Val::Undefined);
    match builtin {
        Builtin::IsDefined => Val::Bool(first.is_defined()),
        Builtin::IsBool => is_bool(first),
        Builtin::IsNull => Val::Bool(matches!(first, Val::NullText | Val::Null)),
        Builtin::IsNumber => Val::Bool(first.as_num().is_some_and(f64::is_finite)),
        Builtin::IsString => Val::Bool(matches!(first, Val::Text(_) | Val::Built(_))),
        Builtin::AsNumber => to_number(first, &scratch.built),
        Builtin::Concat => concat(args, scratch),
        Builtin::Lower => map_chars(first, lower_char, scratch),
        Builtin::Upper => map_chars(first, upper_char, scratch),
        Builtin::Substring => substring(args, scratch),
        Builtin::Length => length(first, scratch),
        Builtin::IndexOf | Builtin::StartsWith | Builtin::EndsWith | Builtin::Contains => {
            search(builtin, args, scratch)
        }
        Builtin::Power => match (first.as_num(), args.get(1).and_then(|v| v.as_num())) {
            (Some(x), Some(y)) => Val::num(x.powf(y)),
            _ => Val::Undefined,
        },
        _ => first.as_num().map_or(Val::Undefined, |n| Val::num(math(builtin, n))),
    }
}

fn math(builtin: Builtin, n: f64) -> f64 {
    match builtin {
        Builtin::Abs => n.abs(),
        Builtin::Exp => n.exp(),
        Builtin::Square => n * n,
        Builtin::Ceiling => n.ceil(),
        Builtin::Floor => n.floor(),
        Builtin::Sign if n == 0.0 => 0.0,
        Builtin::Sign => n.signum(),
        Builtin::Sqrt => n.sqrt(),
        _ => f64::NAN,
    }
}

/// A text as a number, a number as it is.
pub(crate) fn to_number<'m>(value: Val<'m>, built: &str) -> Val<'m> {
    match value {
        Val::Num(_) => value,
        _ => value.text(built).and_then(as_number).map_or(Val::Undefined, Val::num),
    }
}

fn is_bool(value: Val<'_>) -> Val<'static> {
    match value {
        Val::Bool(_) => Val::Bool(true),
        value if value.is_defined() => Val::Bool(false),
        _ => Val::Undefined,
    }
}

/// `is_null` of a body value: true for all that is there, as in the reference.
pub(crate) fn is_null_value(value: Val<'_>) -> Val<'static> {
    match value {
        Val::Missing => Val::Bool(false),
        value if value.is_defined() => Val::Bool(true),
        _ => Val::Undefined,
    }
}

fn concat<'m>(args: &[Val<'m>], scratch: &mut Scratch) -> Val<'m> {
    let Scratch { built, draft } = scratch;
    draft.clear();
    for arg in args {
        match (arg, arg.text(built)) {
            (Val::NullText, _) => {}
            (_, Some(text)) if draft.len() <= SCRATCH_BYTES_MAX => draft.push_str(text),
            _ => return Val::Undefined,
        }
    }
    scratch.finish()
}

fn map_chars<'m>(value: Val<'m>, map: fn(char) -> char, scratch: &mut Scratch) -> Val<'m> {
    let Some(text) = value.text(&scratch.built) else {
        return Val::Undefined;
    };
    scratch.draft.clear();
    scratch.draft.extend(text.chars().map(map));
    scratch.finish()
}

fn length<'m>(value: Val<'m>, scratch: &Scratch) -> Val<'m> {
    value.text(&scratch.built).map_or(Val::Undefined, |text| Val::Num(utf16_len(text) as f64))
}

/// Start and length are checked as numbers, then cut to integers.
fn substring<'m>(args: &[Val<'m>], scratch: &mut Scratch) -> Val<'m> {
    let (Some(value), Some(start)) = (args.first().copied(), args.get(1).and_then(|v| v.as_num())) else {
        return Val::Undefined;
    };
    let Some(text) = value.text(&scratch.built) else {
        return Val::Undefined;
    };
    let total = utf16_len(text) as f64;
    let len = match args.get(2) {
        None if (0.0..=total).contains(&start) => total - start.trunc(),
        Some(Val::Num(len)) if start >= 0.0 && start < total && (0.0..=total - start).contains(len) => *len,
        _ => return Val::Undefined,
    };
    slice(value, start as usize, len as usize, scratch)
}

/// `len` UTF-16 code units from `start` on; half of a surrogate pair becomes U+FFFD.
fn slice<'m>(value: Val<'m>, start: usize, len: usize, scratch: &mut Scratch) -> Val<'m> {
    let text = value.text(&scratch.built).unwrap_or("");
    if let (Some(from), Some(to)) = (utf16_offset(text, start), utf16_offset(text, start + len)) {
        return match value {
            Val::Text(text) => text.get(from..to).map_or(Val::Undefined, Val::Text),
            Val::Built(span) => Val::Built(Span { start: span.start + from as u32, len: (to - from) as u32 }),
            _ => Val::Undefined,
        };
    }
    let units = text.encode_utf16().skip(start).take(len);
    let chars = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
    scratch.draft.clear();
    scratch.draft.extend(chars);
    scratch.finish()
}

fn search<'m>(builtin: Builtin, args: &[Val<'m>], scratch: &Scratch) -> Val<'m> {
    let [text, wanted] = args else { return Val::Undefined };
    let (Some(text), Some(wanted)) = (text.text(&scratch.built), wanted.text(&scratch.built)) else {
        return Val::Undefined;
    };
    match builtin {
        Builtin::StartsWith => Val::Bool(text.starts_with(wanted)),
        Builtin::EndsWith => Val::Bool(text.ends_with(wanted)),
        Builtin::Contains => Val::Bool(text.contains(wanted)),
        _ => {
            let before = text.find(wanted).and_then(|at| text.get(..at));
            Val::Num(before.map_or(-1.0, |before| utf16_len(before) as f64))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sub(text: &str, args: &[f64]) -> Option<String> {
        let mut scratch = Scratch::default();
        let mut all = vec![Val::Text(text)];
        all.extend(args.iter().map(|n| Val::Num(*n)));
        let value = call(Builtin::Substring, &all, &mut scratch);
        value.text(&scratch.built).map(str::to_owned)
    }

    #[test]
    fn substring_counts_utf16() {
        assert_eq!(sub("a😀b", &[3.0]).as_deref(), Some("b"));
        assert_eq!(sub("a😀b", &[2.0]).as_deref(), Some("\u{fffd}b"));
        assert_eq!(sub("a😀b", &[0.0, 2.0]).as_deref(), Some("a\u{fffd}"));
        assert_eq!(sub("abc", &[1.9, 1.0]).as_deref(), Some("b"));
        assert_eq!(sub("abc", &[-0.5]), None);
        assert_eq!(sub("abc", &[3.0, 0.0]), None);
    }

    #[test]
    fn case_keeps_length() {
        let mut scratch = Scratch::default();
        let upper = call(Builtin::Upper, &[Val::Text("straße")], &mut scratch);
        assert_eq!(upper.text(&scratch.built), Some("STRAßE"));
    }

    #[test]
    fn built_texts_are_limited() {
        let mut scratch = Scratch::default();
        let half = "x".repeat(SCRATCH_BYTES_MAX / 2);
        let args = [Val::Text(half.as_str()); 2];
        assert!(matches!(call(Builtin::Concat, &args, &mut scratch), Val::Built(_)));
        assert_eq!(scratch.keep("y"), Val::Undefined);
        scratch.clear();
        let args = [Val::Text(half.as_str()), Val::Text(half.as_str()), Val::Text("y")];
        assert_eq!(call(Builtin::Concat, &args, &mut scratch), Val::Undefined);
    }
}
