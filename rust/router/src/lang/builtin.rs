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

/// Names of all functions, in the order of the documentation.
pub(crate) fn function_names() -> Vec<&'static str> {
    NAMES.iter().map(|(name, _)| *name).filter(|name| *name != crate::lang::parser::TWIN_FUNCTION).collect()
}

/// How the function is called, for messages.
pub(crate) fn signature(builtin: Builtin) -> &'static str {
    match builtin {
        Builtin::Abs => "abs(number)",
        Builtin::Exp => "exp(number)",
        Builtin::Power => "power(number, number)",
        Builtin::Square => "square(number)",
        Builtin::Ceiling => "ceiling(number)",
        Builtin::Floor => "floor(number)",
        Builtin::Sign => "sign(number)",
        Builtin::Sqrt => "sqrt(number)",
        Builtin::AsNumber => "as_number(string) or as_number(number)",
        Builtin::IsBool => "is_bool(anything)",
        Builtin::IsDefined => "is_defined(anything)",
        Builtin::IsNull => "is_null(anything)",
        Builtin::IsNumber => "is_number(anything)",
        Builtin::IsString => "is_string(anything)",
        Builtin::Concat => "concat(string, string, ...)",
        Builtin::Length => "length(string)",
        Builtin::Lower => "lower(string)",
        Builtin::Upper => "upper(string)",
        Builtin::Substring => "substring(string, number) or substring(string, number, number)",
        Builtin::IndexOf => "index_of(string, string)",
        Builtin::StartsWith => "starts_with(string, string)",
        Builtin::EndsWith => "ends_with(string, string)",
        Builtin::Contains => "contains(string, string)",
        Builtin::TwinChangeIncludes => "twin_change_includes(path)",
    }
}

/// Names that other languages give to functions, and the names here.
const OTHER_NAMES: [(&str, &str); 14] = [
    ("ceil", "ceiling"),
    ("cast", "as_number"),
    ("exists", "is_defined"),
    ("float", "as_number"),
    ("includes", "contains"),
    ("int", "as_number"),
    ("lcase", "lower"),
    ("len", "length"),
    ("number", "as_number"),
    ("pow", "power"),
    ("substr", "substring"),
    ("to_number", "as_number"),
    ("tonumber", "as_number"),
    ("ucase", "upper"),
];

/// The function that `name` is most likely meant to be.
pub(crate) fn nearest_function(name: &str) -> Option<&'static str> {
    let other = OTHER_NAMES.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
    other.map(|(_, here)| *here).or_else(|| nearest(name, function_names().into_iter()))
}

/// Edits up to which a name counts as a slip of another one.
const EDITS_MAX: usize = 2;

/// The name that is the fewest edits away from `name`, without regard to case: two at most, and
/// fewer than half of the letters.
pub(crate) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let folded = name.to_ascii_lowercase();
    let close = known.filter(|candidate| candidate.len().abs_diff(folded.len()) <= EDITS_MAX);
    let measured = close.map(|candidate| (edits(&folded, &candidate.to_ascii_lowercase()), candidate));
    let within = |count: usize| count <= EDITS_MAX && 2 * count < folded.len();
    measured.filter(|(count, _)| within(*count)).min_by_key(|(count, _)| *count).map(|(_, found)| found)
}

/// Bytes to insert, delete or replace to make `a` of `b`.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (done, left) in a.bytes().enumerate() {
        let mut diagonal = done;
        let mut before = done + 1;
        let mut next = vec![before];
        for (right, above) in b.bytes().zip(row.iter().skip(1)) {
            let replaced = diagonal + usize::from(left != right);
            before = replaced.min(before + 1).min(above + 1);
            diagonal = *above;
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (a, b, count) in
            [("", "", 0), ("abc", "", 3), ("", "ab", 2), ("abs", "ads", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(edits(a, b), count, "{a} {b}");
        }
    }

    #[test]
    fn slips_of_names() {
        for (name, known) in [
            ("as_numbr", Some("as_number")),
            ("AsNumber", Some("as_number")),
            ("isnull", Some("is_null")),
            ("startswith", Some("starts_with")),
            ("ceil", Some("ceiling")),
            ("LEN", Some("length")),
            ("x", None),
            ("f", None),
            ("frobnicate", None),
        ] {
            assert_eq!(nearest_function(name), known, "{name}");
        }
    }

    #[test]
    fn every_function_has_a_signature() {
        for (name, builtin) in NAMES {
            assert!(signature(builtin).starts_with(&format!("{name}(")), "{name}");
        }
    }
}
