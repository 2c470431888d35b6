//! All wanted paths as one tree.

use std::collections::{BTreeMap, HashMap};

use crate::body::names::Names;
use crate::body::path::Step;

/// A place in the tree. Its index is also the slot for what the body holds there.
#[derive(Debug, Default)]
pub(crate) struct PathNode {
    /// Wanted members and their nodes.
    pub(crate) names: Names,
    /// Wanted elements and their nodes.
    pub(crate) indexes: BTreeMap<u32, u32>,
    /// Paths that go on from here with a wildcard.
    pub(crate) wildcards: Vec<Wildcard>,
    /// The node above; that of the document is its own.
    pub(crate) parent: u32,
}

/// The part of a path from its first wildcard on.
#[derive(Debug)]
pub(crate) struct Wildcard {
    /// Begins with [`Step::Any`].
    pub(crate) steps: Box<[Step]>,
    /// The node, with nothing below it, for what is found.
    pub(crate) node: u32,
}

/// All paths that a set of conditions wants.
#[derive(Debug)]
pub(crate) struct PathSet {
    /// Every node comes after the one above it.
    nodes: Vec<PathNode>,
    /// Node by the one above it and the steps between: one, or all from the first wildcard on.
    known: HashMap<(u32, Box<[Step]>), u32>,
    /// Number of slots, 0 if there is no path.
    pub(crate) slots: usize,
}

impl Default for PathSet {
    fn default() -> Self {
        PathSet { nodes: vec![PathNode::default()], known: HashMap::new(), slots: 0 }
    }
}

impl PathSet {
    /// The nodes; the first is the document.
    #[inline]
    pub(crate) fn nodes(&self) -> &[PathNode] {
        &self.nodes
    }

    /// Slot of `path`, the same for equal paths.
    pub(crate) fn add(&mut self, path: &[Step]) -> usize {
        let plain = path.iter().position(|step| *step == Step::Any).unwrap_or(path.len());
        let (plain, wildcard) = path.split_at(plain);
        let mut at = plain.chunks(1).fold(0, |at, step| self.child(at, step));
        if !wildcard.is_empty() {
            at = self.child(at, wildcard);
        }
        self.slots = self.nodes.len();
        at as usize
    }

    /// Index of the child of node `parent` by `steps`, added if it is new.
    fn child(&mut self, parent: u32, steps: &[Step]) -> u32 {
        let next = self.nodes.len() as u32;
        let child = *self.known.entry((parent, steps.into())).or_insert(next);
        if child == next {
            self.link(parent, steps, child);
            self.nodes.push(PathNode { parent, ..PathNode::default() });
        }
        child
    }

    fn link(&mut self, parent: u32, steps: &[Step], child: u32) {
        let Some(node) = self.nodes.get_mut(parent as usize) else { return };
        match steps {
            [Step::Name(name)] => node.names.insert(name, child),
            [Step::Index(index)] => {
                node.indexes.insert(*index, child);
            }
            _ => node.wildcards.push(Wildcard { steps: steps.into(), node: child }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::parse_path;

    #[test]
    fn equal_paths_share_a_slot() {
        let mut set = PathSet::default();
        assert_eq!(set.slots, 0);
        let mut slots = Vec::new();
        for path in ["a.b", "a.c", "a[0]", "a.*", "*", "a.*.b", "$"] {
            let path = parse_path(path).unwrap();
            slots.push(set.add(&path));
            assert_eq!(slots.last(), Some(&set.add(&path)));
        }
        assert!(slots.iter().all(|slot| *slot < set.slots));
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), 7);
    }
}
