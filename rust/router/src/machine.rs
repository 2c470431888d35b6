//! Runs a program on one message. Slots are filled when first asked for, and kept for all routines
//! that follow on the same message.

use crate::body::{self, BodyBuffers, BodyState};
use crate::condition::Verdict;
use crate::functions::{self, Scratch};
use crate::lang::ast::Compare;
use crate::message::{Lookup, MessageView};
use crate::program::{Load, Op, Program, Routine};
use crate::value::{Val, and, arith, compare, compare_text, number_holds, or};

/// Buffers that outlive the message, so that evaluation allocates nothing once they have grown.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    places: Places,
    values: Vec<Val<'static>>,
    stack: Vec<Val<'static>>,
    found: Vec<Val<'static>>,
    texts: Texts,
}

#[derive(Debug, Default)]
struct Texts {
    scratch: Scratch,
    body: BodyBuffers,
}

/// Which slots have a value for the present message, and where. A program may have thousands of
/// slots of which a message fills a few, so nothing is cleared between messages: an entry counts
/// only if it bears the number of the message.
#[derive(Debug, Default)]
struct Places {
    message: u32,
    by_slot: Vec<Place>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    message: u32,
    index: u32,
}

impl Places {
    /// Begins a message: no slot has a value.
    #[inline]
    fn begin(&mut self, slots: usize) {
        if self.message == u32::MAX {
            self.by_slot.clear();
            self.message = 0;
        }
        self.message += 1;
        if self.by_slot.len() < slots {
            self.by_slot.resize(slots, Place::default());
        }
    }

    #[inline]
    fn get(&self, slot: u32) -> Option<u32> {
        let place = self.by_slot.get(slot as usize)?;
        (place.message == self.message).then_some(place.index)
    }

    #[inline]
    fn set(&mut self, slot: u32, index: u32) {
        if let Some(place) = self.by_slot.get_mut(slot as usize) {
            *place = Place { message: self.message, index };
        }
    }
}

/// Takes the allocation of a vector for values of another lifetime. Collecting an emptied vector
/// into one of equal layout reuses its memory.
#[inline]
fn recycle<'m>(mut values: Vec<Val<'_>>) -> Vec<Val<'m>> {
    values.clear();
    values.into_iter().map(|_| Val::Undefined).collect()
}

/// A program and a message.
pub(crate) struct Machine<'m, 'b, M: ?Sized> {
    program: &'m Program,
    msg: &'m M,
    /// Values of slots, in the order they were filled.
    values: Vec<Val<'m>>,
    /// Without memory until the first operation that needs it; many messages need none.
    stack: Vec<Val<'m>>,
    /// What the body holds at each path, once it is read.
    found: Vec<Val<'m>>,
    /// Where the vectors go back to, and what needs no message.
    buffers: &'b mut Buffers,
    body_state: BodyState,
    /// Values recorded, by node.
    trace: Vec<(u32, Val<'m>)>,
}

impl<'m, 'b, M: MessageView + ?Sized> Machine<'m, 'b, M> {
    #[inline]
    pub(crate) fn new(program: &'m Program, msg: &'m M, buffers: &'b mut Buffers) -> Self {
        buffers.places.begin(program.loads.len());
        let values = recycle(std::mem::take(&mut buffers.values));
        let (stack, found, trace) = (Vec::new(), Vec::new(), Vec::new());
        Machine { program, msg, values, stack, found, buffers, body_state: BodyState::Unread, trace }
    }

    /// Gives the buffers back for the next message.
    #[inline]
    pub(crate) fn release(self) {
        let Machine { values, stack, found, buffers, .. } = self;
        buffers.values = recycle(values);
        if stack.capacity() > 0 {
            buffers.stack = recycle(stack);
            buffers.texts.scratch.clear();
        }
        if found.capacity() > 0 {
            buffers.found = recycle(found);
            buffers.texts.scratch.clear();
        }
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
    #[inline]
    pub(crate) fn text<'s>(&'s self, value: Val<'s>) -> Option<&'s str> {
        value.text(self.built())
    }

    #[inline]
    fn built(&self) -> &str {
        &self.buffers.texts.scratch.built
    }

    /// The verdict of a condition: true, false, or undefined.
    pub(crate) fn run(&mut self, routine: Routine) -> Verdict {
        self.value_of(self.program.routine(routine)).as_bool().into()
    }

    /// The value that operations leave.
    fn value_of(&mut self, ops: &[Op]) -> Val<'m> {
        let mut at = 0;
        while let Some(op) = ops.get(at) {
            at += 1 + self.step(*op) as usize;
        }
        self.pop()
    }

    /// Whether a routine made of tests ends at its end; one that does not match jumps beyond.
    #[inline]
    pub(crate) fn matches(&mut self, routine: Routine) -> bool {
        self.passes(self.program.routine(routine))
    }

    /// Whether tests lead to the end. Part of the loop over routes, where a call for each would show.
    #[allow(clippy::inline_always, reason = "measured: a tenth of the time of many short conditions")]
    #[inline(always)]
    fn passes(&mut self, ops: &[Op]) -> bool {
        let mut at = 0;
        while let Some(op) = ops.get(at) {
            let (jumps, skip) = match *op {
                Op::TestNumber { op, slot, number, when, skip } => {
                    (self.number_holds(op, slot, number) == when, skip)
                }
                Op::TestText { op, slot, text, when, skip } => {
                    (self.text_holds(op, slot, text) == when, skip)
                }
                Op::TestSlot { slot, when, skip } => (self.is_true(slot) == when, skip),
                Op::Test { when, skip } => (matches!(self.pop(), Val::Bool(true)) == when, skip),
                Op::Jump(skip) => (true, skip),
                other => (true, self.step(other)),
            };
            at += if jumps { 1 + skip as usize } else { 1 };
        }
        at == ops.len()
    }

    #[inline]
    fn is_true(&mut self, slot: u32) -> bool {
        match self.known(slot) {
            Some(value) => matches!(value, Val::Bool(true)),
            None => matches!(self.fill(slot), Val::Bool(true)),
        }
    }

    // These look at a filled slot in place: a copy of the value would be written and read back.

    #[inline]
    fn number_holds(&mut self, op: Compare, slot: u32, number: f64) -> bool {
        let value = match self.known(slot) {
            Some(Val::Num(n)) => return number_holds(op, *n, number),
            Some(value) => *value,
            None => match self.fill(slot) {
                Val::Num(n) => return number_holds(op, n, number),
                value => value,
            },
        };
        self.value_holds(op, value, Val::Num(number))
    }

    #[inline]
    fn text_holds(&mut self, op: Compare, slot: u32, text: u32) -> bool {
        let wanted = self.program.text(text);
        let value = match self.known(slot) {
            Some(Val::Text(value)) => return compare_text(op, value, wanted),
            Some(value) => *value,
            None => match self.fill(slot) {
                Val::Text(value) => return compare_text(op, value, wanted),
                value => value,
            },
        };
        self.value_holds(op, value, Val::Text(wanted))
    }

    #[inline(never)]
    fn value_holds(&self, op: Compare, left: Val<'m>, right: Val<'m>) -> bool {
        compare(op, left, right, self.built()) == Some(true)
    }

    #[inline]
    fn pop(&mut self) -> Val<'m> {
        self.stack.pop().unwrap_or(Val::Undefined)
    }

    #[inline]
    fn push(&mut self, value: Val<'m>) {
        if self.stack.capacity() == 0 {
            self.stack = recycle(std::mem::take(&mut self.buffers.stack));
        }
        self.stack.push(value);
    }

    fn top(&self) -> Val<'m> {
        self.stack.last().copied().unwrap_or(Val::Undefined)
    }

    fn constant(&self, index: u32) -> Val<'m> {
        self.program.consts.get(index as usize).map_or(Val::Undefined, |c| c.val())
    }

    /// Does one operation and gives the number of operations to skip. Apart, so that the loop over
    /// tests stays small.
    #[inline(never)]
    fn step(&mut self, op: Op) -> u32 {
        match op {
            Op::CompareConst { op, slot, constant } => {
                let (left, right) = (self.slot(slot), self.constant(constant));
                let verdict = compare(op, left, right, self.built());
                self.push(Val::from_bool(verdict));
            }
            Op::Const(index) => self.push(self.constant(index)),
            Op::Load(slot) => {
                let value = self.slot(slot);
                self.push(value);
            }
            Op::SkipIfFalse(ops) if self.top() == Val::Bool(false) => return ops,
            Op::SkipIfTrue(ops) if self.top() == Val::Bool(true) => return ops,
            Op::SkipIfFalse(_) | Op::SkipIfTrue(_) => {}
            Op::SkipIfDefined(ops) if self.top().is_defined() => return ops,
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
                let keep = self.stack.len().saturating_sub(values as usize);
                return self.stack.truncate(keep);
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
            Op::Compare(op) => Val::from_bool(compare(op, left, right, self.built())),
            _ => Val::Undefined,
        }
    }

    fn call(&mut self, builtin: crate::lang::builtin::Builtin, args: usize) {
        let first = self.stack.len().saturating_sub(args);
        let args = self.stack.get(first..).unwrap_or(&[]);
        let value = functions::call(builtin, args, &mut self.buffers.texts.scratch);
        self.stack.truncate(first);
        self.push(value);
    }

    /// The value of a slot, if it is filled.
    #[inline]
    fn known(&self, slot: u32) -> Option<&Val<'m>> {
        self.values.get(self.buffers.places.get(slot)? as usize)
    }

    /// The value of a slot, filled when first asked for.
    #[inline]
    pub(crate) fn slot(&mut self, slot: u32) -> Val<'m> {
        match self.known(slot) {
            Some(value) => *value,
            None => self.fill(slot),
        }
    }

    #[inline(never)]
    fn fill(&mut self, slot: u32) -> Val<'m> {
        let program = self.program;
        let value = match program.loads.get(slot as usize) {
            Some(load) => self.load(load),
            None => Val::Undefined,
        };
        self.buffers.places.set(slot, self.values.len() as u32);
        self.values.push(value);
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
                functions::to_number(value, self.built())
            }
            // As deep as `Builder::share` lets shared values need each other.
            Load::Shared { routine, .. } => self.value_of(self.program.shared(*routine)),
            Load::Passed { routine, .. } => Val::Bool(self.passes(self.program.shared(*routine))),
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
        self.found.get(path).copied().unwrap_or(Val::Undefined)
    }

    #[inline(never)]
    fn read_body(&mut self) {
        let paths = &self.program.paths;
        self.found = recycle(std::mem::take(&mut self.buffers.found));
        let Texts { scratch, body } = &mut self.buffers.texts;
        self.found.resize(paths.slots, Val::Undefined);
        let keep = &mut |text: &str| scratch.keep(text);
        self.body_state = body::read(self.msg, paths, body, &mut self.found, keep);
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
