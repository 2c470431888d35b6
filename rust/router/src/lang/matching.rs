//! Conditions of routes, where only a match counts: false and undefined are the same.
//!
//! `a AND b` matches if both parts do, `a OR b` if one does, whatever three-valued logic says of the
//! rest. So these become jumps, and only what is below them is computed as a value.

use std::ops::Range;

use crate::condition::Verdict;
use crate::lang::ast::{Infix, Node, NodeKind, Tree, operand_starts};
use crate::lang::branch::Brancher;
use crate::lang::check::{self, Options};
use crate::lang::names;
use crate::lang::parser::Stop;
use crate::lang::share::Sharing;
use crate::lang::types::Type;
use crate::program::{Builder, Const, Op, Routine};

/// A condition whose types are right, taken apart.
#[derive(Debug)]
pub(crate) enum Clauses {
    /// The same verdict for every message.
    Fixed(Verdict),
    /// All must hold.
    All(Vec<Clause>),
}

/// One part of a condition; nodes as in a [`Tree`].
#[derive(Debug)]
pub(crate) struct Clause {
    pub(crate) nodes: Vec<Node>,
    /// Static types of the nodes.
    pub(crate) types: Vec<Type>,
    /// Numbers of the nodes among all that may be shared.
    pub(crate) numbers: Vec<u32>,
}

/// Code for [`crate::machine::Machine::matches`].
#[derive(Debug)]
pub(crate) struct Matching {
    pub(crate) routine: Routine,
    /// Slots and text constants of the clauses `slot = 'text'`, all of which must hold.
    pub(crate) equalities: Vec<(u32, u32)>,
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
    let mut types = Vec::with_capacity(tree.nodes.len());
    let note_type = |_, ty| {
        types.push(ty);
        None
    };
    let whole = check::compile_nodes(&tree.nodes, text, Options::default(), builder, note_type)?;
    let fixed = builder.program.fixed_verdict(whole);
    builder.program.ops.truncate(start);
    if let Some(verdict) = fixed {
        return Ok(Clauses::Fixed(verdict));
    }
    let clause = |part: Range<usize>| {
        let nodes = tree.nodes.get(part.clone()).unwrap_or(&[]).to_vec();
        let numbers = sharing.count(&nodes, text);
        numbers.last().into_iter().for_each(|root| sharing.want(*root));
        Clause { nodes, types: types.get(part).unwrap_or(&[]).to_vec(), numbers }
    };
    let starts = operand_starts(&tree.nodes);
    let is_and = |node: usize| tree.nodes.get(node).is_some_and(|n| n.kind == NodeKind::Infix(Infix::And));
    let mut clauses: Vec<Clause> =
        operands(0..tree.nodes.len(), &starts, is_and).into_iter().map(clause).collect();
    // Whether all hold does not depend on the order: those that need the body come last.
    clauses.sort_by_key(|clause| clause.nodes.iter().any(|node| names::is_body(node.token.text(text))));
    sharing.want_condition(roots(&clauses));
    Ok(Clauses::All(clauses))
}

/// Compiles clauses.
pub(crate) fn compile(
    clauses: &Clauses,
    text: &str,
    builder: &mut Builder,
    sharing: &Sharing,
) -> Result<Matching, Vec<Stop>> {
    let clauses = match clauses {
        Clauses::Fixed(verdict) => return Ok(fixed(*verdict, builder)),
        Clauses::All(clauses) => clauses,
    };
    let start = builder.program.ops.len();
    let mut brancher = Brancher::new(text, builder, sharing);
    for clause in clauses {
        brancher.require(clause)?;
    }
    let equalities = brancher.finish();
    let numbers = roots(clauses);
    if sharing.is_shared_condition(&numbers) {
        share(start, numbers, builder);
    }
    Ok(Matching { routine: builder.program.routine_from(start), equalities })
}

/// The numbers of the clauses as a whole.
fn roots(clauses: &[Clause]) -> Vec<u32> {
    clauses.iter().filter_map(|clause| clause.numbers.last().copied()).collect()
}

/// Replaces the tests from `start` on by one of a slot that all routes with these clauses share.
fn share(start: usize, clauses: Vec<u32>, builder: &mut Builder) {
    let slot = match builder.condition_slot(&clauses) {
        Some(slot) => {
            builder.program.ops.truncate(start);
            slot
        }
        None => builder.share_condition(start, clauses),
    };
    // A test that fails goes beyond the end.
    builder.program.ops.push(Op::TestSlot { slot, when: false, skip: 1 });
}

/// A routine with the same verdict for every message.
fn fixed(verdict: Verdict, builder: &mut Builder) -> Matching {
    let start = builder.program.ops.len();
    let constant = builder.constant(match verdict {
        Verdict::True => Const::Bool(true),
        Verdict::False => Const::Bool(false),
        Verdict::Undefined => Const::Undefined,
    });
    builder.program.ops.push(Op::Const(constant));
    Matching { routine: builder.program.routine_from(start), equalities: Vec::new() }
}

/// The operands that infix operators join within `part`, in the order written; `joins` tells which
/// nodes are such operators. Without recursion: chains may be as long as a text.
pub(crate) fn operands(
    part: Range<usize>,
    starts: &[usize],
    joins: impl Fn(usize) -> bool,
) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut open = Vec::from([part]);
    while let Some(part) = open.pop() {
        let root = part.end.saturating_sub(1);
        match root.checked_sub(1).and_then(|right| starts.get(right)).filter(|_| joins(root)) {
            Some(middle) => {
                open.push(*middle..root);
                open.push(part.start..*middle);
            }
            None => parts.push(part),
        }
    }
    parts
}
