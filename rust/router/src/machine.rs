//! Runs a program on one message. Slots are filled when first asked for, and kept for all routines
//! that follow on the same message.

use crate::body::{self, BodyBuffers, BodyState};
use crate::condition::Verdict;
use crate::functions::{self, Scratch};
use crate::lang::ast::Compare;
use crate::message::{Lookup, MessageView};
use crate::program::{Load, Op, Program, Routine};
use crate::value::{Val, and, arith, compare, number_holds, or};

/// Buffers that outlive the message, so that evaluation allocates nothing once they have grown.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    vals: Vec<Val<'static>>,
    texts: Texts,
}

#[derive(Debug, Default)]
struct Texts {
    scratch: Scratch,
    body: BodyBuffers,
}

/// Takes the allocation of a vector for values of another lifetime. Collecting an emptied vector
/// into one of equal layout reuses its memory.
fn recycle<'m>(mut values: Vec<Val<'_>>) -> Vec<Val<'m>> {
    values.clear();
    values.into_iter().map(|_| Val::Unset).collect()
}

/// A program and a message.
pub(crate) struct Machine<'m, 'b, M: ?Sized> {
    program: &'m Program,
    msg: &'m M,
    /// The slots, then what the body holds at each path, then the stack.
    vals: Vec<Val<'m>>,
    texts: &'b mut Texts,
    /// What `vals` goes back to.
    home: &'b mut Vec<Val<'static>>,
    body_state: BodyState,
    /// Values recorded, by node.
    trace: Vec<(u32, Val<'m>)>,
}

impl<'m, 'b, M: MessageView + ?Sized> Machine<'m, 'b, M> {
    pub(crate) fn new(program: &'m Program, msg: &'m M, buffers: &'b mut Buffers) -> Self {
        let Buffers { vals: home, texts } = buffers;
        let mut vals = recycle(std::mem::take(home));
        vals.reserve(program.loads.len() + program.paths.slots + program.stack_max);
        vals.resize(program.loads.len() + program.paths.slots, Val::Unset);
        Machine { program, msg, vals, texts, home, body_state: BodyState::Unread, trace: Vec::new() }
    }

    /// Gives the buffers back for the next message.
    pub(crate) fn release(self) {
        self.texts.scratch.clear();
        *self.home = recycle(self.vals);
    }

    /// What became of the body.
    pub(crate) fn body_state(&self) -> BodyState {
        self.body_state
    }

    /// The values recorded since the last call.
    pub(crate) fn take_trace(&mut self) -> Vec<(u32, Val<'m>)> {
        std::mem::take(&mut self.trace)
    }

    /// The text of a value, if it is one.
    pub(crate) fn text<'s>(&'s self, value: Val<'s>) -> Option<&'s str> {
        value.text(&self.texts.scratch.built)
    }

    /// The verdict of a condition: true, false, or undefined.
    pub(crate) fn run(&mut self, routine: Routine) -> Verdict {
        let ops = self.program.routine(routine);
        self.vals.truncate(self.program.loads.len() + self.program.paths.slots);
        let mut at = 0;
        while let Some(op) = ops.get(at) {
            at += 1 + self.step(*op);
        }
        self.pop().as_bool().into()
    }

    /// Whether a routine made of requirements finds all of them met.
    #[inline]
    pub(crate) fn matches(&mut self, routine: Routine) -> bool {
        let ops = self.program.routine(routine);
        let mut at = 0;
        while let Some(op) = ops.get(at) {
            at += 1;
            let met = match *op {
                Op::RequireNumber { op, slot, number } => self.number_holds(op, slot, number),
                Op::RequireText { op, slot, text } => self.text_holds(op, slot, text),
                Op::Require => self.pop() == Val::Bool(true),
                other => {
                    at += self.step(other);
                    true
                }
            };
            if !met {
                return false;
            }
        }
        true
    }

    #[inline]
    fn number_holds(&mut self, op: Compare, slot: u32, number: f64) -> bool {
        match self.slot(slot) {
            Val::Num(n) => number_holds(op, n, number),
            value => compare(op, value, Val::Num(number), &self.texts.scratch.built) == Some(true),
        }
    }

    #[inline]
    fn text_holds(&mut self, op: Compare, slot: u32, text: u32) -> bool {
        let (value, text) = (self.slot(slot), self.constant(text));
        compare(op, value, text, &self.texts.scratch.built) == Some(true)
    }

    #[inline]
    fn pop(&mut self) -> Val<'m> {
        self.vals.pop().unwrap_or(Val::Undefined)
    }

    #[inline]
    fn push(&mut self, value: Val<'m>) {
        self.vals.push(value);
    }

    fn top(&self) -> Val<'m> {
        self.vals.last().copied().unwrap_or(Val::Undefined)
    }

    fn constant(&self, index: u32) -> Val<'m> {
        self.program.consts.get(index as usize).map_or(Val::Undefined, |c| c.val())
    }

    /// Does one operation and gives the number of operations to skip.
    #[inline]
    fn step(&mut self, op: Op) -> usize {
        match op {
            Op::CompareConst { op, slot, constant } => {
                let (left, right) = (self.slot(slot), self.constant(constant));
                let verdict = compare(op, left, right, &self.texts.scratch.built);
                self.push(Val::from_bool(verdict));
            }
            Op::Const(index) => self.push(self.constant(index)),
            Op::Load(slot) => {
                let value = self.slot(slot);
                self.push(value);
            }
            Op::SkipIfFalse(ops) if self.top() == Val::Bool(false) => return ops as usize,
            Op::SkipIfTrue(ops) if self.top() == Val::Bool(true) => return ops as usize,
            Op::SkipIfFalse(_) | Op::SkipIfTrue(_) => {}
            Op::SkipIfDefined(ops) if self.top().is_defined() => return ops as usize,
            Op::SkipIfDefined(_) => {
                self.pop();
            }
            Op::Trace(node) => self.trace.push((node, self.top())),
            _ => self.operate(op),
        }
        0
    }

    fn operate(&mut self, op: Op) {
        let value = match op {
            Op::Not => Val::from_bool(self.pop().as_bool().map(|b| !b)),
            Op::Negate => self.pop().as_num().map_or(Val::Undefined, |n| Val::num(-n)),
            Op::IsNullValue => functions::is_null_value(self.pop()),
            Op::Call { builtin, args } => return self.call(builtin, args as usize),
            Op::Drop(values) => {
                let keep = self.vals.len().saturating_sub(values as usize);
                return self.vals.truncate(keep);
            }
            _ => {
                let (right, left) = (self.pop(), self.pop());
                self.binary(op, left, right)
            }
        };
        self.push(value);
    }

    fn binary(&self, op: Op, left: Val<'m>, right: Val<'m>) -> Val<'m> {
        let strict = |f: fn(Option<bool>, Option<bool>) -> Option<bool>| {
            left.as_bool().and(right.as_bool()).and_then(|_| f(left.as_bool(), right.as_bool()))
        };
        match op {
            Op::Arith(op) => arith(op, left, right),
            Op::And => Val::from_bool(and(left.as_bool(), right.as_bool())),
            Op::Or => Val::from_bool(or(or_operand(left), or_operand(right))),
            Op::AndStrict => Val::from_bool(strict(and)),
            Op::OrStrict => Val::from_bool(strict(or)),
            Op::Compare(op) => Val::from_bool(compare(op, left, right, &self.texts.scratch.built)),
            _ => Val::Undefined,
        }
    }

    fn call(&mut self, builtin: crate::lang::builtin::Builtin, args: usize) {
        let first = self.vals.len().saturating_sub(args);
        let value = functions::call(builtin, self.vals.get(first..).unwrap_or(&[]), &mut self.texts.scratch);
        self.vals.truncate(first);
        self.push(value);
    }

    #[inline]
    fn slot(&mut self, slot: u32) -> Val<'m> {
        match self.vals.get(slot as usize) {
            Some(Val::Unset) => self.fill(slot),
            Some(value) => *value,
            None => Val::Undefined,
        }
    }

    fn fill(&mut self, slot: u32) -> Val<'m> {
        let program = self.program;
        let value = program.loads.get(slot as usize).map_or(Val::Undefined, |load| self.load(load));
        if let Some(place) = self.vals.get_mut(slot as usize) {
            *place = value;
        }
        value
    }

    fn load(&mut self, load: &'m Load) -> Val<'m> {
        match load {
            Load::Application(name) => property(self.msg.application_property(name)),
            Load::System(name) => property(self.msg.system_property(name)),
            Load::Either(application, system) => match self.msg.application_property(application) {
                Lookup::Absent => property(self.msg.system_property(system)),
                found => property(found),
            },
            Load::Body(path) => self.body_value(*path),
            Load::ApplicationOrBody(name, path) => match self.msg.application_property(name) {
                Lookup::Absent => self.body_value(*path),
                found => property(found),
            },
            Load::Includes(path) => match self.body_found(*path) {
                Val::Missing => Val::Bool(false),
                Val::Undefined => Val::Undefined,
                _ => Val::Bool(true),
            },
            Load::Number(slot) => {
                let value = self.slot(*slot);
                functions::to_number(value, &self.texts.scratch.built)
            }
        }
    }

    fn body_value(&mut self, path: usize) -> Val<'m> {
        match self.body_found(path) {
            Val::Composite => Val::Undefined,
            value => value,
        }
    }

    /// What the body holds at a path; the first call reads it.
    fn body_found(&mut self, path: usize) -> Val<'m> {
        if self.body_state == BodyState::Unread {
            self.read_body();
        }
        let slots = self.program.loads.len();
        self.vals.get(slots + path).copied().unwrap_or(Val::Undefined)
    }

    #[inline(never)]
    fn read_body(&mut self) {
        let Texts { scratch, body } = &mut *self.texts;
        let slots = self.program.loads.len();
        let paths = &self.program.paths;
        let found = self.vals.get_mut(slots..slots + paths.slots).unwrap_or(&mut []);
        self.body_state = body::read(self.msg, paths, body, found, &mut |text| scratch.keep(text));
    }
}

/// The static null beside `or` counts as false.
fn or_operand(value: Val<'_>) -> Option<bool> {
    if value == Val::Null { Some(false) } else { value.as_bool() }
}

fn property(lookup: Lookup<'_>) -> Val<'_> {
    match lookup {
        Lookup::Absent => Val::Undefined,
        Lookup::Null => Val::NullText,
        Lookup::Text(text) => Val::Text(text),
    }
}
