//! What can be wrong with a route, and where.

use std::fmt;

use crate::lang::types::Type;
use crate::lint::hint;

/// A place in a text; line and column count from 1, columns in UTF-16 code units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The text an error is about: from `start` up to, not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TextRange {
    /// First place of the offending token.
    pub start: Position,
    /// Place after its last character, at most two beyond the end of the line.
    pub end: Position,
}

impl fmt::Display for TextRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

/// What is wrong. `Display` gives the message; [`Problem::hint`] what would be right.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The text does not follow the grammar.
    #[error("Syntax error.")]
    Syntax {
        /// The offending token, or `end of text`.
        found: String,
        /// What the grammar allows there.
        expected: &'static str,
    },
    /// A character that starts no token.
    #[error("Syntax error: invalid symbol '{symbol}'")]
    InvalidSymbol {
        /// The character.
        symbol: String,
    },
    /// A quote that is never closed.
    #[error("Syntax error: unterminated string")]
    UnterminatedString,
    /// One `)` too many.
    #[error("Syntax error: unmatched closing ')'")]
    UnmatchedParen,
    /// One `)` too few; the range is that of the open `(`.
    #[error("Syntax error: missing closing ')'")]
    MissingParen,
    /// Expressions nested beyond the limit of this implementation.
    #[error("Syntax error: nested more than {max} levels deep")]
    TooDeep {
        /// Levels allowed: [`crate::EXPR_DEPTH_MAX`].
        max: usize,
    },
    /// Operand types that an infix operator does not take.
    #[error(
        "Invalid operands to binary operator '{op}': have '{}' and '{}', expected '{}' and '{}'",
        have[0], have[1], expected[0], expected[1]
    )]
    BinaryOperands {
        /// Operator as written.
        op: String,
        /// Types found.
        have: [Type; 2],
        /// Types wanted.
        expected: [Type; 2],
    },
    /// An operand type that a prefix operator does not take.
    #[error("Invalid operands to unary operator '{op}': have '{have}', expected '{expected}'")]
    UnaryOperand {
        /// Operator as written.
        op: String,
        /// Type found.
        have: Type,
        /// Type wanted.
        expected: Type,
    },
    /// Number or types of arguments that a function does not take.
    #[error(
        "Invalid arguments to built-in function '{function}': {function}({}){}",
        types(have),
        detail_text(detail.as_deref())
    )]
    Arguments {
        /// Function, or the whole `$body...` token, as written.
        function: String,
        /// Types found.
        have: Vec<Type>,
        /// More about the cause, where there is more to say.
        detail: Option<String>,
    },
    /// No function of that name.
    #[error("Invalid built-in function '{name}'")]
    UnknownFunction {
        /// Name as written.
        name: String,
    },
    /// Sink `$name` other than `$upstream`.
    #[error("System endpoint type '{name}' not supported.")]
    SystemEndpoint {
        /// Name without the `$`.
        name: String,
    },
    /// Sink function other than `BrokeredEndpoint`.
    #[error("Function endpoint type '{name}' not supported.")]
    FunctionEndpoint {
        /// Name as written.
        name: String,
    },
    /// Address of a `BrokeredEndpoint` that has not four parts.
    #[error(
        "Endpoint address '{address}' is invalid, expected \"/modules/{{moduleId}}/inputs/{{inputName}}\"."
    )]
    EndpointAddress {
        /// Address between the quotes.
        address: String,
    },
    /// Priority outside 0..=9 and not the default.
    #[error("Invalid priority for route: {priority}. Priority must be 0 to 9, or 2000000000, or left out.")]
    Priority {
        /// Priority given.
        priority: i64,
    },
    /// Time to live outside 0..=4294967295 seconds.
    #[error("Invalid timeToLiveSecs for route: {ttl_secs}. It must be 0 to 4294967295.")]
    TimeToLive {
        /// Seconds given.
        ttl_secs: i64,
    },
    /// A route without a name.
    #[error("Route name cannot be empty.")]
    EmptyName,
    /// Two routes of one name.
    #[error("Route name is used more than once.")]
    DuplicateName,
    /// A route without text.
    #[error("Route text cannot be empty.")]
    EmptyRoute,
    /// The object form of a route in schema 1.0.
    #[error("Malformed route specification: schema 1.0 takes a route as a string only.")]
    ObjectForm,
    /// Text beyond the limit of this implementation.
    #[error("Route text of {bytes} bytes is longer than {max} bytes.")]
    TooLong {
        /// Length found.
        bytes: usize,
        /// Length allowed: [`crate::ROUTE_BYTES_MAX`].
        max: usize,
    },
    /// More routes than this implementation takes.
    #[error("{count} routes are more than {max}.")]
    TooManyRoutes {
        /// Number found.
        count: usize,
        /// Number allowed: [`crate::ROUTES_MAX`].
        max: usize,
    },
}

fn types(have: &[Type]) -> String {
    have.iter().map(|t| t.name()).collect::<Vec<_>>().join(", ")
}

fn detail_text(detail: Option<&str>) -> String {
    detail.map(|d| format!(". Error: {d}")).unwrap_or_default()
}

impl Problem {
    /// A short stable name of the kind, for logs, metrics and tests.
    pub fn code(&self) -> &'static str {
        match self {
            Problem::Syntax { .. } => "syntax",
            Problem::InvalidSymbol { .. } => "invalid-symbol",
            Problem::UnterminatedString => "unterminated-string",
            Problem::UnmatchedParen => "unmatched-paren",
            Problem::MissingParen => "missing-paren",
            Problem::TooDeep { .. } => "too-deep",
            Problem::BinaryOperands { .. } => "binary-operands",
            Problem::UnaryOperand { .. } => "unary-operand",
            Problem::Arguments { .. } => "arguments",
            Problem::UnknownFunction { .. } => "unknown-function",
            Problem::SystemEndpoint { .. } => "system-endpoint",
            Problem::FunctionEndpoint { .. } => "function-endpoint",
            Problem::EndpointAddress { .. } => "endpoint-address",
            Problem::Priority { .. } => "priority",
            Problem::TimeToLive { .. } => "time-to-live",
            Problem::EmptyName => "empty-name",
            Problem::DuplicateName => "duplicate-name",
            Problem::EmptyRoute => "empty-route",
            Problem::ObjectForm => "object-form",
            Problem::TooLong { .. } => "too-long",
            Problem::TooManyRoutes { .. } => "too-many-routes",
        }
    }

    /// What would be right instead, where the message alone does not say it.
    pub fn hint(&self) -> Option<String> {
        hint::of(self)
    }
}

/// One thing wrong with a stand-alone condition.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{range}: {problem}")]
pub struct ConditionError {
    /// What.
    pub problem: Problem,
    /// Where, within the condition text.
    pub range: TextRange,
}

/// One thing wrong with one declared route.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteError {
    /// Name of the route as declared; empty where the whole set is meant.
    pub route: String,
    /// Where, within the route text; `None` where the text is not to blame.
    pub range: Option<TextRange>,
    /// What.
    pub problem: Problem,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.route.is_empty() {
            write!(f, "route '{}'", self.route)?;
            if let Some(range) = self.range {
                write!(f, " at {range}")?;
            }
            f.write_str(": ")?;
        }
        let message = self.problem.to_string();
        f.write_str(&message)?;
        match self.problem.hint() {
            Some(hint) if message.ends_with('.') => write!(f, " {hint}"),
            Some(hint) => write!(f, ". {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for RouteError {}
