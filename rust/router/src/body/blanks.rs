//! What may stand between two tokens: blanks and comments.

/// Whether a byte is neither a blank nor the start of one or of a comment.
pub(crate) static INK: [bool; 256] = {
    let mut ink = [false; 256];
    let mut byte = b' ' as usize + 1;
    while byte < 0x80 {
        ink[byte] = byte != b'/' as usize;
        byte += 1;
    }
    ink
};

/// Offset behind the blanks and comments at `at`; `None` if a comment is malformed.
pub(crate) fn blanks_end(src: &[u8], at: usize) -> Option<usize> {
    let mut at = spaces_end(src, at);
    while src.get(at) == Some(&b'/') {
        at = spaces_end(src, comment_end(src, at)?);
    }
    Some(at)
}

/// Offset behind the blanks at `at`.
pub(crate) fn spaces_end(src: &[u8], mut at: usize) -> usize {
    while let Some(byte) = src.get(at) {
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' | 0x0b | 0x0c => at = indent_end(src, at + 1),
            byte if byte.is_ascii() => return at,
            _ => match char_at(src, at).filter(|c| c.is_whitespace()) {
                Some(c) => at += c.len_utf8(),
                None => return at,
            },
        }
    }
    at
}

/// Offset behind a line break and the spaces that follow it, or behind spaces; else `at`.
#[inline(always)]
pub(crate) fn line_start(src: &[u8], at: usize) -> usize {
    match src.get(at) {
        Some(b'\n' | b' ') => indent_end(src, at + 1),
        _ => at,
    }
}

/// Offset behind the spaces at `at`, eight at a time, as indented text has many.
#[inline(always)]
fn indent_end(src: &[u8], mut at: usize) -> usize {
    while let Some(word) = src.get(at..).and_then(|rest| rest.first_chunk()) {
        let others = u64::from_le_bytes(*word) ^ u64::from_le_bytes([b' '; 8]);
        at += others.trailing_zeros() as usize / 8;
        if others != 0 {
            break;
        }
    }
    at
}

/// Offset behind the comment at `at`.
fn comment_end(src: &[u8], at: usize) -> Option<usize> {
    let rest = src.get(at..)?;
    match rest.get(1)? {
        b'*' => memchr::memmem::find(rest.get(2..)?, b"*/").map(|inside| at + inside + 4),
        b'/' => Some(memchr::memchr2(b'\n', b'\r', rest).map_or(src.len(), |line| at + line)),
        _ => None,
    }
}

/// The character at `at`, if the bytes are one.
pub(crate) fn char_at(src: &[u8], at: usize) -> Option<char> {
    let head = src.get(at..)?;
    let head = head.get(..4).unwrap_or(head);
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(head.get(..e.valid_up_to())?).ok()?,
    };
    valid.chars().next()
}
