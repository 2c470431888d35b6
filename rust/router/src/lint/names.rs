//! Rules about names and numbers as the lexer reads them. They look at tokens, so that they also
//! explain why a text does not parse.

use crate::lang::builtin::nearest;
use crate::lang::lexer::{Kind, Token};
use crate::lang::literal;
use crate::lint::notes::Notes;
use crate::lint::warning::Warning;
use crate::text::fold;

/// System properties that the hub sets on messages (routing section 6.3).
const SYSTEM_NAMES: [&str; 26] = [
    "connectionDeviceId",
    "connectionModuleId",
    "messageId",
    "cid",
    "userId",
    "to",
    "contentType",
    "contentEncoding",
    "absolute-expiry-time",
    "ack",
    "outputName",
    "messageSchema",
    "creationTime",
    "operation",
    "iothub-interface-id",
    "dt-subject",
    "enqueuedTime",
    "deliveryCount",
    "sequenceNumber",
    "lockToken",
    "modelId",
    "messageType",
    "rpSenderDeviceId",
    "rpSenderModuleId",
    "edgeMessageId",
    "edgeHubOriginInterface",
];

/// Names that other places give to system properties, lower-cased, and the names here.
const OTHER_NAMES: [(&str, &str); 8] = [
    ("deviceid", "connectionDeviceId"),
    ("moduleid", "connectionModuleId"),
    ("iothub-connection-device-id", "connectionDeviceId"),
    ("iothub-connection-module-id", "connectionModuleId"),
    ("iothub-enqueuedtime", "enqueuedTime"),
    ("content-type", "contentType"),
    ("content-encoding", "contentEncoding"),
    ("output", "outputName"),
];

/// Looks at the tokens of the condition.
pub(super) fn check(text: &str, tokens: &[Token], notes: &mut Notes<'_>) {
    let condition: Vec<Token> = tokens
        .iter()
        .skip_while(|token| !matches!(token.kind, Kind::Where | Kind::Into))
        .take_while(|token| !matches!(token.kind, Kind::Into | Kind::End))
        .copied()
        .collect();
    for (at, token) in condition.iter().enumerate() {
        let called = condition.get(at + 1).is_some_and(|next| next.kind == Kind::LParen);
        let word = token.text(text);
        let warning = match token.kind {
            Kind::Id if !called => property(word),
            Kind::SysProp => system(word),
            Kind::Real if literal::decimal(word).is_none() => Some(without_value(word)),
            Kind::Hex if literal::hex(word).is_none() => Some(without_value(word)),
            _ => None,
        };
        if let Some(warning) = warning {
            notes.warn(token.start..token.end(), warning);
        }
    }
}

fn without_value(word: &str) -> Warning {
    Warning::NumberWithoutValue { text: word.to_owned() }
}

fn property(word: &str) -> Option<Warning> {
    if ["true", "false", "null", "undefined"].iter().any(|literal| word.eq_ignore_ascii_case(literal)) {
        return Some(Warning::LiteralCase { name: word.to_owned() });
    }
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '-' | '.');
    // Of operator characters alone it is no name, but an operator that there is not, an error.
    let name = word.contains(char::is_alphanumeric);
    let swallowed = has_operator(word) || word.starts_with('-') || word.chars().all(numeric);
    (name && swallowed).then(|| Warning::OperatorInName { name: word.to_owned() })
}

/// Whether an operator or a quote is in the name. `-` and `.` are common in names.
fn has_operator(word: &str) -> bool {
    word.contains(['+', '*', '%', '!', '&', '|', '\''])
}

fn system(word: &str) -> Option<Warning> {
    let name = word.strip_prefix('$').unwrap_or(word);
    let folded = fold(name);
    let swallowed = || has_operator(word).then(|| Warning::OperatorInName { name: word.to_owned() });
    match folded.as_str() {
        "correlationid" => return Some(Warning::CorrelationId),
        "body" => return Some(Warning::BodyWithoutPath),
        "twin" => return Some(Warning::TwinQuery),
        _ => {}
    }
    if let Some(path) = folded.strip_prefix("body.") {
        // A part that is `*` as a whole stands for every member.
        let in_part = path.split('.').any(|part| part.split('[').next() != Some("*") && has_operator(part));
        return if in_part { swallowed() } else { None };
    }
    if folded.starts_with("body[") {
        return Some(Warning::BodyWithoutPath);
    }
    if folded.starts_with("twin.") || folded.starts_with("twin[") {
        return Some(Warning::TwinQuery);
    }
    swallowed().or_else(|| unknown_system(name, &folded))
}

/// Names that begin with a dot are property names of MQTT clients, which may be anything.
fn unknown_system(name: &str, folded: &str) -> Option<Warning> {
    let known = SYSTEM_NAMES.iter().any(|known| known.eq_ignore_ascii_case(name));
    if known || name.starts_with('.') {
        return None;
    }
    let other = OTHER_NAMES.iter().find(|(other, _)| *other == folded).map(|(_, here)| *here);
    let nearest = other.or_else(|| nearest(name, SYSTEM_NAMES.into_iter()));
    Some(Warning::UnknownSystemProperty { name: name.to_owned(), nearest })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(found: Option<Warning>) -> &'static str {
        found.map_or("", |warning| warning.code())
    }

    #[test]
    fn names_that_swallowed_something() {
        for word in ["x!", "3+4", "'a'||'b'", "-x", "true&&true", "1.", "3-4", "-0x10", "2020-01-01", "a*"] {
            assert_eq!(code(property(word)), "operator-in-name", "{word}");
        }
        for word in ["a-b", "a.b", "1a", "temp", "x_1", "é", "a#", "mod-2", "&&", "!"] {
            assert_eq!(code(property(word)), "", "{word}");
        }
    }

    #[test]
    fn system_names() {
        for (word, expected) in [
            ("$messageId", ""),
            ("$MESSAGEID", ""),
            ("$body.a-b.c[0]", ""),
            ("$body.*.a", ""),
            ("$body.*[0]", ""),
            ("$.custom", ""),
            ("$body.a!", "operator-in-name"),
            ("$body.a*", "operator-in-name"),
            ("$cid!", "operator-in-name"),
            ("$body", "body-without-path"),
            ("$Body[0]", "body-without-path"),
            ("$twin.tags.a", "twin-query"),
            ("$correlationID", "correlation-id"),
            ("$color", "unknown-system-property"),
        ] {
            assert_eq!(code(system(word)), expected, "{word}");
        }
        let nearest = |word| system(word).unwrap().to_string();
        assert!(nearest("$deviceId").ends_with("did you mean $connectionDeviceId?"));
        assert!(nearest("$mesageId").ends_with("did you mean $messageId?"));
    }
}
