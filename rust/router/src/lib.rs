//! The route language of `IoT Hub`: parse, check, compile, evaluate; embeddable on its own.
//!
//! A route says which messages go where:
//!
//! ```text
//! FROM /messages/modules/sensor/outputs/* WHERE as_number(temp) > 30 INTO BrokeredEndpoint("/modules/alarm/inputs/hot")
//! ```
//!
//! [`RouteSet::compile`] checks and compiles all routes of a hub at once: either every route is
//! right, or nothing applies and every error is told with its place. [`RouteSet::evaluate`] then
//! finds, for each message, the endpoints it goes to.
//!
//! ```
//! use edgehub_router::{Decisions, OwnedMessage, RouteDecl, RouteSet, Source};
//!
//! let routes = RouteSet::compile("gateway-7", &[
//!     RouteDecl::new("up", "FROM /messages/* INTO $upstream"),
//!     RouteDecl::new("hot", r#"FROM /messages/modules/sensor/* WHERE as_number(temp) > 30
//!                              INTO BrokeredEndpoint("/modules/alarm/inputs/hot")"#),
//! ]).unwrap();
//!
//! let mut msg = OwnedMessage::default();
//! msg.application.push(("temp".into(), Some("31.5".into())));
//! let mut decisions = Decisions::new();
//! routes.evaluate(Source::Module { module: "sensor", output: None }, &msg, &mut decisions);
//!
//! let ids: Vec<&str> =
//!     decisions.iter().map(|d| routes.endpoints()[d.endpoint_index as usize].id.as_str()).collect();
//! assert_eq!(ids, ["iothub", "gateway-7/alarm/hot"]);
//! ```
//!
//! # In a program of your own
//!
//! Implement [`MessageView`] for your message, or hand messages over as flat bytes
//! ([`EncodedMessage`]). [`RouteTable`] replaces the routes while threads evaluate. [`check`] tells
//! what is wrong with routes and what is hardly meant; [`RouteSet::explain`] why a message goes where
//! it goes, as text or JSON; [`RouteSet::dry_run`] what every route says of it.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//! use edgehub_router::{Decisions, EncodedMessages, RouteDecl, RouteSet, RouteTable, encode};
//!
//! // What a gateway collected, one message after another.
//! let mut bytes = Vec::new();
//! for temp in ["20", "31.5", "n/a"] {
//!     encode("/messages/modules/sensor", [], [("temp", Some(temp))], b"", &mut bytes)?;
//! }
//!
//! let hot = "FROM /messages/* WHERE as_number(temp) > 30 INTO $upstream";
//! let table = Arc::new(RouteTable::new(RouteSet::compile("gateway-7", &[RouteDecl::new("hot", hot)]).unwrap()));
//!
//! // One reader, and one `Decisions`, for each thread.
//! let (mut reader, mut decisions) = (table.reader(), Decisions::new());
//! let (mut counts, mut lost) = (BTreeMap::new(), Vec::new());
//! for msg in EncodedMessages::new(&bytes) {
//!     let (msg, routes) = (msg?, reader.get());
//!     routes.evaluate(msg.source(), &msg, &mut decisions);
//!     for decision in &decisions {
//!         let endpoint = &routes.endpoints()[decision.endpoint_index as usize];
//!         *counts.entry(endpoint.id.clone()).or_insert(0) += 1;
//!     }
//!     if decisions.is_empty() {
//!         lost.push(routes.explain(msg.source(), &msg).to_string());
//!     }
//! }
//! assert_eq!(counts["iothub"], 1);
//! assert!(lost[1].contains("as_number(temp) > 30  undefined   <-- decides"), "{}", lost[1]);
//! # Ok::<(), edgehub_router::EncodedError>(())
//! ```
//!
//! # How it works
//!
//! All conditions of a set compile to one flat program ([`RouteSet`] owns it). What conditions load
//! (a property, a property as a number, a path in the body) and what several of them compute has a
//! slot that is filled once per message, when the first condition asks. `AND` and `OR` are jumps. The
//! body is scanned once, for all wanted paths together, and only if a condition needs it and content
//! type and encoding say that it is JSON. Routes are indexed by source, and those of one source by the
//! texts that their conditions ask for, so that a message meets only the routes it can match.
//!
//! # Against Azure IoT Edge
//!
//! Verdicts are those of the reference, oddities included: a missing body path is null and null is
//! greater than any number, `is_null` of a body value is true of all that is there, strings that look
//! like dates are undefined, text after the sink is ignored ([`check`] tells). These
//! differ on purpose:
//!
//! - `%` and unary minus on body values, which the reference crashes on, work as on numbers.
//! - `bool AND $body.flag` is accepted like `$body.flag AND bool`.
//! - Conditions are checked with the route, not when it is applied.
//! - Of routes with equal priority to one endpoint, the one declared first decides.
//! - An endpoint address with an empty module or input, a body path of more than 64 parts, and one
//!   with anything but indexes behind an index (`a[0]b`) are refused.
//! - Texts are UTF-8: half of a surrogate pair, as `'\ud83d'` or `substring` can make it, is U+FFFD.
//! - `\\u0041` in a string is a backslash and five characters: escapes are decoded once, not twice.
//!
//! # Limits
//!
//! [`ROUTES_MAX`] routes of [`ROUTE_BYTES_MAX`] bytes each, expressions nested [`EXPR_DEPTH_MAX`]
//! deep: beyond, compilation fails. Of the errors of one condition [`ERRORS_MAX`] are told,
//! of the warnings of one route [`WARNINGS_MAX`].
//! [`BODY_DEPTH_MAX`] levels of JSON, [`WILDCARD_MEMBERS_MAX`] members that one wildcard path meets,
//! and [`SCRATCH_BYTES_MAX`] bytes of text built per message: beyond, values are undefined.
//! Explanations repeat at most [`EXPLAINED_TEXT_BYTES_MAX`] bytes of a text.

#![forbid(unsafe_code)]

mod body;
mod condition;
mod encoded;
mod error;
mod explain;
mod functions;
mod lang;
mod lint;
mod machine;
mod message;
mod number;
mod program;
mod set;
mod table;
mod text;
mod text_table;
mod value;

pub use body::{BODY_DEPTH_MAX, BodyState, WILDCARD_MEMBERS_MAX};
pub use condition::{Condition, Features, Verdict};
pub use encoded::{
    ENCODED_BYTES_MAX, ENCODED_PROPERTIES_MAX, ENCODED_SOURCE_BYTES_MAX, EncodedError, EncodedMessage,
    EncodedMessages, EncodedProperties, MessageWriter, encode,
};
pub use error::{ConditionError, Position, Problem, RouteError, TextRange};
pub use functions::SCRATCH_BYTES_MAX;
pub use lang::check::ERRORS_MAX;
pub use lang::parser::EXPR_DEPTH_MAX;
pub use lang::types::Type;
pub use lint::{RouteReport, RouteWarning, WARNINGS_MAX, Warning, check};
pub use message::{Lookup, MessageView, OwnedMessage};
pub use set::compile::{ROUTE_BYTES_MAX, ROUTES_MAX, RouteSet};
pub use set::decl::{PRIORITY_DEFAULT, PRIORITY_MAX, RouteDecl, Schema};
pub use set::dry_run::DryRun;
pub use set::endpoint::{Endpoint, EndpointKind, UPSTREAM_ID};
pub use set::evaluate::{Decision, Decisions};
pub use set::explain::{EXPLAINED_TEXT_BYTES_MAX, Explanation, Outcome, Part, RouteExplanation, Value};
pub use set::source::Source;
pub use table::{RouteReader, RouteTable};
pub use text::{fold, names_equal};
