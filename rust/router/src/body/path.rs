//! Paths into a JSON body: their syntax.

use crate::body::BODY_DEPTH_MAX;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// Member of an object.
    Name(Box<str>),
    /// Every member of an object.
    Any,
    /// Element of an array, from 0.
    Index(u32),
}

/// Why a path is none: offset in the path and what was expected there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathError {
    pub(crate) at: usize,
    pub(crate) message: &'static str,
}

/// Parses `a.b[0].*`: names parted by dots, each with indexes behind it.
///
/// A first part `$` stands for the document and is skipped, as JSON path readers do.
pub(crate) fn parse_path(text: &str) -> Result<Vec<Step>, PathError> {
    let mut steps = Vec::new();
    let mut at = 0;
    loop {
        let first = steps.is_empty() && at == 0;
        at = name_step(text, at, first, &mut steps)?;
        while text.get(at..).is_some_and(|rest| rest.starts_with('[')) {
            at = index_step(text, at, &mut steps)?;
        }
        if steps.len() > BODY_DEPTH_MAX as usize {
            return Err(PathError { at, message: "a path has at most 64 parts" });
        }
        match text.get(at..).unwrap_or("").chars().next() {
            None => return Ok(steps),
            Some('.') => at += 1,
            Some(_) => return Err(PathError { at, message: "expected '.' or the end of the path" }),
        }
    }
}

fn name_step(text: &str, at: usize, first: bool, steps: &mut Vec<Step>) -> Result<usize, PathError> {
    let rest = text.get(at..).unwrap_or("");
    let name = rest.split(['.', '[', ']']).next().unwrap_or("");
    if name.is_empty() {
        return Err(PathError { at, message: "expected a property name" });
    }
    if name.bytes().all(|b| b.is_ascii_digit()) {
        return Err(PathError { at, message: "a property name cannot be a number" });
    }
    match name {
        "*" => steps.push(Step::Any),
        "$" if first => {}
        _ => steps.push(Step::Name(name.into())),
    }
    Ok(at + name.len())
}

fn index_step(text: &str, at: usize, steps: &mut Vec<Step>) -> Result<usize, PathError> {
    let inside = text.get(at + 1..).unwrap_or("");
    let digits = inside.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || inside.as_bytes().get(digits) != Some(&b']') {
        return Err(PathError { at: at + 1, message: "expected an index such as [0]" });
    }
    let index = inside.get(..digits).and_then(|d| d.parse().ok()).unwrap_or(u32::MAX);
    steps.push(Step::Index(index));
    Ok(at + 1 + digits + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_indexes() {
        let steps = parse_path("a.b-c[0][1].*.$d").unwrap();
        let name = |n: &str| Step::Name(n.into());
        assert_eq!(steps, [name("a"), name("b-c"), Step::Index(0), Step::Index(1), Step::Any, name("$d")]);
        assert_eq!(parse_path("$.a").unwrap(), [name("a")]);
        assert_eq!(parse_path("$a").unwrap(), [name("$a")]);
    }

    #[test]
    fn errors_say_where() {
        for (path, at) in [
            ("", 0),
            ("a.", 2),
            ("a..b", 2),
            (".a", 0),
            ("a[]", 2),
            ("a[*]", 2),
            ("a[-1]", 2),
            ("a[0", 2),
            ("123", 0),
            ("a[0]b", 4),
            ("a]", 1),
        ] {
            assert_eq!(parse_path(path).map_err(|e| e.at), Err(at), "{path}");
        }
        let deep = vec!["a"; 65].join(".");
        assert!(parse_path(&deep).is_err());
        assert!(parse_path(&deep[2..]).is_ok());
    }
}
