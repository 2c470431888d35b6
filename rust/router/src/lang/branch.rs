//! `AND` and `OR` of a clause as jumps between tests.

use std::ops::Range;

use crate::condition::Verdict;
use crate::lang::ast::{Compare, Infix, NodeKind, operand_starts};
use crate::lang::check::{self, Options};
use crate::lang::matching::{Clause, operands};
use crate::lang::parser::Stop;
use crate::lang::share::Sharing;
use crate::lang::types::Type;
use crate::program::{Builder, Const, Op};

/// A place that jumps lead to; its operation is known when the place is reached.
#[derive(Debug, Clone, Copy)]
struct Label(usize);

/// Where a test goes on.
#[derive(Debug, Clone, Copy)]
struct Exits {
    yes: Label,
    no: Label,
    /// Which of the two comes right after the test.
    next: bool,
}

/// Emits the tests of one route.
pub(crate) struct Brancher<'b> {
    text: &'b str,
    builder: &'b mut Builder,
    sharing: &'b Sharing,
    /// Operations that labels stand for; `None` is the end without a match.
    labels: Vec<Option<usize>>,
    /// Jumps and their labels.
    jumps: Vec<(usize, Label)>,
    equalities: Vec<(u32, u32)>,
}

const NO_MATCH: Label = Label(0);

impl<'b> Brancher<'b> {
    pub(crate) fn new(text: &'b str, builder: &'b mut Builder, sharing: &'b Sharing) -> Self {
        Brancher { text, builder, sharing, labels: vec![None], jumps: Vec::new(), equalities: Vec::new() }
    }

    /// Emits a clause without which there is no match.
    pub(crate) fn require(&mut self, clause: &Clause) -> Result<(), Vec<Stop>> {
        let begin = self.here();
        let next = self.label();
        let starts = operand_starts(&clause.nodes);
        let exits = Exits { yes: next, no: NO_MATCH, next: true };
        self.branch(clause, &starts, 0..clause.nodes.len(), exits)?;
        self.place(next);
        let single = self.builder.program.ops.get(begin..).unwrap_or(&[]);
        if let [Op::TestText { op: Compare::Eq, slot, text, when: false, .. }] = single {
            self.equalities.push((*slot, *text));
        }
        Ok(())
    }

    /// Lets jumps lead where their labels are; gives the equalities that were required.
    pub(crate) fn finish(self) -> Vec<(u32, u32)> {
        let ops = &mut self.builder.program.ops;
        let beyond = ops.len() + 1;
        for (jump, label) in self.jumps {
            let target = self.labels.get(label.0).copied().flatten().unwrap_or(beyond);
            if let Some(op) = ops.get_mut(jump) {
                op.set_skip(target.saturating_sub(jump + 1) as u32);
            }
        }
        self.equalities
    }

    fn here(&self) -> usize {
        self.builder.program.ops.len()
    }

    fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    fn place(&mut self, label: Label) {
        let here = self.here();
        if let Some(place) = self.labels.get_mut(label.0) {
            *place = Some(here);
        }
    }

    /// Emits the test of a part. Recurses where `AND` and `OR` alternate, which the depth of
    /// expressions limits.
    fn branch(
        &mut self,
        clause: &Clause,
        starts: &[usize],
        part: Range<usize>,
        exits: Exits,
    ) -> Result<(), Vec<Stop>> {
        let root = part.end.saturating_sub(1);
        let Some(join) = self.join(clause, root, starts) else {
            return self.test(clause, part, exits);
        };
        let mut parts = operands(part, starts, |node| self.join(clause, node, starts) == Some(join));
        let last = parts.pop();
        for part in parts {
            let next = self.label();
            let inner = match join {
                Infix::And => Exits { yes: next, no: exits.no, next: true },
                _ => Exits { yes: exits.yes, no: next, next: false },
            };
            self.branch(clause, starts, part, inner)?;
            self.place(next);
        }
        last.map_or(Ok(()), |part| self.branch(clause, starts, part, exits))
    }

    /// Whether a node is an `AND` or `OR` that jumps can stand for. A body value as operand of `OR`
    /// must be a bool even if the other side is true; and what is shared is a value.
    fn join(&self, clause: &Clause, node: usize, starts: &[usize]) -> Option<Infix> {
        let NodeKind::Infix(join @ (Infix::And | Infix::Or)) = clause.nodes.get(node)?.kind else {
            return None;
        };
        let shared = self.sharing.shared(clause.nodes.get(node)?, *clause.numbers.get(node)?);
        let right = node.checked_sub(1)?;
        let left = starts.get(right)?.checked_sub(1)?;
        let strict = [left, right].iter().any(|operand| clause.types.get(*operand) == Some(&Type::Value));
        (shared.is_none() && !(join == Infix::Or && strict)).then_some(join)
    }

    fn test(&mut self, clause: &Clause, part: Range<usize>, exits: Exits) -> Result<(), Vec<Stop>> {
        let nodes = clause.nodes.get(part.clone()).unwrap_or(&[]);
        let numbers = clause.numbers.get(part).unwrap_or(&[]);
        let sharing = self.sharing;
        let shared = |index: usize, _| sharing.shared(nodes.get(index)?, *numbers.get(index)?);
        let value = check::compile_nodes(nodes, self.text, Options::default(), self.builder, shared)?;
        if let Some(verdict) = self.builder.program.fixed_verdict(value) {
            self.builder.program.ops.pop();
            self.jump(verdict == Verdict::True, exits);
            return Ok(());
        }
        let when = !exits.next;
        let test = self.fused(self.builder.program.routine(value), when);
        if test.is_some() {
            self.builder.program.ops.pop();
        }
        self.jump_by(test.unwrap_or(Op::Test { when, skip: 0 }), if when { exits.yes } else { exits.no });
        Ok(())
    }

    /// A test in place of a slot, or of its comparison with a number or text.
    fn fused(&self, ops: &[Op], when: bool) -> Option<Op> {
        let (op, slot, constant) = match *ops {
            [Op::Load(slot)] => return Some(Op::TestSlot { slot, when, skip: 0 }),
            [Op::CompareConst { op, slot, constant }] => (op, slot, constant),
            _ => return None,
        };
        match self.builder.program.consts.get(constant as usize)? {
            Const::Num(number) => Some(Op::TestNumber { op, slot, number: *number, when, skip: 0 }),
            Const::Text(_) => Some(Op::TestText { op, slot, text: constant, when, skip: 0 }),
            _ => None,
        }
    }

    /// Goes where a test of known outcome goes.
    fn jump(&mut self, outcome: bool, exits: Exits) {
        if outcome != exits.next {
            self.jump_by(Op::Jump(0), if outcome { exits.yes } else { exits.no });
        }
    }

    fn jump_by(&mut self, op: Op, label: Label) {
        self.jumps.push((self.here(), label));
        self.builder.program.ops.push(op);
    }
}
