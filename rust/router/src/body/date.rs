//! Which body strings the reference takes for dates (routing section 8.3): they are objects to it,
//! hence undefined in conditions.

/// Whether `text` is read as a date: ISO 8601 with a `T` at index 10, or `/Date(...)/`.
pub(crate) fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b'/') => is_tick_date(text),
        Some(b'0'..=b'9') => {
            (19..=40).contains(&bytes.len()) && bytes.get(10) == Some(&b'T') && is_iso(bytes)
        }
        _ => false,
    }
}

/// `/Date(milliseconds[+-hhmm])/`.
fn is_tick_date(text: &str) -> bool {
    let Some(inside) = text.strip_prefix("/Date(").and_then(|t| t.strip_suffix(")/")) else {
        return false;
    };
    let sign = inside.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-'));
    let (ticks, zone) = match sign {
        Some((at, _)) => inside.split_at(at),
        None => (inside, ""),
    };
    let zone_ok = matches!(zone.len(), 0 | 3 | 5) && zone.bytes().skip(1).all(|b| b.is_ascii_digit());
    ticks.parse::<i64>().is_ok() && zone_ok
}

fn is_iso(text: &[u8]) -> bool {
    let (Some(year), Some(month), Some(day)) = (number(text, 0, 4), number(text, 5, 2), number(text, 8, 2))
    else {
        return false;
    };
    let separators = text.get(4) == Some(&b'-') && text.get(7) == Some(&b'-');
    let calendar = year > 0 && (1..=12).contains(&month) && (1..=days(year, month)).contains(&day);
    separators && calendar && time_end(text).is_some_and(|at| zone_end(text, at) == text.len())
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Value of the `len` digits at `at`.
fn number(text: &[u8], at: usize, len: usize) -> Option<u32> {
    let digits = text.get(at..at + len)?;
    let all = digits.iter().all(u8::is_ascii_digit);
    all.then(|| digits.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0')))
}

/// Offset after `hh:mm:ss[.fraction]`, which starts at 11; 24:00:00 is a time, too.
fn time_end(text: &[u8]) -> Option<usize> {
    let (hour, minute, second) = (number(text, 11, 2)?, number(text, 14, 2)?, number(text, 17, 2)?);
    let colons = text.get(13) == Some(&b':') && text.get(16) == Some(&b':');
    let in_range = hour <= 24 && minute < 60 && second < 60 && (hour < 24 || minute + second == 0);
    if !(colons && in_range) {
        return None;
    }
    if text.get(19) != Some(&b'.') {
        return Some(19);
    }
    let digits = text.iter().skip(20).take(7).take_while(|b| b.is_ascii_digit()).count();
    let zero = text.iter().skip(20).take(digits).all(|b| *b == b'0');
    (digits > 0 && (hour < 24 || zero)).then_some(20 + digits)
}

/// Offset after the zone at `at`: `Z`, or `+hh`, `+hhmm`, `+hh:mm`, or nothing.
fn zone_end(text: &[u8], mut at: usize) -> usize {
    if matches!(text.get(at), Some(b'Z' | b'z')) {
        return at + 1;
    }
    if matches!(text.get(at), Some(b'+' | b'-')) && number(text, at + 1, 2).is_some() {
        at += 3;
    }
    if text.get(at) == Some(&b':') {
        at += 1;
    }
    if number(text, at, 2).is_some() { at + 2 } else { at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for text in [
            "2020-01-01T00:00:00",
            "2020-01-01T00:00:00Z",
            "2017-03-09T00:00:00.000Z",
            "2020-02-29T23:59:59.1234567+02:00",
            "2020-02-29T23:59:59-0830",
            "2020-02-29T23:59:59+02",
            "2020-01-01T24:00:00",
            "/Date(0)/",
            "/Date(-1+0200)/",
            "/Date(1-02)/",
        ] {
            assert!(is_date(text), "{text}");
        }
    }

    #[test]
    fn no_dates() {
        for text in [
            "2020-01-01",
            "2020-01-01T00:00",
            "2020-01-01 00:00:00",
            "2019-02-29T00:00:00",
            "2020-13-01T00:00:00",
            "2020-01-01T25:00:00",
            "2020-01-01T24:00:01",
            "2020-01-01T00:00:00.",
            "2020-01-01T00:00:00x",
            "2020-01-01T00:00:00Zx",
            "0000-01-01T00:00:00",
            "/Date(x)/",
            "/Date(1+2)/",
            "/Date()/",
            "/",
            "",
        ] {
            assert!(!is_date(text), "{text}");
        }
    }
}
