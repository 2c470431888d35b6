//! Conditions of routes, where only a match counts: false and undefined are the same.
//!
//! `a AND b AND c` matches if each part does, whatever three-valued logic says of the rest, so the
//! parts are compiled one after another and the first that is not true ends the route.

use std::ops::Range;

use crate::condition::Verdict;
use crate::lang::ast::{Infix, Node, NodeKind, Tree, operand_starts};
use crate::lang::check::{self, Options};
use crate::lang::names;
use crate::lang::parser::Stop;
use crate::lang::share::Sharing;
use crate::program::{Builder, Const, Op, Routine};

/// A condition whose types are right, taken apart.
#[derive(Debug)]
pub(crate) enum Clauses {
    /// The same verdict for every message.
    Fixed(Verdict),
    /// All must hold.
    All(Vec<Clause>),
}

/// One part and the numbers of its nodes among all shared ones.
#[derive(Debug)]
pub(crate) struct Clause {
    tree: Tree,
    numbers: Vec<u32>,
}

/// Checks `tree`, whose tokens are in `text`, and takes it apart.
pub(crate) fn split(
    tree: &Tree,
    text: &str,
    builder: &mut Builder,
    sharing: &mut Sharing,
) -> Result<Clauses, Vec<Stop>> {
    // The whole is compiled first: its errors and its type are those of the condition.
    let start = builder.program.ops.len();
    let whole = check::compile(tree, text, Options::default(), builder)?;
    let fixed = builder.program.fixed_verdict(whole);
    builder.program.ops.truncate(start);
    if let Some(verdict) = fixed {
        return Ok(Clauses::Fixed(verdict));
    }
    let clause = |part: Range<usize>| {
        let tree = Tree { nodes: tree.nodes.get(part).unwrap_or(&[]).to_vec(), tokens: 0 };
        let numbers = sharing.count(&tree, text);
        numbers.last().into_iter().for_each(|root| sharing.want(*root));
        Clause { tree, numbers }
    };
    let mut clauses: Vec<Clause> = conjuncts(&tree.nodes).into_iter().map(clause).collect();
    // Whether all hold does not depend on the order: those that need the body come last.
    clauses.sort_by_key(|clause| clause.tree.nodes.iter().any(|node| names::is_body(node.token.text(text))));
    Ok(Clauses::All(clauses))
}

/// A routine with the same verdict for every message.
fn fixed(verdict: Verdict, builder: &mut Builder) -> Routine {
    let start = builder.program.ops.len();
    let constant = builder.constant(match verdict {
        Verdict::True => Const::Bool(true),
        Verdict::False => Const::Bool(false),
        Verdict::Undefined => Const::Undefined,
    });
    builder.program.ops.push(Op::Const(constant));
    builder.program.routine_from(start)
}

/// Compiles clauses to a routine for [`crate::machine::Machine::matches`].
pub(crate) fn compile(
    clauses: &Clauses,
    text: &str,
    builder: &mut Builder,
    sharing: &Sharing,
) -> Result<Routine, Vec<Stop>> {
    let start = builder.program.ops.len();
    let clauses = match clauses {
        Clauses::Fixed(verdict) => return Ok(fixed(*verdict, builder)),
        Clauses::All(clauses) => clauses,
    };
    for Clause { tree, numbers } in clauses {
        let shared = |index: usize| sharing.shared(tree.nodes.get(index)?, *numbers.get(index)?);
        let part = check::compile_with(tree, text, Options::default(), builder, shared)?;
        match builder.program.fixed_verdict(part) {
            Some(Verdict::True) => {
                builder.program.ops.pop();
            }
            Some(_) => {
                builder.program.ops.truncate(start);
                return Ok(fixed(Verdict::False, builder));
            }
            None => require(part, builder),
        }
    }
    Ok(builder.program.routine_from(start))
}

/// Makes the value of the last routine a requirement.
fn require(part: Routine, builder: &mut Builder) {
    let program = &mut builder.program;
    let fused = match program.routine(part) {
        [Op::CompareConst { op, slot, constant }] => match program.consts.get(*constant as usize) {
            Some(Const::Num(number)) => Some(Op::RequireNumber { op: *op, slot: *slot, number: *number }),
            Some(Const::Text(_)) => Some(Op::RequireText { op: *op, slot: *slot, text: *constant }),
            _ => None,
        },
        _ => None,
    };
    if fused.is_some() {
        program.ops.pop();
    }
    program.ops.push(fused.unwrap_or(Op::Require));
}

/// The parts of the condition that `AND` joins at the top, in the order written.
fn conjuncts(nodes: &[Node]) -> Vec<Range<usize>> {
    let starts = operand_starts(nodes);
    let mut parts = Vec::new();
    let mut open = Vec::from([Range { start: 0, end: nodes.len() }]);
    while let Some(part) = open.pop() {
        let root = part.end.saturating_sub(1);
        let is_and = nodes.get(root).is_some_and(|n| n.kind == NodeKind::Infix(Infix::And));
        match root.checked_sub(1).and_then(|right| starts.get(right)).filter(|_| is_and) {
            Some(middle) => {
                open.push(*middle..root);
                open.push(part.start..*middle);
            }
            None => parts.push(part),
        }
    }
    parts
}
