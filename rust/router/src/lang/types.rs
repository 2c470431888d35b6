//! Static types of expressions (routing section 5.1).

use std::fmt;

/// The type of an expression, known when it is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Type {
    /// IEEE-754 double; NaN is the undefined number.
    Number,
    /// Text; every property has this type.
    Text,
    /// True, false or undefined.
    Bool,
    /// The literal `null` and what is made of it.
    Null,
    /// The literal `undefined` and what failed to compile.
    Undefined,
    /// A value from the message body, whose type is known only with the message.
    Value,
}

impl Type {
    /// Name used in messages.
    pub fn name(self) -> &'static str {
        match self {
            Type::Number => "number",
            Type::Text => "string",
            Type::Bool => "bool",
            Type::Null => "null",
            Type::Undefined => "undefined",
            Type::Value => "unknown",
        }
    }

    /// Whether an operand of type `given` may stand where `self` is wanted: equal, or one is a
    /// body value and the other something a body can hold.
    pub(crate) fn accepts(self, given: Type) -> bool {
        self == given
            || (given == Type::Value && self != Type::Undefined)
            || (self == Type::Value && given != Type::Undefined)
    }

    /// Whether `and`/`or` take it.
    pub(crate) fn is_logical(self) -> bool {
        matches!(self, Type::Bool | Type::Null | Type::Undefined | Type::Value)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
