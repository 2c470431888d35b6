//! Percent-encoding of texts in topics.

/// Length of `%XX`.
const ESCAPE_LEN: usize = 3;

/// Appends `text` with its escapes resolved. What is no escape, and escapes whose bytes are not UTF-8, stay as they
/// are written: clients send such texts, and nobody gains from losing their messages (M-038).
pub(crate) fn unescape_into(text: &str, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at(at);
        out.extend_from_slice(before.as_bytes());
        let run = run_len(from.as_bytes());
        // A lone '%' is a character like others.
        let (escapes, after) = from.split_at(run.max(1));
        if run == 0 {
            out.push(b'%');
        } else {
            push_run(escapes.as_bytes(), out);
        }
        rest = after;
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Bytes of the escapes in a row at the start of `text`.
fn run_len(text: &[u8]) -> usize {
    ESCAPE_LEN * text.chunks_exact(ESCAPE_LEN).take_while(|escape| byte_of(escape).is_some()).count()
}

fn byte_of(escape: &[u8]) -> Option<u8> {
    let [b'%', high, low] = escape else { return None };
    Some(hex_value(*high)? << 4 | hex_value(*low)?)
}

fn hex_value(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

/// Appends a row of escapes, each resolved if it is part of a character.
fn push_run(escapes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend(escapes.chunks_exact(ESCAPE_LEN).filter_map(byte_of));
    if std::str::from_utf8(out.get(start..).unwrap_or_default()).is_ok() {
        return;
    }
    let bytes = out.split_off(start);
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        let bad = at + chunk.valid().len();
        at = bad + chunk.invalid().len();
        out.extend_from_slice(escapes.get(bad * ESCAPE_LEN..at * ESCAPE_LEN).unwrap_or_default());
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986 section 2.3.
pub(crate) fn escape_into(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(*byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]]);
        }
    }
}
