//! The built-in functions: names, argument types, result types (routing section 7).

use crate::lang::types::Type;

/// A built-in function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builtin {
    Abs,
    Exp,
    Power,
    Square,
    Ceiling,
    Floor,
    Sign,
    Sqrt,
    AsNumber,
    IsBool,
    IsDefined,
    IsNull,
    IsNumber,
    IsString,
    Concat,
    Length,
    Lower,
    Upper,
    Substring,
    IndexOf,
    StartsWith,
    EndsWith,
    Contains,
    TwinChangeIncludes,
}

const NAMES: [(&str, Builtin); 24] = [
    ("abs", Builtin::Abs),
    ("exp", Builtin::Exp),
    ("power", Builtin::Power),
    ("square", Builtin::Square),
    ("ceiling", Builtin::Ceiling),
    ("floor", Builtin::Floor),
    ("sign", Builtin::Sign),
    ("sqrt", Builtin::Sqrt),
    ("as_number", Builtin::AsNumber),
    ("is_bool", Builtin::IsBool),
    ("is_defined", Builtin::IsDefined),
    ("is_null", Builtin::IsNull),
    ("is_number", Builtin::IsNumber),
    ("is_string", Builtin::IsString),
    ("concat", Builtin::Concat),
    ("length", Builtin::Length),
    ("lower", Builtin::Lower),
    ("upper", Builtin::Upper),
    ("substring", Builtin::Substring),
    ("index_of", Builtin::IndexOf),
    ("starts_with", Builtin::StartsWith),
    ("ends_with", Builtin::EndsWith),
    ("contains", Builtin::Contains),
    ("twin_change_includes", Builtin::TwinChangeIncludes),
];

impl Builtin {
    /// The function called `name`, without regard to case.
    pub(crate) fn named(name: &str) -> Option<Builtin> {
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, builtin)| *builtin)
    }

    /// Type of the result; arguments must have passed [`Builtin::takes`].
    pub(crate) fn result(self) -> Type {
        match self {
            Builtin::Abs
            | Builtin::Exp
            | Builtin::Power
            | Builtin::Square
            | Builtin::Ceiling
            | Builtin::Floor
            | Builtin::Sign
            | Builtin::Sqrt
            | Builtin::AsNumber
            | Builtin::Length
            | Builtin::IndexOf => Type::Number,
            Builtin::Concat | Builtin::Lower | Builtin::Upper | Builtin::Substring => Type::Text,
            _ => Type::Bool,
        }
    }

    /// Whether arguments of these types may be given.
    pub(crate) fn takes(self, args: &[Type]) -> bool {
        use Type::{Number, Text};
        match self {
            Builtin::Abs
            | Builtin::Exp
            | Builtin::Square
            | Builtin::Ceiling
            | Builtin::Floor
            | Builtin::Sign
            | Builtin::Sqrt => match_types(&[Number], args),
            Builtin::Power => match_types(&[Number, Number], args),
            Builtin::AsNumber => match_types(&[Text], args) || match_types(&[Number], args),
            Builtin::IsBool
            | Builtin::IsDefined
            | Builtin::IsNull
            | Builtin::IsNumber
            | Builtin::IsString => args.len() == 1,
            Builtin::Concat => args.len() >= 2 && args.iter().all(|t| Text.accepts(*t)),
            Builtin::Length | Builtin::Lower | Builtin::Upper => match_types(&[Text], args),
            Builtin::Substring => {
                match_types(&[Text, Number], args) || match_types(&[Text, Number, Number], args)
            }
            Builtin::IndexOf | Builtin::StartsWith | Builtin::EndsWith | Builtin::Contains => {
                match_types(&[Text, Text], args)
            }
            // Its argument is no expression; the caller looks at it.
            Builtin::TwinChangeIncludes => false,
        }
    }
}

fn match_types(wanted: &[Type], given: &[Type]) -> bool {
    wanted.len() == given.len() && wanted.iter().zip(given).all(|(w, g)| w.accepts(*g))
}
