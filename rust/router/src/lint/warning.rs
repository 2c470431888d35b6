//! What is allowed in a route but hardly meant.

use std::fmt;

use crate::error::TextRange;
use crate::lang::types::Type;

/// Characters of a route's own text that a message quotes.
const QUOTE_CHARS_MAX: usize = 60;

/// An oddity of a route. `Display` says what happens and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// The route ends at its sink; what follows has no effect.
    #[error("Text after the sink is ignored: remove it.")]
    TrailingText,
    /// A condition behind the sink has no effect.
    #[error("WHERE after INTO is ignored: write FROM ... WHERE ... INTO ...")]
    WhereAfterInto,
    /// No message has such a source.
    #[error(
        "No message has the source '{}': use /messages/*, /messages/modules/{{module}}/outputs/{{output}} or \
         /twinChangeNotifications.",
        clip(source_path)
    )]
    DeadSource {
        /// Source as written.
        source_path: String,
    },
    /// A `*` within the source stands for itself.
    #[error("No message has the source '{}': '*' works only at the end.", clip(source_path))]
    WildcardInside {
        /// Source as written.
        source_path: String,
    },
    /// `/*` and a later `*/` make a comment of what is between them.
    #[error("'/*' up to '*/' is a comment, so a part of the source is lost: no '/*' may come before '*/'.")]
    CommentInSource,
    /// The module at the sink gets what it sends itself.
    #[error(
        "Module '{}' gets its own messages back: name another source, or add \
         AND (NOT is_defined($connectionModuleId) OR $connectionModuleId != '{}').",
        clip(module),
        clip(module)
    )]
    OwnMessages {
        /// Module id at the sink.
        module: String,
    },
    /// The first and third part of an address are not looked at.
    #[error(
        "The address leads to input '{}' of module '{}', as its words are not checked: \
         write /modules/{}/inputs/{}.",
        clip(input),
        clip(module),
        clip(module),
        clip(input)
    )]
    AddressWords {
        /// Module id at the sink.
        module: String,
        /// Input at the sink.
        input: String,
    },
    /// The condition is a text or a number.
    #[error(
        "The condition is a {ty} and no comparison, so it never holds: compare it (= 'true', > 0), or write is_defined(...)."
    )]
    NoCondition {
        /// Its type.
        ty: Type,
    },
    /// The condition is false or undefined whatever the message.
    #[error("The condition never holds because of this part: mend it, or remove the route.")]
    NeverTrue,
    /// The condition is true whatever the message.
    #[error("The condition holds for every message: leave WHERE out.")]
    AlwaysTrue,
    /// A part of the condition does not depend on the message.
    #[error("This part is the same for every message: leave it out.")]
    ConstantPart,
    /// Two parts joined by `AND` exclude each other.
    #[error("This and '{}' never hold together, so the route never matches: did you mean OR?", clip(other))]
    Contradiction {
        /// The part before.
        other: String,
    },
    /// A part joined by `AND` stands there twice.
    #[error("This part was required before: leave one out.")]
    RepeatedPart,
    /// A comparison of something with itself.
    #[error("This compares something with itself: to test whether it is there, write is_defined(...).")]
    SelfComparison,
    /// `a != 'x' OR a != 'y'`.
    #[error("One of these inequalities always holds where the value is there: did you mean AND?")]
    OrOfInequalities,
    /// `is_number` and the like of something whose type is known.
    #[error("{function} of a {ty} is false for every message{}", type_test_advice(function, *ty))]
    TypeTest {
        /// Function, lower-cased.
        function: &'static str,
        /// Type of its argument.
        ty: Type,
    },
    /// A property ordered against a number in quotes.
    #[error(
        "Properties are texts, and texts compare letter by letter ('10' < '9'): \
         write as_number({}) and the number without quotes.",
        clip(property)
    )]
    TextOrder {
        /// Property as written.
        property: String,
    },
    /// A body value compared with a number in quotes.
    #[error(
        "A JSON number never equals a text and is less than any: write {} without quotes, or require is_string(...).",
        clip(number)
    )]
    QuotedNumber {
        /// Text between the quotes.
        number: String,
    },
    /// A body value compared with `'true'` or `'false'`.
    #[error("A JSON bool never equals a text: write {value} without quotes.")]
    QuotedBool {
        /// The bool.
        value: bool,
    },
    /// `lower(x) = 'ABC'`.
    #[error("{function}(...) never equals a text with letters of the other case: write '{}'.", clip(right))]
    CaseNeverEqual {
        /// `lower` or `upper`.
        function: &'static str,
        /// Text that can be equal.
        right: String,
    },
    /// The condition looks at the body but does not ask for JSON.
    #[error(
        "$body is read only in messages of contentType 'application/json' and contentEncoding 'utf-8', \
         'utf-16' or 'utf-32', all others do not match: let senders set both, and require {missing} \
         in the condition to show it."
    )]
    BodyQuery {
        /// What the condition does not require.
        missing: &'static str,
    },
    /// The condition looks at the body and asks for something other than JSON.
    #[error(
        "$body is undefined in messages of {property} '{}': require contentType 'application/json' and \
         contentEncoding 'utf-8', 'utf-16' or 'utf-32'.",
        clip(required)
    )]
    BodyOfOtherType {
        /// `contentType` or `contentEncoding`.
        property: &'static str,
        /// What the condition requires.
        required: String,
    },
    /// `$body` on twin changes, which carry no content type.
    #[error(
        "Twin change notifications carry no content type, so $body is undefined: \
         use system properties such as $connectionDeviceId."
    )]
    BodyOfTwinChange,
    /// A comparison that holds where the path leads nowhere.
    #[error(
        "This holds also for messages without the path: it is null then, which is greater than all else and \
         equal to nothing but null. Add AND is_number({}), or is_string or is_bool.",
        clip(path)
    )]
    MissingBodyPath {
        /// Path as written.
        path: String,
    },
    /// `is_defined` of a body path.
    #[error("is_defined is true also where the path leads nowhere: write {} != null.", clip(path))]
    IsDefinedOfBody {
        /// Path as written.
        path: String,
    },
    /// `is_null` of a body path.
    #[error(
        "is_null of a body path is true for every value that is there, and false where none is: \
         write {} = null.",
        clip(path)
    )]
    IsNullOfBody {
        /// Path as written.
        path: String,
    },
    /// A body path compared with a text that looks like a date.
    #[error(
        "Body texts with date and time are taken for dates, which are undefined: send the day alone \
         ('2017-03-09'), or seconds as a number."
    )]
    DateText,
    /// `$body.x ?? y`.
    #[error(
        "A body path that leads nowhere is null, which ?? keeps: \
         write ($body.x = null OR ...) to cover messages without it."
    )]
    CoalesceOfBody,
    /// A body value as operand of `OR`.
    #[error(
        "The OR is undefined unless this body value is a bool, even where the other side holds: \
         write {} = true.",
        clip(path)
    )]
    OrOfBody {
        /// Path as written.
        path: String,
    },
    /// `$body` without a path behind it.
    #[error("This reads no body: write $body.name, with indexes behind names only, such as $body.list[0].")]
    BodyWithoutPath,
    /// `$twin...`, which only the hub in the cloud knows.
    #[error("$twin queries are not known here and are undefined: use properties of the message.")]
    TwinQuery,
    /// A name that swallowed an operator.
    #[error("'{}' is one name, of a property: {}", clip(name), swallowed_advice(name))]
    OperatorInName {
        /// Name as written.
        name: String,
    },
    /// `TRUE` and the like.
    #[error("'{name}' is the name of a property: write {} in lower case, or '{name}' in quotes for a text.", name.to_lowercase())]
    LiteralCase {
        /// Name as written.
        name: String,
    },
    /// `e5`, or more hex digits than a number has.
    #[error(
        "'{}' is a number of no value and always undefined: write digits before the e, \
             at most 16 after 0x.",
        clip(text)
    )]
    NumberWithoutValue {
        /// Number as written.
        text: String,
    },
    /// `a ?? b = c`.
    #[error("?? binds loosest, so it takes the whole of what is beside it: put parentheses, (a ?? b) = c.")]
    CoalescePrecedence,
    /// `NOT a = b`.
    #[error("NOT binds tighter than comparisons, so this is (NOT a) = b: write NOT (a = b).")]
    NotPrecedence,
    /// `$correlationId`, which the hub does not set.
    #[error("Telemetry has no $correlationId: write $cid.")]
    CorrelationId,
    /// A `$name` that the hub does not set.
    #[error("The hub sets no system property '{}'{}", clip(name), nearest_advice(*nearest))]
    UnknownSystemProperty {
        /// Name without the `$`.
        name: String,
        /// A similar name that it does set.
        nearest: Option<&'static str>,
    },
    /// A route before this one takes all of its messages.
    #[error(
        "This route never decides: route '{}' leads to the same endpoint, comes first, and takes all that \
         this one does. Remove one, or narrow the first.",
        clip(by)
    )]
    ShadowedRoute {
        /// The route before.
        by: String,
    },
    /// A route before this one has the same source, condition and sink.
    #[error("This route is the same as route '{}', which comes first: remove one.", clip(of))]
    DuplicateRoute {
        /// The route before.
        of: String,
    },
    /// Another route of the same priority leads to the same endpoint.
    #[error(
        "Route '{}' leads to the same endpoint with the same priority and another time to live; where both \
         match, the one declared first counts. Give them different priorities.",
        clip(first)
    )]
    SharedEndpoint {
        /// The route declared first.
        first: String,
    },
}

impl Warning {
    /// A short stable name of the kind, for logs, metrics and tests.
    pub fn code(&self) -> &'static str {
        match self {
            Warning::TrailingText => "trailing-text",
            Warning::WhereAfterInto => "where-after-into",
            Warning::DeadSource { .. } => "dead-source",
            Warning::WildcardInside { .. } => "wildcard-inside",
            Warning::CommentInSource => "comment-in-source",
            Warning::OwnMessages { .. } => "own-messages",
            Warning::AddressWords { .. } => "address-words",
            Warning::NoCondition { .. } => "no-condition",
            Warning::NeverTrue => "never-true",
            Warning::AlwaysTrue => "always-true",
            Warning::ConstantPart => "constant-part",
            Warning::Contradiction { .. } => "contradiction",
            Warning::RepeatedPart => "repeated-part",
            Warning::SelfComparison => "self-comparison",
            Warning::OrOfInequalities => "or-of-inequalities",
            Warning::TypeTest { .. } => "type-test",
            Warning::TextOrder { .. } => "text-order",
            Warning::QuotedNumber { .. } => "quoted-number",
            Warning::QuotedBool { .. } => "quoted-bool",
            Warning::CaseNeverEqual { .. } => "case-never-equal",
            Warning::BodyQuery { .. } => "body-query",
            Warning::BodyOfOtherType { .. } => "body-of-other-type",
            Warning::BodyOfTwinChange => "body-of-twin-change",
            Warning::MissingBodyPath { .. } => "missing-body-path",
            Warning::IsDefinedOfBody { .. } => "is-defined-of-body",
            Warning::IsNullOfBody { .. } => "is-null-of-body",
            Warning::DateText => "date-text",
            Warning::CoalesceOfBody => "coalesce-of-body",
            Warning::OrOfBody { .. } => "or-of-body",
            Warning::BodyWithoutPath => "body-without-path",
            Warning::TwinQuery => "twin-query",
            Warning::OperatorInName { .. } => "operator-in-name",
            Warning::LiteralCase { .. } => "literal-case",
            Warning::NumberWithoutValue { .. } => "number-without-value",
            Warning::CoalescePrecedence => "coalesce-precedence",
            Warning::NotPrecedence => "not-precedence",
            Warning::CorrelationId => "correlation-id",
            Warning::UnknownSystemProperty { .. } => "unknown-system-property",
            Warning::ShadowedRoute { .. } => "shadowed-route",
            Warning::DuplicateRoute { .. } => "duplicate-route",
            Warning::SharedEndpoint { .. } => "shared-endpoint",
        }
    }
}

/// A warning about one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteWarning {
    /// Name of the route.
    pub route: String,
    /// Where, within the route text; all of it where the whole route is meant.
    pub range: TextRange,
    /// What.
    pub warning: Warning,
}

impl fmt::Display for RouteWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route '{}' at {}: {}", self.route, self.range, self.warning)
    }
}

/// The start of `text`, short enough for a message.
pub(crate) fn clip(text: &str) -> String {
    match text.char_indices().nth(QUOTE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or("")),
        None => text.to_owned(),
    }
}

fn type_test_advice(function: &str, ty: Type) -> &'static str {
    match (function, ty) {
        ("is_number", Type::Text) => ": properties are texts, write is_number(as_number(...)).",
        ("is_bool", Type::Text) => ": properties are texts, compare with 'true' or 'false'.",
        _ => ": leave it out.",
    }
}

fn swallowed_advice(name: &str) -> String {
    match name.strip_suffix('!') {
        Some(before) => format!("put a blank before '!=', as in {} != ...", clip(before)),
        None => "put blanks around operators and keywords, and after the quote that ends a text.".to_owned(),
    }
}

fn nearest_advice(nearest: Option<&str>) -> String {
    match nearest {
        Some(known) => format!(": did you mean ${known}?"),
        None => ": this reads an application property of that name with its '$', if there is one.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_quote_a_part_of_long_texts() {
        assert_eq!(clip("short"), "short");
        assert_eq!(clip(&"é".repeat(61)), format!("{}...", "é".repeat(60)));
        let long = Warning::OperatorInName { name: "a+".repeat(9_000) };
        assert!(long.to_string().len() < 200);
    }
}
