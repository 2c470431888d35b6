//! What would be right instead of what is wrong.

use crate::error::Problem;
use crate::lang::builtin::{self, Builtin};
use crate::lang::types::Type;
use crate::lint::warning::clip;

/// What the grammar calls the places that hints are about.
pub(crate) mod expected {
    pub(crate) const VALUE: &str = "a value, a property, a function or '('";
    pub(crate) const OPERATOR_OR_INTO: &str = "an operator or INTO";
    pub(crate) const SOURCE: &str = "a source such as /messages/*";
    pub(crate) const SEGMENT: &str = "'*' or a name in the source";
    pub(crate) const AFTER_SOURCE: &str = "'/' and a source segment, WHERE or INTO";
    pub(crate) const SINK: &str = "$upstream or BrokeredEndpoint(...)";
    pub(crate) const DOLLAR: &str = "the sink $upstream with its '$'";
    pub(crate) const ADDRESS: &str = "an address in quotes";
}

const TEXT_AND_NUMBER: &str =
    "Properties are strings: compare with a quoted value, or convert with as_number(...).";

const SINKS: &str = "Use $upstream or BrokeredEndpoint(\"/modules/{moduleId}/inputs/{inputName}\").";

/// What would be right, where the message alone does not say it.
pub(crate) fn of(problem: &Problem) -> Option<String> {
    let fixed = match problem {
        Problem::Syntax { found, expected } => return Some(syntax(found, expected)),
        Problem::UnknownFunction { name } => return Some(unknown_function(name)),
        Problem::Arguments { function, .. } => return arguments(function),
        Problem::BinaryOperands { op, have, .. } => binary(op, *have)?,
        Problem::UnaryOperand { op, have, .. } => unary(op, *have),
        Problem::InvalidSymbol { symbol } => invalid_symbol(symbol),
        Problem::UnterminatedString => {
            "End the string with the quote that it began with; escapes are \\\" \\' \\\\ and \\uXXXX."
        }
        Problem::UnmatchedParen => "Remove this ')', or open it before.",
        Problem::MissingParen => "Add ')' where the expression in parentheses ends.",
        Problem::TooDeep { .. } => "Use fewer parentheses within each other, or several routes.",
        Problem::SystemEndpoint { .. } | Problem::FunctionEndpoint { .. } => SINKS,
        Problem::DuplicateName => "Give each route a name of its own.",
        Problem::ObjectForm => "Use schema 1.1 or above for priority and timeToLiveSecs.",
        _ => return None,
    };
    Some(fixed.to_owned())
}

/// The place in the grammar, and where a known mistake is behind it, that too.
fn syntax(found: &str, expected: &str) -> String {
    let quoted = found.strip_prefix('\'').and_then(|f| f.strip_suffix('\''));
    let general = format!("Expected {expected}, found {}.", clip(found));
    let word = quoted.unwrap_or("");
    let advice = match expected {
        expected::VALUE => value_advice(word),
        expected::OPERATOR_OR_INTO => Some(operator_advice(word)),
        expected::SOURCE => Some(
            "A source begins with '/', as in /messages/*; but '/*' with a later '*/' is a comment, \
             then write /messages instead of /messages/*.",
        ),
        expected::SEGMENT => segment_advice(word),
        expected::AFTER_SOURCE => Some(after_source_advice(word)),
        expected::SINK => {
            Some("A sink is $upstream or BrokeredEndpoint(\"/modules/{moduleId}/inputs/{inputName}\").")
        }
        expected::DOLLAR => Some("Write INTO $upstream."),
        expected::ADDRESS => Some("Write BrokeredEndpoint(\"/modules/{moduleId}/inputs/{inputName}\")."),
        _ => None,
    };
    match advice {
        Some(advice) => format!("{general} {advice}"),
        None => general,
    }
}

fn is_any(word: &str, words: &[&str]) -> bool {
    words.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// Where an operand should be.
fn value_advice(word: &str) -> Option<&'static str> {
    let found = |words: &[&str]| is_any(word, words);
    Some(match word {
        "=" => "Equality is one '=', and <= and >= are written without a blank.",
        ">" | ">=" => "Write >= for greater or equal, <> or != for unequal.",
        "<" | "<=" => "Write <= for less or equal.",
        "*" => "Only a source and SELECT take '*'.",
        "{" | "}" => "Braces hold one system property, as in {$messageId}.",
        _ if found(&["into"]) => {
            "The condition ends too early: complete it before INTO; a property called 'into' cannot be read."
        }
        _ if found(&["select", "from", "where", "and", "or"]) => {
            "This is a keyword: a property of that name cannot be read."
        }
        _ if word.starts_with('[') || word.contains('[') => {
            "Indexes stand only behind body paths, as in $body.list[0]; there are no lists of values."
        }
        _ => return None,
    })
}

/// Where an operator should be.
fn operator_advice(word: &str) -> &'static str {
    let found = |words: &[&str]| is_any(word, words);
    match word {
        "" => "The route has no sink: add INTO $upstream or INTO BrokeredEndpoint(\"...\").",
        "&&" | "&" => "Write AND.",
        "|" => "Write OR; '||' joins texts.",
        "!" => "Write != or <> with a blank before it, and NOT (...) for a negation.",
        _ if found(&["like", "matches"]) => "There is no LIKE: write starts_with, ends_with or contains.",
        _ if found(&["in"]) => "There is no IN: write (a = 'x' OR a = 'y').",
        _ if found(&["is"]) => "There is no IS NULL: write is_null(a), or NOT is_defined(a).",
        _ if found(&["between"]) => "There is no BETWEEN: write a >= 1 AND a <= 9.",
        _ if found(&["not"]) => "Write NOT before the whole: NOT (a = 'x'), NOT contains(a, 'x').",
        _ if found(&["select", "from", "where"]) => "This is a keyword and joins nothing: write AND or OR.",
        ")" => "This ')' closes nothing.",
        _ if word.starts_with('[') => "An index stands directly behind a body path, as in $body.list[0].",
        _ => {
            "Join conditions with AND or OR. Operators and keywords need blanks around them, \
             also after the quote that ends a text."
        }
    }
}

/// Where a segment of the source should be.
fn segment_advice(word: &str) -> Option<&'static str> {
    Some(match word {
        _ if is_any(word, &["into", "where"]) || word.is_empty() => {
            "A source does not end in '/': write /messages/* or /messages."
        }
        _ if word.starts_with('$') => "A segment cannot begin with '$'.",
        _ if word.starts_with(['"', '\'']) => "A source has no quotes.",
        _ if word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.' | 'e' | 'E')) => {
            "A segment cannot look like a number."
        }
        _ if word.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            "This is a keyword, which a segment cannot be."
        }
        _ => return None,
    })
}

/// Behind a source.
fn after_source_advice(word: &str) -> &'static str {
    match word {
        "" => "The route has no sink: add INTO $upstream or INTO BrokeredEndpoint(\"...\").",
        _ if word.starts_with('$') || is_any(word, &["BrokeredEndpoint"]) => {
            "Write INTO before the sink, with a blank before INTO."
        }
        _ => "'/*' with a later '*/' is a comment, and a source has no blanks within a name.",
    }
}

fn unknown_function(name: &str) -> String {
    if let Some(negated) = name.strip_prefix('!') {
        return match Builtin::named(negated) {
            Some(_) => format!("Write NOT {negated}(...)."),
            None => "Write NOT (...).".to_owned(),
        };
    }
    if name.eq_ignore_ascii_case(crate::lang::parser::TWIN_FUNCTION) {
        return "Routes do not take it: filter twin changes by system properties such as \
                $connectionDeviceId."
            .to_owned();
    }
    match builtin::nearest_function(name) {
        Some(known) => format!("Did you mean '{known}'?"),
        None => format!("The functions are {}.", builtin::function_names().join(", ")),
    }
}

fn arguments(function: &str) -> Option<String> {
    if function.starts_with('$') {
        return Some(
            "A body path is names parted by dots, with indexes behind them: $body.list[0].name.".to_owned(),
        );
    }
    let known = Builtin::named(function)?;
    let convert = if known == Builtin::AsNumber { "" } else { " Properties are strings." };
    Some(format!("Write {}.{convert}", builtin::signature(known)))
}

fn binary(op: &str, have: [Type; 2]) -> Option<&'static str> {
    let any = |ty: Type| have.contains(&ty);
    Some(match op {
        "??" => "Both sides of ?? must be of one type. It binds loosest: write (a ?? 'x') = 'y'.",
        "||" if any(Type::Bool) => "'||' joins texts: write OR.",
        "||" => "'||' joins texts only.",
        _ if is_any(op, &["and", "or"]) => {
            "AND and OR join conditions: compare the property, such as a = 'x', or write is_defined(a)."
        }
        _ if any(Type::Undefined) => "One side is undefined, often because of another error within it.",
        _ if any(Type::Text) && any(Type::Number) => TEXT_AND_NUMBER,
        "+" | "-" | "*" | "/" | "%" => {
            "Arithmetic takes numbers: convert properties with as_number(...), join texts with ||."
        }
        _ if any(Type::Null) => "Write is_null(...) or NOT is_defined(...).",
        _ if have == [Type::Text, Type::Bool] || have == [Type::Bool, Type::Text] => {
            "Properties are strings: write a = 'true'. A comparison is compared no further: join \
             comparisons with AND or OR ('||' joins texts), and write NOT (a = 'x')."
        }
        _ if any(Type::Bool) => "A comparison is compared no further: join comparisons with AND.",
        _ => return None,
    })
}

fn unary(op: &str, have: Type) -> &'static str {
    match (op, have) {
        ("-", Type::Text) => "Convert properties with as_number(...).",
        ("-", _) => "A minus takes a number.",
        (_, Type::Text | Type::Number) => {
            "NOT binds tighter than comparisons: write NOT (a = 'x'), or NOT is_defined(a)."
        }
        _ => "NOT takes a condition.",
    }
}

fn invalid_symbol(symbol: &str) -> &'static str {
    match symbol {
        "\\" => "In strings, only \\\" \\' \\\\ and \\uXXXX are escapes: write \\\\ for a backslash.",
        "?" => "The only operator with '?' is ??.",
        "]" | "[" => "Indexes stand only behind body paths, as in $body.list[0].",
        _ => "No name or operator has it: quote texts; a property with such a name cannot be read.",
    }
}

#[cfg(test)]
mod tests {
    use crate::set::compile::RouteSet;
    use crate::set::decl::RouteDecl;

    /// All hints of a route, in one text.
    fn hints(route: &str) -> String {
        let errors = RouteSet::compile("edge", &[RouteDecl::new("r", route)]).unwrap_err();
        errors.iter().filter_map(|error| error.problem.hint()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn conditions() {
        for (condition, hint) in [
            ("as_numbr(a) > 3", "Did you mean 'as_number'?"),
            ("isdefined(a)", "Did you mean 'is_defined'?"),
            ("to_number(a) > 3", "Did you mean 'as_number'?"),
            ("frobnicate(a)", "The functions are abs, exp,"),
            ("!is_defined(a)", "Write NOT is_defined(...)."),
            ("!(a = 'x')", "Write NOT (...)."),
            ("twin_change_includes(tags.a)", "Routes do not take it"),
            ("a == 'x'", "Equality is one '='"),
            ("a => 'x'", "Write >= for"),
            ("a =< 'x'", "Write <= for"),
            ("a = 'x' && b = 'y'", "Write AND."),
            ("a = 'x' || b = 'y'", "'||' joins texts"),
            ("is_defined(a) || is_defined(b)", "write OR."),
            ("a like 'x%'", "starts_with"),
            ("a IN ('x', 'y')", "There is no IN"),
            ("a is null", "is_null(a)"),
            ("a between 1 and 2", "There is no BETWEEN"),
            ("a not in ('x')", "Write NOT before the whole"),
            ("from = 'x'", "This is a keyword"),
            ("", "The condition ends too early"),
            ("NOT a = 'x'", "NOT binds tighter"),
            ("a = 3", "as_number(...)"),
            ("a = true", "write a = 'true'"),
            ("a = null", "is_null(...)"),
            ("a and b = 'x'", "AND and OR join conditions"),
            ("a ?? 'x' = 'y'", "It binds loosest"),
            ("'a' + 'b' = 'ab'", "join texts with ||"),
            ("- a = 3", "Convert properties"),
            ("substring(a) = 'x'", "substring(string, number) or substring(string, number, number)"),
            ("abs(a) = 3", "Write abs(number). Properties are strings."),
            ("$body.a. = 1", "A body path is"),
            ("a = [1]", "there are no lists"),
            ("a = 'x\\n'", "write \\\\ for a backslash"),
            ("(a = 'x'", "Add ')'"),
            ("(a = 'x'))", "Remove this ')'"),
            ("a = 'x'AND b = 'y'", "after the quote that ends a text"),
        ] {
            let found = hints(&format!("FROM /messages WHERE {condition} INTO $upstream"));
            assert!(found.contains(hint), "{condition}: {found}");
        }
    }

    #[test]
    fn routes() {
        for (route, hint) in [
            ("FROM /messages", "The route has no sink"),
            ("FROM /messages WHERE a = 'x'", "The route has no sink"),
            ("FROM /messages INTO", "A sink is $upstream or"),
            ("FROM /messages INTO upstream", "Write INTO $upstream."),
            ("FROM /messages INTO \"/modules/m/inputs/i\"", "A sink is $upstream or"),
            ("FROM /messages INTO BrokeredEndpoint(/modules/m/inputs/i)", "Write BrokeredEndpoint(\""),
            ("FROM /messages INTO $edge", "Use $upstream or"),
            ("FROM /messages INTO Endpoint('/modules/m/inputs/i')", "Use $upstream or"),
            ("FROM /messages/ INTO $upstream", "A source does not end in '/'"),
            ("FROM /messages/*INTO $upstream", "with a blank before INTO"),
            ("FROM /messages/modules/123/* INTO $upstream", "cannot look like a number"),
            ("FROM /messages/modules/$edgeHub/* INTO $upstream", "cannot begin with '$'"),
            ("FROM /messages/modules/from/* INTO $upstream", "This is a keyword"),
            ("FROM /messages/*/outputs/*/o1 INTO $upstream", "is a comment"),
            ("FROM messages/* INTO $upstream", "A source begins with '/'"),
            ("FROM \"/messages/*\" INTO $upstream", "A source begins with '/'"),
            ("SELECT a FROM /messages INTO $upstream", "Expected '*' after SELECT"),
        ] {
            let found = hints(route);
            assert!(found.contains(hint), "{route}: {found}");
        }
    }

    #[test]
    fn long_tokens_are_cut() {
        let route = format!("FROM /messages WHERE a {} INTO $upstream", "x".repeat(50_000));
        assert!(hints(&route).len() < 400);
        let route = format!("FROM /messages WHERE {}(a) INTO $upstream", "x".repeat(50_000));
        assert!(hints(&route).len() < 400);
    }
}
