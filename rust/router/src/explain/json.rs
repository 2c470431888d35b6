//! Explanations as JSON.

use crate::body::BodyState;
use crate::explain::json_writer::JsonWriter;
use crate::explain::{number_text, verdict_name};
use crate::set::explain::{Explanation, Outcome, Part, RouteExplanation, Value};

impl Explanation {
    /// The explanation as one JSON object, in one line. Keys are stable; later versions may add some.
    ///
    /// ```text
    /// {"source": "/messages/",            path of the message's source
    ///  "body": "unread",                  or contentType, contentEncoding, malformed, read
    ///  "deliveries": [{"endpoint": "iothub", "route": "up", "priority": 0, "ttlSecs": 0}],
    ///  "routes": [{                       every route, as declared
    ///     "name": "up", "source": "/messages/*", "endpoint": "iothub", "priority": 0, "ttlSecs": 0,
    ///     "sourceMatches": true,
    ///     "verdict": "true",              or false, undefined; null if the source does not match
    ///     "outcome": "chosen",            or noMatch, otherSource, outranked
    ///     "outrankedBy": null,            name of the route that was chosen instead
    ///     "deciding": 2,                  place in parts; null without a condition
    ///     "parts": [{                     every part of the condition, innermost first
    ///        "text": "kind = 'a'", "line": 1, "column": 24, "endLine": 1, "endColumn": 34,
    ///        "depth": 0, "chained": false, "literal": false,
    ///        "type": "bool",              or undefined, null, missingPath, nullProperty, number, string
    ///        "value": true}]}]}           null where the type says it all
    /// ```
    ///
    /// Lines and columns count from 1, columns in UTF-16 code units; the end is exclusive. Infinite
    /// numbers, which JSON has not, are the strings `"Infinity"` and `"-Infinity"`.
    pub fn to_json(&self) -> String {
        let mut json = JsonWriter::default();
        json.open('{');
        json.key("source").string(&self.source);
        json.key("body").string(body_name(self.body));
        write_deliveries(self, &mut json);
        json.key("routes").open('[');
        for route in &self.routes {
            write_route(self, route, &mut json);
        }
        json.close(']');
        json.close('}');
        json.finish()
    }
}

fn write_deliveries(why: &Explanation, json: &mut JsonWriter) {
    json.key("deliveries").open('[');
    for decision in &why.decisions {
        let Some(route) = why.routes.get(decision.route_index as usize) else { continue };
        json.open('{');
        json.key("endpoint").string(&route.endpoint);
        json.key("route").string(&route.name);
        json.key("priority").whole(decision.priority);
        json.key("ttlSecs").whole(decision.ttl_secs);
        json.close('}');
    }
    json.close(']');
}

fn write_route(why: &Explanation, route: &RouteExplanation, json: &mut JsonWriter) {
    json.open('{');
    json.key("name").string(&route.name);
    json.key("source").string(&route.source);
    json.key("endpoint").string(&route.endpoint);
    json.key("priority").whole(route.priority);
    json.key("ttlSecs").whole(route.ttl_secs);
    json.key("sourceMatches").bool(route.source_matches());
    string_or_null(json.key("verdict"), route.verdict.map(verdict_name));
    json.key("outcome").string(outcome_name(route.outcome));
    let by = match route.outcome {
        Outcome::Outranked { by } => Some(why.name_at(by)),
        _ => None,
    };
    string_or_null(json.key("outrankedBy"), by);
    match route.deciding {
        Some(part) => json.key("deciding").whole(part as u64),
        None => json.key("deciding").raw("null"),
    }
    json.key("parts").open('[');
    for part in &route.parts {
        write_part(part, json);
    }
    json.close(']');
    json.close('}');
}

fn write_part(part: &Part, json: &mut JsonWriter) {
    json.open('{');
    json.key("text").string(&part.text);
    json.key("line").whole(part.range.start.line);
    json.key("column").whole(part.range.start.column);
    json.key("endLine").whole(part.range.end.line);
    json.key("endColumn").whole(part.range.end.column);
    json.key("depth").whole(part.depth);
    json.key("chained").bool(part.chained);
    json.key("literal").bool(part.literal);
    json.key("type").string(type_name(&part.value));
    json.key("value");
    match &part.value {
        Value::Bool(value) => json.bool(*value),
        Value::Number(number) if number.is_infinite() => json.string(&number_text(*number)),
        Value::Number(number) => json.raw(&number_text(*number)),
        Value::Text(text) => json.string(text),
        Value::Undefined | Value::Null | Value::MissingPath | Value::NullProperty => json.raw("null"),
    }
    json.close('}');
}

fn string_or_null(json: &mut JsonWriter, text: Option<&str>) {
    match text {
        Some(text) => json.string(text),
        None => json.raw("null"),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Undefined => "undefined",
        Value::Null => "null",
        Value::MissingPath => "missingPath",
        Value::NullProperty => "nullProperty",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::Text(_) => "string",
    }
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::OtherSource => "otherSource",
        Outcome::NoMatch => "noMatch",
        Outcome::Chosen => "chosen",
        Outcome::Outranked { .. } => "outranked",
    }
}

fn body_name(body: BodyState) -> &'static str {
    match body {
        BodyState::Unread => "unread",
        BodyState::ContentType => "contentType",
        BodyState::ContentEncoding => "contentEncoding",
        BodyState::Malformed => "malformed",
        BodyState::Read => "read",
    }
}
