//! Texts that the reference's JSON reader takes for dates (routing section 8.3).

/// Whether the text is a date and thereby undefined.
pub fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    if let Some(inner) = text.strip_prefix("/Date(").and_then(|rest| rest.strip_suffix(")/")) {
        return is_ticks(inner);
    }
    let length = text.encode_utf16().count();
    (19..=40).contains(&length) && text.is_ascii() && bytes[10] == b'T' && is_iso(text)
}

/// Milliseconds, and perhaps an offset.
fn is_ticks(inner: &str) -> bool {
    let digits = inner.strip_prefix('-').unwrap_or(inner);
    let (ticks, offset) = digits.split_at(digits.find(['+', '-']).unwrap_or(digits.len()));
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let offset_fits = offset.is_empty() || (offset.len() == 5 && all_digits(&offset[1..]));
    !ticks.is_empty() && ticks.len() < 15 && all_digits(ticks) && offset_fits
}

fn is_iso(text: &str) -> bool {
    let (date, time) = (&text[..10], &text[11..]);
    let zone = time[8..].find(['Z', '+', '-']).map_or(time.len(), |at| at + 8);
    is_day(date) && is_time(&time[..zone]) && is_zone(&time[zone..])
}

/// The numbers of `text`, if it has the form of `pattern`, in which `0` is a digit.
fn fields(text: &str, pattern: &str) -> Option<Vec<u32>> {
    let fits = |(c, p): (char, char)| if p == '0' { c.is_ascii_digit() } else { c == p };
    if text.len() != pattern.len() || !text.chars().zip(pattern.chars()).all(fits) {
        return None;
    }
    text.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().ok()).collect()
}

fn is_day(date: &str) -> bool {
    let Some(fields) = fields(date, "0000-00-00") else { return false };
    let [year, month, day] = fields[..] else { return false };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    year > 0 && (1..=days).contains(&day)
}

fn is_time(time: &str) -> bool {
    let (seconds, fraction) = time.split_at(8);
    let Some(fields) = fields(seconds, "00:00:00") else { return false };
    let [hour, minute, second] = fields[..] else { return false };
    let digits = fraction.strip_prefix('.');
    let fraction_fits = fraction.is_empty()
        || digits.is_some_and(|d| (1..=7).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_digit()));
    let midnight =
        hour == 24 && minute == 0 && second == 0 && digits.is_none_or(|d| d.bytes().all(|b| b == b'0'));
    (hour < 24 || midnight) && minute < 60 && second < 60 && fraction_fits
}

fn is_zone(zone: &str) -> bool {
    let offset = zone.strip_prefix(['+', '-']);
    matches!(zone, "" | "Z") || offset.is_some_and(|o| fields(o, "00:00").is_some())
}
