//! The syntax tree, kept flat: a node stands after its operands, so that every later pass is one
//! loop and nothing recurses over what a user wrote.

/// Infix operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Infix {
    Arith(Arith),
    Concat,
    Compare(Compare),
    And,
    Or,
    Coalesce,
}

/// Arithmetic on numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Arith {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

/// Comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Compare {
    /// The comparison that holds when the operands change sides.
    pub(crate) fn mirrored(self) -> Compare {
        match self {
            Compare::Lt => Compare::Gt,
            Compare::Le => Compare::Ge,
            Compare::Gt => Compare::Lt,
            Compare::Ge => Compare::Le,
            same => same,
        }
    }
}

/// Errors that the grammar recognises by name; they are reported when types are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    InvalidSymbol,
    UnmatchedParen,
    MissingParen,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum NodeKind {
    Text,
    OpenText,
    Integer,
    Hex,
    Real,
    True,
    False,
    Null,
    Undefined,
    /// Application property.
    Property,
    /// `$name`.
    SysProperty,
    /// `{$name}`.
    SysPropertyOnly,
    /// Raw path, argument of `twin_change_includes`.
    Path,
    Negate,
    Not,
    Infix(Infix),
    Call {
        args: usize,
    },
    Fault(Fault),
}

impl NodeKind {
    /// Number of operands.
    pub(crate) fn arity(self) -> usize {
        match self {
            NodeKind::Negate | NodeKind::Not => 1,
            NodeKind::Infix(_) => 2,
            NodeKind::Call { args } => args,
            _ => 0,
        }
    }
}

/// One node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    /// Token that errors point at: operator, function name, or the leaf itself.
    pub(crate) token: crate::lang::lexer::Token,
    /// Bytes of the whole expression.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Nodes of one expression, operands before operators; the last is the root.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    /// Tokens the expression took: the leaves of the parse tree.
    pub(crate) tokens: usize,
}

/// For each node, where its operands begin.
pub(crate) fn operand_starts(nodes: &[Node]) -> Vec<usize> {
    let mut starts: Vec<usize> = Vec::with_capacity(nodes.len());
    let mut operands: Vec<usize> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let arity = node.kind.arity();
        let first = operands.len().saturating_sub(arity);
        let start = operands.get(first).copied().unwrap_or(index);
        operands.truncate(first);
        operands.push(start);
        starts.push(start);
    }
    starts
}
