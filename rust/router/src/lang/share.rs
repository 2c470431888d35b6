//! Which sub-expressions several conditions of a set have in common: equal ones get one number, and
//! those that are wanted in more than one place are computed once per message.

use std::collections::HashMap;

use crate::lang::ast::{Node, NodeKind};
use crate::text::fold;

/// Shared values that may need each other before one is filled; deeper ones are computed in place.
pub(crate) const SHARED_DEPTH_MAX: u32 = 32;

/// What makes sub-expressions equal: kind, text of the token, numbers of the operands.
type Key = (NodeKind, String, Vec<u32>);

/// Numbers of all sub-expressions seen so far and how often each is wanted.
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    numbers: HashMap<Key, u32>,
    uses: Vec<u32>,
    /// Conditions by the numbers of their clauses, and how many routes have them.
    conditions: HashMap<Vec<u32>, u32>,
}

impl Sharing {
    /// Gives every node of an expression its number. Operands of an expression that was seen before are not
    /// counted again: whoever shares the whole has no need of its parts.
    pub(crate) fn count(&mut self, nodes: &[Node], text: &str) -> Vec<u32> {
        let mut operands: Vec<u32> = Vec::new();
        let number = |node: &Node| {
            let first = operands.len().saturating_sub(node.kind.arity());
            let key = (node.kind, canonical(node.kind, node.token.text(text)), operands.split_off(first));
            let number = self.number(key);
            operands.push(number);
            number
        };
        nodes.iter().map(number).collect()
    }

    fn number(&mut self, key: Key) -> u32 {
        if let Some(known) = self.numbers.get(&key) {
            return *known;
        }
        for operand in &key.2 {
            self.want(*operand);
        }
        let next = self.uses.len() as u32;
        self.uses.push(0);
        self.numbers.insert(key, next);
        next
    }

    /// Counts one more place where the value is wanted.
    pub(crate) fn want(&mut self, number: u32) {
        if let Some(uses) = self.uses.get_mut(number as usize) {
            *uses += 1;
        }
    }

    /// Counts a route whose condition has these clauses.
    pub(crate) fn want_condition(&mut self, clauses: Vec<u32>) {
        *self.conditions.entry(clauses).or_default() += 1;
    }

    /// Whether several routes have a condition of these clauses, and it is more than one of them.
    pub(crate) fn is_shared_condition(&self, clauses: &[u32]) -> bool {
        clauses.len() > 1 && self.conditions.get(clauses).is_some_and(|routes| *routes > 1)
    }

    /// The number of a node if its value is worth keeping: more than one place wants it, and it is no
    /// leaf, which has a slot of its own.
    pub(crate) fn shared(&self, node: &Node, number: u32) -> Option<u32> {
        let wanted = self.uses.get(number as usize).is_some_and(|uses| *uses > 1);
        (wanted && node.kind.arity() > 0).then_some(number)
    }
}

/// Token texts that mean the same.
fn canonical(kind: NodeKind, text: &str) -> String {
    match kind {
        NodeKind::Property | NodeKind::Call { .. } => fold(text),
        // Operators are told apart by kind.
        NodeKind::Infix(_) | NodeKind::Not | NodeKind::Negate => String::new(),
        _ => text.to_owned(),
    }
}
