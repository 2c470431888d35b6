//! Conditions, messages and routes made at random, as text that can be read when a test fails.

pub mod conditions;
pub mod messages;
pub mod routes;
