//! Paths into a JSON body: their syntax, and all wanted paths as one tree.

use crate::body::BODY_DEPTH_MAX;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// A place in the tree of wanted paths.
#[derive(Debug, Default)]
pub(crate) struct PathNode {
    /// Wanted members and their nodes.
    pub(crate) names: Vec<(Box<str>, usize)>,
    /// Wanted elements and their nodes.
    pub(crate) indexes: Vec<(u32, usize)>,
    /// Slot of the path that ends here.
    pub(crate) slot: Option<usize>,
}

/// All paths that a set of conditions wants.
#[derive(Debug)]
pub(crate) struct PathSet {
    nodes: Vec<PathNode>,
    /// Paths with a wildcard and their slots; each takes a pass of its own.
    pub(crate) wildcards: Vec<(Vec<Step>, usize)>,
    /// Number of slots.
    pub(crate) slots: usize,
}

impl Default for PathSet {
    fn default() -> Self {
        PathSet { nodes: vec![PathNode::default()], wildcards: Vec::new(), slots: 0 }
    }
}

impl PathSet {
    /// The node at `index`; 0 is the document.
    pub(crate) fn node(&self, index: usize) -> Option<&PathNode> {
        self.nodes.get(index)
    }

    /// Slot of `path`, added if it is new.
    pub(crate) fn add(&mut self, path: &[Step]) -> usize {
        if path.contains(&Step::Any) {
            return self.add_wildcard(path);
        }
        let mut at = 0;
        for step in path {
            at = self.child(at, step);
        }
        let slots = &mut self.slots;
        match self.nodes.get_mut(at) {
            Some(node) => *node.slot.get_or_insert_with(|| take_slot(slots)),
            None => take_slot(slots),
        }
    }

    fn add_wildcard(&mut self, path: &[Step]) -> usize {
        if let Some((_, slot)) = self.wildcards.iter().find(|(known, _)| known == path) {
            return *slot;
        }
        let slot = take_slot(&mut self.slots);
        self.wildcards.push((path.to_vec(), slot));
        slot
    }

    /// Index of the child of node `at` by `step`, added if it is new.
    fn child(&mut self, at: usize, step: &Step) -> usize {
        let next = self.nodes.len();
        let Some(node) = self.nodes.get_mut(at) else { return at };
        let known = match step {
            Step::Name(name) => node.names.iter().find(|(n, _)| n == name).map(|(_, c)| *c),
            Step::Index(index) => node.indexes.iter().find(|(i, _)| i == index).map(|(_, c)| *c),
            Step::Any => None,
        };
        if let Some(child) = known {
            return child;
        }
        match step {
            Step::Name(name) => node.names.push((name.clone(), next)),
            Step::Index(index) => node.indexes.push((*index, next)),
            Step::Any => {}
        }
        self.nodes.push(PathNode::default());
        next
    }
}

fn take_slot(slots: &mut usize) -> usize {
    *slots += 1;
    *slots - 1
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

    #[test]
    fn equal_paths_share_a_slot() {
        let mut set = PathSet::default();
        let a = set.add(&parse_path("a.b").unwrap());
        let b = set.add(&parse_path("a.c").unwrap());
        assert_eq!(set.add(&parse_path("a.b").unwrap()), a);
        assert_ne!(a, b);
        let any = set.add(&parse_path("a.*").unwrap());
        assert_eq!(set.add(&parse_path("a.*").unwrap()), any);
        assert_eq!(set.slots, 3);
    }
}
