//! What conditions compile to: a flat list of operations on a stack, and the values they load.
//!
//! All conditions of a route set share one program, so that a property, a number made of it, or the
//! body is looked at once per message however many routes ask for it.

use std::collections::HashMap;
use std::hash::Hash;

use crate::body::{PathSet, Step};
use crate::condition::Verdict;
use crate::lang::ast::{Arith, Compare};
use crate::lang::builtin::Builtin;
use crate::lang::share::SHARED_DEPTH_MAX;
use crate::value::Val;

/// One operation. Jumps are forward and relative, counted from the operation after.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Op {
    /// Push a constant.
    Const(u32),
    /// Drop that many values.
    Drop(u32),
    /// Push the value of a slot.
    Load(u32),
    /// Push the comparison of a slot with a constant.
    CompareConst {
        op: Compare,
        slot: u32,
        constant: u32,
    },
    /// Jump if the comparison of a slot holds (or, unless `when`, if it does not).
    TestNumber {
        op: Compare,
        slot: u32,
        number: f64,
        when: bool,
        skip: u32,
    },
    TestText {
        op: Compare,
        slot: u32,
        text: u32,
        when: bool,
        skip: u32,
    },
    /// Jump if a slot is true (or, unless `when`, if it is not).
    TestSlot {
        slot: u32,
        when: bool,
        skip: u32,
    },
    /// The same for the top of the stack, taken off.
    Test {
        when: bool,
        skip: u32,
    },
    Jump(u32),
    /// Replace two values by their comparison.
    Compare(Compare),
    Arith(Arith),
    Negate,
    Not,
    And,
    Or,
    /// `and` on body values: undefined unless both are bools.
    AndStrict,
    OrStrict,
    /// Jump if the top of the stack is false (true), leaving it there.
    SkipIfFalse(u32),
    SkipIfTrue(u32),
    /// Drop an undefined top of the stack; jump if it is defined.
    SkipIfDefined(u32),
    Call {
        builtin: Builtin,
        args: u32,
    },
    /// `is_null` of a body value, which the reference inverts.
    IsNullValue,
    /// Record the top of the stack as the value of a node; only in programs made to explain.
    Trace(u32),
}

impl Op {
    /// The slot that the operation looks at.
    pub(crate) fn slot(&self) -> Option<u32> {
        match self {
            Op::Load(slot)
            | Op::CompareConst { slot, .. }
            | Op::TestNumber { slot, .. }
            | Op::TestText { slot, .. }
            | Op::TestSlot { slot, .. } => Some(*slot),
            _ => None,
        }
    }

    /// Sets how far a jump goes.
    pub(crate) fn set_skip(&mut self, ops: u32) {
        match self {
            Op::TestNumber { skip, .. }
            | Op::TestText { skip, .. }
            | Op::TestSlot { skip, .. }
            | Op::Test { skip, .. }
            | Op::Jump(skip) => *skip = ops,
            _ => {}
        }
    }
}

/// Where the value of a slot comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Load {
    Application(String),
    System(String),
    /// Application property, else system property.
    Either(String, String),
    /// Slot of a body path.
    Body(usize),
    /// Application property, else body path.
    ApplicationOrBody(String, usize),
    /// Whether a body path leads to something.
    Includes(usize),
    /// Another slot as a number.
    Number(u32),
    /// The value of a sub-expression that several conditions share.
    Shared {
        routine: Routine,
        reads_body: bool,
    },
    /// Whether tests that several routes share are passed.
    Passed {
        routine: Routine,
        reads_body: bool,
    },
}

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Const {
    Undefined,
    Null,
    Bool(bool),
    Num(f64),
    Text(Box<str>),
}

impl Const {
    pub(crate) fn val(&self) -> Val<'_> {
        match self {
            Const::Undefined => Val::Undefined,
            Const::Null => Val::Null,
            Const::Bool(b) => Val::Bool(*b),
            Const::Num(n) => Val::num(*n),
            Const::Text(text) => Val::Text(text),
        }
    }
}

/// The operations of one condition, or of a shared part of some, within the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Routine {
    start: u32,
    end: u32,
}

/// A compiled program; immutable.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) ops: Vec<Op>,
    /// Operations of shared sub-expressions.
    shared: Vec<Op>,
    pub(crate) consts: Vec<Const>,
    pub(crate) loads: Vec<Load>,
    pub(crate) paths: PathSet,
}

impl Program {
    pub(crate) fn routine(&self, routine: Routine) -> &[Op] {
        self.ops.get(routine.start as usize..routine.end as usize).unwrap_or(&[])
    }

    /// The routine from `start` to the last operation so far.
    pub(crate) fn routine_from(&self, start: usize) -> Routine {
        Routine { start: start as u32, end: self.ops.len() as u32 }
    }

    /// A constant that is a text.
    #[inline]
    pub(crate) fn text(&self, constant: u32) -> &str {
        match self.consts.get(constant as usize) {
            Some(Const::Text(text)) => text,
            _ => "",
        }
    }

    /// The operations of a [`Load::Shared`].
    pub(crate) fn shared(&self, routine: Routine) -> &[Op] {
        self.shared.get(routine.start as usize..routine.end as usize).unwrap_or(&[])
    }

    /// Moves the last operations, from `start` on, to the shared ones.
    pub(crate) fn move_to_shared(&mut self, start: usize) -> Routine {
        let begin = self.shared.len();
        self.shared.extend(self.ops.drain(start.min(self.ops.len())..));
        Routine { start: begin as u32, end: self.shared.len() as u32 }
    }

    /// Whether filling the slot may read the body.
    pub(crate) fn reads_body(&self, slot: u32) -> bool {
        match self.loads.get(slot as usize) {
            Some(Load::Body(_) | Load::ApplicationOrBody(..) | Load::Includes(_)) => true,
            Some(Load::Shared { reads_body, .. } | Load::Passed { reads_body, .. }) => *reads_body,
            Some(Load::Number(inner)) => self.reads_body(*inner),
            _ => false,
        }
    }

    /// The verdict of a routine that is the same for every message.
    pub(crate) fn fixed_verdict(&self, routine: Routine) -> Option<Verdict> {
        match self.routine(routine) {
            [Op::Const(index)] => Some(self.consts.get(*index as usize)?.val().as_bool().into()),
            _ => None,
        }
    }
}

/// A program under construction; equal loads and constants are kept once.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    pub(crate) program: Program,
    load_ids: HashMap<Load, u32>,
    text_ids: HashMap<Box<str>, u32>,
    number_ids: HashMap<u64, u32>,
    /// Slots of shared sub-expressions by their number.
    shared_slots: HashMap<u32, u32>,
    /// Slots of shared conditions by the numbers of their clauses.
    condition_slots: HashMap<Vec<u32>, u32>,
    /// How deep shared slots need each other, by slot.
    shared_depths: HashMap<u32, u32>,
}

fn intern<K: Eq + Hash>(ids: &mut HashMap<K, u32>, key: K, next: usize) -> (u32, bool) {
    let new = !ids.contains_key(&key);
    (*ids.entry(key).or_insert(next as u32), new)
}

impl Builder {
    /// Slot of a load.
    pub(crate) fn load(&mut self, load: Load) -> u32 {
        let (id, new) = intern(&mut self.load_ids, load.clone(), self.program.loads.len());
        if new {
            self.program.loads.push(load);
        }
        id
    }

    /// Slot of a body path within the body.
    pub(crate) fn path(&mut self, steps: &[Step]) -> usize {
        self.program.paths.add(steps)
    }

    /// Makes the operations from `start` on, whose value has this `number`, a shared routine; what is
    /// left in their place is a load of its slot. Single operations and what is too deep stay.
    pub(crate) fn share(&mut self, start: usize, number: u32) {
        let known = self.shared_slots.get(&number).copied();
        let tail = self.program.ops.get(start..).unwrap_or(&[]);
        let depth_of = |slot: u32| self.shared_depths.get(&slot).copied().unwrap_or(0);
        let depth = 1 + tail.iter().filter_map(Op::slot).map(depth_of).max().unwrap_or(0);
        if tail.len() < 2 || (known.is_none() && depth > SHARED_DEPTH_MAX) {
            return;
        }
        let slot = if let Some(known) = known {
            self.program.ops.truncate(start);
            known
        } else {
            let (routine, reads_body) = self.move_to_shared(start);
            let slot = self.load(Load::Shared { routine, reads_body });
            self.shared_slots.insert(number, slot);
            self.shared_depths.insert(slot, depth);
            slot
        };
        self.program.ops.push(Op::Load(slot));
    }

    /// Makes the tests from `start` on, those of the condition with these clauses, a shared routine,
    /// and gives the slot that tells whether they are passed.
    pub(crate) fn share_condition(&mut self, start: usize, clauses: Vec<u32>) -> u32 {
        let (routine, reads_body) = self.move_to_shared(start);
        let slot = self.load(Load::Passed { routine, reads_body });
        self.condition_slots.insert(clauses, slot);
        slot
    }

    /// The slot of a condition that [`Builder::share_condition`] was called for.
    pub(crate) fn condition_slot(&self, clauses: &[u32]) -> Option<u32> {
        self.condition_slots.get(clauses).copied()
    }

    fn move_to_shared(&mut self, start: usize) -> (Routine, bool) {
        let tail = self.program.ops.get(start..).unwrap_or(&[]);
        let reads_body = tail.iter().filter_map(Op::slot).any(|slot| self.program.reads_body(slot));
        (self.program.move_to_shared(start), reads_body)
    }

    /// Index of a constant.
    pub(crate) fn constant(&mut self, constant: Const) -> u32 {
        let next = self.program.consts.len();
        let (id, new) = match &constant {
            Const::Text(text) => intern(&mut self.text_ids, text.clone(), next),
            Const::Num(n) => intern(&mut self.number_ids, n.to_bits(), next),
            _ => (next as u32, true),
        };
        if new {
            self.program.consts.push(constant);
        }
        id
    }
}
