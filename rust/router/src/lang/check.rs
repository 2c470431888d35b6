//! Static types (routing section 5), and with them the compilation of a tree.
//!
//! One loop over the nodes, operands first. What fails becomes undefined and the loop goes on, so
//! that all errors of a condition are found at once.

use crate::error::Problem;
use crate::lang::ast::{Arith, Compare, Fault, Infix, Node, NodeKind, Tree};
use crate::lang::builtin::Builtin;
use crate::lang::emit::{Emitter, Operand};
use crate::lang::lexer::Token;
use crate::lang::names::{self, Reference, Source};
use crate::lang::parser::Stop;
use crate::lang::types::Type;
use crate::lang::{literal, parser};
use crate::program::{Builder, Const, Load, Op, Routine};
use crate::text::fold;

/// Errors told of one condition; what is beyond is found when these are mended.
pub const ERRORS_MAX: usize = 100;

/// What a condition may use and how it is compiled.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// Whether `twin_change_includes` is known.
    pub(crate) twin_change_includes: bool,
    /// Whether to record the value of every node.
    pub(crate) tracing: bool,
}

/// Compiles `tree`, whose tokens are in `text`, into `builder`.
pub(crate) fn compile(
    tree: &Tree,
    text: &str,
    options: Options,
    builder: &mut Builder,
) -> Result<Routine, Vec<Stop>> {
    compile_nodes(&tree.nodes, text, options, builder, |_, _| None)
}

/// Compiles an expression; `shared` is asked about each node, with its type, and gives the number
/// under which its value is kept for all conditions.
pub(crate) fn compile_nodes(
    nodes: &[Node],
    text: &str,
    options: Options,
    builder: &mut Builder,
    mut shared: impl FnMut(usize, Type) -> Option<u32>,
) -> Result<Routine, Vec<Stop>> {
    let emitter = Emitter::new(builder, options.tracing);
    let mut checker = Checker { text, options, emitter, stack: Vec::new(), errors: Vec::new(), path: None };
    for (index, node) in nodes.iter().enumerate() {
        checker.node(node);
        checker.emitter.trace(index);
        let operand = checker.stack.last().copied();
        if let Some((operand, number)) = operand.and_then(|o| Some((o, shared(index, o.ty)?))) {
            checker.emitter.share(operand.start, number);
        }
    }
    let root = checker.pop();
    if checker.errors.is_empty() {
        Ok(checker.emitter.finish(root))
    } else {
        checker.emitter.abandon();
        Err(checker.errors)
    }
}

struct Checker<'t, 'b> {
    text: &'t str,
    options: Options,
    emitter: Emitter<'b>,
    stack: Vec<Operand>,
    errors: Vec<Stop>,
    /// The node before, if it was a path.
    path: Option<Token>,
}

impl Checker<'_, '_> {
    fn node(&mut self, node: &Node) {
        let path = self.path.take();
        match node.kind {
            NodeKind::Property => {
                let name = fold(node.token.text(self.text));
                self.leaf(Type::Text);
                self.emitter.load(Load::Application(name));
            }
            NodeKind::SysProperty => self.reference(node.token, false),
            NodeKind::SysPropertyOnly => self.reference(node.token, true),
            NodeKind::Negate => self.negate(node.token),
            NodeKind::Not => self.not(node.token),
            NodeKind::Infix(infix) => self.infix(infix, node.token),
            NodeKind::Call { args } => self.call(node.token, args, path),
            NodeKind::Path => self.path(node.token),
            NodeKind::Fault(fault) => self.fault(fault, node.token),
            literal => self.literal(literal, node.token),
        }
    }

    /// Starts an operand without parts; its operations come next.
    fn leaf(&mut self, ty: Type) {
        let operand = Operand { ty, start: self.emitter.here(), errors: self.errors.len() };
        self.stack.push(operand);
    }

    fn pop(&mut self) -> Operand {
        let nothing = Operand { ty: Type::Undefined, start: self.emitter.here(), errors: 0 };
        self.stack.pop().unwrap_or(nothing)
    }

    fn error(&mut self, token: Token, problem: Problem) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(Stop { token, problem });
        }
    }

    fn text_of(&self, token: Token) -> String {
        token.text(self.text).to_owned()
    }

    fn literal(&mut self, kind: NodeKind, token: Token) {
        let text = token.text(self.text);
        let number = |value: Option<f64>| {
            value.map_or((Type::Undefined, Const::Undefined), |n| (Type::Number, Const::Num(n)))
        };
        let inside =
            |len: usize| literal::unescape(text.get(1..text.len().saturating_sub(len)).unwrap_or(""));
        let (ty, constant) = match kind {
            NodeKind::Integer | NodeKind::Real => number(literal::decimal(text)),
            NodeKind::Hex => number(literal::hex(text)),
            NodeKind::Text => (Type::Text, Const::Text(inside(1).into())),
            NodeKind::OpenText => (Type::Text, Const::Text(inside(0).into())),
            NodeKind::True => (Type::Bool, Const::Bool(true)),
            NodeKind::False => (Type::Bool, Const::Bool(false)),
            NodeKind::Null => (Type::Null, Const::Null),
            _ => (Type::Undefined, Const::Undefined),
        };
        self.leaf(ty);
        self.emitter.constant(constant);
        if kind == NodeKind::OpenText {
            self.error(token, Problem::UnterminatedString);
        }
    }

    fn reference(&mut self, token: Token, only_system: bool) {
        let reference = names::resolve(token.text(self.text), only_system);
        self.leaf(reference.ty());
        if let Some(detail) = reference.error.clone() {
            let function = self.text_of(token);
            self.error(token, Problem::Arguments { function, have: vec![Type::Text], detail: Some(detail) });
        }
        self.load_reference(reference);
    }

    fn load_reference(&mut self, reference: Reference) {
        let load = match (reference.source, reference.application) {
            (Source::System(name), None) => Load::System(name),
            (Source::System(name), Some(application)) => Load::Either(application, name),
            (Source::Body(steps), None) => Load::Body(self.emitter.path(&steps)),
            (Source::Body(steps), Some(application)) => {
                Load::ApplicationOrBody(application, self.emitter.path(&steps))
            }
            (Source::Nowhere, _) => return self.emitter.constant(Const::Undefined),
        };
        self.emitter.load(load);
    }

    fn path(&mut self, token: Token) {
        self.leaf(Type::Text);
        self.emitter.constant(Const::Undefined);
        self.path = Some(token);
    }

    fn fault(&mut self, fault: Fault, token: Token) {
        let problem = match fault {
            Fault::InvalidSymbol => Problem::InvalidSymbol { symbol: self.text_of(token) },
            Fault::UnmatchedParen => Problem::UnmatchedParen,
            Fault::MissingParen => Problem::MissingParen,
        };
        self.leaf(Type::Undefined);
        self.emitter.constant(Const::Undefined);
        self.error(token, problem);
    }

    fn negate(&mut self, token: Token) {
        let operand = self.pop();
        let ok = Type::Number.accepts(operand.ty);
        if !ok {
            self.unary_error(token, operand, Type::Number);
        }
        self.emitter.op(Op::Negate);
        self.stack.push(Operand { ty: if ok { operand.ty } else { Type::Undefined }, ..operand });
    }

    fn not(&mut self, token: Token) {
        let operand = self.pop();
        let ok = matches!(operand.ty, Type::Null | Type::Bool | Type::Value);
        match operand.ty {
            Type::Null => self.emitter.replace(operand.start, 1, Const::Bool(true)),
            _ if ok => self.emitter.op(Op::Not),
            _ => self.unary_error(token, operand, Type::Bool),
        }
        self.stack.push(Operand { ty: if ok { Type::Bool } else { Type::Undefined }, ..operand });
    }

    fn unary_error(&mut self, token: Token, operand: Operand, expected: Type) {
        let op = self.text_of(token);
        self.error(token, Problem::UnaryOperand { op, have: operand.ty, expected });
    }

    fn infix(&mut self, infix: Infix, token: Token) {
        let right = self.pop();
        let left = self.pop();
        let wanted = match infix {
            Infix::Arith(_) => Type::Number,
            Infix::Concat => Type::Text,
            Infix::And | Infix::Or => Type::Bool,
            Infix::Compare(_) | Infix::Coalesce => left.ty,
        };
        let ok = match infix {
            Infix::And | Infix::Or => left.ty.is_logical() && right.ty.is_logical(),
            _ => wanted.accepts(left.ty) && wanted.accepts(right.ty),
        };
        if !ok {
            let (op, have) = (self.text_of(token), [left.ty, right.ty]);
            self.error(token, Problem::BinaryOperands { op, have, expected: [wanted; 2] });
        }
        let ty = if ok { self.join(infix, left, right) } else { Type::Undefined };
        self.stack.push(Operand { ty, start: left.start, errors: left.errors });
    }

    /// Emits an infix operation on operands it takes and gives its type.
    fn join(&mut self, infix: Infix, left: Operand, right: Operand) -> Type {
        let value = left.ty == Type::Value || right.ty == Type::Value;
        match infix {
            Infix::Arith(op) => self.arith(op, value),
            Infix::Concat => {
                self.emitter.op(Op::Call { builtin: Builtin::Concat, args: 2 });
                Type::Text
            }
            Infix::Compare(op) => self.compare(op, left, right),
            Infix::And => self.and(left, right, value),
            Infix::Or => self.or(left, right, value),
            Infix::Coalesce => {
                self.emitter.coalesce(right.start);
                if value { Type::Value } else { left.ty }
            }
        }
    }

    fn arith(&mut self, op: Arith, value: bool) -> Type {
        self.emitter.arith(op);
        if value { Type::Value } else { Type::Number }
    }

    fn compare(&mut self, op: Compare, left: Operand, right: Operand) -> Type {
        match (left.ty, right.ty) {
            (Type::Undefined, _) => self.emitter.replace(left.start, 2, Const::Undefined),
            (Type::Null, Type::Null) => {
                let holds = matches!(op, Compare::Eq | Compare::Le | Compare::Ge);
                self.emitter.replace(left.start, 2, Const::Bool(holds));
            }
            _ => self.emitter.compare(op, left),
        }
        Type::Bool
    }

    /// Null on either side makes the whole null.
    fn and(&mut self, left: Operand, right: Operand, value: bool) -> Type {
        if left.ty == Type::Null || right.ty == Type::Null {
            self.emitter.replace(left.start, 2, Const::Null);
            return Type::Null;
        }
        if value {
            self.emitter.op(Op::AndStrict);
        } else {
            self.emitter.shortcut(right.start, Op::SkipIfFalse, Op::And);
        }
        Type::Bool
    }

    /// Null on one side leaves the other, as false would.
    fn or(&mut self, left: Operand, right: Operand, value: bool) -> Type {
        if left.ty == Type::Null && right.ty == Type::Null {
            self.emitter.replace(left.start, 2, Const::Null);
            return Type::Null;
        }
        if value {
            self.emitter.op(Op::OrStrict);
        } else {
            self.emitter.shortcut(right.start, Op::SkipIfTrue, Op::Or);
        }
        Type::Bool
    }

    fn call(&mut self, token: Token, count: usize, path: Option<Token>) {
        let args = self.stack.split_off(self.stack.len().saturating_sub(count));
        let start = args.first().map_or(self.emitter.here(), |a| a.start);
        let errors = args.first().map_or(self.errors.len(), |a| a.errors);
        let ty = match Builtin::named(token.text(self.text)) {
            Some(Builtin::TwinChangeIncludes) if self.options.twin_change_includes => {
                self.includes(token, path, start)
            }
            Some(builtin) if builtin != Builtin::TwinChangeIncludes => {
                self.builtin(builtin, token, &args, start)
            }
            _ => {
                // What is wrong inside the arguments of no function does not matter.
                self.errors.truncate(errors);
                let name = self.text_of(token);
                self.error(token, Problem::UnknownFunction { name });
                None
            }
        };
        self.stack.push(Operand { ty: ty.unwrap_or(Type::Undefined), start, errors });
    }

    fn builtin(&mut self, builtin: Builtin, token: Token, args: &[Operand], start: usize) -> Option<Type> {
        let have: Vec<Type> = args.iter().map(|a| a.ty).collect();
        if !builtin.takes(&have) {
            let function = self.text_of(token);
            self.error(token, Problem::Arguments { function, have, detail: None });
            return None;
        }
        let never = match (builtin, have.first()) {
            (Builtin::IsNull, Some(Type::Null)) => Some(true),
            (Builtin::IsNull, Some(Type::Number | Type::Bool | Type::Undefined)) => Some(false),
            (Builtin::IsBool, Some(ty)) if !matches!(ty, Type::Bool | Type::Value) => Some(false),
            _ => None,
        };
        match (never, builtin, args) {
            (Some(verdict), _, _) => self.emitter.replace(start, args.len(), Const::Bool(verdict)),
            (None, Builtin::IsNull, [arg]) if arg.ty == Type::Value => self.emitter.op(Op::IsNullValue),
            (None, Builtin::AsNumber, [arg]) => self.emitter.as_number(*arg),
            _ => self.emitter.op(Op::Call { builtin, args: args.len() as u32 }),
        }
        Some(builtin.result())
    }

    /// `twin_change_includes(path)`.
    fn includes(&mut self, token: Token, path: Option<Token>, start: usize) -> Option<Type> {
        let steps = match path {
            Some(path) => names::twin_path(path.text(self.text)),
            None => Err(format!("{} takes one path", parser::TWIN_FUNCTION)),
        };
        match steps {
            Ok(steps) => {
                let slot = self.emitter.path(&steps);
                self.emitter.truncate(start);
                self.emitter.load(Load::Includes(slot));
                Some(Type::Bool)
            }
            Err(detail) => {
                let function = self.text_of(token);
                self.error(
                    token,
                    Problem::Arguments { function, have: vec![Type::Text], detail: Some(detail) },
                );
                None
            }
        }
    }
}
