//! Conditions of routes, where only a match counts: false and undefined are the same.
//!
//! `a AND b AND c` matches if each part does, whatever three-valued logic says of the rest, so the
//! parts are compiled one after another and the first that is not true ends the route.

use std::ops::Range;

use crate::condition::Verdict;
use crate::lang::ast::{Infix, Node, NodeKind, Tree, operand_starts};
use crate::lang::check::{self, Options};
use crate::lang::parser::Stop;
use crate::program::{Builder, Const, Op, Routine};

/// A routine with the same verdict for every message.
pub(crate) fn fixed(verdict: bool, builder: &mut Builder) -> Routine {
    let start = builder.program.ops.len();
    let constant = builder.constant(Const::Bool(verdict));
    builder.program.ops.push(Op::Const(constant));
    builder.program.routine_from(start)
}

/// Compiles `tree` to a routine for [`crate::machine::Machine::matches`].
pub(crate) fn compile(tree: &Tree, text: &str, builder: &mut Builder) -> Result<Routine, Vec<Stop>> {
    // The whole is compiled first: its errors and its type are those of the condition.
    let start = builder.program.ops.len();
    let whole = check::compile(tree, text, Options::default(), builder)?;
    if builder.program.fixed_verdict(whole).is_some() {
        return Ok(whole);
    }
    builder.program.ops.truncate(start);
    for part in conjuncts(&tree.nodes) {
        let nodes = tree.nodes.get(part).unwrap_or(&[]).to_vec();
        let part = check::compile(&Tree { nodes, tokens: 0 }, text, Options::default(), builder)?;
        match builder.program.fixed_verdict(part) {
            Some(Verdict::True) => {
                builder.program.ops.pop();
            }
            Some(_) => {
                builder.program.ops.truncate(start);
                return Ok(fixed(false, builder));
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
