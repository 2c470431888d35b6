//! Operations for one condition, in the order of its nodes.

use crate::lang::ast::{Arith, Compare};
use crate::lang::builtin::Builtin;
use crate::lang::types::Type;
use crate::program::{Builder, Const, Load, Op, Routine};

/// A part of the condition whose operations are emitted and whose value is on the stack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operand {
    pub(crate) ty: Type,
    /// Where its operations begin.
    pub(crate) start: usize,
    /// Number of errors before it.
    pub(crate) errors: usize,
}

/// Emits operations into a shared program.
#[derive(Debug)]
pub(crate) struct Emitter<'b> {
    builder: &'b mut Builder,
    begin: usize,
    /// Whether every value is recorded and nothing is short-cut or fused.
    tracing: bool,
}

impl<'b> Emitter<'b> {
    pub(crate) fn new(builder: &'b mut Builder, tracing: bool) -> Self {
        let begin = builder.program.ops.len();
        Emitter { builder, begin, tracing }
    }

    fn ops(&mut self) -> &mut Vec<Op> {
        &mut self.builder.program.ops
    }

    /// Where the next operation goes.
    pub(crate) fn here(&self) -> usize {
        self.builder.program.ops.len()
    }

    /// Closes the routine, whose value is `root`.
    pub(crate) fn finish(mut self, root: Operand) -> Routine {
        match root.ty {
            // A condition that is a number or a text matches nothing; one that is null is false.
            Type::Number | Type::Text | Type::Undefined => self.replace(root.start, 1, Const::Undefined),
            Type::Null => self.replace(root.start, 1, Const::Bool(false)),
            Type::Bool | Type::Value => {}
        }
        self.builder.program.routine_from(self.begin)
    }

    /// Gives up the routine.
    pub(crate) fn abandon(mut self) {
        let begin = self.begin;
        self.ops().truncate(begin);
    }

    pub(crate) fn trace(&mut self, node: usize) {
        if self.tracing {
            self.ops().push(Op::Trace(node as u32));
        }
    }

    /// Keeps the value of the operations from `start` on for all conditions, under this number.
    pub(crate) fn share(&mut self, start: usize, number: u32) {
        self.builder.share(start, number);
    }

    pub(crate) fn constant(&mut self, constant: Const) {
        let id = self.builder.constant(constant);
        self.ops().push(Op::Const(id));
    }

    /// Drops everything from `start` on, which leaves `values` on the stack, for a constant.
    pub(crate) fn replace(&mut self, start: usize, values: usize, constant: Const) {
        if self.tracing {
            self.op(Op::Drop(values as u32));
        } else {
            self.truncate(start);
        }
        self.constant(constant);
    }

    /// Takes back everything from `start` on.
    pub(crate) fn truncate(&mut self, start: usize) {
        self.ops().truncate(start);
    }

    pub(crate) fn load(&mut self, load: Load) {
        let slot = self.builder.load(load);
        self.ops().push(Op::Load(slot));
    }

    pub(crate) fn path(&mut self, steps: &[crate::body::Step]) -> usize {
        self.builder.path(steps)
    }

    pub(crate) fn op(&mut self, op: Op) {
        self.ops().push(op);
    }

    pub(crate) fn arith(&mut self, op: Arith) {
        self.op(Op::Arith(op));
    }

    /// A comparison of what the last two operands left; a slot against a constant is one operation.
    pub(crate) fn compare(&mut self, op: Compare, left: Operand) {
        let start = left.start;
        let fused = match self.builder.program.ops.get(start..) {
            Some([Op::Load(slot), Op::Const(constant)]) => {
                Some(Op::CompareConst { op, slot: *slot, constant: *constant })
            }
            Some([Op::Const(constant), Op::Load(slot)]) => {
                Some(Op::CompareConst { op: op.mirrored(), slot: *slot, constant: *constant })
            }
            _ => None,
        };
        if let Some(fused) = fused {
            self.ops().truncate(start);
            self.op(fused);
        } else {
            self.op(Op::Compare(op));
        }
    }

    /// A binary operation whose right side, from `middle` on, is skipped when `skip` jumps.
    pub(crate) fn shortcut(&mut self, middle: usize, skip: fn(u32) -> Op, op: Op) {
        if !self.tracing {
            let right = (self.here() - middle) as u32;
            self.ops().insert(middle, skip(right + 1));
        }
        self.op(op);
    }

    /// `left ?? right`.
    pub(crate) fn coalesce(&mut self, middle: usize) {
        let right = (self.here() - middle) as u32;
        self.ops().insert(middle, Op::SkipIfDefined(right));
    }

    /// `as_number` of a property or body value becomes a slot of its own, converted once a message.
    pub(crate) fn as_number(&mut self, argument: Operand) {
        if argument.ty == Type::Number {
            return;
        }
        let slot = match self.builder.program.ops.get(argument.start..) {
            Some([Op::Load(slot)]) => Some(*slot),
            _ => None,
        };
        match slot {
            Some(slot) => {
                self.ops().truncate(argument.start);
                self.load(Load::Number(slot));
            }
            None => self.op(Op::Call { builtin: Builtin::AsNumber, args: 1 }),
        }
    }
}
